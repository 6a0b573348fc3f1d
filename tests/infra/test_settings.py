from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra.errors import UsageFault
from infra.paths import Folders
from infra.settings import RESERVED, SETTINGS, Settings, masked

SECRETS = st.text(st.characters(categories=("L", "N")), min_size=6, max_size=20)


def refused(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    must_exist: bool = False,
) -> str:
    with pytest.raises(UsageFault) as fault:
        Settings.load(file=file, environ=environ or {}, flags=flags, must_exist=must_exist)
    return str(fault.value)


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "twinflow.toml"
    file.write_text("kafka_port = 1\nhistory_port = 2\npage_port = 3\n")
    environ = {"TWINFLOW_HISTORY_PORT": "20", "TWINFLOW_PAGE_PORT": "30"}
    settings = Settings.load(file=file, environ=environ, flags=["page_port=300"])
    keys = ("kafka_heap_mb", "kafka_port", "history_port", "page_port")
    assert [settings.number(key) for key in keys] == [320, 1, 20, 300]
    assert [settings.values[key].origin for key in keys] == ["default", str(file), "TWINFLOW_HISTORY_PORT", "flag"]
    assert [settings.chosen(key) for key in keys] == [False, True, True, True]


def test_an_unknown_key_names_the_nearest_right_one_and_its_line(tmp_path: Path) -> None:
    file = tmp_path / "twinflow.toml"
    file.write_text("# mine\nkafka_prot = 1\n")
    assert refused(file=file) == f"{file}:2: unknown key 'kafka_prot'; did you mean kafka_port?"
    assert refused(environ={"TWINFLOW_KAFAK": "x:1"}) == "TWINFLOW_KAFAK: unknown setting; did you mean TWINFLOW_KAFKA?"
    assert "did you mean page_port?" in refused(flags=["pageport=1"])


@pytest.mark.parametrize("flag", ["kafka_port=0", "kafka_port=65536", "kafka_port=x", "kafka=host", "clickhouse=host"])
def test_a_value_out_of_form_or_range_is_refused(flag: str) -> None:
    assert refused(flags=[flag]).startswith(f"--set {flag.partition('=')[0]}: ")


@pytest.mark.parametrize("text", ["kafka_port = true", "kafka_port = 1.5", "kafka = [1]", "kafka_port ="])
def test_a_file_with_the_wrong_kind_of_value_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "twinflow.toml"
    file.write_text(text)
    assert refused(file=file).startswith(f"{file}")


def test_a_file_asked_for_must_exist_and_the_default_one_need_not(tmp_path: Path) -> None:
    assert Settings.load(file=tmp_path / "none.toml", environ={}).number("kafka_port") == 9092
    assert "No such file" in refused(file=tmp_path / "none.toml", must_exist=True)


def test_variables_of_the_folders_are_no_settings() -> None:
    Settings.load(environ={f"TWINFLOW_{name}": "x" for name in RESERVED} | {"OTHER": "y"})


@given(password=SECRETS)
@hypothesis_settings(max_examples=40, deadline=None)
def test_no_password_is_ever_shown(password: str) -> None:
    secret = next(s for s in SETTINGS if s.secret)
    address = next(s for s in SETTINGS if s.key == "clickhouse")
    environ = {secret.variable: password, address.variable: f"https://me:{password}@host:8443/?password={password}"}
    rows = {row["key"]: row["value"] for row in Settings.load(environ=environ).shown()}
    assert rows[secret.key] == "***"
    assert rows[address.key] == "https://me:***@host:8443/?password=***"
    assert masked(address, "http://host:1") == "http://host:1"


def test_folders_come_from_the_argument_then_the_variable_then_the_platform(tmp_path: Path) -> None:
    env = {"TWINFLOW_DATA": "/d", "TWINFLOW_CACHE": "/c", "XDG_DATA_HOME": "/x"}
    assert Folders.of(tmp_path, environ=env).data == tmp_path
    assert Folders.of(environ=env) == Folders(Path("/d"), Path("/c"))
    assert Folders.of(environ={}, home=str(tmp_path)).data.is_relative_to(tmp_path)
    assert Folders.of(Path("here"), environ=env).data == Path.cwd() / "here"
