"""Which layers of a system may be treated, and how, so that it gets faster and nobody hears it? A plan from what
treating each group of them alone does, and an answer that may be "leave it in fp32".

Groups are tried alone (`lib.studies.sensitivity` does that, with this module's groups). What several do together is
guessed to be the sum of what each does alone. It is not: with fixed scales a decoder is 1.37 times as fast as a whole
where each of its ten blocks alone gives 0.97 to 1.03 (vits-joe on two cores, November 2026). So plans are put together
of every axis that was screened, fine groups and coarse ones, and guesses only order them: whether one is without
audible loss, and faster, is asked of the whole plan, the most promising first.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.errors import ParameterError, unknown
from lib.metrics import LEAST_SAVING
from lib.systems.model import Model

log = logging.getLogger(__name__)

LEAVE = "leave it in fp32"
AXES = ("type", "stage", "block")  # how layers are grouped, from coarse to fine
NOISE = 0.02  # share of a margin that is charged for every group: what loses nothing measurable is not free
ALLOWED = 1.0  # margins: a group that loses more alone is lossy
HOPELESS = 2.0  # margins that a plan may be guessed to lose and still be asked about: guesses err to both sides


@dataclass(frozen=True)
class Group:
    """Layers that are treated together. axis: of AXES, what they share; layers: their names."""

    axis: str
    name: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """What treating one group alone did. times: how many times as fast the whole system is then; losses: metric ->
    change for the worse, in margins (1.0: all that is allowed); spread: how far the baseline lay from itself in the
    same turns, as a factor of 1 or more.
    """

    group: Group
    times: float
    losses: Mapping[str, float]
    spread: float = 1.0

    @property
    def faster(self) -> bool:
        """Whether it gains more than the baseline gained over itself: the rest is what a clock says of nothing."""
        return self.times > self.spread

    @property
    def loss(self) -> float:
        """Of the metric that loses most, in margins; at least NOISE."""
        return max(NOISE, *self.losses.values()) if self.losses else NOISE

    @property
    def gain(self) -> float:
        """Logarithm of how many times as fast it is: the guess for several groups is the sum of theirs."""
        return math.log(self.times)


@dataclass(frozen=True)
class Plan:
    """A technique on some groups. times, loss: guessed from those of the groups alone."""

    technique: str
    arguments: Mapping[str, Any]
    groups: tuple[Group, ...]
    times: float
    loss: float

    @property
    def layers(self) -> list[str]:
        """The layers that are treated, each once."""
        return list(dict.fromkeys(name for group in self.groups for name in group.layers))

    @property
    def promise(self) -> float:
        """What it is guessed to gain; of one that is guessed to lose HOPELESS half of it, for it may yet be borne."""
        return math.log(self.times) * (1 - self.loss / (2 * HOPELESS))

    @property
    def said(self) -> str:
        """As in "int8-static on flow, decoder"."""
        return f"{self.technique} on {', '.join(group.name for group in self.groups)}"


@dataclass(frozen=True)
class Answer:
    """What became of a plan. word: of `verdict.quality_verdict`; recommended: whether it is worth having; why: in
    words; times: how many times as fast it is, measured, with its 95 % interval (low, high) of n sentences where it has
    one; undecided: whether that it is worth having may still come out; slower: whether it is so by the whole interval;
    smaller: how many times as small, 1.0 where it is not.
    """

    word: str
    recommended: bool
    why: str
    times: float
    undecided: bool = False
    slower: bool = False
    low: float | None = None
    high: float | None = None
    n: int | None = None
    smaller: float = 1.0

    @property
    def ci(self) -> tuple[float, float] | None:
        """The interval of `times`."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def faster(self) -> bool:
        """Whether it is so significantly, by the rule of the verdict."""
        return surely_faster(self.times, self.ci)

    @property
    def gained(self) -> str:
        """What became of its speed, see `gained`."""
        return gained(self.times, self.ci, self.smaller)


@dataclass(frozen=True)
class Chosen:
    """The plan to take, or None: then `reason` says why the system is left as it is. asked: every plan that was asked
    about, with its answer.
    """

    plan: Plan | None
    reason: str
    asked: tuple[tuple[Plan, Answer], ...] = field(default_factory=tuple)


