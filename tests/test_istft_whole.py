"""The `istft` that sees the whole mel: what its frames depend on, that it goes on from the one that streams, and that
it says the same on both runtimes.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from test_istft import SMALL, settings, speech, vowel  # noqa: F401

from lib.errors import ParameterError, TrainingError
from lib.features import HIFIGAN, log_mel
from lib.systems import istft
from lib.systems.istft import whole
from lib.systems.istft.onnx_vocoder import IstftOnnx, IstftWholeOnnx
from lib.training import checkpoint, recipe, tasks
from lib.training.loop import train
from lib.training.tasks.istft_whole import Learning, WholeTask, recentred

SIZES = istft.IstftConfig(width=24, blocks=2, kernel=5, expansion=2, pitch_width=16, pitch_blocks=1)
WHOLE = Learning(**dataclasses.asdict(SMALL))


def varied(networks: dict[str, torch.nn.Module]) -> dict[str, torch.nn.Module]:
    """Networks whose every part is heard."""
    torch.manual_seed(1)
    for parameter in (p for n in networks.values() for p in n.parameters()):
        torch.nn.init.normal_(parameter, std=0.3)
    return networks


@torch.inference_mode()
def test_a_frame_sees_as_much_ahead_as_behind():
    reader = varied(whole.build(SIZES))["pitch"]
    mel = torch.randn(1, 41, HIFIGAN.n_bands)
    moved = mel.clone()
    moved[:, 20] += 1
    changed = (reader(moved) - reader(mel)).abs().amax(-1)[0] > 1e-6
    assert changed.nonzero()[:, 0].tolist() == list(range(16, 25))  # two convolutions of two frames to each side
    with pytest.raises(ParameterError, match="give it the whole mel, or take one that streams"):
        reader(mel, {})


@pytest.mark.parametrize("kernel", [4, 5, 7])
@torch.inference_mode()
def test_taps_that_reach_no_further_than_both_know_say_the_same_when_they_are_moved(kernel):
    sizes = dataclasses.replace(SIZES, kernel=kernel)
    streaming = varied(istft.build(sizes))["pitch"]
    convolutions = [streaming.input, *(block.depthwise for block in streaming.blocks)]
    for convolution in convolutions:
        convolution.weight[..., : (kernel - 1) // 2] = 0  # the further half of the past
    centred = whole.build(sizes)["pitch"]
    centred.load_state_dict(streaming.state_dict())
    recentred(centred)
    mel = torch.randn(2, 30, HIFIGAN.n_bands)
    assert torch.allclose(centred(mel), streaming(mel), atol=1e-5)


def test_it_says_the_same_on_both_runtimes(tmp_path):
    networks = whole.build(SIZES, seed=1)
    torch.nn.init.normal_(networks["trunk"].output.weight, std=0.05)
    weights = {name: one.state_dict() for name, one in networks.items()}
    folder = whole.PARTS.save(tmp_path / "vocoder", SIZES, weights, "# card")
    ours, theirs = IstftWholeOnnx(folder, threads=1), istft.IstftWhole(folder, threads=1)
    mel = log_mel(vowel(120.0))
    for length in (1, 3, len(mel)):
        wanted, found = theirs.vocode(mel[:length]), ours.vocode(mel[:length])
        assert found.shape == (length * 256,) and np.abs(wanted).max() > 1e-3
        assert np.abs(wanted - found).max() < 1e-3 * np.abs(wanted).max()
    assert not hasattr(ours, "stream") and not hasattr(theirs, "stream")
    for one in (istft.Istft, IstftOnnx):
        with pytest.raises(TrainingError, match="holds an istft-whole, not an istft"):
            one(folder)


def test_it_learns_on_from_the_one_that_streams_and_from_itself(speech, tmp_path):  # noqa: F811
    train(tasks.find("istft")(speech, SMALL), settings(), tmp_path / "streaming")
    exported = tasks.export(settings(), checkpoint.newest(tmp_path / "streaming"), tmp_path / "vocoder", "# card")
    plan = recipe.Recipe("istft-whole", settings().training, model=dataclasses.asdict(WHOLE))
    for start in (tmp_path / "streaming", exported):
        task = WholeTask(speech, dataclasses.replace(WHOLE, start_from=str(start)))
        kernel = task.modules["trunk"].input.weight
        assert kernel[..., -3:].abs().max() == 0 and kernel[..., :4].abs().min() > 0
    trained = train(task, plan, tmp_path / "whole")
    assert all(torch.isfinite(v).all() for v in checkpoint.load(trained.checkpoint).weights["trunk"].values())
    folder = tasks.export(plan, trained.checkpoint, tmp_path / "finished", "# card")
    again = WholeTask(speech, dataclasses.replace(WHOLE, start_from=str(folder))).modules["trunk"]
    learnt = task.plain["trunk"].state_dict()["input.weight"]
    assert torch.allclose(again.input.weight, learnt, atol=1e-3)  # as it was: it is not centred twice
    assert again.input.weight[..., -3:].abs().max() > 0
    said = istft.IstftWhole(folder, threads=1).vocode(log_mel(vowel(120.0)))
    assert np.isfinite(said).all() and np.abs(said).max() > 0


def test_its_pieces_hold_what_it_looks_at(speech):  # noqa: F811
    task = WholeTask(speech, WHOLE)
    piece = task.item(0, np.random.default_rng(0))
    assert len(piece.mel) == WHOLE.past_frames + WHOLE.segment_frames + 2 + WHOLE.past_frames + 4
    assert task.modules["pitch"].future == task.modules["pitch"].past == 3
