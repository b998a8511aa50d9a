"""A SELECT over several tables: a hidden join (P6) of them by one key, totalled by group (P8), or by row of one of the
recipient's tables (join_rows.py).

    sides     one a table, each with its own conditions; the spine is the one whose rows stay as they are
    key       the columns that ON, USING and WHERE set equal, one or more of every side
    spine     who holds the GROUP BY keys, of several the one with more groups; else the side whose key may repeat; else
              the one with the fewest rows
    UNION ALL in the join makes several combinations, each a join of its own with the same spine; what they add up is
              added before it is revealed

What ON, USING and WHERE say is read in join_from.py. Expressions over columns of several sides are computed on shares
(mpc.query.lowering); here they are only bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from mpc.query import build
from mpc.query.domains import Domains
from mpc.query.join_from import Combination, RowsOfJoin, combinations, find_in_join
from mpc.query.nodes import Expr, JoinedTerm, JoinSide, Term, columns
from mpc.query.relations import GroupBinder, GroupKey, QueryBinder, Relation, Totals, Visible
from mpc.query.selects import grouped


@dataclass(frozen=True)
class Joined:
    """The combinations of a FROM, all with the spine, and all their sides, the spine first.

    ``by_row``: what comes out is one cell for each row of the spine.
    """

    combinations: tuple[Combination, ...]
    family: tuple[JoinSide, ...]
    by_row: bool = False

    @property
    def spine(self) -> JoinSide:
        return self.family[0]

    @property
    def common(self) -> tuple[JoinSide, ...]:
        """The sides that all combinations have: those outside of UNION ALL."""
        return tuple(s for s in self.family if all(s in c.sides for c in self.combinations))

    @property
    def names(self) -> Mapping[tuple[str, str], str]:
        return {(s.party, s.table): s.name for s in self.family}

    def with_spine(self, spine: JoinSide, *, by_row: bool = False) -> Joined:
        others = sorted((s for s in self.family if s is not spine), key=lambda s: s.name)
        return replace(self, family=(spine, *others), by_row=by_row)

    def terms(self, keys: Sequence[GroupKey], values: Sequence[Expr | None]) -> tuple[JoinedTerm, ...]:
        """The rows of every combination with its value; none where a condition is never TRUE."""
        return tuple(
            JoinedTerm(
                self.spine.party,
                self.spine.table,
                None,
                () if self.by_row else tuple(k.by_branch[0] for k in keys),
                value,
                tuple(s for s in self.family if s in c.sides),
                c.crossing,
                self.family,
                self.by_row,
            )
            for c, value in zip(self.combinations, values, strict=True)
            if not c.never
        )


def joined(query: QueryBinder, node: exp.Select, visible: Sequence[Visible], *, aggregating: bool) -> Relation:
    """The totals or rows of a SELECT over several tables. Raises LocalError sql.*, plan.rows."""
    from mpc.query.join_rows import rows_of_join

    found = combinations(query, node, tuple(visible))
    join = Joined(found, tuple(dict.fromkeys(s for c in found for s in c.sides)))
    return _grouped(query, node, join) if aggregating else rows_of_join(query, node, join)


def _grouped(query: QueryBinder, node: exp.Select, join: Joined) -> Totals:
    # keys first: who holds them is the spine
    domains = Domains(query.source, query.catalogs)

    def make(keys: Sequence[GroupKey]) -> GroupBinder:
        groups: dict[str, int] = {}
        for key in keys:
            found = {join.names[c.party, c.table] for c in columns(key.by_branch[0])}
            if not found <= {s.name for s in join.common} or any(e != key.by_branch[0] for e in key.by_branch):
                raise query.source.unsupported(
                    key.node, "A GROUP BY key of a UNION ALL inside a join", "Group by keys of another table."
                )
            if len(found) == 1:
                (side,) = found
                groups[side] = groups.get(side, 1) * len(domains.known(key.by_branch[0]) or (None,))
        asker = asking_side(join, query.recipients)
        if asker is not None and _one_row_each(asker, keys):
            return JoinBinder(query, join.with_spine(asker, by_row=True), keys)
        return JoinBinder(query, join.with_spine(_spine(join, groups)), keys)

    return grouped(query, node, make)


def asking_side(join: Joined, recipients: Sequence[str]) -> JoinSide | None:
    """The table of the only recipient whose rows a result by row has: its first in the FROM."""
    return next((s for s in join.common if not s.optional and (s.party,) == tuple(recipients)), None)


def _one_row_each(side: JoinSide, keys: Sequence[GroupKey]) -> bool:
    """Whether the groups are the rows of a side: its key, which none of its rows shares with another, is among them."""
    exprs = [k.by_branch[0] for k in keys]
    own = all((c.party, c.table) == (side.party, side.table) for e in exprs for c in columns(e))
    return bool(exprs) and own and side.unique and set(side.key) <= set(exprs)


def _spine(join: Joined, groups: Mapping[str, int]) -> JoinSide:
    """``groups``: how many groups the keys that a side holds by itself make."""

    def last(s: JoinSide) -> tuple[object, ...]:
        return (s.optional, -groups.get(s.name, 0), s.unique, s.rows, s.name)

    return min(join.common, key=last)


class JoinBinder(GroupBinder):
    """The SELECT, HAVING and ORDER BY of an aggregating query over a join."""

    def __init__(self, query: QueryBinder, join: Joined, keys: Sequence[GroupKey]) -> None:
        first = join.combinations[0]
        super().__init__(query, first.visible[0], keys)
        self._visible, self._using, self._join = list(first.visible), first.using, join

    def find(self, node: exp.Column) -> None:
        find_in_join(self, node, self._visible, self._using)

    def by_branch(self, node: exp.Expr, condition: exp.Expr | None = None) -> tuple[Expr, ...]:
        bound = []
        for c in self._join.combinations:
            binder = RowsOfJoin(self._query, c.visible, c.using)
            value = binder.bind(node)
            bound.append(value if condition is None else build.case([(binder.bind(condition), value)], build.NULL))
        return self._query.aligned(bound, node)

    def no_values(self) -> list[Expr | None]:
        return [None] * len(self._join.combinations)

    def terms(self, values: Sequence[Expr | None]) -> tuple[Term, ...]:
        return self._join.terms(self._keys, values)
