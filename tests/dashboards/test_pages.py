"""Overview and Twin in a real browser: both themes, both widths, and every state a region can be in."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Browser, Page

from dashboards.views import STATIC
from tests.dashboards.conftest import SHOTS, Opener, Site

READY = {"/": ".tf-att[data-twin='P-07']", "/twin?id=P-07": ".tf-row[data-signal='flow'] .tf-value"}
PAINTS = "Number(document.querySelector('.st-key-v_charts .tf-view')?.dataset.paints ?? 0)"
SCHEME = "(document.querySelector('.stApp') && getComputedStyle(document.querySelector('.stApp')).colorScheme)"
RATE = """new Promise((done) => { const a = PAINTS, t = performance.now();
  setTimeout(() => done((PAINTS - a) / (performance.now() - t) * 1000), 3000); })"""
SHIFTS = """new Promise((done) => { let sum = 0; const seen = new PerformanceObserver((list) => {
  for (const e of list.getEntries()) sum += e.value; }); seen.observe({ type: "layout-shift", buffered: BUFFERED });
  setTimeout(() => done(sum), 3000); })"""


def ready(page: Page, path: str) -> None:
    page.wait_for_selector(READY[path])
    page.wait_for_function("document.fonts.status === 'loaded'")
    if path != "/":
        page.wait_for_function(f"{PAINTS} > 20")
        page.wait_for_selector(".tf-causetext")


def values(page: Page) -> str:
    return page.inner_text(".tf-signals")


@pytest.mark.parametrize(
    ("width", "theme"), [(1440, "light"), (1440, "dark"), (1000, "light"), (390, "light"), (390, "dark")]
)
@pytest.mark.parametrize("path", ["/", "/twin?id=P-07"])
def test_a_page_is_whole_without_errors_foreign_requests_or_sideways_scroll(
    open_page: Opener, path: str, width: int, theme: str
) -> None:
    page, watched = open_page(path, width=width, theme=theme)
    ready(page, path)
    SHOTS.mkdir(parents=True, exist_ok=True)
    name = "overview" if path == "/" else "twin"
    page.screenshot(path=SHOTS / f"{name}-{theme}-{width}.png", full_page=width < 640)
    assert watched.complaints() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme
    assert page.locator(".st-key-tf_nav a[aria-current=page]").inner_text() == name.title()


@pytest.mark.parametrize("path", ["/", "/twin?id=P-07"])
def test_nothing_jumps_while_loading_and_while_live(open_page: Opener, path: str) -> None:
    page, _ = open_page(path)
    ready(page, path)
    assert page.evaluate(SHIFTS.replace("BUFFERED", "true")) < 0.05
    assert page.evaluate(SHIFTS.replace("BUFFERED", "false")) < 0.001


def test_live_charts_paint_at_least_ten_times_a_second(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=P-07")
    ready(page, "/twin?id=P-07")
    rate = page.evaluate(RATE.replace("PAINTS", PAINTS))
    assert rate >= 10


def test_space_freezes_all_values_at_one_instant_and_l_returns_to_live(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=P-07")
    ready(page, "/twin?id=P-07")
    page.keyboard.press("Space")
    page.wait_for_selector(".tf-live[aria-pressed=true]")
    page.wait_for_function("document.querySelector('.tf-row .tf-ago').textContent.startsWith('at ')")
    frozen, clock = values(page), page.inner_text(".tf-utc")
    page.wait_for_function("text => document.querySelector('.tf-utc').textContent !== text", arg=clock)
    assert values(page) == frozen
    page.keyboard.press("l")
    page.wait_for_function("text => document.querySelector('.tf-signals').innerText !== text", arg=frozen)
    assert "at=" not in page.url


def test_the_address_gives_the_same_view_in_another_browser(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=P-07")
    ready(page, "/twin?id=P-07")
    page.click(".tf-ranges [data-range='1m']")
    page.keyboard.press("Space")
    page.wait_for_url(re.compile("at="))
    assert "range=1m" in page.url
    page.keyboard.press("ArrowLeft")
    address = page.url
    page.wait_for_function("document.querySelector('.st-key-v_charts .tf-note').textContent.startsWith('frozen')")
    shown = page.inner_text(".tf-instant")
    other, _ = open_page(address.split("/", 3)[3].join(["/", ""]))
    other.wait_for_selector(READY["/twin?id=P-07"])
    assert other.inner_text(".tf-instant") == shown
    assert other.get_attribute(".tf-ranges .tf-on", "data-range") == "1m"
    other.wait_for_function("text => document.querySelector('.tf-signals').innerText === text", arg=values(page))


def test_a_page_switch_keeps_pause_range_and_twin(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=P-07&range=1h&at=2026-11-21T07:46:09.108Z")
    page.wait_for_selector(".tf-row")
    page.keyboard.press("1")
    page.wait_for_selector(".tf-kpi")
    assert "at=2026-11-21T07:46:09.108Z" in page.url
    assert "range=1h" in page.url
    page.keyboard.press("2")
    page.wait_for_selector(".tf-row")
    assert "id=P-07" in page.url
    page.go_back()
    page.wait_for_selector(".tf-kpi")


def test_a_row_opens_its_twin_and_j_moves_through_the_rows(open_page: Opener) -> None:
    page, _ = open_page("/")
    ready(page, "/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.dataset.twin") == "P-11"
    page.keyboard.press("Enter")
    page.wait_for_selector(".tf-twinhead h1:text-is('P-11')")
    assert page.url.endswith("/twin?id=P-11")


def test_a_count_filters_the_list(open_page: Opener) -> None:
    page, _ = open_page("/")
    ready(page, "/")
    page.click(".tf-cell[data-state=offline]")
    page.wait_for_function("document.querySelectorAll('.tf-att').length === 1")
    assert page.get_attribute(".tf-att", "data-twin") == "T-02"


def test_old_values_say_so_in_grey(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=P-07")
    row = page.locator(".tf-row[data-signal=tank_level]")
    row.locator(".tf-stale").wait_for()
    assert row.locator(".tf-ago").inner_text().startswith("stale ")
    assert row.locator(".tf-value").evaluate("e => getComputedStyle(e).fontStyle") == "italic"


def test_a_killed_server_shows_no_link_and_all_comes_back_by_itself(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/twin?id=P-07")
    ready(page, "/twin?id=P-07")
    site.kill()
    page.wait_for_selector(".tf-link.tf-bad", timeout=5000)
    page.wait_for_function("document.querySelectorAll('.tf-signals .tf-stale').length === 9")
    page.wait_for_function("/no data for/.test(document.querySelector('.st-key-v_charts .tf-note').textContent)")
    assert page.locator(".tf-linkword").inner_text().startswith("No link")
    page.screenshot(path=SHOTS / "twin-nolink-light-1440.png")
    page.click(".tf-stop")
    assert "physical stop" in page.inner_text(".tf-answer")
    site.start()
    page.wait_for_selector(".tf-link:not(.tf-bad)", timeout=15_000)
    page.wait_for_function("document.querySelectorAll('.tf-signals .tf-stale').length === 1")


def test_an_empty_fleet_says_what_to_do_and_fills_by_itself(open_page: Opener, site: Site) -> None:
    site.mode("empty")
    page, _ = open_page("/")
    page.wait_for_selector("text=No twin has sent a sample yet")
    page.screenshot(path=SHOTS / "empty-light-1440.png")
    assert page.locator(".tf-command code").inner_text() == "twinflow replay husky"
    site.mode("fleet")
    page.wait_for_selector(READY["/"])


def test_a_failed_history_says_what_why_and_the_next_step_and_tries_again(open_page: Opener, site: Site) -> None:
    site.mode("broken")
    page, _ = open_page("/", theme="dark")
    page.wait_for_selector("text=The twins cannot be read")
    page.screenshot(path=SHOTS / "error-dark-1440.png")
    said = page.inner_text(".tf-failure")
    assert all(text in said for text in ("What", "Likely cause", "Next step", "twinflow logs history", "7f3a-22c1"))
    site.mode("fleet")
    page.click(".tf-failure >> text=Try again")
    page.wait_for_selector(READY["/"])
    assert page.locator(".tf-failure").count() == 0


def test_an_unknown_twin_says_so_and_offers_a_choice(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=nobody")
    page.wait_for_selector("text=There is no twin nobody")
    page.click(".tf-choice[data-twin=P-07]")
    page.wait_for_selector(".tf-row")
    assert page.url.endswith("/twin?id=P-07")


def test_stop_sends_the_ordinary_command_at_once_and_is_absent_without_commands(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/twin?id=P-07")
    page.click(".tf-stop:text-is('Stop P-07')")
    page.wait_for_selector(".tf-answer:has-text('Stop P-07: handed over, C-0915')")
    assert [(c["device"], c["verb"]) for c in site.sent()][-1:] == [("P-07", "stop")]
    site.mode("nocommands")
    other, _ = open_page("/")
    ready(other, "/")
    assert not other.locator(".tf-stop").is_visible()


def test_stop_elsewhere_asks_which_twin_and_offers_only_those_that_know_it(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/")
    ready(page, "/")
    page.click(".tf-stop:text-is('Stop…')")
    page.fill(".tf-chooser input", "T-02")
    page.wait_for_selector(".tf-chooser:has-text('No such twin')")
    page.fill(".tf-chooser input", "P-1")
    page.click(".tf-choice:has-text('Stop P-12')")
    page.wait_for_selector(".tf-answer:has-text('Stop P-12: handed over')")
    assert site.sent()[-1] == {"device": "P-12", "verb": "stop", "arguments": {}, "reason": "Stop on the page"}


def test_the_twin_page_acknowledges_and_shelves_its_alarm(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/twin?id=P-07")
    ready(page, "/twin?id=P-07")
    page.click(".st-key-v_cause .tf-primary")
    page.wait_for_selector(".st-key-v_cause .tf-primary:text-is('Acknowledging…'):disabled")
    page.click(".st-key-v_cause button:has-text('Shelve…')")
    page.fill("form.tf-ask [aria-label=Reason]", "valve is replaced")
    page.click("form.tf-ask .tf-primary")
    page.wait_for_selector("form.tf-ask", state="detached")
    sent = [(c["verb"], c["arguments"]) for c in site.sent()[-2:]]
    assert [verb for verb, _ in sent] == ["acknowledge", "shelve"]


def test_a_chosen_theme_holds_against_the_system_and_is_remembered(open_page: Opener) -> None:
    page, _ = open_page("/", theme="light")
    ready(page, "/")
    page.click(".tf-theme")
    page.wait_for_function(f"{SCHEME} === 'dark'")
    page.goto(page.url + "pipeline")
    page.wait_for_selector(".tf-timebar")
    page.wait_for_function(f"{SCHEME} === 'dark'")
    page.click(".tf-theme")
    page.wait_for_function(f"{SCHEME} === 'light'")
    assert page.evaluate("localStorage.getItem('tf-theme')") is None


def test_the_copied_query_is_the_statement_of_the_charts(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=P-07")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ready(page, "/twin?id=P-07")
    page.click("button:has-text('Copy query')")
    page.wait_for_selector("button:text-is('Copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "WHERE device = 'P-07' AND signal IN ('flow', " in copied


def test_dragging_the_strip_pauses_all_views_there(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=P-07")
    ready(page, "/twin?id=P-07")
    box = page.locator(".tf-strip").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    page.wait_for_selector(".tf-live[aria-pressed=true]")
    page.wait_for_function("document.querySelector('.st-key-v_charts .tf-note').textContent.startsWith('frozen')")
    page.select_option(".tf-pasttools select", "then")
    page.wait_for_url(re.compile("known="))


def test_a_rerun_of_the_page_leaves_the_charts_alone(open_page: Opener) -> None:
    page, _ = open_page("/twin?id=P-07")
    ready(page, "/twin?id=P-07")
    page.evaluate("document.querySelector('.st-key-v_charts canvas').dataset.mine = 'yes'")
    page.click(".st-key-tf_nav a >> nth=1")
    page.wait_for_function(f"n => {PAINTS} > n + 40", arg=page.evaluate(PAINTS))
    assert page.evaluate("document.querySelector('.st-key-v_charts canvas').dataset.mine") == "yes"


def test_the_question_mark_lists_the_keys(open_page: Opener) -> None:
    page, _ = open_page("/")
    ready(page, "/")
    page.keyboard.press("?")
    assert "next row" in page.inner_text(".tf-help")
    page.keyboard.press("Escape")
    assert page.locator(".tf-help").count() == 0


def test_a_page_written_in_python_only_appears_in_the_bar_and_shows_its_table(browser: Browser, tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (STATIC.parent / "README.md").read_text(), re.S)
    assert example is not None
    (tmp_path / "pumps.py").write_text(example[1])
    own = Site(TWINFLOW_PAGES=str(tmp_path))
    own.start()
    try:
        page = browser.new_page()
        page.goto(f"{own.url}/pumps")
        page.wait_for_selector(".st-key-tf_nav a[aria-current=page]:has-text('Pumps')")
        page.wait_for_selector("table >> text=T-02")
        page.close()
    finally:
        own.kill()


def test_a_foreign_host_name_is_refused_and_our_files_are_asked_for_again(site: Site) -> None:
    with urllib.request.urlopen(f"{site.url}/tf/lib.js") as answer:
        assert answer.headers["cache-control"] == "no-cache"
    with pytest.raises(HTTPError, match="400"):
        urllib.request.urlopen(urllib.request.Request(f"{site.url}/tf/lib.js", headers={"host": "evil.example"}))
