"""A new voice: what learns, what a checkpoint holds, what the old voices lose (nothing), and the variant it becomes."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors
import torch
import yaml
from acoustic_checks import FASTSPEECH2, as_after_training, one_voice, says_frames, two_voices

from lib import optimize, results, systems
from lib.corpora.base import Corpus, Sentence
from lib.errors import ParameterError, TrainingError
from lib.optimize import lora, new_voice
from lib.optimize.lora import Adapter
from lib.measure.benched import Benched
from lib.studies import new_voices, old_voices
from lib.studies.trials import Trial
from lib.systems import fastspeech2, speecht5
from lib.training import checkpoint, recipe
from lib.training.loop import train
from lib.training.task import Validation
from lib.training.tasks.acoustic import MODULE

OLD = ("hibari", "vits-joe")
LEARNING = {"learning_rate": 1e-2, "warm_up": 1, "half_life": 100}
IDS = torch.arange(5, 17).view(2, 6)
SPEECHT5 = dict(
    hidden=32,
    heads=4,
    encoder_layers=1,
    decoder_layers=1,
    feed_forward=64,
    prenet=24,
    postnet=16,
    postnet_layers=2,
    speaker=8,
    relative=10,
    guided=2,
    dropout=0.0,
    postnet_dropout=0.0,
)


@pytest.fixture(scope="module")
def newcomer() -> Corpus:
    """Four short sentences to learn from and one to watch, of somebody whom no base knows."""
    corpus = one_voice()
    renamed = tuple(dataclasses.replace(u, speaker="newcomer") for u in corpus.utterances)
    return dataclasses.replace(corpus, utterances=renamed)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of a small FastSpeech 2 with two voices, which says something."""
    config = fastspeech2.NetworkConfig(**FASTSPEECH2)
    network = says_frames(as_after_training(fastspeech2.build(config, 2)).eval(), 4.0)
    folder = tmp_path_factory.mktemp("base")
    return fastspeech2.checkpoints.save(folder, config, OLD, network.state_dict(), "card")


@pytest.fixture(scope="module")
def learnt(newcomer, base, tmp_path_factory):
    """(the task after four steps of LoRA, its recipe, the loop's outcome, the adapter's file)."""
    return taught(newcomer, base, tmp_path_factory.mktemp("run"), 4)


def taught(corpus, base, folder, steps, method="lora", seed=0):
    task = new_voice.task("fastspeech2", corpus, Adapter(method, 2, 4.0, seed=seed), LEARNING, base)
    settings = recipe.Settings(steps, batch_size=2, checkpoint_every=2, validate_every=4)
    chosen = recipe.Recipe("new-voice-fastspeech2", settings, {"method": method}, {})
    outcome = train(task, chosen, folder)
    file = new_voice.save(task, folder / lora.FILE, {"data": "few", "system": "fastspeech2"})
    return task, chosen, outcome, file


def said(network: torch.nn.Module, speakers=(0, 1)) -> torch.Tensor:
    frames, zeros = torch.full_like(IDS, 2), torch.zeros(IDS.shape)
    with torch.no_grad():
        return network.eval()(IDS, torch.tensor(speakers), frames, zeros, zeros).mel


def test_the_old_voices_stay_bit_for_bit_and_the_new_one_is_another(learnt, base):
    network = learnt[0].plain[MODULE]
    before = fastspeech2.checkpoints.load(base)[2]
    changed = said(network, (2, 2))
    with lora.off(network):
        assert torch.equal(said(network), said(before))
    assert not torch.allclose(changed, said(network, (0, 0)), atol=1e-3)
    assert not torch.allclose(said(network), said(before), atol=1e-4)  # with the adapter on


def test_a_new_voice_begins_as_the_likest_old_one_by_what_it_learns_from(newcomer, base):
    task = new_voice.task("fastspeech2", newcomer, Adapter("speaker"), LEARNING, base)
    network = task.plain[MODULE]
    table = network.network.speaker_id_embedding
    rows = (table.base.weight.mean(0), *table.base.weight)
    likest = {"heard": rows[1], "held out": rows[2]}
    table.own.data.zero_()

    def losses(examples, step):
        """Somebody of whom the held-out clips sound like another old voice than what is learnt from."""
        which = likest["heard" if examples == task.examples[:8] else "held out"]
        return {"mel": float((table.own.detach()[0] - which).square().sum())}

    task.losses = losses
    task.validate = lambda step: Validation(losses(task.validation, step))
    new_voice.begin_as_the_likest(task)
    assert torch.equal(table.own[0], likest["heard"])


