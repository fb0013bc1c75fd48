"""A study of hours outlives its pieces: each that breaks is a row that says why, and an interrupt still ends it all."""

import numpy as np
import pytest
from test_compression import Voice, answer, judged

from lib import optimize, results
from lib.errors import ParameterError
from lib.measure import evaluate
from lib.measure.verdict import Verdict
from lib.optimize.plan import Effect, Group
from lib.studies import compression, confirmed, failed, plans, promised, sensitivity
from lib.studies.menu import trial

HERE, THERE = "torch/cpu", "onnxruntime/cpu"
VARIANTS = ("int8", "nf4", "fp16")
GOOD = answer("without audible loss", True)
BROKEN = KeyError("dec")  # nothing that this project raises on purpose
SAID = "KeyError: 'dec'"


@pytest.fixture
def run(tmp_path):
    return results.Run("04_pruning_quantization", tmp_path)


def why(run):
    """(variant, target) -> why it did not run."""
    rows = results.read(run.path)
    return {(row.variant, row.target): row.detail for row in rows[rows.kind == "not_run"].itertuples()}


def fail(*given, **more):
    raise BROKEN


def fail_for(name, otherwise):
    """As `otherwise`, but it breaks where this is among what it is given, or the target or variant of that."""

    def step(*given, **more):
        if name in {part for g in (*given, *more.values()) for part in (str(g), *vars_of(g))}:
            fail()
        return otherwise(*given, **more)

    return step


def vars_of(given):
    return [getattr(given, part, "") for part in ("target", "variant")]


def voice(target, variant="baseline"):
    made = Voice([0.0], 1.0)
    made.target, made.variant, made.size_mb = target, variant, 1.0
    return made


def test_what_breaks_is_a_row_and_an_interrupt_is_none(run):
    names = ("voice", "int8", HERE)
    assert failed.tried(run, names, lambda: 3) == 3 and not run.path.exists()

    def raising(error):
        def step():
            raise error

        return step

    for error, said in (
        (ParameterError("give a share"), "give a share"),
        (BROKEN, SAID),
        (ImportError(), "ImportError: "),  # a row that says nothing would break the contract
    ):
        assert failed.tried(run, names, raising(error)) is None
        assert why(run) == {("int8", HERE): said}
    with pytest.raises(KeyboardInterrupt):
        failed.tried(run, names, raising(KeyboardInterrupt()))


@pytest.fixture
def study(run, monkeypatch, tmp_path):
    """Tries three variants on two targets, of which nothing is real; how many have an answer."""
    clip = evaluate.Clip("a", "a text", np.zeros(9, np.float32), 22_050)

    def baseline(run, system, sentences, scorer, at=""):
        return confirmed.Baseline(system, (), evaluate.Judged((clip,), (), {}))

    def hear(run, base, made, scorer, **more):
        return confirmed.Heard(made, Verdict("without audible loss", ()), (clip,))

    def make(base, steps, name, folder, **more):
        return voice(base.target, name)

    monkeypatch.setattr(compression.systems, "load", lambda name, target, threads: voice(target))
    monkeypatch.setattr(confirmed, "baseline", baseline)
    monkeypatch.setattr(confirmed, "make", make)
    monkeypatch.setattr(confirmed, "hear", hear)
    monkeypatch.setattr(confirmed, "weigh", lambda run, base, heard, *given, **more: [GOOD] * len(heard))
    monkeypatch.setattr(compression.evaluate, "keep_clip", lambda *given: None)
    trials = [trial("voice", target, variant) for target in (HERE, THERE) for variant in VARIANTS]

    def answered():
        tried = compression.study(run, trials, (), (), None, tmp_path, keep=1)
        assert len(tried) == 6
        return sum(one.answer is not None for one in tried)

    return answered


@pytest.mark.parametrize("of", ["baseline", "weigh"])
def test_what_breaks_for_a_target_costs_its_variants(run, study, monkeypatch, of):
    real = getattr(confirmed, of)

    def breaking(run, given, *more, **named):
        return (
            fail()
            if HERE in (vars_of(given) + vars_of(getattr(given, "system", None)))
            else real(run, given, *more, **named)
        )

    monkeypatch.setattr(confirmed, of, breaking)
    assert study() == 3
    assert why(run) == {(name, HERE): SAID for name in VARIANTS}


def test_a_clip_that_cannot_be_kept_costs_its_variant(run, study, monkeypatch):
    monkeypatch.setattr(
        compression.evaluate,
        "keep_clip",
        lambda run, names, *given: fail() if names[1:] == ("nf4", THERE) else None,
    )
    assert study() == 5
    assert why(run) == {("nf4", THERE): SAID}


