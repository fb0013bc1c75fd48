"""`hibari-small` while its sentence is still being decoded: the samples of the whole, the first of them early."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lib import results, systems
from lib.errors import ParameterError, TextError
from lib.measure import bench_child
from lib.measure.benched import Benched
from lib.studies import first_sound, whole_voices
from lib.systems.base import PAUSE_S
from lib.systems.hibari_small import PARTS, HibariSmallConfig, network, signal
from lib.systems.hibari_small.config import N_PLACE, N_SPECTRA
from lib.systems.hibari_small.speaking import CHUNK, chunks

TARGETS = ("torch/cpu", "onnxruntime/cpu")
DEEP = HibariSmallConfig(16, 2, 1, 1, 1, 16, 3)  # frames see 12 to either side
LONG = "The birch canoe slid on the smooth planks, and nobody saw it, because it was dark and late."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    networks = network.build(DEEP, seed=3)
    torch.nn.init.normal_(networks["decoder"].blocks[0].scale)  # so that what is far away is heard
    with torch.no_grad():
        networks["decoder"].prosody_head.bias[0] = 1.0  # and something is voiced
    return PARTS.save(
        tmp_path_factory.mktemp("voice"), DEEP, {name: one.state_dict() for name, one in networks.items()}, "card"
    )


@pytest.fixture(scope="module")
def voices(folder):
    """Target -> the voice, on one thread."""
    return {target: systems.load("hibari-small", target=target, threads=1, checkpoint=folder) for target in TARGETS}


def off(said: np.ndarray, whole: np.ndarray) -> float:
    """The largest difference, of the peak."""
    assert said.shape == whole.shape and said.dtype == np.float32
    return np.abs(said - whole).max() / np.abs(whole).max()


@pytest.mark.parametrize("target", TARGETS)
def test_the_pieces_are_the_whole_and_the_first_comes_before_the_rest_is_decoded(target, voices, monkeypatch):
    voice, asked = voices[target], []
    decode = voice.decode
    monkeypatch.setattr(voice, "decode", lambda held, *rest: asked.append(len(held)) or decode(held, *rest))
    pieces = voice.stream(LONG, 3)
    assert voice.streams and not asked, "nothing is computed before somebody listens"
    first = next(pieces)
    assert asked == [CHUNK + DEEP.context] and len(first) == CHUNK * signal.HOP - signal.N_FFT // 2
    said = np.concatenate([first, *pieces])
    n, parts = len(said) // signal.HOP, len(chunks(len(said) // signal.HOP))
    assert len(asked) == parts > 2 and sum(asked) == n + 2 * DEEP.context * (parts - 1)
    whole = voice.synthesize(LONG, 3).waveform
    assert off(said, whole) < 1e-5 and asked[-1] == n


@pytest.mark.parametrize("target", TARGETS)
def test_any_sentence_comes_out_whole(target, voices):
    """Short ones, several with their pauses, and one that the package splits."""
    split = ", ".join(["the birch canoe slid on the smooth planks"] * 14) + "."
    assert len(voices[target]._read(split)) > 1
    for seed, text in enumerate(("Oh.", "Why not? Rice is cheap.", split)):
        said = np.concatenate(list(voices[target].stream(text, seed)))
        assert off(said, voices[target].synthesize(text, seed).waveform) < 1e-5
    begin = len(voices[target].speak("Why not?", 1).waveform)
    two = np.concatenate(list(voices[target].stream("Why not? Rice is cheap.", 1)))
    assert not two[begin : begin + round(PAUSE_S * signal.RATE)].any()
    with pytest.raises(TextError):
        next(voices[target].stream("日本"))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_the_zoo_s_own_comes_out_whole(target):
    voice = systems.load("hibari-small", target=target, threads=1)
    for seed, text in enumerate(("Why not?", LONG)):
        assert off(np.concatenate(list(voice.stream(text, seed))), voice.synthesize(text, seed).waveform) < 1e-5


def test_a_frame_sees_its_context_and_no_more():
    decoder = network.build(DEEP)["decoder"].eval()
    held = torch.randn(1, 80, DEEP.width + N_PLACE, requires_grad=True)
    decoder(held, network.Heard(torch.full((1, 80), 150.0), torch.zeros(1, 80)))[0, 40].sum().backward()
    seen = torch.nonzero(held.grad[0].abs().sum(-1))[:, 0]
    assert (int(seen.min()), int(seen.max())) == (40 - DEEP.context, 40 + DEEP.context)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 40])
def test_wherever_the_synthesis_is_cut_it_gives_the_samples_of_the_whole(n):
    rng = np.random.default_rng(n)
    spectra = (rng.standard_normal((n, N_SPECTRA)) / 2 - 3).astype(np.float32)
    hz = np.where(np.arange(n) % 20 < 12, 150 + 3 * np.arange(n), 0).astype(np.float32)
    whole = signal.spoken(spectra, hz, 5)
    assert whole.shape == (n * signal.HOP,)
    for sizes in ([1] * n, [n], [min(2, n), n - min(2, n)], [n // 3, n // 3, n - 2 * (n // 3)]):
        synthesis, begin, said = signal.Synthesis(hz, 5), 0, []
        for size in (size for size in sizes if size):
            said.append(synthesis.push(spectra[begin : begin + size]))
            begin += size
            before_end = max(0, begin - signal.PARTS // 2) * signal.HOP
            assert sum(map(len, said)) == (n * signal.HOP if begin == n else before_end)
        assert off(np.concatenate(said), whole) < 1e-6, sizes


def test_chunks_grow_and_miss_nothing():
    for n in range(1, 700):
        parts = chunks(n)
        assert [end for _, end in parts[:-1]] == [begin for begin, _ in parts[1:]]
        assert parts[0][0] == 0 and parts[-1][1] == n and all(end - begin >= min(n, CHUNK) for begin, end in parts)


def test_the_bench_hears_it(folder, tmp_path):
    path, threads = str(tmp_path / "texts.npz"), torch.get_num_threads()
    bench_child.save_inputs(path, "text", [LONG, "Yes."])
    for target in TARGETS:
        origin = {"system": "hibari-small", "target": target, "settings": {}, "checkpoint": str(folder)}
        answer = bench_child.one_round(origin, "text", path, threads=threads, passes=2, seed=0, turn=0)
        first, stalled = np.array(answer["first_audio_s"]), np.array(answer["stalled_s"])
        assert first.shape == stalled.shape == (2, 2) and (first > 0).all() and (stalled >= 0).all()


def test_named_alone_it_is_heard_where_it_is_benched_and_where_it_would_not_be(tmp_path, monkeypatch):
    def bench(candidates, inputs, **how):
        return {
            label: Benched(
                one,
                seconds=np.full((3, 1, 8), 0.1),
                audio_s=np.full(8, 2.0),
                first_audio_s=np.full((3, 1, 8), 0.04),
                stalled_s=np.zeros((3, 1, 8)),
                **{name: np.ones(3) for name in ("cold_start_s", "load_s", "first_sentence_s", "peak_rss_mb")},
            )
            for label, one in candidates.items()
        }

    monkeypatch.setattr(whole_voices.bench, "bench", bench)
    run, name = results.Run("06_gpu_vs_npu", tmp_path / "quick"), "hibari-small"
    for targets in (["onnxruntime/cpu"], []):
        how = {"streamed": [name], "streamed_on": ["onnxruntime/cpu"]}
        made = whole_voices.compare(run, [name], targets, [LONG] * 8, **how)
        assert list(made) == [f"{name} on torch/cpu", f"{name} on onnxruntime/cpu"]
    assert first_sound.finding({f"{name} on onnxruntime/cpu": made[f"{name} on onnxruntime/cpu"]}) == (
        f"Streamed: {name} on onnxruntime/cpu is heard after 40 [40, 40] ms, its sentence done after 100 [100, 100] "
        "ms; behind the first sound no gap."
    )
    rows = results.read(run.path)
    heard = rows[rows.metric == "first_audio_ms"]
    assert set(heard.variant) == {"baseline"} and set(heard.target) == set(TARGETS)
    with pytest.raises(ParameterError, match="hibari does not stream: name a vocoder"):
        first_sound.candidates(run, "hibari", ["hibari"], ["onnxruntime/cpu"])
