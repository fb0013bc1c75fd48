"""Text-to-speech systems and the recogniser, all behind one small protocol: see `base.System`.

>>> from lib import systems
>>> voice = systems.load("vits-joe", target="onnxruntime/cpu")
>>> speech = voice.synthesize("The birch canoe slid on the smooth planks.", seed=0)
>>> speech.waveform.dtype, speech.sample_rate
(dtype('float32'), 22050)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from lib.errors import unknown

if TYPE_CHECKING:
    from lib.systems.base import System

# (system, target) -> (module, its class or function that loads it). A new system is one file and one line here.
_SYSTEMS = {
    ("vits-joe", "torch/cpu"): ("vits_joe", "VitsJoe"),
    ("vits-joe", "torch/cuda"): ("vits_joe", "VitsJoe"),
    ("vits-joe", "onnxruntime/cpu"): ("vits_joe.stages", "VitsJoeOnnx"),
    ("fastspeech2", "torch/cpu"): ("fastspeech2", "pretrained"),
    ("fastspeech2", "torch/cuda"): ("fastspeech2", "pretrained"),
    ("tacotron2", "torch/cpu"): ("tacotron2", "pretrained"),
    ("tacotron2", "torch/cuda"): ("tacotron2", "pretrained"),
    ("speecht5", "torch/cpu"): ("speecht5", "pretrained"),
    ("speecht5", "torch/cuda"): ("speecht5", "pretrained"),
    ("speecht5-base", "torch/cpu"): ("speecht5", "SpeechT5Base"),
    ("speecht5-base", "torch/cuda"): ("speecht5", "SpeechT5Base"),
    ("tortoise", "torch/cpu"): ("tortoise", "pretrained"),
    ("tortoise", "torch/cuda"): ("tortoise", "pretrained"),
    ("hibari", "onnxruntime/cpu"): ("hibari", "Hibari"),
    ("espeak-ng", "native/cpu"): ("espeak", "Espeak"),
}


def names() -> list[str]:
    """The text-to-speech systems that can be loaded."""
    return sorted({system for system, _ in _SYSTEMS})


def targets(name: str) -> list[str]:
    """The targets a system runs on, its usual one first."""
    if name not in names():
        raise unknown("system", name, names())
    return [target for system, target in _SYSTEMS if system == name]


def load(name: str, *, target: str | None = None, threads: int = 2) -> "System":
    """Load a system, ready to speak. target: one of `targets(name)`, by default the first; threads: CPU threads
    it may use.
    """
    known = targets(name)
    target = target or known[0]
    if target not in known:
        raise unknown(f"target of {name}", target, known)
    module, loader = _SYSTEMS[name, target]
    return getattr(importlib.import_module(f"lib.systems.{module}"), loader)(target=target, threads=threads)
