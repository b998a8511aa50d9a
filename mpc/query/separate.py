"""Keeps pooled totals pooled: who really adds something, and weights that would let the parts be told apart.

S = w·A + B with a large w shows both parts; so do A + B beside A − B, or A + B beside A. Both are judged on *formal*
forms: a word as coefficients of (party, table, condition, expression), linear through sums, which also finds a party
whose contribution cancels. What cancels only for the data at hand is caught by the entity counts (``mpc.query.local``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from mpc.errors import LocalError
from mpc.query.fold import Draft, DraftWord
from mpc.query.linear import is_missing
from mpc.query.nodes import (
    Abs,
    Agg,
    Arith,
    Case,
    Cast,
    Coalesce,
    Column,
    Const,
    Expr,
    Extreme,
    JoinedTerm,
    Neg,
    Round,
    Term,
    aggregates,
    children,
    is_null,
    numeric,
)
from mpc.query.rules.cancel import linear_terms
from mpc.query.uses import value_columns

#: the largest ratio of one party's weight to another's in a pooled total
MAX_RATIO = 100
#: more totals than this at once are not looked through for combinations, but refused
MAX_WORDS = 400


@dataclass(frozen=True)
class Unit:
    """Something one party adds up: Σ ``atom`` over ``table``'s rows that pass ``where`` (atom None: their number)."""

    party: str
    func: str
    table: str
    where: Expr | None
    atom: Expr | None


Formal = dict[Unit, Fraction]


def formal(word: DraftWord) -> Formal:
    """A word's formal form in true values; what cancels is gone."""
    found: Formal = {}
    for k, atom in word.form.terms:
        c = Fraction(k * 10**atom.scale, 10**word.form.scale)
        if isinstance(atom, Agg):
            for unit, by in _agg(atom):
                found[unit] = found.get(unit, Fraction(0)) + c * by
        else:
            agg = aggregates(atom)[0]
            unit = Unit(agg.terms[0].party, "scalar", "", None, atom)
            found[unit] = found.get(unit, Fraction(0)) + c
    return {u: c for u, c in found.items() if c}


def _agg(agg: Agg) -> list[tuple[Unit, Fraction]]:
    found: list[tuple[Unit, Fraction]] = []
    for t in agg.terms:
        # of a place among the rows of a join, each row's value may be a sum of several owners' values
        added = agg.func == "sum" or (agg.func == "ranked" and isinstance(t, JoinedTerm))
        if not added or t.value is None:
            found.append((Unit(_owners(t, t.value), agg.func, t.table, t.where, t.value), Fraction(1)))
            continue
        for atom, c in linear_terms(t.value, Fraction(1)):
            if c and not (atom is not None and atom.low == atom.high == 0):
                func = "sum" if atom is not None else "rows"
                found.append((Unit(_owners(t, atom), func, t.table, t.where, atom), c))
    return found


def _owners(t: Term, atom: Expr | None) -> str:
    """Whose values a unit adds: the term's party; over a join those whose columns it reads, several with + between."""
    if not isinstance(t, JoinedTerm) or atom is None:
        return t.party
    return "+".join(sorted({c.party for c in value_columns(atom)})) or t.party


def contributors(d: Draft) -> tuple[str, ...]:
    """The parties whose own values are in every value word of a measure; of counts, those with rows in them."""
    words = [w for w in d.words if w.kind in ("sum", "squares")] or [w for w in d.words if w.kind != "nulls"] or d.words
    sets = [{u.party for u in formal(w)} for w in words]
    return tuple(sorted(set.intersection(*sets))) if sets else ()


# ---- weights


def check_weights(drafts: Sequence[Draft]) -> None:
    """Raises LocalError plan.unsafe_weights."""
    for d in drafts:
        for word in d.words:
            if word.kind in ("sum", "squares", "count", "ranked"):
                _check_ratio(d, formal(word))
    _check_isolation(drafts)


