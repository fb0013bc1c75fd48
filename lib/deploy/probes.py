"""What do neural processors refuse? Networks of our own that want what such chips are said not to have.

Each is a stage as any other, but small: a length that is left open, a recurrent layer, one step of a recurrent decoder
and the whole of its loop, activations of 16 bits. What compilers say of them is `lib.studies.refused`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib import systems
from lib.deploy import rewrite, stages
from lib.deploy.export import OPSETS
from lib.deploy.stages import Stage
from lib.files import write_atomic
from lib.systems.tacotron2.config import steps_allowed
from lib.systems.tacotron2.export import STATE, Step

FRAMES = 16  # of a decoder: little enough for the smallest device, with activations of 16 bits, too
FORMS = ("npu.onnx", "npu.pt2")  # what compilers of neural processors read


@dataclass(frozen=True, eq=False)
class Probe:
    """asks: in words; open_axis: of the first input, whose length the graph does not say (its stage has a name of its
    own, as graphs lie under that); wide: whether activations have 16 bits instead of 8.
    """

    asks: str
    stage: Stage
    open_axis: int | None = None
    wide: bool = False


class Recurrent(nn.Module):
    """The LSTM of `tacotron2`'s encoder, both ways over a whole text."""

    def __init__(self, lstm: nn.LSTM):
        super().__init__()
        self.lstm = lstm

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        """(1, T, E) -> (1, T, E)."""
        return self.lstm(channels)[0]


class Looped(nn.Module):
    """The decoder of `tacotron2` until its gate opens, without dropout: how often it runs depends on what it says."""

    def __init__(self, step: Step, widths: Sequence[int], n_layers: int, threshold: float, allowed: int):
        super().__init__()
        self.step, self.widths, self.threshold, self.allowed = step, widths, threshold, allowed
        self.register_buffer("keep", torch.ones(n_layers, 1))

    def forward(self, memory: torch.Tensor, projected: torch.Tensor) -> torch.Tensor:
        """(T, E), (T, A) -> the frames of the last step (1, r * 80)."""

        def going(n, stop, said, *state):
            return (n < self.allowed) & (stop[0] < self.threshold)

        def turn(n, stop, said, *state):
            said, stop, *state = self.step(said, self.keep, memory, projected, *state)
            return n + 1, stop, said, *state

        zeros = [memory.new_zeros(1, width) for width in self.widths]
        begin = (torch.zeros((), dtype=torch.int64), memory.new_zeros(1), *zeros)
        return torch.while_loop(going, turn, begin)[2]


@torch.inference_mode(False)
@torch.no_grad()
def build(text: str) -> list[Probe]:
    """All of them, on what they see of a text."""
    decoder = stages.build("vits-joe/decoder", FRAMES, texts=[text])
    layers, inputs = _tacotron2(text)
    any_length = replace(decoder, name="decoder-any-length")
    return [
        Probe("a length that is known when it runs", any_length, open_axis=2),
        Probe("a recurrent layer, its length fixed", _stage("encoder-lstm", layers["lstm"], inputs["lstm"])),
        Probe("one step of a recurrent decoder", _stage("decoder-step", layers["step"], inputs["step"])),
        Probe("a recurrent decoder with its loop", _stage("decoder-loop", layers["loop"], inputs["loop"])),
        Probe("activations of 16 bits", decoder, wide=True),
    ]


def leave_open(stage: Stage, axis: int, folder: Path) -> None:
    """Its FORMS with that axis of the first input of no fixed length, into a folder of `export.write`."""
    inputs = tuple(map(torch.from_numpy, stage.inputs))
    lengths = ({axis: torch.export.Dim("length")}, *[None] * (len(inputs) - 1))
    network = rewrite.for_npu(stage.network, inputs)
    with torch.no_grad():
        exported = torch.export.export(network, inputs, dynamic_shapes=lengths)
        names = [f"input_{number}" for number in range(len(inputs))]
        graph = torch.onnx.export(
            exported, dynamo=True, opset_version=OPSETS["npu.onnx"], input_names=names, verbose=False
        )
    buffer = io.BytesIO()
    torch.export.save(exported, buffer)
    write_atomic(folder / "npu.pt2", buffer.getvalue())
    write_atomic(folder / "npu.onnx", graph.model_proto.SerializeToString())


def _tacotron2(text: str) -> tuple[dict[str, nn.Module], dict[str, tuple[torch.Tensor, ...]]]:
    """Its parts, and what each sees of a text: a step the first one."""
    voice = systems.load("tacotron2")
    model = voice.modules["acoustic_model"]
    network, config = model.network, model.network.config
    _, ids, speaker = voice._symbols(text)
    seen: list[torch.Tensor] = []
    hook = network.encoder.lstm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        memory, _ = network.encode(ids, speaker)
    finally:
        hook.remove()
    memory, projected = memory[0], network.decoder.attention_layer.memory_layer(memory)[0]
    n, step = len(memory), Step(model).eval()
    state = {"context": config.embedding, "weights": n, "total": n}
    state |= dict.fromkeys(("hidden", "cell"), config.attention_rnn)
    state |= dict.fromkeys(("rnn_hidden", "rnn_cell"), config.decoder_rnn)
    widths = [network.decoder.linear_projection.linear_layer.out_features, *(state[name] for name in STATE)]
    said, *begin = (torch.zeros(1, width) for width in widths)
    keep = torch.ones(2, config.prenet)
    allowed = steps_allowed(n, config.frames_per_step)
    looped = Looped(step, widths, len(keep), voice.gate.threshold, allowed).eval()
    parts = {"lstm": Recurrent(network.encoder.lstm), "step": step, "loop": looped}
    return parts, {
        "lstm": (seen[0],),
        "step": (said, keep, memory, projected, *begin),
        "loop": (memory, projected),
    }


def _stage(name: str, network: nn.Module, inputs: Sequence[torch.Tensor]) -> Stage:
    given = tuple(np.ascontiguousarray(array.detach().numpy()) for array in inputs)
    return Stage("tacotron2", name, network, given, (given,), 0.0, 1)
