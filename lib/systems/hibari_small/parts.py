"""How does a `hibari-small` lie on disk? Two networks in one folder; text is read by what the package brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.hibari import PACKAGE
from lib.systems.hibari_small import reading
from lib.systems.hibari_small.config import HibariSmallConfig

if TYPE_CHECKING:
    from torch import nn


def _build(config: HibariSmallConfig) -> dict[str, nn.Module]:
    from lib.systems.hibari_small import network

    return network.build(config)


PARTS = checkpoint.Parts(
    "hibari-small",
    HibariSmallConfig,
    _build,
    mel=False,
    alphabet=checkpoint.Alphabet(PACKAGE, reading.vocabulary_key),
)