def groups(system: Model, layers: Mapping[str, str], *, axes: Sequence[str] = AXES) -> list[Group]:
    """The groups of some layers (name "<stage>/<path>" -> type): by type, by stage, by block of a stage.

    ParameterError where there are no layers, and for an unknown axis.

    >>> layers = {"dec/ups.0": "Up", "dec/blocks.0.a": "Conv", "dec/blocks.0.b": "Conv", "dec/blocks.1.a": "Conv"}
    >>> [group.name for group in groups(None, layers)]
    ['Up', 'Conv', 'dec', 'dec/ups.0', 'dec/blocks.0', 'dec/blocks.1']
    """
    if not layers:
        raise ParameterError(f"{system.name} on {system.target} has no layers that this technique could treat")
    for axis in axes:
        if axis not in AXES:
            raise unknown("axis", axis, AXES)
    keys = {"type": lambda name: layers[name], "stage": lambda name: name.partition("/")[0], "block": block}
    made = []
    for axis in axes:
        parts: dict[str, list[str]] = {}
        for name in layers:
            parts.setdefault(keys[axis](name), []).append(name)
        made += [Group(axis, key, tuple(names)) for key, names in parts.items()]
    return made


def block(name: str) -> str:
    """The block of its stage in which a layer lies: its name up to the first number, or its first part.

    >>> block("decoder/dec/resblocks.3.convs.1"), block("encoder/layers.2.attention.q"), block("flow/in/Conv")
    ('decoder/dec/resblocks.3', 'encoder/layers.2', 'flow/in')
    """
    stage, _, path = name.partition("/")
    numbered = re.match(r"(?:[^.\d/_]+[./_]?)*?[A-Za-z_]*[._/]\d+(?=$|[./_])", path)
    return f"{stage}/{numbered.group(0) if numbered else re.split('[./]', path)[0]}"


def plans(
    technique: str, arguments: Mapping[str, Any], effects: Sequence[Effect], *, most: int = 6
) -> list[Plan]:
    """Plans worth asking about, the most promising first; none where no group is faster by more than its spread.

    Of the finest groups that are, nested plans: the group that gains most for what it loses first, then the next. Of
    the coarser ones each alone, and nested likewise, where one that loses more than is allowed is `less` its lossy
    parts. effects: of groups of one axis or of several; those of one axis do not overlap. most: nested plans of the
    finest groups; where there are more, every k-th.
    """
    by_axis = [found for axis in AXES[::-1] if (found := [e for e in effects if e.group.axis == axis])]
    fine, *coarser = by_axis or [[]]

    def plan(parts: Sequence[Effect]) -> Plan:
        times, loss = math.exp(sum(e.gain for e in parts)), sum(e.loss for e in parts)
        return Plan(technique, dict(arguments), tuple(e.group for e in parts), times, loss)

    nested = [plan(parts) for parts in _nested(e for e in fine if e.faster)]
    hopeful = [one for one in nested if one.loss <= HOPELESS]
    made = hopeful[::-1][:: max(1, math.ceil(len(hopeful) / most))][:most]
    for found in coarser:
        wholes = [e for e in found if e.faster]
        borne = [e if e.loss <= ALLOWED else less(e, fine) for e in wholes]
        made += [plan(parts) for parts in (*_nested(borne), *([e] for e in (*borne, *wholes)))]
    apart = list({frozenset(one.layers): one for one in made[::-1]}.values())[::-1]
    kept = [one for one in apart if one.loss <= HOPELESS]
    if not kept:  # better asked about than guessed
        kept = sorted([*apart, *nested[:1]], key=lambda one: one.loss)[:1]
    return sorted(kept, key=lambda one: one.promise, reverse=True)


