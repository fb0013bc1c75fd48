"""What does somebody decide from, who has a voice to teach? Every sentence is computed from rows, of now or recorded.

Words as in `lib.measure.verdict`: a method is as near as full fine-tuning where the paired interval of the difference
in similarity lies above its margin, and worse where it lies below; of fewer sentences than decide there, undecided.
Floors are judged by the trial that validation chooses, and so is what is recommended (`by_validation`); a sentence
calls it what the floors of `floors_tuned` call it, whose parts are made here (`asked`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.measure.verdict import MIN_SENTENCES, UNDECIDED, WORSE
from lib.results import by_run, run_of
from lib.studies import by_size, by_validation, floors, origins
from lib.studies.floor_rows import difference, minus
from lib.studies.floors import MET, MISSED, TOLD, Answer, Number, Part, at_least, at_most

if TYPE_CHECKING:
    import pandas as pd

NEAR = "as near"
MARGIN = 0.02  # of similarity, under which two voices count as equally near to the person
GAIN = 0.15  # of similarity over the unadapted base, that an adaptation should bring
SMALL = 2.0  # percent of the base's parameters
LOSS = "validation_mel"  # by which trials are chosen
_WORDS = {MET: NEAR, MISSED: WORSE, floors.UNDECIDED: UNDECIDED, floors.NOT_RUN: UNDECIDED}
# Whose similarity to the person frames that of the learnt voices: (system, what its variant begins with).
ENDS = {"recordings": ("ground-truth", "recording"), "copy": ("istft", "copy")}
METRICS = (
    "speaker_similarity",
    "mos_predicted",
    "wer",
    "asr_nll",
    "pitch_distance_st",
    "rate_distance_pct",
    "trainable_params_pct",
    "adapter_mb",
    "train_peak_rss_mb",
    "train_steps_per_s",
)


@dataclass(frozen=True)
class Case:
    """One system that learnt one voice in one run. found: a line for each trial, what it was, what it took, how near it
    came, index: the variant ("added_mb": what its training took beside the ready process, "trained_by" whom; "judged":
    sentences; "difference", "low", "high", over so many "pairs" of sentences: of similarity, against "reference");
    ends: similarity of "recordings", "copy" and "unadapted".
    """

    found: pd.DataFrame
    ends: dict[str, Number]

    @property
    def last(self) -> pd.DataFrame:
        """The trials on the most data there was, of the first seed."""
        if self.found.empty:
            return self.found
        most = 0.0 if (self.found.asked_minutes == 0).any() else self.found.asked_minutes.max()
        return self.found[(self.found.asked_minutes == most) & (self.found.seed == self.found.seed.min())]

    @property
    def small(self) -> str | None:
        """Of those the one by which the floor of few parameters is judged: of the lowest loss on validation among what
        learns few; where nothing does, among all but full fine-tuning. None without one.
        """
        if self.found.empty:
            return None
        beside = self.last[self.last.method != "full"]
        few = beside[beside.trainable_params_pct <= SMALL]
        return by_validation.lowest(few if len(few) else beside, LOSS)

    @property
    def size(self) -> float:
        """How much its run asked for: steps of a training by sentences judged."""
        if self.found.empty:
            return 0.0
        sentences = self.last.judged.max()
        return float(self.last.steps.max() * (sentences if sentences == sentences else 1))  # NaN: not said


def cases(
    now: pd.DataFrame, recorded: pd.DataFrame, systems: Sequence[str], voices: Sequence[str]
) -> dict[str, Case]:
    """What this run and the longest recorded one say of each system and voice, by name; those that say nothing are left
    out.
    """
    made = {
        f"{system} learns {voice}, {when}": case(longest(table, system, voice), system, voice)
        for system in systems
        for voice in voices
        for when, table in (("now", now), ("recorded", recorded))
    }
    return {name: found for name, found in made.items() if len(found.found)}


def case(table: pd.DataFrame, system: str, voice: str) -> Case:
    """What the rows of one run, as `lib.results.read` returns them, say of a system that learnt a voice."""
    import pandas as pd

    rows = table[table.value.notna()]
    mine = rows[rows.system == system]
    made = {}
    for row in mine[mine.metric == "trainable_params_pct"].itertuples():
        about = _about(row.detail)
        if about.get("voice") == voice:
            own = mine[mine.variant == row.variant].drop_duplicates("metric", keep="last").set_index("metric")
            made[row.variant] = _line(about, own)
    found = pd.DataFrame.from_dict(made, orient="index")
    found = found[found.speaker_similarity.notna()] if len(found) else found
    similar = rows[rows.metric == "speaker_similarity"].drop_duplicates(["system", "variant"], keep="last")
    values = {
        (row.system, row.variant): _number(row.value, row.ci_low, row.ci_high, row.n)
        for row in similar.itertuples()
    }
    framed = {
        name: (who, f"{what}@{voice}")
        for name, (who, what) in {**ENDS, "unadapted": (system, "unadapted")}.items()
    }
    ends = {name: values[row] for name, row in framed.items() if row in values}
    return Case(found, ends)


def longest(table: pd.DataFrame, system: str, voice: str) -> pd.DataFrame:
    """The rows of the longest run in which a system learnt this voice, of several as long the newest, and of what
    frames it; none without one.
    """
    learnt = table[(table.system == system) & (table.metric == "trainable_params_pct") & table.value.notna()]
    learnt = learnt.loc[[_about(detail).get("voice") == voice for detail in learnt.detail]]
    mine = table.system.isin({system, *(who for who, _ in ENDS.values())})
    framed = table[mine & table.variant.str.contains(f"@{voice}", regex=False)]
    runs = [run_of(framed, part.iloc[0]) for part in by_run(learnt)]
    return next(iter(by_size.largest(runs, lambda rows: case(rows, system, voice).size)), table[:0])


def asked(case: Case, name: str) -> tuple[Part, Part, Part]:
    """What the floor of a person's voice asks of a trial: its gain over the unadapted base, how near it comes to full
    fine-tuning, how little it learns.
    """
    line, base = case.found.loc[name], case.ends.get("unadapted")
    own = _number(line.speaker_similarity, line.similarity_low, line.similarity_high, line.judged)
    return (
        at_least(None if base is None else minus(own, base), GAIN, "similarity {} over the unadapted voice"),
        at_least(_to_full(line), -MARGIN, "{} over full fine-tuning"),
        at_most(Number(line.trainable_params_pct, exact=True), SMALL, "{} % of the parameters"),
    )


def length(case: Case) -> str | None:
    """How long a run was, in a sentence: what "recorded" is worth beside "now"."""
    if case.found.empty:
        return None
    said = case.last.judged.max()
    judged = f"; {said:.0f} sentences judged" if said == said else ""  # not NaN
    return f"{len(case.found)} trainings of {case.last.steps.max():,.0f} steps{judged}."


def told(known: Mapping[str, Case], *sayings: Callable[[Case], str | None]) -> list[str]:
    """What each saying makes of each case, under the case's name."""
    said = [(name, say(case)) for name, case in known.items() for say in sayings]
    return [f"*{name}.* {text}" for name, text in said if text]


