"""The notebooks: tidy in git, and every one of them runs headless in `smoke`, also with a target that is new."""

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest

from lib import REPOSITORY, params, results

NOTEBOOKS = params.notebooks()
LINE = '        Target("torch-compile/cpu", **_TORCH),\n'  # of the table of targets

DUMMY = '''
"""A target that answers as PyTorch does."""

from lib.deploy import torch_modules
from lib.deploy.job import Job, Loaded

READS = ("network.pt",)
PRECISIONS = ("fp32",)


def load(job: Job) -> Loaded:
    network, inputs, _ = torch_modules.opened(Job(job.folder, "dummy/cpu", job.precision, job.threads))
    return Loaded(torch_modules.runner(network, inputs, job), detail={"dummy": True})
'''


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean(path):
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), "strip the outputs"
    assert cells[0]["cell_type"] == "markdown" and "colab-badge" in "".join(cells[0]["source"])
    for index, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            declared = "parameters" in cell["metadata"].get("tags", [])
            if declared:  # the comments that head its groups are no logic
                lines = [line for line in lines if not line.startswith("#")]
            assert len(lines) <= (45 if declared else 25), (
                f"cell {index} has {len(lines)} lines: logic belongs in lib"
            )
            assert not any(line.startswith(("def ", "class ")) for line in lines), (
                f"cell {index} defines something: that belongs in lib"
            )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_table_is_made_and_never_shown(path):
    """What a cell's last line returns is shown by itself; what stands before that must be displayed."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    for text in ("".join(cell["source"]) for cell in cells):
        if "google.colab" in text:  # holds lines that are no Python
            continue
        body = ast.parse(text).body
        inner = [line for part in body for line in ast.walk(part) if isinstance(line, ast.Expr)]
        lost = [ast.unparse(line) for line in inner if line is not body[-1]]
        tables = ("show.table(", "show.full(", "show.claims(", "show.verdicts(", "show.answer(")
        assert not [line for line in lost if line.startswith(tables)]


def test_who_wants_no_voice_gets_none(tmp_path, monkeypatch):
    """03 with nobody to learn: what is above the recogniser says so, and nothing fails."""
    from IPython.display import display

    from lib import environment
    from lib.measure import scorer

    monkeypatch.setenv("SPEECH_OUTPUTS", str(tmp_path))
    monkeypatch.setattr(scorer, "Scorer", lambda threads: None)
    monkeypatch.setattr(environment, "pin_threads", lambda threads: None)
    path = next(path for path in NOTEBOOKS if path.stem == "03_finetuning")
    cells = json.loads(path.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    last = next(number for number, text in enumerate(texts) if text.startswith("## Whisper"))
    known = {"display": display}
    for cell, text in list(zip(cells, texts))[:last]:
        if cell["cell_type"] == "code" and "google.colab" not in text:
            exec(text, known)
        if "parameters" in cell["metadata"].get("tags", []):
            known |= {"voices": [], "voice_systems": []}
    assert known["learnt"] == {} and known["cases"] == {}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """(exit status, folder of the results) of all notebooks in a copy of the repository, to which a target was added:
    one file and one line.
    """
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(REPOSITORY / "lib", copy / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("notebooks", "params", "outputs/recorded"):
        shutil.copytree(REPOSITORY / folder, copy / folder)
    (copy / "lib" / "deploy" / "dummy.py").write_text(DUMMY)
    _replace(copy / "lib" / "targets.py", LINE, LINE + '        Target("dummy/cpu"),\n')
    _replace(
        copy / "params" / "smoke" / "06_gpu_vs_npu.yaml",
        "targets: [torch/cpu,",
        "targets: [torch/cpu, dummy/cpu,",
    )
    apart = ("SPEECH_HEADLESS", "SPEECH_OUTPUTS", "MPLBACKEND", "TOKENIZERS_PARALLELISM")
    environment = {name: value for name, value in os.environ.items() if name not in apart}
    done = subprocess.run(
        [sys.executable, "-m", "lib.runner", "smoke"], cwd=copy, env=environment | {"PYTHONPATH": str(copy)}
    )
    return done.returncode, copy / "outputs" / "smoke"


def _replace(path, old, new):
    assert path.read_text().count(old) == 1, f"{path.name} does not hold {old!r} once"
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.slow
def test_every_notebook_runs(smoke):
    code, folder = smoke
    state = json.loads((folder / "notebooks" / "state.json").read_text())
    assert {name: entry["status"] for name, entry in state.items()} == {path.stem: "ok" for path in NOTEBOOKS}
    assert code == 0
    assert max(entry["peak_gb"] for entry in state.values()) < 6


@pytest.mark.slow
def test_the_systems_are_measured_in_full(smoke):
    table = results.read(smoke[1] / "results")
    for system, target in (
        ("vits-joe", "torch/cpu"),
        ("vits-joe", "onnxruntime/cpu"),
        ("hibari", "onnxruntime/cpu"),
    ):
        mine = table[(table.system == system) & (table.target == target) & (table.variant == "baseline")]
        wanted = {
            "rtf",
            "latency_ms_p50",
            "size_mb",
            "peak_rss_mb",
            "wer",
            "wer_raw",
            "mos_predicted",
            "cold_start_s",
        }
        assert wanted <= set(mine.metric), f"{system} on {target} lacks {wanted - set(mine.metric)}"
    truth = table[table.system == "ground-truth"]
    assert {"wer", "mos_predicted"} <= set(truth.metric)


@pytest.mark.slow
def test_a_new_target_is_one_file_and_one_line(smoke):
    table = results.read(smoke[1] / "results" / "06_gpu_vs_npu.jsonl")
    mine = table[table.target == "dummy/cpu"]
    assert {"latency_ms_p50", "snr_db", "speedup"} <= set(mine.metric) and set(mine.kind) == {"measured"}
    assert set(table[table.target == "torch/cuda"].kind) == {"not_run"}


@pytest.mark.slow
def test_the_report_holds_them(smoke):
    page = (smoke[1] / "report.html").read_text()
    assert len(page) < 15_000_000 and "vits-joe" in page and "data:audio/mpeg;base64" in page


def test_every_notebook_is_in_the_readme():
    readme = (REPOSITORY / "README.md").read_text()
    assert all(path.stem in readme for path in NOTEBOOKS)
