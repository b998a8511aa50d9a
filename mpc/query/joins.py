"""FROM with several tables: a hidden join (P6) of tables of different owners by one key, totalled by group (P8) or, for
one who has a table in it, by row of that table (join_rows.py).

    sides     one table a party, each with its own conditions; the spine is the one whose rows stay as they are
    key       the columns that ON, USING and WHERE set equal, one or more of every side
    spine     who holds the GROUP BY keys; else the side whose key may repeat; else the one with the fewest rows

A condition that reads one party's columns is pushed into that party's local query. Expressions over columns of several
parties are computed on shares (mpc.query.shares); here they are only bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mpc.query import build
from mpc.query.build import FALSE
from mpc.query.catalog import Table as CatalogTable
from mpc.query.nodes import Column, Compare, Expr, JoinedTerm, JoinSide, Term, columns
from mpc.query.relations import (
    GroupBinder,
    GroupKey,
    QueryBinder,
    Relation,
    Rows,
    Totals,
    Visible,
    find_column,
)
from mpc.query.rules import simplify, simplify_filter
from mpc.query.scalars import Binder, only
from mpc.query.selects import grouped


@dataclass(frozen=True)
class Joined:
    """The tables of a FROM, what is set equal between them, and which columns USING made one.

    ``by_row``: what comes out is one cell for each row of the spine, the first of ``sides``.
    """

    visible: tuple[Visible, ...]
    sides: tuple[JoinSide, ...]
    using: frozenset[str]
    crossing: tuple[Expr, ...]
    by_row: bool = False

    def terms(self, keys: tuple[Expr, ...], value: Expr | None) -> tuple[JoinedTerm, ...]:
        """The rows of the join, with a value; none where a condition is never TRUE."""
        if any(s.where == FALSE for s in self.sides):
            return ()
        spine = self.sides[0]
        of_groups = () if self.by_row else keys
        return (JoinedTerm(spine.party, spine.table, None, of_groups, value, self.sides, self.crossing, self.by_row),)

    def by_row_of(self, party: str) -> Joined:
        """The same, by row of a party."""
        return replace(self, sides=ordered(self.sides, [party]), by_row=True)


def joined(query: QueryBinder, node: exp.Select, visible: Sequence[Visible], *, aggregating: bool) -> Relation:
    """The totals or rows of a SELECT over several tables. Raises LocalError sql.*, plan.join."""
    from mpc.query.join_rows import rows_of_join

    join = _join(query, node, tuple(visible))
    return _grouped(query, node, join) if aggregating else rows_of_join(query, node, join)


def _grouped(query: QueryBinder, node: exp.Select, join: Joined) -> Totals:
    # keys first: who holds them is the spine
    holders: list[str] = []

    def make(keys: Sequence[GroupKey]) -> GroupBinder:
        for key in keys:
            found = {c.party for c in columns(key.by_branch[0])}
            if found & {s.party for s in join.sides if s.optional}:
                raise query.source.unsupported(
                    key.node, "A GROUP BY key of the right side of a LEFT JOIN", "Group by keys of the left table."
                )
            if len(found) > 1 or (holders and found - set(holders)):
                raise query.source.unsupported(
                    key.node,
                    "GROUP BY keys of several owners of a join",
                    "Group by keys of one party; for the other's, use CASE or FILTER with its conditions in the sums.",
                )
            holders.extend(found - set(holders))
        asker = next((s for s in join.sides if (s.party,) == query.recipients), None)
        if asker is not None and _one_row_each(asker, keys):
            return JoinBinder(query, join.by_row_of(asker.party), keys)
        return JoinBinder(query, replace(join, sides=ordered(join.sides, holders)), keys)

    return grouped(query, node, make)


def _one_row_each(side: JoinSide, keys: Sequence[GroupKey]) -> bool:
    """Whether the groups are the rows of a side: its key, which none of its rows shares with another, is among them."""
    exprs = [k.by_branch[0] for k in keys]
    own = all(c.party == side.party for e in exprs for c in columns(e))
    return bool(exprs) and own and side.unique and not side.optional and set(side.key) <= set(exprs)


def ordered(sides: tuple[JoinSide, ...], holders: Sequence[str]) -> tuple[JoinSide, ...]:
    """The spine first, the others by name."""
    spine = min(
        sides, key=lambda s: (s.optional, s.party not in holders if holders else False, s.unique, s.rows, s.party)
    )
    return (spine, *sorted((s for s in sides if s is not spine), key=lambda s: s.party))


class RowsOfJoin(Binder):
    """Expressions over one row of a join."""

    def __init__(self, query: QueryBinder, visible: Sequence[Visible], using: frozenset[str]) -> None:
        super().__init__(query.source)
        self._visible, self._using = visible, using

    def column(self, node: exp.Column) -> Expr:
        found, index = find_in_join(self, node, self._visible, self._using)
        assert isinstance(found.relation, Rows)
        return found.relation.branches[0].columns[index]


def find_in_join(
    binder: Binder, node: exp.Column, visible: Sequence[Visible], using: frozenset[str]
) -> tuple[Visible, int]:
    """A column's table and place. A column that USING made one is that of the first table."""
    if not node.table and node.name.lower() in using:
        visible = [v for v in visible if node.name.lower() in (n.lower() for n in v.relation.names)][:1]
    return find_column(binder.source, node, visible)


