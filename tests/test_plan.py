"""Plans from groups of layers: which are made, which is asked first, which is taken, and when all is left as it is."""

import math

import pytest

from lib.errors import ParameterError
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
        return Answer("without audible loss" if good else "worse", good, "because", 1.4 if good else 2.2)

    chosen = plan.auto(made, ask)
    assert asked == [["cheap", "dear"], ["cheap"]] and [g.name for g in chosen.plan.groups] == ["cheap"]
    assert chosen.reason == "int8-static on cheap: because" and len(chosen.asked) == 2
    asked.clear()
    first = plan.auto(made, lambda one: asked.append(one) or Answer("without audible loss", True, "yes", 2.3))
    assert len(asked) == 1 and len(first.plan.groups) == 2  # the rest was not even guessed to be faster


def test_what_is_fast_but_not_worth_having_is_left():
    made = plan.plans("int8-static", {}, EFFECTS)
    chosen = plan.auto(made, lambda one: Answer("undecided", False, "12 sentences more", 2.0), whose="joe")
    assert chosen.plan is None and chosen.reason.startswith("leave it in fp32: none of 2 plans may be taken")
    assert plan.auto([], None, whose="joe").reason == "leave it in fp32: no group of layers makes joe faster"


def test_groups_of_nothing_are_refused():
    class Voice:
        name, target = "joe", "torch/cpu"

    with pytest.raises(ParameterError, match="joe on torch/cpu has no layers"):
        plan.groups(Voice(), {})
    with pytest.raises(ParameterError, match="unknown axis 'blocks': did you mean 'block'?"):
        plan.groups(Voice(), {"decoder/a": "Conv"}, axes=["blocks"])
