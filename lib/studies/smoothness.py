"""Does diffusion add anything? How smooth its speech is beside the network it is conditioned on, and beside the voice
that both have learnt.

Predicted MOS cannot tell them apart here, so the question goes to the spectrogram: a mean over all that might be said
moves less than any of it. The teacher's clips are copied through the same vocoder, whose own smoothing is then in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib import systems
from lib.measure import evaluate, texture

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.evaluate import Clip, Judged
    from lib.measure.texture import Texture
    from lib.results import Run

WORTH_SAYING = 0.03  # of the voice's own: sentences differ by more
VOICE = "the voice itself"  # that all have learnt, copied through their vocoder


def clips(
    sentences: Sequence[Sentence], judged: Mapping[str, Judged], *, seed: int = 0, threads: int = 2
) -> dict[str, Sequence[Clip]]:
    """The same sentences by the voice itself, by the regression that diffusion is conditioned on, and by whom was
    judged already.
    """
    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=threads)
    vocoder = systems.load("hifigan", threads=threads)
    spoken = evaluate.speak(voice, sentences, seed=seed)
    _, copied = evaluate.copies(spoken, vocoder.vocode, "the voice through the vocoder")
    plain = evaluate.speak(systems.load("fastspeech2", threads=threads), sentences, seed=seed)
    return {VOICE: copied, "fastspeech2": plain, **{name: one.clips for name, one in judged.items()}}


def textures(run: Run, heard: Mapping[str, Sequence[Clip]]) -> dict[str, Texture]:
    """The texture of each; rows say how much smoother than the voice itself it is."""
    found = {
        name: texture.of_clips([(clip.waveform, clip.sample_rate) for clip in spoken])
        for name, spoken in heard.items()
    }
    for name, one in found.items():
        if name == VOICE:
            continue
        system, variant = ("fastspeech2", "baseline") if name == "fastspeech2" else ("tortoise", name)
        ratios = texture.smoother(one, found[VOICE])
        for metric, ratio in zip(("global_variance", "spectral_contrast", "fast_modulation"), ratios.values()):
            run.add(
                system,
                variant,
                "torch/cpu",
                metric,
                ratio,
                n=len(heard[name]),
                source="the voice itself through the same vocoder is 1",
            )
    return found


def table(found: Mapping[str, Texture]) -> pd.DataFrame:
    """A line each: global variance, contrast and fast modulation as shares of the voice's own."""
    import pandas as pd

    lines = {name: texture.smoother(one, found[VOICE]) for name, one in found.items() if name != VOICE}
    return pd.DataFrame.from_dict(lines, orient="index").round(2)


def finding(found: Mapping[str, Texture], diffusion: str = "converged") -> str | None:
    """Whether diffusion moves more than the regression does, in a sentence; None where one of them is missing."""
    if not {VOICE, "fastspeech2", diffusion} <= set(found):
        return None
    regression, drawn = (texture.smoother(found[name], found[VOICE]) for name in ("fastspeech2", diffusion))
    said = ", ".join(f"{name} {drawn[name]:.2f} (regression {regression[name]:.2f})" for name in drawn)
    nearer = [name for name in drawn if abs(drawn[name] - 1) < abs(regression[name] - 1) - WORTH_SAYING]
    word = (
        "in all of it"
        if len(nearer) == len(drawn)
        else f"in {', '.join(nearer)}"
        if nearer
        else "in none of it"
    )
    return f"Of what the voice itself moves, diffusion keeps {said}: it is nearer to the voice {word}."
