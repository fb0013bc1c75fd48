"""What 01_baselines adds to a system's scores: vocoders side by side, knobs that are obeyed, steps of training,
sizes.
"""

import dataclasses
import json
import types

import numpy as np
import pandas as pd
import pytest
from acoustic_checks import FASTSPEECH2

from lib import features, results, systems
from lib.corpora import gutenberg
from lib.errors import MissingDataError, ParameterError
from lib.measure.evaluate import Clip
from lib.measure.process import Finished
from lib.measure.scorer import Scorer
from lib.report import curves, pictures
from lib.studies import ablation, control, learning, published, sizes, vocoders
from lib.systems.attention import Reading


class Singer:
    """Says every sentence as a harmonic tone, and does what its knobs say."""

    name, variant, target, sample_rate, size_mb = "singer", "baseline", "test/cpu", 22_050, 0.0

    def __init__(self, semitones=0.0, rate=1.0, energy=1.0):
        self.knobs = (semitones, rate, energy)

    def adjusted(self, **knobs):
        return Singer(**knobs)

    def clip(self):
        semitones, rate, energy = self.knobs
        time = np.arange(int(22_050 / rate)) / 22_050
        f0 = 120 * 2 ** (semitones / 12)
        return (energy * 0.1 * sum(np.sin(2 * np.pi * k * f0 * time) / k for k in range(1, 9))).astype(
            np.float32
        )


def sing(monkeypatch) -> None:
    """Clips come from the singer itself, and nobody judges them."""
    monkeypatch.setattr(
        control.evaluate,
        "speak",
        lambda voice, sentences, seed: tuple(Clip("a", "a", voice.clip(), 22_050) for _ in sentences),
    )
    monkeypatch.setattr(
        control,
        "summarise",
        lambda scores: dict.fromkeys(("wer", "mos_predicted"), type("E", (), {"value": 0.0})),
    )


def test_systems_that_are_timed_can_be_named():
    from types import SimpleNamespace

    from lib.studies import baselines

    voices = {f"{name} ({where})": SimpleNamespace(name=name) for name in ("a", "b") for where in ("x", "y")}
    assert baselines.named(voices, []) == voices and list(baselines.named(voices, ["b"])) == ["b (x)", "b (y)"]
    with pytest.raises(ParameterError, match="unknown system 'c': .*a, b"):
        baselines.named(voices, ["a", "c"])


def test_knobs_are_measured_as_they_were_turned(monkeypatch):
    sing(monkeypatch)

    class Deaf:
        def rate_all(self, clips, metrics):
            return []

    table, clips = control.responses(Singer(), ["one", "two"], Deaf())
    for label, values in control.SETTINGS.items():
        row = table.loc[label]
        assert row["pitch, semitones"] == pytest.approx(values.get("semitones", 0.0), abs=0.1), label
        assert row["rate, factor"] == pytest.approx(values.get("rate", 1.0), abs=0.01), label
        assert row["level, dB"] == pytest.approx(20 * np.log10(values.get("energy", 1.0)), abs=0.1), label
    assert list(clips) == list(control.SETTINGS)
    assert "rate x 1.25: 1.25" in control.obeys(table) and "pitch -4 semitones: -4.0" in control.obeys(table)


def test_a_voice_that_ignores_a_knob_is_found_out(monkeypatch):
    monkeypatch.setattr(Singer, "adjusted", lambda self, **knobs: Singer())
    sing(monkeypatch)
    table, _ = control.responses(Singer(), ["one"], type("Deaf", (), {"rate_all": lambda *a, **k: []})())
    assert "pitch +4 semitones: +0.00 of +4.00" in control.obeys(table)


def test_sizes_keep_what_a_network_needs():
    base = {
        "hidden": 128,
        "heads": 2,
        "encoder_layers": 3,
        "decoder_layers": 3,
        "feed_forward": 512,
        "start_from": "fastspeech2",
    }
    half = sizes.resized(base, width=0.5)
    assert (half["hidden"], half["feed_forward"], half["heads"]) == (64, 256, 2) and "start_from" not in half
    assert sizes.resized(base, layers=-5)["decoder_layers"] == 1
    assert sizes.resized(base, heads=2)["heads"] == 4 and base["heads"] == 2


