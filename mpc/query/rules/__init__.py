"""Rewrites of row expressions: each rule is a small function Expr -> Expr that keeps the value, NULLs included.

They make plans plain, and they find what cannot matter: a party whose values cancel (``x - x``, ``x * 0``, ``WHERE
false``) is no contributor, whatever the query pretends. Fixtures: tests/fixtures/query/<rule>.sql.
"""

from __future__ import annotations

from collections.abc import Callable

from mpc.query.nodes import Expr, rebuild
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
    e = rebuild(e, simplify)
    for rule in RULES:
        changed = rule(e)
        if changed != e:
            return simplify(changed)
    return e


def simplify_filter(e: Expr) -> Expr:
    """A condition of which only TRUE counts (WHERE, FILTER): what is never TRUE becomes FALSE."""
    return cannot_be_true(simplify(e))
