"""One page for each group of listeners, and the key that says what was behind every clip.

A page is one HTML file that works from a disk or any web host and asks the network for nothing; where it is
given an address, it sends each rating there as well. Names of systems stand in the key alone: clips and pages
are called by the first digits of a keyed hash, and the key stays with who runs the test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from lib import audio
from lib.errors import MissingDataError, ParameterError, SpeechError, unknown
from lib.files import write_atomic
from lib.listening import checks, clips, design, loudness
from lib.listening.clips import Condition, Stimulus
from lib.listening.screening import Rules

FORMAT = "listening-test/1"
METHODS = {
    "acr": "one clip at a time, from 1 (bad) to 5 (excellent): mean opinion scores (ITU-T P.800)",
    "ab": "two clips, which is more natural, or no difference",
    "ccr": "two clips, the second against the first, from -3 (much worse) to 3 (much better) (ITU-T P.800)",
    "mushra": "all clips of a sentence beside a reference, from 0 to 100 (after ITU-R BS.1534)",
}
SCALES = {"acr": (1, 5), "ab": (-1, 1), "ccr": (-3, 3), "mushra": (0, 100), "level": (0, 20)}
MUSHRA_FLAW = (
    "Everything is measured against the reference, so what is better than it cannot score higher: no way to show an "
    "improvement."
)


@dataclass(frozen=True)
class Plan:
    """method: one of METHODS; groups: pages, whose listeners hear different clips; listeners: planned of each
    group; traps: in each session; post: the address that collects ratings, "" for none; pairs: of condition
    numbers, by default the first against each other one; reference: number of the condition that mushra
    compares with.
    """

    method: str
    groups: int = 1
    listeners: int = 8
    traps: int = 2
    post: str = ""
    pairs: tuple[tuple[int, int], ...] = ()
    reference: int = 0
    rules: Rules = Rules()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)


@dataclass(frozen=True)
class Kit:
    """What was written. megabytes: of the largest page; lufs: the loudness of all clips; per_listener: pages to
    rate.
    """

    pages: tuple[Path, ...]
    key: Path
    lufs: float
    per_listener: int
    megabytes: float


def make(grid: Sequence[Sequence[Stimulus]], plan: Plan, folder: str | Path, speak: checks.Speak) -> Kit:
    """Write listen-1.html, listen-2.html ... and key.json into the folder.

    grid: [condition][sentence], as `clips.grid` makes it; speak: the voice of the traps. Raises OutputError
    where the folder holds a key already: its pages may be out, and a new key could not read their ratings.
    """
    from lib.listening import page

    folder = Path(folder)
    if (folder / "key.json").exists():
        raise SpeechError(
            f"{folder / 'key.json'} exists: its pages may be in use; read it, or choose another folder"
        )
    if plan.method == "mushra":
        grid = [*grid, [clips.low_anchor(stimulus) for stimulus in grid[plan.reference]]]
    levelled, lufs = _levelled(grid)
    blind = _Blinding(secrets.token_hex(16))
    sessions = _sessions(plan, len(grid), len(grid[0]))
    pages, groups = [], []
    for number, listed in enumerate(sessions, 1):
        built = _Group(number, plan, levelled, blind, speak, lufs)
        trials = [built.session(i, session) for i, session in enumerate(listed, 1)]
        groups.append([[trial.private for trial in session] for session in trials])
        data = {
            "test": blind.test,
            "group": number,
            "method": plan.method,
            "clips": dict(sorted(built.encoded.items())),  # the order in which they were made would tell
            "sessions": [[trial.public for trial in session] for session in trials],
            "speech": built.volume,
        }
        pages.append(write_atomic(folder / f"listen-{number}.html", page.render(data, post=plan.post)))
    key = {
        "format": FORMAT,
        "test": blind.test,
        "plan": {**asdict(plan), "rules": asdict(plan.rules)},
        "lufs": lufs,
        "conditions": [asdict(row[0].condition) for row in grid],
        "sentences": [{"id": s.sentence, "text": s.text} for s in grid[0]],
        "groups": groups,
    }
    path = write_atomic(folder / "key.json", json.dumps(key, indent=1).encode())
    judged = sum(trial["role"] == "rating" for trial in groups[0][0])
    return Kit(tuple(pages), path, lufs, judged, max(p.stat().st_size for p in pages) / 1e6)


@dataclass(frozen=True)
class Key:
    """What was behind every page. trials: trial id -> {group, number, role, clips, shown, sentence, expected}."""

    test: str
    method: str
    conditions: tuple[Condition, ...]
    sentences: tuple[dict, ...]
    trials: dict[str, dict]
    rules: Rules
    reference: int
    lufs: float


def read_key(path: str | Path) -> Key:
    """Read key.json; MissingDataError where there is none, SpeechError where it is not one."""
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no key at {path}: without it nobody knows what the ratings are of")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["format"] != FORMAT:
            raise ValueError(f"its format is {held['format']!r}, not {FORMAT!r}")
        trials = {
            trial["id"]: {**trial, "group": group, "number": number}
            for group, sessions in enumerate(held["groups"], 1)
            for number, session in enumerate(sessions, 1)
            for trial in session
        }
        plan = held["plan"]
        return Key(
            held["test"],
            plan["method"],
            tuple(Condition(**c) for c in held["conditions"]),
            tuple(held["sentences"]),
            trials,
            Rules(**plan["rules"]),
            plan["reference"],
            held["lufs"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpeechError(f"{path} is no key of a listening test ({error})") from error


@dataclass(frozen=True)
class _Trial:
    """What the page is told of it, and what only the key holds."""

    public: dict
    private: dict


class _Blinding:
    """Names that say nothing: the first digits of a keyed hash."""

    def __init__(self, secret: str):
        self._secret = secret.encode()
        self.test = self.name("test")

    def name(self, *what: object) -> str:
        """12 hex digits."""
        return hmac.new(self._secret, json.dumps(what).encode(), hashlib.sha256).hexdigest()[:12]

    def draw(self, count: int, *what: object) -> int:
        """A number below `count` that nobody without the key can tell beforehand."""
        return int(self.name("draw", *what), 16) % count


class _Group:
    """The pages of one group's listeners, and the clips they need."""

    def __init__(self, number, plan: Plan, grid, blind: _Blinding, speak: checks.Speak, lufs: float):
        self.number, self.plan, self._grid, self._blind, self._lufs = number, plan, grid, blind, lufs
        self.encoded: dict[str, str] = {}  # clip id -> base64 MP3
        first = grid[0][0]
        self.volume = self._add(first.waveform, first.sample_rate, "volume")
        self._tones = checks.COUNTS[blind.draw(len(checks.COUNTS), "tones", number)]
        rms = float(np.sqrt(np.mean(first.waveform.astype(np.float64) ** 2)))
        self._level = self._add(checks.tones(self._tones, rms), 22_050, "tones")
        made = checks.traps(plan.method, plan.traps, (first.waveform, first.sample_rate), speak)
        self._traps = []
        for place, trap in enumerate(made):
            levelled, _ = loudness.match([trap.waveform], [trap.sample_rate], lufs)
            self._traps.append((self._add(levelled[0], trap.sample_rate, "trap", place), trap.expected))

    def session(self, number: int, pages: design.Session) -> list[_Trial]:
        """The level check, then the pages with traps among them, at places that differ from listener to
        listener.
        """
        trials = [self._trial(number, "level", (self._level,), kind="level", expected=self._tones)]
        trials += [self._rating(number, place, page) for place, page in enumerate(pages)]
        for place, (clip, expected) in enumerate(self._traps):
            share = len(pages) / (len(self._traps) + 1)
            at = round((place + 0.5) * share) + self._blind.draw(
                max(1, int(share)), "place", self.number, number, place
            )
            shown = (clip,)
            if self.plan.method in ("ab", "ccr"):
                shown = (self._clip(0, 0), clip)
            role = self._trial(number, f"trap {place}", shown, kind=self.plan.method, expected=expected)
            trials.insert(min(len(trials), 2 + at + place), role)
        return trials

    def _rating(self, number: int, place: int, page: design.Page) -> _Trial:
        shown = tuple(self._clip(condition, page.sentence) for condition in page.shown)
        made = self._trial(number, f"page {place}", shown, kind=self.plan.method)
        private = {**made.private, "role": "rating", "sentence": page.sentence, "shown": list(page.shown)}
        public = made.public
        if self.plan.method == "mushra":
            public = {**public, "reference": self._reference(page.sentence)}
        return _Trial(public, private)

    def _trial(
        self, number: int, what: str, shown: tuple[str, ...], *, kind: str, expected: int | None = None
    ) -> _Trial:
        name = self._blind.name("trial", self.number, number, what)
        public = {"id": name, "clips": list(shown)} | ({"kind": "level"} if kind == "level" else {})
        role = what.split()[0]
        return _Trial(public, {**public, "kind": kind, "role": role, "expected": expected})

    def _clip(self, condition: int, sentence: int) -> str:
        stimulus = self._grid[condition][sentence]
        return self._add(stimulus.waveform, stimulus.sample_rate, "clip", condition, sentence)

    def _reference(self, sentence: int) -> str:
        """The open reference: other bytes and another name than the hidden one, which would else be found by
        them.
        """
        stimulus = self._grid[self.plan.reference][sentence]
        later = np.pad(stimulus.waveform, (stimulus.sample_rate // 100, 0))  # 10 ms
        return self._add(later, stimulus.sample_rate, "reference", sentence)

    def _add(self, waveform: np.ndarray, sample_rate: int, *what: object) -> str:
        name = self._blind.name("clip", *what, self.number if what[0] != "clip" else 0)
        if name not in self.encoded:
            self.encoded[name] = base64.b64encode(audio.encode(waveform, sample_rate, "mp3")).decode()
        return name


def _levelled(grid: Sequence[Sequence[Stimulus]]) -> tuple[list[list[Stimulus]], float]:
    """The grid with all clips at one loudness, and that loudness."""
    if len(grid) < 2 or len({len(row) for row in grid}) != 1:
        raise ParameterError(f"rows of {[len(row) for row in grid]} clips: give at least two, equally long")
    flat = [stimulus for row in grid for stimulus in row]
    waveforms, lufs = loudness.match([s.waveform for s in flat], [s.sample_rate for s in flat])
    matched = iter([replace(s, waveform=w) for s, w in zip(flat, waveforms)])
    return [[next(matched) for _ in row] for row in grid], lufs


def _sessions(plan: Plan, conditions: int, sentences: int) -> list[list[design.Session]]:
    sizes = (sentences, plan.groups, plan.listeners, plan.seed)
    if plan.method == "acr":
        return design.acr(conditions, *sizes)
    if plan.method == "mushra":
        return design.mushra(conditions, *sizes)
    return design.paired(plan.pairs or [(0, other) for other in range(1, conditions)], *sizes)