def test_the_verdict_on_sizes_is_computed_from_rows():
    def row(variant, metric, value):
        return {"system": "fastspeech2", "variant": variant, "metric": metric, "value": value}

    rows = [
        row(v, m, x)
        for v, values in {"size-base": (3.0, 4.0, 0.10), "size-width-half": (1.0, 3.5, 0.15)}.items()
        for m, x in zip(("params_m", "mos_predicted", "wer"), values)
    ]
    said = sizes.verdict(pd.DataFrame(rows))
    assert (
        "base is best by predicted MOS (4.00)" in said
        and "width-half (1.0 M) -0.50 MOS and +5.0 points of WER" in said
    )
    assert sizes.verdict(pd.DataFrame(rows[3:])) is None and sizes.verdict(results.read()) is None
    for variant, seconds in (("size-base", 0.01), ("size-width-half", 0.006)):
        rows.append(
            {
                **row(variant, "rtf", 0.1),
                "detail": json.dumps({"stages": {"acoustic_model": seconds, "vocoder": 0.09}}),
            }
        )
    assert (
        "The acoustic model takes 10 ms for a second of speech in the base, 10 % of the whole; the others take 0.60 "
        "(width-half) times as long."
    ) in sizes.verdict(pd.DataFrame(rows).fillna({"detail": ""}))


def test_the_verdict_on_teachers_is_computed_from_rows():
    from lib.studies import taught

    rows = [
        {"system": "fastspeech2", "variant": v, "metric": m, "value": x, "detail": json.dumps({"steps": 1200})}
        for v, values in {"taught-by-data": (1.0, 3.0, 0.2), "taught-by-teacher": (1.0, 3.25, 0.18)}.items()
        for m, x in zip(("params_m", "mos_predicted", "wer"), values)
    ]
    said = taught.verdict(pd.DataFrame(rows))
    assert (
        "After 1,200 steps a FastSpeech 2 of 1.0 M parameters has a predicted MOS of 3.00 and a WER of 20.0"
        in said
    )
    assert "taught-by-teacher +0.25 MOS and -2.0 points of WER" in said
    assert taught.verdict(pd.DataFrame(rows[3:])) is None
    assert "no voice to use" not in said
    lost = [row | {"value": 0.4} if row["metric"] == "wer" else row for row in rows]
    assert taught.verdict(pd.DataFrame(lost)).endswith("So short a training makes no voice to use of any of them.")


def test_a_sweep_is_drawn_with_its_intervals_where_nothing_is_missing(tmp_path):
    run = results.Run("test", tmp_path)
    for variant, metric, value, ci in (
        ("size-base", "params_m", 3.0, None),
        ("size-base", "wer", 0.1, (0.08, 0.13)),
        ("size-base", "rtf", 0.05, None),
        ("size-large", "params_m", 6.0, None),
        ("size-large", "wer", 0.08, (0.06, 0.1)),
    ):
        run.add("fastspeech2", variant, "torch/cpu", metric, value, ci=ci)
    rows = results.read(run.path)
    figure = curves.sweep(rows, "params_m", ["wer", "rtf"], ["size-base", "size-large"], prefix="size-")
    error, speed = figure.axes
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["base"]  # the large one was not timed
    ((x, y),) = error.lines[0].get_xydata()
    ends = sorted(y for _, y in error.collections[0].get_segments()[0])
    assert (x, y) == (3.0, 10.0) and ends == pytest.approx([8.0, 13.0]) and not speed.collections
    assert (error.get_xlabel(), error.get_ylabel()) == ("Parameters (M)", "WER, normalised (%)")
    assert curves.sweep(rows, "params_m", ["stoi"], ["size-base"]) is None


