"""Deployment's rows are told by what they are: a chunk by what of it is useful, a graph by whether it fits, an energy
by what it counts; and no row hides another.
"""

from __future__ import annotations

import json
import math
import subprocess

import numpy as np
import pytest
import torch

from lib import params, results, targets
from lib.deploy import job, stages, tflite, vela
from lib.measure import energy
from lib.metrics import METRICS
from lib.studies import chunk_lengths, devices, floors, floors_deployed, needs, simulated, spoken, spread
from lib.studies.floors import MET, MISSED, NOT_RUN, UNDECIDED
from lib.target import Target

NOTEBOOK = "06_gpu_vs_npu"
TEXT = "The birch canoe slid on the smooth planks."


def row(system, variant, target, metric, value, ci=(None, None), *, detail="", **others):
    given = {
        "unit": METRICS[metric].unit,
        "kind": "measured",
        "n": 40,
        "source": "",
        "baseline": "",
        "host": "here",
        "commit": "",
        "time": "2026-11-23T06:00:00+00:00",
        "notebook": NOTEBOOK,
        "recorded": False,
    }
    return {
        "system": system,
        "variant": variant,
        "target": target,
        "metric": metric,
        "value": value,
        "ci_low": ci[0],
        "ci_high": ci[1],
        "detail": detail if isinstance(detail, str) else json.dumps(detail),
    } | (given | others)


def recorded(profile, commit, **others):
    return {"recorded": True, "commit": commit, "notebook": f"{NOTEBOOK}@{profile}@{commit}"} | others


def chunk(target, frames, ms, *, system="vits-joe", stage="decoder-a8w8", snr=None, model=None, **others):
    """Rows of a compiler's opinion of a chunk."""
    variant = stage if frames == stages.FRAMES else f"{stage}-f{frames}"
    estimate = {"spilled_bytes": others.pop("spilled", 0.0)} if model is None else None
    told = {"frames": frames, "audio_s": frames * stages.HOP_S}
    told |= {"estimate": estimate} if estimate else {"model": model}
    made = [row(system, variant, target, "latency_ms_p50", ms, kind="simulated", detail=told, **others)]
    if snr is not None:
        made.append(row(system, variant, target, "snr_db", snr, kind="simulated", **others))
    return made


def frame(*rows):
    return results.frame([one for part in rows for one in (part if isinstance(part, list) else [part])])


def test_what_was_not_run_hides_no_recorded_number():
    """The quick run, whose name sorts first, had no toolchain; the study had."""
    quick = row(
        "vits-joe", "decoder-a8w8", "qnn/sa8255", "latency_ms_p50", None, kind="not_run", detail="needs qnn"
    )
    table = frame(quick | recorded("quick", "a"), chunk("qnn/sa8255", 200, 16.8, **recorded("study", "b")))
    shown = devices.together(results.frame([]), table)
    assert list(shown.ms) == [16.8] and set(shown.kind) == {"simulated"}
    newer = chunk("qnn/sa8255", 200, 15.0, **recorded("study", "c", time="2026-11-24T06:00:00+00:00"))
    assert list(devices.together(results.frame([]), frame(newer, quick | recorded("quick", "a"))).ms) == [15.0]
    alone = devices.together(frame(quick), frame(quick | recorded("quick", "a")))
    assert list(alone["why not"]) == ["needs qnn"], "said once"
    had = frame(chunk("qnn/sa8255", 200, 16.8, **recorded("study", "b")))
    assert list(devices.together(frame(quick), had).when) == ["recorded"], "nor is what a recorded run has wanting"


def test_numbers_come_first_and_a_reason_is_said_once_a_system_and_target():
    why = {"kind": "not_run", "detail": "needs qnn"}
    lacking = [row("vits-joe", f"decoder-{p}", "qnn/sa8255", "latency_ms_p50", None, **why) for p in ("a8w8", "a16w8")]
    shown = devices.together(frame(lacking, chunk("qnn/sa8797", 200, 10.2)), results.frame([]))
    assert list(shown.kind) == ["simulated", "not run"] and list(shown.ms) == [10.2, ""]
    assert list(shown["why not"]) == ["", "needs qnn"] and shown.stage[1] == "decoder-a8w8, decoder-a16w8"


@pytest.mark.parametrize("label", ["hifigan/generator", "istft/trunk", "vits-joe/decoder"])
def test_a_frame_changes_what_lies_within_its_context_and_no_more(label):
    """On the networks as they are: what a chunk needs beside itself is neither guessed too short nor too long."""
    before, after = stages.context(label)
    frames = 2 * (before + after) + 9
    stage = stages.build(label, frames, texts=[TEXT])
    network, inputs = stage.network.eval().double(), [torch.from_numpy(a).double() for a in stage.inputs]
    at = before + after + 4
    changed = [a.clone() for a in inputs]
    for array in changed:
        axis = array.shape.index(frames)
        array.select(axis, at).add_(
            3 * torch.randn(array.select(axis, at).shape, generator=torch.manual_seed(0))
        )
    with torch.no_grad():
        difference = (network(*changed) - network(*inputs)).abs()
    per_frame = difference.reshape(frames, -1).amax(1)  # (1, F, bins), or (1, 1, F * hop)
    moved = torch.nonzero(per_frame).flatten()
    # An output depends on `before` frames before it, so an input moves as many after it.
    assert (at - int(moved[0]), int(moved[-1]) - at) == (after, before)


