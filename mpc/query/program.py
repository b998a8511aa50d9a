"""From polynomials over the sides of a join to the steps that parties and helper take: columns, products, comparisons,
sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from mpc.errors import LocalError
from mpc.query.nodes import Expr, JoinSide
from mpc.query.parse import Source
from mpc.query.plan_joins import Brought, Input, Linear, Low, Of, Product, SideColumn, Sign, Step
from mpc.query.plan_pools import Ring
from mpc.query.polynomials import Compared, Factor, Membership, Poly, Term, either, joined

#: what a step is for: a value added up over rows, or 0 or 1 in one row of each entity (``once``: in the same row of a
#: group whatever the conditions; ``across``: in the same row of all groups), or a value in one row of each
How = Literal["sum", "any", "once", "across", "entity"]
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
    factors: list[dict[tuple[Factor | Membership, SideColumn], int]] = field(default_factory=list)
    #: earlier populations that owners bring, in their order
    brought: dict[Brought, int] = field(default_factory=dict)
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

    def once(self, p: Poly, how: How) -> int:
        """The same, 1 in the same row of an entity whatever the conditions. ``how``: ``once`` or ``across``."""
        self._verify_single(p)
        return self._any(p, how)

    def differing(self, p: Poly, others: Mapping[str, Expr], q: Poly, how: How) -> int:
        """The step that is 1 in one row of each entity that is behind one of two populations only, or with other rows
        of a side whose key may repeat. ``others``: the guards of ``q``."""
        mine, theirs = self.once(p, how), self.under(others).once(q, how)
        both = self._add(Product(64, mine, theirs))
        terms, otherwise = [(1, mine), (1, theirs), (-2, both)], self._other_rows(p, others, q, how)
        if otherwise is not None:
            terms.append((1, self._add(Product(64, both, otherwise))))
        return self._add(Linear(64, 0, tuple(terms)))

    def beside_brought(self, p: Poly, side: int, name: str, of: Of, how: How) -> tuple[int, int]:
        """The step of how many entities are behind a population, less 2 for each that is in an earlier one which the
        owner of a side brings; and the number of that."""
        mine, unique = self.once(p, how), self.sides[side].unique
        # the same in all rows of an entity
        column = SideColumn(64, "sum" if unique or not side else "any")
        both = self._add(Product(64, mine, self._column(side, Membership(name, of), column)))
        terms, otherwise = [(1, mine), (-2, both)], None
        if not unique:
            rows = next(f.conditions for t in self.guarded(p) for n, f in t if n == self.sides[side].name)
            other = Membership(name, of, rows)
            terms.append((1, self._add(Product(64, both, self._column(side, other, column)))))
            otherwise = self.factors[side][other, column]
        b = Brought(side, name, of, self.factors[side][Membership(name, of), column], otherwise)
        return self._add(Linear(64, 0, tuple(terms))), self.brought.setdefault(b, len(self.brought))

    def _other_rows(self, p: Poly, others: Mapping[str, Expr], q: Poly, how: How) -> int | None:
        """1 where an entity has other rows of some side under the conditions of ``p`` than of ``q``."""
        same: int | None = None
        for i, side in enumerate(self.sides):
            mine, theirs = (
                next((f for t in x for n, f in t if n == side.name), None)
                for x in (self.guarded(p), self.under(others).guarded(q))
            )
            if side.unique or mine is None or theirs is None or mine.conditions == theirs.conditions:
                continue
            one = Factor(None, frozenset({either(mine.conditions, theirs.conditions)}))
            other = self._input(i, one, 64, how)
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

    def guarded(self, p: Poly) -> Poly:
        """The same with all sides that stand in each product, and their own conditions wherever they do."""
        absent = self._may_be_absent
        always = frozenset((s.name, Factor()) for s in self.sides if s.name not in absent)
        out: dict[Term, int] = {}
        for term, c in p.items():
            whole = joined(always, term)
            there = dict(whole)
            own = ((n, Factor(None, frozenset({e}))) for n, e in self.guards.items() if n in there)
            guarded = joined(whole, frozenset(own))
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
                if how == "any" or (how in ("once", "across") and unique):
                    return self._column(side, factor, SideColumn(64, "mark"))
                return self._column(side, factor, SideColumn(bits, how))
            # Marks and padding have no row of another side either, unless none is asked for. Rows that fail the spine's
            # own condition can have one; totals leave them out, behind the last group.
            in_place = self.by_row and self.sides[0].where is not None
            if plain and not in_place and not any(s.optional for s in self.sides):
                return None
            return self._column(side, factor, SideColumn(bits, "sum"))
        marked = how in ("any", "once", "across")
        if plain and bits == 64 and (unique or marked):
            return self._add(Input(64, side, -1))
        return self._column(side, factor, SideColumn(bits, "any" if marked and not unique else "sum"))

    def _column(self, side: int, factor: Factor | Membership, column: SideColumn) -> int:
        known = self.factors[side]
        return self._add(Input(column.bits, side, known.setdefault((factor, column), len(known))))

    def _add(self, step: Step) -> int:
        return self._steps.setdefault(step, len(self._steps))