def test_a_network_that_is_denied_pitch_does_not_hear_it(tmp_path):
    import torch

    from lib.training import recipe, tasks
    from lib.training.tasks.fastspeech2 import AcousticConfig, predict

    chosen = recipe.find("smoke", "fastspeech2")
    task = tasks.build(type(chosen)(**{**vars(chosen), "model": {**chosen.model, "without": ["pitch"]}}))
    network = task.plain["acoustic_model"]
    batch = task.collate([task.item(0, np.random.default_rng(0))])
    before = {name: p.clone() for name, p in network.named_parameters()}
    (update,) = task.updates(batch, 0)
    update.loss.backward(inputs=[p for p in network.parameters() if p.requires_grad])
    task.optimizers["acoustic_model"].step()
    moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    assert not any("pitch_embed" in name for name in moved) and any("energy_embed" in name for name in moved)
    with torch.inference_mode():
        network.eval()
        usual = predict(network, batch).mel
        for name, heard in (("pitch", False), ("energy", True)):
            batch.tensors[name] += 1
            assert ((predict(network, batch).mel - usual).abs().max() > 0) == heard
            batch.tensors[name] -= 1
    with pytest.raises(ParameterError, match="unknown model.without 'picth': did you mean 'pitch'"):
        AcousticConfig(without=("picth",))


def test_evenly_spoken_symbols_last_as_long_as_their_mean():
    import torch

    from lib.systems.fastspeech2.config import NetworkConfig
    from lib.systems.fastspeech2.network import build

    network = build(NetworkConfig(**FASTSPEECH2), 2).eval()
    example = lambda who, ids, frames: type(
        "E", (), {"speaker": who, "ids": np.array(ids), "frames": np.array(frames)}
    )  # noqa: E731
    examples = [example("a", [5, 6, 5], [3, 7, 15]), example("a", [6], [1]), example("b", [5, 5], [0, 0])]
    even = ablation.evenly(network, examples, ("a", "b"))
    ids, voices = torch.tensor([[5, 6, 9], [5, 6, 9]]), torch.tensor([0, 1])
    with torch.inference_mode():
        frames = even.encode(ids, voices).log_frames.exp() - 1
        assert not torch.equal(network.encode(ids, voices).log_frames, even.encode(ids, voices).log_frames)
    assert frames[0].tolist() == pytest.approx([7, 3, (4 * 8 * 16 * 2) ** 0.25 - 1], rel=1e-5)
    assert frames[1].tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_the_verdict_on_an_ablation_is_computed_from_rows():
    def row(variant, metric, value):
        return {"system": "fastspeech2", "variant": variant, "metric": metric, "value": value}

    rows = [
        row(v, m, x)
        for v, values in {"without-nothing": (4.0, 0.10, 50.0), "without-pitch": (3.9, 0.12, 150.0)}.items()
        for m, x in zip(("mos_predicted", "wer", "f0_error_cents"), values)
    ]
    rows += [row("without-durations", "mos_predicted", 3.5), row("without-durations", "wer", 0.09)]
    said = ablation.verdict(pd.DataFrame(rows))
    rows[3]["detail"] = '{"difference": -0.1, "p_value": 0.0312}'
    assert "without pitch it gets -0.10 MOS (p = 0.031) and" in ablation.verdict(
        pd.DataFrame(rows).fillna({"detail": ""})
    )
    assert "predicted MOS of 4.00 and a WER of 10.0 %" in said
    assert (
        "without pitch it gets -0.10 MOS and +2.0 points of WER, the pitch off by 150 cents instead of 50"
        in said
    )
    assert said.endswith("without durations it gets -0.50 MOS and -1.0 points of WER.")
    assert ablation.verdict(pd.DataFrame(rows[3:])) is None and ablation.verdict(results.read()) is None


