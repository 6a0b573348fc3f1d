"""The twinflow command over two small servers in place of Kafka and ClickHouse, run as a module."""

from __future__ import annotations

from infra import services
from infra.cli import main
from infra.ports import LOOPBACK
from infra.services import Stack
from tests.infra.supervised import server


def broker(stack: Stack) -> None:
    port = stack.port("kafka")
    stack.endpoints["kafka"] = f"{LOOPBACK}:{port}"
    stack.services.append(server("broker", port))


def page(stack: Stack) -> None:
    port = stack.port("page")
    stack.url = f"http://{LOOPBACK}:{port}"
    stack.services.append(server("page", port, after=("broker",)))
    stack.summaries.append(lambda: {"samples": 7})


if __name__ == "__main__":
    services.PARTS = (broker, page)
    raise SystemExit(main())
