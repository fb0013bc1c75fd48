"""The ladder's study: placements, counted evaluations, the best rival, what is said of students, on known numbers."""

import dataclasses
import json
import math

import pandas as pd
import pytest
import torch
from acoustic_checks import FASTSPEECH2

from lib import params, results
from lib.errors import ParameterError
from lib.optimize import distill
from lib.report import ladder as charts
from lib.studies import distillation_claim, gains, ladder, placement, schooling, student_goals, students, walked
from lib.systems import tortoise
from lib.systems.fastspeech2.config import NetworkConfig as FrontConfig
from lib.systems.tortoise.diffusion import Sampling, Schedule

FRONT = FrontConfig(**FASTSPEECH2)
SIZES = tortoise.NetworkConfig(channels=16, heads=2, layers=1, end_layers=1, front=FRONT)


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    """A small untrained tortoise whose decoder has its say."""
    network = tortoise.build(SIZES, 1)
    torch.manual_seed(0)
    for parameter in network.decoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    folder = tortoise.checkpoints.save(
        tmp_path_factory.mktemp("base"), SIZES, ("vits-joe",), network.state_dict(), "the base"
    )
    made = tortoise.Tortoise(folder, threads=1)
    made.origin = {"system": "tortoise", "target": "torch/cpu", "checkpoint": str(folder), "settings": {}}
    return made


@pytest.fixture
def reading(voice):
    said = tuple(
        (torch.randn(1, n, FRONT.hidden, generator=torch.Generator().manual_seed(n)), torch.tensor([0]))
        for n in (9, 14)
    )
    return ladder.Reading(voice, said, 0.5)


def test_a_placement_is_found_and_never_crosses_itself():
    wanted, seen = (3999, 1700, 600, 30), []

    def cost(places):
        seen.append(places)
        return sum((a - b) ** 2 for a, b in zip(places, wanted))

    found, lowest = placement.search(cost, (3999, 2999, 1999, 999), reaches=(400, 100, 20, 5, 1))
    assert found == wanted and lowest == 0
    assert all(a > b >= 0 for places in seen for a, b in zip(places, places[1:]))
    assert {places[0] for places in seen} == {3999}
    assert placement.search(cost, (3999, 5, 4, 3), reaches=(9,))[1] <= cost((3999, 5, 4, 3))


def test_walks_cost_what_was_asked_for():
    made = ladder.walks([1, 2, 3, 8], 0.5, samplers=["ddim", "unipc"], placements={2: (3999, 700)})
    names = [walk.name for walk in made]
    assert names[:4] == ["ddim-1", "ddim-2", "ddim-3", "ddim-8"] and len(names) == len(set(names)) == 16
    assert "unipc-2-optimised" in names and "unipc-3-optimised" not in names and "ddim-1-log-snr" not in names
    assert all(walk.evaluations == walk.how.steps for walk in made)
    guided = ladder.walks([1, 2, 3, 8], 0.5, samplers=["ddim"], spacings=["even"], guidance=1.0)
    assert [(w.name, w.how.steps, w.evaluations) for w in guided] == [
        ("ddim-1-guided", 1, 2),
        ("ddim-4-guided", 4, 8),
    ]
    taught = ladder.Walk("distilled-4", guided[1].how, "distilled-4")
    assert taught.evaluations == 4  # folded in


def test_steps_that_would_fall_together_are_left_out(voice):
    """The evaluations of the study, on the schedule of the zoo: 80 steps by log-SNR were an error in its first cell."""
    asked = params.load("study", params.find_notebook("05_distillation"))
    made = ladder.walks(
        asked["evaluations"], 0.5, samplers=["ddim"], spacings=["even", "log-snr"], schedule=Schedule("cosine")
    )
    names = {walk.name for walk in made}
    assert {"ddim-80", "ddim-31", "ddim-31-log-snr"} <= names and "ddim-80-log-snr" not in names
    assert all(walk.how.grid(Schedule("cosine")) for walk in made)


