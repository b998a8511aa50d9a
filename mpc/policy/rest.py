"""What the total of a line of a table tells beside its shown cells: the sum of those that are hidden, together.

Where these have fewer than min_entities entities, the ledger hides either the total or one cell more, whichever comes
later (mpc.policy.differencing). Where they have more, it lets the total out, and nobody keeps one entity from carrying
nearly all of that sum but whoever hides one cell more, before any total is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.policy.carried import Carried
from mpc.policy.cycles import closing
from mpc.policy.margins import Lines


class Counts(Protocol):
    """Who is behind a measure, as far as one column goes. ``cells``: one element for each cell and entity."""

    @property
    def cells(self) -> NDArray[np.int64]: ...

    def count(self, cells: Sequence[int]) -> int:
        """How many entities are in these cells, each once."""


@dataclass(frozen=True, eq=False, repr=False)
class Rest:
    """``shape``: that of the table; ``behind``: who is behind the measure, column by column; ``carried``: where it is
    limited what one may carry."""

    shape: tuple[int, ...]
    behind: Sequence[Counts]
    carried: Carried | None
    least: int

    def told(self, hidden: Sequence[int], shown: Sequence[int]) -> bool:
        """Whether a total of these cells may be let out where the sums of the ``shown`` ones are."""
        if any(0 < b.count(hidden) < self.least for b in self.behind):
            return False
        return self.carried is None or not self.carried.together([*hidden, *shown])

    def one_carries(self, hidden: Sequence[int], shown: Sequence[int]) -> bool:
        """Whether that total would tell the sum of cells of which one entity carries too much."""
        found = self.carried is not None and self.carried.together(hidden)
        return found and self.told(hidden, shown)

    def closing(self, lines: Lines, hidden: NDArray[np.bool_]) -> list[int]:
        """Cells to be hidden besides, so that a table and all its margins give none that is small or dominated."""
        found: set[int] = set()
        if len(self.shape) > 1 and hidden.any():
            for sizes, needs in self._mixed:
                wanted = np.where(hidden, needs, 0)
                if wanted.any():
                    told = lambda line: self.told(lines.hidden(line), lines.cells(line))  # noqa: E731
                    found.update(closing(self.shape, sizes, hidden, wanted, told))
        return sorted(found)

    @cached_property
    def _mixed(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Of each column how many entities are in each cell, and of each addend what it adds up to there; and of how
        much a sum with this cell has to be, 0: of any, (cells,) each. Equal ones once."""
        count = prod(self.shape)
        found = [np.bincount(b.cells, minlength=count).astype(np.float64) for b in self.behind]
        mixed = [(sizes, np.where((sizes > 0) & (sizes < self.least), self.least, 0.0)) for sizes in found]
        if self.carried is not None:
            mixed.extend(self.carried.needed(count))
        return list({(a.tobytes(), b.tobytes()): (a, b) for a, b in mixed}.values())
