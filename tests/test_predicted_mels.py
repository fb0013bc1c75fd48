"""What acoustic models make of a clip that they are led along: a mel that lies under it, the same every time."""

import numpy as np
import pytest
import torch

from lib import systems, zoo
from lib.corpora import sentences, synthetic
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.systems import checkpoint, postfilter
from lib.systems.tortoise import diffusion
from lib.systems.tortoise.diffusion import Sampling, Schedule
from lib.training.tasks import acoustic_data, predicted_mels

MODELS = ("fastspeech2", "tacotron2", "speecht5", "tortoise")


@pytest.fixture(scope="module")
def speech():
    """Two validation sentences of each voice; train, so that the task's own reading finds them."""
    chosen = sentences.training(("botchan",), 2)
    corpora = [
        synthetic.corpus(systems.load(name, target="onnxruntime/cpu", threads=1), chosen)
        for name in ("vits-joe", "hibari")
    ]
    return corpora


@pytest.mark.parametrize("name", MODELS)
def test_the_mel_lies_under_the_clip_and_is_its_own(speech, name):
    known, follow = predicted_mels.follower(zoo.folder(name))
    assert {"vits-joe", "hibari"} <= set(known)
    for corpus in speech:
        examples = acoustic_data.examples(corpus, "train")
        mels = [follow(e) for e in examples]
        for example, mel in zip(examples, mels):
            true = example.mel()
            assert mel.shape == true.shape and mel.dtype == np.float32 and np.isfinite(mel).all()
            moved = np.roll(true, 8, axis=0)
            assert np.abs(mel - true).mean() < 0.6 * np.abs(mel - moved).mean()
        state = torch.random.get_rng_state()
        assert np.array_equal(follow(examples[0]), mels[0])  # what is drawn depends on the clip
        assert torch.equal(torch.random.get_rng_state(), state)  # and on nothing outside


def test_models_take_turns_and_what_they_made_is_kept(speech, tmp_path, monkeypatch):
    corpus = speech[0]
    names = ("fastspeech2", "tortoise")
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    mels = predicted_mels.predicted(corpus, names)
    examples = acoustic_data.examples(corpus, "train")
    assert list(mels) == [e.id for e in examples]
    for number, example in enumerate(examples):
        _, follow = predicted_mels.follower(zoo.folder(names[number % 2]))
        assert np.array_equal(mels[example.id], follow(example).astype(np.float16))
    sharp = predicted_mels.predicted(corpus, names, sharpness=0.5)
    for number, example in enumerate(examples):
        table = postfilter.load(zoo.folder(names[number % 2]), "vits-joe")
        stretched = postfilter.sharpened(mels[example.id], table, 0.5)
        assert np.array_equal(sharp[example.id], stretched.astype(np.float16))
    monkeypatch.setattr(predicted_mels, "follower", lambda *_: (("vits-joe",), None))  # would fail if asked
    again = predicted_mels.predicted(corpus, names)
    assert all(np.array_equal(again[key], mel) for key, mel in mels.items())
    assert len(predicted_mels.predicted(corpus, names, 1)) == 1
    assert set(predicted_mels.speakers(names)) == {"vits-joe", "hibari"}


def test_a_stranger_and_what_is_no_acoustic_model_are_refused(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(predicted_mels, "follower", lambda *_: (("somebody",), None))
    with pytest.raises(ParameterError, match="does not know the speakers vits-joe"):
        predicted_mels.predicted(speech[0], ("fastspeech2",))
    with pytest.raises(ParameterError, match="'istft'"):
        predicted_mels.speakers(("istft",))
    with pytest.raises(MissingDataError, match="holds no network"):
        checkpoint.system_of(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(TrainingError, match="cannot be read"):
        checkpoint.system_of(tmp_path)


def test_a_walk_that_begins_in_the_middle_ends_where_the_whole_one_does():
    """With a perfect guess of the data any walk ends there; the evaluations are those of the steps walked."""
    schedule, how, data = Schedule("cosine", 64), Sampling("dpm++", 8), torch.randn(1, 2, 5)

    def perfect(x, t):
        alpha, sigma = schedule.signal_noise(t, x)
        return alpha * (x - alpha * data) / sigma - sigma * data

    begin = torch.tensor([diffusion.grid(schedule, 8)[5]])
    hidden = diffusion.noised(data, torch.randn(data.shape), *schedule.signal_noise(begin, data))
    drawn = diffusion.sample(schedule, "v", perfect, hidden, how, skip=5)
    assert drawn.nfe == 3 and torch.allclose(drawn.x0, data, atol=1e-5)
    with pytest.raises(ParameterError, match="skip is 8"):
        diffusion.sample(schedule, "v", perfect, hidden, how, skip=8)
