"""Adapters on networks: what learns, what stays bit for bit, what is merged, saved and refused."""

from __future__ import annotations

import copy
import functools
import logging

import pytest
import torch
from acoustic_checks import FASTSPEECH2, as_after_training
from torch import nn

from lib.errors import MissingDataError, MissingPackageError, ParameterError, TrainingError
from lib.optimize import adapter_layers, lora
from lib.systems import fastspeech2

IDS, SPEAKERS = torch.arange(5, 17).view(2, 6), torch.tensor([0, 1])
METHODS = ("lora", "dora", "ia3", "qlora")


@functools.cache
def base() -> nn.Module:
    config = fastspeech2.NetworkConfig(**FASTSPEECH2 | {"hidden": 64, "feed_forward": 64})
    return as_after_training(fastspeech2.build(config, 2)).eval()


def said(network: nn.Module) -> torch.Tensor:
    """What a network answers under teacher forcing, (2, F, n_bands)."""
    frames, zeros = torch.full_like(IDS, 2), torch.zeros(IDS.shape)
    with torch.no_grad():
        return network(IDS, SPEAKERS, frames, zeros, zeros).mel


def taught(method: str, **arguments) -> nn.Module:
    """The base with an adapter whose weights are no longer those it begins with."""
    network = lora.adapted(base(), method, **{"rank": 4, **arguments})
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in network.parameters():
            if value.requires_grad:
                value.add_(0.05 * torch.randn(value.shape, generator=drawn))
    return network.eval()


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_begins_as_nothing_and_only_it_learns(method):
    network = lora.adapted(base(), method, rank=4, seed=3)
    begun, before = said(network.eval()), said(base())
    with lora.off(network):
        assert torch.allclose(begun, said(network), atol=1e-5)
    assert method == "qlora" or torch.allclose(begun, before, atol=1e-5)
    own = set(lora.adaptation(network).own)
    assert own == {name for name, p in network.named_parameters() if p.requires_grad}
    network(
        IDS, SPEAKERS, torch.full_like(IDS, 2), *[torch.zeros(IDS.shape)] * 2
    ).mel.square().mean().backward()
    assert {name for name, p in network.named_parameters() if p.grad is not None} == own
    share = lora.trainable(network)
    assert 0 < share["trainable_params_pct"] < 60 and share["adapter_bytes"] == 4 * share["trainable_params"]
    assert all(p.requires_grad for p in base().parameters())  # the copy alone was changed


