"""Deposit jobs at the coordinator (P10): it takes deposits until the closing date, adds them up once, keeps the total.

    Leave, Withdraw     verify → on disk → in the log → receipt
    closing date        enough? → add → total on disk, ciphertexts gone, done       (deposit_store.release)
                        too few → ciphertexts gone, failed, everybody is told

It holds no key. What it adds it keeps sealed for an auditor, as other messages are (parties/evidence/retained.py).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc.aio
import structlog

from mpc.errors import HejiError, LocalError, PeerError
from mpc.evidence.deposit_checks import KEY
from mpc.job import LATTICES, Job
from mpc.protocols.deposit import WITHDRAWAL, Terms, add_up, read_statement, verify_body, withdrawal
from mpc.run import Sent
from parties.coordinator.attempt import News
from parties.coordinator.catalogs import Catalogs
from parties.coordinator.deposit_store import DepositStore, Message, closed
from parties.coordinator.store import JobRow, Store
from parties.deposit_keys import SignedKey
from parties.depositing import (
    ATTEMPT,
    LEAVE,
    TOLD,
    WITHDRAW,
    from_wire,
    gathered,
    gathered_key,
    pieces,
    read_approval,
    said,
    to_wire,
    with_key,
)
from parties.evidence.documents import Signed
from parties.evidence.recorder import Recorder
from parties.failures import abort, decode, encode, from_rpc
from parties.member import Member
from parties.proposals import Proposed, compiled, propose, read_catalogs, terms_of
from parties.rpc.v1 import deposits_pb2 as pb
from parties.rpc.v1 import deposits_pb2_grpc, node_pb2

log = structlog.get_logger("heji.coordinator")

Context = grpc.aio.ServicerContext[Any, Any]

#: seconds between two looks at the clock, which may be set
LOOK = 5.0


class Deposits(deposits_pb2_grpc.DepositsServicer):
    """See deposits.proto. ``tell`` hears how far a job is."""

    def __init__(
        self, member: Member, jobs: Store, store: DepositStore, catalogs: Catalogs, recorder: Recorder | None
    ) -> None:
        self._member, self._jobs, self._store, self._catalogs = member, jobs, store, catalogs
        self._recorder = recorder
        self._terms: dict[str, Terms] = {}
        self._changed: dict[str, asyncio.Event] = {}
        self._closing: set[str] = set()  # nothing is taken or given back while a total is made

    # -- what modelers and recipients ask

    async def Prepare(self, request: pb.PrepareRequest, context: Context) -> pb.PrepareReply:
        try:
            self._member.caller(context)
            found, missing = await self._catalogs.last(self._member.roster.members_with("party"))
            key = await self._key_of(request.recipient, request.method or "paillier") if request.recipient else None
            return pb.PrepareReply(
                catalogs=list(found.values()), missing={p: e.message for p, e in missing.items()}, key=key
            )
        except HejiError as error:
            await abort(context, error)

    async def _key_of(self, recipient: str, method: str) -> pb.SignedKey:
        """The node's present key; of one that is away the one it showed last."""
        try:
            stub = deposits_pb2_grpc.OwnDepositsStub(self._member.channel(recipient))
            asked, patience = pb.KeyRequest(method=method), self._member.config.proposal_seconds
            key: pb.SignedKey = await stub.Key(asked, timeout=patience)
            if method in LATTICES and not self._knows(key):
                signed, whole = await gathered_key(stub.WholeKey(asked, timeout=patience))
                key = to_wire(signed)
                self._saw(key, recipient, whole)
            else:
                self._saw(key, recipient)
            return key
        except grpc.aio.AioRpcError as problem:
            error = from_rpc(problem, recipient, "asked for its key for deposits")
            known = self._store.key(recipient, method) if error.code == "peer.unavailable" else None
            if known is None:
                raise error from None
            return to_wire(known[0])

    def _knows(self, key: pb.SignedKey) -> bool:
        known = self._store.key(key.member, key.method)
        return known is not None and known[0] == from_wire(key)

    def _saw(self, key: pb.SignedKey, owner: str, whole: bytes = b"") -> None:
        signed = from_wire(key)
        signed.verify(self._member, owner)
        if signed.method in LATTICES and not whole and not self._knows(key):
            raise LocalError(
                "protocol.malformed",
                f"{owner} names a {signed.method.upper()} key that the coordinator has never seen.",
            )
        self._store.saw_key(signed, whole)

    async def LeaveKey(self, request: AsyncIterator[pb.KeyPart], context: Context) -> pb.KeyKept:
        try:
            caller = self._member.caller(context)
            signed, whole = await gathered_key(request)
            self._saw(to_wire(signed), caller, whole)
            return pb.KeyKept()
        except HejiError as error:
            await abort(context, error)

    async def JobKey(self, request: pb.DepositRef, context: Context) -> AsyncIterator[pb.KeyPart]:
        try:
            caller = self._member.caller(context)
            row, _ = await self._open_for(request.job, caller)
            asked = Job.from_bytes(row.raw).deposit
            assert asked is not None
            key = SignedKey(
                row.recipients[0], asked.method, bytes.fromhex(asked.key), asked.made, bytes.fromhex(asked.signature)
            )
            async for part in with_key(key, self._store.job_key(row.id)):
                yield part
        except HejiError as error:
            await abort(context, error)

    async def Collect(self, request: pb.DepositRef, context: Context) -> AsyncIterator[pb.Collected]:
        try:
            caller = self._member.caller(context)
            row = self._jobs.get(request.job)
            if row is None or caller not in row.recipients:
                raise _unknown()
            found = self._store.total(row.id)
            if row.state != "done" or found is None:
                raise LocalError("job.state", f"The job is {row.state}; there is no total yet.", "Wait for it.")
            body, parties = found
            standing = self._store.standing(row.id)
            yield pb.Collected(
                head=pb.CollectedHead(
                    job=node_pb2.SignedJob(job=row.raw, signature=row.signature),
                    catalogs=self._store.catalogs(row.id),
                    deposits=[_head(row.id, standing[p]) for p in parties],
                )
            )
            for piece in pieces(body):
                yield pb.Collected(data=piece)
        except HejiError as error:
            await abort(context, error)

    # -- what depositors do

    async def Look(self, request: pb.LookRequest, context: Context) -> pb.LookReply:
        try:
            caller = self._member.caller(context)
            if request.key.member:
                self._saw(request.key, caller)
            ids = self._store.told(self._member.clock() - TOLD)
            rows = [r for i in ids if (r := self._jobs.get(i)) is not None]
            return pb.LookReply(jobs=[self._told(r) for r in rows if _concerns(r, caller)])
        except HejiError as error:
            await abort(context, error)

    def _told(self, row: JobRow) -> pb.OpenDeposit:
        return pb.OpenDeposit(
            job=node_pb2.SignedJob(job=row.raw, signature=row.signature),
            catalogs=self._store.catalogs(row.id),
            state=row.state,
            error=row.error,
        )

    async def Leave(self, request: AsyncIterator[pb.Left], context: Context) -> pb.Kept:
        try:
            caller = self._member.caller(context)
            first = await anext(aiter(request), None)
            if first is None or first.WhichOneof("part") != "head":
                raise LocalError("protocol.malformed", "A deposit begins with its head.")
            row, terms = await self._open_for(first.head.job.hex(), caller)
            head, body = await gathered(_with(first, request), terms.bytes)
            return pb.Kept(receipt=await self._leave(row, terms, caller, head, body))
        except HejiError as error:
            await abort(context, error)

    async def _leave(self, row: JobRow, terms: Terms, caller: str, head: pb.DepositHead, body: bytes) -> bytes:
        before = self._store.messages(row.id, caller)
        for m in before:
            if m.statement == head.statement and m.digest == hashlib.sha256(body).hexdigest():
                self._note(row.id, m, body)
                return m.receipt  # delivered again
        self._verify_open(row.id)
        stated = read_statement(terms, head.statement, head.signature, caller, self._member.verify)
        digest = hashlib.sha256(body).hexdigest()
        if stated.body != digest:
            raise PeerError(
                "protocol.malformed", f"{caller} signed other ciphertexts than it left.", party=caller, step=LEAVE
            )
        if stated.number != len(before) or (before and before[-1].kind == "deposit"):
            raise LocalError(
                "job.replayed",
                f"{caller} has deposited for this job already, or leaves an earlier deposit again.",
                "Withdraw the earlier deposit first (heji deposit withdraw), then make a new one.",
            )
        await asyncio.to_thread(verify_body, terms, body, caller)
        self._verify_open(row.id)  # that took its time
        if len(self._store.messages(row.id, caller)) != stated.number:
            raise LocalError("job.replayed", f"{caller} left two deposits at once.", "Leave one after the other.")
        approval = head.approval
        read_approval(self._member, terms, caller, approval.statement, approval.signature)
        if hashlib.sha256(approval.statement).hexdigest() != stated.approval:
            raise PeerError("protocol.malformed", f"{caller} deposits under another approval.", party=caller)
        receipt = self._receipt(row.id, caller, stated.number, LEAVE, said(head.statement, head.signature, body))
        message = Message(
            caller, stated.number, LEAVE, head.statement, head.signature, receipt,
            approval.statement, approval.signature, digest, body,
        )  # fmt: skip
        self._store.take(row.id, message)
        self._note(row.id, message, body)
        log.info("deposited", job=row.id, party=caller)
        self._wake(row.id)
        return receipt

    async def Withdraw(self, request: pb.Withdrawal, context: Context) -> pb.Kept:
        try:
            caller = self._member.caller(context)
            row, _ = await self._open_for(request.job.hex(), caller)
            return pb.Kept(receipt=self._withdraw(row, caller, request))
        except HejiError as error:
            await abort(context, error)

    def _withdraw(self, row: JobRow, caller: str, request: pb.Withdrawal) -> bytes:
        before = self._store.messages(row.id, caller)
        for m in before:
            if m.kind == WITHDRAW and m.statement == request.statement:
                self._note(row.id, m)
                return m.receipt
        self._verify_open(row.id)
        if not before or before[-1].kind != LEAVE:
            raise LocalError(
                "job.state", f"{caller} has no deposit in this job that could be withdrawn.", "Nothing was changed."
            )
        self._member.verify(caller, WITHDRAWAL, request.statement, request.signature)
        if request.statement != withdrawal(row.id, caller, len(before), before[-1].statement):
            raise PeerError("protocol.malformed", f"{caller} withdraws something else than its deposit.", party=caller)
        raw = said(request.statement, request.signature)
        receipt = self._receipt(row.id, caller, len(before), WITHDRAW, raw)
        message = Message(caller, len(before), WITHDRAW, request.statement, request.signature, receipt)
        self._store.take(row.id, message)
        self._note(row.id, message)
        log.info("withdrawn", job=row.id, party=caller)
        self._wake(row.id)
        return receipt

    async def Decline(self, request: pb.Declined, context: Context) -> pb.DeclinedReply:
        try:
            caller = self._member.caller(context)
            row, _ = await self._open_for(request.job.hex(), caller)
            self._verify_open(row.id)
            self._store.decline(row.id, caller, encode(decode(request.error)))
            self._wake(row.id)
            return pb.DeclinedReply()
        except HejiError as error:
            await abort(context, error)

    async def _open_for(self, job: str, caller: str) -> tuple[JobRow, Terms]:
        """A deposit job that names ``caller`` as a depositor; whoever else asks learns not even that it exists."""
        row = self._jobs.get(job)
        if row is None or (terms := await self._terms_of(row)) is None or caller not in terms.depositors:
            raise _unknown()
        return row, terms

    def _verify_open(self, job: str) -> None:
        row = self._jobs.get(job)
        late = row is None or job in self._closing or self._member.clock() >= row.expires
        if late or row is None or row.state != "depositing":
            raise closed()

    # -- from the opening to the end

    async def run(self, row: JobRow, tell: Callable[[News], Awaitable[None]]) -> None:
        """A deposit job until its total is there. ``tell`` hears how far it is. Raises why there is none."""
        if row.state != "depositing":
            await self._begin(row)
        terms = await self._terms_of(row)
        assert terms is not None
        early = Job.from_bytes(row.raw).deposit
        assert early is not None
        changed = self._changed.setdefault(row.id, asyncio.Event())
        while (left := row.expires - self._member.clock()) > 0:
            changed.clear()
            standing = self._store.standing(row.id)
            if early.early and set(standing) == set(terms.depositors):
                break
            far = self._how_far(row.id, terms, set(standing))
            await tell(News(far, len(standing), len(terms.depositors)))
            try:
                async with asyncio.timeout(min(left, LOOK)):
                    await changed.wait()
            except TimeoutError:
                pass
        self._closing.add(row.id)
        try:
            await self._close(row, terms)
        finally:
            self._closing.discard(row.id)

    async def _begin(self, row: JobRow) -> None:
        """Compile the job on the catalogs that it names, and open it for deposits."""
        job = Job.from_bytes(row.raw)
        found, missing = await self._catalogs.last(sorted(job.catalogs))
        for error in missing.values():
            raise error
        proposed = await self._propose(row, list(found.values()))
        whole = self._beside(job)
        self._terms[row.id] = await asyncio.to_thread(terms_of, self._member, proposed, whole)
        self._store.open(row.id, list(found.values()), whole)
        self._jobs.transition(row.id, "depositing", self._member.clock())

    def _beside(self, job: Job) -> bytes:
        """The key that a job only names. Raises LocalError job.invalid where the recipient has left another."""
        assert job.deposit is not None
        if job.deposit.method not in LATTICES:
            return b""
        known = self._store.key(job.recipients[0], job.deposit.method)
        if known is None or known[0].key.hex() != job.deposit.key:
            raise LocalError(
                "job.invalid",
                f"The job names another {job.deposit.method.upper()} key than {job.recipients[0]} has left with the "
                "coordinator.",
                "Submit the query again: it then names the newest key.",
            )
        return known[1]

    async def _propose(self, row: JobRow, signed: list[node_pb2.SignedCatalog]) -> Proposed:
        catalogs = read_catalogs(self._member, signed)
        return await asyncio.to_thread(propose, self._member, row.raw, row.signature, catalogs)

    async def _terms_of(self, row: JobRow) -> Terms | None:
        """None where the job is none for deposits, or not open yet."""
        signed = self._store.catalogs(row.id)
        if row.id not in self._terms and signed:
            job, catalogs = Job.from_bytes(row.raw), read_catalogs(self._member, signed)
            proposed = await asyncio.to_thread(compiled, self._member, row.raw, job, catalogs)
            self._terms[row.id] = await asyncio.to_thread(terms_of, self._member, proposed, self._store.job_key(row.id))
        return self._terms.get(row.id)

    def _how_far(self, job: str, terms: Terms, standing: set[str]) -> str:
        missing = [p for p in terms.depositors if p not in standing]
        why = {p: decode(e).message for p, e in self._store.declined(job).items() if p in missing}
        told = f"{len(standing)} of {len(terms.depositors)} deposited"
        if missing:
            told += f"; waiting for {', '.join(missing)}"
        return told + "".join(f". {p} has not: {message}" for p, message in sorted(why.items()))

    async def _close(self, row: JobRow, terms: Terms) -> None:
        """Add up what is there, once. Raises LocalError policy.contributors where that is too little."""
        standing = self._store.standing(row.id)
        try:
            terms.verify_enough(standing)
        except LocalError:
            self._ended(row, standing, released=False)
            raise
        bodies = {p: m.body for p, m in standing.items() if m.body is not None}
        total = await asyncio.to_thread(add_up, terms, bodies)
        self._ended(row, standing, released=True)
        if self._recorder is not None:
            self._keep_sealed(row.id, standing)
            self._recorder.note("added", _key(row.id), sums={LEAVE: hashlib.sha256(total).hexdigest()})
        received = sum(len(b) for b in bodies.values())
        self._store.release(row.id, self._member.clock(), total, sorted(standing), received)
        if self._recorder is not None:
            self._recorder.note("done", _key(row.id))
            self._recorder.witness_soon(terms.depositors)
        log.info("released", job=row.id, deposits=len(standing))

    def _ended(self, row: JobRow, standing: Mapping[str, Message], *, released: bool) -> None:
        if self._recorder is None:
            return
        self._recorder.note("closed", _key(row.id), deposits=sorted(standing), released=released)
        self._recorder.documents.keep(
            row.id,
            ATTEMPT,
            self._member.name,
            node_pb2.SignedJob(job=row.raw, signature=row.signature),
            self._store.catalogs(row.id),
            {p: node_pb2.Approval(statement=m.approval, signature=m.approval_signature) for p, m in standing.items()},
            deposits={p: Signed(m.statement, m.signature) for p, m in standing.items()},
        )

    def _keep_sealed(self, job: str, standing: Mapping[str, Message]) -> None:
        """The ciphertexts, encrypted under this member's identity, for the roster's auditor."""
        assert self._recorder is not None
        self._recorder.retained.forget(_key(job))  # of a try that was cut off
        whole = self._store.job_key(job)
        kept = self._recorder.keep(
            _key(job), bytes(32), sum(len(m.body or b"") for m in standing.values()) + len(whole)
        )
        if kept is None:
            return
        if whole:
            kept.heard(Sent(self._recipient(job), self._member.name, KEY, whole))
        for p, m in sorted(standing.items()):
            assert m.body is not None
            kept.heard(Sent(p, self._member.name, LEAVE, said(m.statement, m.signature, m.body)))
        kept.close()

    def _recipient(self, job: str) -> str:
        row = self._jobs.get(job)
        assert row is not None
        return row.recipients[0]

    def cancelled(self, row: JobRow) -> None:
        """Its submitter has cancelled it."""
        if self._store.catalogs(row.id):
            self._ended(row, self._store.standing(row.id), released=False)
        self.ended(row.id)

    def ended(self, job: str) -> None:
        """The job was cancelled or has failed: the ciphertexts go."""
        self._store.drop(job)
        self._terms.pop(job, None)
        self._changed.pop(job, None)

    # -- the log

    def _receipt(self, job: str, party: str, number: int, step: str, raw: bytes) -> bytes:
        if self._recorder is None:
            return b""
        return self._recorder.receipt(_key(job), party, number, step, hashlib.sha256(raw).digest())

    def _note(self, job: str, m: Message, body: bytes = b"") -> None:
        """Put on record that a message has come, once."""
        if self._recorder is None or self._recorder.has(_key(job), "received", m.party, m.number):
            return
        raw = said(m.statement, m.signature, body)
        self._recorder.received(_key(job), m.party, m.number, m.kind, len(raw), hashlib.sha256(raw).digest())

    def _wake(self, job: str) -> None:
        if job in self._changed:
            self._changed[job].set()


def _concerns(row: JobRow, caller: str) -> bool:
    return caller in row.recipients or caller in Job.from_bytes(row.raw).catalogs


def _key(job: str) -> tuple[bytes, int]:
    return bytes.fromhex(job), ATTEMPT


def _head(job: str, m: Message) -> pb.DepositHead:
    return pb.DepositHead(
        job=bytes.fromhex(job),
        statement=m.statement,
        signature=m.signature,
        approval=node_pb2.Approval(statement=m.approval, signature=m.approval_signature),
    )


async def _with(first: pb.Left, rest: AsyncIterator[pb.Left]) -> AsyncIterator[pb.Left]:
    yield first
    async for part in rest:
        yield part


def _unknown() -> LocalError:
    return LocalError("job.unknown", "The coordinator knows no such deposit job of yours.", "heji deposit list")
