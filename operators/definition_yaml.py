"""Reads a twin type from YAML (or JSON): schema, then everything a schema cannot say; refuses with file and line.

The keys are described in docs/twin-types.md and definition_schema.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from jsonschema import Draft202012Validator

from operators.command_records import ALARM_VERBS
from operators.definition import SECOND, CommandSpec, Component, Fleet, TwinType
from operators.definition_align import read_align
from operators.definition_check import Cursor, check, nearest
from operators.definition_embedded import check_schema
from operators.definition_methods import METHODS, Method
from operators.definition_react import read_detectors, read_rules
from operators.definition_signals import Names, read_calibrations, read_device_calibrations, read_signals
from operators.definition_text import MAX_BYTES, parse
from operators.definition_windows import read_window, read_windows
from operators.errors import DefinitionError


def _validator(name: str) -> Draft202012Validator:
    schema = json.loads(Path(__file__).with_name(name).read_text("utf-8"))
    return Draft202012Validator(schema)


_TYPE = _validator("definition_schema.json")
_FLEET = _validator("definition_fleet_schema.json")


def load(path: str | Path, *, methods: Mapping[str, Method] = METHODS) -> TwinType:
    """The twin type in a file.

    Raises:
        DefinitionError: the file cannot be read, or what it says does not hold together.
    """
    return loads(_text(path), source=str(path), methods=methods)


def loads(text: str, *, source: str = "<memory>", methods: Mapping[str, Method] = METHODS) -> TwinType:
    """The twin type in a text; `source` is what errors call it.

    Raises:
        DefinitionError: what it says does not hold together.

    >>> pump = loads("{twin_type: pump, version: 1, signals: {flow: {unit: l/min, rate_hz: 1}}}")
    >>> pump.signals[0].unit, pump.window.wait_ns
    ('l/min', 2000000000)
    >>> loads("{twin_type: pump, version: 1, signal: {}}", source="pump.yaml")
    Traceback (most recent call last):
    operators.errors.DefinitionError: pump.yaml:1: signal: unknown key; did you mean 'signals'?
    """
    root = Cursor(source, parse(text, source=source))
    check(root, _TYPE)
    tree = _components(root)
    paths = tuple(component.path for component in tree)
    signals, vectors = read_signals(root, paths)
    names = Names(signals, vectors)
    calibrations = read_calibrations(root, names)
    align = read_align(root, names)
    commands = _commands(root)
    window = read_window(root)
    rules, patterns = read_rules(root, names, {command.verb: command for command in commands})
    report, velocity = root.get("report"), root.get("velocity")
    return TwinType(
        name=root.text("twin_type"),
        version=root.whole("version", 1),
        signals=signals,
        vectors=vectors,
        components=paths,
        clock="device" if root.text("clock") == "device" else "trusted",
        idle_timeout_ns=root.duration("idle_timeout", 10 * SECOND, zero=False),
        lookback_ns=root.duration("lookback", SECOND, zero=False),
        velocity=names.listed(velocity) if velocity else (),
        window=window,
        windows=read_windows(root, names, window, signals),
        align=align,
        calibrations=calibrations,
        device_calibrations=read_device_calibrations(root, names, calibrations),
        detectors=read_detectors(root, names, methods, rows=align is not None),
        rules=rules,
        patterns=patterns,
        commands=commands,
        report=check_schema(report) if report else {},
        source=source,
        tree=tree,
    )


def load_fleet(path: str | Path, types_dir: str | Path) -> Fleet:
    """Which device is of which type: the file's list, with every type it names loaded from `types_dir/NAME.yaml`.

    Raises:
        DefinitionError: the list or one of its types does not hold together, or a type has no file.
    """
    folder = Path(types_dir)
    root = Cursor(str(path), parse(_text(path), source=str(path)))
    check(root, _FLEET)
    patterns: list[tuple[str, str]] = []
    types: dict[str, TwinType] = {}
    sites: dict[str, str] = {}
    for entry in root.get("instances") or ():
        pattern, name = entry.text("device"), entry.text("type")
        patterns.append((pattern, name))
        if entry.get("site"):
            sites.setdefault(pattern, entry.text("site"))
        if name not in types:
            types[name] = _named_type(entry.get("type") or entry, folder, name)
    return Fleet(tuple(patterns), types, sites)


def _named_type(place: Cursor, folder: Path, name: str) -> TwinType:
    file = folder / f"{name}.yaml"
    if not file.is_file():
        found = sorted(p.stem for p in folder.glob("*.yaml") if p.stem != "fleet")
        raise place.error(f"type {name!r} has no file {name}.yaml", nearest(name, found, otherwise="there are"))
    twin_type = load(file)
    if twin_type.name != name:
        raise place.error(f"{file.name} holds the type {twin_type.name!r}", "name the file as its twin_type")
    return twin_type


def _text(path: str | Path) -> str:
    def refused(line: int, detail: str, fix: str) -> DefinitionError:
        return DefinitionError(source=str(path), line=line, key="document", detail=detail, fix=fix)

    try:
        with Path(path).open("rb") as file:
            raw = file.read(4 * MAX_BYTES + 1)
    except OSError as e:
        raise refused(1, f"cannot be read: {e.strerror}", "check the path") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
        raise refused(line, f"byte {raw[e.start]:#04x} is no UTF-8", "save the file as UTF-8") from None


def _components(root: Cursor) -> tuple[Component, ...]:
    section = root.get("components")
    if section is None:
        return ()
    known = section.entries()
    for path, place in section.items():
        parent = path.rpartition("/")[0]
        if parent and parent not in known:
            raise place.error(f"its parent {parent!r} is not declared", f"add '{parent}: {{title: ...}}'")
    return tuple(Component(path, place.text("title"), place.text("kind")) for path, place in section.items())


def _commands(root: Cursor) -> tuple[CommandSpec, ...]:
    commands: list[CommandSpec] = []
    section = root.get("commands")
    for verb, place in section.items() if section else ():
        if verb in ALARM_VERBS:
            raise place.error(f"{verb!r} is a verb of alarms, which every twin has", "rename it")
        schema = place.get("arguments")
        timeout = place.duration("timeout", 10 * SECOND, zero=False)
        commands.append(CommandSpec(verb, check_schema(schema) if schema else {}, timeout, place.flag("grave")))
    return tuple(commands)
