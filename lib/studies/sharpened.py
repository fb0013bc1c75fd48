"""How near do acoustic models come to the voice that they learnt, as they are and with mels that move as it does?

Each model of the zoo reads the same sentences in both voices, as it is and sharpened (`lib.systems.postfilter`),
through the vocoder that suits the voice. Rows are of the model: variants "smooth-by-istft@hibari" and
"sharp-by-istft@hibari", paired with the voice's own clips; the detail of the latter says what it gains on the former.

    python -m lib.studies.sharpened fastspeech2 tacotron2 --profile study --sentences 100
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lib import environment, results, systems
from lib.corpora import gutenberg
from lib.errors import SpeechError
from lib.measure import evaluate, paired, verdict
from lib.measure.scorer import Scorer, source
from lib.measure.scores import compare
from lib.studies import origins
from lib.systems.istft.held import PASSES

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.results import Run

NOTEBOOK = "02_training"
# voice -> the vocoder that it is spoken by, and its settings
BY: dict[str, tuple[str, dict[str, Any]]] = {"hibari": ("istft", {"passes": PASSES}), "vits-joe": ("hifigan", {})}
SMOOTH, SHARP = "smooth", "sharp"
METRICS = ("mos_predicted", "wer", "asr_nll", "speaker_similarity")
FLOOR, FLOORS = 0.25, {"fastspeech2": 0.15}  # of predicted MOS below the voice, at most
MET, MISSED, UNDECIDED = "met", "missed", "undecided"
ON = "onnxruntime/cpu"  # where the voices themselves run


def variant(how: str, voice: str) -> str:
    """What rows call it.

    >>> variant(SHARP, "hibari")
    'sharp-by-istft@hibari'
    """
    return f"{how}-by-{BY[voice][0]}@{voice}"


def study(
    run: Run,
    models: Sequence[str],
    sentences: Sequence[Sentence],
    scorer: Scorer,
    *,
    voices: Sequence[str] = tuple(BY),
    keep: int = 0,
    threads: int = 2,
) -> None:
    """Judge the models in the voices and write their rows. keep: clips of each in the report."""
    for voice in voices if models else ():
        teacher = systems.load(voice, target=ON, threads=threads)
        own = evaluate.judge(evaluate.speak(teacher, sentences, seed=run.seed), scorer, seed=run.seed)
        references = evaluate.reference_clips(teacher)
        vocoder, settings = BY[voice]
        for name in models:
            before = None
            for how, sharpness in ((SMOOTH, 0.0), (SHARP, 1.0)):
                model = systems.load(
                    name, threads=threads, speaker=voice, vocoder=vocoder, sharpness=sharpness, **settings
                )
                clips = evaluate.speak(model, sentences, seed=run.seed)
                judged = evaluate.judge(clips, scorer, voice=references, seed=run.seed)
                names = (name, variant(how, voice), model.target)
                away = compare(judged.scores, own.scores, seed=run.seed)
                gained = compare(judged.scores, before.scores, seed=run.seed) if before else {}
                for metric in METRICS:
                    told = {"gained": paired.detail(gained[metric])} if metric in gained else {}
                    paired.write(
                        run, names, metric, judged.summary[metric], source(metric, scorer.compute_type),
                        baseline=voice, difference=away.get(metric), **told,
                    )  # fmt: skip
                for clip in clips[:keep]:
                    evaluate.keep_clip(run, names, clip, f"{voice}: mels as they are, and sharpened")
                before = judged


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line each model and voice, of the newest run: predicted MOS of both, what sharpening gains, WER of both, how
    far the sharpened one lies from the voice itself, the floor for that, and what became of it; which run, "" of this
    one.

    rows: of `lib.results.read`.
    """
    import pandas as pd

    columns = ["model", "voice", "vocoder", SMOOTH, SHARP, "gain", "gain_low", "gain_high", "wer_smooth", "wer_sharp"]
    columns += ["away", "away_low", "away_high", "floor", "word", "sentences", "run"]
    ours = rows[rows.variant.isin([variant(SHARP, voice) for voice in BY]) & (rows.metric == "mos_predicted")]
    lines = []
    if len(ours):
        run = results.run_of(rows, ours.sort_values("time").iloc[-1])
        for (name, voice), row in _sharp(run).items():
            told = json.loads(row.detail)
            gain, floor = told["gained"], FLOORS.get(name, FLOOR)
            lines.append(
                {
                    "model": name,
                    "voice": voice,
                    "vocoder": BY[voice][0],
                    SMOOTH: _value(run, name, SMOOTH, voice, "mos_predicted"),
                    SHARP: row.value,
                    **{"gain": gain["difference"], "gain_low": gain["ci_low"], "gain_high": gain["ci_high"]},
                    **{f"wer_{how}": 100 * _value(run, name, how, voice, "wer") for how in (SMOOTH, SHARP)},
                    **{"away": told["difference"], "away_low": told["ci_low"], "away_high": told["ci_high"]},
                    "floor": -floor,
                    "word": reached(told["ci_low"], told["ci_high"], floor),
                    "sentences": int(row.n),
                    "run": origins.stamp(run),
                }
            )
    return pd.DataFrame(lines, columns=columns)


