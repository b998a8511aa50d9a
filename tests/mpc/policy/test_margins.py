"""Tables and their margins asked one after the other: whoever has them all cannot solve for a small cell.

The attack is played on small tables of regions and sectors by linear algebra over the rationals: the numbers shown are
sums over sets of base cells, and what they determine are the sets in their span. The other attack knows besides that
numbers of entities are whole and not negative.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.policy.differencing import Earlier, Entities, Measured, spoil
from mpc.policy.margins import Lines
from mpc.policy.numbers import Numbers
from mpc.policy.populations import Released
from tests.mpc.policy.test_differencing import sealed

ROWS: Released = ("firms", "*")
REGIONS, SECTORS = 3, 3
LEAST = 3
#: keys of each question, of region and sector
QUESTIONS = {"total": (), "by region": (0,), "by sector": (1,), "by both": (0, 1)}
SIZES = (REGIONS, SECTORS)
#: how many entities are in each base cell
Counts = tuple[int, ...]
Matrix = NDArray[np.int64]


def cell_of(base: int, keys: Sequence[int]) -> int:
    at = np.unravel_index(base, SIZES)
    number = 0
    for k in keys:
        number = number * SIZES[k] + int(at[k])
    return number


def shown(counts: Counts, asked: Sequence[str]) -> Matrix:
    """What a recipient sees of these questions in their order: the set of base cells behind each number, (n, 9)."""
    known: Earlier = {}
    found = []
    for name in asked:
        keys = QUESTIONS[name]
        shape = tuple(SIZES[k] for k in keys)
        rows = sorted((cell_of(b, keys), 100 * b + i) for b, n in enumerate(counts) for i in range(n))
        cells, who = (np.array([r[i] for r in rows], dtype=np.int64) for i in (0, 1))
        behind = Entities(ROWS, cells, who.astype(np.uint64), np.ones(len(rows), np.uint64), sealed)
        few = np.bincount(cells, minlength=int(np.prod(shape))) < LEAST
        (more,), _ = spoil([Measured([behind], few, shape=shape)], known, NO_LIMITS, LEAST)
        for cell in np.flatnonzero(~few & ~more):
            found.append([cell_of(b, keys) == cell for b in range(len(counts))])
    return np.array(found, dtype=np.int64).reshape(-1, len(counts))


NO_LIMITS = Numbers({}, lambda what, value: b"", lambda column, digest: ())


def null_space(matrix: Matrix) -> list[list[Fraction]]:
    """A basis of what can be added to a solution without changing a number, exact."""
    rows = [[Fraction(int(x)) for x in row] for row in matrix]
    pivots: list[int] = []
    for column in range(matrix.shape[1]):
        at = len(pivots)
        pivot = next((i for i in range(at, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = [x / rows[at][column] for x in rows[at]]
        for i in range(len(rows)):
            if i != at and rows[i][column]:
                rows[i] = [x - rows[i][column] * y for x, y in zip(rows[i], rows[at], strict=True)]
        pivots.append(column)
    basis = []
    for free in (c for c in range(matrix.shape[1]) if c not in pivots):
        vector = [Fraction(0)] * matrix.shape[1]
        vector[free] = Fraction(1)
        for i, pivot in enumerate(pivots):
            vector[pivot] = -rows[i][free]
        basis.append(vector)
    return basis


SETS = np.array(list(product((0, 1), repeat=REGIONS * SECTORS)), dtype=np.int64)
MOVES = np.array(list(product((-1, 0, 1), repeat=REGIONS * SECTORS)), dtype=np.int64)


def solved(counts: Counts, matrix: Matrix) -> list[Matrix]:
    """Sets of base cells with some entities and fewer than LEAST, whose sum of any values is determined."""
    space = null_space(matrix)
    few = SETS[(SETS @ np.array(counts) > 0) & (SETS @ np.array(counts) < LEAST)]
    return [s for s in few if not any(sum(x for x, there in zip(v, s, strict=True) if there) for v in space)]


def counted(counts: Counts, matrix: Matrix) -> list[int]:
    """Base cells with some entities and fewer than LEAST, of which no other number would fit with those shown."""
    moves = MOVES[(MOVES @ matrix.T == 0).all(axis=1) & (MOVES + np.array(counts) >= 0).all(axis=1)]
    return [b for b, n in enumerate(counts) if 0 < n < LEAST and not moves[:, b].any()]


COUNTS = st.tuples(*[st.sampled_from((0, 1, 2, 3, 4, 5, 8, 12))] * (REGIONS * SECTORS))


@given(COUNTS)
@settings(max_examples=30, deadline=None)
def test_two_questions_in_any_order_give_no_small_set_away(counts: Counts) -> None:
    for asked in permutations(QUESTIONS, 2):
        matrix = shown(counts, asked)
        assert not solved(counts, matrix) and not counted(counts, matrix), asked


def test_the_same_with_only_the_whole_table_compared_would() -> None:
    """What the lines are for: a region's total gives the one hidden cell of its row."""
    counts = (2, 5, 8, 4, 4, 4, 2, 4, 4)
    cells = np.repeat(np.arange(9), counts)
    table = [[b == c for b in range(9)] for c in np.unique(cells).tolist() if counts[c] >= LEAST]
    region = [[b < 3 for b in range(9)]]
    assert solved(counts, np.array(table + region, dtype=np.int64))
    matrix = shown(counts, ("by region", "by both"))
    assert not solved(counts, matrix) and len(matrix) == 3 + 7 - 2  # a cell besides in both rows that have a small one
    after = shown(counts, ("by both", "by region"))
    assert not solved(counts, after) and len(after) == 7 + 1  # only the region without a small cell


