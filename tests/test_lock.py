"""The lock files name no registry, hash everything and fit every supported platform."""

from __future__ import annotations

import re
import tomllib

import pytest

from infra.lock import LOCKS, PLATFORMS, PYTHONS, ROOT, missing_wheels


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    assert not re.search(r"https?://|--index|--find-links|--extra-index", (ROOT / lock).read_text())


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pinned_package_has_a_hash(lock: str) -> None:
    blocks = re.split(r"\n(?=[a-zA-Z0-9])", (ROOT / lock).read_text().strip())
    pins = [b for b in blocks if re.match(r"[a-zA-Z0-9_.-]+==", b)]
    assert len(pins) > 30
    assert [b.split()[0] for b in pins if "--hash=sha256:" not in b] == []


def test_the_lock_holds_every_dependency_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[=<>!~\[; ]", d)[0].lower() for d in project["dependencies"]}
    locked = {m.lower() for m in re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements.lock").read_text(), re.M)}
    assert named - locked == set()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_finds_a_wheel_for_every_package(platform: str, python: str) -> None:
    assert missing_wheels("requirements.lock", platform, python) == ""
