"""Linear forms of totals: what a revealed word adds up, as exact coefficients of atoms.

An *atom* is one of: an ``Agg`` (its NULL taken as 0), or an exact expression over one party's aggregates, which that
party computes by itself. Folding a linear combination into one word is what keeps the parts from being shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm

from mpc.query import build
from mpc.query.aggregates import total_bounds
from mpc.query.build import ZERO
from mpc.query.nodes import (
    Agg,
    Arith,
    Case,
    Cast,
    Coalesce,
    Const,
    Divide,
    Expr,
    IsNull,
    KeyRef,
    Neg,
    Scaled,
    Sqrt,
    aggregates,
    is_null,
    numeric,
    walk,
)
from mpc.query.rules.cancel import constant_factor

#: what is no sum of the parties' parts, or loses its sign in one
NOT_ADDED = ("squares", "ranked", "known")


def flatten(e: Expr, factor: Fraction = Fraction(1)) -> Iterator[tuple[Expr | None, Fraction]]:
    """A numeric expression as a sum of (leaf, coefficient) in true values; leaf None is a constant."""
    if isinstance(e, Const) and not is_null(e) and numeric(e):
        yield None, factor * Fraction(int(e.value or 0), 10**e.scale)
    elif isinstance(e, Neg):
        yield from flatten(e.arg, -factor)
    elif isinstance(e, Arith) and e.op in "+-" and numeric(e.left) and numeric(e.right):
        yield from flatten(e.left, factor)
        yield from flatten(e.right, -factor if e.op == "-" else factor)
    elif isinstance(e, Arith) and e.op == "*" and (parts := constant_factor(e)):
        yield from flatten(parts[1], factor * parts[0])
    elif isinstance(e, Divide) and isinstance(e.right, Const) and e.right.value and numeric(e.right):
        yield from flatten(e.left, factor / Fraction(int(e.right.value), 10**e.right.scale))
    elif _keeps_value(e):
        assert isinstance(e, Cast)
        yield from flatten(e.arg, factor)
    else:
        yield e, factor


def _keeps_value(e: Expr) -> bool:
    """A cast that only aligns scales."""
    return (
        isinstance(e, Cast)
        and not e.most
        and numeric(e)
        and numeric(e.arg)
        and (e.kind != "double" and e.arg.kind != "double" and e.scale >= e.arg.scale)
    )


def atom_of(e: Expr) -> Expr | None:
    """The leaf as an atom that can be added up before it is revealed, or None where it cannot."""
    plain = e.args[0] if isinstance(e, Coalesce) and len(e.args) == 2 and _is_zero(e.args[1]) else e
    if isinstance(plain, Agg):
        return None if plain.func in NOT_ADDED else plain
    found = aggregates(e)
    inexact = any(isinstance(n, Divide | Sqrt | Scaled | KeyRef) or n.kind == "double" for n in walk(e))
    if not found or inexact or not numeric(e) or any(a.keyed or a.joined or a.func in NOT_ADDED for a in found):
        return None
    return e if len({p for a in found for p in a.parties}) == 1 else None


def _is_zero(e: Expr) -> bool:
    return isinstance(e, Const) and e.value == 0 and numeric(e)


@dataclass(frozen=True)
class Form:
    """Σ coefficient · atom in units of 10^-scale, coefficients whole and without a common factor; the combination it
    stands for is ``factor`` times it."""

    terms: tuple[tuple[int, Expr], ...]
    scale: int
    factor: Fraction

    @property
    def parties(self) -> frozenset[str]:
        return frozenset(p for _, atom in self.terms for a in aggregates(atom) for p in a.parties)


def form(terms: list[tuple[Expr, Fraction]]) -> Form:
    """The canonical form of a combination with at least one term whose coefficient is not 0."""
    scale = max(atom.scale for atom, _ in terms)
    shifted = [(atom, c * 10 ** (scale - atom.scale)) for atom, c in terms]
    denominator = lcm(*(c.denominator for _, c in shifted))
    whole = [(int(c * denominator), atom) for atom, c in shifted]
    common = gcd(*(k for k, _ in whole))
    if whole[0][0] < 0:
        common = -common
    return Form(tuple((k // common, atom) for k, atom in whole), scale, Fraction(common, denominator))


# ---- a party's part


def part_of(atom: Expr, party: str) -> Expr | None:
    """What a party adds to an atom: the aggregate over its own terms, its own scalar, or nothing."""
    if isinstance(atom, Agg):
        return restricted(atom, party)
    return atom if any(party in a.parties for a in aggregates(atom)) else None


def restricted(agg: Agg, party: str) -> Agg | None:
    """An aggregate over one party's terms only."""
    terms = tuple(t for t in agg.terms if t.party == party)
    if not terms:
        return None
    low, high = total_bounds(agg.func, terms)
    return replace(agg, low=low, high=high, terms=terms)


def part_bounds(form_: Form, party: str) -> tuple[int, int]:
    """The interval of a party's word, in units."""
    low = high = 0
    for k, atom in form_.terms:
        part = part_of(atom, party)
        if part is None:
            continue
        ends = sorted(
            (
                k * min(part.low or 0, 0 if part.nullable else part.low or 0),
                k * max(part.high or 0, 0 if part.nullable else part.high or 0),
            )
        )
        low, high = low + ends[0], high + ends[1]
    return low, high


def missing(e: Expr) -> Expr:
    """1 where a total is NULL, else 0."""
    return build.case([(build.is_null_test(e), build.integer(1))], ZERO)


def present(e: Expr) -> Expr:
    """1 where a total is not NULL, else 0."""
    return build.case([(build.is_null_test(e), ZERO)], build.integer(1))


def is_missing(atom: Expr) -> bool:
    """Whether an atom counts a NULL."""
    return isinstance(atom, Case) and len(atom.whens) == 1 and isinstance(atom.whens[0][0], IsNull)
