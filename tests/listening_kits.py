"""A small listening test: three conditions with short clips of known sound, and sessions that somebody answered."""

from __future__ import annotations

import json

import numpy as np

from lib.listening import kit
from lib.listening.clips import Condition, Stimulus

RATE = 16_000
CONDITIONS = (
    Condition("vits-joe", "baseline", "onnxruntime/cpu"),
    Condition("hibari", "pruned-30"),
    Condition("espeak-ng"),
)


def sound(pitch_hz: float, seconds: float = 0.45, level: float = 0.1) -> np.ndarray:
    """A buzz: (n_samples,) float32."""
    time = np.arange(int(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * time) / k for k in range(1, 8))
    return (level * buzz / np.abs(buzz).max()).astype(np.float32)


def grid(sentences: int = 6, conditions: int = 3) -> list[list[Stimulus]]:
    """[condition][sentence]: each condition at another level."""
    return [
        [
            Stimulus(
                c, f"sentence-{s}", f"Sentence number {s}.", sound(90 + 10 * s + i, level=0.05 * (i + 1)), RATE
            )
            for s in range(sentences)
        ]
        for i, c in enumerate(CONDITIONS[:conditions])
    ]


def speak(text: str) -> tuple[np.ndarray, int]:
    """Not a voice, but its clips are as short as a test needs."""
    return sound(200 + len(text), 0.3), RATE


def make(folder, method: str = "acr", sentences: int = 6, **plan) -> kit.Kit:
    """A kit of the grid in the folder."""
    settings = {"groups": 1, "listeners": 6, "traps": 2} | plan
    return kit.make(grid(sentences), kit.Plan(method, **settings), folder, speak)


def answered(key: kit.Key, group: int, number: int, token: str = "0123abcd", choose=None) -> dict:
    """What the page saves of a whole session. choose: (trial of the key) -> values; by default what is expected."""
    choose = choose or (lambda trial: [trial["expected"]] if trial["expected"] is not None else right(trial))
    trials = [t for t in key.trials.values() if (t["group"], t["number"]) == (group, number)]
    made = []
    for trial in trials:
        heard = len(trial["clips"]) + (trial["kind"] == "mushra")
        made.append(
            {
                "trial": trial["id"],
                "clips": trial["clips"],
                "values": choose(trial),
                "plays": [1] * heard,
                "seconds": 4,
                "at": "2026-11-22T20:00:00.000Z",
            }
        )
    envelope = {"format": kit.FORMAT, "test": key.test, "group": group, "number": number}
    return {**envelope, "listener": f"{group}-{number}-{token}", "ratings": made}


def right(trial: dict) -> list[int]:
    """Condition 0 is best, each next one a step worse."""
    if trial["kind"] == "acr":
        return [5 - trial["shown"][0]]
    if trial["kind"] == "mushra":
        return [100 - 20 * c for c in trial["shown"]]
    return [max(-1, min(1, trial["shown"][0] - trial["shown"][1]))]


def save(folder, saved: dict) -> None:
    """The listener's file."""
    (folder / f"ratings-{saved['listener']}.json").write_text(json.dumps(saved))
