"""What of the old voices is lost when a network learns a new one? With its adapter off nothing, bit for bit; with it
on, or after full fine-tuning, what the base's voices lack in similarity to what they said before.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib import optimize
from lib.corpora.base import Sentence
from lib.errors import SpeechError
from lib.measure import evaluate, stats
from lib.optimize import lora
from lib.studies.person import TARGET

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
    sentences are said in the base's voices, which take turns, before and after.
    """
    old, sentences = learnt.base.speakers, learnt.person.sentences
    said = []
    for name in learnt.heard:
        trial, trained = learnt.made[name]
        try:
            voice = optimize.make(learnt.base, trial.method, file=str(trained.file), variant=name)
            near = likeness(learnt.base, voice, old, sentences, scorer)
            off = switched_off(learnt.base, voice, old, sentences, trial.method)
        except SpeechError as error:
            log.warning("what %s keeps of %s cannot be heard: %s", name, ", ".join(old), error)
            run.not_run(trial.system, name, TARGET, METRIC, str(error))
            said.append(f"{name}: not known, for {error}.")
            continue
        estimate = stats.mean_ci(near, seed=run.seed)
        run.add(
            trial.system,
            name,
            TARGET,
            METRIC,
            estimate.value,
            n=estimate.n,
            ci=estimate.ci,
            source="Resemblyzer, clip by clip, with what the base says in the same old voice",
            detail={"speakers": list(old), "switched_off": off},
        )
        ends = f" [{estimate.low:.3f}, {estimate.high:.3f}]" if estimate.ci else ""
        said.append(
            f"{name}: similarity of {', '.join(old)} to what they were {estimate.value:.3f}{ends}, {estimate.n} "
            f"sentences; switched off, {off}."
        )
    return said


def likeness(
    before: System, after: System, old: Sequence[str], sentences: Sequence[Sentence], scorer: Scorer
) -> list[float]:
    """Similarity of each sentence to the same one before, in the old voices in turns."""
    near = []
    for number, speaker in enumerate(old):
        own = sentences[number :: len(old)]
        spoken = [evaluate.speak(system.adjusted(speaker=speaker), own) for system in (before, after)]
        near += [
            scorer.similarity([(one.waveform, one.sample_rate)], (other.waveform, other.sample_rate))
            for one, other in zip(*spoken)
        ]
    return near


def switched_off(
    before: System, after: System, old: Sequence[str], sentences: Sequence[Sentence], method: str
) -> str:
    """Whether the old voices come back with the adapter off: each says one sentence."""
    if method == "full":
        return GONE
    same = True
    for speaker, sentence in zip(old, sentences):
        base, changed = (system.adjusted(speaker=speaker) for system in (before, after))
        with lora.off(changed.modules[MODULE]):
            silent = changed.synthesize(sentence.text, seed=0).waveform
        same = same and np.array_equal(silent, base.synthesize(sentence.text, seed=0).waveform)
    if same:
        return SAME
    return IN_4_BITS if method == "qlora" else OTHER
