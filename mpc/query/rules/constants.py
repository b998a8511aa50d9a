"""1 + 2 -> 3, x + NULL -> NULL: a node of constants only is evaluated, one that needs a NULL is NULL."""

from __future__ import annotations

from mpc.query.build import const
from mpc.query.evaluate import Datum, NotEvaluable, evaluate
from mpc.query.exact import half_away
from mpc.query.nodes import (
    Abs,
    Arith,
    Cast,
    Compare,
    Const,
    Expr,
    Extract,
    Like,
    Neg,
    Ratio,
    Round,
    Text,
    children,
    is_null,
)

#: NULL where a part is NULL
_STRICT = (Abs, Arith, Cast, Compare, Extract, Like, Neg, Ratio, Round, Text)


def constants(e: Expr) -> Expr:
    parts = list(children(e))
    if isinstance(e, _STRICT) and any(is_null(p) for p in parts) and not (isinstance(e, Compare) and e.op == "is"):
        return const(e.kind, None, e.scale)
    if not parts or e.kind == "double" or not all(isinstance(p, Const) for p in parts):
        return e
    try:
        return constant_of(e, evaluate(e, _no_leaf))
    except NotEvaluable:
        return e


def constant_of(e: Expr, value: Datum) -> Const:
    """A value of the expression as a constant of its kind and scale."""
    if value is None or isinstance(value, str | bool):
        return const(e.kind, value, e.scale)
    return const(e.kind, half_away(value * 10**e.scale) if e.kind != "date" else int(value), e.scale)


def _no_leaf(e: Expr) -> Datum:
    raise NotEvaluable
