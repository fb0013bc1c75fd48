"""Google Edge TPU: the int8 TFLite model through the device's delegate. There is no compiler in any package index, so
without one the model is held against the list of operators that the compiler takes (`edgetpu_list`).
"""

from __future__ import annotations

from lib.deploy import edgetpu_list, tflite
from lib.deploy.job import Job, Loaded

READS = ("npu.pt2",)
PRECISIONS = ("int8",)


def build(job: Job) -> dict[str, str]:
    """Without the device: {"said": which operators of the model it would take}."""
    return {"said": edgetpu_list.told(tflite.operators(tflite.quantized(job)))}


def load(job: Job) -> Loaded:
    """A model that Google's compiler has not treated runs on the host, and is refused for that."""
    from ai_edge_litert.interpreter import load_delegate

    model, plain = job.made("tflite-int8_edgetpu.tflite"), tflite.quantized(job)
    found = tflite.operators(plain)
    if not model.exists():
        said = edgetpu_list.told(found)
        raise RuntimeError(f"compile {plain} with Google's edgetpu_compiler into {model.name} first: {said}")
    detail = {"operators": len(found), "not_listed": edgetpu_list.left(found)}
    return Loaded(tflite.runner(model, delegates=(load_delegate("libedgetpu.so.1"),)), detail=detail)
