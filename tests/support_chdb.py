"""chDB's own answers, from a process that owns another folder: `python -m tests.support_chdb DIR < statements.json`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Own:
    """What chDB says to one statement: TabSeparated text and the client's rows, or the error code."""

    text: str
    rows: str
    code: int


def own_answers(data_dir: Path, statements: list[str]) -> list[Own]:
    """Run them one after the other without any HTTP between."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support_chdb", str(data_dir)],
        input=json.dumps(statements),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [Own(**answer) for answer in json.loads(done.stdout)]


def main() -> None:
    import clickhouse_connect

    client = clickhouse_connect.get_client(
        dsn=f"chdb://{sys.argv[1]}", settings={"implicit_select": "0"}, autogenerate_session_id=False
    )
    answers = []
    for statement in json.load(sys.stdin):
        answer = {"text": "", "rows": "", "code": 0}
        try:
            answer["text"] = client.raw_query(statement).decode("latin-1")
            if answer["text"]:
                answer["rows"] = repr(client.query(statement).result_rows)
        except clickhouse_connect.driver.exceptions.DatabaseError as error:
            found = re.search(r"Code: (\d+)", str(error))
            answer["code"] = int(found[1]) if found else -1
        answers.append(answer)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
