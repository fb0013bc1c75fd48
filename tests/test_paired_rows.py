"""Who writes a score beside a baseline's writes it in one form, and who reads it finds the same difference again."""

from __future__ import annotations

import json
import math
import re

import pytest

from lib import REPOSITORY, results
from lib.measure import judgement, paired
from lib.measure.stats import Difference, Estimate

NAMES = ("hibari", "int8-dynamic", "onnxruntime/cpu")


def test_a_difference_is_read_as_it_was_written(tmp_path):
    run = results.Run("04_pruning_quantization", tmp_path / "quick")
    difference = Difference(-0.12345, -0.2, -0.05, 40, 0.001, 0.3)
    whose = {"baseline": "baseline", "difference": difference, "tau": 0.5}
    paired.write(run, NAMES, "mos_predicted", Estimate(4.1, 4.0, 4.2, 40), "DistillMOS", **whose)
    (row,) = results.read(run.path).itertuples()
    assert (row.value, row.ci_low, row.ci_high, row.n, row.baseline) == (4.1, 4.0, 4.2, 40, "baseline")
    about = json.loads(row.detail)
    assert about.pop("tau") == 0.5 and about["difference"] == pytest.approx(-0.12345, abs=1e-4)
    again = judgement.paired(about)
    assert again.value == pytest.approx(-0.12345, abs=1e-4) and (again.low, again.high) == (-0.2, -0.05)
    assert (again.n, again.p_value, again.sd) == (40, 0.001, 0.3)


def test_what_too_few_sentences_do_not_say_is_null_and_read_as_unknown(tmp_path):
    few = Difference(-0.1, None, None, 2, math.nan, None)
    about = paired.detail(few)
    assert about == {"difference": -0.1, "ci_low": None, "ci_high": None, "p_value": None, "sd": None, "n": 2}
    assert math.isnan(judgement.paired(about).p_value) and judgement.paired(about).ci is None
    run = results.Run("04_pruning_quantization", tmp_path / "quick")
    paired.write(run, NAMES, "mos_predicted", Estimate(4.1, None, None, 2), "DistillMOS")
    assert results.read(run.path).detail.tolist() == [""] and paired.detail(None) == {}


def test_nobody_writes_a_paired_difference_in_a_form_of_their_own():
    """A second writer would round otherwise or leave out what the verdict reads."""
    own = re.compile(r'"difference": (?:round\()?\w+\.value')
    found = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "lib").rglob("*.py")
        if own.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"lib/measure/paired.py"}
