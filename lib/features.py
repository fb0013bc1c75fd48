"""What a network sees of a waveform: log-mel spectrograms, energy, values per phone; and the way back by Griffin-Lim.

One definition, used by every system. It runs in torch, so that the same lines serve a training loss on a GPU and a
NumPy caller. The hop is the clock of everything else here: F0 (`lib.prosody`), phone durations (`lib.corpora.align`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib import audio
from lib.errors import AudioError, ParameterError, require

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class MelConfig:
    """How a log-mel spectrogram is made. Filters: Slaney's mel scale and area norm; window: periodic Hann; pad:
    reflect.

    centered: frame i is centred on sample i * hop, and n_samples give n_samples // hop + 1 frames (librosa's default);
    otherwise on the middle of samples i * hop .. (i + 1) * hop, and they give n_samples // hop frames (HiFi-GAN).
    power_floor is added to the power before the root; floor is the smallest mel magnitude; decimal: log10, else ln.
    """

    sample_rate: int  # Hz
    n_fft: int  # samples, also the window's length
    hop: int  # samples
    n_bands: int
    low_hz: float
    high_hz: float
    centered: bool
    power_floor: float
    floor: float
    decimal: bool

    @property
    def pad(self) -> int:
        """Samples reflected at each end."""
        return self.n_fft // 2 if self.centered else (self.n_fft - self.hop) // 2

    def n_frames(self, n_samples: int) -> int:
        """Frames of a waveform of n_samples."""
        return 1 + (n_samples + 2 * self.pad - self.n_fft) // self.hop

    def frame_times(self, n_frames: int) -> np.ndarray:
        """Centre of each frame in seconds, (n_frames,) float64."""
        return (np.arange(n_frames) * self.hop + self.n_fft / 2 - self.pad) / self.sample_rate


# Kong et al. 2020 (arXiv:2010.05646), LJ Speech configuration: a frame is 11.6 ms.
HIFIGAN = MelConfig(
    22_050, 1024, 256, 80, 0.0, 8_000.0, centered=False, power_floor=1e-9, floor=1e-5, decimal=False
)
# Ao et al. 2022 (arXiv:2110.07205), as transformers' SpeechT5FeatureExtractor makes it: a frame is 16 ms.
SPEECHT5 = MelConfig(
    16_000, 1024, 256, 80, 80.0, 7_600.0, centered=True, power_floor=0.0, floor=1e-10, decimal=True
)


def log_mel(waveform: np.ndarray, config: MelConfig = HIFIGAN) -> np.ndarray:
    """(n_samples,) at config.sample_rate -> (n_frames, n_bands) float32; computed in double precision.

    Raises AudioError for audio that is unusable or shorter than one window.
    """
    return log_mel_torch(_double(waveform, config), config).numpy().astype(np.float32)


def log_mel_torch(waveform: "torch.Tensor", config: MelConfig = HIFIGAN) -> "torch.Tensor":
    """(..., n_samples) of any float type and device -> (..., n_frames, n_bands), differentiable, in the same precision.

    In float32 it stays within 1e-4 of `log_mel`; the difference is rounding in bands far below the frame's loudest.
    """
    linear = magnitude_torch(waveform, config)
    mel = (linear @ _filters(config, linear.device, linear.dtype)).clamp(min=config.floor)
    return mel.log10() if config.decimal else mel.log()


def magnitude_torch(waveform: "torch.Tensor", config: MelConfig = HIFIGAN) -> "torch.Tensor":
    """(..., n_samples) -> linear magnitude spectrogram (..., n_frames, n_fft // 2 + 1)."""
    import torch

    if waveform.shape[-1] <= config.pad:
        raise AudioError(
            f"waveform: {waveform.shape[-1]} samples are too few to reflect {config.pad} at each end"
        )
    flat = waveform.reshape(
        1, -1, waveform.shape[-1]
    )  # (1, B, n_samples): the shape in which torch pads by reflection
    padded = torch.nn.functional.pad(flat, (config.pad, config.pad), mode="reflect")[0]
    spectrum = torch.stft(
        padded,
        config.n_fft,
        config.hop,
        window=_window(config.n_fft, padded.device, padded.dtype),
        center=False,
        return_complex=True,
    )  # (B, n_bins, n_frames)
    if config.power_floor:
        linear = (torch.view_as_real(spectrum).square().sum(-1) + config.power_floor).sqrt()
    else:
        linear = spectrum.abs()  # its gradient at 0 is defined as 0, a plain root's is infinite
    return linear.transpose(1, 2).reshape(*waveform.shape[:-1], -1, config.n_fft // 2 + 1)


def magnitude(waveform: np.ndarray, config: MelConfig = HIFIGAN) -> np.ndarray:
    """(n_samples,) -> linear magnitude spectrogram (n_frames, n_fft // 2 + 1), float64."""
    return magnitude_torch(_double(waveform, config), config).numpy()


def energy(waveform: np.ndarray, config: MelConfig = HIFIGAN) -> np.ndarray:
    """FastSpeech 2's energy (Ren et al. 2021, arXiv:2006.04558): L2 norm of each magnitude frame, (n_frames,)
    float32.
    """
    return np.linalg.norm(magnitude(waveform, config), axis=1).astype(np.float32)


def phone_average(values: np.ndarray, frames: Sequence[int], *, ignore_zero: bool = False) -> np.ndarray:
    """Mean of `values` (n_frames,) over each phone's frames, (n_phones,) float32: FastSpeech 2's pitch and
    energy per phone.

    ignore_zero: average the frames that are not 0 (for F0, where 0 means unvoiced). A phone without any gets 0.
    """
    values, lengths = np.asarray(values, np.float64), np.asarray(frames, np.int64)
    if values.ndim != 1 or (lengths < 0).any() or lengths.sum() != len(values):
        raise ParameterError(
            f"durations add up to {lengths.sum()} frames, but there are values of shape {values.shape}: "
            "take both from the same clip and the same MelConfig"
        )
    owner = np.repeat(np.arange(len(lengths)), lengths)
    used = values != 0 if ignore_zero else np.ones(len(values), bool)
    count = np.bincount(owner[used], minlength=len(lengths))
    total = np.bincount(owner[used], values[used], minlength=len(lengths))
    return (total / np.maximum(count, 1)).astype(np.float32)


def griffin_lim(
    mel: np.ndarray, config: MelConfig = HIFIGAN, iterations: int = 32, seed: int = 0
) -> np.ndarray:
    """A waveform (n_frames * hop,) float32 whose log-mel is close to `mel` (n_frames, n_bands): the vocoder to beat.

    Linear magnitudes by non-negative least squares, then fast Griffin-Lim with momentum 0.99 (Perraudin et al. 2013)
    from random phases. Deterministic for a seed. For a centred config the result is one hop shorter.
    """
    import torch

    mel = np.asarray(mel)
    if mel.ndim != 2 or mel.shape[1] != config.n_bands or len(mel) < 4 or not np.isfinite(mel).all():
        raise AudioError(
            f"log-mel of shape {mel.shape} is not (at least 4 frames, {config.n_bands}) finite numbers"
        )
    target = torch.from_numpy(linear_magnitude(mel, config)).float().T  # (n_bins, n_frames)
    # torch's own framing is centred; HiFi-GAN's frames lie half a hop later, so the result is moved by that
    # much at the end.
    shift = config.n_fft // 2 - config.pad
    window = _window(config.n_fft, target.device, target.dtype)
    length = (len(mel) - 1) * config.hop + shift
    transform = {"n_fft": config.n_fft, "hop_length": config.hop, "window": window}
    phase = torch.rand(target.shape, generator=torch.Generator().manual_seed(seed)) * 2 * torch.pi
    estimate, previous = torch.polar(target, phase), torch.zeros_like(target, dtype=torch.complex64)
    for _ in range(iterations):
        waveform = torch.istft(estimate, **transform, length=length or None)
        rebuilt = torch.stft(waveform, **transform, return_complex=True)[:, : target.shape[1]]
        accelerated = rebuilt - 0.99 / 1.99 * previous
        previous = rebuilt
        estimate = target * accelerated / accelerated.abs().clamp(min=1e-16)
    waveform = torch.istft(estimate, **transform, length=length or None).numpy()
    waveform = np.concatenate([np.zeros(shift, np.float32), waveform])
    return np.clip(waveform, -1, 1).astype(np.float32)


def linear_magnitude(mel: np.ndarray, config: MelConfig = HIFIGAN, iterations: int = 60) -> np.ndarray:
    """The non-negative (n_frames, n_bins) magnitudes whose mel bands come closest to `mel` (n_frames, n_bands),
    float64.

    Starts from the clipped pseudo-inverse and goes on by multiplicative updates (Lee and Seung 2001), which
    keep the sign.
    """
    import torch

    filters = _filters(config, torch.device("cpu"), torch.float64).numpy()  # (n_bins, n_bands)
    bands = 10.0 ** mel.astype(np.float64) if config.decimal else np.exp(mel.astype(np.float64))
    linear = np.maximum(bands @ np.linalg.pinv(filters), 1e-8)
    numerator = bands @ filters.T
    for _ in range(iterations):
        linear *= numerator / np.maximum(linear @ filters @ filters.T, 1e-20)
    return linear


def _double(waveform: np.ndarray, config: MelConfig) -> "torch.Tensor":
    import torch

    checked = audio.check(waveform, config.sample_rate, min_seconds=config.n_fft / config.sample_rate)
    return torch.from_numpy(checked.astype(np.float64))


@functools.lru_cache(maxsize=16)
def _filters(config: MelConfig, device: "torch.device", dtype: "torch.dtype") -> "torch.Tensor":
    """(n_fft // 2 + 1, n_bands) on the device; one tensor per configuration, device and precision."""
    import torch

    librosa = require("librosa", "librosa==0.11.0")
    filters = librosa.filters.mel(
        sr=config.sample_rate,
        n_fft=config.n_fft,
        n_mels=config.n_bands,
        fmin=config.low_hz,
        fmax=config.high_hz,
        dtype=np.float64,
    )
    with torch.inference_mode(False):  # a tensor first made in inference mode could never take part in training
        return torch.from_numpy(np.ascontiguousarray(filters.T)).to(device, dtype)


@functools.lru_cache(maxsize=16)
def _window(length: int, device: "torch.device", dtype: "torch.dtype") -> "torch.Tensor":
    import torch

    with torch.inference_mode(False):
        return torch.hann_window(length, dtype=torch.float64).to(device, dtype)
