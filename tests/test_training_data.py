"""Batches and recipes: what a step sees is a pure function of the seed and the place, and every key of a recipe
is checked.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from lib import REPOSITORY
from lib.errors import MissingDataError, ParameterError
from lib.training import data, recipe, sources, tasks
from lib.training.data import Place, Sampler
from lib.training.ema import Ema
from lib.training.speed import PHASES, WINDOW, CudaTimer, Speed
from lib.training.task import Batch


def test_every_item_once_per_epoch_in_another_order_and_alike_in_length():
    lengths = np.random.default_rng(0).integers(10, 400, 1000)
    sampler = Sampler(lengths, 16, seed=3)
    first, second = sampler.epoch(0), sampler.epoch(1)
    assert sorted(itertools.chain(*first)) == sorted(itertools.chain(*second)) == list(range(1000))
    assert first != second and first == Sampler(lengths, 16, seed=3).epoch(0) != Sampler(
        lengths, 16, seed=4
    ).epoch(0)
    padded = sum(len(b) * lengths[b].max() for b in first) / lengths.sum()
    unsorted = sum(len(b) * lengths[b].max() for b in np.array_split(np.arange(1000), 63)) / lengths.sum()
    assert padded < 1.05 < 1.5 < unsorted


def test_a_batch_never_exceeds_its_padded_frames_but_holds_a_too_long_item_alone():
    lengths = [10, 20, 30, 40, 500, 60, 70]
    batches = Sampler(lengths, 4, max_frames=120).epoch(0)
    assert all(len(b) * max(lengths[i] for i in b) <= 120 or len(b) == 1 for b in batches)
    assert [4] in batches and sorted(itertools.chain(*batches)) == list(range(7))


def test_processes_share_an_epoch_in_equal_parts():
    lengths = list(range(5, 55))
    parts = [Sampler(lengths, 4, rank=rank, processes=3).epoch(2) for rank in range(3)]
    assert len({len(part) for part in parts}) == 1
    seen = list(itertools.chain(*itertools.chain(*parts)))
    assert (
        set(seen) == set(range(50)) and len(seen) < 50 + 3 * 4
    )  # at most two batches twice, so that nobody waits
    one = Sampler([7], 4, rank=2, processes=3)
    assert one.epoch(0) == [[0]]


def test_the_stream_resumes_anywhere():
    sampler = Sampler(list(range(1, 30)), 4, seed=1)
    whole = list(itertools.islice(sampler.after(Place()), 30))
    for at in (0, 3, 7, 8, 20):
        place, _ = whole[at]
        assert list(itertools.islice(sampler.after(place), 30 - at)) == whole[at:]
    beyond = Place(0, len(sampler.epoch(0)))  # the end of an epoch is the beginning of the next
    assert next(sampler.after(beyond)) == next(sampler.after(Place(1, 0)))


def test_nothing_to_train_on_is_an_error():
    with pytest.raises(MissingDataError, match="the training split is empty"):
        Sampler([], 4)


class SlowLoader:
    """A task's data side: an item takes 5 ms to load and is random."""

    lengths = [1] * 40

    def item(self, index, rng):
        time.sleep(0.005)
        return index, rng.random()

    def collate(self, items):
        return Batch(
            tuple(str(i) for i, _ in items),
            len(items),
            {"x": torch.tensor([x for _, x in items], dtype=torch.float64)},
        )


def drawn(place: Place, count: int, threads: int) -> list[list[float]]:
    stream = data.stream(SlowLoader(), Sampler(SlowLoader.lengths, 4, seed=9), place, threads)
    try:
        return [batch.tensors["x"].tolist() for _, batch in itertools.islice(stream, count)]
    finally:
        stream.close()


def test_random_choices_do_not_depend_on_threads_or_on_where_a_run_began():
    whole = drawn(Place(), 14, 1)
    assert whole == drawn(Place(), 14, 3)
    assert whole[5:] == drawn(Place(0, 5), 9, 2)
    assert len(set(itertools.chain(*whole))) == 56  # the second epoch draws anew


@pytest.mark.alone
def test_loading_is_hidden_behind_the_computation():
    """20 ms of loading and 30 ms of computing per batch: one after the other 50 ms, hidden 30."""
    stream = data.stream(SlowLoader(), Sampler(SlowLoader.lengths, 4), Place())
    next(stream)
    waited = 0.0
    for _ in range(10):
        begin = time.perf_counter()
        next(stream)
        waited += time.perf_counter() - begin
        time.sleep(0.03)
    stream.close()
    assert waited < 0.2 * 10 * 0.03


class Clock:
    """A timer that stands still until it is told to go on, and counts how often it is read."""

    def __init__(self):
        self.time, self.reads = 0.0, 0

    def now(self):
        return self.time

    def settle(self, mark):
        self.reads += 1

    def between(self, begin, end):
        return end - begin


