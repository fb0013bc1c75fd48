"""The report in a real browser: it asks nothing of the network, plays, sorts, filters and fits every screen."""

from __future__ import annotations

import shutil

import pytest
import report_tree
import test_report_articles

from lib import report
from lib.report import articles

chromium = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright==1.65.2"
)
pytestmark = pytest.mark.skipif(chromium is None, reason="no chromium: apt-get install -y chromium")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return report.render(*report_tree.build(tmp_path_factory.mktemp("outputs"), hostile=True))


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.requested, page.complaints = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(path.as_uri())
    yield page
    page.close()


def column(page, table: str, index: int) -> list[str]:
    values = f"rows => rows.map(row => row.cells[{index}].dataset.value || '')"
    return page.eval_on_selector_all(f"{table} tbody tr:not([hidden])", values)


def heard(page, index: int) -> None:
    """Returns once 0.1 s of the page's n-th clip have been played. (Its content policy rules out wait_for_function.)"""
    page.evaluate(
        """index => new Promise((done, fail) => {
        const audio = document.querySelectorAll('audio')[index];
        audio.addEventListener('error', () => fail(audio.error.message));
        const look = () => audio.currentTime > 0.1 ? done() : requestAnimationFrame(look);
        look();
    })""",
        index,
    )


def test_it_loads_nothing_but_itself_and_complains_about_nothing(page, path):
    page.locator(".play").first.click()
    heard(page, 0)
    assert {url for url in page.requested if not url.startswith("data:")} == {path.as_uri()}
    assert page.complaints == []
    assert page.title() == "Frugal speech: quick report"  # the hostile sentences did not run


def test_a_clip_plays_and_the_next_one_pauses_it(page):
    buttons = page.locator(".play")
    buttons.nth(0).focus()
    page.keyboard.press("Enter")
    heard(page, 0)
    first = page.evaluate(
        "(a => [a.duration, Number(a.dataset.seconds), a.paused])(document.querySelectorAll('audio')[0])"
    )
    assert first[0] == pytest.approx(first[1], abs=0.15) and first[2] is False
    assert buttons.nth(0).get_attribute("aria-label").startswith("Pause hibari baseline: The birch canoe")
    buttons.nth(1).click()
    heard(page, 1)
    assert page.evaluate("[...document.querySelectorAll('audio')].map(a => a.paused).slice(0, 2)") == [
        True,
        False,
    ]


def test_headers_sort_by_value_and_say_so(page):
    table = "#wide details:has(h3:text-is('Speed')) table"
    heads = page.locator(f"{table} thead th")
    names = heads.all_inner_texts()
    latency = next(i for i, name in enumerate(names) if name.startswith("Latency, median"))
    heads.nth(latency).locator("button").click()
    values = column(page, table, latency)
    assert values[:4] == ["13.0", "268.0", "677.0", "1060.0"] and set(values[4:]) == {
        ""
    }  # 1,060 as text would come second
    assert heads.nth(latency).get_attribute("aria-sort") == "ascending"
    heads.nth(latency).locator("button").press("Enter")
    assert column(page, table, latency)[:4] == ["1060.0", "677.0", "268.0", "13.0"]
    assert heads.nth(latency).get_attribute("aria-sort") == "descending"
    heads.nth(0).locator("button").click()
    assert heads.nth(latency).get_attribute("aria-sort") == "none"


def test_filter_and_view(page):
    rows = "#wide tbody tr:not([hidden])"
    before = page.locator(rows).count()
    page.fill("#filter", "hibari ONNX")
    assert page.locator(rows).count() == 4 < before
    assert page.locator("#matches").inner_text() == f"4 of {before} rows"
    page.fill("#filter", "no such thing")
    assert page.locator(rows).count() == 0
    page.fill("#filter", "")
    assert page.locator(rows).count() == before
    assert page.locator("#long").is_hidden()
    page.locator("fieldset label").nth(1).click()
    assert page.locator("#long").is_visible() and page.locator("#wide").is_hidden()
    page.fill("#filter", "cold_start_s")
    assert page.locator("#long tbody tr:not([hidden])").count() == 4


@pytest.mark.parametrize("width", [360, 800, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_never_wider_than_the_screen(browser, path, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".cards").is_visible()
    assert page.locator(".only-narrow").is_visible() == (width < 736)
    page.close()


def test_it_works_without_script(browser, path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.locator("audio[controls]").first.is_visible()
    assert page.locator("#long").is_visible() and page.locator("#filter").is_hidden()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_article_loads_nothing_but_itself_and_scrolls_only_inside(browser, tmp_path, scheme):
    path = articles.write(test_report_articles.notebook(tmp_path))
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    requested, complaints = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(path.as_uri())
    assert {url for url in requested if not url.startswith("data:")} == {path.as_uri()} and complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    code = page.locator("details.code pre").first
    assert code.is_hidden()
    page.locator("details.code summary").first.click()
    assert code.is_visible()
    page.close()
