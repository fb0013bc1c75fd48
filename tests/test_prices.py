"""Money follows from rows by the stated formulas; what has no price has no cost, and what no row says of a kind of
voice is told.
"""

from __future__ import annotations

import json

import pytest

from lib import results
from lib.errors import ParameterError
from lib.measure import energy
from lib.studies import needs, prices
from lib.studies.prices import POWER, RENT, Prices

JOULES = "CPU seconds x 5.62 W per core (AMD EPYC is not in the table: median of 15 processors)"


@pytest.fixture
def run(tmp_path):
    return results.Run("01_baselines", tmp_path / "quick")


def spoken(
    run, system, variant="baseline", target="onnxruntime/cpu", *, rtf=0.1, threads=2, mos=4.4, metered=True
):
    names = (system, variant, target)
    run.add(*names, "rtf", rtf, ci=(0.9 * rtf, 1.1 * rtf), detail=json.dumps({"threads": threads}))
    run.add(*names, "throughput_rtfx", 1 / rtf, ci=(1 / (1.1 * rtf), 1 / (0.9 * rtf)))
    run.add(*names, "mos_predicted", mos)
    if metered:
        run.add(*names, "energy_j_per_audio_s", 2.0, kind="estimated", source=JOULES)


def cells(table, metric):
    return table[table.metric == metric].set_index("target")


def test_rent_is_the_price_times_the_rtf_over_the_share_of_the_time_in_which_it_speaks(run):
    spoken(run, "hibari", rtf=0.1)
    spoken(run, "tacotron2", target="torch/cuda-h100", rtf=0.01, metered=False)
    spoken(run, "speecht5", target="torch/cuda-h200", rtf=0.01, metered=False)
    known = prices.priced(results.read(run.path), Prices(0.05, 3.0, "h100", 0.2, 25.0))
    rents = cells(known, RENT)
    assert rents.value["onnxruntime/cpu"] == pytest.approx(2 * 0.05 * 0.1 / 0.25)
    assert rents.ci_high["onnxruntime/cpu"] == pytest.approx(2 * 0.05 * 0.11 / 0.25)
    assert rents.value["torch/cuda-h100"] == pytest.approx(3.0 * 0.01 / 0.25)
    assert "torch/cuda-h200" not in rents.index, "a GPU of another price"
    assert set(rents.kind) == {"estimated"} and set(rents.unit) == {"USD/h"}
    assert "2 cores x 0.05 USD/h (as given) x RTF / 25 % of the paid time" in rents.source["onnxruntime/cpu"]


def test_power_costs_what_its_joules_do_and_counts_the_same(run):
    spoken(run, "hibari")
    known = prices.priced(results.read(run.path), Prices(kwh=0.5))
    (bill,) = cells(known, POWER).itertuples()
    assert bill.value == pytest.approx(2.0 * 3600 / 3.6e6 * 0.5)
    assert energy.boundary(bill.source) == energy.SHARE and "off by a factor of 2" in ", ".join(
        energy.words(bill)
    )


def test_what_was_timed_on_nobody_knows_how_many_cores_has_no_price(run):
    run.add("hibari", "baseline", "onnxruntime/cpu", "rtf", 0.1)
    table = results.read(run.path)
    assert prices.priced(table, Prices()) is table
    with pytest.raises(ParameterError, match="never speaks"):
        Prices(busy_pct=0.0)


def test_every_price_says_where_it_is_from():
    said = prices.told(Prices())
    assert said.count("https://") == 3 and "50 %, an assumption" in said and prices.GIVEN not in said
    assert prices.told(Prices(kwh=0.31)).count(prices.GIVEN) == 1
    assert "H100" in prices.source(Prices().gpu_h) and "EIA" in prices.source(Prices().kwh)


def test_the_cheapest_wins_the_bill_and_gaps_are_said(run):
    spoken(run, "hibari", rtf=0.01)
    spoken(run, "vits-joe", rtf=0.1)
    spoken(run, "tortoise", "distilled-1", rtf=0.2, mos=3.9, metered=False)
    known = prices.priced(results.read(run.path), Prices())
    (said,) = needs.told(known, [one for one in needs.NEEDS if RENT in one.metrics])
    assert "As it comes: hibari baseline on onnxruntime/cpu (0.00163 USD/h" in said and ", estimated" in said
    assert "Fine-tuned: nothing was measured of any." in said
    shown = needs.table(known).set_index("voice")
    label = "Cost of an hour of audio, rented, USD/h"
    assert shown.loc["vits-joe", label] == "0.0163 (estimated)"
    assert "process share" in shown.loc["hibari", "Cost of the power for an hour of audio, USD/h"]
    gaps = needs.gaps(known)
    assert "fine-tuned: anything; smaller: anything" in gaps
    assert "distilled: latency, utilisation, energy, memory" in gaps
    assert "as it comes: latency, utilisation, memory" in gaps
