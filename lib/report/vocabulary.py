"""What do the words and numbers of the report mean? Groups of metrics, their definitions, and the roles of systems."""

from __future__ import annotations

from lib import systems
from lib.measure import energy
from lib.results import METRICS

QUESTION = "How small, fast and frugal can a speech model get before a listener notices?"

_GROUPS = {
    "Quality": (
        "mos_predicted",
        "wer",
        "cer",
        "wer_raw",
        "cer_raw",
        "asr_nll",
        "dnsmos_ovrl",
        "speaker_similarity",
        "pesq_wb",
        "stoi",
        "f0_error_cents",
        "voicing_error_pct",
        "mel_distance_db",
        "global_variance",
        "spectral_contrast",
        "fast_modulation",
        "pitch_distance_st",
        "rate_distance_pct",
        "old_voice_similarity",
        "attention_failures_pct",
        "mos_human",
    ),
    "Speed": (
        "rtf",
        "throughput_rtfx",
        "latency_ms_p50",
        "latency_ms_p90",
        "latency_ms_p99",
        "requests_per_s",
        "tokens_per_s",
        "first_audio_ms",
        "cold_start_s",
        "nfe",
    ),
    "Memory and energy": ("peak_rss_mb", "peak_gpu_mb", "energy_j_per_audio_s", "power_w", "utilization_pct"),
    "Cost": ("cost_usd_per_audio_h", "energy_usd_per_audio_h"),
    "Size": ("size_mb", "loaded_mb", "params_m", "trainable_params_pct", "adapter_mb", "merge_error"),
    "Training": (
        "train_loss",
        "train_steps_per_s",
        "train_frames_per_s",
        "train_peak_rss_mb",
        "scaling_efficiency",
    ),
    "Accelerators": ("npu_ops_pct", "cycles", "roofline_pct", "idle_pct", "snr_db", "audio_snr_db"),
}


def groups() -> dict[str, tuple[str, ...]]:
    """Table title -> its metrics, in order; a metric that nobody sorted into a group is still shown, under Other."""
    sorted_in = {metric for metrics in _GROUPS.values() for metric in metrics}
    other = tuple(metric for metric in METRICS if metric not in sorted_in)
    return {**_GROUPS, **({"Other": other} if other else {})}


# Metrics that say as much about the machine as about the system: compared only between numbers of one host.
OF_THE_MACHINE = {
    *(metric for title in ("Speed", "Memory and energy", "Cost", "Training") for metric in _GROUPS[title])
} - {"nfe", "train_loss"}

OF_TRAINING = set(_GROUPS["Training"])

# What a recogniser decides: another one, or the same that is handed the clip in another way, gives other numbers.
HEARD = ("wer", "cer", "wer_raw", "cer_raw", "asr_nll")

