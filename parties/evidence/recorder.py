"""What a member writes into its log while it takes part in jobs, and the receipts it signs and checks.

Node and coordinator hold one each. An entry is written before what it tells of happens: before an approval is handed
over, before a receipt leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

import structlog

from mpc.crypto.labels import digest
from mpc.errors import HejiError, PeerError
from mpc.evidence.data import Block
from mpc.evidence.entry import Entry
from mpc.evidence.note import Checkpoint
from mpc.evidence.receipt import RECEIPT, receipt_bytes
from mpc.policy.grants import Policy
from mpc.query.compile import PLANNER
from parties.evidence.documents import Documents
from parties.evidence.log import Log
from parties.evidence.retained import Keeping, Retained
from parties.evidence.stamps import Stamps
from parties.evidence.witness import Heads, gather
from parties.member import Member

log = structlog.get_logger("heji.evidence")

#: of the software, for entries
SOFTWARE = f"heji {version('heji')} {PLANNER}"


def seed_commitment(key: tuple[bytes, int], seed: bytes) -> bytes:
    """What a log says of an attempt's seed: 32 random bytes, which nobody can search for."""
    return digest("seed", seed, key[0], key[1].to_bytes(4, "big"))


class Recorder:
    """A member's log, documents and what it knows of others' logs, open."""

    def __init__(self, member: Member) -> None:
        """Raises LocalError evidence.rollback, store.failed."""
        self._member = member
        self.log = Log(member.folder, member.identity, member.clock)
        self.documents = Documents(member.folder)
        self.heads = Heads(member.folder)
        self.stamps = Stamps(member.folder)
        self.retained = Retained(member.folder, member.identity, member.config.retain_bytes)
        self._witnessing: set[asyncio.Task[None]] = set()
        self.log.append("started", software=SOFTWARE)
        self.destroy_old()

    def note(self, event: str, key: tuple[bytes, int], **facts: Any) -> None:
        """An entry about an attempt, (job id, number)."""
        self.log.append(event, key[0].hex(), key[1], **facts)

    def has(self, key: tuple[bytes, int], event: str, peer: str, number: int) -> bool:
        """Whether the log tells of this message already."""
        told = (Entry.from_bytes(raw).event for raw in self.log.of_job(key[0].hex()).values())
        return any(
            (e.attempt, e.event, e.facts.get("peer"), e.facts.get("number")) == (key[1], event, peer, number)
            for e in told
        )

    def failed(self, key: tuple[bytes, int], error: HejiError) -> None:
        """An attempt ended without a result; a log that cannot be written changes nothing about that."""
        facts = {"code": error.code}
        if isinstance(error, PeerError):
            facts |= {"party": error.party, "step": error.step, "digest": error.digest}
        with contextlib.suppress(HejiError):
            self.note("aborted", key, **facts)

    def keep_policy(self, policy: Policy) -> None:
        """The text that an approval's digest is of, for whoever the owner wants to show it to."""
        self.documents.keep_policy(policy.digest, policy.text)

    # -- what a replay needs

    def bind(
        self, key: tuple[bytes, int], seed: bytes, data: bytes = b"", snapshot: bytes = b"", noise: str = ""
    ) -> None:
        """Bind this member to the seed of an attempt, and where it has data to what its role gets of it (a root over
        blocks) and to its tables (a digest with the node's secret salt in front, which is kept to be opened).
        ``noise``: a commitment to the seed of its noise."""
        tables = digest("tables", snapshot, key[0]).hex() if snapshot else ""
        if snapshot:
            self.documents.keep_tables(key[0].hex(), key[1], snapshot)
        facts = {"data": data.hex(), "tables": tables, "seed": seed_commitment(key, seed).hex()}
        self.note("committed", key, **facts, **({"noise": noise} if noise else {}))

    def keep(self, key: tuple[bytes, int], seed: bytes, expected: int, blocks: Sequence[Block] = ()) -> Keeping | None:
        """Keep seed, input and messages (at most ``expected`` bytes) of an attempt, if this member keeps any."""
        return self.retained.begin(key, seed, expected, blocks) if self._member.config.retain_days else None

    def destroy_old(self) -> None:
        """Destroy what was kept longer than ``retain_days``, and say so in the log."""
        before = self._member.clock() - self._member.config.retain_days * 86400
        for key in self.retained.destroy_before(before):
            self.note("destroyed", key, what="seed, input and messages")

    # -- messages (parties.mail.Register)

    def received(self, key: tuple[bytes, int], sender: str, number: int, step: str, size: int, digest: bytes) -> bytes:
        """A message has come in whole. Returns the receipt's signature."""
        receipt = self.receipt(key, sender, number, step, digest)
        self.note(
            "received", key, peer=sender, number=number, step=step, len=size, sha256=digest.hex(), receipt=receipt.hex()
        )
        return receipt

    def receipt(self, key: tuple[bytes, int], sender: str, number: int, step: str, digest: bytes) -> bytes:
        """This member's signature that the message has come; the same each time."""
        text = receipt_bytes(*key, sender, self._member.name, number, step, digest)
        return self._member.sign(RECEIPT, text)

    def sent(
        self,
        key: tuple[bytes, int],
        receiver: str,
        number: int,
        step: str,
        size: int,
        digest: bytes,
        signature: bytes,
    ) -> None:
        """A message went out; ``signature``: its receipt, b"" if none came. Raises PeerError protocol.signature."""
        if signature:
            text = receipt_bytes(*key, self._member.name, receiver, number, step, digest)
            self._member.verify(receiver, RECEIPT, text, signature)
        self.note(
            "sent", key, peer=receiver, number=number, step=step, len=size, sha256=digest.hex(), receipt=signature.hex()
        )

    # -- the end

    def witness_soon(self, others: Iterable[str]) -> None:
        """Have the log as it is now cosigned by ``others``, beside what goes on."""
        self.destroy_old()
        task = asyncio.create_task(self._witnessed_quietly(tuple(others)))
        self._witnessing.add(task)
        task.add_done_callback(self._witnessing.discard)

    async def _witnessed_quietly(self, others: Iterable[str]) -> None:
        try:
            point = await self.witnessed(others)
            if self._member.config.tsa:
                await self.stamps.ask(self._member, point)
        except HejiError as error:
            log.warning("not witnessed", code=error.code)

    async def witnessed(self, others: Iterable[str]) -> Checkpoint:
        """A checkpoint with the cosignatures of those others, and of the roster's witnesses, that can be had now."""
        point = await asyncio.to_thread(self.log.checkpoint)
        asked = {*others, *self._member.roster.members_with("witness")}
        return await gather(self._member, self.log, point, sorted(asked))

    async def close(self) -> None:
        """What is under way ends; everything is on disk."""
        for task in self._witnessing:
            task.cancel()
        await asyncio.gather(*self._witnessing, return_exceptions=True)
        self.log.close()
        self.heads.close()
