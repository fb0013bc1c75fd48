"""How does a `hibari-vocoder` lie on disk? What was learnt alone; the decoder comes with the package `hibari-tts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.hibari_vocoder.config import HibariVocoderConfig

if TYPE_CHECKING:
    from torch import nn


def _build(config: HibariVocoderConfig) -> dict[str, nn.Module]:
    from lib.systems.hibari_vocoder import network

    return network.build(config)


PARTS = checkpoint.Parts("hibari-vocoder", HibariVocoderConfig, _build)
save = PARTS.save
