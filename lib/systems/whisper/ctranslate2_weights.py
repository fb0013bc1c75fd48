"""Reading and writing a CTranslate2 model file (`model.bin`), without CTranslate2.

Layout of binary version 6 (github.com/OpenNMT/CTranslate2, `python/ctranslate2/specs/model_spec.py`): version, name and
revision of the specification, then each tensor as name, shape, data type, byte count and bytes, then aliases;
little-endian. A weight in 8 bit has a tensor `<weight>_scale` beside it, by which each of its rows is divided.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib.errors import MissingDataError, ParameterError, SpeechError
from lib.graphs.operators import Weighted

VERSION = 6
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_SCALE = "_scale"  # behind the name of a weight in 8 bit


@dataclass(frozen=True)
class Contents:
    """specification: its name and revision; tensors and aliases (other name -> tensor) in the order of the file."""

    specification: tuple[str, int]
    tensors: Mapping[str, np.ndarray]
    aliases: Mapping[str, str]


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Tensor name -> array (in its stored type); an alias is listed under both names."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no CTranslate2 model at {path}")
    contents = parse(path.read_bytes(), str(path))
    return {**contents.tensors, **{alias: contents.tensors[name] for alias, name in contents.aliases.items()}}


def parse(data: bytes, whose: str = "this") -> Contents:
    """The contents of a file; SpeechError where it is not whole. whose: for errors."""
    cursor = 0

    def number(code: str) -> int:
        nonlocal cursor
        (value,) = struct.unpack_from("<" + code, data, cursor)
        cursor += struct.calcsize("<" + code)
        return value

    def string() -> str:
        nonlocal cursor
        length = number("H")
        text = data[cursor : cursor + length].rstrip(b"\0").decode()
        cursor += length
        return text

    try:
        if (version := number("I")) != VERSION:
            raise SpeechError(f"{whose} has CTranslate2 binary version {version}, this reader knows {VERSION}")
        specification = string(), number("I")
        tensors, aliases = {}, {}
        for _ in range(number("I")):
            name = string()
            shape = [number("I") for _ in range(number("B"))]
            dtype, size = np.dtype(_DTYPES[number("B")]), number("I")
            tensors[name] = np.frombuffer(data[cursor : cursor + size], dtype).reshape(shape)
            cursor += size
        for _ in range(number("I")):
            alias, name = string(), string()
            aliases[alias] = name
            tensors[name]
    except (struct.error, KeyError, ValueError) as error:
        raise SpeechError(
            f"{whose} is not a whole CTranslate2 model ({error}); reinstall the package it came with"
        ) from error
    return Contents(specification, tensors, aliases)


def serialize(contents: Contents) -> bytes:
    """The file with these contents; what `parse` reads."""
    codes = {np.dtype(kind): code for code, kind in _DTYPES.items()}

    def string(text: str) -> bytes:
        encoded = text.encode() + b"\0"
        return struct.pack("<H", len(encoded)) + encoded

    name, revision = contents.specification
    parts = [struct.pack("<I", VERSION), string(name), struct.pack("<II", revision, len(contents.tensors))]
    for name, tensor in contents.tensors.items():
        shape = struct.pack(f"<B{tensor.ndim}I", tensor.ndim, *tensor.shape)
        parts += [string(name), shape, struct.pack("<BI", codes[tensor.dtype], tensor.nbytes), tensor.tobytes()]
    parts.append(struct.pack("<I", len(contents.aliases)))
    parts += [string(text) for alias in contents.aliases.items() for text in alias]
    return b"".join(parts)


def parameters(data: bytes) -> int:
    """Weights of a model file, embedding and head once, for they are one matrix there; scales are none."""
    return sum(t.size for name, t in parse(data).tensors.items() if t.ndim and not name.endswith("_scale"))


def is_int8(data: bytes) -> bool:
    """Whether a file holds weights in 8 bit."""
    return any(name.endswith(_SCALE) for name in parse(data).tensors)


def int8(data: bytes) -> bytes:
    """The file with every matrix of weights in 8 bit, a scale for each of its rows: what the engine makes of them when
    it is told to compute so, but half as large. Convolutions stay: the engine has none in 8 bit on a CPU.
    """
    contents, tensors = parse(data), {}
    if is_int8(data):
        raise ParameterError("the weights of this CTranslate2 model are in 8 bit already: take its baseline")
    for name, tensor in contents.tensors.items():
        if not (name.endswith("/weight") and tensor.ndim == 2 and tensor.dtype in (np.float16, np.float32)):
            tensors[name] = tensor
            continue
        rows = tensor.astype(np.float32)
        largest = np.abs(rows).max(axis=1)
        scale = (127 / np.where(largest > 0, largest, 127)).astype(np.float32)
        tensors[name] = np.rint(rows * scale[:, None]).astype(np.int8)
        tensors[f"{name}{_SCALE}"] = scale
    # An alias of a weight in 8 bit needs its scale under its own name, too.
    scales = {f"{alias}{_SCALE}": f"{name}{_SCALE}" for alias, name in contents.aliases.items()}
    aliases = {**contents.aliases, **{a: n for a, n in scales.items() if n in tensors}}
    return serialize(Contents(contents.specification, dict(sorted(tensors.items())), aliases))


def weighted(data: bytes) -> dict[str, Weighted]:
    """The layers of a file that have a matrix of weights or a kernel, by name, as of an ONNX graph."""
    layers = {}
    for name, tensor in parse(data).tensors.items():
        if name.endswith("/weight") and tensor.ndim > 1:
            kind = "Conv1d" if tensor.ndim == 3 else "Embedding" if "embeddings" in name else "Linear"
            content = tensor.tobytes()
            digest = hashlib.blake2b(content, digest_size=8).hexdigest()
            layers[name.removesuffix("/weight")] = Weighted(kind, str(tensor.dtype), digest, len(content))
    return layers