def test_an_interrupt_ends_a_study(study, monkeypatch):
    def interrupted(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(confirmed, "hear", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study()


@pytest.fixture
def published(run, monkeypatch, tmp_path):
    """Times the published size, of which nothing is real; what was timed."""

    class Timed:
        why_not = ""

    monkeypatch.setattr(promised.systems, "load", lambda name, target, threads: voice(target))
    monkeypatch.setattr(
        promised.confirmed, "make", lambda base, steps, name, folder, resume: voice(base.target, name)
    )
    candidate = promised.bench.Candidate
    monkeypatch.setattr(
        candidate, "of", staticmethod(lambda one: candidate(promised.BASE, one.variant, one.target, {}))
    )
    monkeypatch.setattr(
        promised.bench, "bench", lambda candidates, *given, **more: dict.fromkeys(candidates, Timed)
    )
    monkeypatch.setattr(promised.bench, "write", lambda run, benched: None)
    beside = []
    monkeypatch.setattr(
        promised.confirmed, "lay_beside", lambda run, benched, label: beside.append(benched[label])
    )
    return lambda: list(promised.published(run, ["A text."], tmp_path, extent="study"))


def test_a_variant_of_the_published_size_that_breaks_costs_its_row(run, published, monkeypatch):
    all_of_them = published()
    for of, name, left in (
        (promised.confirmed, "pruned-30", len(all_of_them) - 1),
        (promised.systems, HERE, sum(label.endswith(THERE) for label in all_of_them)),
    ):
        step = "make" if of is promised.confirmed else "load"
        with monkeypatch.context() as patch:
            patch.setattr(of, step, fail_for(name, getattr(of, step)))
            assert len(published()) == left
    assert why(run) == {("pruned-30", HERE): SAID, ("baseline", HERE): SAID}


def test_a_bench_of_the_published_size_that_breaks_is_a_row(run, published, monkeypatch):
    monkeypatch.setattr(promised.bench, "bench", fail)
    assert published() == [] and why(run) == {("baseline", HERE): SAID}


def test_a_bench_in_which_somebody_failed_is_not_kept(run, published, monkeypatch):
    seen = []

    def kept(folder, key, make, *, label, whole):
        seen.append(whole)
        return make()

    monkeypatch.setattr(promised, "kept", kept)
    published()
    one, other = (type("Timed", (), {"why_not": reason}) for reason in ("", "no memory"))
    assert seen[0]({"a": one}) and not seen[0]({"a": one, "b": other})


def test_a_group_or_a_technique_that_breaks_is_a_row(run, monkeypatch):
    groups = [Group("stage", name, (name,)) for name in ("encoder", "decoder")]
    effect = Effect(groups[1], 1.2, {"asr_nll": 0.1})
    monkeypatch.setattr(sensitivity.systems, "load", lambda name, target, threads: voice(target))
    monkeypatch.setattr(sensitivity.quantize, "treated", lambda technique, base: {})
    monkeypatch.setattr(sensitivity.planning, "groups", lambda base, layers, axes: groups)
    monkeypatch.setattr(sensitivity, "arguments_of", lambda technique: {})
    monkeypatch.setattr(evaluate, "speak", lambda system, sentences, seed: ())
    monkeypatch.setattr(evaluate, "judge", lambda clips, scorer, seed: judged(0.5, 4.0))
    monkeypatch.setattr(sensitivity, "_treated", lambda *given: sensitivity.Tried(groups[1], effect))
    monkeypatch.setattr(
        optimize,
        "make",
        lambda base, technique, *, variant, layers: (
            fail() if layers == ["encoder"] else voice(base.target, variant)
        ),
    )
    found = sensitivity.by_group(run, "voice", HERE, ["stage"], [], None)["int8-dynamic"]
    assert [one.why for one in found] == [SAID, ""] and found[1].effect == effect
    assert why(run) == {("int8-dynamic+stage+encoder@sensitivity", HERE): SAID}
    monkeypatch.setattr(evaluate, "judge", fail)
    found = sensitivity.by_group(run, "voice", HERE, ["stage"], [], None)
    assert sensitivity.finding(found["int8-dynamic"], "voice") == f"No group of voice could be treated: {SAID}."
    assert why(run)[("int8-dynamic@sensitivity", HERE)] == SAID


def test_a_plan_that_breaks_costs_its_row_and_the_next_is_asked(run, study, monkeypatch, tmp_path):
    tried = {
        "int8-dynamic": [
            sensitivity.Tried(group, Effect(group, times, {"asr_nll": 0.1}))
            for group, times in ((Group("block", "a", ("a",)), 1.4), (Group("block", "b", ("b",)), 1.2))
        ]
    }
    monkeypatch.setattr(
        confirmed, "timed", lambda run, base, variants, texts, **more: {base.variant: 0, variants[0].variant: 0}
    )
    monkeypatch.setattr(confirmed, "answer", lambda *given: GOOD)
    make = confirmed.make
    monkeypatch.setattr(
        confirmed,
        "make",
        lambda base, steps, name, *given, **more: (
            fail() if name.endswith("-2") else make(base, steps, name, "")
        ),
    )
    given = (run, "voice", HERE, tried, [], [], [], None, tmp_path)
    assert plans.plan_of(*given).said.startswith("voice on torch/cpu: take int8-dynamic on a, judged on")
    assert why(run) == {("int8-dynamic-2", HERE): SAID}
    monkeypatch.setattr(confirmed, "baseline", fail)
    assert plans.plan_of(*given).said == f"voice on torch/cpu: not planned: {SAID}."
    assert why(run)[("auto", HERE)] == SAID
