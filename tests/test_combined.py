"""Several techniques are one variant: counted against the base, loaded from the base alone; a decoder of torch speaks
on ONNX Runtime.
"""

import functools
import json

import numpy as np
import pytest
import torch
from processor import needs_sums_of_eight_bits

from lib import optimize, systems
from lib.errors import ParameterError, TrainingError
from lib.optimize import stored

load = functools.cache(functools.partial(systems.load, threads=1))
MEL = np.random.default_rng(0).normal(-5, 2, (60, 80)).astype(np.float32)
SMALL = [["int8-dynamic", {"stages": ["trunk"]}], ["fp16-weights", {}]]


@pytest.mark.parametrize(
    "target", ["torch/cpu", pytest.param("onnxruntime/cpu", marks=needs_sums_of_eight_bits)]
)
def test_what_eight_bits_leave_is_halved(target, tmp_path):
    """The weights of istft are no half-precision numbers yet."""

    def whole_numbers(system):
        for network in system.modules.values():
            for parameter in network.parameters():
                parameter.data.mul_(1.0001)

    base = load("istft", target=target)
    if target == "torch/cpu":
        base = base.derive("finer", whole_numbers)
        base.origin = load("istft", target=target).origin
    small = optimize.make(base, "combined", steps=SMALL)
    assert small.variant == "int8-dynamic+fp16-weights" and small.made["technique"] == "combined"
    int8 = optimize.make(base, "int8-dynamic", stages=["trunk"])
    assert small.made["changed"]["bytes_after"] < 0.9 * int8.made["changed"]["bytes_after"]
    assert small.made["changed"]["layers"] > int8.made["changed"]["layers"]
    assert small.made["changed"]["steps"] == [{}, {}]
    said, eight = small.vocode(MEL), int8.vocode(MEL)
    assert np.abs(said - eight).max() < 0.05 and (target != "torch/cpu" or not np.array_equal(said, eight))


def test_a_variant_of_several_steps_is_loaded_from_its_base_alone(tmp_path):
    base = load("istft", target="torch/cpu")
    steps = [["structured", {"share": 0.5, "stages": ["trunk"]}], ["int8-dynamic", {"stages": ["trunk"]}]]
    made = optimize.make(base, "combined", steps=steps)
    assert made.variant == "structured-50+int8-dynamic"
    optimize.save(made, tmp_path)
    told = json.loads((tmp_path / "variant.json").read_text())
    assert told["base"]["origin"] == base.origin and told["arguments"] == {"steps": steps}
    again = optimize.load(tmp_path, threads=1)
    assert np.array_equal(again.vocode(MEL), made.vocode(MEL)) and again.fingerprint() == made.fingerprint()


def test_steps_that_do_not_fit_are_named():
    base = load("istft", target="torch/cpu")
    with pytest.raises(ParameterError, match="1 steps are nothing to combine"):
        optimize.make(base, "combined", steps=[["nf4", {}]])
    with pytest.raises(ParameterError, match="unknown technique 'nf5'"):
        optimize.make(base, "combined", steps=[["nf5", {}], ["nf4", {}]])
    with pytest.raises(ParameterError, match="unknown argument of nf4 'share'"):
        optimize.make(base, "combined", steps=[["nf4", {"share": 0.5}], ["fp16-weights", {}]])
    with pytest.raises(
        ParameterError, match="fp16-weights changed nothing of istft on torch/cpu as step 2 of 2"
    ):
        optimize.make(base, "combined", steps=SMALL)
    with pytest.raises(ParameterError, match="combined cannot be one step"):
        optimize.make(base, "combined", steps=[["combined", {"steps": SMALL}], ["nf4", {}]])


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """(folder of a vocoder on torch whose decoder has half its channels, the vocoder)."""
    folder = tmp_path_factory.mktemp("pruned")
    made = optimize.make(load("hifigan", target="torch/cpu"), "structured", share=0.5, stages=["decoder"])
    optimize.save(made, folder)
    return folder, optimize.load(folder, threads=1)


def test_a_decoder_of_torch_speaks_on_onnx_runtime(pruned, tmp_path):
    folder, on_torch = pruned
    base = load("hifigan", target="onnxruntime/cpu")
    given = {"folder": str(folder), "weights": on_torch.weights_key()}
    taken = optimize.make(base, "from-torch", variant="structured-50", **given)
    assert np.abs(taken.vocode(MEL) - on_torch.vocode(MEL)).max() < 2e-3
    assert taken.made["changed"]["bytes_after"] < 0.9 * taken.made["changed"]["bytes_before"]
    optimize.save(taken, tmp_path)
    assert np.array_equal(optimize.load(tmp_path, threads=1).vocode(MEL), taken.vocode(MEL))
    seen = {"stages": ["decoder"], "sentences": ["Is it late?"]}
    int8 = optimize.make(base, "combined", steps=[["from-torch", given], ["int8-static", seen]])
    kinds = {o.stored for n, o in stored.graph_operators(int8).items() if n.startswith("decoder/")}
    assert "int8" in kinds and int8.made["changed"]["layers"] >= taken.made["changed"]["layers"]


def test_a_decoder_of_another_voice_or_another_day_is_refused(pruned):
    folder, on_torch = pruned
    given = {"folder": str(folder), "weights": on_torch.weights_key()}
    with pytest.raises(ParameterError, match="holds no decoder for vits-joe"):
        optimize.make(load("vits-joe", target="onnxruntime/cpu"), "from-torch", **given)
    with pytest.raises(ParameterError, match="has no graph decoder"):
        optimize.make(load("hifigan", target="torch/cpu"), "from-torch", **given)
    with pytest.raises(TrainingError, match="made anew"):
        optimize.make(load("hifigan", target="onnxruntime/cpu"), "from-torch", **{**given, "weights": "0" * 32})


def test_the_voice_takes_a_decoder_whose_operators_have_other_names(tmp_path):
    on_torch = optimize.make(load("vits-joe", target="torch/cpu"), "structured", share=0.9, stages=["decoder"])
    optimize.save(on_torch, tmp_path)
    base = load("vits-joe", target="onnxruntime/cpu")
    taken = optimize.make(base, "from-torch", folder=str(tmp_path), weights=on_torch.weights_key())
    latents = torch.randn(1, 192, 20, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        wanted = on_torch.modules["decoder"](latents).numpy().reshape(-1)
    (said,) = taken.sessions["decoder"].run(None, {"/Mul_7_output_0": latents.numpy()})
    assert np.abs(said.reshape(-1) - wanted).max() < 1e-3
    changed = taken.made["changed"]
    assert changed["layers"] > 15 and set(changed["kinds"]) <= {"Conv", "ConvTranspose"}
