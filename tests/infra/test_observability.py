"""Figures, dashboards and alert rules agree: each names what the processes expose, and no figure is left untold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import promql_parser
import pytest
import yaml

from tests.infra.exposed import exposed

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "infra" / "observability"
BOARDS = sorted((FILES / "grafana").glob("*.json"))
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}
"""Of Prometheus and of its client library."""
PORTS = {"telemetry": 8061, "commands": 8062, "history-writer": 8073, "ticker": 8074, "page": 8050}
TARGET = {
    "type": "object",
    "required": ["refId", "expr", "datasource"],
    "properties": {"refId": {"pattern": "^[A-Z]$"}, "expr": {"type": "string", "minLength": 1}},
}
BOARD = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "uid": {"pattern": "^[a-z-]{1,40}$"},
        "panels": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type", "title", "gridPos"],
                "properties": {
                    "type": {"enum": ["row", "stat", "timeseries"]},
                    "gridPos": {
                        "type": "object",
                        "required": ["x", "y", "w", "h"],
                        "properties": {"x": {"minimum": 0, "maximum": 23}, "w": {"minimum": 1, "maximum": 24}},
                    },
                    "targets": {"type": "array", "minItems": 1, "items": TARGET},
                    "fieldConfig": {"type": "object", "required": ["defaults"]},
                },
                "if": {"properties": {"type": {"not": {"const": "row"}}}},
                "then": {"required": ["targets", "fieldConfig", "datasource"]},
            },
        },
    },
}
"""What Grafana needs of a dashboard, as far as these use it."""


def without_suffix(name: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", name)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FILES / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every panel and rule, Grafana's variables filled in."""
    for path in BOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                expr = target["expr"].replace("$__rate_interval", "1m").replace("$flow", ".*")
                yield f"{path.name}: {panel['title']}", expr
    for rule in rules():
        yield f"rules.yml: {rule.get('alert') or rule['record']}", rule["expr"]


def names(node: object) -> Iterator[str]:
    """Series that a parsed query reads."""
    if isinstance(node, promql_parser.VectorSelector):
        yield str(node.name)
    for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
        child = getattr(node, part, None)
        if child is not None and not isinstance(child, str):
            yield from names(child)
    for argument in getattr(node, "args", ()) or ():
        yield from names(argument)


def test_the_page_on_figures_names_each_one_that_exists_and_no_other() -> None:
    told = set(re.findall(r"`(twinflow_\w+)`", (ROOT / "docs" / "observability.md").read_text()))
    assert told == {without_suffix(name) for name in exposed()}


@pytest.mark.parametrize("path", BOARDS, ids=lambda p: p.stem)
def test_a_dashboard_has_what_grafana_needs_and_no_panel_lies_over_another(path: Path) -> None:
    board = json.loads(path.read_text())
    jsonschema.validate(board, BOARD)
    panels = board["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    cells = [
        (x, y)
        for g in (p["gridPos"] for p in panels)
        for x in range(g["x"], g["x"] + g["w"])
        for y in range(g["y"], g["y"] + g["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_every_query_parses_and_reads_only_series_that_exist() -> None:
    known = exposed() | OTHERS | {rule["record"] for rule in rules() if "record" in rule}
    found = {where: set(names(promql_parser.parse(expr))) for where, expr in queries()}
    assert {where: read - known for where, read in found.items() if not read or read - known} == {}
    assert len(found) > 50


def test_every_figure_is_on_a_dashboard() -> None:
    shown = {without_suffix(n) for where, e in queries() if "json" in where for n in names(promql_parser.parse(e))}
    hidden = {without_suffix(name) for name in exposed()} - shown
    assert hidden == {"twinflow_live_filled", "twinflow_dead_letters_total"}  # the page's own start; told by the flow


def test_a_query_of_a_series_that_nobody_exposes_would_be_found() -> None:
    read = set(names(promql_parser.parse("sum by (x) (rate(twinflow_no_such_total[1m])) / on (x) twinflow_ready > 2")))
    assert read - exposed() == {"twinflow_no_such_total"}


def test_every_alert_says_what_is_the_matter_how_grave_and_what_next() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    for alert in alerts:
        assert set(alert) <= {"alert", "expr", "for", "labels", "annotations"}
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert set(alert["annotations"]) == {"summary", "description"}
    assert len({alert["alert"] for alert in alerts}) == len(alerts) >= 12


def test_prometheus_asks_every_process_at_the_port_the_page_on_figures_names() -> None:
    config = yaml.safe_load((FILES / "prometheus.yml").read_text())
    assert [str(FILES / name) for name in config["rule_files"]] == [str(FILES / "rules.yml")]
    targets = {
        one["labels"]["process"]: int(one["targets"][0].rpartition(":")[2])
        for job in config["scrape_configs"]
        for one in job["static_configs"]
    }
    assert targets == PORTS
    page = (ROOT / "docs" / "observability.md").read_text()
    assert all(f"{port}" in page and f"`{name}`" in page for name, port in PORTS.items())
