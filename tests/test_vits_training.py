"""VITS learns: exact alignments, divergences with a known answer, and a voice that Piper reads."""

import itertools
import shutil

import numpy as np
import pytest
import torch

from lib import REPOSITORY, systems
from lib.corpora import gutenberg, synthetic
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.systems.vits_joe import piper, trainable
from lib.training import alignment_search, checkpoint, journal, recipe, tasks
from lib.training.loop import train
from lib.training.tasks import vits, vits_data, vits_losses
from lib.training.tasks.vocoder_targets import true_latents

SENTENCE = "The birch canoe slid on the smooth planks."


# --- the alignment


@pytest.mark.parametrize("n_symbols, n_frames", [(1, 1), (1, 4), (3, 3), (3, 7), (5, 8)])
def test_no_monotonic_alignment_is_more_likely(n_symbols, n_frames):
    for seed in range(5):
        table = np.random.default_rng(seed).standard_normal((n_symbols, n_frames))
        frames = alignment_search.frames_of(table)
        assert frames.sum() == n_frames and frames.min() >= 1
        cuts = itertools.combinations(range(1, n_frames), n_symbols - 1)
        paths = [np.diff([0, *cut, n_frames]) for cut in cuts]
        scores = [_score(table, path) for path in paths]
        assert _score(table, frames) == pytest.approx(max(scores)) and len(paths) >= 1


def _score(table, frames):
    return table[np.repeat(np.arange(len(table)), frames), np.arange(table.shape[1])].sum()


def test_an_alignment_that_cannot_be_is_an_error():
    with pytest.raises(TrainingError, match="2 frames cannot be shared among 3 symbols"):
        alignment_search.frames_of(np.zeros((3, 2)))
    with pytest.raises(TrainingError, match="not finite: the networks have diverged"):
        alignment_search.frames_of(np.array([[0.0, np.nan]]))


# --- the losses


def test_likelihoods_are_those_of_gaussians_and_lengths_spread_them():
    rng = torch.Generator().manual_seed(0)
    latents, means, log_scales = (torch.randn(2, 6, n, generator=rng) for n in (9, 4, 4))
    table = vits_losses.likelihood(latents, means, 0.3 * log_scales)
    gaussians = torch.distributions.Normal(means[..., None], (0.3 * log_scales).exp()[..., None])
    assert torch.allclose(table, gaussians.log_prob(latents[:, :, None]).sum(1), atol=1e-4)
    frames = vits_losses.aligned(latents, means, log_scales, torch.tensor([4, 3]), torch.tensor([9, 7]))
    assert frames.sum(1).tolist() == [9, 7] and frames[1, 3] == 0
    wide = vits_losses.spread(means, frames, 9)
    assert torch.equal(wide[0], torch.repeat_interleave(means[0], frames[0], dim=1))
    assert (
        torch.equal(wide[1, :, :7], torch.repeat_interleave(means[1], frames[1], dim=1))
        and not wide[1, :, 7:].any()
    )


def test_the_divergence_is_that_of_gaussians():
    torch.manual_seed(0)
    heard, read = torch.distributions.Normal(0.4, 0.5), torch.distributions.Normal(-0.2, 1.5)
    shape = (4, 3, 20_000)
    mask = torch.ones(4, 1, 20_000)
    mask[:, :, 15_000:] = 0
    scales = [torch.full(shape, float(np.log(s))) for s in (0.5, 1.5)]
    made = vits_losses.divergence(heard.sample(shape), scales[0], torch.full(shape, -0.2), scales[1], mask)
    exact = 3 * torch.distributions.kl_divergence(heard, read).item()  # of three latents a frame
    assert made.item() == pytest.approx(exact, rel=0.01)


def test_scales_settle_where_a_gaussian_has_them():
    rng = torch.Generator().manual_seed(0)
    latents = 3.0 + 0.5 * torch.randn(1, 2, 50_000, generator=rng)
    mask, means = torch.ones(1, 1, 50_000), torch.full_like(latents, 3.0)
    far = {
        s: vits_losses.regression(latents, means, torch.full_like(latents, np.log(s)), mask)[1]
        for s in (0.4, 0.5, 0.6)
    }
    assert far[0.5] < far[0.4] and far[0.5] < far[0.6]


# --- the voice


