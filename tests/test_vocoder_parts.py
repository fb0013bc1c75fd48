"""The ablation of `istft`: a part that is taken away is away in training and in speech, cases differ in what
they say, a stopped study goes on, and what it found is told from its rows.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from test_istft import SMALL, vowel

from lib import params, results, systems
from lib.corpora.base import Corpus, Utterance
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.features import log_mel
from lib.measure import held_out_voices
from lib.measure.evaluate import Clip
from lib.measure.scores import ClipScores, recognised
from lib.metrics import deliberate
from lib.report import parts as worth
from lib.report.collect import records
from lib.report.verdicts import judged
from lib.studies import vocoder_parts, vocoder_parts_found
from lib.studies.vocoder_parts import CASES
from lib.systems import istft
from lib.systems.istft import held, network, partial, signal
from lib.systems.istft.onnx_vocoder import IstftOnnx
from lib.training import recipe
from lib.training.tasks.istft import IstftTask
from lib.training.tasks.istft_partial import Learning, PartialTask

RATE = signal.RATE
SIZES = {f.name: getattr(SMALL, f.name) for f in dataclasses.fields(istft.IstftConfig)}


def networks(*without: str) -> dict[str, torch.nn.Module]:
    """Small networks whose trunk has something to say."""
    made = partial._build(partial.PartialConfig(**SIZES, without=without))
    torch.manual_seed(1)
    torch.nn.init.normal_(made["trunk"].output.weight, std=0.05)
    return {name: module.eval() for name, module in made.items()}


def heard() -> tuple[torch.Tensor, torch.Tensor]:
    """The mel of a vowel, and that of pulses in place of its source, each (1, 40, 80)."""
    source = signal.spectra(torch.from_numpy(vowel(130.0))[None])
    return torch.from_numpy(log_mel(vowel(120.0)))[None, :40], signal.source_mel(source[:, :40])


def filters(*without: str) -> tuple[torch.Tensor, torch.Tensor]:
    """H and G of them without some parts, each (1, 40, 513)."""
    (mel, of_source), hz = heard(), torch.full((1, 40), 120.0)
    with torch.inference_mode():
        return network.filters(mel, of_source, networks(*without)["trunk"](mel, of_source, hz))


@pytest.fixture
def folder(tmp_path):
    """A saved vocoder without noise."""
    config = partial.PartialConfig(**SIZES, without=("noise",))
    weights = {name: module.state_dict() for name, module in networks("noise").items()}
    return partial.PARTS.save(tmp_path / "vocoder", config, weights, "")


def test_without_nothing_it_is_the_usual_one():
    usual, ours = istft.build(istft.IstftConfig(**SIZES)), partial._build(partial.PartialConfig(**SIZES))
    assert not ours["trunk"]._forward_hooks
    mel = torch.from_numpy(log_mel(vowel(120.0)))[None]
    with torch.inference_mode():
        assert torch.equal(istft.decode(usual, mel), istft.decode(ours, mel))


def test_what_is_taken_away_is_away():
    whole_h, whole_g = filters()
    for name, kept, gone in (("pulses", 1, 0), ("noise", 0, 1)):
        found = filters(name)
        assert not found[gone].abs().any() and torch.equal(found[kept], (whole_h, whole_g)[kept]), name
    _, minimum, _ = signal.prior(*heard())

    def turned(filtered: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        return (filtered / whole_h.abs() - torch.polar(torch.ones_like(angle), angle)).abs().max()

    assert turned(filters("learnt-phase")[0], minimum) < 1e-3
    learnt = whole_h * torch.polar(torch.ones_like(minimum), -minimum)
    assert (filters("minimum-phase")[0] - learnt).abs().max() < 1e-3 * learnt.abs().max()
    flat_h, flat_g = (found.abs().log() for found in filters("magnitude"))
    for flat, found in ((flat_h, whole_h.abs().log()), (flat_g, whole_g.log())):
        assert flat.std() < 0.5 * found.std()  # what the trunk says, around one level
    both = filters("magnitude", "minimum-phase")[0]
    assert torch.allclose(both.abs().log(), flat_h, atol=1e-3)


def test_a_partial_vocoder_speaks_as_it_learnt_at_once_and_as_the_mel_comes(folder):
    vocoder, mel = istft.PartialIstft(folder, threads=1).adjusted(passes=0), log_mel(vowel(120.0))
    assert vocoder.config.without == ("noise",) and vocoder.name == "istft"
    with torch.inference_mode():
        batch = torch.from_numpy(mel)[None]
        stored = {name: module.half().float() for name, module in networks("noise").items()}
        wanted = istft.decode(stored, batch)[0]
    said = vocoder.vocode(mel)
    assert np.abs(said - wanted.clamp(-1, 1).numpy()).max() < 1e-5
    assert not np.array_equal(istft.PartialIstft(folder, threads=1).vocode(mel), said)  # held to its mel
    streamed = np.concatenate(list(vocoder.stream(mel[b : b + 7] for b in range(0, len(mel), 7))))
    assert np.abs(streamed - said).max() < 1e-3
    other = vocoder.derive("louder", lambda copy: copy.modules["trunk"].output.bias.data.add_(0.1))
    assert other.modules["trunk"]._forward_hooks and other.fingerprint() != vocoder.fingerprint()
    with_noise = vocoder.derive("with-noise", lambda copy: copy.modules["trunk"]._forward_hooks.clear())
    assert not np.array_equal(with_noise.vocode(mel), said)


def test_nothing_takes_it_for_a_whole_one(folder, tmp_path):
    with pytest.raises(TrainingError, match="trained without noise: no ONNX graph leaves that out"):
        IstftOnnx(folder)
    with pytest.raises(TrainingError, match="holds a partial-istft, not an istft"):
        systems.load("istft", checkpoint=folder)
    with pytest.raises(MissingDataError):
        IstftOnnx(tmp_path)
    with pytest.raises(ParameterError, match="unknown model.without 'nois': did you mean 'noise'"):
        partial.PartialConfig(without=("nois",))
    with pytest.raises(ParameterError, match="nothing would be left"):
        partial.PartialConfig(without=("noise", "pulses"))
    with pytest.raises(ParameterError, match="unknown key of the recipe's model 'without'"):
        recipe.parse(IstftTask.Config, {"without": ["noise"]}, "model")


@pytest.mark.parametrize("name", CASES)
def test_a_case_changes_what_it_says_and_nothing_else(name):
    base = recipe.find("study", "istft-parts")
    whole, chosen = (vocoder_parts.plan(base, case, 1_000) for case in (vocoder_parts.WHOLE, name))
    assert (whole.training, whole.data) == (chosen.training, chosen.data) and chosen.training.steps == 1_000
    ours, theirs = (dataclasses.asdict(recipe.parse(Learning, r.model, "model")) for r in (chosen, whole))
    assert {key for key in ours if ours[key] != theirs[key]} == CASES[name].change.keys()
    assert theirs["adversarial_from"] == 600 and theirs["learning_rate"] == theirs["adversarial_rate"]
    assert theirs["start_from"] == "" and not set(held_out_voices.STRANGE) & set(base.data["voices"])


def test_the_study_trains_every_case_and_smoke_and_quick_none():
    notebook = params.find_notebook("02")
    for profile, cases in (("smoke", []), ("quick", []), ("study", list(CASES)), ("full", list(CASES))):
        assert params.load(profile, notebook)["parts"] == cases
    with pytest.raises(ParameterError, match="did you mean 'no-noise'"):
        vocoder_parts.plan(recipe.find("study", "istft-parts"), "no-nose", 10)
    assert all(deliberate(vocoder_parts.variant(name, voice)) for name in CASES for voice in ("", "hibari"))


class Judge:
    """Scores in place of the scorer's: the level of the clip; what it heard is what was said."""

    compute_type = "int8"

    def rate_all(self, clips, metrics, originals, voice=()):
        return [
            ClipScores(recognised(text, text), {"mos_predicted": 4 + float(w.std()), "pesq_wb": float(o.std())})
            for (w, _, text), o in zip(clips, originals)
        ]


