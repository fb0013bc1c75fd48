"""What does a table or a picture show? One sentence each, computed from what is shown: no run contradicts it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib import audio
from lib import prosody as prosody_module
from lib.features import HIFIGAN
from lib.measure import energy
from lib.report import pictures, vocabulary
from lib.report import verdicts as judgements
from lib.report.collect import records
from lib.report.tables import interval_text
from lib.report.tradeoff import commonest, name
from lib.results import METRICS

if TYPE_CHECKING:
    import pandas as pd


def spans(
    table: pd.DataFrame,
    metrics: Sequence[str],
    *,
    role: str = "voice",
    variants: Collection[str] | None = ("baseline",),
) -> str | None:
    """From which to which value each metric runs, and whose they are, in a sentence; None without two rows of one. Of
    energy what counts the same, all measured or all estimated.

    role: of the systems that count (`vocabulary.role`); variants: those alone (None: all).
    """
    said = []
    for metric in metrics:
        rows = [
            row
            for row in records(table)
            if row.metric == metric
            and row.value is not None
            and row.kind != "published"
            and vocabulary.role(row.system) == role
            and (variants is None or row.variant in variants)
        ]
        rows = commonest(metric, rows)
        if len(rows) < 2:
            continue
        low, high = min(rows, key=lambda row: row.value), max(rows, key=lambda row: row.value)
        kinds = {row.kind for row in rows} - {"measured"}
        marked = "".join(
            f", {word}" for word in [" or ".join(sorted(kinds))] * bool(kinds) + [*energy.words(low)]
        )
        said.append(
            f"{METRICS[metric].in_sentence} runs from {vocabulary.amount(metric, low.value)} ({name(low, rows)}) to "
            f"{vocabulary.amount(metric, high.value)} ({name(high, rows)}{marked})"
        )
    return _sentence(said)


def numbers(
    table: pd.DataFrame, system: str, metrics: Sequence[str], *, variant: str = "baseline"
) -> str | None:
    """What one system came to, metric by metric with its interval, in a sentence; None without rows of it."""
    said = []
    for metric in metrics:
        rows = [
            row
            for row in records(table)
            if (row.system, row.variant, row.metric) == (system, variant, metric) and row.value is not None
        ]
        if rows:
            interval = f" {interval_text(rows[-1])}" if rows[-1].ci_low is not None else ""
            said.append(f"{METRICS[metric].in_sentence} {vocabulary.amount(metric, rows[-1].value)}{interval}")
    return f"{system}: {'; '.join(said)}." if said else None


def counted(table: pd.DataFrame) -> str:
    """How many numbers of which kind there are, of how many systems, and how many could not run, in a sentence."""
    rows = [row for row in records(table) if row.kind != "not_run"]
    kinds = Counter("claimed" if row.claimed else row.kind for row in rows)
    shares = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    missing = len(records(table)) - len(rows)
    return (
        f"{len(rows):,} numbers of {len({row.system for row in rows})} systems{f' ({shares})' if shares else ''}; "
        f"{missing:,} could not be had here."
    )


def absent(table: pd.DataFrame) -> str:
    """What could not run, a system at a time, in a sentence."""
    rows = [row for row in records(table) if row.kind == "not_run"]
    if not rows:
        return "Everything that was tried could run here."
    systems = Counter(f"{row.system} {row.variant} on {row.target}" for row in rows)
    return f"{len(rows)} numbers are missing: {', '.join(f'{n} of {one}' for one, n in systems.most_common())}."


def verdicts(table: pd.DataFrame) -> str:
    """How many variants were compared with their baselines and what came out, in a sentence."""
    said = judgements.finding(records(table))
    if said is None:
        return "No variant was compared with its baseline yet."
    return str(said).replace("<strong>", "**").replace("</strong>", "**")


def distance(table: pd.DataFrame, metric: str = "mos_human") -> str | None:
    """How far each published system is below or above the real recordings of its own test, in a sentence."""
    rows = [
        row for row in records(table) if row.metric == metric and row.kind == "published" and not row.claimed
    ]
    truth = {row.variant: row.value for row in rows if row.system == "ground-truth"}
    said = [
        f"{row.system} {row.value - truth[row.variant]:+.2f} ({row.variant})"
        for row in rows
        if row.system != "ground-truth" and row.variant in truth
    ]
    if not said:
        return None
    return f"{METRICS[metric].label} against the real recordings of the same test, as published: {', '.join(said)}."


def clip(waveform: np.ndarray, sample_rate: int, phones: Sequence[str] | None = None) -> str:
    """How long a clip is, its pitch, how much of it is voiced and how many phones it has, in a sentence."""
    samples = audio.resample(waveform, sample_rate, HIFIGAN.sample_rate)
    pitch = prosody_module.f0(samples, HIFIGAN.sample_rate)
    seconds = len(samples) / HIFIGAN.sample_rate
    low, middle, high = np.percentile(pitch.hz[pitch.voiced], (5, 50, 95)) if pitch.voiced.any() else (0, 0, 0)
    spoken = [s for s in prosody_module.segments(tuple(phones or ())) if s.kind == "phone"]
    said = f" with {len(spoken)} phones, {len(spoken) / seconds:.1f} a second" if spoken else ""
    if not pitch.voiced.any():
        return f"{seconds:.1f} s{said}, nowhere voiced."
    return (
        f"{seconds:.1f} s{said}; voiced in {100 * pitch.voiced.mean():.0f} % of its frames, at {middle:.0f} Hz "
        f"(5th to 95th percentile {low:.0f} to {high:.0f} Hz)."
    )


def phone_durations(
    utterances: Mapping[str, Sequence[tuple[Sequence[str], Sequence[int]]]], least: int = 5
) -> str | None:
    """The longest and the shortest phone of each corpus by median, in a sentence. utterances: as in
    `pictures.phone_durations`; phones heard fewer than `least` times do not count.
    """
    said = []
    for corpus, phones in ((corpus, pictures.lengths(pairs)) for corpus, pairs in utterances.items()):
        medians = {p: float(np.median(values)) for p, values in phones.items() if len(values) >= least}
        if medians:
            long, short = max(medians, key=medians.get), min(medians, key=medians.get)
            said.append(
                f"in {corpus} they last from {medians[short]:.0f} ms ({short}) to {medians[long]:.0f} ms ({long})"
            )
    return _sentence(said)


def speakers(table: pd.DataFrame) -> str | None:
    """Who speaks highest, liveliest and quickest by the medians, in a sentence; None with fewer than two speakers."""
    medians = table.groupby("speaker")[["f0_median_hz", "f0_range_st", "phones_per_s"]].median()
    if len(medians) < 2:
        return None
    parts = (
        ("speaks highest", "f0_median_hz", "{:.0f} Hz"),
        ("has the liveliest melody", "f0_range_st", "{:.1f} semitones"),
        ("is quickest", "phones_per_s", "{:.1f} phones/s"),
    )
    said = []
    for words, column, form in parts:
        values = medians[column].dropna()
        if len(values) > 1:
            low, high = form.format(values.min()), form.format(values.max())
            said.append(f"{values.idxmax()} {words} ({high}; {values.idxmin()} least, {low})")
    return _sentence(said)


def changes(mels: Mapping[str, np.ndarray], clean: str) -> str | None:
    """Which treatment of a clip changes its mel most and which least, in a sentence. mels: label -> (n_frames, n_bands)
    log-mel; those of another length than the clean one's are left out.
    """
    reference = mels[clean]
    decibels = 20 / np.log(10)
    apart = {
        key: float(decibels * np.abs(mel - reference).mean())
        for key, mel in mels.items()
        if key != clean and mel.shape == reference.shape
    }
    if len(apart) < 2:
        return None
    most, least = max(apart, key=apart.get), min(apart, key=apart.get)
    return (
        f"Of {len(apart)} that keep the length, {most} changes the mel most ({apart[most]:.1f} dB on average), "
        f"{least} least ({apart[least]:.1f} dB)."
    )


def _sentence(said: Sequence[str]) -> str | None:
    return f"{said[0][0].upper()}{'; '.join(said)[1:]}." if said else None