DEFINITIONS = {
    "wer": (
        "Word error rate: words substituted, deleted or inserted by a speech recogniser that listens to the clip,"
        " divided by the words of the text. Both are normalised first (case, punctuation, spelled-out numbers, "
        "contractions, British spellings), so that only words that sound different count. The recogniser errs "
        "too: compare with the real recordings, not with zero."
    ),
    "wer_raw": (
        'Word error rate with nothing folded but case and punctuation, so "25" against "twenty-five" counts as an'
        " error."
    ),
    "cer": (
        "Character error rate: as WER, counted in characters, after the same normalisation. It separates a slip "
        "of one letter from a lost word."
    ),
    "cer_raw": "Character error rate with nothing folded but case and punctuation.",
    "asr_nll": (
        "How much of a surprise the true words are to a recogniser that listens to the clip, in nats a word "
        "(teacher-forced). It goes on where WER counts nothing, so fewer sentences show a difference."
    ),
    "mos_predicted": (
        "A neural network's guess (DistillMOS) at the mean opinion score, 1 bad to 5 excellent, that listeners "
        "would give the clip. It is predicted: no person listened. Differences below about 0.1 should not be "
        "taken as audible."
    ),
    "dnsmos_ovrl": ("A second network's guess (DNSMOS, overall score), made to rate noise suppression."),
    "pesq_wb": (
        "PESQ wideband (ITU-T P.862.2) compares a clip with a reference sample by sample; only computed where the"
        " two are aligned in time."
    ),
    "f0_error_cents": (
        "How far the pitch of a copy is from its original's, in hundredths of a semitone: the median over the "
        "frames that are voiced in both, averaged over clips: a lost intonation, which words alone do not show."
    ),
    "voicing_error_pct": "Share of the frames that are voiced in only one of copy and original.",
    "stoi": "Short-time objective intelligibility against an aligned reference, 0 to 1.",
    "speaker_similarity": (
        "Cosine between speaker embeddings (Resemblyzer) of the clip and the reference voice; 1 is the same."
    ),
    "mos_human": "Mean opinion score given by people in the listening test.",
    "rtf": (
        "Real-time factor: seconds of computing per second of speech. Below 1 is faster than real time; lower is "
        "better."
    ),
    "throughput_rtfx": "The inverse, RTFx: seconds of speech made per second of computing. Higher is better.",
    "latency_ms_p50": (
        "Time from handing over a sentence until its waveform is complete; half of the sentences take less."
    ),
    "latency_ms_p90": "As above; nine of ten sentences take less.",
    "first_audio_ms": (
        "Time from handing over a sentence until the first part of its waveform could be played. Of a vocoder that "
        "speaks while the mel still comes: of computing alone, without the wait for the frames that it needs."
    ),
    "cold_start_s": "Seconds until the first sentence is finished, loading included; kept apart from the other times.",
    "mel_distance_db": (
        "How far a mel drawn in few steps lies from the one that the same noise becomes in very many, averaged over "
        "frames and bands. It tells two samplers apart long before a listener could."
    ),
    "global_variance": (
        "How much each band of the spectrogram moves over time, as a share of what it moves in the voice that was "
        "learnt (the median band). Below 1 is over-smooth."
    ),
    "spectral_contrast": "How far peaks and valleys of a frame lie apart, as a share of the voice's own.",
    "fast_modulation": "How much of the movement faster than 16 Hz is left, as a share of the voice's own.",
    "latency_ms_p99": "As above; 99 of 100 take less.",
    "requests_per_s": "The highest rate of requests at which 99 of 100 were answered within the limit.",
    "tokens_per_s": (
        "Tokens of text that a recogniser writes a second, everything there at once; of a whole machine, as others "
        "publish it."
    ),
    "speedup": "Time of the baseline over time of the variant.",
    "snr_db": (
        "How far the difference to PyTorch's answer lies below the signal: above 60 dB is rounding, about 20 dB what 8 "
        "bits leave."
    ),
    "audio_snr_db": (
        "The same of what is heard in the end, sentence by sentence, beside the sound that PyTorch's answers give; a "
        "shift of phase costs all of it and may not be heard."
    ),
    "nfe": "Network evaluations per clip, which is what diffusion samplers are compared by.",
    "peak_rss_mb": "Highest resident memory of the process while it spoke, in millions of bytes.",
    "train_peak_rss_mb": "Highest resident memory of the process in which it was trained, in millions of bytes.",
    "peak_gpu_mb": "Highest memory allocated on the GPU, in millions of bytes.",
    "energy_j_per_audio_s": (
        "Joules per second of speech, idle power subtracted. Measured only where the machine has a sensor: NVML counts "
        "the GPU's board, RAPL the processor's package. Otherwise estimated: "
        f"{energy.FORMULA}, which counts the process's share of that power (no memory, no mains) and is off by a "
        f"factor of {energy.OFF_BY:g} either way. What counts different things, or was estimated, is not ranked with "
        "the rest."
    ),
    "attention_failures_pct": (
        "Share of the sentences in which the decoder skipped text, read some again or did not stop by itself."
    ),
    "cost_usd_per_audio_h": (
        "Dollars for an hour of audio on a rented machine: its price an hour, times the RTF, over the share of the "
        "paid time in which it speaks. Estimated: price and share are assumptions, which the source names."
    ),
    "energy_usd_per_audio_h": (
        "Dollars for the power of an hour of audio, of joules that were measured or estimated as energy is, and "
        "counting the same; the price of a kilowatt-hour is an assumption, which the source names."
    ),
    "power_w": "Average power while speaking; measured or estimated as energy is, and counting the same.",
    "utilization_pct": "Share of the processor's or accelerator's time that was busy.",
    "size_mb": "Millions of bytes of all files that are needed to speak, the vocoder's too: what somebody downloads.",
    "loaded_mb": "Millions of bytes of the weights in memory.",
    "params_m": "Parameters in millions, zeros included.",
    "adapter_mb": "Millions of bytes of the adapter alone, beside its base.",
    "merge_error": (
        "The largest difference between a network's scores (of a voice: its standardised mel) with its adapter within "
        "the weights and beside them."
    ),
    "pitch_distance_st": (
        "How far pitch has to be moved, on average over voiced frames, until its distribution is that of the voice's "
        "own recordings (the Wasserstein distance)."
    ),
    "rate_distance_pct": "The same of the phones a second of each sentence, as a share of the voice's own mean rate.",
    "old_voice_similarity": (
        "Cosine between speaker embeddings of what a voice of the base says before and after another one was "
        "learnt; 1: nothing was lost."
    ),
    "trainable_params_pct": "Share of the parameters that the fine-tuning changes.",
    "train_loss": "Training loss at the end, comparable only within one recipe.",
    "train_steps_per_s": "Optimizer steps per second.",
    "train_frames_per_s": "Spectrogram frames trained on per second.",
    "scaling_efficiency": "Throughput on n processes divided by n times that of one.",
    "roofline_pct": (
        "The least time that this device's arithmetic and memory allow, both measured in the same run, as a share of "
        "the time taken. A lower bound of how well it is computed: what fits into a cache need not wait for memory."
    ),
    "idle_pct": "Share of the time from the first operator or kernel to the last in which none runs.",
    "npu_ops_pct": "Share of the network's operators that the accelerator runs itself; the rest falls back to the CPU.",
    "cycles": "Clock cycles by the vendor's model of the chip.",
}

