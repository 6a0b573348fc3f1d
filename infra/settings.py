"""Settings of the command: defaults < file < environment < flags, each value with its origin.

The file is TOML with flat keys (twinflow.toml in the data folder, or --config); the environment variable of a key is
TWINFLOW_ and the key in capitals; a flag is `--set key=value`.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.errors import UsageFault

PREFIX = "TWINFLOW_"
RESERVED = (
    *("DATA", "CACHE", "CONFIG", "DATASETS", "MAVEN_MIRROR", "CLICKHOUSE_READER", "HEALTH_PORT", "CHROMIUM", "PORT"),
    *("COMMANDS", "PAGES", "PROCESS", "PROCESSES", "EPOCH_SECS", "SAMPLES_TOPIC"),
)
"""Variables with our prefix that are no settings: folders, test data, a mirror."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. The type of `default` is the type of the value; `low`, `high` bound a number, `form` a text."""

    key: str
    default: str | int
    help: str
    secret: bool = False
    low: int = 0
    high: int = 65535
    form: str = ""
    form_help: str = ""

    @property
    def variable(self) -> str:
        return PREFIX + self.key.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting("kafka", "", "address of a real Kafka; none starts then", form=r"\S+:\d+", form_help="host:port"),
    Setting("kafka_port", 9092, "port of the embedded Kafka; the next free one unless set", low=1),
    Setting("kafka_heap_mb", 320, "Java heap of the embedded Kafka, MB", low=128, high=65536),
    Setting("clickhouse", "", "URL of a real ClickHouse; none starts then", form=r"https?://\S+", form_help="a URL"),
    Setting("clickhouse_user", "default", "user at a real ClickHouse"),
    Setting("clickhouse_password", "", "its password", secret=True),
    Setting("history_port", 8123, "port of the embedded history; the next free one unless set", low=1),
    Setting("history_writer_password", "", "of its user writer; without both, loopback needs none", secret=True),
    Setting("history_reader_password", "", "of its user reader, who only reads", secret=True),
    Setting("fleet", "", "file that says which device is of which type; the shipped one unless set"),
    Setting("types", "", "folder of the twin types; the shipped one unless set"),
    Setting(
        "scenario",
        "default",
        "what is simulated: default, healthy, none",
        form=r"default|healthy|none",
        form_help="a scenario",
    ),
    Setting(
        "recordings",
        "all",
        "recordings played over and over: all, none, or some of husky,nab,citylearn",
        form=r"all|none|(husky|nab|citylearn)(,(husky|nab|citylearn))*",
        form_help="all, none or names of recordings",
    ),
    Setting(
        "gate_required",
        "",
        "checks of the command gate that must be passed; those not built yet refuse every command",
        form=r"[a-z_]+( *, *[a-z_]+)*",
        form_help="names of checks, like role, rate",
    ),
    Setting("telemetry_processes", 1, "processes that share the shards of telemetry", low=1, high=12),
    Setting("page_port", 8050, "port of the page; the next free one unless set", low=1),
)


@dataclass(frozen=True, slots=True)
class Value:
    """A value and where it comes from: "default", the file, the variable or "flag"."""

    value: str | int
    origin: str


class Settings:
    """All settings, resolved.

    >>> settings = Settings.load(environ={"TWINFLOW_KAFKA_PORT": "9192"}, flags=["page_port=80"])
    >>> settings.number("kafka_port"), settings.values["page_port"].origin, settings.chosen("history_port")
    (9192, 'flag', False)
    """

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.values = dict(values)

    @staticmethod
    def load(
        *,
        file: Path | None = None,
        environ: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
        must_exist: bool = False,
    ) -> Settings:
        """Layer all sources.

        Raises:
            UsageFault: an unknown key (the nearest right one is named), a bad value, an unreadable file.
        """
        values = {s.key: Value(s.default, "default") for s in SETTINGS}
        if file is not None and (must_exist or file.exists()):
            values |= _from_file(file)
        values |= _from_environment(os.environ if environ is None else environ)
        values |= _from_flags(flags)
        return Settings(values)

    def text(self, key: str) -> str:
        return str(self.values[key].value)

    def number(self, key: str) -> int:
        return int(self.values[key].value)

    def chosen(self, key: str) -> bool:
        """Somebody set it: then it is taken literally or refused, never replaced."""
        return self.values[key].origin != "default"

    def environment(self) -> dict[str, str]:
        """What somebody set, as variables, for a child to find the same."""
        return {s.variable: str(self.values[s.key].value) for s in SETTINGS if self.chosen(s.key)}

    def shown(self) -> list[dict[str, str | int]]:
        """Rows key, value, origin, variable, help; secrets and passwords inside URLs masked."""
        return [
            {
                "key": s.key,
                "value": masked(s, self.values[s.key].value),
                "origin": self.values[s.key].origin,
                "variable": s.variable,
                "help": s.help,
            }
            for s in SETTINGS
        ]


