"""One fixture server and one headless Chromium for all browser tests; each test gets a fresh page."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "out" / "screenshots"
CHROMIUM = os.environ.get("TWINFLOW_CHROMIUM", "/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
)
START_SECS = 60.0


class Site:
    """The dashboards with a deterministic API, in a process that a test may kill and start again."""

    def __init__(self, **environ: str) -> None:
        self.environ = {**os.environ, **environ}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.dashboards.fixture_server", "--port", str(self.port)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**self.environ, "TWINFLOW_PORT": str(self.port)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECS
        while not self.answers():
            assert self.process.poll() is None, "the fixture server ended"
            assert time.monotonic() < deadline, "the fixture server did not start"
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                return int(answer.status) == 200
        except OSError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def mode(self, name: str) -> None:
        urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/healthz/mode/{name}", method="POST"), timeout=5
        ).close()

    def sent(self) -> list[dict[str, str]]:
        with urllib.request.urlopen(f"{self.url}/healthz/sent", timeout=5) as answer:
            found: list[dict[str, str]] = json.load(answer)
        return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"no Chromium at {CHROMIUM}: install it, or name one in TWINFLOW_CHROMIUM")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Site]:
    site = Site()
    site.start()
    yield site
    site.kill()


@pytest.fixture
def site(server: Site) -> Site:
    if not server.answers():
        server.kill()
        server.start()
    server.mode("fleet")
    return server


class Watched:
    """What a page did that it should not: console errors, failed scripts, requests to other hosts."""

    def __init__(self, page: Page, origin: str) -> None:
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.on("console", lambda m: self.errors.append(f"{m.text} {m.location}") if m.type == "error" else None)
        page.on("pageerror", lambda e: self.errors.append(str(e)))
        own = (origin, origin.replace("http", "ws", 1), "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(own) else self.foreign.append(r.url))

    def complaints(self) -> list[str]:
        """All but what Streamlit asks for on a deep link before it knows its base path."""
        return [e for e in self.errors if "/_stcore/h" not in e] + self.foreign


Opener = Callable[..., tuple[Page, Watched]]


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Opener]:
    """open_page(path, width=, theme=) -> (page, watched), with the shell drawn."""
    contexts = []

    def opened(path: str, *, width: int = 1440, theme: str = "light") -> tuple[Page, Watched]:
        dark = theme == "dark"
        size = ViewportSize(width=width, height=900 if width > 640 else 844)
        context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light")
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        watched = Watched(page, site.url)
        page.goto(site.url + path, wait_until="domcontentloaded")
        page.wait_for_selector(".tf-timebar")
        page.wait_for_function("document.querySelector('.tf-link')?.getAttribute('aria-label') === 'Linked'")
        return page, watched

    yield opened
    for context in contexts:
        context.close()
