"""What coordinator, depositors and recipients of a deposit job do alike: terms, messages as bytes, opening a total."""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mpc.coins import Coins
from mpc.crypto import lattice, paillier
from mpc.crypto.labels import framed
from mpc.crypto.seeded import SEED_BYTES, Seeds
from mpc.errors import LocalError, PeerError
from mpc.job import LATTICES
from mpc.messages import RingWords
from mpc.protocols.deposit import Terms, encrypt, open_total, read_statement
from mpc.protocols.deposit_lattice import NamedKey, body_of, lifted, scheme_of
from parties.deposit_keys import DepositKeys, SignedKey
from parties.mail import FRAME_BYTES
from parties.member import Member
from parties.proposals import APPROVAL, Proposed, terms_of
from parties.results import Result, opened_result
from parties.rpc.v1 import deposits_pb2 as pb

#: steps of messages from a depositor to the coordinator, as logs name them
LEAVE: Final = "deposit"
WITHDRAW: Final = "withdraw"
#: the attempt that entries and documents of a deposit job belong to: it has one
ATTEMPT = 1
#: seconds for which the coordinator tells of a job that has ended
TOLD = 31 * 86400
#: of a public key that travels beside a job
MOST_KEY_BYTES = 2 << 20


def said(statement: bytes, signature: bytes, body: bytes = b"") -> bytes:
    """A depositor's message as both ends put its digest on record."""
    return framed(statement, signature, body)


def read_approval(member: Member, terms: Terms, party: str, statement: bytes, signature: bytes) -> None:
    """An owner's approval that goes with its deposit. Raises PeerError protocol.signature, job.differs."""
    member.verify(party, APPROVAL, statement, signature)
    told = json.loads(statement)
    if (told.get("job"), told.get("plan"), told.get("party")) != (terms.job, terms.plan, party):
        raise PeerError("job.differs", f"{party} approved another job or plan than it deposited for.", party=party)
    if int(told.get("min_contributors", 1)) > terms.least:
        raise PeerError("job.differs", f"{party} asks for more contributors than the job.", party=party)


def opened(
    member: Member, proposed: Proposed, deposits: Sequence[pb.DepositHead], body: bytes, keys: DepositKeys
) -> Result:
    """The recipient's result from what it collected: every deposit that is in the total bears its owner's signature."""
    terms = terms_of(member, proposed)
    approvals: dict[str, bytes] = {}
    for d in deposits:
        party = str(json.loads(d.approval.statement).get("party"))
        stated = read_statement(terms, d.statement, d.signature, party, member.verify)
        read_approval(member, terms, party, d.approval.statement, d.approval.signature)
        if party in approvals or stated.approval != hashlib.sha256(d.approval.statement).hexdigest():
            raise PeerError(
                "job.differs", f"The deposit of {party} is there twice, or under another approval.", party=party
            )
        approvals[party] = d.approval.statement
    totals = open_total(terms, sorted(approvals), body, keys.secret(terms.key.fingerprint))
    return opened_result(proposed, totals, terms.recipient, approvals)


def verify_installed(terms: Terms) -> None:
    """Raises LocalError config.missing where the package that the terms' method needs is missing here."""
    (lattice if isinstance(terms.key, NamedKey) else paillier).verify_installed()


def encrypted(terms: Terms, vectors: Mapping[str, RingWords], coins: Coins, pool: paillier.Pool | None) -> bytes:
    """A deposit's ciphertexts, a function of the arguments. ``pool``: for Paillier."""
    if pool is not None:
        return encrypt(terms, vectors, coins, pool)
    assert isinstance(terms.key, NamedKey)
    whole = lifted(terms.key.scheme, terms.sums, vectors, coins)
    columns = []
    for s in terms.sums:
        key, numbers = terms.key.of(s), whole[s.name]
        raw = coins.draw(f"deposit/{s.name}/errors", SEED_BYTES * key.ciphertexts(len(numbers)))
        columns.append(lattice.encrypt(key, numbers, Seeds(raw, saved_by_seal)))
    return body_of(columns)


def saved_by_seal(save: Callable[[str], Any]) -> bytes:
    """What SEAL writes to a file: ciphertexts, which are no secret."""
    with tempfile.TemporaryDirectory(prefix="heji-deposit-") as folder:
        path = Path(folder) / "ciphertext"
        save(str(path))
        return path.read_bytes()


def to_wire(key: SignedKey) -> pb.SignedKey:
    return pb.SignedKey(member=key.member, method=key.method, key=key.key, made=key.made, signature=key.signature)


def from_wire(key: pb.SignedKey) -> SignedKey:
    return SignedKey(key.member, key.method, key.key, key.made, key.signature)


async def with_key(key: SignedKey, whole: bytes) -> AsyncIterator[pb.KeyPart]:
    """A key that jobs only name, as it is streamed."""
    yield pb.KeyPart(head=to_wire(key))
    for piece in pieces(whole):
        yield pb.KeyPart(data=piece)


async def gathered_key(parts: AsyncIterable[pb.KeyPart]) -> tuple[SignedKey, bytes]:
    """The inverse. Raises LocalError protocol.malformed, protocol.size, protocol.point where the key is none, holds a
    secret or is not the one that was signed."""
    head, whole = await gathered(parts, MOST_KEY_BYTES)
    key = from_wire(head)
    if key.method not in LATTICES:
        raise LocalError("protocol.malformed", f"A key of {key.method} stands in the job and is not left beside it.")
    await asyncio.to_thread(lambda: NamedKey(scheme_of(key.method), key.key, lattice.PublicKey.from_bytes(whole)))
    return key, whole


def pieces(body: bytes) -> Iterator[bytes]:
    """A body in what a message may hold."""
    return (body[at : at + FRAME_BYTES] for at in range(0, len(body), FRAME_BYTES))


async def left(head: pb.DepositHead, body: bytes) -> AsyncIterator[pb.Left]:
    """A deposit as it is streamed."""
    yield pb.Left(head=head)
    for piece in pieces(body):
        yield pb.Left(data=piece)


async def gathered(parts: AsyncIterable[Any], most: int) -> tuple[Any, bytes]:
    """Head and body of a stream of ``Left``, ``Collected`` or ``KeyPart``. Raises LocalError protocol.malformed,
    protocol.size."""
    head, body = None, bytearray()
    async for part in parts:
        if part.WhichOneof("part") == "head" and head is None:
            head = part.head
        elif part.WhichOneof("part") == "data" and head is not None:
            body += part.data
        else:
            raise LocalError("protocol.malformed", "A stream of a deposit begins with its head, which comes once.")
        if len(body) > most:
            raise LocalError("protocol.size", f"A deposit of more than {most:,} bytes is not taken.")
    if head is None:
        raise LocalError("protocol.malformed", "A deposit without its head.")
    return head, bytes(body)
