"""The two users of a history, their passwords, and who a request comes from.

A user file is JSON `{"writer": {"user", "password"}, "reader": {"user", "password"}}`, readable by its owner alone. It
is made with random passwords, one file per data folder; no password is ever built in.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from infra.errors import UsageFault
from infra.history.bodies import Headers
from infra.history.errors import EngineError

WRITER_ENV, READER_ENV = "TWINFLOW_HISTORY_WRITER_PASSWORD", "TWINFLOW_HISTORY_READER_PASSWORD"


class Role(StrEnum):
    """What a user may do."""

    WRITER = "writer"
    READER = "reader"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Name and password; the password is not shown when printed.

    >>> Credentials("history", "secret")
    Credentials(user='history')
    """

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Users:
    """Both users. `open`: nobody needs a password (loopback only)."""

    writer: Credentials
    reader: Credentials
    open: bool = False

    def role(self, user: str, password: str) -> Role:
        """Who this is; both comparisons always run, in constant time.

        Raises:
            EngineError: 516, without saying which of the two was wrong.
        """
        found: Role | None = None
        for role, known in ((Role.WRITER, self.writer), (Role.READER, self.reader)):
            name = hmac.compare_digest(user.encode(), known.user.encode())
            word = hmac.compare_digest(password.encode(), known.password.encode())
            if name and word:
                found = role
        if found is None:
            raise EngineError.make(
                516,
                "AUTHENTICATION_FAILED",
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name",
            )
        return found


OPEN = Users(Credentials("default", ""), Credentials("reader", ""), open=True)
"""No passwords: `default` writes, `reader` reads. Only ever served on loopback."""


def is_loopback(host: str) -> bool:
    """Only addresses and `localhost`; a name could point anywhere.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load_or_create(path: Path) -> Users:
    """Read the user file, made with fresh random passwords where there is none.

    Raises:
        UsageFault: others may read it, or it does not hold two users with passwords.
    """
    if not path.exists():
        fresh = {role.value: {"user": role.value, "password": secrets.token_urlsafe(24)} for role in Role}
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(fresh, file)
        draft.replace(path)
    return load(path)


def load(path: Path) -> Users:
    """Read a user file.

    Raises:
        UsageFault: as `load_or_create`.
    """
    what = f"user file {path}"
    try:
        if path.stat().st_mode & 0o077:
            raise UsageFault(what=what, why="others may read it", fix=f"run chmod 600 {path}")
        content = json.loads(path.read_text())
        found = {role: Credentials(content[role]["user"], content[role]["password"]) for role in Role}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageFault(what=what, why=f"cannot be read ({error})", fix="delete it to get a new one") from None
    return _checked(Users(found[Role.WRITER], found[Role.READER]), what)


def from_environment(environ: Mapping[str, str]) -> Users | None:
    """Users `writer` and `reader` with passwords from the environment; None when neither is set.

    Raises:
        UsageFault: only one of them is set.
    """
    words = environ.get(WRITER_ENV, ""), environ.get(READER_ENV, "")
    if not any(words):
        return None
    return _checked(Users(Credentials("writer", words[0]), Credentials("reader", words[1])), "environment")


def _checked(users: Users, what: str) -> Users:
    if not (users.writer.password and users.reader.password):
        raise UsageFault(what=what, why="a password is empty", fix="give both users one")
    if users.writer.user == users.reader.user:
        raise UsageFault(what=what, why="writer and reader have the same name", fix="give them different names")
    return users


def presented(headers: Headers, params: Mapping[str, str]) -> tuple[str, str]:
    """User and password of a request: Basic authentication, X-ClickHouse-User/-Key, or URL parameters.

    >>> presented({"Authorization": "Basic dzpw"}, {})
    ('w', 'p')

    Raises:
        EngineError: 516, the header cannot be read.
    """
    given = headers.get("Authorization") or ""
    if given:
        kind, _, word = given.partition(" ")
        try:
            if kind.lower() != "basic":
                raise ValueError(kind)
            user, _, password = base64.b64decode(word, validate=True).decode().partition(":")
        except ValueError:
            raise EngineError.make(516, "AUTHENTICATION_FAILED", "Only Basic authentication is understood") from None
        return user or "default", password
    user = headers.get("X-ClickHouse-User") or params.get("user") or "default"
    return user, headers.get("X-ClickHouse-Key") or params.get("password") or ""
