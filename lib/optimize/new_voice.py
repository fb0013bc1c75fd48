"""How does a trained acoustic model learn one more voice, and lose none of those that it has?

Its table of speakers gets one row more, beside the others, which stay as they are; so do the statistics of pitch and
energy, where the network keeps them by speaker. What learns beside the row is what the adapter says (`lora`). It is the
system's own task of `lib.training`, with its losses, data and loop; checkpoints hold the adapter alone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import ParameterError
from lib.optimize import adapter_layers, lora
from lib.optimize.lora import Adapter
from lib.training import sources, tasks
from lib.training.task import Batch, Update, Validation
from lib.training.tasks.acoustic import MODULE, AcousticTask

if TYPE_CHECKING:
    from lib.systems.acoustic import AcousticSystem
    from lib.training.tasks.acoustic_data import Example

SYSTEMS = ("fastspeech2", "speecht5")  # whose voices are rows of a table
TABLES = ("network.speaker_id_embedding", "voices")  # where that table is
OWN = "own"  # the new rows' name in a `Table`
HEARD = 8  # training clips by which the new row begins; what is held out has no say in how a training begins


class Table(nn.Module):
    """A table of speakers with one new row; the others do not learn unless all does."""

    def __init__(self, table: nn.Embedding):
        super().__init__()
        self.base = table
        self.own = nn.Parameter(table.weight.detach().mean(0, keepdim=True))  # (1, width): nobody's voice yet

    def forward(self, speakers: torch.Tensor) -> torch.Tensor:
        return F.embedding(speakers, torch.cat([self.base.weight, self.own]))


def grow(network: nn.Module) -> list[str]:
    """One more speaker, in place; the names of what belongs to the new one in the network's state."""
    path = next((path for path in TABLES if isinstance(_at(network, path), nn.Embedding)), None)
    if path is None:
        raise ParameterError(
            f"{type(network).__name__} has no table of speakers that could grow: take one of {', '.join(SYSTEMS)}"
        )
    table = network.get_submodule(path)
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, Table(table).train(table.training))
    own = [f"{path}.{OWN}"]
    for name, buffer in list(network.named_buffers(recurse=False)):
        if len(buffer) == table.num_embeddings and not name.startswith("mel_"):
            network.register_buffer(name, torch.cat([buffer, buffer.mean(0, keepdim=True)]))
            own.append(name)
    return own


def task(
    system: str, corpus: Corpus, adapter: Adapter, learning: Mapping[str, Any], base: str | Path = ""
) -> AcousticTask:
    """The system's training task on a corpus of one new speaker.

    learning: keys of the recipe's `model` part beside the sizes, which are the base's; base: a checkpoint of the
    system, by default that of `lib.zoo`.
    """
    if system not in SYSTEMS:
        raise ParameterError(f"{system} learns no new voice here: take one of {', '.join(SYSTEMS)}")
    kind, folder = tasks.find(system), sources.start(str(base or system))
    sizes, _ = kind.system.checkpoints.sizes(folder)
    config = kind.Config(**{**dataclasses.asdict(sizes), **learning})
    return _new_voice(kind)(corpus, config, adapter, folder)


def save(task: AcousticTask, file: str | Path, about: Mapping[str, Any]) -> Path:
    """The adapter that a task has learnt, as one file. about: what `lora.describe` says of it beside the voice."""
    return lora.save(task.plain[MODULE], file, {**about, "voice": task.speakers[-1]})


def plain(network: nn.Module) -> nn.Module:
    """A copy without adapter, what was learnt within the weights, and with one table: a network like the base's.

    ParameterError for qlora, see `lora.merge`.
    """
    merged = lora.merged(network)
    for path in TABLES:
        if isinstance(table := _at(merged, path), Table):
            parent, _, name = path.rpartition(".")
            rows = torch.cat([table.base.weight, table.own]).detach()
            setattr(merged.get_submodule(parent), name, nn.Embedding.from_pretrained(rows, freeze=False))
    return merged


@torch.no_grad()
def merge_error(task: AcousticTask) -> float | None:
    """How far the standardised mels of a validation sentence are apart, at most, with what a task has learnt within
    the weights and beside them; None without an adapter that can be merged. Computed on the CPU, wherever it learnt:
    a GPU's convolutions round by default.
    """
    network, example = task.plain[MODULE], task.validation[0]
    if not adapter_layers.of(network) or lora.adaptation(network).adapter.method == "qlora":
        return None
    batch = task.collate([(example, example.mel())])
    said = []
    for one in (network.cpu(), plain(network)):
        torch.manual_seed(0)  # of what is left out of a prenet, in use, too
        said.append(task.said(one.eval(), batch))
    return float((said[0] - said[1]).abs().max())


