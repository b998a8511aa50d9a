"""Who is behind the numbers of a join at one side, before anybody knows which of them met (mpc/query/behind.py).

Without a helper each side learns which of its keys met, and takes those out of the answer.

A population of a join is a side's own: its rows that its own conditions let count, each with what it contributes. Of a
measure these are the conditions in WHERE and ON, and those inside CASE and FILTER. They are read off the polynomials
that count entities (mpc/query/lowering.py): for every product of the other sides' factors, the rows in which the side's
own coefficient of it is not 0. Comparisons between owners are factors of others.

A *number* of a join (mpc/policy/numbers.py) is a word that values of the side's columns enter, over these populations:
nobody knows its value, so it is one of its job, and asked for again it is another.

That a value which is added is NULL in some rows is no condition: nobody who asks has chosen it. So a sum does not come
too close to a count beside it because three firms have no value; that a few values of *another* column are NULL counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from mpc.crypto.labels import digest
from mpc.query.behind import ONE, Population, contribution, of_side, where
from mpc.query.catalog import Catalog, Table
from mpc.query.fold import Draft
from mpc.query.join_rounding import published
from mpc.query.local import Scan
from mpc.query.nodes import Agg, Column, Expr, IsNull, JoinSide, Not
from mpc.query.plan_pools import Behind
from mpc.query.polynomials import Factor, Poly, Term
from mpc.query.printer import sql
from mpc.query.uses import bare, value_columns

#: what counts the entities behind a sum, and the value that is added
Counted = tuple[Poly, Expr | None]
#: a word of a measure, a digest of what it is, and the values that are added up in it
Summed = tuple[int, str, tuple[Expr, ...]]


def behind_side(
    side: JoinSide,
    absent: bool,
    catalog: Catalog,
    keys: Sequence[Expr],
    measures: Sequence[tuple[Sequence[Counted], Sequence[Summed]]],
    *,
    by_key: bool,
) -> Behind:
    """The query for a side. ``absent``: it stands in a product only where it is named; ``keys``: GROUP BY keys that it
    holds by itself; ``by_key``: with the join's key, for a side that will know which of its keys met."""
    table = catalog.table(side.table)
    assert table is not None
    key = [table.column(c.name) for c in side.key]
    single = side.unique and list(table.keys) == key and not any(c.nullable for c in table.keys)
    found = [
        (
            [p for poly, value in counted for p in _populations(side, absent, table, poly, value, not single)],
            [(w, what, {published(table, c) for c in _own(side, values)}) for w, what, values in summed],
        )
        for counted, summed in measures
    ]
    joined = [c.name for c in side.key] if by_key else []
    return of_side(table, Scan(side.table, side.where, tuple(keys), 0), single, found, joined)


def summed(draft: Draft) -> list[Summed]:
    """The words of a measure that show values, and not only how many there are."""
    found = []
    for w, word in enumerate(draft.words):
        parts = [(k, a) for k, a in word.form.terms if isinstance(a, Agg)]
        if word.kind in ("rows", "count", "nulls", "known") and all(a.func != "distinct" for _, a in parts):
            continue
        what = digest(
            "number-of-join", *(repr((k, a.func, getattr(a, "test", ""), a.terms)).encode() for k, a in parts)
        )
        values = tuple(t.value for _, a in parts for t in a.terms if t.value is not None)
        found.append((w, what.hex()[:32], values))
    return found


def _own(side: JoinSide, values: Iterable[Expr]) -> set[Column]:
    return {c for v in values for c in value_columns(v) if _of(side, c)}


def _populations(
    side: JoinSide, absent: bool, table: Table, poly: Poly, value: Expr | None, hashed: bool
) -> Iterator[Population]:
    own = [c for c in dict.fromkeys(value_columns(value)) if _of(side, c)] if value is not None else []
    for condition in _conditions(side, absent, poly, own):
        yield (side.table.lower(), "*"), where(ONE, condition)
    for c in own:
        for condition in _conditions(side, absent, poly, [c]):
            yield published(table, c), where(contribution(c, hashed), condition)


def _of(side: JoinSide, c: Column) -> bool:
    return (c.party, c.table) == (side.party, side.table)


def _conditions(side: JoinSide, absent: bool, poly: Poly, added: Sequence[Column]) -> list[str]:
    """Where the side's own coefficient of a product of others' factors is not 0, whether columns that are ``added`` are
    NULL or not; "": everywhere."""
    by_others: dict[Term, dict[Factor, int]] = {}
    for term, c in poly.items():
        factors = dict(term)
        own = factors.pop(side.name, None if absent else Factor())
        if own is not None:
            own = Factor(None, frozenset(e for e in own.conditions if not _is_there(e, added)))
            rest = by_others.setdefault(frozenset(factors.items()), {})
            rest[own] = rest.get(own, 0) + c
    return list(dict.fromkeys(_nonzero(own) for own in by_others.values()))


def chosen(poly: Poly, value: Expr | None) -> Poly:
    """The same population without the condition that a value which is added is not NULL, which nobody has chosen; of
    several products, each of which says more than that, as it is."""
    if value is None or len(poly) != 1:
        return poly
    added = list(dict.fromkeys(value_columns(value)))
    [(term, c)] = poly.items()
    kept = {n: replace(f, conditions=frozenset(e for e in f.conditions if not _is_there(e, added))) for n, f in term}
    return {frozenset(kept.items()): c}


def _is_there(e: Expr, added: Sequence[Column]) -> bool:
    """Whether a condition says that one of these columns is not NULL."""
    return isinstance(e, Not) and isinstance(e.arg, IsNull) and bare(e.arg.arg) in added


def _nonzero(coefficients: dict[Factor, int]) -> str:
    """Where the sum of what holds, each with its coefficient, is not 0."""
    texts = {" AND ".join(sorted(f"({sql(e)})" for e in f.conditions)): c for f, c in coefficients.items()}
    if len(texts) == 1:
        return next(iter(texts))
    parts = (f"{c} * CASE WHEN {text or 'TRUE'} THEN 1 ELSE 0 END" for text, c in sorted(texts.items()))
    return f"{' + '.join(parts)} <> 0"
