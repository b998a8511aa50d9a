"""How a party makes a deposit, or takes it back (P10): from the policy to the coordinator's receipt.

    make      compile again → policy → remember (fsync) → query → encrypt → sign → on disk → send → receipt

A message that got no receipt is sent again as the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from typing import Any

import grpc.aio
import structlog

from mpc.coins import own_coins
from mpc.crypto import paillier
from mpc.crypto.paillier import PublicKey
from mpc.errors import HejiError, LocalError
from mpc.evidence.deposit_checks import KEY
from mpc.job import Job
from mpc.protocols.deposit import DEPOSIT, WITHDRAWAL, Terms, statement_of, withdrawal
from mpc.protocols.deposit_lattice import NamedKey
from mpc.query.plain import plain_totals
from mpc.roles import deposit_cast
from mpc.run import Sent
from parties.depositing import ATTEMPT, LEAVE, WITHDRAW, encrypted, gathered_key, left, said, verify_installed
from parties.evidence.documents import Signed
from parties.evidence.recorder import SOFTWARE, Recorder
from parties.failures import encode, from_rpc, is_transient
from parties.member import Member
from parties.node.deposit_store import DepositStore, Message
from parties.node.earlier import shown_columns
from parties.node.inputs import Inputs
from parties.node.permission import Permission, facts_of
from parties.node.sizes import verify_cells
from parties.node.stopping import refuse_if_stopped
from parties.node.store import Store
from parties.node.webhook import Event, Webhook
from parties.proposals import APPROVAL, coordinator_of, propose, read_catalogs, terms_of
from parties.rpc.v1 import deposits_pb2 as pb
from parties.rpc.v1 import deposits_pb2_grpc, node_pb2

log = structlog.get_logger("heji.node")

#: seconds to wait for the coordinator
PATIENCE = 60.0


class DepositMaking:
    """Of one node; one thing at a time.

    ``why``: why a deposit was not made yet, by job; ``filling``: tasks that make blinding factors.
    """

    def __init__(
        self,
        member: Member,
        store: Store,
        messages: DepositStore,
        inputs: Inputs,
        permission: Permission,
        recorder: Recorder | None,
        webhook: Webhook | None,
        *,
        seed: Callable[[], bytes],
    ) -> None:
        """``seed`` gives each deposit its 32 secret bytes."""
        self._member, self._store, self._messages = member, store, messages
        self._inputs, self._permission, self._recorder, self._seed = inputs, permission, recorder, seed
        self._webhook = webhook
        self._pools: dict[str, tuple[bytes, paillier.Pool]] = {}
        self.why: dict[str, HejiError] = {}
        self.filling: set[asyncio.Task[None]] = set()

    async def make(self, o: pb.OpenDeposit, *, again: bool) -> None:
        """Deposit, or send again what got no receipt. ``again``: also after a withdrawal. Raises LocalError policy.*,
        data.*, job.*: the coordinator is told why."""
        job = job_of(o)
        try:
            before = self._messages.messages(job)
            if before and not before[-1].receipt:
                await self._send_unless_stopped(o, before[-1])
                before = self._messages.messages(job)
            if not before or (again and before[-1].kind == WITHDRAW):
                message = await self._deposit(o, len(before))
                if message is not None:
                    await self._send_unless_stopped(o, message)
            self.why.pop(job, None)
        except HejiError as error:
            told = self.why.get(job)
            self.why[job] = error
            if told is None or (told.code, told.message) != (error.code, error.message):
                log.info("not deposited", job=job, code=error.code)
                if not is_transient(error):
                    self.note("refused", job, code=error.code)
                    if error.code != "policy.pending":
                        self.notify("refused", Job.from_bytes(o.job.job), error.code)
                    with contextlib.suppress(HejiError):
                        await self.call("Decline", pb.Declined(job=bytes.fromhex(job), error=encode(error)))
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
            self._recorder.keep_policy(allowed.policy)
        signed = member.sign(APPROVAL, approval)
        known = self._store.job(job)
        self._store.approve(
            job, known.attempt + 1 if known else 1, member.clock(), facts_of(proposed, allowed.policy.digest)
        )
        self._store.earlier.remember(job, shown_columns(proposed.plan, member.name))
        if allowed.limits.min_entities:
            totals = plain_totals(proposed.plan, member.name, self._store.salt)
            self._store.questions.remember_plain(job, totals)
        self.note("approved", job, approval=_sha(approval), coordinator=terms.coordinator, software=SOFTWARE)
        self.notify("approved", proposed.job)
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
            self.note("spent", job, **spent.told())
        body = await asyncio.to_thread(encrypted, terms, given.vectors, coins, pool)
        data = given.commitment.hex()
        if self._recorder is not None:
            self._recorder.bind(attempt_of(job), seed, given.commitment, given.snapshot)
            self._recorder.retained.forget(attempt_of(job))  # of a deposit that was taken back
            kept = self._recorder.keep(attempt_of(job), seed, len(whole), given.blocks)
            if kept is not None:
                if whole:
                    kept.heard(Sent(terms.recipient, member.name, KEY, whole))
                kept.close()
        statement = statement_of(terms, member.name, number, data, approval, body).to_bytes()
        message = Message(number, LEAVE, statement, member.sign(DEPOSIT, statement), approval, signed, body)
        refuse_if_stopped(member.name, self._store.decisions)  # encrypting takes its time
        self._messages.make(job, message)
        return message

    async def withdraw(self, o: pb.OpenDeposit) -> None:
        job = job_of(o)
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

    async def _send_unless_stopped(self, o: pb.OpenDeposit, m: Message) -> None:
        """A node that is stopped lets no deposit out, also none that it made before."""
        if m.kind == LEAVE:
            refuse_if_stopped(self._member.name, self._store.decisions)
        await self._send(o, m)

    async def _send(self, o: pb.OpenDeposit, m: Message) -> None:
        """Hand a message over, and keep its receipt. Raises what the coordinator says."""
        job, coordinator = job_of(o), coordinator_of(self._member)
        raw = said(m.statement, m.signature, m.body)
        try:
            if m.kind == LEAVE:
                approval = node_pb2.Approval(statement=m.approval, signature=m.approval_signature)
                head = pb.DepositHead(
                    job=bytes.fromhex(job), statement=m.statement, signature=m.signature, approval=approval
                )
                kept = await self.call("Leave", left(head, m.body))
            else:
                request = pb.Withdrawal(job=bytes.fromhex(job), statement=m.statement, signature=m.signature)
                kept = await self.call("Withdraw", request)
        except HejiError as error:
            if not is_transient(error):
                self._messages.refused(job, m.number)  # it said so: it has not taken it
                self._store.forget_contributions(job)
                self._store.transition(job, "aborted", self._member.clock(), error=error.code)
            raise
        sha256 = hashlib.sha256(raw).digest()
        if self._recorder is not None and not self._recorder.has(attempt_of(job), "sent", coordinator, m.number):
            self._recorder.sent(attempt_of(job), coordinator, m.number, m.kind, len(raw), sha256, kept.receipt)
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

    def _keep_documents(self, o: pb.OpenDeposit, m: Message) -> None:
        if self._recorder is not None:
            self._recorder.documents.keep(
                job_of(o),
                ATTEMPT,
                coordinator_of(self._member),
                o.job,
                o.catalogs,
                {self._member.name: node_pb2.Approval(statement=m.approval, signature=m.approval_signature)},
                deposits={self._member.name: Signed(m.statement, m.signature)},
            )

    async def _beside(self, job: str) -> bytes:
        """The public key that a job only names."""
        coordinator = coordinator_of(self._member)
        stub = deposits_pb2_grpc.DepositsStub(self._member.channel(coordinator))
        try:
            _, whole = await gathered_key(stub.JobKey(pb.DepositRef(job=job), timeout=PATIENCE))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, coordinator, "asked for the key of a deposit job") from None
        return whole

    # -- blinding factors: made ahead, each used once, in memory only

    async def _pool(self, job: str, terms: Terms) -> tuple[bytes, paillier.Pool | None]:
        """Seed and factors of one deposit: those made while it waited, else made now. They are given away here. BFV
        has no factors."""
        if not isinstance(terms.key, PublicKey):
            return self._seed(), None
        for task in list(self.filling):
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
        self.filling.add(task)
        task.add_done_callback(self.filling.discard)

    # -- who hears of it

    async def call(self, method: str, request: Any) -> Any:
        """Ask the coordinator. Raises what it says, or that it cannot be reached."""
        coordinator = coordinator_of(self._member)
        stub = deposits_pb2_grpc.DepositsStub(self._member.channel(coordinator))
        try:
            return await getattr(stub, method)(request, timeout=PATIENCE)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, coordinator, "speaking of deposits") from None

    def notify(self, event: Event, job: Job, code: str = "") -> None:
        if self._webhook is not None:
            self._webhook.job(event, job, ATTEMPT, code)

    def note(self, event: str, job: str, **facts: Any) -> None:
        if self._recorder is not None:
            self._recorder.note(event, attempt_of(job), **facts)

    def forget(self, job: str) -> None:
        """The job has ended."""
        self._pools.pop(job, None)
        self.why.pop(job, None)


def job_of(o: pb.OpenDeposit) -> str:
    """The id of its job."""
    return hashlib.sha256(o.job.job).hexdigest()


def _sha(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def attempt_of(job: str) -> tuple[bytes, int]:
    """Under what the log has a job of deposits."""
    return bytes.fromhex(job), ATTEMPT
