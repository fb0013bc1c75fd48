"""What happens inside one round of the bench: a process that loads one system, speaks, is timed, and ends.

Nothing is imported here that the system does not need itself, as far as that can be helped: imports are part of
the cold start.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lib.errors import AudioError, SpeechError, unknown

KINDS = ("text", "clip", "log_mel")  # of inputs: a voice's, a recogniser's, a vocoder's
ENERGY_WINDOW_S = (
    10.0  # a counter is read for at least so long: idle power wavers, and NVML averages over 0.1 s
)
ESTIMATED = "estimated"  # in place of a device that is metered: from the CPU seconds of what was timed anyway
CHANGED = ("layers", "of", "kinds", "bytes_before", "bytes_after")  # of `lib.optimize.changes`
RUNTIMES = ("numpy", "torch", "transformers", "onnxruntime", "openvino", "ctranslate2", "tensorrt")


def one_round(
    origin: dict,
    kind: str,
    inputs: str,
    *,
    threads: int,
    passes: int,
    seed: int,
    turn: int,
    energy: str | None = None,
    fingerprint: bool = False,
    started: float | None = None,
) -> dict[str, Any]:
    """Load, speak the first input, warm up over all, time each `passes` times; returns JSON.

    origin: what `rebuild` takes; inputs: file of `save_inputs`; input i is spoken with seed + i, in an order
    drawn by `turn`; energy: the device that is metered ("cpu", "cuda"), ESTIMATED or None; started: time.monotonic() of
    before the process. The memory peak is of what is held once it is loaded and of one pass over all inputs: what
    loading took for a moment (a variant's base, a graph before it is optimized) is given back before. While the clock
    runs, nothing collects garbage.
    """
    values = load_inputs(inputs, kind)
    begin = time.monotonic()
    _in_single_precision(origin)
    system = rebuild(origin, threads)
    loaded = time.monotonic()

    from lib import environment
    from lib.measure import memory

    memory.release()
    whole_life = not memory.restart()
    set_aside_s = time.monotonic() - loaded
    speak = _speaker(system, kind, seed)
    speak(0, values[0])
    _synchronize()
    spoken = time.monotonic() - set_aside_s

    environment.pin_threads(threads)  # the environment said so already, but not every library listens
    for index, value in enumerate(values[1:], 1):
        speak(index, value)
    peak_rss_mb = memory.peak_rss_mb()
    timed = _timed(system, speak, values, passes, turn)
    if getattr(system, "streams", False):
        from lib.measure import streamed

        how = {"prepare": _prepared(system), "synchronize": _synchronize}
        timed |= streamed.timed(system, kind, values, passes=passes, seed=seed, **how)
    answer = {
        "load_s": loaded - begin,
        "first_sentence_s": spoken - loaded,
        "cold_start_s": spoken - (begin if started is None else started),
        "peak_rss_mb": peak_rss_mb,
        "peak_of_whole_life": whole_life,
        "peak_gpu_mb": memory.peak_gpu_mb(),
        **timed,
        "energy": _energy(energy, system, speak, values, timed) if energy else None,
        "footprint": {
            name: getattr(system, name, None) for name in ("size_mb", "size_kind", "loaded_mb", "params_m")
        }
        | {"changed": _changed(system)},
        "names": [getattr(system, name, None) for name in ("name", "variant", "target")],
        "fingerprint": system.fingerprint() if fingerprint else None,
        "versions": {name: sys.modules[name].__version__ for name in RUNTIMES if name in sys.modules},
        "threads": _threads_found(),
    }
    return answer


def _in_single_precision(origin: dict) -> None:
    """On a GPU PyTorch rounds the inputs of convolutions to TF32 by itself; what is called fp32 elsewhere does not."""
    from lib import targets

    if targets.find(origin.get("target") or "torch/cpu").cuda:
        import torch

        torch.backends.cudnn.allow_tf32 = False


def _changed(system) -> dict[str, Any] | None:
    """Of a variant: how many layers and operators are others than its base's, of how many, and the bytes of all that is
    saved before and after, as counted when it was made.
    """
    counted = (getattr(system, "made", None) or {}).get("changed", {})
    return {name: counted[name] for name in CHANGED if name in counted} or None


def rebuild(origin: dict, threads: int):
    """The system that an origin describes: {"system", "target", "settings"} or {"folder", "target"} of a saved
    variant, which is not checked here: the bench compares fingerprints after the clock has stopped.
    """
    if "folder" in origin:
        from lib import optimize

        return optimize.rebuild(origin, threads=threads, checked=False)
    from lib import systems

    return systems.rebuild(origin, threads=threads)


def save_inputs(path: str, kind: str, inputs: list) -> None:
    """Hand inputs over as a file: texts, clips (waveform, sample_rate), or log-mels (n_frames, n_bands)."""
    if kind == "text":
        arrays = {str(i): np.array(text) for i, text in enumerate(inputs)}
    elif kind == "clip":
        arrays = {str(i): np.asarray(clip.waveform, np.float32) for i, clip in enumerate(inputs)}
        arrays |= {f"rate{i}": np.array(clip.sample_rate) for i, clip in enumerate(inputs)}
    elif kind == "log_mel":
        arrays = {str(i): np.asarray(mel, np.float32) for i, mel in enumerate(inputs)}
    else:
        raise unknown("kind of input", kind, KINDS)
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def load_inputs(path: str, kind: str) -> list:
    """What `save_inputs` stored: texts, (waveform, sample_rate) pairs, or log-mels."""
    with np.load(path) as arrays:
        count = sum(not name.startswith("rate") for name in arrays.files)
        if kind == "text":
            return [str(arrays[str(i)]) for i in range(count)]
        if kind == "clip":
            return [(arrays[str(i)], int(arrays[f"rate{i}"])) for i in range(count)]
        return [arrays[str(i)] for i in range(count)]


def _speaker(system, kind: str, seed: int) -> Callable[[int, Any], tuple[float, Any]]:
    """(index, input) -> (seconds of audio made or heard, what the system returned)."""
    if kind == "text":

        def speak(index: int, text: str):
            speech = system.synthesize(text, seed + index)
            return speech.audio_s, speech

    elif kind == "clip":

        def speak(index: int, clip):
            waveform, rate = clip
            return len(waveform) / rate, system.transcribe(waveform, rate)

    else:

        def speak(index: int, log_mel):
            waveform = system.vocode(log_mel)
            return len(waveform) / system.sample_rate, waveform

    return speak


def _timed(system, speak: Callable, values: list, passes: int, turn: int) -> dict[str, Any]:
    """Seconds of every input in every pass (passes, inputs), stages likewise, and the CPU seconds of it all."""
    from lib.measure import memory

    rng, shape = np.random.default_rng(turn), (passes, len(values))
    seconds, audio_s, first_audio_s = np.zeros(shape), np.zeros(len(values)), np.full(shape, np.nan)
    stages: dict[str, np.ndarray] = {}
    nfe: list[float] = []
    prepare, cpu_s = _prepared(system), 0.0
    with memory.uncollected():
        for number in range(passes):
            for index in map(int, rng.permutation(len(values))):
                prepare()
                _synchronize()
                cpu_before, begin = _cpu_seconds(), time.perf_counter()
                length, result = speak(index, values[index])
                _synchronize()
                seconds[number, index] = time.perf_counter() - begin
                cpu_s += _cpu_seconds() - cpu_before
                if not length > 0:
                    raise AudioError(
                        f"input {index} gave {length} s of audio: there is nothing to divide its time by"
                    )
                audio_s[index] = length
                for stage, spent in getattr(result, "seconds", {}).items():
                    stages.setdefault(stage, np.zeros(shape))[number, index] = spent
                first_audio_s[number, index] = getattr(result, "first_audio_s", None) or np.nan
                if getattr(result, "nfe", None) is not None:
                    nfe.append(result.nfe)
    return {
        "seconds": seconds.tolist(),
        "audio_s": audio_s.tolist(),
        "stages": {name: spent.tolist() for name, spent in stages.items()},
        "first_audio_s": None if np.isnan(first_audio_s).any() else first_audio_s.tolist(),
        "stalled_s": None,
        "nfe": float(np.mean(nfe)) if nfe else None,
        "cpu_s": cpu_s,
    }


def _prepared(system) -> Callable[[], None]:
    """What a resident program need not do between two sentences: eSpeak is loaded anew, for the same samples each
    time.
    """
    return getattr(system, "prepare", lambda: None)


def _energy(device: str, system, speak: Callable, values: list, timed: dict) -> dict[str, Any]:
    """Joules, watts, utilisation: of a sensor over ENERGY_WINDOW_S, or estimated from the timed CPU seconds; or
    why not.
    """
    from lib import environment
    from lib.measure import energy

    if device == ESTIMATED or (device == "cpu" and not energy.rapl_zones()):
        spent = float(np.sum(timed["seconds"]))
        audio_s = float(np.sum(timed["audio_s"])) * len(timed["seconds"])
        meter = energy.estimate(timed["cpu_s"], spent, environment.processor())
    else:
        prepare, audio_s = _prepared(system), 0.0
        try:
            with energy.EnergyMeter(device) as metered:
                end = time.perf_counter() + ENERGY_WINDOW_S
                while time.perf_counter() < end:
                    for index, value in enumerate(values):
                        prepare()
                        audio_s += speak(index, value)[0]
                _synchronize()
        except SpeechError as error:
            return {"why_not": str(error)}
        meter = metered.energy
    return {
        "joules": meter.joules,
        "seconds": meter.seconds,
        "audio_s": audio_s,
        "utilization_pct": meter.utilization_pct,
        "kind": meter.kind,
        "source": meter.source,
    }


def _synchronize() -> None:
    """Wait for the GPU, if this process has started to use one: its work is queued, not done, when a call
    returns.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _cpu_seconds() -> float:
    """CPU seconds of this process, all threads; finer than os.times, which counts in ticks of 10 ms."""
    return time.process_time()


def _threads_found() -> dict[str, int]:
    """How many threads each library that has threads of its own says it computes with."""
    from threadpoolctl import threadpool_info

    found = {
        f"{pool['internal_api']} ({os.path.basename(pool['filepath'])[:24]})": pool["num_threads"]
        for pool in threadpool_info()
    }
    torch = sys.modules.get("torch")
    return found | ({} if torch is None else {"torch": torch.get_num_threads()})
