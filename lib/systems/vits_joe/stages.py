"""`vits-joe` on ONNX Runtime: the voice's own graph, cut into its stages, with the noise handed in.

The published graph draws its noise inside, where no seed reaches it. Cut at its random nodes, the pieces run one after
the other with the numbers `vits_joe.py` draws, and each stage can be timed, quantized or replaced alone. The
decoder, where the time goes, is rewritten for the runtime where it runs on one thread.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np

from lib.graphs import cut, session
from lib.graphs.export import kept
from lib.graphs.fastest import fastest
from lib.systems import symbols
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.vits_joe import piper

# Tensors of the graph (its package is pinned) at which it is cut. Shapes: T input ids, F frames.
DURATION_NOISE = "/dp/RandomNormalLike_output_0"  # (1, 2, T)
PRIOR_NOISE = "/RandomNormalLike_output_0"  # (1, 192, F)
PRIOR_MEAN = "/Transpose_3_output_0"  # (1, 192, F)
PRIOR_DEVIATION = "/Exp_1_output_0"  # (1, 192, F)
FRAMES = "/Ceil_output_0"  # (1, 1, T), frames of each input id
MASK = "/Cast_2_output_0"  # (1, 1, F)
LATENTS = "/Mul_7_output_0"  # (1, 192, F)

STAGES = {
    "text_encoder": (
        ("input", "input_lengths", "scales", DURATION_NOISE),
        (PRIOR_MEAN, PRIOR_DEVIATION, FRAMES, MASK),
    ),
    "flow": (("scales", PRIOR_MEAN, PRIOR_DEVIATION, PRIOR_NOISE, MASK), (LATENTS,)),
    "decoder": ((LATENTS,), ("output",)),
}


def stage_graphs(checkpoint: str | None = None) -> dict[str, bytes]:
    """The three stages as serialized ONNX models, each holding only its own weights; checkpoint: see
    `piper.model_path`. They are kept on disk, not in memory: a variant that has others would hold these all its life.
    """
    path = piper.model_path(checkpoint)

    def made() -> dict[str, bytes]:
        import onnx

        model = onnx.load(path)
        return {stage: cut.part(model, stage, *ends) for stage, ends in STAGES.items()}

    return kept(VitsJoeOnnx.name, tuple(STAGES), (path, Path(cut.__file__), Path(__file__)), made)


class VitsJoeOnnx(System):
    """The voice on ONNX Runtime's CPU provider."""

    name = "vits-joe"
    sample_rate = 22_050

    def __init__(self, target: str = "onnxruntime/cpu", threads: int = 2, checkpoint: str | None = None):
        symbols.of("a")  # eSpeak is loaded on first use; load it here, not inside a measurement
        self.target, self.threads = target, threads
        self.scales = piper.Scales()
        self.front_end = symbols.files()
        self.files = (piper.model_path(checkpoint), *self.front_end)
        self.graphs = stage_graphs(checkpoint)
        self._open()

    def settings(self) -> dict[str, float]:
        """How much noise it takes, and how long it makes its phones."""
        return dataclasses.asdict(self.scales)

    def configure(self, **scales: float) -> None:
        """Fields of `piper.Scales`."""
        self.scales = piper.scaled(self.scales, scales)

    def _open(self) -> None:
        graphs = dict(self.graphs)
        if "decoder" in graphs:
            graphs["decoder"] = functools.partial(fastest, graphs["decoder"], self.threads, self.target)
        self.sessions = session.open_all(graphs, self.threads, self.target)
        self.head = None
        if "decoder" not in graphs:  # another head: see `lib.optimize.head`
            from lib.systems.vits_joe.head import Head

            self.head = Head(self.sessions)

    _changed = _open

    def speak(self, sentence: str, seed: int) -> Speech:
        watch = Stopwatch()
        noise = np.random.default_rng(seed)
        scales = self.scales.array()
        with watch.stage("phonemes"):
            phones = symbols.of(sentence)
            ids = piper.padded_ids(phones)[None]  # (1, T)
        with watch.stage("text_encoder"):
            mean, deviation, frames, mask = self._run(
                "text_encoder",
                {
                    "input": ids,
                    "input_lengths": np.array([ids.shape[1]], np.int64),
                    "scales": scales,
                    DURATION_NOISE: noise.standard_normal((1, 2, ids.shape[1]), np.float32),
                },
            )
        with watch.stage("flow"):
            (latents,) = self._run(
                "flow",
                {
                    "scales": scales,
                    PRIOR_MEAN: mean,
                    PRIOR_DEVIATION: deviation,
                    MASK: mask,
                    PRIOR_NOISE: noise.standard_normal(mean.shape, np.float32),
                },
            )
        if self.head:
            waveform = self.head.decode(latents[0], watch)
        else:
            with watch.stage("decoder"):
                (waveform,) = self._run("decoder", {LATENTS: latents})
        return Speech(
            waveform.reshape(-1), self.sample_rate, watch.seconds, phones, piper.frames_per_symbol(frames)
        )

    def _run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self.sessions[stage].run(None, inputs)