def reached(low: float | None, high: float | None, floor: float) -> str:
    """Whether a difference with this 95 % interval is at most `floor` below.

    >>> reached(-0.1, 0.1, 0.15), reached(-0.3, -0.1, 0.15), reached(-0.5, -0.3, 0.15)
    ('met', 'undecided', 'missed')
    """
    if low is None or high is None:
        return UNDECIDED
    return MET if low >= -floor else MISSED if high < -floor else UNDECIDED


def finding(found: pd.DataFrame) -> list[str]:
    """What sharpening gives each voice in predicted MOS, and what still lacks, in a sentence each (`table`)."""
    said = []
    for voice, lines in found.groupby("voice", sort=False):
        if (few := int(lines.sentences.min())) < verdict.MIN_SENTENCES:
            said.append(f"{voice}: {few} sentences decide nothing.")
            continue
        best = lines.loc[lines.away.idxmax()]
        sure = lines[lines.gain_low > 0]
        gains = ", ".join(
            f"{line.model} {line.gain:+.2f} [{line.gain_low:+.2f}, {line.gain_high:+.2f}]"
            for line in lines.itertuples()
        )
        said.append(
            f"As {voice}, through {best.vocoder}, sharpening makes {len(sure)} of {len(lines)} models sound better "
            f"({gains}). Nearest to the voice comes {best.model}: {best.away:+.2f} [{best.away_low:+.2f}, "
            f"{best.away_high:+.2f}] predicted MOS; the floor is {'; '.join(_words(lines))}."
        )
    return said


def _words(lines: pd.DataFrame) -> list[str]:
    grouped = lines.groupby("word", sort=False).model
    return [f"{word} {'by' if word == MET else 'for'} {', '.join(models)}" for word, models in grouped]


def _sharp(run: pd.DataFrame) -> dict[tuple[str, str], Any]:
    named = {variant(SHARP, voice): voice for voice in BY}
    chosen = run[run.variant.isin(named) & (run.metric == "mos_predicted") & run.value.notna()]
    return {(row.system, named[row.variant]): row for row in chosen.itertuples()}


def _value(run: pd.DataFrame, name: str, how: str, voice: str, metric: str) -> float:
    chosen = (run.system == name) & (run.variant == variant(how, voice)) & (run.metric == metric)
    return float(run[chosen].value.iloc[-1])


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.studies.sharpened",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", help="acoustic models of lib.zoo")
    parser.add_argument("--profile", default="study", help=f"whose rows of {NOTEBOOK} are written")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    environment.pin_threads(options.threads)
    try:
        run, sentences = results.start(NOTEBOOK, options.profile), gutenberg.split("test", options.sentences)
        study(run, options.models, sentences, Scorer(threads=options.threads), threads=options.threads)
    except SpeechError as error:
        print(f"not finished: {error}", file=sys.stderr)
        return 1
    print(run.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
