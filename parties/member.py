"""A member as it runs: its identity, the roster it holds, its settings, and its channels to the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from mpc.crypto import sign
from mpc.errors import LocalError, PeerError
from parties import credentials
from parties.clock import now
from parties.config import MemberConfig, load_config
from parties.identity import Identity, load_identity
from parties.roster import Roster, verify_listed

Clock = Callable[[], int]


class Member:
    """One member's folder, opened. Raises LocalError config.*, and roster.* if the roster is not in force for it."""

    def __init__(self, folder: Path, clock: Clock = now) -> None:
        self.folder = folder
        self.clock = clock
        self.config: MemberConfig = load_config(folder)
        self.identity: Identity = load_identity(folder)
        self.roster = Roster.load(folder / "roster.json")
        self.roster.verify(clock())
        # else every connection would end in a handshake that says nothing
        verify_listed(self.roster, self.identity)
        self.roster.current(self.identity.name, clock())
        self._channels: dict[str, grpc.aio.Channel] = {}

    @property
    def name(self) -> str:
        return self.identity.name

    def sign(self, label: str, payload: bytes) -> bytes:
        return self.identity.sign(label, payload)

    def verify(self, member: str, label: str, payload: bytes, signature: bytes) -> None:
        """Raises PeerError protocol.signature unless ``member`` (in the roster, now valid) signed ``payload``."""
        listed = self.roster.current(member, self.clock())
        sign.verify(bytes.fromhex(listed.identity), label, payload, signature, party=member)

    def caller(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        """The member at the other end of a call, by its certificate. Raises PeerError peer.identity."""
        return credentials.peer_name(context, self.roster)

    def caller_as(self, context: grpc.aio.ServicerContext[Any, Any], role: str) -> str:
        """The caller, if the roster gives it ``role``."""
        name = self.caller(context)
        if role not in self.roster.member(name).roles:
            raise PeerError("peer.identity", f"{name} is no {role} in the roster.", party=name)
        return name

    def channel(self, peer: str) -> grpc.aio.Channel:
        """One channel a peer, kept open, with that member's roster certificate as its only root."""
        if peer not in self._channels:
            if not self.roster.member(peer).address:
                raise LocalError("roster.invalid", f"The roster has no address of {peer}.")
            self._channels[peer] = credentials.channel(self.identity, self.roster, peer)
        return self._channels[peer]

    def has_node(self, name: str) -> bool:
        return "party" in self.roster.member(name).roles

    async def close(self) -> None:
        """Close all channels."""
        await asyncio.gather(*(c.close(None) for c in self._channels.values()))
        self._channels.clear()
