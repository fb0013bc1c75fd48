"""How do weights lie in a file in 4 or 8 bits, and what comes back? Whole numbers in groups, each group with a scale.

A weight is cut into groups of so many numbers along each of its rows (what makes one output channel), and a group is
stored as codes and the scale that brings them back:

    int8   -127 to 127, linear
    int4     -7 to 7, linear, two codes to a byte
    nf4    16 levels, which normally distributed weights use equally often (Dettmers et al. 2023, arXiv:2305.14314)

What comes back is in single precision and computes as any weight does: such a variant is a smaller download, as fast
and as large in memory as its baseline. Scales are bfloat16, which no group of tiny weights underflows; codes are
chosen for the rounded scale, so that packing what was unpacked gives the same bytes again.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

from lib.errors import ParameterError, unknown

if TYPE_CHECKING:
    import torch

LARGEST = {"int8": 127, "int4": 7, "nf4": 1}  # the code that the largest weight of a group gets
GROUP = 64  # weights that share a scale


class Format(NamedTuple):
    """name: of `LARGEST`; group: weights that share a scale, 0 for a whole row."""

    name: str
    group: int = GROUP


class Packed(NamedTuple):
    """codes: (n_bytes,) int8 or two to a uint8; scales: (n_groups,) bfloat16."""

    codes: "torch.Tensor"
    scales: "torch.Tensor"


def check(form: Format) -> Format:
    """The format, or ParameterError."""
    if form.name not in LARGEST:
        raise unknown("format of weights", form.name, LARGEST)
    if form.group < 0 or form.group % 2:
        raise ParameterError(f"a group of {form.group} weights: give an even number, or 0 for a whole row")
    return form


def pack(weight: "torch.Tensor", form: Format) -> Packed:
    """(rows, ...) -> codes and scales; what `unpack` makes of them is the nearest that the format has."""
    import torch

    grouped = _grouped(weight.detach().float(), form)  # (n_groups, group)
    scales = (grouped.abs().amax(1) / LARGEST[form.name]).bfloat16()
    steps = torch.where(scales > 0, scales.float(), torch.ones_like(scales, dtype=torch.float32))
    relative = grouped / steps[:, None]
    if form.name == "nf4":
        table = levels()
        codes = torch.bucketize(relative, (table[1:] + table[:-1]) / 2).to(torch.uint8)
    else:
        largest = LARGEST[form.name]
        codes = relative.round().clamp(-largest, largest).to(torch.int8)
    if form.name == "int8":
        return Packed(codes.flatten(), scales)
    nibbles = (codes + (8 if form.name == "int4" else 0)).to(torch.uint8).flatten().view(-1, 2)
    return Packed(nibbles[:, 0] | nibbles[:, 1] << 4, scales)


def unpack(packed: Packed, form: Format, shape: "torch.Size | tuple[int, ...]") -> "torch.Tensor":
    """Codes and scales -> weights of `shape`, float32."""
    import torch

    codes, scales = packed
    if form.name != "int8":
        codes = torch.stack([codes & 15, codes >> 4], 1).flatten()
    values = levels()[codes.long()] if form.name == "nf4" else codes.float() - (8 if form.name == "int4" else 0)
    grouped = values.view(len(scales), -1) * scales.float()[:, None]
    rows, width = shape[0], _width(shape)
    return grouped.reshape(rows, -1)[:, :width].reshape(tuple(shape))


def rounded(weight: "torch.Tensor", form: Format) -> "torch.Tensor":
    """The weights as they come back from the file."""
    return unpack(pack(weight, form), form, weight.shape)


@functools.cache
def levels() -> "torch.Tensor":
    """(16,) the levels of nf4 from -1 to 1: quantiles of the normal distribution, 8 above zero and 7 below it, the
    outermost of a share of 1/32 and 1/30 halved.
    """
    import torch

    edge = 1 - (1 / 32 + 1 / 30) / 2  # the outer quantile, 0.9677083
    above = torch.special.ndtri(torch.linspace(edge, 0.5, 9, dtype=torch.float64)[:-1])
    below = -torch.special.ndtri(torch.linspace(edge, 0.5, 8, dtype=torch.float64)[:-1])
    quantiles = torch.cat([above, below, torch.zeros(1, dtype=torch.float64)]).sort().values
    return (quantiles / quantiles.max()).float()


def _width(shape: "torch.Size | tuple[int, ...]") -> int:
    """Numbers in a row."""
    width = 1
    for size in shape[1:]:
        width *= size
    return width


def _grouped(weight: "torch.Tensor", form: Format) -> "torch.Tensor":
    """(rows, ...) -> (n_groups, group), rows padded with zeros to whole groups."""
    import torch

    rows = weight.reshape(len(weight), -1)
    width = rows.shape[1]
    group = form.group or width + width % 2
    return torch.nn.functional.pad(rows, (0, -width % group)).contiguous().view(-1, group)
