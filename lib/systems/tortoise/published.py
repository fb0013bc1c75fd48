"""`tortoise` as published: which four networks make it up, where do they come from, and how do they speak together?

Betker 2023 (arXiv:2305.07243). A language model reads the text in the voice of some clips and proposes codes of
speech, several times over; CLVP picks the reading that fits the text best; the diffusion decoder turns the
language model's latents of it into a mel spectrogram at 24 kHz; UnivNet speaks that. transformers has the
language model, CLVP and UnivNet, the decoder is ours (`network.py`), all with the published weights,
which are fetched from the hub or taken from a folder.

    clips = [(waveform, sample_rate), ...]                     two or more of some 10 s, of one voice
    voice = PublishedTortoise(load(), clips)                   3 GB from the hub
    voice.synthesize("Good morning.", seed=0)
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib import audio, targets
from lib.errors import AudioError, ParameterError, TextError
from lib.files import content_key
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.model import Attributes
from lib.systems.tortoise import students
from lib.systems.tortoise.diffusion import PUBLISHED, Sampling, Schedule
from lib.systems.tortoise.published_parts import Parts, key, latents, load, spoken
from lib.systems.tortoise.walking import walk

__all__ = ["NOISE", "PREDICTION", "PublishedTortoise", "frames_of", "load"]

CODE_FRAMES = 4  # mel frames at 22.05 kHz per code of speech
CODES_MAX = 500  # the length guard: 23 s
CONTEXT_SAMPLES = 102_400  # of each clip the decoder hears, at 24 kHz
SILENT_FRAMES = 10  # behind the mel, so that the vocoder does not end abruptly
NOISE, PREDICTION = Schedule("linear"), "epsilon"  # that the published decoder was trained with


def frames_of(codes: int) -> int:
    """Mel frames at 24 kHz that so many codes of speech stand for."""
    return codes * CODE_FRAMES * 24_000 // 22_050


class PublishedTortoise(System):
    """The published pipeline with one voice. clips: (waveform (n_samples,), sample_rate) of it; candidates:
    readings that CLVP chooses from, all made at once; sampling: of the decoder; student: the folder of one, whose
    decoder speaks then, walking as it learnt to unless `sampling` says otherwise.
    """

    name, variant, sample_rate = "tortoise", "published", 24_000

    def __init__(
        self,
        parts: Parts,
        clips: Sequence[tuple[np.ndarray, int]],
        *,
        candidates: int = 16,
        sampling: Sampling | None = None,
        student: str | Path = "",
        codes_max: int = CODES_MAX,
        target: str = "torch/cpu",
        threads: int = 2,
    ):
        if not clips:
            raise AudioError("TorToiSe speaks in the voice of clips: give one or more")
        torch.set_num_threads(threads)
        self.target, self.threads, self.device = target, threads, torch.device(targets.find(target).device)
        self.candidates, self.codes_max = candidates, codes_max
        self.sampling, self.prediction = sampling or PUBLISHED, PREDICTION
        if student:
            parts, self.sampling, self.prediction = _taught(parts, student, sampling)
        self._own(parts)
        for module in self.modules.values():
            module.to(self.device)
        heard = [audio.check(waveform, rate, f"clip {i}") for i, (waveform, rate) in enumerate(clips)]
        self._features = self._heard(audio.resample(heard[0], clips[0][1], parts.features.sampling_rate))
        self.voice = self._voiced(  # the decoder's idea of it, (1, 2 * channels)
            [audio.resample(w, rate, self.sample_rate) for w, (_, rate) in zip(heard, clips)]
        )

    def settings(self) -> dict[str, Any]:
        """How it samples and chooses, and the voice that it took from the clips."""
        heard = content_key(self.voice.cpu().numpy().tobytes(), self._features.cpu().numpy().tobytes())
        return {
            "candidates": self.candidates,
            "codes_max": self.codes_max,
            "voice": heard,
            **({} if self.prediction == PREDICTION else {"prediction": self.prediction}),
            **dataclasses.asdict(self.sampling),
        }

    def _copy_networks(self) -> None:
        self._own(copy.deepcopy(self.parts))

    def _own(self, parts: Parts) -> None:
        """Speak with these networks."""
        self.parts = parts
        self.modules = Attributes({name: (parts, name) for name in ("clvp", "decoder", "univnet")})

    @torch.inference_mode()
    def speak(self, sentence: str, seed: int) -> Speech:
        """One sentence. The seed draws the readings, the decoder's noise and the vocoder's."""
        parts, generator = self.parts, torch.Generator().manual_seed(seed)
        watch = Stopwatch(torch.cuda.synchronize if self.device.type == "cuda" else lambda: None)
        with watch.stage("tokens"):
            ids = self._tokens(sentence)
        with watch.stage("language_model"):
            said, whole = self._read(ids, seed)
        notes = () if whole else ("did not stop by itself: the length guard cut it",)
        with watch.stage("decoder"):
            mel = parts.mels.denormalize(self._drawn(said, generator)).transpose(1, 2)
        with watch.stage("vocoder"):
            silence = mel.new_full((1, SILENT_FRAMES, mel.shape[2]), parts.mels.normalize_min)
            noise = torch.randn(
                (1, mel.shape[1] + SILENT_FRAMES, parts.univnet.config.model_in_channels), generator=generator
            )
            waveform = parts.univnet(torch.cat([mel, silence], 1), noise.to(self.device)).waveforms[0]
            waveform = waveform[: mel.shape[1] * parts.mels.hop_length].float().cpu().numpy()
        return Speech(waveform, self.sample_rate, watch.seconds, notes=notes)

    @torch.inference_mode()
    def reading(self, sentence: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents (T, C) of a sentence and the mel (bands, F) drawn for them, in the decoder's own range: what a
        student learns from.
        """
        said, _ = self._read(self._tokens(sentence), seed)
        mel = self._drawn(said, torch.Generator().manual_seed(seed))
        return said[0].clone(), mel[0].clone()

    def _tokens(self, sentence: str) -> torch.Tensor:
        ids = torch.tensor([self.parts.tokenizer(sentence)["input_ids"]], device=self.device)
        if ids.shape[1] > (most := self.parts.clvp.config.decoder_config.max_text_tokens - 4):
            raise TextError(f"the sentence has {ids.shape[1]} tokens, TorToiSe reads at most {most}: cut it")
        return ids

    def _read(self, ids: torch.Tensor, seed: int) -> tuple[torch.Tensor, bool]:
        """Latents (1, T, C) of the chosen reading, and whether it came to an end."""
        parts = self.parts
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found = parts.clvp.generate(
                input_ids=ids,
                input_features=self._features,
                do_sample=True,
                top_p=0.8,
                temperature=0.8,
                repetition_penalty=2.0,
                num_return_sequences=self.candidates,
                max_new_tokens=self.codes_max,
                return_dict_in_generate=True,
            )
        codes = found.speech_ids[found.logits_per_text[0].argmax()][None]  # (1, T)
        said = latents(parts.clvp, ids, self._features, codes)[:, : spoken(codes[0])]
        return said, said.shape[1] < codes.shape[1] or codes.shape[1] < self.codes_max

    def _drawn(self, said: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, T, C) -> mel (1, bands, F) at 24 kHz in the decoder's own range."""
        decoder, frames = self.parts.decoder, frames_of(said.shape[1])
        condition = decoder.condition(said, self.voice, frames)
        noise = torch.randn((1, decoder.config.in_channels, frames), generator=generator).to(self.device)
        return walk(decoder, NOISE, self.prediction, condition, noise, self.sampling, generator).x0

    @torch.inference_mode()
    def _voiced(self, clips: Sequence[np.ndarray]) -> torch.Tensor:
        """The decoder's idea of the voice, (1, 2 * channels)."""
        fixed = [np.pad(clip[:CONTEXT_SAMPLES], (0, max(CONTEXT_SAMPLES - len(clip), 0))) for clip in clips]
        mels = np.stack([self.parts.mels.mel_spectrogram(clip).T for clip in fixed])  # (n_clips, bands, F)
        return self.parts.decoder.voice(torch.from_numpy(mels)[None].float().to(self.device))

    def _heard(self, clip: np.ndarray) -> torch.Tensor:
        """The language model's mel of a clip, (1, bands, F)."""
        features = self.parts.features
        return features(clip, sampling_rate=features.sampling_rate, return_tensors="pt")["input_features"].to(
            self.device
        )


def _taught(parts: Parts, folder: str | Path, sampling: Sampling | None) -> tuple[Parts, Sampling, str]:
    """The parts with a student's decoder, how it walks, and what it says."""
    known, decoder = students.load(students.find(str(folder)), key(parts.decoder), parts.decoder)
    how = sampling or Sampling(
        "ddim",
        known.steps,
        guidance=known.guidance,
        ramp=False,
        temperature=known.temperature[0],
        bound=PUBLISHED.bound,
    )
    if how.guidance > known.guidance:
        raise ParameterError(
            f"guidance is {how.guidance:g}, but the student {folder} knows it up to {known.guidance:g} only: ask for "
            "less"
        )
    return (
        dataclasses.replace(parts, decoder=decoder.requires_grad_(False)),
        how,
        known.prediction or PREDICTION,
    )
