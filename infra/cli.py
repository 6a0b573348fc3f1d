"""The twinflow command: one verb, one line of help, one exit code table (docs/operations.md).

Verbs import what they need inside, so that `--help` and a mistyped word answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli_run import run

if TYPE_CHECKING:
    from infra.paths import Folders
    from infra.settings import Settings

app = typer.Typer(
    name="twinflow",
    help="Digital twins as one stream pipeline: start it, look at it, stop it.",
    epilog="Also: bench, chaos, lint, paths, version. Example: twinflow up --no-browser",
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DataOption = Annotated[Path | None, typer.Option("--data", metavar="FOLDER", help="Folder of all state.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file (TOML).")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting; repeatable.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.callback()
def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Errors with traceback; works anywhere.")] = False,
) -> None:
    pass


@app.command(epilog="Example: twinflow up --no-browser --exit-after 60 --json")
def up(
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page once it is there.")] = True,
    exit_after: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Drain this long after the start, once all is ready.")
    ] = None,
    scenario: Annotated[str | None, typer.Option(metavar="NAME", help="Simulated: default, healthy or none.")] = None,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
) -> int:
    """Start everything and stay in front until Ctrl-C."""
    from infra import stack

    chosen = [f"scenario={scenario}"] if scenario else []
    folders, settings = _load(data, config, [*(assign or ()), *chosen])
    return stack.up(folders, settings, exit_after=exit_after, as_json=as_json, browser=browser)


@app.command(epilog="Example: twinflow down --purge --data ./scratch")
def down(
    purge: Annotated[bool, typer.Option("--purge", help="Then delete the data folder.")] = False,
    data: DataOption = None,
) -> int:
    """Drain and stop what runs in the data folder."""
    from infra import stack
    from infra.paths import Folders

    return stack.down(Folders.of(data), purge=purge)


@app.command(epilog="Example: twinflow status --json")
def status(as_json: JsonOption = False, data: DataOption = None) -> int:
    """Show every process; exit 0 only when all are ready."""
    from infra import stack
    from infra.paths import Folders

    return stack.status(Folders.of(data), as_json=as_json)


@app.command(epilog="Example: twinflow doctor")
def doctor(
    as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None, assign: SetOption = None
) -> int:
    """Check all that a start needs; exit 1 when something fails."""
    from infra import stack
    from infra.doctor import doctor as examine

    folders, settings = _load(data, config, assign)
    return examine(folders, settings, stack.running(folders), as_json=as_json)


@app.command(epilog="Example: twinflow logs kafka --follow")
def logs(
    name: Annotated[str | None, typer.Argument(help="Process; all when left out.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 20,
    data: DataOption = None,
) -> int:
    """Show what the processes wrote."""
    from infra.logs import logs as show
    from infra.paths import Folders

    return show(Folders.of(data), name, lines=lines, follow=follow)


@app.command(epilog="Example: twinflow replay husky --speed 10")
def replay(
    path: Annotated[str, typer.Argument(metavar="PATH|NAME", help="CSV, Parquet, MCAP; nab, husky, citylearn.")],
    speed: Annotated[str, typer.Option(metavar="N|max", help="Recorded seconds per second.")] = "1",
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="Time, or duration since the first.")] = "",
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Up to here, exclusive.")] = "",
    loop: Annotated[bool, typer.Option("--loop", help="Again and again, until Ctrl-C.")] = False,
    at: Annotated[str, typer.Option("--at", metavar="now|recorded", help="Times moved to now, or kept.")] = "now",
    device: Annotated[str, typer.Option(metavar="ID", help="Instead of the mapping's.")] = "",
    mapping: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="How columns become signals.")] = None,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
) -> int:
    """Send a recording as if its devices were there."""
    from infra import cli_replay

    folders, settings = _load(data, config, assign)
    wish = cli_replay.Wish(path, mapping, speed, start, end, loop, at, device)
    return cli_replay.replay(folders, settings, wish, as_json=as_json)


@app.command(epilog="Example: twinflow ledger --check")
def ledger(
    check: Annotated[bool, typer.Option("--check", help="Wait for a cut; exit 1 unless it balances.")] = False,
    since: Annotated[str, typer.Option(metavar="TIME|OFFSET", help="From here on.")] = "",
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
) -> int:
    """Is every record that came in accounted for, once."""
    from infra import cli_ledger

    folders, settings = _load(data, config, assign)
    return cli_ledger.ledger(folders, settings, check=check, since=since, as_json=as_json)


@app.command(epilog="Example: twinflow command machine-1 reduce_feed share=0.5")
def command(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The twin, also of an alarm.")],
    verb: Annotated[str, typer.Argument(metavar="VERB", help="Of its type; or acknowledge, shelve, unshelve.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="JSON, else text.")] = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="For people; shelve needs one.")] = "",
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
) -> int:
    """Ask for a command and follow it; exit 0 on effect."""
    from infra import cli_command

    folders, settings = _load(data, config, assign)
    wish = cli_command.Wish(device, verb, tuple(arguments or ()), reason, wait)
    return cli_command.command(folders, settings, wish, as_json=as_json)


@app.command(epilog="Example: twinflow flow reset telemetry --yes")
def flow(
    verb: Annotated[str, typer.Argument(metavar="reset|skip", help="Forget all state; or accept lost input.")],
    what: Annotated[str, typer.Argument(metavar="NAME|TOPIC/PARTITION", help="The flow; or where input was lost.")],
    offset: Annotated[int | None, typer.Argument(help="Of skip: the oldest offset still there.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what it means.")] = False,
    redeliver: Annotated[bool, typer.Option("--redeliver", help="Of reset: results are made anew too.")] = False,
    data: DataOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
) -> int:
    """Mend a stopped flow: reset NAME, skip TOPIC/PARTITION OFFSET."""
    from infra import cli_flow

    folders, settings = _load(data, config, assign)
    wish = cli_flow.Wish(verb, what, offset, yes, redeliver)
    return cli_flow.flow(folders, settings, wish)


@app.command(hidden=True, epilog="Example: twinflow explain --sample 100 --seed 1 --reexecute --json")
def explain(
    name: Annotated[str | None, typer.Argument(metavar="ID", help="Of an alert or a command.")] = None,
    reexecute: Annotated[bool, typer.Option("--reexecute", help="Work it out again; exit 1 where it differs.")] = False,
    sample: Annotated[int, typer.Option("--sample", min=0, metavar="N", help="Instead of ID: N alerts again.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Which alerts the sample takes.")] = 0,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
) -> int:
    """Why an alert or a command came about, down to the records."""
    folders, settings = _load(data, config, assign)
    _use_kernels(folders)
    from infra import cli_explain

    wish = cli_explain.Wish(name, reexecute, sample, seed)
    return cli_explain.explain(folders, settings, wish, as_json=as_json)


@app.command("replay-log", hidden=True, epilog="Example: twinflow replay-log --from T0 --to T1 --diff")
def replay_log(
    start: Annotated[str, typer.Option("--from", metavar="T0", help="Arrival: RFC 3339 with zone, or ns since 1970.")],
    end: Annotated[str, typer.Option("--to", metavar="T1", help="Up to here, exclusive.")],
    flow: Annotated[str, typer.Option("--flow", metavar="NAME", help="telemetry")] = "telemetry",
    definition: Annotated[
        Path | None, typer.Option("--definition", metavar="TYPE.yaml", help="Instead of then.")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Beside what was decided then.")] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
) -> int:
    """The recorded samples again, with the definitions of then or another."""
    folders, settings = _load(data, config, assign)
    _use_kernels(folders)
    from infra import cli_replay_log

    wish = cli_replay_log.Wish(start, end, flow, definition, diff)
    return cli_replay_log.replay_log(folders, settings, wish, as_json=as_json)


@app.command(hidden=True, epilog="Example: twinflow savepoint before-upgrade")
def savepoint(
    name: Annotated[str | None, typer.Argument(help="Of the savepoint; all are listed when left out.")] = None,
    restore: Annotated[bool, typer.Option("--restore", help="Put it back in place of the state there is.")] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
) -> int:
    """Keep a named copy of the state of telemetry, or go back to one; stop the stack first."""
    from infra.cli_savepoint import savepoint as run
    from infra.paths import Folders

    return run(Folders.of(data), name, restore=restore, as_json=as_json)


@app.command(hidden=True, epilog="Example: twinflow paths --json")
def paths(as_json: JsonOption = False, data: DataOption = None) -> int:
    """Show where everything lies."""
    from infra.cli_run import listing
    from infra.paths import Folders

    return listing(Folders.of(data).listing(), as_json=as_json)


@app.command(epilog="Example: twinflow config --set kafka_port=9192")
def config(
    as_json: JsonOption = False, data: DataOption = None, config: ConfigOption = None, assign: SetOption = None
) -> int:
    """Show every setting, its value and where it comes from."""
    from infra.cli_run import settings_listing

    return settings_listing(_load(data, config, assign)[1], as_json=as_json)


@app.command(epilog="Example: twinflow asof --at 2026-01-31T12:00:00Z --json")
def asof(
    at: Annotated[str, typer.Option("--at", metavar="T", help="Event time: RFC 3339 with zone, or ns since 1970.")],
    known_at: Annotated[str | None, typer.Option("--known-at", metavar="K", help="As it was known then.")] = None,
    twin: Annotated[str | None, typer.Option("--twin", metavar="ID", help="Only this twin.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until nothing can change the answer any more.")] = False,
    as_json: JsonOption = False,
    data: DataOption = None,
    config: ConfigOption = None,
    assign: SetOption = None,
) -> int:
    """Show all twins at one instant, as it was known at another."""
    from infra.cli_asof import history_url, show

    folders, settings = _load(data, config, assign)
    return show(at, known_at, twin, history_url(folders, settings), as_json=as_json, wait=wait)


@app.command(hidden=True, epilog="Example: twinflow version")
def version(as_json: JsonOption = False) -> int:
    """Show the version."""
    from infra.cli_run import listing, versions

    return listing(versions(), as_json=as_json)


@app.command(epilog="Example: twinflow backtest --input day.ndjson --definition pump.yaml --output out")
def backtest(
    definition: Annotated[Path, typer.Option("--definition", metavar="TYPE.yaml", help="Twin type of every device.")],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="Folder for the tables.")],
    inputs: Annotated[list[Path] | None, typer.Option("--input", metavar="FILE", help="NDJSON; repeatable.")] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="More input.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> int:
    """Run the telemetry core over files; tables as Parquet."""
    from infra.cli_backtest import run_backtest

    return run_backtest([*(inputs or ()), *(more or ())], definition, output, as_json=as_json)


@app.command(
    hidden=True,
    epilog="Example: twinflow bench clock --json",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def bench(context: typer.Context, name: Annotated[str, typer.Argument(help="Which; a wrong one lists them.")]) -> int:
    """Run a benchmark of tests/bench; each prints its figures."""
    from infra.testing import bench as run_bench

    return run_bench(name, context.args)


@app.command(
    hidden=True,
    epilog="Example: twinflow chaos eos --kills 100 --seed 1 --json",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def chaos(context: typer.Context, name: Annotated[str, typer.Argument(help="Which; a wrong one lists them.")]) -> int:
    """Run a scenario of tests/chaos: mishaps on purpose, in a world of its own; exit 1 when anything is wrong."""
    from infra.testing import chaos as run_chaos

    return run_chaos(name, context.args)


@app.command(
    "test",
    epilog="--full adds the long ones. Example: twinflow test tests/infra -k supervisor",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def run_tests(context: typer.Context) -> int:
    """Run lint and all tests, or what pytest is told to."""
    from infra import testing

    return testing.run_tests(context.args)


@app.command(hidden=True, epilog="Example: twinflow lint")
def lint() -> int:
    """Check formatting, style and types."""
    from infra import testing

    return testing.lint()


def _load(data: Path | None, config: Path | None, assign: list[str] | None) -> tuple[Folders, Settings]:
    """Folders and settings as these flags, the environment and the file say."""
    import os

    from infra.paths import Folders
    from infra.settings import Settings

    folders = Folders.of(data)
    named = config or (Path(os.environ["TWINFLOW_CONFIG"]) if os.environ.get("TWINFLOW_CONFIG") else None)
    settings = Settings.load(file=named or folders.config, flags=assign or (), must_exist=named is not None)
    return folders, settings


def _use_kernels(folders: Folders) -> None:
    """Compiled code is kept where the flows keep theirs; to be said before any of it is loaded."""
    import os

    from infra import kernels

    os.environ.setdefault("NUMBA_CACHE_DIR", str(kernels.folder(folders.cache)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return run(app, list(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    raise SystemExit(main())
