"""What does a recogniser hear after it was taught: of hard speech, of clean speech, and of a domain it never met?

Rows of the results contract: `full@hard` is what full fine-tuning heard of the hard test clips, `full@clean` of the
same ones undamaged, `full@gsm` of the domain that is not trained, `full@unheard` of clean speech by voices that nobody
trained on; `full@hard-s1` with another seed; `full+int8-dynamic@hard` in 8 bits. Every change is paired, clip by clip:
of a method against the recogniser before, of 8 bits against single precision on the same runtime. Rows of hard clips
hold the errors by length and by noise (`misheard.grouped`), those of the training's loss its curve.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lib.corpora.domains import DOMAINS, HARD_SET, RATE, UNHEARD_SET, UNTRAINED, Clip
from lib.errors import ParameterError, SpeechError
from lib.measure import paired
from lib.measure.evaluate import Clip as ClipToHear
from lib.optimize import variant
from lib.studies import misheard, recogniser_speed
from lib.studies.misheard import BASELINE, SYSTEM, judged_on
from lib.studies.finetuning import elsewhere
from lib.studies.heard_by_seed import MARK
from lib.studies.recogniser import Taught, chosen, learnt_from, listening, trained
from lib.studies.recogniser_clips import Data, Plan
from lib.studies.recogniser_speed import REFERENCE, Form
from lib.training.outcome import SOURCES

if TYPE_CHECKING:
    import pandas as pd

    from lib.measure.benched import Benched
    from lib.results import Run
    from lib.systems.base import Recogniser
    from lib.training.recogniser import Learnt

log = logging.getLogger(__name__)
TARGETS = ("torch/cpu", "ctranslate2/cpu", "onnxruntime/cpu")  # where a taught recogniser is deployed
SEEDED = ("full", "lora-r8")  # methods that learn again with other seeds: between them the decision lies
IN_8_BITS = ("ctranslate2/cpu", "onnxruntime/cpu")  # there with weights of 8 bits, too
_SOURCE = "greedy, windows of 30 s; jiwer"
Heard = dict[str, tuple[misheard.Listened, ...]]  # test set -> what was heard of it


@dataclass(frozen=True)
class Lesson:
    """A method's run and what it hears since; taught is None before any."""

    taught: Taught | None
    heard: Heard


def baseline(run: Run, plan: Plan, clips: Data, *, threads: int = 2) -> Lesson:
    """The recogniser as it comes, its rows written."""
    target = judged_on(plan.system)
    if why := clips.left_out.get(UNHEARD_SET):
        run.not_run(plan.system, f"{BASELINE}@{UNHEARD_SET}", target, "wer", why)
    lesson = Lesson(None, judge(listener(None, plan, target, threads=threads), clips.tests))
    record(run, plan.system, BASELINE, target, lesson.heard)
    return lesson


def lessons(
    run: Run,
    methods: Sequence[str],
    plan: Plan,
    clips: Data,
    before: Lesson,
    folder: str | Path,
    *,
    factors: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (),
    threads: int = 2,
) -> dict[str, Lesson]:
    """Each method taught and heard, its rows written; one that cannot be is a `not_run` row that says why. factors: of
    the usual learning rate, that are tried; seeds: further ones of `SEEDED` at the rate that was chosen, whose rows say
    so behind the test set ("full@hard-s1").
    """
    done: dict[str, Lesson] = {}
    target, source = judged_on(plan.system), learnt_from(plan.system, clips)
    for name in sorted(methods, key=lambda method: method != "full"):  # the others are compared with it
        try:
            taught = chosen(name, plan, folder, source, factors=factors, threads=threads)
            lesson = Lesson(taught, judge(listener(taught, plan, target, threads=threads), clips.tests))
        except SpeechError as error:
            log.warning("%s: not run: %s", name, error)
            run.not_run(plan.system, f"{name}@{HARD_SET}", target, "wer", str(error))
            continue
        done[name] = lesson
        full = done["full"].heard if "full" in done and name != "full" else None
        record(run, plan.system, name, target, lesson.heard, before.heard, full)
        record_training(run, plan, taught)
    for seed in seeds:
        again = replace(plan, settings=replace(plan.settings, seed=seed))
        _with_seed(
            run, again, clips, before, {n: done[n] for n in SEEDED if n in done}, folder, source, threads
        )
    return done


def _with_seed(
    run: Run,
    plan: Plan,
    clips: Data,
    before: Lesson,
    first: Mapping[str, Lesson],
    folder: str | Path,
    source: str,
    threads: int,
) -> None:
    """The rows of methods taught once more, with the plan's seed; first: as they were taught before, full first."""
    target, suffix, full = judged_on(plan.system), f"{MARK}{plan.settings.seed}", None
    for name, lesson in first.items():
        try:
            taught = trained(name, plan, folder, source, rate=lesson.taught.rate, threads=threads)
            heard = judge(listener(taught, plan, target, threads=threads), clips.tests)
        except SpeechError as error:
            log.warning("%s%s: not run: %s", name, suffix, error)
            run.not_run(plan.system, f"{name}@{HARD_SET}{suffix}", target, "wer", str(error))
            continue
        record(run, plan.system, name, target, heard, before.heard, full, suffix=suffix)
        record_training(run, plan, taught, suffix)
        full = heard if name == "full" else full


