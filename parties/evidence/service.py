"""Serves ``Evidence``: cosignatures for others' logs, and this member's part of the evidence of a job."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from mpc.errors import HejiError, LocalError
from mpc.evidence.note import Checkpoint
from mpc.job import Job
from parties.evidence.documents import Documents
from parties.evidence.log import Log
from parties.evidence.recorder import Recorder
from parties.evidence.stamps import Stamps
from parties.evidence.witness import Heads, answer
from parties.failures import abort
from parties.mail import FRAME_BYTES
from parties.member import Member
from parties.rpc.v1 import evidence_pb2, evidence_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class WitnessService(evidence_pb2_grpc.EvidenceServicer):
    """Cosign of evidence.proto; Read is not implemented: a witness has nothing to show."""

    def __init__(self, member: Member, heads: Heads) -> None:
        self._member, self._heads = member, heads

    async def Cosign(self, request: evidence_pb2.CosignRequest, context: Context) -> evidence_pb2.CosignReply:
        try:
            caller = self._member.caller(context)
            return answer(self._member, self._heads, caller, request)
        except HejiError as error:
            await abort(context, error)


class EvidenceService(WitnessService):
    """See evidence.proto."""

    def __init__(self, member: Member, recorder: Recorder) -> None:
        super().__init__(member, recorder.heads)
        self._recorder = recorder

    async def Read(self, request: evidence_pb2.ReadRequest, context: Context) -> AsyncIterator[evidence_pb2.ReadReply]:
        try:
            caller = self._member.caller(context)
            part = await self._part(request.job, caller)
            for at in range(0, len(part), FRAME_BYTES):
                yield evidence_pb2.ReadReply(part=part[at : at + FRAME_BYTES])
        except HejiError as error:
            await abort(context, error)

    async def _part(self, job: str, caller: str) -> bytes:
        """JSON of what ``caller`` may have. Raises LocalError evidence.missing, to strangers too."""
        recorder = self._recorder
        documents = recorder.documents.of_job(job)
        concerned = {p for d in documents for p in concerned_by(d)}
        if not documents or (caller not in concerned and "auditor" not in self._member.roster.member(caller).roles):
            raise missing(self._member.name)
        others = sorted({p for d in documents for p in participants_of(d)} - {self._member.name})
        await recorder.witnessed(others)
        return await asyncio.to_thread(
            own_part, recorder.log, recorder.documents, recorder.stamps, self._member.name, job
        )


def own_part(log: Log, documents: Documents, stamps: Stamps, member: str, job: str) -> bytes:
    """This member's part of the bundle of ``job``: its entries with proofs in one checkpoint, and its documents.

    Raises LocalError evidence.missing.
    """
    entries = log.of_job(job)
    if not entries:
        raise missing(member)
    last = max(entries)
    point = max(log.covering(last), key=lambda c: (len(c.lines), -c.size))
    newest = log.latest()
    assert newest is not None

    return json.dumps(
        {
            "member": member,
            "entries": [[n, _text(raw)] for n, raw in entries.items()],
            "checkpoint": point.text(),
            "inclusion": [[_text(h) for h in log.inclusion(n, point.size)] for n in entries],
            "newest": newest.text(),
            "consistency": [_text(h) for h in log.consistency(point.size, newest.size)],
            "stamp": _stamp(log, stamps, last, point),
            "documents": documents.of_job(job),
        }
    ).encode()


def _stamp(log: Log, stamps: Stamps, last: int, point: Checkpoint) -> dict[str, Any] | None:
    """The first timestamp of a checkpoint that holds entry ``last``, and the proof that its log is ``point``'s."""
    for checkpoint in log.covering(last):
        token = stamps.of(checkpoint)
        if token:
            sizes = sorted((checkpoint.size, point.size))
            proof = [_text(h) for h in log.consistency(*sizes)]
            return {"checkpoint": checkpoint.text(), "consistency": proof, "token": _text(token)}
    return None


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def participants_of(document: dict[str, Any]) -> set[str]:
    """Who took part in an attempt; of a deposit job, whoever could have deposited."""
    job = Job.from_bytes(bytes.fromhex(document["job"][0]))
    named = job.catalogs if job.deposit is not None else ()
    return {*document["approvals"], document["coordinator"], *named}


def concerned_by(document: dict[str, Any]) -> set[str]:
    """Who may have the evidence of an attempt: participants, submitter and recipients."""
    job = Job.from_bytes(bytes.fromhex(document["job"][0]))
    return {*participants_of(document), job.submitter, *job.recipients}


def missing(member: str) -> LocalError:
    return LocalError(
        "evidence.missing",
        f"{member} has no evidence of this job for you.",
        "Check the id with `heji jobs list`. Evidence goes to those who take part in a job, ask for it, receive it or "
        "audit the consortium.",
    )
