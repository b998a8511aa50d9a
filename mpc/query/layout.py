"""From a local answer to ring words, cell by cell, and from opened totals back to numbers.

Cells are the Cartesian product of the keys' domains in row-major order (the last key runs fastest). A cell that is
absent from a local answer is zeros and zero entities. A word is the column's total in units modulo 2^64 or 2^128.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.errors import LocalError
from mpc.messages import RingWords
from mpc.query.catalog import Value
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool
from mpc.query.plan_pools import Measure, Pool, Rounding, Word
from mpc.query.reveals import reach_mask
from mpc.ring import ring

#: rows of values in units, text and booleans as themselves
Rows = tuple[tuple[Value, ...], ...]
#: a local answer by column name: keys as lists of Python values, words as uint64 (rows, 2), entities as int64 (rows,)
Answer = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Filled:
    """One party's words of one pool. ``words[m][w]``: (cells,) or (cells, 2) uint64; ``small[m]``: (cells,) bool, cells
    in which it must spoil the measure. ``repr`` shows no values."""

    words: tuple[tuple[RingWords, ...], ...]
    small: tuple[NDArray[np.bool_], ...]

    def spoiling(self, more: Sequence[NDArray[np.bool_]]) -> Filled:
        """The same with other cells to be spoiled besides, by measure."""
        return replace(self, small=tuple(a | b for a, b in zip(self.small, more, strict=True)))

    def __repr__(self) -> str:
        return f"Filled({len(self.words)} measures)"


@dataclass(frozen=True)
class PoolTotals:
    """Opened totals of one pool: ``words[m][w][cell]`` signed integers in units, ``suppressed[m][cell]``.

    ``own``: where cells are the recipient's rows, its own values beside them, row by row.
    """

    words: tuple[tuple[tuple[int, ...], ...], ...]
    suppressed: tuple[tuple[bool, ...], ...]
    own: Rows = ()


@dataclass(frozen=True)
class Opened:
    """All pools of a plan, opened."""

    pools: tuple[PoolTotals, ...]


def fill(plan: Plan, pool: int, answer: Answer, *, party: str, min_entities: int, strict_none: bool) -> Filled:
    """Lay out ``party``'s answer to its local query of this pool.

    A cell is small for a measure where the party can have rows (``Measure.reach``) and has fewer than ``min_entities``
    distinct entities (if that is 2 or more), or none at all (if ``strict_none``). Raises LocalError data.bounds.
    """
    p = plan.pools[pool]
    at = _cells_of(p, answer, len(answer["m0e"]))
    words, small = [], []
    for m, measure in enumerate(p.measures):
        words.append(tuple(_word(p, measure, w, answer[f"m{m}w{i}"], at) for i, w in enumerate(measure.words)))
        entities = np.zeros(p.cells, dtype=np.int64)
        entities[at] = answer[f"m{m}e"]
        reach = reach_mask(p, measure, party)
        if not reach[at].all() and np.any(entities[~reach]):
            raise _outside(p)
        fewest = max(min_entities if min_entities >= 2 else 0, 1 if strict_none else 0)
        small.append(reach & (entities < fewest))
    return Filled(tuple(words), tuple(small))


def column_sums(p: Pool, rounding: Rounding, answer: Answer) -> list[list[int]]:
    """Of each of the sums its value in every cell. ``answer``: that of ``rounding.sql``.

    Raises LocalError data.bounds.
    """
    at = _cells_of(p, answer, len(answer["r0"]))
    found = []
    for i in range(len(rounding.sums)):
        dense = ring(128).zeros(p.cells)
        dense[at] = answer[f"r{i}"]
        found.append(ring(128).to_ints(dense))
    return found


def _cells_of(p: Pool, answer: Answer, rows: int) -> NDArray[np.intp]:
    """The cell of each row of an answer. Raises LocalError data.bounds where a key is not in its domain."""
    cells = np.zeros(rows, dtype=np.intp)
    for i, key in enumerate(p.keys):
        index = {_comparable(v): n for n, v in enumerate(key.domain)}
        try:
            own = np.fromiter((index[_comparable(v)] for v in answer[f"k{i}"]), dtype=np.intp, count=rows)
        except KeyError:
            raise LocalError(
                "data.bounds",
                f"A row has a value of {key.name} that is not in its declared domain.",
                "Add it to the domain in catalog.json, or correct the data; `heji node check` names the table.",
            ) from None
        cells = cells * len(key.domain) + own
    if len(np.unique(cells)) != rows or (not p.keys and rows != 1):
        raise LocalError("internal", "A local answer has a group twice, or not exactly one row without groups.")
    return cells


def _comparable(value: object) -> tuple[type, object]:
    """False is not 0."""
    return type(value), value


def _outside(p: Pool) -> LocalError:
    names = ", ".join(k.name for k in p.keys)
    return LocalError(
        "data.bounds",
        f"A row's {names} is not in the declared domains of its own table.",
        "Correct the data or the domain; `heji node check` names the table.",
    )


def _word(p: Pool, measure: Measure, word: Word, values: RingWords, at: NDArray[np.intp]) -> RingWords:
    """A dense column of one word. ``values``: (rows, 2) little-endian two's complement of 128 bits."""
    low, high = values[:, 0], values[:, 1]
    if not _within(low, high, word.bound):
        raise LocalError(
            "data.bounds",
            f"{measure.name} passes the bounds that follow from the declared ones.",
            "The table no longer fits its catalog entry; look with `heji node check`.",
        )
    dense = ring(word.ring).zeros(p.cells)
    dense[at] = low if word.ring == 64 else values
    return dense


