"""Cells to hide so that a table and both its margins together give no small cell back.

Take a table by two keys, the total of each row and of each column. What the shown cells leave of these are sums of
hidden cells, by row and by column. Draw a line between row and column for each hidden cell: the sums determine a cell
if and only if it is a bridge of this graph, that is, on no cycle of hidden cells; and they determine the sum of several
if these are all cells between a set of rows and columns and the rest, and all lead out of it from a row (a *directed
cut*), or are made up of such (the potentials of a transport problem; Gusfield, *A Graph Theoretic Approach to
Statistical Data Security*, SIAM J. Comput. 17, 1988). So a cell is in no determined sum of few entities where a flow of
at least so many goes from its row to its column: from row to column through as many as the hidden cell there has, from
column to row through any hidden one. What is missing goes by the cheapest path through shown cells, and these are
hidden; paths are found by rows and columns at a time.

A total that is not let out counts as one more hidden cell in its row or column, of any number of entities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mpc.policy.margins import Line

Flags = NDArray[np.bool_]
Sizes = NDArray[np.float64]

#: how many hidden cells of a row are tried with those of a column at once
_PAIRED = 8


def closing(
    shape: tuple[int, ...], sizes: Sizes, hidden: Flags, needs: Sizes, told: Callable[[Line], bool]
) -> list[int]:
    """The cells of a table to be hidden besides, looking at every two of its keys for each value of the others.

    ``sizes`` (cells,): entities behind each; cells without are none, since that they are empty may be known.
    ``hidden`` (cells,) bool; ``needs`` (cells,): with how many entities, its own included, a hidden cell has to be
    mixed, 0: it need not be. ``told``: whether the total of a line may be let out.
    """
    found: list[int] = []
    hidden = hidden.copy()
    for lines, cells in _tables(shape, hidden & (needs > 0)):
        rows, columns, whole = lines
        table = _Table(sizes[cells], hidden[cells])
        table.border([not told(x) for x in rows], [not told(x) for x in columns], not told(whole))
        at_row, at_column = np.nonzero(hidden[cells] & (needs[cells] > 0))
        few = ~table.mixed(at_row, at_column, needs[cells[at_row, at_column]])
        for r, c in zip(at_row[few].tolist(), at_column[few].tolist(), strict=True):
            table.mix(r, c, float(needs[cells[r, c]]))
        new = cells[table.hidden[:-1, :-1] & ~hidden[cells]]
        hidden[new] = True
        found.extend(new.tolist())
    return found


def _tables(
    shape: tuple[int, ...], wanted: Flags
) -> Iterator[tuple[tuple[list[Line], list[Line], Line], NDArray[np.int64]]]:
    """Of every two keys, for each value of the others, in whose table a cell is ``wanted``: the lines that are its
    rows, its columns and the whole, and the numbers of its cells, (rows, columns)."""
    numbers = np.arange(len(wanted)).reshape(shape) if shape else np.arange(len(wanted))
    for i, j in combinations(range(len(shape)), 2):
        others = tuple(k for k in range(len(shape)) if k not in (i, j))
        laid = numbers.transpose(*others, i, j).reshape(-1, shape[i], shape[j])
        for cells in laid[wanted[laid].any(axis=(1, 2))]:
            rows, columns, whole = (
                [_line(shape, tuple(sorted((*others, *more))), cell) for cell in of]
                for more, of in (((i,), cells[:, 0]), ((j,), cells[0]), ((), cells[0, :1]))
            )
            yield (rows, columns, whole[0]), cells


def _line(shape: tuple[int, ...], keys: tuple[int, ...], cell: int) -> Line:
    """The line through a cell in which these keys are given."""
    at, number = np.unravel_index(cell, shape), 0
    for k in keys:
        number = number * shape[k] + int(at[k])
    return keys, number


class _Table:
    """A table with one row and one column more, of totals that are not told.

    ``hidden`` (rows + 1, columns + 1) bool.
    """

    def __init__(self, sizes: Sizes, hidden: Flags) -> None:
        self._sizes = np.pad(sizes, (0, 1))
        self.hidden = np.pad(hidden & (sizes > 0), (0, 1))

    def border(self, rows: list[bool], columns: list[bool], whole: bool) -> None:
        for at, there in ((np.s_[:-1, -1], rows), (np.s_[-1, :-1], columns), (np.s_[-1, -1], whole)):
            self.hidden[at] = there
            self._sizes[at] = np.where(there, np.inf, 0)

    def mixed(self, rows: NDArray[np.intp], columns: NDArray[np.intp], needs: Sizes) -> Flags:
        """Which of several cells need no others by what is seen at once, (n,): paths of three cells, from the largest
        hidden ones of the row by others back to those of the column, in a few ways of pairing them."""
        left = np.where(self.hidden, self._sizes, 0.0)
        by_row, by_column = np.argsort(-left, axis=1)[:, :_PAIRED], np.argsort(-left.T, axis=1)[:, :_PAIRED]
        there, again, best = by_row[rows], by_column[columns], np.zeros(len(rows))
        out = np.where(there == columns[:, None], 0.0, left[rows[:, None], there])
        back = np.where(again == rows[:, None], 0.0, left[again, columns[:, None]])
        pairs = min(there.shape[1], again.shape[1])
        for turn in range(pairs):
            k = (np.arange(pairs) + turn) % pairs
            closed = self.hidden[again[:, k], there[:, :pairs]]
            best = np.maximum(best, (np.where(closed, np.minimum(out[:, :pairs], back[:, k]), 0.0)).sum(axis=1))
        found: Flags = left[rows, columns] + best >= needs
        return found

    def mix(self, row: int, column: int, need: float) -> None:
        """Hide cells until at least ``need`` entities are in every determined sum with this one.

        Where all cells do not suffice, none is hidden: the margins alone give it away.
        """
        left, before = np.where(self.hidden, self._sizes, 0.0), self.hidden.copy()
        while need > 0:
            path = self._path(row, column, left, shown=False) or self._path(row, column, left, shown=True)
            if path is None:
                self.hidden = before
                return
            forward, back = path
            for r, c in (*forward, *back):
                if not self.hidden[r, c]:
                    self.hidden[r, c] = True
                    left[r, c] = self._sizes[r, c]
            amount = min(need, *(float(left[r, c]) for r, c in forward))
            for r, c in forward:
                left[r, c] -= amount
            for r, c in back:
                left[r, c] += amount
            need -= amount

    def _path(
        self, row: int, column: int, left: Sizes, *, shown: bool
    ) -> tuple[list[tuple[int, int]], list[tuple[int, int]]] | None:
        """The cells by which a path leads from rows to columns, and back; of those with the fewest entities to hide."""
        price = np.where((self._sizes > 0) & shown, self._sizes, np.inf)
        forward = np.where(self.hidden, np.where(left > 0, 0.0, np.inf), price)
        back = np.where(self.hidden, 0.0, price)
        to_row, to_column = np.full(len(price), np.inf), np.full(price.shape[1], np.inf)
        from_column, from_row = np.zeros(len(price), np.intp), np.zeros(price.shape[1], np.intp)
        to_row[row] = 0
        while _nearer(to_column, from_row, to_row[:, None] + forward) and _nearer(
            to_row, from_column, (to_column + back).T
        ):
            pass
        if np.isinf(to_column[column]):
            return None
        there, again = [(int(from_row[column]), column)], []
        while there[-1][0] != row:
            r = there[-1][0]
            c = int(from_column[r])
            again.append((r, c))
            there.append((int(from_row[c]), c))
        return there, again


def _nearer(distance: Sizes, before: NDArray[np.intp], through: Sizes) -> bool:
    """Whether some distances became shorter; ``through[i, j]``: to j by way of i."""
    best = through.argmin(axis=0)
    shorter = through[best, np.arange(len(best))]
    better = shorter < distance
    distance[better], before[better] = shorter[better], best[better]
    return bool(better.any())
