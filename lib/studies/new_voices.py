"""How near does a learnt voice come to the person? Beside the unadapted base, and a copy of the person by the vocoder.

The copy is the ceiling: no acoustic model before that vocoder can sound more like the person than the vocoder itself.
Similarity is to clips of the validation split, which nobody learnt from and which say other sentences than are judged.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import optimize, prosody, systems
from lib.corpora import targets
from lib.corpora.base import Sentence
from lib.errors import SpeechError
from lib.measure import evaluate
from lib.measure.evaluate import Clip, Judged
from lib.studies import finetuning
from lib.studies.finetuning import Trained, Trial

if TYPE_CHECKING:
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System

log = logging.getLogger(__name__)

VOCODER = "istft"  # of the zoo: it learnt from both voices of `targets`
TARGET = "torch/cpu"
REFERENCES = 12  # clips of the person that similarity is to


@dataclass(frozen=True)
class Person:
    """Whose voice is learnt. recordings: held-out clips, whose sentences the learnt voices read; references: of other
    sentences, held out, too; pitch_st: (n,) semitones of all voiced frames of the recordings; rates: (n,) phones/s.
    """

    voice: str
    recordings: tuple[Clip, ...]
    references: tuple[Clip, ...]
    pitch_st: np.ndarray
    rates: np.ndarray

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """What the learnt voices read."""
        return tuple(Sentence(clip.id, clip.text, "test") for clip in self.recordings)


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


def person(voice: str, n_sentences: int) -> Person:
    """One of `lib.corpora.targets`, by its held-out clips."""
    corpus = targets.load(voice)
    recordings = evaluate.recordings(corpus, limit=n_sentences)
    references = evaluate.recordings(corpus, split="validation", limit=REFERENCES)
    return Person(voice, recordings, references, *movement(recordings))


def movement(clips: Sequence[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """(semitones above 1 Hz of every voiced frame, phones a second of every clip)."""
    pitch, rates = [], []
    for clip in clips:
        track = prosody.f0(clip.waveform, clip.sample_rate)
        pitch.append(12 * np.log2(track.hz[track.voiced].astype(np.float64)))
        rates.append(prosody.prosody(clip.waveform, clip.sample_rate, text=clip.text).rate)
    return np.concatenate(pitch), np.array(rates)


def ceiling(run: Run, person: Person, scorer: Scorer, *, threads: int = 2, keep: int = 1) -> Judged:
    """The person's own clips and their copies by the vocoder, judged; the copies."""
    variant = f"baseline@{person.voice}"
    evaluate.quality(
        run,
        ("ground-truth", variant, f"recording/{person.voice}"),
        person.recordings,
        scorer,
        voice=_sounds_of(person),
        second_opinion=0,
        keep=keep,
        group=_group(person),
    )
    vocoder = systems.load(VOCODER, target=TARGET, threads=threads)
    _, copied = evaluate.copies(person.recordings, vocoder.vocode, f"{VOCODER} copies {person.voice}")
    names = (VOCODER, variant, TARGET)
    judged = evaluate.quality(
        run, names, copied, scorer, voice=_sounds_of(person), second_opinion=0, keep=keep, group=_group(person)
    )
    _write_movement(run, names, person, copied)
    return judged


def unadapted(
    run: Run, person: Person, scorer: Scorer, system: str, *, threads: int = 2, keep: int = 1
) -> tuple[System, Judged]:
    """The base as it is, in whichever of its voices is the nearest to the person: what adaptation has to beat."""
    base = load_base(system, threads)
    heard = {}
    for speaker in base.speakers:
        spoken = evaluate.speak(base.adjusted(speaker=speaker), person.sentences[:3], seed=run.seed)
        voice = [(clip.waveform, clip.sample_rate) for clip in person.references]
        heard[speaker] = np.mean([scorer.similarity(voice, (c.waveform, c.sample_rate)) for c in spoken])
    nearest = base.adjusted(speaker=max(heard, key=heard.get))
    names = (system, f"baseline@{person.voice}", TARGET)
    clips = evaluate.speak(nearest, person.sentences, seed=run.seed)
    judged = evaluate.quality(
        run, names, clips, scorer, voice=_sounds_of(person), second_opinion=0, keep=keep, group=_group(person)
    )
    _write_movement(run, names, person, clips)
    return base, judged


def judge(
    run: Run,
    person: Person,
    scorer: Scorer,
    base: System,
    made: dict[str, tuple[Trial, Trained]],
    before: Judged,
    folder: str | Path,
    *,
    keep: int = 1,
) -> dict[str, Judged]:
    """Each trial's voice read the person's sentences. Compared with full fine-tuning on the same data and seed, where
    that is among them, else with the unadapted base. A voice that says nothing is a `not_run` row.
    """
    heard: dict[str, Judged] = {}
    for trial, trained in sorted(made.values(), key=lambda pair: pair[0].method != "full"):
        if trial.voice != person.voice:
            continue
        names = (trial.system, trial.variant, TARGET)
        reference = f"full@{trial.data}"
        other = heard.get(reference)
        try:
            voice = speaks(base, trial, trained, folder)
            clips = evaluate.speak(voice, person.sentences, seed=run.seed)
            heard[trial.variant] = evaluate.quality(
                run,
                names,
                clips,
                scorer,
                voice=_sounds_of(person),
                second_opinion=0,
                keep=keep,
                group=_group(person),
                baseline=other or before,
                baseline_name=reference if other else f"baseline@{person.voice}",
            )
        except SpeechError as error:
            log.warning("%s cannot be judged: %s", trial.variant, error)
            run.not_run(*names, "speaker_similarity", str(error))
            continue
        _write_movement(run, names, person, clips)
        run.add(*names, "size_mb", voice.size_mb, source="bytes of base, adapter and vocoder")
    return heard