@pytest.fixture
def small(monkeypatch):
    """A recipe of tiny networks, on vowels; and vowels to copy, but for a voice that cannot be had."""

    def utterance(index: int, split: str) -> Utterance:
        clip = vowel(110.0 + 30 * index)
        return Utterance(f"vowel-{index}", "a", "a", "nobody", split, RATE, lambda: (clip, RATE))

    corpus = Corpus("vowels", "", "", (*(utterance(i, "train") for i in range(3)), utterance(3, "validation")))
    read = []
    monkeypatch.setattr(PartialTask, "corpus", classmethod(lambda cls, chosen: read.append(chosen) or corpus))

    def clips(voice, limit, threads):
        if voice == "prompts":
            raise MissingDataError("no apt here")
        return tuple(Clip(f"{voice}-{i}", "a", vowel(100.0 + 20 * i, 0.6), RATE) for i in range(limit))

    monkeypatch.setattr(held_out_voices, "clips", clips)
    model = dataclasses.asdict(SMALL)
    settings = recipe.Settings(steps=9, batch_size=2, ema=0.9, checkpoint_every=2, log_every=1)
    return recipe.Recipe("istft", settings, model=model, data={"voices": ["nobody"]}), read


@pytest.mark.parametrize("name", CASES)
def test_every_case_learns(small, tmp_path, name):
    base, _ = small
    case = vocoder_parts.trained(base, name, steps=3, folder=tmp_path, threads=1)
    said = case.vocoder.vocode(log_mel(vowel(120.0)))
    assert np.isfinite(said).all() and case.vocoder.variant == f"{name}@parts"
    assert case.detail["steps"] == 3 and case.detail["change"] == CASES[name].change
    assert case.vocoder.passes == case.detail["passes"] == (0 if name == "not-held" else held.PASSES)
    place = tmp_path / ("whole" if name == "not-held" else name)
    curve = [json.loads(line) for line in (place / "curve.jsonl").read_text().splitlines()]
    judging = {key for record in curve for key in record if key.startswith(("spectrogram_", "period_"))}
    kinds = {key.partition("_")[0] for key in judging}
    both = {"spectrogram", "period"}
    lost = {"no-jury": both, "no-spectrogram-jury": {"spectrogram"}, "no-period-jury": {"period"}}
    assert kinds == both - lost.get(name, set())