def test_a_saved_voice_is_what_it_was_and_a_changed_one_speaks_otherwise(tmp_path):
    weights = piper.state_dict()
    piper.save(tmp_path / "same", weights, "")
    again = piper.state_dict(piper.model_path(tmp_path / "same"))
    assert weights.keys() == again.keys()
    assert all(np.allclose(weights[name], again[name], rtol=1e-6, atol=0) for name in weights)
    said = {}
    changed = {**weights, "decoder.conv_pre.bias": weights["decoder.conv_pre.bias"] + 0.05}
    piper.save(tmp_path / "changed", changed, "")
    for folder in ("same", "changed"):
        for target in ("onnxruntime/cpu", "torch/cpu"):
            voice = systems.load("vits-joe", target=target, threads=1, checkpoint=tmp_path / folder)
            said[folder, target] = voice.synthesize(SENTENCE, 1).waveform
    published = systems.load("vits-joe", target="onnxruntime/cpu", threads=1).synthesize(SENTENCE, 1).waveform
    assert np.abs(said["same", "onnxruntime/cpu"] - published).max() < 1e-4
    one, other = said["changed", "onnxruntime/cpu"], said["changed", "torch/cpu"]
    assert np.abs(one - other).max() < 1e-4 and np.abs(one - published[: len(one)]).max() > 1e-3


def test_weights_that_are_no_piper_voice_are_named(tmp_path):
    weights = piper.state_dict()
    with pytest.raises(ParameterError, match="has no decoder.more; 1 weights"):
        piper.save(tmp_path, {**weights, "decoder.more": np.zeros(1)}, "")
    with pytest.raises(ParameterError, match="needs decoder.conv_pre.bias"):
        piper.save(tmp_path, {k: v for k, v in weights.items() if k != "decoder.conv_pre.bias"}, "")
    with pytest.raises(
        ParameterError, match=r"decoder.conv_pre.bias is \(3,\), in a Piper voice it is \(256,\)"
    ):
        piper.save(tmp_path, {**weights, "decoder.conv_pre.bias": np.zeros(3)}, "")
    assert not list(tmp_path.iterdir())
    with pytest.raises(MissingDataError, match="holds no Piper voice: voice.onnx is missing"):
        systems.load("vits-joe", checkpoint=tmp_path)


# --- learning


@pytest.fixture(scope="module")
def speech():
    """Three sentences of the published voice: two to learn from, one to judge on."""
    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    shortest = sorted(gutenberg.split("train", 40), key=lambda s: len(s.text))[:2]
    chosen = (*shortest, *gutenberg.split("validation", 1))
    return synthetic.corpus(voice, chosen)


def config(**changes):
    return vits.VitsConfig(
        **{"start_from": "vits-joe", "segment_frames": 16, "period_width": 0.0625, "scale_width": 0.125}
        | {"periods": (2, 3)}
        | changes
    )


def test_the_true_latents_are_aligned_as_the_voice_spoke_them(speech):
    """The lengths of the padded ids are not stored; those of the symbols, each with the padding before it, are."""
    (utterance, *_) = speech.split("train")
    task = vits.VitsTask(speech, config(learn="lacking"))
    example = next(e for e in task.examples if e.id == utterance.id)
    given = vits_data.collate([(example, 0)]).tensors
    networks = {name: network.eval() for name, network in task.plain.items()}
    with torch.inference_mode():
        mask = vits_data.mask(given["n_frames"], given["latents"].shape[2])
        carried = networks["flow"](given["latents"], mask, None)
        prior = task._read(given, networks)
        frames = vits_losses.aligned(carried, prior.means, prior.log_scales, given["n_ids"], given["n_frames"])
    ours = np.cumsum(piper.frames_per_symbol(frames[0].numpy()))
    true = np.cumsum(utterance.frames)
    assert ours[-1] == true[-1] and np.abs(ours - true).mean() < 1.0  # frames of 11.6 ms


def test_what_the_voice_lacks_is_learnt_and_the_voice_stays(speech, tmp_path):
    task = vits.VitsTask(speech, config(learn="lacking", learning_rate=1e-3))
    before = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in task.plain.items()}
    batch = task.collate([task.item(i, np.random.default_rng(0)) for i in range(len(task.examples))])
    first = next(task.updates(batch, 0)).scalars["latents"].item()
    train(
        task,
        recipe.Recipe("vits", recipe.Settings(12, batch_size=2, validate_every=0, clip_norm=10.0)),
        tmp_path,
    )
    last = next(task.updates(batch, 12)).scalars["latents"].item()
    assert np.isfinite([first, last]).all() and last < 0.95 * first
    for name, state in before.items():
        for key, value in state.items():
            same = torch.equal(value, task.plain[name].state_dict()[key])
            assert same or trainable.lacking(f"{name}.{key}"), f"{name}.{key} of the published voice moved"
    moved = [
        n
        for n, m in task.plain.items()
        if any(not torch.equal(v, before[n][k]) for k, v in m.state_dict().items())
    ]
    assert set(moved) == {trainable.POSTERIOR, "duration_predictor"}


