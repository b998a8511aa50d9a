"""Evaluates expressions in the clear with exact rationals: the recipient's finish, and the domains of derived keys.

Numbers are ``Fraction``s of their true value whatever their scale; dates are days, booleans bool, text str, NULL None.
A square root is irrational, so it is the correctly rounded double, as a Fraction, from there on.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from fractions import Fraction
from math import isqrt

from mpc.query import nodes as n
from mpc.query.exact import half_away, part_of, rounding, truncate

Number = Fraction
Datum = Fraction | int | str | bool | None
Leaf = Callable[[n.Expr], Datum]


class NotEvaluable(Exception):
    """A node whose value this program cannot compute exactly as DuckDB would."""


def evaluate(e: n.Expr, leaf: Leaf) -> Datum:
    """The value of ``e``; ``leaf`` gives the value of columns, revealed words and keys."""
    rule = _RULES.get(type(e))
    return leaf(e) if rule is None else rule(e, leaf)


def constant(e: n.Const) -> Datum:
    """A constant as evaluated: numbers as Fractions."""
    if type(e.value) is int and e.kind in ("integer", "decimal"):
        return Fraction(e.value, 10**e.scale)
    return e.value


def _number(e: n.Expr, leaf: Leaf) -> Fraction | None:
    value = evaluate(e, leaf)
    return None if value is None else Fraction(value)


def _arith(e: n.Arith, leaf: Leaf) -> Datum:
    a, b = evaluate(e.left, leaf), evaluate(e.right, leaf)
    if a is None or b is None:
        return None
    x, y = Fraction(a), Fraction(b)
    if e.op in ("//", "%"):
        if y == 0:
            return None
        q = truncate(int(x), int(y))
        return Fraction(q) if e.op == "//" else x - y * q
    value = {"+": x + y, "-": x - y, "*": x * y}[e.op]
    return int(value) if e.kind == "date" else value


def _compare(e: n.Compare, leaf: Leaf) -> Datum:
    a, b = evaluate(e.left, leaf), evaluate(e.right, leaf)
    if e.op == "is":
        return (a is None) == (b is None) and (a is None or a == b)
    if a is None or b is None:
        return None
    if isinstance(a, str) or isinstance(b, str):
        x, y = str(a).encode(), str(b).encode()
        return _ordered(e.op, (x > y) - (x < y))
    return _ordered(e.op, (Fraction(a) > Fraction(b)) - (Fraction(a) < Fraction(b)))


def _ordered(op: str, sign: int) -> bool:
    return {"=": sign == 0, "<>": sign != 0, "<": sign < 0, "<=": sign <= 0, ">": sign > 0, ">=": sign >= 0}[op]


def _logic(e: n.Logic, leaf: Leaf) -> Datum:
    values = [evaluate(a, leaf) for a in e.args]
    decisive = e.op == "or"
    if any(v is decisive for v in values):
        return decisive
    return None if None in values else not decisive


def _not(e: n.Not, leaf: Leaf) -> Datum:
    value = evaluate(e.arg, leaf)
    return None if value is None else not value


def _case(e: n.Case, leaf: Leaf) -> Datum:
    for condition, value in e.whens:
        if evaluate(condition, leaf) is True:
            return evaluate(value, leaf)
    return evaluate(e.default, leaf)


def _in(e: n.InList, leaf: Leaf) -> Datum:
    value = evaluate(e.arg, leaf)
    items = [evaluate(i, leaf) for i in e.items]
    if value is None:
        return None
    return True if any(i is not None and i == value for i in items) else None if None in items else False


def _like(e: n.Like, leaf: Leaf) -> Datum:
    value = evaluate(e.arg, leaf)
    if value is None:
        return None
    return like_pattern(e.pattern, e.escape, e.fold_case).fullmatch(str(value)) is not None


def like_pattern(pattern: str, escape: str, fold_case: bool) -> re.Pattern[str]:
    """A LIKE pattern as a regular expression."""
    out, i = [], 0
    while i < len(pattern):
        c = pattern[i]
        if escape and c == escape and i + 1 < len(pattern):
            i += 1
            out.append(re.escape(pattern[i]))
        else:
            out.append({"%": ".*", "_": "."}.get(c, re.escape(c)))
        i += 1
    return re.compile("".join(out), re.DOTALL | (re.IGNORECASE if fold_case else 0))


def _coalesce(e: n.Coalesce, leaf: Leaf) -> Datum:
    return next((v for a in e.args if (v := evaluate(a, leaf)) is not None), None)


def _extreme(e: n.Extreme, leaf: Leaf) -> Datum:
    values = [v for a in e.args if (v := evaluate(a, leaf)) is not None]
    pick = min if e.op == "least" else max
    return pick(values, key=lambda v: v.encode() if isinstance(v, str) else v) if values else None


def _null_if(e: n.NullIf, leaf: Leaf) -> Datum:
    a, b = evaluate(e.left, leaf), evaluate(e.right, leaf)
    return None if a is not None and a == b else a


def _neg(e: n.Neg, leaf: Leaf) -> Datum:
    value = _number(e.arg, leaf)
    return None if value is None else -value


def _abs(e: n.Abs, leaf: Leaf) -> Datum:
    value = _number(e.arg, leaf)
    return None if value is None else abs(value)


def _round(e: n.Round, leaf: Leaf) -> Datum:
    value = _number(e.arg, leaf)
    if value is None:
        return None
    power = Fraction(10) ** e.digits
    return rounding(value * power, e.how) / power


def _extract(e: n.Extract, leaf: Leaf) -> Datum:
    value = evaluate(e.arg, leaf)
    return None if value is None else Fraction(part_of(e.part, int(value)))


def _cast(e: n.Cast, leaf: Leaf) -> Datum:
    value = evaluate(e.arg, leaf)
    if value is None:
        return None
    if e.kind == "text":
        return _as_text(value, e.arg)
    if e.kind == "double":
        return Fraction(to_double(Fraction(value)))
    if e.kind == "integer" and e.arg.kind == "double":
        units = round(Fraction(value))  # DuckDB rounds doubles half to even here, decimals half away from zero
    else:
        units = half_away(Fraction(value) * 10**e.scale)
    if e.most and abs(units) > e.most:
        return None
    return Fraction(units, 10**e.scale)


def _as_text(value: Datum, source: n.Expr) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if source.kind == "date":
        try:
            return dt.date.fromordinal(int(value or 0) + 719163).isoformat()
        except ValueError:
            raise NotEvaluable from None
    return decimal_text(half_away(Fraction(value or 0) * 10**source.scale), source.scale)


def decimal_text(units: int, scale: int) -> str:
    """Units with the point in its place."""
    digits = str(abs(units)).rjust(scale + 1, "0")
    sign = "-" if units < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def _ratio(e: n.Ratio, leaf: Leaf) -> Datum:
    a, b = _number(e.left, leaf), _number(e.right, leaf)
    if a is None or b is None or b == 0:
        return None
    return Fraction(half_away(a / b * 10**e.scale), 10**e.scale)


def _text(e: n.Text, leaf: Leaf) -> Datum:
    values = [evaluate(a, leaf) for a in e.args]
    if any(v is None for v in values):
        return None
    texts = [str(v) for v in values]
    if e.name == "concat":
        return "".join(texts)
    text = texts[0]
    if e.name == "length":
        return Fraction(len(text))
    if e.name in ("upper", "lower") and not text.isascii():
        raise NotEvaluable
    if e.name in ("upper", "lower"):
        return text.upper() if e.name == "upper" else text.lower()
    if e.name == "trim":
        return text.strip(" ")
    start, length = e.numbers if e.name == "substring" else (1, e.numbers[0])
    return text[start - 1 : start - 1 + length] if e.name != "right" else text[max(len(text) - length, 0) :]


def _code(e: n.Code, leaf: Leaf) -> Datum:
    value = evaluate(e.arg, leaf)
    return None if value is None else Fraction(e.labels.index(str(value)))


def _divide(e: n.Divide, leaf: Leaf) -> Datum:
    a, b = _number(e.left, leaf), _number(e.right, leaf)
    return None if a is None or b is None or b == 0 else a / b


def _sqrt(e: n.Sqrt, leaf: Leaf) -> Datum:
    value = _number(e.arg, leaf)
    return None if value is None or value < 0 else Fraction(sqrt_double(value))


def _scaled(e: n.Scaled, leaf: Leaf) -> Datum:
    value = _number(e.arg, leaf)
    return None if value is None else value * e.numerator / e.denominator


def to_double(value: Fraction) -> float:
    """The nearest double, ties to even (CPython's int / int is correctly rounded); beyond the range infinity."""
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def sqrt_double(value: Fraction) -> float:
    """The double nearest to the square root of an exact rational.

    r = floor(sqrt(value) · 2^k) with r of at least 64 bits, its last bit set if anything was cut off (a sticky bit,
    below the 53 bits and the half of a double): rounding r · 2^-k to nearest, ties to even, then equals rounding the
    root.
    """
    if value == 0:
        return 0.0
    p, q = value.numerator, value.denominator
    k = max(0, (130 + q.bit_length() - p.bit_length() + 1) // 2)
    scaled_up = p << (2 * k)
    r = isqrt(scaled_up // q)
    exact = r * r * q == scaled_up
    return to_double(Fraction(r if exact else r | 1, 1 << k))


_RULES: dict[type[n.Expr], Callable[..., Datum]] = {
    n.Const: lambda e, _leaf: constant(e),
    n.Arith: _arith,
    n.Neg: _neg,
    n.Compare: _compare,
    n.Logic: _logic,
    n.Not: _not,
    n.Case: _case,
    n.IsNull: lambda e, leaf: evaluate(e.arg, leaf) is None,
    n.InList: _in,
    n.Like: _like,
    n.Coalesce: _coalesce,
    n.Extreme: _extreme,
    n.NullIf: _null_if,
    n.Abs: _abs,
    n.Round: _round,
    n.Extract: _extract,
    n.Cast: _cast,
    n.Ratio: _ratio,
    n.Text: _text,
    n.Code: _code,
    n.Divide: _divide,
    n.Sqrt: _sqrt,
    n.Scaled: _scaled,
}
