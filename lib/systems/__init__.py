"""Text-to-speech systems, vocoders and the recogniser, all behind one small protocol: see `base` and `model`.

>>> from lib import systems
>>> voice = systems.load("vits-joe", target="onnxruntime/cpu")
>>> speech = voice.synthesize("The birch canoe slid on the smooth planks.", seed=0)
>>> speech.waveform.dtype, speech.sample_rate
(dtype('float32'), 22050)
"""

from __future__ import annotations

import importlib
import inspect
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import targets as targets_module
from lib.errors import ParameterError, unknown
from lib.systems import quicker

if TYPE_CHECKING:
    from lib.systems.model import Model

KINDS = ("speech", "vocoder", "recogniser")
_TORCH = ("torch/cpu", "torch/cuda")
_ONNX = ("onnxruntime/cpu", "onnxruntime/cuda")


@dataclass(frozen=True)
class Entry:
    """loader: "module:callable" under lib.systems that takes target and threads; targets: its usual one first; teacher:
    whose voice it was to learn or copies, "" for a voice of its own, None for nobody's.
    """

    kind: str
    loader: str
    targets: tuple[str, ...] = _TORCH
    teacher: str | None = ""


# A new system is one file and one line here. Where targets want different classes, each has its own line.
_SYSTEMS = (
    ("vits-joe", Entry("speech", "vits_joe.network:VitsJoe")),
    ("vits-joe", Entry("speech", "vits_joe.stages:VitsJoeOnnx", _ONNX)),
    ("fastspeech2", Entry("speech", "fastspeech2:FastSpeech2.pretrained", teacher="vits-joe")),
    (
        "fastspeech2",
        Entry("speech", "fastspeech2.stages:FastSpeech2Onnx.pretrained", _ONNX, teacher="vits-joe"),
    ),
    ("tacotron2", Entry("speech", "tacotron2:Tacotron2.pretrained", teacher="vits-joe")),
    ("tacotron2", Entry("speech", "tacotron2.stages:Tacotron2Onnx.pretrained", _ONNX, teacher="vits-joe")),
    ("speecht5", Entry("speech", "speecht5:SpeechT5.pretrained", teacher="vits-joe")),
    ("speecht5", Entry("speech", "speecht5.stages:SpeechT5Onnx.pretrained", _ONNX, teacher="vits-joe")),
    ("speecht5-base", Entry("speech", "speecht5:SpeechT5Base")),
    ("speecht5-base", Entry("speech", "speecht5.stages:SpeechT5BaseOnnx", _ONNX)),
    ("tortoise", Entry("speech", "tortoise:Tortoise.pretrained", teacher="vits-joe")),
    ("tortoise", Entry("speech", "tortoise.stages:TortoiseOnnx.pretrained", _ONNX, teacher="vits-joe")),
    ("hibari", Entry("speech", "hibari:Hibari", _ONNX)),
    (
        "hibari-small",
        Entry("speech", "hibari_small.stages:HibariSmallOnnx.pretrained", _ONNX, teacher="hibari"),
    ),
    ("hibari-small", Entry("speech", "hibari_small.voice:HibariSmallTorch.pretrained", teacher="hibari")),
    ("espeak-ng", Entry("speech", "espeak:Espeak", ("native/cpu",), teacher=None)),
    ("hifigan", Entry("vocoder", "hifigan:pretrained", teacher="vits-joe")),
    ("hifigan", Entry("vocoder", "hifigan.stages:HifiGanOnnx.pretrained", _ONNX, teacher="vits-joe")),
    ("istft", Entry("vocoder", "istft:pretrained", teacher="vits-joe")),
    ("istft", Entry("vocoder", "istft.onnx_vocoder:IstftOnnx.pretrained", _ONNX, teacher="vits-joe")),
    ("hibari-vocoder", Entry("vocoder", "hibari_vocoder:HibariVocoder.pretrained", teacher="hibari")),
    (
        "hibari-vocoder",
        Entry("vocoder", "hibari_vocoder:HibariVocoderOnnx.pretrained", _ONNX, teacher="hibari"),
    ),
    ("griffin-lim", Entry("vocoder", "griffin_lim:load", ("numpy/cpu",), teacher="vits-joe")),
    ("whisper-tiny.en", Entry("recogniser", "whisper.network:Whisper")),
    ("whisper-tiny.en", Entry("recogniser", "whisper.engine:WhisperCTranslate2", ("ctranslate2/cpu",))),
    ("whisper-tiny.en", Entry("recogniser", "whisper.stages:WhisperOnnx", _ONNX)),
    ("whisper-tiny.en", Entry("recogniser", "whisper.packaged:FasterWhisper", ("faster-whisper/cpu",))),
)


