"""Did a decoder read its whole text, once, in order, and then stop? What its attention to the symbols tells.

Decoders that find their own way through a text (Tacotron 2, SpeechT5) fail in three ways that no loss shows:
they skip symbols, they read some again, or they do not stop. All three are seen in the alignment: whom each
frame attended to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lib.errors import ParameterError

if TYPE_CHECKING:
    import torch

ATTENDED = 0.1  # a symbol that got this share of any one frame's attention was seen
SKIP = (
    4  # symbols in a row that nobody looked at; fewer are a stress mark, a space or a sound that was swallowed
)
BACK = 4  # symbols by which the focus falls behind what it had reached before; less is a look at the context
HOLD = 2  # frames that a focus has to last


@dataclass(frozen=True)
class Failures:
    """What went wrong. skips: (first, last + 1) of each run of symbols never attended to; repeats: frames at
    which the focus went back; stopped: whether the decoder ended by itself.
    """

    skips: tuple[tuple[int, int], ...] = ()
    repeats: tuple[int, ...] = ()
    stopped: bool = True

    def __bool__(self) -> bool:
        """Whether anything did."""
        return bool(self.skips or self.repeats or not self.stopped)

    def notes(self, symbols: Sequence[str]) -> tuple[str, ...]:
        """One line for each failure, in words; symbols: those of the alignment's columns."""
        lines = [
            f"skipped {''.join(symbols[begin:end])!r}, symbols {begin} to {end - 1}"
            for begin, end in self.skips
        ]
        lines += [f"went back in the text at frame {frame}" for frame in self.repeats]
        return (*lines, *(() if self.stopped else ("did not stop by itself: the length guard cut it",)))


class SpokenMel(NamedTuple):
    """What a network said of one sentence, where it is. log_mel: (F, n_bands); alignment: (S, T); stopped: False
    where the length guard cut it.
    """

    log_mel: "torch.Tensor"
    alignment: "torch.Tensor"
    stopped: bool


@dataclass(frozen=True)
class Reading:
    """One sentence before the vocoder, to be looked at or judged. phones: its T symbols; log_mel: (F, 80);
    alignment: (S, T), the attention of each decoder step, of F / S frames; stopped: False where the length guard
    cut it.
    """

    phones: tuple[str, ...]
    log_mel: np.ndarray
    alignment: np.ndarray
    stopped: bool

    @property
    def failures(self) -> Failures:
        """What the attention did wrong."""
        return failures(self.alignment, stopped=self.stopped)


def failures(
    alignment: np.ndarray,
    *,
    stopped: bool = True,
    attended: float = ATTENDED,
    skip: int = SKIP,
    back: int = BACK,
    hold: int = HOLD,
) -> Failures:
    """Judge one sentence.

    alignment: (n_frames, n_symbols), each row the attention of one decoder step, summing to 1; the first and
    last symbols may be marks of beginning and end. stopped: whether the decoder ended before its length guard.
    A skip is `skip` or more symbols in a row of which none ever got the share `attended`; a repeat, a focus
    (the most attended symbol, by the median over 2 * `hold` - 1 frames, so that shorter glances do not count)
    that falls `back` or more symbols behind the furthest so far. Raises ParameterError for anything else than
    such a matrix.
    """
    alignment = np.asarray(alignment)
    if alignment.ndim != 2 or not alignment.size or not np.isfinite(alignment).all():
        raise ParameterError(
            f"an alignment of shape {alignment.shape} is not (n_frames, n_symbols) finite shares of attention"
        )
    seen = np.concatenate([[True], alignment.max(0) >= attended, [True]])
    edges = np.flatnonzero(np.diff(seen.astype(int)))  # a run of unseen symbols begins, ends, begins...
    skips = tuple((int(begin), int(end)) for begin, end in zip(edges[::2], edges[1::2]) if end - begin >= skip)
    return Failures(skips, _returns(focus(alignment, hold), back), bool(stopped))


def focus(alignment: np.ndarray, hold: int = HOLD) -> np.ndarray:
    """The symbol each frame looks at, (n_frames,) int64: the most attended, by the median over 2 * `hold` - 1
    frames.
    """
    padded = np.pad(np.asarray(alignment).argmax(1), hold - 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * hold - 1)
    return np.median(windows, axis=1).astype(np.int64)


def _returns(path: np.ndarray, back: int) -> tuple[int, ...]:
    """Frames at which the path falls behind; what is read again until it has caught up belongs to the same fall."""
    behind = np.maximum.accumulate(path) - path >= back
    return tuple(int(frame) for frame in np.flatnonzero(behind & ~np.pad(behind, (1, 0))[:-1]))
