"""How does a network trained here lie on disk? One folder: sizes and meaning, weights, and a card.

config.json         system, sizes, mel, where it knows one; of an acoustic model also voices and symbols
model.safetensors   half precision; of an acoustic model, statistics and norms in single
README.md           the card

`Kind` is an acoustic model's folder, `Parts` one of several networks, a vocoder's or a whole voice's. Both are read in
one place, where a folder that is empty, damaged, mixed up or of another system becomes an error with its remedy.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN
from lib.files import content_key, write_atomic
from lib.systems import symbols

if TYPE_CHECKING:
    import numpy as np
    import torch

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def files(folder: str | Path) -> tuple[Path, ...]:
    """What somebody downloads to run the network of a folder."""
    return Path(folder) / CONFIG, Path(folder) / WEIGHTS


def system_of(folder: str | Path) -> str:
    """The system whose network a folder holds; MissingDataError where it holds none, TrainingError where that cannot be
    read.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise MissingDataError(
            f"{folder} holds no network: {CONFIG} is missing; train one, or name another folder"
        )
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["system"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} cannot be read ({error!r}): take it anew from its checkpoint") from error


def card(folder: str | Path) -> str:
    """What a checkpoint is: data, recipe, steps, measured quality, licence (Markdown); "" where it has none."""
    path = Path(folder) / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else ""


@dataclass(frozen=True)
class Kind:
    """Checkpoints of one acoustic model. config: the dataclass of its sizes; build: (config, n_speakers) -> network."""

    system: str
    config: type
    build: Callable[[Any, int], torch.nn.Module]

    def save(
        self,
        folder: str | Path,
        config: Any,
        speakers: Sequence[str],
        weights: Mapping[str, torch.Tensor],
        card: str,
    ) -> Path:
        """Store a network with its card."""
        packed = {
            key: value.half() if value.is_floating_point() and value.ndim > 1 else value
            for key, value in weights.items()
        }
        return _write(Path(folder), describe(self.system, config, speakers), packed, card)

    def sizes(self, folder: str | Path) -> tuple[Any, tuple[str, ...]]:
        """(config, speakers) of a folder of `save`, read without torch; errors as of `load`."""
        with self._read(folder, "np") as (config, speakers, _):
            return config, speakers

    def load(self, folder: str | Path) -> tuple[Any, tuple[str, ...], torch.nn.Module]:
        """(config, speakers, network) from a folder of `save`.

        Raises MissingDataError where there is none, TrainingError where its files are damaged, do not belong together,
        or hold another system.
        """
        with self._read(folder, "pt") as (config, speakers, weights):
            network = self.build(config, len(speakers))
            network.load_state_dict(
                {n: value.float() if value.is_floating_point() else value for n, value in weights.items()}
            )
        return config, speakers, network.eval()

    @contextmanager
    def _read(
        self, folder: str | Path, framework: str
    ) -> Iterator[tuple[Any, tuple[str, ...], dict[str, Any]]]:
        with _reading(Path(folder), self.system, framework=framework) as stored:
            config = self.config(**stored.description["network"])
            speakers = tuple(stored.description["speakers"])
            stored.must_mean(describe(self.system, config, speakers), keyed=True)
            yield config, speakers, stored.weights


@dataclass(frozen=True)
class Alphabet:
    """Symbols whose numbers a package decides. package: as pip is told; key: -> a hash of those that are installed."""

    package: str
    key: Callable[[], str]


