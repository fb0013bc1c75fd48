"""Which layers of a system may be treated, and how, so that it gets faster and nobody hears it? A plan from what
treating each group of them alone does, and an answer that may be "leave it in fp32".

Groups are tried alone (`lib.studies.sensitivity` does that, with this module's groups). The plans are nested: the group
that gains most for what it loses first, then the next. What groups lose together is guessed to be the sum of what each
loses alone, which is only good enough to order the plans: whether one is without audible loss, and faster, is asked of
the whole plan, the most promising first, until one is.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.errors import ParameterError, unknown
from lib.systems.model import Model

log = logging.getLogger(__name__)

LEAVE = "leave it in fp32"
AXES = ("type", "stage", "block")  # how layers are grouped, from coarse to fine
NOISE = 0.02  # share of a margin that is charged for every group: what loses nothing measurable is not free
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
    change for the worse, in margins (1.0: all that is allowed).
    """

    group: Group
    times: float
    losses: Mapping[str, float]

    @property
    def loss(self) -> float:
        """Of the metric that loses most, in margins; at least NOISE."""
        return max(NOISE, *self.losses.values()) if self.losses else NOISE

    @property
    def gain(self) -> float:
        """Share of the time that is saved, as a logarithm: gains of several groups roughly add up."""
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


@dataclass(frozen=True)
class Answer:
    """What became of a plan. word: of `verdict.quality_verdict`; recommended: whether it is worth having; why: in
    words; times: how many times as fast it is, measured; undecided: whether that it is worth having may still come out;
    slower: whether it is so by the whole interval.
    """

    word: str
    recommended: bool
    why: str
    times: float
    undecided: bool = False
    slower: bool = False


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
    """Nested plans, the fastest first: blocks in the order of what they gain for what they lose, while they gain.

    effects: of groups of one axis that do not overlap. most: plans returned; where there are more, every k-th.
    """
    useful = sorted((e for e in effects if e.times > 1), key=lambda e: e.gain / e.loss, reverse=True)
    made, gain, loss = [], 0.0, 0.0
    for number, effect in enumerate(useful, 1):
        gain, loss = gain + effect.gain, loss + effect.loss
        made.append(
            Plan(technique, dict(arguments), tuple(e.group for e in useful[:number]), math.exp(gain), loss)
        )
    hopeful = [plan for plan in made if plan.loss <= HOPELESS] or made[:1]
    kept = hopeful[::-1][:: max(1, math.ceil(len(hopeful) / most))]
    return kept[:most]


def auto(
    candidates: Sequence[Plan], ask: Callable[[Plan], Answer], *, whose: str = "the system", most: int = 4
) -> Chosen:
    """The fastest plan that is without audible loss and worth having, with its reasons; at most `most` are asked about.

    ask: makes the variant, judges and times it against its baseline. Plans are asked the fastest first by their guess;
    of those that may be taken the fastest by measurement wins.
    """
    asked: list[tuple[Plan, Answer]] = []
    for plan in sorted(candidates, key=lambda plan: plan.times, reverse=True)[:most]:
        best = max((a.times for _, a in asked if a.recommended), default=0.0)
        if best >= plan.times:
            break  # it was not even guessed to be faster than what is known to be good
        answer = ask(plan)
        log.info(
            "%s, %s on %d layers: %s (%s)", whose, plan.technique, len(plan.layers), answer.word, answer.why
        )
        asked.append((plan, answer))
    good = [(plan, answer) for plan, answer in asked if answer.recommended]
    if good:
        plan, answer = max(good, key=lambda pair: pair[1].times)
        names = ", ".join(group.name for group in plan.groups)
        return Chosen(plan, f"{plan.technique} on {names}: {answer.why}", tuple(asked))
    if not asked:
        return Chosen(None, f"{LEAVE}: no group of layers makes {whose} faster")
    said = "; ".join(f"{plan.technique} on {len(plan.groups)} groups: {answer.why}" for plan, answer in asked)
    return Chosen(None, f"{LEAVE}: none of {len(asked)} plans may be taken ({said})", tuple(asked))
