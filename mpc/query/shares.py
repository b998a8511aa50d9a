"""Expressions over a row of a join as sums of products, one factor a side: what is computed on shares.

    Σ coefficient · Π over the sides ( value where conditions hold, else 0 )

A factor reads one party's columns only, so that party computes it in its local query. Of a side whose key may repeat it
is summed up by key first, which the form allows: it is linear in every side. The product over the sides is P4.

Every expression has two such polynomials: its value, 0 where it is NULL, and 1 where it is not NULL. Conditions have
two more, 1 where they are TRUE and 1 where they are FALSE. Entities behind a sum are counted by a polynomial that is 1
in the rows that count (``counting`` of mpc.query.local says which), the same rule as for sums without a join.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any, Literal

from mpc.errors import LocalError
from mpc.query import build
from mpc.query.build import TRUE, ZERO
from mpc.query.catalog import Catalog
from mpc.query.coded import coded, labels_of
from mpc.query.evaluate import NotEvaluable, evaluate
from mpc.query.local import counting
from mpc.query.nodes import (
    Abs,
    Agg,
    Arith,
    Case,
    Cast,
    Coalesce,
    Column,
    Compare,
    Const,
    Expr,
    Extreme,
    InList,
    IsNull,
    JoinedTerm,
    JoinSide,
    Logic,
    Neg,
    Not,
    NullIf,
    columns,
    is_null,
)
from mpc.query.parse import Source
from mpc.query.pieces import picked_out
from mpc.query.plan import Input, Linear, Low, Product, Released, Ring, SideColumn, Sign, Step
from mpc.query.rules.constants import constant_of
from mpc.query.show import shown

#: products in one polynomial: a query that needs more is refused
MAX_TERMS = 256


@dataclass(frozen=True)
class Factor:
    """``value`` (None: 1) where all ``conditions`` are TRUE, else 0."""

    value: Expr | None = None
    conditions: frozenset[Expr] = frozenset()

    def times(self, other: Factor) -> Factor:
        values = [v for v in (self.value, other.value) if v is not None]
        value = build.arith("*", *values) if len(values) == 2 else values[0] if values else None
        return Factor(value, self.conditions | other.conditions)


@dataclass(frozen=True)
class Compared:
    """A comparison: of this polynomial (as sorted items) with zero; ``bits``: what holds it."""

    value: tuple[tuple[Any, int], ...]
    zero: bool
    bits: Ring


#: a product: the factor of each side that has one, by name
Term = frozenset[tuple[str, Factor]]
Poly = Mapping[Term, int]

NOTHING: Poly = {}
ONE: Poly = {frozenset(): 1}


def plus(*polys: Poly) -> Poly:
    out: dict[Term, int] = {}
    for p in polys:
        for term, c in p.items():
            out[term] = out.get(term, 0) + c
    return {t: c for t, c in out.items() if c}


def scaled(p: Poly, by: int) -> Poly:
    return {t: c * by for t, c in p.items()} if by else NOTHING


def times(p: Poly, q: Poly) -> Poly:
    out: dict[Term, int] = {}
    for a, x in p.items():
        for b, y in q.items():
            term = _joined(a, b)
            out[term] = out.get(term, 0) + x * y
    return {t: c for t, c in out.items() if c}


def _joined(a: Term, b: Term) -> Term:
    factors = dict(a)
    for party, factor in b:
        factors[party] = factors[party].times(factor) if party in factors else factor
    return frozenset(factors.items())


def complement(p: Poly) -> Poly:
    """1 − p."""
    return plus(ONE, scaled(p, -1))


# ---- expressions


class Lowering:
    """Polynomials of the expressions of one query.

    A comparison of columns of several sides is a variable of its own, 0 or 1, which stands in a product like a side's
    factor does: ``Compared`` by its name, "?0", "?1", …

    ``branches``: the sides that not all terms of the pool have, so that this one must name them.
    """

    def __init__(
        self,
        source: Source,
        catalogs: Mapping[str, Catalog],
        term: JoinedTerm,
        branches: frozenset[str],
        compared: dict[str, Compared],
    ) -> None:
        self._source, self._catalogs, self._compared = source, catalogs, compared
        self._names = {(s.party, s.table): s.name for s in term.sides}
        self._optional = frozenset(s.name for s in term.sides if s.optional)
        there: Poly = {frozenset((s.name, Factor()) for s in term.sides if s.name in branches): 1}
        #: 1 in the rows of the join
        self.rows: Poly = reduce(times, map(self.true, term.crossing), there)

    def _read(self, e: Expr) -> set[str]:
        """The sides whose columns an expression reads."""
        return {self._names[c.party, c.table] for c in columns(e)}

    def value(self, e: Expr) -> tuple[Poly, Poly]:
        """The value in units, 0 where it is NULL; and 1 where it is not NULL. Raises LocalError sql.unsupported."""
        found = self._value(e)
        if max(map(len, found)) > MAX_TERMS:
            raise self._source.unsupported(None, f"{shown(e)} over a join", "Split it into several sums.")
        return found

    def _value(self, e: Expr) -> tuple[Poly, Poly]:
        sides = self._read(e)
        if not sides:
            return self._constant(e)
        if len(sides) == 1:
            there = frozenset({build.negate(build.is_null_test(e))} if e.nullable else ())
            side = sides.pop()
            value: Poly = {frozenset({(side, Factor(e, there))}): 1}
            known: Poly = {frozenset({(side, Factor(None, there))}): 1}
            if side in self._optional and not is_null(missing := self._missing(e)):
                absent = complement({frozenset({(side, Factor())}): 1})
                value, known = plus(value, times(self.value(missing)[0], absent)), plus(known, absent)
            return value, known
        if isinstance(e, Neg):
            v, k = self.value(e.arg)
            return scaled(v, -1), k
        if isinstance(e, Arith) and e.op in "+-":
            (v, k), (w, m) = self.value(e.left), self.value(e.right)
            sign = -1 if e.op == "-" else 1
            left, right = _at(v, e.left, e.scale), scaled(_at(w, e.right, e.scale), sign)
            return plus(times(left, m), times(right, k)), times(k, m)
        if isinstance(e, Arith) and e.op == "*":
            (v, k), (w, m) = self.value(e.left), self.value(e.right)
            return times(v, w), times(k, m)
        if isinstance(e, Cast) and not e.most and e.scale >= e.arg.scale and e.kind in ("integer", "decimal"):
            v, k = self.value(e.arg)
            return _at(v, e.arg, e.scale), k
        if isinstance(e, Case):
            arms = [(reach, *self.value(v), v) for reach, v in self._arms(e)]
            return (
                plus(*(times(reach, _at(v, arm, e.scale)) for reach, v, _, arm in arms)),
                plus(*(times(reach, k) for reach, _, k, _ in arms)),
            )
        if isinstance(e, Coalesce):
            left, value, known = ONE, NOTHING, NOTHING
            for arg in e.args:
                v, k = self.value(arg)
                value, known = plus(value, times(left, _at(v, arg, e.scale))), plus(known, times(left, k))
                left = times(left, complement(k))
            return value, known
        if isinstance(e, Extreme):
            return self._extreme(e)
        if isinstance(e, Abs):
            (v, k), below = self.value(e.arg), self._comparison("<", e.arg, ZERO)
            return plus(v, scaled(times(below, v), -2)), k
        if isinstance(e, NullIf):
            (v, k), other = self.value(e.left), complement(self._comparison("=", e.left, e.right))
            return times(v, other), times(k, other)
        if e.kind == "boolean":
            yes, no = self.true(e), self.false(e)
            return yes, plus(yes, no)
        raise self._refused(e)

    def _extreme(self, e: Extreme) -> tuple[Poly, Poly]:
        """GREATEST and LEAST of those that are not NULL, two by two."""
        *first, last = e.args
        left = build.extreme(e.op, first)
        (v, k), (w, m) = self.value(left), self.value(last)
        v, w = _at(v, left, e.scale), _at(w, last, e.scale)
        take = self._comparison("<", left, last) if e.op == "greatest" else self._comparison("<", last, left)
        value = plus(v, times(w, complement(k)), times(take, plus(w, scaled(v, -1))))
        return value, plus(k, m, scaled(times(k, m), -1))

    def _missing(self, e: Expr) -> Expr:
        """What an expression over the columns of an optional side is where no row met: they are all NULL."""
        try:
            return constant_of(e, evaluate(e, lambda _column: None))
        except NotEvaluable:
            raise self._source.unsupported(
                None, f"{shown(e)} over the right side of a LEFT JOIN", "Compute it in a subquery over that table."
            ) from None

    def _constant(self, e: Expr) -> tuple[Poly, Poly]:
        if is_null(e):
            return NOTHING, NOTHING
        if not isinstance(e, Const) or isinstance(e.value, str):
            raise self._refused(e)
        return scaled(ONE, int(e.value or 0)), ONE

    def _arms(self, e: Case) -> list[tuple[Poly, Expr]]:
        """Where each arm of a CASE is taken, and its value."""
        left, found = ONE, []
        for condition, value in e.whens:
            found.append((times(left, self.true(condition)), value))
            left = times(left, self._not_true(condition))
        return [*found, (left, e.default)]

    def true(self, e: Expr) -> Poly:
        """1 where a condition is TRUE."""
        sides = self._read(e)
        if not sides:
            return ONE if e == TRUE else NOTHING
        if len(sides) == 1:
            side = sides.pop()
            holds: Poly = {frozenset({(side, Factor(None, frozenset({e})))}): 1}
            if side in self._optional and self._missing(e) == TRUE:
                holds = plus(holds, complement({frozenset({(side, Factor())}): 1}))
            return holds
        if isinstance(e, Logic) and e.op == "and":
            return reduce(times, map(self.true, e.args), ONE)
        if isinstance(e, Logic):
            return complement(reduce(times, map(self._not_true, e.args), ONE))
        if isinstance(e, Not):
            return self.false(e.arg)
        if isinstance(e, IsNull):
            return complement(self.value(e.arg)[1])
        if isinstance(e, Compare):
            return self._comparison(e.op, e.left, e.right)
        if isinstance(e, InList):
            equal = [build.compare("=", e.arg, i) for i in e.items if not is_null(i)]
            return self.true(build.logic("or", *equal)) if equal else NOTHING
        raise self._refused(e)

    def _comparison(self, op: str, left: Expr, right: Expr) -> Poly:
        """1 where a comparison over columns of several owners is TRUE."""
        if op in (">", "<="):
            left, right, op = right, left, {">": "<", "<=": ">="}[op]
        if op == "is":  # both NULL, or equal
            neither = times(complement(self.value(left)[1]), complement(self.value(right)[1]))
            return plus(self._comparison("=", left, right), neither)
        if left.kind == right.kind == "text":
            left, right = self._places(op, left, right)
        if op not in ("<", ">=", "=", "<>") or left.kind in ("text", "double") or right.kind in ("text", "double"):
            raise self._refused(build.compare(op, left, right))
        if left.kind == "boolean":
            left, right = (build.cast(x, "integer", 0, 1, False) for x in (left, right))
        difference = build.arith("-", left, right)
        value, known = self.value(difference)
        if difference.low is None or difference.high is None:
            raise self._refused(build.compare(op, left, right))
        most = max(-difference.low, difference.high)
        one = Compared(tuple(sorted(value.items(), key=repr)), op in ("=", "<>"), 64 if most < 2**63 else 128)
        name = next((n for n, c in self._compared.items() if c == one), f"?{len(self._compared)}")
        self._compared[name] = one
        holds: Poly = {frozenset({(name, Factor())}): 1}
        return times(known, holds if op in ("<", "=") else complement(holds))

    def _places(self, op: str, left: Expr, right: Expr) -> tuple[Expr, Expr]:
        """Texts that are compared, as their places in one list."""
        labels = labels_of(self._source, self._catalogs, left, right)
        if labels is None:
            raise self._source.unsupported(
                None,
                f"{shown(build.compare(op, left, right))} without declared domains",
                "Join by these columns, or ask the owners to declare their domains: texts of several owners are "
                "compared as places in a list.",
            )
        places = coded(left, labels), coded(right, labels)
        if places[0] is None or places[1] is None:
            raise self._refused(build.compare(op, left, right))
        return places[0], places[1]

    def false(self, e: Expr) -> Poly:
        """1 where a condition is FALSE (not where it is unknown)."""
        if len(self._read(e)) <= 1:
            return self.true(build.negate(e))
        if isinstance(e, Logic) and e.op == "or":
            return reduce(times, map(self.false, e.args), ONE)
        if isinstance(e, Logic):
            return complement(reduce(times, (complement(self.false(a)) for a in e.args), ONE))
        if isinstance(e, Not):
            return self.true(e.arg)
        if isinstance(e, IsNull):
            return self.value(e.arg)[1]
        if isinstance(e, Compare):
            if e.op == "is":
                return complement(self.true(e))
            opposite = {"<": ">=", ">=": "<", ">": "<=", "<=": ">", "=": "<>", "<>": "="}
            return self._comparison(opposite.get(e.op, e.op), e.left, e.right)
        raise self._refused(e)

    def _not_true(self, e: Expr) -> Poly:
        sides = self._read(e)
        if len(sides) != 1 or sides & self._optional:
            return complement(self.true(e))
        return self.true(_fails(e))

    def entities(self, e: Expr) -> list[Poly]:
        """1 in the rows that count as entities behind a sum of ``e``; each of them by itself must reach the rule."""
        sides = self._read(e)
        if not sides:
            return []
        if len(sides) == 1:
            [side] = sides
            marked = counting(e)
            found = [self.value(e)[1] if marked is None else _marked(side, marked)]
            return found + [_marked(side, part.marks[side]) for part in picked_out({side: e})]
        if isinstance(e, Neg | Cast):
            return self.entities(e.arg)
        if isinstance(e, Arith) and e.op in "+-":
            known = [self.value(e.left)[1], self.value(e.right)[1]]
            return [
                *(times(p, known[1]) for p in self.entities(e.left)),
                *(times(p, known[0]) for p in self.entities(e.right)),
            ]
        if isinstance(e, Arith) and e.op == "*":
            left, right = self.entities(e.left) or [ONE], self.entities(e.right) or [ONE]
            return [times(p, q) for p in left for q in right]
        if isinstance(e, Case):
            arms = self._arms(e)
            if any(not isinstance(v, Const) for _, v in arms):
                arms = [(reach, v) for reach, v in arms if not isinstance(v, Const)]
            else:
                arms = [(reach, v) for reach, v in arms if isinstance(v, Const) and v.value]
            return [plus(*(times(reach, reduce(times, self.entities(v), ONE)) for reach, v in arms))]
        return [self.value(e)[1]]

    def total(self, agg: Agg, value: Expr | None) -> Poly:
        """What an aggregate of ``value`` adds up over the rows of the join."""
        return times(self.rows, self._total(agg, value))

    def _total(self, agg: Agg, value: Expr | None) -> Poly:
        if agg.func == "rows" or value is None:
            return ONE
        if agg.func == "count":
            return self.value(value)[1]
        if agg.func in ("sum", "value"):
            return self.value(value)[0]
        if agg.func == "squares":
            return self.value(build.arith("*", value, value))[0]
        raise self._source.unsupported(None, f"{agg.name} over a join", "Use COUNT, SUM, AVG, VARIANCE.")

    def ranked(self, term: JoinedTerm) -> tuple[Poly, Poly]:
        """Each row's value and 1 where it counts, for a place among the values."""
        assert term.value is not None
        value, known = self.value(term.value)
        return times(self.rows, value), times(self.rows, known)

    def distinct(self, agg: Agg, term: JoinedTerm) -> Poly:
        """1 in the rows in which a value is not NULL, of which distinct keys are counted: the value is the key."""
        value = term.value
        assert value is not None
        keys = {c for s in term.sides for c in s.key}
        if len(term.family) > len(term.sides):
            raise self._source.unsupported(
                None, f"{agg.name} over a join with UNION ALL", "Count with COUNT(*), or over a join of one branch."
            )
        if len(term.sides[0].key) > 1 or not _is_one_of(value, keys):
            raise self._source.unsupported(
                None, f"{agg.name} over a join", "Count distinct values of the key that the join is by, or COUNT(*)."
            )
        return times(self.rows, self.value(value)[1])

    def behind(self, agg: Agg, value: Expr | None) -> list[Poly]:
        """The entities behind an aggregate of ``value``."""
        return [times(self.rows, p) for p in self._behind(agg, value)]

    def _behind(self, agg: Agg, value: Expr | None) -> list[Poly]:
        if agg.func == "rows" or value is None:
            return [ONE]
        if agg.func in ("sum", "squares", "ranked", "known"):
            return self.entities(value) or [ONE]
        return [self.value(value)[1]]

    def _refused(self, e: Expr) -> LocalError:
        return self._source.unsupported(
            None,
            f"{shown(e)} over columns of several owners",
            "Over a join: + − *, comparisons, CASE, COALESCE, NULLIF, GREATEST, LEAST, ABS, IN, AND, OR, NOT, IS NULL "
            "across owners, and anything over one owner's columns.",
        )


