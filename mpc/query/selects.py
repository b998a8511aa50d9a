"""Binds one SELECT: over rows (projection or aggregation), over totals, or over a union of totals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from mpc.query import build
from mpc.query.aggregates import scalar_aggregate
from mpc.query.nodes import Expr
from mpc.query.relations import (
    Branch,
    ClearBinder,
    GroupBinder,
    GroupKey,
    QueryBinder,
    Relation,
    RowBinder,
    Rows,
    Scalars,
    Totals,
    Visible,
)
from mpc.query.scalars import Binder, has_aggregate, only

if TYPE_CHECKING:
    from mpc.query.join_rows import RowOutputs

_KNOWN = ("expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset", "distinct", "with_")


def bind_select(query: QueryBinder, node: exp.Select) -> Relation:
    """The relation of a SELECT."""
    from mpc.query.joins import joined

    source = query.source
    if node.args.get("qualify") or node.args.get("windows"):
        raise source.unsupported(node, "QUALIFY or WINDOW", "Use GROUP BY and aggregates.")
    only(Binder(source), node, *_KNOWN)
    visible = _from(query, node)
    relations = [v.relation for v in visible]
    aggregating = bool(node.args.get("group")) or any(
        has_aggregate(x) for x in [*node.expressions, node.args.get("having"), node.args.get("order")] if x is not None
    )
    if len(relations) == 1 and isinstance(relations[0], Rows):
        return _grouped(query, node, visible[0]) if aggregating else _projected(query, node, visible[0])
    if len(relations) == 1 and isinstance(relations[0], Scalars):
        if aggregating:
            return _over_scalars(query, node, visible[0])
        raise source.unsupported(
            node, "A UNION ALL of totals as a result", "Add them up with SUM, or unite the rows and GROUP BY a label."
        )
    if len(relations) > 1 and all(isinstance(r, Rows) for r in relations):
        return joined(query, node, visible, aggregating=aggregating)
    if not all(isinstance(r, Totals) for r in relations) or (
        len(relations) > 1 and not all(isinstance(r, Totals) and r.one_row for r in relations)
    ):
        raise source.unsupported(_second(node), "A join (several tables in FROM)", _join_advice())
    if aggregating and all(isinstance(r, Totals) and r.one_row for r in relations) and not node.args.get("group"):
        if not relations:
            raise source.unsupported(node, "An aggregate without FROM", "Name a table as party.table.")
        names = tuple(n for r in relations for n in r.names)
        row = tuple(e for r in relations if isinstance(r, Totals) for e in r.exprs)
        return _over_scalars(query, node, Visible(visible[0].alias, (), Scalars(names, (row,))))
    if aggregating:
        raise source.unsupported(node, "An aggregate over grouped totals", "Aggregate the rows in one step.")
    return _over_totals(query, node, visible)


def _join_advice() -> str:
    return "Join tables of several owners by their keys: FROM a.t JOIN b.t USING (key); add up totals one by one."


def _second(node: exp.Select) -> exp.Expr:
    joins = node.args.get("joins")
    return joins[0] if joins else node


def _from(query: QueryBinder, node: exp.Select) -> list[Visible]:
    """The items of FROM; how they are joined is read in joins.py."""
    from_ = node.args.get("from_")
    if from_ is None:
        return []
    items = [from_.this, *(join.this for join in node.args.get("joins") or [])]
    for item in items:
        inner = item.this if isinstance(item, exp.Subquery) else item
        for nested in (item, inner) if isinstance(inner, exp.Table) else (item,):
            if nested.args.get("joins"):
                raise query.source.unsupported(nested.args["joins"][0], "JOIN in brackets", "Write the joins in a row.")
    visible = [query.visible(item) for item in items]
    if not all(isinstance(v.relation, Rows) for v in visible):
        for join in node.args.get("joins") or []:
            if any(join.args.get(k) for k in ("on", "using", "side", "method")) or join.kind not in ("", "CROSS"):
                words = " ".join(w for w in (join.method, join.side, join.kind, "JOIN") if w)
                raise query.source.unsupported(join, f"{words} with totals", "Join tables; combine totals in SELECT.")
    return visible


# ---- over rows


def _projected(query: QueryBinder, node: exp.Select, visible: Visible) -> Rows:
    """Rows to rows: columns are substituted, WHERE is added to every branch."""
    assert isinstance(visible.relation, Rows)
    for part, what in (("limit", "LIMIT"), ("offset", "OFFSET"), ("distinct", "DISTINCT"), ("having", "HAVING")):
        if node.args.get(part):
            advice = "Single rows are not shown. Aggregate them; LIMIT and DISTINCT apply to the result."
            raise query.source.unsupported(node.args[part], f"{what} over single rows", advice)
    items = _items(query, node, [visible])
    branches = [_restricted(query, node, visible, b) for b in visible.relation.branches]
    columns: list[tuple[Expr, ...]] = []
    aliases: list[dict[str, Expr]] = [{} for _ in branches]  # DuckDB lets an item use those to its left
    for item in items:
        if isinstance(item, int):
            columns.append(tuple(b.columns[item] for b in branches))
            continue
        bound = [
            RowBinder(query.source, visible, b, known).bind(item.unalias())
            for b, known in zip(branches, aliases, strict=True)
        ]
        columns.append(query.aligned(bound, item))
        if isinstance(item, exp.Alias):
            for known, e in zip(aliases, columns[-1], strict=True):
                known[item.alias.lower()] = e
    names = tuple(visible.relation.names[i] if isinstance(i, int) else _name(i) for i in items)
    return Rows(names, tuple(replace(b, columns=c) for b, c in zip(branches, zip(*columns, strict=True), strict=True)))


def _items(query: QueryBinder, node: exp.Select, visible: Sequence[Visible]) -> list[exp.Expr | int]:
    """The SELECT list with ``*`` spelled out as column numbers (of the only relation)."""
    items: list[exp.Expr | int] = []
    for x in node.expressions:
        star = (
            x
            if isinstance(x, exp.Star)
            else x.this
            if isinstance(x, exp.Column) and isinstance(x.this, exp.Star)
            else None
        )
        if star is None:
            items.append(x)
            continue
        if any(v for v in star.args.values()) or len(visible) != 1:
            raise query.source.unsupported(x, "* with EXCLUDE, REPLACE or several tables", "Name the columns.")
        if isinstance(x, exp.Column) and x.table.lower() != visible[0].alias:
            raise query.source.error("sql.unknown_table", x, f"{x.table} is not a table of this FROM.")
        items.extend(range(len(visible[0].relation.names)))
    return items


def _restricted(query: QueryBinder, node: exp.Select, visible: Visible, branch: Branch) -> Branch:
    where = node.args.get("where")
    if where is None:
        return branch
    bound = RowBinder(query.source, visible, branch).bind(where.this)
    return branch.restricted(_condition(query, bound, where.this))


def _condition(query: QueryBinder, bound: Expr, node: exp.Expr) -> Expr:
    if bound.kind != "boolean" and not (bound == build.NULL):
        raise query.source.error("sql.type", node, f"a condition is needed, and this is {bound.kind}.")
    return build.const("boolean", None) if bound == build.NULL else bound


def _grouped(query: QueryBinder, node: exp.Select, visible: Visible) -> Totals:
    """Rows to totals."""
    assert isinstance(visible.relation, Rows)
    branches = tuple(_restricted(query, node, visible, b) for b in visible.relation.branches)
    rows = Rows(visible.relation.names, branches)
    visible = replace(visible, relation=rows)
    return grouped(query, node, lambda keys: GroupBinder(query, visible, keys))


def grouped(query: QueryBinder, node: exp.Select, make: Callable[[Sequence[GroupKey]], GroupBinder]) -> Totals:
    """GROUP BY, SELECT, HAVING, ORDER BY … over the rows that ``make`` makes a binder of, given the keys."""
    keys = _keys(query, node, make(()))
    binder = make(keys)
    names, exprs = _outputs(query, node, binder)
    order, limit, offset = _tail(query, node, binder, exprs)
    having = node.args.get("having")
    return Totals(
        names,
        exprs,
        keys,
        binder.terms(binder.no_values()),
        None if having is None else _condition(query, binder.bind(having.this), having.this),
        order,
        limit,
        offset,
        _distinct(query, node),
    )


def rows_shown(query: QueryBinder, node: exp.Select, binder: RowOutputs) -> Totals:
    """SELECT and ORDER BY … of a query whose rows are the result."""
    if node.args.get("having"):
        raise query.source.unsupported(node.args["having"], "HAVING without GROUP BY", "Put the condition into WHERE.")
    names, exprs = _outputs(query, node, binder)
    order, limit, offset = _tail(query, node, binder, exprs)
    return Totals(
        names,
        exprs,
        tuple(binder.keys),
        binder.rows(),
        order=order,
        limit=limit,
        offset=offset,
        distinct=_distinct(query, node),
    )


def _keys(query: QueryBinder, node: exp.Select, rows: GroupBinder) -> tuple[GroupKey, ...]:
    group = node.args.get("group")
    if group is None:
        return ()
    for part in ("grouping_sets", "cube", "rollup", "totals"):
        if group.args.get(part):
            raise query.source.unsupported(group, "GROUPING SETS, CUBE or ROLLUP", "Use one query for each grouping.")
    if group.args.get("all"):
        wanted = [x for x in node.expressions if not has_aggregate(x) and any(x.find_all(exp.Column))]
    else:
        wanted = [_grouping(query, node, rows, x) for x in group.expressions]
    keys: list[GroupKey] = []
    for x in wanted:
        inner = x.unalias()
        if has_aggregate(inner):
            raise query.source.unsupported(inner, "Grouping by an aggregate", "Group by columns or row expressions.")
        key = GroupKey(_name(x), rows.by_branch(inner), inner)
        if key.by_branch not in [k.by_branch for k in keys]:
            keys.append(key)
    return tuple(keys)


def _grouping(query: QueryBinder, node: exp.Select, rows: GroupBinder, x: exp.Expr) -> exp.Expr:
    """A GROUP BY item: an ordinal, an alias of SELECT, or an expression."""
    if isinstance(x, exp.Cube | exp.Rollup | exp.GroupingSets):
        raise query.source.unsupported(x, "GROUPING SETS, CUBE or ROLLUP", "Use one query for each grouping.")
    if isinstance(x, exp.Literal) and not x.is_string:
        position = str(x.this)
        if not position.isdecimal() or not 1 <= int(position) <= len(node.expressions):
            raise query.source.error("sql.unknown_column", x, f"SELECT has no item {position}.")
        chosen: exp.Expr = node.expressions[int(position) - 1]
        return chosen
    if isinstance(x, exp.Column) and not x.table:
        is_column = rows.has_column(x)
        named = [i for i in node.expressions if isinstance(i, exp.Alias) and i.alias.lower() == x.name.lower()]
        if named and not is_column:
            return named[0]
    return x


# ---- over totals


def _over_totals(query: QueryBinder, node: exp.Select, visible: Sequence[Visible]) -> Totals:
    """Totals to totals: one row from several one-row totals, or a projection of one grouped answer."""
    binder = ClearBinder(query, visible)
    inner = visible[0].relation if len(visible) == 1 else Totals((), ())
    assert isinstance(inner, Totals)
    if inner.limit is not None or inner.offset or inner.distinct:
        raise query.source.unsupported(
            node, "A query over a result with LIMIT or DISTINCT", "Put them into the outer query."
        )
    if node.args.get("group") or node.args.get("having"):
        raise query.source.unsupported(node, "HAVING or GROUP BY over totals", "Use WHERE on the outer query.")
    names, exprs = _outputs(query, node, binder)
    order, limit, offset = _tail(query, node, binder, exprs)
    having, where = inner.having, node.args.get("where")
    if where is not None:
        condition = _condition(query, binder.bind(where.this), where.this)
        having = condition if having is None else build.logic("and", having, condition)
    return replace(
        inner,
        names=names,
        exprs=exprs,
        having=having,
        order=order or inner.order,
        limit=limit,
        offset=offset,
        distinct=_distinct(query, node),
    )


class _ScalarBinder(ClearBinder):
    """Aggregates over a union of totals."""

    def __init__(self, query: QueryBinder, visible: Visible) -> None:
        super().__init__(query, [])
        assert isinstance(visible.relation, Scalars)
        self._scalars, self._from = visible.relation, visible

    def aggregate(self, node: exp.Expr) -> Expr:
        rows = [Visible(self._from.alias, (), Totals(self._scalars.names, row)) for row in self._scalars.rows]
        return scalar_aggregate(self.source, node, [ClearBinder(self._query, [row]) for row in rows])


def _over_scalars(query: QueryBinder, node: exp.Select, visible: Visible) -> Totals:
    for part in ("where", "group"):
        if node.args.get(part):
            raise query.source.unsupported(node.args[part], f"{part.upper()} over a union of totals", "Leave it out.")
    binder = _ScalarBinder(query, visible)
    names, exprs = _outputs(query, node, binder)
    order, limit, offset = _tail(query, node, binder, exprs)
    having = node.args.get("having")
    bound = None if having is None else _condition(query, binder.bind(having.this), having.this)
    return Totals(names, exprs, having=bound, order=order, limit=limit, offset=offset, distinct=_distinct(query, node))


# ---- what all have in common


def _name(item: exp.Expr) -> str:
    """What a SELECT item's column is called: its alias, a bare column's own name, else the text itself."""
    inner = item.unnest()
    named = isinstance(item, exp.Alias) or isinstance(inner, exp.Column)
    return inner.alias_or_name if named else item.sql("duckdb")


def _outputs(query: QueryBinder, node: exp.Select, binder: ClearBinder) -> tuple[tuple[str, ...], tuple[Expr, ...]]:
    """Names and expressions of the SELECT list; aliases to the left are visible."""
    names: list[str] = []
    exprs: list[Expr] = []
    visible = binder._visible
    for item in _items(query, node, visible):
        if isinstance(item, int):
            relation = visible[0].relation
            if not isinstance(relation, Totals):
                raise query.source.unsupported(node, "* beside aggregates", "Name the columns.")
            name, bound = relation.names[item], relation.exprs[item]
        else:
            name, bound = _name(item), binder.bind(item.unalias())
            query.check_size([bound], item)
        names.append(name)
        exprs.append(bound)
        binder.aliases.setdefault(name.lower(), bound)
    return tuple(names), tuple(exprs)


def _distinct(query: QueryBinder, node: exp.Select) -> bool:
    distinct = node.args.get("distinct")
    if distinct is not None and distinct.args.get("on"):
        raise query.source.unsupported(distinct, "DISTINCT ON", "Use GROUP BY.")
    return distinct is not None


def _tail(
    query: QueryBinder, node: exp.Select, binder: ClearBinder, exprs: Sequence[Expr]
) -> tuple[tuple[tuple[Expr, bool, bool], ...], int | None, int]:
    """ORDER BY, LIMIT, OFFSET."""
    order = node.args.get("order")
    found: list[tuple[Expr, bool, bool]] = []
    for o in order.expressions if order is not None else ():
        only(Binder(query.source), o, "this", "desc", "nulls_first")
        direction = (bool(o.args.get("desc")), bool(o.args.get("nulls_first")))
        x = o.this
        if isinstance(x, exp.Var) and x.name.upper() == "ALL":
            found.extend((e, *direction) for e in exprs)
        elif isinstance(x, exp.Literal) and not x.is_string:
            if not str(x.this).isdecimal() or not 1 <= int(x.this) <= len(exprs):
                raise query.source.error("sql.unknown_column", x, f"SELECT has no item {x.this}.")
            found.append((exprs[int(x.this) - 1], *direction))
        elif isinstance(x, exp.Column) and not x.table and x.name.lower() in binder.aliases:
            found.append((binder.aliases[x.name.lower()], *direction))
        else:
            found.append((binder.bind(x), *direction))
    return tuple(found), _count(query, node.args.get("limit")), _count(query, node.args.get("offset")) or 0


def _count(query: QueryBinder, node: exp.Expr | None) -> int | None:
    if node is None:
        return None
    number = node.expression
    if node.args.get("limit_options") or not (isinstance(number, exp.Literal) and str(number.this).isdecimal()):
        raise query.source.unsupported(node, "LIMIT or OFFSET that is not a whole number", "Write the number.")
    return int(str(number.this))
