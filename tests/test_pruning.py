"""Pruned is what is said to be pruned: so many zeros, such sizes, the most important part intact; and a smaller network
says what the whole one says without the units that were taken out.
"""

import functools

import numpy as np
import pytest
import torch
from fresh_process import ask
from torch import nn

from lib import optimize, systems
from lib.errors import MissingDataError, ParameterError
from lib.optimize import prune_channels, selection, units
from lib.optimize.prune import compressed_mb
from lib.optimize.sparse import CsrLinear
from lib.systems.base import Speech, System

SENTENCE = "The birch canoe slid on the smooth planks."
load = functools.cache(functools.partial(systems.load, target="torch/cpu", threads=1))


class Block(nn.Module):
    """Feed-forward, in the names of istft's."""

    def __init__(self, width=8, hidden=32):
        super().__init__()
        self.expand, self.project = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, frames):
        return self.project(torch.relu(self.expand(frames)))


class Small(System):
    """A voice of the given networks, which says what the first makes of noise."""

    name, target, threads, sample_rate = "small", "torch/cpu", 1, 22_050

    def __init__(self, **modules):
        self.modules = {stage: module.eval() for stage, module in modules.items()}

    @torch.inference_mode()
    def speak(self, sentence, seed):
        noise = np.random.default_rng(seed).standard_normal((1, 5, 8), np.float32)
        said = next(iter(self.modules.values()))(torch.from_numpy(noise))
        return Speech(said.flatten().numpy(), self.sample_rate)


def small(**modules):
    torch.manual_seed(0)
    modules = modules or {"net": nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 8)), "other": nn.Conv1d(2, 6, 3)}
    return Small(**modules)


def weights(system):
    return {name: selection.layer(system, name).weight.detach() for name in selection.weighted(system)}


def decoder(channels=16, bands=6, kernels=(3,)):
    from transformers import VitsConfig
    from transformers.models.vits.modeling_vits import VitsHifiGan

    torch.manual_seed(0)
    config = VitsConfig(
        flow_size=bands,
        upsample_rates=[8, 8, 4],
        upsample_kernel_sizes=[16, 16, 8],
        upsample_initial_channel=channels,
        resblock_kernel_sizes=list(kernels),
        resblock_dilation_sizes=[[1, 2]] * len(kernels),
    )
    return VitsHifiGan(config).eval()


def zeroed(system, kept):
    """The whole system whose other units of each group are zero. kept: group name -> units that stay."""
    known = units.groups(system)

    def change(copy):
        with torch.no_grad():
            for name, stay in kept.items():
                group = known[name]
                gone = [unit for unit in range(group.n) if unit not in stay]
                for place in group.places:
                    tensor = getattr(selection.layer(copy, place.layer), place.tensor)
                    moved = tensor.movedim(place.dim, 0)
                    shape = moved.shape
                    moved = moved.reshape(place.blocks, group.n, -1).clone()
                    moved[:, gone] = 0
                    tensor.copy_(moved.reshape(shape).movedim(0, place.dim))

    return system.derive("zeroed", change)


def kept_units(system, share, multiple=1, **selected):
    chosen, _ = prune_channels.chosen_groups(system, **selected)
    scores = prune_channels._scores(system, chosen, "l2", (), 0)
    return {group.name: prune_channels.keep(scores[group.name], share, group, multiple) for group in chosen}


def test_exactly_the_smallest_half_of_each_layer_becomes_zero():
    base = small()
    before = weights(base)
    made = optimize.make(base, "pruned", share=0.5)
    assert made.variant == "pruned-50"
    for name, after in weights(made).items():
        gone = after == 0
        assert gone.sum() == before[name].numel() // 2
        assert torch.equal(after[~gone], before[name][~gone])
        assert before[name][gone].abs().max() <= after[~gone].abs().min()
    changed = made.made["changed"]
    assert changed["zeros"] == 50 and changed["weights"] == 100 and changed["layers"] == 3
    assert changed["parameters_before"] == changed["parameters_after"]


def test_ranked_together_the_layer_of_small_weights_loses_more():
    base = small()
    with torch.no_grad():
        base.modules["other"].weight.mul_(1e-6)
    made = optimize.make(base, "pruned", share=0.3, scope="all")
    zeros = {name: int((weight == 0).sum()) for name, weight in weights(made).items()}
    assert sum(zeros.values()) == 30 and zeros["other/"] == 30
    chosen = optimize.make(base, "pruned", share=0.3, types=["Linear"], variant="linear")
    assert int((weights(chosen)["other/"] == 0).sum()) == 0 and chosen.variant == "linear"


