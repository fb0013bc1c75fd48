"""Does the recogniser learn what it is shown, on every path that is known to fail in silence, and does it come back?"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import shutil
import types

import numpy as np
import pytest
import torch
import transformers

from lib.corpora import domains
from lib.corpora.base import Utterance
from lib.errors import AudioError, MissingDataError, ParameterError, TextError, TrainingError
from lib.optimize import finetuned, lora, variant
from lib.optimize.lora import Adapter
from lib.studies import recogniser as study
from lib.systems import whisper
from lib.systems.whisper import ctranslate2_weights, written
from lib.training import recogniser, recogniser_checkpoints, recogniser_data
from lib.training.recogniser import Settings

RATE = 16_000
SHORT = Settings(steps=4, batch=2, evaluate_every=2, window_s=2.0, learning_rate=1e-3, warmup=0, patience=9)
TEXTS = ("the old man opened the door", "there is no message", "press the star key", "all lines are busy now")
LORA = Adapter("lora", 4, 8.0, ("attention",))


@functools.cache
def extractor():
    return transformers.WhisperFeatureExtractor()


@functools.cache
def tokenizer():
    return whisper.load_tokenizer()


def tiny() -> transformers.WhisperForConditionalGeneration:
    """A recogniser of the same shape and vocabulary, narrow enough for tests, the same each time."""
    torch.manual_seed(0)
    special = {"bos_token_id": whisper.EOT, "eos_token_id": whisper.EOT, "pad_token_id": whisper.EOT}
    config = transformers.WhisperConfig(
        vocab_size=51_864,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        dropout=0.0,
        decoder_start_token_id=whisper.SOT,
        **special,
    )
    return transformers.WhisperForConditionalGeneration(config).eval()


def clips(count: int, first: int = 0, seconds: float = 1.5) -> list[domains.Clip]:
    def waveform(n: int) -> np.ndarray:
        rng, t = np.random.default_rng(n), np.arange(round(seconds * RATE)) / RATE
        return (0.2 * np.sin(2 * np.pi * (200 + 90 * n) * t) + 0.01 * rng.standard_normal(len(t))).astype(
            np.float32
        )

    return [
        domains.Clip(
            Utterance(f"u{n}", TEXTS[n % 4], TEXTS[n % 4], "a", "train", RATE, lambda n=n: (waveform(n), RATE))
        )
        for n in range(first, first + count)
    ]


def train(model, run, settings=SHORT, training=None, validation=None):
    return recogniser.train(
        model,
        clips(6) if training is None else training,
        clips(2, 10) if validation is None else validation,
        settings,
        run,
        extractor=extractor(),
        tokenizer=tokenizer(),
    )


def adapted(method: str = "lora", **changes):
    return lora.adapt(tiny(), dataclasses.replace(LORA, method=method, **changes))


def batch(seconds: float = 2.0, count: int = 2) -> dict[str, torch.Tensor]:
    data = recogniser_data.Clips(clips(count), extractor(), tokenizer(), seconds)
    return recogniser_data.collate([data[i] for i in range(count)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder, network, what was learnt) of a run of four steps that nobody stopped."""
    run, model = tmp_path_factory.mktemp("runs") / "lora", adapted()
    return run, model, train(model, run)


# Data


def test_labels_are_the_text_as_whisper_writes_it():
    ids = recogniser_data.labels(clips(1)[0], tokenizer())
    assert ids[0] == whisper.NO_TIMESTAMPS and ids[-1] == whisper.EOT
    assert tokenizer().decode(ids[1:-1]) == " the old man opened the door"
    labels = batch()["labels"]
    assert (labels[1] == recogniser_data.IGNORED).any()  # the shorter text: padding is not learnt
    assert (labels[1] == whisper.EOT).sum() == 1  # but its end is, though padding has the same token


def test_masks_hide_speech_and_are_drawn_by_the_seed():
    plain, one, same, other = (
        recogniser_data.Clips(clips(1), extractor(), tokenizer(), 2.0, masked, seed)[0]["input_features"]
        for masked, seed in ((False, 0), (True, 0), (True, 0), (True, 1))
    )
    assert plain.shape == (80, 200) and np.array_equal(one, same)
    assert (one != plain).any() and (one != other).any()
    assert np.array_equal(one[:, 150:], plain[:, 150:])  # what is silent anyway


