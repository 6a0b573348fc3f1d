"""The verbs `up`, `down` and `status`: one stack per data folder, owned by the process that runs `up`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Thread

from infra.errors import CannotStart, CommandError, ExitCode, Held, NotRunning, UsageFault
from infra.paths import MARKER, Folders
from infra.services import Json, Stack, build
from infra.settings import Settings, hide_passwords
from infra.supervisor import statefile
from infra.supervisor.disk import ENOUGH_MB, Disk, free_mb
from infra.supervisor.folder_lock import FolderHeld, Holder, held, holder
from infra.supervisor.process import age_secs, birth, memory_mb
from infra.supervisor.service import ProcessRow
from infra.supervisor.supervisor import Run, Supervisor
from infra.view import Recorded, open_view, process_table

DOWN_SECS = 90.0


def up(folders: Folders, settings: Settings, *, exit_after: float | None, as_json: bool, browser: bool) -> ExitCode:
    """Run the stack in the foreground until Ctrl-C, SIGTERM, `down` or `exit_after` seconds.

    Raises:
        Held: another `up` owns the folder.
        CannotStart: a port, the disk or a child is in the way; all that was started is stopped again.
    """
    already_secs = age_secs()
    with writable(folders.data):
        folders.create()
        _require_space(folders.data)
    with _owned(folders) as owner, writable(folders.data):
        left = _reap(folders)
        stack = build(settings, folders)
        view = open_view(f"twinflow in {folders.data}")
        events = Recorded(view, folders.logs / "supervisor.log")
        places = {"page": stack.url, **_shown(stack.endpoints)}
        events.tell("up", ", ".join(f"{name} at {place}" for name, place in places.items() if place))
        if left:
            events.tell("up", f"ended what an earlier run left: {', '.join(left)}")
        report: dict[str, Json] = {}
        opened: list[str] = []

        def publish(rows: list[ProcessRow]) -> None:
            view.show(rows)
            state = _state(stack, owner, rows)
            try:
                statefile.write(folders.state, state)
            except OSError as error:
                events.tell("up", f"cannot write {folders.state}: {error.strerror}")
            if browser and state.ready and stack.url and not opened:
                opened.append(stack.url)
                _browse(stack.url)

        supervisor = Supervisor(
            stack.services,
            logs=folders.logs,
            tell=events.tell,
            publish=publish,
            full=Disk(folders.data),
            already_secs=already_secs,
        )
        try:
            publish(supervisor.rows())
            run = supervisor.run(
                exit_after_secs=exit_after, before_drain=lambda: report.update(_report(stack, supervisor.rows()))
            )
        finally:
            view.close()
            folders.state.unlink(missing_ok=True)
    if run.failed:
        raise _failure(run, folders)
    if as_json:
        sys.stdout.write(json.dumps({"seconds_to_ready": run.seconds_to_ready, **report}, indent=2) + "\n")
    return ExitCode.OK


def down(folders: Folders, *, purge: bool) -> ExitCode:
    """Drain the stack of this folder and wait for its end; `purge` then deletes the folder.

    Raises:
        NotRunning: nothing ran (and there was nothing to purge).
        UsageFault: the folder to purge is not ours.
    """
    if purge and folders.data.exists() and not (folders.data / MARKER).exists():
        why = f"it holds no {MARKER}, so twinflow did not make it"
        raise UsageFault(what=f"--purge {folders.data}", why=why, fix="name the right folder with --data")
    owner = holder(folders.lock)
    if owner is not None:
        os.kill(owner.pid, signal.SIGTERM)
        _await_release(folders, owner)
    left = []
    if folders.data.exists():
        with _owned(folders, patience_secs=5.0):
            left = _reap(folders)
            folders.state.unlink(missing_ok=True)
            if purge:
                shutil.rmtree(folders.data)
    for text in (f"ended {', '.join(left)}" if left else "", f"deleted {folders.data}" if purge else ""):
        sys.stderr.write(f"{text}\n" if text else "")
    if owner is None and not left and not purge:
        raise _not_running(folders)
    return ExitCode.OK


def status(folders: Folders, *, as_json: bool) -> ExitCode:
    """Print the state of the stack; OK only when every process is ready."""
    state = running(folders)
    if state is None:
        if not as_json:
            raise _not_running(folders)
        nothing: Json = {"url": None, "data": str(folders.data), "held": "", "processes": []}
        sys.stdout.write(json.dumps(nothing, indent=2) + "\n")
        return ExitCode.NOT_RUNNING
    if as_json:
        fields = {
            "url": state.url,
            "data": state.data,
            "pid": state.pid,
            "since": state.since,
            "endpoints": state.endpoints,
            "held": state.held,
            "processes": [_process(row) for row in state.processes],
        }
        sys.stdout.write(json.dumps(fields, indent=2) + "\n")
    else:
        _print_status(state)
    return ExitCode.OK if state.ready else ExitCode.FAILED


def running(folders: Folders) -> statefile.StackState | None:
    """State of the stack in this folder, checked against its processes; None when none runs."""
    owner, state = holder(folders.lock), statefile.read(folders.state)
    if owner is None or state is None or state.pid != owner.pid:
        return None
    return statefile.checked(state)


def _print_status(state: statefile.StackState) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"up since {state.since} (pid {state.pid}), data in {state.data}", markup=False)
    for name, address in ({"page": state.url or "none"} | state.endpoints).items():
        console.print(f"{name}: {address}", markup=False)
    if state.held:
        console.print(state.held, style="red", markup=False)
    console.print(process_table(state.processes))


@contextmanager
def _owned(folders: Folders, patience_secs: float = 0.0) -> Iterator[Holder]:
    deadline = time.monotonic() + patience_secs
    with ExitStack() as stack:
        while True:
            try:
                owner = stack.enter_context(held(folders.lock))
                break
            except FolderHeld as error:
                if time.monotonic() > deadline:
                    raise Held(
                        what=f"data folder {folders.data}",
                        why=f"held by pid {error.holder.pid} since {error.holder.since}",
                        fix="twinflow status shows it, twinflow down stops it, --data names another folder",
                    ) from error
            time.sleep(0.02)
        yield owner


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn what the disk refuses inside into one clear line.

    Raises:
        CannotStart: names the path and why, a full disk in those words.
    """
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno == errno.ENOSPC else (error.strerror or str(error)).lower()
        what = f"data folder {error.filename or folder}"
        raise CannotStart(what=what, why=why, fix="free space or choose another with --data") from error


