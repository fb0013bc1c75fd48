"""Where can a system run? One table: runtime, device, what kind its numbers are, what it needs, and why it is not here.

A target is called runtime/device: "torch/cpu", "onnxruntime/cpu", "torch/cuda". In results a GPU carries its model,
"torch/cuda-h100", so that rows of two machines stay apart: see `label`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lib.errors import unknown


@dataclass(frozen=True)
class Target:
    """A row of the table."""

    name: str  # "torch/cpu"
    kind: str = "measured"  # of the numbers it gives, as in the results contract
    modules: tuple[str, ...] = ()  # Python modules that must be importable
    packages: tuple[str, ...] = ()  # distributions whose versions decide what comes out
    install: str = ""  # how to get what it needs
    missing: Callable[[], str | None] = lambda: None  # what else is wanting on this machine, in words

    @property
    def runtime(self) -> str:
        """What computes: "torch", "onnxruntime"..."""
        return self.name.split("/", 1)[0]

    @property
    def device(self) -> str:
        """What it computes on: "cpu", "cuda"..."""
        return self.name.split("/", 1)[1]

    @property
    def cuda(self) -> bool:
        """Whether the work is done by an NVIDIA GPU."""
        return self.device == "cuda"

    def why_not(self) -> str | None:
        """Why it cannot run here, in words with the remedy; None where it can."""
        absent = [
            module
            for module in self.modules
            if module not in sys.modules and importlib.util.find_spec(module) is None
        ]
        if absent:
            return f"{self.name} needs {', '.join(absent)}: {self.install}"
        return self.missing()

    def versions(self) -> dict[str, str]:
        """Versions of what computes; "" for what is not installed."""
        return versions(self.packages)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of installed distributions; "" for what is not installed."""
    return {package: _version(package) for package in packages}


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _no_cuda() -> str | None:
    """Why torch computes on no GPU here."""
    import torch

    if torch.cuda.is_available():
        return None
    built = "this torch was built without CUDA" if torch.version.cuda is None else "no CUDA device"
    return f"{built}: take a machine with an NVIDIA GPU and torch's CUDA build"


_TORCH = {
    "modules": ("torch", "transformers"),
    "packages": ("torch", "transformers"),
    "install": "pip install -r requirements.txt",
}

TARGETS = {
    target.name: target
    for target in (
        Target("torch/cpu", **_TORCH),
        Target("torch/cuda", missing=_no_cuda, **_TORCH),
        Target(
            "onnxruntime/cpu",
            modules=("onnxruntime",),
            packages=("onnxruntime", "numpy"),
            install="pip install onnxruntime==1.31.1",
        ),
        Target(
            "ctranslate2/cpu",
            modules=("ctranslate2", "faster_whisper"),
            packages=("ctranslate2",),
            install="pip install faster-whisper==1.2.1",
        ),
        Target(
            "native/cpu",
            modules=("espeakng_loader",),
            packages=("espeakng-loader",),
            install="pip install espeakng-loader==0.2.4",
        ),
        Target(
            "numpy/cpu",
            modules=("librosa",),
            packages=("numpy", "librosa"),
            install="pip install librosa==0.11.0",
        ),
    )
}


def find(name: str) -> Target:
    """The target of a name, also of one as results have it ("torch/cuda-h100"); ParameterError for an unknown one."""
    plain = re.sub(r"/cuda-[\w.]+$", "/cuda", name)
    if plain not in TARGETS:
        raise unknown("target", name, TARGETS)
    return TARGETS[plain]


def label(name: str) -> str:
    """The target as results call it: a GPU with its model, anything else as it is."""
    if not find(name).cuda or "cuda-" in name:
        return name
    import torch

    if not torch.cuda.is_available():
        return name
    return f"{name}-{slug(torch.cuda.get_device_name())}"


def slug(gpu: str) -> str:
    """A GPU's model in short.

    >>> slug("NVIDIA H100 80GB HBM3"), slug("NVIDIA GeForce RTX 4090"), slug("Tesla T4")
    ('h100', 'rtx4090', 't4')
    """
    words = [
        w
        for w in re.sub(r"[^a-z0-9 ]", " ", gpu.lower()).split()
        if w not in ("nvidia", "tesla", "geforce", "quadro")
    ]
    kept = [words[0]] if words else ["gpu"]
    if kept[0] in ("rtx", "gtx", "titan") and len(words) > 1:
        kept.append(words[1])
    return "".join(kept)
