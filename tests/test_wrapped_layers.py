"""Does every layer that a system speaks with speak through its call? Whoever wraps a layer (LoRA), packs it (int8)
or masks it (pruning) relies on it: a network that reads the weights behind its back ignores the change in silence.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from lib import systems, zoo
from lib.errors import AudioError
from lib.features import HIFIGAN
from lib.systems import fastspeech2, hifigan, speecht5, tacotron2, tortoise, whisper
from lib.systems.layers import plain

KINDS = (nn.Linear, nn.Conv1d, nn.ConvTranspose1d, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.Embedding)
TEXT = "Yes, it is."
ZOO = {
    "fastspeech2": fastspeech2.FastSpeech2,
    "tacotron2": tacotron2.Tacotron2,
    "speecht5": speecht5.SpeechT5,
    "tortoise": tortoise.Tortoise,
}
NAMES = ("vits-joe", *ZOO, "speecht5-base", "hifigan", "whisper-tiny.en")
# Layers whose answer nothing that is spoken depends on, and why.
SILENT: dict[str, dict[str, str]] = {}


class Frames:
    """Instead of a vocoder: the mel itself, so that an acoustic model is heard without waiting for a waveform."""

    name, mel, sample_rate, identity, params_m, size_mb = "frames", HIFIGAN, HIFIGAN.sample_rate, (), 0.0, 0.0

    def __init__(self):
        self.modules = {}

    def vocode(self, log_mel: np.ndarray) -> np.ndarray:
        return log_mel.astype(np.float32).reshape(-1)

    __call__ = vocode


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
    monkeypatch.setattr(speecht5, "PUBLISHED", small)


def loaded(name: str, monkeypatch) -> tuple[dict[str, nn.Module], Callable[[], np.ndarray]]:
    """(live modules, what they say) of one system, its acoustic model without vocoder."""
    torch.manual_seed(0)
    if name == "speecht5-base":
        small_base(monkeypatch)
    if name == "hifigan":
        vocoder = hifigan.pretrained()
        mel = np.random.default_rng(0).normal(-5, 2, (12, HIFIGAN.n_bands)).astype(np.float32)
        return vocoder.modules, lambda: vocoder.vocode(mel)
    if name == "whisper-tiny.en":
        modules = dict(whisper.Whisper().modules)
        features = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(0))
        prompt = torch.tensor([[whisper.SOT, whisper.NO_TIMESTAMPS, 1400, 318]])

        @torch.inference_mode()
        def recognised() -> np.ndarray:
            memory = modules["encoder"](features).last_hidden_state
            return modules["decoder"](input_ids=prompt, encoder_hidden_states=memory).last_hidden_state.numpy()

        return modules, recognised
    system = (
        ZOO[name](zoo.folder(name), vocoder=Frames()) if name in ZOO else systems.load(name, target="torch/cpu")
    )
    return system.modules, lambda: system.synthesize(TEXT, seed=0).waveform


def layers(
    modules: dict[str, nn.Module], kinds: tuple[type, ...] = KINDS
) -> Iterator[tuple[str, nn.Module, str]]:
    """(name, its parent, its name there) of every layer."""
    for root, module in modules.items():
        for path, layer in module.named_modules():
            if type(layer) in kinds:
                parent, _, child = path.rpartition(".")
                yield f"{root}.{path}", module.get_submodule(parent), child


def differs(said: np.ndarray, before: np.ndarray) -> bool:
    return said.shape != before.shape or bool(np.abs(said - before).max() > 1e-4 * np.abs(before).max())


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_heard_through_its_call(name, monkeypatch):
    modules, said = loaded(name, monkeypatch)
    before, unheard, seen = said(), [], 0
    assert np.array_equal(before, said()) and np.isfinite(before).all()
    for path, parent, child in list(layers(modules)):
        layer, seen = getattr(parent, child), seen + 1
        for strength in (0.1, 1.0, 10.0):
            setattr(parent, child, Bent(layer, strength))
            try:
                changed = differs(said(), before)
            except AudioError:  # durations without end, numbers that are none: it was heard
                changed = True
            if changed:
                break
        else:
            unheard.append(path)
        setattr(parent, child, layer)
    assert seen > 20 and np.array_equal(before, said())
    assert sorted(unheard) == sorted(SILENT.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("recurrent", [False, True])
def test_int8_layers_speak(name, recurrent, monkeypatch):
    """Every Linear in int8, then every LSTM, too: the weights are packed, there is no `.weight` to multiply with."""
    modules, said = loaded(name, monkeypatch)
    before = said()
    kinds = {nn.Linear, nn.LSTM, nn.LSTMCell} if recurrent else {nn.Linear}
    for root, module in list(modules.items()):
        modules[root] = torch.ao.quantization.quantize_dynamic(module, kinds, dtype=torch.qint8)
        assert not any(type(layer) in kinds for layer in modules[root].modules())
    after = said()
    assert np.isfinite(after).all() and after.size and not np.array_equal(before, after)


@pytest.mark.parametrize("name", NAMES)
def test_adapters_are_heard(name, monkeypatch):
    """LoRA on one layer in eight at a time: begun as nothing, B = 0, it changes nothing; then it does."""
    peft = pytest.importorskip("peft")
    modules, said = loaded(name, monkeypatch)
    before = said()
    for root, module in modules.items():
        kinds = (nn.Linear,) if name == "whisper-tiny.en" else (nn.Linear, nn.Conv1d)  # its stride is asked for
        targets = [
            path
            for path, layer in module.named_modules()
            if type(layer) in kinds
            and getattr(layer, "groups", 1) == 1
            and f"{root}.{path}" not in SILENT.get(name, {})
        ]
        for target in targets[::8]:
            changed = copy.deepcopy(module)
            peft.inject_adapter_in_model(
                peft.LoraConfig(r=2, target_modules=f"{target}".replace(".", r"\.")), changed
            )
            modules[root] = changed
            assert not differs(said(), before)
            with torch.no_grad():
                for path, weight in changed.named_parameters():
                    if "lora_B" in path:
                        weight.fill_(0.5)
            assert differs(said(), before), f"{root}.{target}"
        modules[root] = module


@pytest.mark.parametrize("name", ["fastspeech2", "tacotron2", "speecht5", "tortoise"])
def test_weights_that_change_in_place_are_heard_at_once(name, monkeypatch):
    """Whatever a network prepares of its weights is of this sentence: no copy outlives a step of training."""
    modules, said = loaded(name, monkeypatch)
    said()
    for path, parent, child in layers(modules, (nn.Linear, nn.Conv1d, nn.LSTMCell)):
        if path in SILENT.get(name, {}):
            continue
        before = said()
        with torch.no_grad():
            for weight in getattr(parent, child).parameters():
                weight.add_(0.05 * torch.randn_like(weight))
        try:
            assert differs(said(), before), path
        except AudioError:
            break  # by now its weights are broken


@pytest.mark.parametrize("name", ["tacotron2", "tortoise"])
def test_a_mask_is_applied_to_the_weights_as_they_are_now(name, monkeypatch):
    """torch's pruning multiplies weights with their mask when the layer is called, and leaves the product of the last
    call in `.weight`.
    """
    modules, said = loaded(name, monkeypatch)
    for path, parent, child in layers(modules, (nn.Linear, nn.Conv1d)):
        if path in SILENT.get(name, {}):
            continue
        layer = getattr(parent, child)
        prune.l1_unstructured(layer, "weight", 0.3)
        before = said()
        with torch.no_grad():
            layer.weight_orig.mul_(2)
        assert differs(said(), before), path
        with torch.no_grad():
            layer.weight_orig.mul_(0.5)
        prune.remove(layer, "weight")


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
