"""An executed notebook reads as an article: its text, tables, pictures and players, offline, with the code folded."""

from __future__ import annotations

import re

import nbformat
import pytest

from lib import report, results, runner
from lib.errors import OutputError
from lib.report import articles

DRAW = "import matplotlib.pyplot as plt\nfigure, _ = plt.subplots()\nplt.close(figure)\nfigure"
CLIP = "data:audio/mpeg;base64,SUQzBAAAAAAAI1RTU0UAAAAP"


def notebook(folder, name="01_baselines"):
    """An executed notebook with all that ours put out."""
    player = f'<div><b>hibari</b><audio controls src="{CLIP}"></audio></div>'
    picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    colab = "https://colab.research.google.com/"
    badge = f"[![Open in Colab]({colab}assets/colab-badge.svg)]({colab})"
    html = [nbformat.v4.new_output("display_data", {"text/html": player}) for _ in range(2)]
    cells = [
        nbformat.v4.new_markdown_cell(
            f"# 01 Baselines: what do we start from?\n\n{badge}\n\n**The question.** Well?"
        ),
        nbformat.v4.new_code_cell("import sys\nif 'google.colab' in sys.modules: pass"),
        nbformat.v4.new_code_cell(
            "show.players(clips)",
            outputs=[*html, nbformat.v4.new_output("stream", name="stderr", text="progress 50 %")],
        ),
        nbformat.v4.new_code_cell(
            "figure",
            outputs=[nbformat.v4.new_output("display_data", {"image/png": picture, "text/plain": "<Figure>"})],
        ),
        nbformat.v4.new_code_cell(
            "1 < 2", outputs=[nbformat.v4.new_output("stream", name="stdout", text="<b>raw</b>")]
        ),
    ]
    path = folder / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def page(tmp_path):
    return articles.write(notebook(tmp_path / "quick")).read_text()


def test_it_has_the_text_the_pictures_and_each_clip_once(page):
    assert "<title>Baselines: what do we start from?</title>" in page and "Well?" in page
    assert page.count(CLIP) == 1 and page.count("the same clip as above") == 1
    assert page.count("data:image/png;base64,") == 1 and "&lt;b&gt;raw" in page
    assert "progress 50" not in page and "google.colab" not in page


def test_it_asks_nothing_of_the_network_and_runs_no_script(page):
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page) and "<script" not in page
    assert "default-src 'none'" in page and "url(" not in page


def test_the_code_is_folded(page):
    assert page.count('<details class="code">') == 3
    assert page.index("<details") < page.index("show") < page.index("</details>")


def test_the_report_links_the_articles_that_are_there(tmp_path):
    folder = tmp_path / "quick"
    articles.write(notebook(folder))
    articles.write(notebook(folder, "08_report"))
    run = results.Run("01_baselines", folder)
    run.add("hibari", "baseline", "onnxruntime/cpu", "cold_start_s", 0.1)
    shown = report.render(folder).read_text()
    (link,) = articles.links(folder)
    assert (link.href, link.title, link.question) == (
        "notebooks/01_baselines.html",
        "Baselines",
        "what do we start from?",
    )
    assert 'href="notebooks/01_baselines.html"' in shown and (folder / link.href).is_file()
    assert "08_report.html" not in shown


def test_a_notebook_that_cannot_be_read_is_one_clear_error(tmp_path):
    broken = tmp_path / "01_baselines.ipynb"
    broken.write_text("{")
    with pytest.raises(OutputError, match="01_baselines.ipynb .*run the notebook again"):
        articles.write(broken)


def test_the_runner_writes_one_for_every_notebook_also_for_one_that_failed(tmp_path, monkeypatch):
    for name, value in {"SPEECH_HEADLESS": "", "SPEECH_OUTPUTS": "", "MPLBACKEND": "agg"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for name, code in (("00_good", DRAW), ("01_bad", "raise ValueError('the reason')")):
        cells = [
            nbformat.v4.new_markdown_cell(f"# {name}: a question"),
            nbformat.v4.new_code_cell("profile = 'smoke'", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(code),
        ]
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        nbformat.write(made, tmp_path / "notebooks" / f"{name}.ipynb")
        (tmp_path / "params" / "smoke").mkdir(parents=True, exist_ok=True)
        (tmp_path / "params" / "smoke" / f"{name}.yaml").write_text("profile: smoke\n")
    assert runner.run("smoke", outputs=tmp_path / "outputs", folder=tmp_path / "notebooks") == 1
    pages = {p.stem: p.read_text() for p in (tmp_path / "outputs" / "smoke" / "notebooks").glob("*.html")}
    assert "data:image/png;base64," in pages["00_good"] and "Figure size" not in pages["00_good"]
    assert "the reason" in pages["01_bad"]
