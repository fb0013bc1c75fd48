"""What is the story behind a section? Every executed notebook as one HTML page to read: text, players and figures.

`write` renders a notebook as the runner left it, `links` lists the pages that are there for the report. A page asks
nothing of the network, folds its code away, and reads in light and in dark.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lib.errors import OutputError
from lib.files import write_atomic

_HERE = Path(__file__).parent
_CELLS = """{% extends 'index.html.j2' %}
{% block input_group %}<details class="code"><summary>code</summary>{{ super() }}</details>{% endblock %}"""
FOLDER = "notebooks"  # under outputs/<profile>, beside the executed notebooks


@dataclass(frozen=True)
class Link:
    """A page as the report names it; href: relative to the report."""

    notebook: str
    href: str
    title: str
    question: str


def write(notebook: str | Path) -> Path:
    """Render an executed notebook as <name>.html beside it and return its path.

    notebook: an .ipynb as papermill writes it. Raises OutputError where it cannot be read or the page not be written.
    """
    import nbformat
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    path = Path(notebook)
    try:
        content = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises its own, json's and the system's errors
        raise OutputError(f"cannot read {path} ({error}): run the notebook again") from error
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("article.html.j2").render(
        title=_title(content) or path.stem,
        body=Markup(_body(content)),
        css=Markup(
            (_HERE / "page.css").read_text(encoding="utf-8")
            + (_HERE / "article.css").read_text(encoding="utf-8")
        ),
    )
    return write_atomic(path.with_suffix(".html"), page.encode())


def links(folder: str | Path) -> tuple[Link, ...]:
    """The articles of outputs/<profile>, in order, without the report's own."""
    made = []
    for page in sorted((Path(folder) / FOLDER).glob("[0-9][0-9]_*.html")):
        if page.stem.endswith("_report"):
            continue
        head = page.read_text(encoding="utf-8")[:200_000]
        title = re.search(r"<title>(.*?)</title>", head, re.DOTALL)
        name, _, question = (title.group(1) if title else page.stem).partition(": ")
        made.append(Link(page.stem, f"{FOLDER}/{page.name}", _plain(name), _plain(question)))
    return tuple(made)


def _body(content) -> str:
    """The notebook's cells as HTML by nbconvert, without its page around them, which loads scripts from afar."""
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.raw_template = _CELLS
    body, _ = exporter.from_notebook_node(_tidied(content))
    return _reachable(_each_clip_once(body))


def _reachable(body: str) -> str:
    """Tables as screen readers read them, pictures with a text, and by keyboard whatever may scroll."""
    body = re.sub(r"<th>\s*</th>", "<td></td>", body)  # pandas' corners, which head nothing
    body = re.sub(r"<img(?![^>]*\balt=)", '<img alt="figure of this cell"', body)
    return re.sub(r"<(pre|table)\b(?![^>]*tabindex)", r'<\1 tabindex="0"', body)


def _each_clip_once(body: str) -> str:
    """A clip that a notebook plays again becomes a link to where it is."""
    heard: set[str] = set()

    def once(audio: re.Match) -> str:
        source = re.search(r'src="(data:[^"]+)"', audio.group(0))
        if source is None:
            return audio.group(0)
        key = hashlib.sha256(source.group(1).encode()).hexdigest()[:12]
        if key in heard:
            return f'<a href="#clip-{key}">the same clip as above</a>'
        heard.add(key)
        return audio.group(0).replace("<audio", f'<audio id="clip-{key}"', 1)

    return re.sub(r"<audio\b.*?</audio>", once, body, flags=re.DOTALL)


def _tidied(content):
    """A copy without what is no part of the article: progress on stderr, the Colab cell and badge, widgets' states."""
    import copy

    content = copy.deepcopy(content)
    content.metadata.pop("widgets", None)
    kept = []
    for cell in content.cells:
        if cell.cell_type == "code":
            if "google.colab" in cell.source:
                continue
            cell.outputs = [
                out for out in cell.outputs if not (out.output_type == "stream" and out.name == "stderr")
            ]
        else:
            cell.source = re.sub(
                r"\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)\s*", "", cell.source
            )  # badges load from afar
        kept.append(cell)
    content.cells = kept
    return content


def _title(content) -> str:
    first = next((cell.source for cell in content.cells if cell.cell_type == "markdown"), "")
    heading = re.match(r"#\s+(?:\d+\s+)?(.+)", first)
    return heading.group(1).strip() if heading else ""


def _plain(text: str) -> str:
    import html

    return html.unescape(re.sub(r"\s+", " ", text)).strip()
