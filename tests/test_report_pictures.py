"""Pictures show what the numbers say, and the sentence beside each is computed from the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_report import row

from lib import features, results
from lib.report import curves, labels, pipeline, plots, spectra, style
from lib.systems.base import Speech

RATE = 22_050


def costs_rows():
    return [
        row("espeak-ng", "rtf", 0.004, ci=(0.003, 0.005), target="native/cpu"),
        row("hibari", "rtf", 0.008, ci=(0.007, 0.009)),
        row("vits-joe", "rtf", 0.06, ci=(0.05, 0.07), recorded=True),
        row("hibari", "size_mb", 7.9),
        row("vits-joe", "size_mb", 63.2),
        row("hibari", "energy_j_per_audio_s", 0.07, kind="estimated"),
        row("vits-joe", "energy_j_per_audio_s", 0.7, kind="estimated"),
        row("vits-joe", "rtf", 0.001, variant="int4"),
        row("whisper-tiny.en", "rtf", 0.001),
        row("hibari", "rtf", 0.0001, kind="published", source="somebody"),
    ]


def test_bars_start_at_zero_carry_their_interval_and_say_what_is_estimated():
    figure = plots.costs(costs_rows())
    rtf, size, energy = figure.axes
    assert [t.get_text() for t in rtf.get_yticklabels()] == [
        "espeak-ng",
        "hibari",
        "vits-joe",
    ]  # the cheapest first
    assert [bar.get_width() for bar in rtf.patches] == [0.004, 0.008, 0.06] and rtf.get_xlim()[0] == 0
    assert [bar.get_hatch() for bar in (*rtf.patches, *size.patches)] == [""] * 5
    assert {bar.get_hatch() for bar in energy.patches} == {"////"}
    ends = [sorted(x for x, _ in line.get_segments()[0]) for line in rtf.collections]
    assert np.allclose(ends, [[0.003, 0.005], [0.007, 0.009], [0.05, 0.07]])
    assert rtf.patches[2].get_alpha() < rtf.patches[1].get_alpha()  # recorded
    assert figure.legends[0].get_texts()[0].get_text() == "estimated"
    assert plots.costs([row("hibari", "wer", 0.1)]) is None


def test_the_finding_on_costs_names_the_best_and_the_next():
    said = plots.costs_finding(costs_rows())
    assert said == (
        "Fastest is **espeak-ng** (0.004 s/s), 2.0 times as fast as hibari; smallest to download is **hibari** "
        "(7.9 MB), 8.0 times as small as vits-joe; most frugal is **hibari** (0.07 J/s, estimated), 10.0 times as "
        "frugal as vits-joe."
    )
    assert plots.costs_finding(costs_rows()[:1]) is None


def test_the_finding_on_the_front_leaves_out_earlier_runs():
    rows = [
        row(system, metric, value, recorded=system == "tortoise")
        for system, values in {"hibari": (0.01, 4.5), "vits-joe": (0.06, 4.1), "tortoise": (0.001, 4.9)}.items()
        for metric, value in zip(("rtf", "mos_predicted"), values)
    ]
    assert plots.pareto_finding(rows) == "**hibari** is both the fastest and the best rated."
    assert plots.pareto_finding(rows[:2]) is None


def test_the_finding_on_stages_is_the_largest_share():
    stages = '{"stages": {"phonemes": 0.01, "acoustic_model": 0.02, "vocoder": 0.07}}'
    said = plots.stages_finding([row("fastspeech2", "rtf", 0.1, detail=stages)])
    assert said == "The vocoder takes the largest share of fastspeech2 (70 %)."


def test_names_hide_no_point_and_no_other_name():
    import matplotlib.pyplot as plt

    points = [
        (0.060, 4.06),
        (0.096, 4.06),
        (0.078, 3.92),
        (0.106, 3.88),
        (0.163, 3.92),
        (0.2, 3.95),
        (0.0087, 4.55),
    ]
    with style.theme():
        figure, axes = plt.subplots(figsize=(8.6, 4.6), layout="constrained")
        axes.set(xscale="log", xlim=(0.002, 0.4), ylim=(2, 5))
        names = [f"a rather long name {i}" for i in range(len(points))]
        labels.place(axes, names, points, points=points)
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    places = axes.transData.transform(points)
    plt.close(figure)
    assert len(boxes) == len(points)
    assert not any(box.contains(*place) for box in boxes for place in places)
    shrunk = [box.shrunk(0.95, 0.8) for box in boxes]
    assert not any(a.overlaps(b) for i, a in enumerate(shrunk) for b in shrunk[:i])
    frame = axes.get_window_extent().expanded(1.02, 1.02)
    assert all(frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1) for box in boxes)


@pytest.mark.parametrize(
    ("seconds", "way"),
    [
        (
            {"phonemes": 1, "encoder": 1, "decoder": 1, "vocoder": 1},
            ["text-phones", "phones-mel", "phones-mel", "mel-waveform"],
        ),
        (
            {"phonemes": 1, "text_encoder": 1, "decoder": 2},
            ["text-phones", "phones-waveform", "phones-waveform"],
        ),
        ({"synthesis": 1}, ["text-waveform"]),
    ],
)
def test_each_stage_lies_between_two_forms(seconds, way):
    stages = pipeline.stages_of(seconds)
    assert [f"{pipeline.FORMS[s.begin]}-{pipeline.FORMS[s.end]}" for s in stages] == way
    assert sum(s.share for s in stages) == pytest.approx(1)


class Voice:
    """A voice with two networks, of which the vocoder has two parts."""

    name, variant, target = "fastspeech2", "baseline", "torch/cpu"
    modules = {
        "acoustic_model": torch.nn.Linear(1000, 2000, bias=False),
        "vocoder.front": torch.nn.Linear(1000, 500, bias=False),
        "vocoder.decoder": torch.nn.Linear(1000, 500, bias=False),
    }

    def prepare(self): ...

    def synthesize(self, text, seed=0):
        waveform = np.sin(np.arange(RATE) / 20).astype(np.float32)
        return Speech(
            waveform,
            RATE,
            {"phonemes": 0.0, "acoustic_model": 0.01, "vocoder": 0.03},
            ("^", "a", "$"),
            (1, 2, 1),
        )


def test_the_way_from_text_to_waveform_is_drawn_with_shares_and_sizes():
    spoken = pipeline.speak({"ours": Voice()}, "Well.")
    assert [s.params_m for s in spoken["ours"].stages] == [None, 2.0, 1.0]
    texts = {t.get_text() for axes in pipeline.draw(spoken).axes for t in axes.texts}
    assert {"Well.", "a", "ours", "acoustic model\n25 %, 2.0 M", "vocoder\n75 %, 1.0 M"} <= texts
    assert (
        pipeline.finding(spoken)
        == "ours goes by way of a mel spectrogram. Here ours spends 75 % of its time in its vocoder."
    )


def test_measured_times_of_stages_are_preferred(tmp_path):
    run = results.Run("01_demo", tmp_path)
    detail = {"stages": {"phonemes": 0.0, "acoustic_model": 0.09, "vocoder": 0.01}}
    run.add("fastspeech2", "baseline", "torch/cpu", "rtf", 0.1, detail=detail)
    spoken = pipeline.speak({"ours": Voice()}, "Well.", table=results.read(run.path))
    assert [round(s.share, 2) for s in spoken["ours"].stages] == [0.0, 0.9, 0.1]


def noise(seed=0, seconds=1.0):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(RATE * seconds))).astype(np.float32)


def test_copies_stand_on_one_scale_with_their_difference():
    original = noise()
    made = {"same": (original, RATE), "half": (original / 2, RATE)}
    figure = spectra.copies((original, RATE), made)
    images = [axes.images[0] for axes in figure.axes if axes.images and axes.get_title("left")]
    scales = {image.get_clim() for image in images}
    assert len(images) == 5 and len(scales) == 2  # three mels on one scale, two differences on another
    gaps = [image.get_array().mean() for image in images[3:]]
    assert gaps == pytest.approx([0.0, -6.02], abs=0.05)  # half the amplitude: 6 dB less
    said = spectra.copies_finding((original, RATE), made)
    assert said.index("same 0.0 dB") < said.index("half 6.0 dB")


def test_the_reach_of_a_band_limited_clip_is_its_edge():
    times = np.arange(RATE) / RATE
    low = sum(np.sin(2 * np.pi * f * times) for f in range(100, 2001, 100))
    assert spectra.reach((low, RATE)) == pytest.approx(2000, abs=2)
    said = spectra.mels_finding(
        {"low": (low, RATE), "white": (noise(), RATE), "mel": features.log_mel(noise())}
    )
    assert "in white, which reaches highest" in said and "2.0 kHz in low, the lowest of the 2" in said


def test_findings_on_curves_and_sweeps(tmp_path):
    records = [{"step": s, "mel": 1.0, "validation": {"mel": v}} for s, v in ((0, 1.0), (75, 0.5), (100, 0.45))]
    assert curves.learning_finding({"fastspeech2": (records, None)}) == (
        "The losses fell: fastspeech2 from 1 to 0.45 (validation mel, 100 steps; by 10 % in the last quarter)."
    )
    assert curves.learning_finding({}) is None
    rising = [{"step": s, "validation": {"mel_l1": v}} for s, v in ((1000, 0.241), (3000, 0.27), (5520, 0.259))]
    assert curves.learning_finding({"fastspeech2": (records, None), "istft": (rising, None)}) == (
        "The losses fell: fastspeech2 from 1 to 0.45 (validation mel, 100 steps; by 10 % in the last quarter). "
        "Not so istft from 0.241 to 0.259 (validation mel_l1, 5,520 steps): such a training follows more losses "
        "than this."
    )
    run = results.Run("01_demo", tmp_path)
    for variant, size, wer, steps in (("size-base", 3.0, 0.1, 5.0), ("size-large", 6.0, 0.08, 2.0)):
        for metric, value in (("params_m", size), ("wer", wer), ("train_steps_per_s", steps)):
            run.add("fastspeech2", variant, "torch/cpu", metric, value)
    table, names = results.read(run.path), ("size-base", "size-large")
    said = curves.sweep_finding(table, "params_m", ["wer", "train_steps_per_s"], names, prefix="size-")
    assert (
        said == "Best of 2: WER, normalised 8.0 % by large (6.00 M); Training steps 5.00 1/s by base (3.00 M)."
    )
    assert curves.sweep_finding(table, "params_m", ["wer"], names[:1]) is None
