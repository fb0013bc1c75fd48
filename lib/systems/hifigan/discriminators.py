"""What tells a vocoder's speech from recorded speech? HiFi-GAN's two families of discriminators, and the losses
they give.

Kong et al. 2020, arXiv:2010.05646, section 2.3 and appendix A: five period discriminators look at every p-th
sample, three scale discriminators (Kumar et al. 2019, arXiv:1910.06711) at the waveform averaged over 1, 2 and
4 samples. A width scales the channels of a family: 1 is the published size (41.1 M and 29.6 M parameters), 1/4
costs about a tenth and suits two cores.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from lib.errors import ParameterError

PERIODS = (2, 3, 5, 7, 11)  # primes: no two look at the same samples
SCALES = 3
SLOPE = 0.1
FEATURE_WEIGHT = 2.0  # lambda_fm of the paper
MEL_WEIGHT = 45.0  # lambda_mel

# Layers of a scale discriminator: output channels, kernel, stride, groups.
SCALE_LAYERS = (
    (128, 15, 1, 1),
    (128, 41, 2, 4),
    (256, 41, 2, 16),
    (512, 41, 4, 16),
    (1024, 41, 4, 16),
    (1024, 41, 1, 16),
    (1024, 5, 1, 1),
)
# Layers of a period discriminator: output channels, stride (kernel 5 over time).
PERIOD_LAYERS = ((32, 3), (128, 3), (512, 3), (1024, 3), (1024, 1))

Judgement = tuple[torch.Tensor, list[torch.Tensor]]  # scores (B, n), and the feature maps of every layer


class PeriodDiscriminator(nn.Module):
    """Sees the waveform folded to (time / period, period): two samples are neighbours when they lie a period apart."""

    def __init__(self, period: int, width: float):
        super().__init__()
        self.period = period
        channels = [1, *(_scaled(c, width, 4) for c, _ in PERIOD_LAYERS)]
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(i, o, (5, 1), (stride, 1), padding=(2, 0)))
            for i, o, (_, stride) in zip(channels, channels[1:], PERIOD_LAYERS)
        )
        self.post = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, waveform: torch.Tensor) -> Judgement:  # (B, n_samples)
        beyond = -waveform.shape[1] % self.period
        hidden = F.pad(waveform[:, None], (0, beyond), mode="reflect")  # (B, 1, time), a multiple of the period
        hidden = hidden.unflatten(2, (-1, self.period))  # (B, 1, time / period, period)
        return _judge(hidden, self.convs, self.post)


class ScaleDiscriminator(nn.Module):
    """Grouped convolutions over the waveform; the one that sees the raw samples is kept tame by spectral norm."""

    def __init__(self, norm, width: float):
        super().__init__()
        layers, channels = [], 1
        for out, kernel, stride, groups in SCALE_LAYERS:
            out = _scaled(out, width, 16)
            layers.append(
                norm(
                    nn.Conv1d(channels, out, kernel, stride, padding=kernel // 2, groups=min(groups, channels))
                )
            )
            channels = out
        self.convs = nn.ModuleList(layers)
        self.post = norm(nn.Conv1d(channels, 1, 3, padding=1))

    def forward(self, waveform: torch.Tensor) -> Judgement:  # (B, n_samples)
        return _judge(waveform[:, None], self.convs, self.post)


class Discriminators(nn.Module):
    """All discriminators over one waveform. periods, scales: which ones there are (published: 2, 3, 5, 7, 11
    and 3 scales).
    """

    def __init__(
        self,
        period_width: float = 1.0,
        scale_width: float = 1.0,
        periods: Sequence[int] = PERIODS,
        scales: int = SCALES,
    ):
        super().__init__()
        if min(period_width, scale_width) <= 0 or scales < 0 or not (periods or scales):
            raise ParameterError(
                f"discriminators of widths {period_width} and {scale_width}, periods {list(periods)} and "
                f"{scales} scales judge nothing: give positive widths and at least one period or scale"
            )
        self.periods = nn.ModuleList(PeriodDiscriminator(period, period_width) for period in periods)
        self.scales = nn.ModuleList(
            ScaleDiscriminator(weight_norm if i else spectral_norm, scale_width) for i in range(scales)
        )

    def forward(self, waveform: torch.Tensor) -> list[Judgement]:  # (B, n_samples)
        judgements = [discriminator(waveform) for discriminator in self.periods]
        for discriminator in self.scales:
            judgements.append(discriminator(waveform))
            waveform = F.avg_pool1d(waveform[:, None], 4, 2, padding=2)[:, 0]  # (B, n_samples / 2 + 1)
        return judgements


def discriminator_loss(judgements: list[Judgement]) -> torch.Tensor:
    """Least squares (Mao et al. 2017): real clips (the first half of the batch) should score 1, generated ones
    (the second) 0.
    """
    loss = 0.0
    for scores, _ in judgements:
        real, fake = scores.chunk(2)  # (B / 2, n) each
        loss = loss + (1 - real).square().mean() + fake.square().mean()
    return loss


def generator_loss(real: list[Judgement], fake: list[Judgement]) -> tuple[torch.Tensor, torch.Tensor]:
    """(adversarial loss, feature-matching loss): generated clips should score 1 and look like the real ones in
    every layer.
    """
    adversarial = features = 0.0
    for (_, real_maps), (scores, fake_maps) in zip(real, fake):
        adversarial = adversarial + (1 - scores).square().mean()
        for wanted, layer in zip(real_maps, fake_maps):
            features = features + F.l1_loss(layer, wanted.detach())
    return adversarial, features


def _judge(hidden: torch.Tensor, convs: nn.ModuleList, post: nn.Module) -> Judgement:
    maps = []
    for conv in convs:
        hidden = F.leaky_relu(conv(hidden), SLOPE)  # (B, C, time[, period]), C and the stride as in the tables
        maps.append(hidden)
    hidden = post(hidden)  # (B, 1, time[, period])
    return hidden.flatten(1), [*maps, hidden]


def _scaled(channels: int, width: float, unit: int) -> int:
    """`channels * width`, rounded to a multiple of `unit`: grouped convolutions need one that their groups divide."""
    return max(unit, round(channels * width / unit) * unit)
