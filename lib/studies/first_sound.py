"""What does a listener gain from a voice that streams? A voice whose vocoder streams takes turns, on the same target,
with the same voice as it comes, whose vocoder wants the whole mel. A voice that streams as it comes needs no turn of
its own: whoever benches it hears it, too.

Its rows are of variants such as "baseline-by-istft@vits-joe": `first_audio_ms` beside the latency of the whole
sentence, and in its detail for how long the sound stood still behind the first piece.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from lib import systems
from lib.errors import ParameterError
from lib.measure.benched import Candidate
from lib.studies import failed, sharpened

if TYPE_CHECKING:
    from lib.measure.benched import Benched
    from lib.measure.stats import Estimate
    from lib.results import Run

WHOLE = "baseline"  # a voice or vocoder as it comes
BY = "-by-"  # in names, before the vocoder


def parted(name: str) -> tuple[str, str]:
    """A voice and the vocoder that it is spoken by, "" of one that streams as it comes; ParameterError for what is
    neither.

    >>> parted("fastspeech2-by-istft"), parted("hibari-small")
    (('fastspeech2', 'istft'), ('hibari-small', ''))
    """
    if name in systems.names("speech"):
        return name, ""
    voice, by, vocoder = name.rpartition(BY)
    if not by or vocoder not in systems.names("vocoder"):
        raise ParameterError(
            f"{name!r} is no voice by a vocoder, nor a voice: say one such as 'fastspeech2-by-istft'"
        )
    return voice, vocoder


def candidates(
    run: "Run",
    voice: str,
    streamed: Sequence[str],
    targets: Sequence[str],
    *,
    threads: int = 2,
    heard_on: Collection[str] = (),
) -> dict[str, Candidate]:
    """Those of the names in `streamed` that are of this voice, on each target that it has; label -> candidate. What is
    not here is one row that says so. heard_on: targets on which the voice is benched as it comes. ParameterError for a
    voice named alone that does not stream.
    """
    found = {}
    for name in (one for one in streamed if parted(one)[0] == voice):
        vocoder = parted(name)[1]
        for target in (one for one in targets if vocoder or one not in heard_on):

            def load(target=target, vocoder=vocoder):
                if not vocoder:
                    return systems.load(voice, target=target, threads=threads)
                model = systems.load(voice, target=target, threads=threads, vocoder=vocoder)
                return model.adjusted(variant=sharpened.variant(WHOLE, model.speaker, vocoder))

            variant = f"{WHOLE}{BY}{vocoder}" if vocoder else WHOLE
            if (model := failed.tried(run, (voice, variant, target), load)) is None:
                continue
            if not model.streams:
                raise ParameterError(f"{name} does not stream: name a vocoder that does, such as '{name}{BY}istft'")
            found[f"{name} on {target}"] = Candidate.of(model)
    return found


def finding(benched: Mapping[str, "Benched"]) -> str | None:
    """When each voice that streams is heard, and when its sentence and that of the voice as it comes are there, in a
    sentence; None where none was timed.
    """
    said = []
    for label, one in benched.items():
        if one.candidate.kind != "text" or one.why_not or one.first_audio_ms is None:
            continue
        words = f"{label} is heard after {_ms(one.first_audio_ms)}, its sentence done after {_ms(one.latency_ms_p50)}"
        plain = benched.get(f"{one.candidate.system} on {one.candidate.target}")
        if plain is not None and plain is not one and not plain.why_not:
            words += f"; as it comes it is heard when its sentence is done, after {_ms(plain.latency_ms_p50)}"
        stalled_ms = 1000 * one.stalled_s.max()
        words += f"; behind the first sound {f'up to {stalled_ms:.0f} ms of silence' if stalled_ms else 'no gap'}"
        said.append(words)
    return f"Streamed: {'. '.join(said)}." if said else None


def _ms(estimate: "Estimate") -> str:
    ends = f" [{estimate.low:.0f}, {estimate.high:.0f}]" if estimate.ci else ""
    return f"{estimate.value:.0f}{ends} ms"