def test_a_chunk_costs_what_of_it_comes_out_right():
    table = frame(
        chunk("qnn/sa8255", 8, 0.8, snr=25.0),
        chunk("qnn/sa8255", 25, 1.9, snr=14.6),
        chunk("qnn/sa8255", 100, 9.9, spilled=97e6),
        chunk("qnn/sa8255", 200, 16.8, spilled=193e6),
    )
    wide = chunk_lengths.table(table)
    assert list(wide.columns) == [8, 25, 100, 200] and math.isinf(wide.iloc[0, 0])
    assert wide.iloc[0, 1] == pytest.approx(1.9 / (3 * stages.HOP_S), abs=0.01), "3 of 25 frames"
    assert "decoder-a8w8 on qnn/sa8255 between 25 and 100 frames" in chunk_lengths.spill(table)
    said = devices.finding(table)
    assert "vits-joe 8.1 (decoder-a8w8 on qnn/sa8255, its numbers checked in chunks of 25 frames alone" in said


def test_the_cheapest_length_is_computed_whichever_side_of_the_spill_point_it_lies_on():
    beyond = [
        chunk("qnn/sa8255", 25, 1.9),
        chunk("qnn/sa8255", 100, 9.9, spilled=97e6),
        chunk("qnn/sa8255", 200, 16.8, spilled=193e6),
    ]
    said = chunk_lengths.cheapest(frame(*beyond))
    assert said.endswith(
        ": vits-joe decoder-a8w8 on qnn/sa8255 200 frames (8.13 ms, beyond its spill point, the longest tried)."
    )
    before = [*beyond[:2], chunk("qnn/sa8255", 50, 1.0), chunk("qnn/sa8255", 200, 99.0, spilled=193e6)]
    assert chunk_lengths.cheapest(frame(*before)).endswith("qnn/sa8255 50 frames (3.08 ms).")
    large, fits = ({"sram_memory_used": kib, "dram_memory_used": 0.0} for kib in (9606.4, 1206.4))
    on = {"target": "vela/ethos-u55-256", "stage": "decoder-int8"}
    small = [chunk(frames=25, ms=9.0, model=fits, **on), chunk(frames=200, ms=3.0, model=large, **on)]
    assert chunk_lengths.cheapest(frame(*small)).endswith("25 frames (258 ms, the longest that fits).")
    useless = [chunk("qnn/sa8255", 8, 0.8), chunk("qnn/sa8255", 25, 1.9, snr=3.0)]
    assert chunk_lengths.cheapest(frame(*useless)).endswith("on qnn/sa8255 none of those tried.")
    assert chunk_lengths.cheapest(frame(beyond[0])) is None, "one length is no sweep"


def test_what_computes_something_else_is_no_winner():
    """Its numbers were emulated for one device, and hold for both."""
    table = frame(
        chunk("qnn/sa8255", 100, 9.9, snr=8.0),
        chunk("qnn/sa8797", 100, 3.6),
        chunk("qnn/sa8797", 200, 20.0, snr=21.0),
    )
    said = devices.finding(table)
    assert "vits-joe 9.7 (decoder-a8w8 on qnn/sa8797, 21 dB)" in said
    assert "below 10 dB: vits-joe decoder-a8w8-f100 by qnn v73 (8 dB)" in said


def test_a_window_that_was_counted_as_sound_throughout_says_so():
    """Rows older than the length of the speech within it."""
    about = {"frames": 3000, "audio_s": 30.0, "estimate": {"spilled_bytes": 0.0}}
    given = ("whisper-tiny.en", "encoder-a8w8", "qnn/sa8797", "latency_ms_p50", 3.0)
    said = devices.finding(frame(row(*given, kind="simulated", detail=about)))
    assert "whisper-tiny.en 0.1 (encoder-a8w8 on qnn/sa8797, its numbers unchecked, of a window of 30 s" in said
    newer = about | {"audio_s": 3.0, "window_s": 30.0}
    said = devices.finding(frame(row(*given, kind="simulated", detail=newer)))
    assert "whisper-tiny.en 1 (" in said and "filled or not" not in said


def test_a_sweep_is_of_one_run():
    study = [chunk("qnn/sa8255", frames, 5.0, **recorded("study", "b")) for frames in (50, 100)]
    now = chunk("qnn/sa8255", 200, 99.0)
    assert list(chunk_lengths.table(frame(*study, now)).columns) == [50, 100]


