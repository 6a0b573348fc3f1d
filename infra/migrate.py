"""Brings a ClickHouse up to date: infra/clickhouse/NNNN_name.sql in order, then infra/clickhouse/retention.yaml.

Every file is applied once and remembered by its hash; a file that changed after it was applied is refused. Statements
may be repeated (IF NOT EXISTS), so a run that died halfway is simply run again.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from connectors.clickhouse import ClickHouse
from infra.errors import CommandError
from infra.kafka.topics import seconds

FOLDER = Path(__file__).parent / "clickhouse"
_BOOKS = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (version UInt32, name String, sha256 String, applied_ns Int64) "
    "ENGINE = ReplacingMergeTree ORDER BY version",
    "CREATE TABLE IF NOT EXISTS schema_retention (name String, ttl String, applied_ns Int64) "
    "ENGINE = ReplacingMergeTree(applied_ns) ORDER BY name",
)

Age = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]*[smhd]$", description="30s, 15m, 6h, 7d")]
Ages: TypeAlias = dict[str, Age]


class MigrationError(CommandError):
    """The history cannot be brought up to date."""


class _Rule(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"kind": "class"}):
    kind: str
    time: str = "known_ns"
    where: str = ""


class _Retention(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    version: Literal[1]
    classes: Ages
    tables: dict[str, list[_Rule]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    sha256: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What `migrate` did: names of the files it applied, and of the tables whose retention it set."""

    applied: tuple[str, ...] = ()
    retained: tuple[str, ...] = ()


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """The files of a folder in order of their numbers, which must be 1, 2, 3, ...

    >>> [m.version for m in migrations()][:2]
    [1, 2]

    Raises:
        MigrationError: numbers are missing or used twice.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        number = re.match(r"(\d{4})_\w+\.sql$", path.name)
        text = path.read_text(encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        found.append(Migration(int(number[1]) if number else 0, path.name, digest, tuple(statements(text))))
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        names = ", ".join(m.name for m in found)
        raise MigrationError(what=str(folder), why=f"numbers are not 0001, 0002, ...: {names}", fix="rename the files")
    return found


def statements(text: str) -> list[str]:
    """Statements of a file: each ends with `;` at the end of a line; comment lines are left out.

    >>> statements("-- a\\nSELECT 1;\\nSELECT\\n';';\\n")
    ['SELECT 1', "SELECT\\n';'"]
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    parts = (part.strip() for part in re.split(r";\s*$", "\n".join(lines), flags=re.MULTILINE))
    return [part for part in parts if part]


def retention(path: Path = FOLDER / "retention.yaml") -> dict[str, str]:
    """The TTL clause of every table.

    >>> retention()["samples"]
    'toDateTime(intDiv(known_ns, 1000000000)) + INTERVAL 2592000 SECOND'

    Raises:
        MigrationError: the file breaks its schema or names an unknown class.
    """
    try:
        file = msgspec.yaml.decode(path.read_bytes(), type=_Retention)
        return {table: ", ".join(_ttl(rule, file.classes) for rule in rules) for table, rules in file.tables.items()}
    except (OSError, msgspec.DecodeError, KeyError) as error:
        why = f"unknown class {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise MigrationError(what=path.name, why=why, fix="correct it there, then start again") from error


def _ttl(rule: _Rule, classes: Ages) -> str:
    until = f"toDateTime(intDiv({rule.time}, 1000000000)) + INTERVAL {seconds(classes[rule.kind])} SECOND"
    return f"{until} DELETE WHERE {rule.where}" if rule.where else until


def migrate(store: ClickHouse, folder: Path = FOLDER) -> MigrationReport:
    """Apply what is missing; doing it again does nothing.

    Args:
        store: connected as a user that may create tables.
        folder: where the files are.

    Raises:
        MigrationError: an applied file was changed or removed, or a newer twinflow was here.
        HistoryError: the database refused a statement, or does not answer.
    """
    for statement in _BOOKS:
        store.run(statement)
    wanted = migrations(folder)
    known = {v: (name, digest) for v, name, digest in store.rows(_APPLIED)}
    _refuse_drift(wanted, known)
    applied = []
    for migration in wanted:
        if migration.version in known:
            continue
        for statement in migration.statements:
            store.run(statement)
        store.insert(
            "schema_migrations",
            {
                "version": [migration.version],
                "name": [migration.name],
                "sha256": [migration.sha256],
                "applied_ns": [time.time_ns()],
            },
        )
        applied.append(migration.name)
    return MigrationReport(tuple(applied), _retain(store, folder / "retention.yaml"))


_APPLIED = "SELECT version, name, sha256 FROM schema_migrations FINAL ORDER BY version"


def _refuse_drift(wanted: list[Migration], known: dict[int, tuple[str, str]]) -> None:
    files = {m.version: m for m in wanted}
    for version, (name, digest) in known.items():
        if version not in files:
            why = f"the history was made with {name}, which is not here"
            raise MigrationError(what="history", why=why, fix="use the twinflow it was made with, or a newer one")
        if files[version].sha256 != digest:
            raise MigrationError(
                what=name, why="it was changed after it was applied", fix="put the change in a new file"
            )


def _retain(store: ClickHouse, path: Path) -> tuple[str, ...]:
    """Set the TTL of tables where it differs from what was set last."""
    wanted = retention(path) if path.exists() else {}
    held = dict(store.rows("SELECT name, ttl FROM schema_retention FINAL"))
    changed = sorted(table for table, ttl in wanted.items() if held.get(table) != ttl)
    for table in changed:
        store.run(f"ALTER TABLE `{table}` MODIFY TTL {wanted[table]}")
        row: dict[str, list[str | int]] = {"name": [table], "ttl": [wanted[table]], "applied_ns": [time.time_ns()]}
        store.insert("schema_retention", row)
    return tuple(changed)


def main() -> int:
    """`python -m infra.migrate`: the history at TWINFLOW_CLICKHOUSE."""
    import os
    import sys

    with ClickHouse(os.environ["TWINFLOW_CLICKHOUSE"]) as store:
        report = migrate(store)
    sys.stdout.write(f"applied {len(report.applied)}, retention set on {len(report.retained)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
