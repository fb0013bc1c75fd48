"""What did others measure of speech models on phones, NPUs and GPUs? Beside our rows, never ranked with them.

Measured by the vendor on phones and boards of its own, with the software of the day: the same encoder became faster by
factors when its attention was rewritten head by head, and an NPU was slower than the GPU beside it. Read in November
2026 from the history of the model cards, which keeps every table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
WINDOW = "encoder on 30 s of sound"

FIGURES = (
    Figure("whisper-tiny.en", "encoder-fp16", "qnn/qcs8275", "latency_ms_p50", 142.28, TINY, detail=WINDOW),
    Figure(
        "whisper-tiny.en", "encoder-fp16", "tflite-gpu/qcs8275", "latency_ms_p50", 419.271, TINY, detail=WINDOW
    ),
    Figure("whisper-tiny.en", "encoder-fp16", "qnn/qcs8450", "latency_ms_p50", 114.257, TINY, detail=WINDOW),
    Figure(
        "whisper-base.en",
        "encoder-fp16",
        "qnn/snapdragon-8-gen-3",
        "latency_ms_p50",
        230.887,
        BASE,
        detail=WINDOW,
    ),
    Figure(
        "whisper-base.en",
        "encoder-fp16",
        "tflite-gpu/snapdragon-8-gen-3",
        "latency_ms_p50",
        157.661,
        BASE,
        detail=WINDOW,
    ),
    Figure("whisper-small", "encoder-fp16", "qnn/sa8255", "latency_ms_p50", 136.109, SMALL, detail=WINDOW),
    Figure("whisper-small", "encoder-fp16", "qnn/qcs8550", "latency_ms_p50", 132.256, SMALL, detail=WINDOW),
    Figure("whisper-small", "encoder-fp16", "qnn/sa7255p", "latency_ms_p50", 424.037, SMALL, detail=WINDOW),
)


def table():
    """What was published, a line each, with its source: a table apart from ours."""
    import pandas as pd

    figures = FIGURES
    rows = [(f.system, f.variant, f.target, f.value, f.detail, f.source) for f in figures]
    return pd.DataFrame(rows, columns=["model", "part", "device", "latency, ms (published)", "what", "source"])


def add(run: "Run") -> None:
    """Write them, of kind "published"."""
    published.add(run, FIGURES)
