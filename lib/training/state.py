"""What is a run, so that it can stop anywhere and go on bit for bit? Everything that a checkpoint holds, taken from
the running loop and put back into it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import TrainingError
from lib.training import checkpoint as checkpoints
from lib.training import data, hardware
from lib.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from lib.training.loop import Run

log = logging.getLogger(__name__)


def save(run: "Run") -> None:
    """Write a checkpoint of the run, from its main process; the others wait."""
    from accelerate.utils import gather_object

    randoms = [checkpoints.random_states()]
    if run.accelerator.num_processes > 1:
        randoms = gather_object(randoms)
    if run.main:
        task, scaler = run.task, run.accelerator.scaler
        weights = {name: module.state_dict() for name, module in task.plain.items()}
        if run.ema:
            weights |= {f"ema-{name}": state for name, state in run.ema.state_dicts().items()}
        state = {
            "optimizers": {name: optimizer.state_dict() for name, optimizer in task.optimizers.items()},
            "schedulers": {name: scheduler.state_dict() for name, scheduler in task.schedulers.items()},
            "scaler": scaler.state_dict() if scaler else None,
            "ema_updates": run.ema.updates if run.ema else 0,
            "place": (run.place.epoch, run.place.index),
            "random": randoms,
            "seconds": run.speed.seconds,
            "best": (run.best, run.best_step, run.stale),
            "about": task.about,
        }
        checkpoints.save(
            run.saved,
            Checkpoint(run.step, weights, state),
            run.recipe,
            keep=run.settings.keep,
            also=frozenset({run.best_step}),
        )
    run.accelerator.wait_for_everyone()


def resume(run: "Run") -> None:
    """Take over the newest checkpoint of the run's folder, if there is one."""
    if run.main:
        checkpoints.clean(run.saved)
    newest = checkpoints.latest(run.saved)
    if newest is None:
        return
    loaded = checkpoints.load(newest, run.recipe)
    _networks(run, loaded, newest)
    state = loaded.state
    for name, scheduler in run.task.schedulers.items():
        scheduler.load_state_dict(state["schedulers"][name])
    if state["scaler"] and run.accelerator.scaler:
        run.accelerator.scaler.load_state_dict(state["scaler"])
    rank = run.accelerator.process_index
    if len(state["random"]) == run.accelerator.num_processes:
        checkpoints.set_random_states(state["random"][rank])
    else:
        log.warning(
            "%s was written by %d processes, now there are %d: training goes on, but not bit for bit",
            newest,
            len(state["random"]),
            run.accelerator.num_processes,
        )
    run.step, run.place = loaded.step, data.Place(*state["place"])
    run.speed.resume(state["seconds"])
    run.best, run.best_step, run.stale = state["best"]
    log.info("training goes on from %s", newest)


def _networks(run: "Run", loaded: Checkpoint, path: Path) -> None:
    """Weights, their averages and the optimizers' states."""
    task, state = run.task, loaded.state
    try:
        for name, module in task.plain.items():
            module.load_state_dict(loaded.weights[name])
        for name, optimizer in task.optimizers.items():
            hardware.fuse(state["optimizers"][name]["param_groups"], run.accelerator.device)
            optimizer.load_state_dict(state["optimizers"][name])
        if run.ema:
            run.ema.load({name: loaded.weights[f"ema-{name}"] for name in task.averaged}, state["ema_updates"])
    except (
        RuntimeError,
        KeyError,
        ValueError,
    ) as error:  # torch's own words for missing names and other shapes
        raise TrainingError(
            f"checkpoint {path} does not fit the networks of {run.recipe.task} as they are now "
            f"({' '.join(str(error).split())}): train in another folder"
        ) from error
