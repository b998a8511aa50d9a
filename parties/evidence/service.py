"""Serves ``Evidence``: cosignatures for others' logs, and this member's part of the evidence of a job."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import grpc.aio

from mpc.errors import HejiError, LocalError
from mpc.evidence.entry import Entry
from mpc.evidence.note import Checkpoint
from mpc.job import Job
from parties.evidence.documents import Documents
from parties.evidence.log import Log, origin_of
from parties.evidence.recorder import Recorder
from parties.evidence.stamps import Stamps
from parties.evidence.witness import Heads, answer
from parties.failures import abort
from parties.mail import FRAME_BYTES
from parties.member import Member
from parties.rpc.v1 import evidence_pb2, evidence_pb2_grpc

#: members with these roles keep a log and serve it
LOGGED = ("coordinator", "helper", "party")

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
            if request.job:
                part = await self._part(request.job, caller)
            else:
                part = await self._period(request.since, request.until, caller)
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

    async def _period(self, since: int, until: int, caller: str) -> bytes:
        """JSON of what ``caller`` may have of a period: the owner more than its auditors."""
        me, recorder = self._member, self._recorder
        own = caller == me.name
        if not own and "auditor" not in me.roster.member(caller).roles:
            raise LocalError(
                "evidence.missing",
                f"{me.name} shows the evidence of a period to itself and to auditors of the consortium.",
                "Ask for the evidence of a job that you took part in: heji audit export JOB.",
            )
        await recorder.witnessed(sorted({m for role in LOGGED for m in me.roster.members_with(role)} - {me.name}))
        return await asyncio.to_thread(period_part, recorder.log, recorder.documents, me.name, since, until, own=own)


def period_part(log: Log, documents: Documents, member: str, since: int, until: int, *, own: bool) -> bytes:
    """This member's log of a period, as it stands in a bundle. ``own``: for the member itself, which opens what its log
    binds it to. Raises LocalError evidence.missing."""
    begin, end = log.between(since, until)
    first = begin.size if begin else 0
    raw = log.entries(first, end.size)
    jobs = sorted({Entry.from_bytes(r).event.job for r in raw} - {""})

    return json.dumps(
        {
            "member": member,
            "first": first,
            "peaks": [base64.b64encode(p).decode() for p in log.peaks(first)],
            "begin": begin.text() if begin else "",
            "end": end.text(),
            "entries": [base64.b64encode(r).decode() for r in raw],
            "documents": {job: found for job in jobs if (found := documents.of_job(job))},
            "tables": [[job, n, d] for job in jobs if own for n, d in documents.tables(job).items()],
        }
    ).encode()


def own_part(log: Log, documents: Documents, stamps: Stamps, member: str, job: str) -> bytes:
    """This member's part of the bundle of ``job``: its entries with proofs in one checkpoint, and its documents.

    Raises LocalError evidence.missing.
    """
    entries = log.of_job(job)
    if not entries:
        raise missing(member)
    last = max(entries)
    found = documents.of_job(job)
    point = most_seen(log.covering(last), {p for d in found for p in participants_of(d)})
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
            "documents": found,
        }
    ).encode()


def most_seen(points: Sequence[Checkpoint], participants: Collection[str]) -> Checkpoint:
    """The checkpoint that most of a job's ``participants`` cosigned: those of others, from later jobs between other
    members, count for nothing when it is verified. Of several the one with most cosignatures, then the smallest."""
    counted = {origin_of(p) for p in participants}
    return max(points, key=lambda c: (sum(line.name in counted for line in c.lines), len(c.lines), -c.size))


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