def make_step(speed, clock, frames, **seconds):
    for phase, duration in seconds.items():
        clock.time += duration
        speed.lap(phase)
    speed.step(frames)


def test_speed_leaves_out_the_first_step_and_forgets_what_is_long_past():
    clock = Clock()
    speed = Speed(5.0, clock)
    speed.begin()
    make_step(speed, clock, 8, wait=90.0, forward=10.0)
    assert speed.rates() == {} and speed.seconds == 105.0
    make_step(speed, clock, 10, wait=1.0, forward=1.0, backward=0.5, optimizer=0.5)
    clock.time += 1000.0  # a validation
    speed.begin()
    make_step(speed, clock, 30, backward=0.5, bookkeeping=0.5)
    shares = {
        "wait_pct": 25.0,
        "forward_pct": 25.0,
        "backward_pct": 25.0,
        "optimizer_pct": 12.5,
        "bookkeeping_pct": 12.5,
    }
    assert speed.rates() == {"steps_per_s": 0.5, "frames_per_s": 10.0, **shares}
    for _ in range(WINDOW):
        make_step(speed, clock, 4, forward=0.25, backward=0.25)
    rates = speed.rates()
    assert (rates["steps_per_s"], rates["frames_per_s"], rates["wait_pct"]) == (2.0, 8.0, 0.0)
    assert speed.seconds == 109 + WINDOW / 2


def test_the_clock_is_read_only_when_it_is_asked():
    """On a GPU to read is to wait: a hundred steps between two records are read at once."""
    clock = Clock()
    speed = Speed(timer=clock)
    speed.begin()
    for _ in range(100):
        make_step(speed, clock, 1, forward=1.0, backward=2.0)
    assert clock.reads == 0
    assert (
        speed.rates()["backward_pct"] == pytest.approx(200 / 3) and speed.seconds == 300.0 and clock.reads == 1
    )


def test_laps_on_a_gpu_are_events_that_are_waited_for_once(monkeypatch):
    """Without a GPU the events are ours; `elapsed_time` is in milliseconds, and refuses an event that is not past."""
    waited = []

    class Event:
        count = 0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            Event.count += 1
            self.at = Event.count

        def synchronize(self):
            waited.append(self.at)

        def elapsed_time(self, end):
            assert waited and end.at <= waited[-1]
            return 1000.0 * (end.at - self.at)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    speed = Speed(timer=CudaTimer())
    speed.begin()
    for _ in range(3):
        for phase in PHASES:
            speed.lap(phase)
        speed.step(7)
    assert not waited
    assert speed.rates() == {"steps_per_s": 0.2, "frames_per_s": 1.4} | {
        f"{phase}_pct": 20.0 for phase in PHASES
    }
    assert speed.seconds == 15.0 and waited == [16]


def test_an_error_in_a_loader_thread_reaches_the_loop():
    class Broken(SlowLoader):
        def item(self, index, rng):
            raise MissingDataError(f"no clip {index}")

    with pytest.raises(MissingDataError, match="no clip"):
        next(data.stream(Broken(), Sampler(SlowLoader.lengths, 4), Place()))


def test_the_average_follows_its_definition_and_is_only_applied_inside():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    networks = {"layer": layer, "other": torch.nn.Identity()}
    ema = Ema({"layer": layer}, decay=0.5)
    expected = 0.0
    for step in range(1, 30):
        torch.nn.init.constant_(layer.weight, float(step))
        ema.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with ema.applied(networks):
        assert networks["layer"].weight.item() == pytest.approx(expected, rel=1e-6)
        assert layer.weight.item() == 29.0  # nothing is copied to and fro
    assert networks["layer"] is layer


def test_an_average_keeps_names_and_counters_and_goes_on_from_what_was_saved():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    ema = Ema({"network": network}, decay=0.9)

    def steps(count):
        for _ in range(count):
            network(torch.randn(4, 2))
            with torch.no_grad():
                network[0].weight.mul_(1.1)
            ema.update()

    steps(3)
    saved = {k: v.clone() for k, v in ema.state_dicts()["network"].items()}
    assert saved.keys() == network.state_dict().keys()
    assert saved["1.num_batches_tracked"] == 3  # taken over, not averaged
    running, average = network[1].running_mean, saved["1.running_mean"]
    assert average.norm() > 0 and not torch.equal(average, running)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    randoms = torch.get_rng_state()
    steps(2)
    network.load_state_dict(before)
    torch.set_rng_state(randoms)
    whole = {k: v.clone() for k, v in ema.state_dicts()["network"].items()}
    ema = Ema({"network": network}, decay=0.9)
    ema.load({"network": saved}, 3)
    steps(2)
    assert all(torch.equal(v, whole[k]) for k, v in ema.state_dicts()["network"].items())


