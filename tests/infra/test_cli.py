from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cli import app, main
from infra.errors import ExitCode
from tests.infra.command import ROOT, Command

VERBS = sorted(c.name or c.callback.__name__ for c in app.registered_commands if c.callback)


@pytest.fixture
def twinflow(tmp_path: Path) -> Command:
    return Command(tmp_path / "data")


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_fits_on_one_screen_and_holds_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"] if verb else ["--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 80
    assert "Example: twinflow" in text


def test_help_and_wrong_words_load_nothing_heavy() -> None:
    code = """
import sys
from infra.cli import main
main(["--help"]); main(["upp"])
heavy = {"rich", "psutil", "confluent_kafka", "chdb", "numpy", "numba", "msgspec", "yaml"} & set(sys.modules)
sys.exit(", ".join(heavy) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_mistyped_verb_gets_the_near_one_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stauts"]) == ExitCode.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "Did you mean 'status'?" in err


@pytest.mark.parametrize("arguments", [["up", "--exit-after", "soon"], ["up", "--nope"], ["up", "--exit-after", "-1"]])
def test_a_wrong_option_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.USAGE
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_debug_adds_the_traceback_wherever_it_stands(twinflow: Command) -> None:
    plain, debug = twinflow("status"), twinflow("status", "--debug")
    assert (plain.returncode, debug.returncode) == (3, 3)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert debug.stderr.endswith(plain.stderr)


def test_every_exit_code_is_in_the_table_of_the_operations_page() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    table = {int(code): name for code, name in re.findall(r"^\| (\d+) \| `([a-z_]+)` \|", page, re.MULTILINE)}
    assert table == {int(code): code.name.lower() for code in ExitCode}


def test_every_verb_and_every_setting_is_on_the_operations_page() -> None:
    from infra.settings import SETTINGS

    page = (ROOT / "docs" / "operations.md").read_text()
    assert [verb for verb in VERBS if f"`{verb}" not in page] == []
    assert [s.key for s in SETTINGS if f"| `{s.key}` | `{s.variable}` |" not in page] == []


def test_paths_name_both_folders(twinflow: Command) -> None:
    listed = twinflow.json("paths")
    assert listed["data"] == str(twinflow.data)
    assert listed["logs"] == str(twinflow.data / "logs")
    assert listed["numba"].startswith(listed["cache"])
    assert not twinflow.data.exists()  # asking makes nothing


def test_config_prints_values_with_origin_and_no_secret(twinflow: Command) -> None:
    twinflow.data.mkdir()
    (twinflow.data / "twinflow.toml").write_text("kafka_port = 9192\npage_port = 8051\n")
    env = {"TWINFLOW_PAGE_PORT": "8052", "TWINFLOW_CLICKHOUSE_PASSWORD": "hunter2"}
    secret = Command(twinflow.data, env=env)
    rows = {row["key"]: row for row in secret.json("config", "--set", "history_port=8124")["settings"]}
    assert (rows["kafka_port"]["value"], rows["kafka_port"]["origin"]) == (9192, str(twinflow.data / "twinflow.toml"))
    assert (rows["page_port"]["value"], rows["page_port"]["origin"]) == (8052, "TWINFLOW_PAGE_PORT")
    assert (rows["history_port"]["value"], rows["history_port"]["origin"]) == (8124, "flag")
    assert rows["kafka_heap_mb"]["origin"] == "default"
    assert rows["clickhouse_password"]["value"] == "***"
    assert "hunter2" not in secret("config").stdout


def test_version_names_twinflow_first(twinflow: Command) -> None:
    assert twinflow("version").stdout.startswith("twinflow")
    assert set(twinflow.json("version")) >= {"twinflow", "python", "bytewax", "chdb"}


def test_a_closed_pipe_is_no_traceback(twinflow: Command) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "infra.cli", "paths"],
        env=twinflow.environment(),
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert "Traceback" not in done.stderr


def test_results_and_errors_hold_no_colour_codes_off_a_terminal(twinflow: Command) -> None:
    done = twinflow("doctor")
    assert "\x1b" not in done.stdout + done.stderr


def test_status_as_json_parses_even_when_nothing_runs(twinflow: Command) -> None:
    done = twinflow("status", "--json")
    assert done.returncode == ExitCode.NOT_RUNNING
    assert json.loads(done.stdout)["processes"] == []
