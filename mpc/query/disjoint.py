"""Populations that no row can be in both of, by their constants alone: what needs no comparison.

    month = '2026-01'   beside   month = '2026-02'         other constants
    day < DATE '…'      beside   day >= DATE '…'           ranges that do not meet
    branch IN ('A')     beside   branch IN ('B', 'C')      lists that do not meet
    late IS NULL        beside   late > 3                  NULL makes no comparison TRUE

A population is a sum of products, and a row is in it only where all conditions of one of them are TRUE. Two populations
*exclude* each other where every product of the one has with every product of the other a side whose row cannot make
both factors' conditions TRUE. Then, of the entities behind either of them,

    if the key of such a side does not repeat, nobody has the one row that would have to pass both;
    if it repeats, all products of a population have the same factor there (mpc/query/program.py refuses others), so an
    entity behind both has other rows of that side in each, and counts as differing

so they differ in every entity of both: d >= n in each row of what mpc/protocols/differences.py judges, and a pair is
close only where d < least <= n. The comparison comes out as "not close" whatever the data are. Nor does such a pair
settle others: d = 0 says that the new population is empty, which is hidden as too small.

Whether conditions can all be TRUE in one row is tried out: what they compare with constants (a column, or the same
expression over columns) is an *atom*, of which only finitely many values have to be tried, since between two
neighbouring constants nothing changes. All conditions are evaluated as SQL has them, NULL included. An atom may be
anything, whatever the others are: that a value is tried which no row can have makes two populations less disjoint,
never more. So does whatever is left out: a condition that takes too long to try counts as TRUE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import floor, prod

from mpc.query.evaluate import Datum, NotEvaluable, constant, evaluate
from mpc.query.nodes import (
    Case,
    Coalesce,
    Column,
    Compare,
    Const,
    Expr,
    InList,
    IsNull,
    Logic,
    Not,
    columns,
    rebuild,
    walk,
)
from mpc.query.polynomials import Poly
from mpc.query.uses import bare

#: pairs of products that are looked through, and nodes that are evaluated for some conditions
MAX_PAIRS, MAX_WORK = 64, 10_000


def exclude(p: Poly, q: Poly) -> bool:
    """Whether no row of a join is in both populations. Both with the sides' own conditions (``Program.guarded``)."""
    if len(p) * len(q) > MAX_PAIRS:
        return False
    return all(
        any(side in other and never(f.conditions | other[side].conditions) for side, f in one)
        for one in p
        for other in map(dict, q)
    )


@lru_cache(maxsize=4096)
def never(conditions: frozenset[Expr]) -> bool:
    """Whether no row makes all of these conditions over its columns TRUE. False where that does not show."""
    atoms = _Atoms()
    parts = [atoms.condition(c) for e in sorted(conditions, key=repr) for c in _conjuncts(e)]
    values = {a: _values(a, constants) for a, constants in atoms.constants.items()}
    several = []
    for part in parts:
        read = columns(part)
        if len(read) == 1:
            values[read[0]] = _passing(part, read[0], values[read[0]])
        else:
            several.append(part)
    if not all(values.values()):
        return True
    return not all(_some_pass(found, {a: values[a] for a in read}) for found, read in _connected(several))


def _conjuncts(e: Expr) -> Iterator[Expr]:
    if isinstance(e, Logic) and e.op == "and":
        for a in e.args:
            yield from _conjuncts(a)
    else:
        yield e


