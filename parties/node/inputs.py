"""A node's input to a job: local queries over its own tables, laid out as ring words, small cells spoiled."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping

from mpc.coins import Coins
from mpc.crypto.labels import framed, label
from mpc.errors import LocalError
from mpc.messages import RingWords
from mpc.policy.disclosure import vector
from mpc.policy.flow import Limits
from mpc.query.catalog import Catalog
from mpc.query.layout import Filled, fill
from mpc.query.plan import LocalQuery, Plan
from mpc.roles import Cast
from parties.member import Member
from parties.node.sources.database import open_tables


class Inputs:
    """This member's published tables and what jobs compute over them."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def catalog(self) -> Catalog:
        """What this member publishes, read anew so that an added table is there without a restart."""
        path = self._member.folder / "catalog.json"
        try:
            return Catalog.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as problem:
            raise LocalError("plan.catalog", f"{self._member.name}'s catalog.json cannot be read.",
                             "Its operator should run `heji node check`.") from problem  # fmt: skip

    async def vectors(
        self, cast: Cast, plan: Plan, limits: Limits, *, strict_none: bool, coins: Coins
    ) -> dict[str, RingWords]:
        """The ring words this member adds to each of its sums, by the sum's name.

        ``strict_none``: spoil cells in which this member has no entity, because some owner wants several institutions
        behind every cell. Raises LocalError data.*.
        """
        return await asyncio.to_thread(self._vectors, cast, plan, limits, strict_none, coins)

    def _vectors(
        self, cast: Cast, plan: Plan, limits: Limits, strict_none: bool, coins: Coins
    ) -> dict[str, RingWords]:
        me = self._member.name
        if me not in plan.parties:
            return {}
        vectors: dict[str, RingWords] = {}
        by_pool = self._answers(plan, limits, strict_none)
        for p, filled in by_pool.items():
            for s in cast.said_by(me):
                pool, ring_name, recipient = s.name.split("/")
                if pool != f"pool{p}":
                    continue
                # one spoiled vector for each recipient, with noise of its own
                vectors[s.name] = vector(plan, p, 64 if s.bits == 64 else 128, filled, coins, f"spoil/{pool}/{ring_name}/{recipient}")
        return vectors

    def _answers(self, plan: Plan, limits: Limits, strict_none: bool) -> dict[int, Filled]:
        """The local queries' answers, laid out, by pool."""
        me = self._member.name
        queries: dict[int, LocalQuery] = {
            p: q for p, pool in enumerate(plan.pools) for q in pool.sources if q.party == me
        }
        tables = sorted({t for q in queries.values() for t in q.tables})
        with open_tables(self._member.folder, tables) as database:
            answers = {p: database.run(q.sql) for p, q in queries.items()}
        return {
            p: fill(plan, p, answer, min_entities=limits.min_entities, strict_none=strict_none and plan_pools_many(plan, p))
            for p, answer in answers.items()
        }

    def digest(self, vectors: Mapping[str, RingWords], salt: bytes) -> bytes:
        """What was let into the sums, salted: tells a second attempt over changed data from one over the same."""
        parts = [part for name in sorted(vectors) for part in (name.encode(), vectors[name].tobytes())]
        return hashlib.sha256(salt + framed(label("input"), *parts)).digest()

    def close(self) -> None:
        """Give up cached tables."""


def plan_pools_many(plan: Plan, pool: int) -> bool:
    """Whether rows of several parties are added in this pool."""
    return len(plan.pools[pool].sources) > 1
