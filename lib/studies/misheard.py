"""What does a recogniser mishear: how many words and letters, which, of clips how long, and how deep in noise?

Everything compares clip by clip: two recognisers hear the same clips, and the interval of their difference is paired.
Intervals draw texts: a sentence that several voices read is misheard by its words as much as by its voice, so its clips
are drawn together, not as so many sentences; and so are those of texts that are near to each other
(`lib.corpora.duplicates`), for "now muted" is no other sentence than "now unmuted".
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import progress, text
from lib.corpora import duplicates
from lib.corpora.domains import HARD_SET, RATE, Clip
from lib.errors import ParameterError, require
from lib.files import cache_folder, content_key, write_atomic
from lib.measure import stats
from lib.measure.intelligibility import ErrorCounts
from lib.measure.scores import RECOGNISED, Recognition, recognised
from lib.measure.stats import Difference, Estimate

if TYPE_CHECKING:
    import pandas as pd

    from lib.systems.base import Recogniser

SYSTEM, BASELINE = "whisper-tiny.en", "baseline"
LENGTHS = (0, 6, 10, 15, 1_000)  # words of a clip: ends of the groups
SNRS_DB = (0.0, 3.0, 6.0, 10.0)  # of the noise domain


@dataclass(frozen=True)
class Listened:
    """What was heard of a clip; how fast is the bench's to say, not that of something kept."""

    clip: Clip
    heard: str

    @functools.cached_property
    def recognition(self) -> Recognition:
        """What was heard beside what was said."""
        return recognised(self.clip.utterance.text, self.heard)

    def errors(self, metric: str = "wer") -> ErrorCounts:
        """Of `RECOGNISED`."""
        return getattr(self.recognition, metric)


def judged_on(system: str) -> str:
    """Where every method is heard: the embedded recogniser where it is deployed, one of the hub where it learnt."""
    return "ctranslate2/cpu" if system == SYSTEM else "torch/cpu"


def listen(recogniser: "Recogniser", clips: Sequence[Clip]) -> tuple[Listened, ...]:
    """Every clip transcribed, or found in the cache, where the same recogniser heard the same samples."""
    key = recogniser.cache_key()
    label = f"{recogniser.name} {recogniser.variant} on {recogniser.target} listens"
    return tuple(_listen(recogniser, key, clip) for clip in progress.track(clips, label, unit="clip"))


def rates(heard: Sequence[Listened]) -> dict[str, Estimate]:
    """Each of `RECOGNISED` over all clips, with its interval."""
    return {metric: _rate(heard, metric) for metric in RECOGNISED}


def change(before: Sequence[Listened], after: Sequence[Listened], metric: str = "wer") -> Difference:
    """After minus before, paired, n: texts; ParameterError where they are not the same clips in the same order."""
    if [h.clip.id for h in before] != [h.clip.id for h in after]:
        raise ParameterError(
            "the two heard other clips, or in another order: only the same ones can be compared"
        )
    return stats.paired_ratio_difference(*_counts(after, metric), *_counts(before, metric))


def substitutions(heard: Sequence[Listened], most: int = 10) -> "pd.DataFrame":
    """Columns said, heard, times: the words most often taken for others, after normalisation; "" for nothing."""
    import pandas as pd

    jiwer = require("jiwer", "jiwer==4.0.0")
    counts: collections.Counter = collections.Counter()
    for one in heard:
        said, got = text.for_comparison(one.clip.utterance.text), text.for_comparison(one.heard)
        if not said.strip():
            continue
        output = jiwer.process_words(said, got)
        for part in output.alignments[0]:
            theirs = output.references[0][part.ref_start_idx : part.ref_end_idx]
            ours = output.hypotheses[0][part.hyp_start_idx : part.hyp_end_idx]
            if part.type == "substitute":
                counts.update(zip(theirs, ours))
            elif part.type != "equal":
                counts.update([(word, "") for word in theirs] + [("", word) for word in ours])
    rows = [
        (*pair, times) for pair, times in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    ]
    return pd.DataFrame(rows, columns=["said", "heard", "times"])


def by_length(heard: Sequence[Listened]) -> "pd.DataFrame":
    """WER of clips grouped by their number of words: columns words, clips, wer, low, high."""
    return _grouped(heard, "words", LENGTHS, [len(h.clip.utterance.normalized.split()) for h in heard])


def by_snr(heard: Sequence[Listened]) -> "pd.DataFrame":
    """WER of the clips in noise, grouped by how loud it is: columns snr_db, clips, wer, low, high."""
    noisy = [h for h in heard if h.clip.domain == "noise"]
    return _grouped(noisy, "snr_db", SNRS_DB, [h.clip.snr_db for h in noisy])


