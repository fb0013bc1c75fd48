"""Does every layer that a system speaks with speak through its call? Whoever wraps a layer (LoRA), packs it (int8)
or masks it (pruning) relies on it: a network that reads the weights behind its back ignores the change in silence.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from acoustic_checks import FASTSPEECH2
from torch import nn
from torch.nn.utils import prune

from lib import systems, zoo
from lib.errors import AudioError
from lib.features import HIFIGAN, log_mel
from lib.systems import fastspeech2, speecht5, tacotron2, tortoise, whisper
from lib.systems.base import Vocoder
from lib.systems.layers import linear, plain

KINDS = (nn.Linear, nn.Conv1d, nn.ConvTranspose1d, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.Embedding)
# A layer whose change is lost in the rounding of a short text's durations is asked again with a long one.
SHORT, LONG = "Yes.", "Good morning to you all, it is late."
ZOO = {
    "fastspeech2": fastspeech2.FastSpeech2,
    "tacotron2": tacotron2.Tacotron2,
    "speecht5": speecht5.SpeechT5,
    "tortoise": tortoise.Tortoise,
}
NAMES = ("vits-joe", *ZOO, "speecht5-base", "hifigan", "istft", "whisper-tiny.en")
# Layers whose answer nothing that is spoken depends on, and why.
_POSTNET = "front.network.speech_decoder_postnet"
_LATENTS = "TorToiSe takes its front end's latents, not the mel that the front end would make of them"
SILENT: dict[str, dict[str, str]] = {
    "tortoise": {
        f"{_POSTNET}.feat_out": _LATENTS,
        **{f"{_POSTNET}.layers.{number}.conv": _LATENTS for number in range(3)},
        "decoder.mel_head": "the mel guessed from the condition alone, a loss in training",
    },
    "speecht5-base": {
        "acoustic_model.network.speech_decoder_postnet.prob_out": "random weights: the text's length says when it ends"
    },
}


class Frames(Vocoder):
    """Instead of a vocoder: the mel itself, so that an acoustic model is heard without waiting for a waveform."""

    name, mel, sample_rate, target = "frames", HIFIGAN, HIFIGAN.sample_rate, "torch/cpu"

    def __init__(self):
        self.modules, self.files = {}, ()

    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        return log_mel.astype(np.float32).reshape(-1)


class Bent(nn.Module):
    """A layer whose answer y becomes y + strength * (1 + sin 3y), whatever the layer is: not a shift or a scale alone,
    which a norm or a softmax behind it would take back. All else is asked of the layer, as adapters do it.
    """

    def __init__(self, layer: nn.Module, strength: float):
        super().__init__()
        self.layer, self.strength = layer, strength

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, *given, **named):
        return self.bend(self.layer(*given, **named))

    def bend(self, answer):
        if isinstance(answer, tuple):
            return tuple(self.bend(part) for part in answer)
        return answer + self.strength * (1 + torch.sin(3 * answer))


def small_base(monkeypatch) -> None:
    """Give `speecht5-base` the layers of the published one in a width that random weights fill quickly."""
    small = dataclasses.replace(
        speecht5.PUBLISHED,
        hidden=32,
        heads=2,
        encoder_layers=2,
        decoder_layers=2,
        feed_forward=64,
        prenet=16,
        speaker=8,
    )
    monkeypatch.setattr("lib.systems.speecht5.system.PUBLISHED", small)
    # A vocoder that need not say much.
    monkeypatch.setattr("lib.systems.speecht5.limits.CHARACTERS_PER_S", 40.0)


def small_whisper() -> nn.Module:
    """transformers' recogniser in a size that hears 0.4 s: its layers and calls are those of tiny.en."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    sizes = dict(d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=64, decoder_ffn_dim=64)
    heads = dict(
        encoder_attention_heads=2, decoder_attention_heads=2, max_source_positions=20, max_target_positions=8
    )
    return WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=100, pad_token_id=0, **sizes, **heads)
    ).eval()