def _either(a: frozenset[Expr], b: frozenset[Expr]) -> Expr:
    """TRUE where one of two lists of conditions holds and the other does not."""
    x, y = (build.logic("and", *sorted(c, key=repr)) if c else TRUE for c in (a, b))
    return build.logic("or", build.logic("and", x, _fails(y)), build.logic("and", y, _fails(x)))


def _fails(e: Expr) -> Expr:
    """TRUE where a condition is not."""
    return build.coalesce([build.negate(e), TRUE]) if e.nullable else build.negate(e)


def _marked(side: str, mark: Expr) -> Poly:
    """1 in the rows of a side whose mark is not NULL."""
    return {frozenset({(side, Factor(None, frozenset({build.negate(build.is_null_test(mark))})))}): 1}


def _is_one_of(e: Expr, keys: set[Column]) -> bool:
    """Whether a value is a key, or NULL by a condition."""
    if isinstance(e, Case):
        return all(is_null(v) or _is_one_of(v, keys) for v in (*(v for _, v in e.whens), e.default))
    return isinstance(e, Column) and replace(e, nullable=False) in {replace(k, nullable=False) for k in keys}


def _at(p: Poly, e: Expr, scale: int) -> Poly:
    return scaled(p, 10 ** (scale - e.scale))


# ---- from polynomials to steps


