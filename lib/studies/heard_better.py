"""What does somebody decide from, who has a recogniser to teach? Every sentence is computed from rows, now or recorded.

Promised: word errors on hard clips of the test set down by a quarter; on clean ones up by half a point at most; and a
gain with 1.1 % of the parameters that cannot be told from that of full fine-tuning. Each by the whole paired interval,
of enough texts: a sentence calls it what the floors of `floors_tuned` call it, whose parts are made here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lib.corpora.domains import CLEAN, HARD_SET, UNHEARD_SET, UNTRAINED
from lib.results import by_run, run_of
from lib.studies import by_size, by_validation, origins, recogniser_speed
from lib.studies.floor_rows import difference
from lib.studies.floors import MET, MISSED, NOT_RUN, TOLD, UNDECIDED, Answer, Number, Part, at_most
from lib.studies.misheard import BASELINE, SYSTEM, judged_on

if TYPE_CHECKING:
    import pandas as pd

HARD_FLOOR, CLEAN_FLOOR, SHARE_FLOOR = -0.25, 0.005, 1.1  # of the errors; fraction of the words; percent
LOSS = "train_loss"  # on validation clips, the lowest of a training
BELOW_ZERO = math.nextafter(0.0, -1.0)
PAIRED = {
    "change": "difference",
    "low": "ci_low",
    "high": "ci_high",
    "pairs": "n",
}  # ours -> in the detail of a row
_TRAINING = ("trainable_params_pct", "adapter_mb", "train_loss", "train_peak_rss_mb", "train_steps_per_s")


def longest(table: pd.DataFrame, system: str = SYSTEM) -> pd.DataFrame:
    """The rows of the longest run that taught the recogniser, of several as long the newest; none where none did."""
    mine = table[(table.system == system) & (table.metric == LOSS) & table.value.notna()]
    runs = [run_of(table, part.iloc[0]) for part in by_run(mine)]
    return next(iter(by_size.largest(runs, lambda rows: size(lines(rows, system)))), table[:0])


def size(found: pd.DataFrame) -> float:
    """How much a run asked for: steps of a training by clips heard. found: of `lines`."""
    if not {"steps", f"{HARD_SET}_n"} <= set(found):
        return 0.0
    return float(found.get("asked_steps", found.steps).max() * found[f"{HARD_SET}_n"].max())


def lines(table: pd.DataFrame, system: str = SYSTEM) -> pd.DataFrame:
    """A line for each method: errors on hard, clean, untrained and unheard clips, their paired changes ("hard",
    "hard_change", "hard_low", "hard_high", ...), "relative": of the errors on hard clips; "full_low", "full_high":
    difference to full fine-tuning there; and what it took. index: the method.
    """
    import pandas as pd

    mine = table[(table.system == system) & table.value.notna()]
    errors = mine[(mine.metric == "wer") & (mine.target == judged_on(system))].set_index("variant")
    errors = errors[~errors.index.duplicated(keep="last")]
    found = {}
    for row in mine[mine.metric == "train_loss"].itertuples():
        method, _, data = row.variant.partition("@")
        if data != HARD_SET or f"{method}@{HARD_SET}" not in errors.index:
            continue
        line = {}
        for tests in (HARD_SET, CLEAN, UNTRAINED, UNHEARD_SET):
            if f"{method}@{tests}" not in errors.index:
                continue
            judged = errors.loc[f"{method}@{tests}"]
            about = json.loads(judged.detail) if judged.detail else {}
            line |= {tests: judged.value, f"{tests}_n": judged.n}
            line |= {f"{tests}_{name}": about.get(key) for name, key in PAIRED.items()}
            if tests == HARD_SET:
                full = about.get("to_full", {})
                line |= {f"full_{name}": full.get(key) for name, key in PAIRED.items()}
        change = line[f"{HARD_SET}_change"]  # None where the recogniser as it comes was not heard beside it
        before = 0.0 if change is None else line[HARD_SET] - change
        line["relative"] = change / before if before else float("nan")
        own = mine[(mine.variant == row.variant) & (mine.target == row.target) & mine.metric.isin(_TRAINING)]
        own = own.drop_duplicates("metric", keep="last")
        found[method] = {**line, **dict(zip(own.metric, own.value)), **json.loads(row.detail)}
    return pd.DataFrame.from_dict(found, orient="index")


def chosen(found: pd.DataFrame, most: float = 100.0) -> str | None:
    """The method that validation chooses, however it hears the test clips: of those as good as the lowest loss the
    smallest. found: of `lines`; most: percentage of the parameters that it may train; None where no method does.
    """
    if not {LOSS, "trainable_params_pct", "adapter_mb"} <= set(found):
        return None
    near = by_validation.level(found[found.trainable_params_pct <= most], LOSS)
    return str(near.index[0]) if len(near) else None


def lengths(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """How long each run was, a sentence each: what "recorded" is worth beside "now". tables: name -> of `lines`."""
    return [
        f"{when}: {len(found)} methods, {found.get('asked_steps', found.steps).max():.0f} steps at most, "
        f"{found[f'{HARD_SET}_n'].max():.0f} hard clips heard."
        for when, found in tables.items()
        if size(found)
    ]


def small(found: pd.DataFrame) -> str | None:
    """The adapter by which the floor of few parameters is judged: of those that train so few the one that validation
    chooses, where none does, of all of them.
    """
    adapters = found[["lora" in str(name) for name in found.index]]
    return chosen(adapters, SHARE_FLOOR) or chosen(adapters)


def fewer_errors(line: pd.Series) -> tuple[Part, ...]:
    """Whether hard clips have a quarter fewer word errors than before. line: of `lines`."""
    change = _paired(line, HARD_SET)
    if change and (before := line[HARD_SET] - change.value) > 0:
        change = Number(
            *(None if end is None else end / before for end in (change.value, change.low, change.high))
        )
    return (at_most(change, HARD_FLOOR, "hard word errors change by {} of those before"),)


def clean_kept(line: pd.Series) -> tuple[Part, ...]:
    """Whether clean clips have at most half a point more word errors."""
    return (at_most(_paired(line, CLEAN), CLEAN_FLOOR, "clean ones by {} of the words"),)


def as_full(line: pd.Series) -> tuple[Part, ...]:
    """Whether few parameters gain on hard clips what all of them do: where nobody gained, all are level."""
    return (
        at_most(Number(line.trainable_params_pct, exact=True), SHARE_FLOOR, "{} % of the parameters"),
        at_most(_paired(line, HARD_SET), BELOW_ZERO, "hard word errors by {} of the words"),
        _level(_paired(line, "full")),
    )


def gained(found: pd.DataFrame) -> str | None:
    """What the methods gained on hard clips, the best first, and whether the one that validation chooses reached what
    was promised.
    """
    if found.empty:
        return None
    said = [
        f"{name} {100 * (line.hard - line.hard_change):.1f} % to {100 * line.hard:.1f} % ({100 * line.relative:+.0f} % "
        f"of them, change {_points(line, HARD_SET)})"
        for name, line in found.sort_values("hard").iterrows()
    ]
    floor = _floor(found, chosen(found), fewer_errors, "a quarter fewer")
    return f"Word errors on hard test clips: {'; '.join(said)}. {floor}"


def forgotten(found: pd.DataFrame) -> str | None:
    """What became of clean speech, of the domain that nobody trained on, and of voices that nobody trained on, for the
    clean clips are of those that were taught.
    """
    if found.empty or f"{CLEAN}_change" not in found:
        return None
    said = [
        f"{name} clean {_points(line, CLEAN)}"
        + "".join(
            f", {who} {_points(line, tests)}"
            for tests, who in ((UNTRAINED, UNTRAINED), (UNHEARD_SET, "voices nobody trained on"))
            if f"{tests}_change" in found
        )
        for name, line in found.iterrows()
    ]
    floor = _floor(found, chosen(found), clean_kept, "half a point more at most on clean clips")
    return f"Change of word errors in points: {'; '.join(said)}. {floor}"


def against_full(found: pd.DataFrame) -> str | None:
    """Whether few parameters do as well as all of them."""
    if "full_low" not in found or found.full_low.isna().all():
        return None
    compared = found[found.full_low.notna()].sort_values("trainable_params_pct")
    said = [
        f"{name} ({line.trainable_params_pct:.2g} %) {100 * line.full_change:+.1f} "
        f"[{100 * line.full_low:+.1f}, {100 * line.full_high:+.1f}]"
        for name, line in compared.iterrows()
    ]
    wanted = f"a gain, not to be told from that of full fine-tuning, with at most {SHARE_FLOOR:g} % of the parameters"
    floor = _floor(found, small(found), as_full, wanted)
    return f"Points of word errors on hard clips more than full fine-tuning: {'; '.join(said)}. {floor}"


def costs(found: pd.DataFrame) -> str | None:
    """Memory and time of a step, as ratios to full fine-tuning, and whose clock and memory that is."""
    if "full" not in found.index or len(found) < 2 or "train_steps_per_s" not in found:
        return None
    full = found.loc["full"]
    whose = found.trained_by.fillna("") if "trained_by" in found else dict.fromkeys(found.index, "")
    said = [
        f"{name} {line.train_peak_rss_mb / full.train_peak_rss_mb:.2f} of the memory ({line.added_mb:,.0f} MB of it "
        f"for its steps) and {full.train_steps_per_s / line.train_steps_per_s:.2f} times the time"
        for name, line in found.drop("full").iterrows()
        if line.train_steps_per_s > 0
    ]
    return (
        f"Full fine-tuning peaked at {full.train_peak_rss_mb:,.0f} MB, {full.added_mb:,.0f} of them for its steps, "
        f"beside the process that was ready; against it {'; '.join(said)}. Each in a fresh process; times are as noisy "
        f"as the machine, so read the ratios. {origins.trainers(whose)}"
    )


def deployed(table: pd.DataFrame, system: str = SYSTEM) -> pd.DataFrame:
    """A line for each step of a taught recogniser's deployment: what it hears of hard clips, and what it costs."""
    return recogniser_speed.deployed(table, system, f"@{HARD_SET}")


