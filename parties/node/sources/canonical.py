"""Raw columns to the types the catalog declares, every declared type, bound, domain and NULL rule checked.

Whole columns are checked before any WHERE of a job (protocols.md, Numbers), and what does not fit is an error that
names the column and the rule, never a value. Conversions are exact: a number with more digits after the point than its
scale does not fit, nothing is rounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from mpc.errors import LocalError
from mpc.query.catalog import Column, Table
from parties.node.sources.reading import lock, quoted

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
#: the largest number of DECIMAL(38), in units; declared bounds may lie further out
_LARGEST = 10**38 - 1


def physical_type(column: Column) -> str:
    """The DuckDB type in which local queries see a column."""
    if column.kind == "integer":
        fits = column.low is not None and column.high is not None and column.low >= -(2**63) and column.high < 2**63
        return "BIGINT" if fits else "HUGEINT"
    return column.type_name


def canonical(raw: pa.Table, table: Table) -> pa.Table:
    """``raw`` (columns by name) as the catalog's types, rows in their order. Raises LocalError data.bounds."""
    with contextlib.closing(duckdb.connect(":memory:")) as database:
        lock(database)
        return converted(database, raw, table)


def converted(database: duckdb.DuckDBPyConnection, raw: pa.Table, table: Table) -> pa.Table:
    """The same in a locked DuckDB."""
    database.register("raw", raw)
    columns = ", ".join(f"{_converted(c, raw.schema.field(c.name).type)} AS {quoted(c.name)}" for c in table.columns)
    fitting = database.sql(f"SELECT {columns} FROM raw").to_arrow_table()
    database.register("fitting", fitting)
    _check(database, table)
    return fitting


def _converted(column: Column, kind: pa.DataType) -> str:
    """SQL for the value in its canonical type; NULL where it does not fit, which ``_check`` then counts."""
    name = quoted(column.name)
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if pa.types.is_dictionary(kind):
        text = not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))
    made = {"text": _to_text, "date": _to_date, "boolean": _to_boolean}.get(column.kind)
    return made(name, kind, text) if made else _to_number(name, kind, text, column)


def _to_text(name: str, _kind: pa.DataType, _text: bool) -> str:
    return f"CAST({name} AS VARCHAR)"


def _to_date(name: str, kind: pa.DataType, text: bool) -> str:
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return f"TRY_CAST({name} AS DATE)"
    # DuckDB reads much more as a date: '2024-1-2', 'epoch', a time of day behind it
    return f"CASE WHEN regexp_full_match({name}, '{_DATE}') THEN TRY_CAST({name} AS DATE) END" if text else "NULL::DATE"


def _to_boolean(name: str, kind: pa.DataType, text: bool) -> str:
    if pa.types.is_boolean(kind):
        return name
    if pa.types.is_integer(kind):
        return f"CASE {name} WHEN 0 THEN false WHEN 1 THEN true END"
    return f"TRY_CAST({name} AS BOOLEAN)" if text else "NULL::BOOLEAN"


def _to_number(name: str, kind: pa.DataType, text: bool, column: Column) -> str:
    target = physical_type(column)
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= column.scale):
        return f"TRY_CAST({name} AS {target})"
    if pa.types.is_floating(kind):
        return _from_double(name, kind, target, column.scale)
    if not (text or pa.types.is_decimal(kind)):
        return f"NULL::{target}"
    # plain digits only, and nothing but zeros behind the scale: DuckDB would round, and read 1e3, 1_000 and 0x1f
    digits = name if text else f"CAST({name} AS VARCHAR)"
    number = rf"-?[0-9]+(\.[0-9]{{0,{column.scale}}}0*)?"
    return f"CASE WHEN regexp_full_match({digits}, '{number}') THEN TRY_CAST({digits} AS {target}) END"


def _from_double(name: str, kind: pa.DataType, target: str, scale: int) -> str:
    """The decimal that a double stands for: the one of this scale that gives the same double again.

    There has to be one only: beyond 2^53 units (2^24 in single precision) two decimals of the scale share a double.
    """
    double, most = ("DOUBLE", 2**53) if pa.types.is_float64(kind) else ("FLOAT", 2**24)
    units = f"TRY_CAST({name} AS DECIMAL(38, {scale}))"
    limit = f"CAST('{_scaled(most, scale)}' AS DECIMAL(38, {scale}))"
    same = f"CAST({units} AS {double}) = CAST({name} AS {double})"
    return f"CASE WHEN {same} AND abs({units}) <= {limit} THEN CAST({units} AS {target}) END"


def _check(database: duckdb.DuckDBPyConnection, table: Table) -> None:
    """The first rule that does not hold is named. Every value that does not fit has become a NULL of its own."""
    columns = [quoted(c.name) for c in table.columns]
    counted = ", ".join(f"count({c})" for c in columns)
    rows, *there = database.execute(f"SELECT count(*), {counted} FROM raw").fetchall()[0]
    outside = ", ".join(f"count(*) FILTER (WHERE {test(c)})" for c in table.columns for test in (_outside, _not_in))
    left, broken = (database.execute(f"SELECT {what} FROM fitting").fetchall()[0] for what in (counted, outside))
    for i, c in enumerate(table.columns):
        scale = f" with {c.scale} digits after the point" if c.kind == "decimal" else ""
        for rule, holds in (
            (f"is not of the declared type {c.kind}{scale}", left[i] == there[i]),
            ("is NULL, which is not declared", c.nullable or left[i] == rows),
            ("lies outside the declared bounds", not broken[2 * i]),
            ("is not in the declared domain", not broken[2 * i + 1]),
        ):
            if not holds:
                raise LocalError(
                    "data.bounds",
                    f"A value of {table.name}.{c.name} {rule}.",
                    "The owner should mend the table, or widen the declaration in catalog.json; "
                    "jobs on this table wait until then.",
                    table=table.name,
                    column=c.name,
                )


def _outside(c: Column) -> str:
    if c.kind in ("text", "boolean") or c.low is None or c.high is None:
        return "false"
    name = f"fitting.{quoted(c.name)}"
    if c.kind == "date":
        name = f"({name} - DATE '1970-01-01')"
        return f"{name} < {c.low} OR {name} > {c.high}"
    low, high = (_literal(max(-_LARGEST, min(v, _LARGEST)), c) for v in (c.low, c.high))
    return f"{name} < {low} OR {name} > {high}"


def _not_in(c: Column) -> str:
    if c.domain is None or c.kind == "boolean":
        return "false"
    values = ", ".join(_literal(v, c) for v in c.domain)
    name = f"fitting.{quoted(c.name)}"
    return f"{name} NOT IN ({values})" if c.domain else f"{name} IS NOT NULL"


def _literal(value: object, c: Column) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if c.kind == "date":
        return f"(DATE '1970-01-01' + {value})"
    return f"CAST('{_scaled(int(str(value)), c.scale)}' AS {physical_type(c)})"


def _scaled(units: int, scale: int) -> str:
    """Units as decimal text."""
    if scale == 0:
        return str(units)
    whole, part = divmod(abs(units), 10**scale)
    return f"{'-' if units < 0 else ''}{whole}.{part:0{scale}d}"


def names(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(c.name for c in columns)
