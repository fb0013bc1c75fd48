"""What sizes can `hifigan` have? Its configuration, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import unknown

GENERATORS = ("vits-joe", "v1")


@dataclass(frozen=True)
class GeneratorConfig:
    """Which generator, and how large the networks before it are."""

    generator: str = "vits-joe"  # its decoder behind a mel-to-latent front; "v1": HiFi-GAN V1, random at first
    front_width: int = 256  # channels of the front, which finds the latents of a mel
    front_blocks: int = 6  # of it
    pitch_width: int = 64  # channels of the network that reads F0 in the mel
    pitch_blocks: int = 4  # of it

    def __post_init__(self) -> None:
        if self.generator not in GENERATORS:
            raise unknown("generator", self.generator, GENERATORS)
