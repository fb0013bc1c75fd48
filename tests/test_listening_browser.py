"""The page in a real browser: a whole session by keyboard, through a reload and a lost network, comes back exactly."""

from __future__ import annotations

import json
import threading

import listening_kits as kits
import pytest
from browser import AXE, NEEDED, opened, playwright, reloaded, violations

from lib.listening import kit, ratings, server

pytestmark = NEEDED


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport={"width": 1024, "height": 768}, accept_downloads=True)
    yield context
    context.close()


def begin(page) -> None:
    """From the first screen to the first page, by keyboard."""
    page.locator("#number").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Space")
    page.wait_for_selector("#volume .clip.heard")
    page.keyboard.press("Enter")
    page.wait_for_selector("#level:not([hidden])")


def hear_all(page) -> None:
    """Space plays what was not heard yet."""
    clips = page.locator("section:not([hidden]) .clip")
    for _ in range(clips.count()):
        waiting = page.locator("section:not([hidden]) .clip:not(.heard)")
        before = waiting.count()
        page.keyboard.press("Space")
        playwright.expect(waiting).to_have_count(before - 1)


def answer(page, method: str, values: list[int]) -> None:
    """Rate the page that is shown, by keyboard, and go on."""
    if page.locator("#level").is_visible():
        hear_all(page)
        page.locator("#count").focus()
        page.keyboard.type(str(values[0]))
    else:
        hear_all(page)
        low = kit.SCALES[method][0]
        page.keyboard.press(str(values[0] if method == "acr" else values[0] - low + 1))
    assert page.locator("section:not([hidden]) .next").is_enabled()
    page.keyboard.press("Enter")


def trials(key, number: int) -> list[dict]:
    return [t for t in key.trials.values() if t["number"] == number]


def value_of(trial: dict) -> list[int]:
    return [trial["expected"]] if trial["expected"] is not None else kits.right(trial)


def saved(page, kind: str, folder):
    """The file that the page downloads."""
    with page.expect_download() as waiting:
        page.locator(f"#end [data-save={kind}]").press("Enter")
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


@pytest.mark.parametrize("method", ["acr", "ab", "ccr"])
def test_a_session_by_keyboard_with_a_reload_is_read_back_exactly(context, tmp_path, method):
    built = kits.make(tmp_path, method, sentences=2, traps=1)
    key = kit.read_key(tmp_path / "key.json")
    address = built.pages[0].as_uri() + "#3"
    page = opened(context, address)
    begin(page)
    mine = trials(key, 3)
    for number, trial in enumerate(mine):
        assert page.locator("#where").inner_text() == f"Page {number + 1} of {len(mine)}"
        if number == 4:  # a reload with a clip heard and a rating chosen, but not sent
            hear_all(page)
            page.keyboard.press("1")
            reloaded(page)
            playwright.expect(page.locator("#where")).to_have_text(f"Page 5 of {len(mine)}")
            assert page.locator("#rate .clip.heard").count() == page.locator("#rate .clip").count()
            assert page.locator("#rate input:checked").count() == 1
            page.keyboard.press("2")
            page.keyboard.press("Enter")
            continue
        answer(page, method, value_of(trial))
    page.wait_for_selector("#end:not([hidden])")
    files = [saved(page, kind, tmp_path) for kind in ("json", "csv")]
    reloaded(page)
    playwright.expect(page.locator("#end")).to_be_visible()  # it is over, and stays so
    from_json, from_csv = (ratings.read([path], key) for path in files)
    assert from_json == from_csv and len(from_json) == len(mine)
    second = kit.SCALES[method][0] + 1
    assert [list(r.values) for r in from_json] == [
        [second] if i == 4 else value_of(t) for i, t in enumerate(mine)
    ]
    assert [r.trial for r in from_json] == [t["id"] for t in mine]
    assert all(count >= 1 for r in from_json for count in r.plays)
    assert {u for u in page.requested if not u.startswith(("blob:", "data:"))} <= {
        address,
        built.pages[0].as_uri(),
    }
    assert page.complaints == []


