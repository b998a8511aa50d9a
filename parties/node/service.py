"""The node's side of a job: compile again, ask the policy, query locally, play one's role, keep one's result.

    Propose   read job → compile → policy → remember (fsync) → open the inbox → signed approval
    Run       check all approvals → local queries → role (mpc.roles.play_party) through parties.drive → result
    Abort     close the inbox with the coordinator's reason
    Close     the coordinator has the whole result: no further attempt

A Run that loses its caller ends the attempt. An attempt's coins live in memory only: after a crash the attempt is over
and the next one has new keys (checklist 2).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import grpc
import grpc.aio
import rfc8785
import structlog

from mpc.coins import own_coins
from mpc.crypto.paillier import verify_installed
from mpc.errors import HejiError, LocalError, PeerError
from mpc.expected import expected_bytes
from mpc.job import MAX_JOB_BYTES, Job, job_id
from mpc.policy.flow import Limits, several_wanted
from mpc.protocols.agree import Agreement
from mpc.query.compile import question_of
from mpc.query.layout import Rows
from mpc.roles import Cast, Outcome, allowed_bytes, cast_of, play_helper, play_party, rounds_of
from mpc.rounds import Round, Rounds, Session
from mpc.run import Sent
from parties.cores import Cores
from parties.drive import drive
from parties.evidence.recorder import SOFTWARE, Recorder
from parties.failures import abort, decode
from parties.mail import AttemptKey, Inbox, Outbox, PostOffice
from parties.member import Member
from parties.metrics import Metrics
from parties.node.comparing import Comparing
from parties.node.earlier import shown_columns
from parties.node.inputs import Input, Inputs
from parties.node.permission import Permission, facts_of
from parties.node.questions import totalled_joins
from parties.node.sizes import verify_cells, verify_memory
from parties.node.stopping import refuse_if_stopped
from parties.node.store import Store
from parties.node.webhook import Event, Webhook
from parties.proposals import APPROVAL, CATALOG, Proposed, propose, read_catalogs
from parties.results import opened_result
from parties.rpc.v1 import node_pb2, node_pb2_grpc

log = structlog.get_logger("heji.node")

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class Attempt:
    """One attempt under way here, from its approval to its end."""

    proposed: Proposed
    coordinator: str
    limits: Limits
    approval: bytes
    signed: node_pb2.SignedJob
    catalogs: tuple[node_pb2.SignedCatalog, ...]
    inbox: Inbox | None = None
    run: asyncio.Task[Any] | None = None
    ended: HejiError | None = None  # why this member itself ended it from outside


class NodeService(node_pb2_grpc.NodeServicer):
    """See node.proto. One instance per process; all state that matters is in ``store``."""

    def __init__(
        self,
        member: Member,
        store: Store,
        post: PostOffice,
        inputs: Inputs,
        permission: Permission,
        *,
        seed: Callable[[], bytes] = lambda: os.urandom(32),
        on_message: Callable[[Sent], None] = lambda _sent: None,
        metrics: Metrics | None = None,
        recorder: Recorder | None = None,
        webhook: Webhook | None = None,
    ) -> None:
        """``seed`` gives each attempt its 32 secret bytes; tests replay with known ones. ``recorder``: None only in
        benchmarks, to see what evidence costs."""
        self._recorder = recorder
        self._member = member
        self._store = store
        self._post = post
        self._inputs = inputs
        self._permission = permission
        self._comparing = Comparing(member, store)
        self._seed = seed
        self._on_message = on_message
        self._metrics = metrics or Metrics()
        self._webhook = webhook
        self._attempts: dict[AttemptKey, Attempt] = {}

    @property
    def under_way(self) -> int:
        """Attempts that are approved or running here."""
        return len(self._attempts)

    async def Publish(self, request: node_pb2.PublishRequest, context: Context) -> node_pb2.SignedCatalog:
        try:
            self._member.caller(context)
            body = rfc8785.dumps(self._inputs.catalog().to_dict())
            return node_pb2.SignedCatalog(
                party=self._member.name, catalog=body, signature=self._member.sign(CATALOG, body)
            )
        except HejiError as error:
            await abort(context, error)

    async def Propose(self, request: node_pb2.Proposal, context: Context) -> node_pb2.Approval:
        try:
            coordinator = self._member.caller_as(context, "coordinator")
            return await self._propose(request, coordinator)
        except HejiError as error:
            log.info("refused", code=error.code, dry_run=request.dry_run)
            if not request.dry_run:
                self._metrics.refused(error.code)
                self._note_refusal(request, error)
            self._notify_refusal(request, error)
            await abort(context, error)

    async def _propose(self, request: node_pb2.Proposal, coordinator: str) -> node_pb2.Approval:
        catalogs = read_catalogs(self._member, request.catalogs)
        mine = catalogs.get(self._member.name)
        if mine is not None:
            self._inputs.verify_planned_on(mine)
        refuse_if_stopped(self._member.name, self._store.decisions)
        signature = None if request.dry_run else request.job.signature
        proposed = await asyncio.to_thread(propose, self._member, request.job.job, signature, catalogs)
        if proposed.job.deposit is not None and not request.dry_run:
            raise LocalError("job.invalid", "A deposit job has no attempts: its parties deposit by themselves.")
        if self._member.name not in proposed.participants:
            raise LocalError("job.invalid", f"{self._member.name} has no part in this job.")
        given = self._permission.check(self._store, proposed, ask=not request.dry_run)
        self._permission.unspent(self._store, proposed, given)
        spendings = self._permission.spendings(self._store, proposed, given)
        self._check_size(proposed)  # before earlier questions are compiled
        if any(self._member.name in pool.parties and pool.ciphertexts for _, pool in proposed.plan.tallies):
            verify_installed()
        if not request.dry_run:
            await self._supersede(proposed.job.id, request.attempt, coordinator)
        # from here to the admission nothing else is approved that this job should be compared with
        names = await self._comparing.approved(proposed)
        approval = self._permission.statement(proposed, given, spendings, names)
        if not request.dry_run:
            if self._recorder is not None:
                self._recorder.keep_policy(self._permission.policy())
            self._admit(request, coordinator, proposed, given.limits, approval)
            self._note(
                "approved",
                (bytes.fromhex(proposed.job.id), request.attempt),
                approval=hashlib.sha256(approval).hexdigest(),
                coordinator=coordinator,
                software=SOFTWARE,
            )
            self._notify("approved", proposed.job, request.attempt)
        return node_pb2.Approval(statement=approval, signature=self._member.sign(APPROVAL, approval))

    def _notify(self, event: Event, job: Job, attempt: int = 0, code: str = "") -> None:
        if self._webhook is not None:
            self._webhook.job(event, job, attempt, code)

    def _notify_refusal(self, request: node_pb2.Proposal, error: HejiError) -> None:
        """Of proposals, and of a person's no, which shows in a question whether it has decided. Not of other questions,
        nor that a person is asked, who has been told of it."""
        if error.code == "policy.rejected" or (not request.dry_run and error.code != "policy.pending"):
            with contextlib.suppress(HejiError):
                self._notify("refused", Job.from_bytes(request.job.job), request.attempt, error.code)

    def _note(self, event: str, key: AttemptKey, **facts: Any) -> None:
        if self._recorder is not None:
            self._recorder.note(event, key, **facts)

    def destroy_noise(self) -> None:
        """Destroy the seeds of noise that were kept long enough, of jobs that are over, and say so in the log."""
        now = self._member.clock()
        before = now - self._member.config.noise_days * 86400
        for job in self._inputs.noise.destroy_before(before, lambda job: self._store.over(job, now)):
            self._note("destroyed", (job, 0), what="seed of the noise")

    def _note_refusal(self, request: node_pb2.Proposal, error: HejiError) -> None:
        if len(request.job.job) <= MAX_JOB_BYTES:
            with contextlib.suppress(HejiError):
                self._note("refused", (bytes.fromhex(job_id(request.job.job)), request.attempt), code=error.code)

    def _check_size(self, proposed: Proposed) -> None:
        config = self._member.config
        verify_cells(self._member, proposed.plan)
        if self._member.name in proposed.plan.parties:
            verify_memory(self._member, expected_bytes(proposed.plan))
        if len(self._attempts) >= config.max_jobs:
            raise LocalError(
                "job.limits", f"{self._member.name} has {config.max_jobs} jobs under way.", "Try again later."
            )

    async def _supersede(self, job: str, number: int, coordinator: str) -> None:
        """A coordinator that was started again proposes the next attempt before we have noticed that the last one lost
        it: that one ends here and now."""
        for key, attempt in list(self._attempts.items()):
            if key[0] != bytes.fromhex(job) or key[1] >= number or attempt.coordinator != coordinator:
                continue
            reason = PeerError("peer.aborted", f"{coordinator} has begun another attempt.", party=coordinator)
            await self._end(key, attempt, reason)

    async def _end(self, key: AttemptKey, attempt: Attempt, reason: HejiError) -> None:
        """End an attempt for a reason that came from outside; the store knows it when this returns."""
        self._post.shut(key, reason)
        if attempt.run is None:  # approved, never run
            self._attempts.pop(key, None)
            self._store.transition(attempt.proposed.job.id, "aborted", self._member.clock(), error=reason.code)
            self._metrics.job("aborted")
            self._notify("aborted", attempt.proposed.job, key[1], reason.code)
        else:
            attempt.run.cancel()
            await asyncio.wait([attempt.run])

    def _admit(
        self, request: node_pb2.Proposal, coordinator: str, proposed: Proposed, limits: Limits, approval: bytes
    ) -> None:
        """Remember the attempt, on disk first, and open its inbox."""
        job = proposed.job
        key = (bytes.fromhex(job.id), request.attempt)
        if any(k[0] == key[0] for k in self._attempts):
            raise LocalError("job.replayed", "An attempt of this job is under way here.")
        self._store.approve(
            job.id,
            request.attempt,
            self._member.clock(),
            facts_of(proposed, self._permission.digest()),
        )
        self._store.earlier.remember(job.id, shown_columns(proposed.plan, self._member.name))
        self._store.questions.remember(job.id, question_of(job), totalled_joins(proposed.plan))
        attempt = Attempt(proposed, coordinator, limits, approval, request.job, tuple(request.catalogs))
        # what each member may say at most is known before approvals are, but for what joins are compared with
        sizes = cast_of(
            proposed.raw,
            request.attempt,
            proposed.plan,
            coordinator=coordinator,
            inside=proposed.inside,
            approvals=None,
            helper=proposed.helper,
        )
        attempt.inbox = Inbox(self._allowed(sizes))
        self._post.open(key, attempt.inbox)
        self._attempts[key] = attempt
        self._metrics.job("approved")
        log.info("approved", job=job.id, attempt=request.attempt, submitter=job.submitter)

    def _allowed(self, cast: Cast) -> dict[str, int]:
        """The most that every other member may say here."""
        me = self._member.name
        return {p: allowed_bytes(cast, p, me) for p in cast.context.participants if p != me}

    async def Run(self, request: node_pb2.RunRequest, context: Context) -> AsyncIterator[node_pb2.Progress]:
        try:
            coordinator = self._member.caller_as(context, "coordinator")
            key = (request.job, request.attempt)
            attempt = self._attempts.get(key)
            if attempt is None or attempt.run is not None or attempt.coordinator != coordinator:
                raise PeerError(
                    "peer.aborted", f"{self._member.name} has no such attempt waiting.", party=self._member.name
                )
            news: asyncio.Queue[node_pb2.Progress | None] = asyncio.Queue()
            attempt.run = asyncio.create_task(self._run(key, attempt, list(request.approvals), news.put_nowait))
            attempt.run.add_done_callback(lambda _task: news.put_nowait(None))
            try:
                while (progress := await news.get()) is not None:
                    yield progress
                await attempt.run
            finally:
                attempt.run.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await attempt.run
        except HejiError as error:
            await abort(context, error)

    async def _run(
        self,
        key: AttemptKey,
        attempt: Attempt,
        approvals: list[node_pb2.Approval],
        tell: Callable[[node_pb2.Progress], None],
    ) -> None:
        """The attempt from all approvals to its end, whatever that is; the store always learns of it."""
        job = attempt.proposed.job
        try:
            with self._metrics.attempt():
                await self._play(key, attempt, approvals, tell)
            self._store.transition(job.id, "done", self._member.clock())
            self._metrics.job("done")
            log.info("done", job=job.id, attempt=key[1])
            self._note("done", key)
            self._notify("done", job, key[1])
            self._witness(attempt)
        except BaseException as problem:
            error = attempt.ended or (problem if isinstance(problem, HejiError) else None)
            code = (
                error.code if error else "peer.aborted" if isinstance(problem, asyncio.CancelledError) else "internal"
            )
            log.warning("attempt ended", job=job.id, attempt=key[1], code=code, step=getattr(error, "step", ""))
            if code == "internal":
                log.error("defect", job=job.id, exc_info=problem)
            with contextlib.suppress(HejiError):
                self._store.budgets.release(job.id)
                self._store.transition(job.id, "aborted", self._member.clock(), error=code)
                self._metrics.job("aborted")
            if self._recorder is not None:
                self._recorder.failed(key, error or LocalError(code, "The attempt was ended."))
            self._notify("aborted", job, key[1], code)
            if error is None and not isinstance(problem, asyncio.CancelledError):
                raise LocalError("internal", f"A defect at {self._member.name}; its log has the trace.") from problem
            if attempt.ended is not None:
                raise attempt.ended from None
            raise
        finally:
            self._attempts.pop(key, None)
            self._post.shut(
                key, PeerError("peer.aborted", f"{self._member.name} has ended this attempt.", party=self._member.name)
            )

    async def _play(
        self,
        key: AttemptKey,
        attempt: Attempt,
        approvals: list[node_pb2.Approval],
        tell: Callable[[node_pb2.Progress], None],
    ) -> None:
        member, proposed = self._member, attempt.proposed
        job = proposed.job
        statements = self._read_approvals(proposed, approvals, attempt)
        signed = {str(json.loads(a.statement)["party"]): a for a in approvals}
        self._keep_documents(key, attempt, signed)
        cast = cast_of(
            proposed.raw,
            key[1],
            proposed.plan,
            coordinator=attempt.coordinator,
            inside=proposed.inside,
            approvals=statements,
            helper=proposed.helper,
            compared=await self._comparing.joins(proposed, statements),
        )
        assert attempt.inbox is not None
        attempt.inbox.allow(self._allowed(cast))
        self._store.transition(job.id, "running", member.clock())
        seed = self._seed()
        coins = own_coins(seed, *key)
        tell(node_pb2.Progress(phase="local query"))
        approved = {p: Limits.from_told(json.loads(s)) for p, s in statements.items()}
        strict = several_wanted(proposed.plan, member.name, approved)
        given = await self._inputs.vectors(
            cast, proposed.plan, attempt.limits, strict_none=strict, coins=coins, salt=self._store.salt
        )
        self._same_data(job.id, given.snapshot)
        for spent in self._permission.commit(self._store, proposed, given.snapshot.hex(), given.noise):
            self._note("spent", key, **spent.told())
        if self._recorder is not None:
            self._recorder.bind(key, seed, given.commitment, given.snapshot, given.noise)
        heard = sum(self._allowed(cast).values())
        kept = None
        if self._recorder is not None:
            kept = await asyncio.to_thread(self._recorder.keep, key, seed, heard, given.blocks)
        given = replace(given, blocks=())  # memory

        total = rounds_of(cast, member.name)
        outboxes = self._outboxes(key, cast)
        cores = Cores(member.config.threads)
        try:

            def on_round(number: int, step: Round) -> None:
                if number == 3 and given.anything:  # keys are agreed: from here on masked data leaves
                    self._spend(key, attempt, given)
                    self._store.transition(job.id, "sending", member.clock(), input=given.snapshot)
                phase = "keys" if number <= 2 else "receiving" if step.hear else "sending"
                sent = sum(o.sent for o in outboxes.values())
                tell(node_pb2.Progress(phase=phase, done=number, total=total, bytes_sent=sent))

            def on_message(sent: Sent) -> None:
                if kept is not None and sent.receiver == member.name:
                    kept.heard(sent)
                self._metrics.message(sent, member.name)
                self._on_message(sent)

            outcome = await drive(
                member.name,
                self._role(Session(member.name, coins), cast, given, cores),
                attempt.inbox,
                outboxes,
                patience=member.config.step_seconds,
                on_round=on_round,
                on_message=on_message,
            )
        finally:
            if kept is not None:
                kept.close()
            await asyncio.to_thread(cores.close)
            await asyncio.gather(*(o.close() for o in outboxes.values()))
        self._keep_documents(key, attempt, signed, outcome.agreement)
        if member.name in job.recipients:
            shown = self._keep_result(proposed, outcome, cast, statements, given.own)
            self._note("revealed", key, result=shown, verified=proposed.plan.verified)
        tell(node_pb2.Progress(phase="done", done=total, total=total))

    def _role(self, session: Session, cast: Cast, given: Input, cores: Cores) -> Rounds[Outcome]:
        sign, verify = self._member.sign, self._member.verify
        if session.me == cast.helper:
            return play_helper(session, cast, sign, verify)
        return play_party(session, cast, given.vectors, sign, verify, given.rows, given.values, cores, given.hiding)

    def _spend(self, key: AttemptKey, attempt: Attempt, given: Input) -> None:
        """What was reserved of budgets is spent, on disk and in the log, whatever becomes of the attempt."""
        self._store.budgets.spend(key[0].hex(), given.snapshot.hex())
        for told in json.loads(attempt.approval).get("budgets", ()):
            self._note("budget", key, **told, noise=given.noise)

    def _same_data(self, job: str, snapshot: bytes) -> None:
        """Two attempts over different data could give their difference away, if the first reached its recipient."""
        known = self._store.job(job)
        if known is not None and known.input not in (None, snapshot):
            raise LocalError(
                "data.changed",
                f"{self._member.name}'s data changed since an attempt of this job that may have been released.",
                "Submit the query again: that makes a new job.",
            )

    def _outboxes(self, key: AttemptKey, cast: Cast) -> dict[str, Outbox]:
        member = self._member
        return {
            p: Outbox(p, member.channel(p), key, member.config.reconnect_seconds, self._recorder)
            for p in cast.context.participants
            if p != member.name
        }

    def _read_approvals(
        self, proposed: Proposed, approvals: list[node_pb2.Approval], attempt: Attempt
    ) -> dict[str, bytes]:
        """Every participant's approval of exactly this job and plan; PeerError job.differs names who differs."""
        statements: dict[str, bytes] = {}
        mine = json.loads(attempt.approval)
        for a in approvals:
            told = json.loads(a.statement)
            party = str(told.get("party"))
            self._member.verify(party, APPROVAL, a.statement, a.signature)
            for field in ("job", "plan", "roster", "planner"):
                if told.get(field) != mine[field]:
                    raise PeerError(
                        "job.differs",
                        f"{party} approved another {field} than {self._member.name}.",
                        "Nothing was sent. Compare versions and rosters.",
                        party=party,
                    )
            statements[party] = a.statement
        if set(statements) != set(proposed.participants):
            raise LocalError("job.differs", "The attempt lacks approvals, or has some of members that take no part.")
        if statements[self._member.name] != attempt.approval:
            raise LocalError("job.differs", "The approval shown as ours is not the one given.")
        return statements

    def _keep_result(
        self,
        proposed: Proposed,
        outcome: Outcome,
        cast: Cast,
        statements: dict[str, bytes],
        own: Mapping[int, Rows],
    ) -> str:
        """Returns what the log says of it."""
        totals = {s.name: outcome.totals[s.name] for s in cast.heard_by(self._member.name)}
        result = opened_result(proposed, totals, self._member.name, statements, own, outcome.bindings)
        self._store.keep_result(proposed.job.id, result.to_bytes())
        return result.digest()

    def _keep_documents(
        self,
        key: AttemptKey,
        attempt: Attempt,
        approvals: Mapping[str, node_pb2.Approval],
        agreement: Agreement | None = None,
    ) -> None:
        if self._recorder is not None:
            self._recorder.documents.keep(
                key[0].hex(), key[1], attempt.coordinator, attempt.signed, attempt.catalogs, approvals, agreement
            )

    def _witness(self, attempt: Attempt) -> None:
        """Have the log cosigned by the job's other participants, beside what goes on."""
        if self._recorder is None:
            return
        others = {*attempt.proposed.participants, attempt.coordinator} - {self._member.name}
        self._recorder.witness_soon(sorted(others))

    async def Abort(self, request: node_pb2.AbortRequest, context: Context) -> node_pb2.AbortReply:
        try:
            coordinator = self._member.caller_as(context, "coordinator")
            key = (request.job, request.attempt)
            attempt = self._attempts.get(key)
            if attempt is not None and attempt.coordinator == coordinator:
                await self._end(key, attempt, decode(request.error))
            return node_pb2.AbortReply()
        except HejiError as error:
            await abort(context, error)

    async def Close(self, request: node_pb2.CloseRequest, context: Context) -> node_pb2.CloseReply:
        try:
            self._member.caller_as(context, "coordinator")
            self._store.transition(request.job.hex(), "closed", self._member.clock())
            self.destroy_noise()
            self._metrics.job("closed")
            return node_pb2.CloseReply()
        except HejiError as error:
            await abort(context, error)

    async def Result(self, request: node_pb2.NodeResultRequest, context: Context) -> node_pb2.NodeResultReply:
        try:
            caller = self._member.caller(context)
            if caller != self._member.name:
                raise LocalError("job.not_recipient", f"{self._member.name} shows its results to itself only.")
            body = self._store.result(request.job.hex())
            if body is None:
                raise LocalError(
                    "job.unknown",
                    f"{self._member.name} received no result of this job.",
                    "List the jobs with `heji jobs list`.",
                )
            return node_pb2.NodeResultReply(result=body)
        except HejiError as error:
            await abort(context, error)

    async def end_all(self, reason: HejiError) -> None:
        """This member ends every attempt under way, and says why."""
        for key, attempt in list(self._attempts.items()):
            attempt.ended = reason
            await self._end(key, attempt, reason)

    async def stop(self) -> None:
        """End all attempts; their peers are told."""
        running = [a.run for a in self._attempts.values() if a.run is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
