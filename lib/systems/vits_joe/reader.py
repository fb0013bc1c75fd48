"""Which mel spectrogram do the latents of `vits-joe` stand for? A small network that reads it off them.

The voice's decoder makes 256 samples of every frame of 192 latents, at the rate of the samples, which is where its time
goes. The mel of what it would say is a function of the same latents; with it a vocoder at the frame rate, `istft`, can
take the decoder's place (`head`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.errors import ParameterError
from lib.systems import checkpoint

if TYPE_CHECKING:
    import torch
    from torch import nn

N_LATENTS = 192


@dataclass(frozen=True)
class ReaderConfig:
    """Sizes of the reader."""

    width: int = 192  # channels
    blocks: int = 3  # ConvNeXt blocks
    kernel: int = 7  # frames that a block sees, the last one its own
    expansion: int = 3  # hidden channels of a block, in widths
    lookahead: int = 6  # frames of latents that it sees ahead

    @property
    def past(self) -> int:
        """Frames that all convolutions together see behind the one they speak of."""
        return (self.blocks + 1) * (self.kernel - 1)

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "kernel", "expansion"):
            if getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be at least 1")
        if self.lookahead < 0:
            raise ParameterError(f"model.lookahead is {self.lookahead}: it counts frames")


def build(config: ReaderConfig, seed: int = 0) -> dict[str, nn.Module]:
    """The network, by its name, with random weights: (B, F, 192) latents, each already `lookahead` frames later ->
    (B, F, 80), the log-mel in the units of `tables`; `read` wraps it up.
    """
    import torch

    from lib.features import HIFIGAN
    from lib.systems.istft import network

    torch.manual_seed(seed)
    sizes = (config.width, config.blocks, config.kernel, config.expansion)
    return {"reader": network.Reader(N_LATENTS, *sizes, HIFIGAN.n_bands)}


def read(reader: nn.Module, latents: torch.Tensor, config: ReaderConfig) -> torch.Tensor:
    """(B, 192, F) of whole clips -> log-mel (B, F, 80). Before a clip its first frame is held, as it is in training."""
    import torch

    past = latents[..., :1].expand(-1, -1, config.past)
    return seen(reader, torch.cat([past, latents], -1), config)[:, config.past :]


def seen(reader: nn.Module, latents: torch.Tensor, config: ReaderConfig) -> torch.Tensor:
    """As `read`, for pieces (B, 192, F) whose first `config.past` frames are there to look back on."""
    from lib.systems.istft import network, tables

    later = network.ahead(latents.transpose(1, 2), config.lookahead)  # (B, F, 192)
    return reader(later) * tables.MEL_SCALE + tables.MEL_MEAN


PARTS = checkpoint.Parts("vits-joe-reader", ReaderConfig, build)
