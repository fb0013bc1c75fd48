"""What ranks, what chooses and what judges are other sentences."""

import pytest

from lib.corpora import gutenberg
from lib.errors import ParameterError
from lib.measure import evaluate
from lib.studies import apart, recovered, sensitivity


def test_no_sentence_has_two_parts_in_a_study():
    ranked, chose = apart.screening(20), apart.choosing(42)
    assert len(ranked) == 20 and {one.split for one in ranked} == {"train"}
    assert len(chose) == 42 and {one.split for one in chose} == {"validation"}
    learnt = gutenberg.split("train", max(recovered.N_LESSONS, sensitivity.CALIBRATED))
    heard = gutenberg.split("validation", evaluate.REFERENCES)
    assert not set(ranked) & set(learnt) and not set(chose) & set(heard)
    assert apart.choosing(8) == chose[:8] and apart.screening(0) == ()


def test_more_than_there_are_is_refused():
    with pytest.raises(ParameterError, match="43 sentences to choose by: there are 42"):
        apart.choosing(43)
