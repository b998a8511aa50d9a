"""Cosigning: a member remembers the longest log of every other that it saw, and signs only what continues it.

Two views of a log can not both carry an honest member's cosignature. What was cosigned last is on disk before the
cosignature leaves (check and persist in one transaction), in state/log/heads.db.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import grpc
import grpc.aio
import structlog

from mpc.errors import PeerError
from mpc.evidence.merkle import consistent
from mpc.evidence.note import COSIGNATURE as KIND
from mpc.evidence.note import Checkpoint, Line, Malformed, cosign, key_id
from parties.evidence.log import Log, origin_of
from parties.failures import from_rpc
from parties.member import Member
from parties.rpc.v1 import evidence_pb2, evidence_pb2_grpc
from parties.storage import Database

log = structlog.get_logger("heji.evidence")

_HEADS = "CREATE TABLE IF NOT EXISTS heads (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT;"
#: seconds to wait for one cosignature
PATIENCE = 10.0


class Heads:
    """Size and root of every other member's log, as this member cosigned it last."""

    def __init__(self, folder: Path) -> None:
        self._db = Database(folder / "state" / "log" / "heads.db", _HEADS)

    def size(self, origin: str) -> int:
        row = self._db.row("SELECT size FROM heads WHERE origin = ?", origin)
        return int(row["size"]) if row else 0

    def advance(self, checkpoint: Checkpoint, old_size: int, proof: list[bytes]) -> int | None:
        """Remember ``checkpoint`` if it continues what is known; None then. Else the size to prove from.

        Raises PeerError protocol.malformed for a log that does not continue what was cosigned.
        """
        with self._db.transaction() as t:
            row = t.execute("SELECT size, root FROM heads WHERE origin = ?", (checkpoint.origin,)).fetchone()
            known = int(row["size"]) if row else 0
            if known != old_size:
                return known
            if row and not consistent(known, bytes(row["root"]), checkpoint.size, checkpoint.root, proof):
                raise PeerError(
                    "protocol.malformed",
                    f"The log {checkpoint.origin} of {checkpoint.size} entries does not continue the one of {known} "
                    "entries that was cosigned before.",
                    "Somebody rewrote that log, or restored an old one. Keep both checkpoints: they are the evidence.",
                    party=checkpoint.origin,
                )
            t.execute(
                "INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", (checkpoint.origin, checkpoint.size, checkpoint.root)
            )
        return None

    def close(self) -> None:
        self._db.close()


def answer(member: Member, heads: Heads, caller: str, request: evidence_pb2.CosignRequest) -> evidence_pb2.CosignReply:
    """What this member says to a checkpoint of ``caller``. Raises PeerError protocol.*."""
    origin = origin_of(caller)
    try:
        checkpoint = Checkpoint.parse(request.checkpoint)
    except Malformed as problem:
        raise PeerError("protocol.malformed", f"{caller} sent {problem}.", party=caller) from None
    public = bytes.fromhex(member.roster.current(caller, member.clock()).identity)
    if checkpoint.origin != origin or not checkpoint.signed_by(origin, public):
        raise PeerError("protocol.signature", f"{caller} did not sign this checkpoint of its log.", party=caller)
    known = heads.advance(checkpoint, request.old_size, list(request.proof))
    if known is not None:
        return evidence_pb2.CosignReply(size=known)
    mine = member.identity
    line = cosign(checkpoint, origin_of(mine.name), mine.public, member.clock(), mine.signing.sign)
    return evidence_pb2.CosignReply(size=checkpoint.size, line=line.text())


async def gather(member: Member, own: Log, checkpoint: Checkpoint, others: Iterable[str]) -> Checkpoint:
    """Ask ``others`` to cosign; returns the checkpoint with what came. Who is away is left out: a later one will do."""
    keys = {origin_of(p): bytes.fromhex(member.roster.member(p).identity) for p in others}
    have = checkpoint.cosignatures(keys)
    wanted = [p for p in others if origin_of(p) not in have and p != member.name]
    lines = await asyncio.gather(*(_ask(member, own, checkpoint, p) for p in wanted))
    for peer, line in zip(wanted, lines, strict=True):
        if line is None:
            continue
        expected = key_id(origin_of(peer), KIND, keys[origin_of(peer)])
        candidate = checkpoint.with_line(line)
        if line.key_id != expected or origin_of(peer) not in candidate.cosignatures(keys):
            log.warning("not a cosignature", member=peer)
            continue
        checkpoint = own.add_cosignature(checkpoint.size, line)
    return checkpoint


async def _ask(member: Member, own: Log, checkpoint: Checkpoint, peer: str) -> Line | None:
    old = 0
    try:
        stub = evidence_pb2_grpc.EvidenceStub(member.channel(peer))
        for _ in range(3):  # what it cosigned last may move on between two calls
            proof = own.consistency(old, checkpoint.size) if old else []
            request = evidence_pb2.CosignRequest(checkpoint=checkpoint.text(), old_size=old, proof=proof)
            reply: evidence_pb2.CosignReply = await stub.Cosign(request, timeout=PATIENCE)
            if reply.line:
                point = Checkpoint.parse(checkpoint.body().decode() + "\n" + reply.line)
                return point.lines[0]
            if reply.size > checkpoint.size:
                return None  # it has cosigned a later one of ours meanwhile
            old = reply.size
    except grpc.aio.AioRpcError as error:
        log.warning("no cosignature", member=peer, code=from_rpc(error, peer, "asked to cosign").code)
    except (Malformed, IndexError):
        log.warning("not a cosignature", member=peer)
    return None
