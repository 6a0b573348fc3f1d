"""What a person waits for at a start: the page answers and shows its first live value; and the sums of a whole run."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from infra.supervisor.process import age_secs

POLL_SECS = 0.1
ANSWER_SECS = 5.0


class FirstPage:
    """Watches one page from outside, as a browser would, until its first live value.

    Args:
        port: of the page, on loopback.

    Attributes:
        seconds: from the start of this process (`./twinflow` becomes it) to the first live value; None before.
        seen: set with it.
    """

    def __init__(self, port: int) -> None:
        self.seconds: float | None = None
        self.seen = threading.Event()
        self._port = port
        self._thread = threading.Thread(target=self._watch, name="first page", daemon=True)

    def start(self) -> None:
        """Begin to watch; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def _watch(self) -> None:
        while self.seconds is None:
            try:
                _get(self._port, "/")
                twins = json.loads(_get(self._port, "/api/twins"))
                if twins:
                    self._await_value(twins[0]["id"])
            except (OSError, ValueError, TimeoutError, WebSocketException):
                pass
            time.sleep(POLL_SECS)

    def _await_value(self, twin: str) -> None:
        with connect(f"ws://127.0.0.1:{self._port}/ws/live", proxy=None, open_timeout=ANSWER_SECS) as socket:
            socket.send(json.dumps({"subscribe": [f"twin:{twin}"]}))
            while self.seconds is None:
                message = json.loads(socket.recv(timeout=ANSWER_SECS))
                if message.get("topic") == f"twin:{twin}" and message.get("rows"):
                    self.seconds = round(age_secs(), 2)
                    self.seen.set()

    def summary(self) -> dict[str, Any]:
        """Fields of `up --json`: seconds_to_first_page, twins, samples, ledger_balance, alerts, commands_acknowledged.

        Figures that the page cannot tell any more are null.
        """
        found: dict[str, Any] = {"seconds_to_first_page": self.seconds}
        try:
            pipeline = json.loads(_get(self._port, "/api/pipeline"))["ledger"]
            commands = json.loads(_get(self._port, "/api/commands"))
            found |= {
                "twins": len(json.loads(_get(self._port, "/api/twins"))),
                "samples": pipeline["samples_in"],
                "ledger_balance": pipeline["balance"] + pipeline["missing"],
                "alerts": len(json.loads(_get(self._port, "/api/alarms"))),
                "commands_acknowledged": sum(c["stage"] in ("acknowledged", "effect") for c in commands),
            }
        except (OSError, ValueError, KeyError, TypeError) as error:
            found["page"] = f"does not answer: {error}"
        return found


def _get(port: int, path: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}{path}", timeout=ANSWER_SECS) as answer:
        content: bytes = answer.read()
        return content
