"""Does the diffusion decoder mend what a regression lacks, in both voices and through several vocoders?

Three read the same sentences through the same vocoder: the voice itself, copied; the regression that diffusion is
conditioned on, the acoustic model inside the teacher; the converged diffusion. What is between the first two is what a
mel of a mean lacks, what is between the last two is what diffusion gives.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib import results, systems
from lib.errors import unknown
from lib.measure import evaluate, verdict
from lib.studies import origins, smoothness, students
from lib.studies.distillation_claim import REFERENCE, SPOKEN_BY, SYSTEM
from lib.studies.ladder import CONVERGED
from lib.text import listed

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer
    from lib.results import Run

COPIES = "copies"
ON = "onnxruntime/cpu"
SHARES = {
    "global_variance": "global variance",
    "spectral_contrast": "contrast",
    "fast_modulation": "fast modulation",
}  # of what the voice itself moves, by `smoothness.textures`
VOICES = {"vits-joe": ON, "hibari": ON}  # that all have learnt, and where they run


def way(voice: str, vocoder: str) -> str:
    """What the variants of a voice through a vocoder end in: "-by-istft@hibari"."""
    return f"{SPOKEN_BY}{vocoder}@{voice}"


def measure(
    run: Run,
    ways: Sequence[Sequence[str]],
    sentences: Sequence[Sentence],
    scorer: Scorer,
    *,
    keep: int = 0,
    threads: int = 2,
) -> None:
    """Write how the three sound, paired each with the one before, and how much they move, by `smoothness.textures`.

    ways: (voice, vocoder) each; keep: clips of each in the report. ParameterError for a voice that they do not know.
    """
    for voice, _ in ways:
        if voice not in VOICES:
            raise unknown("voice that the decoder has learnt", voice, VOICES)
    if not ways:
        return
    spoken = {
        voice: evaluate.speak(
            systems.load(voice, target=VOICES[voice], threads=threads), sentences, seed=run.seed
        )
        for voice in dict.fromkeys(voice for voice, _ in ways)
    }
    teacher = students.reference(students.load(threads))
    for voice, vocoder in ways:
        end, judge = (
            way(voice, vocoder),
            {"second_opinion": 0, "keep": keep, "group": f"{voice} through {vocoder}"},
        )
        diffusion = teacher.adjusted(variant=f"{REFERENCE}{end}", speaker=voice, vocoder=vocoder)
        plain, own = smoothness.regression(diffusion), diffusion.vocoder
        _, copied = evaluate.copies(spoken[voice], own.vocode, f"{voice} through {vocoder}")
        before = evaluate.quality(run, (own.name, f"{COPIES}@{voice}", own.target), copied, scorer, **judge)
        heard = {smoothness.VOICE: copied}
        for reader, variant, name, baseline in (
            (plain, f"{smoothness.FRONT}{end}", smoothness.REGRESSION, COPIES),
            (diffusion, diffusion.variant, REFERENCE, smoothness.REGRESSION),
        ):
            heard[name] = evaluate.speak(reader, sentences, seed=run.seed)
            before = evaluate.quality(
                run, (reader.name, variant, reader.target), heard[name], scorer,
                baseline=before, baseline_name=baseline, **judge,
            )  # fmt: skip
        about = {"temperature": diffusion.sampling.temperature}
        run.add(SYSTEM, diffusion.variant, diffusion.target, "nfe", CONVERGED, source="counted", detail=about)
        smoothness.textures(run, heard, end)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line each voice and vocoder, all of the newest run: predicted MOS of copies, regression and diffusion; what the
    regression lacks of the copies, at the least, by the 95 % interval (below 0: nothing is shown to lack); what
    diffusion gives, with its interval and p, and of the recogniser's loss; from noise of which temperature; and of
    which run, "" of this one.

    rows: as `lib.results.read` returns them.
    """
    import pandas as pd

    columns = [
        "voice",
        "vocoder",
        COPIES,
        "regression",
        "diffusion",
        "lacking",
        "difference",
        "ci_low",
        "ci_high",
    ]
    columns += ["p_value", "asr_nll", "temperature", "sentences", "run"]
    run, variants = _newest(rows)

    def row(system: str, variant: str, metric: str) -> pd.Series:
        return run[(run.system == system) & (run.variant == variant) & (run.metric == metric)].iloc[-1]

    lines = []
    for variant in variants:
        vocoder, _, voice = variant.removeprefix(REFERENCE + SPOKEN_BY).partition("@")
        plain = row(smoothness.REGRESSION, f"{smoothness.FRONT}{way(voice, vocoder)}", "mos_predicted")
        drawn, loss = (row(SYSTEM, variant, metric) for metric in ("mos_predicted", "asr_nll"))
        lacked, gained, lost = (_paired(one) for one in (plain, drawn, loss))
        lines.append(
            {
                "voice": voice,
                "vocoder": vocoder,
                COPIES: row(vocoder, f"{COPIES}@{voice}", "mos_predicted").value,
                "regression": plain.value,
                "diffusion": drawn.value,
                "lacking": -lacked["ci_high"],
                **{name: gained[name] for name in ("difference", "ci_low", "ci_high", "p_value")},
                "asr_nll": lost["difference"],
                "temperature": json.loads(row(SYSTEM, variant, "nfe").detail)["temperature"],
                "sentences": int(drawn.n),
                "run": origins.stamp(run),
            }
        )
    return pd.DataFrame(lines, columns=columns)


