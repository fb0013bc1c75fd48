"""What is the answer? A few sentences, computed from the rows of this run.

No sentence is typed in: each is built from rows and left out when a row it needs is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from markupsafe import Markup

from lib.measure.energy import words as energy_words
from lib.metrics import deliberate
from lib.report import tradeoff, verdicts, vocabulary
from lib.report.collect import Row
from lib.report.tradeoff import name, points


def sentences(rows: Iterable[Row]) -> list[Markup]:
    """The answer in at most four sentences, from numbers this run measured; where it compared no variant with a
    baseline, what earlier runs found of theirs is said as such.
    """
    every = list(rows)
    current = [row for row in every if not row.recorded]
    rows = [row for row in current if row.kind == "measured"]
    older = [row for row in every if row.recorded and row.kind == "measured"]
    made = [_best_voice(rows), tradeoff.finding(rows), _speed(rows, current), verdicts.finding(rows, older)]
    if any(made) and not made[-1]:  # whether a listener would notice is the question: earlier runs may know
        earlier = verdicts.finding(older)
        made[-1] = (
            Markup("{} That was measured by earlier runs; the run above compared no variant.").format(earlier)
            if earlier
            else None
        )
    return [sentence for sentence in made if sentence]


def _best_voice(rows: list[Row]) -> Markup | None:
    voices = [
        row
        for row in rows
        if row.metric == "mos_predicted"
        and vocabulary.role(row.system) == "voice"
        # not on other texts, which nobody else has read, and not changed in part or on purpose to see what that does
        and "@" not in row.variant
        and not deliberate(row.variant)
    ]
    if not voices:
        return None
    best = max(voices, key=lambda row: row.value)
    count = len({row.system for row in voices})
    title = _strong(best, voices)
    text = (
        Markup("{} has the best predicted MOS of the {} voices measured, {}").format(title, count, _plain(best))
        if count > 1
        else Markup("{} has a predicted MOS of {}").format(title, _plain(best))
    )
    truth = next((row for row in rows if row.metric == "mos_predicted" and row.system == "ground-truth"), None)
    # A voice that also read the texts of the recordings ("baseline@prompts") is compared on those, and on those alone:
    # it may have read the first few of them.
    same = next(
        (
            row
            for row in rows
            if row.metric == "mos_predicted"
            and (row.system, row.target) == (best.system, best.target)
            and row.variant == f"{best.variant}@prompts"
            and (truth is None or _paired(row) or row.n == truth.n)
        ),
        None,
    )
    compared = same or best
    if truth:
        pair = _paired(same)
        person = same.value - pair["difference"] if pair else truth.value
        shown = vocabulary.number("mos_predicted", person)
        difference = f"{abs(round(compared.value, 2) - round(person, 2)):.2f}"  # of the numbers shown beside it
        side = "above" if compared.value > person else "below"
        where = (
            Markup(" of the same {}texts ({} against {})").format(
                f"{same.n} " if same.n else "", _plain(same), shown
            )
            if same
            else f" ({shown})"
        )
        text += Markup("{} {} {} real recordings{}").format(
            ", and is" if same else ",", difference, side, where
        )
        if _unsettled(pair, compared, truth):
            text += ", a difference that the intervals do not settle"
        elif compared.value > person:
            text += ", in the eyes of a network: no listener was asked"
    wer = _same(rows, compared, "wer")
    if wer:
        text += Markup("; {}a recogniser gets {} % of its words wrong").format(
            "on those texts " if truth and same else "", vocabulary.number("wer", wer.value)
        )
        heard = next((row for row in rows if row.metric == "wer" and row.system == "ground-truth"), None)
        pair = _paired(wer)
        theirs = wer.value - pair["difference"] if pair else heard.value if heard else None
        if theirs is not None:
            text += Markup(", and {} % of theirs").format(vocabulary.number("wer", max(0.0, theirs)))
    return text + "."


def _paired(row: Row | None) -> dict | None:
    """The paired difference of a row from the recorded person on the same texts, where it was compared with one."""
    if row is None or row.baseline != "ground-truth":
        return None
    try:
        detail = json.loads(row.detail)
    except ValueError:
        return None
    return detail if isinstance(detail, dict) and detail.get("difference") is not None else None


def _unsettled(pair: dict | None, one: Row, other: Row) -> bool:
    """Whether the difference may be none: its paired interval holds zero, or, unpaired, both intervals overlap."""
    if pair:
        low, high = pair.get("ci_low"), pair.get("ci_high")
        return low is not None and high is not None and low <= 0 <= high
    if one.ci_low is None or other.ci_low is None:
        return False
    return one.ci_low <= other.ci_high and other.ci_low <= one.ci_high


def _speed(rows: list[Row], current: list[Row]) -> Markup | None:
    """How fast the best voice is and what it costs (of `current`: energy may be estimated), and who is fastest."""
    speeds = [
        row for row in rows if row.metric == "rtf" and vocabulary.role(row.system) == "voice" and row.value > 0
    ]
    if not speeds:
        return None
    pairs = [rtf for rtf, _ in points(rows)]
    best = max((mos for _, mos in points(rows)), key=lambda row: row.value, default=None)
    chosen = _same(pairs, best, "rtf") if best else min(speeds, key=lambda row: row.value)
    fastest = min(speeds, key=lambda row: row.value)
    text = Markup("{} speaks {}").format(_strong(chosen, speeds), _times(chosen))
    if costs := _costs(chosen, current):
        text += Markup(", {}").format(costs)
    if fastest is not chosen:
        text += Markup("; the fastest, {}, {}").format(
            _strong(fastest, speeds), _times(fastest, brief=chosen.value < 1)
        )
    return text + "."


def _costs(rtf: Row, rows: list[Row]) -> str:
    """Download and energy of what an RTF was measured of, in words; "" where neither is known."""
    said = []
    if size := _same(rows, rtf, "size_mb"):
        said.append(f"is a download of {_plain(size)} MB")
    if energy := _same(rows, rtf, "energy_j_per_audio_s"):
        told = ", ".join([*([] if energy.kind == "measured" else [energy.kind]), *energy_words(energy)])
        said.append(f"takes {_plain(energy)} J for a second of speech{told and f' ({told})'}")
    return " and ".join(said)


def _times(rtf: Row, brief: bool = False) -> str:
    times = max(rtf.value, 1 / rtf.value)
    shown = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    side = "" if brief else f" {'faster' if rtf.value < 1 else 'slower'} than real time"
    return f"{shown} times{side} (RTF {_plain(rtf)})"


def _plain(row: Row) -> str:
    return vocabulary.number(row.metric, row.value)


def _strong(row: Row, among: Iterable[Row]) -> Markup:
    return Markup("<strong>{}</strong>").format(name(row, among))


def _same(rows: Iterable[Row], like: Row, metric: str) -> Row | None:
    """The row of another metric for the same system and variant, on the same target if there is one."""
    mine = [
        row
        for row in rows
        if (row.system, row.variant, row.metric) == (like.system, like.variant, metric)
        and row.value is not None
    ]
    mine.sort(key=lambda row: (row.target != like.target, row.host != like.host))
    return mine[0] if mine else None
