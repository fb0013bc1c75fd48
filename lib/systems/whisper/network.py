"""`whisper-tiny.en` as transformers' WhisperForConditionalGeneration: the model to fine-tune, quantize and export."""

from __future__ import annotations

import copy
import logging
import re
from typing import TYPE_CHECKING

import numpy as np
import torch

from lib import audio, targets
from lib.files import content_key
from lib.systems.base import Recogniser, Stopwatch, Transcript
from lib.systems.model import Attributes, stored_bytes
from lib.systems.whisper import ctranslate2_weights
from lib.systems.whisper.package import (
    EOT,
    LONGEST,
    NO_TIMESTAMPS,
    SAMPLE_RATE,
    SOT,
    folder,
    front_end,
    windows,
)

if TYPE_CHECKING:
    import transformers


def state_dict() -> dict[str, torch.Tensor]:
    """All weights under transformers' names, float32."""
    width = 384
    weights: dict[str, torch.Tensor] = {}

    def put(name: str, array: np.ndarray) -> None:
        weights[name] = torch.tensor(array, dtype=torch.float32)

    def put_split(prefix: str, names: str, kind: str, array: np.ndarray) -> None:
        """Stacked projections apart; keys have no bias in Whisper, CTranslate2 stores zeros."""
        for index, name in enumerate(names):
            if not (name == "k" and kind == "bias"):
                put(f"{prefix}.{name}_proj.{kind}", array[index * width : (index + 1) * width])

    for name, array in ctranslate2_weights.read(folder() / "model.bin").items():
        side, _, rest = name.partition("/")
        base = f"model.{side}"
        rest = rest.replace("gamma", "weight").replace("beta", "bias")
        if layer := re.fullmatch(r"layer_(\d+)/(.+)", rest):
            base, rest = f"{base}.layers.{layer[1]}", layer[2]
            kind = rest.rsplit("/", 1)[1]
            attention = {"self_attention": "self_attn", "attention": "encoder_attn"}.get(rest.split("/")[0])
            if attention and "layer_norm" in rest:
                put(f"{base}.{attention}_layer_norm.{kind}", array)
            elif rest.startswith("self_attention/linear_0"):
                put_split(f"{base}.{attention}", "qkv", kind, array)
            elif rest.startswith("attention/linear_0"):
                put_split(f"{base}.{attention}", "q", kind, array)
            elif rest.startswith("attention/linear_1"):
                put_split(f"{base}.{attention}", "kv", kind, array)
            elif attention:
                put(f"{base}.{attention}.out_proj.{kind}", array)
            elif "layer_norm" in rest:
                put(f"{base}.final_layer_norm.{kind}", array)
            else:
                put(f"{base}.{'fc1' if 'linear_0' in rest else 'fc2'}.{kind}", array)
        elif rest.startswith(("conv", "layer_norm")):
            put(f"{base}.{rest.replace('/', '.')}", array)
        elif rest == "embeddings/weight":
            put(f"{base}.embed_tokens.weight", array)
        elif rest == "position_encodings/encodings":
            put(f"{base}.embed_positions.weight", array)
    weights["proj_out.weight"] = weights["model.decoder.embed_tokens.weight"]
    return weights


def load_model() -> "transformers.WhisperForConditionalGeneration":
    """The recogniser in float32, every weight set (strict loading), with tiny.en's generation settings."""
    import json

    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    # transformers' own Whisper code passes suppress_tokens in the way that its generate() warns about on every
    # first call.
    logging.getLogger("transformers.generation.utils").addFilter(
        lambda record: "Passing `generation_config`" not in record.getMessage()
    )
    special = {"bos_token_id": EOT, "eos_token_id": EOT, "pad_token_id": EOT, "decoder_start_token_id": SOT}
    config = WhisperConfig(
        vocab_size=51_864,
        d_model=384,
        encoder_layers=4,
        decoder_layers=4,
        encoder_attention_heads=6,
        decoder_attention_heads=6,
        encoder_ffn_dim=1536,
        decoder_ffn_dim=1536,
        **special,
    )
    model = WhisperForConditionalGeneration(config)
    model.load_state_dict(state_dict(), strict=True)
    published = json.loads((folder() / "config.json").read_text())
    model.generation_config = GenerationConfig(
        suppress_tokens=published["suppress_ids"],
        begin_suppress_tokens=published["suppress_ids_begin"],
        is_multilingual=False,
        no_timestamps_token_id=NO_TIMESTAMPS,
        max_length=2 + LONGEST,  # the prompt's tokens count
        return_timestamps=False,
        alignment_heads=published["alignment_heads"],
        **special,
    )
    return model.eval()