def nearness(case: Case) -> str | None:
    """How near the one by which the floor is judged came, between the unadapted base and the vocoder's copy; where full
    fine-tuning alone learnt, it.
    """
    if case.found.empty or not {"copy", "unadapted"} <= case.ends.keys():
        return None
    if (taken := case.small or by_validation.lowest(case.last, LOSS)) is None:
        return None
    line, (low, high) = case.last.loc[taken], (case.ends[name].value for name in ("unadapted", "copy"))
    few = f"of those that learn at most {SMALL:g} % of the parameters "
    which = f"{few if line.trainable_params_pct <= SMALL else ''}the one of the lowest loss on validation"
    gain, *_ = asked(case, taken)
    return (
        f"Similarity to the person: {low:.2f} for the base as it is, {line.speaker_similarity:.2f} for {taken}, "
        f"{which}, {high:.2f} for the vocoder's copy of the person's own clips, which no adaptation can pass: "
        f"{100 * (line.speaker_similarity - low) / (high - low):.0f} % of the way. "
        f"{TOLD[gain.word]}: {gain.said}, {GAIN:+.2f} wanted of the whole interval."
    )


def against_full(case: Case) -> str | None:
    """What each method loses against full fine-tuning on the same data, in the words of the verdict."""
    last = case.last
    compared = last[last.reference.str.startswith("full@") & last.low.notna()] if len(last) else last
    if compared.empty:
        return None
    said = [
        f"{name} ({line.trainable_params_pct:.3g} % of the parameters) {line.difference:+.3f} "
        f"[{line.low:+.3f}, {line.high:+.3f}], {_WORDS[asked(case, name)[1].word]}"
        for name, line in compared.sort_values("trainable_params_pct", kind="stable").iterrows()
    ]
    floor = f"within {MARGIN:g} of full fine-tuning with at most {SMALL:g} % of the parameters"
    if case.small is None:
        met = f"{TOLD[floors.NOT_RUN]}: {floor}"
    else:
        _, near, few = asked(case, case.small)
        if few.word != MET:
            how = "nothing that learns so few was tried"
        elif near.word == floors.NOT_RUN:
            how = f"{case.small} was not compared"
        else:
            how = f"{case.small}, of these the one of the lowest loss on validation, is {_WORDS[near.word]} by its "
            how += "interval"
        met = f"{TOLD[Answer(case.small, (near, few)).word]}: {floor}: {how}"
    return f"Similarity against full fine-tuning, in pairs: {'; '.join(said)}. {met}."


