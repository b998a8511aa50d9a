"""CASE and COALESCE: arms that cannot be taken go, a single value stays alone."""

from __future__ import annotations

from mpc.query import build
from mpc.query.build import TRUE
from mpc.query.nodes import Case, Coalesce, Const, Expr, is_null


def choice(e: Expr) -> Expr:
    if isinstance(e, Case):
        return _case(e)
    if isinstance(e, Coalesce):
        return _coalesce(e)
    return e


def _case(e: Case) -> Expr:
    arms = [(c, v) for c, v in e.whens if not (isinstance(c, Const) and c.value is not True)]
    default = e.default
    for i, (condition, value) in enumerate(arms):
        if condition == TRUE:
            arms, default = arms[:i], value
            break
    while arms and (arms[-1][1] == default or (is_null(arms[-1][1]) and is_null(default))):
        arms.pop()
    if not arms:
        return _typed(default, e)
    if len(arms) == len(e.whens) and default == e.default:
        return e
    return build.case(arms, default)


def _coalesce(e: Coalesce) -> Expr:
    args: list[Expr] = []
    for a in e.args:
        if is_null(a):
            continue
        args.append(a)
        if not a.nullable:
            break
    if len(args) == len(e.args):
        return e
    return build.coalesce(args) if args else _typed(e.args[0], e)


def _typed(value: Expr, e: Expr) -> Expr:
    """NULL in the type of the node it stands for."""
    return build.const(e.kind, None, e.scale) if is_null(value) else value
