"""The listening test of a run, step by step, as the notebook calls it: its clips, its kit, what came back, what
it says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.files import content_key
from lib.listening import analysis, checks, clips, kit, power, ratings
from lib.listening.clips import Stimulus
from lib.measure import stats, verdict

if TYPE_CHECKING:
    import pandas as pd

    from lib.measure.scorer import Scorer

_CROWD = 300  # listeners that somebody could still find
LIGHT = ("hibari", "vits-joe", "espeak-ng")  # voices that speak here where no run has left clips


@dataclass(frozen=True)
class Test:
    """A kit on the disk. planned: its size for `power`; listeners: planned in all groups."""

    folder: Path
    key: kit.Key
    pages: tuple[Path, ...]
    planned: power.Size
    per_listener: int

    @property
    def listeners(self) -> int:
        """How many people it was made for."""
        return len({(trial["group"], trial["number"]) for trial in self.key.trials.values()})


def stimuli(
    profile_folder: str | Path, *, most_conditions: int, texts: Sequence[str], seed: int = 0, threads: int = 1
) -> list[list[Stimulus]]:
    """[condition][sentence]: clips that 01_baselines kept, or where it kept none, texts that LIGHT voices read
    now.
    """
    kept = clips.of_run(profile_folder)
    if len({stimulus.condition for stimulus in kept}) < 2:
        from lib import systems

        kept = clips.read_aloud([systems.load(name, threads=threads) for name in LIGHT], texts, seed)
    return clips.grid(kept, most_conditions=most_conditions)


def prepare(profile_folder: str | Path, grid: Sequence[Sequence[Stimulus]], plan: kit.Plan) -> Test:
    """The kit of these clips and this plan: the one that stands there already (people may be rating it), or a
    new one in a folder of its own, so that none is ever written over.
    """
    heard = [(s.condition.name, s.sentence, s.waveform.tobytes()) for row in grid for s in row]
    parts = [part for stimulus in heard for part in stimulus]
    folder = Path(profile_folder) / "listening" / f"{plan.method}-{content_key(repr(plan), *parts)[:8]}"
    if not (folder / "key.json").exists():
        kit.make(grid, plan, folder, _voice_of_checks())
    key = kit.read_key(folder / "key.json")
    session = [t for t in key.trials.values() if (t["group"], t["number"]) == (1, 1) and t["role"] == "rating"]
    each = len(session) // len(grid) if plan.method == "acr" else len(session)
    planned = power.Size(plan.groups * plan.listeners, len(key.sentences), max(1, each))
    pages = tuple(folder / f"listen-{number}.html" for number in range(1, plan.groups + 1))
    return Test(folder, key, pages, planned, len(session))


def facts(test: Test) -> str:
    """What was made, in a paragraph."""
    megabytes = max(path.stat().st_size for path in test.pages) / 1e6
    traps = sum(t["role"] == "trap" for t in test.key.trials.values()) // test.listeners
    pages = "One page" if len(test.pages) == 1 else f"{len(test.pages)} pages"
    flaw = f" {kit.MUSHRA_FLAW}" if test.key.method == "mushra" else ""
    method, conditions, sentences = (
        kit.METHODS[test.key.method],
        len(test.key.conditions),
        len(test.key.sentences),
    )
    return (
        f"{pages} of up to {megabytes:.1f} MB for {test.listeners} listeners: {method}.{flaw} Each counts soft tones, "
        f"rates {test.per_listener} pages (of {conditions} conditions and {sentences} sentences) and meets "
        f"{traps} traps. All clips have {test.key.lufs:.1f} LUFS."
    )


def invitation(test: Test) -> str:
    """How somebody listens, and how the ratings come back, as Markdown."""
    numbers = len({t["number"] for t in test.key.trials.values() if t["group"] == 1})
    steps = (
        f"Send each listener a page of `{test.folder}` and a number from 1 to {numbers}, each number once a group "
        "(`listen-1.html#3` is listener 3 of group 1). It opens from a disk, a mail or any web host.",
        "They send back the file they save at the end: put it beside the pages, and run this notebook again.",
        'Or collect over the network: make the kit with `post="/ratings"`, and let '
        f"`python -m lib.listening.server {test.folder}` serve its pages; they send each rating as it is given.",
        "`key.json` says what was behind each clip. It stays here until everybody has listened.",
    )
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))


def heard(test: Test) -> analysis.Heard | None:
    """What listeners answered so far; None where nobody has."""
    given = ratings.collected(test.folder, test.key)
    return analysis.hear(given, test.key) if given else None


def answered(came_back: analysis.Heard | None, test: Test) -> str:
    """Who listened, in a sentence."""
    if came_back is None:
        return f"**Not run: nobody has listened yet.** Open {test.pages[0].name} and be the first."
    out = came_back.screened[~came_back.screened.kept.astype(bool)]
    left = "; ".join(f"{line.listener} ({line.why})" for line in out.itertuples())
    said = f"{came_back.everybody.listener.nunique()} people listened, of {test.listeners} planned."
    return said + (f" Left out by the rules in the key: {left}." if left else " The rules leave nobody out.")


def opinion_table(came_back: analysis.Heard) -> "pd.DataFrame":
    """Mean opinion of each condition, with and without the listeners who were left out."""
    import pandas as pd

    judged = came_back.everybody[came_back.everybody.role == "rating"]
    counted, everybody = (analysis.opinions(table) for table in (came_back.table, judged))
    lines = {
        name: {
            "rating": _interval(estimate),
            "ratings": estimate.n,
            "with everybody": _interval(everybody[name]),
        }
        for name, estimate in counted.items()
    }
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("condition")


def comparison_table(compared: Sequence[analysis.Compared]) -> "pd.DataFrame":
    """A line for each pair: the difference, how often the second is put above the first, corrected p values."""
    import pandas as pd

    lines = [
        {
            "pair": f"{pair.b} against {pair.a}",
            "difference": _interval(pair.difference, sign="+"),
            "rated above": _interval(pair.superiority),
            "by means": _p(pair.p_means),
            "by ranks": _p(pair.p_ranks),
        }
        for pair in compared
    ]
    return pd.DataFrame(lines).set_index("pair") if lines else pd.DataFrame()


def verdict_table(came_back: analysis.Heard) -> "pd.DataFrame":
    """What each variant is called against its own baseline, by people; empty where none was heard beside it."""
    import pandas as pd

    held = {condition.name: condition for condition in came_back.key.conditions}
    pairs = []
    for name, condition in held.items():
        base = clips.Condition(condition.system, "baseline", condition.target)
        if base.name in held and base != condition and came_back.key.method == "acr":
            pairs.append((base.name, name))
    words = analysis.verdicts(analysis.compare(came_back.table, pairs)) if pairs else {}
    lines = [(pair, v.word, "; ".join(v.reasons), v.sentences_needed or "") for pair, v in words.items()]
    return pd.DataFrame(lines, columns=["pair", "verdict", "because", "sentences needed"]).set_index("pair")


def predictor(came_back: analysis.Heard, grid: Sequence[Sequence[Stimulus]], scorer: "Scorer") -> str:
    """Whether predicted MOS agrees with people, clip by clip, in a sentence."""
    predicted = {
        (s.condition.name, s.sentence): scorer.mos(s.waveform, s.sample_rate) for row in grid for s in row
    }
    agreed = analysis.agreement(came_back.table, predicted)
    if agreed is None:
        return "Too few clips, or no variation, to say whether predicted MOS agrees with people."
    return (
        f"Predicted MOS agrees with people, over {agreed.pearson.n} clips, with a correlation of "
        f"{_interval(agreed.pearson)} (by ranks {_interval(agreed.spearman)})."
    )


def plan_finding(test: Test, assumption: power.Assumption) -> str:
    """What this kit can find, in a sentence."""
    least = power.detectable(test.planned, assumption)
    size = f"{test.planned.listeners} listeners and {test.planned.sentences} sentences"
    by = (
        f"({assumption.source}: standard deviations {assumption.taste:.2g} by taste, {assumption.fit:.2g} by sentence, "
        f"{assumption.rest:.2g} for the rest)"
    )
    if least is None:
        return f"With {size} this kit decides nothing {by}."
    return f"With {size} this kit finds a difference of {least:.2f} MOS in four of five cases {by}."


def margin_finding(assumption: power.Assumption) -> str:
    """How many sentences a verdict within the margin of 0.1 MOS takes, in a sentence."""
    margin = abs(verdict.MARGINS["mos_human"])
    for sentences in (12, 24, 48, 96, 192, 384):
        needed = power.listeners_needed(margin, sentences, assumption)
        if needed is not None and needed <= _CROWD:
            return (
                f"To see {margin:g} MOS, the margin of a verdict, takes {sentences} sentences and {needed} listeners "
                "who hear them all."
            )
    return f"No crowd of {_CROWD} listeners and 384 sentences sees {margin:g} MOS, the margin of a verdict."


def outcome(came_back: analysis.Heard | None) -> str:
    """The best and the worst, in a sentence."""
    if came_back is None or not came_back.listeners:
        return "Nobody has listened yet, so nothing is said about what people hear; what stands elsewhere is predicted."
    if came_back.key.method in ("ab", "ccr"):
        compared = analysis.preferences(came_back.table)
        clear = [pair for pair in compared if pair.p_means < 0.05 and pair.p_ranks < 0.05]
        return f"Of {len(compared)} pairs, {len(clear)} differ by means and by ranks after correction."
    means = list(analysis.opinions(came_back.table).items())
    (first, best), (last, worst) = means[0], means[-1]
    return f"People rate {first} highest ({_interval(best)}) and {last} lowest ({_interval(worst)})."


def _voice_of_checks() -> checks.Speak:
    from lib import systems

    voice = systems.load("espeak-ng")

    def speak(text: str) -> tuple[np.ndarray, int]:
        speech = voice.synthesize(text, seed=0)
        return speech.waveform, speech.sample_rate

    return speak


def _interval(estimate: stats.Estimate, sign: str = "") -> str:
    ends = "" if estimate.low is None else f" [{estimate.low:{sign}.2f}, {estimate.high:{sign}.2f}]"
    return f"{estimate.value:{sign}.2f}{ends}"


def _p(p_value: float) -> str:
    return "" if math.isnan(p_value) else stats.p_text(p_value)
