"""Deposit jobs at a party's node (P10): deposit when the owner's policy allows it, take back, receive.

    look      what the coordinator has open for this node
    make      deposit, or take back (deposit_making.py)
    receive   as a recipient: collect the total, verify whose deposits it holds, open, keep

The node calls, now and then (``deposit_seconds``) and when its operator asks; the coordinator never has to reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import structlog

from mpc.errors import HejiError, LocalError, PeerError
from mpc.job import METHODS, Job
from parties.deposit_keys import DepositKeys, SignedKey
from parties.depositing import ATTEMPT, LEAVE, WITHDRAW, gathered, opened, to_wire, with_key
from parties.evidence.documents import Signed
from parties.evidence.recorder import Recorder
from parties.failures import abort, decode, encode, from_rpc, is_transient
from parties.job_ids import whole_id
from parties.member import Member
from parties.node.deposit_making import PATIENCE, DepositMaking, job_of
from parties.node.deposit_store import DepositStore
from parties.node.inputs import Inputs
from parties.node.permission import Permission, facts_of
from parties.node.store import Store
from parties.node.webhook import Webhook
from parties.proposals import JOB, compiled, coordinator_of, read_catalogs
from parties.rpc.v1 import deposits_pb2 as pb
from parties.rpc.v1 import deposits_pb2_grpc

log = structlog.get_logger("heji.node")

Context = grpc.aio.ServicerContext[Any, Any]

#: seconds between withdrawals that a stop asks for
TRY_AGAIN = 5.0


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
        self._recorder = recorder
        self._making = DepositMaking(member, store, messages, inputs, permission, recorder, webhook, seed=seed)
        self._keys = DepositKeys(member)
        self._turn = asyncio.Lock()  # one thing at a time
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
                await self._making.make(o, again=True)
                return self._told(o)
        except HejiError as error:
            await abort(context, error)

    async def Withdraw(self, request: pb.DepositRef, context: Context) -> pb.OwnDeposit:
        try:
            self._own(context)
            async with self._turn:
                o = await self._found(request.job)
                await self._making.withdraw(o)
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
        running = [*self._making.filling, *(t for t in (self._loop, self._taking_back) if t is not None)]
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
                before = self._messages.messages(job_of(o))
                # what its operator took back, its operator makes again
                if o.state == "depositing" and (not before or not before[-1].receipt):
                    with contextlib.suppress(HejiError):  # told in the list, and to the coordinator
                        await self._making.make(o, again=False)

    def take_back_soon(self) -> None:
        """The node was stopped: withdraw every deposit that can still be withdrawn, beside what goes on. To be called
        again while it is stopped: a coordinator that is away is asked again."""
        if self._taking_back is None or self._taking_back.done():
            self._taking_back = asyncio.create_task(self._take_back())

    async def _take_back(self) -> None:
        try:
            async with self._turn:
                for o in await self._look():
                    before = self._messages.messages(job_of(o))
                    if o.state == "depositing" and before and not (before[-1].kind == WITHDRAW and before[-1].receipt):
                        await self._making.withdraw(o)
        except HejiError as error:
            log.warning("deposits not withdrawn", code=error.code)
        await asyncio.sleep(TRY_AGAIN)

    # -- the end

    async def _end(self, o: pb.OpenDeposit) -> None:
        """The job has ended: receive, if it is for this member; a job without a total lets data into other totals."""
        job = job_of(o)
        if o.state == "done" and self._member.name in Job.from_bytes(o.job.job).recipients:
            await self._receive(job)
        known = self._store.job(job)
        if known is not None:
            if o.state != "done":
                self._store.forget_contributions(job)
            with contextlib.suppress(HejiError):
                self._store.transition(job, "closed", self._member.clock())
            why = "" if o.state == "done" else _why(o)
            self._making.note("aborted" if why else "done", job, **({"code": why} if why else {}))
            self._making.notify("aborted" if why else "done", Job.from_bytes(o.job.job), why)
            if self._recorder is not None:
                self._recorder.witness_soon([coordinator_of(self._member)])
        self._messages.end(job, o.state)
        self._making.forget(job)

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
        self._making.note("revealed", job, result=result.digest(), verified=False)

    # -- the coordinator

    async def _look(self) -> list[pb.OpenDeposit]:
        """This member's jobs; what has ended is noted, and received if it is for this member."""
        key = self._keys.current()
        reply: pb.LookReply = await self._making.call("Look", pb.LookRequest(key=to_wire(key) if key else None))
        for o in reply.jobs:
            if o.state != "depositing" and not self._messages.ended(job_of(o)):
                try:
                    await self._end(o)
                except HejiError as error:
                    log.warning("not received", job=job_of(o), code=error.code)
                    self._making.why[job_of(o)] = error
        return list(reply.jobs)

    async def _found(self, job: str) -> pb.OpenDeposit:
        found = {job_of(o): o for o in await self._look()}
        name = self._member.name
        return found[whole_id(job, lambda: found, whose=f"deposit jobs of {name}", advice="heji deposit list")]

    # -- telling

    def _told(self, o: pb.OpenDeposit) -> pb.OwnDeposit:
        asked, job = Job.from_bytes(o.job.job), job_of(o)
        before = self._messages.messages(job)
        state = "waiting"
        if before:
            done = {LEAVE: "deposited", WITHDRAW: "withdrawn"}[before[-1].kind]
            state = done if before[-1].receipt else "made"
        if o.state != "depositing":
            state = "released" if o.state == "done" else "ended"
        why = self._making.why.get(job)
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


def _why(o: pb.OpenDeposit) -> str:
    return decode(o.error).code if o.error else "job.cancelled"
