"""What is measured, in which unit, which way is better? Metrics and kinds of numbers of the results contract."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = {
    "measured": "a clock, a meter or a metric",
    "estimated": "a formula or a power model",
    "simulated": "a vendor's cycle model or emulator",
    "published": "somebody's table, with its source",
    "not_run": "could not run here; the detail says why",
}
# As many times as little must something cost to cost less: a header more or less is no saving, nor are 0.3 % of memory
# that come again in every process.
LEAST_SAVING = 1.01


@dataclass(frozen=True)
class Metric:
    """label: how people call it; unit; better: +1 higher, -1 lower, 0 neither; digits: decimals worth showing."""

    label: str
    unit: str
    better: int
    digits: int

    @property
    def in_sentence(self) -> str:
        """The label within a sentence: "predicted MOS", "WER, normalised"."""
        return self.label if self.label[:2].isupper() else self.label[0].lower() + self.label[1:]


METRICS = {
    "wer": Metric("WER, normalised", "fraction", -1, 3),
    "wer_raw": Metric("WER, raw", "fraction", -1, 3),
    "cer": Metric("CER, normalised", "fraction", -1, 3),
    "cer_raw": Metric("CER, raw", "fraction", -1, 3),
    "asr_nll": Metric("Recogniser's loss on the true words", "nats/word", -1, 3),
    "mos_predicted": Metric("Predicted MOS", "MOS", +1, 2),
    "dnsmos_ovrl": Metric("DNSMOS overall", "MOS", +1, 2),
    "pesq_wb": Metric("PESQ wideband", "MOS-LQO", +1, 2),
    "stoi": Metric("STOI", "index", +1, 3),
    "f0_error_cents": Metric("Pitch error", "cents", -1, 0),
    "voicing_error_pct": Metric("Voicing error", "%", -1, 1),
    "attention_failures_pct": Metric("Attention failures", "%", -1, 1),
    "speaker_similarity": Metric("Speaker similarity", "cosine", +1, 3),
    "old_voice_similarity": Metric("Similarity of an old voice to what it was", "cosine", +1, 3),
    "mos_human": Metric("MOS by listeners", "MOS", +1, 2),
    "rtf": Metric("RTF", "s/s", -1, 3),
    "speedup": Metric("Speed-up over the baseline", "times", +1, 2),
    "latency_ms_p50": Metric("Latency, median", "ms", -1, 0),
    "latency_ms_p90": Metric("Latency, 90th percentile", "ms", -1, 0),
    "throughput_rtfx": Metric("Throughput (RTFx)", "s/s", +1, 1),
    "tokens_per_s": Metric("Tokens of text heard", "1/s", +1, 0),
    "first_audio_ms": Metric("First audio", "ms", -1, 0),
    "cold_start_s": Metric("Cold start", "s", -1, 2),
    "size_mb": Metric("Download size", "MB", -1, 1),
    "loaded_mb": Metric("Size in memory", "MB", -1, 1),
    "params_m": Metric("Parameters", "M", -1, 2),
    "adapter_mb": Metric("Adapter", "MB", -1, 2),
    "merge_error": Metric("Scores apart, adapter within the weights or beside them", "score", -1, 6),
    "pitch_distance_st": Metric(
        "Distance of the pitch's distribution from the voice's own", "semitones", -1, 2
    ),
    "rate_distance_pct": Metric("Distance of the speaking rates from the voice's own", "%", -1, 1),
    "trainable_params_pct": Metric("Trainable parameters", "%", -1, 2),
    "peak_rss_mb": Metric("Peak memory", "MB", -1, 0),
    "peak_gpu_mb": Metric("Peak GPU memory", "MB", -1, 0),
    "energy_j_per_audio_s": Metric("Energy per second of audio", "J/s", -1, 2),
    "cost_usd_per_audio_h": Metric("Cost of an hour of audio, rented", "USD/h", -1, 5),
    "energy_usd_per_audio_h": Metric("Cost of the power for an hour of audio", "USD/h", -1, 7),
    "power_w": Metric("Power", "W", -1, 1),
    "utilization_pct": Metric("Utilisation", "%", 0, 0),
    "mel_distance_db": Metric("Distance of the mel from the converged walk's", "dB", -1, 2),
    "global_variance": Metric("Global variance, of the voice's own", "fraction", 0, 2),
    "spectral_contrast": Metric("Spectral contrast, of the voice's own", "fraction", 0, 2),
    "fast_modulation": Metric("Modulation above 16 Hz, of the voice's own", "fraction", 0, 2),
    "nfe": Metric("Network evaluations", "count", -1, 0),
    "train_loss": Metric("Training loss", "loss", -1, 4),
    "train_steps_per_s": Metric("Training steps", "1/s", +1, 2),
    "train_frames_per_s": Metric("Training frames", "1/s", +1, 0),
    "train_peak_rss_mb": Metric("Peak memory of the training", "MB", -1, 0),
    "scaling_efficiency": Metric("Scaling efficiency", "fraction", +1, 2),
    "npu_ops_pct": Metric("Operators on the NPU", "%", +1, 1),
    "cycles": Metric("Cycles", "count", -1, 0),
    "roofline_pct": Metric("Of what its roofline allows", "%", +1, 1),
    "idle_pct": Metric("Time in which the device waits", "%", -1, 1),
    "snr_db": Metric("SNR to PyTorch", "dB", +1, 1),
    "audio_snr_db": Metric("SNR of the audio to PyTorch's", "dB", +1, 1),
    "latency_ms_p99": Metric("Latency, 99th percentile", "ms", -1, 0),
    "requests_per_s": Metric("Requests served in time", "1/s", +1, 2),
}

CLAIM = "claim without a publication: "  # how the source of a figure begins that somebody states and nobody can look up

_OF_A_TRAINING = "the training's own process"  # in the source of a memory peak

ON_PURPOSE = (
    "@damage",
    "@gap",
    "@parts",
    "@predictors",
    "@probe",
    "@sensitivity",
)  # variants that end so are damaged to ask the judges, in one group of layers or for want of a part, or know what no
# system can, or ask compilers what they refuse: nobody's proposal


def today(metric: str, source: str) -> str:
    """What a row's metric is called today: rows of before the peak of a training had a name of its own have it under
    that of what speaks.

    >>> today("peak_rss_mb", "the kernel's high-water mark of the training's own process (VmHWM)")
    'train_peak_rss_mb'
    """
    return "train_peak_rss_mb" if metric == "peak_rss_mb" and _OF_A_TRAINING in source else metric


def deliberate(variant: str) -> bool:
    """Whether a variant's clips are damaged on purpose: it is left out of verdicts and comparisons of systems.

    >>> deliberate("noise-20@predictors"), deliberate("int8-dynamic"), deliberate("baseline@wordnet")
    (True, False, False)
    """
    return variant.endswith(ON_PURPOSE)
