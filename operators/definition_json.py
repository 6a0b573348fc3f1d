"""A twin type back as a document, in one canonical form; its hash names the definition in lineage."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from operators.definition import (
    AlignSpec,
    Calibration,
    DetectorSpec,
    NamedWindow,
    PatternSpec,
    RuleSpec,
    Signal,
    TwinType,
    Vector,
)


def to_dict(twin_type: TwinType) -> dict[str, Any]:
    """The document that `definition_yaml.loads` reads as an equal type; every default is written out.

    Raises:
        ValueError: the elements of a vector are not beside each other, or differ in more than units and ranges; no
            file can say that.
    """
    t = twin_type
    document: dict[str, Any] = {
        "twin_type": t.name,
        "version": t.version,
        "signals": _signals(t),
        "components": {c.path: {"title": c.title, "kind": c.kind} for c in t.tree} or {c: {} for c in t.components},
        "clock": t.clock,
        "idle_timeout": _ns(t.idle_timeout_ns),
        "lookback": _ns(t.lookback_ns),
        "velocity": list(t.velocity),
        "window": {
            "length": _ns(t.window.length_ns),
            "hop": _ns(t.window.hop_ns),
            "lateness": _ns(t.window.wait_ns),
            "allowed_lateness": _ns(t.window.allowed_lateness_ns),
        },
        "calibration": _calibrations(t.calibrations),
        "devices": {
            device: {"calibration": _calibrations(own)} for device, own in sorted(t.device_calibrations.items())
        },
        "detectors": [_detector(d) for d in t.detectors],
        "rules": [*map(_rule, t.rules), *map(_pattern, t.patterns)],
        "commands": {
            c.verb: {"arguments": _sorted(c.arguments), "timeout": _ns(c.timeout_ns), "grave": c.grave}
            for c in t.commands
        },
        "report": _sorted(t.report),
    }
    if t.windows:
        document["windows"] = [_window(w) for w in t.windows]
    if t.align is not None:
        document["align"] = _align(t, t.align)
    return document


def canonical_json(twin_type: TwinType) -> bytes:
    """`to_dict` as UTF-8 JSON without spaces; equal types give equal bytes."""
    return json.dumps(to_dict(twin_type), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def definition_hash(twin_type: TwinType) -> str:
    """SHA-256 of the canonical JSON in hex: the same for any spelling of the same definition, wherever it lies.

    >>> from operators.definition import Signal, TwinType
    >>> a = TwinType(name="probe", version=1, signals=(Signal("a"),), source="here.yaml")
    >>> b = TwinType(name="probe", version=1, signals=(Signal("a"),), source="there.yaml")
    >>> definition_hash(a) == definition_hash(b), len(definition_hash(a))
    (True, 64)
    """
    return hashlib.sha256(canonical_json(twin_type)).hexdigest()


def _ns(duration: int) -> str:
    return f"{duration}ns"


def _sorted(value: Any) -> Any:
    """A value of free form with the keys of its maps in order."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def _signals(t: TwinType) -> dict[str, Any]:
    heads = {f"{v.name}.0": v for v in t.vectors}
    inside = {f"{v.name}.{i}" for v in t.vectors for i in range(v.length)}
    document: dict[str, Any] = {}
    for i, signal in enumerate(t.signals):
        if signal.name in heads:
            vector = heads[signal.name]
            document[vector.name] = _vector(vector, t.signals[i : i + vector.length])
        elif signal.name not in inside:
            document[signal.name] = _units([signal]) | _signal(signal) | _ranges([signal])
    return document


def _vector(vector: Vector, elements: tuple[Signal, ...]) -> dict[str, Any]:
    alike = {json.dumps(_signal(signal)) for signal in elements}
    if [s.name for s in elements] != [f"{vector.name}.{i}" for i in range(vector.length)] or len(alike) != 1:
        raise ValueError(f"vector {vector.name!r}: its elements are apart or differ in more than units and ranges")
    document = _units(list(elements)) | _signal(elements[0]) | {"length": vector.length} | _ranges(list(elements))
    return document | ({"quaternion": True} if vector.unit_norm else {})


