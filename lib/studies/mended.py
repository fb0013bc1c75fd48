"""Does the diffusion decoder mend what a regression lacks, in both voices and through several vocoders?

Three read the same sentences through the same vocoder: the voice itself, copied; the regression that diffusion is
conditioned on; the converged diffusion. What is between the first two is what a mel of a mean lacks, what is between
the last two is what diffusion gives.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib import systems
from lib.errors import unknown
from lib.measure import evaluate, verdict
from lib.studies import smoothness, students
from lib.studies.distillation_claim import REFERENCE, SPOKEN_BY, SYSTEM

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer
    from lib.results import Run

COPIES = "copies"
VOICES = {
    "vits-joe": "onnxruntime/cpu",
    "hibari": "onnxruntime/cpu",
}  # that all have learnt, and where they run
METRICS = ("mos_predicted", "asr_nll", "wer")


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
    plain, drawn = (
        systems.load(smoothness.REGRESSION, threads=threads),
        students.reference(students.load(threads)),
    )
    for voice, vocoder in ways:
        end = way(voice, vocoder)
        readers = {
            one.name: one.adjusted(variant=f"{name}{end}", speaker=voice, vocoder=vocoder)
            for name, one in (("baseline", plain), (REFERENCE, drawn))
        }
        own = readers[SYSTEM].vocoder
        _, copied = evaluate.copies(spoken[voice], own.vocode, f"{voice} through {vocoder}")
        heard = {smoothness.VOICE: copied}
        group = f"{voice} through {vocoder}"
        before = evaluate.quality(
            run, (own.name, f"{COPIES}@{voice}", own.target), copied, scorer,
            second_opinion=0, keep=keep, group=group,
        )  # fmt: skip
        named = COPIES
        for name, reader in readers.items():
            clips = evaluate.speak(reader, sentences, seed=run.seed)
            before = evaluate.quality(
                run, (name, reader.variant, reader.target), clips, scorer,
                baseline=before, baseline_name=named, second_opinion=0, keep=keep, group=group,
            )  # fmt: skip
            heard[name if name != SYSTEM else REFERENCE], named = clips, name
        smoothness.textures(run, heard, end)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line each voice and vocoder: predicted MOS of copies, regression and diffusion, what diffusion gives with its
    95 % interval and p, the same of the recogniser's loss, and of how many sentences. Of several runs the newest.

    rows: as `lib.results.read` returns them.
    """
    import pandas as pd

    ours = rows[(rows.system == SYSTEM) & (rows.baseline == smoothness.REGRESSION)]
    ours = ours[ours.variant.str.startswith(REFERENCE + SPOKEN_BY)]
    lines = []
    for row in ours[ours.metric == "mos_predicted"].drop_duplicates("variant", keep="last").itertuples():
        vocoder, _, voice = row.variant.removeprefix(REFERENCE + SPOKEN_BY).partition("@")
        same = rows[(rows.commit == row.commit) & (rows.host == row.host) & (rows.metric == "mos_predicted")]
        others = [
            same[(same.system == system) & (same.variant == variant)].value
            for system, variant in (
                (vocoder, f"{COPIES}@{voice}"),
                (smoothness.REGRESSION, f"baseline{way(voice, vocoder)}"),
            )
        ]
        gained = json.loads(row.detail)
        loss = ours[(ours.variant == row.variant) & (ours.metric == "asr_nll") & (ours.commit == row.commit)]
        lines.append(
            {
                "voice": voice,
                "vocoder": vocoder,
                **{
                    name: other.iloc[-1] if len(other) else float("nan")
                    for name, other in zip((COPIES, "regression"), others)
                },
                "diffusion": row.value,
                **{name: gained.get(name) for name in ("difference", "ci_low", "ci_high", "p_value")},
                "asr_nll": json.loads(loss.iloc[-1].detail).get("difference") if len(loss) else None,
                "sentences": int(row.n),
            }
        )
    columns = ["voice", "vocoder", COPIES, "regression", "diffusion"]
    return pd.DataFrame(
        lines, columns=[*columns, "difference", "ci_low", "ci_high", "p_value", "asr_nll", "sentences"]
    )


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
        lacking = line.copies - line.regression
        word = (
            "better"
            if line.ci_low > 0
            else "worse"
            if line.ci_high < 0
            else "no different, as far as can be told,"
        )
        share = (
            f", {100 * line.difference / lacking:.0f} % of what it lacked" if line.ci_low > 0 < lacking else ""
        )
        said.append(
            f"{head}: {word} by {line.difference:+.2f} [{line.ci_low:+.2f}, {line.ci_high:+.2f}]{share} "
            f"({line.sentences} sentences)"
        )
    return ". ".join(said) + "." if said else None
