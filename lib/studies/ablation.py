"""What do mel, pitch and prosody contribute? Each is taken away, and what is left is judged.

The acoustic model learns on without pitch, energy or both, and beside it one that keeps them all, so that the
extra steps explain nothing. It is judged twice: reading unaided, and, for the measures that want two clips
aligned in time, with the durations (and what else it still hears) of the original. Durations are taken away
from the finished network: each symbol lasts as long as it does on average. The mel spectrogram is made coarser,
and a copy made from it without learning (Griffin-Lim) says what went missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib import environment
from lib.features import HIFIGAN, griffin_lim
from lib.measure import evaluate
from lib.measure.scorer import ALIGNED, Scorer, source
from lib.measure.scores import summarise
from lib.studies import retrained
from lib.studies.retrained import VOICE

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from lib.corpora.base import Sentence
    from lib.results import Run
    from lib.systems.fastspeech2 import FastSpeech2
    from lib.systems.hifigan import HifiGan
    from lib.training.recipe import Recipe
    from lib.training.tasks.acoustic_data import Example

WHOLE = "without-nothing"
ABLATIONS = {
    WHOLE: (),
    "without-pitch": ("pitch",),
    "without-energy": ("energy",),
    "without-pitch-and-energy": ("pitch", "energy"),
}
EVEN = "without-durations"
VARIANTS = (*ABLATIONS, EVEN)
BANDS = (40, 20)  # instead of 80, of which the baseline copies are made
BANDED = ("baseline", *(f"bands-{n}" for n in BANDS))


def prosody(
    run: "Run",
    base: "Recipe",
    sentences: Sequence["Sentence"],
    scorer: Scorer,
    *,
    steps: int,
    folder: str | Path,
    names: Sequence[str] = tuple(ABLATIONS),
    threads: int = 2,
) -> None:
    """Train, judge and write the rows of system fastspeech2, variants as in VARIANTS, in the voice of vits-joe.

    Word errors and predicted MOS are of sentences read unaided; PESQ, STOI and the pitch error
    (`scorer.ALIGNED`), which EVEN has none of, of sentences read with the original's durations. A stopped study
    goes on.
    """
    from lib import systems
    from lib.corpora import synthetic
    from lib.training.tasks import acoustic_data

    environment.pin_threads(threads)
    vocoder = systems.load("hifigan", threads=threads)
    read = synthetic.corpus(systems.load(VOICE, target="onnxruntime/cpu", threads=1), sentences)
    examples = [acoustic_data.example(u) for u in read.utterances]
    originals = tuple(
        evaluate.Clip(u.id, u.text, u.load(HIFIGAN.sample_rate), HIFIGAN.sample_rate) for u in read.utterances
    )
    models = {name: {**base.model, "without": list(ABLATIONS[name])} for name in names}
    for found, judged in retrained.judged(
        run, base, models, sentences, scorer, reference=WHOLE, steps=steps, folder=folder, threads=threads
    ):
        name = found.voice.variant
        aligned = resynthesised(found.voice, vocoder, examples, originals)
        cut = [o.waveform[: len(c.waveform)] for o, c in zip(originals, aligned)]
        scores = scorer.rate_all(
            [(c.waveform, c.sample_rate, c.text) for c in aligned], metrics=ALIGNED, originals=cut
        )
        for metric, estimate in summarise(scores, seed=run.seed).items():
            run.add(
                "fastspeech2",
                name,
                found.voice.target,
                metric,
                estimate.value,
                n=estimate.n,
                ci=estimate.ci,
                source=source(metric),
                detail="with the durations of the original",
            )
        if name == WHOLE:

            def forget(voice: "FastSpeech2") -> None:
                network = voice.modules["acoustic_model"]
                voice.modules["acoustic_model"] = evenly(network, found.task.examples, voice.speakers)

            even = found.voice.derive(EVEN, forget)
            retrained.read_aloud(run, even, sentences, scorer, judged, WHOLE)


def resynthesised(
    voice: "FastSpeech2", vocoder: "HifiGan", examples: Sequence["Example"], originals: Sequence[evaluate.Clip]
) -> tuple[evaluate.Clip, ...]:
    """The originals as the voice says them with their durations, pitch and energy, as far as it hears them."""
    from lib.training.tasks.predicted_mels import resynthesis

    network = voice.modules["acoustic_model"]
    made = (vocoder.vocode(resynthesis(example, network, voice.speakers)) for example in examples)
    return tuple(dataclasses.replace(o, waveform=w[: len(o.waveform)]) for o, w in zip(originals, made))


def evenly(
    network: "torch.nn.Module", examples: Iterable["Example"], speakers: Sequence[str]
) -> "torch.nn.Module":
    """A copy of the network whose every symbol lasts as long as its voice's mean of that symbol (of all, if it
    never says it).
    """
    import copy

    import torch

    from lib.systems.symbols import vocabulary_size

    sums = np.zeros((2, len(speakers), vocabulary_size()))
    for example in examples:
        values = np.stack([np.log(example.frames + 1.0), np.ones(len(example.frames))])
        for total, value in zip(sums, values):
            np.add.at(total[speakers.index(example.speaker)], example.ids, value)
    total, count = sums
    mean = total.sum(1, keepdims=True) / np.maximum(count.sum(1, keepdims=True), 1)
    table = torch.from_numpy(
        np.where(count > 0, total / np.maximum(count, 1), mean)
    ).float()  # (speakers, symbols)
    even = copy.deepcopy(network)
    even.register_buffer("usual_log_frames", table)  # a buffer, so that it is part of what is saved and hashed
    encode = even.encode
    even.encode = lambda ids, voices: encode(ids, voices)._replace(
        log_frames=even.usual_log_frames[voices[:, None], ids]
    )
    return even


def bands(run: "Run", clips: Sequence[evaluate.Clip], scorer: Scorer, *, counts: Sequence[int] = BANDS) -> None:
    """Copies by Griffin-Lim from mels of so many bands, all else equal; rows of system griffin-lim, variants
    "bands-<n>".
    """
    for count in counts:
        mel = dataclasses.replace(HIFIGAN, n_bands=count)
        originals, made = evaluate.copies(
            clips, lambda m, mel=mel: griffin_lim(m, mel), f"copies from {count} bands", mel
        )
        evaluate.quality(
            run,
            ("griffin-lim", f"bands-{count}", "numpy/cpu"),
            made,
            scorer,
            originals=originals,
            second_opinion=0,
        )


def bands_finding(table: "pd.DataFrame") -> str | None:
    """What fewer bands cost the copies, in a sentence; None without the rows of `bands` and of the usual copies."""
    rows = table[(table.system == "griffin-lim") & table.variant.isin(BANDED) & table.value.notna()]
    wide = rows.pivot_table(index="variant", columns="metric", values="value", aggfunc="last")
    if not set(BANDED) <= set(wide.index) or not {"mos_predicted", "wer"} <= set(wide.columns):
        return None
    usual = wide.loc["baseline"]
    said = [
        f"{count} bands {row.mos_predicted:.2f} and {100 * row.wer:.1f} %"
        for count, row in ((n, wide.loc[f"bands-{n}"]) for n in BANDS)
    ]
    return (
        f"Griffin-Lim's copies from {HIFIGAN.n_bands} bands have a predicted MOS of {usual.mos_predicted:.2f} "
        f"and a WER of {100 * usual.wer:.1f} %, from {', from '.join(said)}."
    )


def verdict(table: "pd.DataFrame") -> str | None:
    """What the rows of `prosody` say, in a sentence; None without them. table: rows as `lib.results.read`
    returns them.
    """
    rows = retrained.newest(table, VARIANTS, WHOLE, ("mos_predicted", "wer", "f0_error_cents"))
    if rows is None:
        return None
    found, wide = rows
    whole, said = wide.loc[WHOLE], []
    for name in VARIANTS:
        if name == WHOLE or name not in wide.index:
            continue
        row = wide.loc[name]
        pitch = (
            f", the pitch off by {row.f0_error_cents:.0f} cents instead of {whole.f0_error_cents:.0f}"
            if np.isfinite(row.f0_error_cents)
            else ""
        )
        said.append(f"{name.replace('-', ' ')} it gets {retrained.change(found, name, WHOLE)}{pitch}")
    return (
        (
            f"With all of them the network has a predicted MOS of {whole.mos_predicted:.2f} and a WER of "
            f"{100 * whole.wer:.1f} %; " + "; ".join(said) + "."
        )
        if said
        else None
    )
