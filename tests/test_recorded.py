"""Recorded rows come out of runs of committed code, as they were written."""

import dataclasses
import json

import pytest

from lib import recorded, results
from lib.errors import MissingDataError, ParameterError


def write(folder, commit):
    row = results.Measurement(
        "hibari",
        "baseline",
        "onnxruntime/cpu",
        "rtf",
        0.008,
        "s/s",
        "measured",
        commit=commit,
        host="a processor",
        time="2026-11-01T10:00:00+00:00",
    )
    mos = dataclasses.replace(row, metric="mos_predicted", value=4.5, unit="MOS")
    path = folder / "study" / "results" / "01_baselines.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(dataclasses.asdict(r)) + "\n" for r in (row, mos)))
    return path


def test_rows_are_copied_as_they_are_and_read_back_as_recorded(tmp_path):
    path = write(tmp_path, "0123456789")
    (kept,) = recorded.record("study", outputs=tmp_path, recorded=tmp_path / "recorded")
    assert kept.name == "01_baselines@study.jsonl" and kept.read_bytes() == path.read_bytes()
    table = results.read(tmp_path / "recorded")
    assert table.recorded.all() and set(table.commit) == {"0123456789"}
    assert (tmp_path / "recorded" / "pareto.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("commit", ["", "0123456789-dirty"])
def test_rows_of_uncommitted_code_are_refused(tmp_path, commit):
    write(tmp_path, commit)
    with pytest.raises(
        ParameterError, match="2 rows of .*01_baselines.jsonl come from code that is in no commit"
    ):
        recorded.record("study", outputs=tmp_path, recorded=tmp_path / "recorded")
    assert not (tmp_path / "recorded").exists()


def test_without_a_run_it_says_what_to_run(tmp_path):
    with pytest.raises(MissingDataError, match="run ./run_all.sh study first"):
        recorded.record("study", outputs=tmp_path)


def test_what_the_repository_holds_obeys_the_contract():
    from lib import REPOSITORY

    table = results.read(REPOSITORY / "outputs" / "recorded")
    assert table.recorded.all()
    assert (
        not table.commit.str.endswith("-dirty").any()
        and (table.commit != "").all()
        and (table.host != "").all()
    )