def over_seeds(case: Case) -> str | None:
    """How much the difference to full fine-tuning moves with the seed of both; intervals are over sentences alone."""
    import numpy as np

    if case.found.empty:
        return None
    same = case.found[case.found.asked_minutes == case.last.asked_minutes.max()]
    paired = same[same.reference.str.startswith("full@") & same.difference.notna()]
    named = paired.assign(who=[variant.partition("@")[0] for variant in paired.index])
    said = [
        f"{who} {', '.join(f'{value:+.3f}' for value in part.difference)} "
        f"(seeds {', '.join(f'{seed:g}' for seed in part.seed)}; {np.ptp(part.difference):.3f} apart)"
        for who, part in named.sort_values("seed", kind="stable").groupby("who", sort=False)
        if part.seed.nunique() > 1
    ]
    if not said:
        return None
    return (
        f"The same difference with other seeds, each against full fine-tuning of its own: {'; '.join(said)}. Intervals "
        "are over sentences: what moves with the seed by more than their width they do not know."
    )


def over_minutes(case: Case) -> str | None:
    """What more data brings each method, from the least to the most of it; that nothing is known of it where all
    learnt from as much.
    """
    if case.found.empty:
        return None
    if case.found.asked_minutes.nunique() == 1:
        return (
            f"All learnt from {case.found.minutes.max():.1f} minutes of speech: what more or less of it brings was not "
            "asked (`minutes` in the parameters)."
        )
    said = []
    for (method, rank), part in series(case.found).items():
        first, last = part.iloc[0], part.iloc[-1]
        said.append(
            f"{method}{f' of rank {rank}' if 'lora' in method else ''} {first.speaker_similarity:.2f} with "
            f"{first.minutes:.1f} minutes, {last.speaker_similarity:.2f} with {last.minutes:.1f}"
        )
    if not said:
        return None
    return f"Similarity over minutes of data, all with equal steps, so that less is read more often: {'; '.join(said)}."


