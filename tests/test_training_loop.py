"""The training engine on a toy: exact resume, kills, NaN, full disks, foreign checkpoints, early stopping,
several processes.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lib import REPOSITORY, environment, results
from lib.corpora.base import Corpus, Utterance
from lib.errors import AudioError, MissingDataError, OutputError, ParameterError, TrainingError
from lib.training import checkpoint, hardware, journal, scaling, schedule, stopping
from lib.training.loop import train
from lib.training.outcome import peak_memory as loop_memory
from lib.training.recipe import Recipe, Settings
from lib.training.scalars import Guard, Scalars
from lib.training.speed import PHASES, HostTimer
from lib.training.task import Batch, Task, Update, Validation, split

RATE, HOP = 8_000, 80


def tones(
    count: int = 12, *, broken: int | None = None, splits: tuple[str, ...] = ("train", "validation")
) -> Corpus:
    """Clips of 5 to 16 frames, each a tone of its own; clip `broken` holds a NaN."""

    def reader(index: int):
        def read():
            waveform = 0.3 * np.sin(np.arange((5 + index) * HOP) * (0.05 + 0.01 * index)).astype(np.float32)
            if index == broken:
                waveform[7] = np.nan
            return waveform, RATE

        return read

    return Corpus(
        "tones",
        "computed",
        "none",
        tuple(
            Utterance(f"tone-{s}-{i}", "la", "la", "sine", s, RATE, reader(i))
            for s in splits
            for i in range(count if s == "train" else 2)
        ),
    )


class Predictor(Task):
    """Predicts each sample of a frame from the frame before, with dropout and random crops, so that every
    generator matters.
    """

    watch = "error"
    averaged = ("network",)

    def __init__(self, corpus: Corpus, seed: int = 0):
        torch.manual_seed(seed)
        self.train_split, self.validation_split = (split(corpus, "train"), split(corpus, "validation"))
        network = nn.Sequential(nn.Linear(HOP, 32), nn.Dropout(0.2), nn.Tanh(), nn.Linear(32, HOP))
        self.modules = {"network": network, "gain": nn.Linear(1, 1)}
        self.optimizers = {
            "network": torch.optim.AdamW(self.modules["network"].parameters(), 1e-2),
            "gain": torch.optim.SGD(self.modules["gain"].parameters(), 1e-2, momentum=0.9),
        }
        self.schedulers = {"network": torch.optim.lr_scheduler.ExponentialLR(self.optimizers["network"], 0.95)}
        self.lengths = [5 + int(u.id.rsplit("-", 1)[1]) for u in self.train_split]
        self.plain = self.modules

    def item(self, index, rng):
        utterance = self.train_split[index]
        frames = utterance.load(RATE).reshape(-1, HOP)
        begin = rng.integers(len(frames) - 4)
        return utterance.id, frames[begin : begin + 4]

    def collate(self, items):
        return Batch(
            tuple(i for i, _ in items),
            4 * len(items),
            {"frames": torch.from_numpy(np.stack([f for _, f in items]))},
        )

    def updates(self, batch, step):
        frames = batch.tensors["frames"]
        noise = torch.randn_like(frames) * 0.01 + np.random.rand() * 0.01  # global generators, as dropout uses
        guess = self.modules["network"](frames[:, :-1] + noise[:, :-1])
        loss = (guess - frames[:, 1:]).square().mean()
        yield Update(loss, ("network",), {"error": loss})
        scaled = self.modules["gain"](self.plain["network"](frames[:, :-1]).mean((1, 2))[:, None])
        yield Update((scaled - 1).square().mean(), ("gain",))

    def validate(self, step):
        torch.rand(3), np.random.rand()  # a validation may use up random numbers
        frames = [torch.from_numpy(u.load(RATE).reshape(-1, HOP)) for u in self.validation_split]
        error = np.mean([(self.plain["network"](f[:-1]) - f[1:]).square().mean().item() for f in frames])
        return Validation({"error": float(error)}, audio={"tone": (self.validation_split[0].load(), RATE)})


def recipe(**settings) -> Recipe:
    given = {
        "steps": 20,
        "batch_size": 4,
        "checkpoint_every": 5,
        "validate_every": 10,
        "ema": 0.9,
        "log_every": 1,
        **settings,
    }
    return Recipe("toy", Settings(**given))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the newest checkpoint: weights, averages, optimizer states."""
    found = checkpoint.load(checkpoint.latest(folder / "checkpoints"))
    flat = {f"{stem}/{k}": v for stem, state in found.weights.items() for k, v in state.items()}
    for name, optimizer in found.state["optimizers"].items():
        flat |= {
            f"{name}/{i}/{k}": v
            for i, s in optimizer["state"].items()
            for k, v in s.items()
            if torch.is_tensor(v)
        }
    return flat


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys() and len(first) > 10
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_ten_and_ten_steps_equal_twenty_bit_for_bit(tmp_path):
    whole, halves = recipe(), recipe(steps=10)
    assert train(Predictor(tones()), whole, tmp_path / "whole").step == 20
    assert train(Predictor(tones()), halves, tmp_path / "halves").step == 10
    outcome = train(
        Predictor(tones(), seed=5), whole, tmp_path / "halves"
    )  # other initial weights must not matter
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "halves"))
    assert outcome.reason == "steps" and outcome.checkpoint.name == "step-00000020"
    timeless = [
        [
            {
                k: v
                for k, v in record.items()
                if k.startswith(("step", "loss", "error", "lr", "norm", "validation"))
                and not k.startswith("steps_per")
            }
            for record in journal.curve(tmp_path / run)
        ]
        for run in ("whole", "halves")
    ]
    assert timeless[0] == timeless[1]
    assert [r["step"] for r in timeless[0] if "validation" not in r] == list(range(1, 21))


