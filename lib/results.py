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
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from lib import REPOSITORY, audio, environment
from lib.errors import OutputError, ParameterError, SpeechError, unknown
from lib.files import write_atomic

KINDS = {
    "measured": "a clock, a meter or a metric",
    "estimated": "a formula or a power model",
    "simulated": "a vendor's cycle model or emulator",
    "published": "somebody's table, with its source",
    "not_run": "could not run here; the detail says why",
}


@dataclass(frozen=True)
class Metric:
    """label: how people call it; unit; better: +1 higher, -1 lower, 0 neither; digits: decimals worth showing."""

    label: str
    unit: str
    better: int
    digits: int


METRICS = {
    "wer": Metric("WER, normalised", "fraction", -1, 3),
    "wer_raw": Metric("WER, raw", "fraction", -1, 3),
    "cer": Metric("CER, normalised", "fraction", -1, 3),
    "cer_raw": Metric("CER, raw", "fraction", -1, 3),
    "mos_predicted": Metric("Predicted MOS", "MOS", +1, 2),
    "dnsmos_ovrl": Metric("DNSMOS overall", "MOS", +1, 2),
    "pesq_wb": Metric("PESQ wideband", "MOS-LQO", +1, 2),
    "stoi": Metric("STOI", "index", +1, 3),
    "f0_error_cents": Metric("Pitch error", "cents", -1, 0),
    "attention_failures_pct": Metric("Attention failures", "%", -1, 1),
    "speaker_similarity": Metric("Speaker similarity", "cosine", +1, 3),
    "mos_human": Metric("MOS by listeners", "MOS", +1, 2),
    "rtf": Metric("RTF", "s/s", -1, 3),
    "latency_ms_p50": Metric("Latency, median", "ms", -1, 0),
    "latency_ms_p90": Metric("Latency, 90th percentile", "ms", -1, 0),
    "throughput_rtfx": Metric("Throughput (RTFx)", "s/s", +1, 1),
    "first_audio_ms": Metric("First audio", "ms", -1, 0),
    "cold_start_s": Metric("Cold start", "s", -1, 2),
    "size_mb": Metric("Size", "MB", -1, 1),
    "loaded_mb": Metric("Weights in memory", "MB", -1, 1),
    "params_m": Metric("Parameters", "M", -1, 2),
    "trainable_params_pct": Metric("Trainable parameters", "%", -1, 2),
    "peak_rss_mb": Metric("Peak memory", "MB", -1, 0),
    "peak_gpu_mb": Metric("Peak GPU memory", "MB", -1, 0),
    "energy_j_per_audio_s": Metric("Energy per second of audio", "J/s", -1, 2),
    "power_w": Metric("Power", "W", -1, 1),
    "utilization_pct": Metric("Utilisation", "%", 0, 0),
    "nfe": Metric("Network evaluations", "count", -1, 0),
    "train_loss": Metric("Training loss", "loss", -1, 4),
    "train_steps_per_s": Metric("Training steps", "1/s", +1, 2),
    "train_frames_per_s": Metric("Training frames", "1/s", +1, 0),
    "scaling_efficiency": Metric("Scaling efficiency", "fraction", +1, 2),
    "npu_ops_pct": Metric("Operators on the NPU", "%", +1, 1),
    "cycles": Metric("Cycles", "count", -1, 0),
}

