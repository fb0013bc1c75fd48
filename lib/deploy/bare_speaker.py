"""Speak with the graphs in this folder. Needs NumPy and ONNX Runtime, nothing else.

    python speak.py                                  the first of the sentences in voice.json -> said.wav
    python speak.py "ðə bˈɜːtʃ kənˈuː" said.wav      phonemes as eSpeak NG writes them -> a file
    python speak.py "The birch canoe." said.wav      a sentence, where the program espeak-ng is installed

    from speak import Voice, phonemes_of
    waveform = Voice(".").speak("ðə bˈɜːtʃ kənˈuː")  # float32 in [-1, 1] at Voice.sample_rate
    waveform = Voice(".").speak(phonemes_of("The birch canoe."))

Elsewhere `espeak-ng -q --ipa -v en-us "..."` writes phonemes, a line for each clause and without its punctuation, which
the voice reads, too: put it back.
"""

import json
import re
import shutil
import subprocess
import sys
import unicodedata
import wave
from pathlib import Path

import numpy as np

PUNCTUATION = ';:,.!?¡¿—…"«»“”(){}[]'  # what eSpeak NG leaves out


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
        """(1, T) int64: every symbol but the last is followed by the padding. What the voice does not know is named."""
        table, marks = self.about["ids"], self.about["marks"]
        if isinstance(phonemes, str) and spelled(phonemes):
            raise ValueError(f"{phonemes!r} is spelling, and the voice reads phonemes: give phonemes_of(it)")
        said = re.sub(r"\s*\n\s*", " ", unicodedata.normalize("NFD", "".join(phonemes)).strip())
        symbols = [symbol for symbol in said if symbol in table and symbol not in marks]
        if not any(symbol.isalpha() for symbol in symbols):
            raise ValueError(f"the voice knows no phoneme of {phonemes!r}")
        if unknown := {*said} - table.keys() - {*PUNCTUATION}:
            print(f"not spoken, unknown to the voice: {' '.join(sorted(unknown))}", file=sys.stderr)
        begin, end, pad = marks
        numbers = [i for symbol in (begin, *symbols, end) for i in (table[symbol], table[pad])]
        return np.array([numbers[:-1]], np.int64)


def spelled(text):
    """Whether this is plain text: it has a capital, or nothing but plain letters and digits, no stress mark even."""
    signs = [sign for sign in unicodedata.normalize("NFD", text) if sign.isalnum()]
    return any(map(str.isupper, signs)) or (bool(signs) and all(map(str.isascii, signs)))


def phonemes_of(text, language="en-us"):
    """The phonemes of a sentence with its punctuation, by the program espeak-ng; ValueError where there is none."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise ValueError(
            f"{text!r} is spelling, the voice reads phonemes, and espeak-ng, which makes them, is not here: install it "
            f"(Debian, Ubuntu: apt-get install espeak-ng), or hand in what `espeak-ng -q --ipa -v {language} {text!r}` "
            "writes elsewhere"
        )
    line = " ".join(unicodedata.normalize("NFKC", text).split())
    parts = re.split(rf"(\s*[{re.escape(PUNCTUATION)}][\s{re.escape(PUNCTUATION)}]*)", line)
    for i in range(0, len(parts), 2):  # between them stands punctuation
        if parts[i]:
            command = [program, "-q", "--ipa", "-v", language, "--stdin"]
            done = subprocess.run(command, input=parts[i], capture_output=True, encoding="utf-8", check=True)
            parts[i] = re.sub(
                r"\([a-z-]+\)", "", " ".join(done.stdout.split())
            )  # "(fr)": a foreign word follows
    return "".join(parts).strip()


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
    try:
        phonemes = phonemes_of(phonemes, voice.about["language"]) if spelled(phonemes) else phonemes
        save(place, voice.speak(phonemes), voice.sample_rate)
    except ValueError as error:
        sys.exit(str(error))
    print(f"{place}: {phonemes}")


if __name__ == "__main__":
    main(sys.argv[1:])