class JoinBinder(GroupBinder):
    """The SELECT, HAVING and ORDER BY of an aggregating query over a join."""

    def __init__(self, query: QueryBinder, join: Joined, keys: Sequence[GroupKey]) -> None:
        super().__init__(query, join.visible[0], keys)
        self._visible, self._join = list(join.visible), join

    def find(self, node: exp.Column) -> None:
        find_in_join(self, node, self._visible, self._join.using)

    def by_branch(self, node: exp.Expr, condition: exp.Expr | None = None) -> tuple[Expr, ...]:
        binder = RowsOfJoin(self._query, self._visible, self._join.using)
        value = binder.bind(node)
        if condition is not None:
            value = build.case([(binder.bind(condition), value)], build.NULL)
        return self._query.aligned([value], node)

    def no_values(self) -> list[Expr | None]:
        return [None]

    def terms(self, values: Sequence[Expr | None]) -> tuple[Term, ...]:
        return self._join.terms(tuple(k.by_branch[0] for k in self._keys), values[0])


# ---- FROM, ON, USING, WHERE


def _join(query: QueryBinder, node: exp.Select, visible: tuple[Visible, ...]) -> Joined:
    source = query.source
    where: dict[str, list[Expr]] = {}
    equal: list[tuple[Column, Column, exp.Expr]] = []
    using: set[str] = set()
    crossing: list[Expr] = []
    nodes = [node.args["from_"].this, *(j.this for j in node.args.get("joins") or [])]
    parties = _parties(query, visible, nodes)

    optional: set[str] = set()

    def take(condition: exp.Expr | None, seen: Sequence[Visible], left: str = "") -> None:
        """Each part of a condition goes to the party whose columns it reads, or sets two columns equal.

        ``left``: the right side of the LEFT JOIN whose ON this is. Of any other optional side, conditions hold of the
        joined row, where its columns may be NULL.
        """
        for part in _conjuncts(condition):
            bound = RowsOfJoin(query, seen, frozenset(using)).bind(part)
            read = {c.party for c in columns(bound)}
            pair = _columns(bound) if isinstance(bound, Compare) and bound.op == "=" else None
            if left and not (read == {left} or (pair and left in read)):
                raise source.unsupported(
                    part, "A condition of another table in ON of a LEFT JOIN", "Put it into WHERE, or into a subquery."
                )
            if read & optional and not left:
                crossing.append(_boolean(query, bound, part))
            elif len(read) == 1:
                where.setdefault(read.pop(), []).append(_boolean(query, bound, part))
            elif pair:
                equal.append((*pair, part))
            elif not read:
                for party in parties:
                    where.setdefault(party, []).append(_boolean(query, bound, part))
            else:
                crossing.append(_boolean(query, bound, part))

    for i, join in enumerate(node.args.get("joins") or [], start=1):
        only(Binder(source), join, "this", "on", "using", "kind", "side", "method")
        if join.side not in ("", "LEFT") or join.method or join.kind not in ("", "INNER", "CROSS", "OUTER"):
            words = " ".join(w for w in (join.method, join.side, join.kind, "JOIN") if w)
            raise source.unsupported(join, words, "Write JOIN … USING (key), or LEFT JOIN … USING (key).")
        right = visible[i].relation
        assert isinstance(right, Rows)
        if join.side:
            optional.add(right.branches[0].party)
        for name in join.args.get("using") or []:
            column = exp.column(name.name)
            column.meta.update(name.meta)
            one = RowsOfJoin(query, visible[:i], frozenset(using)).bind(column)
            other = RowsOfJoin(query, visible[i : i + 1], frozenset()).bind(column)
            if not isinstance(one, Column) or not isinstance(other, Column):
                raise source.unsupported(join, "A computed column as key", "Join by columns that the owners publish.")
            equal.append((one, other, join))
            using.add(name.name.lower())
        take(join.args.get("on"), visible[: i + 1], right.branches[0].party if join.side else "")
        if join.side:
            visible = (*visible[:i], _nullable(query, join, visible[i]), *visible[i + 1 :])
    condition = node.args.get("where")
    take(None if condition is None else condition.this, visible)

    keys = _keys_of(query, node, equal, parties, crossing)
    sides = []
    for party, seen in parties.items():
        assert isinstance(seen.relation, Rows)
        branch = seen.relation.branches[0]
        own = [*([branch.where] if branch.where is not None else []), *where.get(party, [])]
        catalog = query.catalog_of(party)
        table = catalog.table(branch.table)
        assert table is not None
        names = {c.name.lower() for c in keys[party]}
        _refuse_more_keys_than_entities(query, node, table, party, names)
        unique = table.unique and {c.name.lower() for c in table.keys} <= names
        condition = simplify_filter(build.logic("and", *own)) if own else None
        if party in optional and not unique:
            raise source.unsupported(
                (node.args.get("joins") or [node])[0],
                f"A LEFT JOIN of {party}.{branch.table}, whose key may repeat,",
                f"{party} can declare the key unique in its catalog, or publish totals by key.",
            )
        sides.append(JoinSide(party, branch.table, condition, keys[party], unique, table.rows, party in optional))
    return Joined(visible, tuple(sides), frozenset(using), tuple(crossing))


