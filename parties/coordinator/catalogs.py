"""The owners' signed catalogs: asked for anew, and the last ones seen of those that are away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import grpc
import grpc.aio

from mpc.errors import HejiError
from parties.coordinator.deposit_store import DepositStore
from parties.failures import from_rpc
from parties.member import Member
from parties.rpc.v1 import node_pb2, node_pb2_grpc

#: seconds after which a channel has surely tried to connect again (parties.credentials)
RECONNECT = 0.8


class Catalogs:
    """Asks nodes what they publish."""

    def __init__(self, member: Member, store: DepositStore) -> None:
        self._member, self._store = member, store

    async def now(self, parties: Iterable[str]) -> tuple[dict[str, node_pb2.SignedCatalog], dict[str, HejiError]]:
        """Signed catalogs of these parties, and why others are missing."""
        wanted = list(parties)
        answers = dict(zip(wanted, await asyncio.gather(*(self._ask(p) for p in wanted)), strict=True))
        found = {p: a for p, a in answers.items() if isinstance(a, node_pb2.SignedCatalog)}
        missing = {p: a for p, a in answers.items() if isinstance(a, HejiError)}
        known = self._store.last_catalogs()
        if fresh := [c for p, c in found.items() if known.get(p) != c]:
            self._store.saw_catalogs(fresh)
        return found, missing

    async def last(self, parties: Iterable[str]) -> tuple[dict[str, node_pb2.SignedCatalog], dict[str, HejiError]]:
        """The same with the last catalog seen of parties that are away: for jobs that do not need them at once."""
        found, missing = await self.now(parties)
        known = self._store.last_catalogs()
        found |= {p: known[p] for p in missing if p in known}
        return found, {p: e for p, e in missing.items() if p not in known}

    async def _ask(self, party: str, again: bool = True) -> node_pb2.SignedCatalog | HejiError:
        try:
            stub = node_pb2_grpc.NodeStub(self._member.channel(party))
            catalog: node_pb2.SignedCatalog = await stub.Publish(
                node_pb2.PublishRequest(), timeout=self._member.config.proposal_seconds
            )
            return catalog
        except grpc.aio.AioRpcError as error:
            if again and error.code() == grpc.StatusCode.UNAVAILABLE:
                await asyncio.sleep(RECONNECT)  # the channel may not have noticed yet that the member is back
                return await self._ask(party, again=False)
            return from_rpc(error, party, "asked for its catalog")
