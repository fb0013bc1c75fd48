"""`fastspeech2`: how does text become a mel spectrogram in one pass, with rate, pitch and loudness under control?

FastSpeech 2 (Ren et al. 2021, arXiv:2006.04558) with Conformer blocks and pitch and energy averaged per phone, as transformers
has it. It reads the symbols of the Piper voices, knows its own voices by a speaker embedding, and leaves the waveform to a
vocoder (`hifigan`, else Griffin-Lim). The network is in `fastspeech2_network.py`; how it learns in `lib.training.fastspeech2`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from lib import zoo
from lib.errors import MissingDataError, TrainingError, unknown
from lib.features import HIFIGAN, griffin_lim
from lib.files import content_key, write_atomic
from lib.systems import hifigan, piper_onnx
from lib.systems.base import Networks, Speech, Stopwatch, System
from lib.systems.fastspeech2_network import AcousticModel, Controls, NetworkConfig, build, ids, known


class FastSpeech2(Networks, System):
    """A trained acoustic model, loaded from the folder that `save` made, before a vocoder.

    vocoder: a callable from a log-mel (n_frames, 80) to a waveform, such as a loaded `hifigan.HifiGan`'s `vocode`; without one
    Griffin-Lim speaks and the variant says so. speaker: one of `speakers`, by default the first.
    """

    name = "fastspeech2"
    sample_rate = HIFIGAN.sample_rate

    def __init__(self, folder: str | Path, *, vocoder: Callable[[np.ndarray], np.ndarray] | None = None,
                 speaker: str | None = None, controls: Controls = Controls(), variant: str | None = None,
                 target: str = "torch/cpu", threads: int = 2):
        self.folder, self.target, self.device = Path(folder), target, torch.device(target.removeprefix("torch/"))
        torch.set_num_threads(threads)
        piper_onnx.symbols("a")  # eSpeak is loaded on first use; load it here, not inside a measurement
        self.config, self.speakers, network = load(folder)
        self.modules = {"acoustic_model": network.eval().to(self.device)}
        self.vocoder, self.variant = vocoder, variant or ("baseline" if vocoder else "griffin-lim")
        self.controls, self.speaker = controls, self._speaker(speaker)
        self._weights = content_key((self.folder / "model.safetensors").read_bytes())

    @property
    def identity(self) -> tuple:
        """Weights, vocoder, speaker and controls: what a clip in a cache depends on beside text and seed."""
        vocoder = self._vocoder
        return (self._weights, *getattr(vocoder, "identity", (str(vocoder),)), self.speaker, *dataclasses.astuple(self.controls))

    @property
    def params_m(self) -> float:
        """10^6 parameters, the vocoder's included."""
        return super().params_m + getattr(self._vocoder, "params_m", 0.0)

    @property
    def size_mb(self) -> float:
        """10^6 bytes of weights as loaded, the vocoder's included."""
        return super().size_mb + getattr(self._vocoder, "size_mb", 0.0)

    @property
    def _vocoder(self) -> object:
        """Whose method the vocoder is: the loaded `HifiGan`, where it is one."""
        return getattr(self.vocoder, "__self__", self.vocoder)

    def adjusted(self, *, speaker: str | None = None, variant: str | None = None, **controls: float) -> "FastSpeech2":
        """The same networks speaking otherwise: another speaker, or `rate`, `semitones`, `energy` of `Controls`."""
        other = copy.copy(self)
        other.variant = variant or self.variant
        other.speaker = self._speaker(speaker or self.speaker)
        for name in controls:
            if name not in (fields := {f.name for f in dataclasses.fields(Controls)}):
                raise unknown("control", name, fields)
        other.controls = dataclasses.replace(self.controls, **controls)
        return other

    @property
    def card(self) -> str:
        """What the checkpoint is: data, recipe, steps, measured quality, licence (Markdown); "" where it has none."""
        path = self.folder / "README.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @torch.inference_mode()
    def speak(self, sentence: str, seed: int) -> Speech:
        """One sentence. The network is deterministic; the seed draws Griffin-Lim's first phases."""
        watch = Stopwatch(torch.cuda.synchronize if self.device.type == "cuda" else lambda: None)
        with watch.stage("phonemes"):
            phones = tuple(phone for phone in piper_onnx.symbols(sentence) if known(phone))
            batch = torch.from_numpy(ids(phones))[None].to(self.device)  # (1, T)
        with watch.stage("acoustic_model"):
            speaker = torch.tensor([self.speakers.index(self.speaker)], device=self.device)
            log_mel, frames = self.modules["acoustic_model"].speak(batch, speaker, self.controls)
            log_mel = log_mel[0].float().cpu().numpy()  # (F, n_bands)
        with watch.stage("vocoder"):
            waveform = self.vocoder(log_mel) if self.vocoder else griffin_lim(log_mel, seed=seed)
        return Speech(waveform, self.sample_rate, watch.seconds, phones, tuple(frames[0].tolist()))

    def _speaker(self, name: str | None) -> str:
        if name is not None and name not in self.speakers:
            raise unknown(f"speaker of {self.folder}", name, self.speakers)
        return name or self.speakers[0]


