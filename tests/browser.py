"""A headless Chromium for tests of pages, skipped with the reason where there is none.

A test module marks itself with `pytestmark = NEEDED` and takes the fixture `browser` of `conftest.py`.
"""

from __future__ import annotations

import contextlib
import importlib.util

import pytest

from lib.report import pdf

CHROMIUM = pdf.browser()
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright==1.65.2"
)
NEEDED = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install -y chromium")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]
AXE = pytest.mark.skipif(
    importlib.util.find_spec("axe_playwright_python") is None,
    reason="axe is not installed: pip install axe-playwright-python==0.1.8",
)


@contextlib.contextmanager
def started():
    """A Chromium that asks nothing of the network by itself."""
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


def opened(where, address: str, **look):
    """A page of a browser or a context that notes what it requests and what it complains about. look: of `new_page`."""
    page = where.new_page(**look)
    page.requested, page.complaints = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(address)
    return page


def reloaded(page) -> None:
    """Load a page anew and wait for its end, also where it loads itself once more."""
    page.reload()
    page.wait_for_function("document.readyState === 'complete'")


def fetched(page) -> set[str]:
    """What a page asked for beyond what it carries itself."""
    return {url for url in page.requested if not url.startswith(("data:", "blob:"))}


def violations(page) -> list[str]:
    """What axe-core finds wrong with a page as it stands: "rule: where", for each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {node['target']} {node['html'][:160]}" for rule in found for node in rule["nodes"]]


def focus_shown(page) -> bool:
    """Whether the element that has the focus is seen to have it: an outline, or a ring of its neighbour."""
    return page.evaluate(
        """() => {
        const seen = e => {
            const look = e ? getComputedStyle(e) : null;
            if (!look) return false;
            return look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) > 0 || look.boxShadow !== "none";
        };
        const now = document.activeElement;
        return Boolean(seen(now) || seen(now.nextElementSibling));
    }"""
    )