def test_padding_counts_what_is_seen_twice():
    assert (
        stages.useful_frames("vits-joe/decoder", 22) == 0 and stages.useful_frames("vits-joe/decoder", 23) == 1
    )
    assert stages.useful_frames("fastspeech2/decoder", 200) == 200, "it attends, so it is not cut"
    assert stages.padding_waste([100], [200], (11, 11)) == 0.5, "a whole sentence has no cut"
    assert stages.padding_waste([189 + 189], [200], (11, 11)) == pytest.approx(1 - 378 / 400)
    assert stages.padding_waste([189 + 190], [200], (11, 11)) == pytest.approx(1 - 379 / 600)
    assert stages.padding_waste([100], [22], (11, 11)) == 1.0, "no room for anything beside its context"


SUMMARY = "inference_time,cycles_total,sram_memory_used,core_clock\n0.17,85000000,{used},5e8\n"
SAID = """CPU operators = 2 (5.0%)
NPU operators = 38 (95.0%)
   CPU: Passthrough = a
   CPU: Transpose = b
"""


def vela_job(tmp_path, monkeypatch, used, target="vela/ethos-u55-256"):
    asked = []

    def run(command, **others):
        asked.extend(command)
        (folder / "out_summary_x.csv").write_text(SUMMARY.format(used=used))
        return subprocess.CompletedProcess(command, 0, SAID, "")

    given = job.Job(str(tmp_path), target, "int8", 1, dict(targets.find(target).settings))
    folder = given.work()
    monkeypatch.setattr(vela.subprocess, "run", run)
    monkeypatch.setattr(tflite, "quantized", lambda job: tmp_path / "m.tflite")
    monkeypatch.setattr(tflite, "runner", lambda model: lambda inputs: [])
    return given, asked


def test_what_does_not_fit_the_sram_is_not_run(tmp_path, monkeypatch):
    given, asked = vela_job(tmp_path, monkeypatch, used=9606.4)
    with pytest.raises(RuntimeError, match="does not fit: it needs 9,606 KiB of SRAM, the device has 2,048"):
        vela.load(given)
    assert f"--arena-cache-size={2048 * 1024}" in asked


def test_what_vela_says_is_read(tmp_path, monkeypatch):
    loaded = vela.load(vela_job(tmp_path, monkeypatch, used=1206.4)[0])
    assert loaded.figures == {"npu_ops_pct": 95.0, "cycles": 85e6, "latency_ms_p50": 170.0}
    assert loaded.detail["left"] == {"Passthrough": 1, "Transpose": 1}
    assert loaded.detail["model"] == {"sram_memory_used": 1206.4, "core_clock": 5e8}


def test_a_recorded_row_that_fits_no_device_says_so_and_wins_nothing():
    large = {"sram_memory_used": 9606.4, "dram_memory_used": 0.0}
    on = "vela/ethos-u55-256"
    small = {"sram_memory_used": 1206.4, "dram_memory_used": 0.0}
    both = {"sram_memory_used": 497.0, "dram_memory_used": 11307.0}
    table = frame(
        chunk(on, 25, 9.0, stage="decoder-int8", model=small, snr=15.0),
        chunk(on, 200, 3.0, stage="decoder-int8", model=large, snr=15.0),
        chunk("vela/ethos-u65-512", 200, 72.6, stage="decoder-int8", model=both),
    )
    shown = devices.together(results.frame([]), table.assign(recorded=True)).set_index("target").memory
    assert list(shown[on]) == [
        "1,206 KiB of SRAM",
        "does not fit: it needs 9,606 KiB of SRAM, the device has 2,048",
    ]
    assert shown["vela/ethos-u65-512"] == "497 KiB of SRAM, 11,307 of main memory"
    said = devices.finding(table)
    assert "vits-joe 35 (decoder-int8 on vela/ethos-u65-512, 15 dB)" in said
    assert "vits-joe decoder-int8 on vela/ethos-u55-256 does not fit" in said
    assert chunk_lengths.spill(table).endswith(f"vits-joe decoder-int8 on {on} between 25 and 200 frames.")


def test_what_vela_says_of_bandwidth_stands_beside_the_memory():
    """Vela's numbers are of a GiB a second, and bytes of a run."""
    said = {"sram_bandwidth": 14.901, "sram_total_bytes": 150_346_400.0, "sram_memory_used": 501.0}
    said |= {"dram_bandwidth": 3.4925, "dram_total_bytes": 244_645_096.0, "dram_memory_used": 13_964.6}
    said |= {"off_chip_flash_bandwidth": 14.901, "off_chip_flash_total_bytes": 0.0}
    small = {"sram_memory_used": 501.0}  # as older rows may have it
    table = frame(
        chunk("vela/ethos-u65-512", 200, 76.5, stage="decoder-int8", model=said),
        chunk("vela/ethos-u85-1024", 200, 34.8, stage="decoder-int8", model=small),
        chunk("qnn/sa8255", 200, 16.8),
    )
    shown = devices.together(table, results.frame([]))
    assert list(shown.columns[-2:]) == ["memory", "bandwidth"]
    assert list(shown.bandwidth) == ["SRAM 14.9 GiB/s (150 MB a run), main memory 3.49 GiB/s (245 MB a run)", "", ""]