def load_tokenizer() -> "transformers.PreTrainedTokenizerFast":
    """The byte-level BPE tokenizer of tiny.en; encoding adds <|startoftranscript|><|notimestamps|> and
    <|endoftext|>.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder() / "tokenizer.json"),
        eos_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )


class Whisper(Recogniser):
    """The recogniser in torch. `modules`: "encoder", "decoder" and "head", each of them replaceable; prompt: the tokens
    that it is given before it says its first.
    """

    name = "whisper-tiny.en"
    sample_rate = SAMPLE_RATE
    prompt: tuple[int, ...] = (SOT, NO_TIMESTAMPS)

    def __init__(self, target: str = "torch/cpu", threads: int = 2):
        from transformers import WhisperFeatureExtractor

        torch.set_num_threads(threads)
        self.target, self.threads, self.device = target, threads, torch.device(targets.find(target).device)
        self._own(load_model().to(self.device))
        self.tokenizer = load_tokenizer()
        self.extractor = WhisperFeatureExtractor()
        self.front_end = front_end()
        self.files = (folder() / "model.bin", *self.front_end)

    @property
    def params_m(self) -> float:
        """10^6 parameters; embedding and head are one matrix and count once."""
        return sum(p.numel() for p in self.model.parameters()) / 1e6

    @property
    def loaded_mb(self) -> float:
        """10^6 bytes of weights in memory, shared ones once."""
        return stored_bytes(self.model) / 1e6

    def fingerprint(self) -> str:
        """As of every model, with what it may say and for how long."""
        return content_key(super().fingerprint(), self.model.generation_config.to_dict())

    def _copy_networks(self) -> None:
        self._own(copy.deepcopy(self.model))

    def _own(self, model: torch.nn.Module) -> None:
        """Listen with this model."""
        self.model = model
        places = {
            "encoder": (model.model, "encoder"),
            "decoder": (model.model, "decoder"),
            "head": (model, "proj_out"),
        }
        self.modules = Attributes(places)

    def features(self, waveform: np.ndarray, sample_rate: int) -> torch.Tensor:
        """Log-mel input (1, 80, 3000) of a clip of at most 30 s, zero-padded."""
        resampled = audio.resample(waveform, sample_rate, SAMPLE_RATE)
        return self.extractor(resampled, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features

    @torch.inference_mode()
    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> Transcript:
        """Greedy transcript of a clip of any length, in windows of 30 s."""
        watch = Stopwatch(torch.cuda.synchronize if self.device.type == "cuda" else lambda: None)
        parts = []
        for window in windows(waveform, sample_rate):
            with watch.stage("features"):
                features = self.features(window, sample_rate).to(self.device)
            with watch.stage("encoder"):
                heard = self.model.get_encoder()(features)
            with watch.stage("decoder"):
                tokens = self._tokens(heard)
            parts.append(self._words(tokens))
        return Transcript(" ".join(parts), watch.seconds, len(waveform) / sample_rate)

    @torch.inference_mode()
    def decoded(self, hidden: torch.Tensor) -> str:
        """Greedy transcript of what an encoder has made of a window, (1, 1500, width), wherever it ran."""
        from transformers.modeling_outputs import BaseModelOutput

        return self._words(self._tokens(BaseModelOutput(last_hidden_state=hidden.to(self.device))))

    def _tokens(self, heard) -> torch.Tensor:
        prompt = torch.tensor([self.prompt], device=self.device)
        return self.model.generate(
            encoder_outputs=heard, decoder_input_ids=prompt, do_sample=False, num_beams=1
        )

    def _words(self, tokens: torch.Tensor) -> str:
        return self.tokenizer.decode(tokens[0], skip_special_tokens=True).strip()
