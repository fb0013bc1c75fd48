"""Attention failures on alignments drawn by hand: each kind alone, at its exact place, and the near misses."""

from __future__ import annotations

import numpy as np
import pytest

from lib.errors import ParameterError
from lib.systems.attention import Failures, failures, focus


def looking_at(path: list[int], n_symbols: int, share: float = 1.0) -> np.ndarray:
    """An alignment whose frames give `share` of their attention to the symbols of `path`, the rest to all alike."""
    rows = np.full((len(path), n_symbols), (1 - share) / n_symbols)
    rows[np.arange(len(path)), path] += share
    return rows


def read(n_symbols: int, frames: int = 3) -> list[int]:
    return [symbol for symbol in range(n_symbols) for _ in range(frames)]


def test_a_text_read_once_in_order_has_no_failure():
    for share in (1.0, 0.6, 0.3):
        found = failures(looking_at(read(20), 20, share))
        assert found == Failures() and not found and found.notes([]) == ()


def test_a_skip_is_found_with_its_symbols():
    found = failures(looking_at([s for s in read(20) if s not in (7, 8, 9, 10)], 20))
    assert found == Failures(skips=((7, 11),)) and found
    assert found.notes("abcdefghijklmnopqrst") == ("skipped 'hijk', symbols 7 to 10",)


def test_a_sentence_cut_short_skips_its_end_and_one_begun_late_its_beginning():
    assert failures(looking_at(read(14), 20)).skips == ((14, 20),)
    assert failures(looking_at([s for s in read(20) if s > 4], 20)).skips == ((0, 5),)


def test_three_symbols_swallowed_and_a_glance_are_no_failures():
    path = [s for s in read(20) if s not in (3, 4, 5, 12, 13, 14)]
    path[20] = 2  # one frame looks back, another ahead
    path[10] = 19
    assert not failures(looking_at(path, 20))


def test_symbols_seen_beside_the_focus_are_not_skipped():
    alignment = looking_at([s for s in read(20) if not 7 <= s < 12], 20)
    alignment[21, 6:13] = [0.4, 0.12, 0.12, 0.12, 0.12, 0.12, 0.0]
    assert not failures(alignment)
    assert failures(alignment, attended=0.2).skips == ((7, 12),)


def test_a_repeat_is_counted_once_where_it_begins():
    path = [*read(12), *read(12)[15:], *(12, 12, 13, 13)]  # after symbol 11, frame 36, back to 5 and on again
    assert failures(looking_at(path, 14)) == Failures(repeats=(36,))
    twice = [*path, 2, 2, 2, 13, 13, 13]
    assert failures(looking_at(twice, 14)).repeats == (36, len(path))
    assert failures(looking_at(path, 14), back=7).repeats == ()


def test_what_did_not_stop_is_said():
    found = failures(looking_at(read(6), 6), stopped=False)
    assert found == Failures(stopped=False) and "length guard cut it" in found.notes("abcdef")[0]


def test_the_focus_is_the_median_over_three_frames():
    assert focus(looking_at([0, 0, 5, 1, 1, 2, 2], 6)).tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert focus(looking_at([0, 4, 1], 6), hold=1).tolist() == [0, 4, 1]


@pytest.mark.parametrize("alignment", [np.zeros((0, 3)), np.zeros(4), np.full((2, 2), np.nan)])
def test_what_is_no_alignment_is_refused(alignment):
    with pytest.raises(ParameterError, match="is not .n_frames, n_symbols. finite shares"):
        failures(alignment)
