"""From a question to a signed job: catalogs → plan → job → what opens the result, on disk → handed in."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mpc.crypto.agree import public_key
from mpc.errors import PeerError
from mpc.explain import explain
from mpc.job import Job
from mpc.query.compile import PLANNER, compile_plan, parties_of
from mpc.query.plan import Plan
from parties.failures import decode
from parties.member import Member
from parties.modeler.asked import Asked, Submitted
from parties.modeler.coordinator import Coordinator
from parties.modeler.deposits import Collecting, closing, prepare, terms_for
from parties.modeler.kept import keep
from parties.proposals import JOB, Proposed, propose, read_catalogs
from parties.rpc.v1 import coordinator_pb2 as pb
from parties.rpc.v1 import node_pb2

#: how long a job is valid, seconds
JOB_SECONDS = 3600


class Asking:
    """Makes jobs of one member's questions."""

    def __init__(self, member: Member, coordinator: Coordinator) -> None:
        self._member, self._coordinator = member, coordinator

    async def plan(self, sql: str, recipients: tuple[str, ...], asked: Asked) -> Plan:
        """The plan alone, on the catalogs as they are now."""
        reply, catalogs = await self._coordinator.catalogs()
        _explain_missing(sql, dict(reply.missing))
        return await asyncio.to_thread(compile_plan, sql, catalogs, recipients=recipients, **asked.planned)

    async def explain(
        self, sql: str, to: str | tuple[str, ...] | None, asked: Asked, deposits: Collecting | None
    ) -> dict[str, Any]:
        """What would happen, and in ``verdicts`` what every owner says to it."""
        proposed, _private, _catalogs = await self.job(sql, to, asked, 0, deposits)
        reply: pb.PreviewReply = await self._coordinator.call("Preview", pb.PreviewRequest(job=proposed.raw))
        told = explain(proposed.plan, proposed.job.recipients, deposits.method if deposits else "paillier")
        told["verdicts"] = {
            p: None if raw == b"{}" else decode(raw).to_dict() for p, raw in sorted(reply.verdicts.items())
        }
        return told

    async def submit(
        self,
        sql: str,
        to: str | tuple[str, ...] | None,
        asked: Asked,
        days: int,
        deposits: Collecting | None,
        handing_in: Callable[[str], None],
    ) -> Submitted:
        """``handing_in`` hears the job's id before the coordinator has the job."""
        proposed, private, catalogs = await self.job(sql, to, asked, days, deposits)
        job = proposed.job
        keep(self._member, proposed, private, catalogs)
        signed = node_pb2.SignedJob(job=proposed.raw, signature=self._member.sign(JOB, proposed.raw))
        handing_in(job.id)
        await self._coordinator.call("Submit", signed)
        return Submitted(job.id, job.recipients)

    async def job(
        self,
        sql: str,
        to: str | tuple[str, ...] | None,
        asked: Asked,
        days: int = 0,
        deposits: Collecting | None = None,
    ) -> tuple[Proposed, bytes, list[node_pb2.SignedCatalog]]:
        """An unsigned job with its plan, and the private key for its result (empty if this member has a node)."""
        member = self._member
        recipients = (to,) if isinstance(to, str) else tuple(to or (member.name,))
        prepared = None
        if deposits is None:
            reply, catalogs = await self._coordinator.catalogs()
            signed, missing = list(reply.catalogs), dict(reply.missing)
        else:
            asked, prepared = replace(asked, trust="deposit"), await prepare(member, recipients, deposits.method)
            signed, missing = list(prepared.catalogs), dict(prepared.missing)
            catalogs = read_catalogs(member, signed)
        _explain_missing(sql, missing)
        plan = compile_plan(sql, catalogs, recipients=recipients, **asked.planned)
        private, keys = b"", {}
        if deposits is None and member.name in recipients and not member.has_node(member.name):
            private = os.urandom(32)
            keys[member.name] = public_key(private).hex()
        here = member.clock()
        job = Job(
            sql=sql,
            submitter=member.name,
            recipients=recipients,
            roster=member.roster.digest(),
            catalogs={p: catalogs[p].digest() for p in plan.parties},
            nonce=secrets.token_hex(16),
            created=here,
            expires=closing(deposits, here) if deposits else here + (days * 86400 or JOB_SECONDS),
            **{**vars(asked), "parameters": dict(asked.parameters)},
            recipient_keys=keys,
            planner=PLANNER,
            deposit=await terms_for(member, plan, recipients, prepared, deposits) if deposits and prepared else None,
        )
        proposed = await asyncio.to_thread(propose, member, job.to_bytes(), None, catalogs)
        return proposed, private, [c for c in signed if c.party in plan.parties]


def _explain_missing(sql: str, missing: Mapping[str, str]) -> None:
    """A table of a party that is away must not read like a misspelt name."""
    for party in sorted(parties_of(sql) & set(missing)):
        raise PeerError(
            "peer.unavailable",
            f"{party} cannot be asked for its catalog now: {missing[party]}",
            f"Ask the operator of {party} whether its node runs; then try again.",
            party=party,
        )
