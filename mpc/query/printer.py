"""Prints nodes as DuckDB SQL that cannot fail on any value within the declared bounds.

Numbers are computed in units as BIGINT or, where their bounds or those of an operand pass 63 bits, HUGEINT; a decimal
column enters as ``x * 10^scale`` cast to that width. Dates, booleans and text stay themselves. Divisors go through
NULLIF, casts that may not fit become CASE: an error that depends on a value would be an answer (query.md).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import replace

from mpc.query import nodes as n

_EPOCH = "DATE '1970-01-01'"
#: names of columns where an expression reads another query's answer (aggregates in a scalar's outer query)
Names = Mapping[n.Expr, str]


def sql(e: n.Expr, names: Names | None = None) -> str:
    """The expression as DuckDB SQL; numbers in units. ``names``: nodes that are columns of the query around it."""
    named = (names or {}).get(e)
    return named if named is not None else _PRINTERS[type(e)](e, names or {})


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def units(e: n.Expr, names: Names | None = None) -> str:
    """A key in units: dates as days, everything else as ``sql``."""
    return f"({sql(e, names)} - {_EPOCH})" if e.kind == "date" else sql(e, names)


def sql_type(e: n.Expr) -> str:
    """The type ``sql`` gives a column of this expression."""
    if n.numeric(e):
        return _width(e)
    return {"date": "DATE", "boolean": "BOOLEAN", "text": "VARCHAR"}[e.kind]


def _width(*parts: n.Expr) -> str:
    """BIGINT where all parts stay within it."""
    bounds = [b for p in parts for b in (p.low, p.high) if b is not None]
    known = all(p.low is not None or n.is_null(p) for p in parts)
    return "BIGINT" if known and all(-(2**63) < b < 2**63 for b in bounds) else "HUGEINT"


def _at(e: n.Expr, scale: int, width: str, names: Names) -> str:
    """A number in units of a scale that is not smaller than its own, of the width."""
    if n.is_null(e):
        return f"CAST(NULL AS {width})"
    text = sql(e, names)
    if _width(e) != width or isinstance(e, n.Const):
        text = f"CAST({text} AS {width})"
    return text if scale == e.scale else f"({text} * {_power(scale - e.scale, width)})"


def _power(digits: int, width: str) -> str:
    return f"CAST({10**digits} AS {width})"


def _column(e: n.Column, _names: Names) -> str:
    name = identifier(e.name)
    if e.kind == "decimal":
        return f"CAST({name} * {10**e.scale} AS {_width(e)})" if e.scale else f"CAST({name} AS {_width(e)})"
    return f"CAST({name} AS HUGEINT)" if e.kind == "integer" and _width(e) == "HUGEINT" else name


def _const(e: n.Const, _names: Names) -> str:
    if e.value is None:
        return _null(e)
    if isinstance(e.value, str):
        return literal(e.value)
    if e.kind == "boolean":
        return "TRUE" if e.value else "FALSE"
    if e.kind == "date":
        return f"({_EPOCH} + CAST({int(e.value)} AS INTEGER))"
    return str(int(e.value)) if e.value >= 0 else f"({int(e.value)})"


def _arith(e: n.Arith, names: Names) -> str:
    if "date" in (e.left.kind, e.right.kind):
        if e.kind == "integer":
            return f"({sql(e.left, names)} - {sql(e.right, names)})"
        return f"({sql(e.left, names)} {e.op} CAST({sql(e.right, names)} AS INTEGER))"
    same = e.scale if e.op in "+-" else 0
    aligned = [
        replace(p, low=_up(p.low, same - p.scale), high=_up(p.high, same - p.scale)) if same else p
        for p in (e.left, e.right)
    ]
    width = _width(e, *aligned)
    left, right = (_at(p, same or p.scale, width, names) for p in (e.left, e.right))
    if e.op in ("//", "%"):
        right = f"NULLIF({right}, 0)"
    return f"({left} {e.op} {right})"


def _up(bound: int | None, digits: int) -> int | None:
    return None if bound is None else bound * 10**digits


def _compare(e: n.Compare, names: Names) -> str:
    op = "IS NOT DISTINCT FROM" if e.op == "is" else e.op
    left, right = e.left, e.right
    if n.numeric(left):
        width = _width(left, right)
        return f"({_at(left, left.scale, width, names)} {op} {_at(right, right.scale, width, names)})"
    return f"({sql(left, names)} {op} {sql(right, names)})"


def _same(parts: tuple[n.Expr, ...], names: Names) -> list[str]:
    """Values that must have one type: numbers of one scale in one width."""
    if n.numeric(parts[0]):
        width = _width(*parts)
        return [_at(p, p.scale, width, names) for p in parts]
    return [sql(p, names) for p in parts]


def _case(e: n.Case, names: Names) -> str:
    values = _same((*(v for _, v in e.whens), e.default), names)
    arms = " ".join(f"WHEN {sql(c, names)} THEN {v}" for (c, _), v in zip(e.whens, values, strict=False))
    return f"CASE {arms} ELSE {values[-1]} END"


def _in(e: n.InList, names: Names) -> str:
    arg, *items = _same((e.arg, *e.items), names)
    return f"({arg} IN ({', '.join(items)}))"


def _like(e: n.Like, names: Names) -> str:
    escape = f" ESCAPE {literal(e.escape)}" if e.escape else ""
    return f"({sql(e.arg, names)} {'ILIKE' if e.fold_case else 'LIKE'} {literal(e.pattern)}{escape})"


def _call(name: str, parts: tuple[n.Expr, ...], names: Names) -> str:
    return f"{name}({', '.join(_same(parts, names))})"


def _null_if(e: n.NullIf, names: Names) -> str:
    condition = _compare(n.Compare("boolean", 0, 0, 1, True, "=", *_aligned(e.left, e.right)), names)
    return f"CASE WHEN {condition} THEN {_null(e)} ELSE {sql(e.left, names)} END"


def _null(e: n.Expr) -> str:
    return f"CAST(NULL AS {sql_type(e)})"


def _aligned(left: n.Expr, right: n.Expr) -> tuple[n.Expr, n.Expr]:
    if not n.numeric(left) or left.scale == right.scale:
        return left, right
    scale = max(left.scale, right.scale)
    a, b = (
        n.Cast(p.kind, scale, _up(p.low, scale - p.scale), _up(p.high, scale - p.scale), p.nullable, p, 0)
        for p in (left, right)
    )
    return a, b


def _round(e: n.Round, names: Names) -> str:
    """Units at the old scale to units at the new one, through the truncating ``//`` on magnitudes."""
    step, back = 10 ** (e.arg.scale - e.digits), 10 ** (e.scale - e.digits)
    wide = replace(e.arg, low=(e.arg.low or 0) - step, high=(e.arg.high or 0) + step)
    width = _width(wide, e) if e.arg.low is not None else "HUGEINT"
    x = _at(e.arg, e.arg.scale, width, names)
    s = f"CAST({step} AS {width})"
    if e.how == "half":
        q = f"(CASE WHEN {x} < 0 THEN -((-{x} + {s} // 2) // {s}) ELSE ({x} + {s} // 2) // {s} END)"
    elif e.how == "floor":
        q = f"(CASE WHEN {x} < 0 THEN -((-{x} + {s} - 1) // {s}) ELSE {x} // {s} END)"
    else:
        q = f"(CASE WHEN {x} < 0 THEN -(-{x} // {s}) ELSE ({x} + {s} - 1) // {s} END)"
    return _narrow(f"({q} * {back})" if back > 1 else q, width, e)


