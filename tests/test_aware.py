"""A decoder that rounds while it learns says what its int8 graph says, with the ranges that it learnt; and learning so
brings it nearer to the whole one than rounding it afterwards.
"""

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from processor import needs_sums_of_eight_bits
from test_pruning import SENTENCE, Small, decoder, load
from test_recovery import FEW, LEARNING

from lib import optimize, systems
from lib.errors import ParameterError
from lib.graphs import operators, session
from lib.optimize import aware, heard, quantize_graphs, recover
from lib.studies import menu
from lib.systems.base import Speech
from lib.systems.hifigan import export

TEXTS = [SENTENCE, "He came home late."]


class Decoding(Small):
    """A voice that decodes noise."""

    @torch.inference_mode()
    def speak(self, sentence, seed):
        said = self.modules["decoder"](torch.from_numpy(latents(seed)))[0, 0]
        return Speech(said.numpy(), self.sample_rate)


def latents(seed, frames=30):
    return np.random.default_rng(seed).standard_normal((1, 6, frames), np.float32)


@pytest.fixture(scope="module")
def whole():
    """A decoder of 16 channels, two residual blocks a stage, as loud as speech."""
    network = decoder(kernels=(3, 5))
    with torch.no_grad():
        network.conv_post.weight.mul_(20)
    return Decoding(decoder=network)


def lessons(whole):
    """What it makes of some noise."""
    made = []
    for seed in range(3, 9):
        given = latents(seed, 40)
        with torch.no_grad():
            made.append(
                recover.Lesson(given[0], whole.modules["decoder"](torch.from_numpy(given))[0, 0].numpy())
            )
    return made


@pytest.fixture(scope="module")
def rounding(whole):
    return optimize.make(whole, "int8-aware", sentences=TEXTS, variant="rounding")


@needs_sums_of_eight_bits
def test_it_says_what_its_int8_graph_says(whole, rounding):
    network = rounding.modules["decoder"]
    graph = aware.exported(network)
    kinds = operators.runs_as(graph)
    assert kinds["QLinearConv"] == len(aware.rounded(network)) == 26 and "Conv" not in kinds
    assert {o.stored for o in operators.weighted(graph).values() if o.type == "Conv"} == {"int8"}
    given = latents(9, 40)
    (said,) = session.open(graph, 1).run(None, {"latents": given})
    with torch.no_grad():
        here, before = (s.modules["decoder"](torch.from_numpy(given))[0, 0] for s in (rounding, whole))
    error = float((here - before).std())  # of 8 bits
    assert 0.002 < error < 0.1
    # The same up to a level here and there, where a sum of the integer product rounds to the other side.
    assert np.abs(said[0, 0] - here.numpy()).std() < 0.25 * error


def test_untaught_it_is_plain_static_quantization(whole, rounding):
    """The same sentences, minmax: the technique that knows nothing of learning gives the same graph."""
    noted = [{"latents": latents(seed)} for seed in (0, 1)]
    graph = export.decoder(whole.modules["decoder"])
    names = [name for name, kind in quantize_graphs.known(graph, ("Conv",)).items() if kind == "Conv"]
    plain = quantize_graphs.static(graph, names, noted)
    own = aware.exported(rounding.modules["decoder"])
    assert _largest(plain) == _largest(own) == {127}  # both use all 8 bits: see `reduce_range`
    assert _largest(quantize_graphs.static(graph, names, noted, reduce_range=True)) == {64}
    given = latents(9, 40)
    one, other = (session.open(g, 1).run(None, {"latents": given})[0] for g in (plain, own))
    with torch.no_grad():
        right = whole.modules["decoder"](torch.from_numpy(given)).numpy()
    assert np.abs(one - other).std() < 0.25 * np.abs(one - right).std()


