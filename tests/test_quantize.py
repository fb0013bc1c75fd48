"""Every technique changes what was selected and nothing else, says how much it changed, and comes back from disk."""

import functools
import json

import numpy as np
import pytest
import torch
from fresh_process import ask

from lib import optimize, systems
from lib.errors import ParameterError
from lib.graphs import operators
from lib.optimize import changes, formats, selection, stored
from lib.systems.whisper import ctranslate2_weights

load = functools.cache(systems.load)
TEXTS = ["She sells shells by the shore.", "Is it late, or early, or both?"]
MEL = np.random.default_rng(0).normal(-5, 2, (60, 80)).astype(np.float32)

# system, target, technique, arguments, least signal-to-noise ratio to the baseline in dB
MADE = [
    ("istft", "torch/cpu", "int8-dynamic", {"stages": ["trunk"]}, 15),
    ("istft", "torch/cpu", "int8-weights", {"stages": ["trunk"]}, 25),
    ("istft", "torch/cpu", "int4-weights", {"stages": ["trunk"], "group": 32}, 5),
    ("istft", "torch/cpu", "nf4", {"stages": ["trunk"], "types": ["Linear"]}, 5),
    ("istft", "torch/cpu", "bf16", {"stages": ["trunk"]}, 20),
    ("istft", "onnxruntime/cpu", "int8-dynamic", {"stages": ["trunk"], "skip": ["output"]}, 15),
    ("istft", "onnxruntime/cpu", "int8-weights", {"stages": ["trunk"]}, 25),
    (
        "istft",
        "onnxruntime/cpu",
        "int8-static",
        {"stages": ["trunk"], "types": ["Gemm"], "sentences": TEXTS},
        3,
    ),
    ("hifigan", "torch/cpu", "int8-dynamic", {"stages": ["front"]}, 10),
]
WHOLE_NUMBERS = {"int8-dynamic", "int8-static", "int8-weights"}


@functools.cache
def made(row: int):
    name, target, technique, arguments, _ = MADE[row]
    return optimize.make(load(name, target=target), technique, **arguments)


def snr(reference, other):
    return 10 * np.log10(
        np.sum(np.square(reference, dtype=float)) / np.sum(np.square(reference - other, dtype=float))
    )


@pytest.mark.parametrize("row", range(len(MADE)), ids=[f"{n}-{t.split('/')[0]}-{q}" for n, t, q, *_ in MADE])
def test_a_technique_says_what_it_changed_and_comes_back_from_disk(row, tmp_path):
    name, target, technique, arguments, least = MADE[row]
    base, variant = load(name, target=target), made(row)
    before, said = base.vocode(MEL), variant.vocode(MEL)
    assert snr(before, said) > least and not np.array_equal(before, said)
    changed = variant.made["changed"]
    assert 0 < changed["layers"] < changed["of"] and sum(changed["kinds"].values()) == changed["layers"]
    optimize.save(variant, tmp_path)
    weights = [p for p in variant.files if p.name != "variant.json" and tmp_path in p.parents]
    size = sum(p.stat().st_size for p in weights)
    assert size == pytest.approx(changed["bytes_after"], rel=0.03, abs=30_000)  # beside headers of the files
    if technique in WHOLE_NUMBERS and target != "torch/cpu":
        assert changed["bytes_after"] < 0.75 * changed["bytes_before"]
    again = optimize.load(tmp_path)
    assert np.array_equal(again.vocode(MEL), said) and again.fingerprint() == variant.fingerprint()
    assert again.made == json.loads(json.dumps(variant.made))
    assert np.array_equal(base.vocode(MEL), before)  # the baseline is not touched


@pytest.mark.parametrize(("row", "needs_torch"), [(2, True), (7, False)])
def test_a_fresh_process_says_the_same_samples(row, needs_torch, tmp_path):
    variant = made(row)
    optimize.save(variant, tmp_path / "variant")
    answer = ask({"folder": tmp_path / "variant"}, MEL)
    assert ("torch" in answer.imported) == needs_torch
    assert np.array_equal(answer.samples, variant.vocode(MEL))


def test_the_quantizer_leaves_no_handler_behind_and_prints_nothing(capsys):
    """Its first word on the root logger would print every later line of everybody twice."""
    import logging

    from lib.optimize import calibration

    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with calibration.quietly():
        print("Collecting tensor data and making histogram ...")
        root.handlers.append(logging.StreamHandler())
        assert root.level == logging.ERROR
    assert (root.level, root.handlers) == before and capsys.readouterr().out == ""