def series(found: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """(method, rank) -> its lines by rising minutes, of the first seed and the usual layers; only where there are
    several.
    """
    if found.empty:
        return {}
    elsewhere = found.index.str.contains(r"\+.*@")  # beside other layers than the usual ones
    one = found[(found.seed == found.seed.min()) & ~elsewhere]
    parts = {key: part.sort_values("minutes") for key, part in one.groupby(["method", "rank"], sort=False)}
    return {key: part for key, part in parts.items() if part.asked_minutes.nunique() > 1}


def costs(case: Case) -> str | None:
    """Memory and time of a step, as ratios to full fine-tuning of the same run; alone where it is not among them; and
    whose clock and memory that is.
    """
    last = case.last
    if last.empty:
        return None
    whose = origins.trainers(dict(last.trained_by))
    if "full" not in set(last.method) or len(last) < 2:
        alone = [
            f"{name} {line.added_mb:,.0f} MB and {1 / line.train_steps_per_s:.2f} s a step"
            for name, line in last.iterrows()
        ]
        return (
            f"Training took, beside the process that was ready for it, {'; '.join(alone)}. There is no other method to "
            f"compare that with: name `full` and one more in `methods`. {whose}"
        )
    full = last[last.method == "full"].iloc[0]
    said = [
        f"{name} {line.added_mb:,.0f} MB and {full.train_steps_per_s / line.train_steps_per_s:.2f} times the time"
        for name, line in last[last.method != "full"].iterrows()
    ]
    return (
        f"Training took full fine-tuning {full.added_mb:,.0f} MB beside the process that was ready for it and "
        f"{1 / full.train_steps_per_s:.2f} s a step; {'; '.join(said)}. Each in a fresh process; times are as noisy as "
        f"the machine, so read the ratios. {whose}"
    )


def quantized(case: Case) -> str | None:
    """Whether weights of 4 bits save memory in training: QLoRA's against LoRA's of the same rank."""
    last = case.last
    if last.empty or not {"qlora", "lora"} <= set(last.method):
        return None
    packed = last[last.method == "qlora"].iloc[0]
    plain = last[(last.method == "lora") & (last["rank"] == packed["rank"])]
    if plain.empty:
        return None
    other = plain.iloc[0]
    saved = 1 - packed.train_peak_rss_mb / other.train_peak_rss_mb
    return (
        f"QLoRA's process peaked at {packed.train_peak_rss_mb:,.0f} MB, LoRA's at {other.train_peak_rss_mb:,.0f}: "
        + (
            f"{100 * saved:.0f} % less."
            if saved > 0.02  # less than that is no reason to choose it
            else "no less. A network of a few million weights is small beside what its activations take, so there is "
            "little for 4 bits to save."
        )
    )


def recommended(case: Case) -> str | None:
    """What to take: of the trials on the most data whose loss on validation is as good as the lowest, the smallest
    adapter; none where that is no nearer to the person than the base was.
    """
    last = case.last
    if last.empty or (lowest := by_validation.lowest(last, LOSS)) is None:
        return None
    level = by_validation.level(last, LOSS)
    pick, before = level.iloc[0], case.ends.get("unadapted", Number(float("-inf"))).value
    why = (
        f" (loss of the mel on validation {pick[LOSS]:.3f}, the lowest, of {lowest}, {last[LOSS][lowest]:.3f}; "
        f"{len(level)} of {len(last)} are within {100 * by_validation.LEVEL:.0f} % of the lowest, of these it is the "
        "smallest)"
        if len(last) > 1
        else ""
    )
    if pick.speaker_similarity <= before:
        return (
            f"**Take none yet**: {pick.name}{why} has a similarity of {pick.speaker_similarity:.3f}, the base as it "
            f"is {before:.3f}. Learn longer than {last.steps.max():,.0f} steps, or from more than "
            f"{last.minutes.max():.1f} minutes."
        )
    heard = [f"similarity {pick.speaker_similarity:.3f}"]
    heard += [f"the base as it is {before:.3f}"] if "unadapted" in case.ends else []
    heard += [f"WER {100 * pick.wer:.1f} %"] if pick.wer == pick.wer else []  # not NaN
    heard += [f"predicted MOS {pick.mos_predicted:.2f}"] if pick.mos_predicted == pick.mos_predicted else []
    return (
        f"**Take {pick.name}**: {pick.adapter_mb:.2f} MB and {pick.trainable_params_pct:.3g} % of the "
        f"parameters{why}. On the sentences that are judged, which had no say in that: {', '.join(heard)}."
    )


def _about(detail: str) -> dict:
    """What a row says of its training; nothing where its detail is no JSON."""
    return json.loads(detail) if str(detail).startswith("{") else {}


def _line(about: dict, own: pd.DataFrame) -> dict:
    """own: the variant's rows by metric."""
    nan = float("nan")
    line = {
        key: about[key] for key in ("method", "rank", "asked_minutes", "minutes", "seed", "steps", "added_mb")
    }
    line |= {
        "trained_by": about.get("trained_by", ""),
        LOSS: about.get(LOSS, nan),
        **{metric: own.value.get(metric, nan) for metric in METRICS},
    }
    line |= {"reference": "", "similarity_low": nan, "similarity_high": nan, "judged": nan}
    paired: dict = {}
    if "speaker_similarity" in own.index:
        judged = own.loc["speaker_similarity"]
        paired = _about(judged.detail)
        line |= {
            "reference": judged.baseline,
            "similarity_low": judged.ci_low,
            "similarity_high": judged.ci_high,
            "judged": judged.n,
        }
    for name, key in (("difference", "difference"), ("low", "ci_low"), ("high", "ci_high"), ("pairs", "n")):
        line[name] = nan if paired.get(key) is None else paired[key]
    return line


def _number(value: float, low: float, high: float, n: float) -> Number:
    """A mean, with its interval where it is of enough sentences to decide anything."""
    return Number(value) if n < MIN_SENTENCES else Number(value, low, high)


def _to_full(line: pd.Series) -> Number | None:
    """The paired difference to full fine-tuning on the same data; None where it was not laid beside that."""
    if not str(line.reference).startswith("full@"):
        return None
    known = {"difference": line.difference, "ci_low": line.low, "ci_high": line.high, "n": line.pairs}
    return difference({key: None if value != value else value for key, value in known.items()})  # NaN: None