def test_stages_for_npus_are_built_where_one_is_here_to_take_them(monkeypatch):
    built, asked = [stages.Stage("vits-joe", "decoder", torch.nn.Identity(), (), (), 1.0, 200)], []

    def how(names):
        asked.extend(names)
        return [stages.Stage(*name.split("/"), torch.nn.Identity(), (), (), 1.0, 200) for name in names]

    names, npus = ["fastspeech2/decoder", "vits-joe/decoder"], ["vela/ethos-u65-512", "qnn/sa8255", "native/cpu"]
    monkeypatch.setattr(Target, "why_not", lambda self: None if self.runtime == "native" else "not here")
    assert devices.for_npus(names, built, npus, how) == built and not asked, "native/cpu takes no stages"
    monkeypatch.setattr(Target, "why_not", lambda self: None)
    made = devices.for_npus(names, built, npus, how)
    assert [one.label for one in made] == names and made[1] is built[0] and asked == ["fastspeech2/decoder"]


@pytest.mark.parametrize("profile", ["quick", "study", "full"])
def test_npus_are_asked_for_every_stage_that_a_floor_names(profile):
    given = params.load(profile, params.find_notebook("06"))
    named = {f"{system}/{stage}" for system, stage in floors_deployed.STAGES}
    assert named <= set(given["npu_stages"]) <= set(stages.NAMES)
    socs = {name for name in given["npus"] if name.startswith("qnn/")}
    every = {name for name in targets.TARGETS if name.startswith("qnn/")}
    assert socs == every if profile == "study" else socs == {"qnn/sa8255", "qnn/sa8797"}


def test_an_empty_section_says_what_fills_it():
    nothing = results.frame([])
    assert "--set n_spoken=8" in spoken.wanting(nothing) and "chunks=" in chunk_lengths.wanting(nothing)
    judged = row("vits-joe", "decoder-a8w8", "qnn/sa8255", spoken.SNR, 21.0, kind="simulated")
    assert spoken.wanting(frame(judged)) is None
    sweep = frame(chunk("qnn/sa8255", 25, 1.9), chunk("qnn/sa8255", 100, 9.9))
    assert chunk_lengths.wanting(sweep) is None and chunk_lengths.wanting(frame(chunk("qnn/sa8255", 25, 1.9)))


def test_an_answer_holds_for_the_socs_of_one_emulator_alone():
    """The emulator of an older architecture rounds in another way."""
    table = frame(
        chunk("qnn/sa8255", 200, 16.8, snr=21.0), chunk("qnn/qcs9100", 200, 16.8), chunk("qnn/sa8540", 200, 40.0)
    )
    assert [line.snr_db for line in simulated.read(table)] == [21.0, 21.0, None]


def test_a_time_without_what_stayed_with_the_processor_says_so():
    """The compiler's model counts the neural processor alone."""
    made = chunk("vela/ethos-u85-1024", 200, 3.0, stage="decoder-int8", model={}, snr=30.0)
    placed = row("vits-joe", "decoder-int8", "vela/ethos-u85-1024", "npu_ops_pct", 99.45, kind="simulated")
    assert "30 dB, without the 0.55 % of its operators that stay with the processor" in devices.finding(
        frame(made, placed)
    )
    assert "stay with" not in devices.finding(frame(made, placed | {"value": 100.0}))


def test_half_precision_is_no_length_of_a_chunk():
    """Its name begins as one does: "-fp16", "-f16"."""
    rows = frame(*(chunk("rknn/rk3588", n, 9.0, stage="decoder-fp16", snr=60.0) for n in (200, 25)))
    whole, short = simulated.read(rows)
    assert {whole.stage, short.stage} == {"decoder-fp16"} == {whole.variant}
    unchecked = frame(rows.to_dict("records"), chunk("rknn/rk3588", 50, 9.0, stage="decoder-fp16"))
    assert simulated.read(unchecked)[2].other_snr_db == (25, 60.0)


def test_operators_that_stayed_behind_are_of_the_newest_run():
    """Recorded rows come first in the table, and are older."""

    def placed(pct, left, **others):
        about = {"detail": {"left": left}, "kind": "simulated"} | others
        return row("vits-joe", "decoder-a8w8", "qnn/sa8255", "npu_ops_pct", pct, **about)

    before = placed(90.0, {"Erf": 2}, **recorded("study", "b"))
    now = placed(99.0, {"Tanh": 1}, time="2026-11-24T06:00:00+00:00")
    for table in (frame(before, now), frame(now, before)):
        assert list(devices.operators_left(table).operator) == ["Tanh"]


