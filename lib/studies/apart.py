"""Which sentences rank, and which choose? Shares of the corpus that no other step of a study has seen.

What ranks groups of layers must not choose among the plans that come of it, neither may be what scales are set on or
decoders learn from, and who should be heard is told by clips of other sentences than those that are laid beside them.
Test sentences judge, and do nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.corpora import gutenberg
from lib.errors import ParameterError
from lib.measure import evaluate

if TYPE_CHECKING:
    from lib.corpora.base import Sentence

LEARNT = 100  # training sentences, the first of them, that set scales (`sensitivity`) and teach (`recovered`)


def screening(n: int) -> tuple[Sentence, ...]:
    """Training sentences on which groups of layers are ranked, behind the LEARNT."""
    return gutenberg.split("train", LEARNT + n)[LEARNT:]


def choosing(n: int) -> tuple[Sentence, ...]:
    """Validation sentences that choose among plans, behind those of the clips of the speaker who should be heard;
    ParameterError for more than there are.
    """
    left = gutenberg.split("validation")[evaluate.REFERENCES :]
    if n > len(left):
        raise ParameterError(f"{n} sentences to choose by: there are {len(left)}, ask for no more")
    return left[:n]
