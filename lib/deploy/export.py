"""How does a stage leave Python? Written into a folder once, in the forms that runtimes read, each checked against
PyTorch.

    network.pt      the module itself, pickled: for PyTorch in this environment
    plain.onnx      opset 20, static shapes
    npu.onnx        rewritten for NPUs (`rewrite`), opset 18: as much as their compilers know
    npu.pt2         the same as torch exports it, for toolchains that read PyTorch; checked as it is read again
    fp16.onnx       opset 22, computed in half precision between inputs and outputs in single precision: for runtimes
    bf16.onnx       that compute in the precisions the graph names. Not checked here: ONNX Runtime knows no bf16 on a
                    processor; where one runs, its distance from PyTorch stands in its row
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.deploy.job import read_arrays, save_arrays
from lib.errors import SpeechError, unknown
from lib.files import write_atomic

if TYPE_CHECKING:
    import torch

    from lib.deploy.stages import Stage

FORMS = ("network.pt", "plain.onnx", "npu.onnx", "npu.pt2", "fp16.onnx", "bf16.onnx")
HALVES = ("fp16.onnx", "bf16.onnx")
OPSETS = {
    "plain.onnx": 20,
    "npu.onnx": 18,
    **dict.fromkeys(HALVES, 22),
}  # 22: the first with convolutions in bf16
TOLERANCE = 1e-3  # of the largest output: what an exported graph may differ from PyTorch by


def write(
    stage: "Stage", folder: str | Path, forms: Collection[str] = FORMS, failed: dict[str, str] | None = None
) -> Path:
    """The stage with its inputs and PyTorch's answers; forms that lie there already are checked again and stay.

    failed: where given, is told which forms could not be written and why, and the others are; else the first such
    raises, SpeechError where an exported graph computes something else.
    """
    import torch

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Copied: NumPy calls an array contiguous whose step over one row is 0, and ExecuTorch takes no such example.
    inputs = tuple(torch.from_numpy(np.array(array, order="C")) for array in stage.inputs)
    network = stage.network.eval()
    save_arrays(folder / "inputs.npz", stage.inputs)
    for number, arrays in enumerate(stage.others, 1):
        save_arrays(folder / f"inputs-{number:02d}.npz", arrays)
    for number, arrays in enumerate(stage.calibration):
        save_arrays(folder / f"calibration-{number:02d}.npz", arrays)
    save_arrays(folder / "expected.npz", run(network, stage.inputs))
    rewritten = functools.cache(lambda: _rewritten(network, inputs))
    for form in forms:
        if form not in FORMS:
            raise unknown("form of a stage", form, FORMS)
        try:
            _written(stage, network, rewritten, inputs, folder / form)
        except Exception as error:  # an exporter meets an operator that it does not know in a way of its own
            if failed is None:
                raise
            words = str(error).strip().splitlines() or [type(error).__name__]
            failed[form] = f"{stage.label} could not be written as {form}: {words[0][:300]}"
    return folder


def _written(stage: "Stage", network, rewritten, inputs, path: Path) -> None:
    """A form, made anew where the one that lies there is another graph by now."""
    if path.exists() and _agrees(stage, path):
        return
    if path.name in HALVES:
        network = _half(network, path.stem)
    elif path.name.startswith("npu."):
        network = rewritten()
    _save(network, inputs, path)
    if (off := _off(stage, path)) > TOLERANCE:
        path.unlink()
        raise SpeechError(
            f"{stage.label} as {path.name} differs from PyTorch by {off:.1e} of its largest value: the exporter "
            "or a rewriting is wrong; see lib/deploy/export.py"
        )


def _rewritten(network, inputs):
    from lib.deploy import rewrite

    return rewrite.for_npu(network, inputs)


def _half(network: "torch.nn.Module", precision: str):
    """A copy that computes in half precision, and takes and gives single precision."""
    import torch

    to = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]

    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = copy.deepcopy(network).to(to)

        def forward(self, *arrays):
            made = self.network(*(a.to(to) if a.is_floating_point() else a for a in arrays))
            return tuple(m.float() for m in made) if isinstance(made, (tuple, list)) else made.float()

    return Half().eval()


def expected(folder: str | Path) -> list[np.ndarray]:
    """PyTorch's answer in single precision to the inputs of a folder of `write`."""
    return read_arrays(Path(folder) / "expected.npz")


def snr_db(expected: np.ndarray, answered: np.ndarray) -> float:
    """How far the difference lies below what was expected; infinite where there is none."""
    expected, answered = (np.asarray(a, np.float64).reshape(-1) for a in (expected, answered))
    noise = np.square(answered - expected).sum()
    return float(10 * np.log10(np.square(expected).sum() / noise)) if noise else float("inf")


def run(network: "torch.nn.Module", inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What PyTorch answers."""
    return _answers(network.eval(), inputs)


def _answers(network: "torch.nn.Module", inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Of a module as it stands; one that was exported has no eval()."""
    import torch

    with torch.no_grad():
        made = network(*(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs))
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
            names = [f"input_{number}" for number in range(len(inputs))]
            program = torch.onnx.export(
                network, inputs, dynamo=True, opset_version=OPSETS[path.name], input_names=names, verbose=False
            )
            buffer.write(program.model_proto.SerializeToString())
    write_atomic(path, buffer.getvalue())


def _agrees(stage: "Stage", path: Path) -> bool:
    """Whether a form that lies there still answers as PyTorch does."""
    try:
        return _off(stage, path) <= TOLERANCE
    except Exception:  # half a file, or of an exporter that is no more: it is made anew
        return False


def _off(stage: "Stage", path: Path) -> float:
    """How far a graph's answers are from PyTorch's, of the largest value; 0 for what is not checked here."""
    if path.name in HALVES or path.name == "network.pt":
        return 0.0
    answers = _exported(path, stage.inputs) if path.suffix == ".pt2" else _graph(path, stage.inputs)
    return max(
        float(np.abs(wanted - made).max() / max(np.abs(wanted).max(), 1e-9))
        for wanted, made in zip(expected(path.parent), answers, strict=True)
    )


def _exported(path: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    import torch

    with _quiet():
        program = torch.export.load(path)
    return _answers(program.module(), inputs)


def _graph(path: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    from lib.graphs import session

    opened = session.open(path, 2)
    return opened.run(None, dict(zip([end.name for end in opened.get_inputs()], inputs)))


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