def _nullable(query: QueryBinder, join: exp.Expr, v: Visible) -> Visible:
    """The right side of a LEFT JOIN, as what comes after the join sees it: any column can be NULL."""
    assert isinstance(v.relation, Rows)
    (branch,) = v.relation.branches
    if not all(isinstance(c, Column) for c in branch.columns):
        raise query.source.unsupported(
            join, "A computed column on the right side of a LEFT JOIN", "Compute it in the outer SELECT."
        )
    columns_ = tuple(replace(c, nullable=True) for c in branch.columns)
    return replace(v, relation=replace(v.relation, branches=(replace(branch, columns=columns_),)))


def _parties(query: QueryBinder, visible: Sequence[Visible], nodes: Sequence[exp.Expr]) -> dict[str, Visible]:
    """Each side by its party."""
    found: dict[str, Visible] = {}
    for v, node in zip(visible, nodes, strict=True):
        assert isinstance(v.relation, Rows)
        if len(v.relation.branches) > 1:
            raise query.source.unsupported(
                node, "A UNION ALL inside a join", "Join each owner's table by itself and add the totals."
            )
        party = v.relation.branches[0].party
        if party in found:
            raise query.source.unsupported(
                node,
                f"A second table of {party} in a join",
                f"Ask {party} to publish the two joined as one table (heji node table add --sql).",
            )
        found[party] = v
    return found


