"""How small and fast can this system get here before anybody hears it? One call that tries, and may answer: leave it.

Stages and blocks of layers are treated one by one, plans are put together from them and chosen on other sentences,
and the one that was chosen is judged on test sentences; its speed is that of the bench that chose it (`sensitivity`,
`plans`). It takes an hour or so on two cores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lib import REPOSITORY, environment, systems
from lib.corpora import gutenberg
from lib.errors import ParameterError, unknown
from lib.measure import verdict
from lib.measure.scorer import Scorer
from lib.results import METRICS, Run
from lib.studies import apart, plans, sensitivity
from lib.studies.plans import Found


def auto(
    system: str,
    target: str,
    margins: Mapping[str, float] = {},
    *,
    folder: str | Path = REPOSITORY / "outputs" / "auto",
    n_screened: int = 8,
    n_choosing: int = 42,
    n_sentences: int = 100,
    n_timed: int = 12,
    rounds: int = 3,
    most: int = 4,
    threads: int = 2,
    seed: int = 0,
) -> Found:
    """The fastest variant of a system on a target whose verdict is "without audible loss", with its reasons in words.
    Where none that was confirmed is significantly faster, the smallest that may be taken: then they say "smaller, not
    faster". The system as it is where none may be taken: then they say "leave it in fp32", or why nothing could be
    tried.

    margins: metric -> the largest change for the worse, in its unit, where that is to be narrower than the verdict's
    own ({"mos_predicted": -0.05}); ParameterError for a wider one, which the word would not stand for. folder: of the
    variants and rows, by default outputs/auto; what an interrupted call left there is gone on with. n_screened:
    training sentences on which each group is heard (`apart`); the others: of `plans.plan_of`.
    """
    checked(margins)
    environment.pin_threads(threads)
    run, scorer = Run("auto", folder, seed=seed), Scorer(threads=threads)
    variants = Path(folder) / "variants"
    screening = apart.screening(n_screened)
    tried = sensitivity.by_group(
        run, system, target, ["stage", "block"], screening, scorer, threads=threads, resume=variants
    )
    held_out = gutenberg.split("test", n_sentences)
    found = plans.plan_of(
        run,
        system,
        target,
        tried,
        apart.choosing(n_choosing),
        held_out,
        [sentence.text for sentence in held_out[:n_timed]],
        scorer,
        variants,
        rounds=rounds,
        most=most,
        threads=threads,
        resume=True,
        margins=margins,
    )
    return Found(found.variant or systems.load(system, target=target, threads=threads), found.said)


def checked(margins: Mapping[str, float]) -> None:
    """Raise ParameterError for margins that the verdict does not know, or that are wider than its own."""
    for metric, margin in margins.items():
        if metric not in verdict.MARGINS:
            raise unknown("metric with a margin", metric, verdict.MARGINS)
        sign, own = METRICS[metric].better, verdict.MARGINS[metric]
        if not sign * own <= sign * margin <= 0:
            raise ParameterError(
                f"a margin of {margin:+g} for {metric}: give one between 0 and {own:+g}, beyond which nobody says "
                f"{verdict.WITHOUT_LOSS!r}"
            )
