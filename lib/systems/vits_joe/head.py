"""Can the latents of `vits-joe` be spoken at the frame rate? A reader of their mel, and `istft` behind it.

Together they take the place of the voice's decoder: `Head` on ONNX Runtime, `graphs` with what it needs, `TorchHead`
on torch. They are trained one after the other (`lib.training.tasks.vits_joe_reader`, then `istft` on the reader's
mels); `lib.optimize.head` puts them in.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.systems.base import Stopwatch
from lib.systems.istft import onnx_vocoder, stream
from lib.systems.istft.config import IstftConfig
from lib.systems.vits_joe import reader

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession
    from torch import nn

STAGES = ("reader", "pitch", "trunk")


class Head:
    """A reader and a vocoder on ONNX Runtime. sessions: at least of STAGES; the reader's graph knows their sizes."""

    def __init__(self, sessions: Mapping[str, InferenceSession]):
        self.sessions = sessions
        self.reader = sessions["reader"]
        known = self.reader.get_modelmeta().custom_metadata_map
        self.sizes = reader.ReaderConfig(**json.loads(known["reader"]))
        self.vocoder = IstftConfig(**json.loads(known["vocoder"]))
        self.silence = {
            end.name: np.zeros(end.shape, np.float32)
            for end in self.reader.get_inputs()
            if end.name.endswith("/past")
        }

    def decode(self, latents: np.ndarray, watch: Stopwatch) -> np.ndarray:
        """(192, F) -> (F * 256,) in [-1, 1]; the watch is told of both stages."""
        with watch.stage("reader"):
            known = np.concatenate([np.repeat(latents.T[:1], self.sizes.past, 0), latents.T])
            later = onnx_vocoder.ahead(known, self.sizes.lookahead)
            (log_mel,) = self.reader.run(["mel"], {"features": later, **self.silence})
            log_mel = log_mel[self.sizes.past :]
        with watch.stage("vocoder"):
            return stream.Utterance(onnx_vocoder.Stages(self.sessions, self.vocoder)).push(log_mel, last=True)


def graphs(folder: str | Path, vocoder: str | Path) -> dict[str, bytes]:
    """Graphs by stage. folder: of a reader; vocoder: of an `istft`; errors as of `Parts.load`."""
    from lib.systems.istft import graph

    sizes, weights = reader.PARTS.arrays(folder)
    config, made = onnx_vocoder.stage_graphs(Path(vocoder))
    about = {"reader": json.dumps(dataclasses.asdict(sizes)), "vocoder": json.dumps(dataclasses.asdict(config))}
    return {"reader": graph.reader(reader.N_LATENTS, sizes.blocks, weights, about), **made}


def network(sizes: reader.ReaderConfig, config: IstftConfig) -> nn.Module:
    """The same on torch, with random weights: latents (1, 192, F) -> waveform (1, 1, F * 256)."""
    from torch import nn

    from lib.systems.istft import network

    class TorchHead(nn.Module):
        """Stands where the decoder stood."""

        def __init__(self):
            super().__init__()
            self.reader = reader.build(sizes)["reader"]
            parts = network.build(config)
            self.pitch, self.trunk, self.noise = parts["pitch"], parts["trunk"], network.Noise()

        def forward(self, latents: torch.Tensor) -> torch.Tensor:
            log_mel = reader.read(self.reader, latents, sizes)
            parts = {"pitch": self.pitch, "trunk": self.trunk, "noise": self.noise}
            return network.decode(parts, log_mel).clamp(-1, 1)[:, None]

    return TorchHead().eval()
