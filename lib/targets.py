"""Where can a system run? One table: runtime, device, what kind its numbers are, what it needs, and why it is not here.

A target is called runtime/device: "torch/cpu", "onnxruntime/cpu", "torch/cuda". In results a GPU carries its model,
"torch/cuda-h100", so that rows of two machines stay apart: see `label`. `lib.target` says what stands in a line.
"""

from __future__ import annotations

import re

from lib.errors import unknown
from lib.target import Target, no_cuda, no_edge_tpu, no_intel_npu, no_neuron, not_on

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
        Target("torch/cuda", missing=no_cuda, **_TORCH),
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
        Target("torch-compile/cuda", missing=no_cuda, **_TORCH),
        Target("cuda-graphs/cuda", missing=no_cuda, **_TORCH),
        Target("onnxruntime/cuda", missing=no_cuda, **{**_ONNX, "install": "pip install onnxruntime-gpu"}),
        Target("tensorrt/cuda", missing=no_cuda, modules=("tensorrt",), install="pip install tensorrt"),
        Target(
            "tensorrt-rtx/cuda",
            missing=no_cuda,
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
        Target("edgetpu/usb", missing=no_edge_tpu, **{**_VELA, "kind": "measured", "lodges_with": "vela"}),
        # Rockchip and Sophgo: the vendors' compilers, and their simulators of the arithmetic.
        Target("rknn/rk3588", **_RKNN),
        Target("tpu-mlir/bm1684x", **_TPU_MLIR),
        Target(
            "neuron/inferentia2", missing=no_neuron, modules=("torch_neuronx",), install="AWS's Neuron image"
        ),
        Target("openvino/npu", missing=no_intel_npu, **_OPENVINO),
        Target(
            "coreml/ane", missing=not_on("darwin"), modules=("coremltools",), install="pip install coremltools"
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
