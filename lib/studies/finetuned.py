"""What does somebody decide from, who has a voice to teach? Every sentence is computed from rows, of now or recorded.

Words as in `lib.measure.verdict`: a method is as near as full fine-tuning where the paired interval of the difference
in similarity lies above its margin, and worse where it lies below.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lib.results import newest_run

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.02  # of similarity, under which two voices count as equally near to the person
GAIN = 0.15  # of similarity over the unadapted base, that an adaptation should bring
SMALL = 2.0  # percent of the base's parameters
METRICS = (
    "speaker_similarity",
    "mos_predicted",
    "wer",
    "asr_nll",
    "pitch_distance_st",
    "rate_distance_pct",
    "trainable_params_pct",
    "adapter_mb",
    "peak_rss_mb",
    "train_steps_per_s",
)


def lines(table: pd.DataFrame, system: str, voice: str) -> pd.DataFrame:
    """A line for each trial of a system on a voice: what it was, what it took, how near it came; index: the variant.

    table: rows of one run, as `lib.results.read` returns them; "added_mb": what its training took beside the ready
    process; "difference", "low", "high": of similarity, paired, against "reference".
    """
    import pandas as pd

    mine = table[(table.system == system) & table.value.notna()]
    took = mine[mine.metric == "trainable_params_pct"]
    made = {}
    for row in took.itertuples():
        about = json.loads(row.detail)
        if about.get("voice") != voice:
            continue
        own = mine[mine.variant == row.variant].drop_duplicates("metric", keep="last").set_index("metric")
        line = {
            key: about[key]
            for key in ("method", "rank", "asked_minutes", "minutes", "seed", "steps", "added_mb")
        }
        line["modules"] = "+".join(about["modules"])
        line |= {metric: own.value.get(metric, float("nan")) for metric in METRICS}
        if "speaker_similarity" in own.index:
            judged = own.loc["speaker_similarity"]
            paired = json.loads(judged.detail) if judged.detail else {}
            for name, key in (("difference", "difference"), ("low", "ci_low"), ("high", "ci_high")):
                line[name] = float("nan") if paired.get(key) is None else paired[key]
            line |= {
                "similarity_low": judged.ci_low,
                "similarity_high": judged.ci_high,
                "reference": judged.baseline,
            }
        made[row.variant] = line
    found = pd.DataFrame.from_dict(made, orient="index")
    if "reference" not in found:  # nothing was judged
        return found[:0]
    return found[found.speaker_similarity.notna()]


def ends(table: pd.DataFrame, system: str, voice: str) -> dict[str, float]:
    """Similarity of the "recordings" themselves, of the vocoder's "copy", and of the "unadapted" base."""
    rows = table[
        (table.metric == "speaker_similarity") & (table.variant == f"baseline@{voice}") & table.value.notna()
    ]
    by_system = rows.drop_duplicates("system", keep="last").set_index("system").value
    named = {"recordings": "ground-truth", "copy": "istft", "unadapted": system}
    return {name: float(by_system[who]) for name, who in named.items() if who in by_system}


def newest(table: pd.DataFrame, system: str, voice: str) -> pd.DataFrame:
    """The rows of the newest run that learnt this voice; none where there is none."""
    learnt = table[(table.system == system) & (table.metric == "trainable_params_pct") & table.value.notna()]
    learnt = learnt[
        [json.loads(d).get("voice") == voice if d.startswith("{") else False for d in learnt.detail]
    ]
    if learnt.empty:
        return table[:0]
    one = newest_run(learnt).iloc[0]
    same = (table.notebook == one.notebook) & (table.host == one.host) & (table.commit == one.commit)
    return table[same & table.system.isin((system, "istft", "ground-truth"))]


def most_data(found: pd.DataFrame) -> pd.DataFrame:
    """The trials on the most data there was, of the first seed."""
    if found.empty:
        return found
    most = 0.0 if (found.asked_minutes == 0).any() else found.asked_minutes.max()
    return found[(found.asked_minutes == most) & (found.seed == found.seed.min())]


def nearness(found: pd.DataFrame, known: dict[str, float]) -> str | None:
    """How near the best came, between the unadapted base and the vocoder's copy."""
    if found.empty or not {"copy", "unadapted"} <= known.keys():
        return None
    best = found.speaker_similarity.idxmax()
    value = found.speaker_similarity[best]
    way = (value - known["unadapted"]) / (known["copy"] - known["unadapted"])
    gained = value - known["unadapted"]
    return (
        f"Similarity to the person: {known['unadapted']:.2f} for the base as it is, {value:.2f} for {best}, "
        f"{known['copy']:.2f} for the vocoder's copy of the person's own clips, which no adaptation can pass: "
        f"{100 * way:.0f} % of the way. {_floor(gained >= GAIN, f'a gain of {gained:+.2f}, {GAIN:+.2f} wanted')}."
    )


