"""How is one published clip turned into samples, and how is a clip that was cut short noticed?

Decoders are forgiving: libsndfile reads what is left of a truncated WAV without a word, and an MP3 that lost its
second half plays its first. A training run then learns that half a sentence sounds like the whole. So every clip
is held against the length that its own header promises.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from lib import audio
from lib.errors import AudioError, MissingDataError


def read_file(path: str | Path, sample_rate: int = 0) -> tuple[np.ndarray, int]:
    """A clip on disk at the corpus's sample rate, 0: at its own: (waveform (n_samples,) float32, sample_rate)."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingDataError(
            f"no audio file at {path}: was it moved or deleted after the corpus was loaded?"
        ) from error
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error
    return read_bytes(data, sample_rate, str(path))


def read_row(dataset, index: int, column: str, sample_rate: int, name: str) -> tuple[np.ndarray, int]:
    """The clip of row `index` of a `datasets.Dataset` whose audio column was cast to Audio(decode=False)."""
    return read_stored(dataset[index][column], sample_rate, name)


def read_stored(stored: dict | None, sample_rate: int, name: str) -> tuple[np.ndarray, int]:
    """The clip in the form the hub stores it: {"bytes": the audio file, "path": its name}."""
    stored = stored or {}
    if not stored.get("bytes") and Path(stored.get("path") or "").is_absolute():
        return read_file(stored["path"], sample_rate)
    return read_bytes(stored.get("bytes") or b"", sample_rate, name)


def read_bytes(data: bytes, sample_rate: int, name: str) -> tuple[np.ndarray, int]:
    """Decode a WAV, FLAC, Ogg, MP3 (or whatever FFmpeg knows) file; resampled only if it differs from `sample_rate`,
    where one is given.

    Raises AudioError for a clip that is empty, undecodable, silent, or shorter than its header says.
    """
    if not data:
        raise AudioError(f"{name}: holds no bytes")
    samples, rate = _decode(data, name)
    waveform = audio.check(samples.mean(axis=1), rate, name)
    # An Utterance promises one rate before its file is opened; Common Voice mixes 32, 44.1 and 48 kHz.
    return audio.resample(waveform, rate, sample_rate or rate), sample_rate or rate


def _decode(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """(samples (n_samples, channels) float32, sample rate in Hz)."""
    import soundfile

    missing = _missing_wav_bytes(data)
    if missing:
        raise AudioError(f"{name}: is truncated, {missing:,} bytes of its audio are missing")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            samples, promised, rate = (file.read(dtype="float32", always_2d=True), file.frames, file.samplerate)
    except soundfile.LibsndfileError as error:
        if data[:4] in (b"RIFF", b"fLaC", b"OggS"):  # libsndfile's own ground: nobody reads it better
            raise AudioError(f"{name}: cannot be decoded ({error}); is it truncated?") from error
        return _decode_by_ffmpeg(data, name, error)
    if len(samples) < promised:
        raise AudioError(f"{name}: is truncated, it holds {len(samples):,} of {promised:,} samples")
    return samples, rate


def _missing_wav_bytes(data: bytes) -> int:
    """How many bytes the data chunk of a RIFF/WAVE file is short of its own size field; 0 for anything else.

    Chunks as in Microsoft and IBM's "Multimedia Programming Interface and Data Specifications 1.0" (1991).
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return 0
    position = 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"data":
            # Programs that write to a pipe leave 0 or 2^32-1 here: such a file promises nothing.
            return max(0, position + 8 + size - len(data)) if size < 0x7FFFF000 else 0
        position += 8 + size + size % 2
    return 0


def _decode_by_ffmpeg(data: bytes, name: str, refused: Exception) -> tuple[np.ndarray, int]:
    """What libsndfile refuses (AAC, WebM, MP3 behind a large tag) through PyAV, where that is installed."""
    try:
        import av
    except ImportError:
        raise AudioError(
            f"{name}: cannot be decoded ({refused}); `pip install av` reads more formats"
        ) from refused
    try:
        with av.open(io.BytesIO(data)) as container:
            resampler = av.AudioResampler(format="fltp")
            frames = [
                part.to_ndarray() for frame in container.decode(audio=0) for part in resampler.resample(frame)
            ]
            rate = container.streams.audio[0].rate
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise AudioError(
            f"{name}: cannot be decoded ({error}); is it truncated, or no audio at all?"
        ) from error
    if not frames:
        raise AudioError(f"{name}: cannot be decoded: it holds no audio frames")
    return np.ascontiguousarray(np.concatenate(frames, axis=1).T), rate
