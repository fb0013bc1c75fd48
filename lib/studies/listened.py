"""How well does a recogniser hear after a change? It hears what `vits-joe` reads, as its baseline did, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib import systems
from lib.corpora.base import Sentence
from lib.measure import evaluate, paired
from lib.measure.evaluate import Clip, Judged
from lib.measure.scores import RECOGNISED, compare

if TYPE_CHECKING:
    from lib.measure.stats import Difference
    from lib.results import Run

READER = ("vits-joe", "onnxruntime/cpu")
SOURCE = "greedy decoding of what vits-joe reads, jiwer"


def clips(sentences: Sequence[Sentence], *, seed: int = 0, threads: int = 2) -> tuple[Clip, ...]:
    """The sentences as the recogniser is given them."""
    name, target = READER
    return evaluate.speak(systems.load(name, target=target, threads=threads), sentences, seed=seed)


def read(texts: Sequence[str], *, seed: int = 0, threads: int = 2) -> tuple[Clip, ...]:
    """The same of plain texts."""
    sentences = [Sentence(f"text-{number}", text, "test") for number, text in enumerate(texts)]
    return clips(sentences, seed=seed, threads=threads)


def compared(
    run: Run, names: tuple[str, str, str], now: Judged, before: Judged, baseline: str
) -> dict[str, Difference]:
    """What changed, paired, after it was written: rows of `names` with their differences to `baseline`."""
    differences = compare(now.scores, before.scores, seed=run.seed)
    for metric in RECOGNISED:
        told = {"baseline": baseline, "difference": differences[metric]}
        paired.write(run, names, metric, now.summary[metric], SOURCE, **told)
    return differences
