"""`vits-joe` on ONNX Runtime: the voice's own graph, cut into its stages, with the noise handed in.

The published graph draws its noise inside, where no seed reaches it. Cut at its random nodes, the pieces run one after
the other with the numbers `vits_joe.py` draws, and each stage can be timed, quantized or replaced alone. The
decoder, where the time goes, is rewritten for the runtime where it runs on one thread.
"""

from __future__ import annotations

import functools

import numpy as np

from lib.errors import require
from lib.graphs import convolutions as conv_graph
from lib.systems import symbols
from lib.systems.vits_joe import piper
from lib.systems.base import Speech, Stopwatch, System

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


@functools.cache
def stage_graphs() -> dict[str, bytes]:
    """The three stages as serialized ONNX models, each holding only its own weights."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(piper.model_path())
    known = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    producer = {output: node for node in model.graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}

    def described(name: str):
        return known.get(name) or helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None])

    graphs = {}
    for stage, (inputs, outputs) in STAGES.items():
        needed, pending = set(), list(outputs)
        while pending:  # walk up from the outputs, stopping at the stage's inputs
            name = pending.pop()
            if name not in inputs and name in producer and name not in needed:
                needed.add(name)
                pending += [i for i in producer[name].input if i]
        nodes = [node for node in model.graph.node if needed.intersection(node.output)]
        used = {name for node in nodes for name in node.input} - set(inputs)
        graph = helper.make_graph(
            nodes,
            stage,
            [described(n) for n in inputs],
            [described(n) for n in outputs],
            [weights[n] for n in weights if n in used],
        )
        graphs[stage] = helper.make_model(
            graph, opset_imports=model.opset_import, ir_version=model.ir_version
        ).SerializeToString()
    return graphs


@functools.cache
def fast_graphs(threads: int) -> dict[str, bytes]:
    """The stages as they run fastest: on one thread with the decoder rewritten for ONNX Runtime's blocked kernels.

    That is 1.25 times as fast there, equal within 1e-5. With two threads it is 0.8 times as fast: the blocked
    kernels share out rows of an image among threads, and a waveform is one row.
    """
    return stage_graphs() | ({"decoder": conv_graph.blocked(stage_graphs()["decoder"])} if threads == 1 else {})


def session(model: bytes | str, threads: int):
    """An ONNX Runtime CPU session with a pinned thread count whose idle threads sleep.

    Spinning threads of an idle session slow whatever else runs on those cores, a competitor being timed above all.
    """
    onnxruntime = require("onnxruntime", "onnxruntime==1.31.1")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class VitsJoeOnnx(System):
    """The voice on ONNX Runtime's CPU provider."""

    name = "vits-joe"
    sample_rate = 22_050
    modules: dict = {}

    def __init__(self, target: str = "onnxruntime/cpu", threads: int = 2):
        symbols.of("a")  # eSpeak is loaded on first use; load it here, not inside a measurement
        self.target = target
        config = symbols.voice_config()["inference"]
        self.scales = np.array([config["noise_scale"], config["length_scale"], config["noise_w"]], np.float32)
        self.sessions = {stage: session(graph, threads) for stage, graph in fast_graphs(threads).items()}
        self.size_mb = sum(len(graph) for graph in stage_graphs().values()) / 1e6
        self.params_m = _parameters() / 1e6

    def speak(self, sentence: str, seed: int) -> Speech:
        watch = Stopwatch()
        noise = np.random.default_rng(seed)
        with watch.stage("phonemes"):
            phones = symbols.of(sentence)
            ids = piper.padded_ids(phones)[None]  # (1, T)
        with watch.stage("text_encoder"):
            mean, deviation, frames, mask = self._run(
                "text_encoder",
                {
                    "input": ids,
                    "input_lengths": np.array([ids.shape[1]], np.int64),
                    "scales": self.scales,
                    DURATION_NOISE: noise.standard_normal((1, 2, ids.shape[1]), np.float32),
                },
            )
        with watch.stage("flow"):
            (latents,) = self._run(
                "flow",
                {
                    "scales": self.scales,
                    PRIOR_MEAN: mean,
                    PRIOR_DEVIATION: deviation,
                    MASK: mask,
                    PRIOR_NOISE: noise.standard_normal(mean.shape, np.float32),
                },
            )
        with watch.stage("decoder"):
            (waveform,) = self._run("decoder", {LATENTS: latents})
        return Speech(
            waveform.reshape(-1), self.sample_rate, watch.seconds, phones, piper.frames_per_symbol(frames)
        )

    def _run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self.sessions[stage].run(None, inputs)


@functools.cache
def _parameters() -> int:
    """Weights of the graph: its named tensors, not the constants the exporter folded into it."""
    import onnx

    graph = onnx.load(piper.model_path(), load_external_data=False).graph
    return sum(
        int(np.prod(t.dims))
        for t in graph.initializer
        if t.data_type == onnx.TensorProto.FLOAT and not t.name.startswith("/")
    )