def test_a_study_writes_its_rows_and_goes_on(small, tmp_path):
    base, read = small
    run = results.Run("02_training", tmp_path / "study", seed=3)
    how = {"steps": 3, "n_clips": 2, "folder": tmp_path / "runs", "threads": 1, "keep": 1}
    vocoder_parts.trained(base, "no-noise", steps=3, folder=tmp_path / "runs", threads=1)  # by another process
    assert len(read) == 1
    voices = ("vits-joe", "prompts", "flite-awb")
    vocoder_parts.study(run, base, Judge(), cases=["no-noise", "whole"], voices=voices, **how)
    assert len(read) == 2  # what was finished was not read again
    table = results.read(run.path)
    wide = table.pivot(index="variant", columns="metric", values="value")
    ends = ("@parts", "@vits-joe@parts", "@flite-awb@parts")
    judged_ones = {f"{name}{end}" for name in ("whole", "no-noise") for end in ends}
    assert set(wide.index) == judged_ones | {"whole@prompts@parts"}
    absent = table[table.variant == "whole@prompts@parts"]
    assert list(absent.kind) == ["not_run"] and absent.detail.iloc[0] == "no apt here"
    pooled = table[(table.variant == "no-noise@parts") & (table.metric == "mos_predicted")].iloc[0]
    detail = json.loads(pooled.detail)
    assert (pooled.n, pooled.baseline, detail["n"], detail["steps"]) == (4, "whole@parts", 4, 3)
    assert detail["seeds"] == {"weights": 0, "order": 0} and detail["difference"] == pytest.approx(
        pooled.value - wide.loc["whole@parts", "mos_predicted"], abs=1e-3
    )
    assert wide.loc["whole@parts", "params_m"] > 0 and wide.loc["no-noise@parts", "train_steps_per_s"] > 0
    assert len(list((tmp_path / "study" / "audio" / "02_training").glob("*.flac"))) == 4
    assert judged(records(table)) == []  # nobody's proposals
    assert "After 3 steps" in vocoder_parts_found.verdict(table)

    vocoder_parts.study(run, base, Judge(), cases=["whole"], voices=("vits-joe",), **how)
    assert len(read) == 2
    other = dataclasses.replace(base, model={**base.model, "width": 32})
    with pytest.raises(TrainingError, match="another recipe"):
        vocoder_parts.trained(other, "no-noise", steps=3, folder=tmp_path / "runs", threads=1)


