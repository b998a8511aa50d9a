"""Sums of products with one factor a side: the form in which a row of a join is computed on shares.

    Σ coefficient · Π over the sides ( value where conditions hold, else 0 )

A factor reads one party's columns only, so that party computes it in its local query. Of a side whose key may repeat it
is summed up by key first, which the form allows: it is linear in every side. The product over the sides is P4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpc.query import build
from mpc.query.build import TRUE
from mpc.query.nodes import Expr
from mpc.query.plan_joins import Of
from mpc.query.plan_pools import Ring


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
class Membership:
    """What only the owner of a side knows of its rows: whether they are in an earlier population, ``of`` some cells of
    it; with ``counted``, whether they are there with other rows than those in which these conditions hold."""

    name: str
    of: Of
    counted: frozenset[Expr] | None = None


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
            term = joined(a, b)
            out[term] = out.get(term, 0) + x * y
    return {t: c for t, c in out.items() if c}


def joined(a: Term, b: Term) -> Term:
    """The product of two products."""
    factors = dict(a)
    for party, factor in b:
        factors[party] = factors[party].times(factor) if party in factors else factor
    return frozenset(factors.items())


def complement(p: Poly) -> Poly:
    """1 − p."""
    return plus(ONE, scaled(p, -1))


def fails(e: Expr) -> Expr:
    """TRUE where a condition is not."""
    return build.coalesce([build.negate(e), TRUE]) if e.nullable else build.negate(e)


def either(a: frozenset[Expr], b: frozenset[Expr]) -> Expr:
    """TRUE where one of two lists of conditions holds and the other does not."""
    x, y = (build.logic("and", *sorted(c, key=repr)) if c else TRUE for c in (a, b))
    return build.logic("or", build.logic("and", x, fails(y)), build.logic("and", y, fails(x)))
