"""What did others measure, and what do others claim? Figures beside which ours can be laid but not ranked.

Other listeners, corpora and machines: an opinion score belongs to its own test, which is why the scores of the
real recordings in the same tests stand beside those of the systems. What somebody states without a publication is
a claim: its source says so (`results.CLAIM`), and tables show it as "claimed", apart from published figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.results import CLAIM

if TYPE_CHECKING:
    from lib.results import Run

SHEN = "Shen et al. 2018, arXiv:1712.05884, Table 1 (US English, internal corpus)"
REN = "Ren et al. 2021, arXiv:2006.04558, Table 1 (LJ Speech, vocoder Parallel WaveGAN)"
KONG = "Kong et al. 2020, arXiv:2010.05646, Table 1 (LJ Speech, copy-synthesis)"
KIM = "Kim et al. 2021, arXiv:2106.06103, Table 1 (LJ Speech)"
RADFORD = "Radford et al. 2022, arXiv:2212.04356, appendix D (LibriSpeech test-clean, greedy decoding)"
CLAIMED = f"{CLAIM}the description of a project that trained Tacotron 2 on eight devices"


@dataclass(frozen=True)
class Figure:
    """A row of kind "published" (a claim if its source is one).

    spread: half of the published 95 % interval, 0: none given.
    """

    system: str
    variant: str
    target: str
    metric: str
    value: float
    source: str
    spread: float = 0.0
    detail: str = ""


FIGURES = (
    Figure("tacotron2", "shen-2018", "listeners", "mos_human", 4.526, SHEN, 0.066),
    Figure("ground-truth", "shen-2018", "listeners", "mos_human", 4.582, SHEN, 0.053),
    Figure("fastspeech2", "ren-2021", "listeners", "mos_human", 3.83, REN, 0.08),
    Figure("tacotron2", "ren-2021", "listeners", "mos_human", 3.70, REN, 0.08),
    Figure("ground-truth", "ren-2021", "listeners", "mos_human", 4.30, REN, 0.07),
    Figure("hifigan", "kong-2020", "listeners", "mos_human", 4.36, KONG, 0.07),
    Figure("ground-truth", "kong-2020", "listeners", "mos_human", 4.45, KONG, 0.06),
    Figure("hifigan", "kong-2020", "listeners", "params_m", 13.92, KONG),
    Figure("hifigan", "kong-2020", "V100", "throughput_rtfx", 167.9, KONG),
    Figure("vits", "kim-2021", "listeners", "mos_human", 4.43, KIM, 0.06),
    Figure("ground-truth", "kim-2021", "listeners", "mos_human", 4.46, KIM, 0.06),
    Figure("whisper-tiny.en", "radford-2022", "LibriSpeech", "wer", 0.056, RADFORD),
)

CLAIMS = (
    Figure(
        "tacotron2", "distributed", "8-devices", "mos_human", 4.460, CLAIMED, detail="it is not said who judged"
    ),
    Figure(
        "tacotron2",
        "distributed",
        "8-devices",
        "train_frames_per_s",
        9.2,
        CLAIMED,
        detail="given as FPS, per device",
    ),
    Figure("tacotron2", "distributed", "8-devices", "power_w", 128, CLAIMED, detail="per device"),
    Figure("tacotron2", "distributed", "8-devices", "peak_gpu_mb", 18_400, CLAIMED, detail="per device"),
    Figure(
        "tacotron2", "distributed", "8-devices", "scaling_efficiency", 0.96, CLAIMED, detail="eight devices"
    ),
)
VARIANTS = tuple(dict.fromkeys(figure.variant for figure in FIGURES))  # of publications
CLAIM_VARIANTS = tuple(dict.fromkeys(figure.variant for figure in CLAIMS))


def add(run: "Run", figures: Sequence[Figure] = (*FIGURES, *CLAIMS)) -> None:
    """Write the published figures and the claims, or those alone that are given."""
    for f in figures:
        run.add(
            f.system,
            f.variant,
            f.target,
            f.metric,
            f.value,
            kind="published",
            source=f.source,
            detail=f.detail,
            ci=(f.value - f.spread, f.value + f.spread) if f.spread else None,
        )