def test_the_command_trains_and_judges(small, tmp_path, monkeypatch, capsys):
    base, read = small
    monkeypatch.setattr(vocoder_parts.recipes, "load", lambda path: base)
    monkeypatch.setattr(vocoder_parts, "Scorer", lambda threads: Judge())
    monkeypatch.setenv("SPEECH_OUTPUTS", str(tmp_path / "outputs"))
    given = ["--out", str(tmp_path / "runs"), "--steps", "3", "--threads", "1"]
    for case in ("whole", "width-128"):
        assert vocoder_parts.main([*given, "--cases", case]) == 0
    assert vocoder_parts.main([*given, "--cases", "whole,width-128", "--judge", "quick", "--clips", "1"]) == 0
    assert len(read) == 2 and "width-128" in capsys.readouterr().out
    table = results.read(tmp_path / "outputs" / "quick" / "results")
    assert {"whole@parts", "width-128@parts"} <= set(table.variant)
    assert vocoder_parts.main([*given, "--cases", "hole"]) == 1
    assert "did you mean 'whole'" in capsys.readouterr().err


def rows(run, **cases: tuple[float, float, float]) -> pd.DataFrame:
    """Rows of the study: case -> (difference of predicted MOS, half its interval, p value)."""
    names = ("istft", "whole@parts", "torch/cpu")
    for metric, value in (("mos_predicted", 3.5), ("pesq_wb", 2.5), ("wer", 0.1)):
        run.add(*names, metric, value, n=80, detail={"steps": 1500})
    for case, (difference, half, p) in cases.items():
        detail = {"difference": difference, "p_value": p}
        detail |= {"ci_low": difference - half, "ci_high": difference + half}
        names = ("istft", f"{case.replace('_', '-')}@parts", "torch/cpu")
        run.add(*names, "mos_predicted", 3.5 + difference, n=80, baseline="whole@parts", detail=detail)
    return results.read(run.path)


def test_what_it_found_is_told_and_drawn_from_its_rows(tmp_path):
    nothing = results.read()
    assert vocoder_parts_found.verdict(nothing) is None and vocoder_parts_found.changes(nothing).empty
    assert worth.draw(vocoder_parts_found.changes(nothing)) is None
    run = results.Run("02_training", tmp_path)
    table = rows(run, no_noise=(-0.3, 0.1, 0.001), width_128=(0.1, 0.05, 0.01), no_jury=(-0.02, 0.1, 0.7))
    assert vocoder_parts_found.verdict(table) == (
        "After 1,500 steps from nothing copies by the whole vocoder have a predicted MOS of 3.50, a PESQ "
        "of 2.50 and a WER of 10.0 % (80 clips). Predicted MOS is lower without noise (-0.30, p = 0.001); "
        "higher with a trunk of width 128 (+0.10, p = 0.010); within chance of that without any discriminator "
        "(-0.02, p = 0.700)."
    )
    figure = worth.draw(vocoder_parts_found.changes(table))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["no-noise", "no-jury", "width-128"]
    ends = sorted(x for x, _ in axes.collections[0].get_segments()[0])
    assert ends == pytest.approx([-0.4, -0.2]) and "more is better" in axes.get_xlabel()


@pytest.mark.slow
def test_a_real_voice_is_copied_and_judged(tmp_path):
    from lib.measure.scorer import Scorer

    base = recipe.find("study", "istft-parts")
    base = dataclasses.replace(
        base,
        data={**base.data, "voices": ["vits-joe"], "train": 2},
        model={**base.model, "width": 32, "blocks": 1, "segment_frames": 16},
        training=dataclasses.replace(base.training, batch_size=2),
    )
    run = results.Run("02_training", tmp_path)
    vocoder_parts.study(
        run,
        base,
        Scorer(threads=1),
        cases=["whole", "no-minimum-phase"],
        voices=("vits-joe",),
        steps=3,
        n_clips=2,
        folder=tmp_path / "runs",
        threads=1,
    )
    wide = results.read(run.path).pivot(index="variant", columns="metric", values="value")
    assert {"mos_predicted", "wer", "asr_nll", "pesq_wb", "stoi", "f0_error_cents"} <= set(wide.columns)
    assert wide.loc["whole@parts", "mos_predicted"] > 1
