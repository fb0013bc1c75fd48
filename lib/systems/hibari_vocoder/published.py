"""Where does the decoder come from? Out of the published graph of `hibari`, which is cut where the decoder begins.

The cut graph lies in the cache, as published: in 8 bits. With it NumPy and ONNX Runtime are enough.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from lib.errors import TrainingError, require
from lib.files import cache_folder, content_key, write_atomic
from lib.systems.hibari import PACKAGE

INPUTS = "/Concat_43_output_0"  # (1, 130, F): what the decoder is fed
HIDDEN = "/dec_norm/LayerNormalization_output_0"  # (1, F, 256): before its last layer
OUTPUTS = ("lh", "theta", "ln", "lr", "phi")  # (1, 601, F) each: what `hibari.dsp.synth` takes
F0 = "f0"  # (1, F) Hz, below 40 where nothing is voiced
LASTING = "/Gather_31_output_0"  # (n,): how long each phoneme lasts, see `hibari_small.signal.lengths`
_REVISION = 2  # raised where another piece is cut


def graph_file() -> Path:
    """The package's graph, which reads phonemes; MissingDataError without the package."""
    package = require("hibari", PACKAGE)
    return Path(package.__file__).parent / "assets" / "hibari.onnx"


def decoder_file() -> Path:
    """The graph of the decoder alone, INPUTS -> OUTPUTS, made when it is first asked for.

    TrainingError for a graph of another release, in which there is no such decoder.
    """
    return _cut("decoder", (INPUTS,), OUTPUTS)


def reader_file() -> Path:
    """The graph of what lies before the decoder: ids (1, n), speed (1,) -> INPUTS, F0 and LASTING."""
    return _cut("reader", ("ids", "speed"), (INPUTS, F0, LASTING))


def weights() -> dict[str, np.ndarray]:
    """The decoder's weights by the names of `network.Decoder`, in single precision.

    TrainingError for a graph of another release.
    """
    import onnx

    graph = onnx.load_from_string(decoder_file().read_bytes()).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    try:
        return {
            "enter.weight": arrays["m.dec_in.weight"],
            "enter.bias": arrays["m.dec_in.bias"],
            **{
                f"blocks.{number}.{name}": value
                for number in range(_n_blocks(arrays))
                for name, value in _block(arrays, number).items()
            },
            "norm.weight": arrays["m.dec_norm.weight"],
            "norm.bias": arrays["m.dec_norm.bias"],
            "head.weight": _matrix(arrays, "/head"),
            "head.bias": arrays["m.head.bias"],
        }
    except KeyError as error:
        raise another(f"it has no {error}") from error


def _n_blocks(arrays: dict[str, np.ndarray]) -> int:
    return len({name.split(".")[2] for name in arrays if name.startswith("m.dec.")})


def _block(arrays: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """The weights of a block by the names of `hifigan.ConvNeXtBlock`."""
    of = f"m.dec.{number}"
    return {
        "depthwise.weight": arrays[f"{of}.dw.weight"],
        "depthwise.bias": arrays[f"{of}.dw.bias"],
        "norm.weight": arrays[f"{of}.norm.weight"],
        "norm.bias": arrays[f"{of}.norm.bias"],
        "expand.weight": _matrix(arrays, f"/dec.{number}/pw1"),
        "expand.bias": arrays[f"{of}.pw1.bias"],
        "project.weight": _matrix(arrays, f"/dec.{number}/pw2"),
        "project.bias": arrays[f"{of}.pw2.bias"],
        "scale": arrays[f"{of}.gamma"],
    }


def _matrix(arrays: dict[str, np.ndarray], layer: str) -> np.ndarray:
    """(n_outputs, n_inputs) float32 of a layer's product in 8 bits."""
    stem = f"{layer}/Transpose_output_0"
    whole = arrays[f"{stem}_quantized"].astype(np.float32) - arrays[f"{stem}_zero_point"].astype(np.float32)
    return np.ascontiguousarray((whole * arrays[f"{stem}_scale"]).T)


@functools.cache
def _cut(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Path:
    published = graph_file().read_bytes()
    path = cache_folder("graphs", f"hibari-{content_key(_REVISION, name, published)}-{name}.onnx")
    if not path.is_file():
        import onnx

        from lib.graphs import cut

        model = onnx.load_from_string(published)
        held = {tensor for node in model.graph.node for tensor in (*node.input, *node.output)}
        if lacking := {*inputs, *outputs} - held:
            raise another(f"it has no {', '.join(sorted(lacking))}")
        write_atomic(path, cut.part(model, f"hibari {name}", inputs, outputs))
    return path


def another(why: str) -> TrainingError:
    return TrainingError(
        f"{graph_file()} holds another decoder than the one known here ({why}): pip install {PACKAGE}"
    )