def test_threads_and_sentences_are_of_stages_and_not_of_whole_voices():
    """Whole voices, which the bench writes, have milliseconds too, and no length of their audio beside them."""

    def stage(variant, ms, threads, **others):
        about = {"frames": 200, "audio_s": 2.0, "threads": threads, **others}
        return row("vits-joe", variant, "onnxruntime/cpu", "latency_ms_p50", ms, detail=about)

    bench = {"rounds": 3, "passes": 2, "threads": 2}
    whole = row("vits-joe", "baseline", "torch/cpu", "latency_ms_p50", 90.0, detail=bench)
    paired = {"beside_usual": {"of": "decoder-fp32", "value": 1 / 1.5, "ci_low": 0.6, "ci_high": 0.7}}
    table = frame(whole, stage("decoder-fp32", 20.0, 2), stage("decoder-fp32-1t", 30.0, 1, **paired))
    shown = spread.table(table)
    assert list(shown.index) == [("vits-joe", "decoder-fp32", "onnxruntime/cpu")]
    assert shown.iloc[0].to_dict() == {"1 thread": 15.0, "2 threads": 10.0}
    assert "2 threads instead of 1 thread: 1.50 to 1.50 times" in spread.finding(table)
    of_four = {"beside_usual": paired["beside_usual"] | {"of": "decoder-fp32-4t", "threads": 4, "value": 0.4}}
    wider = frame(stage("decoder-fp32-4t", 12.0, 4), stage("decoder-fp32-1t", 30.0, 1, **of_four))
    assert "4 threads instead of 1 thread: 2.50 to 2.50 times" in spread.finding(wider)


def test_a_length_that_was_refused_as_too_large_is_beyond_the_spill_point():
    """A compiler's refusal is a row that was not run; a toolchain that is not here is one, too, and says nothing."""
    on = "vela/ethos-u55-256"

    def refused(variant, why, **others):
        return row("vits-joe", variant, on, "latency_ms_p50", None, kind="not_run", detail=why, **others)

    fits = {"sram_memory_used": 1206.4, "dram_memory_used": 0.0}
    why = f"decoder-int8 on {on}: RuntimeError: {vela.does_not_fit(9606.4, 2048)}"
    table = frame(
        chunk(on, 25, 9.0, stage="decoder-int8", model=fits),
        refused("decoder-int8-f100", why),
        refused("decoder-int8", why),
        refused("decoder-a16w8-f25", f"{on} needs ethos-u-vela==5.2.0"),
        refused("decoder-a16w8", f"{on} needs ethos-u-vela==5.2.0"),
    )
    assert chunk_lengths.spill(table).endswith(f": vits-joe decoder-int8 on {on} between 25 and 100 frames.")
    wide = chunk_lengths.table(table)
    assert list(wide.columns) == [25, 100, 200] and len(wide) == 1
    assert list(wide.iloc[0])[1:] == ["does not fit", "does not fit"] and wide.iloc[0, 0] > 0
    none_fits = frame(refused("decoder-int8-f100", why), refused("decoder-int8", why))
    assert chunk_lengths.spill(none_fits).endswith("from 100 frames, the shortest tried.")


def timed(variant, target, speedup, snr, *, threads=2, **others):
    about = {"frames": 200, "audio_s": 2.3, "threads": threads}
    made = [row("hifigan", variant, target, "latency_ms_p50", 30.0, detail=about, **others)]
    made.append(row("hifigan", variant, target, "snr_db", snr, **others))
    return made + [
        row("hifigan", variant, target, "speedup", speedup, (speedup - 0.1, speedup + 0.1), **others)
    ]


def test_the_fastest_that_computes_the_same_is_told_first_and_what_nobody_judged_as_such():
    now = frame(
        timed("generator-fp32", "onnxruntime/cpu", 1.83, 112.0),
        timed("generator-int8", "onnxruntime/cpu", 2.52, 10.1),
        timed("generator-fp32", "torch/cuda-h100", 40.0, 90.0),
    )
    said = devices.finding(now)
    assert "of what computes the same generator-fp32 on onnxruntime/cpu at 1.83 [1.73, 1.93] times" in said
    assert "generator-int8 on onnxruntime/cpu at 2.52 [2.42, 2.62] times the speed is faster still" in said
    assert "lies 10 dB below the signal), and nobody judged it" in said
    assert "hifigan on a GPU, beside PyTorch in single precision on 2 threads of the processor" in said


def test_what_was_not_run_though_its_target_is_here_says_why(monkeypatch):
    monkeypatch.setattr(Target, "why_not", lambda self: "no GPU" if self.cuda else None)
    why = {"kind": "not_run", "detail": "without bf16"}
    lacking = [row("istft", "trunk-bf16", on, "latency_ms_p50", None, **why) for on in ("torch/cpu", "torch/cuda")]
    said = devices.absent(frame(lacking))
    assert said == "Not run, though its target is here: istft trunk-bf16 on torch/cpu (without bf16)."
    assert devices.absent(frame(timed("trunk-fp32", "onnxruntime/cpu", 2.0, 90.0))) is None


def test_what_is_slower_than_pytorch_is_not_called_the_fastest():
    exact = timed("generator-fp32", "onnxruntime/cpu", 0.8, 112.0)
    said = devices.findings(frame(exact, timed("generator-int8", "onnxruntime/cpu", 0.9, 10.1)))
    assert len(said) == 1 and "fastest" not in said[0] and "faster still" not in said[0]
    assert said[0].count("is nearest to PyTorch, which is faster") == 2


