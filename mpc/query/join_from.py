"""What FROM, ON, USING and WHERE of a join say: its sides, their keys, and where each condition belongs.

A condition that reads one side's columns is pushed into that side's local query; one that sets columns of two sides
equal makes them their key; any other is computed on shares. A UNION ALL in the FROM is a choice of branches: each
combination of choices is read by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from sqlglot import exp

from mpc.errors import LocalError
from mpc.query import build
from mpc.query.build import FALSE
from mpc.query.catalog import Table as CatalogTable
from mpc.query.local_joins import LocalJoin, joined_at_home
from mpc.query.nodes import Column, Compare, Expr, JoinSide, columns
from mpc.query.relations import QueryBinder, Rows, Visible, find_column
from mpc.query.rules import simplify, simplify_filter
from mpc.query.scalars import Binder, only

#: combinations of the branches of all UNION ALLs in one FROM
MAX_COMBINATIONS = 16
#: the name of a side by party and table
Names = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Combination:
    """One choice of branches: a join of one table a side, in the order of FROM.

    ``using``: columns that USING made one; ``crossing``: conditions over several sides; ``never``: no row can pass.
    """

    visible: tuple[Visible, ...]
    sides: tuple[JoinSide, ...]
    using: frozenset[str]
    crossing: tuple[Expr, ...]
    never: bool


def combinations(query: QueryBinder, node: exp.Select, visible: tuple[Visible, ...]) -> tuple[Combination, ...]:
    """Every choice of branches. Raises LocalError sql.*."""
    visible = joined_at_home(query, node, visible, _equal_columns(query, node, visible))
    branches = [v.relation.branches for v in visible if isinstance(v.relation, Rows)]
    nodes = [node.args["from_"].this, *(j.this for j in node.args.get("joins") or [])]
    if prod(map(len, branches)) > MAX_COMBINATIONS:
        raise query.source.unsupported(
            nodes[0], f"A join of more than {MAX_COMBINATIONS} combinations of branches", "Unite fewer tables."
        )
    for join, several in zip(node.args.get("joins") or [], branches[1:], strict=True):
        if join.side and len(several) > 1:
            raise query.source.unsupported(
                join, "A LEFT JOIN of a UNION ALL", "Use JOIN; rows that meet no branch are left out then."
            )
    names = _names(query, visible, nodes)
    found = []
    for choice in product(*branches):
        chosen = tuple(replace(v, relation=Rows(v.relation.names, (b,))) for v, b in zip(visible, choice, strict=True))
        found.append(_combination(query, node, chosen, names))
    sides: dict[str, JoinSide] = {}
    for side in (s for c in found for s in c.sides):
        if sides.setdefault(side.name, side) != side:
            raise query.source.unsupported(
                node, "A condition that is another one for every branch of a UNION ALL", "Put it into the branches."
            )
    if all(len(b) > 1 for b in branches):
        raise query.source.unsupported(nodes[0], "A join of nothing but UNION ALLs", "Join them to one table.")
    return tuple(found)


def _equal_columns(query: QueryBinder, node: exp.Select, visible: Sequence[Visible]) -> list[tuple[Column, Column]]:
    """Columns that ON, USING and WHERE set equal, where that is all a condition says and no LEFT JOIN is involved."""
    joins = node.args.get("joins") or []
    united = any(not isinstance(v.relation, Rows) or len(v.relation.branches) > 1 for v in visible)
    if united or any(j.side for j in joins):
        return []
    found: list[exp.Expr] = []
    for i, join in enumerate(joins, start=1):
        found += _conjuncts(join.args.get("on"))
        for name in join.args.get("using") or []:
            left = next((v for v in visible[:i] if name.name.lower() in map(str.lower, v.relation.names)), visible[0])
            found.append(
                exp.EQ(this=exp.column(name.name, left.alias), expression=exp.column(name.name, visible[i].alias))
            )
    where = node.args.get("where")
    found += _conjuncts(None if where is None else where.this)
    equal = []
    for part in found:
        if isinstance(part, exp.EQ):
            try:
                bound = RowsOfJoin(query, visible, frozenset()).bind(part)
            except LocalError:
                continue  # told where it is read in full
            pair = _columns(bound) if isinstance(bound, Compare) else None
            if pair is not None:
                equal.append(pair)
    return equal


def _names(query: QueryBinder, visible: Sequence[Visible], nodes: Sequence[exp.Expr]) -> Names:
    tables: dict[str, list[str]] = {}
    for v, node in zip(visible, nodes, strict=True):
        assert isinstance(v.relation, Rows)
        for b in v.relation.branches:
            known = query.catalog_of(b.party).table(b.table)
            if b.table in tables.setdefault(b.party, []) and isinstance(known, LocalJoin):
                continue
            if b.table in tables[b.party]:
                raise query.source.unsupported(
                    node, f"{b.party}.{b.table} twice in a join", f"Ask {b.party} to publish it as two tables."
                )
            tables[b.party].append(b.table)
    if len(tables) == 1:
        (party,) = tables
        raise query.source.unsupported(
            nodes[-1],
            f"A join of tables of {party} alone",
            f"Ask {party} to publish them joined as one table (heji node table add --sql).",
        )
    return {(p, t): p if len(own) == 1 else f"{p}.{t}" for p, own in tables.items() for t in own}


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


def _combination(query: QueryBinder, node: exp.Select, visible: tuple[Visible, ...], names: Names) -> Combination:
    source = query.source
    where: dict[str, list[Expr]] = {}
    equal: list[tuple[Column, Column, exp.Expr]] = []
    using: set[str] = set()
    crossing: list[Expr] = []
    optional: set[str] = set()
    never = False

    def take(condition: exp.Expr | None, seen: Sequence[Visible], left: str = "") -> None:
        """Each part of a condition goes to the side whose columns it reads, or sets two columns equal.

        ``left``: the right side of the LEFT JOIN whose ON this is. Of any other optional side, conditions hold of the
        joined row, where its columns may be NULL.
        """
        nonlocal never
        for part in _conjuncts(condition):
            bound = RowsOfJoin(query, seen, frozenset(using)).bind(part)
            read = {names[c.party, c.table] for c in columns(bound)}
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
                never |= simplify_filter(_boolean(query, bound, part)) == FALSE
            else:
                crossing.append(_boolean(query, bound, part))

    def name_of(v: Visible) -> str:
        assert isinstance(v.relation, Rows)
        (branch,) = v.relation.branches
        return names[branch.party, branch.table]

    for i, join in enumerate(node.args.get("joins") or [], start=1):
        only(Binder(source), join, "this", "on", "using", "kind", "side", "method")
        if join.side not in ("", "LEFT") or join.method or join.kind not in ("", "INNER", "CROSS", "OUTER"):
            words = " ".join(w for w in (join.method, join.side, join.kind, "JOIN") if w)
            raise source.unsupported(join, words, "Write JOIN … USING (key), or LEFT JOIN … USING (key).")
        if join.side:
            optional.add(name_of(visible[i]))
        for name in join.args.get("using") or []:
            column = exp.column(name.name)
            column.meta.update(name.meta)
            one = RowsOfJoin(query, visible[:i], frozenset(using)).bind(column)
            other = RowsOfJoin(query, visible[i : i + 1], frozenset()).bind(column)
            if not isinstance(one, Column) or not isinstance(other, Column):
                raise source.unsupported(join, "A computed column as key", "Join by columns that the owners publish.")
            if names[one.party, one.table] != names[other.party, other.table]:
                equal.append((one, other, join))
            using.add(name.name.lower())
        take(join.args.get("on"), visible[: i + 1], name_of(visible[i]) if join.side else "")
        if join.side:
            visible = (*visible[:i], _nullable(query, join, visible[i]), *visible[i + 1 :])
    condition = node.args.get("where")
    take(None if condition is None else condition.this, visible)

    by_side: dict[str, list[Visible]] = {}
    for v in visible:
        by_side.setdefault(name_of(v), []).append(v)
    keys = _keys_of(query, node, equal, list(by_side), names, crossing)
    sides = tuple(_side(query, node, of, name, where, keys, optional) for name, of in by_side.items())
    never |= any(s.where == FALSE for s in sides if not s.optional)
    return Combination(visible, sides, frozenset(using), tuple(crossing), never)


def _side(
    query: QueryBinder,
    node: exp.Select,
    visible: Sequence[Visible],
    name: str,
    where: Mapping[str, Sequence[Expr]],
    keys: Mapping[str, tuple[Column, ...]],
    optional: set[str],
) -> JoinSide:
    branches = [b for v in visible if isinstance(v.relation, Rows) for b in v.relation.branches]
    branch = branches[0]
    own = [*(b.where for b in branches if b.where is not None), *where.get(name, [])]
    table = query.catalog_of(branch.party).table(branch.table)
    assert table is not None
    joined_by = {c.name.lower() for c in keys[name]}
    _refuse_more_keys_than_entities(query, node, table, branch.party, joined_by)
    unique = table.unique and {c.name.lower() for c in table.keys} <= joined_by
    if name in optional and not unique:
        raise query.source.unsupported(
            (node.args.get("joins") or [node])[0],
            f"A LEFT JOIN of {branch.party}.{branch.table}, whose key may repeat,",
            f"{branch.party} can declare the key unique in its catalog, or publish totals by key.",
        )
    condition = simplify_filter(build.logic("and", *own)) if own else None
    return JoinSide(name, branch.party, branch.table, condition, keys[name], unique, table.rows, name in optional)


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
    sides: Sequence[str],
    names: Names,
    crossing: list[Expr],
) -> dict[str, tuple[Column, ...]]:
    """The key of every side: one column of each for each class of columns that are set equal.

    What can be compared on shares and is set equal besides a key that all tables have is a condition like others, and
    goes to ``crossing``.
    """
    source = query.source

    def side(c: Column) -> str:
        return names[c.party, c.table]

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
    whole = [c for c in classes if {side(x) for x in c} == set(sides) and len(c) == len(sides)]
    marks_entity = [c for c in whole if any(_marks_entity(query, x) for x in c)]
    for found in classes:
        if found in (marks_entity or whole):
            continue
        if whole and all(_comparable(query, c) for c in found):
            whole = [c for c in whole if c != found]
            first, *others = sorted(found, key=lambda c: (side(c), c.name))
            crossing.extend(build.compare("=", first, other) for other in others)
            continue
        if found in whole:
            continue
        missing = sorted(set(sides) - {side(c) for c in found})
        equated = " = ".join(sorted(f"{c.party}.{c.table}.{c.name}" for c in found))
        owners = {c.party for c in found}
        if len(owners) == 1:
            (owner,) = owners
            raise source.unsupported(
                at,
                f"A join of tables of {owner} with each other ({equated})",
                f"Ask {owner} to publish them joined as one table (heji node table add --sql).",
            )
        raise source.unsupported(
            at,
            f"A join in which {equated} "
            + (f"is not set equal to a column of {', '.join(missing)}" if missing else "has two columns of one"),
            "Join all tables by the same key: FROM a.t JOIN b.t USING (key) JOIN c.t USING (key).",
        )
    if not whole:
        raise source.unsupported(
            at, "A join without a key", "Write JOIN … USING (key), or ON a.key = b.key: keys are columns set equal."
        )
    ordered = sorted(whole, key=lambda found: next(c.name for c in found if side(c) == sides[0]))
    return {s: tuple(next(c for c in found if side(c) == s) for found in ordered) for s in sides}


def _comparable(query: QueryBinder, c: Column) -> bool:
    """Whether columns of its kind are compared on shares: numbers, dates, texts with a declared domain."""
    table = query.catalog_of(c.party).table(c.table)
    declared = table.column(c.name) if table else None
    return c.kind != "text" or (declared is not None and declared.domain is not None)


def _marks_entity(query: QueryBinder, c: Column) -> bool:
    table = query.catalog_of(c.party).table(c.table)
    return table is not None and any(k.name == c.name for k in table.keys)


def _refuse_more_keys_than_entities(
    query: QueryBinder, node: exp.Select, table: CatalogTable, party: str, joined_by: set[str]
) -> None:
    """Distinct keys stand for entities in the small-cell rule, so there may not be more of them."""
    entity = [c.name for c in table.keys]
    one_key = table.one_key if isinstance(table, LocalJoin) else table.unique
    if one_key or not entity or joined_by <= {n.lower() for n in entity}:
        return
    raise query.source.unsupported(
        (node.args.get("joins") or [node])[0],
        f"A join of {party}.{table.name} by {', '.join(sorted(joined_by))}, of which one entity "
        f"({', '.join(entity)}) may have several,",
        f"Join by {', '.join(entity)}; small cells are counted in entities.",
    )
