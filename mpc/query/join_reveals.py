"""What a measure over a join reveals, and from what: every column that it derives from, with the grant it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mpc.query.catalog import Catalog
from mpc.query.fold import Draft
from mpc.query.join_pool import term_of, terms_of
from mpc.query.join_sides import table_of
from mpc.query.local_joins import LocalJoin
from mpc.query.nodes import (
    Abs,
    Agg,
    Arith,
    Column,
    Compare,
    Expr,
    Extreme,
    InList,
    JoinedTerm,
    JoinSide,
    NullIf,
    columns,
    walk,
)
from mpc.query.plan_joins import JoinPool
from mpc.query.plan_pools import Measure
from mpc.query.plan_reveals import ColumnUse, JoinReveal, RowReveal, Use
from mpc.query.separate import formal
from mpc.query.show import show, shown
from mpc.query.uses import bare, condition_columns, conditions, value_columns


def join_reveal(pool: JoinPool, draft: Draft, measure: Measure, catalogs: Mapping[str, Catalog]) -> JoinReveal:
    """A measure over a join with every column it derives from."""
    term = term_of([draft])
    assert term is not None
    used = {
        use
        for a in draft.aggregates
        for t in terms_of(a)
        for u in (_row_uses(a, t, catalogs) if term.by_row else _uses(a, t, draft.folded, catalogs))
        for use in published(u, catalogs)
    }
    uses = tuple(sorted(used, key=lambda u: (u.party, u.table, u.column, u.use, u.where)))
    joined = tuple(sorted({s.party for s in term.family}))
    sets = [
        {c.party for unit in formal(w) if unit.atom is not None for c in value_columns(unit.atom)}
        for w in draft.words
        if w.kind in ("sum", "squares", "ranked")
    ]
    adding = tuple(sorted(set.intersection(*sets))) if sets else ()
    if term.by_row:
        what = "which rows are in the join" if measure.words[0].kind == "present" else measure.name
        # values of several tables are pooled; of one row each is granted by itself
        pooled = adding if any(len(a.terms) > 1 for a in draft.aggregates) else ()
        return RowReveal(what, pool.name, uses, pooled, len(pooled) > 1, (), joined, (term.party,))
    grouped = tuple(sorted({c.party for k in term.keys for c in columns(k)}))
    return JoinReveal(
        measure.name,
        pool.name,
        uses,
        adding,
        len(adding) > 1,
        joined if any(w.kind == "ranked" for w in draft.words) else (),
        joined,
        grouped,
    )


def _uses(agg: Agg, term: JoinedTerm, folded: bool, catalogs: Mapping[str, Catalog]) -> Iterator[ColumnUse]:
    def use(of: Column | JoinSide, column: str, kind: Use, where: str) -> ColumnUse:
        return ColumnUse(of.party, of.table, column, kind, where)

    value = term.value
    for side in term.sides:
        for c in side.key:
            yield use(c, c.name, "join", "JOIN")
        if side.where is not None:
            for c in columns(side.where):
                yield use(c, c.name, "filter", f"WHERE {show(side.where)}")
    for condition in term.crossing:
        for c in columns(condition):
            yield use(c, c.name, "filter", f"WHERE {show(condition)}")
            if len({c.party for c in columns(condition)}) > 1:
                yield use(c, c.name, "product", f"WHERE {shown(condition)}")
    for key in term.keys:
        for c in columns(key):
            yield use(c, c.name, "group", f"GROUP BY {shown(key)}")
            if len({c.party for c in columns(key)}) > 1:
                yield use(c, c.name, "product", f"GROUP BY {shown(key)}")
    valued = list(value_columns(value)) if value is not None else []
    asked = list(condition_columns(value)) if value is not None else []
    if not valued:
        for side in term.sides:
            for name in _entity_columns(side, catalogs):
                yield use(side, name, "aggregate", agg.name)
    if value is None:
        return
    product = _multiplied(value)
    for c in valued:
        yield use(c, c.name, "extreme" if agg.func in ("ranked", "known") else "aggregate", agg.name)
        if folded or bare(value) != c:
            yield use(c, c.name, "arithmetic", shown(value))
        if c.party in product or any(a.party != c.party for a in asked):
            yield use(c, c.name, "product", shown(value))
    compared = _compared(value)
    for c in asked:
        yield use(c, c.name, "filter", show(value))
    for c in compared:
        yield use(c, c.name, "product", shown(value))


def _row_uses(agg: Agg, term: JoinedTerm, catalogs: Mapping[str, Catalog]) -> Iterator[ColumnUse]:
    """What a value of single rows derives from: columns shown, and columns of which only conditions are shown, each
    condition by itself and in full, since they are counted.

    A total over several rows of an entity shows how many of them a condition holds for, which is more than a bit.
    """
    totalled = set() if agg.func in ("present", "value") else {(s.party, s.table) for s in term.sides if not s.unique}

    def asked(condition: Expr, where: str) -> Iterator[ColumnUse]:
        for c in columns(condition):
            yield ColumnUse(c.party, c.table, c.name, "threshold", where)
            if (c.party, c.table) in totalled:
                yield ColumnUse(c.party, c.table, c.name, "row", where)

    for side in term.sides:
        for c in side.key:
            yield ColumnUse(side.party, side.table, c.name, "join", "JOIN")
            yield ColumnUse(side.party, side.table, c.name, "join_reveal", "which rows are in the join")
    for condition in (*(s.where for s in term.sides if s.where is not None), *term.crossing):
        yield from asked(condition, f"WHERE {show(condition)}")  # whether all hold is one bit
    if agg.func == "rows":  # how many rows met, of sides that can have several
        for side in term.sides:
            for name in _entity_columns(side, catalogs) if not side.unique else ():
                yield ColumnUse(side.party, side.table, name, "row", agg.name)
    if term.value is None:
        return
    for c in value_columns(term.value):
        yield ColumnUse(c.party, c.table, c.name, "row", shown(term.value))
    for condition in conditions(term.value):
        yield from asked(condition, show(condition))


def _entity_columns(side: JoinSide, catalogs: Mapping[str, Catalog]) -> tuple[str, ...]:
    table = table_of(catalogs, side)
    return tuple(c.name for c in table.keys) if table and table.keys else ("*",)


def _compared(e: Expr) -> set[Column]:
    """Columns that are compared with another owner's: who holds the other one can choose it."""
    compares = (Compare, Extreme, Abs, NullIf, InList)
    crossing = [n for n in walk(e) if isinstance(n, compares) and len({c.party for c in columns(n)}) > 1]
    return {c for n in crossing for c in columns(n)}


def _multiplied(e: Expr) -> set[str]:
    """Parties whose values are multiplied by another party's."""
    found: set[str] = set()
    for n in walk(e):
        if isinstance(n, Arith) and n.op == "*":
            left, right = ({c.party for c in columns(x)} for x in (n.left, n.right))
            if left and right and len(left | right) > 1:
                found |= left | right
    return found


def published(use: ColumnUse, catalogs: Mapping[str, Catalog]) -> Iterator[ColumnUse]:
    """A use of a column where the owner publishes it and grants it."""
    table = table_of(catalogs, use)
    if not isinstance(table, LocalJoin):
        yield use
    elif use.column == "*":
        yield from (replace(use, table=part) for part in table.parts)
    else:
        name, column = table.source_of(use.column)
        yield replace(use, table=name, column=column)