def _narrow(text: str, width: str, e: n.Expr) -> str:
    return text if width == _width(e) else f"CAST({text} AS {_width(e)})"


def _cast(e: n.Cast, names: Names) -> str:
    if e.kind == "text":
        return _to_text(e.arg, names)
    if e.arg.kind == "boolean":
        return f"CAST({sql(e.arg, names)} AS {_width(e)})"
    width = _width(
        e, replace(e.arg, low=_up(e.arg.low, e.scale - e.arg.scale), high=_up(e.arg.high, e.scale - e.arg.scale))
    )
    text = _at(e.arg, e.scale, width, names)
    if e.most:
        text = f"(CASE WHEN {text} BETWEEN {-e.most} AND {e.most} THEN {text} END)"
    return _narrow(text, width, e)


def _to_text(e: n.Expr, names: Names) -> str:
    return _decimal_text(e, names) if e.kind == "decimal" else f"CAST({sql(e, names)} AS VARCHAR)"


def _decimal_text(e: n.Expr, names: Names) -> str:
    """Digits with the point put in: sign, whole part, point, fraction padded to the scale."""
    x = sql(e, names)
    if not e.scale:
        return f"CAST({x} AS VARCHAR)"
    step = f"CAST({10**e.scale} AS {_width(e)})"
    return (
        f"(CASE WHEN {x} < 0 THEN '-' ELSE '' END || CAST(ABS({x}) // {step} AS VARCHAR) || '.' || "
        f"LPAD(CAST(ABS({x}) % {step} AS VARCHAR), {e.scale}, '0'))"
    )


