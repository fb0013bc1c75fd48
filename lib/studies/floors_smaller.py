"""What should pruning and quantization reach at least? The floors of `04_pruning_quantization`, and by which rows.

Whatever is faster or smaller counts only where its verdict is without audible loss, a recogniser's, where its word
errors stay within half a point; and only where it is not slower or larger than its baseline on the same target for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lib.studies.floor_rows import (
    WHOLE,
    answer,
    cell,
    detail,
    difference,
    judged,
    no_dearer,
    number,
    rows,
    speed_up,
    variants,
)
from lib.studies.floors import Answer, Floor, Number, Part, at_least, at_most

if TYPE_CHECKING:
    import pandas as pd

STUDY, LISTENER = "Pruning and quantization", "whisper-tiny.en"
TORCH, ONNX = "torch/cpu", "onnxruntime/cpu"
PIPER, FASTER_WHISPER = "piper/cpu", "faster-whisper/cpu"
VOCODERS = ("hifigan", "istft")
SYSTEMS = ("vits-joe", "hibari-small", "fastspeech2", "tacotron2", "speecht5", "tortoise", *VOCODERS, LISTENER)
# Times as small as its baseline that a download should become. Not half the one of a voice whose lexicon, of which
# nothing can be spared, is 45 % of it.
HALF, SMALLER = 2.0, {"hibari-small": 4 / 3}
LISTENER_POINTS = 0.005  # of the words, that a faster recogniser may mishear more
HALVED = "+fp16-weights"  # ends the names of variants whose rest is stored in half precision
_MEASURES = "`./run_all.sh study --only 04` measures it"


def floors() -> list[Floor]:
    """All of them, in the order in which they are told."""
    clean = ", without audible loss"
    return [
        Floor(
            STUDY,
            "published SpeechT5",
            f"3 times as fast and 3.5 times as small as fp32 on PyTorch; the small one{clean}",
            published_size,
            _MEASURES,
        ),
        Floor(STUDY, "vits-joe", f"twice as fast as fp32 on ONNX Runtime{clean}", voice_faster, _MEASURES),
        Floor(
            STUDY,
            "vits-joe beside piper-tts",
            f"1.5 times as fast{clean}",
            beside_package,
            "04_pruning_quantization measures it where piper-tts is installed",
            ("vits-joe", PIPER),
        ),
        *(_vocoder(name, f"3 times as fast as PyTorch{clean}") for name in VOCODERS),
        Floor(
            STUDY,
            LISTENER,
            "3 times as fast as transformers in fp32, greedy, with at most half a point more word errors",
            listener_faster,
            _MEASURES,
        ),
        Floor(
            STUDY,
            f"{LISTENER} beside faster-whisper in int8",
            "no slower, with at most half a point more word errors than transformers",
            listener_beside_package,
            _MEASURES,
            (LISTENER, FASTER_WHISPER),
        ),
        *(
            Floor(
                STUDY,
                f"download of {name}",
                f"{'three quarters' if name in SMALLER else 'half'} of it{clean}",
                partial(smaller_download, system=name, limit=SMALLER.get(name, HALF)),
                _MEASURES,
            )
            for name in SYSTEMS
        ),
    ]


def published_size(run: pd.DataFrame) -> Iterator[Answer]:
    """Variants of the published SpeechT5 beside the whole on PyTorch; the same variant of the small one is judged."""
    for row in rows(run, "speecht5-base", "speedup"):
        about = detail(row)
        if about.get("of") != f"speecht5-base {WHOLE} on {TORCH}":
            continue
        smaller = about.get("times_smaller")
        yield answer(
            row,
            at_least(number(row), 3.0, "{} times as fast"),
            at_least(None if smaller is None else Number(smaller, exact=True), 3.5, "{} times as small"),
            _of_small_one(run, row.variant, row.target),
            None if row.target == TORCH else no_dearer(run, row.system, row.variant, row.target),
        )


def _of_small_one(run: pd.DataFrame, variant: str, target: str) -> Part:
    """The verdict on the small SpeechT5. On PyTorch it lies in half precision already, so there storing the rest of a
    variant in half changes no number, and is no variant of its own.
    """
    own = variant.removesuffix(HALVED) if target == TORCH else variant
    return judged(run, "speecht5", own, target)


def voice_faster(run: pd.DataFrame) -> Iterator[Answer]:
    """Variants of the voice on ONNX Runtime beside its baseline there."""
    for row in variants(run, "vits-joe", "rtf"):
        faster = speed_up(run, row, WHOLE, ONNX) if row.target == ONNX and row.variant != WHOLE else None
        if faster:
            heard = judged(run, "vits-joe", row.variant, ONNX)
            larger = no_dearer(run, "vits-joe", row.variant, ONNX, ["size_mb"])
            yield answer(row, at_least(faster, 2.0, "{} times as fast"), heard, larger)


def beside_package(run: pd.DataFrame) -> Iterator[Answer]:
    """Variants of the voice on ONNX Runtime beside piper-tts, as the row of that package has them."""
    row = cell(run, "vits-joe", WHOLE, PIPER, "rtf")
    for name, beside in detail(row).get("ours over theirs", {}).items() if row else ():
        faster = Number(beside["times"], beside["ci_low"], beside["ci_high"])
        heard = judged(run, "vits-joe", name, ONNX)
        dearer = no_dearer(run, "vits-joe", name, ONNX)
        yield answer(row, at_least(faster, 1.5, "{} times as fast"), heard, dearer, who=name)


def faster_than_torch(run: pd.DataFrame, system: str, limit: float) -> Iterator[Answer]:
    """Variants of a system, on any runtime, beside its baseline on PyTorch."""
    for row in variants(run, system, "rtf"):
        faster = speed_up(run, row, WHOLE, TORCH) if (row.variant, row.target) != (WHOLE, TORCH) else None
        if faster:
            heard = judged(run, system, row.variant, row.target)
            dearer = no_dearer(run, system, row.variant, row.target)
            yield answer(row, at_least(faster, limit, "{} times as fast"), heard, dearer)


def listener_faster(run: pd.DataFrame) -> Iterator[Answer]:
    """Forms of the published recogniser beside the same weights in transformers."""
    for row, about in _forms(run):
        if row.target != FASTER_WHISPER:
            yield answer(row, at_least(number(row), 3.0, "{} times as fast"), *_form(run, row, about))


def listener_beside_package(run: pd.DataFrame) -> Iterator[Answer]:
    """Forms of the published recogniser beside the package faster-whisper, timed in one bench."""
    for row, about in _forms(run):
        if beside := about.get("over faster-whisper"):
            times = Number(beside["times"], beside["ci_low"], beside["ci_high"])
            yield answer(row, at_least(times, 1.0, "{} times as fast"), *_form(run, row, about))


def smaller_download(run: pd.DataFrame, system: str, limit: float = HALF) -> Iterator[Answer]:
    """Variants of a system beside its baseline on the same target."""
    for row in variants(run, system, "size_mb"):
        whole = cell(run, system, WHOLE, row.target, "size_mb")
        if row.variant == WHOLE or whole is None or row.value <= 0:
            continue
        smaller = Number(whole.value / row.value, exact=True)
        heard = judged(run, system, row.variant, row.target)
        slower = no_dearer(run, system, row.variant, row.target, ["rtf"])
        yield answer(row, at_least(smaller, limit, "{} times as small"), heard, slower)


def _forms(run: pd.DataFrame) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Rows of the published recogniser's forms with what they say, those beside its own weights in transformers: not
    those of weights that were taught something.
    """
    for row in variants(run, LISTENER, "speedup"):
        about = detail(row)
        if about.get("of") == f"{LISTENER} {WHOLE} on {TORCH}":
            yield row, about


def _form(run: pd.DataFrame, row: Any, about: Mapping[str, Any]) -> tuple[Part | None, ...]:
    """Whether a form mishears hardly more than the same weights in transformers, and what it costs beside its own
    baseline; of single precision that nothing was done to it.
    """
    hears = at_most(difference(about.get("wer")), LISTENER_POINTS, "{} of the words misheard more")
    if row.variant == WHOLE:
        return hears, judged(run, LISTENER, WHOLE, row.target)
    return hears, no_dearer(run, LISTENER, row.variant, row.target)


def _vocoder(name: str, wanted: str) -> Floor:
    answers = partial(faster_than_torch, system=name, limit=3.0)
    return Floor(STUDY, f"vocoder {name}", wanted, answers, _MEASURES)
