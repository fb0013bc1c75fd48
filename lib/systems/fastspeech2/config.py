"""How large is `fastspeech2`, and how is it told to speak?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.errors import ParameterError
from lib.features import HIFIGAN
from lib.systems.sizes import check_odd, check_postnet
from lib.systems.symbols import vocabulary_size

if TYPE_CHECKING:
    import transformers

SYMBOL_FRAMES_MAX = (
    129  # 1.5 s, longer than any phone or pause of the training speech: a bound for broken weights
)
SPEECH_MAX_S = 60.0  # at rate 1; a sentence of `lib.text` lasts at most about 20 s


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; the defaults are those published (espnet's FastSpeech 2 with Conformer, 70 M)."""

    hidden: int = 384  # width
    heads: int = 2  # of attention
    encoder_layers: int = 4  # Conformer blocks over symbols
    decoder_layers: int = 4  # and over frames
    feed_forward: int = 1536  # units between a block's two feed-forward layers
    feed_forward_kernel: int = 3  # symbols or frames that these two see; 1: linear layers
    encoder_kernel: int = 7  # symbols that a block's depthwise convolution sees
    decoder_kernel: int = 31  # frames, likewise
    predictor: int = 256  # channels of the duration, pitch and energy predictors
    pitch_layers: int = 5  # of the pitch predictor; the others have 2
    postnet: int = 256  # channels of the network that refines the mel
    postnet_layers: int = 5
    dropout: float = 0.2  # of the blocks
    predictor_dropout: float = 0.5
    postnet_dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.heads < 1 or self.hidden % self.heads:
            raise ParameterError(
                f"model.hidden is {self.hidden}, it must be a multiple of model.heads, {self.heads}"
            )
        check_odd(self, "feed_forward_kernel", "encoder_kernel", "decoder_kernel")
        check_postnet(self)

    def transformers(self, n_speakers: int) -> "transformers.FastSpeech2ConformerConfig":
        """The same in transformers' words."""
        from transformers import FastSpeech2ConformerConfig

        blocks = {
            f"{part}_{name}": value
            for part in ("encoder", "decoder")
            for name, value in (
                ("num_attention_heads", self.heads),
                ("linear_units", self.feed_forward),
                ("dropout_rate", self.dropout),
                ("positional_dropout_rate", self.dropout),
                ("attention_dropout_rate", self.dropout),
            )
        }
        return FastSpeech2ConformerConfig(
            vocab_size=vocabulary_size(),
            num_mel_bins=HIFIGAN.n_bands,
            num_speakers=n_speakers,
            hidden_size=self.hidden,
            encoder_layers=self.encoder_layers,
            decoder_layers=self.decoder_layers,
            **blocks,
            encoder_kernel_size=self.encoder_kernel,
            decoder_kernel_size=self.decoder_kernel,
            positionwise_conv_kernel_size=self.feed_forward_kernel,
            pitch_predictor_layers=self.pitch_layers,
            duration_predictor_channels=self.predictor,
            pitch_predictor_channels=self.predictor,
            energy_predictor_channels=self.predictor,
            duration_predictor_dropout_rate=self.predictor_dropout,
            pitch_predictor_dropout=self.predictor_dropout,
            energy_predictor_dropout=self.predictor_dropout,
            speech_decoder_postnet_units=self.postnet,
            speech_decoder_postnet_layers=self.postnet_layers,
            speech_decoder_postnet_dropout=self.postnet_dropout,
        )


@dataclass(frozen=True)
class Controls:
    """How to speak."""

    rate: float = 1.0  # 1.2 is 20 % faster
    semitones: float = 0.0  # added to the pitch
    energy: float = 1.0  # factor of the amplitude

    def __post_init__(self) -> None:
        for name, low, high in (("rate", 0.25, 4.0), ("semitones", -24.0, 24.0), ("energy", 0.1, 10.0)):
            if not low <= getattr(self, name) <= high:  # refuses NaN too
                raise ParameterError(
                    f"{name} is {getattr(self, name)}, it must lie between {low:g} and {high:g}"
                )
