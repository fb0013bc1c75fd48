"""How near does a learnt voice come to the person? Beside the unadapted base, and a copy of the person by the vocoder.

The copy is the ceiling: no acoustic model before that vocoder can sound more like the person than the vocoder itself.
Every voice reads the sentences of the person's held-out clips, and is compared in pairs with full fine-tuning on
the same data where that is among the trials; not with the base, whose voice is another and no loss to be judged by.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import optimize
from lib.errors import SpeechError
from lib.measure import bench, evaluate
from lib.measure.evaluate import Clip, Judged
from lib.studies import finetuning
from lib.studies import person as persons
from lib.studies.finetuning import Trained
from lib.studies.person import TARGET, VOCODER, Person
from lib.studies.trials import Trial

if TYPE_CHECKING:
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learnt:
    """What became of the trials on one voice. copy: of the person by the vocoder; before: the unadapted base's clips;
    heard: variant -> its clips with their scores; made: variant -> its training.
    """

    person: Person
    base: System
    copy: Judged
    before: Judged
    heard: dict[str, Judged]
    made: dict[str, tuple[Trial, Trained]]

    def first_clips(self) -> dict[str, Clip]:
        """One sentence by the person, the vocoder, the unadapted base and every learnt voice."""
        clips = {"the person": self.person.recordings[0], "copy by the vocoder": self.copy.clips[0]}
        clips["the base as it is"] = self.before.clips[0]
        return clips | {name: judged.clips[0] for name, judged in self.heard.items()}


@dataclass(frozen=True)
class Jury:
    """What judges clips of one person, and writes the rows."""

    run: Run
    person: Person
    scorer: Scorer
    keep: int = 1  # clips of each voice in the report

    def hear(
        self,
        names: tuple[str, str, str],
        clips: Sequence[Clip],
        before: Judged | None = None,
        baseline: str = "",
    ) -> Judged:
        """Scores of clips that say the person's sentences, and how far pitch and rate are from the person's."""
        judged = evaluate.quality(
            self.run,
            names,
            clips,
            self.scorer,
            voice=self.person.references,
            second_opinion=0,
            keep=self.keep,
            group=f"Learning the voice {self.person.voice}",
            baseline=before,
            baseline_name=baseline,
        )
        _write_movement(self.run, names, self.person, clips)
        return judged


def learnt(
    run: Run,
    chosen: Sequence[Trial],
    scorer: Scorer,
    folder: str | Path,
    *,
    n_sentences: int,
    threads: int = 2,
    keep: int = 1,
    rates: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
) -> dict[tuple[str, str], Learnt]:
    """Everything about trials: (system, voice) -> what was made and heard. A voice whose data this machine cannot get
    is a `not_run` row, and missing here. rates: `Trial.learner` -> what its rows say of who chose the learning rate.
    """
    found = {}
    for system, voice in dict.fromkeys((trial.system, trial.voice) for trial in chosen):
        try:
            jury = Jury(run, persons.known(voice, n_sentences), scorer, keep)
        except (SpeechError, ImportError) as error:
            log.warning("%s: not run: %s", voice, error)
            run.not_run(system, f"full@{voice}", TARGET, "speaker_similarity", str(error))
            continue
        jury.hear(("ground-truth", f"recording@{voice}", f"recording/{voice}"), jury.person.recordings)
        copy = jury.hear((VOCODER, f"copy@{voice}", TARGET), persons.copied(jury.person, threads))
        base = persons.load_base(system, threads)
        nearest = persons.nearest(base, jury.person, scorer)
        before = jury.hear((system, unadapted(voice), TARGET), evaluate.speak(nearest, jury.person.sentences))
        mine = [trial for trial in chosen if (trial.system, trial.voice) == (system, voice)]
        made = finetuning.try_all(run, mine, Path(folder) / system, rates)
        heard = judge(jury, base, made, folder)
        found[system, voice] = Learnt(jury.person, base, copy, before, heard, made)
    return found


def judge(
    jury: Jury, base: System, made: dict[str, tuple[Trial, Trained]], folder: str | Path
) -> dict[str, Judged]:
    """Each trial's voice reads the person's sentences; full fine-tuning first. A voice that says nothing is a `not_run`
    row.
    """
    heard: dict[str, Judged] = {}
    for trial, trained in sorted(made.values(), key=lambda pair: pair[0].method != "full"):
        names, reference = (trial.system, trial.variant, TARGET), f"full@{trial.data}"
        other = heard.get(reference)
        try:
            voice = made_voice(base, trial, trained.file, variant_folder(folder, trial))
            clips = evaluate.speak(voice, jury.person.sentences)
            heard[trial.variant] = jury.hear(names, clips, other, reference if other else "")
        except SpeechError as error:
            log.warning("%s cannot be judged: %s", trial.variant, error)
            jury.run.not_run(*names, "speaker_similarity", str(error))
            continue
        jury.run.add(*names, "size_mb", voice.size_mb, source="bytes of base, adapter and vocoder")
    return heard


def timed(
    run: Run,
    learnt: Mapping[tuple[str, str], Learnt],
    folder: str | Path,
    *,
    n_sentences: int,
    rounds: int = 3,
    threads: int = 2,
) -> dict[str, bench.Benched]:
    """What each learnt voice takes to speak, in time, memory and energy: of each method the first trial that was heard,
    in one bench with the unadapted base; label -> what was benched, nothing for no sentences.

    Paired, as its quality is, with full fine-tuning on the same data, and that with the base.
    """
    benched: dict[str, bench.Benched] = {}
    for (system, voice), one in learnt.items() if n_sentences else ():
        base = one.base.adjusted(variant=unadapted(voice))
        first = {trial.method: trial for name, (trial, _) in reversed(one.made.items()) if name in one.heard}
        saved = [optimize.load(variant_folder(folder, trial), threads=threads) for trial in first.values()]
        candidates = {model.variant: bench.Candidate.of(model) for model in (base, *saved)}
        against = {}
        for trial in first.values():
            full = f"full@{trial.data}"
            against[trial.variant] = full if full in candidates and full != trial.variant else base.variant
        texts = [sentence.text for sentence in one.person.sentences[:n_sentences]]
        own = bench.bench(candidates, texts, rounds=rounds, threads=threads, seed=run.seed)
        bench.write(run, own, against)
        benched |= {f"{system} {name}": one for name, one in own.items()}
    return benched


def variant_folder(folder: str | Path, trial: Trial) -> Path:
    """Where a trial's variant lies under the folder of all trainings."""
    return Path(folder) / trial.system / trial.variant / "variant"


