"""What does the recogniser see of a clip in training? Log-mels of a window, masked, and the tokens of its text.

The encoder was trained on 30 s with silence behind the speech, and nearly all of a step's time goes into that silence.
Clips of a few seconds are therefore shown in a shorter window, whose positions are the first of the encoder's own
table (`window`); whether what was learnt there holds in the whole window is measured, not assumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lib import augment
from lib.corpora.domains import RATE, Clip
from lib.errors import AudioError, ParameterError, TextError

if TYPE_CHECKING:
    import transformers

HOP, FRAMES_PER_POSITION = 160, 2  # samples from one frame to the next; frames that the encoder joins
LONGEST_TOKENS = 448  # places of the decoder
IGNORED = -100  # label of a place that no loss is computed at
# Masks for clips of seconds: half of what SpecAugment takes of long ones.
MASKS = {"frequency_masks": 2, "frequency_width": 12, "time_masks": 2, "time_width": 25, "time_share": 0.1}


@dataclass
class Clips(torch.utils.data.Dataset):
    """Clips as examples: {"input_features": (80, frames) float32, "labels": token ids}.

    window_s: seconds of the window; masked: hide bands and stretches of time, drawn by seed and place.
    """

    clips: Sequence[Clip]
    extractor: "transformers.WhisperFeatureExtractor"
    tokenizer: "transformers.PreTrainedTokenizerFast"
    window_s: float
    masked: bool = False
    seed: int = 0

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = self.clips[index]
        waveform = clip.load()
        samples = round(self.window_s * RATE)
        if len(waveform) > samples:
            raise AudioError(
                f"clip {clip.id}: {len(waveform) / RATE:.1f} s do not fit into the window of {self.window_s:g} s: "
                "widen `window_s`, or leave it out (`recognition.usable`)"
            )
        features = self.extractor(
            waveform, sampling_rate=RATE, return_tensors="np", padding="max_length", max_length=samples
        ).input_features[0]
        if self.masked:
            spoken = -(-len(waveform) // HOP)  # masks in the silence behind it teach nothing
            seed = self.seed * 1_000_003 + index
            features[:, :spoken] = augment.spec_augment(features[:, :spoken].T, seed=seed, **MASKS).T
        return {"input_features": features.astype(np.float32), "labels": labels(clip, self.tokenizer)}


def labels(clip: Clip, tokenizer: "transformers.PreTrainedTokenizerFast") -> list[int]:
    """The tokens to say, without the first mark, which the decoder is given; TextError for more than it has places."""
    text = clip.utterance.text.strip()
    if text.isupper():  # LibriSpeech has no case to learn: shouting would be learnt instead
        text = clip.utterance.normalized
    ids = tokenizer(f" {text}").input_ids
    if len(ids) > LONGEST_TOKENS:
        raise TextError(
            f"clip {clip.id}: its text has {len(ids)} tokens, the recogniser says at most {LONGEST_TOKENS}"
            ": cut the clip"
        )
    return ids[1:]


def collate(examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """A batch: input_features (n, 80, frames), labels (n, longest), `IGNORED` behind the shorter texts."""
    features = torch.from_numpy(np.stack([example["input_features"] for example in examples]))
    longest = max(len(example["labels"]) for example in examples)
    padded = [example["labels"] + [IGNORED] * (longest - len(example["labels"])) for example in examples]
    return {"input_features": features, "labels": torch.tensor(padded)}


@contextmanager
def window(model: "transformers.WhisperForConditionalGeneration", seconds: float) -> Iterator[None]:
    """Inside, the encoder takes windows of so many seconds: the first of its positions. After, it is as it was."""
    encoder, config = model.model.encoder, model.config
    whole, most = encoder.embed_positions, config.max_source_positions
    positions = round(seconds * RATE / HOP) // FRAMES_PER_POSITION
    if not 1 <= positions <= most or positions * FRAMES_PER_POSITION * HOP != round(seconds * RATE):
        step = FRAMES_PER_POSITION * HOP / RATE
        raise ParameterError(
            f"a window of {seconds:g} s cannot be shown: give a multiple of {step:g} s, at most "
            f"{most * FRAMES_PER_POSITION * HOP / RATE:g} s"
        )
    # A table that nobody trains: it is put back afterwards, and what it had learnt would be lost.
    cut = torch.nn.Embedding.from_pretrained(whole.weight[:positions].detach(), freeze=True)
    try:
        encoder.embed_positions, config.max_source_positions = cut, positions
        yield
    finally:
        encoder.embed_positions, config.max_source_positions = whole, most
