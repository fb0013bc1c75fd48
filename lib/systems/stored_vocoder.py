"""What do all vocoders share that were trained here, whatever runs them? A folder, its card, one mel."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from lib import zoo
from lib.features import HIFIGAN, MelConfig
from lib.systems import checkpoint as checkpoints
from lib.systems.base import Vocoder

Self = TypeVar("Self", bound="StoredVocoder")


class StoredVocoder(Vocoder):
    """A vocoder in the folder of a checkpoint, made of (folder, target, threads); subclasses load and run it."""

    folder: Path
    mel: MelConfig = HIFIGAN
    sample_rate = HIFIGAN.sample_rate

    @property
    def card(self) -> str:
        """What the checkpoint is (Markdown)."""
        return checkpoints.card(self.folder)

    @classmethod
    def pretrained(
        cls: type[Self], target: str = "", threads: int = 2, checkpoint: str | Path | None = None
    ) -> Self:
        """A checkpoint, by default that of `lib.zoo`; target: by default the class's usual one."""
        return cls(
            checkpoint or zoo.folder(cls.name), **({"target": target} if target else {}), threads=threads
        )