def test_rounding_passes_gradients_and_its_step_learns():
    rounding = aware.Rounding(-1.0, 2.0)
    assert rounding.range == pytest.approx((-1.0, 2.0), abs=1e-6) and int(rounding.zero) == 85
    values = torch.tensor([-3.0, -0.502, 0.003, 0.31, 5.0], requires_grad=True)
    rounded = rounding(values)
    assert rounded.tolist() == pytest.approx([-1.0, -43 * 3 / 255, 0.0, 26 * 3 / 255, 2.0], abs=1e-5)
    rounded.sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 1, 0]
    # d rounded / d step: the level where it was cut off, else what rounding added; of its logarithm, times the step
    step = 3 / 255
    off = [-85.0, *(float(torch.round(v / step) - v / step) for v in values.detach()[1:4]), 170.0]
    assert float(rounding.log_step.grad) == pytest.approx(step * sum(off) / (255 * 5) ** 0.5, rel=1e-4)
    assert aware.Rounding(0.5, 3.0).range[0] == 0 and aware.Rounding(-3.0, -0.5).range[1] == 0  # 0 is a level


def test_what_reads_one_tensor_shares_its_range(whole, rounding):
    blocks = rounding.modules["decoder"].resblocks
    assert rounding.made["changed"]["rounded"] == 26 and len(rounding.made["changed"]["shared"]) == 3
    for one, other in ((0, 1), (2, 3), (4, 5)):
        assert blocks[one].convs1[0].before is blocks[other].convs1[0].before
        assert blocks[one].convs1[0].after is not blocks[other].convs1[0].after
    assert type(whole.modules["decoder"].conv_pre) is torch.nn.Conv1d
    graph = export.decoder(whole.modules["decoder"])
    two = {f"decoder.resblocks.{i}.convs1.0.weight": ((-1.0, float(i + 1)), (-1.0, 1.0)) for i in (0, 1)}
    with pytest.raises(ParameterError, match="would have two ranges"):
        quantize_graphs.with_ranges(graph, two)
    with pytest.raises(ParameterError, match="of 1 weights with known ranges the graph has 0"):
        quantize_graphs.with_ranges(graph, {"decoder.none.weight": ((-1.0, 1.0), (-1.0, 1.0))})


def test_learning_to_round_beats_rounding_what_was_learnt(whole, rounding, tmp_path):
    """A few steps beside the int8 graph of the same network: nearer to the whole, on a lesson that taught nothing."""
    taught = lessons(whole)
    task = recover.Recovery(rounding.derive("copy", lambda s: None), whole, "decoder", taught, LEARNING, FEW)
    rng = np.random.default_rng(0)
    (update,) = task.updates(task.collate([task.item(index, rng) for index in (0, 1)]), 0)
    update.loss.backward()
    slopes = {name: float(p.grad.abs().sum()) for name, p in task.plain["pupil"].named_parameters()}
    still = [name for name, slope in slopes.items() if not slope > 0]
    # What lies on the levels already is not changed by rounding: such a step has nothing to learn from this batch.
    assert all(name.endswith("before.log_step") for name in still) and len(still) < 0.1 * len(slopes)
    few = dataclasses.replace(FEW, steps=60, validate_every=0, checkpoint_every=60)
    slow = dataclasses.replace(LEARNING, learning_rate=3e-4)
    learnt = recover.recover(rounding, whole, taught, tmp_path, learning=slow, training=few, name="int8-aware")

    def far(system):
        graph = session.open(aware.exported(system.modules["decoder"]), 1)
        (said,) = graph.run(None, {"latents": taught[-1].inputs[None]})
        parts = recover.distances(torch.from_numpy(said[0]), torch.from_numpy(taught[-1].waveform)[None])
        return sum(getattr(LEARNING, f"{name}_weight") * float(value) for name, value in parts.items())

    assert far(learnt) < 0.99 * far(rounding)
    moved = [a.range != b.range for a, b in zip(*(_roundings(s) for s in (rounding, learnt)))]
    assert all(moved) and learnt.made["recovery"]["steps"] == 60


