"""What do a voice and a vocoder share that lie in the folder of a checkpoint, whatever runs them?"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from lib import zoo
from lib.systems import checkpoint as checkpoints

Self = TypeVar("Self", bound="Stored")


class Stored:
    """A model made of (folder, target, threads)."""

    name: str
    folder: Path

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
