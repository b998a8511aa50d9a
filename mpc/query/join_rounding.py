"""Which words of a join are the sum of one owner's column and nothing else, so that they can be rounded (``round_to``).

    SUM(b.x), AVG(b.x), with FILTER or CASE WHEN … THEN b.x END by whoever's conditions

The sum is known on shares only, so the word itself is rounded there (mpc/protocols/round_totals.py), and no part of it:
where a column enters otherwise, a grant with ``round_to`` does not fit (mpc/policy/needs.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from mpc.query.catalog import Table
from mpc.query.fold import Draft, DraftWord
from mpc.query.local_joins import LocalJoin
from mpc.query.nodes import Agg, Case, Column, Const, Expr, JoinSide, aggregates, is_null, numeric
from mpc.query.plan_pools import ColumnSum, Measure, Rounding
from mpc.query.uses import bare, value_columns


def rounding_of_side(side: JoinSide, table: Table, drafts: Sequence[Draft], measures: Sequence[Measure]) -> Rounding:
    """The words that are sums of a column of this side, and its columns that enter others."""
    sums, exact = [], set()
    for m, (draft, measure) in enumerate(zip(drafts, measures, strict=True)):
        for w, (drafted, word) in enumerate(zip(draft.words, measure.words, strict=True)):
            only = _summed(drafted) if word.bound < 1 << (word.ring - 2) else None
            if only is not None and (only.party, only.table) == (side.party, side.table):
                sums.append(ColumnSum(m, w, 1, *published(table, only), word.scale))
            elif only is None and _shows(drafted):
                exact |= {
                    published(table, c) for c in _entering(drafted) if (c.party, c.table) == (side.party, side.table)
                }
    return Rounding("", tuple(sums), (), tuple(sorted(exact)))


def published(table: Table, c: Column) -> tuple[str, str]:
    """Table and column where the owner publishes it, in small letters."""
    name, column = table.source_of(c.name) if isinstance(table, LocalJoin) else (table.name, c.name)
    return name.lower(), column.lower()


def _summed(word: DraftWord) -> Column | None:
    """The column whose values a word adds up, each once."""
    if len(word.form.terms) != 1:
        return None
    [(k, agg)] = word.form.terms
    if k != 1 or not isinstance(agg, Agg) or agg.func != "sum" or len(agg.terms) != 1:
        return None
    value = agg.terms[0].value
    return None if value is None else _column(value)


def _column(e: Expr) -> Column | None:
    """The column that an expression is, wherever it is not NULL or 0 by a condition."""
    e = bare(e)
    if isinstance(e, Column):
        return e if numeric(e) else None
    if not isinstance(e, Case):
        return None
    values = [v for v in (*(v for _, v in e.whens), e.default) if not is_null(v) and not _is_zero(v)]
    found = {_column(v) for v in values}
    return found.pop() if len(found) == 1 else None


def _is_zero(e: Expr) -> bool:
    return isinstance(e, Const) and e.value == 0 and numeric(e)


def _shows(word: DraftWord) -> bool:
    """Whether a word shows values, and not only how many there are."""
    aggs = [a for _, atom in word.form.terms for a in aggregates(atom)]
    return word.kind not in ("rows", "count", "nulls", "known") or any(a.func == "distinct" for a in aggs)


def _entering(word: DraftWord) -> set[Column]:
    values = (t.value for _, atom in word.form.terms for a in aggregates(atom) for t in a.terms)
    return {c for v in values if v is not None for c in value_columns(v)}
