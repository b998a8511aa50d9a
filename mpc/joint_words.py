"""The words of a join in the order of the plan, and its cells by slices of groups (``JoinPool.slices``) and back."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc.joint_setup import Joint
from mpc.messages import RingWords
from mpc.protocols.groups import Groups
from mpc.protocols.ranked import Found
from mpc.query.plan_joins import JoinPool
from mpc.query.plan_pools import Ring

T = TypeVar("T", bound=np.generic)


def words_of_rows(j: Joint, columns: list[RingWords]) -> dict[Ring, RingWords]:
    """Columns as they are: outside the join they are 0."""
    at = {step: i for i, step in enumerate(j.totalled())}
    out: dict[Ring, list[RingWords]] = {64: [], 128: []}
    for measure, released in zip(j.pool.measures, j.pool.released, strict=True):
        for word, step in zip(measure.words, released.words, strict=True):
            out[word.ring].append(columns[at[step]])
    return {bits: np.concatenate(columns) for bits, columns in out.items() if columns}


def words_of_groups(
    j: Joint, g: Groups, said: dict[int, RingWords], found: Found | None, *, first: bool
) -> dict[Ring, RingWords]:
    """From the order of ``Groups.sums`` to that of ``Plan.columns``: a measure's words, then its flag, 1 where it is
    suppressed. What was found by its place all parties know; the first one says it."""
    pool, n, slices = j.pool, j.pool.groups, j.pool.slices
    releases = len(g.releases)
    kept = {
        bits: iter(said[bits][(releases * n if bits == 64 else 0) :].reshape(-1, n, *said[bits].shape[1:]))
        for bits in (64, 128)
        if bits in said
    }
    out: dict[Ring, list[RingWords]] = {64: [], 128: []}
    for m, measure in enumerate(pool.measures):
        # word by word for each of the measure's slices
        words = []
        for r in range(m * slices, (m + 1) * slices):
            i = next((i for i, one in enumerate(pool.ranked) if one.released == r), None)
            if i is None or found is None:
                words.append([next(kept[word.ring]) for word in measure.words])
            else:
                values = [found.words[i][w] * found.shown[i] for w in range(len(measure.words))]
                words.append([v.view(np.uint64) if first else np.zeros(n, dtype=np.uint64) for v in values])
        for w, word in enumerate(measure.words):
            out[word.ring].append(in_cells(pool, np.concatenate([of[w] for of in words])))
        keep = said[64][m * slices * n : (m + 1) * slices * n]
        out[64].append(in_cells(pool, np.full(slices * n, 1 if first else 0, dtype=np.uint64) - keep))
    return {bits: np.concatenate(columns) for bits, columns in out.items() if columns}


def _sliced(pool: JoinPool) -> tuple[list[int], list[int]]:
    """How many values each key has, and the keys in the order of slices of groups."""
    return [len(k.domain) for k in pool.keys], pool.order_of_slices


def by_slice(pool: JoinPool, cells: NDArray[T]) -> NDArray[T]:
    """From cells to slices of groups, (slices, groups) or (slices, groups, 2)."""
    sizes, order = _sliced(pool)
    width = cells.shape[1:]
    laid = cells.reshape([*sizes, *width]).transpose([*order, *range(len(sizes), len(sizes) + len(width))])
    return laid.reshape(pool.slices, pool.groups, *width)


def in_cells(pool: JoinPool, column: RingWords) -> RingWords:
    """From slices of groups to cells, whose keys are those of the GROUP BY in their order."""
    sizes, order = _sliced(pool)
    laid = column.reshape([sizes[i] for i in order] + list(column.shape[1:]))
    back = [order.index(i) for i in range(len(sizes))]
    cells: RingWords = laid.transpose([*back, *range(len(sizes), laid.ndim)]).reshape(column.shape)
    return np.ascontiguousarray(cells)