def test_a_clip_or_text_that_does_not_fit_is_named():
    long = recogniser_data.Clips(clips(1, seconds=3.0), extractor(), tokenizer(), 2.0)
    with pytest.raises(AudioError, match="3.0 s do not fit into the window of 2 s"):
        long[0]
    wordy = dataclasses.replace(clips(1)[0].utterance, text="supercalifragilistic " * 100)
    with pytest.raises(TextError, match="tokens, the recogniser says at most 448"):
        recogniser_data.labels(domains.Clip(wordy), tokenizer())


# The window


def test_a_short_window_has_the_first_positions_and_leaves_the_network_as_it_was():
    model = tiny()
    whole = model.model.encoder.embed_positions
    with recogniser_data.window(model, 2.0):
        assert model.model.encoder.embed_positions.weight.shape[0] == 100
        assert torch.equal(model.model.encoder.embed_positions.weight, whole.weight[:100])
        assert model(**batch(2.0)).loss.isfinite()
    assert model.model.encoder.embed_positions is whole and model.config.max_source_positions == 1500
    with pytest.raises(ValueError, match="3000"):  # transformers refuses it outside
        model(**batch(2.0))
    for seconds in (31.0, 0.013):
        with pytest.raises(ParameterError, match="multiple of 0.02 s, at most 30 s"):
            with recogniser_data.window(model, seconds):
                pass


# Known traps


def test_a_task_type_of_peft_would_call_the_network_with_tokens_of_text():
    """Why adapters are put into the network itself: peft's wrapper for sequences passes `input_ids` to it."""
    import peft

    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="SEQ_2_SEQ_LM")
    wrapped = peft.get_peft_model(tiny(), config)
    with recogniser_data.window(wrapped.base_model.model, 2.0):
        with pytest.raises(TypeError, match="input_ids"):
            wrapped(**batch())
    model = adapted()
    with recogniser_data.window(model, 2.0):
        model(**batch()).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def gradients(model, **options) -> dict[str, float]:
    """Name -> size of the gradient of all that learns, with activations computed twice."""
    model.model.decoder.embed_positions.weight.requires_grad_(
        True
    )  # so that the decoder's layers learn either way
    model.train()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    with recogniser_data.window(model, 2.0):
        model(**batch(), use_cache=False).loss.backward()
    return {
        n: 0.0 if p.grad is None else float(p.grad.norm())
        for n, p in model.named_parameters()
        if p.requires_grad
    }


@pytest.mark.filterwarnings("ignore")
def test_checkpointing_would_cut_the_gradient_behind_frozen_convolutions():
    cut, ours = gradients(adapted(), use_reentrant=True), gradients(adapted(), use_reentrant=False)
    encoder = [name for name in ours if ".encoder." in name and "lora_B" in name]
    assert len(encoder) == 8
    assert all(cut[name] == 0 for name in encoder)  # the trap: nothing there learns, without a word
    assert any(size > 0 for name, size in cut.items() if ".decoder.layers." in name)
    assert all(ours[name] > 0 for name in encoder)


def test_training_with_checkpointing_learns_in_the_encoder(tmp_path):
    settings = dataclasses.replace(SHORT, steps=2, gradient_checkpointing=True)
    model = adapted()
    before = {name: value.clone() for name, value in recogniser_checkpoints.learnt_state(model).items()}
    train(model, tmp_path / "run", settings)
    after = recogniser_checkpoints.learnt_state(model)
    assert all((after[n] != before[n]).any() for n in after if ".encoder." in n and "lora_B" in n)
    assert not model.is_gradient_checkpointing


def test_what_learnt_beside_4_bits_is_not_rounded_to_4_bits():
    pytest.importorskip("bitsandbytes")
    model = adapted("qlora")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.02)
    with pytest.raises(ParameterError, match="rounds what was learnt"):
        lora.merge(model)
    packed = {n: v.clone() for n, v in model.state_dict().items() if n.endswith("base_layer.weight")}
    with recogniser_data.window(model, 2.0), torch.no_grad():
        model.eval()(**batch())  # a validation, which repacks weights of 4 bits on some processors
    assert packed and all(torch.equal(value, model.state_dict()[name]) for name, value in packed.items())
    same = finetuned.plain(model)
    assert {type(layer).__name__ for layer in same.modules()}.isdisjoint({"Linear4bit", "Params4bit"})
    with recogniser_data.window(model, 2.0), recogniser_data.window(same, 2.0), torch.no_grad():
        difference = (model(**batch()).logits - same(**batch()).logits).abs().max()
    assert difference <= 1e-4
    assert set(same.state_dict()) == set(tiny().state_dict())


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_merged_weights_compute_the_same(method):
    model = adapted(method)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    same = finetuned.plain(model)
    with recogniser_data.window(model, 2.0), recogniser_data.window(same, 2.0), torch.no_grad():
        ours, theirs, base = (net(**batch()).logits for net in (model, same, model))
        with lora.off(model):
            base = model(**batch()).logits
    assert (ours - theirs).abs().max() <= 1e-4 < (ours - base).abs().max()
    assert study.merge_error(model, batch(), 2.0) == pytest.approx(float((ours - theirs).abs().max()), abs=1e-6)
    assert lora.adaptation(model)  # the trained one still has its adapter


