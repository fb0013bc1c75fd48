"""How does a stage leave Python? Written into a folder once, in the forms that runtimes read, each checked against
PyTorch.

    network.pt      the module itself, pickled: for PyTorch in this environment
    plain.onnx      opset 20, static shapes
    npu.onnx        rewritten for NPUs (`rewrite`), opset 18: as much as their compilers know
    npu.pt2         the same as torch exports it, for toolchains that read PyTorch
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.deploy.job import read_arrays, save_arrays
from lib.errors import SpeechError, unknown
from lib.files import write_atomic

if TYPE_CHECKING:
    import torch

    from lib.deploy.stages import Stage

FORMS = ("network.pt", "plain.onnx", "npu.onnx", "npu.pt2")
TOLERANCE = 1e-3  # of the largest output: what an exported graph may differ from PyTorch by


def write(stage: "Stage", folder: str | Path, forms: Collection[str] = FORMS) -> Path:
    """The stage with its inputs and PyTorch's answers; forms that lie there already stay. Raises SpeechError where an
    exported graph computes something else.
    """
    import torch

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    inputs = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in stage.inputs)
    network = stage.network.eval()
    save_arrays(folder / "inputs.npz", stage.inputs)
    for number, arrays in enumerate(stage.calibration):
        save_arrays(folder / f"calibration-{number:02d}.npz", arrays)
    save_arrays(folder / "expected.npz", _run(network, inputs))
    rewritten = None
    for form in forms:
        if form not in FORMS:
            raise unknown("form of a stage", form, FORMS)
        if (folder / form).exists():
            continue
        if form.startswith("npu.") and rewritten is None:
            from lib.deploy import rewrite

            rewritten = rewrite.for_npu(network, inputs)
        _save(rewritten if form.startswith("npu.") else network, inputs, folder / form)
        if form.endswith(".onnx"):
            _check(stage, folder / form, folder)
    return folder


def expected(folder: str | Path) -> list[np.ndarray]:
    """PyTorch's answer in single precision to the inputs of a folder of `write`."""
    return read_arrays(Path(folder) / "expected.npz")


def snr_db(expected: np.ndarray, answered: np.ndarray) -> float:
    """How far the difference lies below what was expected; infinite where there is none."""
    expected, answered = (np.asarray(a, np.float64).reshape(-1) for a in (expected, answered))
    noise = np.square(answered - expected).sum()
    return float(10 * np.log10(np.square(expected).sum() / noise)) if noise else float("inf")


def _run(network: "torch.nn.Module", inputs) -> list[np.ndarray]:
    import torch

    with torch.no_grad():
        made = network(*inputs)
    return [t.numpy() for t in (made if isinstance(made, (tuple, list)) else (made,))]


def _save(network: "torch.nn.Module", inputs, path: Path) -> None:
    import io

    import torch

    buffer = io.BytesIO()
    with torch.no_grad(), _quiet():
        if path.name == "network.pt":
            torch.save(network, buffer)
        elif path.suffix == ".pt2":
            torch.export.save(torch.export.export(network, inputs), buffer)
        else:
            opset = 18 if path.name.startswith("npu.") else 20
            names = [f"input_{number}" for number in range(len(inputs))]
            program = torch.onnx.export(
                network, inputs, dynamo=True, opset_version=opset, input_names=names, verbose=False
            )
            buffer.write(program.model_proto.SerializeToString())
    write_atomic(path, buffer.getvalue())


def _check(stage: "Stage", path: Path, folder: Path) -> None:
    from lib.graphs import session

    opened = session.open(path, 2)
    names = [end.name for end in opened.get_inputs()]
    answers = opened.run(None, dict(zip(names, stage.inputs)))
    for wanted, made in zip(expected(folder), answers):
        off = float(np.abs(wanted - made).max() / max(np.abs(wanted).max(), 1e-9))
        if off > TOLERANCE:
            path.unlink()
            raise SpeechError(
                f"{stage.label} as {path.name} differs from PyTorch by {off:.1e} of its largest value: the exporter "
                "or a rewriting is wrong; see lib/deploy/export.py"
            )


@contextlib.contextmanager
def _quiet():
    """The exporters advise on every call."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
