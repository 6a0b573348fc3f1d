"""Tables sent along with a query as files of a multipart form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.history.engine import identifier


@dataclass(frozen=True, slots=True)
class External:
    """One such table: `create` makes it as a temporary table of the handle that runs the query."""

    name: str
    create: str
    format: str
    data: bytes = field(repr=False)

    @staticmethod
    def of(name: str, params: Mapping[str, str], data: bytes) -> External:
        """From the parameters NAME_structure or NAME_types (columns _1, _2, ...) and NAME_format.

        >>> External.of("ids", {"ids_types": "UInt64,String"}, b"").create
        'CREATE TEMPORARY TABLE `ids` (_1 UInt64, _2 String) ENGINE = Memory'
        """
        kinds = [kind.strip() for kind in params.get(f"{name}_types", "").split(",") if kind.strip()]
        structure = params.get(f"{name}_structure") or ", ".join(f"_{i} {kind}" for i, kind in enumerate(kinds, 1))
        create = f"CREATE TEMPORARY TABLE {identifier(name)} ({structure}) ENGINE = Memory"
        return External(name, create, params.get(f"{name}_format") or "TabSeparated", data)
