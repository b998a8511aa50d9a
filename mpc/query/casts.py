"""Nodes that bring a value to another type: CAST, TRY_CAST, and quotients of rows, which only a CAST gives one."""

from __future__ import annotations

from fractions import Fraction

from mpc.query import build
from mpc.query.build import ZERO, TypeProblem
from mpc.query.exact import half_away
from mpc.query.nodes import Cast, Const, Expr, NodeKind, Ratio, is_null, numeric


def cast(e: Expr, kind: NodeKind, scale: int, widest: int, try_: bool) -> Expr:
    """CAST where it is exact (but for rounding to the scale) and total; TRY_CAST where it may not fit.

    ``widest``: the most units a number of the target type has; bounds must exclude more, or TRY_CAST makes it NULL.
    """
    if is_null(e):
        return build.const(kind, None, scale)
    if isinstance(e, Const) and isinstance(e.value, str) and kind in ("integer", "decimal"):
        parsed = build.beside(e, build.const("decimal", 0))[0]
        return cast(parsed, kind, scale, widest, try_)
    if e.kind == kind and not numeric(e):
        return e
    if kind in ("integer", "decimal") and e.kind == "double":
        return Cast(kind, scale, None, None, e.nullable, e, widest if try_ else 0)
    if kind in ("integer", "decimal") and numeric(e):
        return fit(_rescale(e, kind, scale), widest, try_)
    if kind in ("integer", "decimal") and e.kind == "boolean":
        return build.to_number(Cast("integer", 0, 0, 1, e.nullable, e, 0), kind, scale)
    if kind == "boolean" and numeric(e) and e.kind != "double":
        return build.compare("<>", e, ZERO)
    if kind == "double" and numeric(e):
        return Cast("double", 0, None, None, e.nullable, e, 0)
    if kind == "text" and e.kind in ("integer", "decimal", "date", "boolean"):
        return Cast("text", 0, None, None, e.nullable, e, 0)
    if kind == "date" and isinstance(e, Const) and isinstance(e.value, str):
        return build.date(e.value)
    raise TypeProblem(f"CAST of {e.kind} to {kind} is not exact for every value")


def _rescale(e: Expr, kind: NodeKind, scale: int) -> Expr:
    if scale >= e.scale:
        return build.to_number(e, kind, scale)
    rounded = build.round_to(e, scale)
    return rounded if rounded.kind == kind else Cast(kind, scale, rounded.low, rounded.high, e.nullable, rounded, 0)


def fit(e: Expr, widest: int, try_: bool) -> Expr:
    """A number of at most ``widest`` units: known from bounds, or NULL where it has more (TRY_CAST)."""
    if e.low is None or e.high is None or (-widest <= e.low and e.high <= widest):
        return e
    if not try_:
        raise TypeProblem(
            "the declared bounds do not exclude values that do not fit the type; "
            "take a wider one, or TRY_CAST, which gives NULL for them"
        )
    return Cast(e.kind, e.scale, max(e.low, -widest), min(e.high, widest), True, e, widest)


def ratio(left: Expr, right: Expr, scale: int, widest: int, try_: bool) -> Expr:
    """CAST(left / right AS DECIMAL(…, scale)) of rows: exact integers rounded half away from zero."""
    build.numbers("/", left, right)
    if left.low is None or left.high is None or right.low is None or right.high is None:
        raise TypeProblem("/ needs declared bounds")
    divisors = [v for v in (right.low, right.high, -1, 1) if v and right.low <= v <= right.high]
    most = max(
        (
            half_away(abs(Fraction(x * 10 ** (scale + right.scale), y * 10**left.scale)))
            for x in (left.low, left.high)
            for y in divisors
        ),
        default=0,
    )
    return fit(Ratio("decimal", scale, -most, most, True, left, right), widest, try_)