def less(effect: Effect, fine: Sequence[Effect]) -> Effect:
    """A coarse group without those finer ones in it that lose more than is allowed; as it is where none does, or where
    nothing else is in it.

    Of its gain it is guessed to keep the share of the layers that are left, and to lose what the other finer ones lose
    together, never more than the whole.

    >>> whole = Effect(Group("stage", "dec", ("dec/0", "dec/1")), 1.44, {"asr_nll": 9.0})
    >>> parts = {"dec/0": 0.5, "dec/1": 8.0}
    >>> left = less(whole, [Effect(Group("block", of, (of,)), 1.0, {"asr_nll": lost}) for of, lost in parts.items()])
    >>> left.group.name, left.group.layers, round(left.times, 2), left.losses
    ('dec (less dec/1)', ('dec/0',), 1.2, {'asr_nll': 0.5})
    """
    held = set(effect.group.layers)
    inside = [e for e in fine if held & set(e.group.layers)]
    lossy = [e for e in inside if e.loss > ALLOWED]
    dropped = {name for e in lossy for name in e.group.layers}
    left = tuple(name for name in effect.group.layers if name not in dropped)
    if not lossy or not left:
        return effect
    borne = [e for e in inside if e.loss <= ALLOWED]
    losses = {m: min(loss, sum(e.losses.get(m, 0.0) for e in borne)) for m, loss in effect.losses.items()}
    name = f"{effect.group.name} (less {', '.join(e.group.name for e in lossy)})"
    times = effect.times ** (len(left) / len(held))
    return Effect(Group(effect.group.axis, name, left), times, losses, effect.spread)


def _nested(effects: Iterable[Effect]) -> list[list[Effect]]:
    """The first, the first two, and so on, in the order of what they gain for what they lose."""
    ranked = sorted(effects, key=lambda e: e.gain / e.loss, reverse=True)
    return [ranked[:number] for number in range(1, len(ranked) + 1)]


def auto(
    candidates: Sequence[Plan], ask: Callable[[Plan], Answer], *, whose: str = "the system", most: int = 4
) -> Chosen:
    """The fastest plan of those that may be taken and are significantly faster, at most `most` being asked about; where
    none is, the smallest that may be taken, which is then said to be no faster; else none. With the reasons.

    ask: makes the variant, judges and times it against its baseline. The most promising are asked first; what is not
    even guessed to be faster than what is known to be is not asked.
    """
    asked: list[tuple[Plan, Answer]] = []
    for plan in sorted(candidates, key=lambda plan: plan.promise, reverse=True):
        best = max((a.times for _, a in asked if a.recommended and a.faster), default=0.0)
        if len(asked) == most or best >= plan.times:
            continue
        answer = ask(plan)
        log.info(
            "%s, %s on %d layers: %s (%s)", whose, plan.technique, len(plan.layers), answer.word, answer.why
        )
        asked.append((plan, answer))
    good = [(plan, answer) for plan, answer in asked if answer.recommended]
    faster = [(plan, answer) for plan, answer in good if answer.faster]
    if faster:
        plan, answer = max(faster, key=lambda pair: pair[1].times)
        return Chosen(plan, f"{plan.said}: {answer.why}", tuple(asked))
    if good:
        plan, answer = max(good, key=lambda pair: pair[1].smaller)
        return Chosen(plan, f"{plan.said}, {answer.gained}: {answer.why}", tuple(asked))
    if not asked:
        return Chosen(None, f"{LEAVE}: no group of layers makes {whose} faster by more than it differs from itself")
    said = "; ".join(f"{plan.technique} on {len(plan.layers)} layers: {answer.why}" for plan, answer in asked)
    return Chosen(None, f"{LEAVE}: none of {len(asked)} plans may be taken ({said})", tuple(asked))


def gained(times: float, ci: tuple[float, float] | None, smaller: float = 1.0) -> str:
    """What became of the speed of a variant that may be taken: only what is significantly faster is called so.

    >>> gained(1.31, (1.2, 1.42)), gained(1.11, (0.92, 1.34), 1.23)
    ('1.31 times as fast [1.20, 1.42]', 'smaller, not faster (1.11 times as fast [0.92, 1.34])')
    >>> gained(1.11, None)
    'not shown to be faster (1.11 times as fast, without an interval)'
    """
    also = "smaller, " if smaller > 1 else ""
    if ci is None:
        return f"{also}not shown to be faster ({times:.2f} times as fast, without an interval)"
    said = f"{times:.2f} times as fast [{ci[0]:.2f}, {ci[1]:.2f}]"
    return said if surely_faster(times, ci) else f"{also}not faster ({said})"


def surely_faster(times: float, ci: tuple[float, float] | None) -> bool:
    """Whether something is faster by more than chance and by as much as counts: `verdict.Gain.saves` of a time."""
    return ci is not None and times >= LEAST_SAVING and ci[0] > 1