def test_a_finished_run_keeps_the_figures_of_its_training(tmp_path):
    first = train(Predictor(tones()), recipe(), tmp_path)
    again = train(Predictor(tones()), recipe(), tmp_path)
    assert first.metrics["train_steps_per_s"] > 0 and again == first
    assert json.loads((tmp_path / "outcome.json").read_text())["metrics"] == first.metrics


def test_accumulated_gradients_equal_those_of_the_larger_batch(tmp_path):
    class Plain(Predictor):
        averaged = ()

        def updates(self, batch, step):
            frames = batch.tensors["frames"]
            yield Update(
                (self.modules["network"][0](frames[:, :-1])[..., :1] - frames[:, 1:]).square().mean(),
                ("network",),
            )

    def final(name, **settings):
        train(Plain(tones()), recipe(steps=1, ema=0.0, validate_every=0, **settings), tmp_path / name)
        return {k: v for k, v in weights(tmp_path / name).items() if k.startswith("network/0.")}

    one, parts = final("one", batch_size=12), final("parts", batch_size=4, accumulate=3)
    for name in one:
        assert torch.allclose(one[name], parts[name], atol=1e-6), name
    assert not torch.equal(one["network/0.weight"], Plain(tones()).modules["network"][0].weight)


def test_the_validation_judges_averaged_weights_and_the_best_checkpoint_is_kept(tmp_path):
    class Worsening(Predictor):
        def validate(self, step):
            average = self.plain["network"][0].weight.clone()
            self.seen = average
            return Validation({"error": float(step)})

    task = Worsening(tones())
    outcome = train(task, recipe(steps=100, validate_every=2, patience=3, keep=1), tmp_path)
    assert outcome.reason == "patience" and outcome.step == 8  # best at 2, then 4, 6 and 8 were worse
    assert (
        outcome.best.name == "step-00000002"
        and outcome.best.exists()
        and outcome.checkpoint.name == "step-00000008"
    )
    assert {p.name for p in (tmp_path / "checkpoints").iterdir()} == {"step-00000002", "step-00000008"}
    found = checkpoint.load(outcome.checkpoint)
    assert torch.equal(task.seen, found.weights["ema-network"]["0.weight"])
    assert not torch.equal(task.seen, found.weights["network"]["0.weight"])
    assert torch.equal(task.modules["network"][0].weight, found.weights["network"]["0.weight"])


def test_training_stops_at_a_validation_target_and_stays_there(tmp_path):
    class Improving(Predictor):
        def validate(self, step):
            return Validation({"error": 1.0 / step})

    reached = recipe(steps=100, validate_every=2, target=0.13)
    outcome = train(Improving(tones()), reached, tmp_path)
    assert outcome.reason == "target" and outcome.step == 8  # 1/6 is still above it
    assert outcome.best == outcome.checkpoint and outcome.validation == {"error": 0.125}
    assert train(Improving(tones()), reached, tmp_path) == outcome  # nothing is trained beyond it
    further = train(Improving(tones()), recipe(steps=100, validate_every=2, target=0.1), tmp_path)
    assert further.step == 10  # another target is no other recipe


