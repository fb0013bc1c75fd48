"""How good does it sound, and is it still the same voice? Predictions by networks that were trained on
listeners' votes.

- predicted MOS by DistillMOS (Stahl and Gamper 2025, https://arxiv.org/abs/2502.05356), 16 kHz, 1 to 5: the
  first opinion; it ranks clean voices, Griffin-Lim, eSpeak NG and noise in the order in which people rank them;
- DNSMOS P.835 overall (Reddy et al. 2022, https://arxiv.org/abs/2110.01763), 16 kHz, 1 to 5: a second opinion,
  made for noise suppression: it hears noise, and hardly minds a robot;
- speaker similarity: the cosine of two utterance embeddings of Resemblyzer's GE2E network (Wan et al. 2018,
  https://arxiv.org/abs/1710.10467).

All three are predictions and are called so; only people can say what people hear (notebook 06).
The networks are loaded on the first call and kept. Nothing is fetched: the weights are inside the packages.
"""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib import audio
from lib.errors import NoVoiceError, require

RATE = 16_000  # Hz, the input of all three networks
MIN_SECONDS = 0.3  # about one syllable: below, the networks score their own padding
DNSMOS_SECONDS = 9.01  # DNSMOS's input length; shorter clips are repeated until they fill it
# P.835 overall score from the raw network output, fitted by the authors (DNS-Challenge/DNSMOS/dnsmos_local.py).
DNSMOS_OVERALL = np.poly1d([-0.06766283, 1.11546468, 0.04602535])


def predicted_mos(waveform: np.ndarray, sample_rate: int) -> float:
    """Mean opinion score as DistillMOS predicts it for the clip, (n_samples,) at any rate, in [1, 5]. Raises
    AudioError.

    It looks at 7.68 s: a shorter clip is padded, a longer one scored every second and averaged.
    """
    import torch

    clip = audio.resample(audio.check(waveform, sample_rate, min_seconds=MIN_SECONDS), sample_rate, RATE)
    with torch.inference_mode():
        return float(_distillmos()(torch.from_numpy(clip)[None]).item())  # (1, n_samples) -> (1, 1)


def dnsmos_ovrl(waveform: np.ndarray, sample_rate: int, *, threads: int = 2) -> float:
    """DNSMOS P.835 overall score of the clip, (n_samples,) at any rate, about 1 to 5. Raises AudioError."""
    clip = audio.resample(audio.check(waveform, sample_rate, min_seconds=MIN_SECONDS), sample_rate, RATE)
    clip = np.clip(clip, -1, 1)  # the network knows no louder samples (resampling can overshoot)
    needed = int(DNSMOS_SECONDS * RATE)
    while len(clip) < needed:
        clip = np.tile(clip, 2)
    session = _dnsmos(threads)
    windows = (
        int(len(clip) // RATE - DNSMOS_SECONDS) + 1
    )  # one every second, counted (and rounded) as the authors do
    starts = [window * RATE for window in range(windows)]
    raw = [session.run(None, {"input_1": clip[None, start : start + needed]})[0][0, 2] for start in starts]
    return float(np.mean(DNSMOS_OVERALL(np.asarray(raw, np.float64))))


def speaker_embedding(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Who speaks: (256,) float32 of length 1, the mean over windows of 1.6 s with long silences cut out. Raises
    AudioError, NoVoiceError where hardly anything is left.
    """
    resemblyzer = require("resemblyzer", "--no-deps resemblyzer==0.1.4 webrtcvad-wheels==2.0.14.post1")
    clip = audio.resample(audio.check(waveform, sample_rate, min_seconds=MIN_SECONDS), sample_rate, RATE)
    speech = resemblyzer.preprocess_wav(np.clip(clip, -1, 1))
    if len(speech) < MIN_SECONDS * RATE:
        raise NoVoiceError(
            f"the voice detector finds {len(speech) / RATE:.2f} s of speech in {len(clip) / RATE:.2f} s: "
            "too little to tell who speaks"
        )
    embedding = _voice_encoder().embed_utterance(speech)
    return embedding.astype(np.float32)


def mean_embedding(embeddings: Sequence[np.ndarray]) -> np.ndarray:
    """Who speaks in several clips: the mean of their embeddings, (256,) float32 of length 1. One clip's embedding
    also knows its sentence; the mean of many knows the voice.
    """
    mean = np.mean(embeddings, axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def speaker_similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Cosine of two embeddings of `speaker_embedding`: above about 0.8 the same voice, for most people."""
    return float(np.dot(first, second) / (np.linalg.norm(first) * np.linalg.norm(second)))


@functools.cache
def _distillmos():
    """The predictor in evaluation mode."""
    command = "--no-deps distillmos==0.9.1 xls-r-sqa==0.1.0"
    with (
        _torchaudio_or_stand_in(),
        contextlib.redirect_stdout(io.StringIO()),
    ):  # it prints where its weights lie
        return require("distillmos", command).ConvTransformerSQAModel().eval()


@contextlib.contextmanager
def _torchaudio_or_stand_in():
    """Let `import distillmos` find a module called torchaudio, which only its command line uses.

    PyPI's torchaudio does not load beside the CPU build of torch. The stand-in exists during that one import:
    later, others would take it for the real thing.
    """
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError):  # absent, or built for another torch
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
        try:
            yield
        finally:
            del sys.modules["torchaudio"]
    else:
        yield


@functools.cache
def _dnsmos(threads: int):
    """The P.835 network of the package speechmos, in a session of our own.

    The package's function would also run the P.808 network, with as many spinning threads as there are cores;
    its scores are the same (a test compares them).
    """
    onnxruntime = require("onnxruntime", "onnxruntime==1.31.1")
    package = require("speechmos", "--no-deps speechmos==0.0.1.1")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # idle threads would slow whatever runs next
    return onnxruntime.InferenceSession(
        str(Path(package.__path__[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"),
        options,
        providers=["CPUExecutionProvider"],
    )


@functools.cache
def _voice_encoder():
    from resemblyzer import VoiceEncoder

    return VoiceEncoder("cpu", verbose=False)
