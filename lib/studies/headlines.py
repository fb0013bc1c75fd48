"""What do the reference studies promise? Every headline of theirs, as it is stated, with what would confirm it here.

Nothing is measured or judged here: `lib.report.claims` lays our rows beside these.
"""

from __future__ import annotations

from dataclasses import dataclass

from lib.metrics import CLAIM, METRICS
from lib.studies import menu, promised, published
from lib.studies.distillation_claim import REFERENCE, Claim

SPEECHT5 = "SpeechT5 in 8 bit and pruned"
TORTOISE = "TorToiSe distilled"
TACOTRON = "Tacotron 2 on eight devices"
ADAPTERS = "LoRA and QLoRA"

_PRUNED = f"{CLAIM}the description of a project that quantized and pruned SpeechT5"
_DISTILLED = f"{CLAIM}the description of a project that distilled TorToiSe from 4,000 steps to 31"
_HU = "Hu et al. 2021, arXiv:2106.09685, abstract (GPT-3 175B)"
_DETTMERS = "Dettmers et al. 2023, arXiv:2305.14314, abstract and introduction (65 B parameters)"


@dataclass(frozen=True)
class Headline:
    """What somebody states.

    system, variant, baseline, metric: the rows of ours that answer it (variant "": whatever was measured of the
    system); before: where theirs starts, from least to most; change: after over before of a cost, after minus before of
    a score, from least to most, both in the results' unit; equal: that nothing is lost against the baseline;
    incomparable: why a number of ours is not the same thing; lacking: what it takes to have one; note: what one should
    know of theirs.
    """

    study: str
    source: str
    system: str
    metric: str
    theirs: str
    variant: str = ""
    baseline: str = "baseline"
    before: tuple[float, float] | None = None
    change: tuple[float, float] | None = None
    equal: bool = False
    incomparable: str = ""
    lacking: str = ""
    note: str = ""

    @property
    def claimed(self) -> bool:
        """Stated without a publication that one could look up."""
        return self.source.startswith(CLAIM)


def _speecht5() -> list[Headline]:
    made = []
    for claim in promised.CLAIMS:
        cost = claim.metric in ("size_mb", "latency_ms_p50")
        (low, high), (then_low, then_high), scale = claim.before, claim.after, claim.scale
        change = (
            (then_low / high, then_high / low)
            if cost
            else ((then_low - high) / scale, (then_high - low) / scale)
        )
        made.append(
            Headline(
                SPEECHT5,
                _PRUNED,
                "speecht5-base" if cost else "speecht5",
                claim.metric,
                f"{_range(claim.before)} → {_range(claim.after)} {claim.unit}",
                menu.CLAIMED,
                before=(low / scale, high / scale),
                change=change,
                lacking="its clips are not aligned with a reference in time, without which PESQ means nothing"
                if claim.metric == "pesq_wb"
                else "04_pruning_quantization makes it",
                note="ours: the published size, random weights"
                if cost
                else "ours: the small one trained here; it is not said who judged theirs",
            )
        )
    return made


def _tacotron2() -> list[Headline]:
    other = "eight accelerators of an unnamed make, where ours is this machine"
    why = {
        "mos_human": "it is not said who judged, and nobody has judged ours",
        "train_frames_per_s": "given as FPS, and it is not said what a frame is",
        "scaling_efficiency": "eight devices, where ours has the processes of one machine",
    }
    lacking = {
        "mos_human": "it takes listeners: 07_listening_test makes the page that collects their ratings",
        "peak_gpu_mb": "it takes a GPU",
    }
    return [
        Headline(
            TACOTRON,
            figure.source,
            figure.system,
            figure.metric,
            f"{figure.value:,g} {METRICS[figure.metric].unit}".replace(" fraction", ""),
            incomparable=why.get(figure.metric, f"measured on {other}"),
            lacking=lacking.get(figure.metric, "02_training measures it"),
            note=figure.detail,
        )
        for figure in published.CLAIMS
    ]


def _tortoise() -> list[Headline]:
    claim = Claim()
    common = {
        "variant": f"distilled-{claim.after}",
        "baseline": REFERENCE,
        "lacking": "05_distillation makes it where its ladder has that rung",
    }
    origin = (
        f"{2 * claim.guided_steps} evaluations ({claim.guided_steps} guided steps) over {claim.after} are "
        f"{2 * claim.guided_steps / claim.after:.1f}: the likely origin, an inference of ours"
    )
    faster = f"{claim.times:g} times lower"
    change = (0.0, 1 / claim.times)
    return [
        Headline(
            TORTOISE,
            _DISTILLED,
            "tortoise",
            "latency_ms_p50",
            faster,
            change=change,
            note=origin,
            incomparable="theirs starts from 4,000 steps, or from 80 guided ones, ours from a converged walk of 64",
            **common,
        ),
        Headline(TORTOISE, _DISTILLED, "tortoise", "mos_predicted", "equal quality", equal=True, **common),
    ]


def _adapters() -> list[Headline]:
    lora = {"variant": "lora-r8", "baseline": "full", "lacking": "it takes a run that fine-tunes"}
    qlora = {"variant": "qlora-r8", "baseline": "full", "lacking": "it takes a run that fine-tunes"}
    voice = "whisper-tiny.en"
    return [
        Headline(
            ADAPTERS,
            _HU,
            voice,
            "trainable_params_pct",
            "10,000 times fewer trained",
            change=(0.0, 1e-4),
            note="a network 4,600 times as large as ours: the share falls with the width",
            **lora,
        ),
        Headline(ADAPTERS, _HU, voice, "peak_gpu_mb", "3 times less GPU memory", change=(0.0, 1 / 3), **lora),
        Headline(ADAPTERS, _HU, voice, "wer", "on par with full fine-tuning", equal=True, **lora),
        Headline(ADAPTERS, _DETTMERS, voice, "peak_gpu_mb", "> 780 → < 48 GB", change=(0.0, 48 / 780), **qlora),
        Headline(ADAPTERS, _DETTMERS, voice, "wer", "what full 16-bit fine-tuning scores", equal=True, **qlora),
    ]


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:,g}" if ends[0] == ends[1] else f"{ends[0]:,g}–{ends[1]:,g}"


HEADLINES = (*_speecht5(), *_tortoise(), *_tacotron2(), *_adapters())