def masked(setting: Setting, value: str | int) -> str | int:
    """The value as it may be printed.

    >>> masked(Setting("pin", "", "a number to keep", secret=True), "1234")
    '***'
    """
    if setting.secret:
        return "***" if value else ""
    return value if isinstance(value, int) else hide_passwords(value)


def hide_passwords(url: str) -> str:
    """The URL without what must not be printed.

    >>> hide_passwords("https://me:pw@host/?password=x")
    'https://me:***@host/?password=***'
    """
    url = re.sub(r"(://[^/@\s:]*:)[^@\s]*@", r"\1***@", url)
    return re.sub(r"((?:password|token|key)=)[^&\s]*", r"\1***", url)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?` or the way to the list.

    >>> nearest("kafak", ["kafka", "page_port"])
    'did you mean kafka?'
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "twinflow config lists all"


def _from_file(file: Path) -> dict[str, Value]:
    try:
        text = file.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise UsageFault(what=str(file), why=error.strerror or "cannot be read", fix="check --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageFault(what=str(file), why=f"no valid TOML: {error}", fix="correct that line") from error
    known = {s.key: s for s in SETTINGS}
    values = {}
    for key, raw in table.items():
        lines = (
            n for n, line in enumerate(text.splitlines(), 1) if re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}", line)
        )
        where = f"{file}:{next(lines, 1)}"
        if key not in known:
            raise UsageFault(what=where, why=f"unknown key {key!r}", fix=nearest(key, known))
        if isinstance(raw, bool) or not isinstance(raw, str | int):
            raise UsageFault(what=where, why=f"{key} is a {type(raw).__name__}", fix="write a text or a whole number")
        values[key] = Value(_checked(known[key], raw, where), str(file))
    return values


def _from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    known = {s.variable: s for s in SETTINGS}
    reserved = [PREFIX + name for name in RESERVED]
    values = {}
    for variable in sorted(v for v in environ if v.startswith(PREFIX) and v not in reserved):
        if variable not in known:
            raise UsageFault(what=variable, why="unknown setting", fix=nearest(variable, [*known, *reserved]))
        setting = known[variable]
        values[setting.key] = Value(_checked(setting, environ[variable], variable), variable)
    return values


def _from_flags(flags: Sequence[str]) -> dict[str, Value]:
    known = {s.key: s for s in SETTINGS}
    values = {}
    for flag in flags:
        key, equals, raw = flag.partition("=")
        if not equals:
            raise UsageFault(what=f"--set {flag}", why="no value", fix="write --set key=value")
        if key not in known:
            raise UsageFault(what=f"--set {flag}", why=f"unknown key {key!r}", fix=nearest(key, known))
        values[key] = Value(_checked(known[key], raw, f"--set {key}"), "flag")
    return values


def _checked(setting: Setting, raw: str | int, where: str) -> str | int:
    """`raw` as the type of the setting; where it comes from a secret the value is not repeated."""
    if isinstance(setting.default, int):
        try:
            number = int(raw)
        except ValueError:
            number = setting.low - 1
        if not setting.low <= number <= setting.high:
            raise UsageFault(
                what=where, why=f"{raw!r} is no whole number from {setting.low} to {setting.high}", fix=setting.help
            )
        return number
    text = str(raw)
    if text and setting.form and not re.fullmatch(setting.form, text):
        raise UsageFault(what=where, why=f"{masked(setting, text)!r} is not {setting.form_help}", fix=setting.help)
    return text
