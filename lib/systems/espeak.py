"""`espeak-ng`: a formant synthesiser of the 1990s kind, the low anchor that every naturalness measure must put last.

Called through the shared library of the pip package `espeakng-loader` (eSpeak NG 1.52, GPL-3.0); no program is started.
"""

from __future__ import annotations

import _ctypes
import ctypes
import functools
import threading
from contextlib import contextmanager

import numpy as np

from lib import text
from lib.errors import SpeechError, require
from lib.systems.base import Speech, Stopwatch, System

_SYNCHRONOUS = 0x02  # AUDIO_OUTPUT_SYNCHRONOUS of speak_lib.h: samples go to the callback before Synth returns
_UTF8, _CHARACTERS = 1, 1  # espeakCHARS_UTF8, POS_CHARACTER
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


_LOCK = threading.Lock()  # one library, one state: a second thread waits


@functools.cache
def _copy() -> str:
    """A copy of the library: phonemes come from the original, whose state this one must not share."""
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="espeak-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return shutil.copy(require("espeakng_loader", "espeakng-loader==0.2.4").get_library_path(), folder)


@contextmanager
def _engine():
    """A freshly loaded library and its sample rate. Loaded anew each time because its noise and pitch generators keep
    state that no call resets, and the same text would sound different the second time."""
    loader = require("espeakng_loader", "espeakng-loader==0.2.4")
    _LOCK.acquire()
    library = ctypes.CDLL(_copy())
    try:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(loader.get_data_path()).encode(), 0)
        if rate <= 0:
            raise SpeechError("eSpeak NG did not start: reinstall espeakng-loader==0.2.4")
        library.espeak_SetVoiceByName(b"en-us")
        yield library, rate
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
        _LOCK.release()


class Espeak(System):
    """Formant synthesis; the seed feeds the noise of its fricatives."""

    name = "espeak-ng"
    params_m = 0.0

    def __init__(self, target: str = "native/cpu", threads: int = 1):
        self.target, self.threads = target, threads
        with _engine() as (_, self.sample_rate):
            pass
        self.files = text.front_end_files()

    def speak(self, sentence: str, seed: int) -> Speech:
        watch, chunks = Stopwatch(), []

        def receive(samples, count, _events):
            if samples and count:
                chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        callback = _Callback(receive)
        encoded = sentence.encode()
        with _engine() as (library, _):
            library.espeak_ng_SetRandSeed(ctypes.c_long(seed + 1))
            with watch.stage("synthesis"):
                library.espeak_SetSynthCallback(callback)
                failed = library.espeak_Synth(
                    encoded, ctypes.c_size_t(len(encoded) + 1), 0, _CHARACTERS, 0, _UTF8, None, None
                )
                library.espeak_Synchronize()
        if failed or not chunks:
            raise SpeechError(f"eSpeak NG refused {sentence[:40]!r} (code {failed})")
        return Speech(np.concatenate(chunks).astype(np.float32) / 32_768, self.sample_rate, watch.seconds)
