"""Resolves names and flattens queries: CTEs, subqueries, aliases and UNION ALL become one of three relations.

    Rows      rows of tables: a list of branches (UNION ALL), each one table with its condition and columns
    Totals    the answer of an aggregating SELECT: outputs over aggregates, by keys
    Scalars   a UNION ALL of one-row Totals, to be aggregated once more

A column of a relation *is* its expression over catalog columns, so resolving a name substitutes it: CTE inlining,
subquery flattening and pushing WHERE into the branches need no rules of their own. Every identifier resolves to a
catalog column of a named table, or the query is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mpc.errors import LocalError
from mpc.query import build
from mpc.query.aggregates import aggregate
from mpc.query.build import FALSE, TypeProblem
from mpc.query.catalog import Catalog, Table
from mpc.query.catalog import Table as CatalogTable
from mpc.query.nodes import Expr, JoinedTerm, KeyRef, Term, walk
from mpc.query.parse import Source, did_you_mean
from mpc.query.rules import simplify, simplify_filter
from mpc.query.scalars import Binder, has_aggregate, only

#: branches of one union, and nodes of one expression: far beyond what people write, short of what exhausts memory
MAX_BRANCHES, MAX_NODES = 256, 4000


@dataclass(frozen=True)
class Branch:
    """Rows of one table that pass ``where`` (None: all)."""

    party: str
    table: str
    where: Expr | None
    columns: tuple[Expr, ...]

    def restricted(self, condition: Expr) -> Branch:
        """The branch with one more condition; one that is never TRUE makes it empty."""
        both = condition if self.where is None else build.logic("and", self.where, condition)
        return replace(self, where=simplify_filter(both))


@dataclass(frozen=True)
class Rows:
    names: tuple[str, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class GroupKey:
    """A GROUP BY key: its expression in each branch, and where it stands in the text."""

    name: str
    by_branch: tuple[Expr, ...]
    node: exp.Expr


@dataclass(frozen=True)
class Totals:
    """Outputs over aggregates; ``rows`` are the rows behind a cell (COUNT(*))."""

    names: tuple[str, ...]
    exprs: tuple[Expr, ...]
    keys: tuple[GroupKey, ...] = ()
    rows: tuple[Term, ...] = ()
    having: Expr | None = None
    order: tuple[tuple[Expr, bool, bool], ...] = ()
    limit: int | None = None
    offset: int = 0
    distinct: bool = False

    @property
    def by_row(self) -> bool:
        """Whether a cell is a row of a join's spine, whose holder receives the result; ``keys`` are its own values."""
        return any(isinstance(t, JoinedTerm) and t.by_row for t in self.rows)

    @property
    def one_row(self) -> bool:
        return not self.keys and not self.by_row and self.having is None and self.limit is None and not self.offset


@dataclass(frozen=True)
class Scalars:
    """Rows that are totals."""

    names: tuple[str, ...]
    rows: tuple[tuple[Expr, ...], ...]


Relation = Rows | Totals | Scalars
Scope = Mapping[str, Relation]  # CTEs by lower-case name


# ---- names


@dataclass(frozen=True)
class Visible:
    """The relations of a FROM clause under their names; ``path`` also allows party.table.column."""

    alias: str
    path: tuple[str, ...]
    relation: Relation