def _conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    if condition is None:
        return
    inner = condition.unnest()
    if isinstance(inner, exp.And):
        yield from _conjuncts(inner.left)
        yield from _conjuncts(inner.right)
    else:
        yield inner


def _boolean(query: QueryBinder, bound: Expr, node: exp.Expr) -> Expr:
    if bound.kind != "boolean":
        raise query.source.error("sql.type", node, f"a condition is needed, and this is {bound.kind}.")
    return simplify(bound)


def _columns(e: Compare) -> tuple[Column, Column] | None:
    if isinstance(e.left, Column) and isinstance(e.right, Column):
        return e.left, e.right
    return None


def _keys_of(
    query: QueryBinder,
    node: exp.Select,
    equal: Sequence[tuple[Column, Column, exp.Expr]],
    parties: dict[str, Visible],
    crossing: list[Expr],
) -> dict[str, tuple[Column, ...]]:
    """The key of every party: one column of each for each class of columns that are set equal.

    Numbers set equal besides a key that all tables have are a condition like others, and go to ``crossing``.
    """
    source = query.source
    classes: list[set[Column]] = []
    for a, b, at in equal:
        if (a.kind, a.scale) != (b.kind, b.scale):
            raise source.error(
                "sql.type",
                at,
                f"{a.party}.{a.table}.{a.name} is {a.kind} and {b.party}.{b.table}.{b.name} is {b.kind}: "
                "keys that are joined have one type.",
                "Ask an owner to publish the column in the other's type (heji node table add --type).",
            )
        touched = [c for c in classes if a in c or b in c]
        classes = [c for c in classes if c not in touched]
        classes.append({a, b}.union(*touched))
    at = (node.args.get("joins") or [node])[0]
    whole = [c for c in classes if {x.party for x in c} == set(parties) and len(c) == len(parties)]
    marks_entity = [c for c in whole if any(_marks_entity(query, x) for x in c)]
    for found in classes:
        if found in (marks_entity or whole):
            continue
        if whole and next(iter(found)).kind != "text":
            whole = [c for c in whole if c != found]
            first, *others = sorted(found, key=lambda c: (c.party, c.name))
            crossing.extend(build.compare("=", first, other) for other in others)
            continue
        if found in whole:
            continue
        missing = sorted(set(parties) - {c.party for c in found})
        names = " = ".join(sorted(f"{c.party}.{c.table}.{c.name}" for c in found))
        raise source.unsupported(
            at,
            f"A join in which {names} "
            + (f"is not set equal to a column of {', '.join(missing)}" if missing else "has two columns of one"),
            "Join all tables by the same key: FROM a.t JOIN b.t USING (key) JOIN c.t USING (key).",
        )
    if not whole:
        raise source.unsupported(
            at, "A join without a key", "Write JOIN … USING (key), or ON a.key = b.key: keys are columns set equal."
        )
    ordered = sorted(whole, key=lambda found: min((c.party, c.name) for c in found))
    return {p: tuple(next(c for c in found if c.party == p) for found in ordered) for p in parties}


def _marks_entity(query: QueryBinder, c: Column) -> bool:
    table = query.catalog_of(c.party).table(c.table)
    return table is not None and any(k.name == c.name for k in table.keys)


def _refuse_more_keys_than_entities(
    query: QueryBinder, node: exp.Select, table: CatalogTable, party: str, joined_by: set[str]
) -> None:
    """Distinct keys stand for entities in the small-cell rule, so there may not be more of them."""
    entity = [c.name for c in table.keys]
    if table.unique or not entity or joined_by <= {n.lower() for n in entity}:
        return
    raise query.source.unsupported(
        (node.args.get("joins") or [node])[0],
        f"A join of {party}.{table.name} by {', '.join(sorted(joined_by))}, of which one entity "
        f"({', '.join(entity)}) may have several,",
        f"Join by {', '.join(entity)}; small cells are counted in entities.",
    )
