"""Which sentence did a change hurt most? What to listen to: a variant's worst clip beside its baseline's, not its best.

Chosen by predicted MOS, paired: the sentence that lost most beside the baseline with the same seed. The mean over
sentences decides the verdict; one bad sentence is what a user remembers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.measure.evaluate import Clip, Judged

CHOSEN_BY = "mos_predicted"


@dataclass(frozen=True, eq=False)
class Worst:
    """A sentence by the baseline and by the variant. lost: predicted MOS; of: how many sentences it was chosen from."""

    before: Clip
    after: Clip
    lost: float
    of: int


def find(now: Judged, before: Judged) -> Worst | None:
    """The clip of a variant that lost most; None where nobody scored its naturalness."""
    lost = [
        (old.values[CHOSEN_BY] - new.values[CHOSEN_BY], place)
        for place, (new, old) in enumerate(zip(now.scores, before.scores, strict=True))
        if CHOSEN_BY in new.values and CHOSEN_BY in old.values
    ]
    if not lost or not now.clips:
        return None
    most, place = max(lost, key=lambda one: one[0])
    return Worst(before.clips[place], now.clips[place], most, len(lost))


def headed(found: Iterable[tuple[str, str, Worst]]) -> dict[str, dict[str, Clip]]:
    """Heading -> label -> clip: each system's sentences that were some variant's worst, by its baseline and by those
    variants. found: (whose, the variant, its worst clip).
    """
    players: dict[str, dict[str, Clip]] = {}
    for whose, variant, one in found:
        by_label = players.setdefault(f"{whose}, the worst of {one.of} sentences ({one.before.id})", {})
        by_label.setdefault("baseline", one.before)
        by_label[f"{variant} ({-one.lost:+.2f} of predicted MOS)"] = one.after
    return players