def groups(heard: Sequence[Listened]) -> dict[str, list[list[Any]]]:
    """What `by_length` and `by_snr` say, as JSON for a row's detail, which `grouped` reads: [group, clips, wer, low,
    high] of each group.
    """
    tables = {"words": by_length(heard), "snr_db": by_snr(heard)}
    return {
        name: [
            [value if isinstance(value, (str, int, type(None))) else round(float(value), 4) for value in row]
            for row in table.astype(object).where(table.notna(), None).values.tolist()
        ]
        for name, table in tables.items()
    }


def grouped(table: "pd.DataFrame", by: str, system: str = SYSTEM) -> "dict[str, pd.DataFrame]":
    """The recogniser as it comes ("as it comes") and each method -> WER of hard clips in groups, as rows hold it. by:
    "words" or "snr_db"; columns as of `by_length` or `by_snr`. table: of one run.
    """
    import pandas as pd

    mine = table[(table.system == system) & (table.metric == "wer") & (table.target == judged_on(system))]
    mine = mine[mine.variant.str.endswith(f"@{HARD_SET}") & mine.detail.str.startswith("{")]
    mine = mine[~mine.variant.str.contains("+", regex=False)]  # in 8 bits, as it was deployed
    found = {}
    for row in mine.drop_duplicates("variant", keep="last").itertuples():
        if rows := json.loads(row.detail).get("groups", {}).get(by):
            name = row.variant.removesuffix(f"@{HARD_SET}").replace(BASELINE, "as it comes")
            found[name] = pd.DataFrame(rows, columns=[by, "clips", "wer", "low", "high"])
    return found


def by_domain(heard: Sequence[Listened]) -> "pd.DataFrame":
    """WER in each domain: columns domain, clips, wer, low, high."""
    import pandas as pd

    domains = dict.fromkeys(h.clip.domain for h in heard)
    return pd.DataFrame([{"domain": d, **_row([h for h in heard if h.clip.domain == d])} for d in domains])


def _listen(recogniser: "Recogniser", key: str, clip: Clip) -> Listened:
    waveform = clip.load()
    name = content_key(key, waveform.tobytes())
    path = cache_folder("heard", recogniser.name, name[:2], f"{name}.json")
    if not path.exists():
        write_atomic(path, json.dumps({"heard": recogniser.transcribe(waveform, RATE).text}).encode())
    return Listened(clip, json.loads(path.read_text(encoding="utf-8"))["heard"])


def _rate(heard: Sequence[Listened], metric: str) -> Estimate:
    """Over all clips, n of them, with the interval over their texts."""
    return dataclasses.replace(stats.ratio_ci(*_counts(heard, metric)), n=len(heard))


def _counts(heard: Sequence[Listened], metric: str) -> tuple[list[int], list[int]]:
    """(errors, lengths) of each text, over all clips that say it or nearly it."""
    return of_texts([one.clip.utterance.normalized for one in heard], [one.errors(metric) for one in heard])


def of_texts(said: Sequence[str], counted: Sequence[ErrorCounts]) -> tuple[list[int], list[int]]:
    """(errors, lengths) of each group of clips that say nearly the same. said: their texts; counted: errors in each."""
    errors: dict[int, int] = {}
    lengths: dict[int, int] = {}
    for number, one in zip(_groups(tuple(said)), counted, strict=True):
        errors[number] = errors.get(number, 0) + one.errors
        lengths[number] = lengths.get(number, 0) + one.length
    return list(errors.values()), list(lengths.values())


@functools.lru_cache(64)  # the same texts are counted for every method and metric
def _groups(said: tuple[str, ...]) -> list[int]:
    return duplicates.groups(said)


def _grouped(
    heard: Sequence[Listened], name: str, ends: Sequence[float], values: Sequence[float]
) -> "pd.DataFrame":
    import pandas as pd

    groups = np.clip(np.digitize(values, ends) - 1, 0, len(ends) - 2)
    rows = []
    for number, (low, high) in enumerate(zip(ends, ends[1:])):
        own = [h for h, group in zip(heard, groups) if group == number]
        if own:
            rows.append({name: f"{low:g}-{high:g}" if high < 1_000 else f"{low:g} and more", **_row(own)})
    return pd.DataFrame(rows, columns=[name, "clips", "wer", "low", "high"])


def _row(heard: Sequence[Listened]) -> dict[str, float | None]:
    estimate = _rate(heard, "wer")
    return {"clips": len(heard), "wer": estimate.value, "low": estimate.low, "high": estimate.high}