def test_a_range_that_begins_too_wide_shrinks_in_a_short_training(whole, rounding, tmp_path):
    """At a rate of its own: at that of the weights it moves by a hundredth in as many steps."""
    wide = rounding.derive("wide", _widened)
    wide.made = rounding.made
    few = dataclasses.replace(FEW, steps=100, ema=0.0, validate_every=0, checkpoint_every=100)
    slow = dataclasses.replace(LEARNING, learning_rate=3e-4)
    taught = lessons(whole)
    learnt = recover.recover(wide, whole, taught, tmp_path, learning=slow, training=few)
    before, after = (float(np.ptp(s.modules["decoder"].conv_post.after.range)) for s in (wide, learnt))
    assert before > 1.3 * after
    task = recover.Recovery(rounding.derive("copy", lambda s: None), whole, "decoder", taught, slow, few)
    weights, ranges = task.optimizers["pupil"].param_groups
    assert (weights["lr"], ranges["lr"], ranges["weight_decay"]) == (3e-4, 1e-2, 0.0)
    assert weights["weight_decay"] > 0 and {id(p) for p in ranges["params"]} == {
        id(r.log_step) for r in task.plain["pupil"].modules() if isinstance(r, aware.Rounding)
    }
    assert len(weights["params"]) + len(ranges["params"]) == len(list(task.plain["pupil"].parameters()))


def _widened(system):
    """What its last convolution makes may be three times as large as it ever was."""
    with torch.no_grad():
        system.modules["decoder"].conv_post.after.log_step += np.log(3)


@needs_sums_of_eight_bits
def test_a_real_vocoder_goes_to_onnx_runtime_as_it_spoke_on_torch(tmp_path):
    whole, text = load("hifigan"), ["Go home."]
    made = optimize.make(whole, "int8-aware", sentences=text, stages=["decoder"], variant="int8-aware")
    optimize.save(made, tmp_path / "variant")
    again = optimize.load(tmp_path / "variant", threads=1)
    assert again.weights_key() == made.weights_key() and len(_roundings(again)) == len(_roundings(made)) < 40
    on_onnx = systems.load("hifigan", target="onnxruntime/cpu", threads=1)
    given = {"folder": str(tmp_path / "variant"), "weights": made.weights_key()}
    taken = optimize.make(on_onnx, "from-torch", variant="int8-aware", **given)
    assert taken.made["changed"]["rounded"] == 20 and taken.loaded_mb < 0.85 * on_onnx.loaded_mb
    (call,) = heard.calls(whole, ["decoder"], text)["decoder"]
    with torch.no_grad():
        here = made.modules["decoder"](*call.arguments).numpy().ravel()
    before, there = (
        call.output.numpy().ravel(),
        taken._run("decoder", {"latents": call.arguments[0].numpy()})[0].ravel(),
    )
    # The first layers agree level for level; a sum that falls to the other side of one is carried on by the rest.
    assert (there - here).std() < 0.75 * min((here - before).std(), (there - before).std())


def test_the_last_convolution_stays_as_it_is_in_what_learns_to_round_and_in_its_control(tmp_path):
    """What is given to one is given to the other; the rest of a decoder's convolutions is in 8 bit in both."""
    given = menu.of_decoder() | {"sentences": ["Go home."]}
    learns = optimize.make(load("hifigan"), "int8-aware", **given)
    control = optimize.make(
        systems.load("hifigan", target="onnxruntime/cpu", threads=1), "int8-static", **given
    )
    single = []
    for graph in (aware.exported(learns.modules["decoder"]), control.graphs["decoder"]):
        known = {name: o for name, o in operators.weighted(graph).items() if o.type == "Conv"}
        single.append([name for name, o in known.items() if o.stored != "int8"])
        assert len(known) == 20
    assert single == [["decoder/conv_post/Conv"]] * 2
    trials = [
        (one.system, given)
        for one in menu.trials("study")
        for name, given in one.steps
        if name == control.variant
    ]
    assert {system for system, given in trials if menu.LAST in given.get("skip", ())} >= {
        "vits-joe",
        "hifigan",
        "speecht5",
    }


def test_ranges_need_sentences(whole):
    with pytest.raises(ParameterError, match="calibration needs data"):
        optimize.make(whole, "int8-aware")
    with pytest.raises(ParameterError, match="nothing is selected"):
        optimize.make(Decoding(decoder=torch.nn.Linear(3, 3)), "int8-aware", sentences=TEXTS)


def _largest(graph):
    """Of the whole numbers of each convolution's weights."""
    arrays = map(onnx.numpy_helper.to_array, onnx.load_from_string(graph).graph.initializer)
    return {int(np.abs(a.astype(int)).max()) for a in arrays if a.dtype == np.int8 and a.ndim == 3}


def _roundings(system):
    return [
        layer for net in system.modules.values() for layer in net.modules() if isinstance(layer, aware.Rounding)
    ]
