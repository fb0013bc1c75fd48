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
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lib import audio, targets
from lib.errors import AudioError, MissingDataError, TextError, TrainingError
from lib.files import content_key
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.model import Attributes
from lib.systems.tortoise.diffusion import PUBLISHED, Sampling, Schedule, sample
from lib.systems.tortoise.network import DecoderConfig, DiffusionDecoder

CLVP, UNIVNET, DECODER = (
    "susnato/clvp_dev",
    "dg845/univnet-dev",
    ("Manmay/tortoise-tts", "diffusion_decoder.pth"),
)
CODE_FRAMES = 4  # mel frames at 22.05 kHz per code of speech
CALM, CALM_RUN = 83, 8  # the code of silence, and how many in a row still belong to the speech
CODES_MAX = 500  # the length guard: 23 s
CONTEXT_SAMPLES = 102_400  # of each clip the decoder hears, at 24 kHz
SILENT_FRAMES = 10  # behind the mel, so that the vocoder does not end abruptly


@dataclass
class Parts:
    """The networks in evaluation mode, and what prepares their inputs."""

    clvp: nn.Module  # transformers' ClvpModelForConditionalGeneration: the language model and CLVP itself
    decoder: DiffusionDecoder
    univnet: nn.Module
    tokenizer: Any
    features: Any  # transformers' ClvpFeatureExtractor: mels of the clips for the language model
    mels: Any  # transformers' UnivNetFeatureExtractor: mels at 24 kHz and their range


def load(folder: str | Path | None = None, config: DecoderConfig = DecoderConfig()) -> Parts:
    """The published pipeline from a folder that holds `clvp/`, `univnet/` (as `save_pretrained` writes them) and
    `diffusion_decoder.pth`, or from the hub.

    Raises MissingDataError that names all that is missing, TrainingError where the decoder's weights are not of
    `config`.
    """
    from transformers import (
        ClvpFeatureExtractor,
        ClvpModelForConditionalGeneration,
        ClvpTokenizer,
        UnivNetFeatureExtractor,
        UnivNetModel,
    )

    clvp, univnet, weights = (CLVP, UNIVNET, None) if folder is None else _within(Path(folder))
    try:
        if weights is None:
            from huggingface_hub import hf_hub_download

            weights = hf_hub_download(*DECODER)
        parts = (
            ClvpModelForConditionalGeneration.from_pretrained(clvp),
            UnivNetModel.from_pretrained(univnet),
            ClvpTokenizer.from_pretrained(clvp),
            ClvpFeatureExtractor.from_pretrained(clvp),
        )
    except (
        OSError,
        ValueError,
    ) as error:  # transformers and the hub: no connection, no such repository, unreadable files
        where = "the hub" if folder is None else str(folder)
        raise MissingDataError(
            f"TorToiSe cannot be had from {where} ({' '.join(str(error).split())[:200]}): it consists of "
            f"{CLVP}, {UNIVNET} and {'/'.join(DECODER)}; connect, or fetch them elsewhere and name the "
            "folder"
        ) from error
    with torch.device("meta"):
        decoder = DiffusionDecoder(config)
    try:
        decoder.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), assign=True)
    except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
        raise TrainingError(
            f"{weights} is not the decoder of this configuration ({' '.join(str(error).split())[:300]}): fetch "
            f"{'/'.join(DECODER)} anew"
        ) from error
    clvp_model, univnet_model, tokenizer, features = parts
    return Parts(
        _counting(clvp_model.eval()),
        decoder.requires_grad_(False).eval(),
        univnet_model.eval(),
        tokenizer,
        features,
        UnivNetFeatureExtractor(),
    )


def _counting(clvp: nn.Module) -> nn.Module:
    """The model, told where its prompt stands.

    transformers 5.23 takes the prompt's length from the one start code and so puts all of it at position 0,
    after the embeddings of its positions 0, 1, 2... were taken off so that they cancel: without this they do
    not, and the text reads scrambled.
    """
    model = clvp.speech_decoder_model
    prepare = model.prepare_inputs_for_generation

    @functools.wraps(prepare)
    def prepared(*given, **named):
        inputs = prepare(*given, **named)
        if (prompt := inputs.get("inputs_embeds")) is not None:
            inputs["position_ids"] = torch.arange(prompt.shape[1], device=prompt.device)[None]
        return inputs

    model.prepare_inputs_for_generation = prepared
    return clvp


def _within(folder: Path) -> tuple[str, str, str]:
    wanted = {"clvp/config.json": CLVP, "univnet/config.json": UNIVNET, DECODER[1]: "/".join(DECODER)}
    missing = [f"{file} (from {source})" for file, source in wanted.items() if not (folder / file).is_file()]
    if missing:
        raise MissingDataError(f"{folder} does not hold the published TorToiSe, it lacks: {', '.join(missing)}")
    return str(folder / "clvp"), str(folder / "univnet"), str(folder / DECODER[1])


