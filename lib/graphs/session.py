"""Where do sessions of ONNX Runtime come from? From here, so that threads, spinning and memory are decided
once.

A session's threads wait for work either asleep or spinning. Spinning threads answer sooner, but they hold their
cores: beside torch, or beside other sessions that have something to do, they were seen to slow the other
fivefold. So sessions sleep, unless the process was started to run one system alone (`ALONE` in its environment,
as the bench does for its children).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from lib import targets
from lib.errors import ParameterError, require

CUDA = "CUDAExecutionProvider"
ALONE = "SPEECH_ALONE"  # "1" in the environment of a process that runs one system and nothing else of ours


_waits: ContextVar[bool] = ContextVar("sessions wait", default=False)


def alone() -> bool:
    """Whether this process runs one system and nothing else of ours, so that its runtimes may keep the cores."""
    return os.environ.get(ALONE) == "1"


@contextmanager
def unopened() -> Iterator[None]:
    """Inside of it sessions are opened when they are first asked for anything: who loads a system only to replace its
    graphs neither waits for those that go nor holds them.
    """
    before = _waits.set(True)
    try:
        yield
    finally:
        _waits.reset(before)


def later(make: Callable[[], Any]) -> Any:
    """What `make` returns; inside of `unopened` something that becomes it when it is first used."""
    return _Unopened(make) if _waits.get() else make()


class _Unopened:
    """A session that is opened when one of its attributes is asked for."""

    def __init__(self, make: Callable[[], Any]):
        self._make, self._opened = make, None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what copies and pickles ask of everything
            raise AttributeError(name)
        if self._opened is None:
            self._opened = self._make()
        return getattr(self._opened, name)


def open(
    model: bytes | str | Path | Callable[[], bytes],
    threads: int,
    *,
    spinning: bool | None = None,
    target: str = "onnxruntime/cpu",
) -> Any:
    """An InferenceSession on the processor, or where a target says so on an NVIDIA GPU. model: a serialized graph, what
    makes it, or its file; threads: of one operator; operators run one after the other.

    spinning: while a graph runs, its threads wait for one another awake; by default where the process is `alone`.
    They sleep as soon as it has run, because a system has a session for each stage, and one that idles would hold
    the core that the next one needs. Memory patterns are off: they plan one block for each new shape, and every
    sentence is one (the three stages of `vits-joe`, ten sentences: 650 MB at most instead of 860).
    """
    if threads < 1:
        raise ParameterError(f"{threads} threads cannot compute: give at least 1")
    onnxruntime = require("onnxruntime", "onnxruntime==1.31.1")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern = False
    spins = alone() if spinning is None else spinning
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.add_session_config_entry("session.force_spinning_stop", "1")  # at the end of each run
    options.log_severity_level = 3

    def opened():
        made = model() if callable(model) else model
        source = made if isinstance(made, bytes) else str(made)
        if targets.find(target).cuda:
            # Every sentence has a length of its own: who tries out all algorithms for each never comes to speak.
            return on_gpu(source, options, cudnn_conv_algo_search="HEURISTIC")
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    return later(opened)


def open_all(graphs: Mapping[str, Any], threads: int, target: str) -> dict[str, Any]:
    """Sessions by stage, each of what `open` takes."""
    return {stage: open(graph, threads, target=target) for stage, graph in graphs.items()}


def on_gpu(source: bytes | str, options: Any = None, *, tf32: bool = False, **provider: str) -> Any:
    """A session that computes on the GPU, or RuntimeError: where CUDA's libraries cannot be loaded the provider is
    still listed, and a session opens on the processor and says so to its log alone. provider: its further options.
    """
    import onnxruntime

    if CUDA not in onnxruntime.get_available_providers():
        raise RuntimeError("this onnxruntime was built without CUDA: pip install onnxruntime-gpu")
    # TF32 is on by default: what is called fp32 elsewhere has it off.
    providers = [(CUDA, {"use_tf32": str(int(tf32)), **provider})]
    opened = onnxruntime.InferenceSession(source, options, providers=providers)
    if (used := opened.get_providers()[:1]) != [CUDA]:
        raise RuntimeError(
            f"onnxruntime opened the graph on {', '.join(used) or 'nothing'}: CUDA or cuDNN could not be loaded; pip "
            "install onnxruntime-gpu[cuda,cudnn]"
        )
    return opened
