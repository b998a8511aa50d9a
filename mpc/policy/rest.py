"""What the total of a line of a table tells beside its shown cells: the sum of the hidden ones, together.

Where these have fewer than min_entities entities, the ledger hides either the total or one cell more, whichever comes
later (mpc.policy.differencing). Where they have more, the total is let out, so their sum counts as let out as well, as
soon as the table is: it must be close to nothing else that was, no one entity may carry nearly all of it, and not all
but few of it may be known by what was let out of its cells. Else one cell more is hidden, before any total is asked
for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.policy.carried import Carried
from mpc.policy.cycles import closing
from mpc.policy.margins import Line, Lines
from mpc.policy.populations import Population, Released

Cells = tuple[int, ...]
Populations = Sequence[tuple[Released, Population]]


class Behind(Protocol):
    """Who is behind a measure, as far as one column goes. ``cells``: one element for each cell and entity."""

    @property
    def column(self) -> Released: ...

    @property
    def cells(self) -> NDArray[np.int64]: ...

    def union(self, line: Line, cells: Cells, which: str = ...) -> Population: ...


@dataclass(frozen=True, eq=False, repr=False)
class Rest:
    """``shape``: that of the table; ``behind``: who is behind the measure, column by column; ``carried``: where it is
    limited what one may carry; ``too_close``: whether one of these populations of columns is too close to one that was
    let out; ``let_out``: whether all of them were."""

    shape: tuple[int, ...]
    behind: Sequence[Behind]
    carried: Carried | None
    least: int
    too_close: Callable[[Populations], bool]
    let_out: Callable[[Populations], bool]
    #: of each cell, column by column, in how many entities it differs from the nearest that was let out before
    _unexplained: dict[int, list[int]] = field(default_factory=dict)

    def look_at(self, cell: int, unexplained: list[int]) -> None:
        self._unexplained[cell] = unexplained

    def fresh(self, cell: int) -> bool:
        """Whether it hides something: it was not let out before, in whatever table."""
        return any(self._unexplained[cell])

    def to_hide(self, line: Line, shown: Cells, hidden: Cells) -> list[int]:
        """Of which cells one is to be hidden, that the sum of the hidden ones of a line may follow; none: of none."""
        if not hidden or not self.told(line, shown, hidden):
            return []
        left = np.array([self._unexplained[c] for c in hidden]).sum(axis=0)
        few = np.flatnonzero((left > 0) & (left < self.least))
        if fresh := [c for c in shown if any(self._unexplained[c][b] for b in few)]:
            return fresh
        if self.too_close(self._of(line, hidden, "hidden")):
            return list(shown)
        return list(shown) if self.carried is not None and self.carried.together(hidden) else []

    def told(self, line: Line, shown: Cells, hidden: Cells) -> bool:
        """Whether the total of a line was let out, or would be, now that the sums of the ``shown`` cells are."""
        every = tuple(sorted((*shown, *hidden)))
        total = self._of(line, every, "every")
        if self.let_out(total):
            return True
        if any(0 < len(p) < self.least for _, p in self._of(line, hidden, "hidden")):
            return False
        return not (self.too_close(total) or (self.carried is not None and self.carried.together(every)))

    def told_of(self, lines: Lines) -> Iterator[list[tuple[Released, Population]]]:
        """The sums of hidden cells that follow from totals that may be let out."""
        for line in lines.every:
            shown, hidden = lines.cells(line), lines.hidden(line)
            if shown and hidden and self.told(line, shown, hidden):
                yield self._of(line, hidden, "hidden")

    def _of(self, line: Line, cells: Cells, which: str) -> list[tuple[Released, Population]]:
        found = [(b.column, b.union(line, tuple(sorted(cells)), which)) for b in self.behind if cells]
        return [(column, p) for column, p in found if len(p)]

    def closing(self, lines: Lines, hidden: NDArray[np.bool_]) -> list[int]:
        """Cells to be hidden besides, so that a table and all its margins give none that is small or dominated."""

        def told(line: Line) -> bool:
            return self.told(line, lines.cells(line), lines.hidden(line))

        found: set[int] = set()
        if len(self.shape) > 1 and hidden.any():
            for sizes, needs in self._mixed:
                wanted = np.where(hidden, needs, 0)
                if wanted.any():
                    found.update(closing(self.shape, sizes, hidden, wanted, told))
        return sorted(found)

    @cached_property
    def _mixed(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Of each column how many entities are in each cell, and of each addend what it adds up to there, of cells let
        out before none; and of how much a sum with this cell has to be, 0: of any, (cells,) each. Equal ones once."""
        count = prod(self.shape)
        left = np.zeros((len(self.behind), count))
        for cell, unexplained in self._unexplained.items():
            left[:, cell] = unexplained
        mixed = []
        for b, there in zip(self.behind, left, strict=True):
            sizes = np.where(there > 0, np.bincount(b.cells, minlength=count), 0.0)
            alone = (there > 0) & (there < self.least)  # too close to something let out, if not too small
            mixed.append((sizes, np.where(sizes < self.least, self.least, sizes + 1) * alone))
        if self.carried is not None:
            fresh = left.any(axis=0)
            mixed.extend((np.where(fresh, sizes, 0), needs) for sizes, needs in self.carried.needed(count))
        return list({(a.tobytes(), b.tobytes()): (a, b) for a, b in mixed}.values())
