"""How does an `istft` lie on disk that sees the whole mel? As the one that streams, as a system of its own.

Its convolutions look as far ahead as behind: what a frame is to sound like depends on what follows as on what was, and
where the mel is an acoustic model's guess, there is more to guess from. The price is that nothing can be said before
the mel is there. Readable without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.istft.config import IstftConfig

if TYPE_CHECKING:
    from torch import nn

SYSTEM = "istft-whole"


def build(config: IstftConfig, seed: int = 0) -> dict[str, nn.Module]:
    """The networks by name, with random weights."""
    from lib.systems.istft import network

    return network.centre(network.build(config, seed))


PARTS = checkpoint.Parts(SYSTEM, IstftConfig, build)
