"""How much of what channels and bits cost does a decoder learn again from the whole one?

The decoders of `vits-joe` and `hifigan` lose a share of their channels, learn from the whole ones on what these were
fed (`lib.optimize.recover`), and go to ONNX Runtime, where they are quantized: as they are, or after they have learnt
to round (`lib.optimize.aware`), the decoder with all its channels, too. Nobody seems to have published a pruned
and quantized HiFi-GAN with its predicted opinion score and its speed on a processor side by side: `front` is that.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import environment, optimize, systems
from lib.corpora import gutenberg
from lib.files import content_key
from lib.studies import confirmed, failed, menu
from lib.studies.menu import Trial

if TYPE_CHECKING:
    import pandas as pd

    from lib.optimize.recover import Learning, Lesson
    from lib.results import Run
    from lib.systems.model import Model
    from lib.training.recipe import Settings

log = logging.getLogger(__name__)

SYSTEMS = ("vits-joe", "hifigan")
STAGE, MADE_ON, SPOKEN_ON = "decoder", "torch/cpu", "onnxruntime/cpu"
SHARES = (0.3, 0.5)  # of the channels, taken out of every layer
N_LESSONS = 48  # training sentences that the whole decoder is heard on
METRICS = ("rtf", "size_mb", "mos_predicted", "asr_nll")
TAUGHT, AWARE = "recovered", "int8-aware"  # in names of variants
LONGER = "longer"  # ends the name of one that learnt again, and then as long as another learnt to round
RATE = 3e-4  # learning to round is fine-tuning: slower than learning again what was taken out


def taught(
    run: Run,
    folder: str | Path,
    *,
    steps: int,
    aware_steps: int = 0,
    names: Sequence[str] = SYSTEMS,
    shares: Sequence[float] = SHARES,
    n_lessons: int = N_LESSONS,
    threads: int = 2,
    seed: int = 0,
) -> list[Trial]:
    """Prune and teach the decoders; the trials of them on ONNX Runtime: pruned, taught again, and that in 8 bit.

    steps: in which a pruned decoder learns; aware_steps: in which the whole one, and the first of those that have
    learnt again, learn to round; 0 for not at all. The latter has a control, LONGER: it learns as many steps more
    without rounding. folder: of the variants and of the runs that teach them, which go on where they stopped. What
    cannot be taught has a row that says why.
    """
    trials: list[Trial] = []
    for name in names if steps or aware_steps else ():
        ids = [sentence.id for sentence in gutenberg.split("train", n_lessons)]
        names_of = (name, TAUGHT, SPOKEN_ON)
        if lessons := failed.tried(run, names_of, lambda: _lessons(name, ids, Path(folder), seed, threads)):
            trials += _taught(run, lessons, steps, aware_steps, shares)
    return trials


def _taught(run: Run, given: _Lessons, steps: int, aware_steps: int, shares: Sequence[float]) -> list[Trial]:
    """The trials of one system."""
    trials: list[Trial] = []
    whole, static = given.whole, ("int8-static", menu.of_decoder())

    def made(variant: str, step: Callable[[], Model], *techniques: Sequence[tuple]) -> Model | None:
        """What a step makes, and its trials: one for each of some techniques in turn."""
        one = failed.tried(run, (whole.name, variant, SPOKEN_ON), step)
        trials.extend(_trial(one, *then) for then in techniques if one is not None)
        return one

    def cut(share: float, variant: str) -> Model:
        arguments = {"share": share, "stages": [STAGE]}
        return confirmed.make(whole, [("structured", arguments)], variant, given.folder, resume=True)

    def rounding(one: Model, variant: str) -> Model:
        untaught = f"{variant}-untaught"
        untaught = confirmed.make(one, [(AWARE, static[1])], untaught, given.folder, resume=True)
        return _learnt(untaught, given, aware_steps, variant, RATE)

    good = []
    for share in shares if steps else ():
        variant = f"structured-{round(100 * share)}"
        again = f"{variant}+{TAUGHT}"
        if pruned := made(variant, lambda: cut(share, variant), ()):
            good.append(made(again, lambda: _learnt(pruned, given, steps, again), (), (static,)))
    if aware_steps:
        made(AWARE, lambda: rounding(whole, AWARE), ())
    for one in list(filter(None, good))[:1] if aware_steps else ():
        variant, control = f"{one.variant}+{AWARE}", f"{one.variant}+{LONGER}"
        made(variant, lambda: rounding(one, variant), ())
        made(control, lambda: _learnt(one, given, aware_steps, control, RATE), (static,))
    return trials


def front(*tables: pd.DataFrame) -> pd.DataFrame:
    """A line for each variant of the decoders on ONNX Runtime with its speed, size, predicted MOS and recogniser's
    loss: system, variant, and for each of METRICS value, low, high.

    tables: of `lib.results.read`, this run's first; an earlier run's rows of a system count where this has none. What
    the baseline sounds like follows from its differences to the variants; one that was judged on fewer sentences, for
    these proved it worse, is laid where its paired difference puts it beside the baseline of all.
    """
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for table in tables:
        chosen = table[
            table.system.isin(SYSTEMS)
            & ~table.system.isin([line["system"] for line in lines])
            & (table.target == SPOKEN_ON)
            & table.metric.isin(METRICS)
            & table.notebook.str.startswith("04_")  # recorded: with the profile behind it
            & table.value.notna()
        ]
        for system, rows in chosen.groupby("system", sort=False):
            lines += [{"system": system, **line} for line in _lines(rows)]
    ends = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    return pd.DataFrame(lines, columns=["system", "variant", *ends])


def _lines(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Of one system: the newest numbers of each variant that has all of METRICS."""
    newest = rows.sort_values("time", kind="stable").drop_duplicates(["variant", "metric"], keep="last")
    whole: dict[str, tuple] = {}
    for row in newest.sort_values("n", kind="stable").itertuples():  # those of most sentences last
        if row.baseline == "baseline" and (before := confirmed.before(row)) is not None:
            whole[row.metric] = (before, math.nan, math.nan)
    lines = []
    for variant, own in newest.groupby("variant", sort=False):
        numbers = {row.metric: _laid(row, whole) for row in own.itertuples()}
        if variant == "baseline":
            numbers = whole | numbers
        if set(METRICS) <= set(numbers):
            ends = {f"{m}{end}": numbers[m][i] for m in METRICS for i, end in enumerate(("", "_low", "_high"))}
            lines.append({"variant": variant, **ends})
    return lines


