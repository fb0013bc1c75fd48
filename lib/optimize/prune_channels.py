"""What does a network lose, in bytes, time and quality, when channels, hidden units and heads are really taken out?

`structured` ranks the units of each group (`units`), removes the least important share of them, and leaves smaller
dense tensors: what runs them runs less. Convolutions lose channels on both sides, so that half the channels are a
quarter of the weights and of the products.

Importance is the size of all weights that go with a unit (l1, l2), or what the output would lose without it (taylor).
The latter needs sentences, and gradients of the output v . y for random signs v: the mean square of the sum of w * dw
over a unit's weights is, to first order, the squared change of the output when they become zero. (Molchanov et al.
2019, arXiv:1906.10771, take the gradient of a training loss, which of a network against itself is zero.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lib.errors import ParameterError, unknown
from lib.optimize import selection, units
from lib.optimize.units import Group
from lib.optimize.variant import Technique
from lib.systems.model import Model

if TYPE_CHECKING:
    import torch

Strings = Sequence[str]
IMPORTANCES = ("l1", "l2", "taylor", "random")
MULTIPLE = 8  # of channels and units that stay: kernels work on 8 or 16 at a time
DRAWS = 4  # of random signs, for each sentence


def structured(
    system: Model,
    *,
    share: float,
    importance: str = "l2",
    multiple: int = MULTIPLE,
    sentences: Strings = (),
    seed: int = 0,
    stages: Strings = (),
    types: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
) -> dict[str, Any]:
    """Take a share of each group's units out of a torch system, in place.

    importance: of IMPORTANCES, random being the control; multiple: the channels and units that stay are one of it,
    as near to the share as that allows; sentences: what the system reads for taylor, ids of `lib.corpora.gutenberg` or
    texts; stages, layers, skip: of groups, by their names; types: of `units.KINDS`, by default all of them.
    Returns what is needed to build the smaller structure again, and counts.
    """
    check_share(share)
    if importance not in IMPORTANCES:
        raise unknown("importance", importance, IMPORTANCES)
    if not isinstance(multiple, int) or multiple < 1:
        raise ParameterError(
            f"multiple is {multiple}: give how many channels a kernel works on at once, 1 for any"
        )
    chosen, of = chosen_groups(system, stages=stages, types=types, layers=layers, skip=skip)
    scores = _scores(system, chosen, importance, sentences, seed)
    before, numbers, parameters = units.shapes(system), {}, system.params_m
    removed = {}
    for group in chosen:
        kept = keep(scores[group.name], share, group, multiple)
        if len(kept) < group.n:
            units.cut(system, group, kept)
            removed[group.name] = [group.n, len(kept)]
            numbers |= {f"{layer}.{attribute}": each * len(kept) for layer, attribute, each in group.numbers}
    if not removed:
        raise ParameterError(
            f"nothing is removed from {system.name}: {share:g} of {', '.join(str(g.n) for g in chosen[:5])} units, "
            f"rounded to multiples of {multiple}, is none; take a larger share or a smaller multiple"
        )
    after = units.shapes(system)
    return {
        "groups": removed,
        "groups_of": of,
        "parameters_before": round(1e6 * parameters),
        "parameters_after": round(1e6 * system.params_m),
        "shapes": {name: shape for name, shape in after.items() if shape != before[name]},
        "numbers": numbers,
    }


def chosen_groups(system: Model, **selected: Strings) -> tuple[list[Group], int]:
    """The groups that a selection means, and how many there are."""
    known = units.groups(system)
    names = selection.select(
        {name: group.kind for name, group in known.items()},
        units.KINDS,
        system.modules,
        f"{system.name} on {system.target}",
        **selected,
    )
    return [known[name] for name in names], len(known)


def keep(scores: "torch.Tensor", share: float, group: Group, multiple: int = 1) -> list[int]:
    """Which units stay, in their order: the most important ones of each stratum; never none.

    scores: (n,); of heads any number may stay, of others a multiple of `multiple`, or all of fewer.
    """
    part = group.n // group.strata
    step = 1 if group.kind == "heads" or group.strata > 1 else multiple
    stay = step * math.floor(part * (1 - share) / step + 0.5)
    stay = min(part, max(stay, min(step, part), group.first, 1))
    ranked = scores.clone().double()
    ranked[: group.first] = math.inf
    best = ranked.view(group.strata, part).argsort(dim=1, descending=True, stable=True)[:, :stay]
    starts = part * best.new_tensor(range(group.strata))[:, None]
    return sorted((best + starts).flatten().tolist())


def check_share(share: float) -> None:
    """ParameterError for what is no share of something that is to be removed."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.1 <= share <= 0.9:
        raise ParameterError(f"share is {share!r}: give what is to be removed as 0.1 to 0.9, 0.3 for 30 %")