def test_the_control_is_seeded_and_leaves_the_random_state_alone():
    base = small()
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    one, same, other = (
        optimize.make(base, "pruned", share=0.5, importance="random", seed=seed) for seed in (1, 1, 2)
    )
    assert one.weights_key() == same.weights_key() != other.weights_key()
    assert one.made["changed"]["zeros"] == 50 and one.variant == "pruned-50-random"
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.weights_key() != optimize.make(base, "pruned", share=0.5).weights_key()


def test_csr_multiplies_the_same_with_the_nonzero_weights_alone():
    base = small()
    dense = optimize.make(base, "pruned", share=0.75, types=["Linear"])
    sparse = optimize.make(base, "pruned", share=0.75, types=["Linear"], storage="csr")
    rows = torch.randn(2, 3, 8)
    assert torch.allclose(dense.modules["net"](rows), sparse.modules["net"](rows), atol=1e-6)
    assert isinstance(sparse.modules["net"][0], CsrLinear) and sparse.modules["net"][0].values.numel() == 8
    assert sparse.made["changed"]["parameters_after"] == sparse.made["changed"]["parameters_before"] - 48
    vector = torch.randn(1, 8)
    assert torch.allclose(dense.modules["net"](vector), sparse.modules["net"](vector), atol=1e-6)


@pytest.mark.parametrize("technique", ["pruned", "structured"])
@pytest.mark.parametrize("share", [0, 0.05, 0.95, 1.5, True, "0.5", float("nan")])
def test_a_share_out_of_range_is_refused(technique, share):
    with pytest.raises(ParameterError, match="give what is to be removed as 0.1 to 0.9"):
        optimize.make(small(), technique, share=share)


def test_what_pruning_is_wrongly_told_is_named():
    with pytest.raises(ParameterError, match="unknown importance 'l3'"):
        optimize.make(small(), "pruned", share=0.5, importance="l3")
    with pytest.raises(ParameterError, match="unknown scope 'global'"):
        optimize.make(small(), "pruned", share=0.5, scope="global")
    with pytest.raises(ParameterError, match="unknown storage 'coo'"):
        optimize.make(small(), "pruned", share=0.5, storage="coo")
    with pytest.raises(ParameterError, match="csr is a storage of Linear layers, and none is selected"):
        optimize.make(small(), "pruned", share=0.5, storage="csr", stages=["other"])
    with pytest.raises(ParameterError, match="unknown network of small"):
        optimize.make(small(), "pruned", share=0.5, stages=["decoder"])
    half = optimize.make(small(), "pruned", share=0.5)
    with pytest.raises(
        ParameterError, match="no weight of small became zero: of 100 selected ones 50 were zero"
    ):
        optimize.make(half, "pruned", share=0.3)
    with pytest.raises(ParameterError, match="nothing is selected in small"):
        optimize.make(small(), "structured", share=0.5)
    block = small(trunk=nn.Sequential(Block()))
    with pytest.raises(ParameterError, match="nothing is removed from small: 0.1 of 32 units"):
        optimize.make(block, "structured", share=0.1)
    with pytest.raises(ParameterError, match="unknown importance 'L2'"):
        optimize.make(block, "structured", share=0.5, importance="L2")
    with pytest.raises(ParameterError, match="multiple is 0"):
        optimize.make(block, "structured", share=0.5, multiple=0)
    with pytest.raises(ParameterError, match="read for the importance taylor alone"):
        optimize.make(block, "structured", share=0.5, sentences=[SENTENCE])
    with pytest.raises(ParameterError, match="needs data"):
        optimize.make(block, "structured", share=0.5, importance="taylor")


def test_zeros_compress_and_other_numbers_hardly(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(100_000, np.float32)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "noise").write_bytes(noise.tobytes())
    whole = compressed_mb(tmp_path / "a")
    assert 0.35 < whole < 0.4 and compressed_mb(tmp_path / "a" / "noise") == whole
    noise[rng.random(100_000) < 0.9] = 0
    (tmp_path / "sparse").write_bytes(noise.tobytes())
    assert compressed_mb(tmp_path / "sparse") < 0.25 * whole
    assert compressed_mb(tmp_path / "a", tmp_path / "sparse") > whole
    with pytest.raises(MissingDataError, match="is not there"):
        compressed_mb(tmp_path / "b")