def _ratio(e: n.Ratio, names: Names) -> str:
    """Half away from zero on magnitudes: (2·|a|·f + |b|) // (2·|b|), with the sign put back."""
    up, down = e.scale + e.right.scale - e.left.scale, 0
    if up < 0:
        up, down = 0, -up
    a = f"(ABS({_at(e.left, e.left.scale, 'HUGEINT', names)}) * CAST({2 * 10**up} AS HUGEINT))"
    b = f"(ABS({_at(e.right, e.right.scale, 'HUGEINT', names)}) * CAST({10**down} AS HUGEINT))"
    sign = f"SIGN({sql(e.left, names)}) * SIGN({sql(e.right, names)})"
    quotient = f"(({a} + {b}) // NULLIF(2 * {b}, 0))"
    return _narrow(f"(CAST({sign} AS HUGEINT) * {quotient})", "HUGEINT", e)


def _text(e: n.Text, names: Names) -> str:
    args = [sql(a, names) for a in e.args]
    if e.name == "concat":
        return "(" + " || ".join(args) + ")"
    name = {"length": "LENGTH", "trim": "TRIM"}.get(e.name, e.name.upper())
    return f"{name}({', '.join([*args, *map(str, e.numbers)])})"


def _code(e: n.Code, names: Names) -> str:
    places = " ".join(f"WHEN {literal(label)} THEN {i}" for i, label in enumerate(e.labels))
    return f"(CASE {sql(e.arg, names)} {places} END)"


_PRINTERS: dict[type[n.Expr], Callable[..., str]] = {
    n.Column: _column,
    n.Const: _const,
    n.Arith: _arith,
    n.Compare: _compare,
    n.Case: _case,
    n.InList: _in,
    n.Like: _like,
    n.NullIf: _null_if,
    n.Round: _round,
    n.Cast: _cast,
    n.Ratio: _ratio,
    n.Text: _text,
    n.Code: _code,
    n.Neg: lambda e, names: f"(-{sql(e.arg, names)})",
    n.Abs: lambda e, names: f"ABS({sql(e.arg, names)})",
    n.Not: lambda e, names: f"(NOT {sql(e.arg, names)})",
    n.IsNull: lambda e, names: f"({sql(e.arg, names)} IS NULL)",
    n.Logic: lambda e, names: "(" + f" {e.op.upper()} ".join(sql(a, names) for a in e.args) + ")",
    n.Coalesce: lambda e, names: _call("COALESCE", e.args, names),
    n.Extreme: lambda e, names: _call(e.op.upper(), e.args, names),
    n.Extract: lambda e, names: f"EXTRACT({e.part.upper()} FROM {sql(e.arg, names)})",
}


def date_text(day: int) -> str:
    """A date in units, for people."""
    try:
        return dt.date.fromordinal(day + 719163).isoformat()
    except ValueError:
        return f"day {day}"
