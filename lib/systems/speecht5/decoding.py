"""How does SpeechT5 speak? Step by step, with every key and value computed once.

transformers' own loop sends all frames so far through the prenet at every step, lets its cache grow by copying,
and builds masks of a single row that hide nothing. Here the cache has its full size from the start and a step
sees one frame: the same frames in less time. The layers are called as modules, so that pruned, quantized and
adapted ones speak by the same code.

A network with a window (`NetworkConfig.behind`, `ahead`) looks, as in Deep Voice 3 (Ping et al. 2018,
arXiv:1710.07654, section 3.5), only at the symbols around the one that the step before looked at most, and may
end only when its window has reached the end. Here it learns with that window too, so that all its attention has
to tell is this sound from its neighbours. Where nothing tells them apart (seven dots are one long pause) it
would stay forever: after `Limits.linger` frames the window goes on by itself, a symbol a step, until the
attention is ahead of it again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F

from lib.errors import AudioError, TextError
from lib.systems.layers import plain
from lib.systems.speecht5.config import POSITIONS, PRENET_DROPOUT
from lib.systems.speecht5.limits import Limits, Window
from lib.systems.speecht5.network import SpeechT5Network


class Decoded(NamedTuple):
    """rough: (1, F, n_bands) standardised frames before the postnet; alignment: (F / reduction, T), the mean of
    the guided heads; stopped: False where the length guard had to.
    """

    rough: torch.Tensor
    alignment: torch.Tensor
    stopped: bool


def keep_masks(
    model: SpeechT5Network, steps: int, seed: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """What the prenet's dropout multiplies with, (steps, layers, units): drawn on the CPU, the same for any
    number of steps.
    """
    shape = (steps, model.config.prenet_layers, model.config.prenet)
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return ((drawn >= PRENET_DROPOUT).float() / (1 - PRENET_DROPOUT)).to(device)


@torch.inference_mode()
def decode(
    model: SpeechT5Network,
    encoded: torch.Tensor,
    speaker: torch.Tensor,
    *,
    limits: Limits = Limits(),
    seed: int = 0,
) -> Decoded:
    """Speak one sentence. encoded: (1, T, hidden) of `encode`; speaker: (1,) int64; seed: draws the prenet's dropout.

    Raises TextError for more symbols than the network has positions for, AudioError for frames that are not numbers.
    """
    network, config = model.network, model.config
    n_symbols = encoded.shape[1]
    if n_symbols > POSITIONS:
        raise TextError(
            f"a sentence of {n_symbols} symbols is longer than the {POSITIONS} that the network can count: cut it"
        )
    prenet, layers = (network.speecht5.decoder.prenet, network.speecht5.decoder.wrapped_decoder.layers)
    postnet, width = network.speech_decoder_postnet, config.hidden // config.heads
    least, most = limits.steps(n_symbols, config.reduction)
    voice = F.normalize(model.voices(speaker))  # (1, speaker)
    positions = prenet.encode_positions.alpha * prenet.encode_positions.pe[0, :most]  # (most, hidden)
    masks = keep_masks(model, most, seed, encoded.device).to(encoded.dtype)
    texts = [
        tuple(
            _heads(project(encoded), layer.encoder_attn.num_heads)
            for project in (layer.encoder_attn.k_proj, layer.encoder_attn.v_proj)
        )
        for layer in layers
    ]  # of each layer, keys and values (1, heads, T, width)
    cache = [encoded.new_empty(2, 1, layer.self_attn.num_heads, most, width) for layer in layers]
    alignment = encoded.new_zeros(most, n_symbols)
    frames = encoded.new_empty(1, most, config.reduction, config.features.n_bands)
    frame, stopped, count = encoded.new_zeros(1, config.features.n_bands), False, 0
    window = Window(config, n_symbols, limits.linger)
    while count < most and not stopped:
        first, end = window.bounds()
        nearness = model.nearness[window.nearness()] if config.ahead else 0.0
        hidden = frame
        for layer, mask in zip(prenet.layers, masks[count]):
            hidden = torch.relu(layer(hidden)) * mask
        hidden = prenet.final_layer(hidden) + positions[count]
        hidden = torch.relu(prenet.speaker_embeds_layer(torch.cat([hidden, voice], -1)))  # (1, hidden)
        for index, layer in enumerate(layers):
            attention, (keys, values) = layer.self_attn, cache[index]
            heads = attention.num_heads  # a pruned layer has fewer
            keys[0, :, count] = attention.k_proj(hidden).view(heads, width)
            values[0, :, count] = attention.v_proj(hidden).view(heads, width)
            query = attention.q_proj(hidden).view(1, heads, 1, width)
            heard = F.scaled_dot_product_attention(query, keys[:, :, : count + 1], values[:, :, : count + 1])
            hidden = layer.self_attn_layer_norm(hidden + attention.out_proj(heard.view(1, -1)))
            attention = layer.encoder_attn
            query = attention.q_proj(hidden).view(1, attention.num_heads, 1, width)
            keys, values = (heard[:, :, first:end] for heard in texts[index])
            scores = query @ keys.transpose(-1, -2) / width**0.5 + nearness  # (1, heads, 1, end - first)
            shares = torch.softmax(scores, -1)
            alignment[count, first:end] += shares[0, : config.guided, 0].sum(0)
            read = shares @ values
            hidden = layer.encoder_attn_layer_norm(hidden + attention.out_proj(read.view(1, -1)))
            hidden = layer.final_layer_norm(hidden + layer.feed_forward(hidden))
        frames[0, count] = postnet.feat_out(hidden).view(config.reduction, -1)
        frame, count = frames[:, count, -1], count + 1
        window.move(int(alignment[count - 1].argmax()))
        stopped = (
            count >= least
            and window.bounds()[1] == n_symbols
            and bool(torch.sigmoid(postnet.prob_out(hidden)).sum() >= limits.threshold)
        )
    rough = frames[:, :count].flatten(1, 2)
    if not torch.isfinite(rough).all():
        raise AudioError(
            f"the network makes frames that are not numbers of {n_symbols} symbols: its weights are broken; take "
            "another checkpoint"
        )
    return Decoded(rough, alignment[:count] / (len(layers) * config.guided), stopped)


def lay_out(model: SpeechT5Network) -> SpeechT5Network:
    """Store the decoder's wide matrices column by column, which a CPU multiplies a single vector with several
    times faster.

    The numbers, their shapes and names stay the same. Matrices with more inputs than outputs are read fastest
    as they are.
    """
    for module in (*model.network.speecht5.decoder.modules(), *model.network.speech_decoder_postnet.modules()):
        if isinstance(module, torch.nn.Linear) and plain(module) and module.out_features >= module.in_features:
            module.weight.data = module.weight.data.t().contiguous().t()
    return model


def _heads(hidden: torch.Tensor, heads: int) -> torch.Tensor:
    """(1, time, hidden) -> (1, heads, time, width), contiguous: it is read at every step."""
    return hidden.view(1, hidden.shape[1], heads, -1).transpose(1, 2).contiguous()
