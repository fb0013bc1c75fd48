"""How near do acoustic models come to the voice that they learnt, as they are and with mels that move as it does?

Each model of the zoo reads the same sentences in both voices, as it is and sharpened (`lib.systems.postfilter`),
through vocoders that suit the voice: that of the voice itself, which lets nobody hear how sure the model was, and one
that is true to its mel. Rows are of the model: variants "smooth-by-istft@hibari" and "sharp-by-istft@hibari", paired
with the voice's own clips; the detail of the latter says what it gains on the former.

    python -m lib.studies.sharpened fastspeech2 tacotron2 --profile study --sentences 100 --ways hibari-vocoder@hibari
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
from lib.errors import SpeechError, unknown
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
# (voice, vocoder that it is spoken by) -> the vocoder's settings
WAYS: dict[tuple[str, str], dict[str, Any]] = {
    ("hibari", "hibari-vocoder"): {},
    ("hibari", "istft"): {"passes": PASSES},
    ("vits-joe", "hifigan"): {},
}
SMOOTH, SHARP = "smooth", "sharp"
METRICS = ("mos_predicted", "wer", "asr_nll", "speaker_similarity")
FLOOR, FLOORS = 0.25, {"fastspeech2": 0.15}  # of predicted MOS below the voice, at most
MET, MISSED, UNDECIDED = "met", "missed", "undecided"
ON = "onnxruntime/cpu"  # where the voices themselves run


def variant(how: str, voice: str, vocoder: str) -> str:
    """What rows call it.

    >>> variant(SHARP, "hibari", "istft")
    'sharp-by-istft@hibari'
    """
    return f"{how}-by-{vocoder}@{voice}"


def ways(named: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(voice, vocoder) of names such as "istft@hibari"; of none: all. ParameterError for an unknown one.

    >>> ways(["istft@hibari"])
    (('hibari', 'istft'),)
    """
    known = {f"{vocoder}@{voice}": (voice, vocoder) for voice, vocoder in WAYS}
    for name in named:
        if name not in known:
            raise unknown("way to speak", name, known)
    return tuple(known[name] for name in named) or tuple(WAYS)


