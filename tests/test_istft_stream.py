"""`istft` as the mel comes: the same samples as in one go without passes, whatever the chunks are, 4 frames after
their own.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from lib import systems, zoo
from lib.errors import AudioError
from lib.features import HIFIGAN, log_mel
from lib.measure import bench_child
from lib.systems import istft
from lib.systems.istft import signal, stream
from lib.systems.istft.onnx_vocoder import IstftOnnx
from lib.systems.istft.tables import HOP, RATE

TARGETS = {"torch/cpu": istft.Istft, "onnxruntime/cpu": IstftOnnx}
CHUNKS = [1, 3, 16, "random"]


class Exact(torch.nn.Module):
    """The pitch network in double precision. In single precision the order of additions, which changes with the chunk,
    moves F0 by 3e-7, and the pulses with it.
    """

    def __init__(self, pitch: torch.nn.Module):
        super().__init__()
        self.pitch, self.hz = pitch.double(), pitch.hz

    def forward(self, log_mel, memory=None, n_frames=None):
        return self.pitch(log_mel.double(), memory, n_frames)


@pytest.fixture(scope="module")
def mel() -> np.ndarray:
    """3.5 s of a gliding voice in noise, (300, 80)."""
    t = np.arange(300 * HOP) / RATE
    voice = np.sin(2 * np.pi * np.cumsum(130 + 50 * np.sin(4 * t)) / RATE)
    buzz = np.diff(np.floor(np.cumsum(130 + 50 * np.sin(4 * t)) / RATE), prepend=0)
    noise = np.random.default_rng(0).standard_normal(len(t))
    return log_mel((0.1 * voice + 0.4 * buzz + 0.005 * noise).astype(np.float32))


def cut(mel: np.ndarray, size: int | str, seed: int = 1):
    """The mel in chunks."""
    rng, begin = np.random.default_rng(seed), 0
    while begin < len(mel):
        end = begin + (int(rng.integers(1, 30)) if size == "random" else size)
        yield mel[begin:end]
        begin = end


def streamed(vocoder, mel: np.ndarray, size: int | str) -> np.ndarray:
    return np.concatenate(list(vocoder.stream(cut(mel, size))))


def snr_db(wanted: np.ndarray, said: np.ndarray) -> float:
    return 10 * np.log10(np.square(wanted).sum() / np.square(wanted - said).sum())


@pytest.fixture(scope="module")
def exact() -> istft.Istft:
    vocoder = istft.Istft(zoo.folder("istft"), threads=1)
    vocoder.configure(passes=0)  # as it streams
    vocoder.modules["pitch"] = Exact(vocoder.modules["pitch"])
    return vocoder


@pytest.mark.parametrize("size", CHUNKS)
def test_chunks_give_the_samples_of_the_whole(size, exact, mel):
    whole = exact.vocode(mel)
    said = streamed(exact, mel, size)
    assert said.shape == whole.shape == (len(mel) * HOP,) and said.dtype == np.float32
    assert 0.05 < np.abs(whole).max() and np.abs(said - whole).max() < 1e-5


@pytest.mark.parametrize("size", CHUNKS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_zoo_s_own_pitch_moves_by_its_rounding_alone(size, target, mel):
    vocoder = systems.load("istft", target=target, threads=1, passes=0)
    whole, said = vocoder.vocode(mel), streamed(vocoder, mel, size)
    assert np.abs(said - whole).max() < 2e-4 and snr_db(whole, said) > 75


def test_a_minute_does_not_drift(exact, mel):
    """The pulses are at the same place after 10^4 cycles."""
    minute = np.tile(mel, (17, 1))
    whole = exact.vocode(minute)
    said = streamed(exact, minute, 64)
    assert len(minute) * HOP / RATE > 59 and np.abs(said - whole)[-5 * RATE :].max() < 1e-5


@pytest.mark.parametrize("lookaheads", [(2, 0), (3, 1), (0, 4), (0, 0)])
def test_any_length_and_any_look_ahead(lookaheads, tmp_path):
    sizes = dict(width=24, blocks=2, kernel=5, pitch_width=16, pitch_blocks=2)
    config = istft.IstftConfig(**sizes, lookahead=lookaheads[0], pitch_lookahead=lookaheads[1])
    networks = istft.build(config, seed=3)
    torch.nn.init.normal_(networks["trunk"].output.weight, std=0.05)
    istft.save(tmp_path, config, {name: network.state_dict() for name, network in networks.items()}, "")
    rng = np.random.default_rng(0)
    vocoders = [load(tmp_path, threads=1).adjusted(passes=0) for load in TARGETS.values()]
    vocoders[0].modules["pitch"] = Exact(vocoders[0].modules["pitch"])
    for length in (1, 2, 3, 4, 5, 8, 13):
        mel = (-5 + rng.standard_normal((length, 80))).astype(np.float32)
        for vocoder, tolerance in zip(vocoders, (1e-5, 2e-4)):
            whole = vocoder.vocode(mel)
            assert whole.shape == (length * HOP,) and np.abs(whole - vocoders[0].vocode(mel)).max() < 2e-4
            for size in (1, 2, 5, length):
                said = streamed(vocoder, mel, size)
                assert said.shape == whole.shape and np.abs(said - whole).max() < tolerance, (length, size)


@pytest.mark.parametrize("target", TARGETS)
def test_a_sample_is_heard_four_frames_after_its_own(target, mel):
    vocoder, given, heard = systems.load("istft", target=target, threads=1), 0, 0

    def frames():
        nonlocal given
        for frame in mel[:40]:
            assert heard >= HOP * max(0, given - 4), "a sample that four more frames followed was not heard"
            given += 1
            yield frame[None]

    for piece in vocoder.stream(frames()):
        assert len(piece) and (given > 4 or heard == 0)
        heard += len(piece)
        assert given == 40 or heard <= HOP * (given - 3)
    assert heard == 40 * HOP
    first = stream.first_audio(vocoder, mel)
    assert first.frames == 4 and first.frames * HOP / RATE < 0.050 and 0 < first.seconds < 5


@pytest.mark.parametrize("target", TARGETS)
def test_the_bench_times_the_first_sample(target, mel, tmp_path):
    path = str(tmp_path / "mels.npz")
    bench_child.save_inputs(path, "log_mel", [mel, mel[:50]])
    origin, threads = {"system": "istft", "target": target, "settings": {}}, torch.get_num_threads()
    answer = bench_child.one_round(origin, "log_mel", path, threads=threads, passes=2, seed=0, turn=0)
    first, whole = np.array(answer["first_audio_s"]), np.array(answer["seconds"])
    assert first.shape == whole.shape == (2, 2) and (first > 0).all()
    assert np.median(first[:, 0]) < 60 * 4 * HOP / RATE and answer["audio_s"] == [
        300 * HOP / RATE,
        50 * HOP / RATE,
    ]


def test_two_utterances_at_once_do_not_hear_each_other(mel):
    vocoder = systems.load("istft", target="onnxruntime/cpu", threads=1)
    ways = [vocoder.stream(cut(one, 7)) for one in (mel, mel[::-1].copy())]
    pieces = [[], []]
    for number in range(60):
        if (piece := next(ways[number % 2], None)) is not None:
            pieces[number % 2].append(piece)
    for one, said in zip((mel, mel[::-1].copy()), pieces):
        said = np.concatenate(said)
        assert len(said) > 100 * HOP and np.array_equal(said, streamed(vocoder, one, 7)[: len(said)])


def test_what_is_replaced_is_what_streams(mel):
    vocoder = systems.load("istft", threads=1, passes=0)

    def muted(other):
        class Silent(torch.nn.Module):
            def forward(self, log_mel, of_source, hz, memory=None):
                return torch.full((*hz.shape, 3 * signal.BINS), -30.0)

        other.modules["trunk"] = Silent()

    mute = vocoder.derive("mute", muted)
    assert np.abs(streamed(mute, mel[:30], 7)).max() < 1e-4 < np.abs(streamed(vocoder, mel[:30], 7)).max()
    noisy = vocoder.derive("noisy", lambda other: other.modules["noise"].spectra.mul_(2))
    assert np.abs(streamed(noisy, mel[:30], 7) - noisy.vocode(mel[:30])).max() < 2e-4
    assert np.abs(noisy.vocode(mel[:30]) - vocoder.vocode(mel[:30])).max() > 1e-3


def test_a_bad_chunk_is_named(mel):
    vocoder = systems.load("istft", threads=1)
    for bad in (mel[:, :79], np.full_like(mel, np.nan)):
        with pytest.raises(AudioError, match="log-mel of shape"):
            list(vocoder.stream([mel[:20], bad]))
    assert list(vocoder.stream([])) == []


def test_pulses_and_weights_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    phase = np.append(rng.uniform(-0.5, 0.5, 5_000), [0.0, 1e-6, -1e-6, 0.5, -0.5]).astype(np.float32)
    hz = rng.uniform(50, 500, len(phase)).astype(np.float32)
    ours, theirs = (
        stream.pulses(phase, hz),
        signal.pulses(torch.from_numpy(phase), torch.from_numpy(hz)).numpy(),
    )
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
    for n_frames in (1, 2, 3, 4, 9):
        window = signal._window(torch.device("cpu")).square().expand(1, n_frames, signal.SIZE)
        wanted = signal._added(window)[0].clamp_min(1e-2).numpy().reshape(-1, HOP)
        found = np.concatenate([stream.weights(r, 1, n_frames) for r in range(n_frames + 3)])
        assert np.allclose(stream.weights(0, n_frames + 3, n_frames), wanted) and np.allclose(found, wanted)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("target", TARGETS)
def test_the_first_samples_come_before_the_next_frame_would(target, mel, capsys):
    """Frames of 11.6 ms: whoever computes longer for one than it lasts cannot stream frame by frame."""
    vocoder = systems.load("istft", target=target, threads=2)
    stream.first_audio(vocoder, mel)
    times = [stream.first_audio(vocoder, mel) for _ in range(20)]
    best, middle = min(t.seconds for t in times), float(np.median([t.seconds for t in times]))
    with capsys.disabled():
        print(
            f"\n{target}: the first sample after {times[0].frames} frames ({1e3 * 4 * HOP / RATE:.1f} ms) "
            f"and {1e3 * middle:.1f} ms of computing (best {1e3 * best:.1f})"
        )
    assert best < times[0].frames * HOP / RATE


def test_the_window_is_torch_s():
    theirs = torch.hann_window(HIFIGAN.n_fft, dtype=torch.float64).float()
    assert torch.equal(signal._window(torch.device("cpu")), theirs)
    assert dataclasses.astuple(HIFIGAN)[:3] == (RATE, signal.SIZE, HOP)
