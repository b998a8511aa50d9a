"""Tables of one owner that are joined with each other inside a join with others: the owner joins them itself.

    FROM bank.accounts a JOIN bank.customers c ON a.customer = c.id JOIN tax.firms t ON t.uscc = c.uscc
         └─────────── one side of the hidden join: a table of bank's own ──────────┘

Such tables become one table, known during the compilation of this query only, whose columns are those of its parts. One
part gives the rows: each other part must have at most one row for each of them. Which rows an owner's own conditions
pass is its own affair, so the equalities between its parts need no protocol; grants are still judged column by column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mpc.query.catalog import Table
from mpc.query.nodes import Column, Expr, rebuild
from mpc.query.printer import identifier
from mpc.query.relations import QueryBinder, Rows, Visible


@dataclass(frozen=True)
class LocalJoin(Table):
    """``parts``: the owner's tables; ``origin``: of each column, in their order, its table and its name there; ``on``:
    columns of parts, as (table, column), that are equal; ``one_key``: an entity has one value of the key that joins it
    with others."""

    parts: tuple[str, ...] = ()
    origin: tuple[tuple[str, str], ...] = ()
    on: tuple[tuple[tuple[str, str], tuple[str, str]], ...] = ()
    one_key: bool = False

    def source_of(self, column: str) -> tuple[str, str]:
        """The table and the name of a column where the owner publishes it."""
        return next(o for c, o in zip(self.columns, self.origin, strict=True) if c.name == column)

    @property
    def sql(self) -> str:
        """The rows, as DuckDB SQL."""

        def name(table: str, column: str) -> str:
            return f"{identifier(table)}.{identifier(column)}"

        listed = (f"{name(*o)} AS {identifier(c.name)}" for c, o in zip(self.columns, self.origin, strict=True))
        equal = " AND ".join(f"{name(*a)} = {name(*b)}" for a, b in self.on)
        return f"(SELECT {', '.join(listed)} FROM {', '.join(map(identifier, self.parts))} WHERE {equal})"


Equal = tuple[Column, Column]


def joined_at_home(
    query: QueryBinder, node: exp.Select, visible: Sequence[Visible], equal: Sequence[Equal]
) -> tuple[Visible, ...]:
    """The FROM with tables that their owner joins itself as one. ``equal``: columns that the query sets equal.

    Raises LocalError sql.unsupported where rows of such tables would multiply.
    """
    out = list(visible)
    for parts, anchor in _families(visible, equal):
        made = _made(query, node, parts, anchor, equal)
        party = anchor[0]
        query.publish(party, made)
        names = {origin: c.name for c, origin in zip(made.columns, made.origin, strict=True)}

        def renamed(e: Expr, table: str = made.name, names: dict[tuple[str, str], str] = names) -> Expr:
            if isinstance(e, Column):
                return replace(e, table=table, name=names[e.table, e.name])
            return rebuild(e, renamed)

        for i, v in enumerate(out):
            assert isinstance(v.relation, Rows)
            (b,) = v.relation.branches
            if b.party == party and b.table in made.parts:
                where = None if b.where is None else renamed(b.where)
                branch = replace(b, table=made.name, where=where, columns=tuple(map(renamed, b.columns)))
                out[i] = replace(v, relation=Rows(v.relation.names, (branch,)))
    return tuple(out)


def _families(
    visible: Sequence[Visible], equal: Sequence[Equal]
) -> Iterator[tuple[list[tuple[str, str]], tuple[str, str]]]:
    """Tables (party, table) that are joined to one table of their owner, and that table, which others are joined to."""
    tables: list[tuple[str, str]] = []
    for v in visible:
        if not isinstance(v.relation, Rows) or len(v.relation.branches) != 1:
            return
        (b,) = v.relation.branches
        tables.append((b.party, b.table))
    classes: list[set[Column]] = []
    for a, b_ in equal:
        touched = [c for c in classes if a in c or b_ in c]
        classes = [c for c in classes if c not in touched] + [{a, b_}.union(*touched)]
    outside = {(c.party, c.table) for found in classes for c in found if len({other.party for other in found}) > 1}
    for anchor in tables:
        party = anchor[0]
        if anchor not in outside or tables.count(anchor) > 1:
            continue
        family, grown = [anchor], True
        while grown:
            near = {
                (y.party, y.table)
                for pair in equal
                for x, y in (pair, pair[::-1])
                if x.party == y.party == party and (x.party, x.table) in family
            }
            new = sorted(t for t in near - set(family) - outside if tables.count(t) == 1)
            family += new
            grown = bool(new)
        if len(family) > 1:
            yield family, anchor


def _made(
    query: QueryBinder,
    node: exp.Select,
    parts: Sequence[tuple[str, str]],
    anchor: tuple[str, str],
    equal: Sequence[Equal],
) -> LocalJoin:
    party = anchor[0]
    catalog = query.catalog_of(party)
    tables = {name: found for _, name in parts if (found := catalog.table(name)) is not None}
    on = [(a, b) for a, b in equal if a.party == b.party == party and {a.table, b.table} <= set(tables)]

    def single(name: str, others: set[str]) -> bool:
        """Whether a table has at most one row for each row of the others."""
        by = {x.name.lower() for pair in on for x, y in (pair, pair[::-1]) if x.table == name and y.table in others}
        return tables[name].unique and {c.name.lower() for c in tables[name].keys} <= by

    base, joined = anchor[1], {anchor[1]}
    for _, name in parts[1:]:
        if single(name, joined):
            joined.add(name)
        elif single(base, {name}):
            base = name
            joined.add(name)
        else:
            raise query.source.unsupported(
                (node.args.get("joins") or [node])[0],
                f"A join of {party}.{base} with {party}.{name}, where one row may meet several of both,",
                f"Ask {party} to declare a key unique in its catalog, or to publish totals by key "
                "(heji node table add --sql).",
            )
    unique = base == anchor[1] and tables[base].unique
    columns, origin = [], []
    for name in sorted(tables):
        for c in tables[name].columns:
            columns.append(replace(c, name=f"{name}.{c.name}", key=c.key and name == anchor[1]))
            origin.append((name, c.name))
    return LocalJoin(
        "+".join(sorted(tables)),
        tuple(columns),
        tables[base].rows,
        "",
        unique,
        tuple(sorted(tables)),
        tuple(origin),
        tuple(dict.fromkeys(((a.table, a.name), (b.table, b.name)) for a, b in on)),
        tables[anchor[1]].unique,
    )
