"""What has to be said about the clips of a run before somebody uses them? The datasheet beside them, in the form of a
Hugging Face data set card; the questions are those of "Datasheets for Datasets" (Gebru et al. 2021).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lib.audio import SPEECH_LEVEL_DBFS
from lib.corpora import gutenberg, prompts, wordnet
from lib.metrics import METRICS

TEXTS = {  # how the ids of a corpus's sentences begin -> (what it is, its licence)
    "botchan": (gutenberg.SOURCE, gutenberg.LICENCE),
    "wordnet": (wordnet.SOURCE, wordnet.LICENCE),
    "prompt": (prompts.SOURCE, prompts.LICENCE),
    "sus": ("sentences without sense, of words of WordNet 3.0", wordnet.LICENCE),
}


@dataclass(frozen=True)
class Facts:
    """What the card says of a set. clips: lines of its table; hosts, commits: of the measurements; left_out: clips that
    the run lists and that are no longer there.
    """

    profile: str
    clips: Sequence[Mapping[str, object]]
    scores: Sequence[str]
    sources: Sequence[str]
    measurements: int
    hosts: Sequence[str]
    commits: Sequence[str]
    days: Sequence[str]
    left_out: Sequence[str]
    seeds: Mapping[str, str]


def card(facts: Facts) -> str:
    """README.md: front matter that `datasets` reads, and the datasheet."""
    return f"{_front(facts)}\n{_text(facts)}"


def text_licence(sentence: str) -> str:
    """Where a sentence comes from and under which licence, by its id."""
    known = TEXTS.get(sentence.partition("-")[0])
    return f"{known[0]}; {known[1]}" if known else "not known here"


def _front(facts: Facts) -> str:
    size = "n<1K" if len(facts.clips) < 1_000 else "1K<n<10K"
    return f"""---
pretty_name: Clips and scores of a study of frugal speech ({facts.profile})
language: [en]
license: other
license_name: mixed
license_details: every clip names its own, see the columns licence and text_source
task_categories: [text-to-speech]
tags: [speech-quality, evaluation, audio]
size_categories: [{size}]
configs:
- config_name: default
  data_files:
  - split: test
    path: clips.parquet
---
"""


def _text(facts: Facts) -> str:
    seconds = sum(float(clip["seconds"]) for clip in facts.clips)
    systems = Counter((clip["system"], clip["variant"], clip["target"]) for clip in facts.clips)
    lines = "\n".join(
        f"| {system} | {variant} | {target or 'none'} | {count} | {_fingerprints(facts, system, variant, target)} |"
        for (system, variant, target), count in sorted(systems.items())
    )
    voices = sorted({str(clip["licence"]) for clip in facts.clips})
    texts = sorted({str(clip["text_source"]) for clip in facts.clips})
    scored = (
        "Each clip has its scores, computed from the very file: "
        + ", ".join(f"`{name}` ({METRICS[name].in_sentence})" for name in facts.scores)
        + ", `word_errors` and `words` behind `wer`, and what the recogniser heard (`transcript`). By "
        + "; ".join(facts.sources)
        + "."
        if facts.scores
        else "The clips have no scores of their own: the set was made without."
    )
    lost = f" {len(facts.left_out)} clips that the run lists are gone and left out." if facts.left_out else ""
    seeds = ", ".join(f"{notebook} {seed}" for notebook, seed in sorted(facts.seeds.items())) or "not kept"
    return f"""# Clips and scores of a study of frugal speech

{len(facts.clips)} clips, {seconds / 60:.1f} minutes, of {len(systems)} systems, variants and targets, with the texts
they speak, and {facts.measurements:,} measurements of the run that made them (profile `{facts.profile}`).

```python
import datasets

clips = datasets.load_dataset("path/to/this/folder", split="test")
clips = clips.cast_column("audio", datasets.Audio(decode=False))  # FLAC as bytes: decoding needs torchcodec
numbers = datasets.load_dataset("json", data_files="path/to/this/folder/measurements.jsonl", split="train")
```

## Why it was made

To let others hear, score and rate what the study measured: how small, fast and frugal a speech model gets before a
listener notices. It is for evaluation, not for training: there is too little of it, and most of it is synthetic.

## What is in it

- `clips.parquet`: a row for each clip with its sound; `clips/*.flac` and `clips/metadata.jsonl` are the same to listen
  to and to read. `seed` and `fingerprint` (a hash of all weights and settings that decide how a system speaks) are what
  it was made with, empty for recordings and copies of them.
  {scored}{lost}
- `measurements.jsonl`: every row of the run, with unit, kind (measured, estimated, simulated, published, not_run),
  number of sentences, 95 % interval, source, host, commit and time. They are of more sentences than are heard here.
- `environment.json`: processor, versions and seed of each notebook. Seeds: {seeds}.

| system | variant | target | clips | fingerprint |
|---|---|---|---|---|
{lines}

## How it was made

By the numbered notebooks of the repository, {_span(facts.days)}, on {_listed(facts.hosts)}, commit
{_listed(facts.commits)}. Clips are 16-bit FLAC at the rate of the system, at one active speech level
({SPEECH_LEVEL_DBFS:g} dBFS, less where that would clip); nothing else was done to them. Measurements were taken before
that, so scores of a file can differ a little from those of the run. Sentences are held out from all trainings of the
repository. Ratings by listeners are not part of it: they belong to those who gave them.

## What to keep in mind

Predicted MOS and DNSMOS are guesses of networks, and a recogniser counts the word errors. A few sentences do not rank
systems: use the intervals of the measurements. Two voices and one recorded person speak, in American English.

## Licences and provenance

The folder is mixed: each clip says under which terms its sound stands (`licence`) and where its text is from
(`text_source`). Who passes on the clips of the recorded person shares the folder's clips of hers alike.

Sound:

{_list(voices)}

Texts:

{_list(texts)}

## How to make it again

    ./run_all.sh {facts.profile}
    ./run_all.sh dataset {facts.profile}
"""


def _fingerprints(facts: Facts, system: object, variant: object, target: object) -> str:
    same = [c for c in facts.clips if (c["system"], c["variant"], c["target"]) == (system, variant, target)]
    found = sorted({str(clip["fingerprint"]) for clip in same} - {""})
    return ", ".join(f"`{one[:12]}`" for one in found) or "none"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(parts) or "unknown"


def _list(parts: Sequence[str]) -> str:
    return "\n".join(f"- {part}" for part in parts)


def _span(days: Sequence[str]) -> str:
    return "on an unknown day" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