@pytest.mark.parametrize(
    "counts",
    [
        (3, 5, 8, 8, 12, 5, 1, 0, 8),  # two in one row, which are close to that row's total
        (8, 3, 0, 3, 5, 2, 8, 5, 0),  # a small sector, and so another one hidden beside it
        (0, 2, 1, 3, 2, 0, 0, 2, 2),
        (8, 12, 1, 0, 0, 0, 3, 3, 1),
    ],
)
def test_all_questions_in_any_order(counts: Counts) -> None:
    """About tables whose small cells were solved when lines alone were compared, and others when only cycles were
    closed besides."""
    for asked in [*permutations(QUESTIONS, 3), *permutations(QUESTIONS, 4)]:
        assert not solved(counts, shown(counts, asked)), asked


def test_cycles_cost_few_cells() -> None:
    """By both after its margins, 0 the small ones: each has a hidden one in its row and its column, and these one."""
    counts = (12, 2, 8, 12, 8, 9, 12, 9, 2)
    matrix = shown(counts, ("by region", "by sector", "by both"))
    assert len(matrix) == 3 + 3 + 9 - 5


def test_three_questions_together_can_still_be_solved() -> None:
    """docs/policy.md says so; who closes it finds this test. A region of two is hidden. By sector one cell is hidden
    for it, since all together would tell; which the table by both shows cell by cell."""
    counts = (0, 12, 3, 8, 5, 3, 1, 1, 0)
    assert solved(counts, shown(counts, ("by region", "by sector", "by both")))


@pytest.mark.slow
def test_how_often_three_and_four_can() -> None:
    """The shares that docs/policy.md states, of random tables with cells of 0 to 12 entities and of 0 to 60."""

    def share(numbers: Sequence[int], questions: int) -> float:
        rng = np.random.default_rng(1)
        found = []
        for _ in range(40):
            counts = tuple(rng.choice(numbers, REGIONS * SECTORS).tolist())
            asked = list(permutations(QUESTIONS, questions))
            found += [bool(solved(counts, shown(counts, asked[i]))) for i in rng.choice(len(asked), 12, replace=False)]
        return float(np.mean(found))

    few, many = (0, 1, 2, 3, 4, 5, 8, 12), (0, 2, *range(4, 61, 4))
    told = {(name, n): share(numbers, n) for name, numbers in (("few", few), ("many", many)) for n in (2, 3, 4)}
    assert told["few", 2] == told["many", 2] == 0
    assert all(told[name, n] < 0.01 for name in ("few", "many") for n in (3, 4))


# ---- several measures, several owners

WIDTH = 2 * REGIONS  # base cells by region, with and without a condition
ATOMS = np.array(list(product((0, 1), repeat=WIDTH)), dtype=np.int64)
#: keys and whether the condition holds: COUNT(*), or COUNT(*) FILTER (WHERE condition)
TABLES = [(by_region, under) for by_region in (False, True) for under in (False, True)]


