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
        if len(self.shape) < 2 or not hidden.any():
            return []
        for sizes in self._sizes:
            needs = np.where(sizes < self.least, self.least, 0)
            if self.carried is not None:
                needs[self._dominated] = sizes[self._dominated] + self.least
            needs[~hidden | (sizes == 0)] = 0
            if needs.any():
                found.update(
                    closing(self.shape, sizes, hidden, needs, lambda x: self.told(lines.hidden(x), lines.cells(x)))
                )
        return sorted(found)

    @cached_property
    def _sizes(self) -> list[NDArray[np.int64]]:
        """How many entities are in each cell, by column, (cells,) each; equal ones once."""
        found = [np.bincount(b.cells, minlength=prod(self.shape)) for b in self.behind]
        return list({sizes.tobytes(): sizes for sizes in found}.values())

    @cached_property
    def _dominated(self) -> NDArray[np.bool_]:
        assert self.carried is not None
        return self.carried.dominated(prod(self.shape))
