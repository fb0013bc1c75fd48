"""How surprised is the recogniser by the true words? The continuous companion of WER: `asr_nll`, nats per word.

Whisper tiny.en is given the clip and the text that was to be spoken, and its loss on each token of that text is added
up. Its encoder is the WER judge's and hears a clip once for both (8-bit products: the losses of 60 clips correlate with
those of the float32 encoder by 0.998, and noise is told as well); its decoder is that of `lib.systems.whisper`, in
float32.

WER learns from a clip only where the decision for a word tips over; the loss moves with every word. To notice noise at
20 dB in a good voice it needs 22 sentences, WER 133; at 30 dB 49 and 369; an 8-bit decoder 161 and 1,008
(`lib.studies.damage` on 100 test sentences, 5 %, power 80 %, one run).

What was decided, and what it was measured on (60 test sentences by vits-joe, clean against noise at 20 dB, with the
float32 encoder of transformers; d' is the mean of the paired differences over their standard deviation: the larger,
the fewer sentences are needed):

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
from typing import TYPE_CHECKING

import numpy as np

from lib import text
from lib.errors import ParameterError, TextError

if TYPE_CHECKING:
    from lib.measure.intelligibility import Judge

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
    """The loaded decoder behind the encoder of a `judge`. device: "cpu" or "cuda"; it computes with torch's threads."""

    def __init__(self, judge: Judge, device: str = "cpu"):
        from lib.systems import whisper

        self.judge, self.device = judge, device
        self._model = whisper.load_model()
        del self._model.model.encoder  # the judge's serves
        self._model.to(device)
        self._tokenizer = whisper.load_tokenizer()
        self._prompt, self._end = (whisper.SOT, whisper.NO_TIMESTAMPS), whisper.EOT

    def losses(self, sounds: Sequence[tuple[np.ndarray, int]], texts: Sequence[str]) -> list[Loss]:
        """The loss on each text, given its clip (waveform (n_samples,), sample rate).

        Of a clip longer than 30 s the first 30 s are heard: a sentence that lasts longer has lost its way. Raises
        AudioError for what is no usable audio, TextError for a text without words or longer than the decoder reads.
        """
        return self.of_encoded([self.judge.encode(*sound) for sound in sounds], texts)

    def of_encoded(self, encoded: Sequence[np.ndarray], texts: Sequence[str]) -> list[Loss]:
        """As `losses`, of what the judge's encoder made of each clip, (1500, 384)."""
        if len(encoded) != len(texts):
            raise ParameterError(f"{len(encoded)} clips and {len(texts)} texts: give the text of every clip")
        losses = []
        for start in range(0, len(encoded), BATCH):
            part = slice(start, start + BATCH)
            nats = self._nats(np.stack(encoded[part]), texts[part])
            losses += [Loss(total, word_count(line)) for total, line in zip(nats, texts[part])]
        return losses

    def _nats(self, encoded: np.ndarray, texts: Sequence[str]) -> list[float]:
        import torch

        tokens = [self.tokens(line) for line in texts]
        longest = max(map(len, tokens))
        given = torch.tensor(
            [[*self._prompt, *t, *[self._end] * (longest - len(t))] for t in tokens]
        )  # (B, 2 + T)
        given = given.to(self.device)
        with torch.inference_mode():
            logits = self._model(
                encoder_outputs=(torch.from_numpy(encoded).to(self.device),), decoder_input_ids=given[:, :-1]
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
def source(compute_type: str = "int8") -> str:
    """Who listened, for a result's `source` and for cache keys."""
    return (
        f"whisper-tiny.en teacher-forced, encoder {compute_type} by ctranslate2 {version('ctranslate2')}, "
        f"decoder float32 by transformers {version('transformers')}"
    )