def pretrained(target: str = "torch/cpu", threads: int = 2) -> FastSpeech2:
    """The acoustic model of `lib.zoo` before its vocoder, speaking with the voice of `vits-joe`."""
    return FastSpeech2(zoo.folder("fastspeech2"), vocoder=hifigan.pretrained(target, threads).vocode, speaker="vits-joe",
                       target=target, threads=threads)


def save(folder: str | Path, config: NetworkConfig, speakers: Sequence[str], weights: dict[str, torch.Tensor], card: str) -> Path:
    """Store a network as `config.json`, `model.safetensors` (fp16, statistics and norms fp32) and its card `README.md`."""
    import safetensors.torch

    folder, description = Path(folder), _description(config, speakers)
    packed = {key: (value.half() if value.is_floating_point() and value.ndim > 1 else value).cpu().contiguous()
              for key, value in weights.items()}
    write_atomic(folder / "model.safetensors", safetensors.torch.save(packed, {"config": content_key(description)}))
    write_atomic(folder / "README.md", card.encode())
    write_atomic(folder / "config.json", json.dumps(description, indent=1).encode())
    return folder


def load(folder: str | Path) -> tuple[NetworkConfig, tuple[str, ...], AcousticModel]:
    """(config, speakers, network) from a folder of `save`.

    Raises MissingDataError where there is none, TrainingError where its files are damaged, do not belong together, or hold
    another system.
    """
    import safetensors
    import safetensors.torch

    folder = Path(folder)
    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise MissingDataError(f"{folder} holds no FastSpeech 2: {file} is missing; train one, or name another folder")
    try:
        description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if description.get("system") != "fastspeech2":
            raise TrainingError(f"{folder} holds a {description.get('system', 'nameless system')}, not a fastspeech2")
        config, speakers = NetworkConfig(**description["network"]), tuple(description["speakers"])
        with safetensors.safe_open(folder / "model.safetensors", "pt") as file:
            key = (file.metadata() or {}).get("config")
            weights = {name: file.get_tensor(name) for name in file.keys()}
        if content_key(_description(config, speakers)) != key:
            raise TrainingError(f"{folder}: the weights were not saved with this config.json, or for other symbols or another "
                                "mel; take both files from one checkpoint")
        network = build(config, len(speakers))
        network.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in weights.items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, safetensors.SafetensorError) as error:
        raise TrainingError(f"the FastSpeech 2 in {folder} cannot be read ({error}): take it anew from its checkpoint") from error
    return config, speakers, network.eval()


def _description(config: NetworkConfig, speakers: Sequence[str]) -> dict:
    """All that the weights mean: sizes, voices, symbols, mel."""
    return {"system": "fastspeech2", "network": dataclasses.asdict(config), "speakers": list(speakers),
            "symbols": content_key(piper_onnx.voice_config()["phoneme_id_map"]), "mel": dataclasses.asdict(HIFIGAN)}
