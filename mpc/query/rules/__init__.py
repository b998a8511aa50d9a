"""Rewrites of row expressions: each rule is a small function Expr -> Expr that keeps the value, NULLs included.

They make plans plain, and they find what cannot matter: a party whose values cancel (``x - x``, ``x * 0``, ``WHERE
false``) is no contributor, whatever the query pretends. Fixtures: tests/fixtures/query/rules/<rule>.sql.
"""

from __future__ import annotations

from collections.abc import Callable

from mpc.query import build
from mpc.query.nodes import Arith, Case, Cast, Coalesce, Compare, Expr, Neg, numeric, rebuild
from mpc.query.rules.cancel import cancel
from mpc.query.rules.choice import choice
from mpc.query.rules.constants import constants
from mpc.query.rules.decide import cannot_be_true, decide
from mpc.query.rules.logic import logic

Rule = Callable[[Expr], Expr]

#: applied in this order, bottom up, until nothing changes
RULES: tuple[Rule, ...] = (constants, logic, choice, decide, cancel)


def simplify(e: Expr) -> Expr:
    """``e`` with all rules applied: children first, then the node until no rule changes it."""
    rebuilt = rebuild(e, simplify)
    e = rebuilt if rebuilt == e else tightened(rebuilt)
    for rule in RULES:
        changed = rule(e)
        if changed != e:
            return simplify(changed)
    return e


def tightened(e: Expr) -> Expr:
    """A node with the bounds that follow from its simplified parts: x * (y - y) is 0 whatever x may be."""
    if isinstance(e, Arith):
        return build.arith(e.op, e.left, e.right)
    if isinstance(e, Neg):
        return build.neg(e.arg)
    if isinstance(e, Case):
        return build.case(e.whens, e.default)
    if isinstance(e, Coalesce):
        return build.coalesce(e.args)
    if isinstance(e, Compare):
        return build.compare(e.op, e.left, e.right)
    if isinstance(e, Cast) and not e.most and numeric(e) and numeric(e.arg) and e.scale >= e.arg.scale:
        return build.to_number(e.arg, e.kind, e.scale)
    return e


def simplify_filter(e: Expr) -> Expr:
    """A condition of which only TRUE counts (WHERE, FILTER): what is never TRUE becomes FALSE."""
    return cannot_be_true(simplify(e))
