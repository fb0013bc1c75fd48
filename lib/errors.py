"""The one family of errors a user of this package meets: each names the culprit and the remedy."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class SpeechError(Exception):
    """Base of every error this package raises on purpose."""


class TextError(SpeechError, ValueError):
    """The text cannot be spoken: empty, or without a single speakable character."""


class AudioError(SpeechError, ValueError):
    """The waveform is not usable audio: wrong shape or type, empty, silent, NaN, wrong sample rate."""


class NoVoiceError(AudioError):
    """Sound in which too little speech is found to tell who speaks; whatever else is asked of it can be answered."""


class AlignmentError(AudioError):
    """Two waveforms compared sample by sample are not aligned in time, or a recording does not say the text
    given with it.
    """


class ParameterError(SpeechError, ValueError):
    """An unknown profile, notebook, parameter, system, metric, unit or kind."""


class MissingPackageError(SpeechError, ImportError):
    """An optional package is not installed; the message holds the pip command."""


class MissingDataError(SpeechError, FileNotFoundError):
    """A corpus or checkpoint is not where it should be; the message says what was looked for."""


class TrainingError(SpeechError, RuntimeError):
    """Training cannot go on: the loss is not a number, or a checkpoint is damaged or of another recipe."""


class DivergedError(TrainingError):
    """A loss or a gradient is no longer a number: the same training would come to that again."""


class StoppedError(SpeechError, RuntimeError):
    """Ended from outside, by a signal or because its time was up: what it would have come to nobody knows."""


class OutputError(SpeechError, OSError):
    """A result cannot be written: no permission, no space, not a folder."""


def unknown(what: str, name: object, known: Iterable[str]) -> ParameterError:
    """The error for a name that does not exist, with the nearest one that does.

    >>> print(unknown("profile", "quik", ["smoke", "quick"]))
    unknown profile 'quik': did you mean 'quick'? Known: quick, smoke
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    listed = f"{hint}Known: {', '.join(known)}" if known else "there are none"
    return ParameterError(f"unknown {what} {str(name)!r}: {listed}")


def require(module: str, pip: str) -> ModuleType:
    """Import an optional module, or say with which command it is installed.

    module: dotted import name; pip: the arguments of `pip install` that bring it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"{module} cannot be imported ({error}): install it with `pip install {pip}`"
        ) from error
