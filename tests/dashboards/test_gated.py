"""A person at the page, the real gate and a device that answers: what is clicked comes about, and the page tells it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.dashboards.conftest import Opener, Site
from tests.dashboards.gated import NAME, Plant, gated
from tests.dashboards.stage import shot, until_text

DETAIL, FORM = ".st-key-v_cmddetail", "form.tf-new"
ALARM = ".st-key-v_alarmdetail"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with gated(tmp_path_factory.mktemp("gated")) as plant:
        yield plant


@pytest.fixture
def plant(site: Site) -> Plant:
    assert isinstance(site, Plant)
    return site


def ask(page: Page, verb: str, **fields: str) -> None:
    """Fill the form of a new command and send it."""
    page.wait_for_selector(f"{FORM} .tf-primary:text-is('Send to {NAME}'):enabled")
    page.select_option(f"{FORM} [aria-label=Command]", verb)
    for name, value in {**fields, "Reason": "a test"}.items():
        page.fill(f"{FORM} [aria-label='{name}']", value)
    page.click(f"{FORM} .tf-primary")


def row_of(name: str) -> str:
    return f".tf-alarmrow[data-key={name}]"


def test_a_command_goes_through_the_gate_to_the_device_and_its_end_is_told(open_page: Opener, plant: Plant) -> None:
    page, watched = open_page(f"/commands?sel=new:{NAME}")
    page.wait_for_selector(f"{FORM} .tf-primary:enabled")
    page.select_option(f"{FORM} [aria-label=Command]", "set_speed")
    until_text(page, f"{FORM} .tf-fields", "Speed, rpm, 0 to 3200")
    page.wait_for_function("/Now 2610 rpm, \\d+ (ms|s) old/.test(document.querySelector('form.tf-new').textContent)")
    ask(page, "set_speed", Speed="2400")
    until_text(page, f"{DETAIL} .tf-causetext", "The device says done after ")
    until_text(page, f"{DETAIL} .tf-causetext", "set_speed is done.")
    assert page.locator(f"{DETAIL} .tf-check").count() == 12
    assert page.get_attribute(".tf-cmdrow.tf-picked .tf-stages", "aria-label") == (
        "requested: done, authorised: done, dispatched: done, acknowledged: done, effect: done"
    )
    shot(page, "commands-gated-light-1440")
    assert watched.complaints() == []


def test_what_the_gate_or_the_device_refuses_says_who_and_why(open_page: Opener, plant: Plant) -> None:
    page, _ = open_page(f"/commands?sel=new:{NAME}")
    ask(page, "reset")
    until_text(page, f"{DETAIL} .tf-causetext", "Refused by the check “second approval”: reset is grave")
    until_text(page, f"{DETAIL} .tf-causetext", "Nothing was sent to the device.")
    page.keyboard.press("n")
    ask(page, "start")
    until_text(page, f"{DETAIL} .tf-causetext", "Failed: refused by the device: no water.")


def test_stop_on_the_twin_page_is_the_ordinary_command_and_its_life_is_told(open_page: Opener, plant: Plant) -> None:
    page, _ = open_page(f"/twin?id={NAME}")
    page.click(f".tf-stop:text-is('Stop {NAME}')")
    page.wait_for_selector(f".tf-answer:has-text('Stop {NAME}: done after'):has-text('stop is done')")
    page.click(".tf-answer button")
    until_text(page, ".tf-cmdrow.tf-picked .tf-verb", "stop")


def test_an_acknowledgement_and_a_shelving_hold_when_the_page_starts_again(open_page: Opener, plant: Plant) -> None:
    for name in ("seen", "aside"):
        plant.raised(name)
    page, _ = open_page("/alarms?sel=seen")
    page.wait_for_selector(row_of("aside"))
    page.keyboard.press("a")
    until_text(page, f"{row_of('seen')} .tf-said", "acknowledged by page")
    page.click(row_of("aside"))
    page.click(f"{ALARM} button:has-text('Shelve…')")
    page.fill("form.tf-ask [aria-label=Reason]", "sensor is replaced")
    page.click("form.tf-ask .tf-primary")
    until_text(page, f"{row_of('aside')} .tf-said", "shelved until")
    shot(page, "alarms-gated-light-1440")
    plant.restart()
    again, _ = open_page("/alarms?sel=aside")
    until_text(again, f"{row_of('seen')} .tf-said", "acknowledged by page")
    until_text(again, f"{ALARM} .tf-life", "by page: sensor is replaced")
    again.click(f"{ALARM} button:has-text('End shelving')")
    until_text(again, f"{row_of('aside')} .tf-said", "not acknowledged")
    until_text(again, f"{ALARM} .tf-life", "Was shelved until")


def test_a_gate_that_stopped_is_told_and_what_was_asked_meanwhile_is_not_sent_late(
    open_page: Opener, plant: Plant
) -> None:
    plant.gate.kill()
    plant.gate.wait(60)
    page, _ = open_page(f"/commands?sel=new:{NAME}")
    ask(page, "stop")
    page.wait_for_selector(f"{DETAIL}:has-text('was handed over; the gate has not told of it yet')")
    page.wait_for_selector(".tf-stuck:has-text('The gate takes no request; 1 record waits.')", timeout=60_000)
    gate = next(f for f in plant.get("pipeline")["flows"] if f["name"] == "gate")
    assert (gate["state"], gate["lag"]) == ("stopped", 1)
