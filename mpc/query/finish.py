"""What the recipient computes in the clear from opened words: quotients, roots, HAVING, ORDER BY, LIMIT.

Everything is exact rationals until it is shown: COUNT and SUM equal the plaintext SQL to the last digit; AVG, VARIANCE
and STDDEV are the doubles nearest to the exact values (DuckDB's differ in their last digits, since it adds up doubles).

Noise (P12): an output of noised words comes with its accuracy (mpc/query/accuracy.py). All cells are shown, since
whether there is a group is not to be told from a count with noise. An output that noise leaves without a value, such as
an average over a count that came out at 0, is NULL and named in the row's ``unclear``.

Suppression: an output that depends on a suppressed measure is NULL and named in the row's ``suppressed``. A group whose
row count is suppressed stays, since nobody can tell whether it is empty; so does a row whose HAVING depends on a
suppressed value (unknown is not "no"). In ORDER BY a suppressed value sorts as NULL.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cmp_to_key
from math import ceil
from typing import Any

from mpc.errors import LocalError
from mpc.query.accuracy import accuracy
from mpc.query.catalog import Value
from mpc.query.evaluate import Datum, constant, evaluate, to_double
from mpc.query.exact import half_away
from mpc.query.layout import Opened, cells
from mpc.query.nodes import Const, Expr, KeyRef, NodeKind, WordRef, walk
from mpc.query.plan import Plan
from mpc.query.plan_joins import shows_rows


@dataclass(frozen=True)
class Result:
    """The answer to the query. Values: int, Decimal, float, datetime.date, bool, str or None by ``kinds``."""

    names: tuple[str, ...]
    kinds: tuple[NodeKind, ...]
    scales: tuple[int, ...]
    rows: tuple[tuple[Any, ...], ...]
    suppressed: tuple[tuple[str, ...], ...]  # per row, the columns hidden in it
    #: with noise, per row: the half-width of each output's interval, None where none is stated; and the columns without
    #: a value
    accuracy: tuple[tuple[Any, ...], ...] = ()
    unclear: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class _Row:
    """One row before it is put in order."""

    values: tuple[Datum, ...]
    hidden: tuple[str, ...]
    order: tuple[Datum, ...]
    accuracy: tuple[Fraction | None, ...] = ()


def finish(plan: Plan, opened: Opened) -> Result:
    """Compute the result."""
    f = plan.finish
    rows = list(_rows(plan, opened))
    if f.distinct:
        rows = list({(r.values, r.hidden): r for r in reversed(rows)}.values())[::-1]
    if f.order:
        rows.sort(key=cmp_to_key(_comparison(plan)))
    rows = rows[f.offset : None if f.limit is None else f.offset + f.limit]
    kinds = tuple(o.expr.kind for o in f.outputs)
    scales = tuple(o.expr.scale if o.expr.kind == "decimal" else 0 for o in f.outputs)
    shown = tuple(tuple(_shown(v, k, s) for v, k, s in zip(r.values, kinds, scales, strict=True)) for r in rows)
    names = tuple(o.name for o in f.outputs)
    hidden = tuple(r.hidden for r in rows)
    if plan.noise is None:
        return Result(names, kinds, scales, shown, hidden)
    accuracy = tuple(
        tuple(_half_width(a, k, s) for a, k, s in zip(r.accuracy, kinds, scales, strict=True)) for r in rows
    )
    noised = [o.name for o in f.outputs if any(isinstance(n, WordRef) for n in walk(o.expr))]
    unclear = tuple(
        tuple(n for n, v in zip(names, r.values, strict=True) if v is None and n in noised and n not in r.hidden)
        for r in rows
    )
    return Result(names, kinds, scales, shown, hidden, accuracy, unclear)


def _rows(plan: Plan, opened: Opened) -> Iterator[_Row]:
    f = plan.finish
    main = next((i for i, p in enumerate(plan.pools) if p.name == f.pool), None)
    keyed: Sequence[tuple[Value, ...]] = [()]
    if main is not None:
        pool = plan.pools[main]
        keyed = opened.pools[main].own if shows_rows(pool) else cells(pool)
    for cell, key in enumerate(keyed):
        if (
            main is not None
            and plan.noise is None
            and not opened.pools[main].suppressed[0][cell]
            and opened.pools[main].words[0][0][cell] == 0
        ):
            continue  # no row anywhere: SQL has no such group; or the row is not in the join
        leaf = _leaf(plan, opened, main, cell, key)
        hides = _hides(opened, main, cell)
        if f.having is not None and not hides(f.having) and evaluate(f.having, leaf) is not True:
            continue
        values = tuple(None if hides(o.expr) else evaluate(o.expr, leaf) for o in f.outputs)
        hidden = tuple(o.name for o in f.outputs if hides(o.expr))
        order = tuple(None if hides(e) else evaluate(e, leaf) for e, _, _ in f.order)
        about = values if plan.noise is not None else ()
        accuracies = tuple(
            None if v is None else accuracy(plan, o.expr, leaf) for v, o in zip(about, f.outputs, strict=False)
        )
        yield _Row(values, hidden, order, accuracies)


def _leaf(plan: Plan, opened: Opened, main: int | None, cell: int, key: tuple[Any, ...]) -> Callable[[Expr], Datum]:
    """The values of revealed words and keys in one cell; a word of another pool is that of its only cell."""

    def value(e: Expr) -> Datum:
        if isinstance(e, WordRef):
            word = plan.pools[e.pool].measures[e.measure].words[e.word]
            total = opened.pools[e.pool].words[e.measure][e.word][cell if e.pool == main else 0]
            return Fraction(total, 10**word.scale)
        assert isinstance(e, KeyRef)
        return constant(Const(e.kind, e.scale, None, None, True, key[e.index]))

    return value


def _hides(opened: Opened, main: int | None, cell: int) -> Callable[[Expr], bool]:
    """Whether an expression depends on a suppressed measure in this cell."""

    def hides(e: Expr) -> bool:
        return any(
            opened.pools[n.pool].suppressed[n.measure][cell if n.pool == main else 0]
            for n in walk(e)
            if isinstance(n, WordRef)
        )

    return hides


def _comparison(plan: Plan) -> Callable[[_Row, _Row], int]:
    directions = [(desc, nulls_first) for _, desc, nulls_first in plan.finish.order]

    def compare(a: _Row, b: _Row) -> int:
        for x, y, (desc, nulls_first) in zip(a.order, b.order, directions, strict=True):
            if x is None or y is None:
                sign = (x is None) - (y is None)
                if sign:
                    return -sign if nulls_first else sign
                continue
            p, q = (x.encode(), y.encode()) if isinstance(x, str) and isinstance(y, str) else (x, y)
            sign = (p > q) - (p < q)  # type: ignore[operator]
            if sign:
                return -sign if desc else sign
        return 0

    return compare


def _shown(value: Datum, kind: NodeKind, scale: int) -> Any:
    """A value as the recipient gets it."""
    if value is None or isinstance(value, str):
        return value
    if kind == "boolean":
        return bool(value)
    if kind == "double":
        return to_double(Fraction(value))
    if kind == "date":
        return _date(int(value))
    units = half_away(Fraction(value) * 10**scale)
    # from its text: scaleb would round to the 28 digits of the decimal context
    return units if kind == "integer" else Decimal(f"{units}e-{scale}")


def _half_width(value: Fraction | None, kind: NodeKind, scale: int) -> Any:
    """A half-width in the output's own type, rounded up; None for what is no number."""
    if value is None or kind not in ("integer", "decimal", "double"):
        return None
    if kind == "double":
        return to_double(value)
    units = ceil(value * 10**scale)
    return units if kind == "integer" else Decimal(f"{units}e-{scale}")


def _date(days: int) -> dt.date:
    try:
        return dt.date.fromordinal(days + 719163)
    except (ValueError, OverflowError):
        raise LocalError(
            "data.bounds",
            "A date came out before the year 1 or after 9999, which a result cannot hold.",
            "Ask for the number of days to a fixed date, or for EXTRACT(YEAR FROM …). Where your query cannot "
            "give such a date, a member deviated from the protocol; a replay shows which one.",
        ) from None
