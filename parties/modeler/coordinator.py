"""A modeler's calls to the coordinator: catalogs, handing in, watching a job, fetching what opens to a result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from mpc.errors import PeerError
from mpc.query.catalog import Catalog
from parties.failures import from_rpc
from parties.member import Member
from parties.proposals import coordinator_of, read_catalogs
from parties.rpc.v1 import coordinator_pb2 as pb
from parties.rpc.v1 import coordinator_pb2_grpc

FINAL = frozenset({"done", "failed", "cancelled"})
#: hears of every change of a job's status
Watcher = Callable[[pb.JobStatus], None]
#: seconds between two looks for a coordinator that is away, and how many looks
PAUSE, LOOKS = 0.5, 20


class Coordinator:
    """The consortium's coordinator, as a member of it sees it. Raises LocalError roster.invalid where there is none."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.name = coordinator_of(member)

    def _stub(self) -> coordinator_pb2_grpc.CoordinatorStub:
        return coordinator_pb2_grpc.CoordinatorStub(self._member.channel(self.name))

    async def call(self, method: str, request: Any) -> Any:
        """One question and its answer. Raises HejiError: what the coordinator said, or that it cannot be reached."""
        try:
            return await getattr(self._stub(), method)(request, timeout=60)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.name) from None

    async def catalogs(self) -> tuple[pb.CatalogsReply, dict[str, Catalog]]:
        """What the owners publish, as they signed it and read; in the reply also whose is missing, and why."""
        reply: pb.CatalogsReply = await self.call("Catalogs", pb.CatalogsRequest())
        return reply, read_catalogs(self._member, reply.catalogs)

    async def watch(self, job: str, watch: Watcher) -> pb.JobStatus:
        """Wait until a job is final. A coordinator that restarts is waited for: the job goes on when it is back."""
        lost = 0
        while True:
            try:
                async for status in self._stub().Watch(pb.JobRef(job=job)):
                    lost = 0
                    watch(status)
                    if status.state in FINAL:
                        final: pb.JobStatus = status
                        return final
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error, self.name, "waiting for the job")
                lost += 1
                if failure.code != "peer.unavailable":
                    raise failure from None
                if lost > LOOKS:
                    raise self._away(job, failure.message) from None
                await asyncio.sleep(PAUSE)

    def _away(self, job: str, message: str) -> PeerError:
        """Submitting it again would make a second job beside the one that goes on."""
        return PeerError(
            "peer.unavailable",
            message,
            f"{self.name} keeps the job, and it goes on there once its operator has started it again. Do not submit it "
            f"again: wait for it with `heji jobs wait {job[:16]}`, then `heji jobs result {job[:16]}`.",
            party=self.name,
            job=job,
        )

    async def fetch(self, job: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """What all participants agreed on and approved, and the masked totals by name."""
        proof: dict[str, Any] = {}
        bodies: dict[str, bytearray] = {}
        try:
            async for part in self._stub().Fetch(pb.JobRef(job=job)):
                if part.WhichOneof("part") == "proof":
                    proof = json.loads(part.proof)
                else:
                    bodies.setdefault(part.total.sum, bytearray()).extend(part.total.data)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.name, "fetching the result") from None
        return proof, {name: bytes(body) for name, body in bodies.items()}
