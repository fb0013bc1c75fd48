"""How surprised is the recogniser by the true words? The continuous companion of WER: `asr_nll`, nats per word.

Whisper tiny.en (the transformers model of `lib.systems.whisper`, float32) is given the clip and the text that was to be
spoken, and its loss on each token of that text is added up. WER learns from a clip only where the decision for a word
tips over; the loss moves with every word. To notice noise at 20 dB in a good voice it needs 12 sentences, WER 115; at
30 dB 31 and 64; for an 8-bit decoder 167, WER 100 (`lib.studies.damage` on 60 test sentences, 5 %, power 80 %).

What was decided, and what it was measured on (60 test sentences by vits-joe, clean against noise at 20 dB; d' is the
mean of the paired differences over their standard deviation: the larger, the fewer sentences are needed):

- the text as Whisper writes it, with capitals and punctuation and the space that begins its transcripts: 0.54 nats a
  word, d' 0.72. In lower case without punctuation 0.72 nats and d' 0.07: most of that loss is surprise at the
  spelling, and noise lessens it. Without the tokens of punctuation alone d' is smaller, too (0.73 against 0.77 on
  40 sentences). A capital first (25 recorded prompts: 0.47 nats, without it 0.51), no full stop where there is none
  (with it 0.53). Numbers stay as they are written, for so does Whisper write them;
- the tokens of the text alone, without the end of text: with it d' is 0.71, and where the full stop is
  missing it adds more than a nat a sentence that has nothing to do with the words;
- the encoder sees 30 s, padded with silence, as it was trained. Cut to the clip's own length plus 1 s (plus 5 s), it
  takes an eighth (a quarter) of the time and shifts single clips by up to 1.8 (1.1) nats a word.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from lib import audio, text
from lib.errors import ParameterError, TextError

RATE = 16_000  # Hz, Whisper's input
MIN_SECONDS = 0.1  # shorter than any word
BATCH = 4  # clips; more gains nothing on a CPU, whose matrices are large enough with one


@dataclass(frozen=True)
class Loss:
    """nats: of all tokens of the text together; words: of the text, as WER counts them (`text.for_comparison`)."""

    nats: float
    words: int


def as_written(line: str) -> str:
    """The text in the form in which Whisper begins a sentence: with a capital, and with single spaces.

    >>> as_written("press one  to go on"), as_written("Who's there?")
    ('Press one to go on', "Who's there?")
    """
    line = " ".join(text.speakable(line).split())
    return line[0].upper() + line[1:]


class Listener:
    """The loaded recogniser. device: "cpu" or "cuda"; it computes with torch's own threads."""

    def __init__(self, device: str = "cpu"):
        from transformers import WhisperFeatureExtractor

        from lib.systems import whisper

        self._model = whisper.load_model().to(device)
        self._tokenizer, self._extractor = whisper.load_tokenizer(), WhisperFeatureExtractor()
        self._prompt, self._end = (whisper.SOT, whisper.NO_TIMESTAMPS), whisper.EOT
        self._window = whisper.WINDOW_S
        self.device = device

    def losses(self, sounds: Sequence[tuple[np.ndarray, int]], texts: Sequence[str]) -> list[Loss]:
        """The loss on each text, given its clip (waveform (n_samples,), sample rate).

        Of a clip longer than 30 s the first 30 s are heard: a sentence that lasts longer has lost its way. Raises
        AudioError for what is no usable audio, TextError for a text without words or longer than the decoder reads.
        """
        if len(sounds) != len(texts):
            raise ParameterError(f"{len(sounds)} clips and {len(texts)} texts: give the text of every clip")
        losses = []
        for start in range(0, len(sounds), BATCH):
            part = slice(start, start + BATCH)
            nats = self._nats([self._samples(*sound) for sound in sounds[part]], texts[part])
            losses += [Loss(total, word_count(line)) for total, line in zip(nats, texts[part])]
        return losses

    def _samples(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        clip = audio.check(waveform, sample_rate, min_seconds=MIN_SECONDS)
        return audio.resample(clip[: self._window * sample_rate], sample_rate, RATE)

    def _nats(self, samples: list[np.ndarray], texts: Sequence[str]) -> list[float]:
        import torch

        tokens = [self.tokens(line) for line in texts]
        longest = max(map(len, tokens))
        given = torch.tensor(
            [[*self._prompt, *t, *[self._end] * (longest - len(t))] for t in tokens]
        )  # (B, 2 + T)
        given = given.to(self.device)
        features = self._extractor(
            samples, sampling_rate=RATE, return_tensors="pt"
        ).input_features  # (B, 80, 3000)
        with torch.inference_mode():
            logits = self._model(
                input_features=features.to(self.device), decoder_input_ids=given[:, :-1]
            ).logits
            # (B, 1 + T, V), the first of no token of the text. With V last: over another axis torch adds up 51,864
            # terms one by one, and the losses are off in the fourth decimal.
            losses = torch.nn.functional.cross_entropy(
                logits[:, 1:].flatten(0, 1), given[:, 2:].flatten(), reduction="none"
            ).view(len(tokens), longest)
        # The decoder looks back only, so the padding behind a text changes nothing of it and is left out of its sum.
        return [float(row[: len(t)].sum()) for row, t in zip(losses.double().cpu(), tokens)]

    def tokens(self, line: str) -> list[int]:
        """Token ids of the text as Whisper would write it, without the marks around it."""
        tokens = self._tokenizer(" " + as_written(line), add_special_tokens=False).input_ids
        if len(self._prompt) + len(tokens) > (most := self._model.config.max_target_positions):
            raise TextError(
                f"{line[:40]!r}... has {len(tokens)} tokens, the recogniser reads {most}: cut the text"
            )
        return tokens


def word_count(line: str) -> int:
    """Words of the text as WER counts them; at least 1, where the comparison drops the only one ("Hmm.")."""
    return max(1, len(text.for_comparison(line).split()))


@functools.cache
def source() -> str:
    """Who listened, for a result's `source` and for cache keys."""
    return f"whisper-tiny.en float32 teacher-forced, transformers {version('transformers')}"