def _newest(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The newest run that compared diffusion with the regression, and the variants of diffusion that it has."""
    ours = rows[(rows.system == SYSTEM) & (rows.baseline == smoothness.REGRESSION)]
    ours = ours[ours.variant.str.startswith(REFERENCE + SPOKEN_BY) & (ours.metric == "mos_predicted")]
    if ours.empty:
        return rows[:0], []
    run = results.run_of(rows, ours.sort_values("time").iloc[-1])
    return run, list(run.loc[run.index.isin(ours.index), "variant"].unique())


def _paired(row: pd.Series) -> dict[str, float]:
    """The paired difference of a row; NaN where the sentences were too few for an interval."""
    told = json.loads(row.detail) if row.detail else {}
    return {
        name: math.nan if told.get(name) is None else told[name]
        for name in ("difference", "ci_low", "ci_high", "p_value")
    }


def finding(found: pd.DataFrame) -> str | None:
    """What diffusion mends of what a regression lacks, in a sentence for each voice and vocoder; None without lines.

    found: of `table`.
    """
    said = []
    for line in found.itertuples():
        head = (
            f"{line.voice} through {line.vocoder}: copies have a predicted MOS of {line.copies:.2f}, the regression "
            f"{line.regression:.2f}, diffusion {line.diffusion:.2f}"
        )
        if line.sentences < verdict.MIN_SENTENCES:
            said.append(f"{head} ({line.sentences} sentences, which decide nothing)")
            continue
        word = (
            "better"
            if line.ci_low > 0
            else "worse"
            if line.ci_high < 0
            else "no different, as far as can be told"
        )
        share = ""
        if line.ci_low > 0 and line.lacking > 0:
            share = f", {100 * line.difference / (line.copies - line.regression):.0f} % of what it lacked"
        amount = f"{line.difference:+.2f} [{line.ci_low:+.2f}, {line.ci_high:+.2f}]"
        said.append(f"{head}: {word} ({amount}, {line.sentences} sentences){share}")
    if not said:
        return None
    about, origin = f"noise of temperature {found.temperature.iloc[0]:g}", found.run.iloc[0]
    return f"From {about}, converged{f' ({origin})' if origin else ''}: {'; '.join(said)}."


def moves(rows: pd.DataFrame) -> str | None:
    """How much of what the copies move the regression keeps, and diffusion, in a sentence; None where no run with
    intervals compared them. Diffusion is said to be nearer where the two intervals do not touch.
    """
    run, variants = _newest(rows)
    said = []
    for variant in variants:
        end = variant.removeprefix(REFERENCE)
        both = [
            run[(run.variant == name) & run.metric.isin(SHARES) & run.ci_low.notna()]
            .drop_duplicates("metric", keep="last")
            .set_index("metric")
            for name in (f"{smoothness.FRONT}{end}", variant)
        ]
        shown = [metric for metric in SHARES if all(metric in table.index for table in both)]
        if not shown:
            continue
        pairs = {SHARES[metric]: [table.loc[metric] for table in both] for metric in shown}
        shares = ", ".join(f"{name} {plain.value:.2f} to {drawn.value:.2f}" for name, (plain, drawn) in pairs.items())
        nearer = [name for name, (plain, drawn) in pairs.items() if _nearer(plain, drawn)]
        sure = f"nearer for sure in {listed(nearer)}" if nearer else "nearer for sure in none of them"
        vocoder, _, voice = end.removeprefix(SPOKEN_BY).partition("@")
        said.append(f"{voice} through {vocoder}: {shares}, {sure}")
    if not said:
        return None
    return origins.told(
        run, f"Of what copies move (1), from the regression to diffusion: {'; '.join(said)}."
    )


def _nearer(plain: pd.Series, drawn: pd.Series) -> bool:
    apart = drawn.ci_low > plain.ci_high or drawn.ci_high < plain.ci_low
    return bool(apart and abs(drawn.value - 1) < abs(plain.value - 1))
