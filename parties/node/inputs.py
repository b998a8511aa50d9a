"""A node's input to a job: local queries over its own tables, laid out as ring words, small cells spoiled."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from mpc.coins import Coins
from mpc.errors import LocalError
from mpc.evidence import data
from mpc.evidence.data import Block
from mpc.joint_setup import Joint
from mpc.joint_sides import SideRows
from mpc.messages import RingWords
from mpc.pair import Hide, Pair
from mpc.policy import disclosure
from mpc.policy.carried import Carried
from mpc.policy.flow import Limits
from mpc.policy.rounding import round_words
from mpc.protocols.ranked import OwnValues
from mpc.query.behind import without_addends
from mpc.query.catalog import Catalog
from mpc.query.layout import Filled, Rows, column_sums, fill
from mpc.query.plain import plain_names
from mpc.query.plan import Plan
from mpc.query.plan_joins import ComparedPool, Side
from mpc.query.plan_pools import Behind
from mpc.roles import Cast
from parties.member import Member
from parties.node.behind import carried, measured, measured_side
from parties.node.committed import Committed
from parties.node.joins import in_one_order, own_values, side_rows
from parties.node.met import WhatMet, laid_out
from parties.node.noise_seeds import NoiseSeeds
from parties.node.plain import beside_totals
from parties.node.ranked import own_values_of
from parties.node.releases import Releases
from parties.node.sources.database import Tables


def joins_of(cast: Cast) -> dict[int, Joint | Pair]:
    """The joins of an attempt by the number of the pool, with and without a helper."""
    return {**dict(cast.joints), **dict(cast.pairs)}


@dataclass(frozen=True)
class Input:
    """Ring words by the name of their sum, a salted digest of the data they were computed from, and by the number of
    the pool the rows this member brings into joins, by name of the side, its own values beside a result by row, and by
    name of the search those among which it is searched. ``hiding``: by the number of the pool what it keeps back of a
    join without a helper once it knows what met. ``blocks``: all that the role gets of it, noise included, for
    ``commitment``, by which the member binds itself to it (mpc.evidence.data); b"" where it has no data in the job.
    ``noise``: of a job with noise a commitment to its seed."""

    vectors: Mapping[str, RingWords]
    snapshot: bytes
    rows: Mapping[int, Mapping[str, SideRows]] = field(default_factory=dict)
    own: Mapping[int, Rows] = field(default_factory=dict)
    values: Mapping[str, tuple[OwnValues, ...]] = field(default_factory=dict)
    hiding: Mapping[int, Hide] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()
    commitment: bytes = b""
    noise: str = ""

    @property
    def anything(self) -> bool:
        """Whether this member has data in the job."""
        return bool(self.vectors or self.rows or self.values)


class Inputs:
    """This member's published tables and what jobs compute over them."""

    def __init__(self, member: Member, releases: Releases | None, noise: NoiseSeeds) -> None:
        """``releases``: None where the operator has switched the release ledger off."""
        config = member.config
        self._member = member
        self._releases = releases
        self._key = releases.key if releases is not None else os.urandom(32)  # without it nothing is kept
        self.noise = noise
        self._tables = Tables(
            member.folder, cache_bytes=config.cache_bytes, memory_limit=config.memory_limit, threads=config.threads
        )

    def catalog(self) -> Catalog:
        """What this member publishes."""
        return self._tables.catalog()

    def verify_planned_on(self, catalog: Catalog) -> None:
        """Raises LocalError job.differs where a job was planned on another catalog of this member than it has now."""
        if catalog.digest() != self.catalog().digest():
            raise LocalError(
                "job.differs",
                f"{self._member.name} changed its catalog since the job was planned.",
                "Submit the query again: it will be planned on the new catalog.",
            )

    async def vectors(
        self, cast: Cast, plan: Plan, limits: Limits, *, strict_none: bool, coins: Coins, salt: bytes
    ) -> Input:
        """The ring words this member adds to each of its sums. Raises LocalError data.*.

        ``strict_none``: spoil cells in which this member has no entity, because some owner wants several institutions
        behind every cell.
        """
        if self._member.name not in plan.parties:
            return Input({}, b"")
        return await asyncio.to_thread(self._vectors, cast, plan, limits, strict_none, coins, salt)

    def _vectors(self, cast: Cast, plan: Plan, limits: Limits, strict_none: bool, coins: Coins, salt: bytes) -> Input:
        me = self._member.name
        queries = [(p, q) for p, pool in enumerate(plan.pools) for q in pool.sources if q.party == me]
        # a join's as it is computed under all owners' limits
        joins = {**dict(plan.joins), **{p: j.pool for p, j in joins_of(cast).items()}}
        rows: dict[int, dict[str, SideRows]] = {}
        own = {}
        compared: list[tuple[int, Side, pa.Table, bytes]] = []
        with self._tables.open(sorted({t for _, q in queries for t in q.tables}), self._key) as database:
            for p, pool in joins.items():
                for side in pool.sides:
                    if side.party == me:
                        order = coins.draw(f"rows/{pool.name}/{side.name}", 32)
                        read = database.rows(side.query.sql)
                        answer = in_one_order(pool, side, read, order, numbered=plan.noise is not None)
                        most = None if plan.noise is None else plan.noise.entity_rows
                        rows.setdefault(p, {})[side.name] = side_rows(pool, side, answer, order, most)
                        if isinstance(pool, ComparedPool) and pool.brought_by(side):
                            compared.append((p, side, answer, order))
                        if pool.by_row and side == pool.sides[0]:
                            own[p] = own_values(pool, answer)
            answers = {p: database.run(q.sql) for p, q in queries if p not in joins}
            searched = {
                (p, m.measure): database.rows(q.sql)
                for p, pool in enumerate(plan.pools)
                for r in pool.rankings
                for m in r.measures
                for q in m.queries
                if q.party == me
            }
            behind = {
                p: database.behind(q.behind.sql if limits.max_share is not None else without_addends(q.behind))
                for p, q in queries
                if p not in joins and q.behind.sql and self._looks_behind(limits)
            }
            at_sides = {
                (p, side): database.behind(side.query.behind.sql)
                for p, j in joins_of(cast).items()
                for side in j.pool.sides
                if side.party == me and side.query.behind.sql and self._releases is not None and j.least > 0
            }
            sums = {
                p: column_sums(plan.pools[p], q.rounding, database.run(q.rounding.sql))
                for p, q in queries
                if p not in joins and q.rounding.sql and limits.round_to
            }
            snapshot = database.snapshot(salt)
        filled = {
            p: fill(
                plan,
                p,
                answer,
                party=me,
                min_entities=limits.min_entities,
                strict_none=strict_none and limits.min_entities > 0 and len(plan.pools[p].sources) > 1,
            )
            for p, answer in answers.items()
        }
        for p, q in queries:
            if p in sums:
                filled[p] = round_words(plan.pools[p].measures, q.rounding, sums[p], filled[p], limits.round_to)
        of_own = {p: (q.behind, behind[p]) for p, q in queries if p in behind}
        names = {p: plain_names(salt, plan.pools[p], q.behind) for p, q in queries if p in of_own}
        hiding = self._spoil(cast, plan, limits, of_own, at_sides, filled, rows, snapshot, names)
        for p, side, answer, order in compared:
            pool, before = joins[p], rows[p][side.name]
            assert isinstance(pool, ComparedPool)
            found, counts = self._beside_totals(cast.context.job.hex(), snapshot.hex(), pool, side, answer)
            rows[p][side.name] = replace(before, columns=side_rows(pool, side, found, order).columns, counts=counts)
        shown, noise = filled, ""
        if plan.noise is not None:
            noise_coins, noise = self.noise.coins(cast.context.job, snapshot)
            shown = {p: disclosure.noised(plan, p, me, f, noise_coins) for p, f in filled.items()}
            for p, sides in rows.items():
                first = next(iter(sides))
                sides[first] = replace(sides[first], noise=disclosure.noise(plan, p, me, noise_coins))
        values = {
            places.search.name: tuple(
                own_values_of(plan.pools[p], searched[p, m], filled[p].small[m]) for m in places.measures
            )
            for places in cast.searches
            for p in [places.pool]
            if me in places.search.parties
        }
        bound = Committed(shown, rows, values)
        parts = tuple(data.blocks(bound.columns(plan)))
        commitment = self._commitment(parts, coins)
        vectors = bound.vectors(cast, plan, me, coins)
        return Input(vectors, snapshot, rows, own, values, hiding, parts, commitment, noise)

    def _beside_totals(
        self, job: str, snapshot: str, pool: ComparedPool, side: Side, answer: pa.Table
    ) -> tuple[pa.Table, tuple[RingWords, ...]]:
        """What it brings of its totals without a join; nothing where it has switched the release ledger off since."""
        if self._releases is None:
            return answer, tuple(np.zeros(pool.groups, dtype=np.uint64) for _ in pool.brought_by(side))
        return beside_totals(self._releases, job, snapshot, pool, side, answer)

    def let_out_before(self, job: str, snapshot: bytes) -> frozenset[str]:
        """The names of totals without a join that went out before a job was decided about."""
        return frozenset() if self._releases is None else self._releases.totals_before(job, snapshot.hex())

    def _commitment(self, parts: Sequence[Block], coins: Coins) -> bytes:
        with ThreadPoolExecutor(self._member.config.threads) as side_by_side:  # hashing frees the interpreter
            return data.root(parts, data.salts(coins, len(parts)), side_by_side.map)

    def _looks_behind(self, limits: Limits) -> bool:
        """Whether the owner's limits need to know who is behind its numbers."""
        return limits.min_entities > 0 and (self._releases is not None or limits.max_share is not None)

    def _spoil(
        self,
        cast: Cast,
        plan: Plan,
        limits: Limits,
        behind: Mapping[int, tuple[Behind, pa.Table]],
        at_sides: Mapping[tuple[int, Side], pa.Table],
        filled: dict[int, Filled],
        rows: Mapping[int, dict[str, SideRows]],
        snapshot: bytes,
        names: Mapping[int, Sequence[str]],
    ) -> dict[int, Hide]:
        """Hide what is small by its neighbours: sums that one entity dominates, populations too close to others, and
        numbers too many. Of joins, whose numbers nobody knows, populations of single sides; returns what there is still
        to be asked of those without a helper, once it is known what met."""
        largest: dict[int, list[Carried]] = {}
        for p, (query, answer) in behind.items():
            if limits.max_share is not None:
                largest[p] = carried(plan.pools[p], query, answer, limits.max_share)
                filled[p] = filled[p].spoiling([c.dominated(plan.pools[p].cells) for c in largest[p]])
        ledger = self._releases
        if not (behind or at_sides) or ledger is None:
            return {}
        measures, joints = [], joins_of(cast)
        # sides first: of a total of the same rows in this job nobody could tell by whom it differs
        for (p, side), answer in at_sides.items():
            j = joints[p]
            measures += measured_side(j.pool, side, answer, j.least, ledger.fingerprints, ledger.seal)
        for p, (query, answer) in behind.items():
            of_each = largest.get(p, [])
            measures += measured(
                plan.pools[p], query, answer, filled[p], ledger.fingerprints, ledger.seal, of_each, names[p]
            )
        recipients = sorted({s.recipient for s in cast.sums})
        # a side is looked at for the other owners too, whose totals its conditions choose: by the strictest of all
        job, least = cast.context.job.hex(), max([limits.min_entities, *(joints[p].least for p, _ in at_sides)])
        spoiled = iter(ledger.decide(job, snapshot.hex(), recipients, measures, least, limits.max_numbers))
        pairs = dict(cast.pairs)
        hiding: dict[int, Hide] = {}
        for (p, side), answer in at_sides.items():
            pool = joints[p].pool
            own = [next(spoiled) for _ in pool.measures]
            rows[p][side.name] = replace(rows[p][side.name], hidden=laid_out(pool, side, own))
            if p in pairs and not pairs[p].pool.asks:
                strictest = max(limits.min_entities, pairs[p].least)
                hiding[p] = WhatMet(
                    ledger, job, snapshot.hex(), recipients, pairs[p].pool, side, answer, own, strictest
                )
        for p in behind:
            filled[p] = filled[p].spoiling([next(spoiled) for _ in filled[p].small])
        return hiding