def test_copies_come_from_mels_of_fewer_bands(monkeypatch):
    judged = {}
    monkeypatch.setattr(
        ablation.evaluate,
        "quality",
        lambda run, names, made, scorer, originals, **_: judged.update({names: (made, originals)}),
    )
    time = np.arange(22_050) / 22_050
    tone = (0.1 * np.sin(2 * np.pi * 200 * time) + 0.05 * np.sin(2 * np.pi * 2_000 * time)).astype(np.float32)
    ablation.bands(None, [Clip("a", "a", tone, 22_050)], None, counts=(80, 20))
    assert list(judged) == [("griffin-lim", "bands-80", "numpy/cpu"), ("griffin-lim", "bands-20", "numpy/cpu")]
    for (made,), (original,) in judged.values():
        assert len(made.waveform) == len(original.waveform) == 22_050 // 256 * 256
    errors = [
        np.abs(features.log_mel(made.waveform) - features.log_mel(original.waveform)).mean()
        for (made,), (original,) in judged.values()
    ]
    assert errors[0] < 0.8 * errors[1]


def test_published_figures_are_marked_and_sourced(tmp_path):
    run = results.Run("test", tmp_path)
    published.add(run)
    table = results.read(run.path)
    assert (
        len(table) == len(published.FIGURES) + len(published.CLAIMS)
        and set(table.kind) == {"published"}
        and table.source.str.len().min() > 20
    )
    shen = table[(table.system == "tacotron2") & (table.variant == "shen-2018")].iloc[0]
    assert (shen.value, shen.ci_low, shen.ci_high) == pytest.approx((4.526, 4.460, 4.592))
    # A score stands beside that of the recordings in the same test, except where none was quoted.
    judged = table[table.metric == "mos_human"]
    alone = {v for v in judged.variant if "ground-truth" not in set(judged[judged.variant == v].system)}
    assert alone == set(published.CLAIM_VARIANTS) == {"distributed"}
    claims = table.source.str.startswith(results.CLAIM)
    assert set(table[claims].variant) == {"distributed"} and claims.sum() == len(published.CLAIMS)
    assert not set(published.VARIANTS) & set(published.CLAIM_VARIANTS)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """The run of a short training in a process of its own, and what it came to."""
    run = results.Run("test", tmp_path_factory.mktemp("learnt"))
    return run, learning.measure(run, "params/smoke/recipes/fastspeech2.yaml", threads=1)


def test_training_is_measured_in_a_process_of_its_own(learnt):
    run, found = learnt
    assert found.steps == 4 and len([r for r in found.curve if "mel" in r]) == 4
    assert sum(found.shares.values()) == pytest.approx(100) and min(found.shares.values()) >= 0
    assert found.shares["forward"] + found.shares["backward"] > 10
    rows = results.read(run.path)
    assert {
        "train_loss",
        "train_steps_per_s",
        "train_frames_per_s",
        "power_w",
        "utilization_pct",
        "peak_rss_mb",
    } <= set(rows.metric)
    assert set(rows.variant) == {"training"} and set(rows.target) == {found.target}
    detail = json.loads(rows.detail[0])
    assert detail["steps"] == 4 and detail["precision"] == "fp32" and detail["forward_pct"] > 0
    source = rows.set_index("metric").source
    assert source.train_steps_per_s == "the training loop's own clock"
    assert "clock" not in source.train_loss + source.peak_rss_mb + source.power_w
    assert "% of the time goes into the forward pass" in learning.verdict(found, "fastspeech2")


