"""A diffusion decoder in fewer steps: students, each taught by the one before, and the variant that speaks with one.

    climb(recipe, "outputs/study/students", rungs(...))    trains them, and goes on where it stopped
    make(systems.load("tortoise"), "distilled", variant="distilled-31", student="outputs/.../distilled-31")

What a student is shown is in `lib.training.tasks.distillation`, how it trains in `tasks.tortoise_student`. A student's
folder holds its decoder alone; the variant has all that speaks.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import ParameterError
from lib.optimize.variant import Technique
from lib.systems.model import Model

if TYPE_CHECKING:
    from lib.training.recipe import Recipe

log = logging.getLogger(__name__)

DECODER = "decoder"
FEW = 4  # steps from which on a student learns at the whole rate


@dataclass(frozen=True)
class Rung:
    """One student: its folder's name, what its recipe's `model` part has beside that of all, its training steps (0: the
    recipe's), and its learning rate as a share of the recipe's.
    """

    name: str
    changes: dict[str, Any]
    steps: int = 0
    rate: float = 1.0


def rungs(steps: int = 3968, last: int = 31, guidance: float = 2.0, teacher: str = "") -> list[Rung]:
    """The ladder of the papers: guidance folded in at `steps` (where it is not 0), then halving after halving.

    teacher: of the first halving, where guidance is folded into it already: it walks `steps`, or nearly as many.
    """
    from lib.training.tasks import distillation

    made = []
    if guidance and not teacher:
        # At the whole rate: what guidance adds does not shrink with the steps, as a halving's lesson does.
        made.append(Rung(f"guided-{steps}", {"method": "guidance", "steps": steps, "teacher": ""}))
        teacher = made[0].name
    for half in distillation.ladder(steps, last)[1:]:
        changes = {"method": "halving", "steps": half, "teacher": teacher}
        made.append(Rung(f"distilled-{half}", changes, rate=rate(half)))
        teacher = made[-1].name
    return [dataclasses.replace(rung, changes={**rung.changes, "guidance": guidance}) for rung in made]


def rate(steps: int) -> float:
    """The learning rate of a halving to so many steps, as a share of the one for few.

    The shorter the steps, the less a student differs from its teacher, and the more of what it learns is the noise of
    its optimizer, which every later student inherits: at one rate for all, five halvings from 3,968 to 124 steps had
    moved the converged walk by 0.43 dB, at a tenth of it by 0.08 (4 validation sentences).
    """
    return min(1.0, math.sqrt(FEW / steps))


def leap(method: str, teacher: str, grid: int, guidance: float = 2.0, steps: int = 1, **changes: Any) -> Rung:
    """A student of few steps without the rungs between: method "interval" or "consistency"; grid: the steps that its
    teacher walks.
    """
    known = {"method": method, "steps": steps, "teacher": teacher, "teacher_steps": grid, "guidance": guidance}
    return Rung(f"{method}-{steps}", {**known, **changes})


def taking(ladder: Sequence[Rung], steps: Sequence[int]) -> list[Rung]:
    """The rungs with their training steps, over which the learning rate falls to a sixteenth."""
    if len(steps) != len(ladder):
        raise ParameterError(
            f"{len(steps)} numbers of training steps for {len(ladder)} students: give one for each"
        )
    return [
        dataclasses.replace(
            rung, changes={**rung.changes, "warm_up": min(10, -(-n // 4)), "half_life": -(-n // 4)}, steps=n
        )
        for rung, n in zip(ladder, steps)
    ]


def climb(recipe: Recipe, folder: str | Path, ladder: Sequence[Rung]) -> Iterator[Path]:
    """Train student after student and hand over each one's folder, `folder/<name>`, when it is finished.

    recipe: of the task "tortoise-student", with what all rungs share; a rung's teacher is one trained before it, or one
    of `lib.zoo`. A finished student is not trained again unless it was taught otherwise than is asked for now: then it
    is put aside, with all whom it taught. A begun one goes on; one that was stopped (a signal, its minutes) ends the
    climb, for the next could only learn from it what it does not know yet.
    """
    from lib.systems.tortoise import students
    from lib.training import loop, tasks

    folder = Path(folder)
    for number, rung in enumerate(ladder):
        home, chosen = folder / rung.name, _recipe(recipe, rung, folder)
        if other := _otherwise(home, chosen):
            log.warning("%s was taught otherwise (%s): it is put aside, and trained anew", rung.name, other)
            _put_aside(folder, ladder[number:])
        if not (home / students.DESCRIPTION).is_file():
            teacher = rung.changes.get("teacher") or chosen.model.get("base", "tortoise")
            log.info("%s: %s", rung.name, f"taught by {teacher}")
            outcome = loop.train(tasks.build(chosen), chosen, home / "run")
            if outcome.reason == "signal" or outcome.step < chosen.training.steps and outcome.reason == "minutes":
                log.warning(
                    "%s was stopped at step %d: the climb ends here; call it again", rung.name, outcome.step
                )
                return
            tasks.export(chosen, outcome.checkpoint, home, card(chosen, rung.name, outcome))
        yield home


def _recipe(shared: Recipe, rung: Rung, folder: Path) -> Recipe:
    """What one student is trained by."""
    from lib.systems.tortoise import students

    changes, teacher = dict(rung.changes), rung.changes.get("teacher", "")
    if teacher and (folder / teacher / students.DESCRIPTION).is_file():
        changes["teacher"] = str(folder / teacher)
    if rung.rate != 1:
        changes["learning_rate"] = _rate_of(shared) * rung.rate
    training = dataclasses.replace(shared.training, steps=rung.steps or shared.training.steps)
    return dataclasses.replace(shared, model={**shared.model, **changes}, training=training)


def _otherwise(home: Path, recipe: Recipe) -> str:
    """How a finished student differs from the one that is asked for, in words; "" where it does not, or where nobody
    knows: its run is gone.
    """
    from lib.systems.tortoise import students
    from lib.training import checkpoint, sources

    trained = checkpoint.latest(home / "run" / "checkpoints")
    if not (home / students.DESCRIPTION).is_file() or trained is None:
        return ""
    known, base = students.about(home), recipe.model.get("base")
    if base and known.base != students.key(sources.start(base)):
        return f"{base} is another checkpoint now"
    # Where a teacher lies tells nothing: a ladder may be moved as a whole, and another teacher walks other steps.
    if other := checkpoint.difference(trained, recipe, apart=("model.teacher",)):
        return other
    early = recipe.training.patience or recipe.training.target
    if known.trained_steps != recipe.training.steps and not early:
        return f"{known.trained_steps} steps there, {recipe.training.steps} here"
    return ""


def _put_aside(folder: Path, ladder: Sequence[Rung]) -> None:
    """Move the first student's folder into `folder/aside`, and those of all that descend from it."""
    descend = set()
    for rung in ladder:
        if not descend or rung.changes.get("teacher") in descend:
            descend.add(rung.name)
            aside = folder / "aside" / rung.name
            shutil.rmtree(aside, ignore_errors=True)
            if (folder / rung.name).exists():
                aside.parent.mkdir(parents=True, exist_ok=True)
                (folder / rung.name).rename(aside)


def _rate_of(recipe: Recipe) -> float:
    if "learning_rate" not in recipe.model:
        raise ParameterError(
            f"the recipe of {recipe.task} names no model.learning_rate, of which each rung takes its share: add it"
        )
    return recipe.model["learning_rate"]


def card(recipe: Recipe, name: str, outcome) -> str:
    """What a student is (Markdown)."""
    model, base = recipe.model, recipe.model.get("base", "tortoise")
    teacher, apart = Path(model.get("teacher") or base).name, outcome.validation.get("apart")
    judged = (
        f"In the last validation its mels lay {apart:.3f} deviations from those of its teacher's converged walk. "
        if apart is not None
        else ""
    )
    minutes = f"{max(1, round(outcome.seconds / 60))} minute{'s' if outcome.seconds >= 90 else ''}"
    return (
        f"# {name}\n\nA student of the diffusion decoder of `{base}`, taught by `{teacher}` by {model['method']}: "
        f"{outcome.step} steps of batch {recipe.training.batch_size} in {minutes}. It walks "
        f"{model['steps']} step{'s' * (model['steps'] > 1)} of DDIM. {judged}It speaks with the voices of its base, "
        "whose card names data and licence.\n"
    )


def distilled(system: Model, *, student: str, steps: int = 0, guidance: float = 0.0) -> None:
    """Speak with a student's decoder, and walk as it learnt to.

    student: its folder, or one of `lib.zoo`; steps: of DDIM (0: those it is meant for); guidance: the weight that was
    folded in, the same at every step, as it was when it learnt.
    """
    from lib.systems.tortoise import students

    _fits(system)
    exported = DECODER in system.graphs
    teacher = system.checkpoints.load(system.folder)[2].decoder if exported else system.modules[DECODER]
    known, decoder = students.load(students.find(student), students.key(system.folder), teacher)
    if guidance > known.guidance:
        raise ParameterError(
            f"guidance is {guidance:g}, but the student {student} knows it up to {known.guidance:g} only: ask for less"
        )
    if exported:
        from lib.systems.tortoise import export

        system.graphs |= export.of_decoder(decoder)
    else:
        system.modules[DECODER] = decoder.to(system.device)
    system.configure(
        sampler="ddim",
        steps=steps or known.steps,
        temperature=known.temperature[0],
        guidance=guidance,
        ramp=False,
        spacing="even",
        timesteps=(),
    )


def _structure(system: Model, *, student: str, steps: int = 0, guidance: float = 0.0) -> None:
    from lib.systems.tortoise import students
    from lib.systems.tortoise.network import student as extended

    _fits(system)
    known = students.about(students.find(student))
    system.modules[DECODER] = extended(system.modules[DECODER], folded=known.folded, interval=known.interval)


def _fits(system: Model) -> None:
    if system.name != "tortoise" or DECODER not in {*system.modules, *system.graphs}:
        raise ParameterError(
            f"{system.name} on {system.target} has no diffusion decoder to be distilled: give tortoise"
        )


DISTILLED = Technique("distilled", distilled, _structure)
