"""Traces and rooflines: what a trace says of idle time and of who takes it, on made-up events and on this processor."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from torch import nn

from lib import results
from lib.errors import ParameterError
from lib.measure import roofline, trace
from lib.studies import profiled
from test_deploy import small_stage


def event(name: str, begin: float, end: float, cat: str = "kernel", tid: int = 7) -> dict:
    return {"ph": "X", "cat": cat, "name": name, "tid": tid, "ts": begin, "dur": end - begin}


def test_idle_time_is_what_no_kernel_covers():
    events = [
        event("conv", 0, 40),
        event("gemm", 30, 50, tid=8),  # on another stream: it covers, but does not count twice
        event("conv", 70, 90),
        event("copy", 95, 100, "gpu_memcpy"),
        event("launch", 0, 1_000, "cuda_runtime"),  # the processor's
        {"ph": "i", "cat": "kernel", "name": "a mark without length", "tid": 7, "ts": 5},
    ]
    seen = trace.summary(events, "cuda")
    assert seen.wall_s == pytest.approx(100e-6) and seen.idle_pct == pytest.approx(25)
    assert seen.longest_gap_s == pytest.approx(20e-6)
    assert [(name, round(1e6 * s), n) for name, s, n in seen.taken] == [
        ("conv", 60, 2),
        ("gemm", 20, 1),
        ("copy", 5, 1),
    ]
    assert seen.top(1) == [("conv", pytest.approx(100 * 60 / 85))]
    with pytest.raises(ParameterError, match="nothing ran on cpu"):
        trace.summary(events, "cpu")


def test_an_operators_time_is_without_what_it_calls():
    events = [
        event("conv1d", 0, 100, "cpu_op"),
        event("convolution", 10, 90, "cpu_op"),
        event("mkldnn", 20, 80, "cpu_op"),
        event("tanh", 100, 120, "cpu_op"),
        event("tanh", 30, 40, "cpu_op", tid=9),  # another thread's, within nobody
    ]
    seen = trace.summary(events)
    taken = {name: round(1e6 * seconds) for name, seconds, _ in seen.taken}
    assert taken == {"mkldnn": 60, "tanh": 30, "convolution": 20, "conv1d": 20} and seen.idle_pct == 0


def test_a_profile_of_this_processor_is_saved_and_summed_up(tmp_path):
    left = torch.rand(200, 200)
    seen = trace.profile(lambda: (left @ left).tanh(), tmp_path / "traces" / "one.json.gz", runs=3)
    counts = {name: n for name, _, n in seen.taken}
    assert counts["aten::mm"] == counts["aten::tanh"] == 3 and 0 < seen.wall_s and 0 <= seen.idle_pct < 100
    names = [e.get("name") for e in trace.read(tmp_path / "traces" / "one.json.gz")]
    assert names.count(trace.RANGE) >= 3, "every run has its range"


def test_a_roofline_is_bound_by_what_takes_longer():
    roof = roofline.Roof(bytes_s=100e9, flops_s=1e12)
    product, copy = roofline.Work(2e9, 1e6), roofline.Work(1e6, 1e9)
    assert (roof.bound(product), roof.bound(copy)) == ("arithmetic", "memory")
    assert roof.least_s(product) == pytest.approx(2e-3) and roof.share(copy, 0.04) == pytest.approx(0.25)


def test_work_is_counted_as_by_hand():
    network, frames = nn.Conv1d(6, 8, 7, padding=3), torch.rand(1, 6, 16)
    todo = roofline.work(network, [frames])
    assert todo.flops == 2 * 8 * 6 * 7 * 16
    assert todo.bytes == 4 * (8 * 6 * 7 + 8 + 6 * 16 + 8 * 16)


def test_stages_are_laid_beside_the_roofline_of_the_same_run(tmp_path, monkeypatch):
    measured = roofline.measure("cpu", copied_mb=1, matrix=64)
    assert measured.bytes_s > 0 and measured.flops_s > 0
    monkeypatch.setattr(roofline, "measure", lambda device: measured)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    stage = small_stage()
    table = profiled.stages([stage, dataclasses.replace(stage, name="other")], tmp_path, threads=1)
    assert list(table.stage) == ["vits-joe/upsampler", "vits-joe/other"] and set(table.on) == {"cpu"}
    assert (table["of its roofline, %"] > 0).all() and table["most time"].str.contains("conv").all()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "vits-joe-other-cpu.json.gz",
        "vits-joe-upsampler-cpu.json.gz",
    ]
    assert "GB/s copied" in profiled.told(table) and "vits-joe/other" in profiled.told(table)
    assert profiled.told(profiled.stages([], tmp_path, threads=1)) is None
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    profiled.write(run, table, threads=1)
    rows = results.read(run.path)
    assert list(zip(rows.variant, rows.metric)) == [
        (f"{name}-fp32", metric) for name in ("upsampler", "other") for metric in ("roofline_pct", "idle_pct")
    ]
    assert rows.value.tolist() == table[["of its roofline, %", "idle, %"]].to_numpy().ravel().tolist()
    assert set(rows.target) == {"torch/cpu"} and "GB/s copied" in json.loads(rows.detail[0])["roof"]
