"""Any published Whisper: by its repository on the Hugging Face hub ("openai/whisper-small.en"), or a folder like one.

It listens as `whisper-tiny.en` in torch does; one of many languages is told to expect English.
"""

from __future__ import annotations

import logging

import numpy as np
import torch

from lib import audio, targets
from lib.errors import MissingDataError
from lib.systems.whisper.network import Whisper
from lib.systems.whisper.package import LONGEST, SAMPLE_RATE


class HubWhisper(Whisper):
    """As `Whisper`. prompt: the tokens that it is given before it says its first."""

    def __init__(self, name: str, target: str = "torch/cpu", threads: int = 2):
        import transformers

        torch.set_num_threads(threads)
        self.name, self.target, self.threads = name, target, threads
        self.device = torch.device(targets.find(target).device)
        logging.getLogger("transformers.generation.utils").setLevel(logging.ERROR)
        try:
            model = transformers.WhisperForConditionalGeneration.from_pretrained(name, dtype=torch.float32)
            several = getattr(model.generation_config, "is_multilingual", False)
            options = {"language": "en", "task": "transcribe"} if several else {}
            self.tokenizer = transformers.WhisperTokenizer.from_pretrained(name, **options)
            self.extractor = transformers.WhisperFeatureExtractor.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise MissingDataError(
                f"{name} cannot be loaded from the hub or as a folder ({' '.join(str(error).split())[:200]}): "
                "check its name and the connection, or take the embedded whisper-tiny.en"
            ) from error
        self._own(model.eval().to(self.device))
        self.prompt = tuple(self.tokenizer.prefix_tokens)
        self.model.generation_config.max_length = len(self.prompt) + LONGEST
        self.front_end = self.files = ()

    def features(self, waveform: np.ndarray, sample_rate: int) -> torch.Tensor:
        """Log-mel input (1, bands, 3000) of a clip of at most 30 s, zero-padded."""
        clip = audio.resample(waveform, sample_rate, SAMPLE_RATE)
        return self.extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
