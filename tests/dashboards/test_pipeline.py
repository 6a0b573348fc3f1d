"""Pipeline in a real browser: the balance, the picture, partitions, dead letters and their redrive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.dashboards.conftest import Opener, Site
from tests.dashboards.stage import Stage, shifts, shot, sideways, until_text

UNKNOWN = "[data-reason=unknown_type]"


@pytest.fixture(scope="module")
def server() -> Iterator[Site]:
    stage = Stage()
    stage.start()
    yield stage
    stage.kill()


def ready(page: Page) -> None:
    page.wait_for_selector("tr[data-shard='11']")
    page.wait_for_selector(".tf-deadrow")
    page.wait_for_selector(".tf-flow svg, .tf-flowrow", state="attached")
    page.wait_for_function("document.fonts.status === 'loaded'")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 1000, 390])
def test_the_page_is_whole_without_errors_foreign_requests_or_sideways_scroll(
    open_page: Opener, width: int, theme: str
) -> None:
    page, watched = open_page("/pipeline", width=width, theme=theme)
    ready(page)
    shot(page, f"pipeline-{theme}-{width}")
    assert watched.complaints() == []
    assert sideways(page) <= 0
    assert page.is_visible(".tf-flow svg") == (width > 899)
    assert page.is_visible(".tf-flowlist") == (width <= 899)


def test_nothing_jumps_while_loading_and_while_live(open_page: Opener) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    assert shifts(page, buffered=True) < 0.05
    assert shifts(page, buffered=False) < 0.001


def test_the_shown_sum_is_true_and_tells_its_cut(open_page: Opener) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    shown = page.locator(".tf-ledger .tf-figure").all_inner_texts()
    came, *parts = [int(t.replace("\u202f", "")) for t in shown]
    assert came == sum(parts) > 41_000_000
    until_text(page, ".tf-balance", "Balanced")
    assert "cut at " in page.inner_text(".tf-balance")
    assert page.inner_text(".tf-balance").endswith(" UTC")


def test_missing_records_are_red_and_name_the_shard_and_the_next_command(open_page: Opener, site: Site) -> None:
    site.mode("unbalanced")
    page, _ = open_page("/pipeline")
    ready(page)
    until_text(page, ".tf-balance", "12 missing in shard 03")
    until_text(page, ".tf-balance", "twinflow ledger --check")
    shot(page, "pipeline-unbalanced-light-1440")


def test_the_picture_says_what_is_slow_and_what_is_not_held_up(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/pipeline", theme="dark")
    ready(page)
    until_text(page, ".tf-flowsaid", "nothing waits for long")
    assert page.locator(".tf-gamber").count() == 0
    site.mode("stopped")
    until_text(page, ".tf-flowsaid", "telemetry is stopped")
    until_text(page, ".tf-flowsaid", "most on shard 03; gate, history-writer and dashboard are not held up")
    assert page.locator("g.tf-gamber").get_attribute("data-node") == "telemetry"
    assert page.locator(".tf-gslow").count() == 1
    shot(page, "pipeline-stopped-dark-1440")


def test_a_topic_that_nobody_writes_is_not_drawn(open_page: Opener, site: Site) -> None:
    site.mode("nocommands")
    page, _ = open_page("/pipeline")
    ready(page)
    page.wait_for_function("document.querySelector('[data-node=gate]') === null")
    assert page.locator("[data-node=command-events]").count() == 0


def test_the_steps_of_a_flow_show_their_share_and_their_rows_and_fill_as_far(open_page: Opener) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    steps = page.locator("[data-node=telemetry] [data-step]")
    names = ["fetch", "decode", "compute", "live", "settle", "commit", "state"]
    assert [s.get_attribute("data-step") for s in steps.all()] == names
    texts = page.locator("[data-node=telemetry] [data-step=compute] text").all_text_contents()
    assert [t.replace("\u202f", " ") for t in texts] == ["compute", "21 %", "54.6 k/s"]
    said = page.locator("[data-node=telemetry] [data-step=compute] title").text_content()
    assert said == "compute: 21 % busy, 0 % waiting for what follows, 54.6 k/s in, 54.6 k/s out"
    bar = "[data-node=telemetry] [data-step=compute] rect.tf-g{}"
    fill, track = (float(page.get_attribute(bar.format(x), "width") or 0) for x in ("fill", "track"))
    assert fill == pytest.approx(0.21 * track, abs=0.1)
    shown = page.locator("[data-node=history-writer] [data-step]").all()
    assert [s.get_attribute("data-step") for s in shown] == ["readings", "windows", "rows"]  # the busiest three
    assert page.evaluate(INSIDE) == []


INSIDE = """[...document.querySelectorAll('.tf-g')].flatMap((g) => {
  const box = g.querySelector('.tf-gbox').getBoundingClientRect();
  const texts = [...g.querySelectorAll('text')].filter((t) => t.textContent).map((t) => [t, t.getBoundingClientRect()]);
  const apart = (a, b) => a.left >= b.right || b.left >= a.right || a.top + 3 >= b.bottom || b.top + 3 >= a.bottom;
  const out = texts.filter(([, r]) => r.left < box.left || r.right > box.right || r.bottom > box.bottom + 1);
  const over = texts.filter(([t, r]) => texts.some(([other, o]) => t !== other && !apart(r, o)));
  return [...out, ...over].map(([t]) => g.dataset.node + ': ' + t.textContent); })"""
"""Texts that leave their box or lie over another one."""


def test_a_bottleneck_is_amber_from_its_step_to_the_lines_that_wait_for_it(open_page: Opener, site: Site) -> None:
    site.mode("slowhistory")
    page, _ = open_page("/pipeline")
    ready(page)
    until_text(page, ".tf-flowsaid", "history-writer is 91 % busy and 4 s behind, most on shard 03")
    until_text(page, ".tf-flowsaid", "telemetry, gate and dashboard are not held up")
    assert page.locator("g.tf-gamber").get_attribute("data-node") == "history-writer"
    tight = page.locator(".tf-gtight")
    assert [t.get_attribute("data-step") for t in tight.all() if t.is_visible()] == ["readings"]
    assert page.locator(".tf-gslow").count() > 5
    assert "4.2" in page.inner_text("tr[data-shard='03'] .tf-bad2")
    assert page.evaluate(INSIDE) == []
    shot(page, "pipeline-slowhistory-light-1440")


def test_backpressure_is_hatched_and_says_what_is_waited_for(open_page: Opener, site: Site) -> None:
    site.mode("blocked")
    page, _ = open_page("/pipeline", theme="dark")
    ready(page)
    until_text(page, ".tf-flowsaid", "telemetry waits for Kafka 31 % of the time")
    assert float(page.get_attribute("[data-step=commit] .tf-gheld", "width") or 0) > 10
    assert page.locator("[data-node=telemetry] .tf-gtight").get_attribute("data-step") == "commit"
    assert page.locator(".tf-gslow").count() == 9  # the settled topics; what goes out live is not held up
    shot(page, "pipeline-blocked-dark-1440")


def test_on_a_phone_the_steps_stand_under_their_flow_worst_first(open_page: Opener, site: Site) -> None:
    site.mode("slowhistory")
    page, _ = open_page("/pipeline", width=390, theme="dark")
    ready(page)
    page.wait_for_selector(".tf-flowrow.tf-gamber")
    assert page.locator(".tf-flowrow").first.get_attribute("data-flow") == "history-writer"
    assert page.locator("[data-flow=telemetry] .tf-step").count() == 7
    assert page.locator("[data-flow=history-writer] .tf-step.tf-gtight").count() == 1
    assert sideways(page) <= 0
    shot(page, "pipeline-slowhistory-dark-390")


def test_each_partition_names_its_worker_and_the_age_of_what_waits(open_page: Opener) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    assert page.inner_text("tr[data-shard='06'] .tf-worker") == "telemetry-3"
    until_text(page, ".st-key-v_partitions", "lag: age of the oldest record")
    assert page.locator("tr[data-shard='06'] .tf-unit").first.inner_text() == "ms"


def test_a_history_that_does_not_answer_is_told_in_words_with_its_time_and_goes_by_itself(
    open_page: Opener, site: Site
) -> None:
    site.mode("nohistory")
    page, _ = open_page("/pipeline")
    ready(page)
    band = page.locator("[data-part=history]")
    band.wait_for()
    said = band.inner_text()
    assert "The history does not answer since " in said
    assert "Nothing is lost: results wait in Kafka" in said
    assert "It recovers by itself." in said
    shot(page, "pipeline-nohistory-light-1440")
    site.mode("fleet")
    page.wait_for_selector("[data-part=history].tf-back:has-text('The history answers again, after ')")
    assert page.locator(".tf-outage:visible").count() == 1


def test_pausing_freezes_every_number(open_page: Opener) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    page.keyboard.press("Space")
    until_text(page, ".tf-balance", "frozen at")
    frozen, clock = page.inner_text(".tf-ledger"), page.inner_text(".tf-utc")
    page.wait_for_function("text => document.querySelector('.tf-utc').textContent !== text", arg=clock)
    assert page.inner_text(".tf-ledger") == frozen
    page.keyboard.press("l")
    page.wait_for_function("text => document.querySelector('.tf-ledger').innerText !== text", arg=frozen)


def test_a_past_instant_says_that_the_pipeline_keeps_no_past(open_page: Opener) -> None:
    page, _ = open_page("/pipeline?at=2026-01-01T00:00:00.000Z")
    ready(page)
    until_text(page, ".tf-balance", "the past of the pipeline is not kept")


def test_look_shows_the_bytes_and_where_they_lie(open_page: Opener) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    page.click(f"{UNKNOWN} >> text=Look")
    page.wait_for_selector(f"{UNKNOWN} .tf-payload")
    assert "samples[7] offset 88\u202f214" in page.inner_text(f"{UNKNOWN} .tf-letter >> nth=0")
    assert '"device": "meter-119"' in page.inner_text(f"{UNKNOWN} .tf-payload >> nth=0")
    shot(page, "pipeline-look-light-1440")


def test_redrive_counts_first_and_then_the_button_names_the_number(open_page: Opener, site: Site) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    page.click(f"{UNKNOWN} >> text=Redrive…")
    before = len(site.sent())
    page.wait_for_selector(f"{UNKNOWN} form")
    page.fill(f"{UNKNOWN} form input", "20")
    page.click(f"{UNKNOWN} button:has-text('Dry run')")
    page.wait_for_selector(f"{UNKNOWN} button:has-text('Redrive 20 messages')")
    until_text(page, f"{UNKNOWN} .tf-hint", "Dry run: 20 messages would go again to where they came from.")
    until_text(page, f"{UNKNOWN} .tf-hint", "19 more stay for a next time; 2 passed over")
    shot(page, "pipeline-redrive-light-1440")
    page.click(f"{UNKNOWN} button:has-text('Redrive 20 messages')")
    until_text(page, f"{UNKNOWN} .tf-hint", "20 messages sent again.")
    asked: list[dict[str, object]] = [dict(x) for x in site.sent()[before:]]
    assert asked == [{"reason": "unknown_type", "limit": 20, "dry_run": dry} for dry in (True, False)]


def test_a_changed_number_asks_for_a_new_dry_run(open_page: Opener) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    page.click(f"{UNKNOWN} >> text=Redrive…")
    page.click(f"{UNKNOWN} button:has-text('Dry run')")
    page.wait_for_selector(f"{UNKNOWN} button:has-text('Redrive 39 messages')")
    page.fill(f"{UNKNOWN} form input", "5")
    page.wait_for_selector(f"{UNKNOWN} button:has-text('Dry run')")


def test_what_a_redrive_cannot_mend_has_no_redrive_and_says_why(open_page: Opener) -> None:
    page, _ = open_page("/pipeline")
    ready(page)
    button = page.locator("[data-reason=wrong_key] button:has-text('Redrive…')")
    assert button.is_disabled()
    assert button.get_attribute("title") == "A redrive cannot help: Key every record by its device."


def test_no_record_yet_says_what_to_do(open_page: Opener, site: Site) -> None:
    site.mode("empty")
    page, watched = open_page("/pipeline")
    until_text(page, ".tf-empty", "No record has come in yet")
    shot(page, "pipeline-empty-light-1440")
    assert page.locator(".tf-card:visible").count() == 1
    assert watched.complaints() == []


def test_a_failure_says_what_why_and_next_once_and_heals_by_itself(open_page: Opener, site: Site) -> None:
    site.mode("broken")
    page, _ = open_page("/pipeline", theme="dark")
    page.wait_for_selector(".tf-failure:has-text('The pipeline cannot be read')")
    assert page.locator(".tf-failure:visible").count() == 1
    shot(page, "pipeline-error-dark-1440")
    page.click(".tf-failure >> text=Try again")
    page.wait_for_selector(".tf-failure:visible")
    site.mode("fleet")
    ready(page)
