"""x AND TRUE -> x; x OR TRUE -> TRUE; NOT NOT x -> x; a IS NULL of what is never NULL -> FALSE."""

from __future__ import annotations

from mpc.query import build
from mpc.query.build import FALSE, TRUE
from mpc.query.nodes import Const, Expr, IsNull, Logic, Not


def logic(e: Expr) -> Expr:
    if isinstance(e, Logic):
        neutral, decisive = (TRUE, FALSE) if e.op == "and" else (FALSE, TRUE)
        if decisive in e.args:
            return decisive
        kept = tuple(dict.fromkeys(a for a in e.args if a != neutral))
        if kept != e.args:
            return build.logic(e.op, *kept) if kept else neutral
    if isinstance(e, Not) and isinstance(e.arg, Not):
        return e.arg.arg
    if isinstance(e, IsNull) and not e.arg.nullable and not isinstance(e.arg, Const):
        return FALSE
    return e
