"""Whether a running stack has every record once: in its ledger and in its history."""

from __future__ import annotations

import json
import time
from typing import Any

import clickhouse_connect

from tests.infra.command import Command


def answer(command: Command, statement: str) -> Any:
    reader = json.loads((command.data / "history-users.json").read_text())["reader"]
    url = command.json("status")["endpoints"]["clickhouse"]
    client = clickhouse_connect.get_client(dsn=url, username=reader["user"], password=reader["password"])
    try:
        return client.query(statement).result_rows[0][0]
    finally:
        client.close()


def final(command: Command, point: str) -> str:
    """The whole graph at an instant as it was known then, once nothing can change it."""
    done = command("asof", "--at", point, "--known-at", point, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["final"] is True
    return done.stdout


def everything_is_accounted_for_and_stored(command: Command) -> None:
    """The ledger adds up, and the history has each sample that it counts, once."""
    checked = command("ledger", "--check", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    cut = json.loads(checked.stdout)["shards"]
    final(command, str(time.time_ns()))
    inside = " OR ".join(f"(kp = {shard['partition']} AND source_offset < {shard['end_offset']})" for shard in cut)
    stored = answer(command, f"SELECT (count(), uniqExact(kp, ko, kr)) FROM samples WHERE {inside}")
    applied = sum(shard["ledger"]["samples"]["applied"] for shard in cut)
    assert tuple(stored) == (applied, applied)
