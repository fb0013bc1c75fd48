"""`istft`: an exact STFT, pulses at the right pitch, a prior that already speaks, causal networks, training that
resumes bit for bit.
"""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from lib import prosody, publish, systems, zoo, zoo_card
from lib.corpora import fetch, flite
from lib.corpora.base import Corpus, Utterance
from lib.errors import AudioError, MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN, log_mel, log_mel_torch
from lib.measure import evaluate, held_out_voices
from lib.measure.evaluate import Clip
from lib.measure.stats import Estimate
from lib.systems import istft
from lib.systems.istft import signal
from lib.training import checkpoint, recipe, tasks
from lib.training.loop import train
from lib.training.sources import RESUME
from lib.training.tasks import istft as istft_task
from lib.training.tasks import istft_data, istft_losses
from lib.training.tasks import spectrogram_discriminators as judges
from lib.training.tasks.istft import IstftTask, Learning

RATE, HOP = signal.RATE, signal.HOP
SMALL = Learning(
    width=24,
    blocks=1,
    pitch_width=16,
    pitch_blocks=1,
    segment_frames=16,
    past_frames=6,
    adversarial_from=2,
    warm_up=1,
    ramp=1,
    windows=(256,),
    channels=4,
    periods=(3,),
    period_width=1 / 32,
)


def vowel(hz: float, seconds: float = 1.0) -> np.ndarray:
    """Pulses through two resonances, as loud as speech, float32."""
    from scipy.signal import lfilter

    n = int(seconds * RATE)
    phase = torch.from_numpy(np.arange(n) * hz / RATE)
    samples = signal.pulses(phase, torch.full((n,), hz, dtype=torch.float64)).numpy()
    for formant, width in ((600, 90), (1400, 120)):
        radius = np.exp(-np.pi * width / RATE)
        samples = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2], samples)
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


@pytest.fixture(scope="module")
def speech() -> Corpus:
    """Four vowels to train on and one to judge by: no voice needs to be loaded."""

    def utterance(index: int, hz: float, split: str) -> Utterance:
        clip = vowel(hz)
        return Utterance(f"vowel-{index}", "a", "a", "nobody", split, RATE, lambda: (clip, RATE))

    train = tuple(utterance(i, 110.0 + 30 * i, "train") for i in range(4))
    return Corpus("vowels", "", "", (*train, utterance(4, 170.0, "validation")))


def cents(hz: np.ndarray, true: float) -> np.ndarray:
    return 1200 * np.abs(np.log2(hz / true))


def test_the_inverse_stft_gives_back_what_the_stft_saw():
    waveform = torch.randn(2, 20 * HOP)
    again = signal.overlap_add(signal.spectra(waveform))
    assert again.shape == waveform.shape and (again - waveform).abs().max() < 1e-4


@pytest.mark.parametrize("hz", [70.0, 131.3, 440.0])
def test_pulses_have_the_pitch_they_are_given_and_unit_power(hz):
    f0 = torch.full((1, 90), hz)
    waveform = signal.pulses(*signal.integrate(f0))
    found = prosody.f0(waveform[0].numpy() / 20, RATE)
    assert waveform.square().mean().item() == pytest.approx(1, rel=0.05)
    assert np.median(cents(found.hz[found.voiced], hz)) < 3 and found.voiced.mean() > 0.9


def test_a_gliding_pitch_comes_out_where_it_goes_in():
    hz = torch.linspace(100, 200, 172)[None]
    found = prosody.f0(signal.pulses(*signal.integrate(hz))[0].numpy() / 20, RATE)
    true = np.interp(
        np.arange(172) + 0.5, np.arange(172) + 1, hz[0].numpy()
    )  # a frame's middle is half a hop early
    error = 1200 * np.abs(np.log2(found.hz[8:-8] / true[8:-8]))
    assert np.median(error) < 5


def test_a_sample_of_the_pulses_depends_on_no_later_frame():
    hz = 100 + 50 * torch.rand(1, 12)
    changed = hz.clone()
    changed[:, 7:] *= 1.3
    before, after = (signal.integrate(f)[0] for f in (hz, changed))
    assert torch.equal(before[:, : 7 * HOP], after[:, : 7 * HOP]) and not torch.equal(before, after)