def test_scores_are_compared_where_the_network_learnt(monkeypatch):
    class Elsewhere(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.empty(1, device="meta"))  # a device that is not the batch's

        def forward(self, **batch):
            assert {value.device for value in batch.values()} == {self.weight.device}
            return types.SimpleNamespace(logits=torch.zeros(2))

    monkeypatch.setattr(study.finetuned, "plain", lambda model: model)
    monkeypatch.setattr(study.recogniser_data, "window", lambda *_: contextlib.nullcontext())
    assert (
        study.merge_error(Elsewhere(), {"input_features": torch.zeros(1), "labels": torch.zeros(1)}, 2.0) == 0
    )


# Parts


@pytest.mark.parametrize("part, prefixes", [("encoder", {"encoder"}), ("decoder", {"decoder"})])
def test_only_the_chosen_part_learns(part, prefixes, tmp_path):
    model, before = tiny(), tiny().state_dict()
    recogniser.learn_part(model, part)
    train(model, tmp_path / "run", dataclasses.replace(SHORT, steps=2))
    changed = {n.split(".")[1] for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert changed == prefixes


def test_positions_never_learn():
    model = tiny()
    recogniser.learn_part(model, "all")
    still = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert still == ["model.encoder.embed_positions.weight"]
    with pytest.raises(ParameterError, match="all, encoder, decoder"):
        recogniser.learn_part(model, "head")


# Training


def test_the_loss_falls_and_the_curve_says_so(finished):
    run, _, learnt = finished
    losses = [record["eval_loss"] for record in learnt.curve if "eval_loss" in record]
    assert learnt.steps == 4 and len(losses) == 3 and losses[-1] < losses[0]
    assert learnt.best_loss == min(losses[1:]) and 0 < learnt.parameters[0] < 0.02 * learnt.parameters[1]
    assert list((run / "tensorboard").glob("events.*"))


def test_a_checkpoint_holds_what_learns_alone(finished):
    import safetensors.torch

    run, model, _ = finished
    stored = safetensors.torch.load_file(run / "checkpoint-4" / recogniser_checkpoints.WEIGHTS)
    assert set(stored) == set(recogniser_checkpoints.learnt_state(model)) and all(
        "lora_" in name for name in stored
    )


def test_a_stopped_run_goes_on_to_the_same_weights(finished, tmp_path):
    run, model, learnt = finished
    again = tmp_path / "again"
    shutil.copytree(run, again)
    shutil.rmtree(again / "checkpoint-4")
    resumed = adapted()
    result = train(resumed, again)
    assert result.resumed_from == 2 and result.steps == 4
    ours, theirs = recogniser_checkpoints.learnt_state(resumed), recogniser_checkpoints.learnt_state(model)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-7) for name in theirs)
    assert result.best_loss == pytest.approx(learnt.best_loss, abs=1e-6)


@pytest.mark.parametrize("file", [recogniser_checkpoints.WEIGHTS, "optimizer.pt", recogniser_checkpoints.WHOLE])
def test_a_checkpoint_cut_mid_write_is_passed_over(finished, tmp_path, file, caplog):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    cut = run / "checkpoint-4" / file
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    assert recogniser_checkpoints.newest_whole(run).name == "checkpoint-2"
    assert file in caplog.text and "goes on from the one before" in caplog.text
    with pytest.raises(TrainingError, match="is not whole"):
        recogniser_checkpoints.load_learnt(adapted(), run / "checkpoint-4")


def test_a_checkpoint_of_another_method_or_shape_is_refused(finished):
    checkpoint = finished[0] / "checkpoint-4"
    with pytest.raises(TrainingError, match="weights of another part"):
        recogniser_checkpoints.load_learnt(adapted(modules=("feed-forward",)), checkpoint)
    with pytest.raises(TrainingError, match="does not fit"):
        recogniser_checkpoints.load_learnt(adapted(rank=2), checkpoint)
    with pytest.raises(MissingDataError, match="no checkpoint"):
        recogniser_checkpoints.load_learnt(adapted(), checkpoint.with_name("checkpoint-99"))