def test_mushra_by_keyboard(context, tmp_path):
    built = kits.make(tmp_path, "mushra", sentences=4, groups=2)
    key = kit.read_key(tmp_path / "key.json")
    page = opened(context, built.pages[0].as_uri() + "#1")
    begin(page)
    mine = [t for t in trials(key, 1) if t["group"] == 1]
    answer(page, "mushra", [mine[0]["expected"]])
    for trial in mine[1:]:
        count = page.locator("#rate .clip").count()
        assert count == len(trial["clips"]) + 1
        page.keyboard.press("r")
        page.wait_for_selector("#rate .clip:nth-child(1).heard")
        for index in range(1, count):
            page.keyboard.press(str(index))
            page.wait_for_selector(f"#rate .clip:nth-child({index + 1}).heard")
        for index in range(1, count):
            assert page.locator("#rate .next").is_disabled()
            page.keyboard.press(str(index))
            page.keyboard.press("End")
            for _ in range(trial["shown"][index - 1] * 2):
                page.keyboard.press("PageDown")
        page.keyboard.press("Enter")
    page.wait_for_selector("#end:not([hidden])")
    read = ratings.read([saved(page, "json", tmp_path)], key)
    assert [list(r.values) for r in read[1:]] == [kits.right(t) for t in mine[1:]]
    assert page.complaints == []


def test_keys_that_are_faster_than_the_browser_play_what_was_asked_for_last(context, tmp_path):
    """A clip's "play" arrives after the key that began another: it must not stop that one."""
    built = kits.make(tmp_path, "ab", sentences=2, traps=0)
    page = opened(context, built.pages[0].as_uri() + "#1")
    begin(page)
    key = kit.read_key(tmp_path / "key.json")
    answer(page, "ab", value_of(trials(key, 1)[0]))
    page.evaluate("""() => {
        for (const key of ["a", "b"])
            document.getElementById("main").dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    }""")
    page.wait_for_selector("#rate .clip:nth-child(2).heard")
    assert page.locator("#rate .clip.heard").count() == 1  # the first was stopped


def test_nothing_can_be_rated_before_it_was_heard_to_its_end(context, tmp_path):
    built = kits.make(tmp_path, "acr", traps=0)
    page = opened(context, built.pages[0].as_uri())
    begin(page)
    assert page.locator("#count").is_disabled()
    hear_all(page)
    page.locator("#count").fill("4")
    page.locator("#level .next").click()
    for choice in page.locator("#rate .scale input").all():
        assert choice.is_disabled()
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    assert page.locator("#rate .next").is_disabled() and page.locator("#where").inner_text().startswith(
        "Page 2 "
    )
    page.keyboard.press("Space")
    page.keyboard.press("4")  # while it plays
    assert page.locator("#rate input:checked").count() == 0
    page.wait_for_selector("#rate .clip.heard")
    page.keyboard.press("4")
    assert page.locator("#rate .next").is_enabled()


def test_the_network_fails_in_the_middle_of_a_post_and_every_rating_arrives_once(context, tmp_path):
    """Some requests never leave, of some the answer is lost though the server has the rating; then a reload offline."""
    port = _free_port()
    built = kits.make(tmp_path, "acr", sentences=3, post=f"http://127.0.0.1:{port}/ratings", traps=1)
    with server.Server(tmp_path, port=port) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        page = opened(context, built.pages[0].as_uri() + "#2")
        faults = iter(["answer", "abort", "", "answer", "", "abort", "answer"])
        taken = []

        def disturbed(route):
            fault = next(faults, "")
            if fault == "abort":
                return route.abort("connectionreset")
            if fault == "answer":
                taken.append(route.fetch().status)  # the server has it, the page never learns
                return route.abort("connectionreset")
            route.continue_()

        page.route("**/ratings", disturbed)
        begin(page)
        mine = trials(running.key, 2)
        for number, trial in enumerate(mine):
            if number == 6:
                context.set_offline(True)
            answer(page, "acr", value_of(trial))
            if number == 8:
                reloaded(page)  # from the disk, still offline: what waits to be sent is still there
                playwright.expect(page.locator("#kept")).to_contain_text("still to be sent")
                context.set_offline(False)
        page.wait_for_selector("#end:not([hidden])")
        page.wait_for_selector("#outcome:text('All your answers have arrived')", timeout=60_000)
        running.shutdown()
        kept = ratings.collected(tmp_path, running.key)
    assert taken.count(201) >= 2
    assert {r.trial: list(r.values) for r in kept} == {t["id"]: value_of(t) for t in mine}
    assert len(kept) == len(mine)
    held = json.loads(saved(page, "json", tmp_path).read_text())
    assert [r["values"] for r in held["ratings"]] == [value_of(t) for t in mine]
    assert ratings.collected(tmp_path, running.key) == kept  # the file and the server say the same