def _require_space(folder: Path) -> None:
    free = free_mb(folder)
    if free < ENOUGH_MB:
        why = f"the disk has {free} MB free, {ENOUGH_MB} MB are needed"
        raise CannotStart(what=f"data folder {folder}", why=why, fix="free space or choose another with --data")


def _reap(folders: Folders) -> list[str]:
    state = statefile.read(folders.state)
    return statefile.reap(state.processes) if state else []


def _state(stack: Stack, owner: Holder, rows: list[ProcessRow]) -> statefile.StackState:
    data = str(stack.folders.data)
    return statefile.StackState(
        owner.pid, birth(owner.pid), owner.since, data, _shown(stack.endpoints), stack.url, list(rows)
    )


def _shown(endpoints: Mapping[str, str]) -> dict[str, str]:
    return {name: hide_passwords(address) for name, address in endpoints.items()}


def _process(row: ProcessRow) -> dict[str, Json]:
    return {key: value for key, value in asdict(row).items() if key != "birth"}


def _report(stack: Stack, rows: list[ProcessRow]) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "url": stack.url,
        "rss_mb": memory_mb([os.getpid()]),
        "processes": [_process(row) for row in rows],
    }
    for summary in stack.summaries:
        fields |= summary()
    return fields


def _failure(run: Run, folders: Folders) -> CommandError:
    if isinstance(run.error, CommandError):
        return run.error
    said = f" (last line of its log: {run.last_line})" if run.last_line and run.error is None else ""
    return CannotStart(what=run.failed, why=f"{run.why}{said}", fix=f"twinflow logs {run.failed} shows more")


def _not_running(folders: Folders) -> NotRunning:
    return NotRunning(what="stack", why=f"nothing runs in {folders.data}", fix="start it with twinflow up")


def _await_release(folders: Folders, owner: Holder) -> None:
    deadline = time.monotonic() + DOWN_SECS
    while holder(folders.lock) == owner:
        if time.monotonic() > deadline:
            why = f"pid {owner.pid} still drains after {DOWN_SECS:g} s"
            raise CommandError(what="down", why=why, fix="ask again: a second request kills")
        time.sleep(0.05)


def _browse(url: str) -> None:
    import webbrowser

    if sys.stderr.isatty():
        Thread(target=webbrowser.open, args=(url,), daemon=True).start()  # a text browser would hold up the loop
