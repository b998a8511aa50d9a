"""Comparisons that the bounds decide: age >= 0 -> TRUE where age is never NULL and never negative."""

from __future__ import annotations

from mpc.query.build import FALSE, TRUE
from mpc.query.nodes import Compare, Const, Expr, InList, Logic, numeric


def decide(e: Expr) -> Expr:
    if isinstance(e, Compare) and not e.nullable:
        verdict = _by_bounds(e)
        if verdict is not None and not (e.op == "is" and _nulls_decide(e, verdict)):
            return TRUE if verdict else FALSE
    return e


def _nulls_decide(e: Compare, verdict: bool) -> bool:
    """IS [NOT] DISTINCT FROM is never NULL: two NULLs are alike whatever the bounds, a NULL and a value never."""
    nulls = (e.left.nullable, e.right.nullable)
    return any(nulls) if verdict else all(nulls)


def cannot_be_true(e: Expr) -> Expr:
    """FALSE for a condition that is FALSE or NULL for every row; else the condition."""
    return FALSE if _never_true(e) else e


def _never_true(e: Expr) -> bool:
    if isinstance(e, Const):
        return e.value is not True
    if isinstance(e, Compare):
        return e.op != "is" and _by_bounds(e) is False
    if isinstance(e, InList):
        return all(_disjoint(e.arg, i) for i in e.items)
    if isinstance(e, Logic):
        return (any if e.op == "and" else all)(_never_true(a) for a in e.args)
    return False


def _disjoint(a: Expr, b: Expr) -> bool:
    if isinstance(b, Const) and b.value is None:
        return True
    bounds = (a.low, a.high, b.low, b.high)
    return None not in bounds and (a.high < b.low or a.low > b.high)  # type: ignore[operator]


def _by_bounds(e: Compare) -> bool | None:
    """What the comparison of two values that are not NULL gives, if the intervals tell."""
    a, b = e.left, e.right
    if a.low is None or a.high is None or b.low is None or b.high is None or not (numeric(a) or a.kind == "date"):
        return None
    less, not_less = a.high < b.low, a.low >= b.high
    greater, not_greater = a.low > b.high, a.high <= b.low
    single = a.low == a.high == b.low == b.high
    decided = {
        "<": (less, not_less),
        ">": (greater, not_greater),
        "<=": (not_greater, greater),
        ">=": (not_less, less),
        "=": (single, less or greater),
        "<>": (less or greater, single),
        "is": (single, less or greater),
    }[e.op]
    return True if decided[0] else False if decided[1] else None
