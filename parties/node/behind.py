"""From who is behind the numbers, cell by cell and entity by entity, to what must be spoiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import prod
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.permutation import stable_argsort
from mpc.policy.carried import Carried
from mpc.policy.differencing import Entities, Measured
from mpc.policy.numbers import Word
from mpc.policy.populations import Over, Words
from mpc.query.layout import Filled
from mpc.query.plan_joins import JoinPool, Side, TallyPool, others_decide
from mpc.query.plan_pools import Behind, BehindMeasure, Key, Number, Pool
from mpc.ring import ring
from parties.node.joins import cells_of

T = TypeVar("T", bound=np.generic)


class _ByEntity:
    """The rows of an answer by cell and entity, each once: rows of one are next to each other, and are put together.

    ``cells``, ``entities``: sorted by both.
    """

    def __init__(self, keys: Sequence[Key], answer: pa.Table, fingerprints: Callable[[Words], Words]) -> None:
        """``answer``: that of ``Behind.sql``. Raises LocalError data.bounds."""
        self._answer = answer.combine_chunks()
        cells = cells_of(keys, answer, np.ones(answer.num_rows, dtype=bool), "k")
        entities = fingerprints(answer.column("x").to_numpy().astype(np.uint64))
        by_entity = stable_argsort(entities)
        #: whether no entity has several rows, and so none is in several cells
        self.apart = not (entities[by_entity[1:]] == entities[by_entity[:-1]]).any()
        self._order = _by_both(cells, by_entity)
        cells, entities = cells[self._order], entities[self._order]
        changes = (cells[1:] != cells[:-1]) | (entities[1:] != entities[:-1])
        #: where each begins; None: none has several rows
        self._starts = None if changes.all() else np.flatnonzero(np.concatenate(([True], changes)))
        self.cells = cells if self._starts is None else cells[self._starts]
        self.entities = entities if self._starts is None else entities[self._starts]

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


def _by_both(cells: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The order by cell, and by entity within one. ``order``: that by entity. Small numbers are sorted by their digits,
    three times as fast."""
    last = int(cells.max(initial=0))
    if not last:
        return order
    short = cells.astype(np.uint16) if last < 1 << 16 else cells
    return order[np.argsort(short[order], kind="stable")]


def carried(pool: Pool, behind: Behind, answer: pa.Table, most: Decimal) -> list[Carried]:
    """Of each measure who carries how much of it, where none may carry more than the share ``most`` of an addend.

    ``answer``: that of ``behind.sql``. Raises LocalError data.bounds.
    """
    rows = _ByEntity(pool.keys, answer, lambda x: x)
    forms = rows.first("c").astype(np.int64)
    used = sorted({i for m in behind.measures for i in m.addends})
    of = {i: rows.total(rows.ordered(f"a{i}").to_numpy().astype(np.float64)) for i in used}
    return [
        Carried(rows.cells, rows.entities, forms, [of[i] for i in m.addends], Fraction(most), rows.apart)
        for m in behind.measures
    ]


def measured(
    pool: Pool,
    behind: Behind,
    answer: pa.Table,
    filled: Filled,
    fingerprints: Callable[[Words], Words],
    seal: Callable[[Words, Words], Words],
    largest: Sequence[Carried] = (),
    names: Sequence[str] = (),
) -> list[Measured]:
    """Of each measure who is behind it, column by column, and what it lets out. ``answer``: that of ``behind.sql``;
    ``largest``: of each measure who carries how much of it, where that is limited; ``names``: of its populations
    (mpc/query/plain.py).

    Raises LocalError data.bounds.
    """
    found = entities_of(pool.keys, behind, answer, fingerprints, seal)
    return [
        Measured(
            [found[i] for i in said.populations],
            filled.small[m],
            [
                _word(
                    n, said, None if n.searched else ring(measure.words[n.word].ring).to_ints(filled.words[m][n.word])
                )
                for n in said.numbers
            ],
            tuple(len(k.domain) for k in pool.keys),
            carried=largest[m] if largest else None,
            names=[names[i] for i in said.populations] if names else (),
        )
        for m, (measure, said) in enumerate(zip(pool.measures, behind.measures, strict=True))
    ]


def measured_side(
    pool: JoinPool,
    side: Side,
    answer: pa.Table,
    least: int,
    fingerprints: Callable[[Words], Words],
    seal: Callable[[Words, Words], Words],
) -> list[Measured]:
    """Of each measure of a join whom the conditions of one side choose, by the keys that the side holds itself.

    Where that are fewer than ``least``, no more of them can have met: the measure is hidden there anyway. Rows that
    count under several conditions of their own are more together than under each. With a helper nobody knows which of
    them met, where others decide about it.
    """
    at, hidden = pool.sides.index(side), not isinstance(pool, TallyPool)
    keys, behind = [pool.keys[i] for i in side.keys], side.query.behind
    cells = prod(len(k.domain) for k in keys)
    out = []
    found = entities_of(keys, behind, answer, fingerprints, seal)
    for m, said in enumerate(behind.measures):
        who = [found[i] for i in said.populations]
        rows = [b for b in who if b.column[1] == "*"]
        few = np.bincount(rows[0].cells, minlength=cells) < least if len(rows) == 1 else np.zeros(cells, dtype=bool)
        numbers = [_word(n, said, None) for n in said.numbers]
        over: Over = "part" if hidden and others_decide(pool, at, m) else "chosen"
        out.append(Measured(who, few, numbers, tuple(len(k.domain) for k in keys), over))
    return out


def in_all_cells(pool: JoinPool, side: Side, own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """From cells by a side's own keys to those of the pool, (cells,)."""
    sizes = [len(k.domain) for k in pool.keys]
    laid = own.reshape([n if i in side.keys else 1 for i, n in enumerate(sizes)])
    return np.broadcast_to(laid, sizes).reshape(-1)


def entities_of(
    keys: Sequence[Key],
    behind: Behind,
    answer: pa.Table,
    fingerprints: Callable[[Words], Words],
    seal: Callable[[Words, Words], Words],
) -> list[Entities]:
    """Who is behind each population. Raises LocalError data.bounds."""
    rows = _ByEntity(keys, answer, fingerprints)
    cells, entities = rows.cells, rows.entities
    found = []
    for i, column in enumerate(behind.populations):
        sums = rows.ordered(f"p{i}")
        words = rows.total(sums.fill_null(0).to_numpy().astype(np.uint64))
        if not sums.null_count:
            found.append(Entities(column, cells, entities, words, seal, rows.apart))
            continue
        there = rows.total(sums.is_valid().to_numpy(zero_copy_only=False).astype(np.int64)) > 0
        found.append(Entities(column, cells[there], entities[there], words[there], seal, rows.apart))
    return found


def _word(number: Number, said: BehindMeasure, own: Sequence[int] | None) -> Word:
    """``own``: this party's part of the word, cell by cell; None where others' data decide too."""
    values = None if own is None else [v // number.by for v in own]
    return Word(number.what, values, tuple(said.populations.index(i) for i in number.populations))
