"""The results contract: good rows survive a round trip, bad ones are refused with the field named."""

import json
import os
import stat
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from lib import files, results
from lib.errors import OutputError, ParameterError, SpeechError

TONE = (0.1 * np.sin(np.arange(16_000) / 5)).astype(np.float32)


@pytest.fixture
def run(tmp_path):
    return results.Run("01_demo", tmp_path / "quick", seed=3)


def test_a_row_survives_the_round_trip(run):
    row = run.add(
        "vits-joe",
        "baseline",
        "torch/cpu",
        "wer",
        0.094,
        n=60,
        ci=(0.07, 0.12),
        source="whisper-tiny.en",
        detail={"stages": {"decoder": 0.1}},
    )
    table = results.read(run.path)
    assert len(table) == 1
    read = table.iloc[0]
    assert (read.value, read.unit, read.kind, read.n, read.ci_low, read.ci_high) == (
        0.094,
        "fraction",
        "measured",
        60,
        0.07,
        0.12,
    )
    assert json.loads(read.detail) == {"stages": {"decoder": 0.1}}
    assert read.host == row.host and "cores" in read.host and read.time.endswith("+00:00")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "wre"}, "unknown metric 'wre': did you mean 'wer'"),
        ({"kind": "mesured"}, "unknown kind 'mesured': did you mean 'measured'"),
        ({"value": float("nan")}, "not a finite number"),
        ({"value": None}, "not a finite number"),
        ({"kind": "not_run"}, "not_run row has no value"),
        ({"kind": "published"}, "published row names its source"),
        ({"ci": (0.2, 0.1)}, "upside down"),
        ({"system": "vits joe"}, "system 'vits joe' is not a name"),
    ],
)
def test_a_bad_row_is_refused_and_nothing_is_written(run, change, message):
    row = {
        "system": "vits-joe",
        "variant": "baseline",
        "target": "torch/cpu",
        "metric": "wer",
        "value": 0.1,
    } | change
    with pytest.raises(ParameterError, match=message):
        run.add(**row)
    assert not run.path.exists()


def test_a_wrong_unit_is_refused():
    with pytest.raises(ParameterError, match="metric rtf is in 's/s', not in 'ms'"):
        results.Measurement("a", "b", "torch/cpu", "rtf", 0.1, "ms", "measured")


def test_rows_of_a_gpu_carry_its_model_whoever_writes_them(run, monkeypatch):
    monkeypatch.setattr(results.targets, "label", lambda name: name.replace("cuda", "cuda-h100"))
    row = run.add("vits-joe", "baseline", "torch/cuda", "wer", 0.1)
    assert row.target == "torch/cuda-h100"
    assert run.add("a", "baseline", "recording/prompts", "wer", 0.1).target == "recording/prompts"


def test_not_run_says_why(run):
    run.not_run("tortoise", "baseline", "torch/cuda", "rtf", "no GPU on this machine")
    row = results.read(run.path).iloc[0]
    assert row.kind == "not_run" and np.isnan(row.value) and row.detail == "no GPU on this machine"


def test_the_later_of_two_measurements_stands(run):
    run.add("a", "baseline", "torch/cpu", "rtf", 0.2)
    run.add("a", "baseline", "torch/cpu", "rtf", 0.1)
    assert results.read(run.path).value.tolist() == [0.1]


def test_the_rows_of_two_machines_stand_beside_each_other(tmp_path):
    row = results.Measurement(
        "a", "baseline", "torch/cpu", "rtf", 0.2, "s/s", "measured", host="small", commit="1"
    )
    kept = {
        "01_demo.jsonl": [row, replace(row, host="large", value=0.1), replace(row, value=0.3)],
        "recorded/01_demo@quick.jsonl": [row, replace(row, commit="2", value=0.1), replace(row, value=0.3)],
    }
    for name, rows in kept.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(json.dumps(asdict(r)) + "\n" for r in rows))
    table = results.read(tmp_path)
    assert table[["host", "value"]].values.tolist() == [["large", 0.1], ["small", 0.3]]
    table = results.read(tmp_path / "recorded")  # another commit is another run
    assert table[["commit", "value"]].values.tolist() == [["2", 0.1], ["1", 0.3]]