def test_it_begins_with_the_lowest_loss_of_the_mel_by_the_first_clips_alone(newcomer, base, monkeypatch):
    monkeypatch.setattr(new_voice, "HEARD", 2)
    task = new_voice.task("fastspeech2", newcomer, Adapter("speaker"), LEARNING, base)
    network = task.plain[MODULE]
    table = network.network.speaker_id_embedding
    begun, losses = table.own.detach().clone(), []
    network.eval()
    for row in (table.base.weight.mean(0), *table.base.weight):
        table.own.data.copy_(row)
        losses.append((task.losses(task.examples[:2], 0)["mel"], row))
    assert len({loss for loss, _ in losses}) == 3
    assert torch.equal(begun[0], min(losses, key=lambda pair: pair[0])[1])


def test_a_checkpoint_holds_the_adapter_alone(learnt):
    task, chosen, outcome, file = learnt
    held = checkpoint.load(outcome.checkpoint, chosen).weights[MODULE]
    own = lora.adaptation(task.plain[MODULE]).own
    assert set(held) == set(own) and {"pitch_mean", "network.speaker_id_embedding.own"} <= set(own)
    assert not any("base_layer" in name for name in own)
    assert sum(v.numel() for v in held.values()) < 0.2 * lora.adaptation(task.plain[MODULE]).total
    assert outcome.validation.keys() >= {"mel", "duration", "pitch"}
    described = lora.describe(file)
    assert described["about"] == {"data": "few", "system": "fastspeech2", "voice": "newcomer"}


def test_a_stopped_training_goes_on_bit_for_bit(learnt, newcomer, base, tmp_path):
    taught(newcomer, base, tmp_path, 2)
    halves = taught(newcomer, base, tmp_path, 4, seed=5)  # whatever it begins with, the checkpoint counts
    whole, other = (lora.own_state(task.plain[MODULE]) for task, *_ in (learnt, halves))
    assert [name for name, value in whole.items() if not torch.equal(value, other[name])] == []


def test_the_new_voices_statistics_are_its_own_and_the_others_stay(learnt, base):
    network, before = learnt[0].plain[MODULE], fastspeech2.checkpoints.load(base)[2]
    pitch = np.concatenate([e.pitch for e in learnt[0].examples])
    assert network.pitch_mean[2].item() == pytest.approx(pitch.mean(), rel=1e-5)
    assert torch.equal(network.pitch_mean[:2], before.pitch_mean) and torch.equal(
        network.mel_mean, before.mel_mean
    )
    batch = learnt[0].collate([learnt[0].item(0, None)])
    assert batch.tensors["speakers"].tolist() == [2] and learnt[0].speakers == (*OLD, "newcomer")


def test_every_method_learns_and_full_changes_the_base(newcomer, base, tmp_path):
    before = fastspeech2.checkpoints.load(base)[2].state_dict()
    for method in ("full", "speaker", "ia3"):
        task, _, outcome, file = taught(newcomer, base, tmp_path / method, 2, method)
        state = task.plain[MODULE].state_dict()
        key = "network.encoder.conformer_layers.0.conv_module.norm.running_mean"
        if method == "full":
            assert not torch.equal(state[key], before[key])
        else:
            assert set(state) == set(lora.adaptation(task.plain[MODULE]).own)
        assert outcome.step == 2 and (new_voice.merge_error(task) is None) == (method != "ia3")
        if method != "speaker":
            system = systems.load("fastspeech2", target="torch/cpu", threads=1, checkpoint=base)
            voice = optimize.make(system, method, file=str(file))
            again = optimize.load(optimize.save(voice, tmp_path / method / "variant"), threads=1)
            assert again.fingerprint() == voice.fingerprint() and again.variant == f"{method}@few"