#: what a step is for: a value added up over rows, or 0 or 1 in one row of each entity (``once``: in the same row
#: whatever the conditions), or a value in one row of each
How = Literal["sum", "any", "once", "entity"]
#: a coefficient and a factor of each side, then of each variable (None: it does not stand in the product)
Row = tuple[int, tuple[Factor | None, ...]]


@dataclass
class Program:
    """Steps in the making: equal columns, products and sums are made once.

    ``branches``: sides that stand in a product only where it names them. ``by_row``: words are those of single rows of
    the spine, in place of totals. ``guards``: conditions of sides by themselves that hold wherever they stand in a
    product, where their local queries let other rows pass too.
    """

    source: Source
    sides: tuple[JoinSide, ...]
    branches: frozenset[str]
    compared: Mapping[str, Compared]
    by_row: bool
    guards: Mapping[str, Expr] = field(default_factory=dict)
    #: per side: (factor, column) in their order
    factors: list[dict[tuple[Factor, SideColumn], int]] = field(default_factory=list)
    _steps: dict[Step, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.factors = self.factors or [{} for _ in self.sides]

    @property
    def _may_be_absent(self) -> set[str]:
        """What stands in a product only where it is asked for: comparisons, sides of a LEFT JOIN or of a UNION ALL."""
        return {*self.compared, *self.branches, *(s.name for s in self.sides if s.optional)}

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(self._steps)

    def word(self, p: Poly, bits: Ring, besides: Sequence[tuple[int, int]]) -> int:
        """The step of a word of a measure. ``besides``: further steps of 64 bits that are added, with coefficients."""
        step = self._emit(p, bits, "sum")
        if not besides:
            return step
        return self._add(Linear(64, 0, ((1, step), *besides) if p else tuple(besides)))

    def entities(self, p: Poly) -> int:
        """The step that counts entities: 0 or 1 in a row."""
        self._verify_single(p)
        return self._any(p, "any")

    def once(self, p: Poly) -> int:
        """The same, 1 in the same row of an entity whatever the conditions."""
        self._verify_single(p)
        return self._any(p, "once")

    def differing(self, p: Poly, others: Mapping[str, Expr], q: Poly) -> int:
        """The step that is 1 in one row of each entity that is behind one of two populations only, or with other rows
        of a side whose key may repeat. ``others``: the guards of ``q``."""
        mine, theirs = self.once(p), self.under(others).once(q)
        both = self._add(Product(64, mine, theirs))
        terms, otherwise = [(1, mine), (1, theirs), (-2, both)], self._other_rows(p, others, q)
        if otherwise is not None:
            terms.append((1, self._add(Product(64, both, otherwise))))
        return self._add(Linear(64, 0, tuple(terms)))

    def _other_rows(self, p: Poly, others: Mapping[str, Expr], q: Poly) -> int | None:
        """1 where an entity has other rows of some side under the conditions of ``p`` than of ``q``."""
        same: int | None = None
        for i, side in enumerate(self.sides):
            mine, theirs = (
                next((f for t in x for n, f in t if n == side.name), None)
                for x in (self.guarded(p), self.under(others).guarded(q))
            )
            if side.unique or mine is None or theirs is None or mine.conditions == theirs.conditions:
                continue
            either = Factor(None, frozenset({_either(mine.conditions, theirs.conditions)}))
            other = self._input(i, either, 64, "once")
            assert other is not None
            step = self._add(Linear(64, 1, ((-1, other),)))
            same = step if same is None else self._add(Product(64, same, step))
        return None if same is None else self._add(Linear(64, 1, ((-1, same),)))

    def under(self, guards: Mapping[str, Expr]) -> Program:
        """The same steps in the making, with other guards."""
        return replace(self, guards=guards)

    def addend(self, p: Poly, bits: Ring) -> int:
        """The step of what a sum adds in an entity's rows of a group, which is in one of them."""
        self._verify_single(p)
        return self._emit(p, bits, "entity")

    def present(self, polys: Sequence[Poly]) -> int:
        """1 in a row of the spine where a row of the join is 1 in one of the terms."""
        found = [self._any(p, "any") for p in polys]
        if len(found) == 1:
            return found[0]
        return self._add(Sign(64, self._add(Linear(64, 0, tuple((-1, step) for step in found))), False))

    def _verify_single(self, p: Poly) -> None:
        """Raises LocalError where one key of the spine would be compared in several rows."""
        if any(name in self.compared for t in p for name, _ in t) and not self.sides[0].unique:
            raise self._may_repeat(0, "Comparisons of columns of several owners")

    def _any(self, p: Poly, how: How) -> int:
        for i, side in enumerate(self.sides[self.by_row :], start=self.by_row):
            seen = {dict(t).get(side.name, Factor()) for t in p}
            if len(seen) > 1 and not side.unique:
                raise self._may_repeat(i, "Conditions of several owners with OR or several CASE arms")
        return self._emit(p, 64, how)

    def _may_repeat(self, side: int, what: str) -> LocalError:
        s = self.sides[side]
        key = ", ".join(f"{c.party}.{c.table}.{c.name}" for c in s.key)
        return self.source.unsupported(
            None,
            f"{what}, where {key} may repeat,",
            f"Write each as a sum of its own, or ask {s.party} to declare the key unique in its catalog.",
        )

    def released(self, words: Sequence[int], entities: Sequence[int]) -> Released:
        return Released(tuple(words), tuple(dict.fromkeys(entities)))

    def guarded(self, p: Poly) -> Poly:
        """The same with all sides that stand in each product, and their own conditions wherever they do."""
        absent = self._may_be_absent
        always = frozenset((s.name, Factor()) for s in self.sides if s.name not in absent)
        out: dict[Term, int] = {}
        for term, c in p.items():
            whole = _joined(always, term)
            there = dict(whole)
            own = ((n, Factor(None, frozenset({e}))) for n, e in self.guards.items() if n in there)
            guarded = _joined(whole, frozenset(own))
            out[guarded] = out.get(guarded, 0) + c
        return {t: c for t, c in out.items() if c}

    def _emit(self, p: Poly, bits: Ring, how: How) -> int:
        p = self.guarded(p)
        names = [s.name for s in self.sides] + sorted({n for t in p for n, _ in t if n in self.compared})
        terms = [
            (c, tuple(dict(t).get(n, None if n in self._may_be_absent else Factor()) for n in names))
            for t, c in p.items()
        ]
        terms.sort(key=repr)
        # the variables that comparisons are stand behind the sides
        variables = [self._comparison(n, bits) for n in names[len(self.sides) :]]
        step, constant = self._sum(terms, len(names) - 1, bits, how, variables)
        return self._add(Linear(bits, constant, ())) if step is None else step

    def _comparison(self, name: str, bits: Ring) -> int:
        """The step of a comparison, in a ring."""
        one = self.compared[name]
        # of single rows, one key would be compared with as many values as it has rows
        repeated = [i for i, s in enumerate(self.sides) if (i or self.by_row) and not s.unique]
        if repeated:
            raise self._may_repeat(repeated[0], "Comparisons of columns of several owners")
        wide: Ring = 128 if 128 in (bits, one.bits) else 64
        # what stands beside it in the product has the guards, but for sides that are compared where they are absent
        plain = self if any(s.optional for s in self.sides) else self.under({})
        step = self._add(Sign(wide, plain._emit(dict(one.value), wide, "sum"), one.zero))
        return step if wide == bits else self._add(Low(64, step))

    def _sum(
        self, terms: Sequence[Row], side: int, bits: Ring, how: How, variables: Sequence[int]
    ) -> tuple[int | None, int]:
        """Σ coefficient · Π factors of sides and variables up to ``side``: a step, or None and a constant."""
        parts: list[tuple[int, int]] = []
        constant = 0
        if side < 0:
            return None, sum(c for c, _ in terms)
        by_factor: dict[Factor | None, list[Row]] = {}
        for c, factors in terms:
            by_factor.setdefault(factors[side], []).append((c, factors))
        for factor, group in by_factor.items():
            rest, times_ = self._sum(group, side - 1, bits, how, variables)
            if factor is None:
                mine = None
            else:
                beyond = side - len(self.sides)
                mine = variables[beyond] if beyond >= 0 else self._input(side, factor, bits, how)
            if mine is None and rest is None:
                constant += times_
            elif mine is None:
                assert rest is not None
                parts.append((1, rest))
            else:
                parts.append((times_, mine) if rest is None else (1, self._add(Product(bits, mine, rest))))
        parts = [(c, s) for c, s in parts if c]
        if not parts:
            return None, constant
        if len(parts) == 1 and parts[0][0] == 1 and not constant:
            return parts[0][1], 0
        return self._add(Linear(bits, constant, tuple(parts))), 0

    def _input(self, side: int, factor: Factor, bits: Ring, how: How) -> int | None:
        """The step of a factor; None where it is 1 in every row that counts."""
        plain, unique = factor == Factor(), self.sides[side].unique
        if side == 0:
            # after a LEFT JOIN, also for rows without a key: there may be many of one entity
            lonely = any(s.optional for s in self.sides)
            if how != "sum" and (lonely or not unique) and not self.by_row:
                # of a key that does not repeat the only row is the first in which anything holds
                if how == "any" or (how == "once" and unique):
                    return self._column(side, factor, SideColumn(64, "mark"))
                return self._column(side, factor, SideColumn(bits, how))
            # Marks and padding have no row of another side either, unless none is asked for. Rows that fail the spine's
            # own condition can have one; totals leave them out, behind the last group.
            in_place = self.by_row and self.sides[0].where is not None
            if plain and not in_place and not any(s.optional for s in self.sides):
                return None
            return self._column(side, factor, SideColumn(bits, "sum"))
        marked = how in ("any", "once")
        if plain and bits == 64 and (unique or marked):
            return self._add(Input(64, side, -1))
        return self._column(side, factor, SideColumn(bits, "any" if marked and not unique else "sum"))

    def _column(self, side: int, factor: Factor, column: SideColumn) -> int:
        known = self.factors[side]
        return self._add(Input(column.bits, side, known.setdefault((factor, column), len(known))))

    def _add(self, step: Step) -> int:
        return self._steps.setdefault(step, len(self._steps))