def test_four_bits_take_an_eighth_of_the_bytes(tmp_path):
    base, variant = load("istft"), made(2)
    weighted = selection.layers(base, ("Linear", "Conv1d"), stages=["trunk"])
    numbers = sum(selection.layer(base, name).weight.numel() for name in weighted)
    changed = variant.made["changed"]
    assert changed["layers"] == len(weighted)
    saved = changed["bytes_before"] - changed["bytes_after"]
    assert saved == pytest.approx(
        numbers * (2 - 0.5 - 2 / 32), rel=0.02
    )  # the zoo's weights are in half precision
    once_more = optimize.make(base, "int4-weights", stages=["trunk"], group=32)
    assert once_more.fingerprint() == variant.fingerprint()


def test_what_is_changed_after_packing_is_saved_as_it_is(tmp_path):
    variant = made(1)

    def touch(system):
        with torch.no_grad():
            system.modules["trunk"].blocks[0].expand.weight[0, 0] += 0.01

    touched = variant.derive("touched", touch)
    before, after = (stored.layers(system, selection.weighted(system)) for system in (variant, touched))
    differing = {name for name in before if before[name] != after[name]}
    assert differing == {"trunk/blocks.0.expand"}
    assert after["trunk/blocks.0.expand"][0] > 3 * before["trunk/blocks.0.expand"][0]


def test_only_the_selected_layers_change():
    base = load("hifigan")
    variant = optimize.make(base, "int8-dynamic", layers=["front/blocks.0.*", "front/blocks.1.expand"])
    kinds = {name: type(selection.layer(variant, name)) for name in selection.weighted(base)}
    quantized = {name for name, kind in kinds.items() if "quantized" in kind.__module__}
    assert quantized == {"front/blocks.0.expand", "front/blocks.0.project", "front/blocks.1.expand"}
    assert variant.made["changed"]["layers"] == 3 and variant.made["changed"]["kinds"] == {"Linear": 3}


def test_a_stage_that_is_a_single_layer_is_quantized_too():
    variant = optimize.make(load("whisper-tiny.en"), "int8-dynamic", stages=["head"])
    assert "quantized" in type(variant.modules["head"]).__module__
    assert variant.made["changed"]["kinds"] == {"Linear": 1}
    # The embedding, which shares the head's matrix, stays in single precision: the file grows.
    assert variant.made["changed"]["bytes_after"] > variant.made["changed"]["bytes_before"]


def test_weights_that_two_layers_share_are_packed_once(tmp_path):
    base = load("whisper-tiny.en")
    variant = optimize.make(base, "int8-weights", stages=["head"], group=0)
    changed = variant.made["changed"]
    assert changed["kinds"] == {"Linear": 1, "Embedding": 1}
    assert changed["bytes_before"] - changed["bytes_after"] == 51_864 * (384 - 2)
    optimize.save(variant, tmp_path)
    again = optimize.load(tmp_path)
    assert again.modules["head"].weight is again.modules["decoder"].embed_tokens.weight
    assert again.fingerprint() == variant.fingerprint()


def test_half_precision_of_weights_that_are_so_already_changes_nothing():
    with pytest.raises(ParameterError, match="fp16-weights changed nothing in istft"):
        optimize.make(load("istft"), "fp16-weights")


@pytest.mark.parametrize(
    ("name", "target", "technique", "arguments", "says"),
    [
        (
            "istft",
            "torch/cpu",
            "bf16",
            {"stages": ["pitch"]},
            "stay in single precision: a phase is an integral",
        ),
        ("istft", "torch/cpu", "int8-static", {"sentences": TEXTS}, "nothing is selected"),
        ("istft", "torch/cpu", "int8-weights", {"group": 7}, "a group of 7 weights"),
        ("istft", "onnxruntime/cpu", "int4-weights", {}, "nothing is selected in istft on onnxruntime/cpu"),
        ("istft", "onnxruntime/cpu", "int8-static", {}, "calibration needs data"),
        ("istft", "onnxruntime/cpu", "int8-static", {"sentences": []}, "calibration needs data"),
        ("istft", "onnxruntime/cpu", "int8-static", {"sentences": "A text."}, "calibration needs data"),
        (
            "istft",
            "onnxruntime/cpu",
            "int8-static",
            {"sentences": TEXTS, "method": "max"},
            "unknown method of calib",
        ),
        (
            "istft",
            "onnxruntime/cpu",
            "int8-static",
            {"sentences": TEXTS, "activations": "u8"},
            "unknown type of act",
        ),
        ("istft", "onnxruntime/cpu", "int8-dynamic", {"layers": ["blocks.9*"]}, "matches none of the"),
        ("hibari", "onnxruntime/cpu", "int8-static", {"sentences": TEXTS}, "it cannot be calibrated"),
        ("whisper-tiny.en", "ctranslate2/cpu", "int8-dynamic", {"types": ["Linear"]}, "quantized as a whole"),
    ],
)
def test_what_cannot_be_done_is_said(name, target, technique, arguments, says):
    with pytest.raises(ParameterError, match=says):
        optimize.make(load(name, target=target), technique, **arguments)


