"""`tortoise`: what does diffusion add to text-to-speech, and what does every step of it cost?

TorToiSe (Betker 2023, arXiv:2305.07243) in small. A FastSpeech 2, trained before and frozen, decides what is
said when: it gives the durations and, for every frame, the latents from which it would make its mel. The
diffusion decoder, conditioned on them, turns noise into the mel, and a vocoder speaks it. TorToiSe itself
trains its decoder on the latents of a frozen autoregressive model in the same way, and the reason holds here
too: alignment and pronunciation are learnt once, all of the decoder's training goes into the sound, and what
differs from `fastspeech2` is the decoder alone. How it learns is in `lib.training.tasks.tortoise`; the pipeline
of the published size in `published.py`.

`config.py` has the sizes, `network.py` the decoder, `joint.py` both networks; `schedules.py`, `sampling.py` and
`solvers.py` how noise becomes a mel, for tensors and arrays alike. `system.py` speaks on torch; `export.py` makes
graphs of the networks, `stages.py` speaks with them, without torch.
"""

from __future__ import annotations

from lib.systems import lazily

_PLACES = {
    "Tortoise": "system",
    "TortoiseOnnx": "stages",
    **dict.fromkeys(("NetworkConfig", "Sizes"), "config"),
    **dict.fromkeys(("TortoiseNetwork", "build", "denoised", "latents", "read", "windows"), "joint"),
    "checkpoints": "stored",
    "guarded": "limits",
}
__getattr__, __all__ = lazily.parts(__name__, _PLACES)
