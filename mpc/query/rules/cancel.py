"""x - x -> 0 (NULL where x is): terms of a sum that cancel go, whatever they were dressed as."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from mpc.query import build
from mpc.query.build import const
from mpc.query.exact import half_away
from mpc.query.nodes import Arith, Cast, Const, Expr, Neg, is_null, numeric


def cancel(e: Expr) -> Expr:
    if not isinstance(e, Arith | Neg) or e.kind not in ("integer", "decimal"):
        return e
    if isinstance(e, Arith) and e.op in ("//", "%"):
        return e
    terms = list(linear_terms(e, Fraction(1)))
    if e.low == e.high == 0 and isinstance(e, Arith):
        whole = [a for a, _ in terms] == [e]  # x * y, or two dates: NULL where one of them is
        gone = [e.left, e.right] if whole else [a for a, _ in terms if a is not None]
        return _guarded(const(e.kind, 0, e.scale), gone)
    atoms = [a for a, _ in terms if a is not None]
    if len(set(atoms)) == len(atoms):
        return e
    coefficients: dict[Expr, Fraction] = {}
    for atom, c in terms:
        if atom is not None:
            coefficients[atom] = coefficients.get(atom, Fraction(0)) + c
    rest = sum((c for atom, c in terms if atom is None), Fraction(0))
    gone = [a for a, c in coefficients.items() if c == 0]
    value: Expr = _literal(rest)
    for atom, c in coefficients.items():
        if c != 0:
            product = atom if c == 1 else build.arith("*", atom, _literal(c))
            value = product if value == build.ZERO else build.arith("+", value, product)
    return _guarded(build.to_number(value, e.kind, e.scale), gone)


def linear_terms(e: Expr, factor: Fraction) -> Iterator[tuple[Expr | None, Fraction]]:
    """``e`` times ``factor`` as a sum of (atom, coefficient) in true values; atom None is a constant."""
    if isinstance(e, Const) and not is_null(e) and numeric(e):
        yield None, factor * Fraction(int(e.value or 0), 10**e.scale)
    elif isinstance(e, Neg):
        yield from linear_terms(e.arg, -factor)
    elif isinstance(e, Arith) and e.op in "+-" and numeric(e.left) and numeric(e.right):
        yield from linear_terms(e.left, factor)
        yield from linear_terms(e.right, -factor if e.op == "-" else factor)
    elif isinstance(e, Arith) and e.op == "*" and (parts := constant_factor(e)):
        yield from linear_terms(parts[1], factor * parts[0])
    elif (
        isinstance(e, Cast)
        and not e.most
        and numeric(e)
        and numeric(e.arg)
        and e.scale >= e.arg.scale
        and e.kind != "double"
    ):
        yield from linear_terms(e.arg, factor)
    else:
        yield e, factor


def constant_factor(e: Arith) -> tuple[Fraction, Expr] | None:
    """constant times x as (constant, x)."""
    for c, x in ((e.left, e.right), (e.right, e.left)):
        if isinstance(c, Const) and not is_null(c):
            return Fraction(int(c.value or 0), 10**c.scale), x
    return None


def _literal(value: Fraction) -> Const:
    """A fraction whose denominator divides a power of ten, as a constant of the smallest scale."""
    scale = 0
    while (value * 10**scale).denominator != 1:
        scale += 1
    units = half_away(value * 10**scale)
    return const("decimal", units, scale) if scale else const("integer", units)


def _guarded(value: Expr, gone: list[Expr]) -> Expr:
    """``value``, NULL where one of the atoms that went is NULL."""
    tests = [build.is_null_test(a) for a in dict.fromkeys(gone) if a.nullable]
    if not tests:
        return value
    return build.case([(build.logic("or", *tests), build.NULL)], value)