def test_a_decoder_of_half_the_channels_has_those_sizes_and_the_largest_stay():
    base = small(decoder=decoder())
    known = units.groups(base)
    assert {name: group.n for name, group in known.items() if "resblocks" not in name} == {
        "decoder/conv_pre": 16,
        "decoder/upsampler.0": 8,
        "decoder/upsampler.1": 4,
        "decoder/upsampler.2": 2,
    }
    made = optimize.make(base, "structured", share=0.5, multiple=1)
    net = made.modules["decoder"]
    assert made.variant == "structured-50"
    assert net.conv_pre.weight.shape == (8, 6, 7) and net.conv_pre.out_channels == 8
    assert [tuple(up.weight.shape[:2]) for up in net.upsampler] == [(8, 4), (4, 2), (2, 1)]
    assert [(up.in_channels, up.out_channels) for up in net.upsampler] == [(8, 4), (4, 2), (2, 1)]
    assert net.conv_post.weight.shape == (1, 1, 7)
    assert net(torch.randn(1, 6, 9)).shape == (1, 1, 9 * 256)
    changed = made.made["changed"]
    assert changed["groups"]["decoder/conv_pre"] == [16, 8] and changed["groups_of"] == len(known)
    assert (
        changed["parameters_after"] == sum(p.numel() for p in net.parameters()) < changed["parameters_before"]
    )
    assert all(p.requires_grad for p in base.modules["decoder"].parameters())  # tracing leaves no mark
    conv = (
        base.modules["decoder"].conv_pre.weight.detach(),
        base.modules["decoder"].upsampler[0].weight.detach(),
    )
    size = conv[0].square().sum((1, 2)) + conv[1].square().sum((1, 2))
    assert kept_units(base, 0.5)["decoder/conv_pre"] == sorted(size.argsort(descending=True)[:8].tolist())


def test_a_smaller_decoder_says_what_the_whole_one_says_without_those_channels():
    base = small(decoder=decoder())
    kept = kept_units(base, 0.5)
    whole, cut = zeroed(base, kept), optimize.make(base, "structured", share=0.5, multiple=1)
    latents = torch.randn(2, 6, 9)
    with torch.inference_mode():
        ours, theirs, untouched = (s.modules["decoder"](latents) for s in (cut, whole, base))
    assert torch.allclose(ours, theirs, atol=1e-6) and not torch.allclose(ours, untouched, atol=1e-3)


@pytest.mark.parametrize("name", ["istft", "hifigan", "fastspeech2", "speecht5", "tacotron2", "vits-joe"])
def test_a_smaller_system_says_what_the_whole_one_says_without_those_units(name):
    base = load(name)
    kept = kept_units(base, 0.3, 8)
    cut = optimize.make(base, "structured", share=0.3)
    mel = np.random.default_rng(0).standard_normal((40, 80)).astype(np.float32) - 5

    def says(system):
        vocoder = system.kind == "vocoder"
        return system.vocode(mel, 0) if vocoder else system.synthesize(SENTENCE, 1).waveform

    ours, theirs = says(cut), says(zeroed(base, kept))
    assert ours.shape == theirs.shape and np.abs(ours - theirs).max() < 2e-3 * np.abs(theirs).max()


def test_the_heads_that_follow_the_text_stay():
    base = load("speecht5")
    made = optimize.make(base, "structured", share=0.9, types=["heads"])
    for group, (n, left) in made.made["changed"]["groups"].items():
        assert (n, left) == (4, 2 if group.endswith("encoder_attn") else 1)
    kept = kept_units(base, 0.5, types=["heads"])
    assert all(stay == [0, 1] for group, stay in kept.items() if group.endswith("encoder_attn"))


def test_norms_lose_as_many_channels_in_each_of_their_groups():
    base = load("tortoise")
    made = optimize.make(base, "structured", share=0.5, types=["units"], stages=["decoder"])
    blocks = {name: group for name, group in units.groups(base).items() if group.strata > 1}
    assert blocks
    for name, group in blocks.items():
        left = made.made["changed"]["groups"][name][1]
        assert left % group.strata == 0 and group.n / 3 < left <= group.n / 2
    assert made.synthesize(SENTENCE, 1).waveform.any()


@pytest.mark.parametrize(
    ("n", "share", "multiple", "options", "left"),
    [
        (32, 0.5, 8, {}, 16),
        (32, 0.7, 8, {}, 8),
        (32, 0.9, 8, {}, 8),
        (10, 0.5, 1, {}, 5),
        (4, 0.9, 8, {}, 4),
        (4, 0.9, 8, {"kind": "heads"}, 1),
        (4, 0.9, 8, {"kind": "heads", "first": 2}, 2),
        (12, 0.5, 8, {"strata": 3}, 6),
    ],
)
def test_how_many_stay(n, share, multiple, options, left):
    group = units.Group("x", options.pop("kind", "units"), n, (), **options)
    scores = torch.arange(n, dtype=torch.float32)
    kept = prune_channels.keep(scores, share, group, multiple)
    assert len(kept) == left and kept == sorted(set(kept))
    if not options:
        assert kept == list(range(n - left, n))
    if group.strata == 3:
        assert kept == [2, 3, 6, 7, 10, 11]


