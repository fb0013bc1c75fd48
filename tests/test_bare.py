"""A voice that is taken away says the same samples in a Python that has NumPy and ONNX Runtime and nothing else."""

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from lib import optimize, systems
from lib.deploy import bare, bare_speaker
from lib.errors import ParameterError
from lib.systems import symbols
from lib.systems.vits_joe import piper
from lib.text import phonemes

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


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The voice with its folder."""
    voice, folder = systems.load("vits-joe", target="onnxruntime/cpu"), tmp_path_factory.mktemp("voice")
    bare.write(voice, folder, sentences=[SENTENCE])
    return voice, folder


_READ = """
import sys
sys.path[:0] = [{folder!r}, {packages!r}]
import speak
speak.main([{text!r}, {wav!r}])
"""


def read(text, packages, folder, wav, programs):
    """What becomes of plain text in a Python with NumPy and ONNX Runtime alone; programs: the folder where it looks."""
    script = _READ.format(folder=str(folder), packages=str(packages), text=text, wav=str(wav))
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={"PATH": str(programs)})


def test_plain_text_is_read_with_its_punctuation_where_espeak_is(packages, written, tmp_path):
    voice, folder = written
    text = "Is it late? Yes, he\nsaid."
    # As the program does: a line for each clause, with a space before it.
    clauses = {clause: phonemes(clause) for clause in ("Is it late", "Yes", "he said")}
    cases = "\n".join(f"'{clause}') echo ' {said}';;" for clause, said in clauses.items())
    program = tmp_path / "espeak-ng"
    program.write_text(f"#!/bin/sh\nread -r clause\ncase $clause in\n{cases}\n*) exit 1;;\nesac\n")
    program.chmod(0o755)
    done = read(text, packages, folder, tmp_path / "said.wav", tmp_path)
    assert done.returncode == 0, done.stderr
    assert phonemes(text) in done.stdout and not done.stderr
    samples, _ = soundfile.read(tmp_path / "said.wav", dtype="int16")
    whole = voice.speak(text, 0).waveform
    assert np.array_equal(samples, (whole.clip(-1, 1) * 32767).round())


def test_spelling_is_not_spoken_as_phonemes(packages, written, tmp_path):
    done = read("hello world", packages, written[1], tmp_path / "said.wav", tmp_path)
    assert done.returncode == 1 and not (tmp_path / "said.wav").exists()
    assert done.stderr.startswith("'hello world' is spelling") and "Traceback" not in done.stderr
    assert "`espeak-ng -q --ipa -v en-us 'hello world'`" in done.stderr
    with pytest.raises(ValueError, match="'Hello.' is spelling, and the voice reads phonemes"):
        bare_speaker.Voice(written[1]).ids("Hello.")


@pytest.mark.parametrize(
    ("said", "spelled"),
    [
        ("Hello world, my name is Joe.", True),
        ("it is late", True),
        ("Ça va?", True),
        ("naïve café", True),
        ("3", True),
        ("həlˈoʊ wˈɜːld", False),
        ("tˈɪp", False),
        ("jɛs", False),
    ],
)
def test_spelling_is_told_from_phonemes(said, spelled):
    assert bare_speaker.spelled(said) is spelled


def test_phonemes_become_the_symbols_that_they_are_here(written, capsys):
    voice, folder = written
    speaker = bare_speaker.Voice(folder)
    for text in (SENTENCE, *bare.SENTENCES):
        said = piper.padded_ids(symbols.of(text)).tolist()
        assert speaker.ids(phonemes(text)).tolist() == speaker.ids(symbols.of(text)).tolist() == [said]
    # A line for each clause, as espeak-ng writes them; a letter in one piece or in two.
    assert np.array_equal(speaker.ids(" həlˈoʊ\n jˈɛs\n"), speaker.ids("həlˈoʊ jˈɛs"))
    assert np.array_equal(speaker.ids("ˈɪç"), speaker.ids("ˈɪc\u0327"))
    assert not capsys.readouterr().err
    assert np.array_equal(speaker.ids("hˈa%ßi"), speaker.ids("hˈai"))
    assert capsys.readouterr().err == "not spoken, unknown to the voice: % ß\n"
    with pytest.raises(ValueError, match="knows no phoneme of '...'"):
        speaker.ids("...")


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="no program espeak-ng: apt-get install espeak-ng")
def test_espeak_reads_as_it_does_here():
    text = 'Hello — "world", (my name) is Joe;\nnaïve...'
    assert bare_speaker.phonemes_of(text) == phonemes(text)


def test_the_folder_says_what_made_it_and_under_which_licence(written, tmp_path):
    voice, folder = written
    about = json.loads((folder / bare.VOICE).read_text())
    made = about["made_with"]
    assert made["onnxruntime"] == metadata.version("onnxruntime") and made["opset"]["ai.onnx"] >= 13
    assert about["language"] == "en-us" and about["variant"] == "baseline"
    assert "MIT" in about["licence"] and "licensed for research" in about["licence"]
    learnt = voice.adjusted()
    learnt.origin = {**voice.origin, "checkpoint": "outputs/voices/prompts"}
    files = bare.write(learnt, tmp_path / "learnt", sentences=[SENTENCE])
    about = json.loads((tmp_path / "learnt" / bare.VOICE).read_text())
    assert about["licence"].endswith("it learnt further, see the card of its checkpoint, prompts")
    told = bare.told(voice, files)
    assert told.startswith("vits-joe baseline: 5 files, 6") and told.endswith("this is the voice as it is.")
    assert bare.told(voice.adjusted(variant="int8-static"), files).endswith("speak.py` speaks.")


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
    assert "tortoise: durations and the walk from noise to a mel" in said and bare.lacking(["vits-joe"]) is None


def test_a_voice_that_needs_this_project_is_refused(tmp_path):
    with pytest.raises(
        ParameterError,
        match="istft baseline on onnxruntime/cpu does not run without this project: pulses, noise",
    ):
        bare.write(systems.load("istft", target="onnxruntime/cpu", threads=1), tmp_path)