def test_the_fastest_is_of_one_run():
    """Another machine's speed-up, and its noise, are no part of this run's."""
    here = timed("generator-fp32", "onnxruntime/cpu", 1.5, 112.0, time="2026-11-24T06:00:00+00:00")
    there = timed(
        "generator-fp32", "onnxruntime/cpu", 9.0, 5.0, threads=64, **recorded("study", "b", host="there")
    )
    said = devices.finding(frame(there, here))
    assert "at 1.50" in said and "9.00" not in said and "nobody judged it" not in said and "2 threads" in said


def test_what_was_judged_is_said_and_a_whole_voice_is_no_stage():
    """With judged=true the row of the SNR holds what a MOS predictor says of one clip."""
    stage = timed("generator-int8", "onnxruntime/cpu", 2.52, 10.1)
    rated = stage[1] | {"detail": json.dumps({"mos_predicted": 3.14})}
    whole = row("hifigan", "baseline", "torch/cuda-h100", "speedup", 9.0, (8.0, 10.0), time="2026-11-24T06:00")
    said = devices.finding(frame(stage[0], rated, stage[2], whole, whole | recorded("quick", "c")))
    assert "lies 10 dB below the signal), one clip of it is rated 3.14 by a MOS predictor." in said
    assert "nobody judged it" not in said and "baseline" not in said and "a GPU" not in said
    assert "nobody compared or judged it" in devices.finding(frame(stage[0], stage[2]))


ESTIMATED = "CPU seconds x 5.62 W per core (AMD EPYC is not in the table: median of 15 processors)"


BENCH = {"rounds": 3, "threads": 2, "load_before": 1.1, "load_after": 1.2}  # what all rows of one say


def voice(
    system, variant="baseline", *, mos=4.5, metric="energy_j_per_audio_s", value=0.04, ci=(0.03, 0.05), **others
):
    """A whole voice with one cost, its rating and its memory."""
    own = {name: others[name] for name in others if name not in ("kind", "source", "target", "detail")}
    target, on = others.pop("target", "onnxruntime/cpu"), {"notebook": "01_baselines", "detail": BENCH}
    return [
        row(system, variant, target, metric, value, ci, **(on | others)),
        row(system, variant, target, "mos_predicted", mos, **({"notebook": "01_baselines"} | own)),
        row(system, variant, target, "peak_rss_mb", 265.0, **({"notebook": "01_baselines"} | own)),
    ]


def need(metric, table):
    (said,) = needs.told(table, [one for one in needs.NEEDS if metric in one.metrics])
    return said


def test_measured_and_estimated_joules_are_both_told_and_neither_beats_the_other():
    table = frame(
        voice("vits-joe", value=5.0, ci=(4.8, 5.2), source="RAPL package-0, idle 9 W subtracted"),
        voice("hibari", value=0.04, kind="estimated", source=ESTIMATED),
        voice(
            "tacotron2",
            value=90.0,
            ci=(80.0, 99.0),
            source="NVML energy counter, H100, board only",
            target="torch/cuda-h100",
        ),
    )
    said = need("energy_j_per_audio_s", table)
    assert (
        "vits-joe baseline on onnxruntime/cpu (5 J/s [4.8, 5.2], package; predicted MOS 4.50, 265 MB in use)"
        in said
    )
    assert "hibari baseline on onnxruntime/cpu (0.04 J/s [0.015, 0.1], estimated, process share" in said
    assert "tacotron2 baseline on torch/cuda-h100 (90 J/s [80, 99], board" in said
    assert "not to be told from" not in said, "they are three different things"


def test_who_is_not_parted_by_the_intervals_does_not_win():
    table = frame(
        voice("hibari", value=0.04, kind="estimated", source=ESTIMATED),
        voice("vits-joe", value=0.045, ci=(0.035, 0.055), kind="estimated", source=ESTIMATED),
        voice("speecht5", value=0.9, ci=(0.8, 1.0), kind="estimated", source=ESTIMATED),
        voice("espeak-ng", mos=2.2, value=0.001, ci=(0.001, 0.001), kind="estimated", source=ESTIMATED),
    )
    said = need("energy_j_per_audio_s", table)
    assert "not to be told from vits-joe baseline on onnxruntime/cpu (0.045 J/s" in said
    assert "speecht5" not in said and "espeak" not in said


def test_joules_of_one_bench_have_a_winner_though_recorded_ones_do_not_tell_its_rounds():
    alike = {name: value for name, value in BENCH.items() if name != "rounds"}
    timed = [row(who, "baseline", "onnxruntime/cpu", "rtf", 0.1, detail=BENCH) for who in ("hibari", "speecht5")]
    table = frame(
        voice("hibari", value=0.04, detail=alike),
        voice("speecht5", value=0.9, ci=(0.8, 1.0), detail=alike),
        [one | {"notebook": "01_baselines"} for one in timed],
    )
    assert "speecht5" not in need("energy_j_per_audio_s", table)