def _check_ratio(d: Draft, form: Formal) -> None:
    steps: dict[str, set[Fraction]] = {}
    for unit, c in form.items():
        mine = steps.setdefault(unit.party, set())
        mine |= {
            abs(c) * s
            for s in (_steps(unit.atom) if unit.atom is not None and unit.func in ("sum", "scalar") else {Fraction(1)})
        }
    for p, heavy in sorted(steps.items()):
        for q, light in sorted(steps.items()):
            if p != q and heavy != light and heavy and light and max(heavy) > MAX_RATIO * min(light):
                ratio = max(heavy) / min(light)
                raise LocalError(
                    "plan.unsafe_weights",
                    f"In {', '.join(d.names) or 'a total'} the values of {p} weigh up to "
                    f"{float(ratio):g} times those of {q}: the high digits of the sum would be one's, "
                    "the low digits the other's.",
                    f"Use weights within a factor of {MAX_RATIO}, and bring both into the same unit.",
                )


def _steps(e: Expr) -> set[Fraction]:
    """By how much the addends of an expression step, a bare column counted as 1."""
    if isinstance(e, Const):
        return {abs(Fraction(int(e.value), 10**e.scale))} if e.value and not isinstance(e.value, str) else set()
    if isinstance(e, Case):
        return {s for v in (*(v for _, v in e.whens), e.default) if not is_null(v) for s in _steps(v)}
    if isinstance(e, Round):
        least = Fraction(10) ** -e.digits
        return {max(s, least) if e.digits < 0 else s for s in _steps(e.arg)}
    if isinstance(e, Arith) and e.op == "*":
        return {a * b for a in _steps(e.left) or {Fraction(1)} for b in _steps(e.right) or {Fraction(1)}}
    if isinstance(e, Arith) and e.op == "//":
        return {Fraction(1)}
    if isinstance(e, Column | Agg):
        return {Fraction(1)}
    if isinstance(e, Neg | Abs | Coalesce | Extreme | Cast) or (isinstance(e, Arith) and e.op in "+-%"):
        return {s for child in children(e) if numeric(child) for s in _steps(child)}
    return {Fraction(1)}


# ---- combinations


def _check_isolation(drafts: Sequence[Draft]) -> None:
    """No combination of the revealed words may give a part of one party that is not shown by itself.

    Keys are left out: a table by region also gives its total. Rank of all words, minus rank without the party's units,
    is how many combinations are the party's alone; those that are asked for by themselves are its single totals.
    """
    added = [w for d in drafts for w in d.words if w.kind not in ("ranked", "known")]  # those are no sums
    rows = [formal(w) for w in added if not all(is_missing(a) for _, a in w.form.terms)]
    rows = [r for r in rows if r]
    if len(rows) > MAX_WORDS:
        raise LocalError(
            "job.limits",
            f"The query reveals {len(rows)} totals at once; whether they can be combined is checked up to {MAX_WORDS}.",
            "Ask for fewer totals in one query.",
        )
    if len(rows) < 2:
        return
    for party in sorted({u.party for r in rows for u in r}):
        others = [{u: c for u, c in r.items() if u.party != party} for r in rows]
        alone = [r for r, o in zip(rows, others, strict=True) if not o]
        if rank(rows) - rank(others) > rank(alone):
            raise LocalError(
                "plan.unsafe_weights",
                f"The totals asked for can be combined into one of {party} alone, which the query does not "
                "ask for by itself.",
                "Ask for the pooled total only, or for each party's total by itself.",
            )


def rank(rows: Sequence[Formal]) -> int:
    """Rank over the rationals."""
    todo = [dict(r) for r in rows if r]
    found = 0
    while todo:
        pivot = todo.pop()
        if not pivot:
            continue
        found += 1
        unit, by = next(iter(pivot.items()))
        for r in todo:
            if unit in r:
                factor = r[unit] / by
                for u, c in pivot.items():
                    value = r.get(u, Fraction(0)) - factor * c
                    if value:
                        r[u] = value
                    else:
                        r.pop(u, None)
    return found
