"""How does somebody take a voice away who wants nothing of this project? As a folder of graphs with one script that
needs ONNX Runtime and NumPy alone.

    <stage>.onnx   the graphs, quantized or not, as the variant has them
    voice.json     which tensor of which graph is what, the symbols' ids, some sentences in phonemes
    speak.py       `bare_speaker`: run it, or import it

It says the samples that the variant says here. Of the systems `vits-joe` has such a folder: its stages follow each
other without a loop. Others find their way through a text step by step, in code of this project.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import ParameterError
from lib.files import write_atomic
from lib.systems import symbols

if TYPE_CHECKING:
    from lib.systems.model import Model

SPEAKER, VOICE = "speak.py", "voice.json"
SENTENCES = ("The birch canoe slid on the smooth planks.", "Glue the sheet to the dark blue background.")


def write(voice: Model, folder: str | Path, *, sentences: Sequence[str] = SENTENCES) -> list[Path]:
    """The folder of a voice on ONNX Runtime, baseline or variant; its files. sentences: whose phonemes lie there."""
    from lib.systems.vits_joe import stages

    folder = Path(folder)
    if voice.name != stages.VitsJoeOnnx.name or voice.graphs.keys() != stages.STAGES.keys():
        raise ParameterError(
            f"{voice.name} {voice.variant} on {voice.target} does not run without this project: take vits-joe on "
            "onnxruntime/cpu with its own decoder"
        )
    table = symbols.voice_config()["phoneme_id_map"]
    said = {text: "".join(symbols.of(text)[1:-1]) for text in sentences}
    about = {
        "sample_rate": voice.sample_rate,
        "variant": voice.variant,
        "scales": [float(value) for value in voice.scales.array()],
        "stages": {stage: _ends(stages, *ends) for stage, ends in stages.STAGES.items()},
        "marks": [symbols.BOS, symbols.EOS, symbols.PAD],
        "ids": {symbol: numbers[0] for symbol, numbers in table.items()},
        "sentences": said,
    }
    speaker = Path(__file__).with_name("bare_speaker.py").read_bytes()
    return [
        *(write_atomic(folder / f"{stage}.onnx", graph) for stage, graph in voice.graphs.items()),
        write_atomic(folder / VOICE, json.dumps(about, ensure_ascii=False, indent=1).encode()),
        write_atomic(folder / SPEAKER, speaker),
    ]


def _ends(stages, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, dict[str, str]]:
    """Tensor -> what `bare_speaker` calls it."""
    meanings = {
        "input": "ids",
        "input_lengths": "length",
        "scales": "scales",
        stages.DURATION_NOISE: "noise of durations",
        stages.PRIOR_NOISE: "noise of latents",
        stages.PRIOR_MEAN: "mean",
        stages.PRIOR_DEVIATION: "deviation",
        stages.FRAMES: "frames",
        stages.MASK: "mask",
        stages.LATENTS: "latents",
        "output": "waveform",
    }
    return {
        kind: {name: meanings[name] for name in names}
        for kind, names in (("inputs", inputs), ("outputs", outputs))
    }
