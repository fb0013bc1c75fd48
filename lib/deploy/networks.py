"""What are the stages, network by network? Each built from a system that speaks real text, with what it saw there, a
set of inputs for each text.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from lib import audio, features, systems
from lib.deploy.stages import HOP_S, Spoken, Stage, fixed
from lib.features import HIFIGAN

WINDOW_S = 30  # of Whisper's encoder
# What a network sees of a text, and how many frames are the text once.
Seen = tuple[tuple[np.ndarray, ...], int]


class Generator(nn.Module):
    """`hifigan` behind the network that reads the pitch: a phase is an integral, and stays on the host in fp32."""

    def __init__(self, front: nn.Module, decoder: nn.Module):
        super().__init__()
        self.front, self.decoder = front, decoder

    def forward(self, log_mel: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """(1, F, 80), (1, F, 4) -> (1, 1, F * 256)."""
        return self.decoder(self.front(log_mel, source))


class Trunk(nn.Module):
    """The trunk of `istft` on features that the host has joined."""

    def __init__(self, trunk: nn.Module):
        super().__init__()
        self.trunk = trunk

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """(1, F, 161) -> corrections (1, F, 3 * 513)."""
        from lib.systems.istft.network import Reader

        return Reader.forward(self.trunk, frames)


class MelDecoder(nn.Module):
    """`fastspeech2` behind the length regulator: Conformer blocks and the postnet."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """(1, F, hidden) -> standardised log-mels (1, F, 80)."""
        return self.network.render(hidden)[1]


class Listener(nn.Module):
    """Whisper's encoder on half a minute."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(1, 80, 3000) -> (1, 1500, width)."""
        return self.encoder(log_mel).last_hidden_state


@torch.inference_mode(False)
@torch.no_grad()
def hifigan_generator(
    frames: int, texts: Sequence[str], calibration: Sequence[str], spoken: Sequence[str] = ()
) -> Stage:
    """Mel and source -> waveform."""
    from lib.systems import hifigan

    vocoder, voice = systems.load("hifigan"), systems.load("vits-joe")

    def seen(text: str) -> Seen:
        mel, length = _mel(voice, frames, text)
        batch = torch.from_numpy(mel)[None]
        return (mel[None], hifigan.read_source(vocoder.modules, batch).numpy()), length

    network = Generator(vocoder.modules["front"], vocoder.modules["decoder"])
    return _stage("hifigan", "generator", network, frames, texts, calibration, spoken, seen, _flat)


@torch.inference_mode(False)
@torch.no_grad()
def istft_trunk(
    frames: int, texts: Sequence[str], calibration: Sequence[str], spoken: Sequence[str] = ()
) -> Stage:
    """Features of mel and pulses -> corrections of the filters; the host shapes pulses and noise with them."""
    from lib.systems.istft import network, signal, tables

    vocoder, voice = systems.load("istft"), systems.load("vits-joe")
    trunk, pitch = vocoder.modules["trunk"], vocoder.modules["pitch"]

    def known(log_mel: torch.Tensor):
        hz = pitch.hz(pitch(log_mel))
        source = signal.spectra(signal.pulses(*signal.integrate(hz)))
        return hz, source, signal.source_mel(source)

    # A sentence is read for inputs, then for sound.
    read = functools.cache(lambda text: _mel(voice, frames, text))

    def seen(text: str) -> Seen:
        mel, length = read(text)
        batch = torch.from_numpy(mel)[None]
        hz, _, of_source = known(batch)
        octaves = torch.log2(hz.clamp_min(tables.LOWEST_HZ) / tables.REFERENCE_HZ)[..., None].float()
        ahead = (network.ahead(batch, trunk.lookahead)[:, : hz.shape[1]] - tables.MEL_MEAN) / tables.MEL_SCALE
        scaled = (of_source - tables.SOURCE_MEAN) / tables.SOURCE_SCALE
        return (torch.cat([ahead, scaled, octaves], -1).numpy(),), length

    @torch.no_grad()
    def waveform(text: str, outputs: Sequence[np.ndarray]) -> np.ndarray:
        batch = torch.from_numpy(read(text)[0])[None]
        _, source, of_source = known(batch)
        filters, gains = network.filters(batch, of_source, torch.from_numpy(outputs[0]))
        noise = signal.noise(torch.zeros(1, dtype=torch.long), frames)
        return signal.overlap_add(filters * source + gains * noise)[0].numpy()

    return _stage("istft", "trunk", Trunk(trunk), frames, texts, calibration, spoken, seen, waveform)


@torch.inference_mode(False)
@torch.no_grad()
def vits_decoder(
    frames: int, texts: Sequence[str], calibration: Sequence[str], spoken: Sequence[str] = ()
) -> Stage:
    """Latents -> waveform."""
    voice = systems.load("vits-joe")

    def latents(text: str) -> Seen:
        seen: list[np.ndarray] = []
        hook = voice.modules["decoder"].register_forward_pre_hook(
            lambda _, given: seen.append(given[0][0].numpy().T)
        )
        try:
            voice.synthesize(text, 0)
        finally:
            hook.remove()
        whole = np.concatenate(seen)
        return (np.ascontiguousarray(fixed(whole, frames).T[None]),), len(whole)

    decoder = voice.modules["decoder"]
    return _stage("vits-joe", "decoder", decoder, frames, texts, calibration, spoken, latents, _flat)


