"""The clips of a run as a data set: `datasets` loads it offline, it says what made every clip, and it is whole or not
there.
"""

import hashlib
import io
import json
import os

import numpy as np
import pytest
import soundfile
import yaml

from lib import audio, evaluation_card, evaluation_set, results, systems
from lib.errors import AudioError, MissingDataError, OutputError, ParameterError
from lib.measure import evaluate
from lib.measure.scorer import Scorer
from lib.systems import licences

TEXTS = {"botchan-00000001": "We had dinner at half past six.", "prompt-thanks": "Thank you for calling."}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """outputs/quick as a run leaves it: two clips of two voices, one without a text, rows of two kinds."""
    from lib.corpora.base import Sentence

    run = results.Run("01_baselines", tmp_path_factory.mktemp("outputs") / "quick", seed=3)
    for name in ("hibari", "espeak-ng"):
        voice = systems.load(name, threads=1)
        texts = [Sentence(key, text, "test") for key, text in TEXTS.items()]
        for clip in evaluate.speak(voice, texts, seed=3):
            evaluate.keep_clip(run, (voice.name, "baseline", voice.target), clip, "Test")
    rng = np.random.default_rng(0)
    tone = (0.1 * np.sin(np.arange(16_000) / 20) + 0.01 * rng.standard_normal(16_000)).astype(np.float32)
    run.clip("ground-truth", "corpus", "prompt-beep", tone, 16_000, "", target="recording/prompts")
    run.add("hibari", "baseline", "onnxruntime/cpu", "rtf", 0.005, n=8, ci=(0.004, 0.006), source="bench")
    run.not_run("hibari", "baseline", "torch/cuda", "rtf", "no CUDA device on this machine")
    return run.folder


@pytest.fixture(scope="module")
def made(finished):
    return evaluation_set.build(finished, scorer=Scorer(threads=1), scores=("wer", "dnsmos_ovrl"))


def test_datasets_loads_it_offline(made, monkeypatch, tmp_path):
    import datasets

    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    loaded = datasets.load_dataset(str(made), split="test", cache_dir=str(tmp_path))
    assert len(loaded) == 5
    loaded = loaded.cast_column("audio", datasets.Audio(decode=False))
    by_who = {(line["system"], line["sentence"]): line for line in loaded}
    line = by_who["hibari", "botchan-00000001"]
    assert line["text"] == TEXTS["botchan-00000001"] and line["seed"] == 3 and line["words"] == 7
    assert by_who["hibari", "prompt-thanks"]["seed"] == 4
    samples, rate = soundfile.read(io.BytesIO(line["audio"]["bytes"]), dtype="float32")
    waveform, _ = audio.load(made / "clips" / line["audio"]["path"])
    assert np.array_equal(samples, waveform)
    assert rate == line["sample_rate"] == 24_000 and len(waveform) / rate == pytest.approx(
        line["seconds"], abs=1e-3
    )
    assert line["fingerprint"] == systems.load("hibari", threads=1).fingerprint()
    assert line["wer"] == line["word_errors"] / 7 and 1 <= line["dnsmos_ovrl"] <= 5 and line["transcript"]
    assert by_who["espeak-ng", "botchan-00000001"]["fingerprint"] != line["fingerprint"]
    person = by_who["ground-truth", "prompt-beep"]
    assert person["wer"] is None and person["seed"] is None and person["dnsmos_ovrl"] is not None
    assert "CC-BY-SA-3.0" in person["licence"] and "public domain" in line["text_source"]
    rows = datasets.load_dataset(
        "json", data_files=str(made / "measurements.jsonl"), split="train", cache_dir=str(tmp_path)
    )
    assert rows.filter(lambda row: row["kind"] == "measured")[0]["value"] == 0.005 and len(rows) == 2


