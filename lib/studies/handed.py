"""What is handed to each target of a stage? Its forms in the cache, the job that names them; and where something could
not be written or read, why. What a target answers is held against what PyTorch answered to the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib import deploy, targets
from lib.deploy import apart, export
from lib.deploy.job import Job
from lib.deploy.stages import Stage
from lib.errors import SpeechError
from lib.files import cache_folder, content_key
from lib.optimize import quantize_graphs
from lib.studies.placed import Placed
from lib.target import versions

Key = tuple[str, str]  # target, precision
# A stage's folder, the forms that could not be written with the reason, and why nothing could be.
Written = tuple[Path | None, dict[str, str], str]


def written(asked: Sequence[Placed]) -> dict[Stage, Written]:
    """What there is of each of their stages."""
    found: dict[Stage, Written] = {}
    for stage in dict.fromkeys(one.stage for one in asked):
        jobs = [(one.target, one.precision) for one in asked if one.stage is stage]
        here = [(one.target, one.precision) for one in asked if one.stage is stage and not one.why_not]
        wanted = [key for key in jobs if key in here or deploy.builds(key[0])]
        found[stage] = None, {}, ""
        try:
            if wanted:
                found[stage] = (*stage_folder(stage, wanted), "")
        except Exception as error:  # PyTorch itself cannot run it: no target can
            found[stage] = None, {}, f"{stage.label} does not run in PyTorch: {type(error).__name__}: {error}"
    return found


def stage_folder(stage: Stage, jobs: Sequence[Key]) -> tuple[Path, dict[str, str]]:
    """The stage's folder in the cache, with the forms that these read, and why some could not be written; keyed by
    weights, inputs, and the code that makes and reads them.
    """
    weights = [tensor.detach().numpy().tobytes() for tensor in stage.network.state_dict().values()]
    rooms = Path(deploy.__file__).parent, *(Path(deploy.__file__).parents[1] / r for r in ("systems", "graphs"))
    code = [path.read_bytes() for room in rooms for path in sorted(room.rglob("*.py"))]
    code += [
        Path(quantize_graphs.__file__).read_bytes(),
        Path(inspect.getfile(type(stage.network))).read_bytes(),
    ]
    data = [array.tobytes() for arrays in (*stage.timed, *stage.calibration) for array in arrays]
    written_by = versions(("torch", "transformers", "onnx", "onnxscript", "onnxruntime"))
    folder = cache_folder("deploy", content_key(stage.label, *weights, *code, *data, written_by))
    failed: dict[str, str] = {}
    forms = {form for job in jobs for form in deploy.reads(*job)}
    return export.write(stage, folder, sorted(forms), failed), failed


def able(one: Placed, there: Written, timeout_s: float) -> Placed:
    """With the reason, where it cannot run on what was written of its stage. timeout_s: of a build without a device."""
    folder, failed, broken = there
    if one.why_not and (broken or not deploy.builds(one.target)):
        return one
    if broken:
        return replace(one, why_not=broken)
    lacking = [failed[form] for form in deploy.reads(one.target, one.precision) if form in failed]
    if one.why_not:
        built = lacking[0] if lacking else _built(job(one, folder, False), timeout_s)
        return replace(one, why_not=f"{one.why_not}; {built}")
    return replace(one, why_not=lacking[0]) if lacking else one


def job(one: Placed, folder: Path, answers: bool) -> Job:
    """What the process of its target is told."""
    target = targets.find(one.target)
    toolchain = target.python.parent.parent.name if target.python else ""
    return Job(str(folder), one.target, one.precision, one.threads, dict(target.settings), answers, toolchain)


def agreement(wanted: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> tuple[float, float]:
    """(SNR in dB, largest difference as a share of the largest value) over all outputs."""
    if [w.size for w in wanted] != [m.size for m in made]:
        raise SpeechError(
            f"outputs of shapes {[m.shape for m in made]}, PyTorch's are {[w.shape for w in wanted]}"
        )
    flat = [
        np.concatenate([np.asarray(a, np.float64).reshape(-1) for a in arrays]) for arrays in (wanted, made)
    ]
    if not np.isfinite(flat[1]).all():
        share = 100 * float(np.mean(~np.isfinite(flat[1])))
        raise SpeechError(f"it answers with what is no number: {share:.3g} % of the values are infinite or NaN")
    largest = float(np.abs(flat[1] - flat[0]).max() / max(np.abs(flat[0]).max(), 1e-9))
    return float(np.clip(export.snr_db(*flat), -200.0, 200.0)), largest


def _built(asked: Job, timeout_s: float) -> str:
    """What a runtime without its device has done with the stage, in words."""
    try:
        said = apart.build(asked, timeout_s=timeout_s)
    except SpeechError as error:
        return f"nor could it be compiled for without it: {error}"
    if "said" in said:
        return said["said"]
    return f"an engine was built here without it ({said['engine_mb']:.1f} MB in {said['build_s']:.1f} s)"
