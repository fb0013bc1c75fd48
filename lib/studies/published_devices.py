"""What did others measure of speech models on phones, NPUs and GPUs? Beside our rows, never ranked with them.

Most were measured by the vendor on phones and boards of its own, with the software of the day: the same encoder became
faster by factors when its attention was rewritten head by head, an NPU was slower than the GPU beside it, and one
network in 16-bit activations was several times slower than in floats by one runtime and faster by another. Read in
November 2026 from the history of the model cards and of the vendor's repository, which keep every table.

MLPerf's figures are of whole machines, everything there at once (its offline scenario): tokens of text a second, whose
audio its logs do not say, so they have no RTFx. Each is the line "Tokens per second" of a log of the round's results,
read in a copy of that repository at commit a634ab772637c2d940cfef45fae86553211f525b; the tables made of the same logs
call the unit samples, which is not what the number is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.metrics import METRICS
from lib.studies import published
from lib.studies.published import Figure

if TYPE_CHECKING:
    from lib.results import Run

HUB = "https://huggingface.co/qualcomm"
SMALL = (
    f"Qualcomm AI Hub Models 0.37.0, {HUB}/Whisper-Small/commit/00c8c7f90d36cbb19f92cd85c65f09d95e77cafa, 2025"
)
BASE = f"Qualcomm AI Hub Models, {HUB}/Whisper-Base-En/commit/a20eb8a646b5b0b1864fc7d48f88cd4b02f7cbd8, 2024"
TINY = f"Qualcomm AI Hub Models 0.29.0, {HUB}/Whisper-Tiny-En/commit/0a81a69df5ff67332b050eee3cea04c72980d6a9, 2025"
WINDOW, STEP = "encoder on 30 s of sound", "a step of the decoder"

PHONE, GRAPH = "galaxy-s25", "galaxy-s25-onnx"  # Snapdragon 8 Elite: by QNN alone, and by ONNX Runtime over QNN


def _hub_models(model: str, commit: str, qairt: str) -> str:
    """The vendor's own file of a model's times. qairt: its toolchain, whose version holds its day."""
    owner = "qualcomm" if model == "melotts_en" else "quic"  # the same repository, by the name it then had
    path = f"https://github.com/{owner}/ai-hub-models/blob/{commit}/qai_hub_models/models/{model}/perf.yaml"
    return f"Qualcomm AI Hub Models with QAIRT {qairt}, {path}, 20{qairt.split('.')[-1][:2]}"


_WHISPER = {
    name: _hub_models(f"whisper_{name}", "052dc1f3753ae177349f16d915ab67017f879b69", "2.41.0.251128")
    for name in ("tiny", "base", "small")
}
_W8A16 = _hub_models("whisper_small_quantized", "04aee51e901d6738383623d37507f4b971f08cd5", "2.39.0.250925")
_W8A16_ONNX = _hub_models(
    "whisper_small_quantized", "04aee51e901d6738383623d37507f4b971f08cd5", "2.37.1.250807"
)
_SMALL_ONNX = _hub_models("whisper_small", "052dc1f3753ae177349f16d915ab67017f879b69", "2.37.1.250807")
_MELO = _hub_models("melotts_en", "b61a009028de5420032377d9e6bd7280aae24c74", "2.43.0.260127")
_INTEL = "NubsCarson, https://github.com/elizaOS/eliza/issues/7633, 13 May, 2026"
_ROCKCHIP = "Augustiu, https://github.com/airockchip/rknn-toolkit2/issues/402, 23 July, 2025"
_APPLE = (
    "WhisperKit, Durmus et al. 2025, arXiv:2507.10860, by the summary at "
    "https://www.emergentmind.com/articles/2507.10860, 2025"
)

_MLPERF = "https://github.com/mlcommons/inference_results_v5.1/blob/main/closed"
UNCONFIRMED = (
    "Not confirmed and therefore not here: 0.175 J a token for MLPerf's Whisper. No log of a meter was found beside "
    "a Whisper result in the copy of round 5.1 that was read."
)


def _mlperf(submitter: str, machine: str, target: str, tokens_per_s: float, what: str) -> Figure:
    log = f"{_MLPERF}/{submitter}/results/{machine}/whisper/Offline/performance/run_1/mlperf_log_summary.txt"
    return Figure(
        "whisper-large-v3",
        "mlperf-5.1",
        target,
        "tokens_per_s",
        tokens_per_s,
        f"MLPerf Inference v5.1, closed division, submitted by {submitter}, {log}, 9 September, 2025",
        detail=f"offline scenario, {what}",
    )


def _ms(system: str, variant: str, target: str, value: float, source: str, what: str = WINDOW) -> Figure:
    return Figure(system, variant, target, "latency_ms_p50", value, source, detail=what)


FIGURES = (
    _ms("whisper-tiny.en", "encoder-fp16", "qnn/qcs8275", 142.28, TINY),
    _ms("whisper-tiny.en", "encoder-fp16", "tflite-gpu/qcs8275", 419.271, TINY),
    _ms("whisper-tiny.en", "encoder-fp16", "qnn/qcs8450", 114.257, TINY),
    _ms("whisper-base.en", "encoder-fp16", "qnn/snapdragon-8-gen-3", 230.887, BASE),
    _ms("whisper-base.en", "encoder-fp16", "tflite-gpu/snapdragon-8-gen-3", 157.661, BASE),
    _ms("whisper-small", "encoder-fp16", "qnn/sa8255", 136.109, SMALL),
    _ms("whisper-small", "encoder-fp16", "qnn/qcs8550", 132.256, SMALL),
    _ms("whisper-small", "encoder-fp16", "qnn/sa7255p", 424.037, SMALL),
    _ms("whisper-tiny", "encoder-float", f"qnn/{PHONE}", 9.327, _WHISPER["tiny"]),
    _ms("whisper-base", "encoder-float", f"qnn/{PHONE}", 18.118, _WHISPER["base"]),
    _ms("whisper-small", "encoder-float", f"qnn/{PHONE}", 59.805, _WHISPER["small"]),
    _ms("whisper-tiny", "decoder-float", f"qnn/{PHONE}", 1.326, _WHISPER["tiny"], STEP),
    _ms("whisper-base", "decoder-float", f"qnn/{PHONE}", 2.591, _WHISPER["base"], STEP),
    _ms("whisper-small", "decoder-float", f"qnn/{PHONE}", 8.174, _WHISPER["small"], STEP),
    _ms("whisper-small", "encoder-w8a16", f"qnn/{PHONE}", 205.021, _W8A16),
    _ms("whisper-small", "encoder-float", f"qnn/{GRAPH}", 81.116, _SMALL_ONNX),
    _ms("whisper-small", "encoder-w8a16", f"qnn/{GRAPH}", 35.236, _W8A16_ONNX),
    _ms("melotts-en", "bert-w16a16", f"qnn/{PHONE}", 5.681, _MELO, "one run of this stage"),
    _ms("melotts-en", "encoder-float", f"qnn/{PHONE}", 20.276, _MELO, "one run of this stage"),
    _ms("melotts-en", "flow-w8a16", f"qnn/{PHONE}", 103.043, _MELO, "one run of this stage"),
    _ms("melotts-en", "decoder-w8a16", f"qnn/{PHONE}", 47.511, _MELO, "one run of this stage"),
    _ms("whisper-base.en", "whole-int8", "openvino/npu-lunar-lake", 210, _INTEL, "all of a clip of 10.4 s"),
    _ms(
        "unnamed",
        "whole",
        "rknn/rk3588-npu",
        176,
        _ROCKCHIP,
        "a network with LSTMs and transposed convolutions",
    ),
    _ms(
        "unnamed", "whole", "rknn/rk3588-cpu", 101, _ROCKCHIP, "the same network on the cores of the same chip"
    ),
    _ms("whisper-large-v3-turbo", "encoder", "coreml/apple-ane", 602, _APPLE),
    _ms(
        "whisper-large-v3-turbo", "encoder-15s-blocks", "coreml/apple-ane", 218, _APPLE, "attention within 15 s"
    ),
    _mlperf(
        "Google",
        "H200-SXM-141GBx8_TRT",
        "tensorrt/h200-x8",
        34_088.7,
        "8 GPUs (SXM, 141 GB, 700 W each) with TensorRT 10.11",
    ),
    _mlperf(
        "Dell",
        "R7715-H100-NVL-94GBx3_TRT",
        "tensorrt/h100-x3",
        8301.9,
        "3 GPUs (NVL, 94 GB) with TensorRT 10.8",
    ),
    _mlperf(
        "Dell", "R570-L4-PCIE-24GBx4_TRT", "tensorrt/l4-x4", 1397.01, "4 GPUs (PCIe, 24 GB) with TensorRT 10.11"
    ),
    _mlperf(
        "Intel", "1-node-2S-GNR_128C", "torch/xeon-6980p-x2", 2187.39, "2 processors of 128 cores with PyTorch"
    ),
)


def other_table() -> str:
    """That the encoders of Whisper on a phone's NPU are not of the table that is often quoted, in a sentence."""
    own = [one for one in FIGURES if one.source in _WHISPER.values() and one.detail == WINDOW]
    *first, last = [f"{one.value:.1f}" for one in own]
    return (
        "Of Whisper's encoders on Snapdragon 8 Elite (tiny, base, small) 8.9, 18.6 and 60.2 ms are often quoted: those "
        f"are of another table than the {', '.join(first)} and {last} ms shown here ({own[0].source.split(', ')[0]})."
    )


def table():
    """What was published, a line each, with its conditions and source: a table apart from ours."""
    import pandas as pd

    lines = [
        {
            "model": one.system,
            "part": one.variant,
            "device": one.target,
            "metric": METRICS[one.metric].label,
            "published": one.value,
            "unit": METRICS[one.metric].unit,
            "what": one.detail,
            "source": one.source,
        }
        for one in FIGURES
    ]
    return pd.DataFrame(lines)


def add(run: "Run") -> None:
    """Write them, of kind "published"."""
    published.add(run, FIGURES)
