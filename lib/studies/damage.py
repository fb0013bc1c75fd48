"""Do the judges notice known damage, and how many sentences do they need for it? Noise and an 8-bit decoder on one good
voice, heard by WER, by the recogniser's loss (`asr_nll`) and by predicted MOS.

The same clips with the same seeds and durations are damaged in known steps, so the right order is known beforehand.
`needed` says after how many sentences each metric would notice a step, and `margin` how much loss goes with a
point of WER: from there `verdict.MARGINS` has its margin of `asr_nll`.
"""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib import results
from lib.errors import ParameterError, require
from lib.measure import evaluate, stats
from lib.measure.evaluate import Clip, Judged
from lib.measure.scorer import Scorer
from lib.measure.scores import ClipScores
from lib.measure.verdict import POWER

if TYPE_CHECKING:
    import pandas as pd

    from lib.results import Run
    from lib.systems.base import System

NOISES_DB = (30, 25, 20, 15, 10)  # signal-to-noise ratio of each clip, mildest first
METRICS = ("wer", "asr_nll", "mos_predicted")
INT8 = "int8-dynamic"
SUFFIX = "@damage"  # of the variants
MOST = 2_000  # sentences; who needs more gets no number
DRAWS = 1_000  # test sets drawn for each size: the power is then known within 1.3 points


def study(
    run: Run,
    clips: Sequence[Clip],
    names: tuple[str, str, str],
    scorer: Scorer,
    *,
    noises: Sequence[int] = NOISES_DB,
    int8: Sequence[Clip] | None = None,
) -> dict[str, Judged]:
    """Judge clean clips, and the same with white noise at each ratio; variant -> judged, "baseline" first.

    names: (system, variant, target) of the clean clips, whose own rows are left to those who judge it; int8: the same
    sentences with the same seeds from `quantized`, judged as INT8. Each damage becomes rows, paired with the clean
    clips. Raises ParameterError where the 8-bit clips are of other sentences.
    """
    if int8 is not None and [c.id for c in int8] != [c.id for c in clips]:
        raise ParameterError(
            "the 8-bit clips are of other sentences than the clean ones: speak the same, in order"
        )
    system, variant, target = names
    judged = {"baseline": evaluate.judge(clips, scorer, seed=run.seed)}
    damages = {f"noise-{snr}db": noisy(clips, snr, run.seed) for snr in noises}
    for label, damaged in {**damages, **({INT8: tuple(int8)} if int8 is not None else {})}.items():
        judged[label] = evaluate.quality(
            run,
            (system, f"{label}{SUFFIX}", target),
            damaged,
            scorer,
            baseline=judged["baseline"],
            baseline_name=variant,
            second_opinion=0,
        )
    return judged


def noisy(clips: Sequence[Clip], snr_db: float, seed: int = 0) -> tuple[Clip, ...]:
    """The clips with white Gaussian noise `snr_db` below each one's power; every ratio scales the same noise."""

    def damaged(number: int, clip: Clip) -> Clip:
        noise = np.random.default_rng([seed, number]).standard_normal(len(clip.waveform))
        scale = np.sqrt(np.mean(np.square(clip.waveform, dtype=np.float64)) / 10 ** (snr_db / 10))
        return Clip(clip.id, clip.text, (clip.waveform + scale * noise).astype(np.float32), clip.sample_rate)

    return tuple(damaged(number, clip) for number, clip in enumerate(clips))


def quantized(voice: System) -> System:
    """The voice with the products of its decoder graph in 8 bit (ONNX Runtime's dynamic quantization), its durations
    and everything else as they were.
    """

    def change(copy: System) -> None:
        copy.graphs["decoder"] = int8_graph(copy.graphs["decoder"])

    return voice.derive(INT8, change)


def int8_graph(graph: bytes) -> bytes:
    """A serialized ONNX graph with its convolutions and products in 8 bit: weights now, activations as they come."""
    quantization = require("onnxruntime.quantization", "onnxruntime==1.31.1")
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        before.write_bytes(graph)
        quantization.quantize_dynamic(before, after, weight_type=quantization.QuantType.QUInt8)
        return after.read_bytes()


def needed(judged: Mapping[str, Judged], *, seed: int = 0) -> pd.DataFrame:
    """Sentences that each metric needs to notice each damage: rows damages, columns METRICS, <NA> beyond MOST.

    That many are enough for a paired t test at 5 % to find the clip set worse in 80 of 100 test sets, drawn with
    replacement from the judged sentences; at least 6, below which even a perfect sign test finds nothing.
    """
    import pandas as pd

    clean = judged["baseline"].scores
    rows = {
        label: {m: sentences_needed(each_sentence(found.scores, clean, m), seed=seed) for m in METRICS}
        for label, found in judged.items()
        if label != "baseline"
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(METRICS)).astype("Int64")


def rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `study` in a table of `lib.results.read`, of its newest run alone."""
    return results.newest_run(table[table.variant.str.endswith(SUFFIX) & table.metric.isin(METRICS)])


def recalled(table: pd.DataFrame) -> str | None:
    """What the rows of `study` say, in a sentence; None without any. table: rows as `lib.results.read` returns them.

    They hold no single sentences, so the sentences needed follow from the paired differences and their spread, by the
    normal approximation.
    """
    from scipy.stats import norm

    known = rows(table)
    known = known[known.value.notna() & known.detail.str.startswith("{")]
    if known.empty:
        return None
    z = norm.ppf((1 + stats.CONFIDENCE) / 2) + norm.ppf(POWER)
    count: dict[str, dict[str, str]] = {}
    for row in known.itertuples():
        detail = json.loads(row.detail)
        gap, sd = detail["difference"], detail["sd"]
        gap = -gap if row.metric == "mos_predicted" else gap
        needed = max(6, math.ceil((z * sd / gap) ** 2)) if gap > 0 and sd is not None else None
        label = row.variant.removesuffix(SUFFIX)
        count.setdefault(label, {})[row.metric] = _count(needed if (needed or math.inf) <= MOST else None)
    steps = "; ".join(
        f"{_name(label)} {row.get('wer', '?')} by WER, {row.get('asr_nll', '?')} by the loss, "
        f"{row.get('mos_predicted', '?')} by predicted MOS"
        for label, row in count.items()
    )
    return (
        f"From {int(known.n.max())} sentences, so many would notice a damage (5 %, power 80 %; normal approximation): "
        f"{steps}."
    )


def each_sentence(scores: Sequence[ClipScores], clean: Sequence[ClipScores], metric: str) -> np.ndarray:
    """(n,) what each sentence adds to the change for the worse; of ratios, errors or nats per mean sentence length."""
    if metric == "mos_predicted":
        return np.array([b.values[metric] - a.values[metric] for a, b in zip(scores, clean)])
    above, below = (np.array(column) for column in zip(*(_counts(s, metric) for s in scores)))
    before = np.array([_counts(s, metric)[0] for s in clean])
    return (above - before) / below.mean()


def sentences_needed(worse: np.ndarray, *, seed: int = 0) -> int | None:
    """The fewest sentences with which a one-sided t test at 2.5 % (two-sided 5 %, and in the right direction) finds
    (n,) changes for the worse like these in a share of POWER of the draws; None where MOST are too few.
    """
    from scipy.stats import t

    rng = np.random.default_rng(seed)

    @functools.cache
    def enough(n: int) -> bool:
        drawn = rng.choice(worse, (DRAWS, n))
        with np.errstate(all="ignore"):
            score = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / np.sqrt(n))
        return bool(np.mean(score > t.ppf((1 + stats.CONFIDENCE) / 2, n - 1)) >= POWER)

    low, high = 5, 6
    while not enough(high):
        low, high = high, 2 * high
        if low >= MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high <= MOST else None


def margin(judged: Mapping[str, Judged], *, points: float = 0.01, resamples: int = 2_000, seed: int = 0):
    """The growth of `asr_nll` that goes with `points` of WER: a line through the origin over all damages, by least
    squares of WER on the loss; the interval (percentile) draws sentences, the same for every damage. An Estimate.
    """
    clean, damaged = judged["baseline"].scores, [j.scores for label, j in judged.items() if label != "baseline"]
    wer, nll = (  # (damages, n) of each metric
        np.array([each_sentence(scores, clean, metric) for scores in damaged]) for metric in ("wer", "asr_nll")
    )

    def slope(chosen: np.ndarray) -> float:
        x, y = nll[:, chosen].mean(axis=1), wer[:, chosen].mean(axis=1)
        return float(x @ y / (x @ x))

    n = wer.shape[1]
    rng = np.random.default_rng(seed)
    drawn = points / np.array([slope(rng.integers(0, n, n)) for _ in range(resamples)])
    low, high = np.quantile(drawn, [(1 - stats.CONFIDENCE) / 2, (1 + stats.CONFIDENCE) / 2])
    return stats.Estimate(points / slope(np.arange(n)), float(low), float(high), n)


def finding(judged: Mapping[str, Judged], *, seed: int = 0) -> str:
    """Whether each metric puts the noises in their order, and what each needs for the mildest damages, in words."""
    noises = sorted(
        (label for label in judged if label.startswith("noise-")), key=lambda label: -_decibels(label)
    )
    order = ["baseline", *noises]
    signs = {"wer": 1, "asr_nll": 1, "mos_predicted": -1}
    names = {"wer": "WER", "asr_nll": "the recogniser's loss", "mos_predicted": "predicted MOS"}
    right = [
        names[m]
        for m, sign in signs.items()
        if all(np.diff([sign * judged[label].summary[m].value for label in order]) > 0)
    ]
    table = needed(judged, seed=seed)
    count = {label: {m: _count(table.loc[label, m]) for m in METRICS} for label in table.index}
    steps = "; ".join(
        f"{_name(label)} {row['wer']} by WER, {row['asr_nll']} by the loss, {row['mos_predicted']} by predicted MOS"
        for label, row in count.items()
    )
    per_point = margin(judged, seed=seed)
    return (
        f"{' and '.join(right) if right else 'No metric'} put{'s' if len(right) == 1 else ''} clean speech and "
        f"{len(noises)} levels of noise in their order on {per_point.n} sentences. Sentences needed to notice a "
        f"damage (5 %, power 80 %): {steps}. A point of WER goes with {per_point.value:.3f} nats a word "
        f"[{per_point.low:.3f}, {per_point.high:.3f}]."
    )


def _counts(scores: ClipScores, metric: str) -> tuple[float, float]:
    """(errors or nats, words) of a clip."""
    if metric == "wer":
        return scores.recognition.wer.errors, scores.recognition.wer.length
    return scores.loss.nats, scores.loss.words


def _decibels(label: str) -> float:
    return float(label.removeprefix("noise-").removesuffix("db"))


def _name(label: str) -> str:
    return "8-bit decoder" if label == INT8 else f"noise at {_decibels(label):g} dB"


def _count(number) -> str:
    import pandas as pd

    return f"more than {MOST:,}" if pd.isna(number) else str(number)
