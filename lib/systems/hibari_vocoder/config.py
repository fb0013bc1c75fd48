"""Which sizes has a finished `hibari-vocoder`? Those of what it learnt; the decoder's are published."""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import ParameterError

N_TEXT = 128  # numbers of a phoneme that the decoder is fed
N_INPUTS = N_TEXT + 2  # and pitch and loudness


@dataclass(frozen=True)
class HibariVocoderConfig:
    """The sizes of the network before the decoder; saved beside its weights."""

    width: int = 192  # channels
    blocks: int = 5  # ConvNeXt blocks, 6 width^2 parameters each; they see 3 * blocks + 3 frames to either side
    pitch_bins: int = 128  # classes of F0
    pitch_step_cents: float = 24.0  # from one class to the next
    pitch_low_hz: float = 80.0  # the middle of the lowest class; the highest lies at 465 Hz

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "pitch_bins"):
            if getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be at least 1")
        if min(self.pitch_step_cents, self.pitch_low_hz) <= 0:
            raise ParameterError("model.pitch_step_cents and model.pitch_low_hz must be above 0")
