"""A voice of one's own: a folder of recordings in, a variant, clips and a card out.

    python -m lib.adapt FOLDER --system fastspeech2 --method lora --rank 8 --minutes 10 --steps 600 --out OUT

FOLDER    metadata.csv (name|text) and wavs/name.wav, see `lib.corpora.own`
OUT       variant/ (for `optimize.load`), clips/ (held-out sentences by person and learnt voice), README.md (a card),
          training/ (a run for each setting, which goes on where it stopped), with --merge a plain checkpoint in merged/
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from lib import audio, environment
from lib.corpora import own
from lib.errors import ParameterError, SpeechError
from lib.files import content_key, write_atomic
from lib.studies import finetuning, new_voices, person
from lib.studies.trials import SYSTEM, USUAL, Trial

if TYPE_CHECKING:
    from lib.corpora.base import Corpus
    from lib.corpora.portion import Portion
    from lib.measure.evaluate import Clip, Judged
    from lib.systems.base import System

CEILING, BASE = (
    "copy by the vocoder, the ceiling",
    "the base as it is",
)  # beside whom the learnt voice is judged
METRICS = {  # what the card's table shows -> (title, factor, digits)
    "speaker_similarity": ("similarity to the person", 1, 3),
    "mos_predicted": ("predicted MOS", 1, 2),
    "wer": ("WER, %", 100, 1),
}


@dataclass(frozen=True)
class Adapted:
    """variant, clips, card: where they lie; judged: who -> how the held-out sentences sound."""

    variant: Path
    clips: tuple[Path, ...]
    card: Path
    judged: dict[str, Judged]


def adapt(
    folder: str | Path,
    trial: Trial,
    out: str | Path,
    *,
    sentences: int = 10,
    threads: int = 2,
    merge: bool = False,
) -> Adapted:
    """Learn the voice of a folder. trial: how; its voice is the new one's name; merge: also write <out>/merged, a
    checkpoint of the system with what was learnt in its weights.

    Raises MissingDataError where the folder has too little to learn from, with the reasons of what was left out.
    """
    from lib.corpora.portion import portion
    from lib.optimize import new_voice

    if merge and trial.method == "qlora":
        raise ParameterError(
            "what qlora learns cannot be merged into its weights of 4 bits: train lora to merge"
        )
    out = Path(out)
    corpus = own.load(folder, trial.voice)
    taken = portion(corpus, trial.minutes)
    outcome, file, share, _ = finetuning.train(trial, taken, out / "training" / _key(trial, taken))
    base = person.load_base(trial.system, threads)
    voice = new_voices.made_voice(base, trial, file, out / "variant")
    judged = _judged(corpus, base, voice, trial, sentences, threads)
    clips = _clips(judged, out / "clips")
    text = card(trial, corpus, taken, share, outcome.seconds, judged, merge)
    if merge:
        new_voice.export(voice, out / "merged", text)
    return Adapted(out / "variant", clips, write_atomic(out / "README.md", text.encode()), judged)


def card(
    trial: Trial,
    corpus: Corpus,
    taken: Portion,
    share: dict[str, float],
    seconds: float,
    judged: dict[str, Judged],
    merged: bool = False,
) -> str:
    """What somebody has to know of the voice, in Markdown; every number in it was measured. merged: whether there is a
    plain checkpoint, too.
    """
    learnt = taken.corpus.split("train")
    rows = [
        f"| {who} | " + " | ".join(_cell(found, metric) for metric in METRICS) + " |"
        for who, found in judged.items()
    ]
    skipped = [f"- {name}: {why}" for name, why in sorted(corpus.skipped.items())]
    n = len(next(iter(judged.values())).clips)
    return "\n".join(
        [
            f"# {trial.variant}",
            "",
            f"`{trial.system}` with the voice {trial.voice}, learnt from {len(learnt)} clips "
            f"({taken.seconds / 60:.1f} minutes) by {trial.adapter.label}.",
            "",
            f"- what learnt: {share['trainable_params']:,.0f} parameters, {share['trainable_params_pct']:.3g} % of the "
            f"base's, {share['adapter_bytes'] / 1e3:,.0f} kB",
            f"- how: {trial.steps:,} steps of batch {trial.batch_size}, rate {trial.rate:g}, seed {trial.seed}, "
            f"{seconds / 60:.1f} minutes on {environment.processor()}",
            f"- made {date.today().isoformat()} from commit {environment.commit()}",
            f"- clips left out because their sentences are near to held-out ones: {len(taken.left_out)}",
            f"- clips that could not be used: {len(skipped)}",
            "- a voice is a person's own: learn and publish only one whose speaker has agreed",
            "",
            f"Measured on {n} held-out sentences, which the training did not see (95 % intervals over sentences where "
            "there are enough):",
            "",
            "| who | " + " | ".join(title for title, *_ in METRICS.values()) + " |",
            "|---|" + "---|" * len(METRICS),
            *rows,
            "",
            *([nearer, ""] if (nearer := _nearer(judged, trial.variant)) else []),
            *(["Left out:", "", *skipped, ""] if skipped else []),
            "Load it:",
            "",
            "    from lib import optimize",
            '    voice = optimize.load("variant")',
            '    speech = voice.synthesize("Whatever is to be said.", seed=0)',
            "",
            *(_loading_merged(trial) if merged else []),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 0, or with one line on stderr 1, or 130 for Ctrl-C."""
    from lib.corpora.unheard import NAMES
    from lib.optimize.adapter_layers import GROUPS, METHODS
    from lib.optimize.new_voice import SYSTEMS
    from lib.training import stopping

    parser = argparse.ArgumentParser(prog="python -m lib.adapt", description="Learn a voice from a folder.")
    parser.add_argument("folder", help="with metadata.csv (name|text) and wavs/")
    parser.add_argument("--system", default=SYSTEM, choices=SYSTEMS, help="who learns")
    parser.add_argument("--method", default="lora", choices=METHODS)
    parser.add_argument("--rank", type=int, default=8, help="of lora, dora and qlora")
    parser.add_argument("--modules", nargs="+", default=USUAL, choices=GROUPS, help="layers that get one")
    parser.add_argument("--minutes", type=float, default=0.0, help="of speech to learn from; 0: all")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--learning-rate", type=float, default=0.0, help="0: the method's usual one")
    parser.add_argument("--sentences", type=int, default=10, help="held-out ones that are spoken and judged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="", help="of the voice; by default the folder's")
    parser.add_argument(
        "--merge", action="store_true", help="also write a plain checkpoint, for ONNX Runtime, too"
    )
    parser.add_argument("--out", default="", help="by default outputs/voices/<name of the variant>")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        environment.pin_threads(given.threads)
        if not given.learning_rate >= 0:
            raise ParameterError(
                f"a learning rate of {given.learning_rate:g}: give one above 0, or 0 for the usual"
            )
        name = given.name or own.voice_name(Path(given.folder))
        if name in NAMES:
            raise ParameterError(f"{name!r} is the name of one of the project's voices: give another by --name")
        trial = Trial(
            given.method,
            given.rank,
            given.minutes,
            given.seed,
            tuple(given.modules),
            name,
            given.system,
            given.steps,
            learning_rate=given.learning_rate,
            threads=given.threads,
        )
        out = given.out or _outputs() / trial.variant
        with stopping.ctrl_c_asks():
            done = adapt(
                given.folder, trial, out, sentences=given.sentences, threads=given.threads, merge=given.merge
            )
    except SpeechError as error:
        print(f"no voice was learnt: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    print(f"{done.card}\n{done.variant}\n{len(done.clips)} clips in {done.clips[0].parent}")
    return 0


def _outputs() -> Path:
    """Where voices go unless told otherwise."""
    from lib import REPOSITORY

    return REPOSITORY / "outputs" / "voices"


def _nearer(judged: dict[str, Judged], variant: str) -> str | None:
    """Whether the learning brought anything, in a sentence; None where no similarity was measured."""
    summaries = [judged[who].summary for who in (variant, BASE, CEILING)]
    if any("speaker_similarity" not in summary for summary in summaries):
        return None
    learnt, before, most = (summary["speaker_similarity"].value for summary in summaries)
    if learnt <= before:
        return (
            f"**It has not come nearer to the person**: a similarity of {learnt:.3f}, the base as it is {before:.3f}. "
            "Learn longer (`--steps`), or from more speech."
        )
    way = (
        f", {100 * (learnt - before) / (most - before):.0f} % of the way to the ceiling"
        if most > before
        else ""
    )
    return f"It came nearer to the person by {learnt - before:.3f}{way}."


def _loading_merged(trial: Trial) -> list[str]:
    """The lines of a card that load the plain checkpoint; without its vocoder and name it would speak as another."""
    return [
        "The plain checkpoint speaks on ONNX Runtime, too, without PyTorch once its graphs are made:",
        "",
        "    from lib import systems",
        f'    voice = systems.load("{trial.system}", checkpoint="merged", target="onnxruntime/cpu", '
        f'vocoder="{person.VOCODER}", speaker="{trial.voice}")',
        "",
    ]


def _key(trial: Trial, taken: Portion) -> str:
    """Other recordings, texts or settings are another training, as is that of another code or base; none goes on from
    another's steps.
    """
    settings = dataclasses.asdict(dataclasses.replace(trial, threads=1))
    learnt = finetuning.base_key(trial.system), finetuning.clips_key(taken.corpus.utterances)
    return content_key(finetuning.REVISION, settings, *learnt)[:8]


def _judged(
    corpus: Corpus, base: System, voice: System, trial: Trial, sentences: int, threads: int
) -> dict[str, Judged]:
    """The person, the vocoder's copy of the person, the base in its nearest voice, and the learnt voice."""
    from lib.measure import evaluate
    from lib.measure.scorer import Scorer

    whose = person.of(corpus, sentences)
    scorer = Scorer(threads=threads)
    spoken: dict[str, tuple[Clip, ...]] = {
        "the person": whose.recordings,
        CEILING: person.copied(whose, threads),
        BASE: evaluate.speak(person.nearest(base, whose, scorer), whose.sentences),
        trial.variant: evaluate.speak(voice, whose.sentences),
    }
    return {who: evaluate.judge(clips, scorer, voice=whose.references) for who, clips in spoken.items()}


def _clips(judged: dict[str, Judged], folder: Path) -> tuple[Path, ...]:
    """What the person said and the learnt voice says of each held-out sentence, at one loudness."""
    made = []
    for who in (next(iter(judged)), list(judged)[-1]):
        label = own.voice_name(Path(who.partition("@")[0]))
        for old in folder.glob(f"*_{label}.flac"):  # of an earlier run, which may have held out other sentences
            old.unlink()
        for clip in judged[who].clips:
            levelled = audio.match_level(clip.waveform, clip.sample_rate)
            made.append(audio.save(folder / f"{clip.id}_{label}.flac", levelled, clip.sample_rate))
    return tuple(made)


def _cell(found: Judged, metric: str) -> str:
    if metric not in found.summary:
        return ""
    _, factor, digits = METRICS[metric]
    estimate = found.summary[metric]
    text = f"{factor * estimate.value:.{digits}f}"
    if estimate.ci:
        text += f" [{factor * estimate.low:.{digits}f}, {factor * estimate.high:.{digits}f}]"
    return text


if __name__ == "__main__":
    sys.exit(main())
