"""The lines of a table: what its margins are totals of, were they asked for beside it.

A table by region and sector has a line for each region, one for each sector, and one of all cells: whoever has the
table can add up the cells that are shown in a line, and compare with what a table by region alone, by sector alone, or
a total says. In general a line is given by some of the keys, not all of them, and a value of each; without any it is
the whole table. Lines of one cell are that cell, and are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import combinations
from typing import TypeAlias

import numpy as np

#: which keys are given, and the number of their values among all there can be
Line: TypeAlias = tuple[tuple[int, ...], int]
#: the line of all cells
ALL_CELLS: Line = ((), 0)


class Lines:
    """The lines of a table of ``shape`` (values of each key; the last varies fastest) through cells that are shown.

    ``hidden``: cells that are not. ``next`` gives a line that is to be looked at, again after a cell in it was hidden,
    and None when there is none: those that can be added up from what is shown, and those in which a cell is shown and
    another hidden.
    """

    def __init__(self, shape: tuple[int, ...], shown: Iterable[int], hidden: Iterable[int] = ()) -> None:
        self._lines_of: dict[int, list[Line]] = {}
        self._cells: dict[Line, list[int]] = {}
        self._hidden: dict[Line, list[int]] = {}
        shown, hidden = set(shown), set(hidden)
        cells = sorted(shown | hidden)
        at = np.unravel_index(np.array(cells, dtype=np.int64), shape) if shape else ()
        for count in range(max(len(shape), 1)):
            for keys in combinations(range(len(shape)), count):
                numbers = np.zeros(len(cells), dtype=np.int64)
                for k in keys:
                    numbers = numbers * shape[k] + at[k]
                for cell, number in zip(cells, numbers.tolist(), strict=True):
                    line = keys, number
                    of = self._cells.setdefault(line, []), self._hidden.setdefault(line, [])
                    of[cell in hidden].append(cell)
                    self._lines_of.setdefault(cell, []).append(line)
        self._todo = dict.fromkeys(self._cells)

    def next(self) -> Line | None:
        while self._todo:
            line, _ = self._todo.popitem()
            if self.adds_up(line) or (self._cells[line] and self._hidden[line]):
                return line
        return None

    def cells(self, line: Line) -> tuple[int, ...]:
        """Those that are shown in it, ascending."""
        return tuple(self._cells.get(line, ()))

    def hidden(self, line: Line) -> tuple[int, ...]:
        """Those that are not."""
        return tuple(self._hidden.get(line, ()))

    def hide(self, cell: int) -> None:
        for line in self._lines_of[cell]:
            self._cells[line].remove(cell)
            self._hidden[line].append(cell)
            self._todo[line] = None

    @property
    def every(self) -> Collection[Line]:
        """All lines, whatever is shown in them."""
        return self._cells.keys()

    @property
    def found(self) -> list[Line]:
        """All lines that can be added up from what is shown."""
        return [line for line in self._cells if self.adds_up(line)]

    def adds_up(self, line: Line) -> bool:
        """Whether several cells are shown in it; of the whole table also one."""
        return len(self._cells[line]) > (1 if line[0] else 0)
