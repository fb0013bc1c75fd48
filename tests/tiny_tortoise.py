"""A folder like that of the published TorToiSe, of tiny networks with random weights."""

import json
from pathlib import Path

import torch

from lib.systems.tortoise.network import DecoderConfig, build

TINY = DecoderConfig(
    100, 200, 32, 2, 1, 1, 32, 1, code_count=9, code_layers=1, context_layers=1, integrator_layers=1
)


def folder(path: Path) -> Path:
    """A folder as `published.load` wants it."""
    from transformers import (
        ClvpConfig,
        ClvpFeatureExtractor,
        ClvpModelForConditionalGeneration,
        ClvpTokenizer,
        UnivNetConfig,
        UnivNetModel,
    )

    torch.manual_seed(0)
    encoder = {
        "hidden_size": 64,
        "intermediate_size": 32,
        "projection_dim": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = ClvpConfig(
        text_config=encoder,
        speech_config=encoder | {"vocab_size": 8192},
        projection_dim=64,
        decoder_config={
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_mel_attn_blocks": 1,
        },
    )
    ClvpModelForConditionalGeneration(config).save_pretrained(path / "clvp")
    letters = ["[STOP]", "[UNK]", "[SPACE]", *"abcdefghijklmnopqrstuvwxyz'.,!?"]
    (path / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (path / "merges.txt").write_text("#version: 0.2\nt h\n")
    ClvpTokenizer(str(path / "vocab.json"), str(path / "merges.txt")).save_pretrained(path / "clvp")
    ClvpFeatureExtractor(mel_norms=[1.0] * 80).save_pretrained(path / "clvp")
    UnivNetModel(UnivNetConfig(model_hidden_channels=8)).save_pretrained(path / "univnet")
    torch.save(build(TINY).state_dict(), path / "diffusion_decoder.pth")
    return path
