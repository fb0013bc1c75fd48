"""What does a listener see? The page of one group as a single HTML file that holds its clips, styles and
script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

from lib.errors import ParameterError

_HERE = Path(__file__).parent
LIMIT_BYTES = 40_000_000  # what phones still open

WORDS = {  # method -> (the question, what to do, the scale from first to last)
    "acr": (
        "How natural does it sound?",
        "You hear one sentence at a time. Judge the voice, not what it says: 5 would be a person speaking.",
        (("1", "Bad"), ("2", "Poor"), ("3", "Fair"), ("4", "Good"), ("5", "Excellent")),
    ),
    "ab": (
        "Which sounds more natural?",
        "You hear the same sentence twice. Choose the one that sounds more like a person speaking.",
        (("-1", "The first"), ("0", "No difference"), ("1", "The second")),
    ),
    "ccr": (
        "How does the second compare with the first?",
        "You hear the same sentence twice. Say whether the second sounds more or less natural than the first.",
        (
            ("-3", "Much worse"),
            ("-2", "Worse"),
            ("-1", "Slightly worse"),
            ("0", "About the same"),
            ("1", "Slightly better"),
            ("2", "Better"),
            ("3", "Much better"),
        ),
    ),
    "mushra": (
        "How close to the reference does each one sound?",
        "You hear a reference and several versions of it, one of which is the reference itself: it should get 100. "
        "Compare as often as you like.",
        (("0", "Bad"), ("25", "Poor"), ("50", "Fair"), ("75", "Good"), ("100", "Excellent")),
    ),
}


def render(data: dict, *, post: str = "") -> bytes:
    """The page as UTF-8 HTML. data: as `kit.make` builds it; post: where ratings are sent, "" for nowhere;
    "/ratings": to the server that serves the page, if one does.

    Its content policy allows its own script, its own clips and requests to `post`, and nothing else.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    origin = ""
    if post.startswith("/"):
        origin = "'self'"
    elif post:
        parts = urlsplit(post)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ParameterError(f"post {post!r} is no address like https://host/ratings or /ratings")
        origin = f"{parts.scheme}://{parts.netloc}"
    question, task, scale = WORDS[data["method"]]
    told = {
        **data,
        "post": post,
        "scale": [[int(value), label] for value, label in scale],
        "question": question,
    }
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined)
    html = environment.get_template("page.html.j2").render(
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=json.dumps(told).replace("<", "\\u003c"),
        connect=origin or "'none'",
        question=question,
        task=task,
        traps=data["method"] != "mushra",
        pages=len(data["sessions"][0]),
        listeners=len(data["sessions"]),
    )
    page = html.encode()
    if len(page) > LIMIT_BYTES:
        raise ParameterError(
            f"the page of group {data['group']} has {len(page) / 1e6:.0f} MB: use more groups or fewer sentences"
        )
    return page
