"""Which schemas of packed blocks are plain enough for the compiled walk, prepared once per schema and twin type."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from operators.byte_index import ByteIndex
from operators.decode_packed_kernels import KINDS, BlockPlans
from operators.signal_plan import Plan
from operators.units import UnitError, conversion

_TICKS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}


class Blocks:
    """Prepared schemas of one decoder; `plans` is what the kernel takes. Holds nothing that cannot be made again.

    >>> from operators.definition import Signal, TwinType
    >>> blocks = Blocks()
    >>> pump = Plan(TwinType("pump", 1, (Signal("flow"),)))
    >>> schema = pa.schema([("ts", pa.timestamp("ns", "UTC")), ("flow", pa.float32())])
    >>> blocks.prepare("s1", schema, 0, pump), blocks.plans.head.tolist()
    (True, [[0, 1, 2, 4, 0, 1]])
    """

    def __init__(self) -> None:
        self._ids = ByteIndex()
        self._tried: set[tuple[str, int]] = set()
        self._entry_of = np.full((0, 0), -1, np.int32)
        self._head: list[list[int]] = []
        self._ts_node: list[int] = []
        self._column: list[list[int]] = []
        self._factor: list[tuple[float, float]] = []
        self._signal: list[int] = []
        self._build()

    def prepare(self, name: str, schema: pa.Schema, type_number: int, plan: Plan) -> bool:
        """Prepare a schema for a type, the first time it is asked for; whether anything is new."""
        if (name, type_number) in self._tried:
            return False
        self._tried.add((name, type_number))
        before = len(self._column), len(self._signal)
        if not self._read(schema, plan):
            del self._column[before[0] :], self._factor[before[0] :], self._signal[before[1] :]
            return False
        number = self._ids.number(name.encode())
        number = self._ids.add(name.encode()) if number < 0 else number
        schemas, types = self._entry_of.shape
        if number >= schemas or type_number >= types:
            wider = np.full((max(schemas, number + 1), max(types, type_number + 1)), -1, np.int32)
            wider[:schemas, :types] = self._entry_of
            self._entry_of = wider
        self._entry_of[number, type_number] = len(self._head) - 1
        self._build()
        return True

    def _read(self, schema: pa.Schema, plan: Plan) -> bool:
        """Note the columns; False where the judge must look at each block."""
        told = schema.metadata or {}
        if b"device" in told or b"boot" in told or len(set(schema.names)) < len(schema.names):
            return False
        first, node, buffer, ts = len(self._column), 0, 0, None
        seen: set[int] = set()
        for field in schema:
            if field.name == "ts" and pa.types.is_timestamp(field.type):
                ts = node, buffer, _TICKS[field.type.unit]
                node, buffer = node + 1, buffer + 2
                continue
            inner = field.type.value_type if pa.types.is_fixed_size_list(field.type) else field.type
            signals = self._signals(field, plan)
            if str(inner) not in _ARROW or not signals:
                return False
            if seen & set(signals) or not self._add(field, inner, signals, node, buffer, plan):
                return False
            seen |= set(signals)
            listed = pa.types.is_fixed_size_list(field.type)
            node, buffer = node + (2 if listed else 1), buffer + (3 if listed else 2)
        if ts is None or first == len(self._column):
            return False
        self._head.append([first, len(self._column), node, buffer, ts[1], ts[2]])
        self._ts_node.append(ts[0])
        return True

    def _signals(self, field: pa.Field, plan: Plan) -> tuple[int, ...]:
        """Signals that the field brings, in order; none where a block of it needs the judge."""
        known = plan.names.get(field.name)
        if known is None:
            return ()
        if not pa.types.is_fixed_size_list(field.type):
            in_norm = any(known.scalar in elements for elements in plan.norms)
            return () if known.scalar < 0 or in_norm else (known.scalar,)
        whole = known.scalar < 0 and field.type.list_size == len(known.elements)
        return known.elements if whole else ()

    def _add(
        self, field: pa.Field, inner: pa.DataType, signals: tuple[int, ...], node: int, buffer: int, plan: Plan
    ) -> bool:
        unit = (field.metadata or {}).get(b"unit", b"").decode(errors="replace")
        factors = set()
        for signal in signals:
            wanted = plan.type.signals[signal].unit
            try:
                factors.add(conversion(unit, wanted) if unit and unit != wanted else (1.0, 0.0))
            except UnitError:
                return False
        norm = plan.names[field.name].unit_norm
        if len(factors) != 1 or (norm and factors != {(1.0, 0.0)}):
            return False
        [factor] = factors
        width = len(signals) if pa.types.is_fixed_size_list(field.type) else 0
        converted = int(factor != (1.0, 0.0))
        self._column.append([node, buffer, _ARROW[str(inner)], width, len(self._signal), int(norm), converted])
        self._factor.append(factor)
        self._signal += signals
        return True

    def _build(self) -> None:
        factors = np.array(self._factor, np.float64).reshape(-1, 2)
        self.plans = BlockPlans(
            ids=self._ids.table,
            entry_of=self._entry_of,
            head=np.array(self._head, np.int64).reshape(-1, 6),
            ts_node=np.array(self._ts_node, np.int64),
            column=np.array(self._column, np.int64).reshape(-1, 7),
            factor=factors[:, 0].copy(),
            offset=factors[:, 1].copy(),
            signal=np.array(self._signal, np.int64),
        )


_ARROW = {{"float64": "double", "float32": "float"}.get(kind, kind): number for number, kind in enumerate(KINDS)}