def test_a_folder_of_another_run_is_refused(finished):
    with pytest.raises(TrainingError, match="differs in learning_rate"):
        train(adapted(), finished[0], dataclasses.replace(SHORT, learning_rate=1e-4))
    with pytest.raises(TrainingError, match="differs in training"):
        train(adapted(), finished[0], training=clips(5))


def test_training_ends_when_validation_does_not_improve(tmp_path):
    settings = dataclasses.replace(SHORT, steps=12, evaluate_every=1, patience=2, learning_rate=1e-12)
    learnt = train(adapted(), tmp_path / "run", settings)
    assert (learnt.steps, learnt.best_step) == (3, 1)


def test_a_step_is_timed_without_validation_and_checkpoints(tmp_path, monkeypatch):
    """Full fine-tuning writes a hundred times as much: that is no time of a step."""
    clock, model = [0.0], adapted()
    monkeypatch.setattr(recogniser, "time", types.SimpleNamespace(perf_counter=lambda: clock[0]))

    def spend(seconds):
        clock[0] += seconds

    model.register_forward_hook(lambda *_: spend(0.5 if model.training else 20.0))
    monkeypatch.setattr(recogniser, "mark_whole", lambda folder: (mark(folder), spend(300.0)))
    assert train(model, tmp_path / "run").steps_per_s == 2.0


mark = recogniser_checkpoints.mark_whole


def test_too_little_data_is_said(tmp_path):
    with pytest.raises(ParameterError, match="1 clip to train on cannot be learnt from"):
        train(adapted(), tmp_path / "run", training=clips(1))
    with pytest.raises(ParameterError, match="0 clips to validate on"):
        train(adapted(), tmp_path / "run", validation=[])
    with pytest.raises(ParameterError, match="on both sides"):
        train(adapted(), tmp_path / "run", validation=clips(2))
    with pytest.raises(TrainingError, match="no weight of this network learns"):
        train(tiny().requires_grad_(False), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    model = adapted()
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "lora_A" in n).fill_(float("nan"))
    with pytest.raises(TrainingError, match="the loss is nan at step 1"):
        train(model, tmp_path / "run")


# Deployment


@functools.cache
def changed_weights() -> dict[str, torch.Tensor]:
    """The real recogniser's, every one of them a little different."""
    model = whisper.load_model()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.01 * torch.randn(parameter.shape[0]).reshape(-1, *[1] * (parameter.ndim - 1)))
    return model.state_dict()


def test_the_published_weights_go_back_into_the_published_file():
    published = (whisper.folder() / "model.bin").read_bytes()
    assert written.model_file(whisper.load_model().state_dict()) == published
    with pytest.raises(ParameterError, match="is missing"):
        written.model_file({})


def test_changed_weights_are_all_in_the_file():
    """Read back by the other direction's code: every weight as it was changed, to half precision's rounding."""
    file = written.model_file(changed_weights())
    published = ctranslate2_weights.parse((whisper.folder() / "model.bin").read_bytes())
    ours = ctranslate2_weights.parse(file)
    same = [n for n, t in published.tensors.items() if t.ndim and np.array_equal(t, ours.tensors[n])]
    assert same == [] and ours.aliases == published.aliases


@pytest.mark.parametrize("target", ["torch/cpu", "ctranslate2/cpu"])
def test_a_finetuned_recogniser_is_a_variant_that_any_process_loads(target, tmp_path):
    from lib import systems

    model = whisper.load_model()
    model.load_state_dict(changed_weights())
    file = finetuned.write(model, tmp_path / "weights.safetensors")
    base = systems.load("whisper-tiny.en", target=target, threads=1)
    made = variant.make(base, "finetuned", variant="full@hard", weights=str(file))
    variant.save(made, tmp_path / "variant")
    loaded = variant.load(tmp_path / "variant", threads=1)
    if target == "torch/cpu":  # as many bytes as the published weights, which are in half precision, too
        assert made.size_mb == pytest.approx(base.size_mb, rel=0.05)
    assert loaded.variant == "full@hard" and loaded.weights_key() == made.weights_key() != base.weights_key()
    with pytest.raises(MissingDataError, match="fine-tune first"):
        variant.make(base, "finetuned", weights=str(tmp_path / "none"))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="cut short"):
        variant.make(base, "finetuned", weights=str(file))


