"""A VITS voice that was trained apart stands beside the learnt ones, or a row says how to make one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lib import results
from lib.errors import MissingDataError
from lib.studies import trained_vits


@pytest.fixture
def run(tmp_path):
    return results.Run("03_finetuning", tmp_path / "quick")


def test_without_a_run_a_row_says_how_to_make_one(run, tmp_path):
    assert trained_vits.judged(run, tmp_path / "none", None, n_sentences=2) is None
    (row,) = results.read(run.path).itertuples()
    assert (row.system, row.variant, row.kind) == ("vits-joe", "full@prompts", "not_run")
    first, second = row.detail.index("recipes/vits-lacking.yaml"), row.detail.index("recipes/vits-prompts.yaml")
    assert first < second and "holds no trained voice" in row.detail


def test_a_trained_voice_reads_what_its_base_reads(run, tmp_path, monkeypatch):
    asked = []

    class Jury:
        def __init__(self, run, person, scorer, keep):
            self.person = person

        def hear(self, names, clips):
            asked.append((names, clips))
            return names

    voice = SimpleNamespace(size_mb=63.0)
    monkeypatch.setattr(trained_vits, "Jury", Jury)
    monkeypatch.setattr(trained_vits, "exported", lambda folder: (250, tmp_path / "published"))
    monkeypatch.setattr(trained_vits.persons, "known", lambda *_: SimpleNamespace(sentences=("one", "two")))
    monkeypatch.setattr(
        trained_vits.systems, "load", lambda *_, checkpoint=None, **__: voice if checkpoint else "base"
    )
    monkeypatch.setattr(trained_vits.evaluate, "speak", lambda system, sentences: (system, sentences))
    names = ("vits-joe", "full@prompts", "onnxruntime/cpu")
    assert trained_vits.judged(run, tmp_path, None, n_sentences=2) == names
    assert asked == [
        (("vits-joe", "unadapted@prompts", "onnxruntime/cpu"), ("base", ("one", "two"))),
        (names, (voice, ("one", "two"))),
    ]
    (row,) = results.read(run.path).itertuples()
    assert row.metric == "size_mb" and '"step": 250' in row.detail and '"steps": 20000' in row.detail


def test_a_person_who_cannot_be_had_costs_one_row(run, tmp_path, monkeypatch):
    monkeypatch.setattr(trained_vits, "exported", lambda folder: (250, tmp_path))

    def nobody(*_):
        raise MissingDataError("no apt here")

    monkeypatch.setattr(trained_vits.persons, "known", nobody)
    assert trained_vits.judged(run, tmp_path, None, n_sentences=2) is None
    assert list(results.read(run.path).detail) == ["no apt here"]
