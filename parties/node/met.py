"""What a node hides of a join without a helper once it knows which of its keys met: there the populations behind its
part of the totals are known, as far as its own conditions say, and are compared like those of its own rows.

    keys that met ──▶ rows of ``side.query.behind`` ──▶ measures by the side's own keys ──▶ release ledger (on disk)
                                                                                              └──▶ cells to hide

The other side's conditions are for the other side to compare: which of the rows that met pass them only it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mpc.crypto.labels import digest
from mpc.crypto.tags import tags
from mpc.ids import Bytes, Flags, Keys
from mpc.policy.differencing import Measured
from mpc.protocols.match import match
from mpc.query.plan_joins import JoinPool, Side, TallyPool
from parties.node.behind import entities_of, in_all_cells
from parties.node.joins import cells_of
from parties.node.keys import keys_of
from parties.node.releases import Releases


@dataclass(frozen=True, eq=False, repr=False)
class WhatMet:
    """Asked by the role when it knows what met (mpc.pair.Hide). ``answer``: that of the side's ``behind``, by the
    join's key; ``hidden``: by measure the cells by the side's own keys that were hidden before; ``least``: the
    strictest min_entities of both."""

    ledger: Releases
    job: str
    snapshot: str
    recipients: Sequence[str]
    pool: TallyPool
    side: Side
    answer: pa.Table
    hidden: Sequence[NDArray[np.bool_]]
    least: int

    def __call__(self, met: Bytes) -> Flags:
        """(measures, cells). ``met``: keys that met, (n, width). What is let out is on disk when this returns. Raises
        LocalError data.*, store.*."""
        measures = self._measures(met)
        said = which(self.pool, self.side, met)
        spoiled = self.ledger.decide(self.job, self.snapshot, self.recipients, measures, self.least, {}, said)
        return laid_out(self.pool, self.side, spoiled)

    def _measures(self, met: Bytes) -> list[Measured]:
        behind, by = self.side.query.behind, [self.pool.keys[i] for i in self.side.keys]
        keys = keys_of(self.answer, {f"j{i}": f for i, f in enumerate(self.pool.fields)})
        number, there = _that_met(self.ledger.key, keys, met)
        rows = self.answer.filter(pa.array(there))
        found = entities_of(by, behind, rows, self.ledger.fingerprints, self.ledger.seal)
        cells = cells_of(by, rows, np.ones(rows.num_rows, dtype=bool), "k")
        few = {
            i: _fewer_keys(cells, number[there], rows.column(f"p{i}"), prod(len(k.domain) for k in by), self.least)
            for i, (_, column) in enumerate(behind.populations)
            if column == "*"
        }
        out = []
        for said, hidden in zip(behind.measures, self.hidden, strict=True):
            rows_of = [i for i in said.populations if i in few]
            # rows that count under several conditions of their own are more together than under each
            small = few[rows_of[0]] if len(rows_of) == 1 else np.zeros_like(hidden)
            who, shape = [found[i] for i in said.populations], tuple(len(k.domain) for k in by)
            out.append(Measured(who, hidden | small, over="met", shape=shape))
        return out


def which(pool: TallyPool, side: Side, met: Bytes) -> str:
    """A name for what met at a side: the same keys in another order are the same."""
    keys = np.unique(np.ascontiguousarray(met).view(f"V{met.shape[1]}"))
    return f"{pool.name}: {side.name} {digest('met', keys.tobytes()).hex()}"


def what_was_hidden(ledger: Releases, job: str, pool: TallyPool, side: Side, met: Bytes) -> Flags:
    """What was decided when the job ran, (measures, cells); nothing where the ledger knows of nothing."""
    cells = [prod(len(pool.keys[i].domain) for i in side.keys)] * len(pool.measures)
    spoiled = ledger.decided_on(job, which(pool, side, met), cells)
    return laid_out(pool, side, spoiled or [np.zeros(n, dtype=np.bool_) for n in cells])


def laid_out(pool: JoinPool, side: Side, spoiled: Sequence[NDArray[np.bool_]]) -> Flags:
    """From cells by a side's own keys, measure by measure, to (measures, cells) of the pool."""
    return np.array([in_all_cells(pool, side, own) for own in spoiled])


def _that_met(key: bytes, keys: Keys, met: Bytes) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of each row a number of its key, and whether that met."""
    secret = digest("releases/met", key)
    tag = np.concatenate((tags(secret, keys.matrix), tags(secret, met)))
    same = match(tag, tag[:0])
    assert same is not None
    here = np.zeros(len(tag), dtype=np.bool_)
    here[same.distinct[len(keys.null) :]] = True
    number = same.distinct[: len(keys.null)]
    return number, here[number] & ~keys.null


def _fewer_keys(
    cells: NDArray[np.int64], number: NDArray[np.int64], digests: pa.ChunkedArray, count: int, least: int
) -> NDArray[np.bool_]:
    """The cells in which fewer than ``least`` keys are in a population of rows, (count,)."""
    there = digests.is_valid().to_numpy()
    pairs = np.unique(np.stack((cells[there], number[there])), axis=1)
    return np.bincount(pairs[0], minlength=count) < least
