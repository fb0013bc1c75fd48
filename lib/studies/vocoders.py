"""What does a mel spectrogram lose on its way back to a waveform? Vocoders compared on copies of the same
clips, and timed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib import audio, features, systems
from lib.corpora import prompts
from lib.measure import bench, evaluate
from lib.measure.scorer import Scorer
from lib.studies import confirmed, menu

if TYPE_CHECKING:
    import numpy as np

    from lib.results import Run
    from lib.systems.base import Vocoder

log = logging.getLogger(__name__)

VOICES = ("vits-joe", "hibari")  # whose only voice `hifigan` and `hibari-vocoder` have learnt
ELSEWHERE = "onnxruntime/cpu"  # where the vocoders that can are timed, too


def known(threads: int = 2) -> dict[str, "Vocoder"]:
    """The vocoders of this project: the trained ones, and the one without learning."""
    names = {
        "HiFi-GAN": "hifigan",
        "istft": "istft",
        "hibari-vocoder": "hibari-vocoder",
        "Griffin-Lim": "griffin-lim",
    }
    return {label: systems.load(name, threads=threads) for label, name in names.items()}


def copies(
    run: "Run",
    vocoders: Mapping[str, "Vocoder"],
    clips: Sequence[evaluate.Clip],
    scorer: Scorer,
    *,
    of: str = "",
    keep: int = 0,
    group: str = "",
) -> dict[str, evaluate.Judged]:
    """Copy the clips through each vocoder and judge the copies beside the originals; "original" is one of the
    answer's keys.

    of: whose clips, for the variant ("" for the usual one: vits-joe's own). Predicted MOS, WER, PESQ, STOI and the
    errors of pitch and voicing become rows. Who was taught by another voice than vits-joe copies that one alone, and
    calls it its baseline.
    """
    judged, teachers = {}, systems.teachers()
    for label, vocoder in vocoders.items():
        if (theirs := teachers.get(vocoder.name)) not in (None, "vits-joe", of):
            continue
        variant = f"baseline@{of}" if of and of != theirs else "baseline"
        originals, made = evaluate.copies(clips, vocoder.vocode, f"{label} copies {of or 'vits-joe'}")
        if "original" not in judged:
            judged["original"] = evaluate.judge(originals, scorer)
        judged[label] = evaluate.quality(
            run,
            (vocoder.name, variant, vocoder.target),
            made,
            scorer,
            originals=originals,
            keep=keep,
            baseline=judged["original"],
            baseline_name="original",
            second_opinion=0,
            group=group,
        )
    return judged


def originals(
    run: "Run", clips: Mapping[str, Sequence[evaluate.Clip]], n: int
) -> dict[str, tuple[evaluate.Clip, ...]]:
    """Whose clips are copied -> the first n of them: the voices that teach, and recordings of a person where they can
    be had (else rows say why not).

    clips: by label, as `baselines.speak` returns them.
    """
    spoken = {name: clips[next(key for key in clips if key.startswith(f"{name} (onnx"))] for name in VOICES}
    names = ("hifigan", "baseline@prompts", "torch/cpu")
    corpus = evaluate.try_or_not_run(run, names, ["mos_predicted"], prompts.load)
    recorded = {"prompts": evaluate.recordings(corpus, limit=n)} if corpus else {}
    return {name: tuple(heard[:n]) for name, heard in {**spoken, **recorded}.items()}


def pair(
    judged: Mapping[str, evaluate.Judged], number: int = 0
) -> tuple[tuple[np.ndarray, int], dict[str, tuple[np.ndarray, int]]]:
    """(original, copies by label) of one clip, each (waveform, sample rate): what `report.spectra` compares."""
    sounds = {label: (j.clips[number].waveform, j.clips[number].sample_rate) for label, j in judged.items()}
    return sounds.pop("original"), sounds


def smaller(folder: str | Path, threads: int = 2) -> dict[str, "Vocoder"]:
    """`istft` on ONNX Runtime in 8 bit, saved under a folder as whoever benches it needs it."""
    name, steps = menu.SMALL
    whole = systems.load("istft", target=ELSEWHERE, threads=threads)
    return {"istft in 8 bit": confirmed.make(whole, steps, name, folder)}


def speeds(
    run: "Run",
    vocoders: Mapping[str, "Vocoder"],
    clips: Sequence[evaluate.Clip],
    *,
    beside: Mapping[str, "Vocoder"] | None = None,
    **settings,
) -> dict[str, bench.Benched]:
    """Bench the vocoders on the mels of the clips, on ONNX Runtime too where they can, and write the rows. beside: more
    of them, each where it is; settings: of `bench.bench`.
    """
    rate = features.HIFIGAN.sample_rate
    mels = [features.log_mel(audio.resample(c.waveform, c.sample_rate, rate)) for c in clips]
    others = {
        f"{label} ({ELSEWHERE})": systems.load(vocoder.name, target=ELSEWHERE, threads=vocoder.threads)
        for label, vocoder in vocoders.items()
        if ELSEWHERE in systems.targets(vocoder.name)
    }
    every = {**vocoders, **others, **(beside or {})}
    candidates = {label: bench.Candidate.of(vocoder) for label, vocoder in every.items()}
    benched = bench.bench(candidates, mels, **{"seed": run.seed, **settings})
    bench.write(run, benched)
    return benched


def verdict(judged: Mapping[str, evaluate.Judged]) -> str:
    """How the vocoders' copies compare with each other and with the originals, in a sentence."""
    original, *labels = sorted(judged, key=lambda label: label != "original")
    mos, wer = ({k: judged[k].summary[m].value for k in judged} for m in ("mos_predicted", "wer"))
    first, *others = labels
    rated = ", ".join(f"those by {label} {mos[label]:.2f}" for label in others)
    heard = ", ".join(f"{100 * wer[label]:.1f} %" for label in labels)
    pesq = " against ".join(f"{judged[label].summary['pesq_wb'].value:.2f}" for label in labels)
    pitch = ", against ".join(_pitch(judged[label]) for label in labels)
    return (
        f"Copies by {first} get a predicted MOS of {mos[first]:.2f}, {rated}, the originals {mos[original]:.2f}; WER "
        f"{heard} and {100 * wer[original]:.1f} %. PESQ says {pesq}: it compares waveforms sample by sample. The pitch "
        f"of the copies is {pitch} (a semitone is 100 cents)."
    )


def _pitch(judged: evaluate.Judged) -> str:
    """How far the pitch of the copies is off, and the voicing: "off by 12 cents, voicing wrong in 3.1 % of frames"."""
    summary = judged.summary
    voicing = f"voicing wrong in {summary['voicing_error_pct'].value:.1f} % of the frames"
    if "f0_error_cents" not in summary:  # no clip has a frame that is voiced in both
        return f"lost, {voicing}"
    pitch = summary["f0_error_cents"]
    some = f" in the {pitch.n} clips that kept a voice" if pitch.n < summary["voicing_error_pct"].n else ""
    return f"off by {pitch.value:.0f} cents{some}, {voicing}"
