"""The plan of a job: a pure function of the job's text and the catalogs, compiled again by every node.

A plan is a list of *pools* and a *finish*. A pool is a set of cells (the Cartesian product of the declared domains of
its GROUP BY keys; one cell without keys) and a set of measures. A pool of a join (``JoinPool``) says how its words are
computed on shares, row by row, before they are totalled (mpc/joint.py). Of any other, every party in ``Pool.sources``
answers its local query, lays the answer out as ring words, and the words of all parties are added by protocol P3.
The recipient opens the totals and computes the *finish* (AVG, HAVING, ORDER BY ...) in the clear.

All classes are frozen and JSON-able through ``Plan.to_dict``; ``Plan.digest`` is what nodes compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import rfc8785

from mpc.query.nodes import Expr
from mpc.query.plan_joins import JoinPool, TallyPool, shows_rows
from mpc.query.plan_pools import Pool, Ring
from mpc.query.plan_reveals import Reveal


@dataclass(frozen=True)
class Output:
    """One result column: a finish expression over revealed words and keys (mpc.query.finish)."""

    name: str
    expr: Expr


@dataclass(frozen=True)
class Finish:
    """What the recipient computes in the clear, over the rows of ``pool`` (or one row where it is None)."""

    pool: str | None
    outputs: tuple[Output, ...]
    having: Expr | None
    order: tuple[tuple[Expr, bool, bool], ...]  # expression, descending, nulls first
    limit: int | None
    offset: int
    distinct: bool


@dataclass(frozen=True)
class Noise:
    """The privacy loss of a job with noise (P12), as the job writes it, and how many rows of one entity count at most
    wherever its table is read."""

    epsilon: str
    entity_rows: int


@dataclass(frozen=True)
class Plan:
    """Everything that follows from job and catalogs."""

    version: str  # planner version: ours and sqlglot's
    trust: str
    parties: tuple[str, ...]  # data parties, sorted
    pools: tuple[Pool, ...]
    finish: Finish
    reveals: tuple[Reveal, ...]
    notes: tuple[str, ...]  # what explain tells besides ("HAVING hides nothing from the recipient")
    verified: bool = False  # sums of Z_2^128, which the recipient verifies (mpc.protocols.verified)
    noise: Noise | None = None

    @property
    def joins(self) -> tuple[tuple[int, JoinPool], ...]:
        """The pools that are joins, with their numbers."""
        return tuple((i, p) for i, p in enumerate(self.pools) if isinstance(p, JoinPool))

    @property
    def tallies(self) -> tuple[tuple[int, TallyPool], ...]:
        """The joins that two parties compute between them."""
        return tuple((i, p) for i, p in self.joins if isinstance(p, TallyPool))

    @property
    def sizes(self) -> tuple[tuple[int, TallyPool], ...]:
        """Those of which only the number of keys that met is asked."""
        return tuple((i, p) for i, p in self.tallies if p.asks)

    @property
    def hidden_joins(self) -> tuple[tuple[int, JoinPool], ...]:
        """The joins that need the helper."""
        return tuple((i, p) for i, p in self.joins if not isinstance(p, TallyPool))

    @property
    def helped(self) -> bool:
        """Whether it needs the helper: for joins, and for places among the values of several parties."""
        return bool(self.hidden_joins) or any(len(r.parties) > 1 for p in self.pools for r in p.rankings)

    def offsets(self, pool: int, ring: Ring) -> dict[tuple[int, int], slice]:
        """Where a pool's vector of this ring has each (measure, word); word -1 is the flag."""
        found, start = {}, 0
        for p, m, w, cells in self.columns(ring):
            if p == pool:
                found[m, w] = slice(start, start + cells)
                start += cells
        return found

    def digest(self) -> str:
        """SHA-256 (hex) over the canonical form."""
        return hashlib.sha256(b"heji/v1/plan\x00" + rfc8785.dumps(self.to_dict())).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form of the whole plan; dataclasses as objects with their class under ``node``."""
        body = _jsonable(self)
        assert isinstance(body, dict)
        return body

    def columns(self, ring: Ring) -> Iterator[tuple[int, int, int, int]]:
        """The vector of this ring, column by column: (pool, measure, word, cells); word -1 is the flag (64 bits, of
        verified sums 128), which cells that are single rows do not have.

        Order: pools, measures, words, then the measure's flag. The vector of a party that is no source of a pool
        skips that pool's columns; masks are per pool (see mpc.protocols.total).
        """
        for p, pool in enumerate(self.pools):
            for m, measure in enumerate(pool.measures):
                for w, word in enumerate(measure.words):
                    if word.ring == ring:
                        yield p, m, w, pool.cells
                if ring == (128 if self.verified else 64) and not shows_rows(pool):
                    yield p, m, -1, pool.cells


def _jsonable(x: Any) -> Any:
    if isinstance(x, tuple):
        return [_jsonable(v) for v in x]
    if hasattr(x, "__dataclass_fields__"):
        return {"node": type(x).__name__, **{f: _jsonable(getattr(x, f)) for f in x.__dataclass_fields__}}
    if type(x) is int and abs(x) >= 2**53:
        return str(x)
    return x