def test_taylor_removes_what_is_large_and_does_nothing():
    base = small(trunk=nn.Sequential(Block()))
    block = base.modules["trunk"][0]
    with torch.no_grad():
        block.expand.weight[:4] *= 50
        block.project.weight[:, :4] *= 50
        block.expand.bias[:4] = -1e5  # never heard behind the ReLU
        block.expand.weight[4:8] *= 20
    untouched = base.synthesize(SENTENCE, 1).waveform
    by_size = optimize.make(base, "structured", share=0.8, multiple=1)
    by_loss = optimize.make(
        base, "structured", share=0.8, multiple=1, importance="taylor", sentences=[SENTENCE], variant="taylor"
    )
    assert by_size.made["changed"]["groups"] == by_loss.made["changed"]["groups"] == {"trunk/0.expand": [32, 6]}
    assert by_size.modules["trunk"][0].expand.bias.min() == -1e5
    assert by_loss.modules["trunk"][0].expand.bias.min() > -1
    worse, better = (np.abs(v.synthesize(SENTENCE, 1).waveform - untouched).max() for v in (by_size, by_loss))
    assert better < worse
    assert not any(p.grad is not None for p in base.modules["trunk"].parameters())


@pytest.mark.parametrize(
    ("name", "stage", "why"),
    [
        ("speecht5", "acoustic_model", "does not run its network acoustic_model as a whole"),
        ("whisper-tiny.en", "decoder", "a EncoderDecoderCache, which changes from call to call"),
    ],
)
def test_taylor_needs_a_network_that_runs_as_a_whole(name, stage, why):
    with pytest.raises(ParameterError, match=why):
        optimize.make(
            load(name), "structured", share=0.5, importance="taylor", sentences=[SENTENCE], stages=[stage]
        )


@pytest.mark.parametrize(
    ("name", "technique", "arguments"),
    [
        ("speecht5", "structured", {"share": 0.3}),
        ("fastspeech2", "pruned", {"share": 0.9, "storage": "csr", "types": ["Linear"]}),
    ],
)
def test_a_pruned_voice_speaks_the_same_in_another_process(name, technique, arguments, tmp_path):
    made = optimize.make(load(name), technique, **arguments)
    optimize.save(made, tmp_path / "variant")
    said = made.synthesize(SENTENCE, 1).waveform
    answer = ask({"folder": tmp_path / "variant", "threads": 1}, SENTENCE)
    assert (answer.variant, answer.fingerprint) == (made.variant, made.fingerprint())
    assert np.array_equal(answer.samples, said)
    assert made.size_mb < load(name).size_mb


def test_dense_zeros_take_the_same_bytes_until_they_are_compressed(tmp_path):
    base = load("fastspeech2")
    made = optimize.make(base, "pruned", share=0.7)
    optimize.save(made, tmp_path / "variant")
    assert made.size_mb == pytest.approx(base.size_mb, rel=0.01)
    assert made.made["changed"]["bytes_after"] == made.made["changed"]["bytes_before"]
    assert compressed_mb(*made.files) < 0.6 * compressed_mb(*base.files)


def test_a_saved_pruned_voice_can_be_quantized_and_loaded(tmp_path):
    small_one = optimize.make(load("fastspeech2"), "structured", share=0.5, stages=["acoustic_model"])
    optimize.save(small_one, tmp_path / "structured")
    both = optimize.make(
        optimize.load(tmp_path / "structured", threads=1),
        "int8-dynamic",
        variant="structured-50+int8-dynamic",
        stages=["acoustic_model"],
    )
    optimize.save(both, tmp_path / "both")
    again = optimize.load(tmp_path / "both", threads=1)
    assert again.fingerprint() == both.fingerprint() and both.size_mb < small_one.size_mb
    assert np.array_equal(*(v.synthesize(SENTENCE, 1).waveform for v in (both, again)))


def test_the_recogniser_hears_with_fewer_units_and_without_heads():
    base = load("whisper-tiny.en")
    made = optimize.make(base, "structured", share=0.1, types=["units"])
    spoken = load("vits-joe").synthesize(SENTENCE, 1)
    assert "smooth" in made.transcribe(spoken.waveform, spoken.sample_rate).text
    assert made.params_m < base.params_m
    heads = optimize.make(base, "structured", share=0.3, types=["heads"])
    features = base.features(spoken.waveform, spoken.sample_rate)
    whole = zeroed(base, kept_units(base, 0.3, types=["heads"]))
    with torch.inference_mode():
        ours, theirs = (s.modules["encoder"](features).last_hidden_state for s in (heads, whole))
    assert torch.allclose(ours, theirs, atol=1e-3)
    assert [layer.self_attn.num_heads for layer in heads.modules["decoder"].layers] == [4, 4, 4, 4]
