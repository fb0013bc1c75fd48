"""What a simulated processor says is judged sentence by sentence beside PyTorch on the same inputs, and its rows are
about a stage, no voice.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import numpy as np
import pytest

from lib import REPOSITORY, deploy, results, systems, targets
from lib.corpora.base import Sentence
from lib.deploy import export, stages
from lib.measure.likelihood import Loss
from lib.measure.scores import ClipScores
from lib.studies import deployment, devices, handed, needs, simulated, spoken
from lib.studies.placed import Placed
from lib.target import Target
from test_deploy import small_stage

SHORT = "The birch canoe."
LONG = "The birch canoe slid on the smooth planks, and nobody said a word about it."

RUNTIME = """
import os
import torch
from lib.deploy.job import Loaded

READS, PRECISIONS, EMULATES = ("network.pt",), ("fp32",), True

def load(job):
    network = torch.load(job.form("network.pt"), weights_only=False).eval()

    def run(inputs):
        with open(os.path.join(job.folder, "answers"), "a") as file:
            file.write(f"{job.device} ")
        with torch.no_grad():
            return [network(torch.from_numpy(inputs[0])).numpy() * ANSWER]

    return Loaded(run, {"latency_ms_p50": 3.0, "cycles": 10.0, "npu_ops_pct": 100.0})
