"""The root script, run in a folder of its own with locks that need no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FAKE_CLI = "import sys, os; print(sys.argv[1:], os.getcwd(), sys.prefix)"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose path holds a space and whose locks ask for nothing."""
    root = tmp_path / "my clone"
    (root / "infra").mkdir(parents=True)
    shutil.copy(ROOT / "twinflow", root / "twinflow")
    (root / "infra" / "cli.py").write_text(FAKE_CLI)
    for lock in ("requirements.lock", "requirements-test.lock"):
        (root / lock).write_text("# nothing\n")
    return root


def tools(folder: Path, *names: str, **scripts: str) -> str:
    """A PATH with these programs of the system and these scripts, and nothing else."""
    folder.mkdir(exist_ok=True)
    for name in ("sh", "dirname", "readlink", "rm", "cp", "cmp", "mkdir", "ln", "sleep", *names):
        found = shutil.which(name)
        assert found, name
        if not (folder / name).exists():
            (folder / name).symlink_to(found)
    for name, body in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def uv() -> str:
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.fail("uv is neither beside this Python nor on the PATH")
    return found


def full_path(folder: Path) -> str:
    base = Path(sys.base_prefix, "bin", "python3")
    return tools(folder, uv=f'exec "{uv()}" "$@"', python3=f'exec "{base}" "$@"')


def environment(path: str) -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "TWINFLOW_"))}
    return {**keep, "PATH": path}


def call(script: Path | str, *arguments: str, path: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), *arguments], env=environment(path), cwd=cwd, capture_output=True, text=True, timeout=120
    )


def test_the_first_call_makes_the_environment_and_forwards_from_any_folder(clone: Path, tmp_path: Path) -> None:
    away = tmp_path / "elsewhere"
    away.mkdir()
    done = call(clone / "twinflow", "up", "a b", path=full_path(tmp_path / "bin"), cwd=away)
    assert done.stdout == f"['up', 'a b'] {away} {clone / '.venv'}\n", done.stderr
    assert "installing requirements.lock" in done.stderr


def test_a_warm_call_installs_nothing_until_the_lock_changes(clone: Path, tmp_path: Path) -> None:
    path = full_path(tmp_path / "bin")
    call(clone / "twinflow", path=path, cwd=tmp_path)
    without_uv = tools(tmp_path / "bare")
    warm = call(clone / "twinflow", "status", path=without_uv, cwd=tmp_path)
    assert (warm.returncode, warm.stderr) == (0, "")
    (clone / "requirements.lock").write_text("# nothing, yet different\n")
    assert "installing" in call(clone / "twinflow", path=path, cwd=tmp_path).stderr


def test_a_link_to_the_script_and_a_relative_call_find_the_clone(clone: Path, tmp_path: Path) -> None:
    path = full_path(tmp_path / "bin")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "tf").symlink_to("../my clone/twinflow")
    assert call(tmp_path / "links" / "tf", "x", path=path, cwd=tmp_path).stdout.startswith("['x']")
    assert call("./twinflow", "y", path=path, cwd=clone).stdout.startswith("['y']")


def test_the_test_verb_installs_the_test_lock(clone: Path, tmp_path: Path) -> None:
    done = call(clone / "twinflow", "test", path=full_path(tmp_path / "bin"), cwd=tmp_path)
    assert "installing requirements-test.lock" in done.stderr


def test_a_folder_of_the_caller_cannot_stand_in_for_our_modules(clone: Path, tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    (tmp_path / "infra" / "cli.py").write_text("print('wrong one')")
    done = call(clone / "twinflow", "x", path=full_path(tmp_path / "bin"), cwd=tmp_path)
    assert done.stdout.startswith("['x']")


def test_without_a_fitting_python_and_without_uv_one_line_says_what_to_do(clone: Path, tmp_path: Path) -> None:
    path = tools(tmp_path / "old", python3="exit 1")
    done = call(clone / "twinflow", "up", path=path, cwd=tmp_path)
    assert done.returncode == 5
    assert len(done.stderr.splitlines()) == 1
    assert "no Python 3.11 or 3.12 here and uv cannot bring one; install python3.12" in done.stderr


def test_without_a_fitting_python_uv_brings_one(clone: Path, tmp_path: Path) -> None:
    base = Path(sys.base_prefix, "bin", "python3")
    asked = tmp_path / "asked"
    bring = f'echo "$*" > "{asked}"; exec "{uv()}" venv --python "{base}" "{clone}/.venv"'
    path = tools(
        tmp_path / "old", python3="exit 1", uv=f'case $* in *"--python 3.12"*) {bring} ;; esac\nexec "{uv()}" "$@"'
    )
    done = call(clone / "twinflow", "up", path=path, cwd=tmp_path)
    assert done.stdout.startswith("['up']"), done.stderr
    assert "--python 3.12" in asked.read_text()


def test_of_two_first_calls_at_once_one_installs_and_both_go_on(clone: Path, tmp_path: Path) -> None:
    env = environment(full_path(tmp_path / "bin"))
    both = [
        subprocess.Popen([clone / "twinflow", name], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [out[:5] for out, _ in said] == ["['a']", "['b']"], said
    assert sum("installing requirements.lock" in err for _, err in said) == 1
    assert not (clone / ".venv.busy").is_symlink()


def test_a_first_call_that_was_killed_holds_up_nobody(clone: Path, tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (clone / ".venv.busy").symlink_to(str(gone.pid))
    done = call(clone / "twinflow", "x", path=full_path(tmp_path / "bin"), cwd=tmp_path)
    assert done.stdout.startswith("['x']"), done.stderr


def test_uv_comes_by_the_pip_that_is_there_so_the_environment_needs_none(clone: Path, tmp_path: Path) -> None:
    base = Path(sys.base_prefix, "bin", "python3")
    pip = f'*"-m pip"*install*) ln -s "{uv()}" "{clone}/.venv/bin/uv" ;; *"-m pip"*) ;;'
    path = tools(tmp_path / "bin", python3=f'case "$*" in {pip} *) exec "{base}" "$@" ;; esac')
    done = call(clone / "twinflow", "x", path=path, cwd=tmp_path)
    assert done.stdout.startswith("['x']"), done.stderr
    assert not list((clone / ".venv" / "bin").glob("pip*"))


def test_an_environment_whose_python_is_gone_is_made_anew(clone: Path, tmp_path: Path) -> None:
    path = full_path(tmp_path / "bin")
    call(clone / "twinflow", path=path, cwd=tmp_path)
    (clone / ".venv" / "bin" / "python").unlink()
    assert call(clone / "twinflow", "z", path=path, cwd=tmp_path).stdout.startswith("['z']")


def test_a_lock_that_cannot_be_installed_leaves_no_stamp_and_exits_5(clone: Path, tmp_path: Path) -> None:
    (clone / "requirements.lock").write_text("nothing==1.0\n")  # no hash
    done = call(clone / "twinflow", "up", path=full_path(tmp_path / "bin"), cwd=tmp_path)
    assert done.returncode == 5
    assert "requirements.lock could not be installed" in done.stderr
    assert not (clone / ".venv" / ".requirements.lock").exists()


def test_the_script_has_no_bashisms() -> None:
    text = (ROOT / "twinflow").read_text()
    assert text.startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", str(ROOT / "twinflow")]).returncode == 0
    checker = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if checker is not None:
        assert subprocess.run([checker, str(ROOT / "twinflow")], capture_output=True, text=True).stdout == ""