@pytest.mark.parametrize("phase", ["wait", "forward", "backward", "optimizer", "bookkeeping"])
def test_the_time_of_a_step_is_accounted_for_where_it_goes(tmp_path, phase, monkeypatch):
    """On a clock that goes on in one part of a step alone, and in validations and checkpoints, which do not count."""
    from lib.training import loop

    now = [0.0]

    def second(*_):
        now[0] += 1.0

    class Timer(HostTimer):
        def now(self):
            return now[0]

    class Late(Batch):
        def to(self, device):
            second()
            return super().to(device)

    class Timed(Predictor):
        def collate(self, items):
            batch = super().collate(items)
            return Late(batch.ids, batch.frames, batch.tensors) if phase == "wait" else batch

        def updates(self, batch, step):
            if phase == "forward":
                second()
            yield from super().updates(batch, step)

        def validate(self, step):
            second()
            return super().validate(step)

    monkeypatch.setattr(loop, "HostTimer", Timer)
    save = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *args, **given: second() or save(*args, **given))
    task = Timed(tones())
    if phase == "backward":
        task.modules["network"][0].weight.register_hook(second)
    if phase == "optimizer":
        task.optimizers["network"].register_step_pre_hook(second)
    if phase == "bookkeeping":
        monkeypatch.setattr(journal.Journal, "train", second)
    outcome = train(task, recipe(steps=6, validate_every=2, checkpoint_every=3), tmp_path)
    shares = {name: share for name, share in outcome.rates.items() if name.endswith("_pct")}
    assert shares == {f"{name}_pct": 100.0 * (name == phase) for name in PHASES}
    # One second a step; a record is the next step's, and the first step warms up.
    assert outcome.rates["steps_per_s"] == 1.0 and outcome.seconds == (5 if phase == "bookkeeping" else 6)


def test_scalars_come_to_the_processor_together(monkeypatch):
    moved = []
    stack = torch.stack
    monkeypatch.setattr(torch, "stack", lambda tensors: moved.append(len(tensors)) or stack(tensors))
    collected = Scalars()
    for value in (1.0, 2.0, 6.0):
        collected.add("b", torch.tensor(value, requires_grad=True))
        collected.add("a", torch.tensor(value, dtype=torch.bfloat16))
    collected.add("once", torch.tensor([5.0])[0])
    assert not moved
    assert list(collected.means().items()) == [("b", 3.0), ("a", 3.0), ("once", 5.0)] and moved == [7]
    assert collected.means() == {}


def test_where_looking_is_waiting_a_nan_is_found_before_anything_is_saved(tmp_path, monkeypatch):
    """As on a GPU: the loss of step 7 is looked at when step 10 is saved, and named as that of step 7."""
    from lib.training import loop

    class Fragile(Predictor):
        def updates(self, batch, step):
            for update in super().updates(batch, step):
                yield dataclasses.replace(update, loss=update.loss * float("nan")) if step == 6 else update

    monkeypatch.setattr(loop, "Guard", lambda kept, at_once: Guard(kept, at_once=False))
    message = r"the loss for network is nan at step 7, on utterances tone-train-\d.*step-00000005 is intact"
    with pytest.raises(TrainingError, match=message):
        train(Fragile(tones()), recipe(log_every=100, validate_every=0), tmp_path)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]
    assert all(torch.isfinite(t).all() for t in weights(tmp_path).values())


def test_an_optimizer_is_fused_on_a_gpu_alone_and_a_run_may_change_its_device():
    parameter = nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter], 0.1)
    before = [dict(group) for group in optimizer.param_groups]
    hardware.fuse(optimizer.param_groups, torch.device("cpu"))
    assert optimizer.param_groups == before  # so that a CPU computes what it always did
    hardware.fuse(optimizer.param_groups, torch.device("cuda"))
    parameter.grad = torch.ones(3)
    optimizer.step()  # the fused kernel is there for the CPU, too
    saved = optimizer.state_dict()
    assert saved["param_groups"][0]["fused"] is True
    hardware.fuse(saved["param_groups"], torch.device("cpu"))
    other = torch.optim.AdamW([nn.Parameter(torch.ones(3))], 0.1)
    other.load_state_dict(saved)
    assert other.param_groups[0]["fused"] is None


