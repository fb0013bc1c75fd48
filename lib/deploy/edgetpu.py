"""Google Edge TPU: the int8 TFLite model through the device's delegate. There is no compiler in any package index."""

from __future__ import annotations

from lib.deploy import tflite
from lib.deploy.job import Job, Loaded

READS = ("npu.pt2",)
PRECISIONS = ("int8",)


def load(job: Job) -> Loaded:
    """A model that Google's compiler has not treated runs on the host, and is refused for that."""
    from ai_edge_litert.interpreter import load_delegate

    model = job.made("tflite-int8_edgetpu.tflite")
    if not model.exists():
        made = tflite.quantized(job)
        raise RuntimeError(f"compile {made} with Google's edgetpu_compiler into {model.name} first")
    return Loaded(tflite.runner(model, delegates=(load_delegate("libedgetpu.so.1"),)))