def test_rows_of_a_training_say_where_it_ran_and_power_needs_ten_seconds(tmp_path, monkeypatch):
    value = {
        "task": "tacotron2",
        "target": "torch/cuda-h100",
        "metrics": {"train_loss": 0.5, "train_steps_per_s": 9.0, "peak_gpu_mb": 4321.0, "peak_rss_mb": 1.0},
        "curve": [],
        "shares": dict.fromkeys(("wait", "forward", "backward", "optimizer", "bookkeeping"), 20.0),
        "settings": {"precision": "fp32", "tf32": True},
        "steps": 24,
    }

    def rows(seconds: float, name: str):
        energy = {
            "kind": "measured",
            "seconds": seconds,
            "watts": 321.0,
            "utilization_pct": 95.0,
            "source": "NVML",
        }
        answer = Finished(value | {"energy": energy}, seconds, 2000.0, 100.0)
        monkeypatch.setattr(learning.process, "call", lambda *arguments, **options: answer)
        run = results.Run(name, tmp_path)
        learning.measure(run, "tacotron2.yaml")
        return results.read(run.path).set_index("metric")

    long, short = rows(12.0, "long"), rows(4.2, "short")
    assert set(long.target) == {"torch/cuda-h100"} and long.value.peak_gpu_mb == 4321.0
    assert json.loads(long.detail.peak_gpu_mb)["tf32"] is True
    assert long.value.power_w == 321.0 and long.kind.power_w == "measured"
    assert np.isnan(short.value.power_w) and short.kind.power_w == "not_run"
    assert short.detail.power_w == "trained for 4.2 s, power is metered over at least 10 s"
    assert short.value.peak_rss_mb == 2000.0  # of the whole process, by who started it


def test_training_in_another_precision_has_a_variant_of_its_own(learnt):
    run, single = learnt
    half = learning.measure(run, "params/smoke/recipes/fastspeech2.yaml", precision="bf16", threads=1)
    table = results.read(run.path).pivot(index="variant", columns="metric", values="value")
    assert set(table.index) == {"training", "training-bf16"}
    losses = [found.metrics["train_loss"] for found in (single, half)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.05)
    ratio = table.train_frames_per_s["training-bf16"] / table.train_frames_per_s["training"]
    assert f"bf16 learns from {ratio:.2f} times as many frames a second as fp32" in learning.sooner(
        half, single, "bf16", "fp32"
    )


def test_histories_come_from_the_learning_curves():
    table = learning.histories(["hifigan", "fastspeech2"])
    assert table.loc["hifigan", "steps"] == "3,000" and table.loc["hifigan", "last validation"].startswith(
        "mel_l1 0.2"
    )
    assert table.loc["fastspeech2", "hours"] == "0.9" and table.shape == (2, 6)


def test_learning_curves_show_training_validation_and_what_went_on():
    before = [{"step": 10, "mel": 1.0}, {"step": 20, "mel": 0.5}, {"step": 20, "validation": {"mel": 0.6}}]
    figure = curves.learning({"hifigan": (before, [{"step": 2, "mel": 0.45}]), "fastspeech2": (before, None)})
    first, second = figure.axes
    many = curves.learning({f"system-{i}": ([{"step": 1, "denoise": 1.0}], None) for i in range(4)})
    assert len(many.axes) == 4 and many.axes[3].get_ylabel() == "denoise loss"
    assert many.axes[3].get_subplotspec().rowspan.start == 1
    assert [list(line.get_xdata()) for line in first.lines] == [[10, 20], [20], [22]]
    assert len(second.lines) == 2 and first.get_xlabel() == "step"


def test_vocoder_verdicts_name_all_and_the_original():
    def judged(mos, wer, pesq=None):
        estimate = lambda x: type("E", (), {"value": x, "n": 9})  # noqa: E731
        aligned = {"pesq_wb": estimate(pesq), "voicing_error_pct": estimate(2 * pesq)} if pesq else {}
        aligned |= {"f0_error_cents": estimate(50 * pesq)} if pesq and pesq > 1.5 else {}
        return type("J", (), {"summary": {"mos_predicted": estimate(mos), "wer": estimate(wer), **aligned}})

    said = vocoders.verdict(
        {"original": judged(4.2, 0.1), "A": judged(4.0, 0.11, 2.0), "B": judged(3.5, 0.1, 3.3)}
    )
    assert (
        "predicted MOS of 4.00, those by B 3.50, the originals 4.20" in said
        and "WER 11.0 %, 10.0 % and 10.0 %" in said
    )
    assert (
        "is off by 100 cents, voicing wrong in 4.0 % of the frames, against off by 165 cents, voicing wrong in 6.6 %"
        in said
    )
    lost = vocoders.verdict(
        {"original": judged(4.2, 0.1), "A": judged(4.0, 0.11, 1.2), "B": judged(3.5, 0.1, 3.3)}
    )
    assert "The pitch of the copies is lost, voicing wrong in 2.4 % of the frames, against off by 165" in lost