def _rebuild(system: Model, *, changed: Mapping[str, Any], **arguments: Any) -> None:
    units.resize(system, changed["shapes"], changed["numbers"])


def _scores(
    system: Model, groups: Sequence[Group], importance: str, sentences: Strings, seed: int
) -> dict[str, "torch.Tensor"]:
    """(n,) of each group: the more, the more is lost without the unit."""
    import torch

    if importance == "taylor":
        return _taylor(system, groups, sentences, seed)
    if len(sentences):
        raise ParameterError(
            f"sentences are read for the importance taylor alone, not for {importance}: leave them out"
        )
    if importance == "random":
        draw = torch.Generator().manual_seed(seed)
        return {group.name: torch.rand(group.n, generator=draw) for group in groups}
    power = 1 if importance == "l1" else 2
    weights = {}
    for group in groups:
        matrices = [(p, value) for p, value in _tensors(system, group) if value.ndim > 1]
        weights[group.name] = sum(_per_unit(value.abs() ** power, place, group) for place, value in matrices)
    return weights


def _taylor(system: Model, groups: Sequence[Group], sentences: Strings, seed: int) -> dict[str, "torch.Tensor"]:
    import torch

    from lib.optimize import heard

    draw = torch.Generator().manual_seed(seed)
    scores = {group.name: torch.zeros(group.n) for group in groups}
    by_stage: dict[str, list[Group]] = {}
    for group in groups:
        by_stage.setdefault(group.name.partition("/")[0], []).append(group)
    for stage, calls in heard.calls(system, list(by_stage), sentences, seed=seed).items():
        network, inside = system.modules[stage], by_stage[stage]
        tensors = {place: value for group in inside for place, value in _tensors(system, group)}
        values = [value for value in tensors.values() if value.is_floating_point()]
        wants = [value.requires_grad for value in values]
        for value in values:
            value.requires_grad_(True)
        for arguments, named, _ in calls:
            with torch.enable_grad():
                output = network(*arguments, **named)
                outputs = [y for y in _leaves(output) if y.requires_grad]
            for number in range(DRAWS):
                signs = [2.0 * torch.randint(0, 2, y.shape, generator=draw).to(y) - 1 for y in outputs]
                gradients = torch.autograd.grad(
                    outputs, values, signs, retain_graph=number < DRAWS - 1, allow_unused=True
                )
                slopes = {id(v): g for v, g in zip(values, gradients) if g is not None}
                for group in inside:
                    total = sum(
                        _per_unit(value.detach() * slopes[id(value)], place, group)
                        for place, value in _tensors(system, group)
                        if id(value) in slopes
                    )
                    scores[group.name] += torch.as_tensor(total).cpu() ** 2
        for value, wanted in zip(values, wants):
            value.requires_grad_(wanted)
    return scores


def _tensors(system: Model, group: Group) -> list[tuple[units.Place, "torch.Tensor"]]:
    return [(place, getattr(selection.layer(system, place.layer), place.tensor)) for place in group.places]


def _per_unit(values: "torch.Tensor", place: units.Place, group: Group) -> "torch.Tensor":
    """(n,): the sum of what belongs to each unit."""
    moved = values.detach().movedim(place.dim, 0)
    return moved.reshape(place.blocks, group.n, -1).sum((0, 2))


def _leaves(output: Any) -> list["torch.Tensor"]:
    """The tensors of an output: of a tuple, a mapping, one alone."""
    import torch

    if isinstance(output, torch.Tensor):
        return [output]
    parts = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, (tuple, list)) else ()
    )
    return [tensor for part in parts for tensor in _leaves(part)]


def _label(share: float = 0, **_: Any) -> str:
    check_share(share)
    return f"structured-{round(100 * share)}"


STRUCTURED = Technique("structured", structured, _rebuild, label=_label)
