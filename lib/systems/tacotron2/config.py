"""What sizes can `tacotron2` have, and when does it end? Readable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from lib.errors import ParameterError
from lib.systems.sizes import check_odd, check_postnet

# The length guard, in frames. The symbols of a sentence of the training speech take 3.2 to 8 frames each, 4.6
# on average: its slowest sentence needs half of what is allowed, its fastest three times what the gate has to wait for.
GUARD_FRAMES, GUARD_FRAMES_PER_SYMBOL = 86, 10  # 1 s, and 116 ms of each symbol
SHORTEST_FRAMES = 4


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; the defaults are those published, with 28.2 M parameters for 148 symbols."""

    embedding: int = 512  # width of symbols and encoder
    encoder_layers: int = 3  # convolutions before the encoder's LSTM
    encoder_kernel: int = 5  # symbols that one of them sees
    prenet: int = 256  # width of the two layers that the last frame passes
    attention_rnn: int = 1024  # state of the LSTM that asks for symbols
    attention: int = 128  # width in which query, symbols and places are compared
    location_filters: int = 32  # channels that the places looked at before are seen in
    location_kernel: int = 31  # symbols that one of these filters sees
    decoder_rnn: int = 1024  # state of the LSTM that says frames
    postnet: int = 512  # channels of the network that refines the mel
    postnet_layers: int = 5
    postnet_kernel: int = 5  # frames that one of its layers sees
    # mel frames that one step of the decoder says (Wang et al. 2017, arXiv:1703.10135, section 3.3): fewer steps,
    # cheaper and easier to align
    frames_per_step: int = 1
    encoder_dropout: float = 0.5
    prenet_dropout: float = (
        0.5  # acts in use, too: without it the decoder leans on its last frame and stops listening
    )
    rnn_dropout: float = 0.1  # of the decoder's two LSTMs
    postnet_dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.embedding < 2 or self.embedding % 2:
            raise ParameterError(
                f"model.embedding is {self.embedding}: the encoder reads half of it forward, half backward: it is even"
            )
        check_odd(self, "encoder_kernel", "location_kernel", "postnet_kernel")
        check_postnet(self)
        if self.frames_per_step < 1:
            raise ParameterError(
                f"model.frames_per_step is {self.frames_per_step}: a step says at least 1 frame"
            )
        for name in ("encoder_dropout", "prenet_dropout", "rnn_dropout", "postnet_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, a share to drop lies in [0, 1)")


@dataclass(frozen=True)
class Gate:
    """When the decoder holds that all is said."""

    threshold: float = 0.5  # above which a step is the last

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ParameterError(f"threshold is {self.threshold}, the gate's lies between 0 and 1")


def steps_allowed(n_symbols: int, frames_per_step: int) -> int:
    """The length guard: steps after which a sentence of n_symbols is cut."""
    return -(-(GUARD_FRAMES + GUARD_FRAMES_PER_SYMBOL * n_symbols) // frames_per_step)


def steps_needed(n_symbols: int, frames_per_step: int) -> int:
    """Steps before which the gate is not asked: a frame for each symbol, and no fewer than make a sound."""
    return -(-max(SHORTEST_FRAMES, n_symbols) // frames_per_step)
