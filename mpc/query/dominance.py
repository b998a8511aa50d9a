"""What the sums of a join add, in absolute values, for the rule that no entity may dominate one (P8).

An addend is what one column brings into a sum, or one expression that is no sum of columns, as in totals without a join
(mpc/query/behind.py); each is judged by itself. Of a product of columns of several owners the product is one, and each
of its columns. An absolute value moves inwards until it stands over columns of one owner, which that owner computes by
itself; where it cannot (a difference of two owners' columns, GREATEST of them) its sign is a comparison of shares.
"""

from __future__ import annotations

from collections.abc import Iterator

from mpc.protocols.dominance import THOUSANDTHS
from mpc.query import build
from mpc.query.behind import addends
from mpc.query.nodes import Agg, Arith, Case, Cast, Coalesce, Const, Expr, JoinedTerm, Neg, columns, is_null
from mpc.query.plan_pools import Ring
from mpc.query.uses import bare


def absolute_addends(agg: Agg, term: JoinedTerm) -> Iterator[Expr]:
    """What an aggregate adds up over the rows of a term: values of at least 0. Nothing of a count."""
    if agg.func not in ("sum", "squares") or term.value is None:
        return
    for addend in addends(term.value):
        value = _absolute(addend)
        yield value
        if agg.func == "squares":
            yield build.arith("*", value, value)


def ring_of_shares(value: Expr, term: JoinedTerm) -> Ring | None:
    """What holds thousandths of a total of ``value`` over the rows of a term, and of a part of it; None: nothing."""
    most = (value.high or 0) * term.most_rows * THOUSANDTHS
    return 64 if most < 2**63 else 128 if most < 2**127 else None


def _absolute(e: Expr) -> Expr:
    """|e|, with the absolute value as far inside as it can be."""
    e = bare(e)
    if is_null(e):
        return e
    if e.low is not None and e.low >= 0:
        return e
    if len({(c.party, c.table) for c in columns(e)}) <= 1:
        return build.absolute(e)
    if isinstance(e, Neg):
        return _absolute(e.arg)
    if isinstance(e, Cast) and not e.most and e.scale >= e.arg.scale:
        return build.to_number(_absolute(e.arg), e.kind, e.scale)
    if isinstance(e, Arith) and e.op == "*":
        return build.arith("*", _absolute(e.left), _absolute(e.right))
    if isinstance(e, Arith) and e.op in "+-":
        for nothing, other in ((e.left, e.right), (e.right, e.left)):
            if isinstance(nothing, Const) and nothing.value == 0:
                return _absolute(other)
    if isinstance(e, Case):
        return build.case([(c, _absolute(v)) for c, v in e.whens], _absolute(e.default))
    if isinstance(e, Coalesce):
        return build.coalesce([_absolute(a) for a in e.args])
    return build.absolute(e)
