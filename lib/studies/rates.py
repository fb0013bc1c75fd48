"""With which learning rate does each method learn a voice, of how many that were tried, and who chose it? Validation.

A search is a short training of each rate in `TRIED`, on the most data, with one seed; the lowest loss of the mel on the
validation split counts, and the test split is not looked at. Where that lies at the edge of a method's rates, whichever
method it is, one more is tried beyond it. Ranks of lora below the usual one have a search of their own
(`Trial.learner`); what else differs within a method, and other voices, take the rate that it found. A run without time
for that takes what the recorded run chose that searched most, and where none did the usual rate.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import DivergedError, SpeechError, StoppedError
from lib.results import by_run
from lib.studies import by_size, finetuning
from lib.studies.trials import RATES, TRIED, Trial

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SEARCHED, RECORDED, USUAL = "searched", "recorded", "usual"  # who chose a rate
FACTOR = 3.0  # between the rate at the edge of those tried and the one beyond it


@dataclass(frozen=True)
class Choice:
    """The learning rate of a system's method; of lora, `rank` other than 0: of that rank alone. losses: rate -> loss of
    the validation split's mel after `steps` steps, in the order tried, infinite where the training failed; voice: who
    was learnt in them.
    """

    system: str
    method: str
    rate: float
    by: str = USUAL
    losses: Mapping[float, float] = field(default_factory=dict)
    steps: int = 0
    voice: str = ""
    rank: int = 0

    @property
    def name(self) -> str:
        """What learns by it: "full", "lora", "lora-r2"."""
        return f"{self.method}-r{self.rank}" if self.rank else self.method

    @property
    def at_the_edge(self) -> bool:
        """Whether the chosen one is the lowest or highest that was tried, so that a better one may lie beyond."""
        return len(self.losses) > 1 and self.rate in (min(self.losses), max(self.losses))

    @property
    def about(self) -> dict[str, Any]:
        """What the rows of a training say of its rate; `recorded` reads it."""
        tried = {
            f"{rate:g}": round(loss, 4) if math.isfinite(loss) else None for rate, loss in self.losses.items()
        }
        about = {"rate_by": self.by, "rate_of": self.name, "rates_tried": tried}
        return about | {"search_steps": self.steps, "search_voice": self.voice}


Choices = Mapping[tuple[str, str], Choice]  # `Trial.learner` -> its rate


def chosen(
    trials: Sequence[Trial], folder: str | Path, steps: int, earlier: pd.DataFrame | None = None
) -> tuple[list[Trial], dict[tuple[str, str], Choice]]:
    """The trials with their learners' learning rates, and who chose these.

    steps: of each training of a search under the folder, which goes on where it stopped; 0: no search. earlier: rows of
    recorded runs. Raises StoppedError where one of these trainings was ended from outside: it says nothing of its rate.
    """
    first: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        first.setdefault(trial.learner, trial)
    if steps:
        found = {who: _searched(trial, Path(folder) / "search", steps) for who, trial in first.items()}
    else:
        known = recorded(earlier, {system for system, _ in first}) if earlier is not None else {}
        found = {who: known.get(who, _usual(trial)) for who, trial in first.items()}
    return [dataclasses.replace(t, learning_rate=found[t.learner].rate) for t in trials], found


def recorded(table: pd.DataFrame, systems: Iterable[str]) -> dict[tuple[str, str], Choice]:
    """What was chosen by the run that searched most for a system's rates, in steps of all its trainings, of several
    that searched as much by the newest: the minutes of a quick search take nothing back of a longer one. Of each
    system.
    """
    found: dict[tuple[str, str], Choice] = {}
    rows = table[(table.metric == "trainable_params_pct") & table.value.notna()]
    for system in systems:
        mine = rows[rows.system == system]
        searched = mine.loc[[_about(detail).get("rate_by") == SEARCHED for detail in mine.detail]]
        runs = by_size.largest(by_run(searched), _searched_steps)
        for detail in runs[0].detail if runs else ():
            about = _about(detail)
            tried = about["rates_tried"].items()
            losses = {float(rate): math.inf if loss is None else loss for rate, loss in tried}
            method, name = about["method"], about.get("rate_of", about["method"])
            rank = about["rank"] if name != method else 0
            steps, voice = about["search_steps"], about["search_voice"]
            choice = Choice(system, method, about["learning_rate"], RECORDED, losses, steps, voice, rank)
            found.setdefault((system, name), choice)
    return found


def _searched_steps(rows: pd.DataFrame) -> float:
    """Training steps of all trainings of a run's search; what several trials of a learner say counts once."""
    every = [_about(detail) for detail in rows.detail]
    learners = {about.get("rate_of", about["method"]): about for about in every}
    return float(sum(len(about["rates_tried"]) * about["search_steps"] for about in learners.values()))


