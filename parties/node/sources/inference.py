"""Types, scales, bounds and domains of a new table, inferred for its owner to review.

What is inferred gives no extreme away: bounds are rounded outwards to a power of ten (dates to decades), and a domain
is published only if every category has at least ten rows; otherwise it waits for the owner's word (query.md, Catalog).
Keys, codes and everything with leading zeros stay text.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import duckdb
import pyarrow as pa

from mpc.errors import LocalError
from mpc.query.catalog import KINDS, Column, Kind, days
from parties.node.sources.reading import lock, quoted

#: a category with fewer rows is not named without the owner's word; more categories make no domain
FEWEST_ROWS, MOST_CATEGORIES = 10, 50
#: more digits after the point than this, in a floating-point column, are noise rather than a scale
MOST_DIGITS = 6

#: arithmetic that keeps the 38 digits of a DECIMAL (Python's own keeps 28)
_UNITS = decimal.Context(prec=60)

_TYPES: Mapping[str, Kind] = {
    "integer": "integer",
    "int": "integer",
    "bigint": "integer",
    "smallint": "integer",
    "tinyint": "integer",
    "hugeint": "integer",
    "date": "date",
    "boolean": "boolean",
    "bool": "boolean",
    "text": "text",
    "varchar": "text",
    "string": "text",
    "char": "text",
}


@dataclass(frozen=True)
class Declared:
    """What the owner said about the columns, by name, instead of having it inferred."""

    types: Mapping[str, str] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)
    bounds: Mapping[str, str] = field(default_factory=dict)
    keys: Sequence[str] = ()


def infer(raw: pa.Table, declared: Declared) -> tuple[tuple[Column, ...], list[str]]:
    """Columns of a table, and what its owner should look at. Raises LocalError data.type, config.invalid."""
    for named in (*declared.types, *declared.domains, *declared.bounds, *declared.keys):
        if named not in raw.column_names:
            raise LocalError(
                "config.invalid", f"The table has no column {named}.", f"It has {', '.join(raw.column_names)}."
            )
    review: list[str] = []
    with contextlib.closing(duckdb.connect(":memory:")) as database:
        lock(database)
        database.register("raw", raw)
        columns = tuple(_usable(database, f, declared, review) for f in raw.schema)
    return columns, review


def _usable(database: duckdb.DuckDBPyConnection, arrow: pa.Field, declared: Declared, review: list[str]) -> Column:
    """``_column``, or in plain words that its type is none that DuckDB can look into."""
    with contextlib.suppress(duckdb.Error):
        return _column(database, arrow, declared, review)
    raise LocalError(
        "data.type",
        f"{arrow.name} is of a type that is not supported ({arrow.type}).",
        "Leave it out, or cast it with --sql.",
        column=arrow.name,
    )


def parse_type(text: str) -> tuple[Kind, int]:
    """``DECIMAL(12,2)`` -> ("decimal", 2). Raises LocalError config.invalid."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\s*", text)
    if match:
        name, _width, scale = match.groups()
        if name.lower() in ("decimal", "numeric") and int(scale or 0) <= 18:
            return "decimal", int(scale or 0)
        if name.lower() in _TYPES:
            return _TYPES[name.lower()], 0
    raise LocalError(
        "config.invalid",
        f"{text!r} is no type that is known.",
        "Use INTEGER, DECIMAL(p,s) with s up to 18, DATE, BOOLEAN or TEXT.",
    )


def _column(database: duckdb.DuckDBPyConnection, arrow: pa.Field, declared: Declared, review: list[str]) -> Column:
    name, key = arrow.name, arrow.name in declared.keys
    kind, scale = parse_type(declared.types[name]) if name in declared.types else _kind(database, arrow, key)
    if kind == "text" and not key and name not in declared.types:
        _tell_of_numbers(database, name, review)
    nulls, low, high = _range(database, name, kind, scale)
    if kind in ("text", "boolean"):
        low = high = None
    elif name in declared.bounds:
        low, high = _bounds(declared.bounds[name], name, kind, scale)
    else:
        low, high = _outwards(low, high, kind, scale)
    if kind == "boolean":
        low, high = 0, 1
    domain: tuple[str | int | bool, ...] | None = None
    if name in declared.domains:
        domain = tuple(_value(v, name, kind, scale) for v in declared.domains[name].split(","))
    elif kind == "boolean":
        domain = (False, True)
    elif kind == "text" and not key:
        domain = _domain(database, name, review)
    return Column(name, kind, scale, low, high, nullable=bool(nulls) and not key, domain=domain, key=key)