def loaded(name: str, monkeypatch) -> tuple[dict[str, nn.Module], Callable[..., np.ndarray]]:
    """(live modules, what they say of a text) of one system, its acoustic model without vocoder."""
    torch.manual_seed(0)
    if name in ("hifigan", "istft"):
        vocoder = systems.load(name)
        saw = (np.arange(12 * HIFIGAN.hop) * 120 / HIFIGAN.sample_rate % 1 - 0.5).astype(np.float32)  # voiced
        mel = log_mel(saw, HIFIGAN)
        return vocoder.modules, lambda text=SHORT: vocoder.vocode(mel)
    if name == "whisper-tiny.en":
        monkeypatch.setattr("lib.systems.whisper.network.load_model", small_whisper)
        modules = dict(whisper.Whisper().modules)
        features = torch.randn(1, 80, 40, generator=torch.Generator().manual_seed(0))
        prompt = torch.tensor([[1, 2, 3, 4]])

        @torch.inference_mode()
        def recognised(text: str = SHORT) -> np.ndarray:
            memory = modules["encoder"](features).last_hidden_state  # (1, 20, 32)
            hidden = modules["decoder"](input_ids=prompt, encoder_hidden_states=memory).last_hidden_state
            return modules["head"](hidden[:, -1]).numpy()  # (1, vocabulary)

        return modules, recognised
    if name == "speecht5-base":
        small_base(monkeypatch)
    if name in ZOO:
        system = ZOO[name](zoo.folder(name), vocoder=Frames())
    else:
        system = systems.load(name, target="torch/cpu")
    if name == "tortoise":
        system = system.adjusted(steps=1)
    if name == "vits-joe":  # spoken slowly, so that no change of a duration is lost in its rounding

        def spoken(text: str = SHORT) -> np.ndarray:
            system.scales = dataclasses.replace(system.scales, length_scale=4.0 if text == LONG else 1.0)
            return system.synthesize(text, seed=0).waveform

        return system.modules, spoken
    return system.modules, lambda text=SHORT: system.synthesize(text, seed=0).waveform


class Place(NamedTuple):
    """Where a layer is: a network's name in `modules`, and the way to it in there ("" is the network itself)."""

    root: str
    path: str

    def __str__(self) -> str:
        return f"{self.root}.{self.path}".removesuffix(".")

    def get(self, modules) -> nn.Module:
        return modules[self.root].get_submodule(self.path)

    def put(self, modules, layer: nn.Module) -> None:
        parent, _, child = self.path.rpartition(".")
        if child:
            setattr(modules[self.root].get_submodule(parent), child, layer)
        else:
            modules[self.root] = layer


def places(modules, kinds: tuple[type, ...] = KINDS) -> list[Place]:
    """Of every layer of these kinds."""
    every = ((root, *entry) for root, module in modules.items() for entry in module.named_modules())
    return [Place(root, path) for root, path, layer in every if type(layer) in kinds]


def differs(said: np.ndarray, before: np.ndarray) -> bool:
    return said.shape != before.shape or bool(np.abs(said - before).max() > 1e-4 * np.abs(before).max())


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_heard_through_its_call(name, monkeypatch):
    modules, said = loaded(name, monkeypatch)
    before = {text: said(text) for text in (SHORT, LONG)}
    assert np.array_equal(before[SHORT], said()) and np.isfinite(before[SHORT]).all()
    unheard, every = [], places(modules)
    for place in every:
        layer = place.get(modules)
        for strength, text in ((0.1, SHORT), (10.0, SHORT), (3.0, LONG), (100.0, LONG)):
            place.put(modules, Bent(layer, strength))
            try:
                heard = differs(said(text), before[text])
            except AudioError:  # durations without end, numbers that are none: it was heard
                heard = True
            if heard:
                break
        else:
            unheard.append(str(place))
        place.put(modules, layer)
    assert len(every) > 20 and np.array_equal(before[SHORT], said())
    assert sorted(unheard) == sorted(SILENT.get(name, {}))


