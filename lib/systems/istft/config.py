"""Which sizes has a finished `istft`?"""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import ParameterError


@dataclass(frozen=True)
class IstftConfig:
    """The sizes that a finished vocoder has; saved beside its weights."""

    width: int = 256  # channels of the trunk
    blocks: int = 6  # ConvNeXt blocks of the trunk, 5 expansion width^2 parameters each
    kernel: int = 7  # frames that a block's depthwise convolution sees, the last one its own
    expansion: int = 3  # hidden channels of a block, in widths
    lookahead: int = 2  # frames of the mel that the trunk sees ahead, 11.6 ms each
    pitch_width: int = 96  # channels of the network that reads F0
    pitch_blocks: int = 5
    pitch_lookahead: int = 0  # frames of the mel that it sees ahead: each delays the whole vocoder by one
    pitch_bins: int = 160  # classes of F0
    pitch_step_cents: float = 24.0  # from one class to the next
    pitch_low_hz: float = 55.0  # the middle of the lowest class; the highest lies at 500 Hz

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "kernel", "expansion", "pitch_width", "pitch_blocks", "pitch_bins"):
            if getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be at least 1")
        if min(self.lookahead, self.pitch_lookahead) < 0:
            raise ParameterError(
                "model.lookahead and model.pitch_lookahead count frames: they must not be negative"
            )
