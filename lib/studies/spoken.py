"""Does a neural processor still say the same? What comes out of it, or of its simulator, sentence by sentence, beside
what PyTorch makes of the very same inputs.

A sentence is said whole in one bucket and heard through all that follows on the host (a vocoder, the shaping of noise),
the same for both, so what differs is what the stage computed. A stage that listens is judged by what the rest of the
recogniser understands. Its rows are `simulated` where their numbers come from an emulator or from reference kernels,
`measured` where the device is there, and hold the paired difference to PyTorch; they are about a stage on short
sentences, which nobody else reads ("@short" in their names), and no verdict on a voice.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import progress, targets
from lib.deploy import export
from lib.deploy.job import Arrays
from lib.deploy.stages import Spoken, Stage
from lib.errors import AudioError
from lib.measure import judgement, paired, stats
from lib.measure.evaluate import Clip
from lib.measure.scorer import source
from lib.measure.scores import ClipScores, compare, recognised, summarise
from lib.measure.stats import Difference, Estimate
from lib.measure.verdict import RECOGNISER, quality_verdict
from lib.metrics import METRICS
from lib.results import newest_run
from lib.studies.cells import number

if TYPE_CHECKING:
    import pandas as pd

    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.studies.placed import Placed

log = logging.getLogger(__name__)

SNR = "audio_snr_db"
SPEAKS, LISTENS = ("mos_predicted", "asr_nll"), ("wer", "cer")  # what decides, by what a stage is
TEXTS = "@short"  # of its rows: what fits a bucket is another test set than that of whole voices
VOICE = ("naturalness", "intelligibility")  # criteria of `lib.measure.verdict`; the speaker was not asked for


@dataclass(frozen=True)
class Judged:
    """A stage's answers to whole sentences. values: metric -> over the sentences; own: PyTorch's of the same;
    differences: paired, where both have the metric; clips: the first sentence, PyTorch's and this one's, of a stage
    that speaks.
    """

    values: Mapping[str, Estimate]
    own: Mapping[str, Estimate]
    differences: Mapping[str, Difference]
    clips: tuple[Clip, ...] = ()


def judge(
    stage: Stage, answer: Callable[[Sequence[np.ndarray]], Arrays], scorer: "Scorer", *, seed: int = 0
) -> Judged:
    """answer: inputs -> outputs, on the target. Raises SpeechError where it does not answer, AudioError where what
    comes out is no sound.
    """
    said = progress.track(stage.spoken, f"{stage.label} is judged", unit="sentence")
    pairs = [(export.run(stage.network, one.inputs), _numbers(answer(one.inputs))) for one in said]
    own, made = ([side[of] for side in pairs] for of in (0, 1))
    if stage.spoken[0].transcript is not None:
        scores = [_understood(stage.spoken, outputs) for outputs in (own, made)]
        return _judged(scores, LISTENS, seed)
    sounds = [
        [_sound(one, outputs) for one, outputs in zip(stage.spoken, all_of_them)] for all_of_them in (own, made)
    ]
    scores = [
        scorer.rate_all([(w, stage.sample_rate, s.text) for w, s in zip(side, stage.spoken)], metrics=SPEAKS)
        for side in sounds
    ]
    found = _judged(scores, SPEAKS, seed)
    snr = [np.clip(export.snr_db(*pair), -200.0, 200.0) for pair in zip(*sounds)]
    clips = tuple(Clip(stage.label, stage.spoken[0].text, side[0], stage.sample_rate) for side in sounds)
    return Judged({SNR: stats.mean_ci(snr, seed=seed), **found.values}, found.own, found.differences, clips)


def write(run: "Run", one: "Placed") -> None:
    """The rows of one stage on one target; a `not run` one with the reason where it could not be judged."""
    names = (one.stage.system, one.variant + TEXTS, one.target)
    if isinstance(one.judged, str):
        listens = any(sentence.transcript for sentence in one.stage.spoken)
        run.not_run(*names, (LISTENS if listens else SPEAKS)[0], one.judged)
        return
    if one.judged is None:
        return
    target = targets.find(one.target)
    who = target.name if target.kind == "measured" else f"{target.runtime}'s simulator"
    for metric, value in one.judged.values.items():
        about: dict[str, Any] = {"frames": one.stage.frames, "difference": one.judged.differences.get(metric)}
        if metric in one.judged.differences:
            about["pytorch"] = round(one.judged.own[metric].value, 4)
        by = "against PyTorch's on the same inputs" if metric == SNR else _by(metric)
        answered = f"{by}, of what {who} answered"
        paired.write(run, names, metric, value, answered, kind=one.kind, **about)


def table(rows: "pd.DataFrame") -> "pd.DataFrame":
    """A line each stage and neural processor, of the newest run that judged it: sentences, the audio's SNR, each metric
    as PyTorch's and this one's with the paired difference, and the word for it.
    """
    import pandas as pd

    lines = []
    for (system, variant, target), own in _newest(rows):
        cells = {row.metric: row for row in own.itertuples()}
        line = {"system": system, "stage": variant, "target": target}
        line["sentences"] = int(next(iter(cells.values())).n)
        line["audio's SNR, dB"] = number(cells[SNR], ".1f") if SNR in cells else ""
        for metric in (*SPEAKS, *LISTENS[:1]):
            line[METRICS[metric].label] = _beside(cells[metric]) if metric in cells else ""
        lines.append(line | {"beside PyTorch": _word(cells)})
    return pd.DataFrame(lines or {"system": [], "stage": [], "target": [], "beside PyTorch": []})


def finding(rows: "pd.DataFrame") -> str | None:
    """What is still the same speech and what is not, in a sentence; None where nothing was judged."""
    by_word: dict[str, list[str]] = {}
    for (system, variant, target), own in _newest(rows):
        cells = {row.metric: row for row in own.itertuples()}
        first = next((cells[m] for m in (*SPEAKS, *LISTENS) if m in cells), None)
        if first is not None:
            label = METRICS[first.metric].in_sentence
            said = f"{system} {variant} on {target} ({label} {_beside(first)})"
            by_word.setdefault(_word(cells), []).append(said)
    listed = "; ".join(f"{word}: {', '.join(names)}" for word, names in sorted(by_word.items()))
    said = "What neural processors and their simulators say, beside PyTorch on the same sentences"
    return f"{said}: {listed}." if by_word else None


def wanting(rows: "pd.DataFrame") -> str | None:
    """What brings a first judgement, in a sentence; None where there is one."""
    return (
        None
        if _newest(rows)
        else "Nobody has judged one yet: `./run_all.sh quick --only 06 --set npu=install --set n_spoken=8` has eight "
        "sentences said by each processor or simulator, some of which need minutes for a second of speech."
    )


def sounds(placed: Sequence["Placed"]) -> dict[str, dict[str, Clip]]:
    """Stage -> label -> the first sentence as PyTorch and each neural processor say it, for players."""
    found: dict[str, dict[str, Clip]] = {}
    for one in placed:
        if isinstance(one.judged, Judged) and one.judged.clips:
            own, made = one.judged.clips
            heard = found.setdefault(one.stage.label, {"PyTorch, fp32": own})
            heard[f"{one.precision} on {one.target}"] = made
    return found


def _judged(scores: Sequence[Sequence[ClipScores]], metrics: Sequence[str], seed: int) -> Judged:
    """scores: PyTorch's, and those of the target."""
    own, made = (summarise(side, seed=seed) for side in scores)
    differences = compare(scores[1], scores[0], seed=seed)
    return Judged(*({name: of[name] for name in metrics if name in of} for of in (made, own, differences)))