@dataclass(frozen=True)
class Parts:
    """Checkpoints of a vocoder, or a voice, of several networks, whose weights are called "<network>.<key>".

    config: the dataclass of its sizes, which lies in `section` of config.json; build: config -> networks by name;
    keyed: whether every checkpoint says which config.json it was saved with (those made before it did are taken as
    they are); mel: whether it takes one, else config.json has none (one that has is read as well); alphabet: of what
    it reads, None where that is no text (a checkpoint that does not say which it learnt is taken as it is).
    """

    system: str
    config: type
    build: Callable[[Any], dict[str, torch.nn.Module]]
    section: str = "network"
    keyed: bool = True
    mel: bool = True
    alphabet: Alphabet | None = None

    def save(
        self,
        folder: str | Path,
        config: Any,
        weights: Mapping[str, Mapping[str, torch.Tensor]],
        card: str,
        *,
        half: bool = True,
    ) -> Path:
        """Store its networks with their card.

        weights: network -> state dict; half: in half the bytes (of `hifigan` an error 60 dB below the signal).
        """
        expected = self.build(config)
        if weights.keys() != expected.keys():
            raise ParameterError(
                f"this {self.system} consists of {', '.join(expected)}, not of {', '.join(weights)}"
            )
        flat = {
            f"{name}.{key}": value.half() if half and value.is_floating_point() else value
            for name, state in weights.items()
            for key, value in state.items()
        }
        symbols = self.alphabet.key() if self.alphabet else None
        return _write(Path(folder), self._describe(config, self.mel, symbols), flat, card)

    def load(self, folder: str | Path) -> tuple[Any, dict[str, torch.nn.Module]]:
        """(config, networks by name) from a folder of `save`; errors as those of `Kind.load`, TrainingError also where
        another alphabet is installed than it learnt.
        """
        with self._read(folder, "pt") as (config, flat):
            networks = self.build(config)
            for name, network in networks.items():
                network.load_state_dict({key: value.float() for key, value in _of(flat, name).items()})
        return config, {name: network.eval() for name, network in networks.items()}

    def states(self, folder: str | Path) -> dict[str, dict[str, torch.Tensor]]:
        """Its weights in single precision by network, each a state dict; errors likewise."""
        return {name: network.state_dict() for name, network in self.load(folder)[1].items()}

    def sizes(self, folder: str | Path) -> Any:
        """The sizes alone, read without torch; errors likewise."""
        with self._read(folder, "np") as (config, _):
            return config

    def arrays(self, folder: str | Path) -> tuple[Any, dict[str, np.ndarray]]:
        """(config, weights by "<network>.<key>" in single precision), read without torch; errors likewise."""
        with self._read(folder, "np") as (config, flat):
            return config, {name: value.astype("float32") for name, value in flat.items()}

    @contextmanager
    def _read(self, folder: str | Path, framework: str) -> Iterator[tuple[Any, dict[str, Any]]]:
        with _reading(Path(folder), self.system, "vocoder" if self.mel else "voice", framework) as stored:
            config = self.config(**stored.description[self.section])
            symbols = stored.description.get("symbols")
            meant = self._describe(config, self.mel or "mel" in stored.description, symbols)
            stored.must_mean(meant, keyed=self.keyed)
            self._must_read(Path(folder), symbols)
            yield config, stored.weights

    def _describe(self, config: Any, mel: bool, symbols: str | None) -> dict:
        """All that the weights mean: sizes, mel, where they know one, the alphabet's key, where one was noted."""
        known = {"system": self.system, self.section: dataclasses.asdict(config)}
        known |= {"mel": dataclasses.asdict(HIFIGAN)} if mel else {}
        return known if symbols is None else known | {"symbols": symbols}

    def _must_read(self, folder: Path, symbols: str | None) -> None:
        """TrainingError where text would be told by other numbers than the networks learnt."""
        if self.alphabet and symbols not in (None, self.alphabet.key()):
            raise TrainingError(
                f"the {self.system} in {folder} learnt other symbols than the installed package has: "
                f"`pip install {self.alphabet.package}`, or train one with the package that is here"
            )


def describe(system: str, config: Any, speakers: Sequence[str]) -> dict:
    """All that the weights of an acoustic model mean: sizes, voices, symbols, mel."""
    return {
        "system": system,
        "network": dataclasses.asdict(config),
        "speakers": list(speakers),
        "symbols": content_key(symbols.voice_config()["phoneme_id_map"]),
        "mel": dataclasses.asdict(HIFIGAN),
    }


@dataclass(frozen=True)
class _Stored:
    """A folder's files as they are. key: of the description that the weights were saved with; None: nobody noted it."""

    folder: Path
    description: dict
    weights: dict[str, Any]
    key: str | None

    def must_mean(self, description: dict, *, keyed: bool) -> None:
        """TrainingError where the weights were saved with another description than this one."""
        if content_key(description) != self.key and (keyed or self.key is not None):
            raise TrainingError(
                f"{self.folder}: the weights were not saved with this config.json, or for other symbols or another "
                "mel; take both files from one checkpoint"
            )


@contextmanager
def _reading(folder: Path, system: str, noun: str = "", framework: str = "pt") -> Iterator[_Stored]:
    """The files of a system's folder; whatever is wrong with them inside of `with` becomes one clear error."""
    import safetensors

    for file in files(folder):
        if not file.is_file():
            raise MissingDataError(
                f"{folder} holds no {noun or system}: {file.name} is missing; train one, or name another folder"
            )
    try:
        description = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if description.get("system") != system:
            held = str(description.get("system", "nameless system"))
            raise TrainingError(f"{folder} holds {_article(held)} {held}, not {_article(system)} {system}")
        with safetensors.safe_open(folder / WEIGHTS, framework) as file:
            key = (file.metadata() or {}).get("config")
            weights = {name: file.get_tensor(name) for name in file.keys()}
        yield _Stored(folder, description, weights, key)
    except TrainingError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,  # torch's, of weights that do not fit
        safetensors.SafetensorError,
    ) as error:
        raise TrainingError(
            f"the {system} in {folder} cannot be read ({error}): take it anew from its checkpoint"
        ) from error


def _article(noun: str) -> str:
    return "an" if noun[:1] in tuple("aeiou") else "a"


def _write(folder: Path, description: dict, weights: Mapping[str, torch.Tensor], card: str) -> Path:
    import safetensors.torch

    packed = {name: value.cpu().contiguous() for name, value in weights.items()}
    write_atomic(folder / WEIGHTS, safetensors.torch.save(packed, {"config": content_key(description)}))
    write_atomic(folder / CARD, card.encode())
    write_atomic(folder / CONFIG, json.dumps(description, indent=1).encode())
    return folder


def _of(flat: Mapping[str, Any], network: str) -> dict[str, Any]:
    """The weights of one network under its own names."""
    start = f"{network}."
    return {name.removeprefix(start): value for name, value in flat.items() if name.startswith(start)}
