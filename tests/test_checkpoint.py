"""Every checkpoint's folder is read in one place: what fits is loaded bit for bit, what does not has a clear error."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from lib import zoo
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.systems import hifigan, istft
from lib.systems.checkpoint import CONFIG, WEIGHTS

SMALL = {
    "hifigan": (
        hifigan,
        hifigan.GeneratorConfig(front_width=16, front_blocks=1, pitch_width=16, pitch_blocks=1),
    ),
    "istft": (istft, istft.IstftConfig(width=16, blocks=1, pitch_width=16, pitch_blocks=1)),
}


@pytest.fixture(params=SMALL)
def saved(request, tmp_path):
    """(system, its module, sizes, state dicts, folder) of a small vocoder with random weights."""
    module, config = SMALL[request.param]
    states = {name: network.state_dict() for name, network in module.PARTS.build(config).items()}
    return request.param, module, config, states, module.save(tmp_path / "vocoder", config, states, "# card")


def test_what_was_saved_is_loaded_in_half_precision(saved):
    _, module, config, states, folder = saved
    found, networks = module.PARTS.load(folder)
    assert found == config and networks.keys() == states.keys()
    for name, network in networks.items():
        assert not network.training
        for key, value in network.state_dict().items():
            assert torch.equal(value, states[name][key].half().float()), (name, key)
    exact = module.PARTS.load(module.save(folder, config, states, "", half=False))[1]
    assert all(torch.equal(v, states[n][k]) for n, m in exact.items() for k, v in m.state_dict().items())


def test_the_same_weights_come_without_torch(saved):
    _, module, config, _, folder = saved
    found, arrays = module.PARTS.arrays(folder)
    loaded = {f"{n}.{k}": v for n, m in module.PARTS.load(folder)[1].items() for k, v in m.state_dict().items()}
    assert found == config and arrays.keys() == loaded.keys()
    assert all(v.dtype == np.float32 and np.array_equal(v, loaded[k].numpy()) for k, v in arrays.items())


@pytest.mark.parametrize("reader", ["load", "arrays"])
def test_damage_is_named(saved, reader, tmp_path):
    system, module, config, states, folder = saved
    read = getattr(module.PARTS, reader)
    description, weights = (folder / CONFIG).read_text(), (folder / WEIGHTS).read_bytes()

    def refused(words: str, description: str = description, weights: bytes = weights) -> None:
        (folder / CONFIG).write_text(description)
        (folder / WEIGHTS).write_bytes(weights)
        with pytest.raises(TrainingError, match=words):
            read(folder)

    article = {"hifigan": "a", "istft": "an"}[system]
    refused(f"holds a tacotron2, not {article} {system}", description.replace(f'"{system}"', '"tacotron2"', 1))
    refused("not saved with this config", description.replace("16", "32", 1))
    refused(f"the {system} in .* cannot be read .*: take it anew", "{")
    refused("cannot be read", "[]")
    refused("cannot be read", json.dumps({"system": system}))
    refused("cannot be read", weights=weights[: len(weights) // 2])
    with pytest.raises(MissingDataError, match="holds no vocoder: config.json is missing"):
        read(tmp_path / "nowhere")
    (folder / WEIGHTS).unlink()
    with pytest.raises(MissingDataError, match="holds no vocoder: model.safetensors is missing"):
        read(folder)
    with pytest.raises(ParameterError, match=f"this {system} consists of .*, not of decoder, front"):
        module.save(folder, config, {"decoder": {}, "front": {}}, "")


def test_a_hifigan_from_before_keys_is_taken_as_it_is_but_an_istft_must_have_one(saved):
    system, module, _, states, folder = saved
    flat = safetensors.torch.load_file(folder / WEIGHTS)
    safetensors.torch.save_file(flat, folder / WEIGHTS)
    if system == "istft":
        with pytest.raises(TrainingError, match="not saved with this config"):
            module.PARTS.load(folder)
        return
    networks = module.PARTS.load(folder)[1]
    assert all(
        torch.equal(v, states[n][k].half().float())
        for n, m in networks.items()
        for k, v in m.state_dict().items()
    )
    sizes = json.loads((folder / CONFIG).read_text())
    sizes["generator"]["front_width"] = 32
    (folder / CONFIG).write_text(json.dumps(sizes))
    with pytest.raises(TrainingError, match=r"(?s)cannot be read .*size mismatch"):
        module.PARTS.load(folder)


@pytest.mark.parametrize("name", SMALL)
def test_the_zoo_s_are_what_their_files_say(name):
    networks = SMALL[name][0].PARTS.load(zoo.folder(name))[1]
    flat = safetensors.torch.load_file(zoo.folder(name) / WEIGHTS)
    own = {f"{n}.{k}": v for n, m in networks.items() for k, v in m.state_dict().items()}
    assert own.keys() == flat.keys() and all(
        torch.equal(own[key], value.float()) for key, value in flat.items()
    )