@pytest.mark.parametrize("hz", [100.0, 210.0])
def test_the_prior_alone_reproduces_the_mel_of_a_steady_voice(hz):
    original = torch.from_numpy(vowel(hz))[None, : 80 * HOP]
    wanted = log_mel_torch(original)
    f0 = torch.full((1, 80), hz)
    source = signal.spectra(signal.pulses(*signal.integrate(f0)))
    log_h, angle, _ = signal.prior(wanted, signal.source_mel(source))
    copy = log_mel_torch(signal.overlap_add(torch.polar(log_h.exp(), angle) * source))
    middle = slice(5, -5)
    loud = wanted[:, middle] > wanted[:, middle].max() - 5  # nepers: within 43 dB of the loudest band
    assert (copy - wanted)[:, middle][loud].abs().mean() < 0.25


def test_the_prior_of_noise_is_as_loud_as_noise():
    spectra = signal.noise(torch.tensor([500]), 60)  # runs over the loop's end
    waveform = signal.overlap_add(spectra)
    _, _, log_g = signal.prior(log_mel_torch(waveform), torch.zeros(1, 60, 80))
    assert waveform.std().item() == pytest.approx(1, rel=0.05)
    assert log_g[:, 5:-5, :370].mean().abs() < 0.1  # 370 bins: 8 kHz


