"""Students of the diffusion decoder: what they begin as, what they are shown, that they learn it, and come back."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from acoustic_checks import FASTSPEECH2, one_voice

from lib import optimize, systems, zoo
from lib.errors import ParameterError, TrainingError
from lib.optimize import distill
from lib.systems import tortoise
from lib.systems.fastspeech2.config import NetworkConfig as FrontConfig
from lib.systems.tortoise import diffusion, students
from lib.systems.tortoise.diffusion import Sampling
from lib.systems.tortoise.network import student
from lib.training import recipe
from lib.training.loop import train
from lib.training.tasks import distillation
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.lessons import METHODS
from lib.training.tasks.tortoise_student import StudentConfig, StudentTask

# Half as wide as elsewhere: what a dozen steps teach depends on it.
FRONT = FrontConfig(
    **FASTSPEECH2 | {"hidden": 16, "heads": 2, "feed_forward": 16, "predictor": 16, "postnet": 16}
)
SIZES = tortoise.NetworkConfig(channels=16, heads=2, layers=1, end_layers=1, front=FRONT)


@pytest.fixture(scope="module")
def speech():
    return one_voice()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of an untrained tortoise whose layers all have their say."""
    network = tortoise.build(SIZES, 1)
    torch.manual_seed(0)
    for parameter in network.decoder.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return tortoise.checkpoints.save(
        tmp_path_factory.mktemp("base"), SIZES, ("vits-joe",), network.state_dict(), "the base"
    )


@pytest.fixture
def config(base):
    return StudentConfig(base=str(base), steps=8, teacher_steps=16, segment=32, learning_rate=3e-3, warm_up=1)


def batch_of(task):
    rng = np.random.default_rng(0)
    return task.collate([task.item(i, rng) for i in range(4)])


def test_a_student_begins_as_its_teacher(speech, config):
    for method in METHODS:
        task = StudentTask(speech, dataclasses.replace(config, method=method))
        x, t = torch.randn(2, 80, 12), torch.tensor([40, 3000])
        said, voices = torch.randn(2, 12, FRONT.hidden), torch.tensor([0, 0])
        inputs = {"guidance": torch.tensor([0.0, 1.5])} | ({"until": t - 30} if method == "interval" else {})
        ours, theirs = task.modules[MODULE], task.teacher
        assert torch.allclose(ours(x, t, said, voices, **inputs)[0], theirs(x, t, said, voices)[0], atol=1e-5)
        shared = {p.data_ptr() for p in ours.parameters()} & {p.data_ptr() for p in theirs.parameters()}
        assert not shared and not any(p.requires_grad for p in theirs.parameters())


