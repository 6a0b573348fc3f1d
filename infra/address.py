"""Where Kafka answers, for the verbs that talk to it from beside the stack."""

from __future__ import annotations

from collections.abc import Collection

from infra import stack
from infra.errors import NotRunning
from infra.kafka.ready import why_not_ready
from infra.paths import Folders
from infra.settings import Settings

ANSWER_SECS = 10.0
"""A broker that listens may take this long to answer: on a busy machine a start of everything does."""


def kafka_address(folders: Folders, settings: Settings, topics: Collection[str] = ()) -> str:
    """host:port: of the cluster that is set, else of the stack that runs in the folder.

    Raises:
        NotRunning: there is none, it does not answer, or it lacks one of the topics.
    """
    address = settings.text("kafka")
    state = None if address else stack.running(folders)
    address = address or (state.endpoints.get("kafka", "") if state else "")
    why = why_not_ready(address, topics, timeout_secs=ANSWER_SECS) if address else f"nothing runs in {folders.data}"
    if why:
        raise NotRunning(what=address or "kafka", why=why, fix="twinflow up starts it, --set kafka=HOST:PORT names one")
    return address
