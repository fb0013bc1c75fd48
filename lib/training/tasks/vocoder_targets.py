"""What is known of the clips that a vocoder learns from, beside their sound? Latents and glottal pulses, kept
in the cache.
"""

from __future__ import annotations

import numpy as np

from lib import progress, prosody
from lib.corpora.base import Utterance
from lib.features import HIFIGAN
from lib.files import cache_folder, content_key, write_atomic

VOICE = "vits-joe"  # whose latents are known


def true_latents(utterances: tuple[Utterance, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """id -> what the decoder of `vits-joe` was fed when it spoke the clip, (192, F) float16; clips of other
    voices have none.

    The voice speaks once more without its decoder, which is where the time goes; kept in the cache.
    """
    spoken = [u for u in utterances if u.speaker == VOICE and u.frames]
    if not spoken:
        return {}
    from lib.systems.vits_joe.stages import LATENTS, VitsJoeOnnx

    class Tap:
        """Stands where the decoder was and keeps its input."""

        def run(self, _, inputs):
            self.latents = inputs[LATENTS][0]
            return [np.zeros((1, 1, self.latents.shape[1] * HIFIGAN.hop), np.float32)]

    voice, tap = VitsJoeOnnx(threads=1), Tap()
    voice.sessions = voice.sessions | {"decoder": tap}
    known, weights = {}, voice.weights_key()
    for utterance in progress.track(spoken, "latents of vits-joe", unit="clip"):
        key = content_key(VOICE, "latents", weights, utterance.text, seed)
        path = cache_folder("latents", key[:2], f"{key}.f16")
        if not path.exists():
            voice.synthesize(utterance.text, seed)
            write_atomic(path, tap.latents.astype(np.float16).tobytes())
        latents = np.fromfile(path, np.float16).reshape(192, -1)
        if latents.shape[1] == sum(utterance.frames):
            known[utterance.id] = latents
    return known


def glottal_pulses(utterances: tuple[Utterance, ...]) -> dict[str, np.ndarray]:
    """id -> `prosody.pulses` of the clip, transposed: (2, F) float32, phase in cycles and F0 in Hz; kept in the
    cache.
    """
    pulses = {}
    for utterance in progress.track(utterances, "glottal pulses", unit="clip"):
        waveform = utterance.load(HIFIGAN.sample_rate)
        key = content_key("pulses", waveform.tobytes())
        path = cache_folder("pulses", key[:2], f"{key}.f32")
        if not path.exists():
            write_atomic(path, np.ascontiguousarray(prosody.pulses(waveform, HIFIGAN.sample_rate).T).tobytes())
        pulses[utterance.id] = np.fromfile(path, np.float32).reshape(2, -1)
    return pulses
