"""Cycles of hidden cells: what a table and its margins together determine, by linear algebra over the rationals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mpc.policy.cycles import closing
from mpc.policy.margins import Line
from tests.mpc.policy.test_margins import SETS, null_space

NEED = 3
SHAPE = (3, 3)
TABLE = np.arange(9).reshape(SHAPE)
Flags = NDArray[np.bool_]

SIZES = st.lists(st.sampled_from((0, 0, 1, 2, 3, 4, 5)), min_size=9, max_size=9)
#: whether the totals of rows, of columns, and of all are told
TOLD = st.tuples(*[st.booleans()] * 7)


def lines() -> Iterator[tuple[Line, list[bool]]]:
    for keys, cells in (((0,), TABLE), ((1,), TABLE.T), ((), TABLE.reshape(1, -1))):
        for number, of in enumerate(cells):
            yield (keys, number), [b in of for b in range(9)]


def given_back(sizes: list[int], hidden: Flags, told: dict[Line, bool]) -> list[frozenset[int]]:
    """Sets of cells with some entities and fewer than NEED whose sum follows; that a cell is empty is known."""
    known = [[b == c for b in range(9)] for c in range(9) if not hidden[c] or not sizes[c]]
    known += [cells for line, cells in lines() if told[line]]
    space = null_space(np.array(known, dtype=np.int64).reshape(-1, 9))
    many = SETS @ np.array(sizes)
    few = SETS[(many > 0) & (many < NEED)]
    return [
        frozenset(np.flatnonzero(s * sizes).tolist())
        for s in few
        if not any(sum(x for x, there in zip(v, s, strict=True) if there) for v in space)
    ]


@given(SIZES, TOLD)
@settings(max_examples=120, deadline=None)
def test_no_sum_of_few_follows_but_from_margins_alone(sizes: list[int], of: tuple[bool, ...]) -> None:
    """Every set, not each cell alone. What the margins themselves give away, no hidden cell helps."""
    told = dict(zip((line for line, _ in lines()), of, strict=True))
    many = np.array(sizes, dtype=np.float64)
    small = (many > 0) & (many < NEED)
    more = closing(SHAPE, many, small, np.where(small, float(NEED), 0.0), lambda line: told[line])
    assert all(many[c] >= NEED for c in more) and len(more) == len(set(more))
    hidden = small.copy()
    hidden[more] = True
    lost = set().union(*given_back(sizes, many > 0, told))
    assert all(s & lost for s in given_back(sizes, hidden, told))
    if not given_back(sizes, small, told):
        assert not more  # only what is needed


def test_a_small_cell_takes_three_more_round_a_rectangle() -> None:
    sizes = np.array([2, 20, 30, 25, 50, 60, 40, 70, 80], dtype=np.float64)
    hidden = sizes < NEED
    needs = np.where(hidden, float(NEED), 0.0)
    assert closing(SHAPE, sizes, hidden, needs, lambda line: True) == [1, 3, 4]  # the fewest entities
    assert closing(SHAPE, sizes, hidden, needs, lambda line: line[0] != (1,)) == [1]
    assert closing(SHAPE, sizes, hidden, needs, lambda line: line == ((), 0)) == [1]
    assert closing(SHAPE, sizes, hidden, needs, lambda line: False) == []
    assert closing((9,), sizes, hidden, needs, lambda line: True) == []


def test_every_two_of_three_keys() -> None:
    """The table by the last two keys, for the value of the first that the small cell has; and so on."""
    sizes = np.full(27, 20.0)
    sizes[0] = 1
    more = closing((3, 3, 3), sizes, sizes < NEED, np.where(sizes < NEED, float(NEED), 0.0), lambda line: True)
    hidden = np.zeros(27, dtype=bool)
    hidden[[0, *more]] = True
    cube = hidden.reshape(3, 3, 3)
    for table in (cube[0], cube[:, 0], cube[:, :, 0]):
        assert table[0].sum() > 1 and table[:, 0].sum() > 1
        assert any(table[0, j] and table[i, 0] and table[i, j] for i in (1, 2) for j in (1, 2))
    assert len(more) <= 9


@given(st.integers(0, 50))
@settings(max_examples=15, deadline=None)
def test_what_is_seen_at_once_is_what_paths_find(seed: int) -> None:
    """Larger tables, in which most are passed by the few pairings of ``mixed``: no cell is on too small a cut, as a
    flow through the same graph says that was written otherwise."""
    rng = np.random.default_rng(seed)
    sizes = rng.poisson(rng.lognormal(1.5, 1, (9, 1)) * rng.lognormal(0, 1, (1, 8))).astype(np.float64)
    small = (sizes > 0) & (sizes < 10)
    needs = np.where(small, 10.0, 0.0).reshape(-1)
    hidden = small.reshape(-1).copy()
    hidden[closing((9, 8), sizes.reshape(-1), hidden, needs, lambda line: True)] = True
    for r, c in np.argwhere(small):
        if flow(sizes, sizes > 0, int(r), int(c)) >= 10:
            assert flow(sizes, hidden.reshape(9, 8), int(r), int(c)) >= 10


def flow(sizes: NDArray[np.float64], hidden: Flags, row: int, column: int) -> int:
    """How much flows from a row to a column, one entity after the other, by depth-first search."""
    left = {("r", int(r), "c", int(c)): int(sizes[r, c]) for r, c in np.argwhere(hidden & (sizes > 0))}
    left |= {("c", c, "r", r): 10**6 for _, r, _, c in list(left)}
    found = 0
    while found < 10:
        seen, way = {("r", row): ("", 0)}, [("r", row)]
        while way and ("c", column) not in seen:
            at = way.pop()
            for a, b, x, y in left:
                if (a, b) == at and (x, y) not in seen and left[a, b, x, y]:
                    seen[x, y] = at
                    way.append((x, y))
        if ("c", column) not in seen:
            break
        to = ("c", column)
        while to != ("r", row):
            left[*seen[to], *to] -= 1
            left[*to, *seen[to]] += 1
            to = seen[to]
        found += 1
    return found
