"""How does a student of the decoder lie on disk? Beside its teacher's folder, of which it needs all but the decoder.

student.json         what it learnt from whom, and how it is to be walked
decoder.safetensors  its weights, half precision
README.md            the card
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lib import zoo
from lib.errors import MissingDataError, TrainingError, unknown
from lib.files import content_key, write_atomic
from lib.systems import checkpoint
from lib.systems.tortoise.network import DiffusionDecoder, student

DESCRIPTION, WEIGHTS = "student.json", "decoder.safetensors"


@dataclass(frozen=True)
class Student:
    """method: how it learnt; steps: of DDIM that it is to walk; guidance: the highest weight folded into it;
    temperature: the lowest and the highest of the noise that it knows; teacher: whose student it is; base: hash of the
    checkpoint whose latents it follows; trained_steps, trained_minutes: what its training took, line_minutes: with
    those of its teachers back to the base (0: unknown).
    """

    method: str
    steps: int
    guidance: float
    temperature: tuple[float, float]
    teacher: str
    base: str
    folded: bool = False
    interval: bool = False
    prediction: str = ""  # what it says, of `diffusion.PREDICTIONS` ("": what its base says)
    trained_steps: int = 0
    trained_minutes: float = 0.0
    line_minutes: float = 0.0


def key(folder: str | Path) -> str:
    """What a student notes of the checkpoint that it belongs to."""
    return content_key((Path(folder) / checkpoint.WEIGHTS).read_bytes())


def save(folder: str | Path, about: Student, weights: dict[str, torch.Tensor], card: str) -> Path:
    """Store a student with its card."""
    import safetensors.torch

    folder = Path(folder)
    half = {n: (v.half() if v.is_floating_point() else v).cpu().contiguous() for n, v in weights.items()}
    write_atomic(folder / WEIGHTS, safetensors.torch.save(half))
    write_atomic(folder / checkpoint.CARD, card.encode())
    write_atomic(folder / DESCRIPTION, json.dumps(asdict(about), indent=1).encode())
    return folder


def line_minutes(teacher: str, own: float) -> float:
    """What the training of a student took with those of all before it. teacher: its folder or name, "": the base."""
    before = about(find(teacher)).line_minutes if teacher else 0.0
    return round(before + own, 4) if before or not teacher else 0.0


def names() -> list[str]:
    """Those of `lib.zoo`."""
    return sorted(path.parent.name for path in _home().glob(f"*/{DESCRIPTION}"))


def find(name: str) -> Path:
    """The folder of a student of `lib.zoo`, or the folder of that name."""
    if (Path(name) / DESCRIPTION).is_file():
        return Path(name)
    if name not in names():
        raise unknown("student", name, names())
    return _home() / name


def about(folder: str | Path) -> Student:
    """What the student of a folder is; MissingDataError where there is none, TrainingError where it is damaged."""
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise MissingDataError(
            f"{folder} holds no student: {DESCRIPTION} is missing; train one, or name another folder"
        )
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        return Student(**described | {"temperature": tuple(described["temperature"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{path} cannot be read ({error!r}): take the student anew") from error


def load(folder: str | Path, base: str, decoder: DiffusionDecoder) -> tuple[Student, DiffusionDecoder]:
    """A student of the checkpoint with the key `base`, whose decoder is given; the copy that it becomes is in
    evaluation mode.

    Raises TrainingError where it is damaged, or belongs to another checkpoint.
    """
    import safetensors
    import safetensors.torch

    known = about(folder)
    if known.base != base:
        raise TrainingError(
            f"the student in {folder} follows another front end than that of this base: take its own"
        )
    made = student(decoder, folded=known.folded, interval=known.interval)
    try:
        weights = safetensors.torch.load_file(Path(folder) / WEIGHTS)
        made.load_state_dict({name: value.float() for name, value in weights.items()})
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        words = " ".join(str(error).split())[:200]
        raise TrainingError(f"the student in {folder} cannot be read ({words}): take it anew") from error
    return known, made.eval()


def _home() -> Path:
    return zoo.HERE / "tortoise" / "students"
