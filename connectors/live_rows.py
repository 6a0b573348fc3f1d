"""Blocks of live samples as columns: one Arrow stream per record, decoded at about 25 us each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from operators.types import F64, I32, I64, U8


class BadBlockError(ValueError):
    """A record is no block of samples."""


@dataclass(frozen=True, slots=True)
class Block:
    """Samples of one twin type, in log order; all columns have n rows.

    Attributes:
        device, signal: int32[n], codes into `devices` and `signals`.
        devices, signals: Arrow arrays of names; compared by `equals` before they are turned into text.
        ts, arrival: int64[n], ns UTC. value: float64[n]. quality: uint8[n], bits of Quality.
    """

    device: I32
    signal: I32
    devices: Any
    signals: Any
    ts: I64
    arrival: I64
    value: F64
    quality: U8


def read_block(data: bytes) -> Block:
    """The samples of one record.

    Raises:
        BadBlockError: it is not what `twin-live` holds.
    """
    try:
        batch = pa.ipc.open_stream(data).read_next_batch()
        column = dict(zip(batch.schema.names, batch.columns, strict=True))
        device, signal = _encoded(column["device"]), _encoded(column["signal"])
        return Block(
            device=device.indices.to_numpy(),
            signal=signal.indices.to_numpy(),
            devices=device.dictionary,
            signals=signal.dictionary,
            ts=column["ts_ns"].to_numpy(),
            arrival=column["arrival_ns"].to_numpy(),
            value=column["value"].to_numpy(zero_copy_only=False),
            quality=column["quality"].to_numpy().astype(np.uint8, copy=False),
        )
    except (pa.ArrowException, KeyError, StopIteration, OSError) as error:
        raise BadBlockError(str(error) or type(error).__name__) from error


def _encoded(column: Any) -> Any:
    return column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
