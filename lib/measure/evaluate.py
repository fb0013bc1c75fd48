"""How good is what a system says or hears? Quality measured step by step; speed, memory and energy are the bench's.

Each function does one step, writes its rows into the run it is given, and returns what a notebook shows. Clips,
transcripts and scores are remembered by content, so a step that ran before costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib import audio, progress, systems
from lib.corpora import gutenberg, synthetic
from lib.corpora.base import Corpus, Sentence, Utterance
from lib.errors import MissingDataError, ParameterError, SpeechError
from lib.measure import paired, stats
from lib.measure.scorer import ALIGNED, Scorer, source
from lib.measure.scores import ClipScores, compare, recognised, summarise
from lib.measure.stats import Estimate

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from lib.features import MelConfig
    from lib.results import Run
    from lib.systems.base import Recogniser, System


SPEECH = ("wer", "asr_nll", "mos_predicted")  # what any clip with its text is judged by
# Whose voice a system was to learn; None: nobody's. Who is not named here speaks with a voice of its own.
TEACHERS = systems.teachers()
REFERENCES = 8  # clips of the speaker who should be heard: of the first validation sentences


@dataclass(frozen=True)
class Clip:
    """One sentence as a system said it, or as a person did.

    notes: what went wrong, of a system that watches its attention; seed, fingerprint: with which it was made, and the
    hash of what made it (`System.fingerprint`), None and "" of a recording or a copy.
    """

    id: str
    text: str
    waveform: np.ndarray
    sample_rate: int
    notes: tuple[str, ...] | None = None
    seed: int | None = None
    fingerprint: str = ""


@dataclass(frozen=True)
class Judged:
    """Clips of one system with their scores, in the order of the sentences, and the corpus values."""

    clips: tuple[Clip, ...]
    scores: tuple[ClipScores, ...]
    summary: dict[str, Estimate]


def speak(voice: "System", sentences: Iterable[Sentence | Utterance], *, seed: int = 0) -> tuple[Clip, ...]:
    """Every sentence spoken once (or found in the cache); sentence i with seed + i."""
    sentences = tuple(sentences)
    label = f"{voice.name} on {voice.target} speaks"
    fingerprint = voice.fingerprint()
    key = voice.cache_key(fingerprint)
    made = (synthetic.speak(voice, s.text, seed + i, key=key) for i, s in enumerate(sentences))
    spoken = progress.track(made, label, total=len(sentences), unit="sentence")
    return tuple(
        Clip(
            s.id,
            s.text,
            waveform,
            rate,
            tuple(details["notes"]) if voice.attends else None,
            seed + number,
            fingerprint,
        )
        for number, (s, (waveform, rate, details)) in enumerate(zip(sentences, spoken))
    )


def recordings(
    corpus: Corpus,
    *,
    split: str = "test",
    limit: int | None = None,
    seconds: tuple[float, float] = (1.5, 12.0),
    words: int = 4,
) -> tuple[Clip, ...]:
    """Real clips of a corpus that are comparable with spoken sentences: of a usual length, and of at least
    `words` words.
    """
    chosen = []
    for utterance, waveform in corpus.waveforms(split):
        length = len(waveform) / utterance.sample_rate
        if seconds[0] <= length <= seconds[1] and len(utterance.normalized.split()) >= words:
            chosen.append(Clip(utterance.id, utterance.normalized, waveform, utterance.sample_rate))
        if len(chosen) == limit:
            break
    if not chosen:
        raise MissingDataError(
            f"corpus {corpus.name} has no clip of {seconds[0]:g} to {seconds[1]:g} s in its {split} split"
        )
    return tuple(chosen)


def reference_clips(
    speaker: str | System | Corpus, n: int = REFERENCES, *, seed: int = 0, threads: int = 2
) -> tuple[Clip, ...]:
    """Clips of the speaker who should be heard, none of them on the test sentences: what `quality` takes as `voice`.

    speaker: a system, loaded or by name, whose clips will be judged: of a pupil its teacher is meant (TEACHERS), of a
    variant its baseline, and what imitates nobody has no clips and no similarity. Of a teacher itself they are its own
    readings of other sentences, which shows how alike two readings of one voice are: the most that a pupil can
    reach. Where a pupil speaks in another voice, name that. A corpus of one person: its validation clips.
    """
    if isinstance(speaker, Corpus):
        return recordings(speaker, split="validation", limit=n)
    name = speaker if isinstance(speaker, str) else speaker.name
    meant = TEACHERS.get(name, name)
    if meant is None:
        return ()
    if isinstance(speaker, str) or meant != name or speaker.variant != "baseline":
        speaker = systems.load(meant, threads=threads)
    return speak(speaker, gutenberg.split("validation", n), seed=seed)


def quality(
    run: "Run",
    names: tuple[str, str, str],
    clips: Sequence[Clip],
    scorer: Scorer,
    *,
    voice: Sequence[Clip] = (),
    originals: Sequence[Clip] | None = None,
    baseline: Judged | None = None,
    baseline_name: str = "",
    second_opinion: int | None = None,
    keep: int = 0,
    group: str = "",
) -> Judged:
    """Score clips and write their rows: word and character errors, the recogniser's loss, predicted MOS, DNSMOS,
    and what the references allow.

    names: (system, variant, target); voice: clips of the speaker who should be heard (`reference_clips`) ->
    speaker_similarity; originals: the same sentences aligned in time -> `scorer.ALIGNED`; baseline: the same sentences
    before a change, whose paired difference goes into the rows' detail; second_opinion: on how many clips
    DNSMOS, the slowest metric, is computed (all by default); keep: how many clips go into the report, under `group`.
    """
    log.info("%s %s on %s: judging %d clips", *names, len(clips))
    metrics = [*SPEECH, *(("speaker_similarity",) if voice else ()), *(ALIGNED if originals else ())]
    sounds = [(clip.waveform, clip.sample_rate, clip.text) for clip in clips]
    scores = scorer.rate_all(
        sounds,
        metrics=metrics,
        originals=[clip.waveform for clip in originals] if originals else None,
        voice=[(clip.waveform, clip.sample_rate) for clip in voice],
    )
    seconds = scorer.rate_all(sounds[:second_opinion], metrics=["dnsmos_ovrl"])
    summary = {**summarise(scores, seed=run.seed), **(summarise(seconds, seed=run.seed) if seconds else {})}
    judged = Judged(tuple(clips), tuple(scores), summary)
    for others in (originals, baseline.clips if baseline else None):
        check_paired(clips, others)
    differences = compare(scores, baseline.scores, seed=run.seed) if baseline else {}
    for metric, estimate in judged.summary.items():
        told = f", with the mean of {len(voice)} clips" if metric == "speaker_similarity" else ""
        whose = {"baseline": baseline_name if baseline else "", "difference": differences.get(metric)}
        paired.write(run, names, metric, estimate, source(metric, scorer.compute_type) + told, **whose)
    if failed := attention_failures(clips):
        notes = [f"{clip.id}: {note}" for clip in clips for note in clip.notes]
        run.add(
            *names,
            "attention_failures_pct",
            failed.value,
            n=failed.n,
            ci=failed.ci,
            source="the decoder's own alignment",
            detail={"notes": notes[:5]} if notes else "",
        )
    for clip in clips[:keep]:
        keep_clip(run, names, clip, group)
    return judged


def keep_clip(run: "Run", names: tuple[str, str, str], clip: Clip, group: str = "") -> None:
    """Keep a clip of (system, variant, target) for the report, with what made it."""
    system, variant, target = names
    run.clip(
        system,
        variant,
        clip.id,
        clip.waveform,
        clip.sample_rate,
        clip.text,
        target=target,
        group=group,
        seed=clip.seed,
        fingerprint=clip.fingerprint,
    )


def attention_failures(clips: Sequence[Clip]) -> Estimate | None:
    """Percentage of clips whose decoder lost its way, with Wilson's interval; None for a system that has no
    attention to watch.
    """
    if not clips or any(clip.notes is None for clip in clips):
        return None
    share = stats.share_ci([bool(clip.notes) for clip in clips])
    return Estimate(100 * share.value, 100 * share.low, 100 * share.high, share.n)


def judge(
    clips: Sequence[Clip],
    scorer: Scorer,
    *,
    voice: Sequence[Clip] = (),
    originals: Sequence[Clip] | None = None,
    seed: int = 0,
) -> Judged:
    """Clips with their word errors, recogniser's loss and predicted MOS, and what aligned originals or clips of the
    voice allow (as of `quality`), for comparison; no rows are written.
    """
    scores = scorer.rate_all(
        [(c.waveform, c.sample_rate, c.text) for c in clips],
        metrics=(*SPEECH, *(("speaker_similarity",) if voice else ()), *(ALIGNED if originals else ())),
        originals=[c.waveform for c in originals] if originals else None,
        voice=[(c.waveform, c.sample_rate) for c in voice],
    )
    return Judged(tuple(clips), tuple(scores), summarise(scores, seed=seed))


def heard(listener: "Recogniser", clips: Sequence[Clip], *, seed: int = 0) -> Judged:
    """Clips with the errors of what a recogniser makes of them; no rows are written."""
    waiting = progress.track(clips, f"{listener.name} listens", unit="clip")
    texts = [listener.transcribe(clip.waveform, clip.sample_rate).text for clip in waiting]
    scores = [ClipScores(recognised(clip.text, text)) for clip, text in zip(clips, texts)]
    return Judged(tuple(clips), tuple(scores), summarise(scores, seed=seed))


def recogniser(run: "Run", listener: "Recogniser", clips: Sequence[Clip]) -> list[str]:
    """The recogniser as a system under test: word and character errors on clips. Returns its transcripts."""
    judged = heard(listener, clips, seed=run.seed)
    for metric, estimate in judged.summary.items():
        run.add(
            listener.name,
            listener.variant,
            listener.target,
            metric,
            estimate.value,
            n=estimate.n,
            ci=estimate.ci,
            source="greedy decoding of real recordings, jiwer",
        )
    return [clip.recognition.transcript for clip in judged.scores]


def copies(
    clips: Sequence[Clip], vocode, label: str, mel: "MelConfig | None" = None
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """(originals, copies) at the mel's rate, each copy made by `vocode` (log-mel -> waveform) and as long as
    its original.

    mel: by default `features.HIFIGAN`.
    """
    from lib import features

    mel = mel or features.HIFIGAN
    rate, originals, made = mel.sample_rate, [], []
    for clip in progress.track(clips, label, unit="clip"):
        waveform = audio.resample(clip.waveform, clip.sample_rate, rate)
        waveform = waveform[: len(waveform) // mel.hop * mel.hop]
        copy = vocode(features.log_mel(waveform, mel))
        originals.append(Clip(clip.id, clip.text, waveform[: len(copy)], rate))
        made.append(Clip(clip.id, clip.text, copy[: len(waveform)], rate))
    return tuple(originals), tuple(made)


def try_or_not_run(run: "Run", names: tuple[str, str, str], metrics: Sequence[str], step):
    """step(), or None and not_run rows that say why, where data or a package is missing on this machine."""
    try:
        return step()
    except (ImportError, SpeechError) as error:
        log.warning("%s %s on %s: not run: %s", *names, error)
        for metric in metrics:
            run.not_run(*names, metric, str(error))
        return None


def check_paired(clips: Sequence[Clip], others: Sequence[Clip] | None) -> None:
    """ParameterError where clips that are to be compared in pairs say other things, or the same in another order."""
    for number, (clip, other) in enumerate(zip(clips, others or ())):
        if clip.text != other.text:
            raise ParameterError(
                f"clip {number} says {clip.text[:40]!r}, the one it is paired with {other.text[:40]!r}: "
                "pair clips of the same texts, in the same order"
            )
