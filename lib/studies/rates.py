"""With which learning rate does each method learn a voice, of how many that were tried, and who chose it? Validation.

A search is a short training of each rate in `TRIED`, on the most data, with one seed; the lowest loss of the mel on the
validation split counts, and the test split is not looked at. A run without time for that takes what the newest recorded
run chose, and where none did the usual rate.
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

from lib.errors import SpeechError
from lib.results import newest_run
from lib.studies import finetuning
from lib.studies.trials import RATES, TRIED, Trial

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SEARCHED, RECORDED, USUAL = "searched", "recorded", "usual"  # who chose a rate


@dataclass(frozen=True)
class Choice:
    """The learning rate of a method of a system. losses: rate -> loss of the validation split's mel after `steps`
    steps, in the order tried, infinite where the training failed; voice: who was learnt in them.
    """

    system: str
    method: str
    rate: float
    by: str = USUAL
    losses: Mapping[float, float] = field(default_factory=dict)
    steps: int = 0
    voice: str = ""

    @property
    def at_the_edge(self) -> bool:
        """Whether the chosen one is the lowest or highest that was tried, so that a better one may lie beyond."""
        return len(self.losses) > 1 and self.rate in (min(self.losses), max(self.losses))

    @property
    def about(self) -> dict[str, Any]:
        """What the rows of a training say of its rate; `recorded` reads it."""
        tried = {f"{rate:g}": round(loss, 4) for rate, loss in self.losses.items() if math.isfinite(loss)}
        about = {"rate_by": self.by, "rates_tried": tried, "rates_failed": len(self.losses) - len(tried)}
        return about | {"search_steps": self.steps, "search_voice": self.voice}


Choices = Mapping[tuple[str, str], Choice]  # (system, method) -> its rate


def chosen(
    trials: Sequence[Trial], folder: str | Path, steps: int, earlier: pd.DataFrame | None = None
) -> tuple[list[Trial], dict[tuple[str, str], Choice]]:
    """The trials with their methods' learning rates, and who chose these.

    steps: of each training of a search under the folder, which goes on where it stopped; 0: no search. earlier: rows of
    recorded runs.
    """
    first: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        first.setdefault(_learner(trial), trial)
    if steps:
        found = {who: _searched(trial, Path(folder) / "search", steps) for who, trial in first.items()}
    else:
        known = recorded(earlier, {system for system, _ in first}) if earlier is not None else {}
        found = {who: known.get(who, Choice(*who, RATES[who[1]])) for who in first}
    return [dataclasses.replace(t, learning_rate=found[_learner(t)].rate) for t in trials], found


def recorded(table: pd.DataFrame, systems: Iterable[str]) -> dict[tuple[str, str], Choice]:
    """What the newest run in which a system's rates were searched chose, of each system."""
    found: dict[tuple[str, str], Choice] = {}
    rows = table[(table.metric == "trainable_params_pct") & table.value.notna()]
    for system in systems:
        mine = rows[rows.system == system]
        searched = mine.loc[[_about(detail).get("rate_by") == SEARCHED for detail in mine.detail]]
        for detail in newest_run(searched).detail:
            about = _about(detail)
            losses = {float(rate): loss for rate, loss in about["rates_tried"].items()}
            who = system, about["method"]
            steps, voice = about["search_steps"], about["search_voice"]
            found.setdefault(who, Choice(*who, about["learning_rate"], RECORDED, losses, steps, voice))
    return found


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
        rates = ", ".join(f"{c.method} {c.rate:g}" for c in those)
        return f"*{system}.* No learning rate was searched for here, nor in a recorded run; the usual ones: {rates}."
    listed = "; ".join(
        f"{c.method} {c.rate:g} of {', '.join(f'{rate:g} ({_loss(loss)})' for rate, loss in c.losses.items())}"
        + (", the edge of what was tried" if c.at_the_edge else "")
        for c in those
    )
    count, steps = sum(len(c.losses) for c in those), max(c.steps for c in those)
    whose = "" if by == SEARCHED else "by a recorded run, none was searched for here: "
    return (
        f"*{system}.* Learning rates, {whose}chosen of {count} short trainings ({steps} steps, one seed, on "
        f"{those[0].voice}) by the mel's loss on the validation split, which stands in brackets: {listed}. The test "
        "split was not looked at."
    )


def _loss(loss: float) -> str:
    return f"{loss:.3f}" if math.isfinite(loss) else "failed"


def _searched(trial: Trial, folder: Path, steps: int) -> Choice:
    """The choice for one trial's system and method; the usual rate where not one training came to an end."""
    losses = {}
    for rate in TRIED[trial.method]:
        short = dataclasses.replace(trial, learning_rate=rate, steps=steps)
        try:
            loss = finetuning.trained(short, folder / f"{rate:g}").losses["mel"]
        except SpeechError as error:  # it diverged, or there is nothing to learn from here
            log.warning("%s at a rate of %g: %s", trial.variant, rate, error)
            loss = math.inf
        losses[rate] = loss if math.isfinite(loss) else math.inf
    if not any(map(math.isfinite, losses.values())):
        return Choice(*_learner(trial), RATES[trial.method])
    best = min(losses, key=losses.get)
    return Choice(*_learner(trial), best, SEARCHED, losses, steps, trial.voice)


def _learner(trial: Trial) -> tuple[str, str]:
    return trial.system, trial.method


def _about(detail: str) -> dict[str, Any]:
    return json.loads(detail) if str(detail).startswith("{") else {}