def test_tf32_is_for_a_gpu_and_is_given_back():
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    for wanted in (True, False):
        with hardware.tensor_cores(torch.device("cuda"), wanted):
            assert (products.allow_tf32, convolutions.allow_tf32) == (wanted, wanted)
        with hardware.tensor_cores(torch.device("cpu"), wanted):
            assert (products.allow_tf32, convolutions.allow_tf32) == before
    assert (products.allow_tf32, convolutions.allow_tf32) == before


def test_the_peak_memory_of_a_run_is_not_that_of_whoever_started_it():
    """ru_maxrss survives exec: a small child of a large parent would be as large as its parent."""
    script = (
        "import subprocess, sys; large = b'x' * 400_000_000; "
        "child = 'import sys; sys.path.insert(0, sys.argv[1]); from lib import environment as e; '"
        "        'print(e.peak_rss_mb())'; "
        "print(subprocess.run([sys.executable, '-c', child, sys.argv[1]], capture_output=True, text=True).stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(REPOSITORY)], capture_output=True, text=True, check=True
    )
    assert 1 < float(done.stdout) < 200
    assert loop_memory()["peak_rss_mb"] == pytest.approx(environment.peak_rss_mb(), rel=0.1)


def test_the_loss_falls_and_the_journal_says_so(tmp_path):
    outcome = train(
        Predictor(tones()), recipe(steps=120, log_every=5), tmp_path, monitor=lambda: {"power_w": 7.0}
    )
    records = [r for r in journal.curve(tmp_path) if "validation" not in r]
    assert np.mean([r["error"] for r in records[-3:]]) < 0.7 * records[0]["error"]  # each the mean of 5 steps
    assert outcome.monitored == {"power_w": 7.0} and records[-1]["power_w"] == 7.0
    assert outcome.rates["frames_per_s"] == pytest.approx(
        16 * outcome.rates["steps_per_s"], rel=0.01
    )  # 4 x 4 frames
    assert outcome.peak_rss_mb > 50 and outcome.seconds > 0
    saved = json.loads((tmp_path / "outcome.json").read_text())
    assert saved["reason"] == "steps" and saved["metrics"] == outcome.metrics
    assert (
        outcome.metrics["power_w"] == 7.0
        and outcome.metrics["train_steps_per_s"] == outcome.rates["steps_per_s"]
    )
    assert not outcome.metrics.keys() - results.METRICS.keys()
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precisions_train_in_one_process_and_give_the_modules_back(tmp_path, precision):
    task = Predictor(tones())
    modules = dict(task.modules)
    outcome = train(task, recipe(steps=3, precision=precision), tmp_path)
    assert np.isfinite(list(outcome.losses.values())).all()
    assert task.modules == modules and task.modules["network"](torch.zeros(1, HOP)).dtype == torch.float32


def test_a_nan_in_the_data_names_the_clip(tmp_path):
    with pytest.raises(AudioError, match="utterance tone-train-3: 1 of 640 samples are NaN"):
        train(Predictor(tones(broken=3)), recipe(), tmp_path)


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_nan_in_the_network_stops_before_it_reaches_weights_or_checkpoint(tmp_path, where):
    class Fragile(Predictor):
        def updates(self, batch, step):
            for update in super().updates(batch, step):
                if step == 11 and where == "loss":
                    yield dataclasses.replace(update, loss=update.loss * float("nan"))
                elif step == 11:  # the square root's slope at 0 is infinite, times 0
                    yield dataclasses.replace(update, loss=update.loss + (update.loss * 0).sqrt())
                else:
                    yield update

    message = (
        rf"the {where} for network is nan at step 12, on utterances tone-train-\d.*step-00000010 is intact"
    )
    with pytest.raises(TrainingError, match=message):
        train(Fragile(tones()), recipe(), tmp_path)
    assert all(torch.isfinite(t).all() for t in weights(tmp_path).values())
    assert train(Predictor(tones()), recipe(), tmp_path).step == 20


def test_an_empty_split_is_named():
    with pytest.raises(MissingDataError, match="the validation split of corpus tones is empty"):
        Predictor(tones(splits=("train",)))


def test_a_checkpoint_of_another_recipe_is_refused_and_names_the_difference(tmp_path):
    train(Predictor(tones()), recipe(steps=5), tmp_path)
    other = dataclasses.replace(recipe(batch_size=6), model={"width": 8})
    with pytest.raises(
        TrainingError,
        match=r"^checkpoint \S+ was trained by another recipe \(model.width is 'unset' there, 8 here; "
        r"training.batch_size is 4 there, 6 here\): train in another folder, or with that recipe$",
    ):
        train(Predictor(tones()), other, tmp_path)
    assert train(Predictor(tones()), recipe(steps=6), tmp_path).step == 6  # more steps are no other recipe


