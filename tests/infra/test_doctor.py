from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from infra import doctor
from infra.paths import Folders
from infra.settings import Settings
from tests.infra.command import Command
from tests.infra.supervised import free_port

NAMES = ["python", "glibc", "memory", "folder", "disk", "clock", "java", "jars", "ports", "kafka", "history"]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path / "data", tmp_path / "cache")


def free() -> Settings:
    return Settings.load(environ={f"TWINFLOW_{n}_PORT": str(free_port()) for n in ("KAFKA", "HISTORY", "PAGE")})


def test_every_check_has_a_verdict_and_every_trouble_a_remedy(folders: Folders) -> None:
    checks = doctor.examine(folders, free(), None)
    assert [c.name for c in checks] == NAMES
    assert all(c.remedy for c in checks if c.verdict != "ok")
    assert {c.name: c.verdict for c in checks if c.name in ("python", "folder", "java", "ports", "kafka")} == {
        "python": "ok",
        "folder": "ok",
        "java": "ok",
        "ports": "ok",
        "kafka": "ok",
    }
    assert not folders.data.exists()


def test_jars_that_are_not_here_yet_are_a_warning_with_their_size(folders: Folders) -> None:
    check = doctor.jars(folders)
    assert check.verdict == "warn"
    assert "MB once" in check.remedy


def test_a_taken_port_is_a_warning_unless_it_was_set_on_purpose() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check = doctor.ports(Settings.load(environ={}, flags=[f"page_port={port}"]), None)
    assert check.verdict == "fail"
    assert f"page {port} held by pid {os.getpid()}" in check.found
    assert "page_port" in check.remedy


def test_real_clusters_that_do_not_answer_fail_with_the_reason() -> None:
    port = free_port()
    flags = [f"kafka=127.0.0.1:{port}", f"clickhouse=http://127.0.0.1:{port}"]
    settings = Settings.load(environ={}, flags=flags)
    for part in ("kafka", "clickhouse"):
        check = doctor.answering("kafka" if part == "kafka" else "clickhouse", settings, None)
        assert check.verdict == "fail"
        assert "refused" in check.found.lower()


def test_a_folder_below_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check = doctor.folder(Folders(tmp_path / "file" / "data", tmp_path / "cache"))
    assert check.verdict == "fail"
    assert "Not a directory" in check.found


def test_a_clock_behind_its_own_files_fails(folders: Folders) -> None:
    folders.create()
    folders.lock.touch()
    os.utime(folders.lock, (4e9, 4e9))
    check = doctor.clock(folders)
    assert check.verdict == "fail"
    assert "behind files it wrote itself" in check.found


def test_the_verb_exits_1_when_a_check_fails_and_says_so_in_json(tmp_path: Path) -> None:
    broken = Command(tmp_path / "data", env={"TWINFLOW_KAFKA": f"127.0.0.1:{free_port()}"})
    done = broken("doctor")
    assert done.returncode == 1
    assert "-> check kafka in the settings" in done.stdout
    assert broken.json("doctor")["ok"] is False
