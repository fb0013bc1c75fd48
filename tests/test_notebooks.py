"""The notebooks: tidy in git, and every one of them runs headless in `smoke`."""

import json

import pytest

from lib import REPOSITORY, params, results, runner

NOTEBOOKS = params.notebooks()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean(path):
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells), "strip the outputs"
    assert cells[0]["cell_type"] == "markdown" and "colab-badge" in "".join(cells[0]["source"])
    for index, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            assert len(lines) <= 25, f"cell {index} has {len(lines)} lines: logic belongs in lib"
            assert not any(line.startswith(("def ", "class ")) for line in lines), (
                f"cell {index} defines something: that belongs in lib"
            )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """All notebooks run once, in a fresh outputs folder."""
    outputs = tmp_path_factory.mktemp("outputs")
    patch = pytest.MonkeyPatch()
    for name in ("SPEECH_HEADLESS", "SPEECH_OUTPUTS", "MPLBACKEND", "TOKENIZERS_PARALLELISM"):
        patch.delenv(name, raising=False)
    code = runner.run("smoke", outputs=outputs)
    patch.undo()
    return code, outputs / "smoke"


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
def test_the_report_holds_them(smoke):
    page = (smoke[1] / "report.html").read_text()
    assert len(page) < 15_000_000 and "vits-joe" in page and "data:audio/mpeg;base64" in page


def test_every_notebook_is_in_the_readme():
    readme = (REPOSITORY / "README.md").read_text()
    assert all(path.stem in readme for path in NOTEBOOKS)