@dataclass
class _Atoms:
    """Reads conditions, with a column of no table in the place of each atom; of each the constants beside it."""

    names: dict[Expr, Column] = field(default_factory=dict)
    constants: dict[Column, set[Datum]] = field(default_factory=dict)

    def condition(self, e: Expr) -> Expr:
        if isinstance(e, Const):
            return e
        if isinstance(e, Logic | Not):
            return rebuild(e, self.condition)
        if isinstance(e, Case | Coalesce):
            return self._chosen(e, self.condition)
        if isinstance(e, IsNull):
            return replace(e, arg=self._value(e.arg, ()))
        if isinstance(e, InList) and _exact(e.arg, *e.items) and _constant(*e.items):
            return replace(e, arg=self._value(e.arg, e.items))
        if isinstance(e, Compare) and _exact(e.left, e.right):
            if _constant(e.right):
                return replace(e, left=self._value(e.left, [e.right]))
            if _constant(e.left):
                return replace(e, right=self._value(e.right, [e.left]))
        return self._atom(e, ())

    def _value(self, e: Expr, beside: Sequence[Expr]) -> Expr:
        """A value that is compared with constants only, or asked whether it is NULL."""
        plain = bare(e)
        if plain.kind in ("integer", "decimal", "boolean"):
            e = plain
        if isinstance(e, Const):
            return e
        if isinstance(e, Case | Coalesce):
            return self._chosen(e, lambda v: self._value(v, beside))
        return self._atom(e, beside)

    def _chosen(self, e: Case | Coalesce, value: Callable[[Expr], Expr]) -> Expr:
        if isinstance(e, Coalesce):
            return replace(e, args=tuple(map(value, e.args)))
        whens = tuple((self.condition(c), value(v)) for c, v in e.whens)
        return replace(e, whens=whens, default=value(e.default))

    def _atom(self, e: Expr, beside: Sequence[Expr]) -> Column:
        name = Column(e.kind, e.scale, None, None, True, "", "", str(len(self.names)))
        name = self.names.setdefault(_unbound(e), name)
        self.constants.setdefault(name, set()).update(constant(c) for c in beside if isinstance(c, Const))
        return name


def _exact(*parts: Expr) -> bool:
    return all(e.kind != "double" for e in parts)


def _constant(*parts: Expr) -> bool:
    return all(isinstance(e, Const) for e in parts)


def _unbound(e: Expr) -> Expr:
    """An expression as it is computed, whatever else is known of its values: after a LEFT JOIN they may be NULL."""
    return replace(rebuild(e, _unbound), low=None, high=None, nullable=True)


def _values(atom: Column, beside: set[Datum]) -> list[Datum]:
    """NULL, each of these constants, and a value between any two neighbours, before all and behind all."""
    constants = [c for c in beside if c is not None]
    if atom.kind == "boolean":
        return [None, False, True]
    if atom.kind == "text":  # by bytes; nothing is between a text and the same with a zero byte
        return [None, "", *sorted({t for c in constants for t in (str(c), f"{c}\0")})]
    one = Fraction(1, 10**atom.scale)
    units = {floor(Fraction(c) / one) + step for c in constants or (0,) for step in (-1, 0, 1)}
    return [None, *(int(u * one) if atom.kind == "date" else u * one for u in sorted(units))]


def _passing(part: Expr, atom: Column, values: list[Datum]) -> list[Datum]:
    """The values of its only atom that make a condition TRUE, and more where there is too much to try."""
    if isinstance(part, InList) and part.arg == atom:
        listed = {constant(i) for i in part.items if isinstance(i, Const)} - {None}
        return [v for v in values if v in listed]
    if len(values) * _work([part]) > MAX_WORK:
        return values
    return [v for v in values if _may_hold(part, {atom: v})]


def _some_pass(parts: Sequence[Expr], values: Mapping[Column, list[Datum]]) -> bool:
    """Whether some values make all these conditions TRUE, or there are too many to try."""
    if prod(map(len, values.values())) * _work(parts) > MAX_WORK:
        return True
    tried = (dict(zip(values, found, strict=True)) for found in product(*values.values()))
    return any(all(_may_hold(part, found) for part in parts) for found in tried)


def _work(parts: Sequence[Expr]) -> int:
    return sum(1 for part in parts for _ in walk(part))


def _may_hold(part: Expr, at: Mapping[Column, Datum]) -> bool:
    def leaf(e: Expr) -> Datum:
        if not isinstance(e, Column):
            raise NotEvaluable
        return at[e]

    try:
        return evaluate(part, leaf) is True
    except NotEvaluable:
        return True


def _connected(parts: Sequence[Expr]) -> list[tuple[list[Expr], list[Column]]]:
    """Conditions that have atoms in common, directly or by others, with the atoms they read."""
    found: list[tuple[list[Expr], list[Column]]] = []
    for part in parts:
        read = columns(part)
        linked = [c for c in found if set(c[1]) & set(read)]
        found = [c for c in found if c not in linked]
        read = list(dict.fromkeys([*(a for c in linked for a in c[1]), *read]))
        found.append(([*(p for c in linked for p in c[0]), part], read))
    return found
