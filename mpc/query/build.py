"""Makes typed nodes: one function a node, which checks types, aligns scales and infers bounds by interval arithmetic.

The rules of types are DuckDB's, with three departures, all towards exactness: numbers unify to the larger scale without
losing digits, integer overflow does not exist (``mpc.query.bounds`` refuses what passes 38 digits), and division is a
``Divide`` that is rounded only where it is shown.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

from mpc.query.catalog import Column as Declared
from mpc.query.catalog import Value, days
from mpc.query.exact import part_of, rounding, truncate
from mpc.query.nodes import (
    Abs,
    Arith,
    Case,
    Cast,
    Coalesce,
    Column,
    Compare,
    Const,
    Divide,
    Expr,
    Extract,
    Extreme,
    InList,
    IsNull,
    Like,
    Logic,
    Neg,
    NodeKind,
    Not,
    NullIf,
    Round,
    Scaled,
    Sqrt,
    Text,
    is_null,
    numeric,
)

#: the largest scale of a DECIMAL in DuckDB
MAX_SCALE = 38


class TypeProblem(Exception):
    """An operator on types it does not take; the binder adds the position."""


# ---- leaves


def column(party: str, table: str, c: Declared) -> Column:
    low, high = (0, 1) if c.kind == "boolean" else (c.low, c.high)
    return Column(c.kind, c.scale, low, high, c.nullable, party, table, c.name)


def const(kind: NodeKind, value: Value, scale: int = 0) -> Const:
    bound = None if value is None or isinstance(value, str) else int(value)
    return Const(kind, scale, bound, bound, value is None, value)


NULL = const("integer", None)
TRUE, FALSE = const("boolean", True), const("boolean", False)
ZERO = const("integer", 0)


def integer(value: int) -> Const:
    return const("integer", value)


def number(text: str) -> Const:
    """A literal of digits with or without a point."""
    whole, point, behind = text.partition(".")
    return const("decimal", int(whole + behind or "0"), len(behind)) if point else integer(int(text))


def date(text: str) -> Const:
    try:
        return const("date", days(dt.date.fromisoformat(text.strip())))
    except ValueError:
        raise TypeProblem(f"'{text}' is not a date of the form YYYY-MM-DD") from None


def months_later(e: Const, months: int) -> Const:
    """A constant date so many months later, on the last day of the month where it is shorter, as in SQL."""
    if e.value is None:
        return e
    assert isinstance(e.value, int)
    day = dt.date.fromordinal(e.value + dt.date(1970, 1, 1).toordinal())
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise TypeProblem("the date leaves the years 1 to 9999")
    last = calendar.monthrange(year, month + 1)[1]
    return const("date", days(dt.date(year, month + 1, min(day.day, last))))


# ---- types


def unify(parts: Sequence[Expr], what: str) -> list[Expr]:
    """The parts in one kind and scale: NULLs take the others' type, text literals become dates beside dates."""
    typed = [p for p in parts if not is_null(p)]
    if not typed:
        return list(parts)
    kinds = {p.kind for p in typed}
    if kinds == {"date", "text"} and all(isinstance(p, Const) for p in typed if p.kind == "text"):
        return unify(
            [
                date(str(p.value)) if isinstance(p, Const) and p.kind == "text" and p.value is not None else p
                for p in parts
            ],
            what,
        )
    if len(kinds) > 1 and not all(numeric(p) for p in typed):
        raise TypeProblem(f"{what} mixes {' and '.join(sorted(kinds))}")
    kind: NodeKind = typed[0].kind
    if len(kinds) > 1:
        kind = "double" if "double" in kinds else "decimal"
    scale = max(p.scale for p in typed)
    return [const(kind, None, scale) if is_null(p) else to_number(p, kind, scale) if numeric(p) else p for p in parts]


def to_number(e: Expr, kind: NodeKind, scale: int) -> Expr:
    """A number as ``kind`` of ``scale``, which must not be smaller than its own: exact."""
    if kind == "double" or (e.kind == kind and e.scale == scale):
        return e
    if isinstance(e, Const) and isinstance(e.value, int):
        return const(kind, e.value * 10 ** (scale - e.scale), scale)
    low, high = scaled(e, scale)
    return Cast(kind, scale, low, high, e.nullable, e, 0)


