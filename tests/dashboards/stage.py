"""The fixture server of the pages Alarms, Commands and Pipeline, and what their tests share."""

from __future__ import annotations

import subprocess
import sys
import time

from playwright.sync_api import Page

from tests.dashboards.conftest import ROOT, SHOTS, START_SECS, Site

SHIFTS = """new Promise((done) => { let sum = 0; new PerformanceObserver((list) => {
  for (const e of list.getEntries()) sum += e.value; }).observe({ type: "layout-shift", buffered: BUFFERED });
  setTimeout(() => done(sum), 2500); })"""


class Stage(Site):
    """The dashboards over tests/dashboards/fixture_alarms.py."""

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.dashboards.fixture_alarms", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECS
        while not self.answers():
            assert self.process.poll() is None, "the fixture server ended"
            assert time.monotonic() < deadline, "the fixture server did not start"
            time.sleep(0.05)


def shot(page: Page, name: str) -> None:
    """A picture kept under out/screenshots; on a phone of the whole page, which scrolls in a box of its own."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    size = page.viewport_size
    assert size is not None
    if size["width"] < 640:
        height = page.evaluate("document.querySelector('.stMainBlockContainer').scrollHeight")
        page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
    page.screenshot(path=SHOTS / f"{name}.png")
    page.set_viewport_size(size)


def shifts(page: Page, *, buffered: bool) -> float:
    """Layout shift so far, or of the next seconds."""
    return float(page.evaluate(SHIFTS.replace("BUFFERED", "true" if buffered else "false")))


def sideways(page: Page) -> int:
    """Pixels that the page is wider than its window."""
    wide = page.evaluate("[document.querySelector('.stMain'), document.documentElement].map((e) => e.scrollWidth)")
    return int(max(wide)) - int(page.evaluate("document.documentElement.clientWidth"))


def until_text(page: Page, selector: str, text: str) -> None:
    """Wait for a text in the first element of a selector."""
    page.wait_for_function("([s, t]) => document.querySelector(s)?.textContent.includes(t)", arg=[selector, text])