@torch.inference_mode(False)
@torch.no_grad()
def fastspeech2_decoder(
    frames: int, texts: Sequence[str], calibration: Sequence[str], spoken: Sequence[str] = ()
) -> Stage:
    """Phones spread over frames -> log-mel, heard through the vocoder `istft`."""
    voice, vocoder = systems.load("fastspeech2"), systems.load("istft")
    network = voice.modules["acoustic_model"]

    def hidden(text: str) -> Seen:
        _, ids, speaker = voice._symbols(text)
        spread = network.expand(*network.plan(ids, speaker))[0][0].numpy()
        return (fixed(spread, frames)[None],), len(spread)

    def waveform(text: str, outputs: Sequence[np.ndarray]) -> np.ndarray:
        return vocoder.vocode(network.as_log_mel(torch.from_numpy(outputs[0]))[0].numpy())

    decoder = MelDecoder(network)
    return _stage("fastspeech2", "decoder", decoder, frames, texts, calibration, spoken, hidden, waveform)


@torch.inference_mode(False)
@torch.no_grad()
def whisper_encoder(
    frames: int, texts: Sequence[str], calibration: Sequence[str], spoken: Sequence[str] = ()
) -> Stage:
    """Half a minute, whatever `frames` says: the recogniser knows no shorter window. It is timed on single sentences,
    most of whose window is silence, and calibrated on windows that are full.
    """
    recogniser, voice = systems.load("whisper-tiny.en"), systems.load("vits-joe")

    def said(read: Sequence[str]) -> np.ndarray:
        clips = np.concatenate([voice.synthesize(text, number).waveform for number, text in enumerate(read)])
        return clips[: WINDOW_S * voice.sample_rate]

    def heard(clip: np.ndarray) -> tuple[np.ndarray, ...]:
        return (recogniser.features(clip, voice.sample_rate).numpy(),)

    def understood(outputs: Sequence[np.ndarray]) -> str:
        return recogniser.decoded(torch.from_numpy(outputs[0]))

    clips = [said([text]) for text in texts]
    inputs, *others = map(heard, clips)
    full = [
        heard(fixed(said(calibration[i:] + calibration[:i]), WINDOW_S * voice.sample_rate))
        for i in range(len(calibration))
    ]
    return Stage(
        "whisper-tiny.en",
        "encoder",
        Listener(recogniser.modules["encoder"]),
        inputs,
        tuple(full) or (inputs,),
        float(np.mean([len(clip) for clip in clips])) / voice.sample_rate,
        3_000,
        others=tuple(others),
        spoken=tuple(Spoken(text, heard(said([text])), transcript=understood) for text in spoken),
        window_s=float(WINDOW_S),
    )


def _stage(
    system: str, name: str, network: nn.Module, frames: int, texts, calibration, spoken, seen, waveform
) -> Stage:
    """A stage of so many frames. seen: text -> Seen; waveform: (text, outputs) -> (n_samples,) of all frames, None for
    outputs that nobody can listen to; of such no sentence is judged.
    """
    inputs, *others = (seen(text)[0] for text in texts)
    scales = tuple(seen(text)[0] for text in calibration) or (inputs,)
    return Stage(
        system,
        name,
        network,
        inputs,
        scales,
        frames * HOP_S,
        frames,
        waveform and functools.partial(waveform, texts[0]),
        others=tuple(others),
        spoken=_whole(frames, spoken, seen, waveform) if waveform else (),
    )


def _whole(frames: int, texts, seen, waveform) -> tuple[Spoken, ...]:
    """Those of the texts that a bucket holds to their end. What fills its rest is no part of their sound."""
    kept = []
    for text in texts:
        inputs, length = seen(text)
        if length <= frames:
            kept.append(Spoken(text, inputs, functools.partial(_cut, waveform, text, length)))
    return tuple(kept)


def _cut(waveform, text: str, length: int, outputs: Sequence[np.ndarray]) -> np.ndarray:
    return waveform(text, outputs)[: length * HIFIGAN.hop]


def _flat(text: str, outputs: Sequence[np.ndarray]) -> np.ndarray:
    return outputs[0].reshape(-1)


def _mel(voice, frames: int, text: str) -> tuple[np.ndarray, int]:
    """The log-mel (frames, 80) of a text as the voice reads it, and how many of the frames are the text once."""
    spoken = voice.synthesize(text, 0).waveform
    log_mel = features.log_mel(audio.resample(spoken, voice.sample_rate, HIFIGAN.sample_rate))
    return np.ascontiguousarray(fixed(log_mel, frames)), len(log_mel)