def export(voice: AcousticSystem, folder: str | Path, card: str = "") -> Path:
    """A learnt voice as a checkpoint of its system, for `systems.load(name, checkpoint=folder)`: it runs wherever the
    system does, ONNX Runtime too. Weights in half precision, as every checkpoint of the project.
    """
    kind = tasks.find(voice.name).system.checkpoints
    return kind.save(folder, voice.config, voice.speakers, plain(voice.modules[MODULE]).state_dict(), card)


def begin_as_the_likest(task: AcousticTask) -> None:
    """Let the new row begin as the old voice that says the first `HEARD` training clips best, by the mel's loss, or
    as the mean of all: that is nobody's voice, and few steps, or the row alone, may not come as near as an old one was.
    """
    network = task.plain[MODULE]
    table = next(module for module in network.modules() if isinstance(module, Table))
    rows, losses, learns = torch.cat([table.own, table.base.weight]).detach(), [], network.training
    network.eval()
    for row in rows:
        table.own.data.copy_(row)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # of what is left out of a prenet
            losses.append(task.losses(task.examples[:HEARD], 0)["mel"])
    table.own.data.copy_(rows[int(np.argmin(losses))])
    network.train(learns)


@functools.cache
def _new_voice(kind: type[AcousticTask]) -> type[AcousticTask]:
    """The task of a system, whose network begins as the base with a new voice and an adapter."""

    class NewVoice(kind):
        def __init__(self, corpus: Corpus, config: Any, adapter: Adapter, folder: Path):
            self.adapter, self.folder = adapter, folder
            super().__init__(corpus, config)
            begin_as_the_likest(self)

        def begin(self) -> nn.Module:
            _, known, network = self.system.checkpoints.load(self.folder)
            if len(self.speakers) != 1 or self.speakers[0] in known:
                raise ParameterError(
                    "a new voice is one speaker that the base does not know; the corpus has "
                    f"{', '.join(self.speakers)}, the base knows {', '.join(known)}"
                )
            own = grow(network)
            self.statistics = _extended(self.statistics, network, (*known, *self.speakers))
            self.speakers = self.statistics.speakers
            lora.adapt(network, self.adapter, own)
            self.statistics.hand_to(network)
            if self.adapter.method != "full":
                _keep_own_alone(network)
            self.frozen_norms = [
                layer
                for layer in network.modules()
                if isinstance(layer, nn.BatchNorm1d) and not layer.weight.requires_grad
            ]
            return network

        def updates(self, batch: Batch, step: int) -> Iterator[Update]:
            # Else their running means would follow the new voice, and the old voices would change.
            for norm in self.frozen_norms:
                norm.eval()
            yield from super().updates(batch, step)

        def validate(self, step: int) -> Validation:
            """The losses alone; pictures and sound would take memory."""
            return Validation(self.losses(self.validation, step))

        @torch.no_grad()
        def losses(self, examples: Sequence[Example], step: int) -> dict[str, float]:
            """Means of the losses of `updates`, under teacher forcing."""
            sums: dict[str, float] = {}
            device = next(self.plain[MODULE].parameters()).device
            for e in examples:
                (update,) = super().updates(self.collate([(e, e.mel())]).to(device), step)
                for name, value in update.scalars.items():
                    sums[name] = sums.get(name, 0.0) + float(value) / len(examples)
            return sums

    NewVoice.__name__ = f"NewVoice{kind.__name__}"
    return NewVoice


def _extended(statistics: Any, network: nn.Module, speakers: tuple[str, ...]) -> Any:
    """Those of the base, with the new speaker's own at the end; mels are standardised as the base knows them."""
    kept = {name: buffer.numpy().copy() for name, buffer in network.named_buffers(recurse=False)}
    for name, values in kept.items():
        if not name.startswith("mel_"):
            values[-1] = getattr(statistics, name)[0]
    return dataclasses.replace(statistics, speakers=speakers, **kept)


def _keep_own_alone(network: nn.Module) -> None:
    """Let the network's state be the adapter's: that is what a checkpoint holds, and all that it takes back."""
    network.register_state_dict_post_hook(_only_own)
    network.register_load_state_dict_post_hook(_nothing_else_is_missing)


def _only_own(network: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    own = {f"{prefix}{name}" for name in lora.adaptation(network).own}
    for name in [name for name in state if name not in own]:
        del state[name]


def _nothing_else_is_missing(network: nn.Module, keys: Any) -> None:
    own = set(lora.adaptation(network).own)
    keys.missing_keys[:] = [name for name in keys.missing_keys if name in own]


def _at(network: nn.Module, path: str) -> nn.Module | None:
    try:
        return network.get_submodule(path)
    except AttributeError:
        return None
