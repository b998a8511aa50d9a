"""Deposit jobs at a party's node (P10): deposit when the owner's policy allows it, take back, receive.

    look      what the coordinator has open for this node
    make      compile again → policy → remember (fsync) → query → encrypt → sign → on disk → send → receipt
    receive   as a recipient: collect the total, verify whose deposits it holds, open, keep

The node calls, now and then (``deposit_seconds``) and when its operator asks; the coordinator never has to reach it. A
message that got no receipt is sent again as the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import structlog

from mpc.coins import own_coins
from mpc.crypto import paillier
from mpc.crypto.paillier import PublicKey
from mpc.errors import HejiError, LocalError, PeerError
from mpc.evidence.deposit_checks import KEY
from mpc.job import METHODS, Job
from mpc.protocols.deposit import DEPOSIT, WITHDRAWAL, Terms, statement_of, withdrawal
from mpc.protocols.deposit_lattice import NamedKey
from mpc.roles import deposit_cast
from mpc.run import Sent
from parties.deposit_keys import DepositKeys, SignedKey
from parties.depositing import (
    ATTEMPT,
    LEAVE,
    WITHDRAW,
    encrypted,
    gathered,
    gathered_key,
    left,
    opened,
    said,
    to_wire,
    verify_installed,
    with_key,
)
from parties.evidence.documents import Signed
from parties.evidence.recorder import SOFTWARE, Recorder
from parties.failures import abort, decode, encode, from_rpc, is_transient
from parties.job_ids import whole_id
from parties.member import Member
from parties.node.deposit_store import DepositStore, Message
from parties.node.earlier import shown_columns
from parties.node.inputs import Inputs
from parties.node.permission import Permission, facts_of
from parties.node.sizes import verify_cells
from parties.node.stopping import refuse_if_stopped
from parties.node.store import Store
from parties.node.webhook import Event, Webhook
from parties.proposals import APPROVAL, JOB, compiled, coordinator_of, propose, read_catalogs, terms_of
from parties.rpc.v1 import deposits_pb2 as pb
from parties.rpc.v1 import deposits_pb2_grpc, node_pb2

log = structlog.get_logger("heji.node")

Context = grpc.aio.ServicerContext[Any, Any]

#: seconds to wait for the coordinator; between withdrawals that a stop asks for
PATIENCE, TRY_AGAIN = 60.0, 5.0


class Deposits(deposits_pb2_grpc.OwnDepositsServicer):
    """See deposits.proto, OwnDeposits."""

    def __init__(
        self,
        member: Member,
        store: Store,
        messages: DepositStore,
        inputs: Inputs,
        permission: Permission,
        recorder: Recorder | None,
        webhook: Webhook | None = None,
        *,
        seed: Callable[[], bytes] = lambda: os.urandom(32),
    ) -> None:
        """``seed`` gives each deposit its 32 secret bytes."""
        self._member, self._store, self._messages = member, store, messages
        self._inputs, self._permission, self._recorder, self._seed = inputs, permission, recorder, seed
        self._webhook = webhook
        self._keys = DepositKeys(member)
        self._turn = asyncio.Lock()  # one thing at a time
        self._pools: dict[str, tuple[bytes, paillier.Pool]] = {}
        self._why: dict[str, HejiError] = {}  # why a deposit was not made yet
        self._filling: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        self._taking_back: asyncio.Task[None] | None = None

    # -- what the institution asks

    async def Key(self, request: pb.KeyRequest, context: Context) -> pb.SignedKey:
        try:
            self._member.caller(context)
            async with self._turn:
                return to_wire(await self._key(request.method or "paillier"))
        except HejiError as error:
            await abort(context, error)

    async def WholeKey(self, request: pb.KeyRequest, context: Context) -> AsyncIterator[pb.KeyPart]:
        try:
            self._member.caller(context)
            async with self._turn:
                key = await self._key(request.method)
            async for part in with_key(key, self._keys.whole(key)):
                yield part
        except HejiError as error:
            await abort(context, error)

    async def _key(self, method: str) -> SignedKey:
        """The newest of a method, made if there is none. Raises LocalError job.invalid, config.missing."""
        if method not in METHODS:
            raise LocalError("job.invalid", f"{self._member.name} knows no method {method!r} of deposits.")
        known = self._keys.current(method)
        return known if known else await asyncio.to_thread(self._keys.make, method)

    async def Make(self, request: pb.DepositRef, context: Context) -> pb.OwnDeposit:
        try:
            self._own(context)
            async with self._turn:
                o = await self._found(request.job)
                if o.state != "depositing":
                    raise LocalError("job.state", f"The job is {o.state}: no deposits are taken any more.")
                await self._make(o, again=True)
                return self._told(o)
        except HejiError as error:
            await abort(context, error)

    async def Withdraw(self, request: pb.DepositRef, context: Context) -> pb.OwnDeposit:
        try:
            self._own(context)
            async with self._turn:
                o = await self._found(request.job)
                await self._withdraw(o)
                return self._told(o)
        except HejiError as error:
            await abort(context, error)

    async def List(self, request: pb.OwnDepositsRequest, context: Context) -> pb.OwnDepositsReply:
        try:
            self._own(context)
            async with self._turn:
                found = await self._look()
                return pb.OwnDepositsReply(deposits=[self._told(o) for o in found])
        except HejiError as error:
            await abort(context, error)

    def _own(self, context: Context) -> None:
        if self._member.caller(context) != self._member.name:
            raise LocalError("job.unknown", f"{self._member.name} speaks of its deposits to itself only.")

    # -- by itself

    def start(self) -> None:
        """Look now and then, if the operator wants it."""
        if self._member.config.deposit_seconds:
            self._loop = asyncio.create_task(self._now_and_then())

    async def stop(self) -> None:
        running = [*self._filling, *(t for t in (self._loop, self._taking_back) if t is not None)]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _now_and_then(self) -> None:
        while True:
            try:
                await self.step()
            except HejiError as error:
                if not is_transient(error):
                    log.warning("deposits", code=error.code)
            except Exception:
                log.exception("defect")
            await asyncio.sleep(self._member.config.deposit_seconds)

    async def step(self) -> None:
        """Deposit what the policy lets go without a person, receive what is there, note what has ended."""
        async with self._turn:
            for o in await self._look():
                before = self._messages.messages(_id(o))
                # what its operator took back, its operator makes again
                if o.state == "depositing" and (not before or not before[-1].receipt):
                    with contextlib.suppress(HejiError):  # told in the list, and to the coordinator
                        await self._make(o, again=False)

    def take_back_soon(self) -> None:
        """The node was stopped: withdraw every deposit that can still be withdrawn, beside what goes on. To be called
        again while it is stopped: a coordinator that is away is asked again."""
        if self._taking_back is None or self._taking_back.done():
            self._taking_back = asyncio.create_task(self._take_back())

    async def _take_back(self) -> None:
        try:
            async with self._turn:
                for o in await self._look():
                    before = self._messages.messages(_id(o))
                    if o.state == "depositing" and before and not (before[-1].kind == WITHDRAW and before[-1].receipt):
                        await self._withdraw(o)
        except HejiError as error:
            log.warning("deposits not withdrawn", code=error.code)
        await asyncio.sleep(TRY_AGAIN)

    # -- depositing

    async def _make(self, o: pb.OpenDeposit, *, again: bool) -> None:
        """Deposit, or send again what got no receipt. ``again``: also after a withdrawal. Raises LocalError policy.*,
        data.*, job.*: the coordinator is told why."""
        job = _id(o)
        try:
            before = self._messages.messages(job)
            if before and not before[-1].receipt:
                await self._send_unless_stopped(o, before[-1])
                before = self._messages.messages(job)
            if not before or (again and before[-1].kind == WITHDRAW):
                message = await self._deposit(o, len(before))
                if message is not None:
                    await self._send_unless_stopped(o, message)
            self._why.pop(job, None)
        except HejiError as error:
            told = self._why.get(job)
            self._why[job] = error
            if told is None or (told.code, told.message) != (error.code, error.message):
                log.info("not deposited", job=job, code=error.code)
                if not is_transient(error):
                    self._note("refused", job, code=error.code)
                    if error.code != "policy.pending":
                        self._notify("refused", Job.from_bytes(o.job.job), error.code)
                    with contextlib.suppress(HejiError):
                        await self._call("Decline", pb.Declined(job=bytes.fromhex(job), error=encode(error)))
            raise

    async def _deposit(self, o: pb.OpenDeposit, number: int) -> Message | None:
        """A deposit, on disk and not sent yet; None where this member only receives."""
        member = self._member
        catalogs = read_catalogs(member, o.catalogs)
        mine = catalogs.get(member.name)
        if mine is None:
            return None
        self._inputs.verify_planned_on(mine)
        refuse_if_stopped(member.name, self._store.decisions)
        proposed = await asyncio.to_thread(propose, member, o.job.job, o.job.signature, catalogs)
        verify_cells(member, proposed.plan)
        terms = terms_of(member, proposed)
        verify_installed(terms)
        job = proposed.job.id
        try:
            allowed = self._permission.check(self._store, proposed, ask=True)
        except LocalError as error:
            if error.code == "policy.pending":
                self._fill_soon(job, terms)  # while a person decides
            raise
        approval = self._permission.statement(proposed, allowed)
        if self._recorder is not None:
            self._recorder.keep_policy(self._permission.policy())
        signed = member.sign(APPROVAL, approval)
        known = self._store.job(job)
        self._store.approve(
            job, known.attempt + 1 if known else 1, member.clock(), facts_of(proposed, self._permission.digest())
        )
        self._store.earlier.remember(job, shown_columns(proposed.plan, member.name))
        self._note("approved", job, approval=_sha(approval), coordinator=terms.coordinator, software=SOFTWARE)
        self._notify("approved", proposed.job)
        whole = await self._beside(job) if isinstance(terms.key, NamedKey) else b""
        if whole:
            terms = terms_of(member, proposed, whole)
        seed, pool = await self._pool(job, terms)
        coins = own_coins(seed, bytes.fromhex(job), ATTEMPT)
        cast = deposit_cast(proposed.job, proposed.plan, terms)
        given = await self._inputs.vectors(
            cast, proposed.plan, allowed.limits, strict_none=True, coins=coins, salt=self._store.salt
        )
        for spent in self._permission.commit(self._store, proposed, given.snapshot.hex(), given.noise):
            self._note("spent", job, **spent.told())
        body = await asyncio.to_thread(encrypted, terms, given.vectors, coins, pool)
        data = given.commitment.hex()
        if self._recorder is not None:
            self._recorder.bind(_key(job), seed, given.commitment, given.snapshot)
            self._recorder.retained.forget(_key(job))  # of a deposit that was taken back
            kept = self._recorder.keep(_key(job), seed, len(whole), given.blocks)
            if kept is not None:
                if whole:
                    kept.heard(Sent(terms.recipient, member.name, KEY, whole))
                kept.close()
        statement = statement_of(terms, member.name, number, data, approval, body).to_bytes()
        message = Message(number, LEAVE, statement, member.sign(DEPOSIT, statement), approval, signed, body)
        refuse_if_stopped(member.name, self._store.decisions)  # encrypting takes its time
        self._messages.make(job, message)
        return message

    async def _send_unless_stopped(self, o: pb.OpenDeposit, m: Message) -> None:
        """A node that is stopped lets no deposit out, also none that it made before."""
        if m.kind == LEAVE:
            refuse_if_stopped(self._member.name, self._store.decisions)
        await self._send(o, m)

    async def _send(self, o: pb.OpenDeposit, m: Message) -> None:
        """Hand a message over, and keep its receipt. Raises what the coordinator says."""
        job, coordinator = _id(o), coordinator_of(self._member)
        raw = said(m.statement, m.signature, m.body)
        try:
            if m.kind == LEAVE:
                approval = node_pb2.Approval(statement=m.approval, signature=m.approval_signature)
                head = pb.DepositHead(
                    job=bytes.fromhex(job), statement=m.statement, signature=m.signature, approval=approval
                )
                kept = await self._call("Leave", left(head, m.body))
            else:
                request = pb.Withdrawal(job=bytes.fromhex(job), statement=m.statement, signature=m.signature)
                kept = await self._call("Withdraw", request)
        except HejiError as error:
            if not is_transient(error):
                self._messages.refused(job, m.number)  # it said so: it has not taken it
                self._store.forget_contributions(job)
                self._store.transition(job, "aborted", self._member.clock(), error=error.code)
            raise
        sha256 = hashlib.sha256(raw).digest()
        if self._recorder is not None and not self._recorder.has(_key(job), "sent", coordinator, m.number):
            self._recorder.sent(_key(job), coordinator, m.number, m.kind, len(raw), sha256, kept.receipt)
        self._messages.receipted(job, m.number, kept.receipt or b"-")
        now = self._member.clock()
        if m.kind == LEAVE:
            self._store.transition(job, "running", now)
            self._store.transition(job, "done", now)
            self._keep_documents(o, m)
        else:
            self._store.transition(job, "aborted", now, error="job.cancelled")
            self._store.forget_contributions(job)
        self._pools.pop(job, None)
        log.info(m.kind, job=job)

    async def _withdraw(self, o: pb.OpenDeposit) -> None:
        job = _id(o)
        if o.state != "depositing":
            raise LocalError(
                "job.state",
                f"The job is {o.state}: a deposit can be taken back until the closing date or the total, not after it.",
            )
        before = self._messages.messages(job)
        if before and not before[-1].receipt:
            await self._send(o, before[-1])
            before = self._messages.messages(job)
        if not before or before[-1].kind == WITHDRAW:
            raise LocalError(
                "job.state",
                f"{self._member.name} has no deposit in this job to withdraw.",
                "Nothing to do.",
            )
        statement = withdrawal(job, self._member.name, len(before), before[-1].statement)
        message = Message(len(before), WITHDRAW, statement, self._member.sign(WITHDRAWAL, statement))
        self._messages.make(job, message)
        await self._send(o, message)

    # -- blinding factors: made ahead, each used once, in memory only

    async def _beside(self, job: str) -> bytes:
        """The public key that a job only names."""
        coordinator = coordinator_of(self._member)
        stub = deposits_pb2_grpc.DepositsStub(self._member.channel(coordinator))
        try:
            _, whole = await gathered_key(stub.JobKey(pb.DepositRef(job=job), timeout=PATIENCE))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, coordinator, "asked for the key of a deposit job") from None
        return whole

    async def _pool(self, job: str, terms: Terms) -> tuple[bytes, paillier.Pool | None]:
        """Seed and factors of one deposit: those made while it waited, else made now. They are given away here. BFV
        has no factors."""
        if not isinstance(terms.key, PublicKey):
            return self._seed(), None
        for task in list(self._filling):
            await asyncio.gather(task, return_exceptions=True)
        seed, pool = self._pools.pop(job, (b"", None))
        if pool is None or len(pool) < terms.ciphertexts:
            seed, pool = self._seed(), paillier.Pool(terms.key)
            await asyncio.to_thread(pool.fill, seed, terms.ciphertexts)
        return seed, pool

    def _fill_soon(self, job: str, terms: Terms) -> None:
        if job in self._pools or not isinstance(terms.key, PublicKey):
            return
        seed, pool = self._seed(), paillier.Pool(terms.key)
        self._pools[job] = (seed, pool)
        task = asyncio.create_task(asyncio.to_thread(pool.fill, seed, terms.ciphertexts))
        self._filling.add(task)
        task.add_done_callback(self._filling.discard)

    # -- the end

    async def _end(self, o: pb.OpenDeposit) -> None:
        """The job has ended: receive, if it is for this member; a job without a total lets data into other totals."""
        job = _id(o)
        if o.state == "done" and self._member.name in Job.from_bytes(o.job.job).recipients:
            await self._receive(job)
        known = self._store.job(job)
        if known is not None:
            if o.state != "done":
                self._store.forget_contributions(job)
            with contextlib.suppress(HejiError):
                self._store.transition(job, "closed", self._member.clock())
            why = "" if o.state == "done" else _why(o)
            self._note("aborted" if why else "done", job, **({"code": why} if why else {}))
            self._notify("aborted" if why else "done", Job.from_bytes(o.job.job), why)
            if self._recorder is not None:
                self._recorder.witness_soon([coordinator_of(self._member)])
        self._messages.end(job, o.state)
        self._pools.pop(job, None)
        self._why.pop(job, None)

    async def _receive(self, job: str) -> None:
        stub = deposits_pb2_grpc.DepositsStub(self._member.channel(coordinator_of(self._member)))
        try:
            head, body = await gathered(stub.Collect(pb.DepositRef(job=job), timeout=PATIENCE), 1 << 30)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, coordinator_of(self._member), "collecting the total") from None
        member, asked = self._member, Job.from_bytes(head.job.job)
        member.verify(asked.submitter, JOB, head.job.job, head.job.signature)
        if asked.id != job:
            raise PeerError(
                "job.differs", "The coordinator hands out another job's total.", party=coordinator_of(member)
            )
        catalogs = read_catalogs(member, head.catalogs)
        proposed = await asyncio.to_thread(compiled, member, head.job.job, asked, catalogs)
        result = await asyncio.to_thread(opened, member, proposed, head.deposits, body, self._keys)
        if self._store.job(job) is None:
            self._store.approve(job, 1, member.clock(), facts_of(proposed, ""))
            self._store.transition(job, "running", member.clock())
            self._store.transition(job, "done", member.clock())
        self._store.keep_result(job, result.to_bytes())
        if self._recorder is not None:
            parties = [str(json.loads(d.approval.statement)["party"]) for d in head.deposits]
            self._recorder.documents.keep(
                job,
                ATTEMPT,
                coordinator_of(member),
                head.job,
                head.catalogs,
                {p: d.approval for p, d in zip(parties, head.deposits, strict=True)},
                deposits={p: Signed(d.statement, d.signature) for p, d in zip(parties, head.deposits, strict=True)},
            )
        self._note("revealed", job, result=result.digest(), verified=False)

    # -- the coordinator

    async def _look(self) -> list[pb.OpenDeposit]:
        """This member's jobs; what has ended is noted, and received if it is for this member."""
        key = self._keys.current()
        reply: pb.LookReply = await self._call("Look", pb.LookRequest(key=to_wire(key) if key else None))
        for o in reply.jobs:
            if o.state != "depositing" and not self._messages.ended(_id(o)):
                try:
                    await self._end(o)
                except HejiError as error:
                    log.warning("not received", job=_id(o), code=error.code)
                    self._why[_id(o)] = error
        return list(reply.jobs)

    async def _found(self, job: str) -> pb.OpenDeposit:
        found = {_id(o): o for o in await self._look()}
        name = self._member.name
        return found[whole_id(job, lambda: found, whose=f"deposit jobs of {name}", advice="heji deposit list")]

    async def _call(self, method: str, request: Any) -> Any:
        coordinator = coordinator_of(self._member)
        stub = deposits_pb2_grpc.DepositsStub(self._member.channel(coordinator))
        try:
            return await getattr(stub, method)(request, timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, coordinator, "speaking of deposits") from None

    # -- telling

    def _told(self, o: pb.OpenDeposit) -> pb.OwnDeposit:
        asked, job = Job.from_bytes(o.job.job), _id(o)
        before = self._messages.messages(job)
        state = "waiting"
        if before:
            done = {LEAVE: "deposited", WITHDRAW: "withdrawn"}[before[-1].kind]
            state = done if before[-1].receipt else "made"
        if o.state != "depositing":
            state = "released" if o.state == "done" else "ended"
        why = self._why.get(job)
        return pb.OwnDeposit(
            job=job,
            state=state,
            submitter=asked.submitter,
            recipient=asked.recipients[0],
            purpose=asked.purpose,
            sql=asked.shown,
            closes=asked.expires,
            error=o.error or (encode(why) if why is not None and state in ("waiting", "released") else b""),
        )

    def _notify(self, event: Event, job: Job, code: str = "") -> None:
        if self._webhook is not None:
            self._webhook.job(event, job, ATTEMPT, code)

    def _note(self, event: str, job: str, **facts: Any) -> None:
        if self._recorder is not None:
            self._recorder.note(event, _key(job), **facts)

    def _keep_documents(self, o: pb.OpenDeposit, m: Message) -> None:
        if self._recorder is not None:
            self._recorder.documents.keep(
                _id(o),
                ATTEMPT,
                coordinator_of(self._member),
                o.job,
                o.catalogs,
                {self._member.name: node_pb2.Approval(statement=m.approval, signature=m.approval_signature)},
                deposits={self._member.name: Signed(m.statement, m.signature)},
            )


def _id(o: pb.OpenDeposit) -> str:
    return hashlib.sha256(o.job.job).hexdigest()


def _sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _key(job: str) -> tuple[bytes, int]:
    return bytes.fromhex(job), ATTEMPT


def _why(o: pb.OpenDeposit) -> str:
    return decode(o.error).code if o.error else "job.cancelled"
