"""How does a network trained here lie on disk? One folder: sizes and meaning, weights, and a card.

config.json         system, sizes, voices, symbols, mel
model.safetensors   half precision; statistics and norms in single
README.md           the card
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lib.errors import MissingDataError, TrainingError
from lib.features import HIFIGAN
from lib.files import content_key, write_atomic
from lib.systems import symbols

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def files(folder: str | Path) -> tuple[Path, ...]:
    """What somebody downloads to run the network of a folder."""
    return Path(folder) / CONFIG, Path(folder) / WEIGHTS


def card(folder: str | Path) -> str:
    """What a checkpoint is: data, recipe, steps, measured quality, licence (Markdown); "" where it has none."""
    path = Path(folder) / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@dataclass(frozen=True)
class Kind:
    """Checkpoints of one system. config: the dataclass of its sizes; build: (config, n_speakers) -> network."""

    system: str
    config: type
    build: Callable[[Any, int], torch.nn.Module]

    def save(
        self,
        folder: str | Path,
        config: Any,
        speakers: Sequence[str],
        weights: dict[str, torch.Tensor],
        card: str,
    ) -> Path:
        """Store a network with its card."""
        import safetensors.torch

        folder, description = Path(folder), describe(self.system, config, speakers)
        packed = {
            key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).cpu().contiguous()
            for key, value in weights.items()
        }
        write_atomic(folder / WEIGHTS, safetensors.torch.save(packed, {"config": content_key(description)}))
        write_atomic(folder / CARD, card.encode())
        write_atomic(folder / CONFIG, json.dumps(description, indent=1).encode())
        return folder

    def load(self, folder: str | Path) -> tuple[Any, tuple[str, ...], torch.nn.Module]:
        """(config, speakers, network) from a folder of `save`.

        Raises MissingDataError where there is none, TrainingError where its files are damaged, do not belong together,
        or hold another system.
        """
        import safetensors
        import safetensors.torch

        folder = Path(folder)
        for file in (CONFIG, WEIGHTS):
            if not (folder / file).is_file():
                raise MissingDataError(
                    f"{folder} holds no {self.system}: {file} is missing; train one, or name another folder"
                )
        try:
            description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            if description.get("system") != self.system:
                raise TrainingError(
                    f"{folder} holds a {description.get('system', 'nameless system')}, not a {self.system}"
                )
            config, speakers = self.config(**description["network"]), tuple(description["speakers"])
            with safetensors.safe_open(folder / WEIGHTS, "pt") as file:
                key = (file.metadata() or {}).get("config")
                weights = {name: file.get_tensor(name) for name in file.keys()}
            if content_key(describe(self.system, config, speakers)) != key:
                raise TrainingError(
                    f"{folder}: the weights were not saved with this config.json, or for other symbols or another "
                    "mel; take both files from one checkpoint"
                )
            network = self.build(config, len(speakers))
            network.load_state_dict(
                {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
            raise TrainingError(
                f"the {self.system} in {folder} cannot be read ({error}): take it anew from its checkpoint"
            ) from error
        return config, speakers, network.eval()


def describe(system: str, config: Any, speakers: Sequence[str]) -> dict:
    """All that the weights mean: sizes, voices, symbols, mel."""
    return {
        "system": system,
        "network": dataclasses.asdict(config),
        "speakers": list(speakers),
        "symbols": content_key(symbols.voice_config()["phoneme_id_map"]),
        "mel": dataclasses.asdict(HIFIGAN),
    }