def find_column(source: Source, node: exp.Column, visible: Sequence[Visible]) -> tuple[Visible, int]:
    """Resolve a column name. Raises LocalError sql.unknown_column, sql.ambiguous_column."""
    if isinstance(node.this, exp.Star):
        raise source.unsupported(node, "* here", "Name the columns.")
    if node.args.get("catalog") or not isinstance(node.this, exp.Identifier):
        raise source.error("sql.unknown_column", node, "no column has a name of this form.", "Write table.column.")
    name, qualifier = (
        node.name,
        tuple(p.lower() for p in (node.args["db"].name, node.table) if p)
        if node.args.get("db")
        else ((node.table.lower(),) if node.table else ()),
    )
    searched = [v for v in visible if not qualifier or qualifier in ((v.alias,), v.path)]
    if qualifier and not searched:
        known = [v.alias for v in visible if v.alias]
        raise source.error(
            "sql.unknown_table",
            node,
            f"{'.'.join(qualifier)} is not a table of this FROM.",
            did_you_mean(qualifier[-1], known) or f"There are: {', '.join(known) or 'none'}.",
        )
    found = [(v, i) for v in searched for i, n in enumerate(v.relation.names) if n.lower() == name.lower()]
    if len(found) > 1:
        raise source.error(
            "sql.ambiguous_column",
            node,
            f"several columns are called {name}.",
            "Put the table's name or alias in front, or rename one with AS.",
        )
    if found:
        return found[0]
    if any(name.lower() == v.alias for v in visible):
        raise source.error(
            "sql.unknown_column",
            node,
            f"{name} is a table, not a column; whole rows are never shown.",
            f"Name a column: {name}.…",
        )
    where = next((".".join(v.path) for v in searched if v.path), "") if len(searched) == 1 else ""
    known = [n for v in searched for n in v.relation.names]
    raise source.error(
        "sql.unknown_column",
        node,
        f"{where or 'no table here'} has no column {name}." if where else f"no table here has a column {name}.",
        did_you_mean(name, known),
    )


class RowBinder(Binder):
    """Expressions over one branch of rows. ``aliases``: what SELECT items to the left are, by lower-case name."""

    def __init__(self, source: Source, visible: Visible, branch: Branch, aliases: Mapping[str, Expr] | None = None):
        super().__init__(source)
        self._visible, self._branch, self._aliases = visible, branch, aliases or {}

    def column(self, node: exp.Column) -> Expr:
        alias = node.name.lower()
        names = [n.lower() for n in self._visible.relation.names]
        if not node.table and alias not in names and alias in self._aliases:
            return self._aliases[alias]
        _, index = find_column(self.source, node, [self._visible])
        return self._branch.columns[index]


class ClearBinder(Binder):
    """Expressions over totals, computed in the clear by the recipient."""

    in_the_clear = True

    def __init__(self, query: QueryBinder, visible: Sequence[Visible]) -> None:
        super().__init__(query.source)
        self._query, self._visible = query, visible
        self.aliases: dict[str, Expr] = {}

    def column(self, node: exp.Column) -> Expr:
        try:
            visible, index = find_column(self.source, node, self._visible)
        except LocalError:
            if not node.table and node.name.lower() in self.aliases:
                return self.aliases[node.name.lower()]
            raise
        assert isinstance(visible.relation, Totals)
        return visible.relation.exprs[index]

    def subquery(self, node: exp.Expr) -> Expr:
        inner = node.this if isinstance(node, exp.Subquery) else node
        totals = self._query.bind(inner)
        if not isinstance(totals, Totals) or not totals.one_row or len(totals.exprs) != 1:
            raise self.source.unsupported(
                node,
                "A subquery that is not one total",
                "Write (SELECT SUM(x) FROM party.table WHERE …): one aggregate, no GROUP BY.",
            )
        return totals.exprs[0]


