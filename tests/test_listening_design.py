"""Is every design balanced? Counted, for all sizes that are allowed."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from lib.errors import ParameterError
from lib.listening import design

ACR = [(2, 4, 1), (3, 6, 1), (3, 6, 3), (4, 8, 2), (4, 8, 4), (5, 5, 5), (6, 12, 3), (8, 4, 1)]


def even(counts) -> bool:
    return len(set(counts)) == 1


@pytest.mark.parametrize("n", range(1, 12))
def test_in_williams_orders_each_stands_at_each_place_and_follows_each_other_equally_often(n):
    rows = design.williams(n)
    assert len(rows) == (1 if n == 1 else n if n % 2 == 0 else 2 * n)
    assert all(sorted(row) == list(range(n)) for row in rows)
    places = Counter((place, c) for row in rows for place, c in enumerate(row))
    assert len(places) == n * n and even(places.values())
    neighbours = Counter(pair for row in rows for pair in itertools.pairwise(row))
    assert len(neighbours) == n * (n - 1) and (n == 1 or even(neighbours.values()))


@pytest.mark.parametrize("conditions, sentences, groups", ACR)
def test_each_clip_has_one_group_and_each_listener_hears_each_condition_equally_often(
    conditions, sentences, groups
):
    made = design.acr(conditions, sentences, groups, listeners=2, seed=3)
    assert len(made) == groups
    clips = Counter()
    for sessions in made:
        heard = [Counter((page.shown[0], page.sentence) for page in session) for session in sessions]
        assert heard[0] == heard[1] and set(heard[0].values()) == {1}  # one group, the same clips, each once
        clips += heard[0]
        for session in sessions:
            by_condition = Counter(page.shown[0] for page in session)
            assert len(by_condition) == conditions and even(by_condition.values())
            by_sentence = Counter(page.sentence for page in session)
            assert len(by_sentence) == sentences and even(by_sentence.values())
    assert len(clips) == conditions * sentences and set(clips.values()) == {1}


@pytest.mark.parametrize("conditions, sentences, groups", ACR)
def test_each_condition_comes_once_a_block_and_at_each_place_equally_often(conditions, sentences, groups):
    listeners = design.cycle(conditions)
    for sessions in design.acr(conditions, sentences, groups, listeners, seed=5):
        blocks = len(sessions[0]) // conditions
        for block in range(blocks):
            rows = [
                tuple(page.shown[0] for page in session[block * conditions : (block + 1) * conditions])
                for session in sessions
            ]
            assert all(sorted(row) == list(range(conditions)) for row in rows)
            places = Counter((place, c) for row in rows for place, c in enumerate(row))
            assert len(places) == conditions**2 and even(places.values())
            neighbours = Counter(pair for row in rows for pair in itertools.pairwise(row))
            assert len(neighbours) == conditions * (conditions - 1) and even(neighbours.values())


@pytest.mark.parametrize("conditions, sentences", [(2, 4), (3, 6), (4, 8)])
def test_over_the_blocks_of_one_session_each_condition_stands_at_each_place_equally_often(
    conditions, sentences
):
    assert sentences % design.cycle(conditions) == 0
    for session in design.acr(conditions, sentences, 1, 3, seed=4)[0]:
        places = Counter((place % conditions, page.shown[0]) for place, page in enumerate(session))
        assert len(places) == conditions**2 and even(places.values())


@pytest.mark.parametrize("pairs, sentences, groups", [(1, 4, 1), (2, 8, 2), (3, 6, 1)])
def test_one_listener_hears_each_pair_as_often_one_way_as_the_other(pairs, sentences, groups):
    named = [(0, other + 1) for other in range(pairs)]
    for session in itertools.chain(*design.paired(named, sentences, groups, 3, seed=4)):
        ways = Counter(page.shown for page in session)
        assert len(ways) == 2 * pairs and even(ways.values())


@pytest.mark.parametrize("conditions, sentences, groups", [(3, 6, 1), (4, 8, 2), (6, 12, 3)])
def test_no_sentence_comes_twice_in_a_row(conditions, sentences, groups):
    for session in itertools.chain(*design.acr(conditions, sentences, groups, 4, seed=1)):
        assert all(a.sentence != b.sentence for a, b in itertools.pairwise(session))


@pytest.mark.parametrize("pairs, sentences, groups", [(1, 4, 1), (2, 6, 2), (3, 6, 3), (6, 4, 1), (4, 8, 2)])
def test_each_pair_is_heard_on_each_sentence_equally_often_either_way(pairs, sentences, groups):
    named = [(0, other + 1) for other in range(pairs)]
    made = design.paired(named, sentences, groups, listeners=4, seed=2)
    heard = Counter(
        (page.sentence, page.shown) for sessions in made for session in sessions for page in session
    )
    assert len(heard) == 2 * pairs * sentences and set(heard.values()) == {2}
    for session in itertools.chain(*made):
        each = Counter(tuple(sorted(page.shown)) for page in session)
        assert len(each) == pairs and even(each.values())
        assert len({(page.sentence, tuple(sorted(page.shown))) for page in session}) == len(session)


@pytest.mark.parametrize("conditions, sentences, groups", [(3, 6, 1), (4, 6, 2), (5, 6, 3)])
def test_on_mushra_pages_each_condition_stands_at_each_place_equally_often(conditions, sentences, groups):
    listeners = design.cycle(conditions)
    made = design.mushra(conditions, sentences, groups, listeners, seed=2)
    sentences_heard = [sorted(page.sentence for page in sessions[0]) for sessions in made]
    assert sorted(itertools.chain(*sentences_heard)) == list(range(sentences))
    for sessions in made:
        places = Counter((place, c) for s in sessions for page in s for place, c in enumerate(page.shown))
        assert len(places) == conditions**2 and even(places.values())


def test_orders_differ_between_listeners_and_follow_the_seed():
    first, again, other = (design.acr(3, 6, 1, 6, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 6


def test_a_design_that_cannot_be_balanced_is_refused_with_one_that_can():
    with pytest.raises(ParameterError, match="divisor of 4"):
        design.acr(4, 8, 3, 2)
    with pytest.raises(ParameterError, match="take 8 sentences, or one group"):
        design.acr(4, 10, 2, 2)
    with pytest.raises(ParameterError, match="divisor of 7"):
        design.paired([(0, 1)], 7, 2, 2)
    with pytest.raises(ParameterError, match="at least one"):
        design.mushra(3, 0, 1, 2)
