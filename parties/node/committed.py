"""A party's input to the protocol, by which it binds itself before it speaks (mpc.evidence.data): the words of its sums
as its tables gave them and which cells it hides, the rows it brings into joins, the values among which is searched.

    tables ── local SQL, the owner's limits ──▶ Committed ──▶ columns, blocks, root: in the log, and kept
                                                    │
                                                    └──▶ what the role gets: vectors (small cells spoiled), rows, values

A replay makes it from the tables again, or reads it back from the blocks that were kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.coins import Coins
from mpc.evidence.data import Block, Column
from mpc.ids import Keys, width
from mpc.joint_sides import SideRows
from mpc.messages import RingWords
from mpc.policy.disclosure import vector
from mpc.protocols.ranked import OwnValues
from mpc.query.layout import Filled
from mpc.query.plan import Plan
from mpc.query.plan_joins import ComparedPool, JoinPool, Side
from mpc.roles import Cast, pool_of, ring_of


@dataclass(frozen=True)
class Committed:
    """``filled`` and ``rows`` (by name of the side) by the number of the pool, ``values`` by name of the search."""

    filled: Mapping[int, Filled]
    rows: Mapping[int, Mapping[str, SideRows]]
    values: Mapping[str, tuple[OwnValues, ...]]

    def vectors(self, cast: Cast, plan: Plan, me: str, coins: Coins) -> dict[str, RingWords]:
        """What ``me`` adds to each of its sums: one spoiled vector for each recipient, with noise of its own."""
        said = {s: self.filled[pool_of(s.name)] for s in cast.said_by(me) if pool_of(s.name) in self.filled}
        return {s.name: vector(plan, pool_of(s.name), ring_of(s), f, coins, f"spoil/{s.name}") for s, f in said.items()}

    def columns(self, plan: Plan) -> Iterator[Column]:
        """All of it, in one order."""
        for p, filled in sorted(self.filled.items()):
            for m, words in enumerate(filled.words):
                for w, column in enumerate(words):
                    yield Column(_word(plan, p, m, w), column)
                yield Column(_hidden(plan, p, m), filled.small[m])
        for p, sides in sorted(self.rows.items()):
            for side, brought in sorted(sides.items()):
                name = f"{plan.pools[p].name}: {side}"
                yield Column(f"{name}, keys", brought.keys.matrix)
                yield Column(f"{name}, rows without a key", brought.keys.null)
                yield Column(f"{name}, groups", brought.group)
                yield Column(f"{name}, rows that pass", brought.passing)
                for c, column in enumerate(brought.columns):
                    yield Column(f"{name}, column {c}", column)
                if brought.hidden is not None:
                    yield Column(f"{name}, hidden cells", brought.hidden.T)
                for i, counted in enumerate(brought.counts):
                    yield Column(f"{name}, entities of earlier total {i}", counted)
                for w, drawn in enumerate(brought.noise):
                    yield Column(f"{name}, noise of word {w}", drawn)
        for name, measures in sorted(self.values.items()):
            for i, own in enumerate(measures):
                yield Column(f"{name}: measure {i}, values", own.values)
                yield Column(f"{name}: measure {i}, where cells begin", own.starts)

    @staticmethod
    def read(cast: Cast, plan: Plan, me: str, blocks: Iterable[Block]) -> Committed:
        """The inverse of ``columns``, from all of their blocks; the caller has compared their root. Raises KeyError,
        ValueError where they are not of this plan."""
        kept = _Kept(blocks)
        joins = {**dict(plan.joins), **{p: j.pool for p, j in cast.joints}}
        filled = {
            p: Filled(
                tuple(
                    tuple(kept.words(_word(plan, p, m, w), word.ring) for w, word in enumerate(measure.words))
                    for m, measure in enumerate(pool.measures)
                ),
                tuple(kept.take(_hidden(plan, p, m), np.bool_) for m in range(len(pool.measures))),
            )
            for p, pool in enumerate(plan.pools)
            if p not in joins and any(q.party == me for q in pool.sources)
        }
        rows = {
            p: {s.name: _side(kept, pool, s) for s in pool.sides if s.party == me}
            for p, pool in joins.items()
            if any(s.party == me for s in pool.sides)
        }
        values = {
            places.search.name: tuple(
                OwnValues(
                    kept.take(f"{places.search.name}: measure {i}, values", np.int64),
                    kept.take(f"{places.search.name}: measure {i}, where cells begin", np.int64),
                    filled[places.pool].small[m],
                )
                for i, m in enumerate(places.measures)
            )
            for places in cast.searches
            if me in places.search.parties
        }
        return Committed(filled, rows, values)


class _Kept:
    """Contents of columns by name, put together from their blocks."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self._contents: dict[str, bytearray] = {}
        for b in blocks:
            self._contents.setdefault(b.column, bytearray()).extend(b.content)

    def __contains__(self, name: str) -> bool:
        return name in self._contents

    def take(self, name: str, kind: type[Any], *row: int) -> NDArray[Any]:
        """(rows, *row) elements of a kind."""
        return np.array(np.frombuffer(self._contents.pop(name), dtype=np.dtype(kind).newbyteorder("<"))).reshape(
            -1, *row
        )

    def words(self, name: str, ring: int) -> RingWords:
        return self.take(name, np.uint64, *([2] if ring == 128 else []))


def _side(kept: _Kept, pool: JoinPool, side: Side) -> SideRows:
    name = f"{pool.name}: {side.name}"
    keys = Keys(
        kept.take(f"{name}, keys", np.uint8, width(pool.fields)), kept.take(f"{name}, rows without a key", np.bool_)
    )
    group, passing = kept.take(f"{name}, groups", np.int64), kept.take(f"{name}, rows that pass", np.bool_)
    columns = tuple(kept.words(f"{name}, column {c}", x.bits) for c, x in enumerate(side.columns))
    hidden = f"{name}, hidden cells"
    hides = kept.take(hidden, np.bool_, len(pool.measures)).T if hidden in kept else None
    words = [word for measure in pool.measures for word in measure.words]
    drawn = tuple(
        kept.words(noise, word.ring) for w, word in enumerate(words) if (noise := f"{name}, noise of word {w}") in kept
    )
    earlier = pool.brought_by(side) if isinstance(pool, ComparedPool) else []
    counts = tuple(kept.words(f"{name}, entities of earlier total {i}", 64) for i, _ in enumerate(earlier))
    return SideRows(keys, group, passing, columns, hides, drawn, counts)


def _word(plan: Plan, p: int, m: int, w: int) -> str:
    pool = plan.pools[p]
    return f"{pool.name}: {pool.measures[m].name}, word {w} ({pool.measures[m].words[w].kind})"


def _hidden(plan: Plan, p: int, m: int) -> str:
    return f"{plan.pools[p].name}: {plan.pools[p].measures[m].name}, hidden cells"