def test_a_block_of_convolutions_hears_a_wrapped_one(monkeypatch):
    """FastSpeech 2's feed-forward layers are convolutions in the published size, linear layers in the zoo's."""
    ids = torch.arange(5, 12)[None]
    for kernel in (1, 3):
        network = fastspeech2.build(
            fastspeech2.NetworkConfig(**FASTSPEECH2 | {"feed_forward_kernel": kernel}), 1
        ).eval()

        @torch.inference_mode()
        def encoded(network: nn.Module = network) -> np.ndarray:
            return network.encode(ids, torch.tensor([0])).hidden.numpy()

        before, block = encoded(), network.network.encoder.conformer_layers[0].feed_forward
        for name in ("conv1", "conv2"):
            layer = getattr(block, name)
            assert type(layer) is (nn.Linear if kernel == 1 else nn.Conv1d)
            setattr(block, name, Bent(layer, 0.1))
            assert differs(encoded(), before)
            setattr(block, name, layer)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recurrent", [False, True])
def test_int8_layers_speak(name, recurrent, monkeypatch):
    """Every Linear in int8, then every LSTM, too: the weights are packed, there is no `.weight` to multiply with."""
    modules, said = loaded(name, monkeypatch)
    before = said()
    kinds = {nn.Linear, nn.LSTM, nn.LSTMCell} if recurrent else {nn.Linear}
    for root, module in list(modules.items()):
        modules[root] = torch.ao.quantization.quantize_dynamic(nn.Sequential(module), kinds)[
            0
        ]  # a head is a layer itself
        assert not any(type(layer) in kinds for layer in modules[root].modules())
    after = said()
    assert np.isfinite(after).all() and after.size and not np.array_equal(before, after)


@pytest.mark.parametrize("name", NAMES)
def test_adapters_are_heard(name, monkeypatch):
    """LoRA on some layers, one at a time: begun as nothing, B = 0, it changes nothing; then it does."""
    peft = pytest.importorskip("peft")
    modules, said = loaded(name, monkeypatch)
    before = {text: said(text) for text in (SHORT, LONG)}
    # transformers asks Whisper's convolutions for their stride, which peft's have not
    kinds = (nn.Linear,) if name == "whisper-tiny.en" else (nn.Linear, nn.Conv1d)
    tried = 0
    for place in [p for p in places(modules, kinds) if str(p) not in SILENT.get(name, {})][
        :: 20 if name == "vits-joe" else 5
    ]:
        layer = place.get(modules)
        if getattr(layer, "groups", 1) > 1 or getattr(layer, "dilation", (1,)) != (1,):
            continue  # peft's own convolutions have no groups that its rank does not divide, and no dilation
        adapted = peft.inject_adapter_in_model(
            peft.LoraConfig(r=2, target_modules=["0"]), nn.Sequential(copy.deepcopy(layer))
        )
        place.put(modules, adapted[0])
        assert not differs(said(), before[SHORT])
        torch.nn.init.normal_(adapted[0].lora_B["default"].weight, std=10.0)
        try:
            assert differs(said(), before[SHORT]) or differs(said(LONG), before[LONG]), str(place)
        except AudioError:
            pass
        place.put(modules, layer)
        tried += 1
    assert tried > 2


@pytest.mark.parametrize("name, part", [("tacotron2", "network.decoder."), ("tortoise", "decoder.")])
def test_weights_that_change_in_place_are_heard_at_once(name, part, monkeypatch):
    """What is fused is made of the weights of this sentence: no copy outlives a step of training, and a mask of torch's
    pruning, which multiplies the weights when their layer is called, is applied to them as they are now.
    """
    modules, said = loaded(name, monkeypatch)
    before, tried = said(), 0
    for place in places(modules, (nn.Linear, nn.Conv1d, nn.LSTMCell)):
        path = str(place)
        if part not in path or "front." in path or path in SILENT.get(name, {}) or "gate" in path:
            continue
        layer, tried = place.get(modules), tried + 1
        saved = copy.deepcopy(layer.state_dict())
        with torch.no_grad():
            for weight in layer.parameters():
                weight.mul_(0.9)
        assert not np.array_equal(said(), before), path
        layer.load_state_dict(saved)
        if isinstance(layer, nn.LSTMCell):
            continue
        prune.l1_unstructured(layer, "weight", 0.3)
        with torch.no_grad():
            layer.weight_orig.mul_(3)  # `.weight` still is the product of before
        masked = said()
        prune.remove(layer, "weight")
        assert not np.array_equal(masked, before) and not differs(masked, said()), path
        layer.load_state_dict(saved)
    assert tried > 8 and not differs(said(), before)


