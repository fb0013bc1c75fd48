"""Which operators does the Edge TPU's compiler take? Google's published list, held against a model without that.

The list with its limitations is that of runtime 14, the last one: https://coral.ai/docs/edgetpu/models-intro/, section
"Supported operations"; the same list stands in Axis's documentation of ARTPEC-7, whose accelerator it is:
https://developer.axis.com/computer-vision/on-device/system-on-chip/artpec-7/supported-ops/. Beside it: all is 8 bit,
and of a tensor only the three innermost dimensions may be larger than 1. The compiler parts a graph once: from the
first operator that it does not take, all that follows runs on the processor. What it decides by size (a large reshape)
is published nowhere, so this is a reason to try, not a placement.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Sequence

from lib.deploy.tflite import Operator

SOURCE = "coral.ai/docs/edgetpu/models-intro, runtime 14"
TYPES = ("INT8", "UINT8", "INT16", "INT32")  # INT32: biases, shapes, axes; INT16: the inside of an LSTM
SOFTMAX = 16_000  # elements at most


def _same_dilation(one: Operator) -> str:
    across, down = (one.settings.get(f"dilation{side}Factor", 1) for side in "WH")
    return "" if across == down else "dilations that differ in x and y"


def _not_fused(one: Operator) -> str:
    return "a fused activation" if one.settings.get("fusedActivationFunction") else ""


def _one_row(one: Operator) -> str:
    return "more than one row" if math.prod(one.outputs[0][1][:-1]) > 1 else ""


def _short_row(one: Operator) -> str:
    return _one_row(one) or ("more than 16,000 elements" if math.prod(one.outputs[0][1]) > SOFTMAX else "")


# Operator -> what of its limitations can be read from the file; None where there is none that can.
LISTED: dict[str, Callable[[Operator], str] | None] = {
    "ADD": None,
    "AVERAGE_POOL_2D": _not_fused,
    "CONCATENATION": _not_fused,
    "CONV_2D": _same_dilation,
    "DEPTHWISE_CONV_2D": _same_dilation,
    "EXPAND_DIMS": None,
    "FULLY_CONNECTED": _one_row,
    "L2_NORMALIZATION": None,
    "LOGISTIC": None,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": None,
    "MAXIMUM": None,
    "MAX_POOL_2D": _not_fused,
    "MEAN": None,
    "MINIMUM": None,
    "MUL": None,
    "PACK": None,
    "PAD": None,
    "PRELU": None,
    "QUANTIZE": None,
    "REDUCE_MAX": None,
    "REDUCE_MIN": None,
    "RELU": None,
    "RELU6": None,
    "RELU_N1_TO_1": None,
    "RESHAPE": None,
    "RESIZE_BILINEAR": None,
    "RESIZE_NEAREST_NEIGHBOR": None,
    "RSQRT": None,
    "SLICE": None,
    "SOFTMAX": _short_row,
    "SPACE_TO_DEPTH": None,
    "SPLIT": None,
    "SQUARED_DIFFERENCE": None,
    "SQUEEZE": None,
    "STRIDED_SLICE": None,
    "SUB": None,
    "SUM": None,
    "TANH": None,
    "TRANSPOSE": None,
    "TRANSPOSE_CONV": None,
}


def refused(one: Operator) -> str:
    """Why the list has no place for an operator, in words; "" where it has."""
    if one.kind not in LISTED:
        return "not listed"
    tensors = (*one.inputs, *one.outputs)
    if others := [kind for kind, _ in tensors if kind not in TYPES]:
        return f"computed in {others[0]}"
    if any(math.prod(shape[:-3]) > 1 for _, shape in tensors[: 1 if "CONV" in one.kind else None]):
        return "more than three dimensions"
    limited = LISTED[one.kind]
    return limited(one) if limited else ""


def left(operators: Sequence[Operator]) -> dict[str, int]:
    """What the list has no place for: "TRANSPOSE (more than three dimensions)" -> how many."""
    said = [(one.kind, why) for one in operators if (why := refused(one))]
    return dict(collections.Counter(f"{kind} ({why})" for kind, why in said).most_common())


def told(operators: Sequence[Operator]) -> str:
    """The same in a sentence, with what the first of them takes with it."""
    n, found = len(operators), left(operators)
    if not found:
        return f"all {n} operators of its int8 model are on Google's list ({SOURCE})"
    first = next(number for number, one in enumerate(operators) if refused(one))
    listed = ", ".join(f"{count} {kind}" for kind, count in found.items())
    return (
        f"of {n} operators of its int8 model {sum(found.values())} are not on Google's list ({SOURCE}) and fall to "
        f"the processor: {listed}; the compiler parts a graph once, so the {n - first} from the first of them on do"
    )