def _laid(row: Any, whole: dict[str, tuple]) -> tuple[float, float, float]:
    """(value, low, high) of a row, moved by what its own sentences are easier or harder for the baseline than all."""
    before = confirmed.before(row) if row.baseline == "baseline" else None
    moved = whole[row.metric][0] - before if before is not None and row.metric in whole else 0.0
    return row.value + moved, row.ci_low + moved, row.ci_high + moved


def finding(front: pd.DataFrame) -> str | None:
    """What teaching brings back, in a sentence for each pruned variant that was taught; None without one."""
    said = []
    for row in front[front.variant.str.endswith("+recovered")].itertuples():
        mine = front[front.system == row.system].set_index("variant")
        before = row.variant.removesuffix("+recovered")
        if not {"baseline", before} <= set(mine.index):
            continue
        whole, pruned = mine.loc["baseline"], mine.loc[before]
        text = (
            f"{row.system} {before} is {whole.rtf / row.rtf:.2f} times as fast as the whole; it loses "
            f"{whole.mos_predicted - pruned.mos_predicted:.2f} of predicted MOS, once it has learnt from the whole "
            f"{whole.mos_predicted - row.mos_predicted:.2f}"
        )
        small = f"{row.variant}+int8-static"
        if small in mine.index:
            last = mine.loc[small]
            text += (
                f", in 8 bit {whole.mos_predicted - last.mos_predicted:.2f} at {whole.rtf / last.rtf:.2f} times the "
                f"speed and {whole.size_mb / last.size_mb:.1f} times as small"
            )
        said.append(text)
    said += _rounded(front)
    return f"{'; '.join(said)}." if said else None


