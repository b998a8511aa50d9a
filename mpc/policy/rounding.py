"""round_to: an owner rounds its own sums before they are added, column by column.

A recipient opens an exact total, so each owner rounds what it adds. Rounded is each column's own sum in the cell, by
itself, and not the word that is made of it: of

    SUM(1000 * x)     1000 · R(Σx)                a step of 1000 for the word would show Σx exactly
    SUM(x + 17)       R(Σx) + 17 · n              the constant would move Σx over the edges of R, a digit a question
    SUM(x + y), SUM(x - y)     R(Σx) ± R(Σy)      half their sum is R(Σx), and no better

every question shows the same R(Σx) and nothing else of x. R is the nearest multiple of the step, so a total of n owners
is off by at most n · round_to / 2, times the weight. Where a column enters otherwise than in such sums (x * x, MIN), no
rounding would do, and a grant with ``round_to`` does not fit (mpc/policy/needs.py).

It is no noise: many totals over groups that divide the same entities in other ways are off by other amounts, which
average out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from math import ceil

from mpc.messages import RingWords
from mpc.policy.populations import Released
from mpc.query.layout import Filled
from mpc.query.plan_pools import Measure, Rounding
from mpc.ring import ring


def step(round_to: Decimal, scale: int) -> int:
    """In units of a column; a whole number of them."""
    return max(1, ceil(round_to.scaleb(scale)))


def rounded(value: int, to: int) -> int:
    """The nearest multiple, halves away from zero."""
    return (2 * abs(value) + to) // (2 * to) * to * (-1 if value < 0 else 1)


def round_words(
    measures: Sequence[Measure],
    rounding: Rounding,
    sums: Sequence[Sequence[int]],
    filled: Filled,
    limits: Mapping[Released, Decimal],
) -> Filled:
    """The owner's words with the sums of columns that have a limit rounded.

    ``sums``: of each of ``rounding.sums`` its value in every cell, in units. A word stays between the bounds that the
    plan says of it, which the recipient knows to be kept.
    """
    words: list[list[RingWords]] = [list(m) for m in filled.words]
    for m, w, low, high in rounding.most:
        r = ring(measures[m].words[w].ring)
        found = r.to_ints(words[m][w])
        for s, of_cells in zip(rounding.sums, sums, strict=True):
            to = limits.get((s.table, s.column))
            if (s.measure, s.word) == (m, w) and to is not None:
                units = step(to, s.scale)
                found = [v + s.weight * (rounded(x, units) - x) for v, x in zip(found, of_cells, strict=True)]
        words[m][w] = r.from_ints(min(max(v, low), high) for v in found)
    return replace(filled, words=tuple(tuple(m) for m in words))
