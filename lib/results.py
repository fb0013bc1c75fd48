"""The results contract: one measurement a line, validated when written, read back as one table.

A notebook opens a `Run`, adds measurements, clips and figures to it, and the report reads nothing else:

    outputs/<profile>/results/<notebook>.jsonl     measurements
    outputs/<profile>/audio/<notebook>/*.flac      clips, with an index of what each one is
    outputs/<profile>/figures/<notebook>/*.png     figures, with an index of their captions
    outputs/recorded/*.jsonl                       rows of earlier runs and other machines, tracked by git
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib import REPOSITORY, audio, environment, targets
from lib.errors import OutputError, ParameterError, SpeechError, unknown
from lib.files import append_line, numbered_lines, write_atomic
from lib.metrics import CLAIM, KINDS, METRICS, today

if TYPE_CHECKING:
    import pandas as pd

RECORDED = REPOSITORY / "outputs" / "recorded"  # rows that are kept in git

RUN = ["notebook", "host", "commit"]  # what rows of one run have in common
PARAMETERS = (
    ".parameters.json"  # beside a run's rows: what it was asked for, and what of that its profile does not say
)

ASIDE = (".previous", ".previous-2", ".previous-3")  # rows of the last runs, the newest first

_NAME = re.compile(r"[A-Za-z0-9][\w.+@/-]*")


@dataclass(frozen=True)
class Measurement:
    """One number with its unit, kind, spread and source. `value` is None exactly when kind is "not_run"."""

    system: str
    variant: str
    target: str
    metric: str
    value: float | None
    unit: str
    kind: str
    n: int | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    source: str = ""
    baseline: str = ""
    host: str = ""
    commit: str = ""
    time: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        validate(self)

    @property
    def claimed(self) -> bool:
        """Stated by somebody without a publication: shown as a claim, never among published figures."""
        return self.source.startswith(CLAIM)


FIELDS = tuple(field.name for field in dataclasses.fields(Measurement))


def validate(row: Measurement) -> None:
    """Raise ParameterError when a row breaks the contract; the message names the field."""
    if row.metric not in METRICS:
        raise unknown("metric", row.metric, METRICS)
    if row.kind not in KINDS:
        raise unknown("kind", row.kind, KINDS)
    if row.unit != METRICS[row.metric].unit:
        raise ParameterError(f"metric {row.metric} is in {METRICS[row.metric].unit!r}, not in {row.unit!r}")
    for field in ("system", "variant", "target"):
        if not _NAME.fullmatch(getattr(row, field)):
            raise ParameterError(f"{field} {getattr(row, field)!r} is not a name of letters, digits and ._+@/-")
    where = f"{row.system}/{row.variant}/{row.target} {row.metric}"
    if row.kind == "not_run":
        if row.value is not None or not row.detail:
            raise ParameterError(f"{where}: a not_run row has no value and says why in detail")
        return
    if row.value is None or not math.isfinite(row.value):
        raise ParameterError(
            f"{where}: value {row.value!r} is not a finite number; a row without one is not_run"
        )
    if row.kind == "published" and not row.source:
        raise ParameterError(f"{where}: a published row names its source")
    if (row.ci_low is None) != (row.ci_high is None):
        raise ParameterError(f"{where}: an interval has two ends")
    if row.ci_low is not None and not row.ci_low <= row.ci_high:
        raise ParameterError(f"{where}: interval [{row.ci_low}, {row.ci_high}] is upside down")


class Run:
    """What one notebook found: measurements, clips and figures, written the moment they are known.

    notebook: for example "01_baselines"; folder: outputs/<profile>. The begin of a run sets the rows of the
    notebook's last runs aside as *.previous, *.previous-2 and *.previous-3, so a file holds one run's rows, and neither
    a crash nor the attempt after it loses those of a study that had ended.
    """

    def __init__(self, notebook: str, folder: str | Path, *, seed: int = 0, fresh: bool = True):
        self.notebook, self.folder, self.seed = notebook, Path(folder), seed
        self.path = self.folder / "results" / f"{notebook}.jsonl"
        self._indexes = {kind: self.folder / kind / notebook / "index.jsonl" for kind in ("audio", "figures")}
        try:
            for path in (self.path, *self._indexes.values()):
                path.parent.mkdir(parents=True, exist_ok=True)
                if fresh and path.exists():
                    _set_aside(path)
        except OSError as error:
            raise OutputError(
                f"cannot write under {self.folder}: {error.strerror}; check its permissions"
            ) from error
        self._stamp = {"host": environment.host(), "commit": environment.commit()}
        described = json.dumps({**environment.describe(), "seed": seed}, indent=1)
        write_atomic(self.folder / "results" / f"{notebook}.environment.json", described.encode())
        if fresh:  # a notebook cannot name its own parameters; whoever set them does, when it has ended
            (self.folder / "results" / f"{notebook}{PARAMETERS}").unlink(missing_ok=True)

    def add(
        self,
        system: str,
        variant: str,
        target: str,
        metric: str,
        value: float | None,
        *,
        kind: str = "measured",
        n: int | None = None,
        ci: tuple[float, float] | None = None,
        source: str = "",
        baseline: str = "",
        detail: object = "",
    ) -> Measurement:
        """Validate one measurement, append it to the notebook's file and return it.

        ci: the 95 % interval; source: metric implementation, sensor or publication; detail: text, or anything JSON.
        """
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS)
        row = Measurement(
            system=system,
            variant=variant,
            target=_labelled(target),
            metric=metric,
            value=None if value is None else float(value),
            unit=METRICS[metric].unit,
            kind=kind,
            n=None if n is None else int(n),
            ci_low=None if ci is None else float(ci[0]),
            ci_high=None if ci is None else float(ci[1]),
            source=source,
            baseline=baseline,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            detail=detail if isinstance(detail, str) else json.dumps(detail),
            **self._stamp,
        )
        append_line(self.path, dataclasses.asdict(row))
        return row

    def not_run(self, system: str, variant: str, target: str, metric: str, why: str) -> Measurement:
        """Say in the report that something could not run here, and why."""
        return self.add(system, variant, target, metric, None, kind="not_run", detail=why)

    def clip(
        self,
        system: str,
        variant: str,
        sentence: str,
        waveform: np.ndarray,
        sample_rate: int,
        text: str,
        *,
        target: str = "",
        group: str = "",
        note: str = "",
        seed: int | None = None,
        fingerprint: str = "",
    ) -> Path:
        """Keep a clip for the report, at the common listening level.

        target: where it was made, if anywhere: two targets of one variant keep a clip each; group: clips that belong
        side by side; seed, fingerprint: with which a system made it, and the hash of what that system was.
        """
        target = _labelled(target)
        made_by = "__".join(filter(None, (sentence, system, variant, target)))
        name = re.sub(r"[^\w.+@-]", "_", made_by) + ".flac"
        path = audio.save(
            self._indexes["audio"].parent / name, audio.match_level(waveform, sample_rate), sample_rate
        )
        append_line(
            self._indexes["audio"],
            {
                "file": name,
                "system": system,
                "variant": variant,
                "target": target,
                "sentence": sentence,
                "text": text,
                "group": group,
                "note": note,
                "seed": "" if seed is None else str(seed),
                "fingerprint": fingerprint,
            },
        )
        return path

    def figure(self, name: str, figure, caption: str) -> Path:
        """Keep a matplotlib figure for the report, with one sentence that says what it shows."""
        import io

        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        path = write_atomic(self._indexes["figures"].parent / f"{name}.png", buffer.getvalue())
        append_line(self._indexes["figures"], {"file": path.name, "name": name, "caption": caption})
        return path


def start(notebook: str, profile: str, *, seed: int = 0, outputs: str | Path | None = None) -> Run:
    """Open the run of a notebook in a profile; outputs: the folder of the profiles, by default $SPEECH_OUTPUTS
    or outputs/.
    """
    from lib import params, progress

    params.check_profile(profile)
    progress.log_steps()
    environment.code()  # as it is now, not when the first result is kept, hours later
    folder = Path(outputs or os.environ.get("SPEECH_OUTPUTS") or REPOSITORY / "outputs")
    return Run(notebook, folder / profile, seed=seed)


def _set_aside(path: Path) -> None:
    """Rename a file to the first of ASIDE, and what was set aside before it one further. By number, not by what is in
    it: no rule tells a failed run from a short one that was wanted.
    """
    places = [path, *(path.with_suffix(suffix) for suffix in ASIDE)]
    for newer, older in reversed(list(zip(places, places[1:]))):
        if newer.exists():
            os.replace(newer, older)


def _labelled(target: str) -> str:
    """A target as the results name it: a GPU with its model."""
    return targets.label(target) if target in targets.TARGETS else target


def read(*paths: str | Path) -> "pd.DataFrame":
    """Measurements of the given files or folders as a pandas DataFrame, columns FIELDS + notebook + recorded.

    A row is the same as another where notebook, machine and (system, variant, target, metric) agree, and of recorded
    ones the commit, too: then the later one stands. `newest_run` picks one run where several measured the same.
    Older rows have their metric under today's name.
    """
    rows = []
    for path in map(Path, paths):
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            recorded = "recorded" in file.parts
            for number, record in numbered_lines(file):
                try:
                    row = Measurement(**record)
                except (TypeError, ParameterError) as error:
                    raise SpeechError(f"{file}:{number}: a row breaks the results contract: {error}") from error
                named = {"metric": today(row.metric, row.source), "notebook": file.stem, "recorded": recorded}
                rows.append({**dataclasses.asdict(row), **named})
    table = frame(rows)
    identity = table[["system", "variant", "target", "metric", "notebook", "recorded", "host"]].assign(
        commit=table.commit.where(table.recorded.astype(bool), "")
    )
    return table[~identity.duplicated(keep="last")].reset_index(drop=True)


def frame(rows: Iterable[dict]) -> "pd.DataFrame":
    """Rows, each with FIELDS, notebook and recorded, as the DataFrame that `read` returns."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=[*FIELDS, "notebook", "recorded"])
    numbers = ["value", "n", "ci_low", "ci_high"]
    table[numbers] = table[numbers].astype(float)  # a column of nothing but None would otherwise hold objects
    return table


def newest_run(table: "pd.DataFrame") -> "pd.DataFrame":
    """The rows of the newest run (notebook, host, commit) among those given: a sentence never mixes two runs."""
    if table.empty or not any(name in table for name in RUN):
        return table
    return run_of(table, table.loc[table.time.astype(str).idxmax()] if "time" in table else table.iloc[-1])


def by_run(table: "pd.DataFrame") -> "list[pd.DataFrame]":
    """The rows of each run (notebook, host, commit) apart, the newest first."""
    parts = [part for _, part in table.groupby(RUN, sort=False, dropna=False)]
    return sorted(parts, key=lambda part: str(part.time.max()), reverse=True)


def run_of(table: "pd.DataFrame", row: "pd.Series") -> "pd.DataFrame":
    """The rows of the run (notebook, host, commit) that one of them is of."""
    columns = [name for name in RUN if name in table]
    return table[(table[columns] == row[columns]).all(axis=1)]
