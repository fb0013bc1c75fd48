"""The network of `speecht5`: symbols in, frames of a log-mel spectrogram out one step after another, each from
those before it.

The layers are transformers' own (`SpeechT5ForTextToSpeech`, Ao et al. 2022, arXiv:2110.07205) beside a table of
voices and the statistics of the mel. Here is how they learn, all steps at once under teacher forcing;
`decoding.py` is how they speak.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from lib.errors import MissingDataError, ParameterError
from lib.systems.padding import normalised, silenced
from lib.systems.speecht5.config import NetworkConfig
from lib.systems.standardised import Standardised


class Prediction(NamedTuple):
    """rough, mel: standardised log-mels before and after the postnet, (B, F, n_bands); stop: (B, F) logits of the end;
    attention: (B, n_guided, F / reduction, T) of each guided head of each decoder layer.
    """

    rough: torch.Tensor
    mel: torch.Tensor
    stop: torch.Tensor
    attention: torch.Tensor


class SpeechT5Network(Standardised):
    """transformers' network, a vector for each voice, and the mean and deviation of each mel band, saved
    together; where it has a window, `nearness`, what each place of the window has ahead in the scores of every
    head, (behind + 1 + ahead,).

    The voices are a table that is learned with the rest, not embeddings that a recogniser computes from a clip:
    between the few voices trained here both tell apart the same, the table needs no second network, and nobody
    is led to expect that a voice never trained on could be imitated.
    """

    def __init__(self, config: NetworkConfig, n_speakers: int):
        super().__init__(config.features.n_bands)
        from transformers import SpeechT5ForTextToSpeech

        self.config = config
        self.network = SpeechT5ForTextToSpeech(config.transformers())
        self.voices = nn.Embedding(n_speakers, config.speaker)
        if (
            config.ahead
        ):  # it begins near what is true of speech: a step stays at its symbol, or goes on to the next
            self.nearness = nn.Parameter(-2 * (torch.arange(-config.behind, config.ahead + 1) - 0.3).abs())
        _begin(self.network)

    def forward(
        self,
        ids: torch.Tensor,
        speakers: torch.Tensor,
        mel: torch.Tensor,
        mask: torch.Tensor,
        reached: torch.Tensor | None = None,
    ) -> Prediction:
        """Teacher forcing: each step sees the true frames before it.

        ids: (B, T) int64, padded with `config.pad`; speakers: (B,) int64; mel: (B, F, n_bands) standardised, F
        a multiple of `config.reduction`; mask: (B, F) 1 where there is speech; reached: (B, F / reduction)
        int64, the symbol said before each step, which the window of a network that has one lies around.
        """
        postnet, reduction = self.network.speech_decoder_postnet, self.config.reduction
        shown = nn.functional.pad(mel[:, reduction - 1 :: reduction], (0, 0, 1, 0))[
            :, :-1
        ]  # (B, F / reduction, n_bands)
        text = ids != self.config.pad
        encoded = self.network.speecht5.encoder(
            input_values=ids, attention_mask=text.long(), return_dict=True
        ).last_hidden_state
        decoded = self.network.speecht5.decoder(
            input_values=shown,
            encoder_hidden_states=encoded,
            speaker_embeddings=self.voices(speakers),
            use_cache=False,
            encoder_attention_mask=self._visible(text, reached, encoded.dtype),
            output_attentions=True,
            return_dict=True,
        )
        hidden = decoded.last_hidden_state  # (B, F / reduction, hidden)
        rough = postnet.feat_out(hidden).view(mel.shape)
        attention = torch.cat([heads[:, : self.config.guided] for heads in decoded.cross_attentions], 1)
        return Prediction(
            rough, refined(postnet, rough, mask.bool()), postnet.prob_out(hidden).view(mask.shape), attention
        )

    def _visible(self, text: torch.Tensor, reached: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
        """The mask of the cross-attention, of the text alone (B, T) or, added to its scores, of the window too
        (B, 1, S, T).
        """
        if not self.config.ahead:
            return text.long()
        if reached is None:
            raise ParameterError(
                f"this network looks {self.config.behind} symbols back and {self.config.ahead} ahead: say "
                "which symbol each step has reached"
            )
        place = (
            torch.arange(text.shape[1], device=text.device) - reached[..., None] + self.config.behind
        )  # (B, S, T)
        seen = text[:, None] & (place >= 0) & (place < len(self.nearness))
        scores = self.nearness[place.clamp(0, len(self.nearness) - 1)].to(dtype)
        return scores.masked_fill(~seen, torch.finfo(dtype).min)[:, None]

    def encode(self, ids: torch.Tensor) -> torch.Tensor:
        """Symbols (1, T) of one sentence to hidden vectors (1, T, hidden)."""
        return self.network.speecht5.encoder(
            input_values=ids, attention_mask=None, return_dict=True
        ).last_hidden_state

    def log_mel(self, rough: torch.Tensor) -> torch.Tensor:
        """The decoder's frames (1, F, n_bands) through the postnet, as a log-mel of `config.features`."""
        return self.as_log_mel(refined(self.network.speech_decoder_postnet, rough))