def _within(low: NDArray[np.uint64], high: NDArray[np.uint64], bound: int) -> bool:
    """|value| <= bound < 2^127 for two's complement values in two halves."""
    negative = high >> np.uint64(63) == 1
    flipped_low, flipped_high = ~low + np.uint64(1), ~high
    flipped_high = flipped_high + (flipped_low == 0)
    a = np.where(negative, flipped_low, low)
    b = np.where(negative, flipped_high, high)
    top, bottom = np.uint64(bound >> 64), np.uint64(bound & (2**64 - 1))
    return bool(np.all((b < top) | ((b == top) & (a <= bottom))))


def read(plan: Plan, totals: Mapping[str, RingWords], own: Mapping[int, Rows] = MappingProxyType({})) -> Opened:
    """Opened totals by ``pool{p}/w{ring}``, each a vector in the order of ``Plan.columns``, as signed integers.

    ``own``: by number of the pool, the recipient's own values beside cells that are its rows. Raises LocalError
    protocol.malformed where a total is beyond its bound: of words that somebody changed, nearly all are.
    """
    words: list[list[list[tuple[int, ...]]]] = [[[() for _ in m.words] for m in p.measures] for p in plan.pools]
    flags: list[list[tuple[bool, ...]]] = [[(False,) * p.cells for _ in p.measures] for p in plan.pools]
    start: dict[str, int] = {}
    for bits in (64, 128):
        for p, m, w, cells in plan.columns(bits):
            name = f"pool{p}/w{bits}"
            begin = start.get(name, 0)
            start[name] = begin + cells
            column = totals[name][begin : begin + cells]
            if w < 0:
                flags[p][m] = tuple(bool(v) for v in (column != 0).reshape(cells, -1).any(axis=1))
            else:
                words[p][m][w] = tuple(ring(bits).to_ints(column))
    _verify_bounds(plan, words, flags)
    return Opened(
        tuple(
            PoolTotals(tuple(tuple(m) for m in pool), tuple(flag), own.get(p, ()))
            for p, (pool, flag) in enumerate(zip(words, flags, strict=True))
        )
    )


def _verify_bounds(
    plan: Plan, words: Sequence[Sequence[Sequence[tuple[int, ...]]]], flags: Sequence[Sequence[tuple[bool, ...]]]
) -> None:
    for pool, of_pool, hidden in zip(plan.pools, words, flags, strict=True):
        # a multiple of what a sum over a join is rounded to may be beyond the bound, by as much again at most
        rounded = {(s.measure, s.word) for q in pool.sources for s in q.rounding.sums if isinstance(pool, JoinPool)}
        for m, (measure, of_measure, small) in enumerate(zip(pool.measures, of_pool, hidden, strict=True)):
            for w, (word, column) in enumerate(zip(measure.words, of_measure, strict=True)):
                # what is suppressed may have been spoiled with random words
                shown = (v for v, is_small in zip(column, small, strict=True) if not is_small)
                if max(map(abs, shown), default=0) > word.bound * (2 if (m, w) in rounded else 1):
                    raise LocalError(
                        "protocol.malformed",
                        f"{measure.name} came out beyond what the declared bounds allow.",
                        "A member deviated from the protocol; a replay shows which one. Do not use the result.",
                    )


def cells(p: Pool) -> Sequence[tuple[Value, ...]]:
    """The key values of every cell, in order."""
    return list(product(*(k.domain for k in p.keys)))
