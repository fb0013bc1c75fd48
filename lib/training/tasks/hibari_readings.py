"""What does the network of `hibari` make of a text, from one end to the other? Of each sentence all that a student is
to find: how long each phoneme lasts, pitch, loudness, and what its decoder's last layer sees.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from lib import progress
from lib.errors import MissingDataError
from lib.files import cache_folder, content_key, write_atomic
from lib.graphs import session
from lib.systems.hibari_small import signal
from lib.systems.hibari_small.config import N_TEXT
from lib.systems.hibari_small.reading import Reader
from lib.systems.hibari_vocoder import network, published

VOICED_HZ = 40.0  # below it the package makes no pulses
_REVISION = 2  # raised where something else is kept of a sentence


@dataclass(frozen=True)
class Reading:
    """ids: (n,) phonemes; lasting: (n,), see `signal.lengths`; frames: (n,) whole ones; hz: (F,), 0 where unvoiced;
    loudness: (F,) and text: (n, 128) float16, as the decoder is fed them; hidden: (F, 256) float16, of which its
    spectra are linear.
    """

    ids: np.ndarray
    lasting: np.ndarray
    frames: np.ndarray
    hz: np.ndarray
    loudness: np.ndarray
    text: np.ndarray
    hidden: np.ndarray

    def __len__(self) -> int:
        return len(self.hz)


def known(texts: Sequence[str]) -> list[Reading]:
    """Of every sentence of these texts, in their order; kept in the cache. MissingDataError where none can be read."""
    reader = Reader()
    graph = session.later(lambda: session.open(published.reader_file(), 1))
    decoder = network.decoder()
    pieces = (published.reader_file(), published.decoder_file())
    of = content_key(_REVISION, signal.LONGEST, *(piece.read_bytes() for piece in pieces))
    found = []
    for text in progress.track(texts, "what hibari makes of texts", unit="text"):
        for ids in reader(text):
            path = cache_folder("readings", of[:8], f"{content_key(of, ids)}.npz")
            if not path.exists():
                write_atomic(path, _packed(_read(graph, decoder, ids)))
            with np.load(path) as kept:
                found.append(Reading(**{name: kept[name] for name in kept.files}))
    if not found:
        raise MissingDataError(f"none of {len(texts)} texts has a phoneme: name others in data.texts")
    return found


@torch.inference_mode()
def _read(graph, decoder: network.Decoder, ids: list[int]) -> Reading:
    given = {"ids": np.array([ids], np.int64), "speed": np.ones(1, np.float32)}
    asked = [published.INPUTS, published.F0, published.LASTING]
    inputs, hz, lasting = graph.run(asked, given)
    hidden = decoder.hidden(torch.from_numpy(inputs))[0].numpy()
    frames = signal.lengths(lasting)
    if frames.sum() != len(hz[0]):
        raise published.another(f"{frames.sum()} frames of {len(ids)} phonemes come out as {len(hz[0])}")
    voiced = np.where(hz[0] > VOICED_HZ, hz[0], 0)
    text = inputs[0, :N_TEXT, np.cumsum(frames) - 1].astype(np.float16)
    loudness = inputs[0, N_TEXT + 1]
    return Reading(np.array(ids), lasting, frames, voiced, loudness, text, hidden.astype(np.float16))


def _packed(reading: Reading) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **asdict(reading))
    return buffer.getvalue()
