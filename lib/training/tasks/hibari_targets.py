"""What was the decoder of `hibari` fed when it spoke a clip? The voice reads the sentence once more without it."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass

import numpy as np

from lib import audio, features, progress
from lib.corpora.base import Utterance
from lib.errors import MissingDataError
from lib.features import HIFIGAN
from lib.files import cache_folder, content_key, write_atomic
from lib.graphs import session
from lib.systems.hibari_vocoder import published, signal

VOICE = "hibari"
_REVISION = 2  # raised where something else is kept of a clip


@dataclass(frozen=True)
class Fed:
    """inputs: (N_INPUTS, F) float16, what the decoder is fed; hz: (F,) float32, its F0, below 40 where unvoiced; mel:
    (F, n_bands) float16, the clip's log-mel at the decoder's frames.
    """

    inputs: np.ndarray
    hz: np.ndarray
    mel: np.ndarray

    def __len__(self) -> int:
        return len(self.hz)


def known(utterances: tuple[Utterance, ...]) -> dict[str, Fed]:
    """id -> what is known of a clip; kept in the cache. Clips of other voices, and of which the reading is not as long
    as the clip, are left out; MissingDataError where nothing is left.
    """
    from lib import systems

    spoken = [u for u in utterances if u.speaker == VOICE]
    voice = systems.load(VOICE, threads=1) if spoken else None
    reader = session.later(lambda: session.open(published.reader_file(), 1))
    of = ""
    if spoken:
        of = content_key(_REVISION, published.reader_file().read_bytes(), voice.cache_key(), asdict(HIFIGAN))
    found = {}
    for utterance in progress.track(spoken, f"what the decoder of {VOICE} is fed", unit="clip"):
        waveform = utterance.load(signal.RATE)
        path = cache_folder("fed", of[:8], f"{content_key(of, utterance.text, waveform.tobytes())}.npz")
        if not path.exists():
            write_atomic(path, _packed(_read(voice, reader, utterance.text, waveform)))
        with np.load(path) as kept:
            clip = Fed(kept["inputs"], kept["hz"], kept["mel"])
        if len(clip):
            found[utterance.id] = clip
    if not found:
        raise MissingDataError(
            f"none of {len(utterances)} clips was spoken by {VOICE} as it is here: name it in data.voices"
        )
    return found


def _read(voice, reader, text: str, waveform: np.ndarray) -> Fed:
    """Without a frame where what is read now is not as long as the clip."""
    inputs, hz = [], []
    for phonemes in voice._voice.phonemize(text):
        given = {"ids": np.array([voice._voice.ids(phonemes)], np.int64), "speed": np.ones(1, np.float32)}
        fed, pitch = reader.run([published.INPUTS, published.F0], given)
        inputs.append(fed[0])
        hz.append(pitch[0])
    whole, pitch = np.concatenate(inputs, 1), np.concatenate(hz)
    n = len(pitch) if len(waveform) == len(pitch) * signal.HOP else 0
    log_mel = features.log_mel(audio.resample(waveform, signal.RATE, HIFIGAN.sample_rate))
    mel = signal.at_decoder(log_mel, n)
    return Fed(whole[:, :n].astype(np.float16), pitch[:n].astype(np.float32), mel.astype(np.float16))


def _packed(fed: Fed) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, inputs=fed.inputs, hz=fed.hz, mel=fed.mel)
    return buffer.getvalue()