def test_the_newest_run_mixes_nothing(tmp_path):
    row = results.Measurement(
        "a", "baseline", "torch/cpu", "rtf", 0.2, "s/s", "measured", host="small", commit="2"
    )
    newer = replace(row, host="large", commit="1", time="2026-11-02T10:00:00+00:00", metric="nfe", unit="count")
    table = pd.DataFrame([asdict(r) for r in (newer, replace(row, time="2026-11-01T10:00:00+00:00"))])
    assert results.newest_run(table).metric.tolist() == ["nfe"]
    assert results.newest_run(results.read()).empty


def test_a_claim_is_known_by_its_source():
    row = results.Measurement(
        "a", "b", "8-devices", "power_w", 128, "W", "published", source=results.CLAIM + "a web page"
    )
    assert row.claimed and not replace(row, source="Somebody 2020, Table 1").claimed


def test_a_new_run_keeps_the_previous_rows_aside(run, tmp_path):
    run.add("a", "baseline", "torch/cpu", "rtf", 0.2)
    again = results.Run("01_demo", tmp_path / "quick")
    again.add("b", "baseline", "torch/cpu", "rtf", 0.3)
    assert results.read(again.path).system.tolist() == ["b"]
    assert "0.2" in again.path.with_suffix(".previous").read_text()


def test_short_failed_runs_between_do_not_lose_a_study(run, tmp_path):
    run.add("study", "baseline", "torch/cpu", "rtf", 0.2)
    for failed in ("first", "second"):
        results.Run("01_demo", tmp_path / "quick").add(failed, "baseline", "torch/cpu", "rtf", 0.3)
    again = results.Run("01_demo", tmp_path / "quick")
    aside = [again.path.with_suffix(suffix).read_text() for suffix in results.ASIDE]
    assert ["second" in aside[0], "first" in aside[1], "study" in aside[2]] == [True] * 3
    results.Run("01_demo", tmp_path / "quick")  # nothing was written since: nothing moves
    assert "study" in again.path.with_suffix(results.ASIDE[2]).read_text()


def test_a_line_cut_short_by_a_kill_is_skipped_any_other_is_an_error(run):
    run.add("a", "baseline", "torch/cpu", "rtf", 0.2)
    whole = run.path.read_text()
    run.path.write_text(whole + whole[:40])
    assert len(results.read(run.path)) == 1
    run.path.write_text("{broken\n" + whole)
    with pytest.raises(SpeechError, match=r"01_demo.jsonl:1 is not JSON"):
        results.read(run.path)


def test_clips_and_figures_are_indexed(run):
    import matplotlib.pyplot as plt

    path = run.clip("vits-joe", "baseline", "s1", TONE, 16_000, "Hello.", group="demo")
    figure = plt.figure()
    run.figure("curve", figure, "What it shows.")
    plt.close(figure)
    (clip,) = files.read_lines(path.parent / "index.jsonl")
    assert clip["file"] == path.name and clip["text"] == "Hello." and path.stat().st_size > 1_000
    (picture,) = files.read_lines(run.folder / "figures" / "01_demo" / "index.jsonl")
    assert (run.folder / "figures" / "01_demo" / picture["file"]).read_bytes().startswith(b"\x89PNG")


def test_two_targets_of_a_variant_keep_a_clip_each(run):
    torch_clip, onnx_clip = (
        run.clip("vits-joe", "baseline", "s1", tone, 16_000, "Hello.", target=target)
        for target, tone in (("torch/cpu", TONE), ("onnxruntime/cpu", TONE[: len(TONE) // 2]))
    )
    assert torch_clip.stat().st_size > onnx_clip.stat().st_size > 1_000
    kept = list(files.read_lines(torch_clip.parent / "index.jsonl"))
    assert [(clip["file"], clip["target"]) for clip in kept] == [
        (torch_clip.name, "torch/cpu"),
        (onnx_clip.name, "onnxruntime/cpu"),
    ]


def test_an_unwritable_outputs_folder_is_one_clear_error(tmp_path):
    blocked = tmp_path / "quick"
    blocked.write_text("a file where a folder should be")
    with pytest.raises(OutputError, match="cannot write under .*quick"):
        results.Run("01_demo", blocked)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_outputs_folder_is_one_clear_error(tmp_path):
    folder = tmp_path / "quick"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(OutputError, match="check its permissions"):
        results.Run("01_demo", folder)


def test_a_full_disk_is_one_clear_error_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    files.write_atomic(path, b"old")
    monkeypatch.setattr(
        files.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
