"""From expressions over a row of a join to polynomials in its sides' factors (``mpc.query.polynomials``).

Every expression has two: its value, 0 where it is NULL, and 1 where it is not NULL. Conditions have two more, 1 where
they are TRUE and 1 where they are FALSE. Entities behind a sum are counted by a polynomial that is 1 in the rows that
count (``counting`` of mpc.query.local says which), the same rule as for sums without a join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

from mpc.errors import LocalError
from mpc.query import build, casts
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
    Logic,
    Neg,
    Not,
    NullIf,
    columns,
    is_null,
)
from mpc.query.parse import Source
from mpc.query.pieces import picked_out
from mpc.query.polynomials import NOTHING, ONE, Compared, Factor, Poly, complement, fails, plus, scaled, times
from mpc.query.rules.constants import constant_of
from mpc.query.show import shown

#: products in one polynomial: a query that needs more is refused
MAX_TERMS = 256


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
            left, right = (casts.cast(x, "integer", 0, 1, False) for x in (left, right))
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
        return self.true(fails(e))

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
