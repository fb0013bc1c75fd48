"""Which techniques are tried on which system? Most of those that its runtimes have; `compression` tries them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib import systems, targets
from lib.errors import ParameterError, unknown
from lib.optimize import calibration
from lib.optimize import variant as variants
from lib.optimize.plan import AXES
from lib.studies import piper, sensitivity

EXTENTS = ("smoke", "quick", "study")
TORCH, ONNX = "torch/cpu", "onnxruntime/cpu"
ZEROED = ("speecht5", "speecht5-base")
CLAIMED = "pruned-30+int8-dynamic"  # the variant of SpeechT5 of which figures are claimed
# What int8 leaves is stored in half precision, as checkpoints are: of graphs the download would grow otherwise.
SMALL = ("int8-dynamic+fp16-weights", (("int8-dynamic", {}), ("fp16-weights", {})))
# Stays in single precision of a decoder: its last convolution makes the samples, and nothing behind it smooths what
# rounding adds. Without it int8-static was seen 9 % nearer to the baseline's log-mels (vits-joe, hifigan).
LAST = "*conv_post*"  # on torch and in graphs
# Graphs of acoustic models, without their vocoder's, and the one of them that is all convolutions or sees most frames.
GENERATING = {
    "fastspeech2": (["encoder", "prosody", "decoder"], ["decoder"]),
    "tacotron2": (["encoder", "decoder", "postnet"], ["postnet"]),
    "speecht5": (["encoder", "decoder", "postnet"], ["postnet"]),
    "tortoise": (["encoder", "prosody", "latents", "condition", "decoder"], ["decoder"]),
}


@dataclass(frozen=True, eq=False)
class Trial:
    """One variant. steps: techniques with their arguments, in turn; settings: of the system before it (a vocoder,
    a speaker).
    """

    system: str
    target: str
    variant: str
    steps: tuple[tuple[str, Mapping[str, Any]], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def trial(system: str, target: str, variant: str, technique: str = "", **arguments: Any) -> Trial:
    """A trial of one step; technique: by default the variant's own name."""
    return Trial(system, target, variant, ((technique or variant, arguments),))


def halved(system: str, target: str, variant: str, technique: str = "", **arguments: Any) -> Trial:
    """As `trial`; what stays in single precision is stored in half, as the checkpoints of the baseline are: else the
    download of its graphs would be larger.
    """
    steps = ((technique or variant, arguments), ("fp16-weights", {}))
    return Trial(system, target, f"{variant}+fp16-weights", steps)


def trials(extent: str, only: Collection[str] = ()) -> list[Trial]:
    """What is tried: "smoke" one variant that takes seconds, "quick" what is claimed of SpeechT5 and both sides of one
    voice on ONNX Runtime, "study" most techniques on the systems that have networks here. ParameterError for another
    extent.

    only: those of these systems, of one on one target where it is given as "system/target"; none: all.
    ParameterError where none is tried of one of them, which says where one is.
    """
    if extent not in EXTENTS:
        raise unknown("extent of the trials", extent, EXTENTS)
    made = _trials(extent)
    known = _known(made)
    for name in only:
        if name not in known:
            raise _untried(extent, name, known)
    return [one for one in made if not only or set(only) & _labels(one)]


def asked(only: Collection[str], *names: str) -> list[str]:
    """Those of some systems that a run is about. only: as of `trials`; none: all.

    >>> asked([], "vits-joe", "hifigan"), asked(["hifigan/onnxruntime/cpu"], "vits-joe", "hifigan")
    (['vits-joe', 'hifigan'], ['hifigan'])
    """
    wanted = {label.partition("/")[0] for label in only}
    return [name for name in names if not only or name in wanted]


def checked(
    extent: str,
    only: Collection[str],
    *,
    axes: Sequence[str] = (),
    screened: Sequence[str] = (),
    screened_target: str = ONNX,
    zeroed: Sequence[str] = (),
    piper_tts: str = "off",
) -> None:
    """Raise ParameterError for what the study would only stumble over after hours. extent, only: of `trials`; axes: of
    `lib.optimize.plan`; screened: systems whose groups of layers are treated on a target; zeroed: those of `ZEROED`
    whose Linears lose weights; piper_tts: of `piper.compared`.
    """
    for one in trials(extent, only):
        for technique, arguments in one.steps:
            variants.checked(technique, arguments)
    for axis in axes:
        if axis not in AXES:
            raise unknown("axis", axis, AXES)
    for name in screened:
        if screened_target not in systems.targets(name):
            raise unknown(f"target of {name}", screened_target, systems.targets(name))
        if (runtime := targets.find(screened_target).runtime) not in sensitivity.TECHNIQUES:
            raise ParameterError(f"no group of layers is treated on {runtime}: screen on {TORCH} or {ONNX}")
    for name in zeroed:
        if name not in ZEROED:
            raise unknown("system whose weights are set to zero", name, ZEROED)
    if piper_tts not in piper.MODES:
        raise unknown("mode of the comparison with piper-tts", piper_tts, piper.MODES)


def _known(made: list[Trial]) -> set[str]:
    return {label for one in made for label in _labels(one)}


def _untried(extent: str, name: str, known: set[str]) -> ParameterError:
    """Of a system that only another extent tries that it does, else that nobody knows it."""
    others = [other for other in EXTENTS if name in _known(_trials(other))]
    if not others:
        return unknown(f"system of the trials {extent!r}", name, sorted(known))
    return ParameterError(f"{extent} tries nothing of {name}; `trials={others[0]}` does")


def _labels(one: Trial) -> set[str]:
    return {one.system, f"{one.system}/{one.target}"}


