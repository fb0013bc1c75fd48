"""What is said of the published distillation of TorToiSe, and what are ours called that answer it?"""

from __future__ import annotations

from dataclasses import dataclass

SYSTEM = "tortoise"
REFERENCE = "converged"  # the variant that all walks and students are compared with
DEGRADED = "-degraded-"  # in the names of students that were told what to say through noise, before its level
SPOKEN_BY = "-by-"  # in the names of walks, before the vocoder that speaks them where it is not the teacher's
PUBLISHED_STEPS = 4000  # of the schedule: where the published distillation begins


@dataclass(frozen=True)
class Claim:
    """What is said of the published distillation."""

    before: int = 4000
    after: int = 31
    halvings: int = 7
    times: float = 5.0  # lower latency
    guided_steps: int = 80  # of a preset: each evaluates the network twice

    @property
    def text(self) -> str:
        """The claim, and where its factor may come from."""
        evaluations = 2 * self.guided_steps
        return (
            f"The claim: from {self.before:,} to {self.after} steps in {self.halvings} halvings, for {self.times:g} "
            f"times lower latency at equal quality. {self.before:,} over {self.after} would be "
            f"{self.before / self.after:.0f}, not {self.times:g}. A preset of {self.guided_steps} guided steps "
            f"evaluates the network {evaluations} times, and {evaluations} over {self.after} is "
            f"{evaluations / self.after:.1f}: probably that is where the factor comes from. This is an inference; "
            "nobody says so."
        )
