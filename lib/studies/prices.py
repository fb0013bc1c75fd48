"""What does an hour of audio cost? Money from what was measured and from prices, which are parameters.

Of a machine that is rented, whose price holds its power:

    USD an hour of audio = price of an hour of the machine x RTF / share of the paid time in which it speaks

where the machine is as many cores as the voice was timed on, or a GPU. That share is assumed, for it is decided by how
many listen; it is not the utilisation in the rows, which says how busy the cores are while it speaks: those that wait
meanwhile are paid for, too. Of a machine of one's own, the power alone:

    USD an hour of audio = joules a second of audio x 3600 / 3.6e6 x price of a kilowatt-hour

which counts what the joules count. Both are estimates, and are not added up: one is rent, the other a bill. An interval
is that of what was measured; prices differ by more from one landlord to the next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.errors import ParameterError

if TYPE_CHECKING:
    import pandas as pd

RENT, POWER = "cost_usd_per_audio_h", "energy_usd_per_audio_h"
GIVEN = "as given"
# What is taken where nobody says otherwise.
CORE_H, GPU_H, GPU, KWH, BUSY_PCT = 0.0408, 2.69, "h100", 0.128, 50.0
SOURCES = {
    CORE_H: "half of an m7g.large (two Arm cores) on demand in us-east-1, June 2026, "
    "https://www.factualminds.com/blog/amazon-ec2-on-demand-pricing-instance-families-2026/",
    GPU_H: "an H100 SXM in RunPod's secure cloud, May 2026, https://www.spheron.network/blog/runpod-h100-pricing-2026/",
    KWH: "commercial customers in the east north central United States, April 2025, EIA Electric Power Monthly, table "
    "5.6.A, https://www.eia.gov/electricity/monthly/epm_table_grapher.php?t=table_5_06_a",
}


@dataclass(frozen=True)
class Prices:
    """core_h, gpu_h: USD an hour of a core, of the GPU that `gpu` names as targets do; kwh: USD; busy_pct: share of the
    paid time in which it speaks.
    """

    core_h: float = CORE_H
    gpu_h: float = GPU_H
    gpu: str = GPU
    kwh: float = KWH
    busy_pct: float = BUSY_PCT

    def __post_init__(self) -> None:
        if not 0 < self.busy_pct <= 100:
            raise ParameterError(
                f"{self.busy_pct} % of the paid time: a machine that never speaks has no price for an hour of audio"
            )

    def hour(self, target: str, threads: int | None) -> tuple[float, str] | None:
        """(USD, in words) of an hour of what a voice was timed on; None where no price is known."""
        device = target.partition("/")[2]
        if device == "cpu" and threads:
            return threads * self.core_h, f"{threads} cores x {self.core_h:g} USD/h ({source(self.core_h)})"
        if device == f"cuda-{self.gpu}":
            return self.gpu_h, f"{self.gpu_h:g} USD/h ({source(self.gpu_h)})"
        return None


def source(price: float) -> str:
    """Where a price is from."""
    return SOURCES.get(price, GIVEN)


def told(prices: Prices) -> str:
    """Formula, prices and where they are from, in sentences."""
    return (
        "An hour of audio costs, on a rented machine, its price an hour x RTF / the share of the paid time in which it "
        f"speaks, here {prices.busy_pct:g} %, an assumption; a core {prices.core_h:g} USD/h "
        f"({source(prices.core_h)}); a GPU, {prices.gpu}, {prices.gpu_h:g} USD/h ({source(prices.gpu_h)}), others have "
        f"no price here. On a machine of one's own its power costs joules a second x 3600 / 3.6e6 x {prices.kwh:g} "
        f"USD/kWh ({source(prices.kwh)}). All of it is estimated; intervals are of what was measured, not of prices."
    )


def priced(rows: "pd.DataFrame", prices: Prices) -> "pd.DataFrame":
    """The rows with what they cost beside them: for each RTF its rent, for each energy its power, of kind
    "estimated".
    """
    import pandas as pd

    known = rows[rows.value.notna() & rows.kind.isin(("measured", "estimated"))]
    made = [*_rents(known, prices), *_powers(known, prices)]
    return pd.concat([rows, pd.DataFrame(made, columns=rows.columns)], ignore_index=True) if made else rows


def _rents(known: "pd.DataFrame", prices: Prices) -> Iterator[dict[str, Any]]:
    for row in known[(known.metric == "rtf") & (known.kind == "measured")].to_dict("records"):
        if (hour := prices.hour(row["target"], _threads(row["detail"]))) is not None:
            paid, words = hour
            said = f"{words} x RTF / {prices.busy_pct:g} % of the paid time"
            yield _scaled(row, RENT, 100 * paid / prices.busy_pct, said)


def _powers(known: "pd.DataFrame", prices: Prices) -> Iterator[dict[str, Any]]:
    for row in known[known.metric == "energy_j_per_audio_s"].to_dict("records"):
        # Begins as the source of the joules does, for that says what they count.
        said = f"{row['source']}; x 3600 / 3.6e6 x {prices.kwh:g} USD/kWh ({source(prices.kwh)})"
        yield _scaled(row, POWER, prices.kwh * 3600 / 3.6e6, said)


def _scaled(row: dict[str, Any], metric: str, factor: float, said: str) -> dict[str, Any]:
    numbers = {name: factor * row[name] for name in ("value", "ci_low", "ci_high")}
    return (
        row | numbers | {"metric": metric, "unit": "USD/h", "kind": "estimated", "source": said, "detail": ""}
    )


def _threads(detail: str) -> int | None:
    try:
        return json.loads(detail).get("threads")
    except (ValueError, AttributeError):
        return None