def test_files_are_those_of_the_run_and_hashed(made, finished):
    lines = [json.loads(line) for line in (made / "clips" / "metadata.jsonl").read_text().splitlines()]
    assert lines == sorted(lines, key=lambda line: line["file_name"])
    for line in lines:
        data = (made / "clips" / line["file_name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == line["sha256"]
        assert (finished / "audio" / "01_baselines" / line["file_name"].partition("__")[2]).read_bytes() == data
    named = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    kept = {f"clips/{line['file_name']}" for line in lines}
    assert named == kept | {
        "clips/metadata.jsonl",
        "clips.parquet",
        "measurements.jsonl",
        "environment.json",
        "README.md",
    }


def test_the_datasheet_is_a_card_and_says_what_is_there(made):
    text = (made / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    card = yaml.safe_load(front)
    assert card["license"] == "other" and card["size_categories"] == ["n<1K"] and card["language"] == ["en"]
    assert "5 clips" in body and "2 measurements" in body and "profile `quick`" in body
    assert "Seeds: 01_baselines 3." in body and "Kokoro" in body and "CC-BY-SA-3.0" in body
    assert "| hibari | baseline | onnxruntime/cpu | 2 | `" in body and "Project Gutenberg" in body
    from lib.measure.scorer import source

    assert source("wer") in body and source("dnsmos_ovrl") in body


def test_the_same_run_gives_the_same_bytes(made, finished, tmp_path):
    again = evaluation_set.build(
        finished, tmp_path / "again", scorer=Scorer(threads=1), scores=("wer", "dnsmos_ovrl")
    )
    for path in made.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(made)).read_bytes() == path.read_bytes(), path.name


def test_it_takes_no_other_folders_place(finished, tmp_path):
    settings = {"scorer": Scorer(threads=1), "scores": ()}
    somebodys = tmp_path / "thesis"
    somebodys.mkdir()
    (somebodys / "chapter.tex").write_text("text")
    with pytest.raises(OutputError, match="no data set of clips"):
        evaluation_set.build(finished, somebodys, replace=True, **settings)
    out = evaluation_set.build(finished, tmp_path / "set", **settings)
    assert "no scores of their own" in (out / "README.md").read_text()
    with pytest.raises(ParameterError, match="--replace"):
        evaluation_set.build(finished, out, **settings)
    (out / "stale.txt").write_text("of the older one")
    assert evaluation_set.build(finished, out, replace=True, **settings) == out
    assert not (out / "stale.txt").exists()
    assert sorted(os.listdir(tmp_path)) == ["set", "thesis"]


def test_what_fails_half_way_leaves_the_older_set_and_nothing_else(finished, tmp_path, monkeypatch):
    settings = {"scorer": Scorer(threads=1), "scores": ()}
    out = evaluation_set.build(finished, tmp_path / "set", **settings)
    before = (out / "README.md").read_bytes()
    monkeypatch.setattr(evaluation_set, "card", lambda facts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluation_set.build(finished, out, replace=True, **settings)
    with pytest.raises(ZeroDivisionError):
        evaluation_set.build(finished, tmp_path / "new", **settings)
    assert os.listdir(tmp_path) == ["set"] and (out / "README.md").read_bytes() == before


def test_what_is_missing_or_damaged_is_named(finished, tmp_path):
    with pytest.raises(MissingDataError, match="no clips under .*run ./run_all.sh empty first"):
        evaluation_set.build(tmp_path / "empty")
    path, said = evaluation_set.offered(tmp_path / "empty", Scorer(threads=1))
    assert path is None and said.startswith("No data set: no clips under")
    run = results.Run("01_baselines", tmp_path / "quick")
    path = run.clip("hibari", "baseline", "a", np.sin(np.arange(8_000) / 9).astype(np.float32), 16_000, "a b")
    path.write_bytes(b"fLaC")
    with pytest.raises(AudioError, match="truncated"):
        evaluation_set.build(tmp_path / "quick", scorer=Scorer(threads=1), scores=())
    assert not (tmp_path / "quick" / "dataset").exists()


def test_the_command_says_in_one_line_what_is_wrong(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPEECH_OUTPUTS", str(finished.parent))
    assert evaluation_set.main(["quick", "--out", str(tmp_path / "set"), "--no-scores"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "set")
    assert evaluation_set.main(["smoke"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("run_all.sh dataset: no clips under") and "\n" not in said
    assert evaluation_set.main(["quik"]) == 2 and "did you mean 'quick'" in capsys.readouterr().err


def test_every_pupil_stands_under_its_teachers_licence():
    assert "joe" in licences.of("fastspeech2") and "Kokoro" in licences.of("fastspeech2", "istft@hibari")
    assert licences.of("facebook/mms-tts-eng") == licences.UNKNOWN
    assert evaluation_card.text_licence("harvard-01") == "not known here"
