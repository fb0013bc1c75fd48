"""Speak with the graphs in this folder. Needs NumPy and ONNX Runtime, nothing else.

    python speak.py                                  the first of the sentences in voice.json -> said.wav
    python speak.py "ðə bˈɜːtʃ kənˈuː" said.wav      phonemes as eSpeak NG writes them -> a file

    from speak import Voice
    waveform = Voice(".").speak("ðə bˈɜːtʃ kənˈuː")  # float32 in [-1, 1] at Voice.sample_rate

Phonemes of any text: `espeak-ng -q --ipa -v en-us "..."`, or the package piper-phonemize.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np


class Voice:
    """The stages of a VITS voice one after the other, with the noise handed in: the same seed says the same samples."""

    def __init__(self, folder=".", threads=2):
        import onnxruntime

        self.about = json.loads((Path(folder) / "voice.json").read_text(encoding="utf-8"))
        self.sample_rate = self.about["sample_rate"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = False  # every sentence has a shape of its own
        options.log_severity_level = 3
        self.sessions = {
            stage: onnxruntime.InferenceSession(
                str(Path(folder) / f"{stage}.onnx"), options, providers=["CPUExecutionProvider"]
            )
            for stage in self.about["stages"]
        }

    def speak(self, phonemes, seed=0):
        """The waveform (n_samples,) float32 of phonemes: a string, or the symbols of `voice.json` one by one."""
        ids, noise, scales = self.ids(phonemes), np.random.default_rng(seed), self.about["scales"]
        known = {
            "ids": ids,
            "length": np.array([ids.shape[1]], np.int64),
            "scales": np.array(scales, np.float32),
        }
        for stage, ends in self.about["stages"].items():
            given = {}
            for name, meaning in ends["inputs"].items():
                if meaning == "noise of durations":
                    known[meaning] = noise.standard_normal((1, 2, ids.shape[1]), np.float32)
                elif meaning == "noise of latents":
                    known[meaning] = noise.standard_normal(known["mean"].shape, np.float32)
                given[name] = known[meaning]
            said = self.sessions[stage].run(list(ends["outputs"]), given)
            known |= dict(zip(ends["outputs"].values(), said))
        return known["waveform"].reshape(-1)

    def ids(self, phonemes):
        """(1, T) int64: every symbol but the last is followed by the padding."""
        table, (begin, end, pad) = self.about["ids"], self.about["marks"]
        symbols = [symbol for symbol in phonemes if symbol in table and symbol not in (begin, end, pad)]
        if not symbols:
            raise ValueError(f"the voice knows no symbol of {phonemes!r}")
        numbers = [i for symbol in (begin, *symbols, end) for i in (table[symbol], table[pad])]
        return np.array([numbers[:-1]], np.int64)


def save(path, waveform, sample_rate):
    """16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes((waveform.clip(-1, 1) * 32767).round().astype("<i2").tobytes())


def main(arguments):
    """Command line."""
    voice = Voice(Path(__file__).parent)
    phonemes = arguments[0] if arguments else next(iter(voice.about["sentences"].values()))
    place = arguments[1] if len(arguments) > 1 else "said.wav"
    save(place, voice.speak(phonemes), voice.sample_rate)
    print(f"{place}: {phonemes}")


if __name__ == "__main__":
    main(sys.argv[1:])
