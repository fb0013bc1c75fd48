"""What has a VITS voice come to that was adapted by the recipes? Rows beside those of the other learnt voices.

`vits-joe` is adapted in two trainings of their own (`params/study/recipes`), hours of two cores or minutes of a GPU:
`vits-lacking` learns what its published graph lacks and changes nothing that speaks, so there is nothing of it to hear;
`vits-prompts` goes on to the recorded person. Neither is a trial that a notebook makes: where its run lies in a folder,
the voice of its newest checkpoint reads what the others read; where none does, a row says how to make one.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lib import systems
from lib.errors import MissingDataError, SpeechError
from lib.measure import evaluate
from lib.studies import person as persons
from lib.studies.new_voices import Jury, unadapted

if TYPE_CHECKING:
    from lib.measure.evaluate import Judged
    from lib.measure.scorer import Scorer
    from lib.results import Run

log = logging.getLogger(__name__)

SYSTEM, TARGET, VOICE = "vits-joe", "onnxruntime/cpu", "prompts"
RECIPES = ("vits-lacking", "vits-prompts")  # in the order in which they are trained
VARIANT = f"full@{VOICE}"  # every weight learns


def judged(
    run: "Run", folder: str | Path, scorer: "Scorer", *, n_sentences: int, threads: int = 2, keep: int = 1
) -> "Judged | None":
    """The rows of the voice in a run's folder, and of `vits-joe` as it comes on the same sentences; a `not_run` row
    where there is none, or the person's recordings cannot be had.
    """
    from lib.training import recipe

    names = (SYSTEM, VARIANT, TARGET)
    try:
        step, ready = exported(folder)
        jury = Jury(run, persons.known(VOICE, n_sentences), scorer, keep)
        base = systems.load(SYSTEM, target=TARGET, threads=threads)
        voice = systems.load(SYSTEM, target=TARGET, threads=threads, checkpoint=ready)
        jury.hear((SYSTEM, unadapted(VOICE), TARGET), evaluate.speak(base, jury.person.sentences))
        heard = jury.hear(names, evaluate.speak(voice, jury.person.sentences))
    except (SpeechError, ImportError) as error:
        log.warning("%s %s: not run: %s", SYSTEM, VARIANT, error)
        run.not_run(*names, "speaker_similarity", str(error))
        return None
    about = {"recipes": list(RECIPES), "step": step, "steps": recipe.find("study", RECIPES[-1]).training.steps}
    run.add(*names, "size_mb", voice.size_mb, source="all files needed to speak", detail=about)
    return heard


def exported(folder: str | Path) -> tuple[int, Path]:
    """(step, folder that `systems.load` reads) of the newest checkpoint of a run; MissingDataError with the commands
    where there is none.
    """
    from lib.training import checkpoint, recipe, tasks

    if checkpoint.latest(Path(folder) / "checkpoints") is None:
        commands = " and then ".join(
            f"`python -m lib.training params/study/recipes/{name}.yaml --out outputs/runs/{name}`"
            for name in RECIPES
        )
        raise MissingDataError(f"{folder} holds no trained voice: {commands} make one, in hours of two cores")
    newest = checkpoint.newest(folder)
    ready = Path(folder) / "published"
    card = f"`{SYSTEM}` adapted to `{VOICE}` by {' and '.join(RECIPES)}, step {checkpoint.step_of(newest)}.\n"
    return checkpoint.step_of(newest), tasks.export(recipe.find("study", RECIPES[-1]), newest, ready, card)
