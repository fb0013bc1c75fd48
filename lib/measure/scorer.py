"""Everything a clip is scored by, computed once: the metrics behind one object that remembers by content.

A score is kept on disk under the hash of the samples, the sample rate, the metric and the versions behind it, so a
notebook that runs again, or another one that meets the same clip, reads it back. What many scores say together is in
`scores`.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from lib import audio
from lib.errors import ParameterError, unknown
from lib.files import cache_folder, content_key, write_atomic
from lib.measure import aligned, intelligibility, likelihood, quality
from lib.measure.likelihood import Loss
from lib.measure.scores import RECOGNISED, ClipScores, Recognition, recognised

_PACKAGES = {  # metric -> (what people call it, distribution)
    "mos_predicted": ("DistillMOS", "distillmos"),
    "dnsmos_ovrl": ("DNSMOS P.835, speechmos", "speechmos"),
    "pesq_wb": ("PESQ P.862.2, pesq", "pesq"),
    "stoi": ("STOI, pystoi", "pystoi"),
    "f0_error_cents": ("F0 by Praat where both are voiced, praat-parselmouth", "praat-parselmouth"),
    "voicing_error_pct": ("F0 by Praat, praat-parselmouth", "praat-parselmouth"),
    "speaker_similarity": ("Resemblyzer", "resemblyzer"),
}
_COMPARED = {  # metric -> (original, clip, sample rate) -> its score; None where it is not defined
    "pesq_wb": lambda *pair: aligned.pesq_wb(*pair),
    "stoi": lambda *pair: aligned.stoi(*pair),
    "f0_error_cents": lambda *pair: aligned.f0_error_cents(*pair),
    "voicing_error_pct": lambda *pair: aligned.voicing_error_pct(*pair),
}
ALIGNED = tuple(_COMPARED)
DEFAULT_METRICS = ("wer", "asr_nll", "mos_predicted", "dnsmos_ovrl")
_AT_ONCE = 8  # clips heard before their losses are computed; an encoder's output takes 2.3 MB
_REVISION = 1  # raise it when a metric here comes to mean something else, so that no old score is read back


class Scorer:
    """The metrics, loaded when first needed. threads: clips judged at once; cache: whether scores are kept on disk.

    Predicted MOS runs on torch's own threads (`environment.pin_threads`), one clip after the other: that is as fast
    as clips side by side. The judge and DNSMOS gain from neighbours, not from more threads for one clip.
    """

    def __init__(self, *, threads: int = 2, cache: bool = True, compute_type: str = "int8"):
        if threads < 1:
            raise ParameterError(f"{threads} threads cannot score anything: give at least 1")
        self.threads, self.cache, self.compute_type = threads, cache, compute_type
        self._judge_loaded: intelligibility.Judge | None = None
        self._listener: likelihood.Listener | None = None
        self._lock = threading.Lock()
        self._memory: dict[str, object] = {}  # content key -> score

    def transcript(self, waveform: np.ndarray, sample_rate: int) -> str:
        """What the judge hears (`intelligibility.Judge.transcribe`)."""
        return self._remember(
            "wer", (waveform, sample_rate), lambda w: self._judge().transcribe(w, sample_rate)
        )

    def word_errors(self, waveform: np.ndarray, sample_rate: int, text: str) -> Recognition:
        """The transcript compared with the text that was to be spoken."""
        return recognised(text, self.transcript(waveform, sample_rate))

    def losses(self, sounds: Sequence[tuple[np.ndarray, int]], texts: Sequence[str]) -> list[Loss]:
        """`likelihood.Listener.losses` of clips (waveform, sample_rate) and what was to be said in them."""
        if len(sounds) != len(texts):
            raise ParameterError(f"{len(sounds)} clips and {len(texts)} texts: give the text of every clip")
        keys = [self._key("asr_nll", sound, text) for sound, text in zip(sounds, texts)]
        if new := [i for i, key in enumerate(keys) if self._recall("asr_nll", key) is None]:
            self._keep_losses(self._judge().encode, *([of[i] for i in new] for of in (keys, sounds, texts)))
        return [Loss(self._recall("asr_nll", key)[0], likelihood.word_count(t)) for key, t in zip(keys, texts)]

    def mos(self, waveform: np.ndarray, sample_rate: int) -> float:
        """`quality.predicted_mos`."""
        return self._remember(
            "mos_predicted", (waveform, sample_rate), lambda w: quality.predicted_mos(w, sample_rate)
        )

    def dnsmos(self, waveform: np.ndarray, sample_rate: int) -> float:
        """`quality.dnsmos_ovrl`."""
        return self._remember(
            "dnsmos_ovrl", (waveform, sample_rate), lambda w: quality.dnsmos_ovrl(w, sample_rate, threads=1)
        )

    def compared(self, metric: str, original: np.ndarray, clip: np.ndarray, sample_rate: int) -> float | None:
        """A metric of ALIGNED pairs, as `lib.measure.aligned` has it; None where it is not defined."""
        return self._remember(
            metric,
            (clip, sample_rate),
            lambda w: _COMPARED[metric](original, w, sample_rate),
            beside=(original, sample_rate),
        )

    def embedding(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """`quality.speaker_embedding`."""

        def compute(clip: np.ndarray) -> list[float]:
            return [float(x) for x in quality.speaker_embedding(clip, sample_rate)]

        return np.asarray(self._remember("speaker_similarity", (waveform, sample_rate), compute), np.float32)

    def similarity(self, voice: Sequence[tuple[np.ndarray, int]], sound: tuple[np.ndarray, int]) -> float:
        """`quality.speaker_similarity` of a clip (waveform, sample_rate) and the mean of the clips of a voice.

        What is kept are the embeddings, each under its own clip's content, so another reference is another answer.
        """
        speaker = quality.mean_embedding([self.embedding(*clip) for clip in voice])
        return quality.speaker_similarity(speaker, self.embedding(*sound))

    def rate(
        self,
        waveform: np.ndarray,
        sample_rate: int,
        text: str | None = None,
        *,
        original: np.ndarray | None = None,
        voice: Sequence[tuple[np.ndarray, int]] = (),
        metrics: Sequence[str] = DEFAULT_METRICS,
    ) -> ClipScores:
        """The scores of one clip; see `rate_all`."""
        originals = None if original is None else [original]
        return self.rate_all(
            [(waveform, sample_rate, text)], originals=originals, voice=voice, metrics=metrics
        )[0]

    def rate_all(
        self,
        clips: Sequence[tuple[np.ndarray, int, str | None]],
        *,
        originals: Sequence[np.ndarray] | None = None,
        voice: Sequence[tuple[np.ndarray, int]] = (),
        metrics: Sequence[str] = DEFAULT_METRICS,
    ) -> list[ClipScores]:
        """The scores of (waveform, sample_rate, text) clips, in their order.

        metrics: `wer` (brings the other three error rates), `asr_nll`, `mos_predicted`, `dnsmos_ovrl`; with
        `originals`, one aligned waveform per clip at its sample rate, also those of ALIGNED; with `voice`, clips
        (waveform, sample_rate) of the speaker who should be heard, also `speaker_similarity`. Raises AudioError
        naming the first clip that is no usable audio.
        """
        known = ("wer", "asr_nll", *_PACKAGES)
        for metric in metrics:
            if metric not in known:
                raise unknown("clip metric", metric, known)
            if metric in ALIGNED and (originals is None or len(originals) != len(clips)):
                raise ParameterError(
                    f"{metric} compares with the original: give `originals`, one for each of {len(clips)} clips"
                )
            if metric == "speaker_similarity" and not voice:
                raise ParameterError(
                    "speaker_similarity compares with a voice: give `voice`, clips of the speaker"
                )
            if metric in ("wer", "asr_nll") and any(text is None for _, _, text in clips):
                raise ParameterError(
                    f"{metric} compares with the text that was to be spoken: give the text of every clip"
                )
        sounds = [
            (audio.check(waveform, rate, f"clip {i}"), rate) for i, (waveform, rate, _) in enumerate(clips)
        ]
        columns: dict[str, list] = {}
        texts = [text for *_, text in clips]
        if "wer" in metrics and "asr_nll" in metrics:
            self._hear(sounds, texts)  # in one listening; the next lines read it back
        if "wer" in metrics:
            self._side_by_side(self.transcript, sounds)
            columns["wer"] = [self.word_errors(*sound, text) for sound, text in zip(sounds, texts)]
        losses = self.losses(sounds, texts) if "asr_nll" in metrics else [None] * len(clips)
        if "mos_predicted" in metrics:
            columns["mos_predicted"] = [self.mos(*sound) for sound in sounds]
        if "dnsmos_ovrl" in metrics:  # the first clip alone, for it loads the network
            columns["dnsmos_ovrl"] = [self.dnsmos(*s) for s in sounds[:1]] + self._side_by_side(
                self.dnsmos, sounds[1:]
            )
        for metric in ALIGNED:
            if metric in metrics:
                columns[metric] = [self.compared(metric, *pair) for pair in zip(originals, *zip(*sounds))]
        if "speaker_similarity" in metrics:
            columns["speaker_similarity"] = [self.similarity(voice, sound) for sound in sounds]
        recognised = columns.pop("wer", [None] * len(clips))
        return [
            ClipScores(
                recognised[i], {name: c[i] for name, c in columns.items() if c[i] is not None}, losses[i]
            )
            for i in range(len(clips))
        ]

    def _hear(self, sounds: Sequence[tuple[np.ndarray, int]], texts: Sequence[str]) -> None:
        """Transcript and loss of every clip that has neither yet: what the encoder made of it serves both."""
        keys = [self._key("asr_nll", sound, text) for sound, text in zip(sounds, texts)]
        new = [
            i
            for i, (sound, key) in enumerate(zip(sounds, keys))
            if self._recall("wer", self._key("wer", sound)) is None and self._recall("asr_nll", key) is None
        ]
        if not new:
            return
        judge = self._judge()

        def listen(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
            heard = judge.listen(waveform, sample_rate)
            self._store("wer", self._key("wer", (waveform, sample_rate)), heard.transcript)
            return heard.encoded

        self._keep_losses(listen, *([of[i] for i in new] for of in (keys, sounds, texts)))

    def _keep_losses(
        self,
        encode: Callable[[np.ndarray, int], np.ndarray],
        keys: Sequence[str],
        sounds: Sequence[tuple[np.ndarray, int]],
        texts: Sequence[str],
    ) -> None:
        """Store the losses of clips, a few at a time as they come: a stopped run goes on from there."""
        if self._listener is None:
            self._listener = likelihood.Listener(self._judge())
        for start in range(0, len(keys), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            encoded = self._side_by_side(encode, sounds[part])
            for key, loss in zip(keys[part], self._listener.of_encoded(encoded, texts[part])):
                self._store("asr_nll", key, loss.nats)

    def _judge(self) -> intelligibility.Judge:
        with self._lock:
            if self._judge_loaded is None:
                self._judge_loaded = intelligibility.Judge(compute_type=self.compute_type, threads=self.threads)
            return self._judge_loaded

    def _side_by_side(self, call: Callable, sounds: Sequence[tuple[np.ndarray, int]]) -> list:
        """call(*sound) of every sound, `threads` at a time."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(lambda sound: call(*sound), sounds))

    def _remember(
        self,
        metric: str,
        sound: tuple[np.ndarray, int],
        compute: Callable[[np.ndarray], object],
        beside: tuple[np.ndarray, int] | None = None,
    ):
        """The stored score of a clip (beside another), or compute(clip), then stored."""
        key = self._key(metric, sound, beside=beside)
        if (stored := self._recall(metric, key)) is not None:
            return stored[0]
        score = compute(audio.check(*sound))
        self._store(metric, key, score)
        return score

    def _key(
        self,
        metric: str,
        sound: tuple[np.ndarray, int],
        *told: str,
        beside: tuple[np.ndarray, int] | None = None,
    ) -> str:
        """The content key of all that a score depends on: the clip, the one beside it, what the metric was told."""
        parts = [audio.check(*sound).tobytes(), int(sound[1]), *told]
        if beside is not None:
            parts += [audio.check(*beside, "reference").tobytes(), int(beside[1])]
        return content_key(*parts, metric, source(metric, self.compute_type), _REVISION)

    def _recall(self, metric: str, key: str) -> tuple | None:
        """(score,) from memory or disk; None where it is not there, or cut short by an older crash."""
        if key not in self._memory and self.cache:
            try:
                path = cache_folder("scores", metric) / f"{key}.json"
                self._memory[key] = json.loads(path.read_text())["score"]
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return (self._memory[key],) if key in self._memory else None

    def _store(self, metric: str, key: str, score: object) -> None:
        if self.cache:
            write_atomic(cache_folder("scores", metric) / f"{key}.json", json.dumps({"score": score}).encode())
        self._memory[key] = score


@functools.cache
def source(metric: str, compute_type: str = "int8") -> str:
    """Which implementation and version a metric's value comes from, for a result's `source`."""
    if metric in RECOGNISED:
        return intelligibility.judge_source(compute_type)
    if metric == "asr_nll":
        return likelihood.source(compute_type)
    if metric not in _PACKAGES:
        raise unknown("clip metric", metric, (*RECOGNISED, "asr_nll", *_PACKAGES))
    label, distribution = _PACKAGES[metric]
    try:
        return f"{label} {version(distribution)}"
    except PackageNotFoundError:  # the metric itself says how to install it
        return label