def test_networks_that_changed_since_the_checkpoint_are_named(tmp_path):
    class Wider(Predictor):
        def __init__(self, corpus):
            super().__init__(corpus)
            self.modules["gain"] = nn.Linear(1, 2)
            self.optimizers["gain"] = torch.optim.SGD(self.modules["gain"].parameters(), 1e-2)

    train(Predictor(tones()), recipe(steps=5), tmp_path)
    with pytest.raises(
        TrainingError, match="step-00000005 does not fit the networks of toy as .*size mismatch for weight"
    ):
        train(Wider(tones()), recipe(), tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(Predictor(tones()), recipe(steps=5), tmp_path)
    file = tmp_path / "checkpoints" / "step-00000005" / "network.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match="step-00000005 cannot be read .*: delete it"):
        train(Predictor(tones()), recipe(), tmp_path)


def test_fp16_needs_a_gpu(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ParameterError, match="fp16, which needs a GPU; use bf16 or fp32"):
        train(Predictor(tones()), recipe(precision="fp16"), tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="file size limits are a POSIX call")
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnhandledThreadExceptionWarning"
)  # TensorBoard's writer says it twice
@pytest.mark.parametrize(
    "log_every, message",
    [
        (100, "cannot save .*step-00000010: .*free some space.* from step-00000005"),
        (1, "cannot write the learning curve in .*free some space"),
    ],
)
def test_a_disk_that_fills_up_leaves_the_last_checkpoint_intact(tmp_path, log_every, message):
    import resource

    class Filling(Predictor):
        def updates(self, batch, step):
            if step == 8:  # from here on no file may grow beyond 1 kB, as on a disk that has just filled up
                resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
            yield from super().updates(batch, step)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OutputError, match=message):
            train(Filling(tones()), recipe(log_every=log_every, validate_every=0), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]
    train(Predictor(tones()), recipe(log_every=100, validate_every=0), tmp_path)
    train(Predictor(tones()), recipe(log_every=100, validate_every=0), tmp_path / "whole")
    assert_same(weights(tmp_path / "whole"), weights(tmp_path))


SCRIPT = """
    import sys, time
    sys.path[:0] = [{repository!r}, {tests!r}]
    import torch
    torch.set_num_threads(1)
    import test_training_loop as toy
    class Slow(toy.Predictor):
        def updates(self, batch, step):
            time.sleep({pause})
            yield from super().updates(batch, step)
    task = Slow(toy.tones())
    outcome = toy.train(task, toy.recipe(steps={steps}, validate_every=0), sys.argv[1])
    total = sum(p.double().abs().sum().item() for module in task.modules.values() for p in module.parameters())
    sys.stdout.write(f"ended {{outcome.reason}} {{outcome.step}} with {{total.hex()}}\\n")
"""