def test_a_voice_before_a_vocoder_of_one_voice_is_warned_of(learnt, base, caplog, tmp_path):
    given = {"target": "torch/cpu", "threads": 1, "checkpoint": base}
    voice = optimize.make(systems.load("fastspeech2", **given), "lora", file=str(learnt[3]))
    assert voice.vocoder.name == "istft"  # in place of joe's
    assert not [one for one in caplog.records if one.name == "lib.optimize.tuned"]
    deaf = systems.load("fastspeech2", vocoder="istft", **given)
    settings = yaml.safe_load((deaf.vocoder.folder / "recipe.yaml").read_text())
    settings["data"]["voices"] = ["vits-joe"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    deaf.vocoder.folder = tmp_path
    optimize.make(deaf, "lora", file=str(learnt[3]))
    (said,) = [one.getMessage() for one in caplog.records if one.name == "lib.optimize.tuned"]
    assert "speaks as newcomer through istft, which has heard vits-joe alone" in said


def test_it_becomes_a_variant_that_any_process_can_load(learnt, base, tmp_path):
    file = learnt[3]
    system = systems.load("fastspeech2", target="torch/cpu", threads=1, checkpoint=base, vocoder="istft")
    voice = optimize.make(system, "lora", file=str(file))
    assert (
        voice.variant == "lora-r2@few" and voice.speakers == (*OLD, "newcomer") and voice.speaker == "newcomer"
    )
    assert system.speakers == OLD
    folder = optimize.save(voice, tmp_path / "variant", data="few")
    again = optimize.load(folder, threads=1)
    assert again.fingerprint() == voice.fingerprint() and again.speaker == "newcomer"
    text = "Good morning."
    assert np.array_equal(again.synthesize(text).waveform, voice.synthesize(text).waveform)
    with safetensors.safe_open(folder / "weights.safetensors", "pt") as stored:
        assert {name.partition("/")[2] for name in stored.keys()} == set(lora.describe(file)["own"])
    assert again.size_mb == pytest.approx(
        system.size_mb + sum(p.stat().st_size for p in folder.iterdir()) / 1e6
    )
    old = again.adjusted(speaker="hibari")
    with lora.off(old.modules[MODULE]):
        silent = old.synthesize(text).waveform
    assert np.array_equal(silent, system.adjusted(speaker="hibari").synthesize(text).waveform)
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(TrainingError, match="cannot be read"):
        optimize.load(folder)


class Ear:
    """Who tells the same sound from another."""

    def similarity(self, voice, sound):
        (before, _), after = voice[0], sound[0]
        return 1.0 if np.array_equal(before, after) else 0.5


def test_what_is_lost_of_an_old_voice_is_a_row(learnt, newcomer, base, tmp_path):
    system = systems.load("fastspeech2", target="torch/cpu", threads=1, checkpoint=base, vocoder="istft")
    full = taught(newcomer, base, tmp_path / "full", 2, "full")[3]
    made = {
        "lora-r2@few": (Trial("lora", 2), SimpleNamespace(file=learnt[3])),
        "full@few": (Trial("full"), SimpleNamespace(file=full)),
    }
    person = SimpleNamespace(sentences=tuple(Sentence(f"s{i}", "Yes.", "test") for i in range(5)))
    run = results.Run("03_finetuning", tmp_path)
    said = old_voices.kept(run, SimpleNamespace(base=system, person=person, heard=made, made=made), Ear())
    assert said == [
        f"{name}: similarity of {', '.join(OLD)} to what they were 0.500 [0.500, 0.500], 5 sentences; switched off, "
        f"{off}."
        for name, off in (("lora-r2@few", "the same samples"), ("full@few", "no way back"))
    ]
    rows = results.read(run.path)
    assert list(rows.metric) == [old_voices.METRIC] * 2 and list(rows.value) == [0.5, 0.5]
    assert list(rows.n) == [5, 5] and list(rows.ci_low) == [0.5, 0.5]  # every sentence, with an interval
    assert json.loads(rows.detail[0]) == {"speakers": list(OLD), "switched_off": "the same samples"}
    with pytest.raises(ParameterError, match="has no adapter"):
        old_voices.switched_off(system, system, OLD, person.sentences, "lora")


def test_what_a_learnt_voice_takes_to_speak_is_paired_as_its_quality_is(learnt, newcomer, base, tmp_path, monkeypatch):
    """The bench itself is tested elsewhere."""
    system = systems.load("fastspeech2", target="torch/cpu", threads=1, checkpoint=base, vocoder="istft")
    files = {
        Trial("full", voice="few"): taught(newcomer, base, tmp_path / "training", 2, "full")[3],
        Trial("lora", 2, voice="few"): learnt[3],
        Trial("lora", 2, voice="few", minutes=1.0): learnt[3],
    }
    for trial, file in files.items():
        new_voices.made_voice(system, trial, file, new_voices.variant_folder(tmp_path, trial))
    made = {trial.variant: (trial, None) for trial in files}
    person = SimpleNamespace(sentences=tuple(Sentence(f"s{i}", f"Number {i}.", "test") for i in range(12)))
    one = SimpleNamespace(base=system, person=person, heard=dict.fromkeys(made), made=made)
    asked = []

    def bench(candidates, texts, **how):
        asked.append((list(candidates), texts, how))
        energy = {"joules": 2.0, "seconds": 1.0, "audio_s": 8.0, "utilization_pct": 50.0}
        energy |= {"kind": "estimated", "source": "CPU seconds"}
        seconds = {"unadapted@new": 0.4, "full@few": 0.4, "lora-r2@few": 0.5}
        starts = ("cold_start_s", "load_s", "first_sentence_s", "peak_rss_mb")
        return {
            label: Benched(
                candidate,
                seconds=np.full((3, 1, 8), seconds[label]),
                audio_s=np.full(8, 1.0),
                energy=(energy,) * 3,
                **{name: np.ones(3) for name in starts},
            )
            for label, candidate in candidates.items()
        }

    monkeypatch.setattr(new_voices.bench, "bench", bench)
    run, known = results.Run("03_finetuning", tmp_path / "study", seed=4), {("fastspeech2", "new"): one}
    assert new_voices.timed(run, known, tmp_path, n_sentences=0) == {} and not asked
    new_voices.timed(run, known, tmp_path, n_sentences=8, rounds=3, threads=1)
    ((labels, texts, how),) = asked
    assert set(labels) == {"unadapted@new", "full@few", "lora-r2@few"}, "the first of each method"
    assert texts == [f"Number {i}." for i in range(8)] and how == {"rounds": 3, "threads": 1, "seed": 4}
    rows = results.read(run.path).set_index(["variant", "metric"])
    assert rows.baseline["full@few", "rtf"] == "unadapted@new" and rows.baseline["lora-r2@few", "rtf"] == "full@few"
    assert json.loads(rows.detail["lora-r2@few", "rtf"])["speedup"]["value"] == pytest.approx(0.8)
    for variant in labels:
        energy = rows.loc[variant, "energy_j_per_audio_s"]
        assert energy.value == pytest.approx(0.25) and energy.kind == "estimated"
        assert rows.value[variant, "utilization_pct"] == pytest.approx(50)


def test_every_old_voice_is_heard_before_and_after(monkeypatch):
    spoken = []

    def speak(system, sentences):
        spoken.append((system.who, system.speaker, [sentence.id for sentence in sentences]))
        return [SimpleNamespace(waveform=np.zeros(1), sample_rate=16_000) for _ in sentences]

    monkeypatch.setattr(old_voices.evaluate, "speak", speak)
    before, after = (
        SimpleNamespace(adjusted=lambda speaker, who=who: SimpleNamespace(who=who, speaker=speaker))
        for who in ("before", "after")
    )
    sentences = [Sentence(f"s{i}", "Yes.", "test") for i in range(5)]
    assert old_voices.likeness(before, after, OLD, sentences, Ear()) == [1.0] * 5
    assert spoken == [
        (who, speaker, ids)
        for speaker, ids in zip(OLD, (["s0", "s2", "s4"], ["s1", "s3"]))
        for who in ("before", "after")
    ]


def test_a_voice_that_cannot_speak_ends_no_other(learnt, base, tmp_path):
    system = systems.load("fastspeech2", target="torch/cpu", threads=1, checkpoint=base)
    gone = tmp_path / "gone.safetensors"
    made = {
        "full@few": (Trial("full"), SimpleNamespace(file=gone)),
        "lora-r2@few": (Trial("lora", 2), SimpleNamespace(file=learnt[3])),
    }
    person = SimpleNamespace(sentences=(Sentence("s", "Yes.", "test"),))
    run = results.Run("03_finetuning", tmp_path)
    said = old_voices.kept(run, SimpleNamespace(base=system, person=person, heard=made, made=made), Ear())
    assert said[0].startswith(f"full@few: not known, for no adapter at {gone}")
    assert said[1].startswith(f"lora-r2@few: similarity of {OLD[0]}")
    rows = results.read(run.path)
    assert list(rows.kind) == ["not_run", "measured"] and str(gone) in rows.detail[0]


def test_merged_it_is_a_checkpoint_like_any_other(learnt, base, tmp_path):
    system = systems.load("fastspeech2", target="torch/cpu", threads=1, checkpoint=base)
    voice = optimize.make(system, "lora", file=str(learnt[3]))
    folder = new_voice.export(voice, tmp_path, "card")
    _, speakers, network = fastspeech2.checkpoints.load(folder)
    assert speakers == (*OLD, "newcomer") and not any("base" in name for name in network.state_dict())
    error = new_voice.merge_error(learnt[0])
    assert 0 < error <= 1e-4  # a sum of products is rounded otherwise
    exact = new_voice.plain(voice.modules[MODULE])
    wanted = said(voice.modules[MODULE], (2, 0))
    assert (said(exact, (2, 0)) - wanted).abs().max() <= 1e-4
    assert (said(network, (2, 0)) - wanted).abs().max() < 0.05 * wanted.abs().max()  # half precision


class Elsewhere(torch.nn.Module):
    """A network on a GPU, which takes no batch of the CPU's before it came there."""

    here = False

    def cpu(self):
        self.here = True
        return self


def test_what_learnt_on_a_gpu_is_merged_beside_batches_of_the_cpu(monkeypatch):
    network = Elsewhere()

    def said(one, batch):
        assert one.here and batch == ["a batch of the CPU's"]
        return torch.zeros(1)

    task = SimpleNamespace(
        plain={MODULE: network},
        validation=[SimpleNamespace(mel=lambda: None)],
        collate=lambda _: ["a batch of the CPU's"],
        said=said,
    )
    monkeypatch.setattr(new_voice.adapter_layers, "of", lambda _: [1])
    monkeypatch.setattr(
        new_voice.lora, "adaptation", lambda _: SimpleNamespace(adapter=SimpleNamespace(method="lora"))
    )
    monkeypatch.setattr(new_voice, "plain", lambda one: one)
    assert new_voice.merge_error(task) == 0.0


def test_what_does_not_fit_is_refused(learnt, base, newcomer, tmp_path):
    system = systems.load("fastspeech2", target="torch/cpu", threads=1, checkpoint=base)
    with pytest.raises(ParameterError, match="was trained by lora, not by dora"):
        optimize.make(system, "dora", file=str(learnt[3]))
    with pytest.raises(TrainingError, match="an adapter of another base"):
        optimize.make(systems.load("fastspeech2", target="torch/cpu", threads=1), "lora", file=str(learnt[3]))
    with pytest.raises(ParameterError, match="no network that an adapter could lie beside"):
        optimize.make(systems.load("hibari"), "lora", file=str(learnt[3]))
    adapter = Adapter("lora", 2)
    with pytest.raises(ParameterError, match="one speaker that the base does not know"):
        new_voice.task("fastspeech2", two_voices(), adapter, LEARNING, base)
    with pytest.raises(
        ParameterError, match="one speaker that the base does not know; the corpus has vits-joe"
    ):
        new_voice.task("fastspeech2", one_voice(), adapter, LEARNING, base)
    with pytest.raises(ParameterError, match="tacotron2 learns no new voice here"):
        new_voice.task("tacotron2", newcomer, adapter, LEARNING)
    with pytest.raises(ParameterError, match="no table of speakers that could grow"):
        new_voice.grow(torch.nn.Linear(2, 2))


def test_speecht5_learns_a_voice_too(newcomer, tmp_path):
    config = speecht5.NetworkConfig(**SPEECHT5)
    network = as_after_training(speecht5.build(config, 2)).eval()
    base = speecht5.checkpoints.save(tmp_path / "base", config, OLD, network.state_dict(), "card")
    task = new_voice.task("speecht5", newcomer, Adapter("lora", 2, 4.0), LEARNING, base)
    settings = recipe.Settings(2, batch_size=2, validate_every=2)
    outcome = train(task, recipe.Recipe("new-voice-speecht5", settings), tmp_path / "run")
    own = lora.adaptation(task.plain[MODULE]).own
    assert "voices.own" in own and set(task.plain[MODULE].state_dict()) == set(own)
    assert outcome.validation.keys() >= {"mel", "stop"} and 0 < new_voice.merge_error(task) <= 1e-4
    before, state = speecht5.checkpoints.load(base)[2], dict(task.plain[MODULE].named_parameters())
    assert torch.equal(state["voices.base.weight"], before.voices.weight)
    assert not torch.equal(state["voices.own"], before.voices.weight.mean(0, keepdim=True))
