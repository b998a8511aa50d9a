"""Refuses what 128 bits may not hold: row expressions by interval arithmetic, words by interval times rows."""

from __future__ import annotations

from collections.abc import Sequence

from mpc.errors import LocalError
from mpc.query.aggregates import ROW_CAP
from mpc.query.fold import Draft
from mpc.query.linear import Form, part_bounds
from mpc.query.nodes import Agg, Expr, Ranked, aggregates, numeric, walk
from mpc.query.parse import Source
from mpc.query.plan_pools import Ring
from mpc.query.relations import Totals
from mpc.query.show import shown

#: what DECIMAL(38,0) holds, which is less than 127 bits: every intermediate value and every word stays below
LIMIT = 10**38


def check_rows(source: Source, exprs: Sequence[Expr], totals: Totals) -> None:
    """Every number inside the row expressions of a query has fewer than 39 digits. Raises LocalError plan.overflow."""
    aggs = [a for e in exprs for a in aggregates(e)]
    for agg in aggs:
        for t in agg.terms:
            for e in (t.value, t.where, *t.keys):
                if e is not None:
                    check_numbers(source, e)
            if agg.func in ("sum", "squares", "ranked") and t.value is not None and t.value.low is None:
                raise LocalError("internal", f"The bounds of {shown(t.value)} are not known.")
            if agg.func == "squares" and t.value is not None:
                most = max(abs(t.value.low or 0), abs(t.value.high or 0)) ** 2
                if most >= LIMIT:
                    raise overflow(source, f"the square of {shown(t.value)}", -most, most)
    for t in totals.rows:
        for e in (t.where, *t.keys):
            if e is not None:
                check_numbers(source, e)


def check_numbers(source: Source, e: Expr) -> None:
    """All numbers of a row expression, or of a scalar that a party computes from its aggregates."""
    for node in walk(e):
        if numeric(node) and node.low is not None and node.high is not None and max(-node.low, node.high) >= LIMIT:
            raise overflow(source, shown(node), node.low, node.high)


def word_bound(source: Source, f: Form, d: Draft) -> tuple[Ring, int]:
    """The ring and the bound of a word: no sum of the parties' words passes it, nor any part of it."""
    for _, atom in f.terms:
        if not isinstance(atom, Agg):
            check_numbers(source, atom)
    bound = 0
    if isinstance(f.terms[0][1], Ranked):
        return _ranked_bound(source, f.terms[0][1])
    for party in sorted(f.parties):
        low, high = part_bounds(f, party)
        bound += max(-low, high)
    if bound >= LIMIT:
        name = ", ".join(d.names) or "the total"
        raise overflow(source, f"{name} over up to {ROW_CAP:,} rows of each table", -bound, bound)
    return (64 if bound < 2**63 else 128), bound


def _ranked_bound(source: Source, agg: Ranked) -> tuple[Ring, int]:
    """A value that is searched for by halving its range, in machine integers."""
    bound = max(-(agg.low or 0), agg.high or 0)
    if bound >= 2**62:
        line, column = source.at(0)
        raise LocalError(
            "plan.overflow",
            f"{agg.name} is searched for among values up to {_digits(bound)} units of their last digit, where 62 bits "
            "(4.6e18) are the most.",
            "Ask the owner for tighter bounds, ROUND to fewer digits, or divide by a constant (//).",
            line=line,
            column=column,
        )
    return 64, bound


def overflow(source: Source, what: str, low: int, high: int) -> LocalError:
    line, column = source.at(0)
    return LocalError(
        "plan.overflow",
        f"The declared bounds let {what} lie anywhere from {_digits(low)} to {_digits(high)} (in units of its last "
        "digit), which 38 digits do not hold.",
        "Ask the owner for tighter bounds, ROUND to fewer digits, or divide by a constant before summing (//).",
        line=line,
        column=column,
    )


def _digits(value: int) -> str:
    text = str(abs(value))
    sign = "-" if value < 0 else ""
    return f"{sign}{text}" if len(text) <= 12 else f"about {sign}{text[0]}.{text[1:3]}e{len(text) - 1}"
