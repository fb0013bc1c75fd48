"""The recogniser's loss on the true words: the numbers of transformers' own loss, whatever else is in the batch."""

import numpy as np
import pytest
import torch

from lib import systems
from lib.errors import AudioError, ParameterError, TextError
from lib.measure import intelligibility, likelihood
from lib.systems import whisper

TEXT = "Four hours of steady work faced us."


@pytest.fixture(scope="module")
def listener():
    return likelihood.Listener(intelligibility.Judge(threads=1))


@pytest.fixture(scope="module")
def speech():
    return systems.load("hibari", threads=1).synthesize(TEXT, seed=0)


def test_tokens_are_those_of_whispers_own_transcript(listener):
    tokens = listener.tokens("the birch  canoe")
    assert whisper.load_tokenizer().decode(tokens) == " The birch canoe"
    assert not {whisper.SOT, whisper.EOT, whisper.NO_TIMESTAMPS} & set(tokens)
    with pytest.raises(TextError, match="cut the text"):
        listener.tokens("word " * 500)


def test_the_loss_is_that_of_transformers(listener, speech):
    """transformers shifts the labels itself and gives the mean over them, start and end marks left out. Its float32
    encoder moves no loss by more than the judge's 8-bit one may.
    """
    model, recogniser = whisper.load_model(), systems.load("whisper-tiny.en", threads=1)
    features = recogniser.features(speech.waveform, speech.sample_rate)
    with torch.inference_mode():
        encoded = model.model.encoder(features).last_hidden_state.numpy()
    (ours,) = listener.of_encoded(encoded, [TEXT])
    (eight_bit,) = listener.losses([(speech.waveform, speech.sample_rate)], [TEXT])
    assert eight_bit.nats == pytest.approx(ours.nats, abs=0.5)
    tokens = listener.tokens(TEXT)
    given = torch.tensor([[whisper.SOT, whisper.NO_TIMESTAMPS, *tokens]])
    labels = torch.tensor([[-100, *tokens, -100]])
    with torch.inference_mode():
        theirs = model(input_features=features, decoder_input_ids=given, labels=labels).loss
    assert ours.words == 7 and ours.nats == pytest.approx(float(theirs) * len(tokens), rel=1e-4)


def test_neighbours_in_a_batch_and_silence_behind_it_change_nothing(listener, speech):
    clip, long = (speech.waveform, speech.sample_rate), (np.tile(speech.waveform, 16), speech.sample_rate)
    (alone,) = listener.losses([clip], [TEXT])
    texts = ["A much longer sentence, of which nothing can be heard in the clip beside it.", TEXT, TEXT]
    beside, same, cut = listener.losses([clip, clip, long], texts)
    assert same.nats == pytest.approx(alone.nats, abs=1e-3) and beside.nats > 10 * alone.nats
    assert np.isfinite(cut.nats)  # 30 s of it are heard


def test_wrong_words_and_noise_cost_more(listener, speech):
    noise = np.random.default_rng(0).standard_normal(len(speech.waveform)) * speech.waveform.std()
    loud = ((speech.waveform + noise).astype(np.float32), speech.sample_rate)
    clean = (speech.waveform, speech.sample_rate)
    right, wrong, noisy = listener.losses(
        [clean, clean, loud], [TEXT, "Four hours of ready work faced us.", TEXT]
    )
    assert right.nats < noisy.nats and right.nats + 3 < wrong.nats


def test_bad_input_is_refused(listener, speech):
    clip = (speech.waveform, speech.sample_rate)
    with pytest.raises(ParameterError, match="1 clips and 2 texts"):
        listener.losses([clip], [TEXT, TEXT])
    with pytest.raises(TextError, match="empty"):
        listener.losses([clip], ["  "])
    with pytest.raises(AudioError):
        listener.losses([(np.full(16_000, np.nan, np.float32), 16_000)], [TEXT])


def test_words_are_counted_as_wer_counts_them():
    assert likelihood.word_count("Twenty-five dollars, he didn't mind!") == 5
    assert likelihood.word_count("Hmm.") == 1
