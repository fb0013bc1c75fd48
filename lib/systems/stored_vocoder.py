"""What do all vocoders share that were trained here, whatever runs them? A folder, its card, one mel."""

from __future__ import annotations

from lib.features import HIFIGAN, MelConfig
from lib.systems.base import Vocoder
from lib.systems.stored import Stored


class StoredVocoder(Stored, Vocoder):
    """A vocoder in the folder of a checkpoint, made of (folder, target, threads); subclasses load and run it."""

    mel: MelConfig = HIFIGAN
    sample_rate = HIFIGAN.sample_rate
