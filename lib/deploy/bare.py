"""How does somebody take a voice away who wants nothing of this project? As a folder of graphs with one script that
needs ONNX Runtime and NumPy alone.

    <stage>.onnx   the graphs, quantized or not, as the variant has them
    voice.json     which tensor of which graph is what, the symbols' ids, some sentences in phonemes; of a vocoder what
                   a mel is; what made the folder, and its licence
    speak.py       `bare_speaker` or `bare_vocoder`: run it, or import it
    mel.npy        of a vocoder: a mel to begin with

It says the samples that the variant says here. `vits-joe` and `hifigan` have such a folder: their stages follow each
other with a few lines of NumPy between them. What the others lack says `WHY_NOT`.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import ParameterError
from lib.files import write_atomic
from lib.optimize import variant
from lib.systems import licences, symbols
from lib.target import versions

if TYPE_CHECKING:
    from lib.systems.model import Model

SPEAKER, VOICE, MEL = "speak.py", "voice.json", "mel.npy"
WHOLE = "baseline"
SENTENCES = ("The birch canoe slid on the smooth planks.", "Glue the sheet to the dark blue background.")
WALKED = "its decoder goes step by step and finds out itself where the sentence ends"
WHY_NOT = {
    "fastspeech2": "durations, pitch and energy go from graph to graph by rules of this project, and a vocoder follows",
    "tacotron2": WALKED,
    "speecht5": WALKED,
    "tortoise": "durations and the walk from noise to a mel are code of this project, and a vocoder follows",
    "istft": "pulses, noise and the inverse Fourier transform are computed around its graphs, with SciPy",
    "hibari-small": "its text is read by the lexicon of the package hibari-tts, and its pulses are that package's",
    "hibari-vocoder": "the signal processing behind its graphs is that of the package hibari-tts",
    "whisper-tiny.en": "its mel, its search and its tokens are code of this project",
}


def write(
    voice: Model, folder: str | Path, *, sentences: Sequence[str] = SENTENCES, mel: np.ndarray | None = None
) -> list[Path]:
    """The folder of a voice or vocoder on ONNX Runtime, baseline or variant; its files.

    sentences: whose phonemes lie there; mel: (F, n_bands), what lies there of a vocoder, by default the first sentence
    as its teacher reads it. ParameterError for a system that needs more than its graphs, with what.
    """
    from lib.systems.vits_joe import stages

    folder = Path(folder)
    general = {
        "sample_rate": voice.sample_rate,
        "variant": voice.variant,
        "licence": _licence(voice),
        "made_with": {**versions(("onnxruntime",)), "opset": _opset(voice.graphs.values())},
    }
    if voice.name == stages.VitsJoeOnnx.name and voice.graphs.keys() == stages.STAGES.keys():
        about, others, script = _of_voice(voice, stages, sentences), [], "bare_speaker.py"
    elif voice.name == "hifigan" and "decoder" in voice.graphs:
        about, script = _of_vocoder(voice), "bare_vocoder.py"
        others = [write_atomic(folder / MEL, _npy(_read(voice, sentences[0]) if mel is None else mel))]
    else:
        why = WHY_NOT.get(voice.name, "its stages are not those that a script of NumPy can follow")
        raise ParameterError(
            f"{voice.name} {voice.variant} on {voice.target} does not run without this project: {why}; take vits-joe "
            "(with its own decoder) or hifigan on onnxruntime/cpu"
        )
    return [
        *(write_atomic(folder / f"{stage}.onnx", graph) for stage, graph in voice.graphs.items()),
        *others,
        write_atomic(folder / VOICE, json.dumps({**general, **about}, ensure_ascii=False, indent=1).encode()),
        write_atomic(folder / SPEAKER, Path(__file__).with_name(script).read_bytes()),
    ]


def lacking(names: Iterable[str]) -> str | None:
    """Which of some systems have no such folder, and why, in a sentence; None where all have one."""
    by_why: dict[str, list[str]] = {}
    for name in names:
        if name in WHY_NOT:
            by_why.setdefault(WHY_NOT[name], []).append(name)
    said = "; ".join(f"{', '.join(who)}: {why}" for why, who in by_why.items())
    return f"Without such a folder: {said}." if said else None


def told(voice: Model, files: Sequence[Path]) -> str:
    """What was written of a voice or vocoder, in a sentence or two. files: of `write`."""
    size = sum(file.stat().st_size for file in files) / 1e6
    kind = "vocoder" if voice.kind == "vocoder" else "voice"
    whole = f" Nothing was recommended, so this is the {kind} as it is." if voice.variant == WHOLE else ""
    return (
        f"{voice.name} {voice.variant}: {len(files)} files, {size:.0f} MB; `python {files[-1]}` speaks.{whole}"
    )


def _licence(voice: Model) -> str:
    """Of the script and of what it says; of a voice that was trained further, that there is more to look up."""
    origin = (voice.made or {}).get("base", {}).get("origin") or voice.origin or {}
    while "folder" in origin:  # a variant of a variant
        description = Path(origin["folder"], variant.DESCRIPTION).read_text(encoding="utf-8")
        origin = json.loads(description)["base"]["origin"]
    learnt = origin.get("checkpoint")
    more = f"; it learnt further, see the card of its checkpoint, {Path(learnt).name}" if learnt else ""
    return f"{SPEAKER}: MIT; what it says: {licences.of(voice.name)}{more}"


def _opset(graphs: Iterable[bytes]) -> dict[str, int]:
    """Domain of operators -> the newest version that the graphs ask for."""
    import onnx

    asked: dict[str, int] = {}
    for graph in graphs:
        for one in onnx.load_from_string(graph).opset_import:
            domain = one.domain or "ai.onnx"
            asked[domain] = max(asked.get(domain, 0), one.version)
    return asked


def _of_voice(voice: Model, stages, sentences: Sequence[str]) -> dict:
    table = symbols.voice_config()["phoneme_id_map"]
    said = {text: "".join(symbols.of(text)[1:-1]) for text in sentences}
    return {
        "language": symbols.voice_config()["espeak"]["voice"],
        "scales": [float(value) for value in voice.scales.array()],
        "stages": {stage: _ends(stages, *ends) for stage, ends in stages.STAGES.items()},
        "marks": [symbols.BOS, symbols.EOS, symbols.PAD],
        "ids": {symbol: numbers[0] for symbol, numbers in table.items()},
        "sentences": said,
    }


def _of_vocoder(vocoder: Model) -> dict:
    return {"stages": list(vocoder.graphs), "mel": dataclasses.asdict(vocoder.mel)}


def _read(vocoder: Model, text: str) -> np.ndarray:
    from lib.optimize import calibration

    return calibration.mel(vocoder, text, 0)


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values, np.float32))
    return buffer.getvalue()


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
