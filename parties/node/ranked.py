"""From a local answer to the values among which a place is searched for: sorted within each cell."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mpc.protocols.ranked import Marks, OwnValues
from mpc.query.plan_pools import Pool
from parties.node.joins import cells_of


def own_values_of(pool: Pool, answer: pa.Table, small: Marks) -> OwnValues:
    """The rows ``k0 …, v`` of a ranked query as ``OwnValues``. Raises LocalError data.bounds."""
    answer = answer.combine_chunks()
    values = answer.column("v").to_numpy().astype(np.int64)
    cell = cells_of(pool.keys, answer, np.ones(len(values), dtype=bool), "k")
    order = np.lexsort((values, cell))
    starts = np.searchsorted(cell[order], np.arange(pool.cells + 1)).astype(np.int64)
    return OwnValues(values[order], starts, small)