def speaks(base: System, trial: Trial, trained: Trained, folder: str | Path) -> Any:
    """The variant that a trial made of its base, saved under <folder>/<variant>/variant for any process."""
    voice = optimize.make(base, trial.method, file=str(trained.file), variant=trial.variant)
    optimize.save(voice, Path(folder) / trial.variant / "variant", data=trial.data)
    return voice


def learnt(
    run: Run,
    chosen: Sequence[Trial],
    scorer: Scorer,
    folder: str | Path,
    *,
    n_sentences: int,
    threads: int = 2,
    keep: int = 1,
) -> dict[str, Learnt]:
    """Everything about trials, voice by voice: (system, voice) -> what was heard. A voice whose data this machine cannot
    get is a `not_run` row, and missing here.
    """
    found = {}
    for system, voice in dict.fromkeys((trial.system, trial.voice) for trial in chosen):
        mine = [trial for trial in chosen if (trial.system, trial.voice) == (system, voice)]
        try:
            whose = person(voice, n_sentences)
        except (SpeechError, ImportError) as error:
            log.warning("%s: not run: %s", voice, error)
            run.not_run(system, f"full@{voice}", TARGET, "speaker_similarity", str(error))
            continue
        copy = ceiling(run, whose, scorer, threads=threads, keep=keep)
        base, before = unadapted(run, whose, scorer, system, threads=threads, keep=keep)
        made = finetuning.try_all(run, mine, folder)
        heard = judge(run, whose, scorer, base, made, before, folder, keep=keep)
        found[system, voice] = Learnt(whose, base, copy, before, heard, made)
    return found


def load_base(system: str, threads: int = 2) -> System:
    """The zoo's system before the vocoder that can speak new voices."""
    return systems.load(system, target=TARGET, threads=threads, vocoder=VOCODER)


def _write_movement(run: Run, names: tuple[str, str, str], person: Person, clips: Sequence[Clip]) -> None:
    """How far pitch and rate are from the person's."""
    from scipy.stats import wasserstein_distance

    pitch, rates = movement(clips)
    usual = float(person.rates.mean())
    for metric, value, n, source in (
        (
            "pitch_distance_st",
            wasserstein_distance(pitch, person.pitch_st) if len(pitch) else None,
            len(clips),
            "F0 by Praat, praat-parselmouth; scipy.stats.wasserstein_distance over voiced frames",
        ),
        (
            "rate_distance_pct",
            100 * wasserstein_distance(rates, person.rates) / usual,
            len(clips),
            "phones of eSpeak NG over the speech without pauses; scipy.stats.wasserstein_distance over sentences",
        ),
    ):
        if value is None:
            run.not_run(*names, metric, "no frame of the clips is voiced")
        else:
            run.add(*names, metric, value, n=n, source=source, detail=_means(metric, pitch, rates, person))


def _means(metric: str, pitch: np.ndarray, rates: np.ndarray, person: Person) -> dict[str, float]:
    if metric == "pitch_distance_st":
        return {
            "median_hz": round(2 ** (np.median(pitch) / 12), 1),
            "own": round(2 ** (np.median(person.pitch_st) / 12), 1),
        }
    return {"phones_per_s": round(float(rates.mean()), 2), "own": round(float(person.rates.mean()), 2)}


def _sounds_of(person: Person) -> tuple[Clip, ...]:
    return person.references


def _group(person: Person) -> str:
    return f"Learning the voice {person.voice}"


def old_voice(learnt: Learnt, scorer: Scorer, text: str) -> list[str]:
    """What of an old voice is lost, a sentence for each learnt one: with its adapter off nothing, bit for bit; with it
    on, and after full fine-tuning, the similarity to what the base says in that voice.
    """
    from lib.optimize import lora

    speaker = learnt.base.speakers[0]
    before = learnt.base.adjusted(speaker=speaker).synthesize(text, seed=0)
    sound = (before.waveform, before.sample_rate)
    said = []
    for name, (trial, trained) in learnt.made.items():
        if name not in learnt.heard:
            continue
        voice = optimize.make(learnt.base, trial.method, file=str(trained.file), variant=name)
        voice = voice.adjusted(speaker=speaker)
        on = voice.synthesize(text, seed=0)
        nearness = scorer.similarity([sound], (on.waveform, on.sample_rate))
        if trial.method == "full":
            said.append(
                f"{name} says it as {speaker} with a similarity of {nearness:.3f}, and there is no way back."
            )
            continue
        with lora.off(voice.modules["acoustic_model"]):
            same = np.array_equal(voice.synthesize(text, seed=0).waveform, before.waveform)
        kept = "the same samples" if same else "not the same samples: its base is in 4 bits"
        said.append(f"{name}: switched off, {kept}; on, a similarity of {nearness:.3f}.")
    return said