def _signal(signal: Signal) -> dict[str, Any]:
    document: dict[str, Any] = {"rate_hz": float(signal.rate_hz)}
    if signal.sentinels:
        document["sentinels"] = [float(x) for x in signal.sentinels]
    if signal.stuck_after_ns:
        document["stuck_after"] = _ns(signal.stuck_after_ns)
    if signal.component:
        document["component"] = signal.component
    return document


def _units(signals: list[Signal]) -> dict[str, Any]:
    units = [signal.unit for signal in signals]
    return {"unit": units[0] if len(set(units)) == 1 else units}


def _ranges(signals: list[Signal]) -> dict[str, Any]:
    """`range` and `normal`, as one pair where all elements share it; left out where nothing is bounded."""
    document: dict[str, Any] = {}
    for key, pairs in (
        ("range", [(s.low, s.high) for s in signals]),
        ("normal", [(s.normal_low, s.normal_high) for s in signals]),
    ):
        if any(math.isfinite(bound) for pair in pairs for bound in pair):
            shown = [[_bound(low), _bound(high)] for low, high in pairs]
            document[key] = shown[0] if all(pair == shown[0] for pair in shown) else shown
    return document


def _bound(x: float) -> float | None:
    return float(x) if math.isfinite(x) else None


def _window(w: NamedWindow) -> dict[str, Any]:
    document: dict[str, Any] = {"id": w.id, "signals": list(w.signals)}
    if w.kind == "time":
        document |= {"length": _ns(w.times.length_ns), "hop": _ns(w.times.hop_ns)}
    else:
        document |= {"session": _ns(w.times.length_ns)} if w.kind == "session" else {"count": w.count}
    if w.kind != "count":
        document["allowed_lateness"] = _ns(w.times.allowed_lateness_ns)
    if w.quantiles:
        document["quantiles"] = [float(q) for q in w.quantiles]
    if w.bands:
        document["bands"] = [[float(low), float(high)] for low, high in w.bands]
    return document | ({"crest": True} if w.crest else {})


def _align(t: TwinType, align: AlignSpec) -> dict[str, Any]:
    names = [signal.name for signal in t.signals]
    required = [name for name, needed in zip(names, align.required, strict=True) if needed]
    skew = {} if align.max_skew_ns is None else {"max_skew": _ns(align.max_skew_ns)}
    if align.group_ns:
        return {"group": _ns(align.group_ns), "required": required, **skew}
    method = ["linear" if linear else "previous" for linear in align.linear]
    for q in align.turns:
        method[q : q + 4] = ["slerp"] * 4
    document: dict[str, Any] = {"every": _ns(align.every_ns)} if align.leader < 0 else {"leader": names[align.leader]}
    document |= {
        "max_gap": {name: _ns(gap) for name, gap in zip(names, align.max_gap_ns, strict=True)},
        "method": dict(zip(names, method, strict=True)),
        "required": required,
    }
    return document | skew


def _calibrations(calibrations: tuple[Calibration, ...]) -> dict[str, Any]:
    return {
        "+".join(c.signals): {"signals": list(c.signals), "matrix": c.matrix.tolist(), "bias": c.bias.tolist()}
        for c in calibrations
    }


def _detector(d: DetectorSpec) -> dict[str, Any]:
    return {
        "id": d.id,
        "method": d.method,
        "on": d.on,
        "signals": list(d.signals),
        "threshold": float(d.threshold),
        "settings": _sorted(d.settings),
        "order": d.order,
        "clear_after": _ns(d.clear_after_ns),
    }


def _pattern(p: PatternSpec) -> dict[str, Any]:
    when = _step(p.first) | {p.kind: _step(p.second), "within": _ns(p.within_ns)}
    return {"id": p.id, "when": when, "severity": p.severity, "message": p.message, "command": p.command}


def _step(r: RuleSpec) -> dict[str, Any]:
    return {
        "signal": r.signal,
        r.kind: float(r.limit),
        "hysteresis": float(r.hysteresis),
        "debounce": _ns(r.debounce_ns),
    }


def _rule(r: RuleSpec) -> dict[str, Any]:
    document: dict[str, Any] = {"id": r.id, "signal": r.signal, "severity": r.severity}
    if r.kind == "absent":
        document["absent"] = _ns(r.after_ns)
    else:
        document |= {r.kind: float(r.limit), "hysteresis": float(r.hysteresis), "debounce": _ns(r.debounce_ns)}
    return document | {"message": r.message, "command": r.command}
