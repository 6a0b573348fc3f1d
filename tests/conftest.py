"""Real servers, started once per test session and only when a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support_kafka import running_broker


@pytest.fixture(scope="session")
def broker_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared broker keeps its files."""
    return tmp_path_factory.mktemp("broker") / "kafka"


@pytest.fixture(scope="session")
def broker(broker_folder: Path) -> Iterator[str]:
    """Address of one broker for the whole session, all topics made; a test makes topics of its own beside them."""
    with running_broker(broker_folder) as bootstrap:
        yield bootstrap
