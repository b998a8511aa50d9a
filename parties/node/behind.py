"""From who is behind the numbers, cell by cell and entity by entity, to what must be spoiled."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.policy.differencing import Entities, Words
from mpc.policy.disclosure import dominated
from mpc.query.plan import Behind, Pool
from parties.node.joins import cells_of


def dominated_measures(pool: Pool, behind: Behind, answer: pa.Table, most: Decimal) -> list[NDArray[np.bool_]]:
    """Of each measure the cells in which one entity carries more than the share ``most`` of an addend.

    ``answer``: that of ``behind.sql``. Raises LocalError data.bounds.
    """
    answer = answer.combine_chunks()
    cells = cells_of(pool.keys, answer, np.ones(answer.num_rows, dtype=bool), "k")
    forms = answer.column("c").to_numpy().astype(np.int64)
    over: dict[int, NDArray[np.bool_]] = {}
    for i in sorted({i for addends, _ in behind.measures for i in addends}):
        addend = answer.column(f"a{i}").to_numpy().astype(np.float64)
        over[i] = dominated(cells, forms, addend, pool.cells, Fraction(most))
    nowhere = np.zeros(pool.cells, dtype=bool)
    return [np.logical_or.reduce([nowhere, *(over[i] for i in addends)]) for addends, _ in behind.measures]


def populations(
    pool: Pool,
    behind: Behind,
    answer: pa.Table,
    fingerprints: Callable[[Words], Words],
    seal: Callable[[Words, Words], Words],
) -> list[list[Entities]]:
    """Of each measure who is behind it, column by column. ``answer``: that of ``behind.sql``. Raises LocalError
    data.bounds."""
    answer = answer.combine_chunks()
    cells = cells_of(pool.keys, answer, np.ones(answer.num_rows, dtype=bool), "k")
    entities = fingerprints(answer.column("x").to_numpy().astype(np.uint64))
    order = np.lexsort((entities, cells))
    cells, entities = cells[order], entities[order]
    found = []
    for i, column in enumerate(behind.populations):
        sums = answer.column(f"p{i}").take(order)
        there = sums.is_valid().to_numpy()
        words = sums.fill_null(0).to_numpy().astype(np.uint64)[there]
        found.append(Entities(column, cells[there], entities[there], words, seal))
    return [[found[i] for i in numbers] for _, numbers in behind.measures]