def study(
    run: Run,
    models: Sequence[str],
    sentences: Sequence[Sentence],
    scorer: Scorer,
    *,
    by: Sequence[str] = (),
    keep: int = 0,
    threads: int = 2,
) -> None:
    """Judge the models and write their rows. by: of `ways`; keep: clips of each in the report."""
    for voice, vocoder in ways(by) if models else ():
        teacher = systems.load(voice, target=ON, threads=threads)
        own = evaluate.judge(evaluate.speak(teacher, sentences, seed=run.seed), scorer, seed=run.seed)
        references = evaluate.reference_clips(teacher)
        for name in models:
            before = None
            for how, sharpness in ((SMOOTH, 0.0), (SHARP, 1.0)):
                settings = {"speaker": voice, "vocoder": vocoder, "sharpness": sharpness, **WAYS[voice, vocoder]}
                model = systems.load(name, threads=threads, **settings)
                clips = evaluate.speak(model, sentences, seed=run.seed)
                judged = evaluate.judge(clips, scorer, voice=references, seed=run.seed)
                names = (name, variant(how, voice, vocoder), model.target)
                away = compare(judged.scores, own.scores, seed=run.seed)
                gained = compare(judged.scores, before.scores, seed=run.seed) if before else {}
                for metric in METRICS:
                    told = {"gained": paired.detail(gained[metric])} if metric in gained else {}
                    paired.write(
                        run, names, metric, judged.summary[metric], source(metric, scorer.compute_type),
                        baseline=voice, difference=away.get(metric), **told,
                    )  # fmt: skip
                for clip in clips[:keep]:
                    group = f"{voice} through {vocoder}: mels as they are, and sharpened"
                    evaluate.keep_clip(run, names, clip, group)
                before = judged


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line each model, voice and vocoder, of the newest run with the most sentences: predicted MOS of both, what
    sharpening gains, WER of both, how far the sharpened one lies from the voice itself, the floor for that, and what
    became of it; how many points of WER it lies from the voice; which run, "" of this one.

    rows: of `lib.results.read`.
    """
    import pandas as pd

    columns = ["model", "voice", "vocoder", SMOOTH, SHARP, "gain", "gain_low", "gain_high", "wer_smooth", "wer_sharp"]
    columns += ["away", "away_low", "away_high", "floor", "word"]
    columns += ["wer_away", "wer_away_low", "wer_away_high", "sentences", "run"]
    lines = []
    for (voice, vocoder), (name, row) in _newest(rows):
        run = results.run_of(rows, row)
        told, floor = json.loads(row.detail), FLOORS.get(name, FLOOR)
        gain = told["gained"]
        both = {how: _row(run, name, variant(how, voice, vocoder), "mos_predicted") for how in (SMOOTH, SHARP)}
        words = {how: _row(run, name, variant(how, voice, vocoder), "wer") for how in (SMOOTH, SHARP)}
        missed = json.loads(words[SHARP].detail)
        lines.append(
            {
                "model": name,
                "voice": voice,
                "vocoder": vocoder,
                **{how: one.value for how, one in both.items()},
                **{"gain": gain["difference"], "gain_low": gain["ci_low"], "gain_high": gain["ci_high"]},
                **{f"wer_{how}": 100 * one.value for how, one in words.items()},
                **{"away": told["difference"], "away_low": told["ci_low"], "away_high": told["ci_high"]},
                "floor": -floor,
                "word": reached(told["ci_low"], told["ci_high"], floor),
                "wer_away": _points(missed["difference"]),
                "wer_away_low": _points(missed["ci_low"]),
                "wer_away_high": _points(missed["ci_high"]),
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
    """What sharpening gives each voice and vocoder in predicted MOS, and what still lacks, in a sentence each
    (`table`).
    """
    said = []
    for (voice, vocoder), lines in found.groupby(["voice", "vocoder"], sort=False):
        enough = lines[lines.sentences >= verdict.MIN_SENTENCES]
        if enough.empty:
            said.append(f"{voice} through {vocoder}: {int(lines.sentences.max())} sentences decide nothing.")
            continue
        lines = enough
        best = lines.loc[lines.away.idxmax()]
        sure = lines[lines.gain_low > 0]
        gains = ", ".join(
            f"{line.model} {line.gain:+.2f} [{line.gain_low:+.2f}, {line.gain_high:+.2f}]"
            for line in lines.itertuples()
        )
        said.append(
            f"As {voice}, through {vocoder}, sharpening makes {len(sure)} of {len(lines)} models sound better "
            f"({gains}). Nearest to the voice comes {best.model}: {best.away:+.2f} [{best.away_low:+.2f}, "
            f"{best.away_high:+.2f}] predicted MOS; the floor is {'; '.join(_words(lines))}. Of {best.model} "
            f"{_lost(best)}."
        )
    return said


def _points(share: float | None) -> float | None:
    """A share as percentage points."""
    return None if share is None else 100 * share


def _lost(line: Any) -> str:
    """What the recogniser says of a line, beside the voice."""
    ends = "" if line.wer_away_low is None else f" [{line.wer_away_low:+.1f}, {line.wer_away_high:+.1f}]"
    return f"the recogniser misses {line.wer_away:+.1f}{ends} points of words more than of the voice"


def _words(lines: pd.DataFrame) -> list[str]:
    grouped = lines.groupby("word", sort=False).model
    return [f"{word} {'by' if word == MET else 'for'} {', '.join(models)}" for word, models in grouped]


def _newest(rows: pd.DataFrame) -> Sequence[tuple[tuple[str, str], tuple[str, Any]]]:
    """((voice, vocoder), (model, its sharpened row of predicted MOS)), in the order of WAYS; of several rows the newest
    of those that heard the most sentences.
    """
    judged = rows[(rows.metric == "mos_predicted") & rows.value.notna()]
    found = []
    for way in WAYS:
        ours = judged[judged.variant == variant(SHARP, *way)].sort_values(["n", "time"])
        found += [(way, (name, of.iloc[-1])) for name, of in ours.groupby("system")]
    return found


def _row(run: pd.DataFrame, name: str, of: str, metric: str) -> Any:
    return run[(run.system == name) & (run.variant == of) & (run.metric == metric)].iloc[-1]


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.studies.sharpened",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", help="acoustic models of lib.zoo")
    parser.add_argument("--profile", default="study", help=f"whose rows of {NOTEBOOK} are written")
    parser.add_argument("--ways", nargs="*", default=[], help="such as istft@hibari; none: all")
    parser.add_argument("--sentences", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    environment.pin_threads(options.threads)
    try:
        run, sentences = results.start(NOTEBOOK, options.profile), gutenberg.split("test", options.sentences)
        scorer = Scorer(threads=options.threads)
        study(run, options.models, sentences, scorer, by=options.ways, threads=options.threads)
    except SpeechError as error:
        print(f"not finished: {error}", file=sys.stderr)
        return 1
    print(run.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
