"""How does it sound? Clips arranged side by side (a sentence per row, a system per column), each embedded once as MP3.

When all clips together are larger than the page may be, every group keeps its first sentences, as many as fit.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lib import audio
from lib.report import cards
from lib.report.collect import Clip, Row


@dataclass(frozen=True)
class Player:
    """One clip in one place. data: base64 MP3, empty where the page already holds the clip under `id`; path: of the
    clip itself.
    """

    id: str
    data: str
    seconds: float
    label: str
    note: str
    path: Path


@dataclass(frozen=True)
class Voice:
    """A column: a system's variant with its headline numbers. target: the one that it speaks on here, None where all
    its clips were made on the same.
    """

    system: str
    variant: str
    target: str | None
    recorded: bool
    card: cards.Card

    @property
    def said(self) -> str:
        """ "hibari baseline", and on which target."""
        return f"{self.system} {self.variant}" + (f" on {self.target}" if self.target else "")

    def made(self, clip: Clip) -> bool:
        """Whether the clip stands in this column."""
        mine = (clip.system, clip.variant, clip.recorded) == (self.system, self.variant, self.recorded)
        return mine and self.target in (None, clip.target)


@dataclass(frozen=True)
class Sentence:
    """A row: what is said, and one player (or None) per column."""

    key: str
    text: str
    players: tuple[Player | None, ...]


@dataclass(frozen=True)
class Comparison:
    """Clips that belong side by side, of one notebook ("" if recorded). left_out: sentences dropped to keep the page
    small.
    """

    title: str
    notebook: str
    voices: tuple[Voice, ...]
    sentences: tuple[Sentence, ...]
    left_out: int


def compare(clips: Iterable[Clip], rows: Iterable[Row], budget_bytes: int) -> list[Comparison]:
    """Tables of players whose embedded clips need at most `budget_bytes` of page.

    Raises AudioError naming the file if a clip cannot be decoded.
    """
    rows = list(rows)
    grouped = _group(clips)
    encoded: dict[str, tuple[str, float]] = {}
    keys: dict[Clip, str] = {}
    for clip in (clip for members in grouped.values() for clip in members):
        if clip not in keys:
            keys[clip] = hashlib.sha256(clip.path.read_bytes()).hexdigest()[:16]
            if keys[clip] not in encoded:
                waveform, sample_rate = audio.load(clip.path)
                mp3 = base64.b64encode(audio.encode(waveform, sample_rate, "mp3")).decode()
                encoded[keys[clip]] = mp3, len(waveform) / sample_rate
    sentences = {title: _sentences(members) for title, members in grouped.items()}
    kept = _fit(sentences, keys, {key: len(mp3) for key, (mp3, _) in encoded.items()}, budget_bytes)
    made, embedded = [], set()
    for title, members in grouped.items():
        columns = _columns(members, rows)
        lines = []
        for sentence in kept[title]:
            players = []
            for voice in columns:
                spoken = [clip for clip in sentences[title][sentence] if voice.made(clip)]
                if not spoken:
                    players.append(None)
                    continue
                clip = spoken[-1]
                key = keys[clip]
                mp3, seconds = encoded[key]
                players.append(
                    Player(
                        f"clip-{key}",
                        "" if key in embedded else mp3,
                        round(seconds, 2),
                        f"{voice.said}: {clip.text or clip.sentence}",
                        clip.note,
                        clip.path,
                    )
                )
                embedded.add(key)
            lines.append(Sentence(sentence, sentences[title][sentence][0].text or sentence, tuple(players)))
        notebook = "" if members[0].recorded else members[0].notebook
        made.append(
            Comparison(title, notebook, tuple(columns), tuple(lines), len(sentences[title]) - len(lines))
        )
    return made


def notebook_title(notebook: str) -> str:
    """ "03_pruning_quantization" as people say it: "Pruning quantization"."""
    words = notebook.split("_", 1)[-1] if notebook[:1].isdigit() else notebook
    return words.replace("_", " ").strip().capitalize() or notebook


def _group(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Title -> clips. A notebook whose groups hold one sentence each (the group names the sentence) makes one table."""
    notebooks: dict[tuple[str, bool], list[Clip]] = {}
    for clip in clips:
        notebooks.setdefault((clip.notebook, clip.recorded), []).append(clip)
    grouped: dict[str, list[Clip]] = {}
    for (notebook, recorded), members in notebooks.items():
        title = notebook_title(notebook) + (", recorded earlier" if recorded else "")
        per_group: dict[str, set[str]] = {}
        for clip in members:
            per_group.setdefault(clip.group, set()).add(clip.sentence)
        if len(per_group) > 1 and all(len(sentences) == 1 for sentences in per_group.values()):
            members = [replace(clip, group="") for clip in members]
        for clip in members:
            grouped.setdefault(f"{title}: {clip.group}" if clip.group else title, []).append(clip)
    return grouped


def _sentences(clips: list[Clip]) -> dict[str, list[Clip]]:
    """Sentence -> its clips; sentences that most systems spoke come first, otherwise in the notebook's order."""
    spoken: dict[str, list[Clip]] = {}
    for clip in clips:
        spoken.setdefault(clip.sentence, []).append(clip)
    return dict(sorted(spoken.items(), key=lambda item: -len(item[1])))


def _columns(clips: list[Clip], rows: list[Row]) -> list[Voice]:
    order = {"reference": 0, "voice": 1, "vocoder": 2, "recogniser": 3}
    heard: dict[tuple[str, str, bool], dict[str, None]] = {}  # who -> the targets it speaks on
    for clip in clips:
        heard.setdefault((clip.system, clip.variant, clip.recorded), {})[clip.target] = None
    voices = []
    for (system, variant, recorded), targets in heard.items():
        for target in targets if len(targets) > 1 else (None,):
            mine = [row for row in rows if row.recorded == recorded and target in (None, row.target)]
            voices.append(Voice(system, variant, target, recorded, cards.headline(mine, system, variant)))
    return sorted(voices, key=lambda voice: order[voice.card.role])


def _fit(
    sentences: dict[str, dict[str, list[Clip]]], keys: dict[Clip, str], sizes: dict[str, int], budget: int
) -> dict[str, list[str]]:
    """Title -> sentences kept: the first k of every group for the largest k that fits, less where one each is
    too much.
    """

    def cost(chosen: dict[str, list[str]]) -> int:
        used = {
            keys[clip] for title, names in chosen.items() for name in names for clip in sentences[title][name]
        }
        return sum(sizes[key] for key in used)

    for limit in range(max((len(group) for group in sentences.values()), default=0), 0, -1):
        chosen = {title: list(group)[:limit] for title, group in sentences.items()}
        if cost(chosen) <= budget:
            return chosen
    chosen = {title: [] for title in sentences}
    for title, group in sentences.items():
        trial = {**chosen, title: list(group)[:1]}
        if cost(trial) <= budget:
            chosen = trial
    return chosen