def test_a_student_of_intervals_must_be_told_where_to(base):
    _, _, network = tortoise.checkpoints.load(base)
    told = student(network.decoder, interval=True)
    with pytest.raises(ParameterError, match="give `until`"):
        told.denoise(torch.randn(1, 80, 4), torch.tensor([9]))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_every_parameter_is_reached(speech, config, method, tmp_path):
    task = StudentTask(speech, dataclasses.replace(config, method=method))
    decoder = task.modules[MODULE]
    torch.manual_seed(1)
    for name, parameter in decoder.named_parameters():
        if "_embed.2" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    (update,) = task.updates(batch_of(task), 0)
    assert update.loss.isfinite()
    update.loss.backward()
    silent = {n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent <= {"unconditioned_embedding", "mel_head.weight", "mel_head.bias"}
    if (
        method == "consistency"
    ):  # anchored by its last step alone: whose lesson is the teacher's word, not its own
        config = dataclasses.replace(config, steps=1, teacher_steps=1)
    settings = recipe.Settings(12, batch_size=4, validate_every=0, clip_norm=1.0, log_every=4)
    begin = _lesson(StudentTask(speech, dataclasses.replace(config, method=method)))
    learnt = StudentTask(speech, dataclasses.replace(config, method=method))
    train(learnt, recipe.Recipe("tortoise-student", settings), tmp_path)
    assert _lesson(learnt) < 0.9 * begin


def _lesson(task) -> float:
    torch.manual_seed(5)
    with torch.no_grad():
        return float(np.mean([next(iter(task.updates(batch_of(task), 0))).scalars["lesson"] for _ in range(8)]))


def test_what_is_shown_is_what_the_teacher_would_draw(speech, config):
    """Of a halving: one step of the target from x arrives where two guided steps of the teacher do."""
    task = StudentTask(speech, config)
    given = batch_of(task).tensors
    said, x = torch.randn(4, 32, FRONT.hidden), torch.randn(4, 80, 32)
    times = task.lessons.times(4)
    assert times.shape == (3, 4) and (times[0] > times[1]).all() and (times[1] > times[2]).all()
    weight = torch.tensor([0.0, 0.5, 1.0, 2.0])
    target = task.lessons.target(task.plain[MODULE], x, times, said, given["speakers"], weight)
    condition = task.teacher.condition(said, given["speakers"], 32)
    levels = [distillation.level(task.schedule, t, x) for t in times]
    ours = x
    for now, then, t in zip(levels, levels[1:], times):
        outputs = task.teacher.denoise(ours, t, condition), task.teacher.denoise(ours, t)
        output = distillation.guided(*outputs, weight)
        x0 = now.alpha * ours - now.sigma * output
        noise = now.sigma * ours + now.alpha * output
        ours = (then.alpha * x0 + then.sigma * noise).float()
    landed = distillation.stepped(x, target, levels[0], levels[2])
    assert torch.allclose(landed, ours, atol=1e-4)


def test_poor_data_are_poor_for_both(speech, config, monkeypatch):
    """Told through noise, teacher and student hear the same, and a lesson is another."""
    task = StudentTask(speech, dataclasses.replace(config, degraded=1.0))
    heard = []
    for network in (task.teacher, task.modules[MODULE]):
        condition = type(network).condition
        monkeypatch.setattr(
            network,
            "condition",
            lambda said, *rest, of=network: heard.append(said) or condition(of, said, *rest),
        )
    batch = batch_of(task)

    def lesson(one) -> float:
        torch.manual_seed(3)
        return next(iter(one.updates(batch, 0))).loss.item()

    told = lesson(task)
    assert len(heard) == 2 and torch.equal(*heard) and heard[0].std() > 0
    clean = StudentTask(speech, config)
    clean.lessons = dataclasses.replace(task.lessons, how=config)
    clean.modules = task.modules
    assert lesson(clean) != told
    assert heard[0].std() > 1.2 * heard[2].std()
    with pytest.raises(ParameterError, match="model.degraded is -1"):
        dataclasses.replace(config, degraded=-1)


def test_intervals_begin_anywhere_and_never_stand_still(speech, config):
    task = StudentTask(speech, dataclasses.replace(config, method="interval"))
    times = torch.cat([task.lessons.times(16) for _ in range(50)], 1)
    assert times.shape == (5, 800) and (times[0] > times[-1]).all() and (times.diff(dim=0) <= 0).all()
    assert 0.4 < (times[0] == task.schedule.steps - 1).float().mean() < 0.7
    said, x = torch.randn(800, 3, FRONT.hidden), torch.randn(800, 80, 3)
    target = task.lessons.target(
        task.plain[MODULE], x, times, said, torch.zeros(800, dtype=torch.long), torch.zeros(800)
    )
    assert target.isfinite().all()


def test_a_ladder_is_climbed_and_goes_on_where_it_was(speech, base, tmp_path, monkeypatch):
    from lib.training import sources

    monkeypatch.setattr(sources, "corpus", lambda data: speech)
    settings = recipe.Settings(3, batch_size=2, validate_every=3, checkpoint_every=3, keep=1)
    shared = {"base": str(base), "segment": 32, "learning_rate": 1e-3}
    chosen = recipe.Recipe("tortoise-student", settings, data={"voices": ["vits-joe"]}, model=shared)
    ladder = distill.rungs(8, 2, guidance=1.0)
    assert [rung.name for rung in ladder] == ["guided-8", "distilled-4", "distilled-2"]
    climb = distill.climb(chosen, tmp_path, ladder)
    first = next(climb)
    climb.close()  # stopped after the first
    before = (first / students.WEIGHTS).read_bytes()
    folders = list(distill.climb(chosen, tmp_path, ladder))
    assert [f.name for f in folders] == [r.name for r in ladder] and (
        first / students.WEIGHTS
    ).read_bytes() == before
    known = [students.about(folder) for folder in folders]
    assert [k.steps for k in known] == [8, 4, 2] and all(k.folded and not k.interval for k in known)
    assert all(k.trained_steps > 0 and k.trained_minutes > 0 for k in known)
    assert (
        known[1].teacher.endswith("guided-8")
        and "taught by `distilled-4`" in (folders[2] / "README.md").read_text()
    )
    with pytest.raises(ParameterError, match="knows it up to 1"):
        StudentTask(speech, StudentConfig(base=str(base), teacher=str(folders[0]), guidance=2.0))

    voice = tortoise.Tortoise(base)
    voice.origin = {"system": "tortoise", "target": "torch/cpu", "checkpoint": str(base), "settings": {}}
    small = optimize.make(voice, "distilled", variant="distilled-2", student=str(folders[2]))
    assert small.settings()["steps"] == 2 and small.settings()["sampler"] == "ddim"
    with pytest.raises(ParameterError, match="knows it up to 1 only"):
        optimize.make(voice, "distilled", student=str(folders[2]), guidance=1.5)
    assert voice.settings()["steps"] == 8 and not voice.modules["decoder"].config.folded
    from lib.studies import students as study

    walks = [(walk.name, walk.how.sampler, walk.how.steps) for walk in study.walks(voice, folders)]
    assert walks == [
        ("guided-8-converged", "dpm++", study.MOST),
        ("guided-8-converged-guided", "dpm++", study.MOST),
        ("distilled-4", "ddim", 4),
        ("distilled-2", "ddim", 2),
    ]
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in folders[2].iterdir():
        if file.is_file():
            (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / students.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(TrainingError, match="cannot be read"):
        students.load(damaged, students.key(base), voice.modules["decoder"])
    described = json.loads((damaged / students.DESCRIPTION).read_text())
    (damaged / students.DESCRIPTION).write_text(json.dumps(described | {"base": "another"}))
    with pytest.raises(TrainingError, match="follows another front end"):
        students.load(damaged, students.key(base), voice.modules["decoder"])
    with pytest.raises(ParameterError, match="no diffusion decoder"):
        optimize.make(systems.load("espeak-ng"), "distilled", student=str(damaged))


def test_folded_guidance_is_told_with_its_ramp_and_costs_one_evaluation(base):
    _, _, network = tortoise.checkpoints.load(base)
    decoder, heard = student(network.decoder, folded=True, interval=True), []
    original = decoder.denoise
    decoder.denoise = lambda x, t, c=None, **inputs: (
        heard.append((int(t[0]), inputs)) or original(x, t, c, **inputs)
    )
    said = torch.randn(1, 6, FRONT.hidden)
    how = Sampling("ddim", 4, guidance=2.0)
    drawn = tortoise.denoised(decoder, SIZES, said, torch.tensor([0]), how, seed=0)
    grid = diffusion.grid(SIZES.noise, 4)
    assert drawn.nfe == 4 and [t for t, _ in heard] == list(grid)
    assert [inputs["guidance"].item() for _, inputs in heard] == [0.5, 1.0, 1.5, 2.0]
    assert [inputs["until"].item() for _, inputs in heard] == [*grid[1:], -1]


def test_a_climb_killed_within_a_halving_goes_on_with_that_halving(speech, base, tmp_path, monkeypatch):
    """As the study climbs: what was finished stays, the halving that was begun goes on from its checkpoint, and the end
    is that of a climb that was never stopped.
    """
    from lib.studies import students as study
    from lib.training import recipe as recipes
    from lib.training import sources

    monkeypatch.setattr(sources, "corpus", lambda data: speech)
    settings = recipe.Settings(4, batch_size=2, validate_every=0, checkpoint_every=2, keep=1, log_every=1)
    shared = {"base": str(base), "segment": 32, "learning_rate": 1e-3}
    chosen = recipe.Recipe("tortoise-student", settings, data={"voices": ["vits-joe"]}, model=shared)
    monkeypatch.setattr(recipes, "find", lambda profile, task: chosen)
    plan = study.plan(8, 2, (4, 5, 3), leaps=["interval"])

    class Killed(BaseException):
        pass

    seen, rates, updates = [], [], StudentTask.updates

    def counted(self, batch, step):
        rates.append(self.config.learning_rate)
        seen.append((self.config.steps, step))
        if killing and (self.config.steps, step) == (2, 3):
            raise Killed
        return updates(self, batch, step)

    monkeypatch.setattr(StudentTask, "updates", counted)
    killing = True
    with pytest.raises(Killed):
        study.trained("quick", plan, tmp_path / "stopped")
    first = (tmp_path / "stopped" / "distilled-4" / students.WEIGHTS).read_bytes()
    killing = False
    seen.clear()
    folders = study.trained("quick", plan, tmp_path / "stopped")
    assert seen == [(2, 2), (2, 3), (2, 4), (1, 0), (1, 1), (1, 2)]
    assert (folders[0] / students.WEIGHTS).read_bytes() == first
    whole = study.trained("quick", plan, tmp_path / "whole")
    assert [f.name for f in folders] == [f.name for f in whole] == ["distilled-4", "distilled-2", "interval-1"]
    for one, other in zip(folders, whole):
        assert (one / students.WEIGHTS).read_bytes() == (other / students.WEIGHTS).read_bytes()
    slower = [dataclasses.replace(plan[0], name="slower", rate=0.25)]
    study.trained("quick", slower, tmp_path / "whole")
    assert rates[-4:] == [1e-3 / 4] * 4 and set(rates[:-4]) == {1e-3}
    chosen.model.pop("learning_rate")
    with pytest.raises(
        ParameterError, match="names no model.learning_rate, of which each rung takes its share"
    ):
        study.trained("quick", slower, tmp_path / "nameless")
    monkeypatch.setattr(study, "MOST", 3)
    voice = tortoise.Tortoise(base)
    walks = study.walks(voice, folders)
    assert [(w.name, w.how.steps) for w in walks] == [
        ("distilled-2", 2),
        ("interval-1", 1),
        ("interval-1-in-2", 2),
        ("interval-1-in-4", 4),
    ]


def test_a_student_taught_otherwise_is_taught_anew_with_all_its_students(speech, base, tmp_path, monkeypatch):
    from lib.training import loop, sources

    monkeypatch.setattr(sources, "corpus", lambda data: speech)
    settings = recipe.Settings(2, batch_size=2, validate_every=0, keep=1)
    shared = {"base": str(base), "segment": 32, "learning_rate": 1e-3}
    chosen = recipe.Recipe("tortoise-student", settings, data={"voices": ["vits-joe"]}, model=shared)
    again = []
    monkeypatch.setattr(loop, "train", lambda task, r, home: again.append(home.parent.name) or train(task, r, home))

    def climbed(ladder, of=chosen):
        again.clear()
        return list(distill.climb(of, tmp_path / "here", ladder)) and again[:]

    first, second = distill.rungs(8, 2, guidance=0.0)
    beside = dataclasses.replace(first, name="beside")
    assert climbed([first, second, beside]) == ["distilled-4", "distilled-2", "beside"]
    assert climbed([first, second, beside]) == []
    old = (tmp_path / "here" / "distilled-4" / students.WEIGHTS).read_bytes()
    longer = dataclasses.replace(first, steps=3)
    assert climbed([longer, second, beside]) == ["distilled-4", "distilled-2"]
    assert (tmp_path / "here" / "aside" / "distilled-4" / students.WEIGHTS).read_bytes() == old
    assert students.about(tmp_path / "here" / "distilled-4").trained_steps == 3
    (tmp_path / "here").rename(tmp_path / "moved")  # its teachers lie elsewhere, and are the same
    again.clear()
    list(distill.climb(chosen, tmp_path / "moved", [longer, second, beside]))
    assert again == []
    described = tmp_path / "moved" / "distilled-4" / students.DESCRIPTION
    described.write_text(json.dumps(json.loads(described.read_text()) | {"base": "another"}))
    faster = dataclasses.replace(chosen, model=shared | {"learning_rate": 2e-3})
    list(distill.climb(chosen, tmp_path / "moved", [longer]))
    list(distill.climb(faster, tmp_path / "moved", [longer]))
    list(distill.climb(faster, tmp_path / "moved", [longer]))
    assert again == ["distilled-4", "distilled-4"]  # of another base, then at another rate; the same then stays


@pytest.mark.parametrize("name", students.names())
def test_a_student_of_the_zoo_is_small_and_says_what_it_is(name):
    folder = students.find(name)
    known, card = students.about(folder), (folder / "README.md").read_text()
    assert (folder / students.WEIGHTS).stat().st_size <= 12 * 2**20
    assert known.base == students.key(zoo.folder("tortoise")) and "/" not in known.teacher
    assert f"walks {known.steps} step" in card
    for word in (
        "taught by",
        "held-out sentences",
        "predicted MOS",
        "WER",
        "licence",
        "run_all.sh study --only 05",
    ):
        assert word in card, word


@pytest.fixture(scope="module")
def read_aloud():
    """Two sentences as the zoo's decoder is given them, and their converged mels."""
    from lib.corpora import gutenberg
    from lib.studies import ladder
    from lib.studies import students as study

    reading = ladder.reading(study.load(), gutenberg.split("validation", 2))
    return reading, ladder.converged(reading)


@pytest.mark.slow
@pytest.mark.parametrize("name", students.names())
def test_a_student_of_the_zoo_comes_nearer_than_its_steps_do_untrained(name, read_aloud):
    """Of many steps there is nothing to gain: they must lose nothing."""
    from lib.studies import ladder
    from lib.studies import students as study

    (reading, goals), folder = read_aloud, students.find(name)
    walk = study.walks(reading.voice, [folder])[0]

    def apart(decoder=None) -> float:
        return float(np.mean(ladder.distances_db(ladder.draw(reading, walk.how, decoder), goals)))

    ours = apart(study.decoders(reading.voice, [folder])[name])
    if students.about(folder).steps > 4:
        assert ours < 0.25  # dB
    else:
        assert ours < 0.75 * apart()