class GroupBinder(ClearBinder):
    """The SELECT, HAVING and ORDER BY of an aggregating query over rows."""

    def __init__(self, query: QueryBinder, visible: Visible, keys: Sequence[GroupKey]) -> None:
        super().__init__(query, [visible])
        self._from, self._keys = visible, tuple(keys)

    @property
    def _rows(self) -> Rows:
        assert isinstance(self._from.relation, Rows)
        return self._from.relation

    def bind(self, node: exp.Expr) -> Expr:
        key = self._key(node)
        return super().bind(node) if key is None else key

    def _key(self, node: exp.Expr) -> Expr | None:
        """The key that this expression repeats, if it does."""
        if not self._keys or has_aggregate(node) or not any(node.find_all(exp.Column)) or any(node.find_all(exp.Query)):
            return None
        try:
            bound = self.by_branch(node)
        except LocalError:
            return None
        for i, key in enumerate(self._keys):
            if key.by_branch == bound:
                return key_ref(i, key)
        return None

    def column(self, node: exp.Column) -> Expr:
        if not node.table and node.name.lower() in self.aliases and not self.has_column(node):
            return self.aliases[node.name.lower()]
        self.find(node)
        raise self.source.error(
            "sql.unsupported",
            node,
            f"{node.name} is neither grouped by nor inside an aggregate.",
            f"Write SUM({node.name}) or put it into GROUP BY. Single rows of others are not shown.",
        )

    def find(self, node: exp.Column) -> None:
        """Raises LocalError where no column has this name."""
        find_column(self.source, node, self._visible)

    def has_column(self, node: exp.Column) -> bool:
        """Whether a column of these rows has the name (an alias does not hide it)."""
        return any(node.name.lower() in (n.lower() for n in v.relation.names) for v in self._visible)

    def by_branch(self, node: exp.Expr, condition: exp.Expr | None = None) -> tuple[Expr, ...]:
        """A row expression in every branch, in one type; where ``condition`` is not TRUE it is NULL."""
        bound = []
        for branch in self._rows.branches:
            binder = RowBinder(self.source, self._from, branch)
            value = binder.bind(node)
            bound.append(value if condition is None else build.case([(binder.bind(condition), value)], build.NULL))
        return self._query.aligned(bound, node)

    def aggregate(self, node: exp.Expr) -> Expr:
        """An aggregate over the rows, by keys."""
        return aggregate(self, node, self.terms)

    def no_values(self) -> list[Expr | None]:
        return [None] * len(self._rows.branches)

    def terms(self, values: Sequence[Expr | None]) -> tuple[Term, ...]:
        """One term a branch that has rows."""
        return terms_of(self._rows, self._keys, values)


def terms_of(rows: Rows, keys: Sequence[GroupKey], values: Sequence[Expr | None]) -> tuple[Term, ...]:
    return tuple(
        Term(b.party, b.table, b.where, tuple(k.by_branch[i] for k in keys), values[i])
        for i, b in enumerate(rows.branches)
        if b.where != FALSE
    )


def key_ref(index: int, key: GroupKey) -> KeyRef:
    first = key.by_branch[0]
    return KeyRef(first.kind, first.scale, None, None, any(e.nullable for e in key.by_branch), index)


# ---- queries


