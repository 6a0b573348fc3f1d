"""A process that fills its disk while the engine merges: `python -m tests.infra.disk_full_merge DISK LIFETIME`.

Prints what the table says then, after old parts had time to be deleted; then it ends the engine as the front does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from infra.history.engine import Engine, Setup
from infra.history.errors import EngineError

ROWS, INSERTS = 100_000, 24
CREATE = """CREATE TABLE t (a Int64, b Float64) ENGINE = MergeTree ORDER BY a
SETTINGS cleanup_delay_period = 1, cleanup_delay_period_random_add = 0, max_cleanup_delay_period = 1,
         old_parts_lifetime = """
MERGING = "SELECT count() FROM system.merges WHERE table = 't' AND rows_written > 0"


def main(disk: Path, lifetime: str) -> None:
    engine = Engine(disk / "engine")
    handle = engine.open(Setup())
    handle.run(CREATE + lifetime)
    handle.run("SYSTEM STOP MERGES t")
    for i in range(INSERTS):
        handle.run(f"INSERT INTO t SELECT number + {i * ROWS}, rand64() / 7 FROM numbers({ROWS})")
    handle.run("SYSTEM START MERGES t")
    merge = threading.Thread(target=merged, args=(engine,))
    merge.start()
    while handle.run(MERGING).data == b"0\n":
        pass
    with (disk / "filler").open("wb") as file:
        step = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        until = time.monotonic() + 6
        while time.monotonic() < until:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)
            except OSError:
                step = max(4096, step // 2)
    merge.join()
    try:
        sys.stdout.write(handle.run("SELECT count(), uniqExact(a), sum(b) > 0 FROM t").data.decode())
    except EngineError as error:
        sys.stdout.write(f"broken: {error.code}\n")
    handle.close()
    engine.close()


def merged(engine: Engine) -> None:
    try:
        with engine.handle(Setup()) as handle:
            handle.run("OPTIMIZE TABLE t FINAL")
    except EngineError:
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