def test_the_zoo_says_how_to_train_what_it_lacks(tmp_path, monkeypatch):
    from lib import zoo

    monkeypatch.setattr(zoo, "HERE", tmp_path)
    with pytest.raises(MissingDataError, match="python -m lib.training params/study/recipes/fastspeech2.yaml"):
        zoo.folder("fastspeech2")


def test_a_run_is_published_with_its_own_recipe_alone(tmp_path):
    from lib import publish

    with pytest.raises(ParameterError, match="no checkpoint to publish"):
        publish.publish("params/smoke/recipes/fastspeech2.yaml", tmp_path)
    folder = tmp_path / "checkpoints" / "step-00000001"
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text('{"key": "another"}')
    with pytest.raises(ParameterError, match="was not trained by"):
        publish.publish("params/smoke/recipes/fastspeech2.yaml", tmp_path)


def test_a_curve_is_thinned_but_keeps_its_ends_and_validations():
    from lib import publish

    curve = [{"step": i, "mel": 1 / (i + 1)} for i in range(1001)] + [
        {"step": 1000, "validation": {"mel": 0.123456}}
    ]
    kept = publish.thinned(curve, 100)
    assert kept[0]["step"] == 0 and kept[-2]["step"] == 1000 and kept[-1]["validation"]["mel"] == 0.1235
    assert 90 <= len(kept) <= 105


def test_scaling_becomes_a_row_and_a_sentence(tmp_path, monkeypatch):
    from lib.training import scaling

    monkeypatch.setattr(
        scaling,
        "measure",
        lambda recipe, processes, rounds: scaling.Scaling(processes, 1, (1000.0, 1800.0), 0.9),
    )
    run = results.start("01_baselines", "smoke", outputs=tmp_path)
    learning.scale(run, "params/smoke/recipes/fastspeech2.yaml", rounds=3)
    table = results.read(run.path)
    assert (
        table.value.tolist() == [0.9] and table.n.tolist() == [3] and table.system.tolist() == ["fastspeech2"]
    )
    assert learning.scaled(table) == (
        "fastspeech2: 2 processes make 1,800 frames/s, one makes 1,000: 1.80 times as many, an efficiency "
        "of 0.90."
    )
    assert learning.scaled(table[:0]) == ""


def test_an_alignment_is_drawn_over_its_seconds_and_symbols():
    reading = Reading(
        ("a", "b", "c"), np.zeros((172, 80), np.float32), np.eye(3, dtype=np.float32)[[0, 0, 1, 2]], True
    )
    (axes,) = pictures.alignments({"tacotron2": (reading,)}).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert (
        tuple(map(float, axes.get_xlim())) == pytest.approx((0.0, 172 * 256 / 22_050))
        and axes.get_title("left") == "tacotron2"
    )
    assert np.array_equal(axes.images[0].get_array(), reading.alignment.T)


def short(name):
    """A recipe of the study on as little speech as smoke takes."""
    from lib.training import recipe

    chosen = recipe.find("study", name)
    return dataclasses.replace(
        chosen,
        data={**chosen.data, "train": 4, "validation": 1},
        training=dataclasses.replace(chosen.training, batch_size=2),
    )


