"""What a twin type file means, and that every spelling of it comes back the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.definition import SECOND, Component, RuleSpec, Signal, TwinType, Vector, WindowSpec
from operators.definition_json import canonical_json, definition_hash, to_dict
from operators.definition_text import MAX_BYTES
from operators.definition_yaml import load, loads
from operators.errors import DefinitionError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "twins"
MINIMAL = GOLDEN / "good" / "minimal.yaml"
EVERYTHING = GOLDEN / "good" / "everything.yaml"
REFUSALS: dict[str, str] = json.loads((GOLDEN / "bad" / "refusals.json").read_text("utf-8"))


def probe(extra: str = "", signals: str = "{a: {}, imu: {length: 2}}") -> TwinType:
    return loads(f"twin_type: probe\nversion: 1\nsignals: {signals}\n{extra}")


def test_the_minimal_type_means_what_its_text_says() -> None:
    t = load(MINIMAL)
    assert (t.name, t.version, t.clock, t.source) == ("probe", 1, "trusted", str(MINIMAL))
    assert t.signals == (Signal("a", "m/s^2", 100.0), Signal("b", "degC", 10.0))
    assert t.window == WindowSpec(SECOND, SECOND, 2 * SECOND, 0)
    assert t.align is not None
    assert t.align.every_ns == 100_000_000
    assert t.align.max_gap_ns == (400_000_000, 400_000_000)
    assert (t.align.linear, t.align.required, t.align.max_skew_ns) == ((True, False), (True, False), None)


def test_only_name_version_and_signals_are_needed_and_without_align_there_are_no_rows() -> None:
    t = probe()
    assert t.align is None
    assert t.window == WindowSpec()
    assert (t.detectors, t.rules, t.commands, t.report, t.calibrations) == ((), (), (), {}, ())


def test_every_key_of_a_type_arrives_where_it_belongs() -> None:
    t = load(EVERYTHING)
    assert t.tree == (Component("arm", "Arm", "manipulator"), Component("arm/wrist"))
    assert t.components == ("arm", "arm/wrist")
    assert t.vectors == (Vector("pos", 3), Vector("q", 4, unit_norm=True))
    assert [s.name for s in t.signals][:8] == ["t", "pos.0", "pos.1", "pos.2", "q.0", "q.1", "q.2", "q.3"]
    assert (t.clock, t.idle_timeout_ns, t.lookback_ns) == ("device", 90 * SECOND, 2 * SECOND)
    assert t.velocity == ("pos.0", "pos.1", "pos.2")
    temperature, angle = t.signals[t.index["t"]], t.signals[t.index["pos.2"]]
    assert (temperature.low, temperature.high, temperature.stuck_after_ns) == (float("-inf"), 200.0, 3600 * SECOND)
    assert (temperature.normal_low, temperature.normal_high) == (5.0, 95.5)
    assert temperature.sentinels == (-9999.0, 1e6)
    assert (angle.unit, angle.low, angle.high, angle.component) == ("deg", -180.0, float("inf"), "arm/wrist")
    assert t.window == WindowSpec(2 * SECOND, SECOND // 2, 250_000, SECOND)
    assert t.rules[2] == RuleSpec("gone", "pos.0", "absent", after_ns=30 * SECOND)
    assert (t.rules[0].limit, t.rules[0].severity, t.rules[0].command) == (90.0, "alarm", "stop")
    assert [(c.verb, c.timeout_ns, c.grave) for c in t.commands] == [
        ("stop", 2 * SECOND, False),
        ("go", 10 * SECOND, True),
    ]


def test_named_windows_wait_as_long_as_the_window_of_the_type_and_have_their_own_rest() -> None:
    minute, run, hundred, spectrum = load(GOLDEN / "good" / "windows.yaml").windows
    assert minute.times == WindowSpec(60 * SECOND, 10 * SECOND, 3 * SECOND, 30 * SECOND)
    assert minute.columns == ("p50", "p99.9", "quantile_error", "crest")
    assert minute.signals == ("temp", "imu.0", "imu.1", "imu.2")
    assert (run.kind, run.times) == ("session", WindowSpec(30 * SECOND, 30 * SECOND, 3 * SECOND))
    assert (hundred.kind, hundred.count, len(hundred.signals)) == ("count", 100, 5)
    assert spectrum.columns == ("band_1_10", "band_10_50")


def test_rows_go_by_a_leader_or_by_groups_and_orientations_by_slerp() -> None:
    leader, group = (load(GOLDEN / "good" / f"{name}.yaml").align for name in ("leader", "group"))
    assert leader is not None
    assert group is not None
    assert (leader.leader, leader.every_ns, leader.turns, leader.linear) == (1, 1, (4,), (True,) * 8)
    assert leader.max_gap_ns == (400_000_000, *(40_000_000,) * 3, *(80_000_000,) * 4)
    assert (group.group_ns, group.leader, group.max_skew_ns) == (50_000_000, -1, 20_000_000)
    assert group.required == (True, False, False, False, True, True, True, True)


def test_a_rule_over_two_conditions_is_a_pattern_and_stands_beside_the_others() -> None:
    t = load(GOLDEN / "good" / "patterns.yaml")
    dry, no_flow = t.patterns
    assert [r.id for r in t.rules] == ["hot"]
    assert (dry.kind, dry.within_ns, dry.severity, dry.command) == ("followed_by", 5 * SECOND, "alarm", "stop")
    assert (dry.first.signal, dry.first.limit, dry.first.debounce_ns) == ("temp", 60.0, 2 * SECOND)
    assert (dry.second.kind, dry.second.hysteresis) == ("below", 3.0)
    assert no_flow.kind == "not_followed_by"


def test_words_such_as_yes_and_on_stay_text() -> None:
    (go,) = (c for c in load(EVERYTHING).commands if c.verb == "go")
    assert go.arguments["properties"]["on"] == {"enum": ["yes", "no", "on"]}
    assert loads("{twin_type: on, version: 1, signals: {no: {}}}").signals[0].name == "no"


def test_in_align_a_signal_wins_over_its_vector_and_a_vector_over_the_default() -> None:
    align = load(EVERYTHING).align
    assert align is not None
    assert align.max_gap_ns[:6] == (100_000_000, 200_000_000, 300_000_000, 200_000_000, 100_000_000, 100_000_000)
    assert align.linear[:6] == (True, True, True, True, False, False)
    assert align.required[:5] == (True, True, True, True, False)
    assert align.max_skew_ns == 50_000_000


def test_without_max_gap_a_signal_may_miss_three_samples_and_two_steps_of_the_grid() -> None:
    align = probe("align: {every: 100ms}", "{slow: {rate_hz: 2}, fast: {rate_hz: 1000}, any: {}}").align
    assert align is not None
    assert align.max_gap_ns == (2 * SECOND, 200_000_000, SECOND)
    assert align.linear == (False, False, False)


def test_a_calibration_takes_both_shapes_a_number_or_a_list_of_signals() -> None:
    t = load(EVERYTHING)
    scalar, vector, pair = t.calibrations
    assert (scalar.signals, scalar.matrix.tolist(), scalar.bias.tolist()) == (("t",), [[1.02]], [-0.5])
    assert (vector.signals, vector.matrix.shape) == (("pos.0", "pos.1", "pos.2"), (4, 4))
    assert (pair.signals, pair.bias.tolist()) == (("imu.1", "imu.0"), [0.0, 0.0])
    with pytest.raises(ValueError, match="read-only"):
        scalar.matrix[0, 0] = 2.0


def test_a_devices_own_calibration_replaces_those_of_the_type_that_share_a_signal() -> None:
    t = load(EVERYTHING)
    assert [c.signals for c in t.device_calibrations["arm-7"]] == [("t",), ("imu.1", "imu.0"), ("pos.1",)]
    assert [c.signals for c in t.device_calibrations["arm 8; DROP"]][-1] == ("parts",)
    assert t.device_calibrations["arm 8; DROP"][:3] == t.calibrations


def test_a_detector_gets_the_defaults_of_its_method_and_all_signals() -> None:
    t = load(EVERYTHING)
    z, pca = t.detectors
    assert (z.on, z.threshold, z.signals) == ("samples", 3.0, tuple(s.name for s in t.signals))
    assert z.settings["alpha"] == 0.05
    assert (pca.on, pca.threshold, pca.settings["smooth"]) == ("rows", 4.0, 3)
    assert pca.signals == ("pos.0", "pos.1", "pos.2", "t")


def test_the_known_methods_can_be_passed_in() -> None:
    with pytest.raises(DefinitionError, match=r"unknown method 'ewma_z'; known: none"):
        loads("{twin_type: p, version: 1, signals: {a: {}}, detectors: [{id: z, method: ewma_z}]}", methods={})


def test_aliases_are_followed_within_bounds() -> None:
    t = loads("twin_type: p\nversion: 1\nsignals:\n  a: &s {unit: m, rate_hz: 5}\n  b: *s\n")
    assert t.signals[1] == Signal("b", "m", 5.0)


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_every_bad_file_is_refused_with_its_line_and_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "bad")
    with pytest.raises(DefinitionError) as refused:
        load(f"{name}.yaml")
    assert str(refused.value) == REFUSALS[name]
    assert refused.value.source == f"{name}.yaml"
    assert refused.value.line >= 1


def test_there_is_a_refusal_for_every_bad_file() -> None:
    assert sorted(REFUSALS) == sorted(p.stem for p in (GOLDEN / "bad").glob("*.yaml"))
    assert len(REFUSALS) >= 25


def test_the_first_fault_by_line_is_the_one_that_is_told() -> None:
    with pytest.raises(DefinitionError, match=r"<memory>:3: signals\.a\.rate_hz"):
        probe("window: {lenght: 1s}", "{a: {rate_hz: fast}}")


def test_a_file_that_cannot_be_read_is_a_definition_error_too(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"gone\.yaml:1: document: cannot be read"):
        load(tmp_path / "gone.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"twin_type: p\nversion: 1\n# \xb0C\n")
    with pytest.raises(DefinitionError, match=r"latin\.yaml:3: document: byte 0xb0 is no UTF-8"):
        load(tmp_path / "latin.yaml")
    (tmp_path / "big.yaml").write_text("#" * (5 * MAX_BYTES))
    with pytest.raises(DefinitionError, match="characters long"):
        load(tmp_path / "big.yaml")
    with pytest.raises(DefinitionError, match=r":2: document: character"):
        loads("twin_type: p\nversion: \x00\n")


def test_a_flood_of_open_brackets_is_refused_at_once() -> None:
    with pytest.raises(DefinitionError, match="deeper than 32"):
        loads("[" * 200_000)


@pytest.mark.parametrize("path", sorted((GOLDEN / "good").glob("*.yaml")), ids=lambda p: p.stem)
def test_a_type_survives_its_canonical_form(path: Path) -> None:
    t = load(path)
    again = loads(canonical_json(t).decode())
    assert again == t
    assert canonical_json(again) == canonical_json(t)
    assert definition_hash(again) == definition_hash(t)


def test_the_canonical_form_and_hash_of_a_type_do_not_move_between_versions() -> None:
    golden = json.loads((GOLDEN / "good" / "minimal.json").read_text("utf-8"))
    assert to_dict(load(MINIMAL)) == golden["canonical"]
    assert list(to_dict(load(MINIMAL))) == list(golden["canonical"])
    assert definition_hash(load(MINIMAL)) == golden["hash"]


def test_the_hash_moves_with_the_meaning_and_not_with_the_spelling() -> None:
    a = probe("window: {length: 1s, lateness: 2s}")
    assert definition_hash(probe("window: {lateness: 2.0, length: 1000ms, hop: 1s} # same")) == definition_hash(a)
    assert definition_hash(probe("window: {length: 1s, lateness: 3s}")) != definition_hash(a)
    assert definition_hash(probe(signals="{imu: {length: 2}, a: {}}")) != definition_hash(a)


def test_a_vector_whose_elements_differ_in_more_than_a_file_can_say_is_not_written() -> None:
    t = TwinType("p", 1, (Signal("v.0", rate_hz=1.0), Signal("v.1")), vectors=(Vector("v", 2),))
    with pytest.raises(ValueError, match="vector 'v'"):
        to_dict(t)


def test_the_examples_of_the_docs_load() -> None:
    page = (GOLDEN.parent.parent.parent / "docs" / "twin-types.md").read_text("utf-8")
    smallest, windows, align, calibration, reactions, patterns, _ = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    loads(smallest)
    signals = "{temperature: {}, speed: {}, state: {}, pressure: {}, imu: {length: 3}, ax: {}, ay: {}, current: {}}"
    assert [w.kind for w in probe(windows, signals.replace("length: 3", "length: 3, rate_hz: 80")).windows] == [
        *("time", "session", "count", "time")
    ]
    assert len(probe(patterns, "{current: {}, flow: {}, valve: {}}").patterns) == 2
    probe(align, signals)
    probe(calibration, signals)
    probe("align: {every: 1s}\n" + reactions, signals)


NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True), min_size=1, max_size=5, unique=True).filter(
    lambda names: not {"default", "device", "degraded"} & set(names)
)
SECONDS = st.one_of(
    st.integers(1, 10**6),
    st.floats(0.001, 1e5).map(lambda x: round(x, 9)),
    st.integers(1, 10**9).map(lambda n: f"{n}us"),
)
PAIRS = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)).map(lambda p: [p[0], p[0] + p[1]])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Valid twin types as people might write them."""
    names = draw(NAMES)
    one_of = st.sampled_from(names)
    signals: dict[str, Any] = {}
    lengths: dict[str, int] = {}
    for name in names:
        signal: dict[str, Any] = draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "unit": st.sampled_from(["m", "°C", "km/h", "{parts}/h", "1", 1]),
                    "rate_hz": st.floats(0, 1e4),
                    "range": PAIRS,
                    "sentinels": st.lists(st.floats(-1e9, 1e9), max_size=2),
                    "stuck_after": SECONDS,
                    "length": st.integers(1, 4),
                },
            )
        )
        signals[name], lengths[name] = signal, signal.get("length", 0)
    scalars = [n for n in names if not lengths[n]]
    calibrated = {n: {"bias": draw(st.floats(-9, 9)), "matrix": draw(st.floats(-9, 9))} for n in names[:2]}
    document: dict[str, Any] = {"twin_type": "p", "version": draw(st.integers(1, 99)), "signals": signals}
    length, part = draw(st.integers(1, 10**6)), draw(st.integers(1, 10))
    optional: dict[str, Any] = {
        "window": {"length": f"{length * part}us", "hop": f"{length}us", "lateness": draw(SECONDS)},
        "align": {
            "every": draw(SECONDS),
            "max_gap": {"default": draw(SECONDS), draw(one_of): draw(SECONDS)},
            "method": draw(st.sampled_from(["linear", "previous", {"default": "linear", names[0]: "previous"}])),
            "required": draw(st.lists(one_of, unique=True)),
        },
        "calibration": calibrated,
        "devices": {"dev-1": {"calibration": dict(list(calibrated.items())[:1])}},
        "velocity": draw(st.lists(one_of, unique=True)),
        "detectors": [{"id": "z", "method": "ewma_z", "signals": "all", "settings": {"warmup": 9}}],
        "rules": [{"id": str(i), "signal": n, "above": draw(st.floats(-9, 9))} for i, n in enumerate(scalars)],
        "commands": {"go": {"grave": draw(st.booleans()), "arguments": {"type": "object"}}},
        "report": {"type": "object", "properties": {"b": {"type": "string"}, "a": {}}},
    }
    kept = draw(st.sets(st.sampled_from(sorted(optional))))
    return document | {key: optional[key] for key in sorted(kept)}


@settings(max_examples=40, deadline=None)
@given(document=documents())
def test_any_valid_type_survives_its_canonical_form(document: dict[str, Any]) -> None:
    t = loads(json.dumps(document))
    canonical = canonical_json(t)
    again = loads(canonical.decode())
    assert again == t
    assert canonical_json(again) == canonical


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"%#, \n\\u0d8\t1.e", max_size=60))
def test_any_text_is_either_a_type_or_a_definition_error(text: str) -> None:
    with pytest.raises(DefinitionError):
        loads(text)
