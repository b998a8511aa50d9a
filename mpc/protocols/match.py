"""H's matching of tags: which row of one table has the tag of each row of the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.messages import RingWords
from mpc.permutation import stable_argsort

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Met:
    """For each asked row: ``row`` of the offered table or -1; ``distinct``: a number below the number of asked rows,
    the same for equal tags and for no others. ``count``: how many distinct tags met."""

    row: Indices
    distinct: Indices
    count: int


def match(asked: RingWords, offered: RingWords) -> Met | None:
    """Match tags (n, 2) with tags (m, 2) that should be distinct; None if two of these are equal."""
    n = len(asked)
    both = np.concatenate((asked, offered))
    order = stable_argsort(both[:, 0])
    first, second = both[order, 0], both[order, 1]
    if ((first[1:] == first[:-1]) & (second[1:] != second[:-1])).any():
        # tags that differ in their second words only: next to never by chance, so this may be slower
        order = np.lexsort((both[:, 1], both[:, 0]))
        first, second = both[order, 0], both[order, 1]
    begins = np.ones(len(both), dtype=np.bool_)
    begins[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    # number the runs of equal tags
    run_of_sorted = np.cumsum(begins) - 1
    run = np.empty(len(both), dtype=np.int64)
    run[order] = run_of_sorted
    runs = int(run_of_sorted[-1]) + 1 if len(both) else 0
    offered_row = np.full(runs, -1, dtype=np.int64)
    offered_row[run[n:]] = np.arange(len(offered))
    if np.count_nonzero(offered_row >= 0) != len(offered):
        return None
    wanted = np.zeros(runs, dtype=np.bool_)
    wanted[run[:n]] = True
    number = np.cumsum(wanted) - 1
    return Met(offered_row[run[:n]], number[run[:n]], int(np.count_nonzero(wanted & (offered_row >= 0))))
