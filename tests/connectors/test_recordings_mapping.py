"""Mapping files: what does not hold together is refused with file, line and key."""

from __future__ import annotations

import pytest

from connectors.recordings.faults import MappingError
from connectors.recordings.mapping import parse_mapping

GOOD = """recording: r
kind: table
time: {column: t}
signals:
  a: {column: A, unit: bar}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("recording: r", "recordin: r", r"m:1: recordin: .*unknown field"),
        ("kind: table", "kind: tabel", r"m:2: kind: Invalid enum value 'tabel'"),
        ("{column: t}", "{column: t, zome: UTC}", r"m:3: time\.zome: .*unknown field"),
        ("{column: t}", "{column: t, zone: Mars}", r"m:3: time\.zone: 'Mars' is no zone"),
        ("{column: t}", "{column: t, format: dmy}", r"m:3: time\.format: 'dmy' is no format"),
        ("{column: t}", "{every: 1s}", r"m:3: time: every without start"),
        ("{column: t}", "{}", r"m:3: time: is given by nothing"),
        ("{column: t}", "{column: t, start: 2020-01-01}", r"m:3: time\.start: means nothing with format 'iso'"),
        ("  a: {column: A, unit: bar}", "  a: {colum: A}", r"m:5: signals\.a\.colum: .*unknown field"),
        ("  a: {column: A, unit: bar}", "  a: {column: A, unit: furlong}", r"m:5: signals\.a\.unit: .*furlong"),
        ("  a: {column: A, unit: bar}", "  a: {unit: bar}", r"m:5: signals\.a: has no source; give exactly one"),
        ("  a: {column: A, unit: bar}", "  a: {column: A, columns: [B]}", r"m:5: signals\.a: has column, columns"),
        ("  a: {column: A, unit: bar}", "  a: {topic: /t, field: x}", r"m:5: signals\.a: has field, topic"),
        ("  a: {column: A, unit: bar}", "  a: 7", r"m:5: signals\.a: Expected `object`"),
        ("  a: {column: A, unit: bar}", "  a: {column: A}\n  a: {column: B}", r"m:6: signals\.a: stands twice"),
        ("  a: {column: A, unit: bar}", "  {", r"m:\d: document: no valid YAML"),
        ("kind: table", "kind: table\ncsv: {separator: ab}", r"m:3: csv\.separator: 'ab' cannot separate"),
        ("kind: table", "kind: table\ndevice: '{nmae}'", r"m:3: device: '{nmae}' cannot be filled in"),
        (GOOD, "", r"m:1: document: Expected `object`"),
        (GOOD, "[1, 2]", r"m:1: document: Expected `object`"),
    ],
)
def test_a_mapping_that_does_not_hold_together_names_line_and_key(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(MappingError, match=message):
        parse_mapping(GOOD.replace(old, new), source="m")


def test_values_are_text_unless_the_key_wants_otherwise() -> None:
    mapping = parse_mapping(GOOD.replace("unit: bar", "unit: 1, optional: true").replace("{column: t}", "{column: 1}"))
    assert (mapping.signals["a"].unit, mapping.signals["a"].optional, mapping.columns) == ("1", True, ["1"])
