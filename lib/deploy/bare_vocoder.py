"""Turn mel spectrograms into sound with the graphs in this folder. Needs NumPy and ONNX Runtime, nothing else.

    python speak.py                     the mel in mel.npy -> said.wav
    python speak.py other.npy said.wav  another one, (frames, bands) float32 -> a file

    from speak import Vocoder
    waveform = Vocoder(".").vocode(log_mel)  # float32 in [-1, 1] at Vocoder.sample_rate

What a mel is here (window, hop, bands, the logarithm) stands in voice.json.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np


class Vocoder:
    """The networks of a vocoder one after the other, with the integral of the pitch between them."""

    def __init__(self, folder=".", threads=2):
        import onnxruntime

        self.about = json.loads((Path(folder) / "voice.json").read_text(encoding="utf-8"))
        self.sample_rate, self.hop = self.about["sample_rate"], self.about["mel"]["hop"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = False  # every mel has a length of its own
        options.log_severity_level = 3
        self.sessions = {
            stage: onnxruntime.InferenceSession(
                str(Path(folder) / f"{stage}.onnx"), options, providers=["CPUExecutionProvider"]
            )
            for stage in self.about["stages"]
        }

    def vocode(self, log_mel):
        """The waveform (frames * hop,) float32 of a mel (frames, bands)."""
        log_mel = np.ascontiguousarray(log_mel, np.float32)
        if log_mel.ndim != 2 or log_mel.shape[1] != self.about["mel"]["n_bands"]:
            raise ValueError(f"a mel is (frames, {self.about['mel']['n_bands']}), this is {log_mel.shape}")
        given = {"mel": log_mel}
        if "front" in self.sessions:
            source = self.source(*self.sessions["pitch"].run(None, given))
            (latents,) = self.sessions["front"].run(None, {**given, "source": source})
            given = {"latents": latents}
        (waveform,) = self.sessions["decoder"].run(None, given)
        return waveform.reshape(-1).clip(-1, 1)

    def source(self, voiced, octaves):
        """(frames, 4): sine and cosine of the pulses' phase, voiced or not, pitch in half octaves over 100 Hz; from
        the logit of "voiced" and log2(F0 / 100 Hz), each (frames,).
        """
        heard = voiced > 0
        hz = np.where(heard, np.float32(100) * np.exp2(octaves.clip(-1, 2.5)), np.float32(0))
        cycles = np.cumsum(hz.astype(np.float64) * self.hop / self.sample_rate)
        angle = np.float32(2 * np.pi) * (cycles % 1).astype(np.float32)
        height = 2 * np.log2(np.maximum(hz, np.float32(1)) / np.float32(100))
        known = np.stack([np.sin(angle), np.cos(angle), np.ones_like(angle), height], -1)
        return (known * heard[:, None]).astype(np.float32)


def save(path, waveform, sample_rate):
    """16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes((waveform.clip(-1, 1) * 32767).round().astype("<i2").tobytes())


def main(arguments):
    """Command line."""
    here = Path(__file__).parent
    vocoder = Vocoder(here)
    mel = arguments[0] if arguments else here / "mel.npy"
    place = arguments[1] if len(arguments) > 1 else "said.wav"
    save(place, vocoder.vocode(np.load(mel)), vocoder.sample_rate)
    print(f"{place}: {mel}")


if __name__ == "__main__":
    main(sys.argv[1:])
