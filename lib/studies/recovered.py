"""How much of what channels and bits cost does a decoder learn again from the whole one?

The decoders of `vits-joe` and `hifigan` lose a share of their channels, learn from the whole ones on what these were
fed (`lib.optimize.recover`), and go to ONNX Runtime, where they are quantized: as they are, in the best way of setting
scales that costs no training (`scales`), or after they have learnt to round (`lib.optimize.aware`); the decoder with
all its channels, too. Nobody seems to have published a pruned and quantized HiFi-GAN with its predicted opinion score
and its speed on a processor side by side: `recovered_front` is that.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import environment, optimize, systems
from lib.corpora import gutenberg
from lib.files import content_key
from lib.measure import paired
from lib.measure.scores import compare
from lib.studies import confirmed, failed, menu, scales
from lib.studies.menu import Trial

if TYPE_CHECKING:
    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer
    from lib.optimize.recover import Learning, Lesson
    from lib.results import Run
    from lib.systems.base import System
    from lib.systems.model import Model
    from lib.training.recipe import Settings

log = logging.getLogger(__name__)

SYSTEMS = ("vits-joe", "hifigan")
STAGE, MADE_ON, SPOKEN_ON = "decoder", "torch/cpu", "onnxruntime/cpu"
SHARES = (0.3, 0.5)  # of the channels, taken out of every layer
N_LESSONS = 48  # training sentences that the whole decoder is heard on
TAUGHT, AWARE, STATIC = "recovered", "int8-aware", "int8-static"  # in names of variants
# Whose own download lies in half precision: the graphs of its variants would be larger in single, so all that is left
# of them in that is halved, and their names say so. The others' bytes are those of pruning and of 8 bit alone.
HALVED, HALF = ("hifigan",), "fp16-weights"
LONGER = "longer"  # ends the name of one that learnt again, and then as long as another learnt to round
RATE = 3e-4  # learning to round is fine-tuning: slower than learning again what was taken out
BESIDE = "@rounding"  # of a variant that learnt to round in rows about its difference from one that did not
HEARD = ("mos_predicted", "asr_nll")  # of such rows


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
    learnt again, learn to round; 0 for not at all. Each has a control in the best fixed scales of `scales`; that of the
    latter, LONGER, learns as many steps more without rounding. folder: of the variants and of the runs that teach them,
    which go on where they stopped. What cannot be taught has a row that says why.
    """
    trials: list[Trial] = []
    for name in names if steps or aware_steps else ():
        ids = [sentence.id for sentence in gutenberg.split("train", n_lessons)]
        names_of = (name, TAUGHT, SPOKEN_ON)
        if lessons := failed.tried(run, names_of, lambda: _lessons(name, ids, Path(folder), seed, threads)):
            trials += _taught(run, lessons, steps, aware_steps, shares)
    return trials


def beside(
    run: Run,
    trials: Sequence[Trial],
    sentences: Sequence[Sentence],
    scorer: Scorer,
    folder: str | Path,
    *,
    threads: int = 2,
) -> None:
    """Rows of every decoder that learnt to round, paired with its control in fixed scales on the same sentences: of
    HEARD, the variant ending with BESIDE. trials: of `taught`, which were tried: the variants lie in the folder.
    """
    for learnt, plain in controls(trials):
        names = (learnt.system, f"{learnt.variant}{BESIDE}", learnt.target)
        failed.tried(run, names, lambda: _laid(run, names, learnt, plain, sentences, scorer, folder, threads))


def controls(trials: Sequence[Trial]) -> list[tuple[Trial, Trial]]:
    """(one that learnt to round, the same decoder in fixed scales: if there is one, that which learnt as long)."""
    pairs = []
    for learnt in trials:
        stem, aware, _ = learnt.variant.partition(AWARE)
        same = [one for one in trials if aware and one.system == learnt.system]
        for start in (f"{stem}{LONGER}+{STATIC}", f"{stem}{STATIC}"):
            if found := [one for one in same if one.variant.startswith(start)]:
                pairs.append((learnt, found[0]))
                break
    return pairs