def _understood(spoken: Sequence[Spoken], outputs: Sequence[Arrays]) -> list[ClipScores]:
    return [ClipScores(recognised(one.text, one.transcript(made))) for one, made in zip(spoken, outputs)]


def _sound(one: Spoken, outputs: Arrays) -> np.ndarray:
    return np.clip(one.waveform(outputs), -1, 1).astype(np.float32)


def _numbers(outputs: Arrays) -> Arrays:
    if not all(np.isfinite(array).all() for array in outputs):
        raise AudioError("it answers a sentence with what is no number: infinite or NaN")
    return outputs


def _by(metric: str) -> str:
    return "greedy decoding, jiwer" if metric in LISTENS else source(metric)


def _newest(rows: "pd.DataFrame") -> list[tuple[tuple, "pd.DataFrame"]]:
    """((system, variant, target), its judged rows of the newest run that has any), in the order of the rows. Rows of
    before devices were judged were of simulators alone, and their names did not tell the texts.
    """
    mine = (rows.kind == "simulated") | rows.variant.str.endswith(TEXTS)
    judged = rows[mine & rows.metric.isin((SNR, *SPEAKS, *LISTENS)) & rows.value.notna()]
    stages = judged.assign(variant=judged.variant.str.removesuffix(TEXTS))
    return [
        (names, newest_run(own)) for names, own in stages.groupby(["system", "variant", "target"], sort=False)
    ]


def _word(cells: Mapping[str, Any]) -> str:
    """The verdict on the paired differences of the rows."""
    differences = {
        metric: judgement.paired(about)
        for metric, row in cells.items()
        if "difference" in (about := json.loads(row.detail) if row.detail else {})
    }
    return quality_verdict(differences, RECOGNISER if "wer" in differences else VOICE).word


def _beside(row: Any) -> str:
    """ "4.12 -> 3.98, -0.14 [-0.20, -0.08]"."""
    about, metric = json.loads(row.detail), METRICS[row.metric]
    digits = metric.digits
    ends = (
        "" if about["ci_low"] is None else f" [{about['ci_low']:+.{digits}f}, {about['ci_high']:+.{digits}f}]"
    )
    return f"{about['pytorch']:.{digits}f} -> {row.value:.{digits}f}, {about['difference']:+.{digits}f}{ends}"