def fastest(table: pd.DataFrame, system: str = SYSTEM) -> str | None:
    """The fastest of those, in a sentence."""
    return recogniser_speed.finding(table, system, f"@{HARD_SET}")


def recommended(found: pd.DataFrame) -> str | None:
    """What to take: of the methods whose loss on validation clips is as good as the lowest, the smallest; the
    recogniser as it comes where that does not gain on hard test clips, or forgets clean ones.
    """
    if found.empty:
        return None
    lowest, level = by_validation.lowest(found, LOSS), by_validation.level(found, LOSS)
    pick = level.iloc[0]
    why = (
        f" (loss on validation clips {pick[LOSS]:.3f}, the lowest, of {lowest}, {found[LOSS][lowest]:.3f}; "
        f"{len(level)} of {len(found)} methods are within {100 * by_validation.LEVEL:.0f} % of the lowest, of these it "
        "is the smallest)"
        if len(found) > 1
        else ""
    )
    hard, clean = (_paired(pick, tests) for tests in (HARD_SET, CLEAN))  # None: not heard
    gains = at_most(hard, BELOW_ZERO, "{}").word == MET
    if not gains or clean is None or clean.value > CLEAN_FLOOR:
        return (
            f"**Take the recogniser as it comes**: {pick.name}{why} did not gain on hard test clips beyond chance "
            "and keep the clean ones."
        )
    return (
        f"**Take {pick.name}**: {pick.trainable_params_pct:.2g} % of the parameters, {pick.adapter_mb:.1f} MB to "
        f"keep{why}. On test clips, which had no say in that: {100 * pick[HARD_SET]:.1f} % word errors on hard ones, "
        f"{100 * pick[CLEAN]:.1f} % on clean ones."
    )


