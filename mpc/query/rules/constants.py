"""1 + 2 -> 3: a node of constants only is evaluated."""

from __future__ import annotations

from mpc.query.build import const, half_away
from mpc.query.evaluate import Datum, NotEvaluable, evaluate
from mpc.query.nodes import Const, Expr, children


def constants(e: Expr) -> Expr:
    parts = list(children(e))
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