def unadapted(voice: str) -> str:
    """What the base is called that has not learnt a voice, beside those that have."""
    return f"unadapted@{voice}"


def made_voice(base: System, trial: Trial, file: Path, folder: Path) -> Any:
    """The variant that a trial made of its base, saved in a folder for any process."""
    voice = optimize.make(base, trial.method, file=str(file), variant=trial.variant)
    optimize.save(voice, folder, data=trial.data)
    return voice


def _write_movement(run: Run, names: tuple[str, str, str], person: Person, clips: Sequence[Clip]) -> None:
    """How far the distributions of pitch and rate are from the person's."""
    from scipy.stats import wasserstein_distance

    pitch, rates = persons.movement(clips)
    f0 = "F0 by Praat, praat-parselmouth; scipy.stats.wasserstein_distance over voiced frames"
    if len(pitch) and len(person.pitch_st):
        medians = {
            "median_hz": round(float(2 ** (np.median(pitch) / 12)), 1),
            "own_median_hz": round(float(2 ** (np.median(person.pitch_st) / 12)), 1),
        }
        moved = wasserstein_distance(pitch, person.pitch_st)
        run.add(*names, "pitch_distance_st", moved, n=len(clips), source=f0, detail=medians)
    else:
        run.not_run(*names, "pitch_distance_st", "no frame of the clips is voiced")
    own = float(person.rates.mean())
    run.add(
        *names,
        "rate_distance_pct",
        100 * wasserstein_distance(rates, person.rates) / own,
        n=len(clips),
        source="phones of eSpeak NG over speech without pauses; scipy.stats.wasserstein_distance over sentences",
        detail={"phones_per_s": round(float(rates.mean()), 2), "own_phones_per_s": round(own, 2)},
    )
