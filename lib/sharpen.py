"""How much less do an acoustic model's mels move than the voice that it learnt? Counted for every voice it knows.

    python -m lib.sharpen fastspeech2 [FOLDER...] [--sentences 50]

The voice and the model say the same validation sentences, which no training and no test sees; the table lies in the
checkpoint's folder afterwards (`lib.systems.postfilter`), and `systems.load("fastspeech2", sharpness=1)` speaks by it.
A model that can be told durations, pitch and energy is told those of the clip, so that only what its mel lacks is
counted, and not that it reads otherwise.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib import audio, environment, features, progress, systems, zoo
from lib.corpora import gutenberg
from lib.errors import ParameterError, SpeechError
from lib.measure import evaluate
from lib.systems import checkpoint, postfilter
from lib.systems.base import Vocoder
from lib.systems.before_vocoder import BeforeVocoder
from lib.systems.griffin_lim import GriffinLim

log = logging.getLogger(__name__)

SENTENCES = 50  # all there are
FOLLOW = ("fastspeech2",)  # that can be told how a clip is read


def count(folder: str | Path, *, sentences: int = SENTENCES, threads: int = 2) -> Path:
    """Write the tables of the acoustic model in a folder, of those speakers that are systems here; the file.

    ParameterError where it is no acoustic model, or knows none of them.
    """
    name = checkpoint.system_of(folder)
    model = systems.load(name, threads=threads, checkpoint=folder)
    if not isinstance(model, BeforeVocoder):
        raise ParameterError(f"{folder} holds {name}, which makes no mel for a vocoder")
    n, tables = 0, {}
    for voice in sorted(set(model.speakers) & set(systems.names())):
        if name in FOLLOW:
            true, guessed = _followed(folder, voice, sentences, threads)
        else:
            true, guessed = _read(model, voice, sentences)
        n, tables[voice] = len(true), postfilter.gains(true, guessed)
        used = tables[voice][1:].clip(1 / postfilter.MOST, postfilter.MOST)
        log.info("%s as %s: movement is stretched %.2f times on average", name, voice, used.mean())
    if not tables:
        raise ParameterError(
            f"{folder} knows no voice of {', '.join(systems.names())}: there is nobody to compare with"
        )
    about = {"sentences": str(n), "commit": environment.commit()}
    return postfilter.save(folder, tables, about)


def _followed(folder: str | Path, voice: str, n: int, threads: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(mels of the voice, those of a model that follows them) of n sentences."""
    from lib.training import sources
    from lib.training.tasks import acoustic_data, predicted_mels

    corpus = sources.corpus(sources.Data(voices=(voice,), train=1, validation=n, threads=threads))
    examples = acoustic_data.examples(corpus, "validation")
    follow = predicted_mels.follower(folder)[1]
    return [one.mel() for one in examples], [follow(one) for one in examples]


def _read(model: BeforeVocoder, voice: str, n: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(mels of the voice, those of a model that reads by itself) of n sentences."""
    texts = gutenberg.split("validation", n)
    teacher = systems.load(voice, target="onnxruntime/cpu", threads=model.threads)
    true = [_log_mel(clip, model) for clip in evaluate.speak(teacher, texts)]
    speaker, heard = model.adjusted(speaker=voice, vocoder=GriffinLim.name, sharpness=0.0), _Heard(model)
    speaker.take(heard)
    said = progress.track(texts, f"mels of {model.name} as {voice}", unit="sentence")
    return true, [heard.of(speaker, text.text, seed) for seed, text in enumerate(said)]


class _Heard(Vocoder):
    """What stands where a vocoder would, and keeps the mels that it is given."""

    name, target = "nobody", "numpy/cpu"

    def __init__(self, model: BeforeVocoder):
        self.mel, self.sample_rate, self.log_mels = model.mel, model.mel.sample_rate, []

    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        self.log_mels.append(self.checked(log_mel))
        return np.zeros(len(log_mel) * self.mel.hop, np.float32)

    def of(self, speaker: BeforeVocoder, text: str, seed: int) -> np.ndarray:
        """The mel (F, n_bands) of a text, its sentences one behind the other."""
        speaker.vocoder.log_mels.clear()
        speaker.synthesize(text, seed)
        return np.concatenate(speaker.vocoder.log_mels)


def _log_mel(clip: evaluate.Clip, model: BeforeVocoder) -> np.ndarray:
    waveform = audio.resample(clip.waveform, clip.sample_rate, model.mel.sample_rate)
    return features.log_mel(waveform.astype(np.float32), model.mel)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", help="checkpoints of lib.zoo, or folders")
    parser.add_argument("--sentences", type=int, default=SENTENCES)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        for name in options.folders:
            folder = Path(name) if Path(name).is_dir() else zoo.folder(name)
            print(f"written: {count(folder, sentences=options.sentences, threads=options.threads)}")
    except SpeechError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
