"""max_share: how much of a sum its largest entity carries, in a cell and in several together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

#: sums of doubles are exact below this; above it, a share so close to its limit counts as above it
_EXACT, _CLOSE = 2.0**53, 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Carried:
    """What entities carry of the absolute addends of a measure, and the share ``most`` that none may carry.

    One element for each cell and entity, sorted by cells: ``cells``, ``entities`` (fingerprints, of this job only),
    ``forms`` the form of the entity's key, each of ``addends`` a whole number of at least 0. ``apart``: no entity is in
    several cells.
    """

    cells: NDArray[np.int64]
    entities: NDArray[np.uint64]
    forms: NDArray[np.int64]
    addends: Sequence[NDArray[np.float64]]
    most: Fraction
    apart: bool = False

    def dominated(self, count: int) -> NDArray[np.bool_]:
        """Which of all ``count`` cells one entity dominates, (count,)."""
        over = [dominated(self.cells, self.forms, addend, count, self.most) for addend in self.addends]
        found: NDArray[np.bool_] = np.logical_or.reduce([np.zeros(count, dtype=bool), *over])
        return found

    def needed(self, count: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """For each addend and form: what each of ``count`` cells adds up to, and of cells that one entity dominates
        the least of a sum in which it would not, else 0, (count,) each."""
        for addend in self.addends:
            for form in np.unique(self.forms):
                at = self.forms == form
                cells, mine = self.cells[at], addend[at]
                total, largest = np.bincount(cells, mine, count).astype(np.float64), np.zeros(count)
                np.maximum.at(largest, cells, mine)
                over = dominated(cells, np.zeros_like(cells), mine, count, self.most)
                yield total, np.where(over, largest * self.most.denominator / self.most.numerator, 0)

    def together(self, cells: Iterable[int]) -> bool:
        """Whether one entity dominates these cells, each named once, together."""
        cells = list(cells)
        starts, ends = (np.searchsorted(self.cells, cells, side) for side in ("left", "right"))
        at = np.concatenate([np.zeros(0, np.int64), *map(np.arange, starts, ends)])
        if not len(at) or not self.addends:
            return False
        who, forms = np.arange(len(at)), self.forms[at]
        if not self.apart:
            _, first, who = np.unique(self.entities[at], return_index=True, return_inverse=True)
            forms = forms[first]
        return any(
            bool(dominated(np.zeros(len(forms), np.int64), forms, mine, 1, self.most)[0])
            for mine in (np.bincount(who, addend[at]).astype(np.float64) for addend in self.addends)
        )


def dominated(
    cells: NDArray[np.int64], forms: NDArray[np.int64], addend: NDArray[np.float64], count: int, most: Fraction
) -> NDArray[np.bool_]:
    """The cells in which one entity carries more than the share ``most`` of the total of an absolute addend.

    One element for each cell and entity: ``cells`` its cell, 0 … count-1, ``forms`` the form of its key, ``addend``
    a whole number of at least 0. Entities of several forms may be the same, so each form is judged by itself: of what
    both add up to, none then carries more either. Shape of the result (count,).
    """
    if not len(cells):
        return np.zeros(count, dtype=bool)
    kinds = int(forms.max()) + 1
    group = cells * kinds + forms
    total = np.bincount(group, weights=addend, minlength=count * kinds)
    largest = np.zeros(count * kinds)
    np.maximum.at(largest, group, addend)
    mine, limit = largest * most.denominator, total * most.numerator
    exact = total * max(most.denominator, most.numerator) < _EXACT
    over: NDArray[np.bool_] = np.greater(mine, np.where(exact, limit, limit * (1 - _CLOSE)))
    found: NDArray[np.bool_] = np.any(over.reshape(count, kinds), axis=1)
    return found
