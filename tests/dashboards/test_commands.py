"""Commands in a real browser: the life of each, the form of a new one, and the page without a gate."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.dashboards.conftest import Opener, Site
from tests.dashboards.stage import Stage, shifts, shot, sideways, until_text

DETAIL = ".st-key-v_cmddetail"
STAGES = ("requested", "authorised", "dispatched", "acknowledged", "effect")
DONE, NOT_YET = "done", "not reached"
REFUSAL = "Refused by the check “envelope”: 3100 rpm is over the limit of 2950 rpm. Nothing was sent to the device."
NOW_AND_OLD = "/Now 2[0-9.]+ V, \\d+ ms old/.test(document.querySelector('form.tf-new').textContent)"
VERDICT = f"{DETAIL} .tf-causetext"
RED = """(selector) => {
  const probe = document.createElement("i"), colour = (e) => getComputedStyle(e).color;
  probe.style.color = "var(--tf-alarm)";
  document.body.append(probe);
  return [...document.querySelectorAll(selector)].filter((e) => colour(e) === colour(probe)).length;
}"""


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    stage = Stage()
    stage.start()
    yield stage
    stage.kill()


def ready(page: Page) -> None:
    page.wait_for_selector(row("C-0915"))
    page.wait_for_selector(".tf-table [data-verb=set_speed]")
    page.wait_for_function("document.fonts.status === 'loaded'")


def row(name: str) -> str:
    return f".tf-cmdrow[data-key={name}]"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1000, 390])
def test_the_page_is_whole_without_errors_foreign_requests_or_sideways_scroll(
    open_page: Opener, width: int, theme: str
) -> None:
    page, watched = open_page("/commands?sel=C-0915", width=width, theme=theme)
    ready(page)
    until_text(page, DETAIL, "Envelope")
    shot(page, f"commands-{theme}-{width}")
    assert watched.complaints() == []
    assert sideways(page) <= 0


def test_nothing_jumps_while_loading_and_while_live(open_page: Opener) -> None:
    page, _ = open_page("/commands?sel=C-0915")
    ready(page)
    assert shifts(page, buffered=True) < 0.05
    assert shifts(page, buffered=False) < 0.001


@pytest.mark.parametrize(
    ("name", "stages", "result"),
    [
        ("C-0918", (DONE, DONE, DONE, "in progress", NOT_YET), "waits for the acknowledgement"),
        ("C-0916", (DONE, DONE, DONE, DONE, DONE), "done after 1.8 s"),
        ("C-0915", (DONE, "refused", NOT_YET, NOT_YET, NOT_YET), "refused: envelope, 3100 rpm is over"),
        ("C-0914", (DONE, DONE, DONE, "no answer", NOT_YET), "timed out: no answer within 10 s"),
        ("C-0910", (DONE, DONE, DONE, DONE, "no answer"), "failed: failed by the device: no pressure"),
    ],
)
def test_five_marks_and_a_sentence_tell_how_far_a_command_came(
    open_page: Opener, name: str, stages: tuple[str, ...], result: str
) -> None:
    page, _ = open_page("/commands")
    ready(page)
    assert page.get_attribute(f"{row(name)} .tf-stages", "aria-label") == ", ".join(
        map(": ".join, zip(STAGES, stages, strict=True))
    )
    assert page.inner_text(f"{row(name)} .tf-result").startswith(result)


def test_a_refusal_says_that_nothing_was_sent_and_is_not_painted_as_an_alarm(open_page: Opener) -> None:
    page, _ = open_page("/commands?sel=C-0915")
    ready(page)
    until_text(page, DETAIL, REFUSAL)
    checks = page.locator(f"{DETAIL} .tf-check")
    assert checks.count() == 12
    assert checks.nth(2).inner_text().split("\n") == ["Time window", "asked 0.8 s ago", "at most 30 s"]
    stopped = page.locator(f"{DETAIL} .tf-stopped")
    assert stopped.count() == 1
    assert "3100 of 2950" in stopped.inner_text()
    assert "not reached" in page.inner_text(f"{DETAIL} [data-check=dispatch]")
    assert page.evaluate(RED, f"{DETAIL} *, {row('C-0915')} *") == 0


def test_a_waiting_command_tells_how_much_of_its_time_has_run(open_page: Opener) -> None:
    page, _ = open_page("/commands?sel=C-0918")
    ready(page)
    pattern = r"waits for the acknowledgement, [\d.]+ s of 10 s|waits for the acknowledgement, \d+ (s|min).* of 10 s"
    said = page.inner_text(f"{row('C-0918')} .tf-result")
    assert re.fullmatch(pattern, said)
    page.wait_for_function("([s, t]) => document.querySelector(s).textContent !== t", arg=[VERDICT, said])


def test_an_answer_after_the_time_out_is_told_and_the_end_stays(open_page: Opener) -> None:
    page, _ = open_page("/commands?sel=C-0908")
    ready(page)
    until_text(page, f"{row('C-0908')} .tf-result", "no answer within 5 s; late: 2.100 s after the time-out")
    until_text(page, VERDICT, "The device may or may not have acted; its reported state decides.")


def test_j_and_k_walk_and_n_opens_a_new_command(open_page: Opener) -> None:
    page, _ = open_page("/commands")
    ready(page)
    page.keyboard.press("j")
    until_text(page, f"{DETAIL} h2", "P-13")
    page.keyboard.press("k")
    until_text(page, f"{DETAIL} h2", "P-07")
    page.keyboard.press("n")
    page.wait_for_selector("form.tf-new")
    page.keyboard.press("Escape")
    page.wait_for_selector("form.tf-new", state="detached")


def test_a_new_command_names_its_target_and_limits_and_its_life_follows(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/commands?sel=new:P-08")
    page.wait_for_selector("form.tf-new .tf-primary:has-text('Send to P-08'):enabled")
    page.select_option("form.tf-new [aria-label=Command]", "set_speed")
    until_text(page, "form.tf-new .tf-fields", "Supply, V, 0.5 to 240")
    until_text(page, "form.tf-new .tf-fields", "Ramp, s, over 0, may be left out")
    page.wait_for_function(NOW_AND_OLD)
    page.fill("form.tf-new [aria-label=Supply]", "300")
    page.fill("form.tf-new [aria-label=Reason]", "more flow")
    before = len(site.sent())
    page.click("form.tf-new .tf-primary")
    assert page.locator("form.tf-new input:invalid").count() == 1
    assert len(site.sent()) == before
    shot(page, "commands-new-light-1440")
    page.fill("form.tf-new [aria-label=Supply]", "230")
    page.click("form.tf-new .tf-primary")
    page.wait_for_selector(f"{DETAIL} .tf-life")
    until_text(page, DETAIL, "confirmed")
    sent: dict[str, object] = dict(site.sent()[-1])
    assert sent == {"device": "P-08", "verb": "set_speed", "arguments": {"supply": 230}, "reason": "more flow"}


def test_a_command_can_be_copied_as_a_new_one(open_page: Opener) -> None:
    page, _ = open_page("/commands?sel=C-0916")
    ready(page)
    page.click("text=Copy as new command")
    page.wait_for_selector("form.tf-new .tf-primary:has-text('Send to P-04'):enabled")
    assert page.input_value("form.tf-new [aria-label=Command]") == "stop"
    assert page.input_value("form.tf-new [aria-label=Reason]") == "too hot"


def test_how_commands_ended_is_counted_by_verb(open_page: Opener) -> None:
    page, _ = open_page("/commands")
    ready(page)
    cells = [page.locator(f"[data-verb={verb}] td.tf-num").all_inner_texts() for verb in ("reset", "start")]
    assert cells == [["1", "0", "1", "0", "0", "–"], ["1", "0", "0", "1", "0", "–"]]


def test_a_stack_without_a_gate_says_so_calmly_and_shows_no_control(open_page: Opener, site: Site) -> None:
    site.mode("nocommands")
    page, watched = open_page("/commands")
    until_text(page, ".tf-empty h3", "This stack runs no command gate")
    shot(page, "commands-nogate-light-1440")
    assert page.locator("button:visible:has-text('New command')").count() == 0
    assert not page.is_visible(DETAIL)
    assert watched.complaints() == []
    site.mode("fleet")
    page.wait_for_selector(row("C-0915"), timeout=40_000)


def test_no_command_yet_says_what_to_do(open_page: Opener, site: Site) -> None:
    site.mode("quiet")
    page, _ = open_page("/commands")
    until_text(page, ".tf-empty", "No command yet")


def test_a_failure_says_what_why_and_next_and_heals_by_itself(open_page: Opener, site: Site) -> None:
    site.mode("broken")
    page, _ = open_page("/commands")
    page.wait_for_selector(".tf-failure:has-text('The commands cannot be read')")
    page.click(".tf-failure >> text=Try again")
    page.wait_for_selector(".tf-failure:visible")
    site.mode("fleet")
    page.wait_for_selector(row("C-0915"))
