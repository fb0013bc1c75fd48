"""What do all systems share that make a mel spectrogram and leave the waveform to a vocoder? Folder, voices,
vocoder, identity.

A trained network lies in a folder as `config.json` (sizes, voices, symbols, mel), `model.safetensors` (half
precision; statistics and norms in single) and its card `README.md`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.errors import MissingDataError, TrainingError, unknown
from lib.features import HIFIGAN, griffin_lim
from lib.files import content_key, write_atomic
from lib.systems import symbols
from lib.systems.base import Networks, Stopwatch, System
from lib.systems.symbols import ids, known

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


class AcousticSystem(Networks, System):
    """An acoustic model in `modules["acoustic_model"]` before a vocoder; subclasses say how to `load` it and
    how it reads.

    vocoder: a callable from a log-mel (n_frames, 80) to a waveform, such as a loaded `hifigan.HifiGan`'s
    `vocode`; without one Griffin-Lim speaks and the variant says so. speaker: one of `speakers`, by default the first.
    """

    sample_rate = HIFIGAN.sample_rate

    def __init__(
        self,
        folder: str | Path,
        config: Any,
        speakers: Sequence[str],
        network: torch.nn.Module,
        *,
        vocoder: Callable[[np.ndarray], np.ndarray] | None = None,
        speaker: str | None = None,
        variant: str | None = None,
        target: str = "torch/cpu",
        threads: int = 2,
    ):
        self.folder, self.target, self.device = (
            Path(folder),
            target,
            torch.device(target.removeprefix("torch/")),
        )
        torch.set_num_threads(threads)
        symbols.of("a")  # eSpeak is loaded on first use; load it here, not inside a measurement
        self.config, self.speakers = config, tuple(speakers)
        self.modules = {"acoustic_model": network.eval().to(self.device)}
        self.vocoder, self.variant = vocoder, variant or ("baseline" if vocoder else "griffin-lim")
        self.speaker = self._speaker(speaker)
        self._weights = content_key((self.folder / WEIGHTS).read_bytes())

    @property
    def identity(self) -> tuple:
        """Weights, vocoder and speaker: what a clip in a cache depends on beside text and seed."""
        vocoder = self._vocoder
        return (self._weights, *getattr(vocoder, "identity", (str(vocoder),)), self.speaker)

    @property
    def params_m(self) -> float:
        """10^6 parameters, the vocoder's included."""
        return super().params_m + getattr(self._vocoder, "params_m", 0.0)

    @property
    def size_mb(self) -> float:
        """10^6 bytes of weights as loaded, the vocoder's included."""
        return super().size_mb + getattr(self._vocoder, "size_mb", 0.0)

    @property
    def card(self) -> str:
        """What the checkpoint is: data, recipe, steps, measured quality, licence (Markdown); "" where it has none."""
        path = self.folder / CARD
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def adjusted(self, *, speaker: str | None = None, variant: str | None = None) -> "AcousticSystem":
        """The same networks speaking otherwise: with the voice of another speaker, or under another name."""
        other = copy.copy(self)
        other.speaker, other.variant = (self._speaker(speaker or self.speaker), variant or self.variant)
        return other

    @property
    def _vocoder(self) -> object:
        """Whose method the vocoder is: the loaded `HifiGan`, where it is one."""
        return getattr(self.vocoder, "__self__", self.vocoder)

    def _speaker(self, name: str | None) -> str:
        if name is not None and name not in self.speakers:
            raise unknown(f"speaker of {self.folder}", name, self.speakers)
        return name or self.speakers[0]

    def _watch(self) -> Stopwatch:
        return Stopwatch(torch.cuda.synchronize if self.device.type == "cuda" else lambda: None)

    def _symbols(self, sentence: str) -> tuple[tuple[str, ...], torch.Tensor, torch.Tensor]:
        """The symbols of a sentence that the network knows, their ids (1, T) and the speaker (1,) on the device."""
        phones = tuple(phone for phone in symbols.of(sentence) if known(phone))
        speaker = torch.tensor([self.speakers.index(self.speaker)], device=self.device)
        return phones, torch.from_numpy(ids(phones))[None].to(self.device), speaker

    def _voiced(self, log_mel: np.ndarray, seed: int) -> np.ndarray:
        """The waveform of a log-mel (F, n_bands); the seed draws Griffin-Lim's first phases."""
        return self.vocoder(log_mel) if self.vocoder else griffin_lim(log_mel, seed=seed)


def save(
    folder: str | Path,
    system: str,
    config: Any,
    speakers: Sequence[str],
    weights: dict[str, torch.Tensor],
    card: str,
) -> Path:
    """Store a network; config: the dataclass of its sizes."""
    import safetensors.torch

    folder, description = Path(folder), describe(system, config, speakers)
    packed = {
        key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).cpu().contiguous()
        for key, value in weights.items()
    }
    write_atomic(folder / WEIGHTS, safetensors.torch.save(packed, {"config": content_key(description)}))
    write_atomic(folder / CARD, card.encode())
    write_atomic(folder / CONFIG, json.dumps(description, indent=1).encode())
    return folder


def load(
    folder: str | Path, system: str, config_type: type, build: Callable[[Any, int], torch.nn.Module]
) -> tuple[Any, tuple[str, ...], torch.nn.Module]:
    """(config, speakers, network) from a folder of `save`; build: (config, n_speakers) -> network.

    Raises MissingDataError where there is none, TrainingError where its files are damaged, do not belong
    together, or hold another system.
    """
    import safetensors
    import safetensors.torch

    folder = Path(folder)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise MissingDataError(
                f"{folder} holds no {system}: {file} is missing; train one, or name another folder"
            )
    try:
        description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if description.get("system") != system:
            raise TrainingError(
                f"{folder} holds a {description.get('system', 'nameless system')}, not a {system}"
            )
        config, speakers = config_type(**description["network"]), tuple(description["speakers"])
        with safetensors.safe_open(folder / WEIGHTS, "pt") as file:
            key = (file.metadata() or {}).get("config")
            weights = {name: file.get_tensor(name) for name in file.keys()}
        if content_key(describe(system, config, speakers)) != key:
            raise TrainingError(
                f"{folder}: the weights were not saved with this config.json, or for other symbols or another "
                "mel; take both files from one checkpoint"
            )
        network = build(config, len(speakers))
        network.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"the {system} in {folder} cannot be read ({error}): take it anew from its checkpoint"
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