def listener(
    taught: Taught | None,
    plan: Plan,
    target: str,
    *,
    int8: bool = False,
    threads: int = 2,
    folder: Path | None = None,
) -> Recogniser:
    """The recogniser after a run (None: before any) on a runtime, its weights in 8 bits or not. folder: where it is
    saved, so that it has a size and any process can load it.
    """
    model = listening(plan.system, target, threads)
    place = target.replace("/", "-")
    if taught is not None:
        model = variant.make(model, "finetuned", variant=taught.method, weights=str(taught.weights))
        if folder:
            variant.save(model, folder / f"{model.variant}-{place}", data=HARD_SET)
    if int8:
        name = "int8-dynamic" if taught is None else f"{taught.method}+int8-dynamic"
        model = variant.make(model, "int8-dynamic", variant=name)
        if folder:
            variant.save(model, folder / f"{model.variant}-{place}", data=HARD_SET)
    return model


def reachable(run: Run, plan: Plan) -> Plan:
    """The plan; where its recogniser cannot be had here, a row says why, and the embedded one takes its place."""
    try:
        if plan.system != SYSTEM:
            listening(plan.system)
    except SpeechError as error:
        log.warning("%s: not run: %s", plan.system, error)
        run.not_run(plan.system, f"{BASELINE}@{HARD_SET}", judged_on(plan.system), "wer", str(error))
        return replace(plan, system=SYSTEM)
    return plan


def judge(recogniser: Recogniser, tests: Mapping[str, Sequence[Clip]]) -> Heard:
    """What it hears of each test set."""
    return {name: misheard.listen(recogniser, clips) for name, clips in tests.items()}


def deploy(
    run: Run,
    plan: Plan,
    taught: Taught,
    clips: Data,
    folder: str | Path,
    *,
    targets: Sequence[str],
    threads: int = 2,
) -> list[Form]:
    """A taught recogniser on each of `TARGETS`, in single precision and in 8 bits: rows of errors on hard clips and of
    size. On PyTorch, where its training has rows of its own, it is called <method>+merged, and the recogniser as it
    comes is laid beside it.
    """
    tests = {HARD_SET: clips.tests[HARD_SET]}
    forms: list[Form] = []
    if plan.system == SYSTEM and REFERENCE in targets:
        untaught = listener(None, plan, REFERENCE, threads=threads)
        heard = judge(untaught, tests)
        record(run, plan.system, BASELINE, REFERENCE, heard)
        forms.append(_form(untaught, BASELINE, heard))
    whole: dict[str, Heard] = {}  # target -> what it hears in single precision
    for target, int8 in ((target, int8) for target in targets for int8 in (False, True)):
        if int8 and target not in IN_8_BITS:
            continue
        plain = f"{taught.method}+merged" if target == REFERENCE else taught.method
        name = f"{taught.method}+int8-dynamic" if int8 else plain
        try:
            if plan.system != SYSTEM:
                raise ParameterError(
                    f"{plan.system} is of the hub: optimum-cli and ct2-transformers-converter deploy it"
                )
            model = listener(taught, plan, target, int8=int8, threads=threads, folder=Path(folder))
            heard = judge(model, tests)
        except SpeechError as error:
            run.not_run(plan.system, f"{name}@{HARD_SET}", target, "wer", str(error))
            continue
        before = whole.get(target) if int8 else None
        if int8 or target != judged_on(
            plan.system
        ):  # there it was heard before, and compared with the baseline
            record(run, plan.system, name, target, heard, before, reference=f"{plain}@{HARD_SET}")
        if not int8:
            whole[target] = heard
        source = "bytes of its files and of the base's front end"
        run.add(plan.system, f"{name}@{HARD_SET}", target, "size_mb", model.size_mb, source=source)
        forms.append(_form(model, name, heard, taught.method, plain if int8 else ""))
    return forms


def timed(
    run: Run,
    forms: Sequence[Form],
    clips: Data,
    n: int,
    *,
    rounds: int = 3,
    threads: int = 2,
    energy: bool = False,
) -> dict[str, Benched]:
    """The bench of deployed forms, on the first n hard clips, with its rows; nothing with 0 clips."""
    hard = clips.tests[HARD_SET]
    said = [clip.utterance.text for clip in hard]
    heard = [ClipToHear(c.id, c.utterance.text, c.load(), RATE) for c in hard[:n]]
    return recogniser_speed.timed(run, forms, said, heard, rounds=rounds, threads=threads, energy=energy)


