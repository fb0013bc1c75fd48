"""Which ONNX graphs is the recogniser? 80 mel bands, N heads of W, V tokens.

    encoder   mel (80, frames), an even number of them
              -> for each decoder layer text_keys.<layer> (N, W, T), text_values.<layer> (N, T, W), T = frames / 2
    decoder   token (1,), place (1,), kept (S,), keys.<layer> (N, W, S), values.<layer> (N, S, W) of the tokens before,
              text_keys.<layer>, text_values.<layer>
              -> scores (V,) of the next token, new_keys.<layer>, new_values.<layer> (N, W)

What is remembered of the tokens before is described in `lib.systems.memory`. The matrix that makes scores is the one
that tokens are looked up in, and lies in the graph once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from lib.graphs.export import export
from lib.graphs.layers import Remembered, SelfAttention, TextAttention

if TYPE_CHECKING:
    import transformers

_FRAMES, _STEPS = 40, 5  # of the examples


def graphs(model: "transformers.WhisperForConditionalGeneration") -> dict[str, bytes]:
    """Both, by name."""
    config = model.config
    layers, heads = config.decoder_layers, config.decoder_attention_heads
    width, heard = config.d_model // heads, _FRAMES // 2
    text = [f"{kind}.{n}" for n in range(layers) for kind in ("text_keys", "text_values")]
    new = [f"{kind}.{n}" for n in range(layers) for kind in ("new_keys", "new_values")]
    inputs = {
        "token": torch.tensor([50_257]) % config.vocab_size,
        "place": torch.tensor([1]),
        "kept": torch.zeros(_STEPS),
    }
    lengths = {"kept": {0: "steps"}}
    shapes = {
        "text_keys": (width, heard),
        "text_values": (heard, width),
        "keys": (width, _STEPS),
        "values": (_STEPS, width),
    }
    for name, shape in shapes.items():
        for layer in range(layers):
            inputs[f"{name}.{layer}"] = torch.randn(heads, *shape)
            free = 2 if name.endswith("keys") else 1
            lengths[f"{name}.{layer}"] = {free: "heard" if name.startswith("text") else "steps"}
    mel = {"mel": torch.randn(config.num_mel_bins, _FRAMES)}
    return {
        "encoder": export(_Encoder(model), mel, text, {"mel": {1: "frames"}}),
        "decoder": export(_Step(model), inputs, ["scores", *new], lengths),
    }


class _Encoder(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        encoder = model.model.encoder
        self.conv1, self.conv2, self.layers = encoder.conv1, encoder.conv2, encoder.layers
        self.positions, self.norm = encoder.embed_positions, encoder.layer_norm
        heads = model.config.decoder_attention_heads
        self.read = nn.ModuleList(Remembered(layer.encoder_attn, heads) for layer in model.model.decoder.layers)

    def forward(self, mel: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = F.gelu(self.conv2(F.gelu(self.conv1(mel[None])))).transpose(1, 2)
        hidden = hidden + self.positions.weight[: hidden.shape[1]]
        for layer in self.layers:
            found = layer(hidden, None)
            hidden = found[0] if isinstance(found, tuple) else found
        hidden = self.norm(hidden)[0]
        return tuple(tensor for read in self.read for tensor in read(hidden))


class _Step(nn.Module):
    def __init__(self, model: nn.Module):
        super().__init__()
        decoder, heads = model.model.decoder, model.config.decoder_attention_heads
        self.positions, self.norm = decoder.embed_positions, decoder.layer_norm
        self.table = nn.Parameter(decoder.embed_tokens.weight.detach().T.contiguous())  # (H, V)
        self.layers = nn.ModuleList(_Layer(layer, heads) for layer in decoder.layers)

    def forward(self, token, place, kept, **known) -> tuple[torch.Tensor, ...]:
        hidden = torch.index_select(self.table, 1, token).T + self.positions.weight[place]  # (1, H)
        new: list[torch.Tensor] = []
        for number, layer in enumerate(self.layers):
            before = (known[f"keys.{number}"], known[f"values.{number}"], kept)
            text = (known[f"text_keys.{number}"], known[f"text_values.{number}"])
            hidden, key, value = layer(hidden, before, text)
            new += [key, value]
        return (self.norm(hidden) @ self.table)[0], *new


class _Layer(nn.Module):
    def __init__(self, layer: nn.Module, heads: int):
        super().__init__()
        self.self_attn = SelfAttention(layer.self_attn, heads)
        self.text_attn = TextAttention(layer.encoder_attn, heads)
        self.norms = nn.ModuleList(
            (layer.self_attn_layer_norm, layer.encoder_attn_layer_norm, layer.final_layer_norm)
        )
        self.fc1, self.fc2 = layer.fc1, layer.fc2

    def forward(self, hidden, before, text):
        heard, key, value = self.self_attn(self.norms[0](hidden), *before)
        hidden = hidden + heard
        hidden = hidden + self.text_attn(self.norms[1](hidden), *text)[0]
        return hidden + self.fc2(F.gelu(self.fc1(self.norms[2](hidden)))), key, value