def _kind(database: duckdb.DuckDBPyConnection, arrow: pa.Field, key: bool) -> tuple[Kind, int]:
    """The kind and scale that all values of a column have."""
    t = arrow.type
    if key and not pa.types.is_integer(t):
        return "text", 0
    if pa.types.is_boolean(t):
        return "boolean", 0
    if pa.types.is_integer(t):
        return "integer", 0
    if pa.types.is_date(t):
        return "date", 0
    if pa.types.is_decimal(t):
        if not 0 <= t.scale <= 18:
            raise LocalError(
                "data.type",
                f"{arrow.name} has a scale of {t.scale}; those from 0 to 18 are supported.",
                f"Round it with --sql, or declare --type '{arrow.name}=DECIMAL(38,18)' if the rest is zeros.",
            )
        return ("decimal", t.scale) if t.scale else ("integer", 0)
    if pa.types.is_timestamp(t):
        row = database.execute(
            f"SELECT bool_and(CAST({quoted(arrow.name)} AS DATE) = {quoted(arrow.name)}) FROM raw"
        ).fetchall()[0]
        if row[0] is not False:  # NULL where there is no value
            return "date", 0
        raise LocalError(
            "data.type",
            f"{arrow.name} holds times of day, which are not supported.",
            f"Cast it with --sql, or declare --type {arrow.name}=DATE to keep the day.",
        )
    if pa.types.is_floating(t):
        return _scale_of(database, arrow.name)
    if pa.types.is_null(t):
        return "text", 0
    if pa.types.is_dictionary(t) and not pa.types.is_string(t.value_type):
        return _kind(database, pa.field(arrow.name, t.value_type), key)
    if not (
        pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_string_view(t) or pa.types.is_dictionary(t)
    ):
        raise LocalError(
            "data.type",
            f"{arrow.name} is of a type that is not supported ({t}).",
            "Leave it out, or cast it with --sql.",
            column=arrow.name,
        )
    return _kind_of_text(database, arrow.name)


def _kind_of_text(database: duckdb.DuckDBPyConnection, name: str) -> tuple[Kind, int]:
    c = quoted(name)
    row = database.execute(f"""
        SELECT count({c}),
               bool_and(regexp_full_match({c}, '-?(0|[1-9][0-9]{{0,36}})(\\.[0-9]{{1,18}})?')),
               max(CASE WHEN contains({c}, '.') THEN length({c}) - strpos({c}, '.') ELSE 0 END),
               bool_and(regexp_full_match({c}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')
                        AND TRY_CAST({c} AS DATE) IS NOT NULL)
                   FILTER (WHERE {c} IS NOT NULL),
               bool_and(lower({c}) IN ('true', 'false'))
        FROM raw""").fetchall()[0]
    count, numbers, digits, dates, booleans = row
    if not count:
        return "text", 0
    if numbers:
        return ("decimal", int(digits)) if digits else ("integer", 0)
    return ("date", 0) if dates else ("boolean", 0) if booleans else ("text", 0)


def _tell_of_numbers(database: duckdb.DuckDBPyConnection, name: str, review: list[str]) -> None:
    """A column of amounts that a few values made text is rarely meant to be one."""
    c = f"CAST({quoted(name)} AS VARCHAR)"
    count, numbers = database.execute(
        f"SELECT count({c}), count(*) FILTER (WHERE regexp_full_match(trim({c}), '[-+]?[0-9.,]*[0-9]')) FROM raw"
    ).fetchall()[0]
    if count > numbers >= 0.5 * count:
        review.append(
            f"{name}: {count - numbers} of {count} values are no numbers, so it is text and cannot be added up; mend "
            "them in the source, or leave these rows out with --sql."
        )


