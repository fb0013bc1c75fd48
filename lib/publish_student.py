"""Which students of the diffusion decoder are worth keeping? From a study's folder to `lib.zoo`, with measured cards.

    python -m lib.publish_student outputs/study distilled-31 distilled-2 ...

A student goes with what the study's own rows say of it beside its teacher and the rivals without training; nothing is
measured here.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import results, zoo
from lib.errors import MissingDataError, SpeechError
from lib.files import write_atomic
from lib.studies import gains, ladder, walked
from lib.studies.distillation_claim import REFERENCE, SYSTEM
from lib.systems import checkpoint
from lib.systems.tortoise import students
from lib.training.checkpoint import newest

if TYPE_CHECKING:
    import pandas as pd

NOTEBOOK = "05_distillation"
SCORES = {"mos_predicted": ("predicted MOS", 1, 2), "wer": ("WER, %", 100, 1), "asr_nll": ("asr_nll", 1, 3)}


def publish(folder: str | Path, names: Sequence[str], target: str | Path | None = None) -> list[Path]:
    """Copy students of a study's output folder to `target` (by default `lib.zoo`), with cards; returns their folders.

    Raises MissingDataError where the study's rows do not judge a student, or its folder lacks it.
    """
    folder = Path(folder)
    table = results.read(folder / "results" / f"{NOTEBOOK}.jsonl")
    known = walked.known(table)
    judged = gains.verdicts(table, known)
    made = []
    for name in names:
        home = folder / "students" / name
        if name not in set(judged.variant):
            told = ", ".join(judged.variant) or "nobody"
            raise MissingDataError(
                f"the study in {folder} does not judge {name}, only {told}: add it to judged_students and run it again"
            )
        begin = (home / checkpoint.CARD).read_text(encoding="utf-8")
        trained = json.loads((newest(home / "run") / "recipe.json").read_text(encoding="utf-8"))["recipe"]
        text = card(begin, name, students.about(home), trained, table, known, judged)
        place = Path(target or zoo.HERE / SYSTEM / "students") / name
        write_atomic(place / students.WEIGHTS, (home / students.WEIGHTS).read_bytes())
        write_atomic(place / checkpoint.CARD, text.encode())
        write_atomic(place / students.DESCRIPTION, (home / students.DESCRIPTION).read_bytes())
        made.append(place)
    return made


def card(
    begin: str,
    name: str,
    about: students.Student,
    recipe: dict[str, Any],
    table: pd.DataFrame,
    known: pd.DataFrame,
    judged: pd.DataFrame,
) -> str:
    """The card (Markdown). begin: what the training wrote of the student; about: it; recipe: that it learnt by; tables:
    of the study, as `results.read`, `walked.known` and `gains.verdicts` give them.
    """
    mine = table[(table.system == SYSTEM) & (table.variant == name)]
    first = mine.sort_values("time").iloc[0]
    voices, n = recipe["data.voices"], int(judged.set_index("variant").sentences[name])
    n_walked = int(known.n.max())
    rivals = judged[judged.trained == "no"].variant
    words = judged.set_index("variant")
    heard = (
        f"Measured {first.time[:10]} ({first.host}, commit {first.commit}) on {n} held-out sentences, which no "
        "training sees, in the voice of vits-joe through `hifigan`, judged by whisper-tiny.en and DistillMOS (95 % "
        f"intervals over sentences), and on the mels of {n_walked} validation sentences, by turns in the voices of "
        f"{' and '.join(voices)}. The verdict is of paired differences from the converged teacher: predicted MOS, WER "
        "or asr_nll, and speaker similarity (Resemblyzer); no person listened."
    )
    heads = (
        "who",
        "evaluations",
        "from the converged mel, dB",
        *(label for label, *_ in SCORES.values()),
        "verdict",
    )
    lines = [
        begin.rstrip(),
        "",
        f"- data: {' and '.join(voices)} reading {recipe['data.train']} sentences each of the training split "
        f"(synthetic speech; no recording of a person), {recipe['model.segment']} frames of each at a time",
        "- the moving average of the training's weights, half precision",
        f"- knows noise of temperature {about.temperature[0]:g}"
        + (f" to {about.temperature[1]:g}" if about.temperature[0] < about.temperature[1] else "")
        + (f", and guidance up to {about.guidance:g}" if about.guidance else ", and no guidance"),
        *([f"- took {about.line_minutes:.0f} minutes with all its teachers"] if about.line_minutes else []),
        f"- licence: MIT, as the code; for the voices see the card of `{SYSTEM}`",
        "- trained again by: `./run_all.sh study --only 05`, which climbs the whole ladder",
        "",
        heard,
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        _line("teacher, converged", REFERENCE, table, 0.0, ladder.CONVERGED, ""),
    ]
    for one in (name, *rivals):
        who = f"**{one}**" if one == name else f"{one}, untrained"
        lines.append(_line(who, one, table, words["mel distance, dB"][one], words.evaluations[one], words.verdict[one]))
    own = known[known.walk == name].iloc[0]
    beside = known[known.table == own.table].set_index("walk")
    plain, nearest = f"ddim-{about.steps}", walked.rival(known[known.table == own.table], own.distance)
    said = (
        [f"as many steps of DDIM untrained lie {beside.distance[plain]:.2f} dB off"]
        if plain in beside.index
        else []
    )
    if nearest is not None:
        said.append(
            f"the first walk without training that comes as near as {name} is {nearest.walk} "
            f"({nearest.evaluations} evaluations, {nearest.distance:.2f} dB)"
        )
    if said:
        lines += ["", f"On those mels {'; '.join(said)}."]
    return "\n".join(lines) + "\n"


def _line(who: str, variant: str, table: pd.DataFrame, distance: float, evaluations: int, verdict: str) -> str:
    rows = table[(table.system == SYSTEM) & (table.variant == variant)].set_index("metric")
    scores = []
    for metric, (_, times, digits) in SCORES.items():
        row = rows.loc[metric]
        value, low, high = (f"{times * number:.{digits}f}" for number in (row.value, row.ci_low, row.ci_high))
        scores.append(value if math.isnan(row.ci_low) else f"{value} [{low}, {high}]")
    apart = "" if math.isnan(distance) else f"{distance:.2f}"
    return f"| {who} | {evaluations} | {apart} | {' | '.join(scores)} | {verdict} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.publish_student", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="of a study's outputs, as outputs/study")
    parser.add_argument("students", nargs="+", help="names of students that the study judged")
    chosen = parser.parse_args(arguments)
    try:
        for place in publish(chosen.folder, chosen.students):
            print(f"written: {place}")
    except SpeechError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