def before(table: pd.DataFrame, system: str = SYSTEM) -> str | None:
    """How the recogniser hears as it comes."""
    mine = table[(table.system == system) & (table.metric == "wer") & (table.target == judged_on(system))]
    mine = mine[mine.variant.str.startswith(f"{BASELINE}@")].drop_duplicates("variant", keep="last")
    by_test = {row.variant.partition("@")[2]: row for row in mine.itertuples()}
    said = [
        f"{100 * by_test[name].value:.1f} % of {name} clips"
        for name in (HARD_SET, CLEAN, UNTRAINED, UNHEARD_SET)
        if name in by_test
    ]
    return f"As it comes it mishears, of the words of test clips, {', '.join(said)}." if said else None


def rates(found: pd.DataFrame) -> str | None:
    """Which learning rates were taken, and how many were tried on validation clips."""
    if found.empty or "rates_tried" not in found:
        return None
    if all(len(tried) < 2 for tried in found.rates_tried):
        usual = ", ".join(f"{name} {line.learning_rate:g}" for name, line in found.iterrows())
        return f"No learning rate was searched for; the usual ones: {usual}."
    said = [f"{name} {line.learning_rate:g} of {len(line.rates_tried)}" for name, line in found.iterrows()]
    return f"Learning rates, by the loss on validation clips, and how many were tried: {', '.join(said)}."


def _points(line: pd.Series, tests: str) -> str:
    change, low, high = (line[f"{tests}_{key}"] for key in ("change", "low", "high"))
    interval = f" [{100 * low:+.1f}, {100 * high:+.1f}]" if low == low and low is not None else ""
    return f"{100 * change:+.1f}{interval}"


def _paired(line: pd.Series, what: str) -> Number | None:
    """A paired difference of a line, by the rules that `floor_rows.difference` has for few sentences."""
    known = {key: line.get(f"{what}_{name}") for name, key in PAIRED.items()}
    return difference({key: None if value != value else value for key, value in known.items()})  # NaN: None


def _level(apart: Number | None) -> Part:
    """Whether a method cannot be told from full fine-tuning by its word errors, or is better."""
    if apart is None:
        return Part("not compared with full fine-tuning", NOT_RUN)
    said = f"{apart.value:+.3g}"
    if apart.ends is None:
        return Part(f"{said} (no interval) to full fine-tuning", UNDECIDED)
    low, high = apart.ends
    return Part(f"{said} [{low:+.3g}, {high:+.3g}] to full fine-tuning", MISSED if low > 0 else MET)


def _floor(
    found: pd.DataFrame, taken: str | None, asked: Callable[[pd.Series], tuple[Part, ...]], what: str
) -> str:
    """What the floors call the method that validation chooses, and which methods do what was promised."""
    words = {name: Answer(str(name), asked(line)).word for name, line in found.iterrows()}
    met = ", ".join(name for name, word in words.items() if word == MET) or "none"
    with_what = "" if taken is None else f" with {taken}, which validation chooses"
    return f"{TOLD[words.get(taken, NOT_RUN)]}{with_what}; {what}, by the whole interval: {met}."
