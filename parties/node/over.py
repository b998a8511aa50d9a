"""Which jobs that persons decide about here have ended elsewhere: another owner refused, whoever asked cancelled.

The node asks the coordinator, which alone begins attempts, while something waits; so an answer that was lost, or an end
while the node was down, is made good by the next question. What it is told is written down, and the job is never
approved here again. A coordinator that is away, or does not know the job, changes nothing: the question stays until it
expires.
"""

from __future__ import annotations

import asyncio
import json

import grpc.aio
import structlog

from mpc.errors import CODES, HejiError
from parties.failures import from_rpc
from parties.member import Member
from parties.node.decisions import Decisions, Over
from parties.proposals import coordinator_of
from parties.rpc.v1 import coordinator_pb2 as pb
from parties.rpc.v1 import coordinator_pb2_grpc

log = structlog.get_logger("heji.node")

#: seconds between two questions, and for an answer
LOOK, PATIENCE = 10.0, 30.0


class OverWatch:
    """Asks while the node runs."""

    def __init__(self, member: Member, decisions: Decisions) -> None:
        self._member, self._decisions = member, decisions
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except grpc.aio.AioRpcError as away:
                log.info("not told what is over", code=from_rpc(away, "coordinator").code)
            except HejiError as problem:
                log.warning("not told what is over", code=problem.code)
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """One question, if there is anything to ask. Raises AioRpcError, HejiError."""
        asked = {d.job for d in self._decisions.open(self._member.clock())}
        if not asked:
            return
        stub = coordinator_pb2_grpc.CoordinatorStub(self._member.channel(coordinator_of(self._member)))
        reply: pb.OverReply = await stub.Over(pb.OverRequest(jobs=sorted(asked)), timeout=PATIENCE)
        for job in sorted(asked & set(reply.over)):
            self._decisions.end(job, self._read(reply.over[job]))
            log.info("over elsewhere", job=job)

    def _read(self, raw: bytes) -> Over:
        """Words of the coordinator's that will stand before a person: a code and a member, or nothing."""
        try:
            told = dict(json.loads(raw))
        except (ValueError, TypeError):
            told = {}
        code, party = told.get("code"), told.get("party")
        names = {m.name for m in self._member.roster.members}
        return Over(
            self._member.clock(),
            code if isinstance(code, str) and code in CODES else "",
            party if isinstance(party, str) and party in names else "",
        )
