"""Does diffusion add anything? How smooth its speech is beside the network it is conditioned on, and beside the voice
that both have learnt.

Predicted MOS cannot tell them apart here, so the question goes to the spectrogram: a mean over all that might be said
moves less than any of it. The teacher's clips are copied through the same vocoder, whose own smoothing is then in all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib import systems
from lib.measure import evaluate, stats, texture, verdict
from lib.studies.distillation_claim import SPOKEN_BY, SYSTEM
from lib.text import listed

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.evaluate import Clip, Judged
    from lib.measure.texture import Texture
    from lib.results import Run
    from lib.systems.fastspeech2 import FastSpeech2
    from lib.systems.tortoise import Tortoise

VOICE = "the voice itself"  # that all have learnt, copied through their vocoder
REGRESSION = "fastspeech2"  # that diffusion is conditioned on
FRONT = "front"  # its variant inside the teacher
N_RESAMPLES = 1000


def regression(teacher: Tortoise) -> FastSpeech2:
    """What diffusion is conditioned on, speaking for itself: the acoustic model inside the teacher, which learnt on as
    the system fastspeech2 of today and is another network since. It speaks with the teacher's speaker and vocoder.
    """

    def put(one: FastSpeech2) -> None:
        one.modules["acoustic_model"] = copy.deepcopy(teacher.modules["front"])

    settings = {"speaker": teacher.speaker, "vocoder": teacher.vocoder.name}
    return systems.load(REGRESSION, threads=teacher.threads).derive(FRONT, put, **settings)


def clips(
    teacher: Tortoise, sentences: Sequence[Sentence], judged: Mapping[str, Judged], *, seed: int = 0
) -> dict[str, Sequence[Clip]]:
    """The same sentences by the voice itself, by the regression that diffusion is conditioned on, and by whom was
    judged already and speaks through the same vocoder.
    """
    threads = teacher.threads
    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=threads)
    vocoder = systems.load("hifigan", threads=threads)
    spoken = evaluate.speak(voice, sentences, seed=seed)
    _, copied = evaluate.copies(spoken, vocoder.vocode, "the voice through the vocoder")
    plain = evaluate.speak(regression(teacher), sentences, seed=seed)
    own = {name: one.clips for name, one in judged.items() if SPOKEN_BY not in name}
    return {VOICE: copied, REGRESSION: plain, **own}


def textures(run: Run, heard: Mapping[str, Sequence[Clip]], end: str = "") -> dict[str, Texture]:
    """The texture of each; rows say how much smoother than the voice itself it is. end: of the rows' variants."""
    found = {
        name: texture.of_clips([(clip.waveform, clip.sample_rate) for clip in spoken])
        for name, spoken in heard.items()
    }
    draws = _resampled(found, run.seed)
    for name, one in found.items():
        if name == VOICE:
            continue
        system, variant = (REGRESSION, FRONT) if name == REGRESSION else (SYSTEM, name)
        ratios = texture.smoother(one, found[VOICE])
        ends = _interval([list(drawn[name].values()) for drawn in draws], one.clips.n)
        metrics = ("global_variance", "spectral_contrast", "fast_modulation")
        for metric, ratio, ci in zip(metrics, ratios.values(), ends):
            run.add(
                system,
                variant + end,
                "torch/cpu",
                metric,
                ratio,
                n=len(heard[name]),
                ci=ci,
                source="the voice itself through the same vocoder is 1",
            )
    return found


def table(found: Mapping[str, Texture]) -> pd.DataFrame:
    """A line each: global variance, contrast and fast modulation as shares of the voice's own."""
    import pandas as pd

    lines = {name: texture.smoother(one, found[VOICE]) for name, one in found.items() if name != VOICE}
    return pd.DataFrame.from_dict(lines, orient="index").round(2)


def finding(
    found: Mapping[str, Texture], diffusion: str = "converged", *, temperature: float, seed: int = 0
) -> str | None:
    """Whether diffusion moves more as the voice does than the regression, in a sentence; None where one is missing.

    temperature: of the noise that was walked from, to say it. What is nearer is decided by a bootstrap over sentences,
    the same ones of all three in each draw.
    """
    three = (REGRESSION, diffusion, VOICE)
    if not set(three) <= set(found):
        return None
    regression, drawn = (texture.smoother(found[name], found[VOICE]) for name in three[:2])
    said = ", ".join(f"{name} {drawn[name]:.2f} (regression {regression[name]:.2f})" for name in drawn)
    n = found[diffusion].clips.n
    told = f"Of what vits-joe moves, {diffusion} from noise of temperature {temperature:g} keeps {said}"
    if n < verdict.MIN_SENTENCES:
        return f"{told}: on {n} sentences, which decide nothing."
    gaps = [
        [abs(one[diffusion][name] - 1) - abs(one[REGRESSION][name] - 1) for name in drawn]
        for one in _resampled({name: found[name] for name in three}, seed)
    ]
    words: dict[str, list[str]] = {}
    for name, (low, high) in zip(drawn, _interval(gaps, n)):
        word = (
            "nearer to the voice"
            if high < 0
            else "farther from it"
            if low > 0
            else "neither, as far as can be told,"
        )
        words.setdefault(word, []).append(name)
    return f"{told}: it is {'; '.join(f'{word} in {listed(names)}' for word, names in words.items())} ({n} sentences)."


def _resampled(found: Mapping[str, Texture], seed: int) -> list[dict[str, dict[str, float]]]:
    """Of each draw of sentences, the same of all, the ratios of each texture to the voice's."""
    n = found[VOICE].clips.n
    rng = np.random.default_rng(seed)
    drawn = []
    for counts in rng.multinomial(n, np.full(n, 1 / n), N_RESAMPLES if n >= verdict.MIN_SENTENCES else 0):
        voice = texture.pooled(found[VOICE].clips, counts)
        drawn.append(
            {name: texture.smoother(texture.pooled(one.clips, counts), voice) for name, one in found.items()}
        )
    return drawn


def _interval(drawn: Sequence[Sequence[float]], n: int) -> list[tuple[float, float] | None]:
    """The 95 % interval of each column; None of each where the sentences are too few to have one."""
    if n < verdict.MIN_SENTENCES:
        return [None] * 3
    tail = 50 * (1 - stats.CONFIDENCE)
    return [tuple(np.percentile(column, [tail, 100 - tail])) for column in np.transpose(drawn)]
