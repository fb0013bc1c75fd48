"""What sizes can `speecht5` have? Its configuration, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.errors import ParameterError, unknown
from lib.features import HIFIGAN, SPEECHT5, MelConfig
from lib.systems.symbols import vocabulary_size

if TYPE_CHECKING:
    import transformers

MELS = {"hifigan": HIFIGAN, "speecht5": SPEECHT5}
# of the published model, in training and in use; transformers' code means what it says at this value alone
PRENET_DROPOUT = 0.5
# symbols, and decoder steps, that a sentence may have; the encodings are computed, so they cost no weights
POSITIONS = 4000


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the network; the defaults are those published (microsoft/speecht5_tts)."""

    hidden: int = 768  # width
    heads: int = 12  # of attention
    encoder_layers: int = 12
    decoder_layers: int = 6
    feed_forward: int = 3072  # units between a block's two layers
    prenet: int = 256  # units of the network before the decoder
    prenet_layers: int = 2
    postnet: int = 256  # units of the network after the decoder
    postnet_layers: int = 5
    speaker: int = 512  # numbers that stand for a voice
    relative: int = 160  # symbols apart beyond which the encoder no longer tells distances
    reduction: int = 2  # frames of a decoder step
    guided: int = 2  # attention heads of each decoder layer that follow the text, the first ones
    behind: int = 0  # symbols before the one just said that a step may look at
    ahead: int = 0  # and after it; 0: all symbols of the text (published)
    mel: str = "hifigan"  # or "speecht5", see `lib.features`
    vocabulary: int = 0  # input symbols, 0 for those of the Piper voices
    dropout: float = 0.1
    postnet_dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.hidden < 2 or self.heads < 1 or self.hidden % self.heads or self.hidden % 2:
            raise ParameterError(
                f"model.hidden is {self.hidden}, it must be even and a multiple of model.heads, {self.heads}"
            )
        if not 1 <= self.guided <= self.heads:
            raise ParameterError(
                f"model.guided is {self.guided}, it must lie between 1 and model.heads, {self.heads}"
            )
        if self.postnet_layers < 2:
            raise ParameterError(
                f"model.postnet_layers is {self.postnet_layers}: one leads into it and one out, so at least 2"
            )
        if self.reduction < 1 or self.prenet_layers < 1:
            raise ParameterError(
                f"model.reduction and model.prenet_layers are {self.reduction} and {self.prenet_layers}, "
                "both are at least 1"
            )
        if self.behind < 0 or self.ahead < 0 or (self.behind and not self.ahead):
            raise ParameterError(
                f"model.behind and model.ahead are {self.behind} and {self.ahead}: neither is negative, and "
                "who may look behind only would never go on"
            )
        if self.mel not in MELS:
            raise unknown("model.mel", self.mel, MELS)

    @property
    def features(self) -> MelConfig:
        """The mel that it speaks."""
        return MELS[self.mel]

    @property
    def pad(self) -> int:
        """The input id that is no symbol: that of the Piper voices, or of the published tokenizer."""
        return 1 if self.vocabulary else 0

    def transformers(self) -> "transformers.SpeechT5Config":
        """The same in transformers' words."""
        from transformers import SpeechT5Config

        dropouts = {
            f"{part}_dropout": self.dropout for part in ("positional", "hidden", "attention", "activation")
        }
        return SpeechT5Config(
            vocab_size=self.vocabulary or vocabulary_size(),
            pad_token_id=self.pad,
            hidden_size=self.hidden,
            encoder_layers=self.encoder_layers,
            encoder_attention_heads=self.heads,
            encoder_ffn_dim=self.feed_forward,
            decoder_layers=self.decoder_layers,
            decoder_attention_heads=self.heads,
            decoder_ffn_dim=self.feed_forward,
            # A layer that is sometimes left out has no gradient then, which processes that exchange gradients
            # do not allow.
            encoder_layerdrop=0.0,
            decoder_layerdrop=0.0,
            **dropouts,
            initializer_range=0.02
            * (768 / self.hidden) ** 0.5,  # as published for its width; narrower layers begin larger
            num_mel_bins=self.features.n_bands,
            speech_decoder_prenet_layers=self.prenet_layers,
            speech_decoder_prenet_units=self.prenet,
            speech_decoder_prenet_dropout=PRENET_DROPOUT,
            speaker_embedding_dim=self.speaker,
            speech_decoder_postnet_layers=self.postnet_layers,
            speech_decoder_postnet_units=self.postnet,
            speech_decoder_postnet_dropout=self.postnet_dropout,
            reduction_factor=self.reduction,
            max_speech_positions=POSITIONS,
            max_text_positions=POSITIONS,
            encoder_max_relative_position=self.relative,
        )


PUBLISHED = NetworkConfig(mel="speecht5", vocabulary=81)  # 144.43 M parameters
