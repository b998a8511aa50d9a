"""The node's side of a job: compile again, ask the policy, query locally, play one's role, keep one's result.

    Propose   read job → compile → policy → remember (fsync) → open the inbox → signed approval
    Run       check all approvals → local queries → role (mpc.roles.play_party) through parties.drive → result
    Abort     close the inbox with the coordinator's reason
    Close     the coordinator has the whole result: no further attempt
    Questions who computes the attempt lacks earlier questions that were named here (handing.py)

A Run that loses its caller ends the attempt. What an attempt does from its approval to its end is in attempts.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import rfc8785
import structlog

from mpc.crypto.paillier import verify_installed
from mpc.errors import HejiError, LocalError, PeerError
from mpc.expected import expected_bytes
from mpc.job import MAX_JOB_BYTES, Job, job_id
from mpc.run import Sent
from parties.evidence.recorder import SOFTWARE, Recorder
from parties.failures import abort, decode
from parties.mail import PostOffice
from parties.member import Member
from parties.metrics import Metrics
from parties.node.attempts import Attempts
from parties.node.comparing import Comparing
from parties.node.handing import given
from parties.node.inputs import Inputs
from parties.node.permission import Permission
from parties.node.sizes import verify_cells, verify_memory
from parties.node.stopping import refuse_if_stopped
from parties.node.store import Store
from parties.node.webhook import Webhook
from parties.proposals import APPROVAL, CATALOG, Proposed, propose, read_catalogs
from parties.rpc.v1 import node_pb2, node_pb2_grpc

log = structlog.get_logger("heji.node")

Context = grpc.aio.ServicerContext[Any, Any]


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
        self._inputs = inputs
        self._permission = permission
        self._comparing = Comparing(member, store)
        self._metrics = metrics or Metrics()
        self._attempts = Attempts(
            member,
            store,
            post,
            inputs,
            permission,
            self._comparing,
            seed=seed,
            on_message=on_message,
            metrics=self._metrics,
            recorder=recorder,
            webhook=webhook,
        )

    @property
    def under_way(self) -> int:
        """Attempts that are approved or running here."""
        return len(self._attempts.under_way)

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
            await self._attempts.supersede(proposed.job.id, request.attempt, coordinator)
        # from here to the admission nothing else is approved that this job should be compared with
        names = await self._comparing.approved(proposed)
        approval = self._permission.statement(proposed, given, spendings, names)
        if not request.dry_run:
            if self._recorder is not None:
                self._recorder.keep_policy(given.policy)
            self._attempts.admit(request, coordinator, proposed, given, approval)
            self._attempts.note(
                "approved",
                (bytes.fromhex(proposed.job.id), request.attempt),
                approval=hashlib.sha256(approval).hexdigest(),
                coordinator=coordinator,
                software=SOFTWARE,
            )
            self._attempts.notify("approved", proposed.job, request.attempt)
        return node_pb2.Approval(statement=approval, signature=self._member.sign(APPROVAL, approval))

    def _notify_refusal(self, request: node_pb2.Proposal, error: HejiError) -> None:
        """Of proposals, and of a person's no, which shows in a question whether it has decided. Not of other questions,
        nor that a person is asked, who has been told of it."""
        if error.code == "policy.rejected" or (not request.dry_run and error.code != "policy.pending"):
            with contextlib.suppress(HejiError):
                self._attempts.notify("refused", Job.from_bytes(request.job.job), request.attempt, error.code)

    def destroy_noise(self) -> None:
        """Destroy the seeds of noise that were kept long enough, of jobs that are over, and say so in the log."""
        now = self._member.clock()
        before = now - self._member.config.noise_days * 86400
        for job in self._inputs.noise.destroy_before(before, lambda job: self._store.over(job, now)):
            self._attempts.note("destroyed", (job, 0), what="seed of the noise")

    def _note_refusal(self, request: node_pb2.Proposal, error: HejiError) -> None:
        if len(request.job.job) <= MAX_JOB_BYTES:
            with contextlib.suppress(HejiError):
                self._attempts.note(
                    "refused", (bytes.fromhex(job_id(request.job.job)), request.attempt), code=error.code
                )

    def _check_size(self, proposed: Proposed) -> None:
        config = self._member.config
        verify_cells(self._member, proposed.plan)
        if self._member.name in proposed.plan.parties:
            verify_memory(self._member, expected_bytes(proposed.plan))
        if len(self._attempts.under_way) >= config.max_jobs:
            raise LocalError(
                "job.limits", f"{self._member.name} has {config.max_jobs} jobs under way.", "Try again later."
            )

    async def Run(self, request: node_pb2.RunRequest, context: Context) -> AsyncIterator[node_pb2.Progress]:
        try:
            coordinator = self._member.caller_as(context, "coordinator")
            key = (request.job, request.attempt)
            attempt = self._attempts.under_way.get(key)
            if attempt is None or attempt.run is not None or attempt.coordinator != coordinator:
                raise PeerError(
                    "peer.aborted", f"{self._member.name} has no such attempt waiting.", party=self._member.name
                )
            news: asyncio.Queue[node_pb2.Progress | None] = asyncio.Queue()
            attempt.run = asyncio.create_task(
                self._attempts.run(key, attempt, list(request.approvals), news.put_nowait)
            )
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

    async def Abort(self, request: node_pb2.AbortRequest, context: Context) -> node_pb2.AbortReply:
        try:
            coordinator = self._member.caller_as(context, "coordinator")
            key = (request.job, request.attempt)
            attempt = self._attempts.under_way.get(key)
            if attempt is not None and attempt.coordinator == coordinator:
                await self._attempts.end(key, attempt, decode(request.error))
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

    async def Questions(
        self, request: node_pb2.QuestionsRequest, context: Context
    ) -> AsyncIterator[node_pb2.EarlierQuestion]:
        try:
            caller, key = self._member.caller(context), (request.job, request.attempt)
            attempt = self._attempts.under_way.get(key)
            if attempt is None:
                raise PeerError(
                    "peer.aborted", f"{self._member.name} has no such attempt under way.", party=self._member.name
                )
            texts = given(self._store.questions, attempt.proposed, attempt.approval, caller, request.digests)
            self._attempts.note("gave", key, peer=caller, questions=len(request.digests))
            log.info("gave earlier questions", job=request.job.hex(), party=caller, count=len(request.digests))
            for text in texts:
                yield node_pb2.EarlierQuestion(body=text)
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
        await self._attempts.end_all(reason)

    async def stop(self) -> None:
        """End all attempts; their peers are told."""
        await self._attempts.stop()
