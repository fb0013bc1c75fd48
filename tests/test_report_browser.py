"""The report in a real browser: it asks nothing of the network, plays, sorts, filters and fits every screen."""

from __future__ import annotations

import re

import pytest
import report_tree
import test_report_articles
from browser import AXE, NEEDED, fetched, focus_shown, opened, violations

from lib import report
from lib.report import articles, portraits

pytestmark = NEEDED


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return report.render(*report_tree.build(tmp_path_factory.mktemp("outputs"), hostile=True))


@pytest.fixture
def page(browser, path):
    page = opened(browser, path.as_uri(), viewport={"width": 1280, "height": 900})
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
    assert fetched(page) == {path.as_uri()}
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
    assert values[:4] == ["13", "268", "677", "1060"] and set(values[4:]) == {
        ""
    }  # 1,060 as text would come second
    assert heads.nth(latency).get_attribute("aria-sort") == "ascending"
    heads.nth(latency).locator("button").press("Enter")
    assert column(page, table, latency)[:4] == ["1060", "677", "268", "13"]
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
    assert page.locator(".only-narrow").first.is_visible() == (width < 736)
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
    page = opened(browser, path.as_uri(), viewport={"width": 390, "height": 800}, color_scheme=scheme)
    assert fetched(page) == {path.as_uri()} and page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    code = page.locator("details.code pre").first
    assert code.is_hidden()
    page.locator("details.code summary").first.click()
    assert code.is_visible()
    page.close()


@pytest.mark.parametrize("system", ["fastspeech2", "hifigan", "istft"])
def test_the_tables_of_a_card_are_reached_by_the_keyboard(system):
    card = str(portraits._card(system))
    tables = re.findall(r'<div class="scroll" role="region" tabindex="0" aria-label="(.*?)"><table>', card)
    assert len(tables) == card.count("<table>") == card.count("</table></div>") > 0
    assert len(set(tables)) == len(tables)


@AXE
@pytest.mark.parametrize("width, scheme", [(390, "dark"), (1280, "light")])
def test_a_screen_reader_finds_nothing_amiss(browser, path, tmp_path, width, scheme):
    """The report, the page of a system and an article, with everything unfolded, in both views of the numbers."""
    look = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    article = articles.write(test_report_articles.notebook(tmp_path))
    for file in (path, path.parent / "systems" / "hibari.html", article):
        page = opened(browser, file.as_uri(), **look)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert violations(page) == [], file.name
        if file == path:
            page.locator("fieldset label").nth(1).click()
            assert violations(page) == []
        page.close()


@pytest.mark.parametrize("name", ["report", "systems/hibari"])
def test_whatever_may_scroll_is_reached_by_the_keyboard(browser, path, name):
    """Also where this report's content is too short to scroll, for scrolling is all that axe sees."""
    page = opened(browser, (path.parent / f"{name}.html").as_uri(), viewport={"width": 390, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    scrolling = page.evaluate(
        """() => [...document.querySelectorAll('main *')]
        .filter(e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX))
        .map(e => [e.outerHTML.slice(0, 80), e.tabIndex, e.getAttribute('aria-label')])"""
    )
    labels = [label for _, _, label in scrolling]
    assert len(labels) > 1 and len(set(labels)) == len(labels)
    assert [html for html, index, label in scrolling if index < 0 or not label] == []
    page.close()


def test_the_keyboard_reaches_everything_and_one_sees_where_it_is(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip" and focus_shown(page)
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")  # from there on, past the first screen
    assert page.evaluate("document.activeElement.closest('main') !== null")
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('main :is(a[href], button, input, summary, [tabindex="0"])')]
        .filter(e => e.offsetParent !== null && e.type !== 'radio').length"""
    )
    seen = 0
    while page.evaluate("document.activeElement.closest('main') !== null"):
        assert focus_shown(page), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
        seen += page.evaluate("document.activeElement.type !== 'radio'")
        page.keyboard.press("Tab")
    assert seen == wanted > 30


def test_a_system_has_a_page_with_its_clips_and_their_spectrograms(browser, path):
    report_page = opened(browser, path.as_uri())
    report_page.locator(".need .choice a").first.click()
    report_page.wait_for_url("**/systems/hibari.html")
    assert report_page.locator("img.mel").count() == len(report_tree.SENTENCES)
    sizes = report_page.eval_on_selector_all("img.mel", "all => all.map(i => i.naturalHeight)")
    assert set(sizes) == {80}  # bands
    report_page.locator(".play").first.click()
    heard(report_page, 0)
    assert report_page.complaints == []
    report_page.locator(".meta a").click()
    report_page.wait_for_url("**/report.html")
    report_page.close()
