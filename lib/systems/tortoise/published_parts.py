"""Which networks is the published TorToiSe made of, and where do they come from? The hub, or a folder.

A folder holds `clvp/`, `univnet/` (as `save_pretrained` writes them) and `diffusion_decoder.pth`. transformers has the
language model, CLVP and UnivNet, the decoder is ours (`network.py`), all with the published weights.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from lib.errors import MissingDataError, TrainingError
from lib.files import content_key
from lib.systems.tortoise.network import DecoderConfig, DiffusionDecoder

CLVP, UNIVNET, DECODER = (
    "susnato/clvp_dev",
    "dg845/univnet-dev",
    ("Manmay/tortoise-tts", "diffusion_decoder.pth"),
)
CALM, CALM_RUN = 83, 8  # the code of silence, and how many in a row still belong to the speech


@dataclass
class Parts:
    """The networks in evaluation mode, and what prepares their inputs."""

    clvp: nn.Module  # transformers' ClvpModelForConditionalGeneration: the language model and CLVP itself
    decoder: DiffusionDecoder
    univnet: nn.Module
    tokenizer: Any
    features: Any  # transformers' ClvpFeatureExtractor: mels of the clips for the language model
    mels: Any  # transformers' UnivNetFeatureExtractor: mels at 24 kHz and their range


def load(folder: str | Path | None = None, config: DecoderConfig | None = DecoderConfig()) -> Parts:
    """The published pipeline from a folder, or from the hub. config: of the decoder; None: whatever its weights are of.

    Raises MissingDataError that names all that is missing, TrainingError where the decoder's weights are not of
    `config`.
    """
    from transformers import (
        ClvpFeatureExtractor,
        ClvpModelForConditionalGeneration,
        ClvpTokenizer,
        UnivNetFeatureExtractor,
        UnivNetModel,
    )

    clvp, univnet, weights = (CLVP, UNIVNET, None) if folder is None else _within(Path(folder))
    try:
        if weights is None:
            from huggingface_hub import hf_hub_download

            weights = hf_hub_download(*DECODER)
        parts = (
            ClvpModelForConditionalGeneration.from_pretrained(clvp),
            UnivNetModel.from_pretrained(univnet),
            ClvpTokenizer.from_pretrained(clvp),
            ClvpFeatureExtractor.from_pretrained(clvp),
        )
    except (
        OSError,
        ValueError,
    ) as error:  # transformers and the hub: no connection, no such repository, unreadable files
        where = "the hub" if folder is None else str(folder)
        raise MissingDataError(
            f"TorToiSe cannot be had from {where} ({' '.join(str(error).split())[:200]}): it consists of "
            f"{CLVP}, {UNIVNET} and {'/'.join(DECODER)}; connect, or fetch them elsewhere and name the "
            "folder"
        ) from error
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            decoder = DiffusionDecoder(config or config_of(state))
        decoder.load_state_dict(state, assign=True)
    except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
        raise TrainingError(
            f"{weights} is not the decoder of this configuration ({' '.join(str(error).split())[:300]}): fetch "
            f"{'/'.join(DECODER)} anew"
        ) from error
    clvp_model, univnet_model, tokenizer, features = parts
    return Parts(
        _counting(clvp_model.eval()),
        decoder.requires_grad_(False).eval(),
        univnet_model.eval(),
        tokenizer,
        features,
        UnivNetFeatureExtractor(),
    )


def config_of(state: Mapping[str, torch.Tensor]) -> DecoderConfig:
    """The sizes of a decoder whose weights these are; KeyError where they are of something else."""

    def attentions(of: str) -> int:
        return sum(re.fullmatch(rf"{of}\.\d+\.norm\.weight", name) is not None for name in state)

    layers = sum(re.fullmatch(r"layers\.\d+\.attn\.norm\.weight", name) is not None for name in state)
    blocks = sum(re.fullmatch(r"layers\.\d+\.in_layers\.0\.weight", name) is not None for name in state)
    inside = (
        re.fullmatch(r"conditioning_timestep_integrator\.\d+\.attn\.norm\.weight", name) for name in state
    )
    channels, bands = state["inp_block.weight"].shape[:2]
    voices, codes = (state.get(f"{name}_embedding.weight") for name in ("speaker", "code"))
    return DecoderConfig(
        bands,
        state["out.2.weight"].shape[0],
        channels,
        state["layers.0.attn.relative_pos_embeddings.relative_attention_bias.weight"].shape[1],
        layers,
        blocks,
        state["latent_conditioner.0.weight"].shape[1],
        attentions("latent_conditioner"),
        0 if codes is None else len(codes),
        attentions("code_converter"),
        attentions("contextual_embedder"),
        sum(found is not None for found in inside),
        0 if voices is None else len(voices),
        folded="guidance_embed.0.weight" in state,
        interval="until_embed.0.weight" in state,
    )


def key(decoder: DiffusionDecoder) -> str:
    """What a student notes of the decoder whose student it is."""
    return content_key(*(value.cpu().numpy().tobytes() for value in decoder.state_dict().values()))


def _counting(clvp: nn.Module) -> nn.Module:
    """The model, told where its prompt stands.

    transformers 5.23 takes the prompt's length from the one start code and so puts all of it at position 0,
    after the embeddings of its positions 0, 1, 2... were taken off so that they cancel: without this they do
    not, and the text reads scrambled.
    """
    model = clvp.speech_decoder_model
    prepare = model.prepare_inputs_for_generation

    @functools.wraps(prepare)
    def prepared(*given, **named):
        inputs = prepare(*given, **named)
        if (prompt := inputs.get("inputs_embeds")) is not None:
            inputs["position_ids"] = torch.arange(prompt.shape[1], device=prompt.device)[None]
        return inputs

    model.prepare_inputs_for_generation = prepared
    return clvp


def _within(folder: Path) -> tuple[str, str, str]:
    wanted = {"clvp/config.json": CLVP, "univnet/config.json": UNIVNET, DECODER[1]: "/".join(DECODER)}
    missing = [f"{file} (from {source})" for file, source in wanted.items() if not (folder / file).is_file()]
    if missing:
        raise MissingDataError(f"{folder} does not hold the published TorToiSe, it lacks: {', '.join(missing)}")
    return str(folder / "clvp"), str(folder / "univnet"), str(folder / DECODER[1])


def latents(clvp: nn.Module, ids: torch.Tensor, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """What the language model knew when it said each of `codes` (1, T), (1, T, hidden); ids (1, n) of the text."""
    model = clvp.speech_decoder_model
    decoder = model.model.decoder
    before = clvp.conditioning_encoder(input_features=features, input_ids=F.pad(ids, (0, 1)))
    said = F.pad(
        codes[:, :-1], (1, 0), value=model.config.bos_token_id
    )  # the state that says a code has heard those before
    heard = decoder.input_embeds_layer(said) + decoder.position_embeds_layer(
        torch.arange(said.shape[1], device=said.device)
    )
    whole = torch.cat([before, heard], 1)
    # Text and speech count their positions apart, the decoder would count on: it is told 0 everywhere, which is
    # taken off before.
    nowhere = torch.zeros((1, whole.shape[1]), dtype=torch.int64, device=whole.device)
    hidden = decoder(
        inputs_embeds=whole - decoder.position_embeds_layer(nowhere), position_ids=nowhere, use_cache=False
    )
    return model.final_norm(hidden.last_hidden_state[:, -said.shape[1] :])


def spoken(codes: torch.Tensor) -> int:
    """How many of the codes (T,) are speech: up to where a silence has lasted CALM_RUN codes."""
    run = 0
    for place, code in enumerate(codes.tolist()):
        run = run + 1 if code == CALM else 0
        if run > CALM_RUN:
            return place
    return len(codes)
