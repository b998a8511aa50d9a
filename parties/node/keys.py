"""Key columns of a local answer, straight from their Arrow buffers to the byte matrix of ``mpc.ids``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from mpc.errors import LocalError
from mpc.ids import Field, Flags, Integers, Keys, Texts, lay_out


def keys_of(answer: pa.Table, fields: Mapping[str, Field]) -> Keys:
    """The key of every row of ``answer``; ``fields``: form and size of each key column, in the key's order.

    Text columns go in without a copy. Integers, decimals (in units), dates (in days) and booleans go in as 64-bit
    integers. Raises LocalError data.id naming column, row and rule, data.type where a type cannot be a key.
    """
    columns = []
    for name, field in fields.items():
        column = answer.column(name).combine_chunks()
        columns.append(_texts(column) if field.form != "integer" else _integers(name, column))
    try:
        return lay_out(list(fields.values()), columns)
    except LocalError as problem:
        raise LocalError(
            problem.code, f"Key {', '.join(fields)}: {problem.message}", problem.advice, columns=list(fields)
        ) from None


def _texts(column: pa.Array) -> Texts:
    if not pa.types.is_large_string(column.type):
        column = column.cast(pa.large_string())
    _, offsets, data = column.buffers()
    at = np.frombuffer(offsets, dtype=np.int64)[column.offset : column.offset + len(column) + 1] if offsets else None
    return Texts(
        np.zeros(1, dtype=np.int64) if at is None or not len(at) else at,
        np.frombuffer(data, dtype=np.uint8) if data else np.zeros(0, dtype=np.uint8),
        _null(column),
    )


def _integers(name: str, column: pa.Array) -> Integers:
    kind = column.type
    null = _null(column)
    if pa.types.is_decimal128(kind):
        return Integers(_units(name, column, null), null)
    if pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    elif not (pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise LocalError("data.type", f"Column {name} of type {kind} cannot be a key.", "Declare it as text.")
    try:
        column = column.cast(pa.int64())
    except pa.ArrowInvalid:
        raise _too_large(name) from None
    return Integers(column.fill_null(0).to_numpy(zero_copy_only=False), null)


def _units(name: str, column: pa.Array, null: Flags) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The units of a decimal column: 16 little-endian bytes each, whose high half must only repeat the sign."""
    halves = np.frombuffer(column.buffers()[1] or b"", dtype="<i8").reshape(-1, 2)
    halves = halves[column.offset : column.offset + len(column)]
    if ((halves[:, 1] != halves[:, 0] >> 63) & ~null).any():
        raise _too_large(name)
    return np.ascontiguousarray(halves[:, 0])


def _null(column: pa.Array) -> Flags:
    flags: Flags = column.is_null().to_numpy(zero_copy_only=False)
    return flags


def _too_large(name: str) -> LocalError:
    return LocalError(
        "data.id", f"Column {name} holds a number beyond 64 bits, which cannot be a key.", "Declare it as text."
    )
