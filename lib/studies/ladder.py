"""How many evaluations does a walk from noise to a mel need? Samplers without training, and students, on one scale.

The fine instrument: how far the mel lies from that of the converged walk which began in the same noise, in decibels,
long before a listener or a judge could tell. What is heard of it is in `lib.studies.students`. Deterministic walks can
come as near as one likes; a stochastic one draws another mel of the same kind, so that its distance says little.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lib import progress
from lib.errors import ParameterError
from lib.features import HIFIGAN
from lib.files import cache_folder, content_key, write_atomic
from lib.measure import stats
from lib.studies import placement
from lib.systems import tortoise
from lib.systems.tortoise import diffusion
from lib.systems.tortoise.diffusion import Sampling
from lib.systems.tortoise.students import Student

if TYPE_CHECKING:
    from lib.corpora.base import Sentence
    from lib.results import Run
    from lib.systems.tortoise import Tortoise

SUFFIX = "@walk"  # of the variants whose rows are walks
GUIDED = "-guided"  # at the end of the names of those with guidance
CONVERGED = 64  # steps of DPM-Solver++(2M) that stand for infinitely many
SAMPLERS = ("ddpm", "ddim", "dpm++", "sde-dpm++", "unipc")
STOCHASTIC = ("ddpm", "sde-dpm++")
OPTIMISED = "optimised"  # the spacing of placements that were searched for
SPACINGS = ("even", "log-snr", OPTIMISED)
DECIBELS = 20 / np.log(10)  # of a natural logarithm of amplitude
_REVISION = 1  # raised when the same decoder would get other placements


@dataclass(frozen=True)
class Walk:
    """A way from noise to a mel. name: of its rows; student: whose decoder walks, "" for the teacher's; about: that
    student; vocoder: who speaks the mel, "" for the one that the teacher speaks with.
    """

    name: str
    how: Sampling
    student: str = ""
    spacing: str = field(default="even")
    about: Student | None = None
    vocoder: str = ""

    @property
    def evaluations(self) -> int:
        """Of the network; guidance doubles them unless it is folded into a student."""
        return self.how.steps * (2 if self.how.guidance and not self.student else 1)


@dataclass(frozen=True, eq=False)
class Reading:
    """Sentences as a decoder is given them: (latents (1, F, hidden), speaker (1,)) each; what all walks share."""

    voice: Tortoise
    said: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    temperature: float  # of the noise
    seed: int = 0  # of it: sentence i begins in the noise of seed + i


def reading(voice: Tortoise, sentences: Iterable[Sentence], *, seed: int = 0) -> Reading:
    """The sentences, turn by turn in each of the voices that the system knows."""
    said = []
    for number, sentence in enumerate(sentences):
        speaker = voice.speakers[number % len(voice.speakers)]
        said.append(voice.adjusted(speaker=speaker).said(sentence.text))
    return Reading(voice, tuple(said), voice.sampling.temperature, seed)


def walks(
    evaluations: Sequence[int],
    temperature: float,
    *,
    samplers: Sequence[str] = SAMPLERS,
    spacings: Sequence[str] = SPACINGS,
    guidance: float = 0.0,
    placements: Mapping[int, placement.Placement] | None = None,
    schedule: diffusion.Schedule | None = None,
) -> list[Walk]:
    """Walks of the teacher that evaluate its network as often as said, by each sampler and spacing.

    guidance: 0, or the weight of all steps alike: a step then costs two evaluations. placements: number of steps ->
    timesteps, of the spacing OPTIMISED; what it lacks is left out. schedule: that they walk on; steps that would fall
    together there are left out, too.
    """
    made = []
    for sampler in samplers:
        for spacing in spacings:
            for count in evaluations:
                steps, rest = divmod(count, 2 if guidance else 1)
                if rest or not steps or (spacing == OPTIMISED and steps not in (placements or {})):
                    continue
                if spacing != "even" and steps == 1:  # there is one place to begin
                    continue
                placed = {"timesteps": placements[steps]} if spacing == OPTIMISED else {"spacing": spacing}
                how = Sampling(sampler, steps, guidance, ramp=False, temperature=temperature, **placed)
                if schedule and not _fits(how, schedule):
                    continue
                name = "-".join([sampler, str(steps), *([spacing] * (spacing != "even"))])
                name += GUIDED if guidance else ""
                made.append(Walk(name, how, spacing=spacing))
    return made


def _fits(how: Sampling, schedule: diffusion.Schedule) -> bool:
    try:
        return bool(how.grid(schedule))
    except ParameterError:
        return False


def draw(reading: Reading, how: Sampling, decoder: torch.nn.Module | None = None) -> list[torch.Tensor]:
    """A log-mel (n_bands, F) of each sentence. decoder: a student's instead of the voice's own."""
    voice = reading.voice
    front, decoder = voice.modules["front"], decoder or voice.modules["decoder"]
    with torch.inference_mode():
        return [
            front.as_log_mel(
                tortoise.denoised(decoder, voice.config, said, speaker, how, reading.seed + i).x0[0].T
            ).T
            for i, (said, speaker) in enumerate(reading.said)
        ]


def converged(reading: Reading, guidance: float = 0.0) -> list[torch.Tensor]:
    """The mels of a walk of so many steps that more would move it by hundredths of a decibel."""
    how = Sampling("dpm++", CONVERGED, guidance, ramp=False, temperature=reading.temperature)
    return draw(reading, how)


def distances_db(mels: Sequence[torch.Tensor], goals: Sequence[torch.Tensor]) -> list[float]:
    """Mean absolute difference of each sentence's mel from its goal, over frames and bands."""
    return [DECIBELS * (mel - goal).abs().mean().item() for mel, goal in zip(mels, goals, strict=True)]


