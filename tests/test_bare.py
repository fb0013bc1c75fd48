"""A voice that is taken away says the same samples in a Python that has NumPy and ONNX Runtime and nothing else."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from lib import optimize, systems
from lib.deploy import bare
from lib.errors import ParameterError

SENTENCE = "Is it late?"
# What the interpreter is told: no site-packages (-S), no environment (-I); beside the standard library one folder.
_SCRIPT = """
import sys
sys.path[:0] = [{folder!r}, {packages!r}]
import numpy as np
import speak
voice = speak.Voice({folder!r}, threads=2)
np.save({said!r}, voice.speak({phonemes!r}, seed=3))
speak.main([{phonemes!r}, {wav!r}])
here = {{name.partition(".")[0] for name in sys.modules}}
missing = [name for name in ("torch", "transformers", "onnx", "lib", "scipy") if not _found(name)]
print(sorted(here & {{"torch", "transformers", "onnx", "lib", "scipy"}}), missing)
"""
_FOUND = """
import importlib.util
def _found(name):
    return importlib.util.find_spec(name) is not None
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder with links to what numpy and onnxruntime consist of, and to nothing else."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("numpy", "onnxruntime"):
        for file in metadata.files(name):
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(metadata.distribution(name).locate_file(top)))
    return folder


def test_the_voice_needs_numpy_and_onnx_runtime_alone(packages, tmp_path):
    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=2)
    files = bare.write(voice, tmp_path / "voice", sentences=[SENTENCE])
    about = json.loads((tmp_path / "voice" / bare.VOICE).read_text())
    names = {name: str(tmp_path / name) for name in ("said.npy", "said.wav")}
    script = _FOUND + _SCRIPT.format(
        folder=str(tmp_path / "voice"),
        packages=str(packages),
        phonemes=about["sentences"][SENTENCE],
        said=names["said.npy"],
        wav=names["said.wav"],
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[] ['torch', 'transformers', 'onnx', 'lib', 'scipy']"
    assert np.array_equal(np.load(names["said.npy"]), voice.synthesize(SENTENCE, seed=3).waveform)
    assert (tmp_path / "said.wav").stat().st_size > 10_000 and files[-1].name == bare.SPEAKER


_COPY = """
import sys
sys.path[:0] = [{folder!r}, {packages!r}]
import numpy as np
import speak
mel = np.load({folder!r} + "/mel.npy")
np.save({said!r}, speak.Vocoder({folder!r}, threads=2).vocode(mel))
speak.main([{folder!r} + "/mel.npy", {wav!r}])
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"torch", "transformers", "onnx", "lib", "scipy"}}))
"""


def test_a_vocoder_needs_numpy_and_onnx_runtime_alone(packages, tmp_path):
    """A variant, so that what is taken away is what was quantized."""
    whole = systems.load("hifigan", target="onnxruntime/cpu", threads=2)
    vocoder = optimize.make(whole, "int8-dynamic", stages=["front"])
    mel = np.random.default_rng(0).normal(-5, 2, (40, 80)).astype(np.float32)
    files = bare.write(vocoder, tmp_path / "vocoder", mel=mel)
    assert {file.name for file in files} >= {"decoder.onnx", "front.onnx", "pitch.onnx", "mel.npy", "speak.py"}
    script = _COPY.format(
        folder=str(tmp_path / "vocoder"),
        packages=str(packages),
        said=str(tmp_path / "said.npy"),
        wav=str(tmp_path / "said.wav"),
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    said = np.load(tmp_path / "said.npy")
    assert len(said) == 40 * 256 and np.abs(said).max() > 0.001
    assert np.array_equal(said, vocoder.vocode(mel)) and not np.array_equal(said, whole.vocode(mel))
    assert (tmp_path / "said.wav").stat().st_size > 20_000


def test_every_system_has_a_folder_or_says_why_not():
    kinds = [name for kind in systems.KINDS for name in systems.names(kind)]
    names = {name for name in kinds if "onnxruntime/cpu" in systems.targets(name)} - {"hibari"}
    assert names - set(bare.WHY_NOT) - {"speecht5-base"} == {"vits-joe", "hifigan"}
    said = bare.lacking(["vits-joe", "tacotron2", "speecht5", "tortoise"])
    assert said.startswith("Without such a folder: tacotron2, speecht5: its decoder goes step by step")
    assert "tortoise: it has no graphs" in said and bare.lacking(["vits-joe"]) is None


def test_a_voice_that_needs_this_project_is_refused(tmp_path):
    with pytest.raises(
        ParameterError,
        match="istft baseline on onnxruntime/cpu does not run without this project: pulses, noise",
    ):
        bare.write(systems.load("istft", target="onnxruntime/cpu", threads=1), tmp_path)
