"""How do numbers become HTML? The templates beside this file, with what all of them may call."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from lib.report import style, tables, vocabulary
from lib.report.players import notebook_title
from lib.results import METRICS

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
SHORT_TABLE = 14  # lines; longer tables start folded


def render(template: str, context: Mapping[str, object]) -> bytes:
    """The template filled in, as UTF-8; every page gets its style and its script with the hash that permits it."""
    script = text("page.js")
    page = {
        "css": Markup(text("page.css")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return _environment().get_template(template).render({**page, **context}).encode()


def text(name: str) -> str:
    """A file of this folder."""
    return (HERE / name).read_text(encoding="utf-8")


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        color=style.color,
        role_label=vocabulary.ROLE_LABEL,
        notebook_title=notebook_title,
        shorten=tables.shorten,
        read=tables.read,
        kind_text=tables.kind_text,
        metrics=METRICS,
        short_table=SHORT_TABLE,
    )
    return environment