def placed(
    reading: Reading, steps: Sequence[int], goals: Sequence[torch.Tensor] | None = None
) -> dict[int, placement.Placement]:
    """Number of steps -> timesteps at which DPM-Solver++(2M) comes nearest to the converged walk, remembered on disk.

    reading: of sentences that nothing is judged on.
    """
    voice, found = reading.voice, {}
    for count in (n for n in steps if n > 1):
        said = [latents.numpy().tobytes() for latents, _ in reading.said]
        key = content_key(
            _REVISION, voice.cache_key(), CONVERGED, count, reading.temperature, reading.seed, *said
        )
        path = cache_folder("placements", f"{key}.json")
        if not path.exists():
            goals = goals or converged(reading)
            how = Sampling("dpm++", count, temperature=reading.temperature)

            def cost(timesteps: placement.Placement) -> float:
                moved = replace(how, timesteps=timesteps)  # noqa: B023 - called before the next round
                return float(np.mean(distances_db(draw(reading, moved), goals)))

            starts = [diffusion.grid(voice.config.noise, count, spacing) for spacing in ("even", "log-snr")]
            best, _ = placement.search(cost, min(starts, key=cost))
            write_atomic(path, json.dumps(best).encode())
        found[count] = tuple(json.loads(path.read_text(encoding="utf-8")))
    return found


def measure(
    run: Run,
    reading: Reading,
    walks: Sequence[Walk],
    decoders: Mapping[str, torch.nn.Module] | None = None,
    *,
    passes: int = 3,
) -> None:
    """Walk all walks, in turns, and write a row for each: its distance from the converged walk with the same guidance,
    how often it evaluates the network, and how long the decoder took for a second of speech, the fastest of
    `passes`.

    decoders: of the students, by the name that walks give them.
    """
    goals = {g: converged(reading, g) for g in sorted({walk.how.guidance for walk in walks})}
    hop_s = HIFIGAN.hop / HIFIGAN.sample_rate
    audio_s = sum(said.shape[1] for said, _ in reading.said) * hop_s
    spent: dict[str, list[float]] = {}
    apart: dict[str, list[float]] = {}
    if missing := {walk.student for walk in walks if walk.student} - set(decoders or {}):
        raise ParameterError(f"no decoder was given of the students {', '.join(sorted(missing))}")
    for turn in range(passes):
        for walk in progress.track(walks, "walks", unit="walk"):
            begin = time.perf_counter()
            mels = draw(reading, walk.how, (decoders or {}).get(walk.student))
            spent.setdefault(walk.name, []).append(time.perf_counter() - begin)
            apart[walk.name] = distances_db(mels, goals[walk.how.guidance])
    for walk in walks:
        estimate = stats.mean_ci(apart[walk.name], seed=run.seed)
        run.add(
            reading.voice.name,
            walk.name + SUFFIX,
            reading.voice.target,
            "mel_distance_db",
            estimate.value,
            n=estimate.n,
            ci=estimate.ci,
            source=f"the same noise, {CONVERGED} steps of DPM-Solver++(2M)",
            baseline="converged",
            detail={
                "sampler": "student" if walk.student else walk.how.sampler,
                "student": walk.student,
                "spacing": walk.spacing,
                "guidance": walk.how.guidance,
                "steps": walk.how.steps,
                "timesteps": list(walk.how.timesteps),
                "evaluations": walk.evaluations,
                "decoder_s_per_audio_s": round(min(spent[walk.name]) / audio_s, 6),
                "threads": torch.get_num_threads(),
                "temperature": walk.how.temperature,
                **_learnt(walk.about),
            },
        )


def _learnt(about: Student | None) -> dict[str, str | float]:
    """How a student learnt, for its rows."""
    if about is None:
        return {}
    minutes = {"minutes": about.trained_minutes, "line_minutes": about.line_minutes}
    return {"method": about.method, "teacher": Path(about.teacher).name, **minutes}