def test_of_two_benches_nobody_wins():
    """However far their intervals lie apart: an hour and another load lie between them, too."""
    later = {"detail": BENCH | {"load_before": 4.0}}
    table = frame(voice("hibari", value=0.04), voice("speecht5", value=0.9, ci=(0.8, 1.0), **later))
    assert "not to be told from speecht5" in need("energy_j_per_audio_s", table)


def test_what_was_made_of_one_voice_is_ranked_by_its_pairs_with_that():
    """Sentences of different lengths make the intervals of a latency wide, and no ratio."""

    def tried(variant, ms, ratio, word="without audible loss"):
        about = BENCH | {"latency_ratio": {"value": ratio, "ci_low": ratio - 0.02, "ci_high": ratio + 0.02}}
        timed = row("vits-joe", variant, "onnxruntime/cpu", "latency_ms_p50", ms, (ms / 2, 2 * ms), detail=about)
        known = {"baseline": "baseline", "notebook": "04_pruning_quantization"}
        rest = [one for one in made_of("vits-joe", variant, 50.0, word) if one["metric"] != "throughput_rtfx"]
        return [timed | known, *rest]

    on = {"metric": "latency_ms_p50", "notebook": "04_pruning_quantization"}
    whole = voice("vits-joe", value=100.0, ci=(50.0, 200.0), **on)
    said = need("latency_ms_p50", frame(whole, tried("int8-static", 60.0, 0.6), tried("int8-dynamic", 80.0, 0.8)))
    assert "0.6 [0.58, 0.62] times the time of baseline; without audible loss)" in said
    assert "not to be told" not in said and "int8-dynamic" not in said
    said = need("latency_ms_p50", frame(whole, tried("int8-static", 60.0, 0.6), tried("int8-dynamic", 61.0, 0.61)))
    assert "not to be told from vits-joe int8-dynamic" in said


def test_every_source_of_energy_says_its_boundary():
    assert energy.boundary(ESTIMATED) == energy.SHARE, "of rows older than the word"
    assert energy.boundary(energy.estimate(1.0, 1.0, "AMD EPYC").source) == energy.SHARE
    assert energy.SHARE in energy.estimate(1.0, 1.0, "AMD EPYC").source
    assert energy.boundary("somebody's meter") == ""


def test_a_voice_that_does_not_stream_is_heard_when_its_sentence_is_done():
    whole = voice("hibari", metric="latency_ms_p50", value=15.0, ci=(14.0, 16.0))
    streams = voice("vits-joe", metric="first_audio_ms", value=9.0, ci=(8.0, 10.0))
    said = need("first_audio_ms", frame(whole, streams))
    assert "As it comes: vits-joe baseline on onnxruntime/cpu (9 ms [8, 10];" in said
    said = need("first_audio_ms", frame(whole))
    assert "hibari baseline on onnxruntime/cpu (15 ms [14, 16], the whole sentence;" in said


def made_of(system, variant, rtfx, word, base="baseline"):
    """A variant with what a verdict needs: "without audible loss", or "worse"."""
    shift = 0.0 if word == "without audible loss" else 1.0
    on = {"notebook": "04_pruning_quantization", "target": "onnxruntime/cpu"}
    made = voice(system, variant, metric="throughput_rtfx", value=rtfx, ci=(rtfx - 1, rtfx + 1), **on)
    differences = {
        "wer": (shift, shift - 0.002, shift + 0.002),
        "mos_predicted": (-shift, -shift - 0.01, -shift + 0.01),
        "speaker_similarity": (0.0, -0.001, 0.001),
    }
    made = [one for one in made if one["metric"] != "mos_predicted"]
    for metric, (value, low, high) in differences.items():
        about = {"difference": value, "ci_low": low, "ci_high": high, "p_value": 0.5, "sd": 0.01, "n": 40}
        number = 4.4 if metric == "mos_predicted" else 0.1
        one = row(system, variant, "onnxruntime/cpu", metric, number, baseline=base, detail=about)
        made.append(one | {"notebook": "04_pruning_quantization"})
    return made


