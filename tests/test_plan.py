"""Plans from groups of layers: which are made, which is asked first, which is taken, and when all is left as it is."""

import math

import pytest

from lib.errors import ParameterError
from lib.measure import verdict
from lib.optimize import plan
from lib.optimize.plan import Answer, Effect, Group


def effect(name, times, nll, mos=0.0):
    return Effect(
        Group("block", name, (f"{name}.a", f"{name}.b")), times, {"asr_nll": nll, "mos_predicted": mos}
    )


EFFECTS = [
    effect("cheap", 1.5, 0.0),  # gains, loses nothing
    effect("dear", 1.6, 0.9),  # gains as much, nearly all that is allowed
    effect("slow", 0.8, -0.2),
    effect("deaf", 1.3, 5.0),  # loses five times what is allowed
]


def said(word, recommended, times, ci=(0.9, 1.1), smaller=1.0):
    """An answer. ci: ends of the interval, as shares of times."""
    return Answer(
        word, recommended, "because", times, low=times * ci[0], high=times * ci[1], n=12, smaller=smaller
    )


def test_blocks_end_with_the_first_number():
    for name, wanted in {
        "decoder/dec/resblocks.3.convs.1": "decoder/dec/resblocks.3",
        "decoder/dec.resblocks.3.convs.1": "decoder/dec.resblocks.3",
        "decoder/conv_pre": "decoder/conv_pre",
        "front/blocks.0": "front/blocks.0",
        "model/encoder.layers.11.fc1": "model/encoder.layers.11",
        "acoustic/": "acoustic/",
    }.items():
        assert plan.block(name) == wanted


def test_plans_are_nested_and_leave_out_what_is_slower_or_hopeless():
    made = plan.plans("int8-static", {"method": "minmax"}, EFFECTS)
    assert [[g.name for g in p.groups] for p in made] == [["cheap", "dear"], ["cheap"]]
    assert math.isclose(made[0].times, 1.5 * 1.6) and made[0].loss == pytest.approx(0.92)
    assert made[0].layers == ["cheap.a", "cheap.b", "dear.a", "dear.b"] and made[0].arguments == {
        "method": "minmax"
    }
    assert len(plan.plans("x", {}, [effect(str(i), 1.1, 0.0) for i in range(30)], most=4)) <= 4
    only = plan.plans("x", {}, [EFFECTS[3]])
    assert [p.groups[0].name for p in only] == ["deaf"]  # better asked about than guessed
    assert plan.plans("x", {}, [EFFECTS[2]]) == []


def test_the_fastest_that_may_be_taken_is_taken():
    made = plan.plans("int8-static", {}, EFFECTS)
    asked = []

    def ask(one):
        asked.append([g.name for g in one.groups])
        good = len(one.groups) == 1
        return said("without audible loss" if good else "worse", good, 1.4 if good else 2.2)

    chosen = plan.auto(made, ask)
    assert asked == [["cheap", "dear"], ["cheap"]] and [g.name for g in chosen.plan.groups] == ["cheap"]
    assert chosen.reason == "int8-static on cheap: because" and len(chosen.asked) == 2
    asked.clear()
    first = plan.auto(made, lambda one: asked.append(one) or said("without audible loss", True, 2.3))
    assert len(asked) == 1 and len(first.plan.groups) == 2  # the rest was not even guessed to be faster


def test_what_is_fast_but_not_worth_having_is_left():
    made = plan.plans("int8-static", {}, EFFECTS)
    chosen = plan.auto(made, lambda one: said("undecided", False, 2.0), whose="joe")
    assert chosen.plan is None and chosen.reason.startswith("leave it in fp32: none of 2 plans may be taken")
    none = "leave it in fp32: no group of layers makes joe faster by more than it differs from itself"
    assert plan.auto([], None, whose="joe").reason == none


def test_a_group_that_gains_less_than_the_baseline_differs_from_itself_gains_nothing():
    """1.09 times as fast, where the baseline is 1.42 times as fast as itself."""
    noise, real = (
        Effect(Group("block", name, (name,)), times, {}, spread)
        for name, times, spread in (("noise", 1.09, 1.42), ("real", 1.04, 1.03))
    )
    assert not noise.faster and real.faster
    assert [[g.name for g in p.groups] for p in plan.plans("x", {}, [noise, real])] == [["real"]]
    assert plan.plans("x", {}, [noise]) == []


