"""Raw columns to the types the catalog declares, every declared type, bound, domain and NULL rule checked.

Whole columns are checked before any WHERE of a job (protocols.md, Numbers), and what does not fit is an error that names
the column and the rule, never a value. Conversions are exact: a number with more digits after the point than its scale
does not fit, nothing is rounded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from mpc.errors import LocalError
from mpc.query.catalog import Column, Table
from parties.node.sources.reading import lock, quoted

#: digits kept while comparing; a value beyond is no DECIMAL(38, 18)
_EXACT = "DECIMAL(38, 18)"


def physical_type(column: Column) -> str:
    """The DuckDB type in which local queries see a column."""
    if column.kind == "integer":
        fits = column.low is not None and column.high is not None and -(2**63) <= column.low and column.high < 2**63
        return "BIGINT" if fits else "HUGEINT"
    return column.type_name


def canonical(raw: pa.Table, table: Table) -> pa.Table:
    """``raw`` (columns by name) as the catalog's types. Raises LocalError data.bounds, data.type."""
    with contextlib.closing(duckdb.connect(":memory:")) as database:
        lock(database)
        database.register("raw", raw)
        kinds = {f.name: f.type for f in raw.schema}
        converted = ", ".join(f"{_converted(c, kinds[c.name])} AS {quoted(c.name)}" for c in table.columns)
        database.execute(f"CREATE TEMP TABLE fitting AS SELECT {converted} FROM raw")
        _check(database, table, kinds)
        return database.sql("SELECT * FROM fitting").to_arrow_table()


def _converted(column: Column, kind: pa.DataType) -> str:
    """SQL for the value in its canonical type; NULL where it does not fit, which ``_check`` then counts."""
    name = quoted(column.name)
    if column.kind == "text":
        return f"CAST({name} AS VARCHAR)"
    if column.kind in ("date", "boolean"):
        return f"TRY_CAST({name} AS {column.type_name})"
    target = physical_type(column)
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= column.scale):
        return f"TRY_CAST({name} AS {target})"
    # text, and doubles by their shortest text: exact only if no digit is lost
    text = f"CAST({name} AS VARCHAR)"
    fits = f"TRY_CAST({text} AS {target})"
    return f"CASE WHEN TRY_CAST({text} AS {_EXACT}) = {fits} THEN {fits} END"


def _check(database: duckdb.DuckDBPyConnection, table: Table, kinds: dict[str, pa.DataType]) -> None:
    """One pass over the table; the first rule that does not hold is named."""
    tests: list[tuple[Column, str]] = []
    counts: list[str] = []
    for c in table.columns:
        name = quoted(c.name)
        broken = {
            f"is not of the declared type {c.kind}" + (f" with {c.scale} digits after the point" if c.kind == "decimal" else ""):
                f"raw.{name} IS NOT NULL AND fitting.{name} IS NULL",
            "is NULL, which is not declared": "false" if c.nullable else f"fitting.{name} IS NULL",
            "lies outside the declared bounds": _outside(c),
            "is not in the declared domain": _not_in(c),
        }  # fmt: skip
        for rule, condition in broken.items():
            if condition != "false":
                tests.append((c, rule))
                counts.append(f"count(*) FILTER (WHERE {condition})")
    if not counts:
        return
    # both sides keep the order of the rows they were made from
    found = database.execute(f"SELECT {', '.join(counts)} FROM fitting POSITIONAL JOIN raw").fetchall()[0]
    for (column, rule), count in zip(tests, found, strict=True):
        if count:
            raise LocalError(
                "data.bounds", f"A value of {table.name}.{column.name} {rule}.",
                "The owner should mend the table, or widen the declaration in catalog.json; jobs on this table wait until then.",
                table=table.name, column=column.name,
            )  # fmt: skip


def _outside(c: Column) -> str:
    if c.kind in ("text", "boolean") or c.low is None or c.high is None:
        return "false"
    name = f"fitting.{quoted(c.name)}"
    if c.kind == "date":
        name = f"({name} - DATE '1970-01-01')"
        return f"{name} < {c.low} OR {name} > {c.high}"
    low, high = (f"CAST('{_scaled(v, c.scale)}' AS {physical_type(c)})" for v in (c.low, c.high))
    return f"{name} < {low} OR {name} > {high}"


def _not_in(c: Column) -> str:
    if c.domain is None or c.kind == "boolean":
        return "false"
    values = ", ".join(_literal(v, c) for v in c.domain)
    return f"fitting.{quoted(c.name)} NOT IN ({values})" if c.domain else "true"


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
