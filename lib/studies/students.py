"""Is a student of the diffusion decoder heard, and what does the whole gain? Beside its teacher and the best rival.

`trained` climbs the ladder (a stopped climb goes on), `listeners` says who is compared, `heard` judges all on the same
sentences and seeds against the converged teacher, `timed` benches whole pipelines in turns. What all that comes to is
said in `lib.studies.gains`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib import optimize, systems
from lib.errors import ParameterError
from lib.measure import bench, evaluate
from lib.optimize import distill
from lib.studies import ladder
from lib.studies.distillation_claim import DEGRADED, REFERENCE, SPOKEN_BY, SYSTEM
from lib.systems.tortoise import students
from lib.systems.tortoise.diffusion import Sampling
from lib.training import recipe as recipes

if TYPE_CHECKING:
    from torch import nn

    from lib.corpora.base import Sentence
    from lib.measure.evaluate import Clip, Judged
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.tortoise import Tortoise

log = logging.getLogger(__name__)

TARGET = "torch/cpu"
MOST = 64  # steps of a student that is worth walking: a converged walk of the teacher has no more


def plan(
    steps: int,
    last: int,
    training: Sequence[int],
    *,
    further: int = 0,
    leaps: Sequence[str] = (),
    leap_from: int = 0,
    guidance: float = 0.0,
    suffix: str = "",
) -> list[distill.Rung]:
    """The students to train: halvings from `steps` to `last`, and further ones.

    training: steps of each student, in this order; further: halvings go on from `last`, or one more where that is odd,
    to so many; leaps: methods ("interval", "consistency") of students that do all in one step; leap_from: the student
    whose walk they learn, on its own grid (0: the last halving); guidance: the highest weight that is folded in (0:
    none); suffix: of all their names.
    """
    made = distill.rungs(steps, last, guidance)
    if further:
        made += distill.rungs(last + last % 2, further, guidance, teacher=made[-1].name)
    leap_from = leap_from or further or last
    for method in leaps:
        inner = {"inner": min(leap_from, 4)} if method == "interval" else {}
        made.append(distill.leap(method, f"distilled-{leap_from}", leap_from, guidance, **inner))
    return [_renamed(rung, suffix) for rung in distill.taking(made, training)]


def folded(steps: int, guidance: float, training: int, *, suffix: str = "") -> list[distill.Rung]:
    """A student beside the ladder, to which nothing happens but that guidance is folded in: what does that alone cost?

    steps: that it walks; guidance: the highest weight; training: its training steps. None where one of the two is 0.
    """
    if not guidance or not training:
        return []
    made = distill.rungs(steps, steps, guidance)
    return [_renamed(rung, suffix) for rung in distill.taking(made, [training])]


def degraded(ladder: Sequence[distill.Rung], levels: Sequence[float]) -> list[distill.Rung]:
    """The first student that leaps once more for each level, told what to say through so much noise: what poor
    synthetic data does to a student. No students where none leaps.
    """
    leaping = next((rung for rung in ladder if rung.changes["method"] in ("interval", "consistency")), None)
    if leaping is None:
        return []
    return [
        dataclasses.replace(
            leaping, name=f"{leaping.name}{DEGRADED}{level:g}", changes={**leaping.changes, "degraded": level}
        )
        for level in levels
    ]


def _renamed(rung: distill.Rung, suffix: str) -> distill.Rung:
    teacher = rung.changes["teacher"]
    changes = {**rung.changes, "teacher": teacher and teacher + suffix}
    return dataclasses.replace(rung, name=rung.name + suffix, changes=changes)


def trained(
    profile: str,
    ladder: Sequence[distill.Rung],
    folder: str | Path,
    *,
    n_training: int = 0,
    batch_size: int = 0,
) -> list[Path]:
    """The students' folders, trained by the profile's recipe where they are not there yet; a stopped climb goes on with
    the student it was at.

    n_training: training sentences of each voice (0: the recipe's); batch_size: likewise.
    """
    chosen = recipes.find(profile, "tortoise-student")
    if n_training:
        chosen = dataclasses.replace(chosen, data={**chosen.data, "train": n_training})
    if batch_size:
        training = dataclasses.replace(chosen.training, batch_size=batch_size)
        chosen = dataclasses.replace(chosen, training=training)
    return list(distill.climb(chosen, folder, ladder))


def decoders(voice: Tortoise, folders: Sequence[str | Path]) -> dict[str, nn.Module]:
    """The students' decoders by the names of their folders."""
    teacher, base = voice.modules[distill.DECODER], students.key(voice.folder)
    return {Path(folder).name: students.load(folder, base, teacher)[1] for folder in folders}


def walks(voice: Tortoise, folders: Sequence[str | Path]) -> list[ladder.Walk]:
    """Every student's walk as it is meant; one of intervals also in 2 and in 4 steps (one that learnt consistency would
    add noise between its steps, which no sampler here does). Students of more than MOST steps
    are only there to teach the next; what folding guidance in has cost is told by converged walks of that student,
    without guidance and with the highest that it knows.
    """
    made = []
    for folder in map(Path, folders):
        known = students.about(folder)
        if known.method == "guidance":
            for guidance, end in ((0.0, ""), (known.guidance, "-guided")):
                how = Sampling("dpm++", MOST, guidance, ramp=False, temperature=voice.sampling.temperature)
                made.append(ladder.Walk(f"{folder.name}-converged{end}", how, folder.name, about=known))
        if known.method == "guidance" or known.steps > MOST:
            continue
        leaps = known.method == "interval" and DEGRADED not in folder.name
        several = (1, 2, 4) if leaps else (known.steps,)
        for steps in several:
            how = Sampling("ddim", steps, ramp=False, temperature=voice.sampling.temperature)
            name = folder.name + (f"-in-{steps}" if steps != known.steps else "")
            made.append(ladder.Walk(name, how, folder.name, about=known))
    return made


def chosen(
    free: Sequence[ladder.Walk], taught: Sequence[ladder.Walk], rivals: Sequence[str], named: Sequence[str]
) -> list[ladder.Walk]:
    """Who is judged: of the untrained walks those of `rivals`; of the students' those named, or where none is, those of
    `lib.zoo` as they are meant. A name with a vocoder's behind it ("distilled-1-by-istft") is that walk, spoken by it.
    """
    named = named or students.names()
    known = {walk.name: walk for walk in (*free, *taught)}
    found = []
    for name in (*rivals, *named):
        walk, plus, vocoder = name.partition(SPOKEN_BY)
        if walk in known:
            found.append(dataclasses.replace(known[walk], name=name, vocoder=vocoder) if plus else known[walk])
    return found


def variant(voice: Tortoise, walk: ladder.Walk, folders: Sequence[str | Path], home: str | Path) -> Tortoise:
    """The whole system that speaks by a walk, such as any process can rebuild."""
    if walk.vocoder:
        voice = voice.adjusted(vocoder=walk.vocoder)
    if not walk.student:
        how = {field.name: getattr(walk.how, field.name) for field in dataclasses.fields(walk.how)}
        return voice.adjusted(variant=walk.name, **how)
    folder = next((str(f) for f in folders if Path(f).name == walk.student), None)
    if folder is None:
        raise ParameterError(f"no folder of the student {walk.student} was given")
    made = optimize.make(
        voice, "distilled", variant=walk.name, student=folder, steps=walk.how.steps, guidance=walk.how.guidance
    )
    where = Path(home) / SYSTEM / TARGET.replace("/", "-") / walk.name
    optimize.save(made, where)
    return optimize.load(where, threads=voice.threads)


def reference(voice: Tortoise) -> Tortoise:
    """The teacher, walking until it has converged."""
    how = {"sampler": "dpm++", "steps": ladder.CONVERGED, "guidance": 0.0, "ramp": False}
    return voice.adjusted(variant=REFERENCE, **how)


def heard(
    run: Run,
    voice: Tortoise,
    chosen: Sequence[ladder.Walk],
    folders: Sequence[str | Path],
    sentences: Sequence[Sentence],
    scorer: Scorer,
    home: str | Path,
    *,
    keep: int = 0,
) -> dict[str, Judged]:
    """Judge the converged teacher and every walk on the same sentences and seeds; rows carry the paired differences.

    keep: clips of each in the report.
    """
    among = evaluate.reference_clips(voice, threads=voice.threads)
    settings = {"voice": among, "second_opinion": 0, "keep": keep, "group": "diffusion in few steps"}
    teacher = reference(voice)
    names = (SYSTEM, REFERENCE, voice.target)
    judged = {
        REFERENCE: evaluate.quality(
            run, names, evaluate.speak(teacher, sentences, seed=run.seed), scorer, **settings
        )
    }
    for walk in chosen:
        made = variant(voice, walk, folders, home)
        judged[walk.name] = evaluate.quality(
            run,
            (SYSTEM, walk.name, voice.target),
            evaluate.speak(made, sentences, seed=run.seed),
            scorer,
            baseline=judged[REFERENCE],
            baseline_name=REFERENCE,
            **settings,
        )
        evaluations = walk.evaluations
        run.add(
            SYSTEM,
            walk.name,
            voice.target,
            "nfe",
            evaluations,
            source="counted",
            detail={"student": walk.student},
        )
    run.add(SYSTEM, REFERENCE, voice.target, "nfe", ladder.CONVERGED, source="counted", detail={"student": ""})
    return judged


def timed(
    run: Run,
    voice: Tortoise,
    chosen: Sequence[ladder.Walk],
    folders: Sequence[str | Path],
    texts: Sequence[str],
    home: str | Path,
    *,
    rounds: int = 3,
) -> dict[str, bench.Benched]:
    """Bench whole pipelines beside the converged teacher, in turns, with the time of every stage."""
    made = [reference(voice), *(variant(voice, walk, folders, home) for walk in chosen)]
    candidates = {one.variant: bench.Candidate.of(one) for one in made}
    benched = bench.bench(candidates, texts, rounds=rounds, threads=voice.threads, seed=run.seed)
    bench.write(run, benched)
    return benched


def first_clips(judged: dict[str, Judged], number: int = 0) -> dict[str, Clip]:
    """One sentence by each."""
    return {name: one.clips[number] for name, one in judged.items()}


def kept() -> list[Path]:
    """The students of `lib.zoo`."""
    return [students.find(name) for name in students.names()]


def load(threads: int = 2) -> Tortoise:
    """The teacher, in its usual voice."""
    return systems.load(SYSTEM, target=TARGET, threads=threads)