def told(choices: Choices) -> list[str]:
    """Who chose which rate, of how many tried, a sentence for each way of choosing and system."""
    return [
        _sentence(by, system, those)
        for by in (SEARCHED, RECORDED, USUAL)
        for system in dict.fromkeys(system for system, _ in choices)
        if (those := [c for c in choices.values() if (c.by, c.system) == (by, system)])
    ]


def _sentence(by: str, system: str, those: Sequence[Choice]) -> str:
    if by == USUAL:
        rates = ", ".join(f"{c.name} {c.rate:g}" for c in those)
        return (
            f"*{system}.* No search, here or in a recorded run, found a learning rate; the usual ones: {rates}."
        )
    listed = "; ".join(
        f"{c.name} {c.rate:g} of {', '.join(f'{rate:g} ({_loss(loss)})' for rate, loss in c.losses.items())}"
        + (", the edge of what was tried" if c.at_the_edge else "")
        for c in those
    )
    count, steps = sum(len(c.losses) for c in those), max(c.steps for c in those)
    whose = "" if by == SEARCHED else "by a recorded run, none was searched for here: "
    return (
        f"*{system}.* Learning rates, {whose}chosen of {count} short trainings ({steps} steps, one seed, on "
        f"{those[0].voice}) by the mel's loss on the validation split, which stands in brackets: {listed}. The test "
        "split was not looked at. What else differs within a method (larger ranks, other layers, less data, other "
        "seeds) was not searched for: it takes the method's rate, and so do other voices."
    )


def _loss(loss: float) -> str:
    return f"{loss:.3f}" if math.isfinite(loss) else "failed"


def _searched(trial: Trial, folder: Path, steps: int) -> Choice:
    """The choice for one trial's system and method; the usual rate where no training came to an end."""
    grid = TRIED[trial.method]
    try:
        losses = {rate: _tried(trial, folder, steps, rate) for rate in grid}
        if (further := beyond(losses)) is not None:
            losses[further] = _tried(trial, folder, steps, further)
        best = min(losses, key=losses.get)
    except StoppedError:
        raise
    except SpeechError as error:  # no clips, or no package: whatever the rate
        log.warning("no learning rate can be searched for %s: %s", trial.variant, error)
        return _usual(trial)
    if not math.isfinite(losses[best]):
        return _usual(trial)
    return dataclasses.replace(
        _usual(trial), rate=best, by=SEARCHED, losses=losses, steps=steps, voice=trial.voice
    )


def _usual(trial: Trial) -> Choice:
    rank = trial.rank if trial.learner[1] != trial.method else 0
    return Choice(trial.system, trial.method, RATES[trial.method], rank=rank)


def beyond(losses: Mapping[float, float]) -> float | None:
    """The learning rate to try next where the best of those tried lies at their edge, for a better one may lie behind
    it; None where it lies between others, or where none came to a loss.
    """
    best = min(losses, key=losses.get)
    if len(losses) < 2 or not math.isfinite(losses[best]) or best not in (min(losses), max(losses)):
        return None
    return float(f"{best * FACTOR if best == max(losses) else best / FACTOR:.1g}")


def _tried(trial: Trial, folder: Path, steps: int, rate: float) -> float:
    """The loss on validation after a short training with this rate; infinite where that diverged."""
    short = dataclasses.replace(trial, learning_rate=rate, steps=steps)
    try:
        loss = finetuning.trained(short, folder / f"{rate:g}").losses["mel"]
    except DivergedError as error:
        log.warning("%s at a rate of %g: %s", trial.variant, rate, error)
        return math.inf
    except StoppedError as error:
        raise StoppedError(
            f"the search for learning rates ended at {trial.variant} with a rate of {rate:g}, which has no result: "
            f"{error}. Asked for again, the search goes on there"
        ) from error
    return loss if math.isfinite(loss) else math.inf


def _about(detail: str) -> dict[str, Any]:
    return json.loads(detail) if str(detail).startswith("{") else {}