def test_what_a_plain_layer_is():
    assert plain(nn.Linear(2, 3), nn.Conv1d(2, 3, 1, bias=False), nn.LSTMCell(2, 3))
    assert not plain(nn.Linear(2, 3), Bent(nn.Linear(2, 3), 1.0))
    hooked, masked, offloaded = nn.Linear(2, 3), nn.Linear(2, 3), nn.Linear(2, 3)
    hooked.register_forward_hook(lambda *_: None)
    prune.random_unstructured(masked, "weight", 0.5)
    offloaded.forward = lambda x: x
    spectral = nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))
    int8 = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 3)), {nn.Linear})[0]
    for layer in (hooked, masked, offloaded, spectral, int8):
        assert not plain(layer)

    class Packed(torch.Tensor):
        pass

    packed = nn.Linear(2, 3)
    packed.weight = nn.Parameter(packed.weight.detach().as_subclass(Packed))
    assert not plain(packed)


@torch.inference_mode()
def test_a_plain_linear_is_multiplied_elsewhere_and_any_other_is_called():
    layer, rows = nn.Linear(48, 64), torch.randn(2, 50, 48)
    wanted = layer(rows)
    assert torch.allclose(linear(layer, rows), wanted, atol=1e-5) and linear(layer, rows).shape == wanted.shape
    assert torch.allclose(linear(layer, rows.transpose(0, 1)), wanted.transpose(0, 1), atol=1e-5)
    bare = nn.Linear(48, 64, bias=False)
    assert torch.allclose(linear(bare, rows), bare(rows), atol=1e-5)
    assert torch.equal(linear(layer, rows[:1, :3]), layer(rows[:1, :3]))
    assert linear(layer.double(), rows.double()).dtype == torch.float64
    layer.float()
    assert torch.equal(linear(Bent(layer, 1.0), rows), Bent(layer, 1.0)(rows))
    hooked = copy.deepcopy(layer)
    hooked.register_forward_hook(lambda *_: torch.zeros(1))
    assert torch.equal(linear(hooked, rows), torch.zeros(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(layer, rows).dtype == torch.bfloat16


def test_gradients_go_through_a_linear_and_frozen_layers_learn_nothing():
    layer, rows = nn.Linear(48, 64), torch.randn(50, 48)
    linear(layer, rows).sum().backward()
    assert torch.allclose(layer.weight.grad, rows.sum(0).expand(64, -1), atol=1e-4)
    with torch.no_grad():
        assert not linear(layer, rows).requires_grad


@torch.inference_mode()
def test_where_one_dnn_s_product_is_missing_or_switched_off_a_layer_is_called(monkeypatch):
    layer, rows = nn.Linear(48, 64), torch.randn(2, 50, 48)
    wanted = layer(rows)
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(linear(layer, rows), layer(rows))
    monkeypatch.setattr(torch.ops, "mkldnn", object())  # as in a torch that has no such operator
    assert torch.equal(linear(layer, rows), wanted)


@torch.inference_mode()
def test_a_hook_of_all_modules_is_called():
    layer, rows = nn.Linear(48, 64), torch.randn(2, 50, 48)
    handle = nn.modules.module.register_module_forward_hook(lambda *_: torch.zeros(1))
    try:
        assert torch.equal(linear(layer, rows), torch.zeros(1)) and not plain(layer)
    finally:
        handle.remove()
    assert plain(layer)