def test_a_finished_run_is_found_again_and_no_other(finished, tmp_path, monkeypatch):
    from lib.studies.recogniser_clips import Plan

    plan = Plan(settings=dataclasses.replace(SHORT, learning_rate=study.METHODS["lora-r8"].rate))
    run = study.home("lora-r8", plan, tmp_path, "clips")
    shutil.copytree(finished[0], run)
    (run / study.WEIGHTS).write_bytes(b"whole")
    kept = {"share_pct": 0.8, "learnt_mb": 1.2, "by": "0123abcdef on a machine, 2026-11-01"}
    kept |= {
        "merge_error": 2e-5,
        "peak_rss_mb": 900.0,
        "added_mb": 200.0,
        "learnt": dataclasses.asdict(finished[2]),
    }
    (run / study.OUTCOME).write_text(json.dumps(kept))
    found = study.trained("lora-r8", plan, tmp_path, "clips")
    assert found.learnt == finished[2] and found.share_pct == 0.8 and found.added_mb == 200
    assert found.by == kept["by"]  # what an earlier run's clock and memory said is marked as its own
    asked = []
    monkeypatch.setattr(study.process, "call", lambda *_, **__: asked.append(1) or 1 / 0)
    others = ({"settings": dataclasses.replace(SHORT, steps=5)}, {"train_read": 7}, {"voices": ("hibari",)})
    for changed in others:  # a run that learnt otherwise, or from other clips, is another run
        with pytest.raises(ZeroDivisionError):
            study.trained("lora-r8", dataclasses.replace(plan, **changed), tmp_path, "clips")
    with pytest.raises(ZeroDivisionError):
        study.trained("lora-r8", plan, tmp_path, "clips", rate=1e-4)
    with pytest.raises(ZeroDivisionError):
        study.trained("lora-r8", plan, tmp_path, "other clips")
    assert len(asked) == 5
    assert found.merge_error == 2e-5
    (run / study.OUTCOME).write_text("{")
    with pytest.raises(TrainingError, match="cannot be read"):
        study.trained("lora-r8", plan, tmp_path, "clips")


def test_a_whisper_of_the_hub_listens_by_its_own_marks(tmp_path):
    """From a folder in the hub's form: its own tokenizer and prompt, and labels that begin alike."""
    folder = tmp_path / "whisper-of-somebody.en"
    model = tiny()
    model.generation_config = transformers.GenerationConfig(
        is_multilingual=False,
        no_timestamps_token_id=whisper.NO_TIMESTAMPS,
        decoder_start_token_id=whisper.SOT,
        eos_token_id=whisper.EOT,
        pad_token_id=whisper.EOT,
        max_length=12,
    )
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    extractor().save_pretrained(folder)
    listener = whisper.HubWhisper(str(folder), threads=1)
    assert listener.prompt == (whisper.SOT, whisper.NO_TIMESTAMPS)
    clip = clips(1)[0]
    assert isinstance(listener.transcribe(clip.load(), RATE).text, str)
    assert recogniser_data.labels(clip, listener.tokenizer) == recogniser_data.labels(clip, tokenizer())
    with pytest.raises(MissingDataError, match="take the embedded whisper-tiny.en"):
        whisper.HubWhisper(str(tmp_path / "nothing"))


def test_librispeech_is_not_learnt_in_capitals():
    shouted = dataclasses.replace(clips(1)[0].utterance, text=TEXTS[0].upper())
    assert recogniser_data.labels(domains.Clip(shouted), tokenizer()) == recogniser_data.labels(
        clips(1)[0], tokenizer()
    )


@pytest.mark.parametrize("method", ["dora", "qlora"])
def test_other_adapters_learn_save_and_go_on(method, tmp_path):
    if method == "qlora":
        pytest.importorskip("bitsandbytes")
    settings = dataclasses.replace(SHORT, steps=2, evaluate_every=1)
    model = adapted(method)
    base = {n: v.clone() for n, v in model.state_dict().items() if ".base_layer." in n}
    whole = train(model, tmp_path / "run", settings)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in base.items())
    shutil.rmtree(tmp_path / "run" / "checkpoint-2")
    again = adapted(method)
    resumed = train(again, tmp_path / "run", settings)
    assert resumed.resumed_from == 1 and resumed.best_loss == pytest.approx(whole.best_loss, abs=1e-5)
