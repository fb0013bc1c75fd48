"""Profiles and parameters: flat YAML files, one per notebook and profile, checked against the notebook they are for.

`papermill notebook.ipynb out.ipynb -f params/quick/01_baselines.yaml` needs nothing from here. The runner does:
papermill would silently ignore a misspelt parameter, so every key is compared with the notebook's `parameters`
cell first, and every number with its range: a slice takes `n_sentences: -3` for "all but the last three".
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

from lib import REPOSITORY
from lib.errors import MissingDataError, ParameterError, unknown

PROFILES = {
    "smoke": "seconds per notebook, for tests and CI",
    "quick": "the first run: minutes on a laptop, no account, no model hub",
    "study": "every sweep on the embedded data: hours on two cores",
    "full": "public corpora beside ours: the Hugging Face hub, and a GPU for what asks for one",
}

# Name of a numeric parameter -> the smallest and the largest value it may have, None where there is no bound. One name
# means the same in all notebooks. A zero leaves something out, where the notebook says so.
RANGES: dict[str, tuple[float, float | None]] = {
    "seed": (0, 2**32 - 1),  # what NumPy's generators take
    "threads": (1, None),
    "rounds": (1, None),
    "passes": (1, None),
    "n_sentences": (1, None),
    "n_described": (1, None),
    "n_aligned": (1, None),
    "n_covered": (1, None),
    "n_prompts": (1, None),
    "n_compared": (1, None),
    "n_timed": (1, None),
    "rounds_base": (1, None),
    "listener_rounds": (1, None),
    "n_timed_base": (0, None),
    "n_timed_listener": (0, None),
    "n_timed_voices": (0, None),
    "n_first": (0, None),
    "n_choosing": (8, None),
    "recovery_steps": (0, None),
    "aware_steps": (0, None),
    "n_lessons": (5, None),
    "n_screened": (1, None),
    "plan_most": (0, None),
    "n_copies": (1, None),
    "n_controlled": (1, None),
    "n_heard": (1, None),
    "n_second_opinion": (0, None),
    "n_damaged": (0, None),
    "keep_clips": (0, None),
    "groups": (1, None),
    "n_listeners": (1, 9_999),
    "n_traps": (0, None),
    "most_conditions": (2, None),
    "n_read": (1, None),
    "n_simulations": (0, None),
    "scaling_rounds": (0, None),
    "size_steps": (0, None),
    "n_walked": (1, None),
    "ladder_further": (0, None),
    "published_steps": (0, None),
    "taught_steps": (0, None),
    "ladder_guidance": (0, 100),
    "folded_guidance": (0, 100),
    "folded_training": (0, None),
    "leap_from": (0, None),
    "ablation_steps": (0, None),
    "parts_steps": (1, None),
    "n_parts": (1, None),
    "n_gap": (0, None),
    "n_sharpened": (1, None),
    "voice_steps": (2, None),
    "recogniser_steps": (2, None),
    "recogniser_window_s": (1, 30),
    "n_taught": (0, None),
    "n_taught_read": (0, None),
    "n_reheard": (0, None),
    "n_reheard_read": (0, None),
    "search_steps": (0, None),
    "frames": (8, None),
    "n_inputs": (1, None),
    "n_calibration": (1, None),
    "n_spoken": (0, None),
    "n_voiced": (1, None),
    "voiced_passes": (1, None),
    "timeout_s": (1, None),
    "n_requests": (0, None),
    "meter_s": (0.0, 3_600.0),
    "arrivals_s": (0.0, 3_600.0),
    "offline_s": (0.0, 3_600.0),
    "limit_ms": (1, None),
    "cpu_price": (0.0, 1_000.0),
    "gpu_price": (0.0, 1_000.0),
    "kwh_price": (0.0, 1_000.0),
    "busy_pct": (1.0, 100.0),
}


def check_profile(profile: str) -> str:
    """Return the profile, or raise ParameterError with the nearest known one."""
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    return profile


def notebooks(folder: Path | None = None) -> list[Path]:
    """The numbered notebooks in order."""
    return sorted((folder or REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def find_notebook(name: str, folder: Path | None = None) -> Path:
    """A notebook by its number ("03" or "3") or name ("03_pruning_quantization")."""
    known = {path.stem: path for path in notebooks(folder)}
    stem = name.removesuffix(".ipynb")
    matches = [path for key, path in known.items() if key == stem or key.split("_")[0] == stem.zfill(2)]
    if len(matches) != 1:
        raise unknown("notebook", name, known)
    return matches[0]


def declared(notebook: Path) -> dict[str, object]:
    """Names and default values in the notebook's cell tagged `parameters`."""
    cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise ParameterError(f"{notebook} has {len(tagged)} cells tagged `parameters`, it needs one")
    values = {}
    for statement in ast.parse("".join(tagged[0]["source"])).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            values[statement.targets[0].id] = ast.literal_eval(statement.value)
    return values


def load(
    profile: str, notebook: Path, folder: Path | None = None, overrides: dict[str, object] | None = None
) -> dict[str, object]:
    """The parameters of a notebook in a profile, every one known to the notebook and of its type.

    folder: holds <profile>/<notebook>.yaml, by default params/; overrides: win over the file.
    """
    import yaml

    path = (folder or REPOSITORY / "params") / check_profile(profile) / f"{Path(notebook).stem}.yaml"
    if not path.is_file():
        raise MissingDataError(f"no parameters at {path}; every notebook has one YAML file per profile")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(given, dict):
        raise ParameterError(f"{path} does not hold `name: value` lines")
    given |= overrides or {}
    defaults = declared(notebook)
    for name, value in given.items():
        if name not in defaults:
            raise unknown(f"parameter of {Path(notebook).stem}", name, defaults)
        if isinstance(value, bool) and isinstance(defaults[name], str):
            value = given[name] = "on" if value else "off"  # YAML 1.1 takes these two words for true and false
        if not _same_type(value, defaults[name]):
            raise ParameterError(
                f"parameter {name} of {Path(notebook).stem} is {value!r}, "
                f"it must be {_type_name(defaults[name])} like its default {defaults[name]!r}"
            )
        check_range(name, value)
    return given


def check_range(name: str, value: object) -> None:
    """Raise ParameterError where a number lies outside the range of its name, or is none at all (NaN)."""
    if name not in RANGES or isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    low, high = RANGES[name]
    if not low <= value <= (float("inf") if high is None else high):
        bounds = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        raise ParameterError(f"parameter {name} is {value!r}, it must be {bounds}")


def _same_type(value: object, default: object) -> bool:
    if default is None:
        return True
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def _type_name(value: object) -> str:
    return {
        "str": "text",
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "list": "a list",
    }.get(type(value).__name__, type(value).__name__)
