"""Joins as they are computed where owners want their populations compared with what was asked before.

before it approves, a node names the earlier questions of its own list, and refuses what would be compared with too many
once all approvals are here, who computes the join and lacks a question asks those for it that name it (handing.py)
then everybody who computes the join compiles it with the questions that anybody named
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping

from mpc.errors import LocalError
from mpc.expected import expected_bytes
from mpc.job import Job
from mpc.query.catalog import Catalog
from mpc.query.compile import compile_compared
from mpc.query.plain import NamedPlain
from mpc.query.plan import Plan
from mpc.query.plan_joins import ComparedPool
from mpc.query.questions import Named, Question, Told, named_by, told_in
from parties.mail import AttemptKey
from parties.member import Member
from parties.node.handing import computes, fetch
from parties.node.questions import totalled_joins
from parties.node.sizes import verify_memory
from parties.node.store import Store
from parties.proposals import Proposed


class Comparing:
    """What this node compares joins with."""

    def __init__(self, member: Member, store: Store) -> None:
        self._member, self._store = member, store

    def named(self, proposed: Proposed) -> tuple[Told, ...] | None:
        """The questions that this owner wants a job compared with; None where it does not ask for a comparison."""
        config, plan = self._member.config, proposed.plan
        joins = totalled_joins(plan)
        asks = config.release_ledger and config.compared_releases > 0 and self._member.name in plan.parties
        if not asks or not joins:
            return None
        return self._store.questions.before(proposed.job.id, joins, self._member.name)

    async def approved(self, proposed: Proposed) -> tuple[Told, ...] | None:
        """The same, once the joins are known to be within this node's limits with these alone. Raises LocalError
        job.limits, policy.earlier."""
        while True:
            names = self.named(proposed)
            if names is None:
                return None
            await self._compiled(proposed, Named.of([names]))
            if self.named(proposed) == names:  # nothing was approved meanwhile
                return names

    def verify_named(self, proposed: Proposed, approval: bytes, let_out: Collection[str]) -> None:
        """Raises LocalError policy.earlier where a total of this node's rows was ``let_out`` before the join was
        decided about here, and approved after the ``approval`` that should name it: neither would see the other."""
        told = told_in(self._member.name, approval)
        if told is None:
            return
        known = {t.name for t in told if isinstance(t, NamedPlain)}
        now = [t.name for t in self.named(proposed) or () if isinstance(t, NamedPlain)]
        if any(name in let_out and name not in known for name in now):
            raise LocalError(
                "policy.earlier",
                f"{self._member.name} let out a total of a table while this join of it was on its way, and the join is "
                "not compared with that.",
                "Submit the query again: it will be.",
                party=self._member.name,
            )

    async def joins(
        self, key: AttemptKey, proposed: Proposed, approvals: Mapping[str, bytes]
    ) -> dict[int, ComparedPool]:
        """The joins of an attempt. Raises LocalError job.limits, policy.earlier, PeerError protocol.malformed, peer."""
        named, questions = Named.in_approvals(approvals), self._store.questions
        if named is None or not totalled_joins(proposed.plan) or not computes(proposed, self._member.name):
            return {}
        lacking = set(named.every) - set(questions.of(named.every))
        if lacking:
            owners = {p: names for p, names in named_by(approvals).items() if p in proposed.plan.parties}
            for question in await fetch(self._member, key, owners, lacking):
                questions.keep(question)
        return await self._compiled(proposed, named)

    async def _compiled(self, proposed: Proposed, named: Named) -> dict[int, ComparedPool]:
        known = self._store.questions.of(named.every)
        found = await asyncio.to_thread(compared_joins, proposed.job, proposed.plan, proposed.catalogs, named, known)
        if self._member.name in proposed.plan.parties:
            _verify_few(self._member, found.values())
            verify_memory(self._member, expected_bytes(proposed.plan, found))
        return found


def compared_joins(
    job: Job, plan: Plan, catalogs: Mapping[str, Catalog], named: Named, known: Mapping[str, Question]
) -> dict[int, ComparedPool]:
    """The joins of a job, by the number of their pool, as they are compared with questions that are known here."""
    return compile_compared(job, catalogs, named, known) if totalled_joins(plan) else {}


def _verify_few(member: Member, joins: Iterable[ComparedPool]) -> None:
    found, most = max((len(c) for pool in joins for c in pool.comparisons), default=0), member.config.compared_releases
    if found > most > 0:
        raise LocalError(
            "job.limits",
            f"A number of this join would be compared with {found} others that were asked for over its tables; "
            f"{member.name} compares with {most} at most.",
            "Ask a question that was asked before, or one that shares no row with the earlier ones by its constants "
            f"(another month), or fewer at once; or let {member.name} raise compared_releases in its member.toml: such "
            "joins take longer.",
            party=member.name,
            compared=found,
        )
