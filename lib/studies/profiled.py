"""Which operators of a stage take its time, how long does the device wait between them, and how far is it from what it
could do? On a GPU where there is one, else on this processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib import environment
from lib.deploy.stages import Stage
from lib.measure import roofline, trace

if TYPE_CHECKING:
    import pandas as pd

    from lib.results import Run

ROWS = {"roofline_pct": "of its roofline, %", "idle_pct": "idle, %"}  # metric -> its column


def stages(chosen: Sequence[Stage], folder: str | Path, *, threads: int, top: int = 5) -> "pd.DataFrame":
    """A line each stage: milliseconds, the share of what its roofline allows and what bounds it, idle time, the longest
    gap, the first operators or kernels. The traces lie in the folder afterwards, to be looked at in Perfetto.
    """
    import pandas as pd
    import torch

    device, lines, roof = "cuda" if torch.cuda.is_available() else "cpu", [], None
    environment.pin_threads(threads)
    for stage in chosen:
        roof = roof or roofline.measure(device)
        network = stage.network.eval().to(device)
        inputs = [torch.from_numpy(array).to(device) for array in stage.inputs]
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            seconds = roofline.median_s(lambda network=network, inputs=inputs: network(*inputs), device)
            path = Path(folder) / f"{stage.label.replace('/', '-')}-{device}.json.gz"
            seen = trace.profile(lambda network=network, inputs=inputs: network(*inputs), path, device=device)
        todo = roofline.work(network, inputs)
        network.to("cpu")
        lines.append(
            {
                "stage": stage.label,
                "on": device,
                "ms": round(1000 * seconds, 2),
                "of its roofline, %": round(100 * roof.share(todo, seconds), 1),
                "bound by": roof.bound(todo),
                "GFLOP": round(todo.flops / 1e9, 2),
                "idle, %": round(seen.idle_pct, 1),
                "longest gap, ms": round(1000 * seen.longest_gap_s, 3),
                "most time": ", ".join(f"{name} {share:.0f} %" for name, share in seen.top(top)),
            }
        )
    table = pd.DataFrame(lines)
    if roof:
        table.attrs["roof"] = (
            f"{roof.bytes_s / 1e9:.3g} GB/s copied, {roof.flops_s / 1e9:.4g} GFLOP/s multiplied"
        )
    return table


def write(run: "Run", table: "pd.DataFrame", *, threads: int) -> None:
    """The rows of a table of `stages`: how near each is to its roofline, and how long the device waits."""
    for line in table.to_dict("records"):
        system, name = line["stage"].split("/", 1)
        about = {
            "bound_by": line["bound by"],
            "ms": line["ms"],
            "roof": table.attrs["roof"],
            "threads": threads,
        }
        for metric, column in ROWS.items():
            source = (
                "PyTorch's profiler" if metric == "idle_pct" else "copy and matrix product of the same process"
            )
            names = system, f"{name}-fp32", f"torch/{line['on']}"
            run.add(*names, metric, line[column], n=1, source=source, detail=about)


def told(table: "pd.DataFrame") -> str | None:
    """What was measured of the device and of the stages, in a sentence; None where nothing was profiled."""
    if table.empty:
        return None
    shares = ", ".join(f"{row.stage} {row['of its roofline, %']:g} %" for _, row in table.iterrows())
    return (
        f"This {'GPU' if table.on[0] == 'cuda' else 'processor'} ({table.attrs['roof']}) gives PyTorch, of what the "
        f"roofline allows: {shares}."
    )