@pytest.mark.slow
def test_the_losses_of_a_whole_voice_fall_over_a_hundred_steps(speech, tmp_path):
    """All of it learns, with discriminators, from a posterior that hears nothing yet: two minutes on one core."""
    settings = recipe.Settings(120, batch_size=2, validate_every=0, clip_norm=10.0, log_every=20)
    train(vits.VitsTask(speech, config()), recipe.Recipe("vits", settings), tmp_path)
    records = journal.curve(tmp_path)
    losses = {name: [r[name] for r in records] for name in ("mel", "divergence", "durations", "adversarial")}
    assert len(records) == 6 and np.isfinite(list(losses.values())).all()
    assert losses["mel"][-1] < 0.8 * losses["mel"][0]
    assert losses["divergence"][-1] < 0.1 * losses["divergence"][0]
    assert losses["durations"][-1] < 0.9 * losses["durations"][0]


def test_a_whole_voice_learns_is_exported_and_goes_on(speech, tmp_path, monkeypatch):
    made = recipe.load(REPOSITORY / "params" / "smoke" / "recipes" / "vits.yaml")
    monkeypatch.setattr(vits.VitsTask, "corpus", classmethod(lambda cls, recipe: speech))
    task = tasks.build(made)
    outcome = train(task, made, tmp_path / "run")
    assert outcome.step == 2 and np.isfinite(list(outcome.losses.values())).all()
    assert {"mel_l1", "divergence", "durations"} == set(outcome.validation)
    assert {"mel", "adversarial", "features", "divergence", "durations"} < set(outcome.losses)
    reached = checkpoint.latest(tmp_path / "run" / "checkpoints")
    folder = tasks.export(made, reached, tmp_path / "voice", "a card")
    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=1, checkpoint=folder)
    assert voice.synthesize("Oh, yes.", 1).audio_s > 0.3
    again = vits.VitsTask(speech, config(start_from=str(tmp_path / "run")))
    weights = checkpoint.load(reached).weights
    assert all(torch.equal(v, weights["flow"][k]) for k, v in again.plain["flow"].state_dict().items())
    with pytest.raises(TrainingError, match="other sizes than the recipe's"):
        vits.VitsTask(speech, config(start_from=str(tmp_path / "run"), periods=(2, 3, 5)))
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(TrainingError, match="holds no run of VITS"):
        vits.VitsTask(speech, config(start_from=str(tmp_path / "run")))


def test_the_gradient_reaches_every_network_and_frozen_ones_stay(speech):
    task = vits.VitsTask(speech, config(frozen=("text_encoder",)))
    batch = task.collate([task.item(i, np.random.default_rng(i)) for i in range(2)])
    judges, voice = task.updates(batch, 0)
    voice.loss.backward()
    assert judges.optimizers == ("discriminators",) and "text_encoder" not in voice.optimizers
    for name in voice.optimizers:
        silent = [k for k, p in task.plain[name].named_parameters() if p.grad is None]
        assert not silent, f"{name}: {silent[:3]}"
    assert all(p.grad is None for p in task.plain["text_encoder"].parameters())


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"learn": "all"}, "it is voice or lacking"),
        ({"learn": "lacking", "start_from": ""}, "set start_from: vits-joe"),
        ({"frozen": ("vocoder",)}, "the networks are"),
        ({"frozen": (*trainable.SPOKEN, trainable.POSTERIOR)}, "nothing is left"),
        ({"segment_frames": 8}, "at least 16"),
    ],
)
def test_a_recipe_that_cannot_be_is_named(changes, said):
    with pytest.raises(ParameterError, match=said):
        config(**changes)


def test_clips_that_are_too_short_are_left_out_and_said(speech, caplog):
    caplog.set_level("INFO")
    longest = max(u.frames and sum(u.frames) for u in speech.split("train"))
    kept = vits_data.examples(speech, "train", longest)
    assert len(kept) == 1 and "left out: 1 too short" in caplog.text
    with pytest.raises(MissingDataError, match="holds no clip to learn from .2 too short"):
        vits_data.examples(speech, "train", 10_000)
    known = true_latents(speech.split("train"))
    known.pop(next(iter(known)))
    assert len(vits_data.examples(speech, "train", 16, known)) == 1