RECORDED = REPOSITORY / "outputs" / "recorded"  # rows that are kept in git

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

    notebook: for example "01_baselines"; folder: outputs/<profile>. The first write of a run sets the rows of
    the notebook's previous run aside as *.previous, so a file holds one run's rows and a crash loses none.
    """

    def __init__(self, notebook: str, folder: str | Path, *, seed: int = 0, fresh: bool = True):
        self.notebook, self.folder, self.seed = notebook, Path(folder), seed
        self.path = self.folder / "results" / f"{notebook}.jsonl"
        self._indexes = {kind: self.folder / kind / notebook / "index.jsonl" for kind in ("audio", "figures")}
        try:
            for path in (self.path, *self._indexes.values()):
                path.parent.mkdir(parents=True, exist_ok=True)
                if fresh and path.exists():
                    os.replace(path, path.with_suffix(".previous"))
        except OSError as error:
            raise OutputError(
                f"cannot write under {self.folder}: {error.strerror}; check its permissions"
            ) from error
        self._stamp = {"host": environment.host(), "commit": environment.commit()}
        described = json.dumps({**environment.describe(), "seed": seed}, indent=1)
        write_atomic(self.folder / "results" / f"{notebook}.environment.json", described.encode())

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
            target=target,
            metric=metric,
            value=None if value is None else float(value),
            unit=METRICS[metric].unit,
            kind=kind,
            n=None if n is None else int(n),
            ci_low=None if ci is None else float(ci[0]),
            ci_high=None if ci is None else float(ci[1]),
            source=source,
            baseline=baseline,
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            detail=detail if isinstance(detail, str) else json.dumps(detail),
            **self._stamp,
        )
        _append(self.path, dataclasses.asdict(row))
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
        group: str = "",
        note: str = "",
    ) -> Path:
        """Keep a clip for the report, at the common listening level. group: clips that belong side by side."""
        name = re.sub(r"[^\w.+@-]", "_", f"{sentence}__{system}__{variant}") + ".flac"
        path = audio.save(
            self._indexes["audio"].parent / name, audio.match_level(waveform, sample_rate), sample_rate
        )
        _append(
            self._indexes["audio"],
            {
                "file": name,
                "system": system,
                "variant": variant,
                "sentence": sentence,
                "text": text,
                "group": group,
                "note": note,
            },
        )
        return path

    def figure(self, name: str, figure, caption: str) -> Path:
        """Keep a matplotlib figure for the report, with one sentence that says what it shows."""
        import io

        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        path = write_atomic(self._indexes["figures"].parent / f"{name}.png", buffer.getvalue())
        _append(self._indexes["figures"], {"file": path.name, "name": name, "caption": caption})
        return path


def start(notebook: str, profile: str, *, seed: int = 0, outputs: str | Path | None = None) -> Run:
    """Open the run of a notebook in a profile; outputs: the folder of the profiles, by default $SPEECH_OUTPUTS
    or outputs/.
    """
    from lib import params, progress

    params.check_profile(profile)
    progress.log_steps()
    folder = Path(outputs or os.environ.get("SPEECH_OUTPUTS") or REPOSITORY / "outputs")
    return Run(notebook, folder / profile, seed=seed)


def _append(path: Path, record: dict) -> None:
    """One JSON line in one write: a killed process leaves at most a cut last line, which `read_lines` skips."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"cannot append to {path}: {error.strerror}; free some space or check permissions"
        ) from error


def read_lines(path: str | Path) -> Iterable[dict]:
    """The records of a JSON-lines file; a last line cut short by a kill is skipped, any other bad line is an error."""
    return (record for _, record in numbered_lines(Path(path)))


def numbered_lines(path: Path) -> Iterable[tuple[int, dict]]:
    """As `read_lines`, each record with its line number (from 1), for errors that point at a line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise SpeechError(
            f"{path} is not UTF-8 text ({error}); delete the file and run its notebook again"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline after it: the write was interrupted
                return
            raise SpeechError(f"{path}:{number} is not JSON ({error}); delete that line or the file") from error


def read(*paths: str | Path):
    """Measurements of the given files or folders as a pandas DataFrame, columns FIELDS + notebook + recorded.

    Where the same (system, variant, target, metric) was measured twice by one notebook, the later row stands.
    """
    import pandas as pd

    rows = []
    for path in map(Path, paths):
        for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
            recorded = "recorded" in file.parts
            for number, record in numbered_lines(file):
                try:
                    row = Measurement(**record)
                except (TypeError, ParameterError) as error:
                    raise SpeechError(f"{file}:{number}: a row breaks the results contract: {error}") from error
                rows.append({**dataclasses.asdict(row), "notebook": file.stem, "recorded": recorded})
    table = pd.DataFrame(rows, columns=[*FIELDS, "notebook", "recorded"])
    numbers = ["value", "n", "ci_low", "ci_high"]
    table[numbers] = table[numbers].astype(float)  # a column of nothing but None would otherwise hold objects
    return table.drop_duplicates(
        ["system", "variant", "target", "metric", "notebook", "recorded"], keep="last"
    ).reset_index(drop=True)