def test_the_speed_that_only_a_whole_stage_has_is_found_and_its_lossy_blocks_are_left_out():
    """Of the decoder's blocks none is faster alone. The decoder as a whole is, and is heard."""

    def of(axis, name, layers, times, nll):
        return Effect(Group(axis, name, layers), times, {"asr_nll": nll, "mos_predicted": 0.0}, 1.03)

    decoder = tuple(f"dec/{i}" for i in range(4))
    found = [
        of("type", "Conv", (*decoder, "enc/0"), 1.3, 11.0),
        of("stage", "dec", decoder, 1.4, 12.0),
        of("stage", "flow", ("flow/0",), 1.1, 0.3),
        of("stage", "enc", ("enc/0",), 0.94, 0.1),
        of("block", "dec/0", decoder[:1], 1.01, 0.1),
        of("block", "dec/1", decoder[1:2], 0.99, -0.1),
        of("block", "dec/2", decoder[2:3], 1.0, 0.2),
        of("block", "dec/3", decoder[3:], 1.02, 7.0),
        of("block", "flow/0", ("flow/0",), 1.05, 0.3),
    ]
    made = plan.plans("int8-static", {}, found)
    offered = {p.said.removeprefix("int8-static on "): p for p in made}
    assert list(offered) == ["dec (less dec/3), flow", "dec (less dec/3)", "Conv (less dec/3)", "flow/0"]
    assert "enc" not in " ".join(offered) and "dec" not in offered  # slower; twelve times what is allowed
    best = made[0]
    assert set(best.layers) == {*decoder[:3], "flow/0"} and best.loss == pytest.approx(0.3 + 0.2)
    assert best.times == pytest.approx(1.1 * 1.4**0.75)
    assert len({frozenset(p.layers) for p in made}) == len(made)
    assert [p.promise for p in made] == sorted((p.promise for p in made), reverse=True)
    risky = of("block", "dec/2", decoder[2:3], 1.0, 0.99)  # a guess between what is allowed and what is hopeless
    flow = of("stage", "flow", ("flow/0",), 1.1, 0.7)
    dared = plan.plans("x", {}, [*found[:2], flow, *found[4:6], risky, *found[7:]])
    assert dared[0].said == "x on dec (less dec/3), flow" and 1 < dared[0].loss < 2  # the fastest is asked all the same
    bearable = [of("stage", "dec", decoder, 1.4, 0.9), *found[4:]]
    assert plan.plans("x", {}, bearable)[0].said == "x on dec"  # what bears it as a whole loses no block
    only = plan.plans("x", {}, [found[1], found[7]])  # of one block the loss is known, of the others nothing
    assert [p.said for p in only] == ["x on dec (less dec/3)"]
    assert [p.said for p in plan.plans("x", {}, [found[1]])] == ["x on dec"]  # better asked about than guessed


def test_only_what_is_significantly_faster_is_taken_for_the_fastest():
    """The one that looks fastest may be as slow as the baseline; the slower of two that are sure of it is not taken."""
    parts = {times: plan.plans("x", {}, [effect(str(times), times, 0.0)])[0] for times in (1.3, 1.25, 1.2)}
    answers = {
        1.3: said("without audible loss", True, 1.5, (0.6, 1.4), smaller=2.0),
        1.25: said("without audible loss", True, 1.1, (0.95, 1.05)),
        1.2: said("without audible loss", True, 1.15, (0.95, 1.05)),
    }

    def ask(one):
        return answers[round(one.times, 2)]

    chosen = plan.auto(parts.values(), ask)
    assert chosen.plan is parts[1.2] and len(chosen.asked) == 3 and "not faster" not in chosen.reason
    answers[1.2] = said("worse", False, 1.15, (0.95, 1.05))
    assert plan.auto(parts.values(), ask).plan is parts[1.25]
    answers[1.25] = said("without audible loss", True, 1.1, smaller=1.2)
    smallest = plan.auto(parts.values(), ask)
    assert smallest.plan is parts[1.3]  # of those left the smallest, not the fastest
    assert smallest.reason == "x on 1.3, smaller, not faster (1.50 times as fast [0.90, 2.10]): because"
    answers[1.3] = Answer("without audible loss", True, "because", 2.0, smaller=2.0)  # timed too few times
    assert "smaller, not shown to be faster (2.00 times as fast, without an" in plan.auto(parts.values(), ask).reason
    assert len(plan.auto(parts.values(), ask, most=2).asked) == 2


def test_groups_of_nothing_are_refused():
    class Voice:
        name, target = "joe", "torch/cpu"

    with pytest.raises(ParameterError, match="joe on torch/cpu has no layers"):
        plan.groups(Voice(), {})
    with pytest.raises(ParameterError, match="unknown axis 'blocks': did you mean 'block'?"):
        plan.groups(Voice(), {"decoder/a": "Conv"}, axes=["blocks"])


@pytest.mark.parametrize("times", [0.9, 1.0, 1.005, 1.01, 1.3])
@pytest.mark.parametrize("ci", [None, (0.8, 1.5), (1.0, 1.5), (1.004, 1.5)])
def test_faster_is_what_the_verdict_calls_so(times, ci):
    assert plan.surely_faster(times, ci) == verdict.Gain("rtf", times, *(ci or (None, None))).saves
