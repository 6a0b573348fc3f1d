"""Where everything lies: one folder for all state, another for what can be fetched or compiled again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra import kernels

MARKER = ".twinflow-data"
"""File that makes a folder ours; `down --purge` deletes no folder without it."""


@dataclass(frozen=True, slots=True)
class Folders:
    """The two folders and what lies where in them; nothing is created by asking.

    >>> Folders(Path("/d"), Path("/c")).logs.as_posix()
    '/d/logs'
    """

    data: Path
    cache: Path

    @staticmethod
    def of(
        data: Path | None = None, cache: Path | None = None, environ: Mapping[str, str] | None = None, home: str = "~"
    ) -> Folders:
        """Argument, else TWINFLOW_DATA / TWINFLOW_CACHE, else the platform's own place."""
        env = os.environ if environ is None else environ
        return Folders(
            data=_absolute(data or env.get("TWINFLOW_DATA") or _home("data", env, home)),
            cache=_absolute(cache or env.get("TWINFLOW_CACHE") or _home("cache", env, home)),
        )

    def create(self) -> None:
        """Make both folders and mark the data folder as ours; it is private to its user."""
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.logs, self.cache):
            folder.mkdir(parents=True, exist_ok=True)
        kernels.folder(self.cache)
        (self.data / MARKER).touch()

    @property
    def config(self) -> Path:
        return self.data / "twinflow.toml"

    @property
    def lock(self) -> Path:
        return self.data / "lock"

    @property
    def state(self) -> Path:
        return self.data / "state.json"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def kafka(self) -> Path:
        return self.data / "kafka"

    @property
    def history(self) -> Path:
        return self.data / "history"

    @property
    def history_users(self) -> Path:
        return self.data / "history-users.json"

    @property
    def jars(self) -> Path:
        return self.cache / "jars"

    @property
    def numba(self) -> Path:
        return self.cache / "numba" / kernels.digest()

    def listing(self) -> dict[str, str]:
        """Every path by name, as `twinflow paths` prints them."""
        names = ("data", "cache", "config", "lock", "state", "logs", "kafka", "history", "jars", "numba")
        return {name: str(getattr(self, name)) for name in names}


def _absolute(path: Path | str) -> Path:
    return Path(path).expanduser().absolute()


def _home(kind: str, env: Mapping[str, str], home: str) -> Path:
    base = Path(home).expanduser()
    if sys.platform == "darwin":
        return base / "Library" / ("Application Support" if kind == "data" else "Caches") / "twinflow"
    fallback = base / (".local/share" if kind == "data" else ".cache")
    return Path(env.get(f"XDG_{kind.upper()}_HOME") or fallback) / "twinflow"
