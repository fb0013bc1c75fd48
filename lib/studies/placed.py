"""What is known of a stage on a target? Times, agreement, figures of its compiler, power; and how much faster it is
than another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import targets
from lib.deploy.stages import THREADS, Stage
from lib.measure import nested
from lib.measure.metered import Metered
from lib.measure.nested import Ratio
from lib.measure.stats import Estimate

if TYPE_CHECKING:
    from lib.studies.spoken import Judged

BASE = ("torch/cpu", "fp32")  # what the others are compared with


@dataclass(frozen=True, eq=False)
class Placed:
    """A stage on a target in a precision. seconds: (rounds, inputs, passes), empty where nothing was timed; snr_db: of
    its answer to PyTorch's, None where there is none; figures, detail: of `job.Loaded`; metered: while it computed
    without a pause, None where nobody looked, or why not; judged: what it says, None where nobody asked, or why not;
    others_pct, load, repeated: a number a round, percent of a core that others took, the load average before it, how
    often it was timed again for that; usual: itself, timed in the same rounds with the usual threads and one sentence.
    """

    stage: Stage
    target: str
    precision: str
    why_not: str = ""
    seconds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))
    snr_db: float | None = None
    max_error: float | None = None  # of the largest value
    load_s: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    mos: float | None = None
    threads: int = THREADS
    metered: Metered | str | None = None
    judged: Judged | str | None = None
    others_pct: tuple[float, ...] = ()
    load: tuple[float | None, ...] = ()
    repeated: tuple[int, ...] = ()
    usual: Placed | None = None

    @property
    def variant(self) -> str:
        """As its rows have it: "decoder-int8"; of another bucket than the usual "decoder-int8-f25", of several
        sentences a run "decoder-int8-b4", of another number of a processor's threads "decoder-int8-1t".
        """
        bucket = "" if self.stage.usual else f"-f{self.stage.frames}"
        batch = "" if self.stage.batch == 1 else f"-b{self.stage.batch}"
        usual = self.threads == THREADS or targets.find(self.target).device != "cpu"
        return f"{self.stage.name}-{self.precision}{bucket}{batch}{'' if usual else f'-{self.threads}t'}"

    @property
    def kind(self) -> str:
        """Of its numbers."""
        return targets.find(self.target).kind

    @property
    def medians_s(self) -> np.ndarray:
        """(rounds, inputs), of the passes."""
        return np.median(self.seconds, axis=2)

    @property
    def latency_ms(self) -> Estimate | None:
        """The median over rounds and inputs; or what was simulated."""
        if self.seconds.size:
            return nested.estimate(lambda drawn: np.median(drawn, axis=(1, 2)), 1000 * self.medians_s)
        simulated = self.figures.get("latency_ms_p50")
        return None if simulated is None else Estimate(simulated, None, None, 1)


def speedup(one: Placed, base: Placed) -> Ratio | None:
    """How many times as much audio in the same time as the base, paired by round and input; None where either was not
    timed.
    """
    if not one.seconds.size or one.seconds.shape[:2] != base.seconds.shape[:2]:
        return None

    def times(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        return one.stage.audio_s / base.stage.audio_s * other.sum((1, 2)) / own.sum((1, 2))

    return nested.ratio(times, one.medians_s, base.medians_s)