@pytest.mark.slow
def test_an_ablation_writes_its_rows_and_goes_on_after_a_stop(tmp_path, caplog):
    run, base = results.Run("test", tmp_path), short("fastspeech2-ablation")
    caplog.set_level("INFO")
    for names in (["without-pitch"], ["without-nothing", "without-pitch"]):
        ablation.prosody(
            run,
            base,
            gutenberg.split("test", 2),
            Scorer(),
            steps=1,
            folder=tmp_path / "checkpoints",
            names=names,
        )
    wide = results.read(run.path).pivot(index="variant", columns="metric", values="value")
    assert set(wide.index) == {"without-nothing", "without-pitch", "without-durations"}
    assert (
        wide.loc["without-nothing", "mos_predicted"] > 3.5 and wide.loc["without-nothing", "wer"] < 0.2
    )  # one step spoils nothing
    assert wide.loc["without-pitch", "f0_error_cents"] > 1.5 * wide.loc["without-nothing", "f0_error_cents"]
    assert np.isnan(wide.loc["without-durations", "pesq_wb"]) and wide.loc["without-nothing", "pesq_wb"] > 1.2
    assert "training goes on from" in caplog.text


@pytest.mark.slow
def test_a_taught_student_is_judged_beside_one_of_data_alone(tmp_path, monkeypatch):
    """Its training is another test's: here the zoo's voice speaks for all."""
    from lib import systems
    from lib.studies import retrained, taught

    asked = {}

    def trained(base, name, model, **settings):
        asked[name] = model | settings
        return retrained.Retrained(systems.load("fastspeech2", threads=1).adjusted(variant=name), None, None)

    monkeypatch.setattr(retrained, "fastspeech2", trained)
    run, base = results.Run("test", tmp_path), short("fastspeech2-sizes")
    taught.study(run, base, gutenberg.split("test", 1), Scorer(), steps=9, folder=tmp_path, threads=1)
    assert {name: model["taught"] for name, model in asked.items()} == taught.SHARES
    assert all(m["teacher"] == "fastspeech2" and m["hidden"] == 64 and m["steps"] == 9 for m in asked.values())
    said = taught.verdict(results.read(run.path))
    assert "After 9 steps" in said and "taught-by-teacher +0.00 MOS" in said


@pytest.mark.slow
def test_a_sweep_of_sizes_writes_its_rows(tmp_path):
    run, base = results.Run("test", tmp_path), short("fastspeech2-sizes")
    sizes.sweep(
        run,
        base,
        sorted(gutenberg.split("test"), key=lambda s: len(s.text))[:1],  # hardly trained, it speaks for long
        Scorer(),
        steps=2,
        folder=tmp_path / "checkpoints",
        names=("size-base", "size-width-half"),
        rounds=1,
    )
    table = results.read(run.path)
    wide = table.pivot(index="variant", columns="metric", values="value")
    base_m, half_m = (wide.loc[name, "params_m"] for name in ("size-base", "size-width-half"))
    assert 2 * half_m < base_m < 4  # of the acoustic model alone, as the source says
    assert {"wer", "mos_predicted", "rtf", "train_loss", "train_steps_per_s"} <= set(
        wide.columns
    ) and wide.wer.notna().all()
    assert "After the same steps" in sizes.verdict(table)


def test_a_vocoder_in_8_bit_takes_turns_with_the_others(tmp_path, monkeypatch):
    small = vocoders.smaller(tmp_path / "small", threads=1)
    (one,) = small.values()
    whole = systems.load("istft", target="onnxruntime/cpu", threads=1)
    assert (one.name, one.target) == (whole.name, whole.target) and one.size_mb < whole.size_mb
    mel = features.log_mel((0.1 * np.random.default_rng(0).standard_normal(22_016)).astype(np.float32))
    shown = [features.log_mel(vocoder.vocode(mel)) for vocoder in (one, whole)]
    assert 0 < np.abs(shown[0] - shown[1]).mean() < 0.1
    asked = {}
    monkeypatch.setattr(vocoders.bench, "bench", lambda candidates, mels, **more: asked.update(candidates) or {})
    monkeypatch.setattr(vocoders.bench, "write", lambda run, benched: None)
    run = types.SimpleNamespace(seed=0)
    vocoders.speeds(run, {"istft": systems.load("istft", threads=1)}, [], beside=small)
    assert {(c.variant, c.target) for c in asked.values()} == {
        ("baseline", "torch/cpu"),
        ("baseline", "onnxruntime/cpu"),
        (one.variant, "onnxruntime/cpu"),
    }