FORGETS = """
    const loads = ((history.state || {}).loads || 0) + 1;
    history.replaceState({loads}, "");
    const own = {};
    const empty = {getItem: key => own[key] ?? null, setItem: (key, value) => { own[key] = value; }};
    if (FROM <= loads && loads < TO) Object.defineProperty(window, "localStorage", {get: () => empty});
"""  # what Chromium does to one page from a disk in sixty: an empty storage, and what is written there is forgotten
LOADED = "history.state.loads"


def of_its_own_accord(browser, once, loads: int) -> None:
    """`once` tells how often its page was loaded; where Chromium forgot too, which costs one more, another."""
    for _ in range(3):
        context = browser.new_context(viewport={"width": 1024, "height": 768})
        counted = once(context)
        context.close()
        if counted <= loads:
            break
    assert counted == loads


@pytest.mark.parametrize("forgetting, loads", [((0, 0), 2), ((1, 2), 3), ((2, 3), 3), ((2, 4), 4)])
def test_a_page_begins_only_where_its_storage_keeps_what_is_written(browser, tmp_path, forgetting, loads):
    built = kits.make(tmp_path, "acr", sentences=1, traps=0)
    script = FORGETS.replace("FROM", str(forgetting[0])).replace("TO", str(forgetting[1]))
    mine = trials(kit.read_key(tmp_path / "key.json"), 2)

    def once(context) -> int:
        page = context.new_page()
        page.add_init_script(script)
        page.goto(built.pages[0].as_uri() + "#2")
        playwright.expect(page.locator("#start")).to_be_visible()
        if page.evaluate(LOADED) > loads or page.locator("#warning").is_visible():
            return loads + 1
        assert page.evaluate("localStorage.length") == 1  # the mark
        begin(page)
        for trial in mine[:2]:
            answer(page, "acr", value_of(trial))
        counted = page.evaluate(LOADED)
        page.close()
        again = opened(context, built.pages[0].as_uri() + "#2")  # another day, in another tab
        playwright.expect(again.locator("#where")).to_have_text(f"Page 3 of {len(mine)}")
        return counted

    of_its_own_accord(browser, once, loads)


@pytest.mark.parametrize("later, loads", [((3, 4), 4), ((3, 5), 5)])
def test_a_page_whose_storage_comes_up_empty_later_finds_its_answers_again(browser, tmp_path, later, loads):
    built = kits.make(tmp_path, "acr", sentences=1, traps=0)
    mine = trials(kit.read_key(tmp_path / "key.json"), 2)

    def once(context) -> int:
        context.add_init_script(FORGETS.replace("FROM", str(later[0])).replace("TO", str(later[1])))
        page = opened(context, built.pages[0].as_uri() + "#2")
        if page.evaluate(LOADED) > 2:
            return loads + 1
        begin(page)
        for trial in mine[:2]:
            answer(page, "acr", value_of(trial))
        reloaded(page)
        if page.evaluate(LOADED) <= loads and page.locator("#warning").is_hidden():
            playwright.expect(page.locator("#where")).to_have_text(f"Page 3 of {len(mine)}")
            assert page.complaints == []
            return page.evaluate(LOADED)
        return loads + 1

    of_its_own_accord(browser, once, loads)