def child(folder: Path, *launcher: str, steps: int = 20, pause: float = 0.0) -> subprocess.Popen:
    """A training run in a process of its own."""
    script = folder.parent / f"{folder.name}.py"
    text = SCRIPT.format(repository=str(REPOSITORY), tests=str(Path(__file__).parent), pause=pause, steps=steps)
    script.write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, *launcher, str(script), str(folder)],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_run_resumes_to_the_same_weights(tmp_path, how):
    process = child(tmp_path / "killed", pause=0.05)
    wait_for(tmp_path / "killed" / "checkpoints" / "step-00000005", process)
    process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    reached = checkpoint.step_of(checkpoint.latest(tmp_path / "killed" / "checkpoints"))
    assert 5 <= reached < 20
    if how == signal.SIGTERM:  # it finished its step and saved
        assert f"ended signal {reached}" in output
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the child
    try:
        train(Predictor(tones()), recipe(validate_every=0), tmp_path / "killed")
        train(Predictor(tones()), recipe(validate_every=0), tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert not list((tmp_path / "killed" / "checkpoints").glob(".step-*"))


@pytest.fixture
def interruptible():
    """SIGINT as it is in a terminal: a process that a script started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_a_command_finishes_the_step_and_saves(tmp_path, interruptible):
    with stopping.ctrl_c_asks():
        outcome = train(
            Predictor(tones()),
            recipe(steps=20),
            tmp_path,
            monitor=lambda: signal.raise_signal(signal.SIGINT) or {},
        )
    assert outcome.reason == "signal" and 0 < outcome.step < 20
    assert checkpoint.step_of(checkpoint.latest(tmp_path / "checkpoints")) == outcome.step
    with pytest.raises(KeyboardInterrupt), stopping.ctrl_c_asks():  # where no run is on
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_half_a_checkpoint_of_a_killed_process_is_ignored_and_removed(tmp_path):
    train(Predictor(tones()), recipe(steps=5), tmp_path)
    half = tmp_path / "checkpoints" / ".step-00000010.4242"
    half.mkdir()
    (half / "network.safetensors").write_bytes(b"\0" * 10)
    assert train(Predictor(tones()), recipe(steps=10), tmp_path).step == 10
    assert not half.exists()


@pytest.mark.slow
def test_two_processes_train_one_set_of_weights_and_resume(tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    for folder, steps in (("pair", 10), ("pair", 20), ("whole", 20)):
        process = child(tmp_path / folder, *launcher, steps=steps)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        ends = re.findall(rf"ended steps {steps} with (\S+)", output)
        assert len(ends) == 2 and ends[0] == ends[1]  # both hold the same weights
        outcome = json.loads((tmp_path / folder / "outcome.json").read_text())
        assert outcome["processes"] == 2  # and not twice one that takes itself for the only one
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "pair"))
    seen = json.loads((tmp_path / "pair" / "curve.jsonl").read_text().splitlines()[-1])
    assert seen["step"] == 20


@pytest.mark.slow
@pytest.mark.alone
def test_scaling_is_measured_and_a_failing_recipe_is_named(tmp_path):
    """On any machine two processes lie between no progress and a perfect doubling, with room for noise."""
    smoke = REPOSITORY / "params" / "smoke" / "recipes" / "tacotron2.yaml"
    measured = scaling.measure(smoke, 2, rounds=1)
    assert 0.05 < measured.efficiency < 1.6
    assert measured.efficiency == pytest.approx(measured.frames_per_s[1] / (2 * measured.frames_per_s[0]))
    broken = tmp_path / "broken.yaml"
    broken.write_text(smoke.read_text().replace("batch_size", "bath_size"))
    with pytest.raises(
        TrainingError, match="broken.yaml on 1 processes failed: training failed: unknown key .*'bath_size'"
    ):
        scaling.measure(broken, 2, rounds=1)


def test_training_begins_from_a_run_or_from_what_is_finished(tmp_path):
    train(Predictor(tones()), recipe(steps=5), tmp_path / "run")
    written = checkpoint.load(checkpoint.newest(tmp_path / "run")).weights
    (tmp_path / "finished").mkdir()

    def finished(folder: Path) -> dict:
        return {"gain": {"weight": torch.ones(1, 1), "bias": torch.zeros(1)}}

    def begun(folder: str, **options) -> dict[str, nn.Module]:
        networks = {**Predictor(tones(), seed=1).modules, "another": nn.Linear(1, 1)}
        networks["another"].weight.data.fill_(7.0)
        checkpoint.start(networks, str(tmp_path / folder), finished, **options)
        assert networks["another"].weight == 7, "what lies nowhere stays"
        return networks

    for options, stem in (({}, "network"), ({"averaged": True}, "ema-network")):
        state = begun("run", **options)["network"].state_dict()
        assert all(torch.equal(state[key], value) for key, value in written[stem].items())
    assert not torch.equal(written["network"]["0.weight"], written["ema-network"]["0.weight"])
    networks, before = begun("finished"), Predictor(tones(), seed=1).modules["network"]
    assert networks["gain"].weight == 1 and torch.equal(networks["network"][0].weight, before[0].weight)
    with pytest.raises(TrainingError, match="finished has other sizes than the recipe's"):
        checkpoint.start({"gain": nn.Linear(2, 1)}, str(tmp_path / "finished"), finished)


@pytest.mark.parametrize("rate, ramp, last_step", [(2e-3, 200, 10_000), (1.2e-3, 200, 6_000), (1e-2, 1, 60)])
def test_a_rate_rises_and_falls_to_the_last_bit_as_runs_were_begun_with(rate, ramp, last_step):
    for step in (0, 1, ramp - 1, ramp, last_step // 3, last_step - 1, last_step, 2 * last_step):
        done = min(step / last_step, 1.0)
        fallen = 0.03 + (1 - 0.03) * 0.5 * (1 + math.cos(math.pi * done))
        assert schedule.cosine(step, rate, ramp, last_step) == rate * min(1.0, (step + 1) / ramp) * fallen
