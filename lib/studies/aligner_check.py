"""How exact is the forced aligner? Checked on synthetic speech, whose phone durations are known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib import progress
from lib.corpora import align
from lib.corpora.base import Corpus, Utterance
from lib.errors import MissingDataError, SpeechError


@dataclass(frozen=True)
class AlignerCheck:
    """errors_ms: how much later each phone begins than it should, (n_boundaries,); refused: clips without an
    alignment.
    """

    errors_ms: np.ndarray
    clips: int
    refused: int

    def sentence(self) -> str:
        """What came out, in a sentence."""
        size = np.abs(self.errors_ms)
        refused = f"; {self.refused} clips were refused" if self.refused else ""
        return (
            f"Over {len(size):,} phone boundaries of {self.clips} clips the median error is "
            f"{np.median(size):.1f} ms (mean "
            f"{size.mean():.1f} ms, {100 * (size <= 50).mean():.0f} % within 50 ms, bias "
            f"{self.errors_ms.mean():+.1f} ms){refused}. "
            "A frame is 11.6 ms."
        )


def against_exact(utterances: Sequence[Utterance]) -> AlignerCheck:
    """Align clips whose exact `phones` and `frames` are known, and compare where the phones begin."""
    errors, refused = [], 0
    for utterance in progress.track(utterances, "aligning", unit="clip"):
        if utterance.frames is None:
            raise MissingDataError(
                f"{utterance.id} has no exact durations to compare with: take speech of vits-joe"
            )
        try:
            found = align.align(
                utterance.load(), utterance.sample_rate, utterance.normalized, phones=utterance.phones
            )
        except SpeechError:
            refused += 1
            continue
        errors.append(align.boundary_errors_ms(utterance.phones, found.frames, utterance.frames))
    if not errors:
        raise SpeechError(f"none of {len(utterances)} clips could be aligned")
    return AlignerCheck(np.concatenate(errors), len(errors), refused)


def durations(corpus: Corpus, limit: int) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    """(phones, frames) of the first `limit` recordings of the training split that can be aligned."""
    found = itertools.islice(align.aligned(corpus, "train"), limit)
    return [
        (u.phones, u.frames) for u in progress.track(found, f"aligning {corpus.name}", total=limit, unit="clip")
    ]
