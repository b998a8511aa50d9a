"""Which columns a revealed value derives from, and how: the grants it needs (query.md, Policy).

aggregate    in the value of a measure; for what derives from no column, the keys of its table (COUNT(*))
arithmetic   besides, where the value is more than the bare column, or enters with another weight than ±1
extreme      the same of MIN, MAX and quantiles, which show one entity's value
filter       in WHERE, FILTER, CASE and every other condition
group        in a GROUP BY key
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from mpc.query.catalog import Catalog
from mpc.query.fold import Draft
from mpc.query.nodes import (
    Agg,
    Case,
    Cast,
    Column,
    Compare,
    Expr,
    InList,
    IsNull,
    Like,
    Logic,
    Not,
    NullIf,
    Term,
    aggregates,
    children,
    columns,
    numeric,
)
from mpc.query.plan_reveals import ColumnUse, Use
from mpc.query.show import shown

_CONDITIONS = (Compare, Logic, Not, IsNull, InList, Like)


def uses_of(draft: Draft, catalogs: Mapping[str, Catalog]) -> tuple[ColumnUse, ...]:
    """All column uses of a measure, each once, sorted."""
    found: set[ColumnUse] = set()
    for word in draft.words:
        for k, atom in word.form.terms:
            scalar = not isinstance(atom, Agg) and word.kind != "nulls"
            for agg in aggregates(atom):
                weighed = draft.folded and (scalar or abs(_true(k, atom, word.form.scale)) != 1)
                for term in agg.terms:
                    found.update(_term(term, agg, weighed, catalogs))
    return tuple(sorted(found, key=lambda u: (u.party, u.table, u.column, u.use, u.where)))


def _true(k: int, atom: Expr, scale: int) -> float:
    """A coefficient in true values: aligning scales is no weight."""
    return float(Fraction(k) / 10 ** (scale - atom.scale))


def _term(t: Term, agg: Agg, weighed: bool, catalogs: Mapping[str, Catalog]) -> Iterator[ColumnUse]:
    def use(column: str, kind: Use, where: str) -> ColumnUse:
        return ColumnUse(t.party, t.table, column, kind, where)

    valued = list(value_columns(t.value)) if t.value is not None else []
    shown_as: Use = "extreme" if agg.func in ("ranked", "known") else "aggregate"
    for c in valued:
        yield use(c.name, shown_as, agg.name)
        if t.value is not None and (weighed or bare(t.value) != c):
            yield use(c.name, "arithmetic", shown(t.value))
    if not valued:
        for name in entity_columns(t, catalogs):
            yield use(name, shown_as, agg.name)
    if t.value is not None:
        for c in condition_columns(t.value):
            yield use(c.name, "filter", shown(t.value))
    for c in columns(t.where) if t.where is not None else ():
        yield use(c.name, "filter", f"WHERE {shown(t.where)}" if t.where is not None else "")
    for key in t.keys:
        for c in columns(key):
            yield use(c.name, "group", f"GROUP BY {shown(key)}")


def entity_columns(t: Term, catalogs: Mapping[str, Catalog]) -> tuple[str, ...]:
    """What COUNT(*) derives from: the columns that mark an entity, or "*" where there are none."""
    table = next(c for c in catalogs.values() if c.party == t.party).table(t.table)
    return tuple(c.name for c in table.keys) if table and table.keys else ("*",)


def bare(e: Expr) -> Expr:
    """An expression without casts that only align types and scales."""
    while isinstance(e, Cast) and not e.most and numeric(e) and (e.arg.kind == "boolean" or e.scale >= e.arg.scale):
        e = e.arg
    return e


def value_columns(e: Expr) -> Iterator[Column]:
    """Columns whose values, not only conditions on them, enter the expression's value."""
    if isinstance(e, Column):
        yield e
    elif isinstance(e, Case):
        for _, value in e.whens:
            yield from value_columns(value)
        yield from value_columns(e.default)
    elif isinstance(e, NullIf):
        yield from value_columns(e.left)
    elif not isinstance(e, _CONDITIONS):
        for child in children(e):
            yield from value_columns(child)


def conditions(e: Expr) -> Iterator[Expr]:
    """The single conditions in a value, each of which shows at most one bit of its columns (and whether it is NULL)."""
    if isinstance(e, _CONDITIONS):
        yield from tests(e)
    elif isinstance(e, Case):
        for condition, value in e.whens:
            yield from tests(condition)
            yield from conditions(value)
        yield from conditions(e.default)
    elif isinstance(e, NullIf):
        yield e.right
        yield from conditions(e.left)
    else:
        for child in children(e):
            yield from conditions(child)


def tests(e: Expr) -> Iterator[Expr]:
    """The single conditions that a condition is made of."""
    if isinstance(e, Logic | Not):
        for child in children(e):
            yield from tests(child)
        return
    yield e
    for child in children(e):
        yield from conditions(child)


def condition_columns(e: Expr) -> Iterator[Column]:
    """Columns on which conditions inside the expression depend."""
    if isinstance(e, _CONDITIONS):
        yield from columns(e)
    elif isinstance(e, Case):
        for condition, value in e.whens:
            yield from columns(condition)
            yield from condition_columns(value)
        yield from condition_columns(e.default)
    elif isinstance(e, NullIf):
        yield from columns(e.right)
        yield from condition_columns(e.left)
    else:
        for child in children(e):
            yield from condition_columns(child)
