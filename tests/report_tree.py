"""A small outputs folder as the notebooks leave it: numbers of a plausible run, clips that two real voices speak."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from lib import results, systems

SENTENCES = {
    "harvard-01": "The birch canoe slid on the smooth planks.",
    "harvard-02": "Glue the sheet to the dark blue background.",
    "harvard-03": "It's easy to tell the depth of a well.",
}

HOSTILE = "<script>document.title = 'owned'</script>"

# system, variant, target: metric -> value, or (value, low, high)
ROWS = {
    ("ground-truth", "baseline", "recording"): {
        "mos_predicted": (4.27, 4.18, 4.35),
        "wer": (0.043, 0.026, 0.063),
        "wer_raw": (0.061, 0.04, 0.085),
        "cer": (0.019, 0.011, 0.03),
        "dnsmos_ovrl": (3.12, 3.05, 3.18),
        "speaker_similarity": (0.87, 0.86, 0.89),
    },
    ("vits-joe", "baseline", "torch/cpu"): {
        "mos_predicted": (4.13, 4.05, 4.2),
        "wer": (0.094, 0.071, 0.12),
        "wer_raw": (0.113, 0.088, 0.141),
        "cer": (0.041, 0.029, 0.055),
        "dnsmos_ovrl": (3.21, 3.16, 3.26),
        "speaker_similarity": (0.81, 0.79, 0.83),
        "rtf": (0.31, 0.296, 0.327),
        "latency_ms_p50": (1060, 1010, 1110),
        "latency_ms_p90": (1480, 1390, 1600),
        "throughput_rtfx": (3.22, 3.06, 3.38),
        "cold_start_s": 2.9,
        "size_mb": 62.6,
        "params_m": 15.65,
        "peak_rss_mb": 702,
        "energy_j_per_audio_s": 4.1,
        "power_w": 13.2,
        "utilization_pct": 97,
    },
    ("vits-joe", "baseline", "onnxruntime/cpu"): {
        "mos_predicted": (4.12, 4.05, 4.19),
        "wer": (0.095, 0.071, 0.121),
        "wer_raw": (0.114, 0.088, 0.142),
        "cer": (0.041, 0.029, 0.055),
        "dnsmos_ovrl": (3.21, 3.16, 3.26),
        "speaker_similarity": (0.81, 0.79, 0.83),
        "rtf": (0.198, 0.19, 0.209),
        "latency_ms_p50": (677, 650, 702),
        "latency_ms_p90": (952, 910, 1004),
        "throughput_rtfx": (5.05, 4.78, 5.26),
        "cold_start_s": 1.1,
        "size_mb": 63.1,
        "params_m": 15.65,
        "peak_rss_mb": 241,
        "energy_j_per_audio_s": 2.6,
        "power_w": 13.1,
        "utilization_pct": 95,
    },
    ("hibari", "baseline", "onnxruntime/cpu"): {
        "mos_predicted": (4.54, 4.49, 4.58),
        "wer": (0.029, 0.016, 0.045),
        "wer_raw": (0.044, 0.027, 0.064),
        "cer": (0.012, 0.006, 0.019),
        "dnsmos_ovrl": (3.33, 3.29, 3.37),
        "speaker_similarity": (0.84, 0.82, 0.86),
        "rtf": (0.081, 0.077, 0.086),
        "latency_ms_p50": (268, 255, 280),
        "latency_ms_p90": (371, 355, 398),
        "throughput_rtfx": (12.3, 11.6, 13.0),
        "cold_start_s": 0.7,
        "size_mb": 28.4,
        "params_m": 7.03,
        "peak_rss_mb": 188,
        "energy_j_per_audio_s": 1.06,
        "power_w": 13.0,
        "utilization_pct": 91,
    },
    ("espeak-ng", "baseline", "native/cpu"): {
        "mos_predicted": (2.32, 2.22, 2.43),
        "wer": (0.142, 0.115, 0.171),
        "wer_raw": (0.166, 0.136, 0.198),
        "cer": (0.063, 0.049, 0.08),
        "dnsmos_ovrl": (3.02, 2.97, 3.07),
        "rtf": (0.0041, 0.0038, 0.0045),
        "latency_ms_p50": (13, 12, 14),
        "latency_ms_p90": (18, 17, 20),
        "throughput_rtfx": (244, 222, 263),
        "cold_start_s": 0.02,
        "size_mb": 1.2,
        "peak_rss_mb": 61,
    },
    ("whisper-tiny.en", "baseline", "ctranslate2/cpu"): {
        "rtf": (0.105, 0.099, 0.113),
        "size_mb": 75.5,
        "params_m": 37.76,
    },
}
SOURCES = {
    "mos_predicted": "DistillMOS 0.9.1",
    "wer": "whisper-tiny.en by faster-whisper 1.2.1, int8, greedy; jiwer 4.0.0",
    "dnsmos_ovrl": "DNSMOS P.835 by speechmos 0.0.1.1",
    "speaker_similarity": "Resemblyzer 0.1.4",
    "rtf": "perf_counter, median of 5 runs",
    "peak_rss_mb": "kernel's VmHWM",
    "energy_j_per_audio_s": "TDP share of 2 cores",
    "power_w": "TDP share of 2 cores",
}
ESTIMATED = {"energy_j_per_audio_s", "power_w"}
STAGES = {
    "torch/cpu": {"phonemes": 0.02, "text encoder": 0.06, "flow": 0.2, "decoder": 0.78},
    "onnxruntime/cpu": {"phonemes": 0.02, "network": 0.64},
}


@functools.cache
def spoken(system: str, text: str) -> tuple[np.ndarray, int]:
    """A real voice's waveform of `text`, synthesised once per test run."""
    speech = _voice(system).synthesize(text, seed=0)
    return speech.waveform, speech.sample_rate


