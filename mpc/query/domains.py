"""Which values a GROUP BY key can have: known before any data is looked at, or the query is refused.

A domain is declared by the owner, or follows: booleans, constants, integers and dates within narrow bounds, and every
expression over columns that have one (CASE bins, EXTRACT, SUBSTRING …), evaluated on each combination.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod

from mpc.query.aggregates import ROW_CAP
from mpc.query.catalog import Catalog, Value
from mpc.query.evaluate import Datum, NotEvaluable, constant, evaluate
from mpc.query.nodes import Case, Column, Const, Expr, Logic, columns
from mpc.query.parse import Source
from mpc.query.plan_pools import Box, Key
from mpc.query.relations import GroupKey
from mpc.query.rules.constants import constant_of
from mpc.query.show import shown

#: values of one key taken from bounds, combinations evaluated for a derived key, cells of a job
MAX_RANGE, MAX_COMBINATIONS, MAX_CELLS = 1000, 10_000, 100_000

assert ROW_CAP > MAX_CELLS


class Domains:
    """Domains of expressions over catalog columns.

    ``conditions``: for each branch of a GROUP BY what its rows must pass, one for each of its tables (None: nothing). A
    value of a key that the text of the query excludes makes no cell.
    """

    def __init__(
        self, source: Source, catalogs: Mapping[str, Catalog], conditions: Sequence[Sequence[Expr | None]] = ()
    ) -> None:
        self._source, self._catalogs = source, {c.party: c for c in catalogs.values()}
        self._conditions = conditions

    def key(self, key: GroupKey, present: Sequence[int]) -> Key:
        """The key with the union of the domains of the branches in ``present``, NULL last if it can be NULL."""
        found: set[Value] = set()
        for i in present:
            found.update(self._of_branch(key, i))
        first = key.by_branch[0]
        ordered = sorted((v for v in found if v is not None), key=lambda v: v.encode() if isinstance(v, str) else v)
        assert first.kind != "double"
        return Key(key.name, first.kind, first.scale, tuple(ordered) + ((None,) if None in found else ()))

    def box(self, keys: Sequence[Key], groups: Sequence[GroupKey], branch: int) -> Box:
        """The cells that rows of a branch can fall into."""
        indices = []
        for key, group in zip(keys, groups, strict=True):
            values = self._of_branch(group, branch)
            at = tuple(i for i, v in enumerate(key.domain) if v in values)
            indices.append(None if len(at) == len(key.domain) else at)
        return tuple(indices)

    def check_cells(self, keys: Sequence[Key], groups: Sequence[GroupKey]) -> None:
        cells = prod(len(k.domain) for k in keys)
        if cells > MAX_CELLS:
            sizes = " × ".join(f"{k.name}: {len(k.domain)}" for k in keys)
            raise self._source.error(
                "plan.domain",
                groups[0].node,
                f"the keys make {cells:,} cells ({sizes}), more than {MAX_CELLS:,}.",
                "Group by fewer keys, or by coarser ones (CASE, SUBSTRING).",
            )

    def _of_branch(self, key: GroupKey, branch: int) -> frozenset[Value]:
        e = key.by_branch[branch]
        wheres = self._conditions[branch] if self._conditions else (None,)
        return frozenset(v for v in self.values(key, e) if any(_may_pass(w, e, v) for w in wheres))

    def values(self, key: GroupKey, e: Expr) -> frozenset[Value]:
        """The domain of one branch's key expression, NULL included where it can be."""
        found = self.known(e)
        if found is None:
            raise self._refusal(key, e)
        return found

    def known(self, e: Expr) -> frozenset[Value] | None:
        """The domain of an expression, None where it does not follow from declared ones."""
        if isinstance(e, Const):
            return frozenset({e.value})
        if isinstance(e, Column):
            return self._column(e)
        if e.kind == "boolean":
            return frozenset({False, True} | ({None} if e.nullable else set()))
        if isinstance(e, Case) and (arms := self._case(e)) is not None:
            return arms
        return self._evaluated(e) or _range(e)

    def _column(self, c: Column) -> frozenset[Value] | None:
        null: set[Value] = {None} if c.nullable else set()
        table = self._catalogs[c.party].table(c.table)
        declared = table.column(c.name) if table else None
        if declared is not None and declared.domain is not None:
            return frozenset(null | set(declared.domain))
        if c.kind == "boolean":
            return frozenset(null | {False, True})
        return _range(c)

    def _case(self, e: Case) -> frozenset[Value] | None:
        found: set[Value] = set()
        for value in (*(v for _, v in e.whens), e.default):
            arm = self.known(value)
            if arm is None:
                return None
            found |= arm
        return frozenset(found)

    def _evaluated(self, e: Expr) -> frozenset[Value] | None:
        """The expression on every combination of its columns' values."""
        read = columns(e)
        domains = [self._column(c) for c in read]
        if not read or any(d is None for d in domains) or prod(len(d or ()) for d in domains) > MAX_COMBINATIONS:
            return None
        found: set[Value] = set()
        try:
            for values in product(*(sorted(d or (), key=repr) for d in domains)):
                at: dict[Expr, Datum] = {
                    c: constant(Const(c.kind, c.scale, None, None, True, v)) for c, v in zip(read, values, strict=True)
                }
                found.add(constant_of(e, evaluate(e, at.__getitem__)).value)
        except NotEvaluable:
            return None
        return frozenset(found)

    def _refusal(self, key: GroupKey, e: Expr) -> Exception:
        read = columns(e)
        bare = isinstance(e, Column)
        names = ", ".join(f"{c.party}.{c.table}.{c.name}" for c in read)
        what = (
            f"{names} has no declared domain"
            if bare
            else f"the values of {shown(e)} do not follow from declared domains"
        )
        owner = " and ".join(dict.fromkeys(c.party for c in read)) or "the owner"
        return self._source.error(
            "plan.domain",
            key.node,
            f"cannot group by {key.name}: {what}, so its values would themselves be revealed.",
            f"{owner} can declare a domain for {names or key.name} (a list or a code list) or narrow bounds; "
            "or group by CASE with constant labels.",
        )


def _may_pass(where: Expr | None, key: Expr, value: Value) -> bool:
    """Whether rows with this value of a key column can pass, by the conditions that read no other column."""
    if where is None or not isinstance(key, Column):
        return True
    datum = constant(Const(key.kind, key.scale, None, None, True, value))
    for part in where.args if isinstance(where, Logic) and where.op == "and" else (where,):
        try:
            if columns(part) == [key] and evaluate(part, lambda _column: datum) is not True:
                return False
        except NotEvaluable:
            continue
    return True


def _range(e: Expr) -> frozenset[Value] | None:
    """Integers and dates within narrow bounds."""
    if e.kind not in ("integer", "date") or e.low is None or e.high is None or e.high - e.low >= MAX_RANGE:
        return None
    null: set[Value] = {None} if e.nullable else set()
    return frozenset(null | set(range(e.low, e.high + 1)))