def refined(postnet: nn.Module, rough: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
    """transformers' postnet on (B, F, n_bands); real: (B, F) bool, see `padding`."""
    correction = rough.transpose(1, 2)
    for layer in postnet.layers:
        correction = normalised(layer.batch_norm, layer.conv(silenced(correction, real)), real)
        correction = layer.dropout(correction if layer.activation is None else layer.activation(correction))
    return rough + correction.transpose(1, 2)


def build(config: NetworkConfig, n_speakers: int, seed: int = 0) -> SpeechT5Network:
    """The network with random weights."""
    torch.manual_seed(seed)
    return SpeechT5Network(config, n_speakers)


def take_over(model: SpeechT5Network, source: str) -> None:
    """Give the network the weights of a published one. source: a repository of the Hugging Face hub, or a folder.

    The symbols' embedding alone stays as it was where the published one has other symbols. Raises
    MissingDataError where there is nothing to load, ParameterError where its sizes are others.
    """
    from transformers import SpeechT5ForTextToSpeech

    try:
        source_model, report = SpeechT5ForTextToSpeech.from_pretrained(
            source, config=model.network.config, ignore_mismatched_sizes=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise MissingDataError(
            f"no SpeechT5 can be loaded from {source!r} ({' '.join(str(error).split())[:200]}): name a "
            "repository of the hub that can be reached from here, or a folder"
        ) from error
    symbols = "speecht5.encoder.prenet.embed_tokens.weight"
    other = sorted({key[0] if isinstance(key, tuple) else key for key in report["mismatched_keys"]} - {symbols})
    if other or report["missing_keys"]:
        names = ", ".join((*other, *report["missing_keys"]))[:200]
        raise ParameterError(
            f"{source} has other sizes than the recipe's model: {names}; give the recipe its sizes"
        )
    weights = source_model.state_dict()
    if any(symbols in key for key in report["mismatched_keys"]):
        weights[symbols] = model.network.state_dict()[symbols]
    model.network.load_state_dict(weights)


def _begin(network: nn.Module) -> None:
    """First weights where transformers' own are made to be replaced by published ones.

    Its symbols are a thirtieth as loud as their positions, and its prenet lets through a tenth of the frame
    before; both would have to grow before anything else is learned.
    """
    symbols, prenet = network.speecht5.encoder.prenet.embed_tokens, network.speecht5.decoder.prenet
    nn.init.normal_(symbols.weight, std=0.5**0.5)  # the loudness of a sine
    with torch.no_grad():
        symbols.weight[symbols.padding_idx].zero_()
    for layer in (*prenet.layers, prenet.speaker_embeds_layer):
        nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("relu"))
    nn.init.xavier_uniform_(prenet.final_layer.weight)
