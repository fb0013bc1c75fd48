"""Reading the weights of a CTranslate2 model file (`model.bin`), without CTranslate2.

Layout of binary version 6 (github.com/OpenNMT/CTranslate2, `python/ctranslate2/specs/model_spec.py`): version, name and
revision of the specification, then each tensor as name, shape, data type, byte count and bytes, then aliases;
little-endian.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np

from lib.errors import MissingDataError, SpeechError

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Tensor name -> array (a copy, in its stored type); an alias is listed under both names."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no CTranslate2 model at {path}")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
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
            if (version := number("I")) != 6:
                raise SpeechError(f"{path} has CTranslate2 binary version {version}, this reader knows 6")
            string(), number("I")
            tensors = {}
            for _ in range(number("I")):
                name = string()
                shape = [number("I") for _ in range(number("B"))]
                dtype, size = np.dtype(_DTYPES[number("B")]), number("I")
                tensors[name] = np.frombuffer(data[cursor : cursor + size], dtype).reshape(shape)
                cursor += size
            for _ in range(number("I")):
                alias, name = string(), string()
                tensors[alias] = tensors[name]
        except (struct.error, KeyError, ValueError) as error:
            raise SpeechError(
                f"{path} is not a whole CTranslate2 model ({error}); reinstall the package it came with"
            ) from error
    return tensors
