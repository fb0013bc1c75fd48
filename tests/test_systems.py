"""Every system speaks, repeats itself under a seed, and refuses what cannot be spoken; the two vits-joe agree."""

import functools

import numpy as np
import pytest

from lib import systems
from lib.corpora import gutenberg
from lib.errors import ParameterError, SpeechError, TextError
from lib.systems import symbols
from lib.systems.vits_joe import piper

LARGE = ("speecht5-base", "onnxruntime/cpu")  # 1.3 GB in memory: `test_onnx_acoustic` speaks with it
CPU = [
    (name, target)
    for name in systems.names()
    for target in systems.targets(name)
    if target.endswith("/cpu") and (name, target) != LARGE
]
load = functools.cache(systems.load)
SENTENCE = "The birch canoe slid on the smooth planks."


def voice(name, target):
    return load(name, target=target, threads=2)


@pytest.mark.parametrize(("name", "target"), CPU)
def test_the_same_seed_gives_the_same_speech(name, target):
    first, second = (voice(name, target).synthesize(SENTENCE, seed=1) for _ in range(2))
    assert np.array_equal(first.waveform, second.waveform)
    assert first.waveform.dtype == np.float32 and first.waveform.ndim == 1 and np.abs(first.waveform).max() <= 1
    assert 1.5 < first.audio_s < 5 and first.compute_s > 0


@pytest.mark.parametrize(("name", "target"), CPU)
def test_another_seed_gives_other_noise_where_a_system_draws_any(name, target):
    system = voice(name, target)
    first, second = (system.synthesize(SENTENCE, seed).waveform for seed in (1, 2))
    assert np.array_equal(first, second) == (not system.draws)


@pytest.mark.parametrize(("name", "target"), CPU)
@pytest.mark.parametrize("text", ["", "   \n", "?!...", "😀"])
def test_text_without_anything_to_speak_is_refused(name, target, text):
    with pytest.raises(TextError):
        voice(name, target).synthesize(text)


def test_unknown_names_are_named_with_the_nearest():
    with pytest.raises(ParameterError, match="unknown system 'vits-jo': did you mean 'vits-joe'"):
        systems.load("vits-jo")
    with pytest.raises(
        ParameterError, match="unknown target of vits-joe 'torch/gpu': did you mean 'torch/cpu'"
    ):
        systems.load("vits-joe", target="torch/gpu")


def test_the_registry_says_what_a_name_is_and_whose_voice_it_learnt():
    kinds = {name: systems.kind(name) for kind in systems.KINDS for name in systems.names(kind)}
    assert kinds == {name: kind for kind in systems.KINDS for name in systems.names(kind)}
    assert systems.kind("openai/whisper-small") == systems.kind("whisper-base.en") == "recogniser"
    assert systems.kind("kakao-enterprise/vits-ljs") == systems.kind("ground-truth") == "speech"
    taught = {name for name, teacher in systems.teachers().items() if teacher in ("vits-joe", "hibari")}
    assert taught >= {"fastspeech2", "tacotron2", "speecht5", "tortoise", *systems.names("vocoder")}
    assert systems.teachers()["hibari-vocoder"] == "hibari"
    assert {name for name, teacher in systems.teachers().items() if teacher is None} >= {"espeak-ng"}


def test_ten_thousand_characters_are_spoken_sentence_by_sentence():
    text = " ".join(s.text for s in gutenberg.split("train", 150))[:10_000]
    system = voice("hibari", "onnxruntime/cpu")
    whole = system.synthesize(text, seed=0)
    from lib.text import sentences

    parts = sentences(text)
    assert len(parts) > 80
    # No quality is lost: each sentence sounds exactly as it does alone.
    last = system.speak(parts[-1], seed=len(parts) - 1).waveform
    assert np.array_equal(whole.waveform[-len(last) :], last)
    pauses = 0.25 * (len(parts) - 1)
    assert whole.audio_s == pytest.approx(
        sum(len(system.speak(p, i).waveform) for i, p in enumerate(parts)) / 24_000 + pauses, abs=0.01
    )


@functools.cache
def published_graph():
    from lib.graphs import session

    return session.open(piper.model_path(), threads=2)


