"""What became of one system? A page each: its variants beside its baseline on the same sentences, to hear and to see,
its numbers, what the variants are called, what could not run, and its card.

The pages stand in outputs/<profile>/systems beside the report, which links them; they ask nothing of the network.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from lib import audio, zoo
from lib.files import write_atomic
from lib.report import answers, spectra, tables, templates, verdicts, vocabulary
from lib.report.collect import Findings
from lib.report.players import Comparison, compare

FOLDER = "systems"  # under outputs/<profile>, beside the report
LIMIT_BYTES = 5_000_000
_SEEN = 6  # sentences of a comparison whose spectrograms are shown


@dataclass(frozen=True)
class Picture:
    """A clip's spectrogram: data: base64 PNG; said: how far it is from the baseline's, where they are aligned."""

    data: str
    said: str


def write(findings: Findings) -> list[Path]:
    """Write a page for each system that this run measured or let speak; pages of earlier runs are removed.

    Raises AudioError for a clip that cannot be decoded, OutputError where a page cannot be written.
    """
    folder = findings.folder / FOLDER
    made = [
        write_atomic(folder / f"{_file(system)}.html", page(findings, system)) for system in systems(findings)
    ]
    for old in set(folder.glob("*.html")) - set(made):
        old.unlink()
    return made


def systems(findings: Findings) -> list[str]:
    """Those that have a page: what this run measured itself or kept a clip of, by name; real recordings have none."""
    own = {row.system for row in findings.rows if not row.recorded and row.kind not in ("published", "not_run")}
    own |= {clip.system for clip in findings.clips if not clip.recorded}
    return sorted(system for system in own if vocabulary.role(system) != "reference")


def links(findings: Findings) -> dict[str, str]:
    """System -> where its page stands, relative to the report; of those that were written."""
    made = {system: f"{FOLDER}/{_file(system)}.html" for system in systems(findings)}
    return {system: href for system, href in made.items() if (findings.folder / href).is_file()}


def page(findings: Findings, system: str) -> bytes:
    """The page of one system as HTML."""
    rows = [row for row in findings.rows if row.system == system]
    entries = verdicts.judged(rows)
    words = verdicts.words(entries)
    comparisons = _comparisons(findings, system)
    return templates.render(
        "system.html.j2",
        {
            "system": system,
            "role": vocabulary.ROLE_LABEL[vocabulary.role(system)] or "voice",
            "profile": findings.profile,
            "taken": [a for a in answers.answers(findings.rows) if a.choice and a.choice.system == system],
            "verdicts": entries,
            "wide": tables.wide(rows, words),
            "not_run": tables.not_run(rows),
            "comparisons": comparisons,
            "pictures": _pictures(comparisons),
            "card": _card(system),
        },
    )


def _comparisons(findings: Findings, system: str) -> list[Comparison]:
    """The system's clips, its baseline in the first column."""
    mine = [clip for clip in findings.clips if clip.system == system]
    mine.sort(key=lambda clip: clip.variant != "baseline")
    return compare(mine, findings.rows, LIMIT_BYTES * 6 // 10)


def _pictures(comparisons: Iterable[Comparison]) -> dict[Path, Picture]:
    """The spectrograms of the first sentences of each comparison, all of a sentence on one scale of colours."""
    made: dict[Path, Picture] = {}
    for comparison in comparisons:
        for sentence in comparison.sentences[:_SEEN]:
            paths = [player.path for player in sentence.players if player]
            clips = {path: audio.load(path) for path in paths}
            top = spectra.loudest(clips.values())
            first = next((i for i, v in enumerate(comparison.voices) if v.variant == "baseline"), None)
            base = sentence.players[first].path if first is not None and sentence.players[first] else None
            for path, clip in clips.items():
                data = base64.b64encode(spectra.strip(clip, top)).decode()
                made[path] = Picture(data, _apart(clips, base, path))
    return made


def _apart(clips: dict[Path, spectra.Clip], base: Path | None, path: Path) -> str:
    if base is None or base == path:
        return ""
    decibels = spectra.apart(clips[base], clips[path])
    if decibels is None:
        return "not as long as the baseline"
    return f"{decibels:.1f} dB from the baseline's mel"


def _card(system: str) -> Markup | None:
    """The card of a checkpoint that was trained here, its headings below those of the page, its tables within reach of
    the keyboard where they scroll.
    """
    if system not in zoo.names():
        return None
    from nbconvert.filters.markdown import markdown2html

    html = markdown2html(zoo.card(system))
    html = re.sub(r'<a class="anchor-link".*?</a>', "", html)
    number = itertools.count(1)
    around = '<div class="scroll" role="region" tabindex="0" aria-label="Table {} of the card"><table>'
    html = re.sub("<table>", lambda _: around.format(next(number)), html).replace("</table>", "</table></div>")
    return Markup(re.sub(r"(</?h)([1-4])\b", lambda heading: f"{heading[1]}{int(heading[2]) + 2}", html))


def _file(system: str) -> str:
    return re.sub(r"[^\w.+-]", "_", system)