@pytest.mark.parametrize("method", METHODS)
def test_switched_off_it_is_the_old_network_bit_for_bit(method):
    network = taught(method)
    learns = {name for name, p in network.named_parameters() if p.requires_grad}
    changed = said(network)
    with lora.off(network):
        silent = said(network)
    assert torch.equal(said(network), changed) and not torch.allclose(silent, changed, atol=1e-3)
    if method == "qlora":  # the base is the one in 4 bits
        begun = lora.adapted(base(), "qlora", rank=4).eval()
        assert torch.equal(silent, said(begun)) and not torch.equal(silent, said(base()))
    else:
        assert torch.equal(silent, said(base()))
    assert learns == {name for name, p in network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("method", ("lora", "dora", "ia3"))
def test_merged_it_says_the_same(method):
    network = taught(method)
    changed, plain = said(network), lora.merged(network)
    assert not adapter_layers.of(plain) and adapter_layers.of(network)
    assert set(plain.state_dict()) == set(base().state_dict())
    assert (said(plain) - changed).abs().max() <= 1e-4 < (changed - said(base())).abs().max()
    assert torch.equal(said(network), changed)
    back = lora.unmerge(lora.merge(network))
    assert (said(back) - changed).abs().max() <= 1e-4


def test_a_merge_into_4_bits_is_refused():
    with pytest.raises(ParameterError, match="rounds what was learnt"):
        lora.merge(taught("qlora"))


def test_4_bits_are_4_bits():
    bitsandbytes = pytest.importorskip("bitsandbytes")
    network = lora.adapted(base(), "qlora", rank=2, modules=["linear"])
    packed = [layer for layer in network.modules() if isinstance(layer, bitsandbytes.nn.Linear4bit)]
    plain = [layer for layer in base().modules() if type(layer) is nn.Linear and layer.out_features > 1]
    assert len(packed) == len(plain) > 10
    for four, whole in zip(packed, plain):
        assert four.weight.dtype == torch.uint8 and four.weight.numel() == -(-whole.weight.numel() // 2)
        assert four.weight.quant_state.nested and four.weight.quant_state.quant_type == "nf4"
        assert four.compute_dtype == torch.float32
        back = bitsandbytes.functional.dequantize_4bit(four.weight.data, four.weight.quant_state)
        assert (back - whole.weight).square().mean() < 0.02 * whole.weight.square().mean()


@pytest.mark.parametrize("method", (*METHODS, "full"))
def test_an_adapter_alone_is_saved_and_comes_back(method, tmp_path):
    network = taught(method)
    file = lora.save(network, tmp_path / "a" / lora.FILE, {"voice": "x"})
    again = lora.load(copy.deepcopy(base()), file).eval()
    assert torch.equal(said(again), said(network)) and lora.adaptation(again) == lora.adaptation(network)
    assert lora.describe(file)["about"] == {"voice": "x"}
    if method != "full":
        assert (
            lora.trainable(network)["adapter_bytes"]
            < file.stat().st_size
            < 4 * sum(p.numel() for p in base().parameters())
        )


def test_what_does_not_fit_is_refused_with_its_reason(tmp_path):
    file = lora.save(taught("lora"), tmp_path / lora.FILE)
    other = fastspeech2.build(
        fastspeech2.NetworkConfig(**FASTSPEECH2 | {"hidden": 64, "feed_forward": 64}), 2, 7
    )
    with pytest.raises(TrainingError, match="an adapter of another base"):
        lora.load(other, file)
    with pytest.raises(MissingDataError, match="no adapter at"):
        lora.load(other, tmp_path / "none")
    whole = file.read_bytes()
    for damaged in (whole[:-100], whole[:40], b"", b"\0" * 200):
        file.write_bytes(damaged)
        with pytest.raises(TrainingError, match="no whole adapter"):
            lora.load(copy.deepcopy(base()), file)
    with pytest.raises(ParameterError, match="unknown method of fine-tuning 'lorra': did you mean 'lora'"):
        lora.adapted(base(), "lorra")
    with pytest.raises(ParameterError, match="unknown group of modules 'attentoin': did you mean 'attention'"):
        lora.adapted(base(), modules=["attentoin"])
    with pytest.raises(
        ParameterError, match="rank 65 is larger than the layer network.encoder.*narrow side is 64"
    ):
        lora.adapted(base(), rank=65)
    for wrong in ({"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}):
        with pytest.raises(ParameterError, match="a rank is at least 1"):
            lora.adapted(base(), **wrong)
    with pytest.raises(ParameterError, match="give a list of"):
        lora.Adapter(modules="attention")
    with pytest.raises(ParameterError, match="has an adapter already"):
        lora.adapt(taught("lora"), lora.Adapter())
    with pytest.raises(ParameterError, match="has no adapter"):
        lora.trainable(base())
    with pytest.raises(ParameterError, match="nothing can be switched off"), lora.off(taught("full")):
        pass
    lonely = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(ParameterError, match="no layer of the group 'attention'"):
        lora.adapted(lonely)
    with pytest.raises(ParameterError, match="ia3 scales keys, values"):
        lora.adapted(lonely, "ia3", modules=["linear"])
    with pytest.raises(ParameterError, match="no table of speakers"):
        lora.adapted(lonely, "speaker")


def test_looking_for_adapters_tells_nothing_of_other_packages():
    logger = logging.getLogger("bitsandbytes")  # of which peft's layers are a part
    logger.setLevel(logging.NOTSET)
    assert adapter_layers.of(torch.nn.Linear(2, 2)) == []
    assert not logger.isEnabledFor(logging.WARNING)


def test_qlora_without_bitsandbytes_says_how_to_get_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingPackageError, match="pip install bitsandbytes=="):
        lora.adapted(base(), "qlora", rank=2)


def test_peft_puts_no_prefix_into_a_network():
    """Why the speakers' row alone is the cheap baseline: should this pass one day, prefixes can be compared, too."""
    import peft

    prefix = peft.PrefixTuningConfig(num_virtual_tokens=4, num_layers=1, token_dim=64, num_attention_heads=2)
    with pytest.raises(ValueError, match="prompt learning"):
        peft.inject_adapter_in_model(prefix, copy.deepcopy(base()))
    with pytest.raises(ParameterError, match="unknown method of fine-tuning 'prefix'"):
        lora.Adapter("prefix")


def test_groups_take_the_layers_that_they_name():
    layers = {group: set(adapter_layers.chosen(base(), [group])) for group in adapter_layers.GROUPS}
    assert "network.encoder.conformer_layers.0.self_attn.linear_q" in layers["attention"]
    assert "network.decoder.conformer_layers.0.feed_forward_macaron.conv2" in layers["feed-forward"]
    assert "network.decoder.conformer_layers.0.conv_module.pointwise_conv1" in layers["convolutions"]
    assert not any("depthwise" in path for path in layers["convolutions"])
    assert (
        not layers["attention"] & layers["feed-forward"] and not layers["feed-forward"] & layers["convolutions"]
    )
    assert layers["attention"] | layers["feed-forward"] < layers["linear"]
    together = adapter_layers.chosen(base(), ["attention", "convolutions"])
    assert set(together) == layers["attention"] | layers["convolutions"]


def test_the_same_seed_begins_alike_and_no_random_number_is_taken_from_others():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (lora.own_state(lora.adapted(base(), seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_speakers_table_alone_may_learn():
    network = lora.adapted(base(), "speaker")
    assert lora.adaptation(network).own == ("network.speaker_id_embedding.weight",)
    assert torch.equal(said(network.eval()), said(base()))