class QueryBinder:
    """Binds queries against the catalogs. ``recipients``: who gets the result."""

    def __init__(self, source: Source, catalogs: Mapping[str, Catalog], recipients: Sequence[str] = ()) -> None:
        self.source, self.recipients, self.catalogs = source, tuple(recipients), catalogs
        self._catalogs = {c.party.lower(): c for c in catalogs.values()}
        self._ctes: dict[str, Relation] = {}

    def catalog_of(self, party: str) -> Catalog:
        return self._catalogs[party.lower()]

    def publish(self, party: str, table: Table) -> None:
        """Add a table of an owner's that exists in this query only."""
        found = self.catalog_of(party)
        if found.table(table.name) is None:
            more = replace(found, tables=(*found.tables, table))
            self.catalogs = {k: more if c.party == party else c for k, c in self.catalogs.items()}
            self._catalogs[party.lower()] = more

    def bind(self, query: exp.Expr) -> Relation:
        """The relation of a SELECT, UNION ALL or bracketed query. Raises LocalError sql.*."""
        outer = dict(self._ctes)
        try:
            self._define(query.args.get("with_"))
            if isinstance(query, exp.Subquery):
                only(_Plain(self.source), query, "this", "with_", "alias")
                return self.bind(query.this)
            if isinstance(query, exp.SetOperation):
                return self._union(query)
            if isinstance(query, exp.Select):
                from mpc.query.selects import bind_select

                return bind_select(self, query)
            raise self.source.unsupported(query, type(query).__name__.upper(), "Write SELECT … FROM party.table.")
        finally:
            self._ctes = outer

    def _define(self, with_: exp.Expr | None) -> None:
        if with_ is None:
            return
        only(_Plain(self.source), with_, "expressions")
        for cte in with_.expressions:
            only(_Plain(self.source), cte, "this", "alias", "materialized")
            name = cte.alias
            self._refuse_taken_name(name, cte.args["alias"])
            if name.lower() in self._ctes:
                raise self.source.unsupported(cte.args["alias"], f"A second WITH {name}", "Give it another name.")
            self._ctes[name.lower()] = self._renamed(self.bind(cte.this), cte.args["alias"])

    def _refuse_taken_name(self, name: str, node: exp.Expr, path: tuple[str, ...] = ()) -> None:
        """A CTE or alias may not pass for a catalog table."""
        taken = [(c.party.lower(), t.name.lower()) for c in self._catalogs.values() for t in c.tables]
        if any(t == name.lower() and (p, t) != path for p, t in taken):
            raise self.source.unsupported(
                node, f"{name}, the name of a published table, as an alias", "Take another name for it."
            )

    def _renamed(self, relation: Relation, alias: exp.Expr) -> Relation:
        """A relation with the column names of ``AS t(a, b)``."""
        columns = alias.args.get("columns") or []
        if len(columns) > len(relation.names):
            raise self.source.error(
                "sql.unknown_column", alias, f"there are only {len(relation.names)} columns to name."
            )
        names = tuple(c.name for c in columns) + relation.names[len(columns) :]
        return replace(relation, names=names)

    # -- FROM

    def visible(self, node: exp.Expr) -> Visible:
        """One item of FROM."""
        if isinstance(node, exp.Table):
            return self._table(node)
        if isinstance(node, exp.Subquery):
            only(_Plain(self.source), node, "this", "alias", "with_")
            alias = node.args.get("alias")
            if isinstance(node.this, exp.Table) and alias is None:
                return self._table(node.this)
            if alias is not None and alias.name:
                self._refuse_taken_name(alias.name, alias)
            relation = self.bind(node.this)
            return Visible(node.alias.lower(), (), relation if alias is None else self._renamed(relation, alias))
        raise self.source.unsupported(node, f"{type(node).__name__.upper()} in FROM", "Name a table as party.table.")

    def _table(self, node: exp.Table) -> Visible:
        only(_Plain(self.source), node, "this", "db", "alias")
        alias = node.args.get("alias")
        if not isinstance(node.this, exp.Identifier):
            called = self.source.word(node.this) or self.source.word(node)
            raise self.source.unsupported(node, f"The table function {called}", "Name a table as party.table.")
        if not node.db and node.name.lower() in self._ctes:
            relation = self._ctes[node.name.lower()]
            path: tuple[str, ...] = ()
        else:
            table, party = self._catalog_table(node)
            columns = tuple(build.column(party, table.name, c) for c in table.columns)
            relation = Rows(tuple(c.name for c in table.columns), (Branch(party, table.name, None, columns),))
            path = (party.lower(), table.name.lower())
        if alias is not None:
            self._refuse_taken_name(alias.name, alias, path)
            relation = self._renamed(relation, alias)
        # an alias hides the table's own name, as in SQL
        return Visible((node.alias or node.name).lower(), () if alias else path, relation)

    def _catalog_table(self, node: exp.Table) -> tuple[CatalogTable, str]:
        every = [f"{c.party}.{t.name}" for c in self._catalogs.values() for t in c.tables]
        if not node.db:
            same = [n for n in every if n.split(".")[1].lower() == node.name.lower()]
            raise self.source.error(
                "sql.unknown_table",
                node,
                f"{node.name} does not say whose table it is.",
                f"Write {' or '.join(same)}." if same else "Name tables as party.table.",
            )
        catalog = self._catalogs.get(node.db.lower())
        table = catalog.table(node.name) if catalog else None
        if catalog is None:
            raise self.source.error(
                "sql.unknown_table",
                node,
                f"no party {node.db} publishes tables.",
                did_you_mean(f"{node.db}.{node.name}", every),
            )
        if table is None:
            raise self.source.error(
                "sql.unknown_table",
                node,
                f"{catalog.party} publishes no table {node.name}.",
                did_you_mean(f"{node.db}.{node.name}", every),
            )
        return table, catalog.party

    # -- UNION ALL

    def _union(self, node: exp.SetOperation) -> Relation:
        if not isinstance(node, exp.Union) or node.args.get("distinct"):
            name = type(node).__name__.upper()
            raise self.source.unsupported(
                node,
                "UNION without ALL" if name == "UNION" else name,
                "Write UNION ALL: UNION would have to compare rows of different owners. "
                "Rows that two owners have in common are found by JOIN.",
            )
        if node.args.get("by_name"):
            raise self.source.unsupported(node, "UNION ALL BY NAME", "List the columns in one order in every branch.")
        only(_Plain(self.source), node, "this", "expression", "with_", "order")
        left, right = self.bind(node.left), self.bind(node.right)
        if len(left.names) != len(right.names):
            raise self.source.error(
                "sql.type",
                node.right,
                f"the branches of UNION ALL have {len(left.names)} and {len(right.names)} columns.",
                "Select the same columns in every branch.",
            )
        if isinstance(left, Rows) and isinstance(right, Rows):
            return self._union_rows(left, right, node)
        tables = [Scalars(r.names, (r.exprs,)) if isinstance(r, Totals) and r.one_row else r for r in (left, right)]
        if not all(isinstance(t, Scalars) for t in tables):
            raise self.source.unsupported(
                node, "UNION ALL of rows and totals, or of grouped totals", "Unite the rows first, then group them."
            )
        rows = tuple(row for t in tables if isinstance(t, Scalars) for row in t.rows)
        columns = [self.aligned(column, node) for column in zip(*rows, strict=True)]
        return Scalars(left.names, tuple(zip(*columns, strict=True)))

    def _union_rows(self, left: Rows, right: Rows, node: exp.Expr) -> Rows:
        branches = left.branches + right.branches
        if len(branches) > MAX_BRANCHES:
            raise self.source.unsupported(node, f"A union of more than {MAX_BRANCHES} branches", "Use several queries.")
        columns = [self.aligned([b.columns[i] for b in branches], node) for i in range(len(left.names))]
        return Rows(
            left.names, tuple(replace(b, columns=c) for b, c in zip(branches, zip(*columns, strict=True), strict=True))
        )

    def aligned(self, parts: Sequence[Expr], node: exp.Expr) -> tuple[Expr, ...]:
        """The branches' expressions in one type, simplified, of bounded size."""
        try:
            found = tuple(simplify(e) for e in build.unify(list(parts), "UNION ALL"))
        except TypeProblem as problem:
            raise self.source.error("sql.type", node, f"{problem}.", "CAST one side.") from None
        self.check_size(found, node)
        return found

    def check_size(self, exprs: Sequence[Expr], node: exp.Expr) -> None:
        """Refuse what aliases and CTEs that use each other twice have blown up."""
        if any(sum(1 for _ in limited(walk(e))) > MAX_NODES for e in exprs):
            raise self.source.unsupported(node, "An expression of this size", "Split the query.")


def limited(nodes: Iterator[Expr]) -> Iterator[Expr]:
    for _, node in zip(range(MAX_NODES + 1), nodes, strict=False):
        yield node


class _Plain(Binder):
    """Only for ``only``."""
