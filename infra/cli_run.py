"""Around the verbs: errors as one line and an exit code, small listings."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from infra.errors import CommandError, ExitCode
from operators.errors import TwinflowError

if TYPE_CHECKING:
    from infra.settings import Settings


def run(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command line. Results go to stdout, everything else, errors too, to stderr."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = "--debug" in own
    rest = [a for i, a in enumerate(arguments) if not (a == "--debug" and i < len(own))]
    try:
        code = app(args=rest or ["--help"], prog_name="twinflow", standalone_mode=False)
        return int(code or 0)
    except Exception as error:
        if debug:
            traceback.print_exc()
        text, exit_code = explained(error)
        sys.stderr.write(f"twinflow: {text}\n")
        return exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def explained(error: Exception) -> tuple[str, ExitCode]:
    """One line for people and the exit code of an error.

    >>> explained(ValueError("x"))[1]
    <ExitCode.INTERNAL: 70>
    """
    if isinstance(error, CommandError):
        return one_line(str(error)), error.code
    if isinstance(error, TwinflowError):
        return one_line(str(error)), ExitCode.FAILED
    if isinstance(error, typer.TyperException):
        message = getattr(error, "format_message", error.__str__)()
        return f"{one_line(message).rstrip('.')}; twinflow --help lists what there is", ExitCode.USAGE
    if isinstance(error, OSError):
        return f"{error.filename or 'system'}: {error.strerror or error}; --debug shows where", ExitCode.FAILED
    return one_line(f"{type(error).__name__}: {error}; this is a bug, --debug shows where"), ExitCode.INTERNAL


def one_line(text: str) -> str:
    """Line breaks become spaces.

    >>> one_line("a\\n   b")
    'a b'
    """
    return " ".join(text.split())


def listing(values: Mapping[str, str], *, as_json: bool) -> int:
    """Print names and values."""
    if as_json:
        sys.stdout.write(json.dumps(dict(values), indent=2) + "\n")
    else:
        width = max(map(len, values))
        sys.stdout.writelines(f"{name:<{width}}  {value}\n" for name, value in values.items())
    return ExitCode.OK


def settings_listing(settings: Settings, *, as_json: bool) -> int:
    """Print every setting with its origin, secrets masked."""
    rows = settings.shown()
    if as_json:
        sys.stdout.write(json.dumps({"settings": rows}, indent=2) + "\n")
        return ExitCode.OK
    widths = [max(len(str(row[column])) for row in rows) for column in ("key", "value", "origin")]
    for row in rows:
        cells = zip((row["key"], row["value"], row["origin"]), widths, strict=True)
        sys.stdout.write("  ".join(f"{cell!s:<{width}}" for cell, width in cells) + f"  {row['help']}\n")
    return ExitCode.OK


def versions() -> dict[str, str]:
    """Version of twinflow (installed, else as the clone says) and of what it runs on."""
    import platform

    try:
        own = metadata.version("twinflow")
    except metadata.PackageNotFoundError:
        import tomllib

        own = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]["version"]
    parts = {name: metadata.version(name) for name in ("bytewax", "chdb", "confluent-kafka")}
    return {"twinflow": own, "python": platform.python_version(), **parts}
