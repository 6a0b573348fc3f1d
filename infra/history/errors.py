"""Errors as ClickHouse names them, and the HTTP status its server gives each."""

from __future__ import annotations

import re

SYNTAX, READONLY, NOT_IMPLEMENTED = 62, 164, 48
_CODE = re.compile(r"Code: (\d+)")

_STATUS: dict[int, tuple[int, ...]] = {
    400: (6, 7, 25, 26, 27, 36, 38, 41, 44, 53, 62, 69, 72, 117, 376, 427, 441, 675, 676),
    403: (192, 193, 516),
    404: (46, 47, 50, 56, 60, 63, 73, 81, 78, 115, 336, 511),
    408: (159,),
    413: (307,),
    501: (48,),
    503: (503,),
}


class EngineError(Exception):
    """A statement failed; `text` is what the server would put into the response body.

    >>> error = EngineError.refused("SET is not allowed")
    >>> error.code, error.status, str(error)
    (164, 500, 'Code: 164. DB::Exception: Cannot execute query in readonly mode: SET is not allowed. (READONLY)')
    """

    def __init__(self, code: int, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(text)

    @property
    def status(self) -> int:
        """HTTP status; 500 for every code without one of its own."""
        return next((status for status, codes in _STATUS.items() if self.code in codes), 500)

    @staticmethod
    def make(code: int, name: str, message: str) -> EngineError:
        """An error of the front itself, in the engine's words."""
        return EngineError(code, f"Code: {code}. DB::Exception: {message}. ({name})")

    @staticmethod
    def refused(why: str) -> EngineError:
        """Code 164."""
        return EngineError.make(READONLY, "READONLY", f"Cannot execute query in readonly mode: {why}")

    @staticmethod
    def unsupported(what: str) -> EngineError:
        """Code 48."""
        return EngineError.make(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", f"{what} is not supported by the embedded history")

    @staticmethod
    def of(error: BaseException, version: str = "") -> EngineError:
        """What chDB raised, without the words its Python layer puts in front."""
        text = str(error)
        found = _CODE.search(text)
        if found is None:
            return EngineError(1001, f"Code: 1001. DB::Exception: {text}. (STD_EXCEPTION)")
        text = text[found.start() :].strip()
        if version and "(version " not in text[-60:]:
            text = f"{text} (version {version})"
        return EngineError(int(found[1]), text)