def _trials(extent: str) -> list[Trial]:
    joe = ("vits-joe", ONNX)
    if extent == "smoke":
        return [trial(*joe, "fp16-weights")]
    linear = {"share": 0.3, "types": ["Linear"]}
    made = [
        trial("speecht5", TORCH, "pruned-30", "pruned", **linear),
        Trial("speecht5", TORCH, CLAIMED, (("pruned", linear), ("int8-dynamic", {}))),
    ]
    static = of_decoder()
    made += [
        trial(*joe, "int8-dynamic", stages=["decoder"], types=["Conv"]),
        trial(*joe, "int8-static", **static),
    ]
    if extent == "quick":
        return made
    made += [
        trial(*joe, f"int8-static-{method}", "int8-static", **static, method=method)
        for method in calibration.METHODS
        if method != "minmax"  # the usual one, above
    ]
    # The decoder's last stage is what one hears of static scales: with channels brought into one range, and without it.
    early = {"layers": [f"*resblocks.{i}/*" for i in range(6)]}
    made.append(
        trial(*joe, "int8-static-early", "int8-static", **static, **early, method="percentile", equalise=0.5)
    )
    made += [trial(*joe, "int8-weights"), trial(*joe, "fp16-weights")]
    seen = sensitivity.arguments_of("int8-static")
    made += _of_vocoders(static)
    for name, (own, widest) in GENERATING.items():
        on = (name, ONNX)
        made += [Trial(*on, *SMALL), *(trial(*on, variant) for variant in ("int8-weights", "fp16-weights"))]
        made.append(halved(*on, "int8-dynamic-mel", "int8-dynamic", stages=own))
        made.append(halved(*on, "int8-static", stages=widest, **seen))
    made += _of_small_voice(seen)
    # What the published size is made of (`promised`) is judged on the small one.
    own_vocoder = {**static, "stages": ["vocoder.decoder"]}
    both = (("int8-dynamic", {}), ("int8-static", own_vocoder))
    made.append(Trial("speecht5", ONNX, "int8-dynamic+int8-static", both))
    for target in (TORCH, ONNX, "ctranslate2/cpu"):
        made.append(trial("whisper-tiny.en", target, "int8-dynamic"))
    made.append(Trial("whisper-tiny.en", ONNX, *SMALL))
    # Half of its weights are a table of tokens, which no product shrinks: for the download all are stored smaller.
    made += [trial("whisper-tiny.en", TORCH, variant) for variant in ("int8-weights", "int4-weights", "nf4")]
    for name in ("vits-joe", "fastspeech2", "tacotron2", "speecht5", "tortoise"):
        on = (name, TORCH)
        made += [
            trial(*on, variant) for variant in ("int8-dynamic", "int8-weights", "int4-weights", "nf4", "bf16")
        ]
        if name == "vits-joe":  # the others lie there in half precision already
            made.append(Trial(*on, *SMALL))
        for share in (10, 30, 50, 70):
            made.append(trial(*on, f"pruned-{share}", "pruned", share=share / 100, types=["Linear"]))
            made.append(trial(*on, f"structured-{share}", "structured", share=share / 100))
    return apart(made)


def apart(made: Sequence[Trial]) -> list[Trial]:
    """Each trial once; ParameterError where two that differ have one name: rows of one would hide the other's."""
    kept: dict[tuple[str, str, str], Trial] = {}
    for one in made:
        other = kept.setdefault((one.system, one.target, one.variant), one)
        if (other.steps, other.settings) != (one.steps, one.settings):
            raise ParameterError(
                f"two trials of {one.system} on {one.target} are called {one.variant}: give one of them another name"
            )
    return list(kept.values())


def of_decoder() -> dict[str, Any]:
    """What `int8-static` is given for a decoder, and `int8-aware` beside it: both must treat the same layers."""
    return {"stages": ["decoder"], "skip": [LAST], **sensitivity.arguments_of("int8-static")}


def _of_small_voice(seen: Mapping[str, Any]) -> list[Trial]:
    """What is tried on `hibari-small`, which speaks without a vocoder: few, for it is small. seen: arguments of
    `int8-static`, which its graph over frames is given.
    """
    here, there = ("hibari-small", ONNX), ("hibari-small", TORCH)
    return [
        Trial(*here, *SMALL),
        halved(*here, "int8-static", stages=["decoder"], **seen),
        trial(*here, "int8-weights"),
        *(trial(*there, variant) for variant in ("int8-dynamic", "int8-weights", "int4-weights")),
    ]


def _of_vocoders(static: Mapping[str, Any]) -> list[Trial]:
    """What is tried on vocoders: on ONNX Runtime for speed, each with PyTorch in its bench; on PyTorch for the
    download, which 8 bit alone do not halve where the checkpoint lies in half precision. static: arguments of the
    decoder's fixed scales.
    """
    on = ("hifigan", ONNX)
    front = {"stages": ["front"]}  # the pitch stays: a phase is its integral
    made = [
        halved(*on, "int8-dynamic", stages=["decoder"], types=["Conv"]),
        halved(*on, "int8-static", **static),
        Trial(
            *on,
            "int8-dynamic+int8-static+int8-weights",
            (("int8-dynamic", front), ("int8-static", static), ("int8-weights", {})),
        ),
        Trial("istft", ONNX, *SMALL),
    ]
    for name in ("hifigan", "istft"):
        made += [trial(name, TORCH, variant) for variant in ("int8-dynamic", "int8-weights", "int4-weights")]
    mixed = (("int4-weights", front), ("int8-weights", {"stages": ["pitch", "decoder"]}))
    made.append(Trial("hifigan", TORCH, "int4-front+int8-weights", mixed))
    return made