class PublishedTortoise(System):
    """The published pipeline with one voice. clips: (waveform (n_samples,), sample_rate) of it; candidates:
    readings that CLVP chooses from, all made at once; sampling: of the decoder.
    """

    name, variant, sample_rate = "tortoise", "published", 24_000

    def __init__(
        self,
        parts: Parts,
        clips: Sequence[tuple[np.ndarray, int]],
        *,
        candidates: int = 16,
        sampling: Sampling = PUBLISHED,
        codes_max: int = CODES_MAX,
        target: str = "torch/cpu",
        threads: int = 2,
    ):
        if not clips:
            raise AudioError("TorToiSe speaks in the voice of clips: give one or more")
        torch.set_num_threads(threads)
        self.target, self.threads, self.device = target, threads, torch.device(targets.find(target).device)
        self.candidates, self.sampling, self.codes_max = candidates, sampling, codes_max
        self._own(parts)
        for module in self.modules.values():
            module.to(self.device)
        heard = [audio.check(waveform, rate, f"clip {i}") for i, (waveform, rate) in enumerate(clips)]
        self._features = self._heard(audio.resample(heard[0], clips[0][1], parts.features.sampling_rate))
        self._voice = self._voiced(
            [audio.resample(w, rate, self.sample_rate) for w, (_, rate) in zip(heard, clips)]
        )

    def settings(self) -> dict[str, Any]:
        """How it samples and chooses, and the voice that it took from the clips."""
        heard = content_key(self._voice.cpu().numpy().tobytes(), self._features.cpu().numpy().tobytes())
        return {
            "candidates": self.candidates,
            "codes_max": self.codes_max,
            "voice": heard,
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
            ids = torch.tensor([parts.tokenizer(sentence)["input_ids"]], device=self.device)
            if ids.shape[1] > (most := parts.clvp.config.decoder_config.max_text_tokens - 4):
                raise TextError(
                    f"the sentence has {ids.shape[1]} tokens, TorToiSe reads at most {most}: cut it"
                )
        with watch.stage("language_model"), torch.random.fork_rng(devices=[]):
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
        notes = (
            ()
            if said.shape[1] < codes.shape[1] or codes.shape[1] < self.codes_max
            else ("did not stop by itself: the length guard cut it",)
        )
        with watch.stage("decoder"):
            mel = self._mel(said, generator)
        with watch.stage("vocoder"):
            silence = mel.new_full((1, SILENT_FRAMES, mel.shape[2]), parts.mels.normalize_min)
            noise = torch.randn(
                (1, mel.shape[1] + SILENT_FRAMES, parts.univnet.config.model_in_channels), generator=generator
            )
            waveform = parts.univnet(torch.cat([mel, silence], 1), noise.to(self.device)).waveforms[0]
            waveform = waveform[: mel.shape[1] * parts.mels.hop_length].float().cpu().numpy()
        return Speech(waveform, self.sample_rate, watch.seconds, notes=notes)

    def _mel(self, said: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, T, C) -> log-mel (1, F, bands) at 24 kHz."""
        decoder = self.parts.decoder
        frames = said.shape[1] * CODE_FRAMES * self.sample_rate // self.parts.features.sampling_rate
        condition = decoder.condition(said, self._voice, frames)
        noise = torch.randn((1, decoder.config.in_channels, frames), generator=generator).to(self.device)
        found = sample(
            Schedule("linear"),
            "epsilon",
            lambda x, t: decoder.denoise(x, t, condition),
            noise,
            self.sampling,
            unconditional=decoder.denoise,
            generator=generator,
        )
        return self.parts.mels.denormalize(found.x0).transpose(1, 2)

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


def latents(clvp: nn.Module, ids: torch.Tensor, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """What the language model knew when it said each of `codes` (1, T), (1, T, hidden); ids (1, n) of the text."""
    model = clvp.speech_decoder_model
    decoder = model.model.decoder
    before = clvp.conditioning_encoder(input_features=features, input_ids=F.pad(ids, (0, 1)))
    said = F.pad(
        codes[:, :-1], (1, 0), value=model.config.bos_token_id
    )  # the state that says a code has heard those before
    heard = decoder.input_embeds_layer(said) + decoder.position_embeds_layer(
        torch.arange(said.shape[1], device=said.device)
    )
    whole = torch.cat([before, heard], 1)
    # Text and speech count their positions apart, the decoder would count on: it is told 0 everywhere, which is
    # taken off before.
    nowhere = torch.zeros((1, whole.shape[1]), dtype=torch.int64, device=whole.device)
    hidden = decoder(
        inputs_embeds=whole - decoder.position_embeds_layer(nowhere), position_ids=nowhere, use_cache=False
    )
    return model.final_norm(hidden.last_hidden_state[:, -said.shape[1] :])


def spoken(codes: torch.Tensor) -> int:
    """How many of the codes (T,) are speech: up to where a silence has lasted CALM_RUN codes."""
    run = 0
    for place, code in enumerate(codes.tolist()):
        run = run + 1 if code == CALM else 0
        if run > CALM_RUN:
            return place
    return len(codes)