def against_full(found: pd.DataFrame) -> str | None:
    """What each method loses against full fine-tuning on the same data, in the words of the verdict."""
    last = most_data(found)
    compared = last[last.reference.str.startswith("full@") & last.low.notna()] if len(last) else last
    if compared.empty:
        return None
    said = [
        f"{name} ({line.trainable_params_pct:.2g} % of the parameters) {line.difference:+.3f} "
        f"[{line.low:+.3f}, {line.high:+.3f}], {_word(line)}"
        for name, line in compared.sort_values("trainable_params_pct").iterrows()
    ]
    small = compared[compared.trainable_params_pct <= SMALL]
    close = small[small.low > -MARGIN]
    wanted = f"within {MARGIN:g} of full fine-tuning with at most {SMALL:g} % of the parameters"
    return (
        f"Similarity against full fine-tuning, in pairs: {'; '.join(said)}. "
        + _floor(
            len(close) > 0, f"{wanted}: {', '.join(close.index) if len(close) else 'none, by the interval'}"
        )
        + "."
    )


def over_minutes(found: pd.DataFrame) -> str | None:
    """What more data brings each method, from the least to the most of it."""
    said = []
    for (method, rank), part in found.groupby(["method", "rank"], sort=False) if len(found) else ():
        part = part[part.seed == part.seed.min()].drop_duplicates("minutes").sort_values("minutes")
        if len(part) > 1:
            first, last = part.iloc[0], part.iloc[-1]
            said.append(
                f"{method}{f' of rank {rank}' if 'lora' in method else ''} {first.speaker_similarity:.2f} with "
                f"{first.minutes:.1f} minutes, {last.speaker_similarity:.2f} with {last.minutes:.1f}"
            )
    return f"Similarity over minutes of data: {'; '.join(said)}." if said else None


def costs(found: pd.DataFrame) -> str | None:
    """Memory and time of a step, as ratios to full fine-tuning of the same run."""
    last = most_data(found)
    if last.empty or "full" not in set(last.method) or len(last) < 2:
        return None
    full = last[last.method == "full"].iloc[0]
    said = [
        f"{name} {line.added_mb:,.0f} MB ({line.added_mb / full.added_mb:.2f}) and "
        f"{full.train_steps_per_s / line.train_steps_per_s:.2f} times the time"
        for name, line in last[last.method != "full"].iterrows()
        if full.added_mb > 0
    ]
    return (
        f"Training took full fine-tuning {full.added_mb:,.0f} MB beside the process that was ready for it and "
        f"{1 / full.train_steps_per_s:.2f} s a step; {'; '.join(said)}. Each in a fresh process; times are as noisy as "
        "the machine, so read the ratios."
        if said
        else None
    )


def quantized(found: pd.DataFrame) -> str | None:
    """Whether weights of 4 bits save memory in training: QLoRA's against LoRA's."""
    last = most_data(found)
    one, other = (last[last.method == method] if len(last) else last for method in ("qlora", "lora"))
    if one.empty or other.empty:
        return None
    one, other = one.iloc[0], other[other["rank"] == one["rank"].iloc[0]].iloc[:1]
    if other.empty:
        return None
    other = other.iloc[0]
    return (
        f"QLoRA's process peaked at {one.peak_rss_mb:,.0f} MB, LoRA's at {other.peak_rss_mb:,.0f}: "
        f"{'less' if one.peak_rss_mb < other.peak_rss_mb else 'no less'}. A network of a few million weights is small "
        "beside what its activations take, so there is little for 4 bits to save."
    )


def recommended(found: pd.DataFrame) -> str | None:
    """What to take: of the methods on the most data that are not worse than the best, the smallest adapter."""
    last = most_data(found)
    if last.empty:
        return None
    best = last.speaker_similarity.max()
    equal = last[(last.speaker_similarity >= best - MARGIN) & (last.wer <= last.wer.min() + 0.01)]
    equal = equal if len(equal) else last[last.speaker_similarity >= best - MARGIN]
    pick = equal.sort_values("adapter_mb", kind="stable").iloc[0]
    return (
        f"**Take {pick.name}**: {pick.adapter_mb:.2f} MB and {pick.trainable_params_pct:.2g} % of the "
        f" parameters, similarity {pick.speaker_similarity:.3f} (the best has {best:.3f}), WER "
        f"{100 * pick.wer:.1f} %, predicted MOS {pick.mos_predicted:.2f}. "
        f"{len(equal)} of {len(last)} are within {MARGIN:g} of the best in similarity"
        + (" and a point of WER of the lowest" if (equal.wer <= last.wer.min() + 0.01).all() else "")
        + "; of these it is the smallest."
    )


def _word(line: pd.Series) -> str:
    if line.low > -MARGIN:
        return "as near"
    return "worse" if line.high < -MARGIN else "undecided"


def _floor(met: bool, what: str) -> str:
    return f"{'Reached' if met else 'Missed'}: {what}"
