"""The headless runner: a failing notebook is reported with its cell, the others run, the report is rendered anyway."""

import json
import re

import nbformat
import pytest

from lib import runner


def write(folder, name, *cells):
    """A notebook whose first cell holds the parameters, and its YAML for `smoke`."""
    made = [nbformat.v4.new_code_cell("profile = 'smoke'\nn = 1", metadata={"tags": ["parameters"]})]
    made += [nbformat.v4.new_code_cell(cell) for cell in cells]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=made, metadata={"kernelspec": kernel})
    (folder / "notebooks").mkdir(exist_ok=True)
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    (folder / "params" / "smoke").mkdir(parents=True, exist_ok=True)
    (folder / "params" / "smoke" / f"{name}.yaml").write_text("profile: smoke\nn: 2\n")


REPORT = (
    "import os, pathlib\nfrom lib import report\n"
    "report.render(pathlib.Path(os.environ['SPEECH_OUTPUTS']) / profile, None)"
)
MEASURE = (
    "from lib import results\nrun = results.start('00_good', profile)\n"
    "run.add('hibari', 'baseline', 'onnxruntime/cpu', 'rtf', n / 100)"
)


@pytest.fixture
def project(tmp_path):
    write(tmp_path, "00_good", MEASURE)
    write(tmp_path, "01_bad", "x = 1", "raise ValueError('the reason it failed')")
    write(tmp_path, "02_later", "print(n)")
    write(tmp_path, "08_report", REPORT)
    return tmp_path


def run(project, capsys, **options):
    code = runner.run("smoke", outputs=project / "outputs", folder=project / "notebooks", **options)
    state = json.loads((project / "outputs" / "smoke" / "notebooks" / "state.json").read_text())
    return code, state


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """What the runner sets for its kernels must not outlive a test."""
    for name in ("SPEECH_HEADLESS", "SPEECH_OUTPUTS", "MPLBACKEND", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("MPLBACKEND", "agg")


def test_one_failure_stops_nothing_else_and_is_told(project, capsys, caplog):
    caplog.set_level("INFO")
    code, state = run(project, capsys)
    assert code == 1
    assert {name: entry["status"] for name, entry in state.items()} == {
        "00_good": "ok",
        "01_bad": "failed",
        "02_later": "ok",
        "08_report": "ok",
    }
    assert state["01_bad"]["cell"] == 2 + 1  # papermill puts the injected parameters in between
    assert re.search(
        r"01_bad: FAILED in cell 3 .*raise ValueError\('the reason it failed'\)", caplog.text, re.S
    )
    assert "left in all" in caplog.text
    asked = json.loads((project / "outputs" / "smoke" / "results" / "00_good.parameters.json").read_text())
    assert asked == {"parameters": {"profile": "smoke", "n": 2}, "set": {}}
    page = (project / "outputs" / "smoke" / "report.html").read_text()
    assert "the reason it failed" in page and "0.02" in page
    assert "2" in str(
        nbformat.read(project / "outputs" / "smoke" / "notebooks" / "02_later.ipynb", 4).cells[-1].outputs
    )


def test_only_and_resume(project, capsys, caplog):
    caplog.set_level("INFO")
    code, state = run(project, capsys, only=["0"])
    assert code == 0 and list(state) == ["00_good", "08_report"]
    code, state = run(project, capsys, resume=True)
    assert "00_good: already done" in caplog.text
    assert code == 1 and state["02_later"]["status"] == "ok"
    write(project, "00_good", MEASURE, "'changed'")
    caplog.clear()
    run(project, capsys, resume=True, only=["00_good"])
    assert "already done" not in caplog.text


def test_the_report_is_rendered_even_when_its_notebook_fails(project, capsys):
    write(project, "08_report", "raise RuntimeError('no report')")
    code, _ = run(project, capsys, only=["0"])
    assert code == 1
    assert (project / "outputs" / "smoke" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["quik"], "unknown profile 'quik': did you mean 'quick'"),
        (["smoke", "--only", "77"], "unknown notebook '77'"),
        (["smoke", "--set", "n_sentence=3"], "no chosen notebook has a parameter 'n_sentence'"),
        (["smoke", "--set", "seed"], "'seed' is not NAME=VALUE"),
    ],
)
def test_a_wrong_call_runs_nothing_and_says_why(arguments, message, capsys, tmp_path):
    assert runner.main([*arguments, "--outputs", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_unusable_outputs_folder_is_one_clear_error(project, tmp_path):
    from lib.errors import OutputError

    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match="check its permissions"):
        runner.run("smoke", outputs=blocked, folder=project / "notebooks")
