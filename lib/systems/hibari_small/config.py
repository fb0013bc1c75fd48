"""Which sizes has a `hibari-small`?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from lib.errors import ParameterError

N_SYMBOLS = 178  # of the package's phoneme alphabet
N_BINS = 601
N_SPECTRA = 5 * N_BINS  # magnitude and phase of the harmonics, noise, magnitude and phase of what is free
N_TEXT = 128  # numbers of a phoneme that the teacher's decoder is fed, and so the student's, beside pitch and loudness
N_PLACE = 2  # numbers that say where in its phoneme a frame lies
N_PROSODY = 3  # whether a frame is voiced, its pitch, its loudness


@dataclass(frozen=True)
class HibariSmallConfig:
    """The sizes of its networks; saved beside their weights."""

    width: int = 128  # channels of what is known of a phoneme
    heads: int = 4
    encoder_blocks: int = 2  # ConvNeXt blocks over phonemes, 6 width^2 parameters each
    encoder_layers: int = 2  # behind them, layers that attend to the whole sentence, 8 width^2
    prosody_blocks: int = 3  # over frames, for pitch and loudness
    decoder_width: int = 256  # the teacher's; of another width none of its weights fit
    decoder_blocks: int = 4  # over frames, for the spectra; the teacher has eight

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise ParameterError(f"model.{name} is {value}, it must be at least 1")
        if self.width % self.heads:
            raise ParameterError(f"model.width, {self.width}, is no multiple of model.heads, {self.heads}")

    @property
    def context(self) -> int:
        """Frames to either side that the spectra of a frame are made of: three each convolution over time."""
        return 3 * (self.decoder_blocks + 1)
