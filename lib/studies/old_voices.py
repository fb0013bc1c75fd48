"""What of the old voices is lost when a network learns a new one? With its adapter off nothing, bit for bit; with it
on, or after full fine-tuning, what the base's first voice lacks in similarity to what it said before.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from lib import optimize
from lib.corpora.base import Sentence
from lib.errors import SpeechError
from lib.measure import evaluate, stats
from lib.optimize import lora
from lib.studies.person import TARGET, TRIED

if TYPE_CHECKING:
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.studies.new_voices import Learnt
    from lib.systems.base import System

log = logging.getLogger(__name__)

METRIC = "old_voice_similarity"
MODULE = "acoustic_model"
SAME, OTHER, GONE = "the same samples", "other samples", "no way back"
IN_4_BITS = f"{OTHER}, for its base is kept in 4 bits"


def kept(run: Run, learnt: Learnt, scorer: Scorer) -> list[str]:
    """The rows of each learnt voice, and a sentence for each; one that cannot speak is a `not_run` row. The person's
    first sentences are said in the base's first voice, before (these clips are known from the choice of the nearest
    voice) and after.
    """
    speaker, sentences = learnt.base.speakers[0], learnt.person.sentences[:TRIED]
    before = learnt.base.adjusted(speaker=speaker)
    said = []
    for name in learnt.heard:
        trial, trained = learnt.made[name]
        try:
            voice = optimize.make(learnt.base, trial.method, file=str(trained.file), variant=name)
            voice = voice.adjusted(speaker=speaker)
            near = likeness(before, voice, sentences, scorer)
            off = switched_off(before, voice, sentences[0], trial.method)
        except SpeechError as error:
            log.warning("what %s keeps of %s cannot be heard: %s", name, speaker, error)
            run.not_run(trial.system, name, TARGET, METRIC, str(error))
            said.append(f"{name}: not known, for {error}.")
            continue
        run.add(
            trial.system,
            name,
            TARGET,
            METRIC,
            float(np.mean(near)),
            n=len(near),
            ci=stats.mean_ci(near, seed=run.seed).ci,
            source="Resemblyzer, clip by clip, with what the base says in that voice",
            detail={"speaker": speaker, "switched_off": off},
        )
        said.append(f"{name}: similarity of {speaker} to what it was {np.mean(near):.3f}; switched off, {off}.")
    return said


def likeness(before: System, after: System, sentences: tuple[Sentence, ...], scorer: Scorer) -> list[float]:
    """Similarity of each sentence to the same one before."""
    pairs = zip(evaluate.speak(before, sentences), evaluate.speak(after, sentences))
    return [
        scorer.similarity([(old.waveform, old.sample_rate)], (new.waveform, new.sample_rate))
        for old, new in pairs
    ]


def switched_off(before: System, after: System, sentence: Sentence, method: str) -> str:
    """Whether the old voice comes back with the adapter off."""
    if method == "full":
        return GONE
    with lora.off(after.modules[MODULE]):
        silent = after.synthesize(sentence.text, seed=0).waveform
    if np.array_equal(silent, before.synthesize(sentence.text, seed=0).waveform):
        return SAME
    return IN_4_BITS if method == "qlora" else OTHER
