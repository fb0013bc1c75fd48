"""What did the ablation of `istft` find? The rows of `vocoder_parts` read again: what each change does to the
copies, and in words.
"""

from __future__ import annotations

import json

import pandas as pd

from lib import results
from lib.measure.stats import p_text
from lib.studies.vocoder_parts import CASES, SUFFIX, SYSTEM, VARIANTS, WHOLE

_PAIRED = ("difference", "ci_low", "ci_high", "p_value")


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """What each case does to the copies of all clips, in the newest run: a line a case and metric, the paired
    difference with its interval and p value; empty without rows. table: of `lib.results.read`.
    """
    lines = [
        {"case": row.variant.removesuffix(SUFFIX), "metric": row.metric, "value": row.value}
        | {name: json.loads(row.detail)[name] for name in _PAIRED}
        for row in _newest(table).itertuples()
        if row.baseline
    ]
    made = pd.DataFrame(lines, columns=["case", "metric", "value", *_PAIRED])
    return made.astype(dict.fromkeys(_PAIRED, float))  # what is not known: NaN


def verdict(table: pd.DataFrame) -> str | None:
    """What the whole comes to, and what each change does to that, the dearest first, in two sentences; None
    without rows. table: of `lib.results.read`.
    """
    found, lines = _newest(table), changes(table)
    whole = found[found.variant == f"{WHOLE}{SUFFIX}"].set_index("metric")
    rated = lines[lines.metric == "mos_predicted"].set_index("case").sort_values("difference")
    if not {"mos_predicted", "pesq_wb", "wer"} <= set(whole.index) or rated.empty:
        return None
    value, detail = whole.value, json.loads(whole.detail["mos_predicted"])
    sure = rated.p_value < 0.05
    groups = {
        "lower": sure & (rated.difference < 0),
        "higher": sure & (rated.difference > 0),
        "within chance of that": ~sure,
    }
    said = [
        f"{words} {', '.join(_told(CASES[name].words, row) for name, row in rated[chosen].iterrows())}"
        for words, chosen in groups.items()
        if chosen.any()
    ]
    return (
        f"After {detail['steps']:,} steps from nothing copies by the whole vocoder have a predicted MOS of "
        f"{value.mos_predicted:.2f}, a PESQ of {value.pesq_wb:.2f} and a WER of {100 * value.wer:.1f} % "
        f"({whole.n['mos_predicted']:.0f} clips). Predicted MOS is {'; '.join(said)}."
    )


def _told(words: str, row: pd.Series) -> str:
    return f"{words} ({row.difference:+.2f}, {p_text(row.p_value)})"


def _newest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of all clips together, of the newest run of the study."""
    chosen = (table.system == SYSTEM) & table.variant.isin(VARIANTS) & table.value.notna()
    return results.newest_run(table[chosen])