def test_what_was_done_to_a_voice_is_told_beside_the_same_voice_of_the_same_run():
    on_04 = {"notebook": "04_pruning_quantization"}
    on = on_04 | {"metric": "throughput_rtfx"}
    table = frame(
        voice("vits-joe", value=40.0, ci=(39.0, 41.0), **on),
        made_of("vits-joe", "int8-static", 60.0, "worse"),
        made_of("vits-joe", "int8-dynamic", 50.0, "without audible loss"),
        voice(
            "vits-joe", metric="throughput_rtfx", value=99.0, ci=(98.0, 99.5), host="there", time="2026-11-20"
        ),
    )
    said = need("throughput_rtfx", table)
    assert (
        "Smaller: vits-joe int8-dynamic on onnxruntime/cpu (50 s/s [49, 51]; predicted MOS 4.40, 265 MB in use;"
        in said
    )
    assert "not paired with baseline; without audible loss)" in said, "another bench's number is no comparison"
    speedup = {"value": 1.25, "ci_low": 1.2, "ci_high": 1.3}
    rtf = row("vits-joe", "int8-dynamic", "onnxruntime/cpu", "rtf", 0.02, detail=BENCH | {"speedup": speedup})
    paired = need("throughput_rtfx", results.frame([*table.to_dict("records"), rtf | on_04]))
    assert "1.25 [1.2, 1.3] times the speed of baseline; without audible loss)" in paired
    assert "int8-static" not in said and "99 s/s" not in said
    assert (
        "Distilled: nothing was measured of any." in said and "Fine-tuned: nothing was measured of any." in said
    )
    shown = needs.table(table).set_index("variant")
    assert shown.loc["int8-static", "heard"] == "worse, beside baseline"
    assert set(shown["done to it"]) == {"as it comes", "smaller"}
    said = need("throughput_rtfx", frame(made_of("vits-joe", "int8-static", 60.0, "worse")))
    assert "Smaller: none is offered (vits-joe int8-static: worse)." in said
    unjudged = [one for one in made_of("vits-joe", "int8-static", 60.0, "worse") if one["metric"] != "wer"]
    said = need("throughput_rtfx", frame(unjudged))
    assert "none is offered (vits-joe int8-static: nobody judged it beside baseline)." in said


def told(name, *rows):
    asked = [floor for floor in floors_deployed.floors() if floor.name == name]
    return floors.lines(frame(*rows), asked)[0]


def test_a_voice_as_it_is_on_another_runtime_meets_a_floor_of_deployment():
    def rtf(value, target, variant="baseline"):
        bench = {"rounds": 3, "threads": 2, "load_before": 1.1, "load_after": 1.2}
        return row("vits-joe", variant, target, "rtf", value, (0.95 * value, 1.05 * value), detail=bench)

    slow = rtf(0.1, "torch/cpu")
    line = told("voice vits-joe", slow, rtf(0.05, "onnxruntime/cpu"))
    assert line.word == MET and line.ours.startswith(
        "baseline on onnxruntime/cpu: 2 [1.81, 2.21] times as fast"
    )
    assert told("voice vits-joe", slow, rtf(0.066, "onnxruntime/cpu")).word == UNDECIDED
    assert told("voice vits-joe", slow, rtf(0.001, "torch/cuda-h100")).word == NOT_RUN, "a GPU is no processor"
    unheard = told("voice vits-joe", slow, rtf(0.01, "onnxruntime/cpu", "int8-static"))
    assert unheard.word == NOT_RUN and "nobody judged it" in unheard.why
    assert told("voice vits-joe", slow).word == NOT_RUN


def test_the_rows_of_npus_are_of_both_vendors_and_of_devices_with_room():
    hexagon = chunk("qnn/sa8255", 200, 16.8, snr=21.0)
    fits, large = ({"sram_memory_used": kib, "dram_memory_used": 0.0} for kib in (1206.4, 9606.4))
    ethos = "vela/ethos-u55-256"
    small = chunk(ethos, 200, 9.0, stage="decoder-int8", model=fits, snr=14.0)
    line = told("vits-joe decoder on NPUs", hexagon, small)
    assert line.word == MET and "decoder-a8w8 on qnn/sa8255 16.8 ms, simulated, 21 dB" in line.ours
    for other in ([], chunk(ethos, 200, 9.0, stage="decoder-int8", model=large)):
        line = told("vits-joe decoder on NPUs", hexagon, other)
        assert line.word == NOT_RUN and "no row for Ethos-U" in line.why
    assert "npu=install" in told("vits-joe decoder on NPUs").why
    assert np.all([one.label in stages.NAMES for one in simulated.read(frame(hexagon))])


def test_noise_misses_a_floor_of_npus_and_what_nobody_compared_decides_nothing():
    name, ethos = "hifigan generator on NPUs", "vela/ethos-u85-1024"
    used = {"system": "hifigan", "model": {"sram_memory_used": 380.0, "dram_memory_used": 9.0}}
    hexagon = chunk("qnn/sa8797", 200, 9.31, system="hifigan", stage="generator-a8w8", snr=21.0)
    noise = chunk(ethos, 200, 34.8, stage="generator-int8", snr=8.0, **used)
    line = told(name, hexagon, noise)
    assert line.word == MISSED and f"generator-int8 on {ethos} 34.8 ms, simulated, 8 dB" in line.why
    sound = chunk("vela/ethos-u65-512", 200, 90.0, stage="generator-a16w8", snr=30.0, **used)
    assert told(name, hexagon, noise, sound).word == MET, "another of the family computes the same"
    unchecked = chunk(ethos, 200, 9.0, stage="generator-int8", **used)
    line = told(name, hexagon, unchecked)
    assert line.word == UNDECIDED and "9 ms, simulated, its numbers unchecked" in line.why
    shorter = chunk(ethos, 25, 2.0, stage="generator-int8", snr=15.0, **used)
    line = told(name, hexagon, unchecked, shorter)
    assert line.word == UNDECIDED and "checked in chunks of 25 frames alone, 15 dB" in line.why