def _scale_of(database: duckdb.DuckDBPyConnection, name: str) -> tuple[Kind, int]:
    """The scale that loses no digit of a floating-point column, if a money-like one does."""
    text = f"CAST({quoted(name)} AS VARCHAR)"
    digits = f"length(regexp_extract(rtrim({text}, '0'), '\\.([0-9]+)$', 1))"
    row = database.execute(f"""
        SELECT count({quoted(name)}), max({digits}), bool_and(regexp_full_match({text}, '-?[0-9]+(\\.[0-9]+)?'))
        FROM raw""").fetchall()[0]
    count, most, plain = row
    if not count:
        return "integer", 0
    if plain and most <= MOST_DIGITS:
        return ("decimal", int(most)) if most else ("integer", 0)
    raise LocalError(
        "data.type",
        f"{name} is floating point, and no scale of up to {MOST_DIGITS} digits holds its values exactly.",
        f"Declare what it is, such as --type '{name}=DECIMAL(18,2)', over values that are; or round it with --sql.",
    )


def _range(
    database: duckdb.DuckDBPyConnection, name: str, kind: Kind, scale: int
) -> tuple[int, int | None, int | None]:
    """Number of NULLs, smallest and largest value in units."""
    c = quoted(name)
    if kind in ("text", "boolean"):
        value = "NULL"
    elif kind == "date":
        day = f"TRY_CAST({c} AS DATE)"
        value = f"CASE WHEN isfinite({day}) THEN {day} - DATE '1970-01-01' END"
    else:
        value = f"TRY_CAST(CAST({c} AS VARCHAR) AS DECIMAL(38, {scale}))"
    row = database.execute(f"SELECT count(*) - count({c}), min({value}), max({value}) FROM raw").fetchall()[0]
    nulls, low, high = row
    return nulls, *(None if v is None else int(_UNITS.scaleb(Decimal(v), scale)) for v in (low, high))


def _outwards(low: int | None, high: int | None, kind: Kind, scale: int) -> tuple[int, int]:
    """Bounds that hold and tell little: powers of ten of the whole unit, decades of dates."""
    if low is None or high is None:  # no value at all
        low = high = 0
    if kind == "date":
        first, last = (dt.date.fromordinal(v + 719163) for v in (low, high))
        return days(dt.date(first.year // 10 * 10, 1, 1)), days(dt.date(min(last.year // 10 * 10 + 9, 9999), 12, 31))

    def power(v: int) -> int:
        p: int = 10**scale
        while p < v:
            p *= 10
        return min(p, 10**38 - 1)  # no DECIMAL is larger

    return (-power(-low) if low < 0 else 0), power(high) if high > 0 else 0


def _bounds(text: str, name: str, kind: Kind, scale: int) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not colon:
        raise LocalError(
            "config.invalid", f"The bounds of {name} should read LOW:HIGH, such as --bounds {name}=0:1000000."
        )
    first, last = (_value(v, name, kind, scale) for v in (low, high))
    if isinstance(first, str) or isinstance(last, str) or first > last:
        raise LocalError("config.invalid", f"The bounds of {name} are not a range of its type.")
    return int(first), int(last)


def _value(text: str, name: str, kind: Kind, scale: int) -> str | int | bool:
    """A declared value in units."""
    text = text.strip()
    try:
        if kind == "text":
            return text
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if kind == "date":
            return days(dt.date.fromisoformat(text))
        whole, _point, part = text.partition(".")
        if len(part) > scale or not re.fullmatch(r"-?[0-9]+", whole) or not re.fullmatch(r"[0-9]*", part):
            raise ValueError
        return int(whole + part.ljust(scale, "0"))
    except (ValueError, KeyError):
        raise LocalError("config.invalid", f"{text!r} is no {kind} value for {name}.") from None


def _domain(database: duckdb.DuckDBPyConnection, name: str, review: list[str]) -> tuple[str, ...] | None:
    """All categories of a text column, where there are few and each has enough rows."""
    c = quoted(name)
    groups = database.sql(
        f"SELECT {c}, count(*) FROM raw WHERE {c} IS NOT NULL GROUP BY {c} LIMIT {MOST_CATEGORIES + 1}"
    ).fetchall()
    if not groups or len(groups) > MOST_CATEGORIES:
        return None
    if min(count for _, count in groups) < FEWEST_ROWS:
        review.append(
            f"{name}: some categories have fewer than {FEWEST_ROWS} rows, so no domain is published. To let others "
            f"group by it, declare all its values: --domain {name}=a,b,c"
        )
        return None
    review.append(f"{name}: {len(groups)} categories are published as its domain; add those that may come later.")
    return tuple(sorted(str(v) for v, _ in groups))


assert set(_TYPES.values()) | {"decimal"} == set(KINDS)
