"""The published TorToiSe put together from tiny networks with random weights: shapes and loading, nothing of
its quality.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import tiny_tortoise
import torch
from tiny_tortoise import TINY

from lib.errors import AudioError, MissingDataError, TrainingError
from lib.systems.tortoise.diffusion import Sampling
from lib.systems.tortoise.published import PublishedTortoise, load
from lib.systems.tortoise.published_parts import Parts, latents, spoken


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as `load` wants it."""
    return tiny_tortoise.folder(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def parts(folder) -> Parts:
    return load(folder, TINY)


def clip(seconds: float = 1.0, rate: int = 22_050) -> tuple[np.ndarray, int]:
    return (0.3 * np.sin(2 * np.pi * 150 * np.arange(int(seconds * rate)) / rate)).astype(np.float32), rate


def test_the_pipeline_speaks_in_its_own_shapes(parts):
    voice = PublishedTortoise(
        parts,
        [clip(), clip(0.8, 16_000)],
        candidates=2,
        sampling=Sampling("ddpm", 2, 2.0, bound=1.0),
        codes_max=12,
        threads=1,
    )
    before = voice.fingerprint()
    first, second = (voice.speak("the cat.", seed=1) for _ in range(2))
    assert voice.fingerprint() == before  # what layers remember of a call is no part of it
    assert first.sample_rate == 24_000 and np.array_equal(first.waveform, second.waveform)
    frames, rest = divmod(len(first.waveform), 256)
    assert (
        rest == 0
        and frames in {codes * 4 * 24_000 // 22_050 for codes in range(1, 13)}
        and np.isfinite(first.waveform).all()
    )
    assert list(first.seconds) == ["tokens", "language_model", "decoder", "vocoder"]
    assert voice.modules.keys() == {"clvp", "decoder", "univnet"} and voice.variant == "published"
    assert first.notes == (
        ("did not stop by itself: the length guard cut it",) if frames == 12 * 4 * 24_000 // 22_050 else ()
    )


def test_latents_are_the_states_that_say_the_codes(parts):
    ids, features, codes = (
        torch.tensor([[5, 9, 12]]),
        torch.randn(1, 80, 20),
        torch.tensor([[7, 3000, 41, 9]]),
    )
    model = parts.clvp.speech_decoder_model
    with torch.inference_mode():
        found = latents(parts.clvp, ids, features, codes)
        assert found.shape == (1, 4, 32)
        # A state hears only what was said before its own code.
        other = latents(parts.clvp, ids, features, torch.tensor([[7, 3000, 8, 1]]))
        assert (
            torch.allclose(found[:, :3], other[:, :3], atol=1e-5)
            and (found[:, 3] - other[:, 3]).abs().max() > 1e-3
        )
        # The first one is what transformers itself generates the first code from.
        before = parts.clvp.conditioning_encoder(
            input_features=features, input_ids=torch.nn.functional.pad(ids, (0, 1))
        )
        first = model.generate(
            conditioning_embeds=before,
            max_new_tokens=1,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        )
        assert torch.allclose(model.lm_head(found[:, 0]), first.logits[0], atol=1e-4)


def test_speech_ends_where_silence_lasts():
    codes = [5] * 3 + [83] * 8 + [6] + [83] * 20
    assert spoken(torch.tensor(codes)) == 3 + 8 + 1 + 8 and spoken(torch.tensor(codes[:15])) == 15


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(MissingDataError) as error:
        load(tmp_path)
    for part in (
        "clvp/config.json (from susnato/clvp_dev)",
        "univnet/config.json (from dg845/univnet-dev)",
        "diffusion_decoder.pth (from Manmay/tortoise-tts/diffusion_decoder.pth)",
    ):
        assert part in str(error.value)
    (tmp_path / "univnet").mkdir()
    (tmp_path / "univnet" / "config.json").write_text("{}")
    with pytest.raises(MissingDataError, match="lacks: clvp/config.json .*, diffusion_decoder.pth") as error:
        load(tmp_path)
    assert "univnet/config.json" not in str(error.value)


def test_without_the_hub_the_error_says_what_to_fetch(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        MissingDataError,
        match="cannot be had from the hub .*Manmay/tortoise-tts/diffusion_decoder.pth; connect",
    ):
        load()


def test_weights_of_another_size_are_refused(folder):
    with pytest.raises(TrainingError, match="diffusion_decoder.pth is not the decoder of this configuration"):
        load(folder)
    assert load(folder, None).decoder.config == TINY  # whatever they are of


def test_a_voice_needs_clips(parts):
    with pytest.raises(AudioError, match="in the voice of clips"):
        PublishedTortoise(parts, [])
    with pytest.raises(AudioError, match="clip 0"):
        PublishedTortoise(parts, [(np.full(22_050, math.nan, np.float32), 22_050)])