def published(sentence):
    """The voice's untouched ONNX graph without noise: (waveform, ids)."""
    ids = piper.padded_ids(symbols.of(sentence))[None]
    inputs = {
        "input": ids,
        "input_lengths": np.array([ids.shape[1]]),
        "scales": np.array([0, 1, 0], np.float32),
    }
    return published_graph().run(None, inputs)[0].reshape(-1)


def silent_noise(system, threads=2):
    """The system again, whose noise scales are 0."""
    return systems.load(system.name, target=system.target, threads=threads, noise_scale=0.0, noise_w=0.0)


@pytest.mark.parametrize(
    ("target", "threads", "tolerance"),
    [
        ("torch/cpu", 2, 1e-4),
        ("onnxruntime/cpu", 2, 1e-6),  # cut at its random nodes, the graph still computes the same
        ("onnxruntime/cpu", 1, 1e-5),  # the blocked decoder adds in another order; a third of a 16-bit step
    ],
)
def test_vits_joe_matches_the_published_graph_on_ten_sentences(target, threads, tolerance):
    system = silent_noise(voice("vits-joe", target), threads)
    for sentence in gutenberg.split("test", 10):
        expected, got = published(sentence.text), system.synthesize(sentence.text).waveform
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= tolerance, sentence.id


def test_both_runtimes_of_vits_joe_say_the_same_with_noise():
    torch_voice, onnx_voice = (voice("vits-joe", t) for t in ("torch/cpu", "onnxruntime/cpu"))
    a, b = torch_voice.synthesize(SENTENCE, 5), onnx_voice.synthesize(SENTENCE, 5)
    assert a.phones == b.phones and a.frames == b.frames
    assert np.abs(a.waveform - b.waveform).max() <= 1e-4


def test_vits_joe_knows_its_phones_and_their_exact_frames():
    speech = voice("vits-joe", "onnxruntime/cpu").synthesize(SENTENCE, 0)
    assert speech.phones[0] == "^" and speech.phones[-1] == "$" and "b" in speech.phones
    assert len(speech.phones) == len(speech.frames)
    assert sum(speech.frames) * piper.SAMPLES_PER_FRAME == len(speech.waveform)


def test_piper_ids_are_padded_between_symbols():
    table = symbols.voice_config()["phoneme_id_map"]
    ids = piper.padded_ids(("^", "h", "$"))
    assert ids.tolist() == [1, 0, table["h"][0], 0, 2]
    assert piper.frames_per_symbol(np.array([1, 2, 3, 4, 5.0])) == (1, 5, 9)


def test_parameters_and_sizes_are_those_of_the_weights():
    assert voice("vits-joe", "torch/cpu").params_m == pytest.approx(15.65, abs=0.005)
    assert voice("vits-joe", "onnxruntime/cpu").params_m == pytest.approx(15.65, abs=0.005)
    assert voice("vits-joe", "torch/cpu").loaded_mb == pytest.approx(15.65 * 4, rel=0.01)
    assert voice("hibari", "onnxruntime/cpu").params_m == pytest.approx(6.15, abs=0.005)
    assert voice("hibari", "onnxruntime/cpu").loaded_mb == pytest.approx(7.94, abs=0.01)
    assert voice("hibari", "onnxruntime/cpu").size_mb == pytest.approx(
        13.60, abs=0.01
    )  # its front end weighs, too


def test_broken_weights_are_reported_not_heard():
    system = systems.load("vits-joe", target="torch/cpu")
    system.modules["decoder"].conv_pre.bias.data.fill_(float("nan"))
    with pytest.raises(SpeechError, match="made NaN samples .* its weights are broken"):
        system.synthesize(SENTENCE)


# speecht5-base is speecht5's code in another size
@pytest.mark.parametrize(("name", "target"), [key for key in CPU if key[0] != "speecht5-base"])
def test_two_threads_do_not_mix_their_sentences(name, target):
    from concurrent.futures import ThreadPoolExecutor

    system = systems.load(name, target=target, threads=1)
    texts = [s.text for s in gutenberg.split("train", 4)]
    alone = [system.synthesize(text, 0).waveform for text in texts]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda text: system.synthesize(text, 0).waveform, texts))
    assert all(len(a) == len(b) and np.abs(a - b).max() <= 1e-4 for a, b in zip(alone, together))
