"""What does a saved variant, or a system, say in a process of its own, which shares nothing with the test but files?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib import REPOSITORY

HEAVY = ("torch", "onnx", "librosa", "transformers")  # modules of which it is told which were imported
_SCRIPT = """
import json, sys
import numpy as np
from lib import optimize, systems

asked = json.loads(sys.argv[1])
load = optimize.load if "folder" in asked["load"] else systems.load
model = load(**asked["load"])
answer = {}
if model.kind == "vocoder":
    samples = model.vocode(np.load(asked["array"]))
elif model.kind == "recogniser":
    answer["words"] = model.transcribe(np.load(asked["array"]), asked["sample_rate"]).text
    samples = np.zeros(0)
else:
    samples = model.synthesize(asked["text"], asked["seed"]).waveform
np.save(asked["samples"], samples)
answer["imported"] = [name for name in asked["heavy"] if name in sys.modules]
print(json.dumps(answer | {"variant": model.variant, "fingerprint": model.fingerprint()}))
"""


@dataclass(frozen=True)
class Answer:
    """samples: (n,) of a voice or vocoder; words: of a recogniser; variant and fingerprint of what was loaded;
    imported: those of `HEAVY` that were there when it had answered.
    """

    samples: np.ndarray
    words: str
    variant: str
    fingerprint: str
    imported: list[str]


def ask(load: dict[str, Any], question: str | np.ndarray, *, seed: int = 1, sample_rate: int = 0) -> Answer:
    """Load a variant ({"folder": ...}: `optimize.load`) or a system ({"name": ...}: `systems.load`) and ask it once.

    question: the text for a voice, the mel for a vocoder, the waveform at `sample_rate` for a recogniser.
    """
    load = {name: str(value) if isinstance(value, Path) else value for name, value in load.items()}
    with tempfile.TemporaryDirectory() as folder:
        asked = {"load": load, "seed": seed, "sample_rate": sample_rate, "heavy": HEAVY}
        asked["samples"] = f"{folder}/said.npy"
        if isinstance(question, str):
            asked["text"] = question
        else:
            asked["array"] = f"{folder}/given.npy"
            np.save(asked["array"], question)
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, json.dumps(asked)],
            capture_output=True,
            text=True,
            cwd=REPOSITORY,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        answer = {"words": "", **json.loads(done.stdout.splitlines()[-1])}
        return Answer(samples=np.load(asked["samples"]), **answer)