def test_a_test_sentence_is_no_data_for_calibration():
    from lib.corpora import gutenberg
    from lib.optimize import calibration

    (test,), (other,) = gutenberg.split("test", 1), gutenberg.split("validation", 1)
    assert calibration.texts([other.id, "Some words."]) == [other.text, "Some words."]
    with pytest.raises(ParameterError, match=f"{test.id} is a test sentence"):
        calibration.texts([test.id])
    with pytest.raises(ParameterError, match="unknown sentence 'botchan-0'"):
        calibration.texts(["botchan-0"])


def test_a_ctranslate2_file_of_whole_numbers_is_what_the_engine_makes_of_it(tmp_path):
    base = load("whisper-tiny.en", target="ctranslate2/cpu")
    contents = ctranslate2_weights.parse(base.graphs["model"])
    assert ctranslate2_weights.serialize(contents) == base.graphs["model"]
    variant = optimize.make(base, "int8-dynamic")
    assert variant.made["changed"]["kinds"] == {"Linear": 44, "Embedding": 1}
    assert variant.params_m == pytest.approx(base.params_m) and len(variant.graphs["model"]) < 40e6
    voice = load("vits-joe", target="onnxruntime/cpu").synthesize(TEXTS[0], 1)
    heard = variant.transcribe(voice.waveform, voice.sample_rate).text
    assert "shells" in heard
    optimize.save(variant, tmp_path)
    again = optimize.load(tmp_path)
    assert again.transcribe(voice.waveform, voice.sample_rate).text == heard
    assert (tmp_path / "graphs" / "model.bin").is_file() and again.size_mb < 0.55 * base.size_mb
    with pytest.raises(ParameterError, match="in 8 bit already"):
        ctranslate2_weights.int8(variant.graphs["model"])


def test_both_runtimes_of_the_recogniser_hear_the_same():
    voice = load("vits-joe", target="onnxruntime/cpu")
    ours, theirs = load("whisper-tiny.en", target="ctranslate2/cpu"), load("whisper-tiny.en")
    for number, text in enumerate(TEXTS):
        clip = voice.synthesize(text, number)
        features = [r.features(clip.waveform, clip.sample_rate) for r in (ours, theirs)]
        assert np.abs(features[0] - features[1].numpy()).max() < 1e-4
        assert len({r.transcribe(clip.waveform, clip.sample_rate).text for r in (ours, theirs)}) == 1


@pytest.mark.slow
def test_a_quantized_decoder_of_the_voice_keeps_the_timing(tmp_path):
    base = load("vits-joe", target="onnxruntime/cpu")
    skip = ["dec/conv_pre*", "dec/conv_post*"]
    variant = optimize.make(base, "int8-static", stages=["decoder"], skip=skip, sentences=TEXTS)
    one, other = (voice.synthesize(TEXTS[1], 3) for voice in (base, variant))
    assert one.frames == other.frames and snr(one.waveform, other.waveform) > 15
    assert (
        variant.made["changed"]["kinds"] == {"Conv": 18}
        and operators.runs_as(variant.graphs["decoder"])["QLinearConv"] == 18
    )
    optimize.save(variant, tmp_path)
    assert np.array_equal(optimize.load(tmp_path).synthesize(TEXTS[1], 3).waveform, other.waveform)
    alone = optimize.load(tmp_path, threads=1)
    assert snr(other.waveform, alone.synthesize(TEXTS[1], 3).waveform) > 30


def test_nothing_changed_is_counted_as_nothing():
    base = load("istft")
    copy = base.derive("same", lambda system: None)
    counted = changes.between(base, copy)
    assert counted["layers"] == 0 and counted["kinds"] == {} and counted["of"] == len(selection.weighted(base))
    assert counted["bytes_before"] == counted["bytes_after"] and set(formats.LARGEST) == {"int8", "int4", "nf4"}


def test_a_decoder_stored_in_few_bytes_is_rewritten_for_one_thread_as_ever():
    from lib.graphs import packing
    from lib.systems.vits_joe import stages

    decoder = stages.stage_graphs()["decoder"]
    small = packing.half(decoder, operators.weighted(decoder))
    assert len(small) < 0.6 * len(decoder)
    assert operators.runs_as(stages.fastest(small, 1)) == operators.runs_as(stages.fastest(decoder, 1))
    assert stages.fastest(small, 2) == small
