"""Recorded rows come out of runs of committed code, as they were written, a file for each run."""

import dataclasses
import json
import re

import pytest

from lib import REPOSITORY, recorded, results
from lib.errors import MissingDataError, ParameterError
from lib.report import recordings, static
from lib.report.collect import records

FILES = sorted((REPOSITORY / "outputs" / "recorded").glob("*.jsonl"))


def write(folder, *stamps, metrics=("rtf", "mos_predicted")):
    """A results file of study with the metrics for each (commit, host)."""
    values = {"rtf": (0.008, "s/s"), "mos_predicted": (4.5, "MOS"), "size_mb": (7.9, "MB")}
    rows = [
        results.Measurement(
            "hibari",
            "baseline",
            "onnxruntime/cpu",
            metric,
            *values[metric],
            "measured",
            commit=commit,
            host=host,
            time="2026-11-01T10:00:00+00:00",
        )
        for commit, host in stamps
        for metric in metrics
    ]
    path = folder / "study" / "results" / "01_baselines.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(dataclasses.asdict(r)) + "\n" for r in rows))
    return path


def keep(folder, **options):
    return recorded.record("study", outputs=folder, recorded=folder / "recorded", **options)


def names(folder):
    return sorted(path.name for path in (folder / "recorded").glob("*.jsonl"))


def test_rows_are_copied_as_they_are_and_read_back_as_recorded(tmp_path):
    path = write(tmp_path, ("0123456789", "a processor"))
    (kept,) = keep(tmp_path)
    assert kept.name == "01_baselines@study@0123456789.jsonl" and kept.read_bytes() == path.read_bytes()
    table = results.read(tmp_path / "recorded")
    assert table.recorded.all() and set(table.commit) == {"0123456789"}


def test_a_recording_keeps_what_its_run_was_asked_for_and_the_page_says_how_to_have_it_again(tmp_path):
    path = write(tmp_path, ("0123456789", "a processor"))
    changed = {"test_sets": ["botchan"], "n_sentences": 30}
    path.with_name("01_baselines.parameters.json").write_text(json.dumps({"parameters": {}, "set": changed}))
    keep(tmp_path)
    assert len(list((tmp_path / "recorded").iterdir())) == 2
    known = recordings.asked(tmp_path / "recorded")
    rows = [dataclasses.replace(row, recorded=True) for row in records(results.read(tmp_path / "recorded"))]
    (command,) = recordings.commands(rows, known)
    assert command == (
        "git checkout 0123456789 && ./run_all.sh study --only 01 --set 'test_sets=[\"botchan\"]' --set n_sentences=30"
    )
    (unknown,) = recordings.commands(rows, {})
    assert "not kept" in unknown
    write(tmp_path, ("0123456789", "a processor"), metrics=("rtf",))
    path.with_name("01_baselines.parameters.json").unlink()
    keep(tmp_path, replace=True)
    assert not recordings.asked(tmp_path / "recorded"), "the older run's parameters beside the newer run's rows"


@pytest.mark.parametrize("commit", ["", "0123456789-dirty"])
def test_rows_of_uncommitted_code_are_refused(tmp_path, commit):
    write(tmp_path, (commit, "a processor"))
    with pytest.raises(ParameterError, match="01_baselines.jsonl: 2 rows come from code that is in no commit"):
        keep(tmp_path)
    assert not (tmp_path / "recorded").exists()


@pytest.mark.parametrize(
    ("stamps", "message"),
    [
        ([("0123456789", "a"), ("9876543210", "a")], "several commits .*'0123456789', '9876543210'"),
        ([("0123456789", "a"), ("0123456789", "b")], "several hosts .*'a', 'b'"),
    ],
)
def test_a_file_of_two_runs_is_refused(tmp_path, stamps, message):
    write(tmp_path, *stamps)
    with pytest.raises(ParameterError, match=message):
        keep(tmp_path)
    assert not (tmp_path / "recorded").exists()


def test_an_older_recording_is_replaced_only_when_asked(tmp_path):
    write(tmp_path, ("0000000001", "a"))
    keep(tmp_path)
    write(tmp_path, ("0000000002", "a"))
    with pytest.raises(ParameterError, match="01_baselines@study@0000000001.jsonl .*--replace .*--beside"):
        keep(tmp_path)
    assert names(tmp_path) == ["01_baselines@study@0000000001.jsonl"]
    keep(tmp_path, beside=True)
    assert len(names(tmp_path)) == 2
    write(tmp_path, ("0000000003", "a"))
    keep(tmp_path, replace=True)
    assert names(tmp_path) == ["01_baselines@study@0000000003.jsonl"]
    write(tmp_path, ("0000000004", "a"), metrics=("size_mb",))
    keep(tmp_path)  # nothing in common: both stay
    assert len(names(tmp_path)) == 2


def test_two_machines_at_one_commit_keep_a_file_each(tmp_path):
    write(tmp_path, ("0000000001", "a processor"))
    keep(tmp_path)
    write(tmp_path, ("0000000001", "NVIDIA H100, 16 cores"))
    keep(tmp_path)
    assert names(tmp_path) == [
        "01_baselines@study@0000000001.jsonl",
        "01_baselines@study@0000000001@nvidia-h100-16-cores.jsonl",
    ]
    table = results.read(tmp_path / "recorded")
    assert len(table) == 4 and set(table.host) == {"a processor", "NVIDIA H100, 16 cores"}


