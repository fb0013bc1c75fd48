"""`espeak-ng`: a formant synthesiser of the 1990s kind, the low anchor that every naturalness measure must put
last.

Called through the shared library of the pip package `espeakng-loader` (eSpeak NG 1.52, GPL-3.0); no program is
started.
"""

from __future__ import annotations

import _ctypes
import ctypes
import functools
import threading

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


class _Engine:
    """A freshly loaded library. Good for one sentence: its noise and pitch generators keep state that no call
    resets (espeak_ng_SetRandSeed, terminating and initialising again, a fixed sentence before it: all were
    tried), and the same text would sound different the second time.
    """

    def __init__(self):
        loader = require("espeakng_loader", "espeakng-loader==0.2.4")
        self.library = ctypes.CDLL(_copy())
        self.rate = self.library.espeak_Initialize(_SYNCHRONOUS, 0, str(loader.get_data_path()).encode(), 0)
        if self.rate <= 0:
            _ctypes.dlclose(self.library._handle)
            raise SpeechError("eSpeak NG did not start: reinstall espeakng-loader==0.2.4")
        self.library.espeak_SetVoiceByName(b"en-us")

    def close(self) -> None:
        self.library.espeak_Terminate()
        _ctypes.dlclose(self.library._handle)


# The engine for the next sentence, where one was prepared; guarded by _LOCK. Never two: they would share one state.
_waiting: list[_Engine] = []
_spoken: list[_Engine] = []  # the engine of the last sentence, closed before another is loaded; guarded, too


def _load() -> _Engine:
    """A fresh engine, once the last one is gone."""
    while _spoken:
        _spoken.pop().close()
    return _Engine()


class Espeak(System):
    """Formant synthesis."""

    name = "espeak-ng"
    draws = False  # its seed is set, but changes no sample of the same text
    params_m = 0.0

    def __init__(self, target: str = "native/cpu", threads: int = 1):
        self.target, self.threads = target, threads
        with _LOCK:
            engine = _waiting.pop() if _waiting else _load()
            self.sample_rate = engine.rate
            engine.close()
        self.files = text.front_end_files()

    def prepare(self) -> None:
        """Load the library for the next sentence, outside of what a bench times.

        A resident program does not mind other samples for the same text and never loads it again; a `speak`
        without preparation loads by itself (stage "reload", about twice the time of the synthesis).
        """
        with _LOCK:
            if not _waiting:
                _waiting.append(_load())

    def speak(self, sentence: str, seed: int) -> Speech:
        watch, chunks = Stopwatch(), []

        def receive(samples, count, _events):
            if samples and count:
                chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
            return 0

        callback = _Callback(receive)
        encoded = sentence.encode()
        with _LOCK:
            if _waiting:
                engine = _waiting.pop()
            else:
                with watch.stage("reload"):
                    engine = _load()
            try:
                with watch.stage("synthesis"):
                    library = engine.library
                    library.espeak_ng_SetRandSeed(ctypes.c_long(seed + 1))
                    library.espeak_SetSynthCallback(callback)
                    failed = library.espeak_Synth(
                        encoded, ctypes.c_size_t(len(encoded) + 1), 0, _CHARACTERS, 0, _UTF8, None, None
                    )
                    library.espeak_Synchronize()
            finally:
                _spoken.append(engine)  # a resident program does not unload it either
        if failed or not chunks:
            raise SpeechError(f"eSpeak NG refused {sentence[:40]!r} (code {failed})")
        return Speech(np.concatenate(chunks).astype(np.float32) / 32_768, self.sample_rate, watch.seconds)