def scaled(e: Expr, scale: int) -> tuple[int | None, int | None]:
    """The interval in units of a larger scale."""
    by = 10 ** (scale - e.scale)
    return (None if e.low is None else e.low * by), (None if e.high is None else e.high * by)


def numbers(op: str, *args: Expr) -> None:
    """Raises TypeProblem where ``op`` stands between others."""
    for a in args:
        if not numeric(a) and not is_null(a):
            raise TypeProblem(f"{op} takes numbers, not {a.kind}")


def _booleans(op: str, args: Iterable[Expr]) -> None:
    for a in args:
        if a.kind != "boolean" and not is_null(a):
            raise TypeProblem(f"{op} takes conditions, not {a.kind}")


def _texts(op: str, *args: Expr) -> None:
    for a in args:
        if a.kind != "text" and not is_null(a):
            raise TypeProblem(f"{op} takes text, not {a.kind}")


def _corners(f: Callable[[int, int], int], a: Expr, b: Expr) -> tuple[int | None, int | None]:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return None, None
    found = [f(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    return min(found), max(found)


# ---- arithmetic


def arith(op: str, left: Expr, right: Expr) -> Expr:
    """``+ - * // %``."""
    if "date" in (left.kind, right.kind):
        return _date_arith(op, left, right)
    numbers(op, left, right)
    nullable = left.nullable or right.nullable
    if op in ("//", "%"):
        return _integer_division(op, left, right)
    doubled = "double" in (left.kind, right.kind)
    kind: NodeKind = "double" if doubled else "decimal" if "decimal" in (left.kind, right.kind) else "integer"
    if doubled:
        return Arith(kind, 0, None, None, nullable, op, left, right)
    if op == "*":
        scale = left.scale + right.scale
        if scale > MAX_SCALE:
            raise TypeProblem(f"the product has {scale} digits behind the point; DECIMAL has at most {MAX_SCALE}")
        low, high = _corners(lambda x, y: x * y, left, right)
        return Arith(kind, scale, low, high, nullable, op, left, right)
    scale = max(left.scale, right.scale)
    (al, ah), (bl, bh) = scaled(left, scale), scaled(right, scale)
    if al is None or ah is None or bl is None or bh is None:
        return Arith(kind, scale, None, None, nullable, op, left, right)
    low, high = (al + bl, ah + bh) if op == "+" else (al - bh, ah - bl)
    return Arith(kind, scale, low, high, nullable, op, left, right)


def _date_arith(op: str, left: Expr, right: Expr) -> Expr:
    if op == "-" and right.kind == "text" and isinstance(right, Const):
        right = date(str(right.value))
    nullable = left.nullable or right.nullable
    if op == "-" and left.kind == right.kind == "date":
        low, high = _corners(lambda x, y: x - y, left, right)
        return Arith("integer", 0, low, high, nullable, op, left, right)
    if op == "+" and left.kind == "integer":
        left, right = right, left
    if op not in "+-" or left.kind != "date" or right.kind != "integer":
        raise TypeProblem(f"{left.kind} {op} {right.kind} is not defined; dates take + and - of whole days")
    low, high = _corners(lambda x, y: x + y if op == "+" else x - y, left, right)
    if low is None or high is None or low < -(10**6) or high > 10**6:
        raise TypeProblem("the date may leave the years −768 to 4707")
    return Arith("date", 0, low, high, nullable, op, left, right)


def _integer_division(op: str, left: Expr, right: Expr) -> Expr:
    if left.kind != "integer" or right.kind != "integer":
        raise TypeProblem(f"{op} takes integers")
    zero = right.low is None or right.high is None or right.low <= 0 <= right.high
    nullable = left.nullable or right.nullable or zero
    if left.low is None or left.high is None:
        return Arith("integer", 0, None, None, nullable, op, left, right)
    low, high = min(left.low, 0), max(left.high, 0)
    if op == "//":
        if right.low is None or right.low < 0:
            low, high = -max(-low, high), max(-low, high)
        elif right.low == right.high and right.low > 0:
            low, high = truncate(left.low, right.low), truncate(left.high, right.low)
    elif right.low is not None and right.high is not None:
        most = max(abs(right.low), abs(right.high), 1) - 1
        low, high = max(low, -most), min(high, most)
    return Arith("integer", 0, low, high, nullable, op, left, right)


def neg(e: Expr) -> Expr:
    numbers("-", e)
    if isinstance(e, Const) and type(e.value) is int:
        return const(e.kind, -e.value, e.scale)
    low, high = None if e.high is None else -e.high, None if e.low is None else -e.low
    return Neg(e.kind, e.scale, low, high, e.nullable, e)


def absolute(e: Expr) -> Expr:
    numbers("ABS", e)
    if e.low is None or e.high is None:
        return Abs(e.kind, e.scale, None, None, e.nullable, e)
    low = 0 if e.low <= 0 <= e.high else min(abs(e.low), abs(e.high))
    return Abs(e.kind, e.scale, low, max(abs(e.low), abs(e.high)), e.nullable, e)


def round_to(e: Expr, digits: int, how: str = "half") -> Expr:
    """ROUND, FLOOR, CEIL. A decimal keeps at most ``digits`` behind the point; a double stays double."""
    numbers("ROUND", e)
    if not -38 <= digits <= MAX_SCALE:
        raise TypeProblem("ROUND takes -38 to 38 digits")
    if e.kind == "double":
        return Round(e.kind, 0, None, None, e.nullable, e, digits, how)
    if digits >= e.scale:
        return e
    scale = max(digits, 0)
    step = int(10 ** (e.scale - digits))

    def units(value: int) -> int:
        return int(rounding(Fraction(value, step), how) * 10 ** (scale - digits))

    low, high = None if e.low is None else units(e.low), None if e.high is None else units(e.high)
    return Round(e.kind, scale, low, high, e.nullable, e, digits, how)


def divide(left: Expr, right: Expr) -> Expr:
    """``/`` in the finish: a double."""
    numbers("/", left, right)
    return Divide("double", 0, None, None, True, left, right)


def sqrt(e: Expr) -> Expr:
    numbers("SQRT", e)
    return Sqrt("double", 0, None, None, True, e)


def times(e: Expr, factor: Fraction, kind: NodeKind, scale: int) -> Expr:
    """``e`` times a public fraction, as ``kind`` of ``scale`` (finish only)."""
    if factor == 1 and (kind, scale) == (e.kind, e.scale):
        return e
    return Scaled(kind, scale, None, None, e.nullable, e, factor.numerator, factor.denominator)


# ---- conditions


def compare(op: str, left: Expr, right: Expr) -> Expr:
    """``= <> < <= > >= is``; "is" is IS NOT DISTINCT FROM."""
    left, right = beside(left, right)
    left, right = unify([left, right], f"the comparison {'IS' if op == 'is' else op}")
    return Compare("boolean", 0, 0, 1, op != "is" and (left.nullable or right.nullable), op, left, right)


def beside(left: Expr, right: Expr) -> tuple[Expr, Expr]:
    """A text literal beside a number or boolean is read as one, as DuckDB does."""

    def read(literal: Expr, other: Expr) -> Expr:
        if not (isinstance(literal, Const) and isinstance(literal.value, str)) or other.kind in ("text", "date"):
            return literal
        text = literal.value.strip()
        if numeric(other) and text.lstrip("+-").replace(".", "", 1).isdecimal():
            return neg(number(text[1:])) if text[0] == "-" else number(text.lstrip("+"))
        if other.kind == "boolean" and text.lower() in ("true", "false"):
            return TRUE if text.lower() == "true" else FALSE
        raise TypeProblem(f"'{literal.value}' is compared with {other.kind}")

    return read(left, right), read(right, left)


def logic(op: str, *args: Expr) -> Expr:
    """AND / OR, flattened."""
    _booleans(op.upper(), args)
    flat = tuple(x for a in args for x in (a.args if isinstance(a, Logic) and a.op == op else (a,)))
    if len(flat) == 1:
        return flat[0]
    return Logic("boolean", 0, 0, 1, any(a.nullable for a in flat), op, flat)


def negate(e: Expr) -> Expr:
    _booleans("NOT", [e])
    return Not("boolean", 0, 0, 1, e.nullable, e)


def is_null_test(e: Expr) -> Expr:
    return IsNull("boolean", 0, 0, 1, False, e)


def in_list(e: Expr, items: Sequence[Expr]) -> Expr:
    read = [beside(i, e)[0] for i in items]
    arg, *unified = unify([e, *read], "IN")
    nullable = e.nullable or any(i.nullable for i in unified)
    return InList("boolean", 0, 0, 1, nullable, arg, tuple(unified))


def like(e: Expr, pattern: str, escape: str, fold_case: bool) -> Expr:
    _texts("LIKE", e)
    return Like("boolean", 0, 0, 1, e.nullable, e, pattern, escape, fold_case)


# ---- choice


def _hull(parts: Sequence[Expr]) -> tuple[int | None, int | None]:
    valued = [p for p in parts if not is_null(p)]
    if not valued or any(p.low is None or p.high is None for p in valued):
        return None, None
    return min(p.low for p in valued if p.low is not None), max(p.high for p in valued if p.high is not None)


def case(whens: Sequence[tuple[Expr, Expr]], default: Expr) -> Expr:
    _booleans("WHEN", [c for c, _ in whens])
    values = unify([*(v for _, v in whens), default], "CASE")
    low, high = _hull(values)
    arms = tuple((c, v) for (c, _), v in zip(whens, values, strict=False))
    return Case(values[0].kind, values[0].scale, low, high, any(v.nullable for v in values), arms, values[-1])


def coalesce(args: Sequence[Expr]) -> Expr:
    parts = unify(list(args), "COALESCE")
    if len(parts) == 1:
        return parts[0]
    low, high = _hull(parts)
    return Coalesce(parts[0].kind, parts[0].scale, low, high, all(p.nullable for p in parts), tuple(parts))


def extreme(op: str, args: Sequence[Expr]) -> Expr:
    parts = unify(list(args), op.upper())
    if parts[0].kind == "boolean":
        raise TypeProblem(f"{op.upper()} takes numbers, dates or text, not boolean")
    if len(parts) == 1:
        return parts[0]
    low, high = _hull(parts)
    # it is on the same side of every argument that has a value: LEAST(x, 100) is at most 100
    sure = [p for p in parts if not p.nullable]
    if low is not None and high is not None and sure:
        if op == "least":
            high = min(p.high for p in sure if p.high is not None)
        else:
            low = max(p.low for p in sure if p.low is not None)
    return Extreme(parts[0].kind, parts[0].scale, low, high, all(p.nullable for p in parts), op, tuple(parts))


def null_if(left: Expr, right: Expr) -> Expr:
    """NULLIF keeps the type of ``left``."""
    left, right = beside(left, right)
    unify([left, right], "NULLIF")
    if left.kind == "date" and right.kind == "text":
        _, right = unify([left, right], "NULLIF")
    return NullIf(left.kind, left.scale, left.low, left.high, True, left, right)


# ---- dates and text


def extract(part: str, e: Expr) -> Expr:
    """EXTRACT year, quarter, month, day of a date."""
    if e.kind != "date":
        raise TypeProblem(f"EXTRACT({part.upper()}) takes a date, not {e.kind}")
    low, high = {"quarter": (1, 4), "month": (1, 12), "day": (1, 31)}.get(part, (None, None))
    if part == "year" and e.low is not None and e.high is not None:
        low, high = part_of("year", e.low), part_of("year", e.high)
    return Extract("integer", 0, low, high, e.nullable, part, e)


def text(name: str, args: Sequence[Expr], numbers: tuple[int, ...] = ()) -> Expr:
    _texts(name.upper(), *args)
    nullable = any(a.nullable for a in args)
    if name == "length":
        return Text("integer", 0, 0, 2**32, nullable, name, tuple(args), numbers)
    return Text("text", 0, None, None, nullable, name, tuple(args), numbers)
