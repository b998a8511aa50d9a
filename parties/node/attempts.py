"""The attempts of jobs under way at a node: from the approval to the end, whatever that is.

    admit     remember (fsync) → open the inbox
    run       check all approvals → local queries → role (mpc.roles.play_party) through parties.drive → result
    end       close the inbox with a reason that came from outside

An attempt's coins live in memory only: after a crash the attempt is over and the next one has new keys (checklist 2).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from mpc.coins import own_coins
from mpc.errors import HejiError, LocalError, PeerError
from mpc.job import Job
from mpc.policy.flow import Limits, several_wanted
from mpc.protocols.agree import Agreement
from mpc.query.compile import question_of
from mpc.query.layout import Rows
from mpc.query.plain import plain_totals
from mpc.roles import Cast, Outcome, allowed_bytes, cast_of, play_helper, play_party, rounds_of
from mpc.rounds import Round, Rounds, Session
from mpc.run import Sent
from parties.cores import Cores
from parties.drive import drive
from parties.evidence.recorder import Recorder
from parties.mail import AttemptKey, Inbox, Outbox, PostOffice
from parties.member import Member
from parties.metrics import Metrics
from parties.node.comparing import Comparing
from parties.node.earlier import shown_columns
from parties.node.inputs import Input, Inputs
from parties.node.permission import Given, Permission, facts_of
from parties.node.questions import totalled_joins
from parties.node.store import Store
from parties.node.webhook import Event, Webhook
from parties.proposals import APPROVAL, Proposed
from parties.results import opened_result
from parties.rpc.v1 import node_pb2

log = structlog.get_logger("heji.node")


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


class Attempts:
    """Of one node. All state that matters is in ``store``."""

    def __init__(
        self,
        member: Member,
        store: Store,
        post: PostOffice,
        inputs: Inputs,
        permission: Permission,
        comparing: Comparing,
        *,
        seed: Callable[[], bytes],
        on_message: Callable[[Sent], None],
        metrics: Metrics,
        recorder: Recorder | None,
        webhook: Webhook | None,
    ) -> None:
        """See ``NodeService``."""
        self._recorder = recorder
        self._member = member
        self._store = store
        self._post = post
        self._inputs = inputs
        self._permission = permission
        self._comparing = comparing
        self._seed = seed
        self._on_message = on_message
        self._metrics = metrics
        self._webhook = webhook
        self.under_way: dict[AttemptKey, Attempt] = {}

    def admit(
        self, request: node_pb2.Proposal, coordinator: str, proposed: Proposed, given: Given, approval: bytes
    ) -> None:
        """Remember the attempt, on disk first, and open its inbox."""
        job = proposed.job
        key = (bytes.fromhex(job.id), request.attempt)
        if any(k[0] == key[0] for k in self.under_way):
            raise LocalError("job.replayed", "An attempt of this job is under way here.")
        self._store.approve(
            job.id,
            request.attempt,
            self._member.clock(),
            facts_of(proposed, given.policy.digest),
        )
        self._store.earlier.remember(job.id, shown_columns(proposed.plan, self._member.name))
        self._store.questions.remember(job.id, question_of(job), totalled_joins(proposed.plan))
        if given.limits.min_entities:  # else they stay in the organisation
            totals = plain_totals(proposed.plan, self._member.name, self._store.salt)
            self._store.questions.remember_plain(job.id, totals)
        attempt = Attempt(proposed, coordinator, given.limits, approval, request.job, tuple(request.catalogs))
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
        self.under_way[key] = attempt
        self._metrics.job("approved")
        log.info("approved", job=job.id, attempt=request.attempt, submitter=job.submitter)

    async def supersede(self, job: str, number: int, coordinator: str) -> None:
        """A coordinator that was started again proposes the next attempt before we have noticed that the last one lost
        it: that one ends here and now."""
        for key, attempt in list(self.under_way.items()):
            if key[0] != bytes.fromhex(job) or key[1] >= number or attempt.coordinator != coordinator:
                continue
            reason = PeerError("peer.aborted", f"{coordinator} has begun another attempt.", party=coordinator)
            await self.end(key, attempt, reason)

    async def end(self, key: AttemptKey, attempt: Attempt, reason: HejiError) -> None:
        """End an attempt for a reason that came from outside; the store knows it when this returns."""
        self._post.shut(key, reason)
        if attempt.run is None:  # approved, never run
            self.under_way.pop(key, None)
            self._store.transition(attempt.proposed.job.id, "aborted", self._member.clock(), error=reason.code)
            self._metrics.job("aborted")
            self.notify("aborted", attempt.proposed.job, key[1], reason.code)
        else:
            attempt.run.cancel()
            await asyncio.wait([attempt.run])

    async def end_all(self, reason: HejiError) -> None:
        """This member ends every attempt under way, and says why."""
        for key, attempt in list(self.under_way.items()):
            attempt.ended = reason
            await self.end(key, attempt, reason)

    async def stop(self) -> None:
        """End all attempts; their peers are told."""
        running = [a.run for a in self.under_way.values() if a.run is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def run(
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
            self.note("done", key)
            self.notify("done", job, key[1])
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
            self.notify("aborted", job, key[1], code)
            if error is None and not isinstance(problem, asyncio.CancelledError):
                raise LocalError("internal", f"A defect at {self._member.name}; its log has the trace.") from problem
            if attempt.ended is not None:
                raise attempt.ended from None
            raise
        finally:
            self.under_way.pop(key, None)
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
            compared=await self._comparing.joins(key, proposed, statements),
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
        self._comparing.verify_named(proposed, attempt.approval, self._inputs.let_out_before(job.id, given.snapshot))
        self._same_data(job.id, given.snapshot)
        for spent in self._permission.commit(self._store, proposed, given.snapshot.hex(), given.noise):
            self.note("spent", key, **spent.told())
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
            self.note("revealed", key, result=shown, verified=proposed.plan.verified)
        tell(node_pb2.Progress(phase="done", done=total, total=total))

    def _role(self, session: Session, cast: Cast, given: Input, cores: Cores) -> Rounds[Outcome]:
        sign, verify = self._member.sign, self._member.verify
        if session.me == cast.helper:
            return play_helper(session, cast, sign, verify)
        return play_party(session, cast, given.vectors, sign, verify, given.rows, given.values, cores, given.hiding)

    def _allowed(self, cast: Cast) -> dict[str, int]:
        """The most that every other member may say here."""
        me = self._member.name
        return {p: allowed_bytes(cast, p, me) for p in cast.context.participants if p != me}

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

    def _spend(self, key: AttemptKey, attempt: Attempt, given: Input) -> None:
        """What was reserved of budgets is spent, on disk and in the log, whatever becomes of the attempt."""
        self._store.budgets.spend(key[0].hex(), given.snapshot.hex())
        for told in json.loads(attempt.approval).get("budgets", ()):
            self.note("budget", key, **told, noise=given.noise)

    def _same_data(self, job: str, snapshot: bytes) -> None:
        """Two attempts over different data could give their difference away, if the first reached its recipient."""
        known = self._store.job(job)
        if known is not None and known.input not in (None, snapshot):
            raise LocalError(
                "data.changed",
                f"{self._member.name}'s data changed since an attempt of this job that may have been released.",
                "Submit the query again: that makes a new job.",
            )

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

    def notify(self, event: Event, job: Job, attempt: int = 0, code: str = "") -> None:
        if self._webhook is not None:
            self._webhook.job(event, job, attempt, code)

    def note(self, event: str, key: AttemptKey, **facts: Any) -> None:
        if self._recorder is not None:
            self._recorder.note(event, key, **facts)