@functools.cache
def _voice(system: str):
    return systems.load(system, threads=1)


def build(outputs: Path, *, hostile: bool = False) -> tuple[Path, Path]:
    """outputs/quick with rows, clips, a figure and states, and outputs/recorded with one earlier row."""
    run = results.Run("01_baselines", outputs / "quick")
    for (system, variant, target), values in ROWS.items():
        for metric, value in values.items():
            middle, *ends = value if isinstance(value, tuple) else (value,)
            run.add(
                system,
                variant,
                target,
                metric,
                middle,
                kind="estimated" if metric in ESTIMATED else "measured",
                n=40 if ends else None,
                ci=tuple(ends) or None,
                source=SOURCES.get(metric, ""),
                detail={"stages": STAGES[target]} if metric == "rtf" and system == "vits-joe" else "",
            )
    run.not_run("vits-joe", "baseline", "torch/cuda", "rtf", "no CUDA device on this machine")
    run.not_run("vits-joe", "baseline", "torch/cuda", "peak_gpu_mb", "no CUDA device on this machine")
    if hostile:
        run.not_run("vits-joe", "int8-dynamic", "torch/cpu", "rtf", HOSTILE + "<img src=http://x.invalid/>")
    for sentence, text in SENTENCES.items():
        for system in ("hibari", "espeak-ng"):
            shown = text + (f" {HOSTILE}" if hostile else "")
            run.clip(system, "baseline", sentence, *spoken(system, text), shown, group="Harvard sentences")
    run.figure("mel", _figure(), "Mel spectrogram of the first sentence as hibari speaks it.")
    (outputs / "quick" / "notebooks").mkdir(parents=True, exist_ok=True)
    (outputs / "quick" / "notebooks" / "state.json").write_text(
        json.dumps(
            {
                "00_data_and_features": {"status": "ok", "seconds": 61.2},
                "01_baselines": {"status": "ok", "seconds": 240.0},
                "02_finetuning": {
                    "status": "failed",
                    "seconds": 12.3,
                    "error": "ValueError: loss is NaN at step 3",
                    "cell": 7,
                },
            }
        )
    )
    recorded = outputs / "recorded"
    recorded.mkdir()
    rows = [
        {"metric": "rtf", "value": 0.012, "unit": "s/s", "ci_low": 0.0118, "ci_high": 0.0123},
        {"metric": "mos_predicted", "value": 4.14, "unit": "MOS", "ci_low": 4.07, "ci_high": 4.21},
    ]
    common = {
        "system": "vits-joe",
        "variant": "baseline",
        "target": "torch/cuda",
        "kind": "measured",
        "n": 40,
        "source": "",
        "baseline": "",
        "host": "NVIDIA H200, 16 cores, 128 GiB",
        "commit": "0123abcdef",
        "time": "2026-11-02T10:00:00+00:00",
        "detail": "",
    }
    recorded.joinpath("gpu.jsonl").write_text("".join(json.dumps({**common, **row}) + "\n" for row in rows))
    return outputs / "quick", recorded


def _figure():
    import librosa
    import matplotlib.pyplot as plt

    waveform, rate = spoken("hibari", SENTENCES["harvard-01"])
    figure, axes = plt.subplots(figsize=(8, 3))
    plt.close(figure)
    axes.imshow(
        librosa.power_to_db(librosa.feature.melspectrogram(y=waveform, sr=rate)), origin="lower", aspect="auto"
    )
    axes.set(xlabel="frame of 512 samples", ylabel="mel band")
    return figure
