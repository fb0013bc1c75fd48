"""`vits-joe` in torch: transformers' VitsModel with the weights of the Piper voice "joe" (22.05 kHz, 15.65 M
parameters).

Noise comes from a NumPy generator, not from torch, so the same seed gives the same speech on every runtime
(`stages` draws the same numbers) and variants can be compared sample by sample.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from lib import targets
from lib.systems import symbols
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.vits_joe import piper

if TYPE_CHECKING:
    import transformers


class ResidualBlock2(nn.Module):
    """HiFi-GAN's residual block of type 2: one dilated convolution per step instead of two (arXiv:2010.05646,
    appendix).
    """

    def __init__(self, channels: int, kernel_size: int, dilations: tuple[int, ...], slope: float = 0.1):
        super().__init__()
        self.slope = slope
        self.convs = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel_size, dilation=d, padding=(kernel_size - 1) * d // 2)
            for d in dilations
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:  # (B, channels, time) in and out
        for conv in self.convs:
            hidden = hidden + conv(F.leaky_relu(hidden, self.slope))
        return hidden


def build_whole() -> "transformers.VitsModel":
    """VitsModel in the voice's architecture, without weights, with all that only training uses."""
    from transformers import VitsConfig, VitsModel

    config = VitsConfig(
        vocab_size=256,
        sampling_rate=22_050,
        upsample_rates=[8, 8, 4],
        upsample_kernel_sizes=[16, 16, 8],
        upsample_initial_channel=256,
        resblock_kernel_sizes=[3, 5, 7],
        resblock_dilation_sizes=[[1, 2], [2, 6], [3, 12]],
        layerdrop=0.0,  # VITS has none
    )
    model = VitsModel(config)
    stages = len(config.upsample_rates)
    model.decoder.resblocks = nn.ModuleList(
        ResidualBlock2(config.upsample_initial_channel // 2 ** (stage + 1), kernel, dilations)
        for stage in range(stages)
        for kernel, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes)
    )
    for module in model.flow.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    return model


def build_model() -> "transformers.VitsModel":
    """The same with what speaks alone."""
    model = build_whole()
    model.posterior_encoder = nn.Identity()
    predictor = model.duration_predictor
    for name in [name for name, _ in predictor.named_children() if name.startswith("post_")]:
        delattr(predictor, name)  # used by the training loss alone
    del predictor.flows[1]  # VITS leaves this flow out when it speaks; so does Piper's export
    return model.eval()


def load_model(checkpoint: str | None = None) -> "transformers.VitsModel":
    """The voice with its weights; every parameter is set (checked: strict loading).

    checkpoint: see `piper.model_path`.
    """
    model = build_model()
    weights = {}
    for name, array in piper.state_dict(piper.model_path(checkpoint)).items():
        # Flow 1 of the duration predictor is gone, so the ones behind it move up.
        parts = name.split(".")
        if name.startswith("duration_predictor.flows.") and int(parts[2]) > 1:
            parts[2] = str(int(parts[2]) - 1)
        weights[".".join(parts)] = torch.tensor(array)
    model.load_state_dict(weights, strict=True)
    return model


class VitsJoe(System):
    """The voice in torch. `modules` holds its four stages, which may be replaced by smaller ones with the same
    inputs.
    """

    name = "vits-joe"
    sample_rate = 22_050

    def __init__(self, target: str = "torch/cpu", threads: int = 2, checkpoint: str | None = None):
        torch.set_num_threads(threads)
        self.scales = piper.Scales()
        symbols.of("a")  # eSpeak is loaded on first use; load it here, not inside a measurement
        self.target, self.threads, self.device = target, threads, torch.device(targets.find(target).device)
        self.front_end = symbols.files()
        self.files = (piper.model_path(checkpoint), *self.front_end)
        model = load_model(checkpoint).to(self.device)
        self.modules = {
            "text_encoder": model.text_encoder,
            "duration_predictor": model.duration_predictor,
            "flow": model.flow,
            "decoder": model.decoder,
        }

    def settings(self) -> dict[str, float]:
        """How much noise it takes, and how long it makes its phones."""
        return dataclasses.asdict(self.scales)

    def configure(self, **scales: float) -> None:
        """Fields of `piper.Scales`."""
        self.scales = piper.scaled(self.scales, scales)

    @torch.inference_mode()
    def speak(self, sentence: str, seed: int) -> Speech:
        watch = Stopwatch(torch.cuda.synchronize if self.device.type == "cuda" else lambda: None)
        noise = np.random.default_rng(seed)
        with watch.stage("phonemes"):
            phones = symbols.of(sentence)
            ids = torch.from_numpy(piper.padded_ids(phones))[None].to(self.device)  # (1, T)
        with watch.stage("text_encoder"):
            hidden, means, log_scales = self._encode(ids)  # (1, 192, T) each
        with watch.stage("duration_predictor"):
            frames = self._durations(hidden, self._normal(noise, (1, 2, ids.shape[1])))  # (T,) int64
        with watch.stage("flow"):
            means, log_scales = (
                torch.repeat_interleave(x, frames, dim=2) for x in (means, log_scales)
            )  # (1, 192, F)
            latents = means + self._normal(noise, means.shape) * log_scales.exp() * self.scales.noise_scale
            mask = torch.ones_like(latents[:, :1])
            latents = self.modules["flow"](latents, mask, None, reverse=True)
        with watch.stage("decoder"):
            waveform = self.modules["decoder"](latents)[0, 0].float().cpu().numpy()
        return Speech(
            waveform, self.sample_rate, watch.seconds, phones, piper.frames_per_symbol(frames.cpu().numpy())
        )

    def _normal(self, noise: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(noise.standard_normal(tuple(shape), np.float32)).to(self.device)

    def _encode(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mask = torch.ones((*ids.shape, 1), device=ids.device)
        output = self.modules["text_encoder"](input_ids=ids, padding_mask=mask)
        return tuple(
            x.transpose(1, 2)
            for x in (output.last_hidden_state, output.prior_means, output.prior_log_variances)
        )

    def _durations(self, hidden: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Frames per input id, (T,) int64: the stochastic duration predictor run backwards from `noise` (1, 2, T)."""
        predictor = self.modules["duration_predictor"]
        mask = torch.ones_like(hidden[:, :1])
        condition = predictor.conv_proj(predictor.conv_dds(predictor.conv_pre(hidden), mask))
        latents = noise * self.scales.noise_w
        for flow in reversed(predictor.flows):
            latents, _ = flow(latents.flip(1), mask, global_conditioning=condition, reverse=True)
        return torch.ceil(latents[0, 0].exp() * self.scales.length_scale).long()