def test_without_a_run_it_says_what_to_run(tmp_path):
    with pytest.raises(MissingDataError, match="run ./run_all.sh study first"):
        recorded.record("study", outputs=tmp_path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_recorded_file_is_one_run_of_committed_code_on_one_host(path):
    table = results.read(path)
    notebook, profile, commit, *_ = path.stem.split("@")
    assert recorded.problems(path) == []
    assert table.recorded.all() and set(table.commit) == {commit} and set(table.host) != {""}
    assert notebook[:2].isdigit() and profile in ("quick", "study", "full")


def test_no_claim_passes_for_a_publication():
    table = results.read(*FILES)
    published = table[table.kind == "published"]
    assert len(published) and not published.source.str.contains("publication was not seen").any()


def page_of(folder):
    return static.render(folder), (folder / "report.html").read_bytes(), (folder / "README.md").read_bytes()


def kept_by_hand(folder, commit, day, rows):
    """A recording of study on one host. rows: (system, variant, metric, n)."""
    (folder / "recorded").mkdir(exist_ok=True)
    stamps = {"kind": "measured", "commit": commit, "host": "here", "time": f"2026-11-{day:02d}T10:00:00+00:00"}
    made = [
        results.Measurement(s, v, "torch/cpu", m, 0.5, results.METRICS[m].unit, n=n, **stamps) for s, v, m, n in rows
    ]
    path = folder / "recorded" / f"04_demo@study@{commit}.jsonl"
    path.write_text("".join(json.dumps(dataclasses.asdict(r)) + "\n" for r in made))
    path.with_name(f"{path.stem}{results.PARAMETERS}").write_text("{}")
    return path


def test_what_a_newer_recording_holds_whole_is_dropped(tmp_path):
    both = [("a", "baseline", "rtf", 8), ("a", "int8", "wer", 100)]
    gone = kept_by_hand(tmp_path, "0000000001", 1, both)
    partly = kept_by_hand(tmp_path, "0000000002", 2, [*both, ("b", "baseline", "rtf", 8)])
    before = partly.read_text().splitlines()
    newest = kept_by_hand(tmp_path, "0000000003", 3, [*both, ("a", "int4", "wer", 20)])
    assert recorded.trim(tmp_path / "recorded") == [
        "04_demo@study@0000000002.jsonl: a on torch/cpu",
        "04_demo@study@0000000001.jsonl: a on torch/cpu",
    ]
    assert partly.read_text().splitlines() == before[2:] and not gone.exists()
    assert names(tmp_path) == [partly.name, newest.name] and len(list((tmp_path / "recorded").iterdir())) == 4
    assert recorded.trim(tmp_path / "recorded") == []


@pytest.mark.parametrize(
    "newer",
    [
        [("a", "baseline", "rtf", 8)],  # lacks a variant
        [("a", "baseline", "rtf", 8), ("a", "int8", "wer", 20)],  # heard fewer sentences
        [("b", "baseline", "rtf", 8), ("b", "int8", "wer", 100)],
    ],
)
def test_what_only_an_older_recording_holds_stays(tmp_path, newer):
    kept_by_hand(tmp_path, "0000000001", 1, [("a", "baseline", "rtf", 8), ("a", "int8", "wer", 100)])
    kept_by_hand(tmp_path, "0000000002", 2, newer)
    assert recorded.trim(tmp_path / "recorded") == [] and len(names(tmp_path)) == 2


def test_the_page_of_the_recorded_rows_is_current():
    folder, digest = results.RECORDED, static.digest(results.RECORDED)
    stale = (
        "outputs/recorded has changed since its page was made: run ./run_all.sh page and commit what it writes"
    )
    assert f'<meta name="rows" content="{digest}">' in (folder / "report.html").read_text(), stale
    assert f"<!-- rows: {digest} -->" in (folder / "README.md").read_text(), stale
    assert sum(path.stat().st_size for path in folder.iterdir()) < 11_000_000
    named = set(re.findall(r"\]\(([\w.]+)\)", (folder / "README.md").read_text()))
    assert named >= {"report.html", "pareto.png", "costs.png"} and all(
        (folder / name).is_file() for name in named
    )


def test_the_page_follows_from_the_rows_alone(tmp_path):
    write(tmp_path, ("0000000001", "a processor"))
    keep(tmp_path)
    written, page, text = page_of(tmp_path / "recorded")
    assert page_of(tmp_path / "recorded")[1:] == (page, text)
    assert {path.name for path in written} >= {"report.html", "README.md", "pareto.png"}
    assert b"<audio" not in page and b"**hibari** has a predicted MOS of 4.50" in text
    path = next((tmp_path / "recorded").glob("*.jsonl"))
    before = static.digest(tmp_path / "recorded")
    path.write_text(path.read_text().replace("4.5", "4.4"))
    assert static.digest(tmp_path / "recorded") != before


def test_what_ran_longer_or_elsewhere_stands_beside_the_newest_quick_run(tmp_path):
    folder = tmp_path / "recorded"
    folder.mkdir()
    for name, time, host in (
        ("01_baselines@quick@0000000001", "2026-11-01", "a"),
        ("01_baselines@quick@0000000002", "2026-11-02", "a"),
        ("01_baselines@study@0000000003", "2026-11-03", "a"),
        ("01_baselines@full@0000000004", "2026-11-04", "b"),
    ):
        row = results.Measurement(
            "hibari",
            "baseline",
            "onnxruntime/cpu",
            "rtf",
            0.1,
            "s/s",
            "measured",
            host=host,
            commit=name[-10:],
            time=time,
        )
        (folder / f"{name}.jsonl").write_text(json.dumps(dataclasses.asdict(row)) + "\n")
    assert {row.commit for row in static._rows(folder) if not row.recorded} == {"0000000002"}


def test_without_rows_it_says_what_to_run(tmp_path):
    with pytest.raises(MissingDataError, match="./run_all.sh record quick"):
        static.render(tmp_path)
