"""max_share and margins: a cell that one firm dominates is not what a total leaves beside the shown ones.

The attack: of tables and their margins, which sets of cells have a sum that follows from those shown, and does one
entity carry more than the share of it. By linear algebra over the rationals, as for small cells (test_margins).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.policy.carried import Carried
from mpc.policy.differencing import Earlier, Entities, Measured, spoil
from tests.mpc.policy.test_differencing import sealed
from tests.mpc.policy.test_margins import LEAST, NO_LIMITS, QUESTIONS, ROWS, SETS, SIZES, Matrix, cell_of, null_space

MOST = Fraction(1, 2)
#: of each base cell the values of its firms
Values = Sequence[Sequence[int]]


def shown(values: Values, asked: Sequence[str], *, beside: bool = True) -> Matrix:
    """The set of base cells behind each number, (n, 9). ``beside``: whether cells are hidden beside dominated ones."""
    known: Earlier = {}
    found = []
    for name in asked:
        keys = QUESTIONS[name]
        shape = tuple(SIZES[k] for k in keys)
        size = int(np.prod(shape))
        rows = sorted((cell_of(b, keys), 100 * b + i, v) for b, of in enumerate(values) for i, v in enumerate(of))
        cells, who, what = (np.array([r[i] for r in rows], dtype=np.int64) for i in range(3))
        firms = who.astype(np.uint64)
        carried = Carried(cells, firms, np.zeros_like(cells), [what.astype(np.float64)], MOST, apart=True)
        hidden = (np.bincount(cells, minlength=size) < LEAST) | carried.dominated(size)
        behind = Entities(ROWS, cells, firms, np.ones(len(rows), np.uint64), sealed, apart=True)
        measure = Measured([behind], hidden, shape=shape, carried=carried if beside else None)
        (more,), _ = spoil([measure], known, NO_LIMITS, LEAST)
        found += [[cell_of(b, keys) == cell for b in range(len(values))] for cell in np.flatnonzero(~hidden & ~more)]
    return np.array(found, dtype=np.int64).reshape(-1, len(values))


def solved(values: Values, matrix: Matrix) -> list[list[int]]:
    """Sets of base cells whose sum follows, and of which one firm carries more than MOST."""
    space, found = null_space(matrix), []
    for s in SETS:
        of = [v for b in np.flatnonzero(s) for v in values[b]]
        large = max(of, default=0) > MOST * sum(of)
        if large and not any(sum(x for x, there in zip(v, s, strict=True) if there) for v in space):
            found.append(np.flatnonzero(s).tolist())
    return found


#: nine cells, in the first a firm with 60 of 100
GIANT = [[60, 10, 10, 10, 10], *([[20, 25, 30, 22]] * 8)]


def test_the_attack_and_what_stops_it() -> None:
    """The total of a region minus its shown cells, were nothing hidden beside; in either order."""
    assert solved(GIANT, shown(GIANT, ("by region", "by both"), beside=False)) == [[0]]
    assert solved(GIANT, shown(GIANT, ("by both", "by region"), beside=False)) == [[0]]
    for asked in (*permutations(QUESTIONS, 2), *permutations(QUESTIONS, 3), *permutations(QUESTIONS, 4)):
        assert not solved(GIANT, shown(GIANT, asked)), asked
    assert len(shown(GIANT, ("by both",))) == 9 - 4  # one more in its row, in its column, and where these meet
    assert len(shown(GIANT, ("by region",))) == 3


def test_nothing_is_hidden_beside_a_cell_whose_total_is_dominated_too() -> None:
    """No total of the region is let out then, nor of all."""
    giant = [[6000, 10, 10, 10, 10], *GIANT[1:]]
    assert len(shown(giant, ("by region",))) == 2
    assert len(shown(giant, ("by both",))) == 8


CELLS = st.lists(st.sampled_from([1, 2, 5, 9, 20, 60, 200]), max_size=7)


@given(st.tuples(*[CELLS] * len(SETS[0])))
@settings(max_examples=8, deadline=None)
def test_two_questions_in_any_order_give_no_dominated_sum(values: Values) -> None:
    for asked in permutations(QUESTIONS, 2):
        assert not solved(values, shown(values, asked)), asked


@pytest.mark.slow
def test_how_often_three_can() -> None:
    """The shares that docs/policy.md states, random tables, one firm with half or more in two cells."""
    rng = np.random.default_rng(3)
    found, before = [], []
    for _ in range(25):
        values = [[int(x) + 1 for x in rng.lognormal(2, 1, rng.choice((0, 1, 2, 3, 4, 5, 8, 12)))] for _ in range(9)]
        for b in rng.choice(9, 2):
            values[b][:1] = [int(sum(values[b]) * rng.choice([1, 1.5, 3]))][: len(values[b])]
        for i in rng.choice(24, 8, replace=False):
            asked = list(permutations(QUESTIONS, 3))[i]
            found.append(bool(solved(values, shown(values, asked))))
            before.append(bool(solved(values, shown(values, asked, beside=False))))
    assert np.mean(found) < 0.06 < 0.4 < np.mean(before)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 50)), max_size=12), st.data())
def test_several_cells_together_like_by_hand(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """Firms may be in several of them."""
    by_both: dict[tuple[int, int], int] = {}
    for cell, firm, value in rows:
        by_both[cell, firm] = by_both.get((cell, firm), 0) + value
    cells, firms = (np.array([k[i] for k in sorted(by_both)], dtype=np.int64) for i in (0, 1))
    values = np.array([by_both[k] for k in sorted(by_both)], dtype=np.float64)
    carried = Carried(cells, firms.astype(np.uint64), np.zeros_like(cells), [values], MOST)
    chosen = data.draw(st.sets(st.integers(0, 3)))
    of = [sum(v for (c, f), v in by_both.items() if f == firm and c in chosen) for firm in range(5)]
    assert carried.together(sorted(chosen)) == (max(of) > MOST * sum(of))
