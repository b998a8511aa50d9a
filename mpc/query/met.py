"""What a join without a helper (P9) shows the two parties, whoever receives the result, and from which columns.

    either side          which of its own keys the other has                  the keys            join_reveal
    the other side       how many entities are in each group of the spine,    its GROUP BY keys   group
                         which it cannot name                                 its conditions      threshold
                                                                              what is compared    threshold
                                                                              NULLs of its values aggregate

The other side's own conditions can choose a single entity, whose count is then what the spine's conditions say of it;
so these are shown like those of a result by row. Of the other side's conditions the spine sees nothing but the result.

Where only the number of keys that met is asked (mpc/protocols/size.py):

    either side          whether it is hidden, who counts about what it is    the keys            join
                         (of fewer than min_entities nothing)                 all conditions      filter
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mpc.query.catalog import Catalog
from mpc.query.fold import Draft
from mpc.query.join_reveals import published
from mpc.query.nodes import Column, JoinedTerm, JoinSide, columns
from mpc.query.plan_joins import TallyPool
from mpc.query.plan_reveals import ColumnUse, MetReveal
from mpc.query.show import show, shown
from mpc.query.uses import condition_columns, value_columns


def met_reveal(pool: TallyPool, drafts: Sequence[Draft], catalogs: Mapping[str, Catalog]) -> MetReveal:
    """``drafts``: all measures of the pool."""
    terms = [t for d in drafts for a in d.aggregates for t in a.terms if isinstance(t, JoinedTerm)]
    family = terms[0].family
    of_term = _uses_of_size if pool.asks else _uses
    uses = {u for t in terms for of in of_term(t) for u in published(of, catalogs)}
    joined = tuple(sorted(s.party for s in family))
    found = tuple(sorted(uses, key=lambda u: (u.party, u.table, u.column, u.use, u.where)))
    what = "about how many keys are in both tables" if pool.asks else "which keys are in both tables"
    return MetReveal(what, pool.name, found, (), False, (), joined, ())


def _uses_of_size(t: JoinedTerm) -> Iterator[ColumnUse]:
    for side in t.family:
        for c in side.key:
            yield ColumnUse(side.party, side.table, c.name, "join", "how many of its keys are in both tables")
        if side.where is not None:
            for c in columns(side.where):
                yield ColumnUse(c.party, c.table, c.name, "filter", f"WHERE {show(side.where)}")
    if t.value is None:
        return
    for c in condition_columns(t.value):
        yield ColumnUse(c.party, c.table, c.name, "filter", show(t.value))
    for c in value_columns(t.value):
        if c.nullable:
            yield ColumnUse(c.party, c.table, c.name, "aggregate", f"where {shown(t.value)} is not NULL")


def _uses(t: JoinedTerm) -> Iterator[ColumnUse]:
    spine, _ = t.family
    for side in t.family:
        for c in side.key:
            yield ColumnUse(side.party, side.table, c.name, "join_reveal", "which of its keys are in both tables")
    if spine.where is not None:
        for c in columns(spine.where):
            yield ColumnUse(c.party, c.table, c.name, "threshold", f"WHERE {show(spine.where)}")
    for key in t.keys:
        for c in _of(spine, columns(key)):
            yield ColumnUse(c.party, c.table, c.name, "group", f"GROUP BY {shown(key)}")
    if t.by_row:
        return
    for condition in t.crossing:
        for c in _of(spine, columns(condition)):
            yield ColumnUse(c.party, c.table, c.name, "threshold", f"WHERE {show(condition)}")
    if t.value is None:
        return
    for c in _of(spine, condition_columns(t.value)):
        yield ColumnUse(c.party, c.table, c.name, "threshold", show(t.value))
    for c in _of(spine, value_columns(t.value)):
        if c.nullable:
            yield ColumnUse(c.party, c.table, c.name, "aggregate", f"where {shown(t.value)} is not NULL")


def _of(side: JoinSide, found: Sequence[Column] | Iterator[Column]) -> Iterator[Column]:
    return (c for c in found if (c.party, c.table) == (side.party, side.table))
