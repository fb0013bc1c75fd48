"""What did people hear? Mean opinions, differences between systems, verdicts, and whether the predictor agrees
with people.

All intervals are 95 % and know other listeners and other sentences (`crossed`). Differences are tested twice,
by means and by ranks, and each test is corrected for how many pairs were looked at (Holm).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.listening import crossed, screening
from lib.listening import ratings as ratings_module
from lib.listening.kit import Key
from lib.measure import paired, stats, verdict
from lib.measure.stats import Difference, Estimate

if TYPE_CHECKING:
    import pandas as pd

    from lib.listening.ratings import Rating
    from lib.results import Run

NOBODY = "no listeners yet"
DRAWS = 1_000


@dataclass(frozen=True)
class Compared:
    """Two conditions: `b` minus `a` in MOS (or how much `b` is preferred); p values after Holm, by means and by
    ranks.

    superiority: how often a listener puts b above a, ties half; of pairs, the mean signed rank.
    """

    a: str
    b: str
    difference: Difference
    superiority: Difference
    p_means: float
    p_ranks: float


@dataclass(frozen=True)
class Heard:
    """Ratings with who was screened out. everybody: with those, too; table: without."""

    key: Key
    everybody: "pd.DataFrame"
    table: "pd.DataFrame"
    screened: "pd.DataFrame"

    @property
    def listeners(self) -> int:
        """How many count."""
        return int(self.table.listener.nunique())


def hear(given: Iterable["Rating"], key: Key) -> Heard:
    """Ratings as a table, screened by the rules that the key holds."""
    everybody = ratings_module.table(given, key)
    planned = {group_number(trial): 0 for trial in key.trials.values()}
    for trial in key.trials.values():
        planned[group_number(trial)] += trial["role"] == "rating"
    reference = key.conditions[key.reference].name if key.method == "mushra" else ""
    screened = screening.screen(everybody, key.rules, max(planned.values(), default=1), reference)
    kept = everybody[everybody.listener.isin(screened[screened.kept.astype(bool)].listener)]
    return Heard(key, everybody, kept[kept.role == "rating"], screened)


def group_number(trial: Mapping) -> tuple[int, int]:
    """Whose page it is."""
    return trial["group"], trial["number"]


def opinions(table: "pd.DataFrame") -> dict[str, Estimate]:
    """Condition -> its mean rating with an interval, best first. table: lines of one rating each, as in
    `Heard.table`.
    """
    means = {name: crossed.mean(_of(mine)) for name, mine in table.groupby("condition", sort=False)}
    return dict(sorted(means.items(), key=lambda item: -item[1].value))


def compare(table: "pd.DataFrame", pairs: Sequence[tuple[str, str]] | None = None) -> list[Compared]:
    """Each pair of conditions (a, b), b against a, by default all, the better one first; of single ratings."""
    made = []
    for a, b in pairs or itertools.combinations(opinions(table), 2):
        both = table[table.condition.isin((a, b))]
        grouped = crossed.Ratings.of(both.value, both.listener, both.sentence, both.condition == b)
        above = crossed.superiority(grouped)
        ends = {
            name: None if getattr(above, name) is None else getattr(above, name) + 0.5
            for name in ("low", "high")
        }
        share = dataclasses.replace(above, value=above.value + 0.5, **ends)
        made.append((a, b, crossed.difference(grouped), share))
    return _corrected(made)


def preferences(table: "pd.DataFrame") -> list[Compared]:
    """Each pair that was heard side by side: how much `b` was preferred to `a` (1: always, in an ab test)."""
    made = []
    for (b, a), mine in table.groupby(["condition", "other"], sort=False):
        made.append((a, b, crossed.preference(_of(mine)), crossed.signed_ranks(_of(mine))))
    return _corrected(made)


def verdicts(compared: Iterable[Compared]) -> dict[str, verdict.Verdict]:
    """Condition b -> what it is called against a, by the margin that predicted MOS has, too (DESIGN section 8)."""
    return {
        f"{pair.b} against {pair.a}": verdict.quality_verdict(
            {"mos_human": pair.difference}, required=(verdict.HEARD,)
        )
        for pair in compared
    }


@dataclass(frozen=True)
class Agreement:
    """Correlation of people and a predictor over n conditions or clips, intervals by drawing listeners and
    sentences.
    """

    pearson: Estimate
    spearman: Estimate


def agreement(
    table: "pd.DataFrame", predicted: Mapping[tuple[str, str], float], *, by: str = "clip", seed: int = 0
) -> Agreement | None:
    """Mean human ratings against predictions of (condition, sentence); by: "clip" or "condition".

    A two-way bootstrap: listeners and sentences are drawn with replacement, each for itself (Owen 2007,
    https://doi.org/10.1214/07-AOAS122). None below four points, or where one side does not vary.
    """
    from scipy.stats import rankdata

    judged = table[[pair in predicted for pair in zip(table.condition, table.sentence)]]
    pairs = list(zip(judged.condition, judged.sentence))
    points = sorted(set(pairs)) if by == "clip" else sorted(set(judged.condition))
    if len(points) < 4:
        return None
    place = {point: i for i, point in enumerate(points)}
    where = np.array([place[pair if by == "clip" else pair[0]] for pair in pairs])
    guess = np.array([predicted[pair] for pair in pairs])
    who, what = (np.unique(judged[name], return_inverse=True)[1] for name in ("listener", "sentence"))
    rng, drawn = np.random.default_rng(seed), []

    def correlations(weights: np.ndarray) -> tuple[float, float]:
        total = np.bincount(where, weights, len(points))
        held = total > 0
        people, machine = (
            np.bincount(where, weights * values, len(points))[held] / total[held]
            for values in (judged.value.to_numpy(float), guess)
        )
        if held.sum() < 4 or np.ptp(people) == 0 or np.ptp(machine) == 0:
            return math.nan, math.nan
        ranked = np.corrcoef(rankdata(people), rankdata(machine))[0, 1]
        return float(np.corrcoef(people, machine)[0, 1]), float(ranked)

    values = correlations(np.ones(len(judged)))
    if math.isnan(values[0]):
        return None
    enough = who.max() + 1 >= crossed.MIN_LISTENERS and what.max() + 1 >= crossed.MIN_SENTENCES
    for _ in range(DRAWS if enough else 0):
        times = [
            np.bincount(rng.integers(x.max() + 1, size=x.max() + 1), minlength=x.max() + 1)[x]
            for x in (who, what)
        ]
        drawn.append(correlations((times[0] * times[1]).astype(float)))
    ends = np.nanquantile(np.array(drawn), [0.025, 0.975], axis=0).T if drawn else [(None, None)] * 2
    made = [
        Estimate(v, *(None if e is None else float(e) for e in pair), len(points))
        for v, pair in zip(values, ends)
    ]
    return Agreement(*made)


def write(run: "Run", key: Key, heard: Heard | None) -> None:
    """Rows of `mos_human`: measured where people rated single clips, else `not_run: no listeners yet`."""
    measured = opinions(heard.table) if heard is not None and heard.listeners and key.method == "acr" else {}
    if heard is not None and heard.listeners and key.method != "acr":
        return  # preferences are no opinion scores
    for condition in key.conditions:
        name = (condition.system, condition.variant, condition.target or "listeners")
        if condition.name not in measured:
            run.not_run(*name, "mos_human", NOBODY)
            continue
        estimate = measured[condition.name]
        mine = heard.table[heard.table.condition == condition.name]
        detail = {"listeners": int(mine.listener.nunique()), "sentences": int(mine.sentence.nunique())}
        base = dataclasses.replace(condition, variant="baseline")
        baseline = base.variant if base != condition and base.name in measured else ""
        if baseline:
            detail |= _against(heard.table, base.name, condition.name)
        source = "listening test, ACR (ITU-T P.800)"
        run.add(
            *name,
            "mos_human",
            estimate.value,
            n=estimate.n,
            ci=estimate.ci,
            source=source,
            baseline=baseline,
            detail=detail,
        )


def _against(table: "pd.DataFrame", base: str, variant: str) -> dict:
    """The difference from the baseline, in the names that `lib.measure.judgement` reads."""
    return paired.detail(compare(table, [(base, variant)])[0].difference)


def _of(lines: "pd.DataFrame") -> crossed.Ratings:
    return crossed.Ratings.of(lines.value, lines.listener, lines.sentence)


def _corrected(made: list[tuple[str, str, Difference, Difference]]) -> list[Compared]:
    """The tests with Holm's correction; a pair without a p value is not looked at and counts for nothing."""
    columns = []
    for position in (2, 3):
        p_values = [one[position].p_value for one in made]
        tested = [i for i, p in enumerate(p_values) if not math.isnan(p)]
        corrected = dict(zip(tested, stats.holm([p_values[i] for i in tested])))
        columns.append([corrected.get(i, math.nan) for i in range(len(made))])
    return [Compared(a, b, d, s, p, q) for (a, b, d, s), p, q in zip(made, *columns, strict=True)]