"""


@dataclasses.dataclass
class Ears:
    """A scorer that rates by loudness, and misses words of what is soft."""

    heard: list = dataclasses.field(default_factory=list)

    def rate_all(self, sounds, *, metrics):
        assert metrics == spoken.SPEAKS
        self.heard += [text for _, _, text in sounds]
        loud = [float(np.abs(w).mean()) for w, _, _ in sounds]
        return [
            ClipScores(None, {"mos_predicted": 5 * level}, Loss(3 - level, len(text.split())))
            for level, (_, _, text) in zip(loud, sounds)
        ]

    def rate(self, waveform, sample_rate, *, metrics):
        return ClipScores(None, {"mos_predicted": 3.0})


@pytest.fixture
def simulators(tmp_path, monkeypatch):
    """Two devices each of the simulators soft/..., which answers a hundredth less, and nan/..., with no number."""
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "runtimes"
    folder.mkdir()
    for name, answer in (("soft", "0.99"), ("nan", "float('nan') if inputs[0][0, 0, 0] > 50 else 1.0")):
        source = RUNTIME.replace("ANSWER", f"({answer})")
        (folder / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, f"lib.deploy.{name}", raising=False)
        for device in ("one", "two"):
            full = f"{name}/{device}"
            monkeypatch.setitem(targets.TARGETS, full, Target(full, kind="simulated"))
    (folder / "sitecustomize.py").write_text(
        f"import lib.deploy\nlib.deploy.__path__.append({str(folder)!r})\n"
    )
    path = [str(folder), str(REPOSITORY), str(REPOSITORY / "tests")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setattr(deploy, "__path__", [*deploy.__path__, str(folder)])
    return results.Run("06_gpu_vs_npu", tmp_path / "quick")


def saying(n: int = 8, **others) -> stages.Stage:
    """A long stage with n sentences."""
    rng = np.random.default_rng(1)
    inputs = [(rng.standard_normal((1, 6, 16)).astype(np.float32),) for _ in range(n)]
    said = [
        stages.Spoken(f"sentence {'x ' * i}".strip(), given, lambda outputs: outputs[0].reshape(-1)[:40])
        for i, given in enumerate(inputs)
    ]
    return dataclasses.replace(small_stage(), frames=200, spoken=tuple(said), **others)


def test_a_simulator_is_judged_beside_pytorch_on_the_same_inputs(simulators):
    ears = Ears()
    (one, two) = deployment.compare(
        simulators, [saying()], ["soft/one", "soft/two"], rounds=1, scorer=ears, emulated_frames=25
    )
    assert isinstance(one.judged, spoken.Judged) and two.judged is None, "one simulator for all its devices"
    folder, _ = handed.stage_folder(one.stage, [("soft/one", "fp32")])
    assert (folder / "answers").read_text().split() == ["one"] * 9, (
        "its inputs, then eight sentences, however long"
    )
    rows = results.read(simulators.path)
    mine = rows[(rows.target == "soft/one") & rows.metric.isin((spoken.SNR, *spoken.SPEAKS))].set_index(
        "metric"
    )
    assert set(mine.kind) == {"simulated"} and set(mine.n) == {8} and mine.ci_low.notna().all()
    assert mine.value[spoken.SNR] == pytest.approx(40, abs=0.01), "a hundredth of the amplitude"
    about = json.loads(mine.detail["mos_predicted"])
    assert about["difference"] == pytest.approx(-0.01 * about["pytorch"], abs=1e-3)
    assert mine.value["mos_predicted"] == pytest.approx(0.99 * about["pytorch"], abs=1e-3)
    assert about["ci_low"] <= about["difference"] <= about["ci_high"] and about["n"] == 8
    assert "soft's simulator" in mine.source["asr_nll"] and set(mine.variant) == {"upsampler-fp32@short"}
    assert not set(rows[rows.target == "soft/two"].metric) & set(mine.index)
    shown = spoken.table(rows).iloc[0]
    assert (shown.target, shown.sentences) == ("soft/one", 8) and "->" in shown["Predicted MOS"]
    assert "on soft/one (predicted MOS" in spoken.finding(rows)
    assert list(spoken.sounds([one, two])["vits-joe/upsampler"]) == ["PyTorch, fp32", "fp32 on soft/one"]
    assert needs.voices(rows) == [] and needs.table(rows).empty, "a stage is no voice"


def test_a_neural_processor_that_is_there_is_judged_likewise_and_is_no_voice(simulators, monkeypatch):
    for name in ("soft/npu", "soft/cpu"):
        monkeypatch.setitem(targets.TARGETS, name, Target(name))
    assert Target("soft/npu").neural and not Target("soft/cpu").neural and not Target("soft/cuda").neural
    names = ["soft/npu", "soft/cpu"]
    one, other = deployment.compare(simulators, [saying()], names, rounds=2, scorer=Ears(), emulated_frames=25)
    assert isinstance(one.judged, spoken.Judged) and one.seconds.shape == (2, 1, 1)
    assert other.judged is None and not other.why_not, "for those there is the bench of whole voices"
    rows = results.read(simulators.path)
    mine = rows[rows.metric.isin((spoken.SNR, *spoken.SPEAKS))]
    assert set(mine.target) == {"soft/npu"} and set(mine.kind) == {"measured"} and len(mine) == 3
    assert mine.source.str.endswith("of what soft/npu answered").all()
    assert (spoken.table(rows).target[0], spoken.table(rows).stage[0]) == ("soft/npu", "upsampler-fp32")
    rated = [one.name for one in needs.voices(rows) if one.value("mos_predicted") is not None]
    assert rated == [], "a stage that is timed and judged is no voice"
    (line,) = simulated.read(rows)
    assert (line.variant, line.kind) == ("upsampler-fp32", "measured"), "what is judged is no other stage"


def test_what_was_judged_before_devices_were_is_still_read(simulators):
    run = results.Run("06_gpu_vs_npu", simulators.path.parents[1] / "old")
    run.add("vits-joe", "decoder-a8w8", "qnn/sa8255", spoken.SNR, 21.0, kind="simulated", n=8)
    run.add("vits-joe", "baseline", "torch/cpu", "mos_predicted", 4.4, n=8)
    (line,) = spoken.table(results.read(run.path)).itertuples()
    assert (line.stage, line.target, line.sentences) == ("decoder-a8w8", "qnn/sa8255", 8)


def test_what_nobody_is_to_judge_is_asked_nothing(simulators):
    (one,) = deployment.compare(simulators, [saying()], ["soft/one"], rounds=1)
    folder, _ = handed.stage_folder(one.stage, [("soft/one", "fp32")])
    assert one.judged is None and not (folder / "answers").exists(), "its emulator takes minutes"
    nothing = results.read(simulators.path)
    assert spoken.finding(nothing) is None and list(spoken.table(nothing).columns)[0] == "system"


def test_sentences_that_cannot_be_judged_cost_no_other_row(simulators):
    stage = saying(2)
    stage.spoken[1].inputs[0][0, 0, 0] = 99
    (one,) = deployment.compare(simulators, [stage], ["nan/one"], rounds=1, scorer=Ears())
    assert "no number" in one.judged and one.latency_ms.value == 3.0
    rows = results.read(simulators.path).set_index("metric")
    assert rows.kind["mos_predicted"] == "not_run" and "no number" in rows.detail["mos_predicted"]
    assert rows.value["latency_ms_p50"] == 3.0 and rows.value["snr_db"] == 200


def test_two_sentences_have_a_difference_and_no_interval():
    made = spoken.judge(
        saying(2), lambda inputs: [0.5 * a for a in export.run(saying().network, inputs)], Ears()
    )
    assert made.differences["mos_predicted"].n == 2 and made.differences["mos_predicted"].ci is None
    assert made.values[spoken.SNR].value == pytest.approx(6.02, abs=0.01)


def test_a_stage_that_listens_is_judged_by_what_is_understood(tmp_path):
    texts = ("the red house", "green hills", "a dog", "rain", "cold water")
    said = [
        stages.Spoken(text, (np.full((1, 6, 16), i, np.float32),), transcript=lambda outputs: outputs[0])
        for i, text in enumerate(texts)
    ]
    stage = dataclasses.replace(small_stage(), spoken=tuple(said))

    def words(*texts):
        return lambda inputs: [texts[int(inputs[0].flat[0])]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "run", lambda network, inputs: words(*texts)(inputs))
        patch.setattr(spoken, "_numbers", lambda outputs: outputs)
        judged = spoken.judge(stage, words(texts[0], "green pills", *texts[2:]), scorer=None)
    assert judged.values["wer"].value == pytest.approx(1 / 10) and judged.own["wer"].value == 0
    assert judged.differences["wer"].value == pytest.approx(1 / 10) and judged.clips == ()
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    spoken.write(run, Placed(stage, "qnn/sa8255", "a8w8", judged=judged))
    rows = results.read(run.path)
    assert set(rows.metric) == {"wer", "cer"} and set(rows.kind) == {"simulated"}
    assert "vits-joe upsampler-a8w8-f16 on qnn/sa8255 (WER" in spoken.finding(rows)


@pytest.mark.parametrize(
    "label", ["hifigan/generator", "istft/trunk", "vits-joe/decoder", "fastspeech2/decoder"]
)
def test_a_sentence_is_judged_whole_or_not_at_all(label):
    stage = stages.build(label, 120, texts=["Glue the sheet."], spoken=[SHORT, LONG])
    (one,) = stage.spoken
    assert one.text == SHORT and [a.shape for a in one.inputs] == [a.shape for a in stage.inputs]
    waveform = one.waveform(export.run(stage.network, one.inputs))
    assert 40 * 256 < len(waveform) < 120 * 256 and len(waveform) % 256 == 0
    assert np.abs(waveform[: len(waveform) // 2]).max() > 0.05, "what fills the bucket is behind it"
    assert stage.batched(2).spoken == ()


def test_the_recogniser_understands_what_an_encoder_made_elsewhere():
    stage = stages.build("whisper-tiny.en/encoder", texts=[SHORT], spoken=[SHORT])
    (one,) = stage.spoken
    outputs = export.run(stage.network, one.inputs)
    voice, recogniser = systems.load("vits-joe"), systems.load("whisper-tiny.en")
    clip = voice.synthesize(SHORT, 0)
    assert one.transcript(outputs) == recogniser.transcribe(clip.waveform, clip.sample_rate).text != ""
    assert one.transcript([np.zeros_like(outputs[0])]) != one.transcript(outputs)


def test_short_sentences_are_chosen_by_their_characters():
    texts = [Sentence(str(n), "x" * n, "test") for n in (50, 40, 20, 10)]
    assert [len(s.text) for s in devices.short(texts, 2, 200)] == [40, 20] and devices.short(
        texts, 0, 200
    ) == []