def test_every_walk_is_measured_from_the_same_noise(voice, reading, tmp_path):
    run = results.Run("05_distillation", tmp_path)
    walks = ladder.walks([1, 4, 16], 0.5, samplers=["dpm++"], spacings=["even"])
    same = ladder.Walk("itself", Sampling("dpm++", ladder.CONVERGED, temperature=0.5))
    taught = ladder.Walk("twin-4", dataclasses.replace(walks[1].how, sampler="dpm++"), "twin")
    ladder.measure(run, reading, [*walks, same, taught], {"twin": voice.modules["decoder"]})
    known = walked.known(results.read(run.path)).set_index("walk")
    assert known.distance["itself"] == 0 and known.evaluations.tolist() == [1, 4, 16, ladder.CONVERGED, 4]
    assert known.distance["dpm++-1"] > known.distance["dpm++-4"] > known.distance["dpm++-16"] > 0
    assert known.distance["twin-4"] == known.distance["dpm++-4"]
    assert (known.decoder_s_per_audio_s > 0).all()
    with pytest.raises(ParameterError, match="no decoder was given of the students twin"):
        ladder.measure(run, reading, [taught])


def test_placements_beat_where_they_began_and_are_remembered(reading, monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    goals = ladder.converged(reading)
    found = ladder.placed(reading, [1, 2, 3], goals)
    assert set(found) == {2, 3} and all(len(t) == n and t[0] == 3999 for n, t in found.items())

    def apart(**how):
        drawn = ladder.draw(reading, Sampling("dpm++", 3, temperature=0.5, **how))
        return sum(ladder.distances_db(drawn, goals))

    assert apart(timesteps=found[3]) <= min(apart(), apart(spacing="log-snr"))
    monkeypatch.setattr(placement, "search", None)
    assert ladder.placed(reading, [2, 3]) == found


def walk(name, evaluations, distance, student="", guidance=0.0, spent=None):
    return {
        "walk": name,
        "sampler": name.partition("-")[0],
        "student": student,
        "spacing": "even",
        "guidance": guidance,
        "steps": evaluations,
        "evaluations": evaluations,
        "decoder_s_per_audio_s": spent or 0.01 * evaluations,
        "distance": distance,
        "n": 2,
        "table": 0,
        "line_minutes": 0.0,
        "recorded": False,
    }


KNOWN = pd.DataFrame(
    [
        walk("ddim-2", 2, 3.0),
        walk("unipc-4", 4, 1.0),
        walk("dpm++-4", 4, 1.2),
        walk("unipc-8", 8, 0.3),
        walk("ddim-2-guided", 4, 0.1, guidance=1.0),
        walk("distilled-1", 1, 0.9, "distilled-1"),
        walk("distilled-4", 4, 1.1, "distilled-4"),
        walk("distilled-2", 2, 0.2, "distilled-2"),
    ]
)


def test_the_rival_is_the_cheapest_that_is_as_good():
    assert walked.rival(KNOWN, 1.1).walk == "unipc-4"
    assert walked.rival(KNOWN, 5.0).walk == "ddim-2"
    assert walked.rival(KNOWN, 0.2) is None  # the guided walk has another goal
    lines = walked.taught(KNOWN).set_index("walk")
    assert lines.index.tolist() == ["distilled-4", "distilled-2", "distilled-1"]
    assert (lines.rival["distilled-1"], lines.ratio["distilled-1"]) == ("unipc-8", 8.0)
    assert lines.rival["distilled-4"] == "unipc-4" and lines.rival["distilled-2"] == ""
    assert lines.untrained["distilled-2"] == 3.0 and math.isnan(lines.untrained["distilled-1"])
    said = walked.finding(KNOWN)
    assert (
        "distilled-4 comes to 1.10 dB with 4; of the training-free walks that were tried the first as near is"
        in said
    )
    assert "distilled-2 comes to 0.20 dB with 2 (3.00 by DDIM untrained), nearer than every" in said
    assert "is unipc-8 with 8" in walked.finding(KNOWN[KNOWN.walk != "distilled-2"])
    even = pd.concat([KNOWN[KNOWN.walk != "distilled-2"], pd.DataFrame([walk("other-1", 1, 0.9, "other-1")])])
    assert "distilled-1 comes to" in walked.finding(even)  # the first of those that gained as much
    drawn = KNOWN[:1].assign(walk="ddpm-2", sampler="ddpm", distance=0.01)
    assert "ddpm" not in walked.rivals(pd.concat([KNOWN, drawn]))  # its distance says nothing
    slow = pd.concat([KNOWN, pd.DataFrame([walk("distilled-16", 16, 0.01, "distilled-16")])])
    told = walked.finding(slow)  # no rival was walked so far: it is ahead of nobody
    assert "distilled-16 comes to 0.01 dB with 16, where no training-free walk of so many was tried (8 at most)" in told
    assert "distilled-2 comes to 0.20 dB with 2 (3.00 by DDIM untrained), nearer than every" in told
    assert walked.finding(slow.assign(recorded=True)).endswith("an order and no more, recorded).")
    of_another_run = KNOWN.assign(table=[*[1] * 5, 0, 1, 0])
    there = walked.finding(of_another_run)
    assert "unipc" not in there and "distilled-4" not in there  # they began in other noise
    more = walked.rivals(pd.concat([KNOWN, KNOWN[:1].assign(table=1, n=8, distance=2.5)]))
    assert "2 2.50 (ddim-2) (on 8" in more and "unipc" not in more
    assert "2 3.00 (ddim-2), 4 1.00 (unipc-4), 8 0.30 (unipc-8)" in walked.rivals(KNOWN)
    assert schooling.folding(KNOWN) is None
    folded = walk("guided-8-converged", ladder.CONVERGED, 0.7, "guided-8") | {"sampler": "student"}
    taught = KNOWN.assign(sampler=KNOWN.sampler.where(KNOWN.student == "", "student"))
    beneath = {"distilled-4": "guided-8", "distilled-2": "distilled-4", "distilled-1": "distilled-2"}
    of_it = pd.concat([taught.assign(teacher=taught.walk.map(beneath)), pd.DataFrame([folded])])
    told = schooling.folding(of_it)
    assert "(guided-8) has moved the converged walk by 0.70 dB: whether" in told
    led = folded | {"walk": "guided-8-converged-guided", "guidance": 1.0, "distance": 0.4}
    both = schooling.folding(pd.concat([of_it, pd.DataFrame([led])]))
    assert "by 0.70 dB and the guided one by 0.40 dB, at weight 1: whether folding costs that" in both
    assert "after all halvings it is 1.10 dB with 4 evaluations and 0.90 dB with 1" in told
    beside = of_it.assign(teacher=of_it.teacher.replace("guided-8", "tortoise"))
    assert "halvings of the teacher itself leave 1.10 dB with 4 evaluations and 0.90" in schooling.folding(
        beside
    )
    assert "guided-8" not in walked.finding(pd.concat([taught, pd.DataFrame([folded])]))
    assert walked.finding(KNOWN[KNOWN.student == ""]) is None and walked.rivals(KNOWN[:0]) is None


def judged(tmp_path, differences):
    """A run's rows: variant -> (evaluations, student, (difference of MOS, half its interval))."""
    run = results.Run("05_distillation", tmp_path)
    for variant, (evaluations, _, (value, half)) in differences.items():
        names = ("tortoise", variant, "torch/cpu")
        run.add(*names, "nfe", evaluations, source="counted")  # as the bench writes it, too
        for metric, scale in (("mos_predicted", 1.0), ("wer", 0.0), ("speaker_similarity", 0.0)):
            detail = {
                "difference": value * scale,
                "ci_low": (value - half) * scale,
                "ci_high": (value + half) * scale,
                "sd": 0.1,
                "n": 40,
                "p_value": 0.5,
            }
            run.add(
                *names, metric, 0.5, n=40, ci=(0.4, 0.6), source="test", baseline="converged", detail=detail
            )
    return results.read(run.path)


def test_every_speed_up_is_said_twice_and_a_rival_as_good_is_admitted(tmp_path):
    found = {
        "distilled-1": (1, "distilled-1", (-0.5, 0.05)),
        "distilled-2": (2, "distilled-2", (0.0, 0.05)),
        "unipc-8": (8, "", (0.0, 0.05)),
        "ddim-2": (2, "", (-0.4, 0.1)),
    }
    table = gains.verdicts(judged(tmp_path / "a", found), KNOWN)
    assert table.variant.tolist() == ["distilled-1", "ddim-2", "distilled-2", "unipc-8"]
    assert table.verdict.tolist() == ["worse", "worse", "without audible loss", "without audible loss"]
    assert table["mel distance, dB"].tolist() == [0.9, 3.0, 0.2, 0.3]
    said = gains.twice(table, KNOWN)
    assert "distilled-2 (2 evaluations, without audible loss) takes 20 ms" in said
    assert "2,000 times less than 4,000 steps would (10.0 ms each)" in said
    assert "4.0 times less than unipc-8 (8 evaluations, without audible loss)" in said
    assert "with fewer evaluations rivals are worse (ddim-2): that the training bought" in said
    assert gains.fewest(table) == (
        "By the verdict of the judges on 40 sentences, without training 8 evaluations are enough (unipc-8, of 2 walks "
        "judged), and 2 are heard to be too few (ddim-2); with a student 2 evaluations are enough (distilled-2, of 2 "
        "walks judged), and 1 are heard to be too few (distilled-1)."
    )
    unsure = table.assign(verdict=table.verdict.where(table.variant != "ddim-2", "undecided"))
    assert "ddim-2 may be as good: what the training bought is not shown" in gains.twice(unsure, KNOWN)
    alone = table[table.variant != "ddim-2"]
    assert "no rival with fewer evaluations was judged" in gains.twice(alone, KNOWN)
    found["ddim-2"] = (2, "", (0.0, 0.05))
    again = gains.twice(gains.verdicts(judged(tmp_path / "b", found), KNOWN), KNOWN)
    assert "1.0 times less than ddim-2" in again and "the training bought nothing" in again
    unsure = table.replace({"verdict": {"without audible loss": "undecided"}})
    mixed = pd.concat([table[table.trained == "yes"], unsure[unsure.trained == "no"]])
    assert "no walk without training that was judged is as good" in gains.twice(mixed, KNOWN)
    assert gains.twice(table[table.trained == "no"], KNOWN) is None and gains.fewest(table[:0]) is None


def test_what_is_too_few_never_contradicts_what_is_enough(tmp_path):
    found = {"ddim-1": (1, "", (0.0, 0.05)), "ddim-2": (2, "", (-0.5, 0.1)), "unipc-8": (8, "", (0.0, 0.05))}
    said = gains.fewest(gains.verdicts(judged(tmp_path, found), KNOWN))
    assert "1 evaluation is enough (ddim-1, of 3 walks judged)" in said and "heard to be too few" not in said
    assert "none is heard" not in said
    fine = {name: (count, "", (0.0, 0.05)) for name, (count, *_) in found.items()}
    unbroken = gains.fewest(gains.verdicts(judged(tmp_path / "fine", fine), KNOWN))
    assert "none is heard to be worse, down to 1 evaluation: how few are too few was not found" in unbroken


def test_of_as_many_evaluations_the_nearest_speaks_for_all(tmp_path):
    found = {"ddim-2": (2, "", (0.0, 0.05)), "unipc-4": (4, "", (0.0, 0.05)), "dpm++-4": (4, "", (0.0, 0.05))}
    table = gains.verdicts(judged(tmp_path, found), KNOWN)
    assert gains.own_voiced(table).variant.tolist() == ["ddim-2", "unipc-4", "dpm++-4"]


def goal_words(found, tmp_path, known=KNOWN):
    table = gains.verdicts(judged(tmp_path, found), known)
    made = student_goals.goals(table, known)
    return dict(zip(made.goal.str.slice(0, 12), made.word)), made


def test_goals_are_reached_missed_or_undecided_by_what_is_proven(tmp_path):
    found = {
        "distilled-2": (2, "distilled-2", (0.0, 0.05)),
        "unipc-8": (8, "", (0.0, 0.05)),
        "unipc-6": (6, "", (-0.4, 0.05)),
    }
    known = KNOWN.assign(line_minutes=[0.0] * 7 + [200.0])
    words, made = goal_words(found, tmp_path / "a", known)
    assert list(words.values()) == ["reached"] * 5
    assert (
        "2,000 times" in made.iloc[2, 1] and "80 times" in made.iloc[3, 1] and "200 minutes" in made.iloc[4, 1]
    )
    assert "missed" not in student_goals.said(made) and "reached: at most 2 evaluations" in student_goals.said(
        made
    )

    del found["unipc-6"]
    found["unipc-4"] = (4, "", (-0.4, 0.05))  # rivals of 5 to 7 might be as good
    assert goal_words(found, tmp_path / "far", known)[0]["4 times fewe"] == "undecided"
    found["unipc-4"] = (4, "", (0.0, 0.05))
    words, _ = goal_words(found, tmp_path / "b", known.assign(line_minutes=[0.0] * 7 + [300.0]))
    assert words["4 times fewe"] == "missed" and words["trained with"] == "missed"

    found["unipc-4"] = (4, "", (-0.1, 0.1))
    words, _ = goal_words(found, tmp_path / "c")
    assert words["4 times fewe"] == "undecided"

    assert words["trained with"] == "undecided"  # nobody knows
    words, made = goal_words({"distilled-2": (2, "distilled-2", (-0.5, 0.05))}, tmp_path / "d")
    assert words["at most 2 ev"] == "missed" and words["decoder 100 "] == "undecided"
    words, _ = goal_words({"distilled-2": (2, "distilled-2", (-0.1, 0.1))}, tmp_path / "e")
    assert set(words.values()) == {"undecided"}
    assert student_goals.said(made[:0]) is None
    few = goal_words({"distilled-2": (2, "distilled-2", (-0.1, 0.1))}, tmp_path / "few")[1]
    assert student_goals.said(few) == (
        "Of the study's 5 goals none is decided here: no student is proven to be without audible loss."
    )


def test_of_recorded_runs_the_one_that_judged_most_is_shown(tmp_path):
    one = judged(tmp_path / "a", {"distilled-2": (2, "distilled-2", (0.0, 0.05))})
    few = one.assign(n=6.0, notebook="later", time="2099-01-01T00:00:00+00:00")
    both = pd.concat([one.assign(notebook="first"), few], ignore_index=True)
    assert gains.fullest(both).notebook.unique().tolist() == ["first"]
    assert gains.fullest(one[:0]).empty
    walks = {"distilled-2": (2, "distilled-2", (0.0, 0.05)), "ddim-2": (2, "", (0.0, 0.05))}
    wide = judged(tmp_path / "b", walks).assign(notebook="wide")
    later = one.assign(notebook="later", time="2099-01-01T00:00:00+00:00")
    assert set(gains.fullest(pd.concat([wide, later], ignore_index=True)).notebook) == {"wide"}


def test_what_guidance_does_is_told_of_a_walk_that_was_judged(tmp_path):
    found = {"dpm++-40-guided": (80, "", (-0.4, 0.05)), "ddim-2": (2, "", (0.0, 0.05))}
    table = judged(tmp_path, found)
    said = gains.guided(table)
    assert said.startswith("Guidance, asked for at every step (dpm++-40-guided, 80 evaluations), is worse beside")
    assert "on 40 sentences (predicted MOS -0.40" in said
    assert gains.guided(table.assign(recorded=True)).startswith("Recorded 20")
    assert gains.guided(table[table.variant == "ddim-2"]) is None
    far = pd.concat([KNOWN, pd.DataFrame([walk("dpm++-40-guided", 80, 0.1, guidance=1.0)])])
    apart = gains.verdicts(table, far).set_index("variant")["mel distance, dB"]
    assert math.isnan(apart["dpm++-40-guided"]) and apart["ddim-2"] == 3.0  # its goal is another


def test_who_is_judged():
    how = Sampling("ddim", 1)
    free = [ladder.Walk(name, how) for name in ("ddim-1", "dpm++-8")]
    zoo = students.kept()[0].name
    taught = [ladder.Walk(name, how, "distilled-1") for name in (zoo, "brief-1")]

    def names(named):
        return [walk.name for walk in students.chosen(free, taught, ["dpm++-8"], named)]

    assert names([]) == ["dpm++-8", zoo] and names(["brief-1"]) == ["dpm++-8", "brief-1"]
    (spoken,) = students.chosen(free, taught, [], ["brief-1-by-istft"])
    assert (spoken.name, spoken.vocoder, spoken.student) == ("brief-1-by-istft", "istft", "distilled-1")


def test_the_whole_gains_less_than_its_stage(tmp_path):
    run = results.Run("05_distillation", tmp_path)
    for variant, decoder in (("converged", 0.9), ("distilled-2", 0.03)):
        stages = {"decoder": decoder, "vocoder": 0.06, "acoustic_model": 0.04}
        run.add("tortoise", variant, "torch/cpu", "rtf", 1.0, source="clock", detail={"stages": stages})
    table = results.read(run.path)
    words = pd.DataFrame({"variant": ["distilled-2"], "verdict": ["without audible loss"]})
    words = words.assign(**{"trained": "yes", "evaluations": 2, "mel distance, dB": 0.2})
    assert gains.stages(table).loc["distilled-2"].sum() == pytest.approx(0.13)
    said = gains.amdahl(table, words)
    assert "The decoder takes 90 % of the time of the converged teacher" in said
    assert "23 % with distilled-2 (without audible loss)" in said
    assert "its own 30 times are 7.7 times for the whole" in said and "1.30 times again" in said
    assert "now the vocoder takes most, 46 %" in said
    assert gains.amdahl(table[table.variant == "converged"], words) is None
    broken = {"decoder": 0.001, "vocoder": 0.06, "acoustic_model": 0.04}
    run.add("tortoise", "ddim-1", "torch/cpu", "rtf", 1.0, source="clock", detail={"stages": broken})
    both = pd.DataFrame({"variant": ["distilled-2", "ddim-1"], "verdict": ["without audible loss", "worse"]})
    both = both.assign(**{"trained": ["yes", "no"], "evaluations": [2, 1], "mel distance, dB": [0.2, 2.0]})
    assert "with distilled-2" in gains.amdahl(results.read(run.path), both)  # the fastest is heard
    free = {"trained": ["yes", "no"], "evaluations": [2, 3], "mel distance, dB": [0.2, 0.3]}
    good = pd.DataFrame(
        {"variant": ["distilled-2", "unipc-3"], "verdict": ["without audible loss"] * 2, **free}
    )
    assert "unipc-3, was not timed" in gains.amdahl(results.read(run.path), good)
    slower = {"decoder": 0.056, "vocoder": 0.06, "acoustic_model": 0.04}
    run.add("tortoise", "unipc-3", "torch/cpu", "rtf", 1.0, source="clock", detail={"stages": slower})
    assert "unipc-3, takes 1.20 times as long as a whole" in gains.amdahl(results.read(run.path), good)
    assert gains.amdahl(table, words.assign(verdict="worse")) is None


def test_the_claim_and_its_likely_origin():
    said = distillation_claim.Claim().text
    assert "4,000 over 31 would be 129, not 5" in said and "160 times, and 160 over 31 is 5.2" in said
    assert "an inference" in said


def test_a_plan_names_who_teaches_whom():
    made = students.plan(8, 2, (3, 4, 6), leaps=["interval"])
    assert [(rung.name, rung.changes["teacher"], rung.steps) for rung in made] == [
        ("distilled-4", "", 3),
        ("distilled-2", "distilled-4", 4),
        ("interval-1", "distilled-2", 6),
    ]
    assert made[2].changes["teacher_steps"] == 2 and made[2].changes["half_life"] == 2
    with pytest.raises(ParameterError, match="2 numbers of training steps for 3 students"):
        students.plan(8, 2, (3, 4), leaps=["interval"])
    whole = students.plan(
        62,
        31,
        range(1, 10),
        further=1,
        leaps=["interval", "consistency"],
        leap_from=4,
        guidance=1.0,
        suffix="-brief",
    )
    assert [(r.name, r.changes["teacher"]) for r in whole] == [
        ("guided-62-brief", ""),
        ("distilled-31-brief", "guided-62-brief"),
        ("distilled-16-brief", "distilled-31-brief"),
        ("distilled-8-brief", "distilled-16-brief"),
        ("distilled-4-brief", "distilled-8-brief"),
        ("distilled-2-brief", "distilled-4-brief"),
        ("distilled-1-brief", "distilled-2-brief"),
        ("interval-1-brief", "distilled-4-brief"),
        ("consistency-1-brief", "distilled-4-brief"),
    ]
    again = distill.rungs(32, 16, 1.0, teacher="distilled-31")
    assert [(r.name, r.changes["teacher"], r.changes["guidance"]) for r in again] == [
        ("distilled-16", "distilled-31", 1.0)
    ]


def test_folding_is_asked_beside_a_ladder_without_it():
    (alone,) = students.folded(3968, 1.0, 130, suffix="-brief")
    assert (alone.name, alone.steps, alone.changes["method"]) == ("guided-3968-brief", 130, "guidance")
    assert alone.changes["guidance"] == 1.0 and alone.changes["teacher"] == ""
    assert students.folded(3968, 0.0, 130) == students.folded(3968, 1.0, 0) == []


def test_the_less_a_halving_has_to_learn_the_slower_it_learns():
    """An optimizer's noise is all that a student of many steps would gain."""
    made = students.plan(64, 4, (5, 5, 5, 5), leaps=[])
    assert students.folded(3968, 1.0, 130)[0].rate == 1.0  # guidance is as much to learn at any number of steps
    assert [(r.changes["steps"], r.rate) for r in made][1:] == [(16, 0.5), (8, 0.5**0.5), (4, 1.0)]
    assert made[0].rate == pytest.approx(8**-0.5) and distill.rate(1) == 1.0
    assert distill.leap("interval", "distilled-4", 4).rate == 1.0


def test_what_poor_data_do_is_asked_of_the_student_that_leaps():
    made = students.plan(8, 2, (3, 4, 6), leaps=["interval"], suffix="-brief")
    poor = students.degraded(made, [0.5, 2])
    assert [(r.name, r.changes["degraded"], r.steps) for r in poor] == [
        ("interval-1-brief-degraded-0.5", 0.5, 6),
        ("interval-1-brief-degraded-2", 2, 6),
    ]
    assert poor[0].changes["teacher"] == made[2].changes["teacher"] and "degraded" not in made[2].changes
    assert students.degraded(students.plan(8, 4, (3,)), [1.0]) == []
    known = pd.DataFrame(
        [walk("interval-1", 1, 2.0, "interval-1"), walk("interval-1-in-2", 2, 1.5, "interval-1")]
        + [walk("interval-1-degraded-2", 1, 2.75, "interval-1-degraded-2")]
    ).assign(table=0)
    said = schooling.poorer(known)
    assert "noise of 2 times its spread, interval-1 lies 2.75 dB from the converged walk, 2.00 without" in said
    assert schooling.poorer(KNOWN) is None and "degraded" not in walked.finding(known)
    again = known.assign(table=1, n=known.n + 1, distance=known.distance + 1)  # a fuller run of the same
    fuller = said.replace("2.75", "3.75").replace("2.00", "3.00").replace("on 2", "on 3")
    assert schooling.poorer(pd.concat([known, again])) == fuller


def test_ways_to_one_evaluation_are_told_with_what_each_cost():
    def learnt(name, evaluations, distance, method, teacher, minutes, run=0):
        line = walk(name, evaluations, distance, name) | {"sampler": "student", "table": run}
        return line | {"method": method, "teacher": teacher, "minutes": minutes}

    lines = [
        learnt("distilled-8", 8, 0.6, "halving", "distilled-16", 3.0),
        learnt("distilled-4", 4, 0.8, "halving", "distilled-8", 5.0),
        learnt("distilled-2", 2, 1.0, "halving", "distilled-4", 8.0),
        learnt("distilled-1", 1, 2.2, "halving", "distilled-2", 12.0),
        learnt("interval-1", 1, 2.0, "interval", "distilled-4", 20.0),
        learnt("interval-1", 1, 1.7, "interval", "distilled-4", 20.0) | {"walk": "interval-1-in-2"},
        learnt("consistency-1", 1, 2.9, "consistency", "distilled-4", 21.0),
        learnt("interval-1-degraded-1", 1, 3.0, "interval", "distilled-4", 20.0),
    ]
    known = pd.DataFrame(lines)
    assert schooling.ways(known) == (
        "To a single evaluation lead, from distilled-4 on: interval 2.00 dB after 20 minutes, halving 2.20 dB after 20 "
        "minutes, consistency 2.90 dB after 21 minutes (on 2 sentences: an order and no more)."
    )
    known.loc[known.walk == "interval-1", "minutes"] = 7.0
    assert "after 7 minutes" in schooling.ways(known) and "too much to rank" in schooling.ways(known)
    known.loc[known.walk == "distilled-2", "minutes"] = 0.0  # nobody knows
    assert schooling.ways(known) is None
    assert (
        schooling.ways(pd.DataFrame(lines[:5]).assign(table=[0, 0, 0, 0, 1])) is None
    )  # never two runs together
    assert schooling.ways(walked.known(results.frame([]))) is None


def test_known_takes_each_walk_from_one_run(voice, reading, tmp_path):
    walks = ladder.walks([1, 2], 0.5, samplers=["ddim"], spacings=["even"])
    now, before = results.Run("now", tmp_path / "a"), results.Run("before", tmp_path / "b")
    ladder.measure(now, reading, walks[:1])
    ladder.measure(before, reading, walks)
    tables = [results.read(run.path) for run in (now, before)]
    known = walked.foremost(walked.known(*tables))
    assert known.walk.tolist() == ["ddim-1", "ddim-2"] and known.table.tolist() == [0, 1]
    assert walked.known(results.frame([])).empty
    whole = walked.known(*tables)
    assert list(zip(whole.walk, whole.table)) == [("ddim-1", 0), ("ddim-1", 1), ("ddim-2", 1)]
    later = tables[1].assign(commit="another", time="2099-01-01T00:00:00+00:00")
    mixed = walked.foremost(walked.known(pd.concat([tables[1], later.assign(value=7.0)], ignore_index=True)))
    assert mixed.distance.tolist() == [7.0, 7.0]  # the newest of two runs, whichever file comes first
    assert json.loads(tables[0].detail[0])["evaluations"] == 1 and json.loads(tables[0].detail[0])["threads"] == 1
    assert not whole.recorded.any() and walked.known(tables[0].assign(recorded=True)).recorded.all()


def test_rows_that_no_walk_would_write_today_are_not_known(voice, reading, tmp_path):
    run = results.Run("05_distillation", tmp_path)
    ladder.measure(run, reading, ladder.walks([2], 0.5, samplers=["ddpm", "ddim"], spacings=["even"]))
    rows = results.read(run.path)
    old = [json.dumps({k: v for k, v in json.loads(row).items() if k != "temperature"}) for row in rows.detail]
    assert walked.known(rows).walk.tolist() == ["ddpm-2", "ddim-2"]
    assert walked.known(rows.assign(detail=old)).walk.tolist() == ["ddim-2"]  # noise of another temperature
    learnt = [json.dumps(json.loads(row) | {"method": "consistency", "student": "ddpm-2"}) for row in rows.detail]
    assert walked.known(rows.assign(detail=learnt)).walk.tolist() == ["ddpm-2"]


def test_pictures_show_lines_for_rivals_and_stars_for_students(tmp_path):
    figure = charts.distances(KNOWN)
    unguided, guided = figure.axes
    labels = [text.get_text() for text in unguided.get_legend().get_texts()]
    assert labels == ["ddim", "unipc", "dpm++", "students"] and "weight 1" in guided.get_title(loc="left")
    stars = next(line for line in unguided.lines if line.get_label() == "students")
    assert sorted(stars.get_xdata()) == [1, 2, 4] and {t.get_text() for t in unguided.texts} >= {"distilled-1"}
    assert charts.distances(KNOWN[:0]) is None
    table = judged(tmp_path, {"converged": (64, "", (0.0, 0.1)), "ddim-2": (2, "", (0.0, 0.1))})
    assert charts.judged(table, KNOWN).axes[0].get_ylabel() == "Predicted MOS"
    assert charts.judged(table[:0], KNOWN) is None
    bars = charts.stages(pd.DataFrame({"decoder": [0.9, 0.1], "vocoder": [0.1, 0.1]}, index=["slow", "fast"]))
    assert [t.get_text() for t in bars.axes[0].get_yticklabels()] == ["fast", "slow"]
    assert len(charts.method(8).axes[0].patches) == 8 + 4 + 2 + 1