# Voice -> the vocoder that says every mel in it; of other voices `istft` says what the mel has.
OWN_VOCODERS = {"vits-joe": "hifigan", "hibari": "hibari-vocoder"}


def names(kind: str = "speech") -> list[str]:
    """The systems of a kind that can be loaded: text-to-speech "speech", "vocoder", "recogniser"."""
    if kind not in KINDS:
        raise unknown("kind of system", kind, KINDS)
    return sorted({name for name, entry in _SYSTEMS if entry.kind == kind})


def kind(name: str) -> str:
    """Of `KINDS`: the system's own, of a repository of the hub ("openai/whisper-small") its family's, else "speech"."""
    known = {system: entry.kind for system, entry in _SYSTEMS}
    families = {system.partition("-")[0]: of for system, of in known.items()}
    return known.get(name) or families.get(name.rpartition("/")[2].partition("-")[0], "speech")


def teachers() -> dict[str, str | None]:
    """Pupil -> whose voice it was to learn or copies, None for nobody's; who is not in it has a voice of its own."""
    return {name: entry.teacher for name, entry in _SYSTEMS if entry.teacher != ""}


def targets(name: str) -> list[str]:
    """The targets a system runs on, its usual one first."""
    known = [target for system, entry in _SYSTEMS if system == name for target in entry.targets]
    if not known:
        raise unknown("system", name, {system for system, _ in _SYSTEMS})
    return known


def load(
    name: str,
    *,
    target: str | None = None,
    threads: int = 2,
    checkpoint: str | Path | None = None,
    **settings: Any,
) -> Model:
    """Load a system, ready to run.

    target: one of `targets(name)`, by default the first, or one that makes it quicker there (`quicker`: compiled, or
    with CUDA graphs); threads: CPU threads it may use; checkpoint: the folder of a
    trained one, by default that of `lib.zoo`; settings: such as it has, for example speaker="hibari".
    """
    known = targets(name)
    target = target or known[0]
    if (on := quicker.plain(target) if target in targets_module.TARGETS else target) not in known:
        raise unknown(f"target of {name}", target, known)
    if threads < 1:
        raise ParameterError(f"{threads} threads cannot compute: give at least 1")
    if why := targets_module.find(target).why_not():
        raise ParameterError(f"{name} cannot run on {target} here: {why}")
    entry = next(entry for system, entry in _SYSTEMS if system == name and on in entry.targets)
    module, loader = entry.loader.split(":")
    build = operator.attrgetter(loader)(importlib.import_module(f"lib.systems.{module}"))
    trained = {"checkpoint": str(Path(checkpoint).resolve())} if checkpoint else {}
    if trained and "checkpoint" not in inspect.signature(build).parameters:
        raise ParameterError(f"{name} takes no checkpoint: it is not one of those that are trained here")
    system = build(target=on, threads=threads, **trained)
    if settings:
        system.configure(**settings)
    if on != target:
        quicker.ready(system, target)
    system.origin = {
        "system": name,
        "target": target,
        "settings": settings,
        "variant": system.variant,
        **trained,
    }
    return system


def rebuild(origin: Mapping[str, Any], *, threads: int = 2) -> Model:
    """What `Model.origin` describes, in any process; a saved variant's is read by `lib.optimize.rebuild`."""
    settings = origin.get("settings", {})
    system = load(
        origin["system"],
        target=origin.get("target"),
        threads=threads,
        checkpoint=origin.get("checkpoint"),
        **settings,
    )
    system.variant = origin.get("variant", system.variant)
    system.origin = dict(origin)
    return system