def test_the_prior_s_phase_is_minimum_phase():
    _, phase = signal._matrices(torch.device("cpu"))
    log_h, angle, _ = signal.prior(-5 + torch.randn(1, 1, 80).cumsum(-1) / 4, torch.zeros(1, 1, 80))
    response = torch.fft.irfft(torch.polar(log_h.exp(), angle))[0, 0]
    assert phase.shape == (80, 513)
    assert response[signal.SIZE // 2 :].square().sum() < 1e-3 * response.square().sum()  # nothing before time 0


def test_frames_become_hops_and_stay_finite():
    modules = istft.build(SMALL.network)
    silence, nonsense = torch.full((1, 1, 80), np.log(HIFIGAN.floor)), torch.full((1, 7, 80), 40.0)
    for log_mels in (torch.randn(2, 9, 80), silence, nonsense):
        with torch.inference_mode():
            waveform = istft.decode(modules, log_mels)
        assert waveform.shape == (len(log_mels), log_mels.shape[1] * HOP) and waveform.isfinite().all()


def test_a_sample_waits_for_four_frames_of_the_mel_and_no_more():
    modules = istft.build(dataclasses.replace(SMALL.network, blocks=3))
    torch.nn.init.normal_(modules["trunk"].output.weight, std=0.05)
    log_mels = torch.randn(1, 30, 80) - 5
    changed = log_mels.clone()
    changed[:, 20:] += 2
    with torch.inference_mode():
        before, after = (istft.decode(modules, m) for m in (log_mels, changed))
    same = (before == after)[0, : (20 - 4) * HOP]
    assert same.all() and not torch.equal(before[:, : 20 * HOP], after[:, : 20 * HOP])


def test_the_pitch_network_counts_in_cents():
    pitch = istft.build(SMALL.network)["pitch"]
    hz = torch.tensor([60.0, 101.7, 250.0, 480.0])
    index = torch.arange(160)
    logits = -0.5 * (index - pitch.position(hz)[:, None]).square()
    assert cents(pitch.hz(logits).numpy(), hz.numpy()).max() < 1
    assert pitch.position(torch.tensor([5.0, 5_000.0])).tolist() == [0, 159]


def test_a_bridge_over_unvoiced_sounds_is_a_whole_number_of_cycles():
    first, second = 0.5 + np.arange(30) / 100, 1.1 + np.arange(30) / 150
    line = istft_data.bridged(np.concatenate([first, second]))
    assert np.allclose(line.at(first) % 1, 0) and np.allclose((line.at(second) + 0.5) % 1, 0.5)
    assert (np.diff(line.times) > 0).all() and (np.diff(line.cycles) > 0).all()
    assert line.hz(np.array([0.65, 1.2])) == pytest.approx([100, 150], rel=0.01)
    assert 100 < line.hz(np.array([0.95]))[0] < 150 and not line.is_voiced(np.array([0.95]))[0]
    assert line.is_voiced(np.array([0.65, 1.2])).all()


def test_a_smooth_line_keeps_its_place_and_loses_its_jitter():
    jitter = np.random.default_rng(0).uniform(-3e-4, 3e-4, 100)
    line = istft_data.smoothed(istft_data.bridged(0.5 + np.arange(100) / 125 + jitter))
    inside = np.linspace(0.6, 1.2, 500)
    assert np.abs(line.at(inside) - (inside - 0.5) * 125).max() < 0.03  # cycles; one pulse's jitter is 0.0375
    assert np.abs(line.hz(inside) - 125).max() < 2.5
    assert line.times[0] < -0.4 and line.is_voiced(inside).all() and not line.is_voiced(np.array([0.3]))[0]


@pytest.mark.parametrize("speed", [0.73, 1.0, 1.37])
def test_pulses_lie_on_the_clip_s_own_at_any_speed(speech, speed):
    """The vowel is made of pulses: correlated with the source of the item, whatever its speed, it peaks at one and
    the same short lag.
    """
    config = dataclasses.replace(
        SMALL, slowest=min(speed, 1.0), fastest=max(speed, 1.0), as_is=float(speed == 1), levelled=0, limited=0
    )
    task = IstftTask(speech, config)
    piece = task.item(1, np.random.default_rng(3))
    source = signal.pulses(torch.from_numpy(piece.phase), torch.from_numpy(piece.pulse_hz)).numpy()
    half = len(source) // 2
    lags = [
        np.argmax(
            [
                np.dot(source[b : b + half // 2], piece.waveform[b + lag : b + lag + half // 2])
                for lag in range(-40, 41)
            ]
        )
        - 40
        for b in (half // 2, half)
    ]
    assert abs(lags[0] - lags[1]) <= 2
    voiced = piece.hz[piece.voiced > 0]
    assert np.allclose(piece.waveform.shape, piece.phase.shape) and len(voiced) > 10
    assert 0.72 * 140 < np.median(voiced) < 1.38 * 140


def test_mels_of_an_acoustic_model_take_the_place_of_true_ones_in_their_share(speech, monkeypatch):
    """They lie frame by frame under the clip as it is, silence beyond its ends; trunk and pitch network hear them."""
    marked = log_mel(vowel(140.0)) + 0.25
    monkeypatch.setattr("lib.training.tasks.predicted_mels.speakers", lambda name: ("nobody",))
    monkeypatch.setattr(
        "lib.training.tasks.predicted_mels.predicted",
        lambda corpus, name, limit, sharpness: {"vowel-1": marked + np.float32(sharpness)},
    )
    config = dataclasses.replace(SMALL, mels_from=("somewhere",), mels_share=0.5)
    sharp = IstftTask(speech, dataclasses.replace(config, mels_sharpness=1.0))
    assert np.array_equal(sharp._mels["vowel-1"], marked + 1)
    task = IstftTask(speech, config)
    items = [task.item(1, np.random.default_rng(seed)) for seed in range(200)]
    given = [i for i in items if i.predicted]
    assert 60 < len(given) < 140
    inner = slice(istft_task.EDGE, -istft_task.EDGE)  # at the edges the true mel looks beyond the piece
    for item in given[:20]:
        true = log_mel_torch(torch.from_numpy(item.waveform)).numpy()
        loud = item.mel.max(1) > -4
        inside = [i for i in range(*inner.indices(len(loud))) if loud[max(i - 4, 0) : i + 5].all()]
        assert np.allclose((item.mel - true)[inside, :40], 0.25, atol=5e-3) and len(inside) > 5
    ends = [item for item in given if (item.mel == np.float32(np.log(HIFIGAN.floor))).all(1).any()]
    assert ends and all(np.abs(item.waveform[: 4 * HOP]).max() == 0 for item in ends if item.mel[4].max() < -11)
    assert not any(i.predicted for i in (task.item(0, np.random.default_rng(seed)) for seed in range(20)))
    batch = task.collate([given[0], next(i for i in items if not i.predicted)])
    assert batch.tensors["predicted"].tolist() == [1, 0]
    heard = {}
    for name in ("trunk", "pitch"):
        task.modules[name].register_forward_hook(
            lambda _, inputs, __, name=name: heard.update({name: inputs[0]})
        )
    list(task.updates(batch, 0))
    for seen in heard.values():
        assert torch.equal(seen[0], batch.tensors["mel"][0, inner])
        assert torch.equal(seen[1], log_mel_torch(batch.tensors["waveform"])[1, inner])
    monkeypatch.setattr("lib.training.tasks.predicted_mels.speakers", lambda name: ("somebody",))
    with pytest.raises(ParameterError, match="speak as somebody"):
        IstftTask(speech, dataclasses.replace(SMALL, mels_from=("somewhere",)))


def test_gradients_reach_every_parameter(speech):
    task = IstftTask(speech, SMALL)
    torch.nn.init.normal_(task.modules["trunk"].output.weight, std=0.01)
    batch = task.collate([task.item(i, np.random.default_rng(i)) for i in range(2)])
    for update in task.updates(batch, step=2):
        parameters = [p for name in update.optimizers for p in task.modules[name].parameters()]
        gradients = torch.autograd.grad(update.loss, parameters, allow_unused=True)
        assert update.loss.isfinite()
        assert all(g is not None and g.isfinite().all() and g.abs().max() > 0 for g in gradients)
    assert update.scalars.keys() == {
        "log",
        "root",
        "mel",
        "complex",
        "median",
        "pitch",
        "spectrogram_scores",
        "spectrogram_features",
        "period_scores",
        "period_features",
    }


def test_distances_count_in_units_of_noise():
    waveform = torch.randn(2, 40 * HOP)
    for size in istft_losses.WINDOWS:
        assert istft_losses.power(waveform, size).mean().item() == pytest.approx(1, rel=0.05)
    assert all(loss == 0 for loss in istft_losses.spectral_loss(waveform, waveform))
    louder, _ = istft_losses.spectral_loss(np.e * waveform, waveform)
    assert louder.item() == pytest.approx(1, abs=1e-4)  # one neper
    spectrum = signal.spectra(waveform)
    assert (
        istft_losses.complex_loss(spectrum, spectrum)
        < 1e-4
        < 0.5
        < istft_losses.complex_loss(0 * spectrum, spectrum)
    )


def test_noise_is_nearest_to_noise_of_its_own_level():
    spectrum = signal.spectra(0.1 * torch.randn(2, 200 * HOP))
    none, one = torch.zeros_like(spectrum), torch.ones(spectrum.shape)
    losses = [
        istft_losses.median_loss(none, gain * one, spectrum).item() for gain in (0.07, 0.085, 0.1, 0.117, 0.14)
    ]
    assert min(losses) == losses[2] and 0.3 < losses[2] < 0.55


def test_a_verdict_weighs_by_the_size_of_its_gradient():
    fake = torch.randn(4, 100, requires_grad=True)
    leading, other = fake.square().sum(), (0.1 * fake[:, :10]).sum()
    total = torch.autograd.grad(judges.balance(leading, {"other": (other, 0.5)}, fake), fake)[0]
    added = (total - 2 * fake)[:, :10]
    assert torch.allclose(added, added[:1, :1].expand_as(added), rtol=1e-3)
    assert added.norm(dim=1).median().item() == pytest.approx(
        0.5 * 2 * fake.norm(dim=1).median().item(), rel=1e-3
    )


def test_the_jury_hears_every_clip_at_one_level():
    clips = torch.randn(3, 1000) * torch.tensor([[1.0], [0.05], [1e-5]])
    heard = judges.level(clips) * clips
    assert heard[:2].square().mean(1).sqrt().tolist() == pytest.approx([judges.LEVEL] * 2, rel=1e-3)
    assert heard[2].abs().max() < 1e-2


def test_a_jury_learns_to_tell_noise_from_pulses():
    torch.manual_seed(0)
    jury = judges.Jury((256,), 4, (3,), 1 / 32)
    optimizer = torch.optim.AdamW(jury.parameters(), 2e-3)
    pulses = signal.pulses(*signal.integrate(torch.full((4, 16), 120.0)))
    for _ in range(30):
        loss = judges.jury_loss(jury(0.2 * torch.cat([pulses, torch.randn_like(pulses)])))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.4  # 0.5 is chance
    with pytest.raises(ParameterError, match="judge nothing"):
        judges.Jury((), 4, (), 1)


def settings(**changes) -> recipe.Recipe:
    training = recipe.Settings(
        steps=4, batch_size=2, ema=0.9, checkpoint_every=2, validate_every=4, log_every=1, **changes
    )
    return recipe.Recipe("istft", training, model=dataclasses.asdict(SMALL))


def test_a_resumed_run_equals_one_in_one_go_and_can_be_published(speech, tmp_path):
    plan = settings()
    whole = train(IstftTask(speech, SMALL), plan, tmp_path / "whole")
    half = dataclasses.replace(plan, training=dataclasses.replace(plan.training, steps=2))
    train(IstftTask(speech, SMALL), half, tmp_path / "halves")
    halves = train(IstftTask(speech, SMALL), plan, tmp_path / "halves")
    one, other = (checkpoint.load(o.checkpoint).weights for o in (whole, halves))
    assert one.keys() == other.keys() == {"pitch", "trunk", "jury", "ema-pitch", "ema-trunk"}
    for name in one:
        assert all(torch.equal(one[name][key], other[name][key]) for key in one[name]), name

    folder = tasks.export(plan, checkpoint.newest(tmp_path / "whole"), tmp_path / "vocoder", "# card")
    vocoder = istft.Istft(folder, threads=1)
    mel = log_mel(vowel(120.0))
    said = vocoder.vocode(mel)
    assert said.shape == (len(mel) * HOP,) and np.abs(said).max() <= 1 and vocoder.card == "# card"
    assert np.array_equal(said, vocoder.vocode(mel))  # its noise is always the same
    for bad in (mel[:, :79], mel[:0], np.full_like(mel, np.nan)):
        with pytest.raises(AudioError):
            vocoder.vocode(bad)

    for start in (folder, tmp_path / "whole"):
        again = IstftTask(speech, dataclasses.replace(SMALL, start_from=str(start)))
        for name, module in again.modules.items():
            assert all(
                torch.allclose(value, one[name][key], atol=1e-3) for key, value in module.state_dict().items()
            )
    (folder / RESUME).unlink()
    IstftTask(speech, dataclasses.replace(SMALL, start_from=str(folder)))  # without a jury
    with pytest.raises(TrainingError, match="other sizes"):
        IstftTask(speech, dataclasses.replace(SMALL, width=32, start_from=str(folder)))


def test_whatever_is_heard_is_in_its_fingerprint(tmp_path):
    networks = istft.build(SMALL.network)
    torch.nn.init.normal_(networks["trunk"].output.weight, std=0.05)  # zeros at first: deaf to all before it
    weights = {name: module.state_dict() for name, module in networks.items()}
    vocoder = istft.Istft(istft.save(tmp_path, SMALL.network, weights, ""), threads=1)
    mel, key = log_mel(vowel(120.0)), vocoder.fingerprint()
    said = vocoder.vocode(mel)
    assert list(vocoder.modules) == ["pitch", "trunk", "noise"] and vocoder.fingerprint() == key
    assert np.array_equal(said, istft.Istft(tmp_path, threads=1).vocode(mel))
    for name in vocoder.modules:
        changed = vocoder.derive(f"other-{name}")
        with torch.no_grad():
            tensor = next(iter([*changed.modules[name].parameters(), *changed.modules[name].buffers()]))
            tensor.mul_(1.5)
        assert changed.fingerprint() != key and not np.array_equal(changed.vocode(mel), said), name
    assert vocoder.fingerprint() == key and np.array_equal(vocoder.vocode(mel), said)


def test_a_folder_that_holds_another_system_or_damaged_files_is_refused(tmp_path):
    weights = {name: module.state_dict() for name, module in istft.build(SMALL.network).items()}
    istft.save(tmp_path, SMALL.network, weights, "")
    description = (tmp_path / "config.json").read_text()
    for text, words in (
        (description.replace('"istft"', '"hifigan"'), "not an istft"),
        (description.replace('"lookahead": 2', '"lookahead": 3'), "not saved with this config"),
        (description.replace('"width": 24', '"width": 32'), "not saved with this config"),
        ("{", "cannot be read"),
    ):
        assert text != description
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(TrainingError, match=words):
            istft.Istft(tmp_path)
    (tmp_path / "config.json").write_text(description)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="cannot be read"):
        istft.Istft(tmp_path)


def test_training_goes_on_from_the_zoo_with_its_jury():
    config = recipe.parse(Learning, recipe.load(zoo.folder("istft") / "recipe.yaml").model, "model")
    assert config.start_from == "istft"
    jury = judges.Jury(config.windows, config.channels, config.periods, config.period_width)
    modules = {**istft.build(config.network), "jury": jury}
    before = {name: copy.deepcopy(module.state_dict()) for name, module in modules.items()}
    checkpoint.start(modules, config.start_from, istft_task.finished)
    for name, module in modules.items():
        assert any(not torch.equal(value, before[name][key]) for key, value in module.state_dict().items()), (
            name
        )


def test_a_card_tells_voices_learnt_from_voices_unheard(monkeypatch):
    clip = Clip("vowel", "a", vowel(120.0), RATE)

    def clips(voice, limit, threads):
        if voice in ("flite-awb", "prompts"):
            raise MissingDataError("no apt")
        return (clip,)

    class Judged:
        summary = {"mos_predicted": Estimate(3.5, None, None, 1)}

    monkeypatch.setattr(held_out_voices, "clips", clips)
    monkeypatch.setattr(evaluate, "judge", lambda *_, **__: Judged)
    model = systems.load("istft", threads=1)
    rows = list(publish.copies(model, ("vits-joe", "hibari"), None, 1, threads=1))
    assert list(dict.fromkeys(row.voice for row in rows)) == [
        "vits-joe",
        "hibari",
        "espeak-ng (unheard)",
        "prompts-deep (unheard)",
    ]
    assert [row.who for row in rows[:4]] == ["original", "Griffin-Lim, copy", "hifigan, copy", "istft, copy"]
    with pytest.raises(MissingDataError):
        list(publish.copies(model, ("prompts",), None, 1, threads=1))

    read = recipe.load(zoo.folder("istft") / "recipe.yaml")
    said = zoo_card.card(read, zoo.curve("istft"), rows, 1, model.params_m, goes_on=True)
    mine = [
        line for line in zoo.card("istft").splitlines() if line.startswith(("3.42 M", "- goes on", "- trained"))
    ]
    assert len(mine) == 3 and set(mine) <= set(said.splitlines())  # the zoo's card is what this writes


def test_an_acoustic_system_speaks_through_it_and_through_what_replaces_its_networks():
    system = systems.load("fastspeech2", vocoder="istft")
    speech, key = system.synthesize("Yes."), system.fingerprint()
    assert system.settings()["vocoder"] == "istft" and {
        "vocoder.trunk",
        "vocoder.pitch",
        "vocoder.noise",
    } < set(system.modules)
    assert len(speech.waveform) == sum(speech.frames) * HOP and np.abs(speech.waveform).max() > 0.01

    def mute(variant):
        class Silent(torch.nn.Module):
            def forward(self, log_mels, of_source, hz):
                return torch.full((*log_mels.shape[:2], 3 * signal.BINS), -30.0)

        variant.modules["vocoder.trunk"] = Silent()

    changed = system.derive("mute", mute)
    assert np.abs(changed.synthesize("Yes.").waveform).max() < 1e-4 and changed.fingerprint() != key
    assert np.array_equal(system.synthesize("Yes.").waveform, speech.waveform)


def test_what_cannot_be_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match="segment_frames"):
        Learning(segment_frames=4)
    with pytest.raises(ParameterError, match="width"):
        istft.IstftConfig(width=0)
    with pytest.raises(ParameterError, match="voices"):
        istft_data.Data(voices=())
    with pytest.raises(MissingDataError, match="config.json"):
        istft.Istft(tmp_path)
    with pytest.raises(ParameterError, match="did you mean 'slt'"):
        flite.corpus("slt2", ())
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    flite._installed.cache_clear()
    with pytest.raises(MissingDataError, match="Debian"):
        flite._installed()