def asked_of(counts: Counts, jobs: Sequence[Sequence[tuple[bool, bool]]]) -> Matrix:
    """What is shown of jobs of several measures each, (n, 6): first the regions without the condition, then with it."""
    known: Earlier = {}
    found = []
    for job in jobs:
        measures, sets = [], []
        for by_region, under in job:
            of = [(b % REGIONS if by_region else 0, b) for b in range(WIDTH) if b >= REGIONS or not under]
            rows = sorted((cell, 100 * b + i) for cell, b in of for i in range(counts[b]))
            cells, who = (np.array([r[i] for r in rows], dtype=np.int64) for i in (0, 1))
            behind = Entities(ROWS, cells, who.astype(np.uint64), np.ones(len(rows), np.uint64), sealed)
            size = REGIONS if by_region else 1
            few = np.bincount(cells, minlength=size) < LEAST
            measures.append(Measured([behind], few, shape=(size,) if by_region else ()))
            sets.append([[(cell, b) in of for b in range(WIDTH)] for cell in range(size)])
        spoiled, _ = spoil(measures, known, NO_LIMITS, LEAST)
        for m, more, of_cells in zip(measures, spoiled, sets, strict=True):
            found += [of_cells[cell] for cell in np.flatnonzero(~m.hidden & ~more)]
    return np.array(found, dtype=np.int64).reshape(-1, WIDTH)


@given(st.tuples(*[st.sampled_from((1, 2, 3, 4, 9))] * WIDTH))
@settings(max_examples=25, deadline=None)
def test_two_measures_of_one_job_or_of_two_give_no_small_set_away(counts: Counts) -> None:
    """With a condition and without it, by region and in all."""
    many = ATOMS @ np.array(counts)
    for first, second in permutations(TABLES, 2):
        for jobs in ([[first, second]], [[first], [second]]):
            space = null_space(asked_of(counts, jobs))
            for s in ATOMS[(many > 0) & (many < LEAST)]:
                assert any(sum(x for x, there in zip(v, s, strict=True) if there) for v in space), (jobs, s)


@given(COUNTS, COUNTS)
@settings(max_examples=6, deadline=None)
def test_two_owners_of_whom_one_receives_the_sum(ours: Counts, theirs: Counts) -> None:
    """A tally of both tables: each hides by its own ledger, which takes for let out what only the other hid. The other
    takes its own part off, and so sees ours of the cells that neither hides."""
    for asked in permutations(QUESTIONS, 2):
        either = [s for s in map(tuple, shown(ours, asked).tolist()) if s in set(map(tuple, shown(theirs, asked)))]
        matrix = np.array(either, dtype=np.int64).reshape(-1, len(ours))
        assert not solved(ours, matrix), asked


# ---- lines


def by_hand(shape: tuple[int, ...], cells: set[int]) -> Iterator[tuple[int, ...]]:
    """For every choice of a value or of all values of each key, the cells that it has: not of one cell alone."""
    at = {c: np.unravel_index(c, shape) if shape else () for c in cells}
    for chosen in product(*([None, *range(n)] for n in shape)):
        of = [c for c in sorted(cells) if all(w is None or w == a for w, a in zip(chosen, at[c], strict=True))]
        if (None in chosen or not shape) and len(of) > (0 if set(chosen) <= {None} else 1):
            yield tuple(of)


@given(st.sampled_from([(), (4,), (3, 2), (2, 3, 2)]), st.data())
@settings(max_examples=60, deadline=None)
def test_lines_are_all_there_are(shape: tuple[int, ...], data: st.DataObject) -> None:
    """And those with one cell shown and others hidden, whose total would tell these."""
    every = set(range(int(np.prod(shape))))
    cells = data.draw(st.sets(st.sampled_from(sorted(every))))
    gone = data.draw(st.sets(st.sampled_from(sorted(every)))) - cells
    lines, left, hidden = Lines(shape, cells, gone), set(cells), set(gone)

    def looked_at() -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        found = list(iter(lines.next, None))
        return sorted(lines.cells(x) for x in found if lines.adds_up(x)), [
            (*lines.cells(x), *lines.hidden(x)) for x in found if not lines.adds_up(x)
        ]

    added, single = looked_at()
    assert added == sorted(by_hand(shape, left))
    assert all(len(left & {*of}) == 1 and {*of} <= left | hidden for of in single)
    for cell in data.draw(st.lists(st.sampled_from(sorted(cells)), unique=True)) if cells else ():
        lines.hide(cell)
        left.discard(cell)
        hidden.add(cell)
        assert sorted(lines.cells(x) for x in lines.found) == sorted(by_hand(shape, left))
        assert all(cell in lines.hidden(x) for x in iter(lines.next, None))
    assert all({*lines.hidden(x)} <= hidden for x in lines.found)