def _rounded(front: pd.DataFrame) -> list[str]:
    """What learning to round is worth: each decoder that did beside the same one that learnt as long without, or else
    as it was, rounded then.
    """
    said = []
    for row in front[front.variant.str.endswith(AWARE)].itertuples():
        mine = front[front.system == row.system].set_index("variant")
        stem = row.variant.removesuffix(AWARE)
        last = ("int8-static", "int8-static+fp16-weights")
        plain = next(
            (n for n in (f"{stem}{LONGER}+{last[0]}", *(stem + one for one in last)) if n in mine.index), ""
        )
        if plain and "baseline" in mine.index:
            whole, before = mine.loc["baseline"], mine.loc[plain]
            longer = ", taught as long without rounding," if LONGER in plain else ""
            said.append(
                f"{row.system} {stem.removesuffix('+') or 'with all its channels'}{longer} in 8 bit loses "
                f"{whole.mos_predicted - before.mos_predicted:.2f} of predicted MOS and "
                f"{before.asr_nll - whole.asr_nll:.3f} nats a word, after it has learnt to round "
                f"{whole.mos_predicted - row.mos_predicted:.2f} and {row.asr_nll - whole.asr_nll:.3f}"
            )
    return said


@dataclass(frozen=True, eq=False)
class _Lessons:
    """Who teaches, what, and where the runs lie. ids: of the sentences in which the whole decoder was heard."""

    whole: Model
    lessons: Sequence[Lesson]
    ids: Sequence[str]
    folder: Path
    seed: int


def _lessons(name: str, ids: Sequence[str], folder: Path, seed: int, threads: int) -> _Lessons:
    from lib.optimize import recover

    whole = systems.load(name, target=MADE_ON, threads=threads)
    return _Lessons(whole, recover.lessons(whole, ids, stage=STAGE, seed=seed), ids, folder, seed)


def _learnt(pupil: Model, given: _Lessons, steps: int, label: str, rate: float | None = None) -> Model:
    """A variant after it has learnt, saved under another name and loaded. rate: of learning, by default the usual."""
    from lib.optimize import recover

    whole, lessons = given.whole, given.lessons
    log.info("%s %s learns from the whole for %d steps", whole.name, pupil.variant, steps)
    training = dataclasses.replace(recover.USUAL, steps=steps, seed=given.seed)
    learning = recover.Learning() if rate is None else recover.Learning(learning_rate=rate)
    place = given.folder / "recovery" / f"{whole.name}-{label}-{_key(pupil, given, learning, training)}"
    learnt = recover.recover(
        pupil, whole, lessons, place, stage=STAGE, learning=learning, training=training, name=label
    )
    home = confirmed.home(given.folder, whole.name, MADE_ON, learnt.variant)
    optimize.save(learnt, home, data=f"{len(lessons)} sentences heard by the whole decoder, {steps} steps")
    return optimize.load(home, threads=whole.threads)


def _key(pupil: Model, given: _Lessons, learning: Learning, training: Settings) -> str:
    """All that a training comes of, so that none of other settings, lessons or code is taken for it or gone on with."""
    return content_key(
        pupil.weights_key(),
        given.whole.weights_key(),
        list(given.ids),
        given.seed,
        *(
            part.tobytes() for lesson in given.lessons for part in lesson
        ),  # on other threads their last bits are others
        dataclasses.asdict(learning),
        dataclasses.asdict(training),
        [environment.code(), environment.code_now()],  # others where it was changed in between: a run of both
    )


def _trial(on_torch: Model, *more: tuple[str, dict[str, Any]]) -> Trial:
    """A torch variant's decoder on ONNX Runtime, and what is done to it there; the rest is stored in half precision, as
    checkpoints are.
    """
    taken = (
        "from-torch",
        {"folder": on_torch.origin["folder"], "weights": on_torch.weights_key(), "stage": STAGE},
    )
    variant = "+".join((on_torch.variant, *(technique for technique, _ in more)))
    return Trial(on_torch.name, SPOKEN_ON, variant, (taken, *more, ("fp16-weights", {})))
