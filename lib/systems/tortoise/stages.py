"""How does `tortoise` speak on ONNX Runtime? With five graphs, durations and the walk from noise to a mel in NumPy.

The same seed draws the same noise as on torch, so the same mel is made of it, but for rounding.
"""

from __future__ import annotations

import logging

import numpy as np

from lib.features import HIFIGAN
from lib.systems import draws, positions
from lib.systems.acoustic_onnx import AcousticOnnx
from lib.systems.base import Stopwatch
from lib.systems.before_vocoder import Spectrogram
from lib.systems.fastspeech2.stages import whole_frames
from lib.systems.tortoise.config import SPOKEN
from lib.systems.tortoise.limits import cut, guarded
from lib.systems.tortoise.sampling import Sample, descend, told
from lib.systems.tortoise.stored import checkpoints

log = logging.getLogger(__name__)


class TortoiseOnnx(AcousticOnnx):
    """A trained front end and decoder, loaded from the same folder as on torch, before a vocoder (see `BeforeVocoder`).
    Every sampler of `schedules.SAMPLERS` walks here, too.
    """

    name = "tortoise"
    checkpoints, manner = checkpoints, "sampling"
    sampling = SPOKEN
    stages = ("encoder", "prosody", "latents", "condition", "decoder")
    writers = (
        *("export.py", "network.py", "joint.py", "config.py"),
        *(f"../fastspeech2/{name}.py" for name in ("export", "network", "config")),
        *("../padding.py", "../standardised.py"),
    )

    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """As on torch."""
        with watch.stage("phonemes"):
            phones = self._known(sentence)
        with watch.stage("acoustic_model"):
            (said, mean, deviation), frames, over = self.said(phones)
        notes = cut(over, len(said))
        for note in notes:
            log.warning("%s: %r: %s", self.name, sentence[:40], note)
        with watch.stage("decoder"):
            drawn = self.denoised(said, seed)
            log_mel = drawn.x0[0].T * deviation + mean  # (F, n_bands)
        return Spectrogram(log_mel, phones, tuple(frames.tolist()), notes, drawn.nfe)

    def said(self, phones: tuple[str, ...]) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray, int]:
        """(latents (F, H) with mean and deviation (n_bands,) of the mel, frames (T,) of each symbol, frames cut off).

        Latents as of `joint.latents`.
        """
        width, inputs = self.config.front.hidden, self._inputs(phones)
        distances = positions.distances(width, len(phones))
        hidden, log_frames, pitch, energy, *_ = self.sessions["encoder"].run(
            None, {**inputs, "distances": distances}
        )
        frames, over = guarded(whole_frames(log_frames, 1.0)[None])
        known = {"hidden": hidden, "pitch": pitch, "energy": energy}
        (spoken,) = self.sessions["prosody"].run(None, known)
        spoken = np.repeat(spoken, frames[0], axis=0)  # (F, H)
        distances = positions.distances(width, len(spoken))
        said = self.sessions["latents"].run(None, {"hidden": spoken, "distances": distances})
        return tuple(said), frames[0], over

    def denoised(self, said: np.ndarray, seed: int) -> Sample:
        """A standardised mel (1, n_bands, F) drawn for latents (F, H), as `joint.denoised`."""
        step, draw = self.sessions["decoder"], draws.Normal(seed)
        speaker = np.array([self.speakers.index(self.speaker)], np.int64)
        condition, unconditioned = self.sessions["condition"].run(None, {"said": said, "speaker": speaker})
        types = {"guidance": np.float32, "until": np.int64}
        asked = {end.name for end in step.get_inputs()} & types.keys()
        how, inputs = told(
            self.sampling, self.config.noise, folded="guidance" in asked, interval="until" in asked
        )

        def evaluated(x: np.ndarray, t: int, given: np.ndarray, **others: float) -> np.ndarray:
            known = {name: np.array([value], types[name]) for name, value in others.items()}
            (answer,) = step.run(
                None, {"x": x[0], "timestep": np.array([t], np.int64), "condition": given, **known}
            )
            return answer[None]

        return descend(
            self.config.noise,
            self.config.prediction,
            lambda x, t: evaluated(x, t, condition, **inputs(t)),
            draw((1, HIFIGAN.n_bands, len(said))),
            how,
            lambda like: draw(like.shape),
            unconditional=lambda x, t: evaluated(x, t, unconditioned),
        )

    def _exported(self) -> dict[str, bytes]:
        from lib.systems.tortoise import export

        return export.graphs(self.checkpoints.load(self.folder)[2])
