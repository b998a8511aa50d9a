"""The rows of a join as the result: what it says of each row of the recipient's own table.

    whether the row is in the join    a word on shares, 0 or 1
    the recipient's own columns       read by itself, and put beside
    everything else                   a word on shares: the value where the row is in the join, else 0

So the recipient's table is the spine, of which nobody else learns a row; of the others' tables it learns what it asks
for, about keys it has itself. Texts of others come as their place in a declared list.
"""

from __future__ import annotations

from sqlglot import exp

from mpc.query import build, casts
from mpc.query.coded import coded, labels_of
from mpc.query.join_from import RowsOfJoin
from mpc.query.joins import Joined, asking_side
from mpc.query.nodes import Agg, Expr, JoinSide, Term, columns
from mpc.query.relations import ClearBinder, GroupKey, QueryBinder, Totals, key_ref
from mpc.query.selects import rows_shown
from mpc.query.show import shown

EPOCH = build.const("date", 0)


def rows_of_join(query: QueryBinder, node: exp.Select, join: Joined) -> Totals:
    """The result of a SELECT without aggregates. Raises LocalError sql.*, plan.rows, plan.domain."""
    by_row = join.with_spine(_asker(query, node, join), by_row=True)
    if len(join.combinations) > 1:
        raise query.source.unsupported(
            node,
            "A result by row over a join with UNION ALL",
            f"Total the branches: SELECT …, SUM(…) GROUP BY the key of {by_row.spine.party}.{by_row.spine.table}.",
        )
    for side in by_row.family[1:]:
        if not side.unique:
            key = ", ".join(f"{c.party}.{c.table}.{c.name}" for c in side.key)
            raise query.source.unsupported(
                node,
                f"A result by row over a join in which {key} may repeat",
                f"Total them: SELECT …, SUM({side.party}.{side.table}.…) GROUP BY {by_row.spine.party}'s key; or "
                f"ask {side.party} to declare the key unique in its catalog.",
            )
    return rows_shown(query, node, RowOutputs(query, by_row))


def _asker(query: QueryBinder, node: exp.Select, join: Joined) -> JoinSide:
    """The table whose rows the result has: one of the only recipient's."""
    found = asking_side(join, query.recipients)
    if found is not None:
        return found
    may = {s.party for s in join.common if not s.optional}
    to = f"and this one goes to {' and '.join(query.recipients)}" if query.recipients else "and nobody is named"
    raise query.source.error(
        "plan.rows",
        node,
        "the query asks for the single rows of a join. Only a party whose own table gives the rows can receive them, "
        f"{to}.",
        f"Send it {' or '.join(f'--to {p}' for p in sorted(may))}, or ask for totals: COUNT(*), SUM(…), GROUP BY.",
    )


class RowOutputs(ClearBinder):
    """The SELECT and ORDER BY of a join whose rows are the result. ``keys``: the recipient's own values in them."""

    def __init__(self, query: QueryBinder, join: Joined) -> None:
        (self._from,) = join.combinations
        super().__init__(query, list(self._from.visible))
        self._join = join
        self.keys: list[GroupKey] = []

    def rows(self) -> tuple[Term, ...]:
        return self._join.terms((), [None])

    def bind(self, node: exp.Expr) -> Expr:
        binder = RowsOfJoin(self._query, self._from.visible, self._from.using)
        (e,) = self._query.aligned([binder.bind(node)], node)
        read = {(c.party, c.table) for c in columns(e)}
        if not read:
            return e
        own = (self._join.spine.party, self._join.spine.table)
        return self._own(e, node) if read == {own} else self._shared(e, node)

    def _own(self, e: Expr, node: exp.Expr) -> Expr:
        for i, key in enumerate(self.keys):
            if key.by_branch == (e,):
                return key_ref(i, key)
        self.keys.append(GroupKey(shown(e), (e,), node))
        return key_ref(len(self.keys) - 1, self.keys[-1])

    def _shared(self, e: Expr, node: exp.Expr) -> Expr:
        """A value that others' columns enter, as a number, and back."""
        if e.kind == "text":
            number, labels = self._coded(e, node)
            place = self._value(number, e)
            named = [(build.compare("=", place, build.integer(i)), text(label)) for i, label in enumerate(labels)]
            return build.case(named, build.NULL)
        if e.kind == "boolean":
            return build.compare("=", self._value(casts.cast(e, "integer", 0, 1, False), e), build.integer(1))
        if e.kind == "date":
            return build.arith("+", EPOCH, self._value(build.arith("-", e, EPOCH), e))
        return self._value(e, e)

    def _value(self, number: Expr, asked: Expr) -> Expr:
        terms = self._join.terms((), [number])
        kind = number.kind
        if not terms:
            return build.const(kind, None, number.scale)
        return Agg(kind, number.scale, number.low, number.high, number.nullable, "value", terms, shown(asked))

    def _coded(self, e: Expr, node: exp.Expr) -> tuple[Expr, tuple[str, ...]]:
        """A text as its place in a list, and the list."""
        labels = labels_of(self.source, self._query.catalogs, e)
        if labels is None:
            read = columns(e)
            raise self.source.error(
                "plan.domain",
                node,
                f"the values of {shown(e)} do not follow from declared domains, and text of others is shown as one of "
                "a list.",
                f"{' and '.join(dict.fromkeys(c.party for c in read))} can declare a domain for "
                f"{', '.join(dict.fromkeys(c.name for c in read))}; or ask for numbers, dates, or CASE with constant "
                "labels.",
            )
        place = coded(e, labels)
        if place is None:
            raise self.source.unsupported(
                node,
                f"{shown(e)} over columns of several owners",
                "Select the texts as columns of their own, or use CASE.",
            )
        return place, labels


def text(value: str) -> Expr:
    return build.const("text", value)
