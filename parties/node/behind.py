"""From who is behind the numbers, cell by cell and entity by entity, to what must be spoiled."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.messages import RingWords
from mpc.policy.differencing import Entities, Measured
from mpc.policy.disclosure import dominated
from mpc.policy.numbers import Word
from mpc.policy.populations import Words
from mpc.query import plan
from mpc.query.layout import Filled
from mpc.query.plan import Behind, BehindMeasure, Number, Pool
from mpc.ring import ring
from parties.node.joins import cells_of

T = TypeVar("T", bound=np.generic)


class _ByEntity:
    """The rows of an answer by cell and entity, each once: rows of one are next to each other, and are put together."""

    def __init__(self, pool: Pool, answer: pa.Table) -> None:
        """``answer``: that of ``Behind.sql``. Raises LocalError data.bounds."""
        self._answer = answer.combine_chunks()
        cells = cells_of(pool.keys, answer, np.ones(answer.num_rows, dtype=bool), "k")
        entities = answer.column("x").to_numpy().astype(np.uint64)
        self._order = np.lexsort((entities, cells))
        cells, entities = cells[self._order], entities[self._order]
        changes = (cells[1:] != cells[:-1]) | (entities[1:] != entities[:-1])
        #: where each begins; None: none has several rows
        self._starts = None if changes.all() else np.flatnonzero(np.concatenate(([True], changes)))
        self.cells = cells if self._starts is None else cells[self._starts]

    def ordered(self, column: str) -> pa.Array:
        """A column, row by row."""
        return pa.concat_arrays(self._answer.column(column).take(self._order).chunks)

    def first(self, column: str) -> NDArray[Any]:
        """A column that is the same in all rows of an entity, which cannot be NULL."""
        found: NDArray[Any] = self.ordered(column).to_numpy()
        return found if self._starts is None else found[self._starts]

    def total(self, column: NDArray[T]) -> NDArray[T]:
        """Sums over the rows of each, modulo the width of the numbers."""
        if self._starts is None:
            return column
        found: NDArray[T] = np.add.reduceat(column, self._starts)
        return found


def dominated_measures(pool: Pool, behind: Behind, answer: pa.Table, most: Decimal) -> list[NDArray[np.bool_]]:
    """Of each measure the cells in which one entity carries more than the share ``most`` of an addend.

    ``answer``: that of ``behind.sql``. Raises LocalError data.bounds.
    """
    rows = _ByEntity(pool, answer)
    forms = rows.first("c").astype(np.int64)
    over: dict[int, NDArray[np.bool_]] = {}
    for i in sorted({i for m in behind.measures for i in m.addends}):
        addend = rows.total(rows.ordered(f"a{i}").to_numpy().astype(np.float64))
        over[i] = dominated(rows.cells, forms, addend, pool.cells, Fraction(most))
    nowhere = np.zeros(pool.cells, dtype=bool)
    return [np.logical_or.reduce([nowhere, *(over[i] for i in m.addends)]) for m in behind.measures]


def measured(
    pool: Pool,
    behind: Behind,
    answer: pa.Table,
    filled: Filled,
    fingerprints: Callable[[Words], Words],
    seal: Callable[[Words, Words], Words],
) -> list[Measured]:
    """Of each measure who is behind it, column by column, and what it lets out. ``answer``: that of ``behind.sql``.

    Raises LocalError data.bounds.
    """
    rows = _ByEntity(pool, answer)
    cells, entities = rows.cells, fingerprints(rows.first("x").astype(np.uint64))
    order = np.lexsort((entities, cells))
    cells, entities = cells[order], entities[order]
    found = []
    for i, column in enumerate(behind.populations):
        sums = rows.ordered(f"p{i}")
        words = rows.total(sums.fill_null(0).to_numpy().astype(np.uint64))[order]
        if not sums.null_count:
            found.append(Entities(column, cells, entities, words, seal))
            continue
        there = (rows.total(sums.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)) > 0)[order]
        found.append(Entities(column, cells[there], entities[there], words[there], seal))
    return [
        Measured(
            [found[i] for i in said.populations],
            filled.small[m],
            [_word(n, said, measure.words[n.word], filled.words[m][n.word]) for n in said.numbers],
        )
        for m, (measure, said) in enumerate(zip(pool.measures, behind.measures, strict=True))
    ]


def _word(number: Number, said: BehindMeasure, word: plan.Word, own: RingWords) -> Word:
    """``own``: this party's words, cell by cell."""
    values = None if number.searched else [v // number.by for v in ring(word.ring).to_ints(own)]
    return Word(number.what, values, tuple(said.populations.index(i) for i in number.populations))