def _laid(run, names, learnt, plain, sentences, scorer, folder, threads) -> None:
    """The rows of a pair, see `beside`."""

    def judged(one: Trial):
        home = confirmed.home(folder, one.system, one.target, one.variant)
        system: System = optimize.load(home, threads=threads)
        return confirmed.baseline(run, system, sentences, scorer, whose=False).judged  # some have no voice left

    one, other = judged(learnt), judged(plain)
    differences = compare(one.scores, other.scores, seed=run.seed)
    for metric in HEARD:
        # No difference of its own, for it is no verdict on a baseline.
        told = {"beside": plain.variant, "paired": paired.detail(differences[metric])}
        paired.write(run, names, metric, one.summary[metric], "the same sentences and seeds, paired", **told)


def _taught(run: Run, given: _Lessons, steps: int, aware_steps: int, shares: Sequence[float]) -> list[Trial]:
    """The trials of one system."""
    trials: list[Trial] = []
    whole = given.whole

    def made(variant: str, step: Callable[[], Model], *, alone: bool = True) -> Model | None:
        """What a step makes, and its trial; alone: whether it is one by itself."""
        one = failed.tried(run, (whole.name, variant, SPOKEN_ON), step)
        if one is not None and alone:
            trials.append(_trial(one))
        return one

    def in_8_bit(one: Model) -> None:
        """The trial of a decoder in fixed scales, as they suit it best; of the whole one it begins with nothing."""
        taken = () if one is whole else (_taken(one),)
        variant = STATIC if one is whole else f"{one.variant}+{STATIC}"
        step = failed.tried(run, (whole.name, variant, SPOKEN_ON), lambda: _scaled(given, taken))
        if step is not None:
            trials.append(_named(whole.name, one.variant if taken else "", taken, step))

    def cut(share: float, variant: str) -> Model:
        arguments = {"share": share, "stages": [STAGE]}
        return confirmed.make(whole, [("structured", arguments)], variant, given.folder, resume=True)

    def rounding(one: Model, variant: str) -> Model:
        untaught = f"{variant}-untaught"
        untaught = confirmed.make(one, [(AWARE, menu.of_decoder())], untaught, given.folder, resume=True)
        return _learnt(untaught, given, aware_steps, variant, RATE)

    good = []
    for share in shares if steps else ():
        variant = f"structured-{round(100 * share)}"
        again = f"{variant}+{TAUGHT}"
        if pruned := made(variant, lambda: cut(share, variant)):
            if one := made(again, lambda: _learnt(pruned, given, steps, again)):
                good.append(one)
                in_8_bit(one)
    if aware_steps:
        in_8_bit(whole)
        made(AWARE, lambda: rounding(whole, AWARE))
    for one in good[:1] if aware_steps else ():
        variant, control = f"{one.variant}+{AWARE}", f"{one.variant}+{LONGER}"
        made(variant, lambda: rounding(one, variant))
        if longer := made(control, lambda: _learnt(one, given, aware_steps, control, RATE), alone=False):
            in_8_bit(longer)
    return trials


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


def _scaled(given: _Lessons, taken: Sequence[tuple[str, dict[str, Any]]]) -> tuple[str, dict[str, Any]]:
    """`int8-static` with the method that suits a decoder best, as a step behind others."""
    from lib.optimize import recover

    base = systems.load(given.whole.name, target=SPOKEN_ON, threads=given.whole.threads)
    heard = given.lessons[-recover.Learning().validation :]
    method = scales.best(base, taken, menu.of_decoder(), heard, STAGE)
    return STATIC, {**menu.of_decoder(), **({} if method == scales.USUAL else {"method": method})}


def _taken(on_torch: Model) -> tuple[str, dict[str, Any]]:
    """The step by which a saved torch variant's decoder comes to ONNX Runtime."""
    folder = on_torch.origin["folder"]
    return "from-torch", {"folder": folder, "weights": on_torch.weights_key(), "stage": STAGE}


def _trial(on_torch: Model) -> Trial:
    """A torch variant's decoder on ONNX Runtime, as it is."""
    return _named(on_torch.name, on_torch.variant, (_taken(on_torch),))


def _named(system: str, variant: str, *steps: Any) -> Trial:
    """A trial on ONNX Runtime that is called after all that is done there: variant, method of scales, half precision.

    steps: those that take a decoder over, in a tuple, then one by one what else is done.
    """
    taken, *more = steps
    more += [(HALF, {})] if system in HALVED else []
    names = ["-".join(filter(None, (name, given.get("method")))) for name, given in more]
    return Trial(system, SPOKEN_ON, "+".join(filter(None, (variant, *names))), (*taken, *more))
