"""What did it take to train, here and elsewhere? The checkpoints of `lib.zoo`, steps made now, recorded and claimed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lib import results, zoo
from lib.studies import learning, published
from lib.training import recipe

if TYPE_CHECKING:
    import pandas as pd

COSTS = ("train_steps_per_s", "train_frames_per_s", "peak_rss_mb", "peak_gpu_mb", "power_w")
HALF = tuple(f"{learning.VARIANT}-{precision}" for precision in recipe.PRECISIONS)


def curves(
    learned: Mapping[str, learning.Learned], recipes: Mapping[str, str | Path]
) -> dict[str, tuple[list[dict], list[dict] | None]]:
    """Each checkpoint's learning curve, and the steps that a run made now from its weights (None where it started
    elsewhere or made none): what `report.curves.learning` draws.
    """
    continued = {
        task: outcome.curve
        for task, outcome in learned.items()
        if recipe.load(recipes[task]).model.get("start_from")
    }
    return {task: (zoo.curve(task), continued.get(task)) for task in zoo.names()}


def longest() -> str:
    """Which checkpoint took most and which least training, in a sentence."""
    hours = {}
    for name in zoo.names():
        last = [record for record in zoo.curve(name) if "seconds" in record][-1]
        hours[name] = (last["seconds"] / 3600, last["step"])
    most, least = max(hours, key=hours.get), min(hours, key=hours.get)
    return (
        f"The {len(hours)} checkpoints took {sum(h for h, _ in hours.values()):.1f} hours of training: most {most} "
        f"({hours[most][0]:.1f} h, {hours[most][1]:,} steps), least {least} ({hours[least][0]:.1f} h, "
        f"{hours[least][1]:,} steps)."
    )


def costs(now: pd.DataFrame, recorded: pd.DataFrame) -> pd.DataFrame:
    """The rows of training: this run's with the claims, and of systems it did not train the newest recorded run's."""
    import pandas as pd

    mine = now[now.variant.isin((learning.VARIANT, *HALF, *published.CLAIM_VARIANTS))]
    others = recorded[(recorded.variant == learning.VARIANT) & (recorded.metric != "scaling_efficiency")]
    others = others[~others.system.isin(mine[mine.variant == learning.VARIANT].system)]
    newest = [results.newest_run(rows) for _, rows in others.groupby("system", sort=False)]
    return pd.concat([mine, *newest], ignore_index=True) if newest else mine


def halved(rows: pd.DataFrame) -> str:
    """What mixed precision does to each training that was made with and without it, in a sentence."""
    said = []
    for (system, variant), half in rows[rows.variant.isin(HALF) & rows.value.notna()].groupby(
        ["system", "variant"]
    ):
        half = results.newest_run(half).set_index("metric")
        whole = rows[(rows.system == system) & (rows.variant == learning.VARIANT) & rows.value.notna()]
        whole = whole[(whole.host == half.host.iloc[0]) & (whole.commit == half.commit.iloc[0])]
        whole = whole.drop_duplicates("metric", keep="last").set_index("metric")
        shared = ("train_frames_per_s", "train_loss")
        if all(metric in half.index and metric in whole.index for metric in shared):
            frames, loss = ((half.value[metric], whole.value[metric]) for metric in shared)
            said.append(
                f"{system} in {variant.removeprefix(f'{learning.VARIANT}-')} learns from "
                f"{frames[0] / frames[1]:.2f} times as many frames a second as in fp32, "
                f"its loss then {loss[0]:.3f} ({loss[1]:.3f})"
            )
    return f"{'; '.join(said)}." if said else "No training in half precision has been recorded yet."
