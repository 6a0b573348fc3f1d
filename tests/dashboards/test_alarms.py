"""Alarms in a real browser: what is shown, how it is acknowledged and shelved, and every state the page can be in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.dashboards.conftest import Opener, Site
from tests.dashboards.stage import Stage, shifts, shot, sideways, until_text

ROW = ".tf-alarmrow"
WATCH = """() => {
  globalThis.seen = [];
  const text = (s) => document.querySelector(s)?.textContent;
  new MutationObserver(() => seen.push([text(".st-key-v_alarmdetail .tf-primary"),
    text(".tf-alarmrow[data-key='A-2206'] .tf-said")])).observe(document.body, { subtree: true, childList: true,
    characterData: true });
}"""
THREE_HOURS_AGO = """async () => {
  const { clock } = await import("/tf/lib.js");
  clock.set({ atMs: Date.now() - 3 * 3600e3 });
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    stage = Stage()
    stage.start()
    yield stage
    stage.kill()


def ready(page: Page) -> None:
    page.wait_for_selector(f"{ROW}[data-key=A-2207]")
    page.wait_for_selector(".tf-alarmchart canvas")
    page.wait_for_function("document.fonts.status === 'loaded'")


def row(name: str) -> str:
    return f"{ROW}[data-key={name}]"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1000, 390])
def test_the_page_is_whole_without_errors_foreign_requests_or_sideways_scroll(
    open_page: Opener, width: int, theme: str
) -> None:
    page, watched = open_page("/alarms", width=width, theme=theme)
    ready(page)
    shot(page, f"alarms-{theme}-{width}")
    assert watched.complaints() == []
    assert sideways(page) <= 0
    assert page.inner_text(".tf-chip[data-filter=unacked] b") == "5"
    assert page.inner_text(".tf-headfig .tf-figure2 >> nth=1") == "4 min 12 s"


def test_nothing_jumps_while_loading_and_while_live(open_page: Opener) -> None:
    page, _ = open_page("/alarms")
    ready(page)
    assert shifts(page, buffered=True) < 0.05
    assert shifts(page, buffered=False) < 0.001


def test_rows_are_ordered_by_what_waits_then_priority_then_time_and_the_rest_is_folded(open_page: Opener) -> None:
    page, _ = open_page("/alarms")
    ready(page)
    twins = page.locator(f"{ROW} .tf-who b").all_inner_texts()
    assert twins[:8] == ["P-07", "P-13", "P-24", "P-30", "P-21", "P-11", "P-02", "P-04"]
    fold = page.inner_text(".tf-fold")
    assert fold.startswith("4 more: 3 acknowledged, 1 shelved")
    page.click(".tf-fold")
    page.wait_for_selector(row("A-2202"))
    assert page.inner_text(f"{row('A-2202')} .tf-said").startswith("shelved until ")


