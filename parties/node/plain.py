"""What an owner brings into a join of the totals of its rows that went out without one (mpc/query/plain.py).

    release ledger ── who was in a total ──▶ of each row of the side: its entity is one of them   columns, in the join
                                             how many they are                                    numbers, to the totals

Of a key that may repeat an entity may be in both with other rows: then the ledger's contribution of it is not the one
that the rows which count now would make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.ids import Flags
from mpc.messages import RingWords
from mpc.policy.populations import ALL, Population, Words
from mpc.query.plan_joins import Brought, ComparedPool, Side
from mpc.query.plan_pools import Key
from parties.node.joins import cells_of, in_domains


class Ledger(Protocol):
    """What is asked of the release ledger."""

    def fingerprints(self, digests: Words) -> Words: ...

    def seal(self, entities: Words, sums: Words) -> Words: ...

    def total(self, name: str, job: str, snapshot: str) -> dict[int, Population]: ...


def beside_totals(
    ledger: Ledger, job: str, snapshot: str, pool: ComparedPool, side: Side, answer: pa.Table
) -> tuple[pa.Table, tuple[RingWords, ...]]:
    """The answer to a side's query with the columns that only its owner can fill; and how many entities are in each of
    the populations it brings, (groups,). Raises LocalError data.bounds, store.*."""
    at = pool.sides.index(side)
    entities = ledger.fingerprints(answer.column("x").to_numpy().astype(np.uint64))
    passing = answer.column("pass").to_numpy()
    groups = (
        _groups([pool.keys[i] for i in pool.grouped], answer) if not at else np.zeros(len(entities), dtype=np.int64)
    )
    counts = []
    for i in pool.brought_by(side):
        b = pool.brought[i]
        found = ledger.total(b.name.partition(": ")[2], job, snapshot)
        who, cells = _of(b, found, pool.groups), groups if b.of == "group" else np.zeros_like(groups)
        counts.append(np.array([len(who.get(g, ())) for g in range(pool.groups)], dtype=np.uint64))
        if b.of != "group":
            counts[-1][:] = counts[-1][0]
        there, same = np.zeros(len(entities), dtype=bool), np.zeros(len(entities), dtype=bool)
        order = np.argsort(cells, kind="stable")
        ends = np.searchsorted(cells[order], np.arange(pool.groups + 1))
        for g, population in who.items():
            rows = order[ends[g] : ends[g + 1]]
            there[rows] = np.isin(entities[rows], population.entities)
            if b.otherwise is not None:
                counted = answer.column(f"c{b.otherwise}").to_numpy().astype(bool)[rows] & passing[rows]
                same[rows] = _same_rows(ledger, entities[rows], counted, population)
        answer = _put(answer, b.column, there)
        if b.otherwise is not None:
            answer = _put(answer, b.otherwise, there & ~same)
    return answer, tuple(counts)


def _groups(keys: list[Key], answer: pa.Table) -> NDArray[np.int64]:
    """The cell of each row of the spine, -1 where it is in none."""
    return cells_of(keys, answer, in_domains(keys, answer, "g"), "g")


def _of(b: Brought, found: Mapping[int, Population], groups: int) -> dict[int, Population]:
    """The populations that are meant, by group; those of one for all groups under 0."""
    if b.of == "group":
        return {cell: p for cell, p in found.items() if 0 <= cell < groups}
    cell = ALL if b.of == "all" else b.of
    return {0: found[cell]} if cell in found else {}


def _same_rows(ledger: Ledger, entities: Words, counted: Flags, population: Population) -> Flags:
    """Where as many rows of a row's entity count as did in the population, (n,)."""
    who, of = np.unique(entities, return_inverse=True)
    rows = np.bincount(of, weights=counted, minlength=len(who)).astype(np.uint64)
    return np.isin(ledger.seal(who, rows), population.contributions)[of]


def _put(answer: pa.Table, column: int, flags: Flags) -> pa.Table:
    name = f"c{column}"
    at = answer.column_names.index(name)
    return answer.set_column(at, name, pa.array(flags.astype(np.int64)))
