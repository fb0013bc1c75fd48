"""A toolchain's Python: whole, or not there with the reason; an install that never ends costs one row."""

from __future__ import annotations

import os
import select
import sys

import pytest
from test_deploy import small_stage

from lib import results, targets
from lib.deploy import toolchains
from lib.studies import deployment
from lib.target import Target

NAMES = ["qnn/sa8255", "qnn/sa8797"]  # of one toolchain
HANGS = """
import os, threading
with open({fifo!r}, "w") as file:
    file.write("x"), file.flush()
    os.fork()
    threading.Event().wait()
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """What is run instead of pip: a list of programs to fill; the folder of the environment is their argument."""
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    given: list[str] = []
    monkeypatch.setattr(
        toolchains,
        "_commands",
        lambda target, folder: [[sys.executable, "-c", one, str(folder)] for one in given],
    )
    return given


MAKES = """
import pathlib, sys
python = pathlib.Path(sys.argv[1], "bin", "python")
python.parent.mkdir(parents=True)
python.touch()
"""


def test_an_install_that_never_ends_is_ended_with_its_children_and_costs_a_row(commands, tmp_path):
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    commands += [MAKES, HANGS.format(fifo=fifo)]
    (said,) = toolchains.install(NAMES, limit_s=3)
    assert said.startswith("qnn/sa8255: ") and said.endswith(
        "could not be installed: pip did not end within 3 s"
    )
    assert os.read(held, 1) == b"x", "it has run"
    assert select.select([held], [], [], 60)[0] and os.read(held, 1) == b"", (
        "nobody holds the other end any more"
    )
    os.close(held)
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    deployment.compare(run, [small_stage()], NAMES, precisions=["a8w8"])
    rows = results.read(run.path)
    assert list(rows.kind) == ["not_run", "not_run"]
    assert rows.detail.str.endswith("; the last install: pip did not end within 3 s").all()
    assert not targets.find(NAMES[0]).python.parents[1].exists()


def test_half_an_environment_is_not_taken_for_a_whole_one(commands):
    target = targets.find(NAMES[0])
    commands.append(MAKES)
    assert toolchains.install(NAMES) == [f"qnn/sa8255: {' '.join(target.toolchain)} installed"]
    assert target.why_not() is None and toolchains.install(NAMES) == []
    (target.python.parent / "left").touch()
    target.unfinished.write_text(toolchains.CUT_OFF)  # as it lies there from before the first file is written
    assert not target.installed and target.why_not().endswith("the last install: it was cut off")
    assert toolchains.install(NAMES) and target.why_not() is None
    assert not (target.python.parent / "left").exists(), "begun anew"


def test_pip_s_last_words_are_the_reason(commands):
    commands += [MAKES, "import sys; sys.exit('one line\\nNo matching distribution found')"]
    assert toolchains.install(NAMES)[0].endswith("could not be installed: No matching distribution found")
    target = targets.find(NAMES[0])
    assert target.why_not().endswith("the last install: No matching distribution found")
    assert not target.python.exists()


def test_the_commands_put_what_goes_alone_last(tmp_path):
    given = Target("made/npu", toolchain=("a==1", "b==2"), alone=("c==3",))
    venv, beside, alone = toolchains._commands(given, tmp_path)
    assert venv == [sys.executable, "-m", "venv", str(tmp_path)]
    assert beside[-2:] == ["a==1", "b==2"] and "--no-input" in beside
    assert alone[-2:] == ["--no-deps", "c==3"]


def test_a_toolchain_of_another_python_takes_one_that_is_here_or_says_so(tmp_path, monkeypatch):
    given = Target("made/npu", toolchain=("a==1",), pythons=("3.98", "3.99"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(toolchains.SpeechError, match="made for Python 3.98 or 3.99 alone, this is 3"):
        toolchains.interpreter(given)
    for version, says in (("3.98", "exit 127"), ("3.99", "echo 3.99")):  # a name without a Python behind it
        (tmp_path / f"python{version}").write_text(f"#!/bin/sh\n{says}\n")
        (tmp_path / f"python{version}").chmod(0o755)
    assert toolchains.interpreter(given) == str(tmp_path / "python3.99")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (
        toolchains.interpreter(Target("made/npu", toolchain=("a",), pythons=(here,))) == sys.executable
    )


def test_targets_of_one_toolchain_have_one_python():
    assert targets.find("edgetpu/usb").python == targets.find("vela/ethos-u65-512").python
