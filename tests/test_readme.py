"""What the README says works: its Python example runs, and the files it names exist."""

import re

from lib import REPOSITORY

README = (REPOSITORY / "README.md").read_text()


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "canoe.flac").stat().st_size > 10_000
    assert re.search(r"RTF \d\.\d+", capsys.readouterr().out)


def test_the_files_it_names_exist():
    named = set(re.findall(r"(?:lib|tests|notebooks|params|outputs/recorded)/[\w/.]+\.\w+", README))
    assert len(named) > 5
    assert not [name for name in named if not (REPOSITORY / name).exists()]


def test_its_commands_are_those_of_run_all():
    script = (REPOSITORY / "run_all.sh").read_text()
    for command in re.findall(r"\./run_all\.sh (\w+)", README):
        assert command in script or (REPOSITORY / "params" / command).is_dir(), command
