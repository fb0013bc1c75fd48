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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.errors import unknown
from lib.files import cache_folder, content_key


@dataclass(frozen=True)
class Target:
    """A row of the table."""

    name: str  # "torch/cpu"
    kind: str = "measured"  # of the numbers it gives, as in the results contract
    modules: tuple[str, ...] = ()  # Python modules that must be importable
    packages: tuple[str, ...] = ()  # distributions whose versions decide what comes out
    install: str = ""  # how to get what it needs
    missing: Callable[[], str | None] = lambda: None  # which device is wanting on this machine, in words
    builds: bool = False  # whether its packages are of use without that device
    toolchain: tuple[
        str, ...
    ] = ()  # what pip installs into a Python of its own, because it does not stay beside ours
    alone: tuple[str, ...] = ()  # what it installs there afterwards, without the packages that it asks for
    lodges_with: str = ""  # the runtime whose Python it is, where the toolchain is another's
    pythons: tuple[str, ...] = ()  # versions of Python that there is a toolchain for; none: any
    megabytes: int = 0  # on disk, of that Python
    settings: Mapping[str, Any] = field(default_factory=dict)  # what its runtime is told of the device

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

    @property
    def emulator(self) -> str:
        """Who answers for it where it is simulated: "vela", "qnn v73"; targets of one emulator get the same answers."""
        return " ".join(filter(None, (self.runtime, self.settings.get("emulator"))))

    @property
    def python(self) -> Path | None:
        """The Python of its toolchain, whether it is there or not; None for a target that computes in ours."""
        if not self.toolchain:
            return None
        key = content_key(*self.toolchain, *self.alone)[:8]
        return cache_folder("toolchains", f"{self.lodges_with or self.runtime}-{key}", "bin", "python")

    @property
    def unfinished(self) -> Path | None:
        """A note that lies there for as long as its toolchain is not whole (`lib.deploy.toolchains`)."""
        return self.python and self.python.parents[1].with_suffix(".unfinished")

    @property
    def installed(self) -> bool:
        """Whether its toolchain is there, and whole."""
        return bool(self.toolchain) and self.python.exists() and not self.unfinished.exists()

    def why_not(self) -> str | None:
        """Why it cannot run here, in words with the remedy; None where it can. A device that is not here comes before
        packages, which are of no use without it.
        """
        device, packages = self.missing(), self._lacking()
        wanting = [packages, device] if self.builds else [device, packages]
        return "; ".join(filter(None, wanting)) or None

    def _lacking(self) -> str | None:
        """Which packages are not here."""
        if self.toolchain and not self.installed:
            return self._not_installed()
        absent = [
            module
            for module in self.modules
            if module not in sys.modules and importlib.util.find_spec(module) is None
        ]
        return f"{self.name} needs {', '.join(absent)}: {self.install}" if absent else None

    def _not_installed(self) -> str:
        how = self.install or "./run_all.sh quick --only 06 --set npu=install"
        packages = " ".join((*self.toolchain, *self.alone))
        own = f"a Python{' ' + ' or '.join(self.pythons) if self.pythons else ''} of its own"
        before = f"; the last install: {self.unfinished.read_text()}" if self.unfinished.exists() else ""
        return f"{self.name} needs {packages} in {own} ({self.megabytes} MB): {how}{before}"

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
    """Why torch computes on no GPU here; without torch nobody knows of one, and it is torch that is asked for."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if torch.cuda.is_available():
        return None
    built = "this torch was built without CUDA" if torch.version.cuda is None else "no CUDA device"
    return f"{built}: take a machine with an NVIDIA GPU and torch's CUDA build"


def _no_edge_tpu() -> str | None:
    """Why there is no Edge TPU here: its delegate is a library of the system, its compiler no package at all."""
    import ctypes.util

    if ctypes.util.find_library("edgetpu"):
        return None
    return "no libedgetpu: Google's compiler and delegate are in no package index; see coral.ai/software"


def _no_neuron() -> str | None:
    """Why there is no Inferentia here."""
    if Path("/dev/neuron0").exists():
        return None
    return "no /dev/neuron0: take an inf2 instance of AWS with its Neuron image (the index holds stubs of its packages)"


def _no_intel_npu() -> str | None:
    """Why OpenVINO finds no NPU here."""
    if any(Path("/dev/accel").glob("accel*")):
        return None
    return "no /dev/accel: take a processor with an Intel NPU (Core Ultra), its driver and its compiler"


def _not_on(system: str) -> Callable[[], str | None]:
    return lambda: None if sys.platform == system else f"runs on {system} alone, this is {sys.platform}"


_TORCH = {
    "modules": ("torch", "transformers"),
    "packages": ("torch", "transformers"),
    "install": "pip install -r requirements.txt",
}

_ONNX = {
    "modules": ("onnxruntime",),
    "packages": ("onnxruntime", "numpy"),
    "install": "pip install onnxruntime==1.31.1",
}
_OPENVINO = {"toolchain": ("openvino==2026.4.1", "numpy==2.4.6"), "megabytes": 300, "packages": ("openvino",)}
_EXECUTORCH = {"toolchain": ("torch==2.13.0", "executorch==1.5.1"), "megabytes": 1_600}
_QNN = {
    "kind": "simulated",
    "toolchain": ("onnxruntime==1.31.1", "onnxruntime-qnn==2.7.0", "onnx==1.23.2"),
    "megabytes": 560,
}
_VELA = {
    "kind": "simulated",
    "toolchain": ("torch==2.13.0", "litert-torch==0.10.0", "ai-edge-quantizer==0.10.0", "ethos-u-vela==5.2.0"),
    "megabytes": 2_200,
}
# The newest PyTorch that Rockchip's toolkit asks for comes with CUDA alone, and ours does as well: so it goes in alone.
_RKNN = {
    "kind": "simulated",
    "toolchain": (
        "torch==2.13.0",
        "numpy==1.26.4",
        "onnx==1.18.0",
        "onnxruntime==1.26.0",
        "protobuf==4.25.4",
        "setuptools==79.0.1",
        "scipy==1.17.1",
        "opencv-python-headless==4.11.0.86",
        "fast-histogram==0.14",
        "psutil==7.2.2",
        "ruamel.yaml==0.19.1",
        "tqdm==4.70.1",
    ),
    "alone": ("rknn-toolkit2==2.5.0",),
    "pythons": ("3.12", "3.11"),
    "megabytes": 1_500,
}
_TPU_MLIR = {
    "kind": "simulated",
    "toolchain": ("tpu_mlir[onnx]==1.30.2", "psutil==7.2.2", "setuptools==79.0.1"),
    "pythons": ("3.10",),
    "megabytes": 2_000,
}

TARGETS = {
    target.name: target
    for target in (
        Target("torch/cpu", **_TORCH),
        Target("torch/cuda", missing=_no_cuda, **_TORCH),
        Target("onnxruntime/cpu", **_ONNX),
        Target(
            "ctranslate2/cpu",
            modules=("ctranslate2", "faster_whisper"),
            packages=("ctranslate2",),
            install="pip install faster-whisper==1.2.1",
        ),
        # A comparator, too: the package around that engine.
        Target(
            "faster-whisper/cpu",
            modules=("faster_whisper",),
            packages=("faster-whisper", "ctranslate2"),
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
        # A comparator, GPL: nothing of ours imports it.
        Target(
            "piper/cpu",
            toolchain=("piper-tts==1.8.0", "onnxruntime==1.31.1"),
            megabytes=150,
            install="./run_all.sh quick --only 04 --set piper_tts=install",
        ),
        # Where single stages run, too: `lib.deploy` has a file for each runtime.
        Target("torch-compile/cpu", **_TORCH),
        Target("openvino/cpu", **_OPENVINO),
        Target("executorch/cpu", **_EXECUTORCH),
        Target("torch-compile/cuda", missing=_no_cuda, **_TORCH),
        Target("cuda-graphs/cuda", missing=_no_cuda, **_TORCH),
        Target("onnxruntime/cuda", missing=_no_cuda, **{**_ONNX, "install": "pip install onnxruntime-gpu"}),
        Target("tensorrt/cuda", missing=_no_cuda, modules=("tensorrt",), install="pip install tensorrt"),
        Target(
            "tensorrt-rtx/cuda",
            missing=_no_cuda,
            builds=True,
            modules=("tensorrt_rtx",),
            install="pip install tensorrt-rtx",
        ),
        # Qualcomm Hexagon: the vendor's emulator for numbers, its own estimate for time, which version 2.7.0 has for
        # these SoCs alone. soc_model: as QNN counts them, named as its libQnnSystem.so names them. emulator: one answer
        # holds for all SoCs of a word, as on two decoders in 8 bits it was the same bit by bit, in 16 bits within
        # 0.02 dB.
        Target("qnn/sa8255", settings={"soc_model": 52, "emulator": "v73"}, **_QNN),
        Target("qnn/sa8797", settings={"soc_model": 72, "emulator": "v73"}, **_QNN),
        Target("qnn/qcs9100", settings={"soc_model": 77, "emulator": "v73"}, **_QNN),
        Target("qnn/sar2230p", settings={"soc_model": 95, "emulator": "v73"}, **_QNN),
        Target("qnn/sa8787", settings={"soc_model": 114, "emulator": "v73"}, **_QNN),
        Target("qnn/sa8540", settings={"soc_model": 62, "emulator": "v68"}, **_QNN),
        Target("qnn/aic100", settings={"soc_model": 63, "emulator": "v68"}, **_QNN),
        # Arm Ethos-U: TFLite's reference kernels for numbers, Vela's cycle model for time. sram_kib: what the NPU has.
        # A U55 shares all with its processor: the two internal banks of 1 MiB of Arm's reference system, Corstone-300
        # (ML embedded evaluation kit, docs/sections/memory_considerations.md).
        Target(
            "vela/ethos-u55-256",
            settings={"system": "Ethos_U55_High_End_Embedded", "memory": "Shared_Sram", "sram_kib": 2_048},
            **_VELA,
        ),
        Target(
            "vela/ethos-u65-512",
            settings={"system": "Ethos_U65_High_End", "memory": "Dedicated_Sram_512KB", "sram_kib": 512},
            **_VELA,
        ),
        Target(
            "vela/ethos-u85-1024",
            settings={"system": "Ethos_U85_SYS_DRAM_High", "memory": "Dedicated_Sram_512KB", "sram_kib": 512},
            **_VELA,
        ),
        Target("edgetpu/usb", missing=_no_edge_tpu, **{**_VELA, "kind": "measured", "lodges_with": "vela"}),
        # Rockchip and Sophgo: the vendors' compilers, and their simulators of the arithmetic.
        Target("rknn/rk3588", **_RKNN),
        Target("tpu-mlir/bm1684x", **_TPU_MLIR),
        Target(
            "neuron/inferentia2", missing=_no_neuron, modules=("torch_neuronx",), install="AWS's Neuron image"
        ),
        Target("openvino/npu", missing=_no_intel_npu, **_OPENVINO),
        Target(
            "coreml/ane", missing=_not_on("darwin"), modules=("coremltools",), install="pip install coremltools"
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
