"""A student goes to the zoo with what its study measured, or not at all."""

import json

import pandas as pd
import pytest
from test_ladder import KNOWN, judged

from lib import publish_student, results
from lib.errors import MissingDataError
from lib.studies import ladder
from lib.systems import checkpoint
from lib.systems.tortoise import students
from lib.training import checkpoint as checkpoints
from lib.training import recipe as recipes

FOUND = {"distilled-2": (2, "distilled-2", (0.0, 0.05)), "unipc-8": (8, "", (0.0, 0.05))}


@pytest.fixture
def study(tmp_path):
    """A study's folder with one student, rows that judge it, and no network worth the name."""
    rows = judged(tmp_path / "results", FOUND)
    run = results.Run("05_distillation", tmp_path)
    for variant in (*FOUND, "converged"):
        for metric, value in (
            ("mos_predicted", 3.9),
            ("wer", 0.083),
            ("asr_nll", 0.5),
            ("speaker_similarity", 0.9),
        ):
            baseline = "" if variant == "converged" or metric == "asr_nll" else "converged"
            detail = rows[(rows.variant == variant) & (rows.metric == metric)].detail
            given = json.loads(detail.iloc[0]) if len(detail) else ""
            run.add(
                "tortoise", variant, "torch/cpu", metric, value, n=40, ci=(value - 0.01, value + 0.01),
                source="test", baseline=baseline, detail=given,
            )  # fmt: skip
    for variant, (evaluations, student, _) in FOUND.items():
        run.add("tortoise", variant, "torch/cpu", "nfe", evaluations, source="counted")
        distance = KNOWN[KNOWN.walk == variant].distance.iloc[0]
        detail = {"sampler": "ddim", "student": student, "spacing": "even", "guidance": 0.0}
        detail |= {"steps": evaluations, "evaluations": evaluations, "decoder_s_per_audio_s": 0.01}
        name = variant + ladder.SUFFIX
        run.add("tortoise", name, "torch/cpu", "mel_distance_db", distance, n=8, source="test", detail=detail)
    home = tmp_path / "students" / "distilled-2"
    about = students.Student("halving", 2, 0.0, (0.5, 0.5), "distilled-4", "key")
    students.save(home, about, {}, "# distilled-2\n\nA student.\n")
    recipe = recipes.find("study", "tortoise-student")
    checkpoints.save(home / "run" / "checkpoints", checkpoints.Checkpoint(5, {}, {}), recipe, keep=1)
    return tmp_path


def test_a_card_says_what_the_study_measured(study, tmp_path):
    (place,) = publish_student.publish(study, ["distilled-2"], tmp_path / "zoo")
    assert students.about(place).teacher == "distilled-4"
    card = (place / checkpoint.CARD).read_text()
    assert card.startswith(
        "# distilled-2\n\nA student.\n\n- data: vits-joe and hibari reading 800 sentences each"
    )
    assert "| **distilled-2** | 2 | 0.20 | 3.90 [3.89, 3.91] | 8.3 [7.3, 9.3] | 0.500 [0.490, 0.510] | " in card
    assert "| without audible loss |" in card and "| unipc-8, untrained | 8 | 0.30 |" in card
    assert "| teacher, converged | 64 | 0.00 |" in card and "on 40 held-out sentences" in card
    assert "mels of 8 validation sentences" in card


def test_a_student_that_nobody_judged_stays_where_it_is(study, tmp_path, capsys):
    with pytest.raises(MissingDataError, match="does not judge distilled-1, only distilled-2, unipc-8"):
        publish_student.publish(study, ["distilled-1"], tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
    assert publish_student.main([str(study), "distilled-1"]) == 2
    assert "judged_students" in capsys.readouterr().err
    assert isinstance(results.read(study / "results"), pd.DataFrame)
