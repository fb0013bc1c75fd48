"""What do Sophgo's tools need around them? A process that runs one of them, or sets the scales of 8 bit.

    python -m lib.deploy.tpu_mlir_tools model_deploy --mlir stage.mlir ...
    python -m lib.deploy.tpu_mlir_tools calibrate

Importing the package puts its own libraries first for whatever its tools start; here those that this process was given
stay first. Its ONNX converter imports PyTorch and, for graphs without operators of a user's own, does nothing with it:
a name without a content saves gigabytes. Its calibration does need PyTorch, so scales are set here, by the same rule as
its own "max": the largest value seen.
"""

from __future__ import annotations

import os
import runpy
import sys
import types
from pathlib import Path

import numpy as np

from lib.deploy.job import read_arrays

# Computed in half precision: the vendor's 8-bit maximum of two tensors of different scales is wrong (-13 dB instead of
# 13 in tpu-mlir 1.30.2), and a maximum with a small multiple of itself is what LeakyReLU becomes here.
WIDER = ("top.Max", "top.MaxConst")


def main(tool: str, *arguments: str) -> None:
    """Run a tool in this process."""
    libraries = os.environ["LD_LIBRARY_PATH"]
    import tpu_mlir  # noqa: F401  sets what its tools find each other by

    os.environ["LD_LIBRARY_PATH"] = libraries
    if tool == "calibrate":
        calibrate()
        return
    import onnxruntime_extensions  # noqa: F401  before the name: it would take it for PyTorch

    sys.modules["torch"] = types.ModuleType("torch")
    sys.modules["torch"].Tensor = type("Tensor", (), {})  # what SciPy asks of arrays where there is a "torch"
    path = Path(os.environ["TPUC_ROOT"], "python", "tools", f"{tool}.py")
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


def calibrate() -> None:
    """`scales.txt`, the largest value of every tensor of `stage.mlir` over `calibration-*.npz`; `wider.txt`, what stays
    in half precision.
    """
    import pymlir
    from utils.mlir_parser import MlirParser

    pymlir.set_mem_mode("force_value_mem")  # else a tensor's memory holds a later one by the time it is read
    module = pymlir.module()
    module.load("stage.mlir")
    seen: dict[str, list[float]] = {}
    for path in sorted(Path().glob("calibration-*.npz")):
        given = dict(zip(module.input_names, read_arrays(path)))
        for name, array in given.items():
            module.set_tensor(name, array.astype(np.float32), array.shape)
        module.invoke()
        for name in module.all_tensor_names:
            values = given[name] if name in given else module.get_tensor(name)
            seen.setdefault(name, []).extend((float(values.min()), float(values.max())))
    lines = [f"{name} {max(map(abs, ends)):.7g} {min(ends):.7g} {max(ends):.7g}" for name, ends in seen.items()]
    Path("scales.txt").write_text("\n".join(["# name threshold min max", *lines, ""]))
    wider = [f"{op.name} F16" for op in MlirParser("stage.mlir").ops if op.type in WIDER]
    Path("wider.txt").write_text("\n".join([*wider, ""]))


if __name__ == "__main__":
    main(*sys.argv[1:])
