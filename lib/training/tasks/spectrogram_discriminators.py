"""What in a spectrogram tells a vocoder's speech from recorded speech? Small networks that see it at three resolutions.

After the multi-resolution discriminators of UnivNet (Jang et al. 2021, arXiv:2106.07889) and the complex ones of
EnCodec (Defossez et al. 2022, arXiv:2210.13438); together with HiFi-GAN's period discriminators they form one jury.
Few channels: this is for a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from lib.errors import ParameterError
from lib.systems.hifigan.discriminators import Judgement, PeriodDiscriminator
from lib.training.tasks import istft_losses

SLOPE = 0.1
LEVEL = 0.2  # the level (RMS) at which the jury hears every clip
QUIET = 1e-6  # power, 46 dB below the mean of speech at that level: what lies below is not judged
MOST = 1_000.0  # how much `balance` may amplify a gradient
LOUDEST_GAIN = 20.0  # but silence stays quiet
# Kernels and strides, (time, frequency): every layer but the last two sees half as many bins.
LAYERS = (((3, 7), (1, 2)), ((3, 5), (1, 2)), ((3, 5), (2, 2)), ((3, 3), (1, 2)), ((3, 3), (1, 1)))


class SpectrogramDiscriminator(nn.Module):
    """Sees log magnitude and, compressed to its cube root, the complex spectrum: (B, 3, frames, bins)."""

    def __init__(self, size: int, channels: int):
        super().__init__()
        self.size = size
        widths = [3, channels, channels, channels, 2 * channels, 2 * channels]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(i, o, kernel, stride, padding=(kernel[0] // 2, kernel[1] // 2)))
            for i, o, (kernel, stride) in zip(widths, widths[1:], LAYERS)
        )
        self.post = weight_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, waveform: torch.Tensor) -> Judgement:  # (B, n_samples)
        window = istft_losses._window(self.size, waveform.device)
        spectrum = torch.view_as_real(
            torch.stft(
                waveform.float(), self.size, self.size // 4, window=window, center=False, return_complex=True
            )
        )  # (B, bins, frames, 2)
        power = spectrum.square().sum(-1, keepdim=True) + QUIET
        seen = torch.cat([0.125 * power.log() + 0.5, spectrum * power ** (-1 / 3)], -1)
        hidden, maps = seen.permute(0, 3, 2, 1).contiguous(), []  # (B, 3, frames, bins)
        for conv in self.convs:
            hidden = F.leaky_relu(conv(hidden), SLOPE)
            maps.append(hidden)
        return self.post(hidden).flatten(1), maps


class Jury(nn.Module):
    """All discriminators over one waveform. sizes: windows of the spectrograms; periods, period_width: as in
    HiFi-GAN.
    """

    def __init__(self, sizes: Sequence[int], channels: int, periods: Sequence[int], period_width: float):
        super().__init__()
        if not (sizes or periods) or channels < 1 or period_width <= 0:
            raise ParameterError(
                f"discriminators of windows {list(sizes)}, {channels} channels, periods "
                f"{list(periods)}, width {period_width} judge nothing: give at least one, and positive widths"
            )
        self.spectrograms = nn.ModuleList(SpectrogramDiscriminator(size, channels) for size in sizes)
        self.periods = nn.ModuleList(PeriodDiscriminator(period, period_width) for period in periods)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):  # with torch's own initial weights all clips score alike for long
                with torch.no_grad():
                    layer.weight = nn.init.kaiming_normal_(torch.empty_like(layer.weight), a=SLOPE)
                    nn.init.zeros_(layer.bias)

    def forward(self, waveform: torch.Tensor) -> list[Judgement]:  # (B, n_samples), spectrograms first
        return [judge(waveform) for judge in (*self.spectrograms, *self.periods)]


def level(real: torch.Tensor) -> torch.Tensor:
    """What makes each real clip (B, n_samples) as loud as the others for the jury: (B, 1), at most `LOUDEST_GAIN`."""
    return (LEVEL / real.square().mean(1, keepdim=True).sqrt().clamp_min(1e-6)).clamp(max=LOUDEST_GAIN)


def jury_loss(judgements: list[Judgement]) -> torch.Tensor:
    """Least squares (Mao et al. 2017), mean over the jury: real clips (the first half of the batch) score 1,
    generated ones 0.
    """
    losses = []
    for scores, _ in judgements:
        real, fake = scores.float().chunk(2)
        losses.append((1 - real).square().mean() + fake.square().mean())
    return torch.stack(losses).mean()


def balance(
    leading: torch.Tensor, others: dict[str, tuple[torch.Tensor, float]], fake: torch.Tensor
) -> torch.Tensor:
    """A loss whose gradient by `fake` is that of `leading` plus, for each other loss, its own brought to `share` of
    that size.

    others: name -> (loss, share). What a jury's verdict weighs changes by orders of magnitude while it learns; so not
    its value but the size of its gradient is set (the balancer of EnCodec, Defossez et al. 2022, without its memory).
    Sizes are medians over clips of the gradient's norm, for one quiet clip can have the logarithm's largest.
    """

    def size(gradient: torch.Tensor) -> torch.Tensor:
        return gradient.flatten(1).norm(dim=1).median()

    total = torch.autograd.grad(leading, fake, retain_graph=True)[0]
    goal = size(total)
    for loss, share in others.values():
        own = torch.autograd.grad(loss, fake, retain_graph=True)[0]
        total = total + own * (share * goal / size(own).clamp_min(1e-8)).clamp(max=MOST)
    return (fake * total.detach()).sum()


def speaker_loss(
    wanted: list[list[torch.Tensor]], judgements: list[Judgement]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(adversarial, features), means over the judges: generated clips should score 1 and look real in every layer,
    relative to its size.

    wanted: the layers' maps of the real clips.
    """
    adversarial = torch.stack([(1 - scores.float()).square().mean() for scores, _ in judgements]).mean()
    features = [
        F.l1_loss(layer.float(), real.float()) / real.float().abs().mean().clamp_min(1e-3)
        for reals, (_, layers) in zip(wanted, judgements)
        for real, layer in zip(reals, layers)
    ]
    return adversarial, torch.stack(features).mean()