def test_a_page_whose_storage_never_keeps_anything_says_so_and_stops_loading_itself(context, tmp_path):
    built = kits.make(tmp_path, "acr", sentences=1, traps=0)
    context.add_init_script(FORGETS.replace("FROM", "1").replace("TO", "99"))
    page = opened(context, built.pages[0].as_uri() + "#2")
    playwright.expect(page.locator("#warning")).to_contain_text("keeps nothing")
    playwright.expect(page.locator("#start")).to_be_visible()
    assert page.evaluate(LOADED) == 4


def test_a_page_from_a_server_is_not_loaded_twice(context, tmp_path):
    kits.make(tmp_path, "acr", sentences=1, post="/ratings", traps=0)
    with server.Server(tmp_path) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        context.add_init_script(FORGETS.replace("FROM", "0").replace("TO", "0"))
        page = opened(context, f"http://127.0.0.1:{running.server_port}/1#1")
        playwright.expect(page.locator("#start")).to_be_visible()
        assert page.evaluate(LOADED) == 1
        running.shutdown()


def test_a_page_that_its_own_server_serves_sends_there_and_from_a_disk_it_sends_nothing(context, tmp_path):
    built = kits.make(tmp_path, "acr", sentences=1, post="/ratings", traps=0)
    with server.Server(tmp_path) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        for address in (f"http://127.0.0.1:{running.server_port}/1#1", built.pages[0].as_uri() + "#2"):
            page = opened(context, address)
            begin(page)
            for trial in trials(running.key, 1 if address.startswith("http") else 2):
                answer(page, "acr", value_of(trial))
            page.wait_for_selector("#end:not([hidden])")
            if address.startswith("http"):
                page.wait_for_selector("#outcome:text('All your answers have arrived')")
            else:
                assert "save your answers and send the file" in page.locator("#outcome").inner_text()
                assert not any("ratings" in url for url in page.requested)
            assert page.complaints == []
        running.shutdown()
        kept = ratings.collected(tmp_path, running.key)
    assert {r.trial: list(r.values) for r in kept} == {t["id"]: value_of(t) for t in trials(running.key, 1)}


@AXE
@pytest.mark.parametrize(
    "method, width, scheme",
    [("acr", 390, "dark"), ("mushra", 390, "dark"), ("ccr", 1280, "light"), ("ab", 1280, "light")],
)
def test_a_screen_reader_finds_nothing_amiss(browser, tmp_path, method, scheme, width):
    built = kits.make(tmp_path, method, sentences=1, traps=0)
    page = opened(
        browser,
        built.pages[0].as_uri(),
        viewport={"width": width, "height": 800},
        color_scheme=scheme,
        reduced_motion="reduce",
    )
    assert violations(page) == []
    begin(page)
    assert violations(page) == []  # the level check
    answer(page, "acr", [4])
    assert page.locator("#rate").is_visible() and violations(page) == []
    page.close()


def test_where_nothing_can_be_kept_it_says_so(context, tmp_path):
    built = kits.make(tmp_path, "acr", traps=0)
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }})"
    )
    page = opened(context, built.pages[0].as_uri())
    begin(page)
    assert "keeps nothing" in page.locator("#warning").inner_text()


@pytest.mark.parametrize(
    "method, width, scheme",
    [("mushra", 360, "light"), ("ab", 360, "light"), ("ccr", 390, "dark"), ("acr", 1280, "light")],
)
def test_it_fits_every_screen(browser, tmp_path, method, width, scheme):
    built = kits.make(tmp_path, method, sentences=1, traps=0)
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(built.pages[0].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    begin(page)
    answer(page, "acr", [4])
    assert page.locator("#rate").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for button in page.locator("#rate .play, #rate .choice").all():
        box = button.bounding_box()
        assert box["height"] >= 40 and box["width"] >= 40  # a thumb
    page.close()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
