"""How well does a recogniser hear after a change? It hears what `vits-joe` reads, as its baseline did, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib import progress, systems
from lib.corpora.base import Sentence
from lib.measure import evaluate
from lib.measure.evaluate import Clip, Judged
from lib.measure.scores import RECOGNISED, ClipScores, compare, recognised, summarise

if TYPE_CHECKING:
    from lib.measure.stats import Difference
    from lib.results import Run
    from lib.systems.base import Recogniser

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


def judged(listener: Recogniser, heard: Sequence[Clip], *, seed: int = 0) -> Judged:
    """Clips with the errors of what a recogniser makes of them."""
    heard_so_far = progress.track(heard, f"{listener.name} listens", unit="clip")
    texts = [listener.transcribe(clip.waveform, clip.sample_rate).text for clip in heard_so_far]
    scores = [ClipScores(recognised(clip.text, text)) for clip, text in zip(heard, texts)]
    return Judged(tuple(heard), tuple(scores), summarise(scores, seed=seed))


def compared(
    run: Run, names: tuple[str, str, str], now: Judged, before: Judged, baseline: str
) -> dict[str, Difference]:
    """What changed, paired, after it was written: rows of `names` with their differences to `baseline`."""
    differences = compare(now.scores, before.scores, seed=run.seed)
    for metric in RECOGNISED:
        estimate = now.summary[metric]
        run.add(
            *names,
            metric,
            estimate.value,
            n=estimate.n,
            ci=estimate.ci,
            source=SOURCE,
            baseline=baseline,
            detail=evaluate.paired_detail(differences[metric]),
        )
    return differences