# Labels for where there is little room.
SHORT = {
    "mos_predicted": "Predicted MOS",
    "mos_human": "MOS",
    "wer": "WER",
    "size_mb": "Download",
    "latency_ms_p50": "Latency",
    "energy_j_per_audio_s": "Energy",
}

KIND_MEANING = {
    "measured": "by a clock, a meter or a metric, in this run",
    "estimated": "by a formula or a power model",
    "simulated": "by a vendor's cycle model or emulator, no device involved",
    "published": "taken from somebody's table; the source is named",
    "claimed": "stated by somebody without a publication that one could look up",
    "recorded": "by an earlier run or another machine; date, machine and commit stand beside it",
}


def role(system: str) -> str:
    """ "reference" (real recordings), "recogniser", "vocoder" (copies real speech through a spectrogram) or "voice"."""
    if system == "ground-truth":
        return "reference"
    kind = systems.kind(system)
    return "voice" if kind == "speech" else kind


ROLE_LABEL = {
    "reference": "real recordings",
    "recogniser": "speech recogniser",
    "vocoder": "copy-synthesis",
    "voice": "",
}


def unit(metric: str) -> str:
    """The unit numbers are shown in: error rates, stored as fractions, read better in per cent."""
    return {"fraction": "%", "MOS": "points", "MOS-LQO": "points"}.get(
        METRICS[metric].unit, METRICS[metric].unit
    )


def amount(metric: str, value: float) -> str:
    """A value with its unit: "9.4 %"."""
    return f"{number(metric, value)} {unit(metric)}"


def number(metric: str, value: float) -> str:
    """A value as people read it, without its unit; small values keep two significant digits.

    >>> number("wer", 0.0942), number("mos_predicted", 4.126), number("rtf", 0.00042), number("latency_ms_p50", 1234.5)
    ('9.4', '4.13', '0.00042', '1,234')
    """
    digits = METRICS[metric].digits
    if METRICS[metric].unit == "fraction":
        value, digits = value * 100, max(0, digits - 2)
    text = f"{value:,.{digits}f}"
    if value and abs(value) < 10 ** (1 - digits):  # one significant digit or none would be left
        text = f"{value:.2g}" if abs(value) >= 1e-6 else f"{value:.1e}"
    return text.replace("-", "−")


def signed(metric: str, value: float) -> str:
    """A difference as people read it, without its unit: "+1.0"."""
    return f"{'+' if value > 0 else ''}{number(metric, value)}"
