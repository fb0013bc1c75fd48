"""On which voices is a vocoder judged? Clips that no training hears: of voices it learnt from, and of voices that it
never met.

    vits-joe, hibari       the Gutenberg test sentences
    prompts                the recordings' test split
    flite-awb, espeak-ng   the Gutenberg test sentences; in no recipe's data
    prompts-deep           the recordings' test split played at 0.72 times its speed, further than any training does
"""

from __future__ import annotations

from lib import audio, augment, systems
from lib.corpora import flite, gutenberg, prompts
from lib.errors import unknown
from lib.measure.evaluate import Clip, recordings, speak

RECORDINGS = "prompts"  # of a person
NAMES = ("vits-joe", "hibari", RECORDINGS, "flite-awb", "espeak-ng", "prompts-deep")
STRANGE = NAMES[3:]  # to every recipe
DEEP = 0.72  # the speed of `prompts-deep`


def clips(voice: str, limit: int | None = None, threads: int = 1) -> tuple[Clip, ...]:
    """The first `limit` test clips of a voice. Raises MissingDataError where this machine cannot get it."""
    if voice not in NAMES:
        raise unknown("voice to judge a vocoder on", voice, NAMES)
    if voice == RECORDINGS:
        return recordings(prompts.load(), limit=limit)
    if voice == "prompts-deep":
        return tuple(
            Clip(f"{c.id}-deep", c.text, augment.speed(c.waveform, c.sample_rate, DEEP), c.sample_rate)
            for c in clips(RECORDINGS, limit)
        )
    sentences = gutenberg.split("test", limit)
    if voice.startswith(flite.PREFIX):
        made = flite.corpus(voice.removeprefix(flite.PREFIX), sentences).utterances
        return tuple(Clip(u.id, u.text, audio.resample(u.load(), u.sample_rate, 22_050), 22_050) for u in made)
    target = "onnxruntime/cpu" if "onnxruntime/cpu" in systems.targets(voice) else None
    return speak(systems.load(voice, target=target, threads=threads), sentences)