def record(
    run: Run,
    system: str,
    name: str,
    target: str,
    heard: Heard,
    before: Heard | None = None,
    full: Heard | None = None,
    *,
    reference: str = "",
    suffix: str = "",
) -> None:
    """The rows of what a variant heard. before: of the recogniser that it is compared with, `reference` by name or the
    baseline; full: of full fine-tuning, with which it is compared, too; suffix: behind the test set's name.
    """
    for tests, clips in heard.items():
        where = (system, f"{name}@{tests}{suffix}", target)
        against = (reference or f"{BASELINE}@{tests}") if before else ""
        for metric, estimate in misheard.rates(clips).items():
            told = {"baseline": against}
            if before:
                told["difference"] = misheard.change(before[tests], clips, metric)
            if full:
                told["to_full"] = paired.detail(misheard.change(full[tests], clips, metric))
            if (tests, metric) == (HARD_SET, "wer"):
                told["groups"] = misheard.groups(clips)
            paired.write(run, where, metric, estimate, _SOURCE, **told)


def record_training(run: Run, plan: Plan, taught: Taught, suffix: str = "") -> None:
    """The rows of what a method took to learn, on the device where it did. suffix: behind the test set's name."""
    learnt, where = taught.learnt, (plan.system, f"{taught.method}@{HARD_SET}{suffix}", taught.learnt.target)
    detail = {
        "method": taught.method,
        "learning_rate": taught.rate,
        "rates_tried": {
            f"{rate:g}": round(loss, 4) if math.isfinite(loss) else None for rate, loss in taught.tried.items()
        },
        "at_the_edge": len(taught.tried) > 1 and taught.rate in (min(taught.tried), max(taught.tried)),
        "steps": learnt.steps,
        "asked_steps": plan.settings.steps,
        "best_step": learnt.best_step,
        "batch": plan.settings.batch,
        "window_s": plan.settings.window_s,
        "seed": plan.settings.seed,
        "learnt_mb": taught.learnt_mb,
        "added_mb": round(taught.added_mb, 1),
        "trained_by": taught.by,
    }
    numbers = {
        "trainable_params_pct": (taught.share_pct, "counted: of all parameters"),
        "adapter_mb": (taught.learnt_mb, "bytes of the weights that learnt"),
        "train_loss": (learnt.best_loss, "cross-entropy on validation clips"),
        "train_peak_rss_mb": (
            taught.peak_rss_mb,
            "the kernel's high-water mark of the training's own process until its last step (VmHWM)"
            + elsewhere(taught.by),
        ),
    }
    if learnt.steps_per_s:
        clock = "clock around forward, backward and optimizer" + elsewhere(taught.by)
        numbers["train_steps_per_s"] = (learnt.steps_per_s, clock)
    if learnt.peak_gpu_mb is not None:
        numbers["peak_gpu_mb"] = (learnt.peak_gpu_mb, SOURCES["peak_gpu_mb"] + elsewhere(taught.by))
    if taught.merge_error is not None:
        numbers["merge_error"] = (
            taught.merge_error,
            "scores of a validation clip's words, both in single precision",
        )
    for metric, (value, source) in numbers.items():
        more = {"curve": _curve(learnt)} if metric == "train_loss" else {}
        run.add(*where, metric, value, source=source, detail={**detail, **more})


def best(lessons_: Mapping[str, Lesson]) -> Taught | None:
    """The run that is deployed: of the lowest loss on validation clips; None where none is left."""
    taught = [lesson.taught for lesson in lessons_.values() if lesson.taught]
    return min(taught, key=lambda one: one.learnt.best_loss, default=None)


def heard_in(clips: Data) -> dict[str, ClipToHear]:
    """One utterance of the test set in every domain, to listen to."""
    utterance = clips.tests[UNTRAINED][0].utterance
    return {
        domain: ClipToHear(utterance.id, utterance.text, Clip(utterance, domain).load(), RATE)
        for domain in DOMAINS
    }


def words(before: Lesson, lessons_: Mapping[str, Lesson], most: int = 8) -> pd.DataFrame:
    """The words most often taken for others on hard clips, as the recogniser comes; and how often since, by method."""
    table = misheard.substitutions(before.heard[HARD_SET], most).rename(columns={"times": "as it comes"})
    for name, lesson in lessons_.items():
        since = misheard.substitutions(lesson.heard[HARD_SET], 100_000).set_index(["said", "heard"]).times
        table[name] = [int(since.get((row.said, row.heard), 0)) for row in table.itertuples()]
    return table.replace({"said": {"": "(nothing)"}, "heard": {"": "(nothing)"}})


def both(before: Lesson, lessons_: Mapping[str, Lesson]) -> dict[str, Lesson]:
    """The recogniser as it comes, and what each method made of it."""
    return {"as it comes": before, **lessons_}


def _form(model: Recogniser, name: str, heard: Heard, weights: str = BASELINE, made_of: str = "") -> Form:
    """A recogniser that heard the hard clips, under its name in their rows."""
    said = tuple(one.heard for one in heard[HARD_SET])
    return Form(model, f"{name}@{HARD_SET}", said, weights, made_of and f"{made_of}@{HARD_SET}")


def _curve(learnt: Learnt) -> list[dict[str, float]]:
    """The losses alone, by step."""
    return [
        {key: round(float(record[key]), 4) for key in ("step", "loss", "eval_loss") if key in record}
        for record in learnt.curve
        if "loss" in record or "eval_loss" in record
    ]
