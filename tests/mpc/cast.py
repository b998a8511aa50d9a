"""A small world in one process: members with identities, sessions from fixed seeds, roles ready to run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mpc.coins import own_coins
from mpc.crypto.labels import framed
from mpc.errors import PeerError
from mpc.messages import RingWords
from mpc.protocols.agree import Context
from mpc.protocols.total import Sum
from mpc.roles import Cast, Outcome, play_coordinator, play_party
from mpc.rounds import Rounds, Session

JOB = hashlib.sha256(b"a job").digest()
COORDINATOR = "coordinator"


@dataclass(frozen=True)
class World:
    """``parties`` add ``vectors`` (by name of the sum); ``outside``: recipient without a node -> its public key."""

    parties: tuple[str, ...]
    sums: tuple[Sum, ...]
    outside: Mapping[str, bytes] = ()  # type: ignore[assignment]
    attempt: int = 1
    inside: tuple[str, ...] = ()
    verified: bool = False

    @cached_property
    def cast(self) -> Cast:
        participants = tuple(sorted({*self.parties, *self.inside, COORDINATOR}))
        context = Context(
            JOB, self.attempt, hashlib.sha256(b"statement").digest(), participants, dict(self.outside or {})
        )
        return Cast(context, COORDINATOR, self.sums, self.verified)

    def key(self, name: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())

    def sign(self, name: str):
        return lambda label, payload: self.key(name).sign(framed(label.encode(), payload))

    def verify(self, member: str, label: str, payload: bytes, signature: bytes) -> None:
        try:
            self.key(member).public_key().verify(signature, framed(label.encode(), payload))
        except InvalidSignature:
            raise PeerError("protocol.signature", f"{member} did not sign this.", party=member) from None

    def session(self, name: str) -> Session:
        return Session(name, own_coins(hashlib.sha256(b"seed" + name.encode()).digest(), JOB, self.attempt))

    def role(self, name: str, vectors: Mapping[str, RingWords] | None = None) -> Rounds[Outcome]:
        if name == COORDINATOR:
            return play_coordinator(self.session(name), self.cast, self.sign(name), self.verify)
        return play_party(self.session(name), self.cast, vectors or {}, self.sign(name), self.verify)

    def roles(self, vectors: Mapping[str, Mapping[str, RingWords]]) -> dict[str, Rounds[Outcome]]:
        names = self.cast.context.participants
        return {name: self.role(name, vectors.get(name, {})) for name in names}