def test_a_filter_shows_its_rows_and_an_empty_one_says_so(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/alarms")
    ready(page)
    page.click(".tf-chip[data-filter=returned]")
    page.wait_for_function("document.querySelectorAll('.tf-alarmrow').length === 2")
    assert page.inner_text(f"{row('A-2200')} .tf-said") == "returned, not acknowledged · 2×"
    site.mode("quiet")
    page.wait_for_selector(".tf-empty:has-text('Show open alarms')", timeout=40_000)
    page.click("text=Show open alarms")
    until_text(page, ".tf-empty h3", "No open alarm")


def test_j_and_k_walk_the_rows_and_the_detail_follows(open_page: Opener) -> None:
    page, _ = open_page("/alarms")
    ready(page)
    page.keyboard.press("j")
    until_text(page, ".st-key-v_alarmdetail h2", "P-13")
    page.keyboard.press("j")
    page.keyboard.press("k")
    until_text(page, ".st-key-v_alarmdetail h2", "P-13")
    assert "sel=A-2206" in page.url
    page.keyboard.press("Enter")
    page.wait_for_selector(".tf-twinhead h1:text-is('P-13')")


def test_an_acknowledgement_shows_only_when_the_command_is_confirmed(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/alarms?sel=A-2206")
    ready(page)
    page.evaluate(WATCH)
    page.keyboard.press("a")
    until_text(page, f"{row('A-2206')} .tf-said", "acknowledged by page")
    seen = page.evaluate("seen")
    assert ["Acknowledging…A", "not acknowledged"] in seen
    asked = [c for c in site.sent() if c["device"] == "P-13"]
    assert [(c["verb"], str(c["arguments"])) for c in asked] == [("acknowledge", "{'alarm': 'A-2206'}")]
    assert page.locator(".st-key-v_alarmdetail .tf-primary").count() == 0


def test_a_refused_acknowledgement_leaves_the_alarm_as_it_was_and_says_why(open_page: Opener, site: Site) -> None:
    site.mode("refusing")
    page, _ = open_page("/alarms?sel=A-2207")
    ready(page)
    page.click(".st-key-v_alarmdetail .tf-primary")
    until_text(
        page, ".st-key-v_alarmdetail [role=status]", "Refused by the check “role”: page may not do this on P-07."
    )
    until_text(page, f"{row('A-2207')} .tf-said", "not acknowledged")
    shot(page, "alarms-refused-light-1440")
    assert page.is_enabled(".st-key-v_alarmdetail .tf-primary")


def test_marked_rows_are_acknowledged_together(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/alarms?sel=A-2204")
    ready(page)
    page.keyboard.press("Shift+J")
    until_text(page, ".st-key-v_alarmlist .tf-head .tf-note", "2 rows marked")
    until_text(page, ".st-key-v_alarmdetail .tf-primary", "Acknowledge 2 rows")
    page.keyboard.press("a")
    for name in ("A-2204", "A-2203"):
        until_text(page, f"{row(name)} .tf-said", "acknowledged by page")


def test_shelving_needs_an_end_and_a_reason(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/alarms?sel=A-2205")
    ready(page)
    page.keyboard.press("s")
    page.wait_for_selector("form.tf-ask")
    shot(page, "alarms-shelve-light-1440")
    before = len(site.sent())
    page.click("form.tf-ask .tf-primary")
    assert page.locator("form.tf-ask input:invalid").count() == 1
    assert len(site.sent()) == before
    page.fill("form.tf-ask [aria-label=Reason]", "valve is replaced")
    page.click("form.tf-ask label:has-text('1 h')")
    page.click("form.tf-ask .tf-primary")
    until_text(page, f"{row('A-2205')} .tf-said", "shelved until")
    sent = site.sent()[-1]
    assert (sent["verb"], sent["reason"]) == ("shelve", "valve is replaced")
    page.click(".tf-chip[data-filter=shelved]")
    page.click(row("A-2205"))
    page.click(".st-key-v_alarmdetail button:has-text('End shelving')")
    page.click(".tf-chip[data-filter=unacked]")
    page.wait_for_selector(row("A-2205"))
    page.click(row("A-2205"))
    until_text(page, ".st-key-v_alarmdetail .tf-life", "Was shelved until")


def test_scores_of_a_detector_are_drawn_against_the_threshold(open_page: Opener) -> None:
    page, _ = open_page("/alarms?sel=A-2207")
    ready(page)
    page.wait_for_selector(".tf-scores rect")
    said = page.get_attribute(".tf-scores svg", "aria-label") or ""
    assert said.endswith("at most 0.96, threshold 0.82")


def test_without_a_command_gate_nothing_to_acknowledge_is_shown(open_page: Opener, site: Site) -> None:
    site.mode("nocommands")
    page, watched = open_page("/alarms")
    ready(page)
    page.wait_for_function("document.querySelector('.tf-chip[data-filter=unacked]').hidden")
    shot(page, "alarms-nogate-light-1440")
    assert page.locator(".st-key-v_alarmdetail button:has-text('Acknowledge')").count() == 0
    assert page.locator("button:visible:has-text('Shelve')").count() == 0
    assert page.inner_text(f"{row('A-2207')} .tf-said") == "open"
    before = len(site.sent())
    page.keyboard.press("a")
    page.keyboard.press("j")
    until_text(page, ".st-key-v_alarmdetail h2", "P-13")
    assert len(site.sent()) == before
    assert watched.complaints() == []


def test_no_alarm_is_the_goal_and_says_so(open_page: Opener, site: Site) -> None:
    site.mode("quiet")
    page, _ = open_page("/alarms")
    until_text(page, ".tf-empty", "No open alarm")
    until_text(page, ".tf-empty", "None was raised in the last 24 h.")
    shot(page, "alarms-empty-light-1440")


def test_a_failure_says_what_why_and_next_and_heals_by_itself(open_page: Opener, site: Site) -> None:
    site.mode("broken")
    page, _ = open_page("/alarms", theme="dark")
    page.wait_for_selector(".tf-failure:has-text('The alarms cannot be read')")
    shot(page, "alarms-error-dark-1440")
    page.click(".tf-failure >> text=Try again")
    page.wait_for_selector(".tf-failure:visible")
    site.mode("fleet")
    page.wait_for_selector(row("A-2207"))
    page.wait_for_selector(".tf-failure", state="detached")


def test_a_past_instant_shows_the_alarms_of_then(open_page: Opener) -> None:
    page, _ = open_page("/alarms")
    ready(page)
    page.evaluate(THREE_HOURS_AGO)
    page.wait_for_function("!document.querySelector(\".tf-alarmrow[data-key='A-2207']\")")
    assert page.locator(row("A-2198")).count() == 1


def test_a_flapping_source_is_one_row_with_its_count(open_page: Opener) -> None:
    page, _ = open_page("/alarms?sel=A-2202")
    ready(page)
    page.wait_for_selector(row("A-2202"))
    until_text(page, ".st-key-v_alarmdetail .tf-life", "14 times in the hour before")