RECIPE = """
task: hifigan
data: {voices: [vits-joe]}
model: {generator: vits-joe}
training: {steps: 10, ema: 0}
"""


@pytest.fixture
def recipe_file(tmp_path):
    def write(text: str):
        path = tmp_path / "toy.yaml"
        path.write_text(text)
        return path

    return write


def test_a_recipe_is_read(recipe_file):
    read = recipe.load(recipe_file(RECIPE))
    assert (
        read.task == "hifigan"
        and read.training == recipe.Settings(steps=10)
        and read.data == {"voices": ["vits-joe"]}
    )
    assert recipe.parse(sources.Data, read.data, "data") == sources.Data(voices=("vits-joe",))


@pytest.mark.parametrize(
    "change, message",
    [
        (("steps: 10", "stesp: 10"), "unknown key of the recipe's training 'stesp': did you mean 'steps'"),
        (("ema: 0", "batch_size: 4.5"), "training.batch_size is 4.5, it must be of type int"),
        (("ema: 0", "ema: 1"), r"training.ema is 1.0, a decay lies in \[0, 1\)"),
        (("ema: 0", "ema: 1e-1"), "training.ema is '1e-1', it must be of type float .*write 1.0e-4"),
        (("ema: 0", "keep: true"), "training.keep is True, it must be of type int"),
        (("ema: 0", "precision: bf61"), "unknown precision 'bf61': did you mean 'bf16'"),
        (("steps: 10", "steps: 0"), "training.steps is 0, it must be at least 1"),
        (("steps: 10,", ""), "the recipe's training lacks steps"),
        (("ema: 0", "minutes: -1"), "training.minutes is -1.0, it must not be negative"),
        (("ema: 0", "minutes: .nan"), "training.minutes is nan, it must not be negative or without end"),
        (("ema: 0", "clip_norm: .nan"), "training.clip_norm is nan"),
        (
            ("ema: 0", "target: 0.5, validate_every: 0"),
            "training.target is 0.5, but training.validate_every is 0",
        ),
        (("model:", "modell:"), "unknown part of recipe toy.yaml 'modell': did you mean 'model'"),
        (("{generator: vits-joe}", "[1]"), "`model` must hold `key: value` lines"),
        (("training: {", "training: {{"), "is not valid YAML"),
        (("training:", "data2:"), "needs the parts `task` and `training`"),
    ],
)
def test_a_bad_recipe_has_one_clear_error(recipe_file, change, message):
    with pytest.raises(ParameterError, match=message):
        recipe.load(recipe_file(RECIPE.replace(*change)))


def test_unknown_tasks_voices_and_files_are_named(recipe_file, tmp_path):
    with pytest.raises(ParameterError, match="unknown task 'hifigna': did you mean 'hifigan'"):
        tasks.build(recipe.load(recipe_file(RECIPE.replace("hifigan", "hifigna"))))
    with pytest.raises(ParameterError, match="names either `voices` or a `corpus`"):
        sources.Data(voices=("vits-joe",), corpus="ljspeech")
    with pytest.raises(MissingDataError, match="no recipe at .*none.yaml"):
        recipe.load(tmp_path / "none.yaml")


def test_the_identity_covers_what_is_computed_and_not_how_long():
    @dataclass(frozen=True)
    class Model:
        width: int = 3
        periods: tuple[int, ...] = (2, 3)

    base = recipe.Recipe("toy", recipe.Settings(steps=10), {"width": 3}, {})
    longer = recipe.Recipe(
        "toy", recipe.Settings(steps=99, minutes=3.0, keep=9, loader_threads=2), {"width": 3}, {}
    )
    other = recipe.Recipe("toy", recipe.Settings(steps=10, seed=1), {"width": 3}, {})
    assert base.key() == longer.key() != other.key()
    assert recipe.parse(Model, {"periods": [5]}, "model") == Model(periods=(5,))


def test_a_setting_younger_than_a_checkpoint_leaves_its_identity_alone():
    """The hash of this recipe as it was before `training.tf32` existed."""
    base = recipe.Recipe("toy", recipe.Settings(steps=10), {"width": 3}, {})
    assert "training.tf32" not in base.identity() and "training.target" not in base.identity()
    assert base.key() == "6e905713d19ffb473565a8a1"
    strict = recipe.Recipe("toy", recipe.Settings(steps=10, tf32=False), {"width": 3}, {})
    assert strict.identity()["training.tf32"] is False and strict.key() != base.key()


RECIPES = sorted((REPOSITORY / "params").glob("*/recipes/*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parents[1].name}-{p.stem}")
def test_every_recipe_is_valid(path):
    read = recipe.load(path)
    recipe.parse(tasks.find(read.task).Config, read.model, "model")
    recipe.parse(tasks.find(read.task).Data, read.data, "data")
