"""`python -m infra.history.front --data DIR --port P`: the one process that owns a chDB folder, serving it over HTTP.

Exit codes: 0 stopped on SIGTERM or Ctrl-C with every running request answered, 2 wrong call, 4 another process holds
the folder, 5 the port or the engine cannot be opened.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.errors import CannotStart, CommandError, ExitCode, Held, UsageFault
from infra.history import users as user_files
from infra.supervisor.folder_lock import FolderHeld, held

AFTER_INTERRUPT_SECS = 5.0
log = logging.getLogger("history")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.history.front", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the history; made when missing")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1", help="address to bind; other than loopback only with passwords")
    parser.add_argument("--users", type=Path, help="user file; made with random passwords when missing")
    parser.add_argument("--log", type=Path, help="append to this file instead of standard error")
    parser.add_argument("--memory-mb", type=int, default=1500, help="most the engine takes")
    parser.add_argument(
        "--grace-secs", type=float, default=20.0, help="how long running statements may take at the end"
    )
    parser.add_argument("--verbose", action="store_true", help="log every request")
    return parser.parse_args(argv)


def users(options: argparse.Namespace, environ: Mapping[str, str]) -> user_files.Users:
    """Who may use it: user file, else environment, else anybody on this machine.

    Raises:
        UsageFault: the file is no good, or there are no passwords and the address is not loopback.
    """
    if options.users is not None:
        return user_files.load_or_create(options.users)
    found = user_files.from_environment(environ)
    if found is None and not user_files.is_loopback(options.host):
        fix = f"give --users FILE, or {user_files.WRITER_ENV} and {user_files.READER_ENV}"
        raise UsageFault(what=f"address {options.host}", why="the history has no passwords", fix=fix)
    return found or user_files.OPEN


def serve(options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Own the folder and serve it until SIGTERM or SIGINT.

    Raises:
        CommandError: one of the documented exit codes.
    """
    known = users(options, environ)
    if "?" in str(options.data):
        raise UsageFault(what=f"folder {options.data}", why="chDB reads what follows ? as options", fix="rename it")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with held(options.data / "lock"):
            _serve(options, known, stop)
    except FolderHeld as error:
        holder = error.holder
        why = f"held by pid {holder.pid} since {holder.since}" if holder.pid else "another process is just taking it"
        raise Held(what=f"history {options.data}", why=why, fix="stop that process or use another folder") from None


def _serve(options: argparse.Namespace, known: user_files.Users, stop: threading.Event) -> None:
    from infra.history.engine import Engine
    from infra.history.errors import EngineError
    from infra.history.server import Front
    from infra.history.service import Service

    front = Front((options.host, options.port))
    try:
        front.server_bind()
    except OSError as error:
        front.server_close()
        what = f"address {options.host}:{options.port}"
        raise CannotStart(what=what, why=str(error.strerror or error), fix="choose another --port") from None
    try:
        engine = Engine(options.data.absolute() / "engine", memory_mb=options.memory_mb)
        front.service = Service(engine, known)
    except EngineError as error:
        front.server_close()
        raise CannotStart(what=f"history {options.data}", why=error.text, fix="look at its folder and disk") from None
    front.server_activate()
    thread = threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.2}, name="accept")
    thread.start()
    log.info("history %s serves %s:%d as pid %d", options.data, options.host, front.server_port, os.getpid())
    stop.wait()
    log.info("stopping: no new connections, running statements end within %g s", options.grace_secs)
    calm = front.drain(options.grace_secs)
    if not calm:
        log.warning("statements still run: interrupting them")
        engine.interrupt()
        calm = front.settled(AFTER_INTERRUPT_SECS)
    if calm:
        front.service.sessions.close()
        engine.close()
    log.info("stopped")
    if not calm:
        logging.shutdown()
        os._exit(ExitCode.OK)  # a thread sits in the engine and would keep the process; what was acknowledged is stored


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(
        filename=options.log,
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    try:
        serve(options, os.environ)
    except CommandError as error:
        log.error("%s", error)
        if options.log is not None:
            sys.stderr.write(f"{error}\n")
        return int(error.code)
    return int(ExitCode.OK)


if __name__ == "__main__":
    raise SystemExit(main())
