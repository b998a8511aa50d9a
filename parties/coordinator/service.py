"""The coordinator: takes jobs, schedules attempts, keeps masked totals for recipients, tells who watches.

A job is persisted before its submission is answered. An attempt that fails because a member was away is tried again
with new keys, up to ``attempts`` times while the job has not expired; a refusal or a deviation ends the job at once.
After a restart unfinished jobs go on with a new attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
import structlog

from mpc.errors import HejiError, LocalError
from mpc.job import Job, job_id
from mpc.run import Sent
from parties.coordinator.attempt import MENDED, PENDING, AttemptRun, Finished, News, proof_bytes
from parties.coordinator.catalogs import Catalogs
from parties.coordinator.deposits import Deposits
from parties.coordinator.store import FINAL, JobRow, Store
from parties.evidence.recorder import Recorder
from parties.failures import abort, decode, encode, is_transient
from parties.mail import FRAME_BYTES, PostOffice
from parties.member import Member
from parties.metrics import Metrics
from parties.proposals import Proposed, propose, read_catalogs, read_job
from parties.rpc.v1 import coordinator_pb2 as pb
from parties.rpc.v1 import coordinator_pb2_grpc, node_pb2

log = structlog.get_logger("heji.coordinator")

Context = grpc.aio.ServicerContext[Any, Any]

#: attempts of one job, pauses between them (seconds), and how many bytes of masked bodies are kept of each job
ATTEMPTS, PAUSE, SEEN_BYTES = 5, 0.5, 4 << 20
#: seconds between questions whether owners that decide by hand have decided
WAIT = 5.0
#: jobs that an owner asks about at once
MOST_ASKED = 1000


class CoordinatorService(coordinator_pb2_grpc.CoordinatorServicer):
    """See coordinator.proto."""

    def __init__(
        self,
        member: Member,
        store: Store,
        post: PostOffice,
        catalogs: Catalogs,
        deposits: Deposits,
        *,
        seed: Callable[[], bytes] = lambda: os.urandom(32),
        metrics: Metrics | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        """``seed`` gives each attempt its 32 secret bytes; tests replay with known ones. ``recorder``: None only in
        benchmarks."""
        self._recorder = recorder
        self._member, self._store, self._post, self._seed = member, store, post, seed
        self._catalogs, self._deposits = catalogs, deposits
        self._metrics = metrics or Metrics()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news: dict[str, News] = {}
        self._changed = asyncio.Condition()
        self._told = 0
        self._slots = asyncio.Semaphore(member.config.max_jobs)

    def resume(self) -> None:
        """After a start: go on with the jobs that were not finished, each with a new attempt."""
        for row in self._store.unfinished():
            log.info("resumed", job=row.id, state=row.state)
            self._start(row.id)

    # -- what modelers ask

    async def Catalogs(self, request: pb.CatalogsRequest, context: Context) -> pb.CatalogsReply:
        try:
            self._member.caller(context)
            found, missing = await self._catalogs.now(self._member.roster.members_with("party"))
            return pb.CatalogsReply(catalogs=list(found.values()), missing={p: e.message for p, e in missing.items()})
        except HejiError as error:
            await abort(context, error)

    async def Preview(self, request: pb.PreviewRequest, context: Context) -> pb.PreviewReply:
        try:
            caller = self._member.caller(context)
            job = Job.from_bytes(request.job)
            if job.submitter != caller:
                raise LocalError("job.invalid", f"{caller} may not ask in the name of {job.submitter}.")
            signed = node_pb2.SignedJob(job=request.job)
            run, _ = await self._attempt(signed, 1, None)
            verdicts = await run.verdicts()
            return pb.PreviewReply(verdicts={p: encode(e) if e else b"{}" for p, e in verdicts.items()})
        except HejiError as error:
            await abort(context, error)

    async def Submit(self, request: node_pb2.SignedJob, context: Context) -> pb.JobStatus:
        try:
            caller = self._member.caller(context)
            job = read_job(self._member, request.job, request.signature)
            if job.submitter != caller:
                raise LocalError("job.invalid", f"{caller} may not submit a job of {job.submitter}.")
            fresh = self._store.add(
                job.id, request.job, request.signature, job.submitter, job.recipients, self._member.clock(), job.expires
            )
            if fresh:
                self._metrics.job("submitted")
                log.info("submitted", job=job.id, submitter=job.submitter)
                if self._recorder is not None:
                    self._recorder.note("submitted", (bytes.fromhex(job.id), 0), submitter=job.submitter)
                self._start(job.id)
            return self._status(self._row(job.id, caller))
        except HejiError as error:
            await abort(context, error)

    async def Show(self, request: pb.JobRef, context: Context) -> pb.JobStatus:
        try:
            return self._status(self._row(request.job, self._member.caller(context)))
        except HejiError as error:
            await abort(context, error)

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListReply:
        try:
            return pb.ListReply(jobs=[self._status(r) for r in self._store.visible_to(self._member.caller(context))])
        except HejiError as error:
            await abort(context, error)

    async def Watch(self, request: pb.JobRef, context: Context) -> AsyncIterator[pb.JobStatus]:
        try:
            caller = self._member.caller(context)
            last: bytes | None = None
            while True:
                seen = self._told  # before looking: what is told while the status is on its way is not missed
                status = self._status(self._row(request.job, caller))
                if (now := status.SerializeToString()) != last:
                    last = now
                    yield status
                if status.state in FINAL:
                    return
                await self._news_since(seen)
        except HejiError as error:
            await abort(context, error)

    async def Cancel(self, request: pb.JobRef, context: Context) -> pb.JobStatus:
        try:
            caller = self._member.caller(context)
            row = self._row(request.job, caller)
            if row.submitter != caller:
                raise LocalError("job.state", f"Only {row.submitter} can cancel this job.")
            if row.state in FINAL:
                raise LocalError("job.state", f"The job is {row.state}; there is nothing to cancel.")
            self._store.transition(
                row.id,
                "cancelled",
                self._member.clock(),
                error=encode(LocalError("job.cancelled", f"{caller} cancelled the job.")),
            )
            self._metrics.job("cancelled")
            self._deposits.cancelled(row)
            if (task := self._tasks.get(row.id)) is not None:
                task.cancel()
            await self._tell(row.id)
            return self._status(self._row(row.id, caller))
        except HejiError as error:
            await abort(context, error)

    async def Fetch(self, request: pb.JobRef, context: Context) -> AsyncIterator[pb.Sealed]:
        try:
            caller = self._member.caller(context)
            row = self._row(request.job, caller)
            if caller not in row.recipients:
                raise LocalError("job.not_recipient", f"{caller} is no recipient of this job.")
            if row.state != "done":
                ended = row.state in ("failed", "cancelled")
                raise LocalError(
                    "job.state",
                    f"The job {'has ' if row.state == 'failed' else 'was '}{row.state}: there is no result."
                    if ended
                    else f"The job is {row.state}; there is no result yet.",
                    "See why with `heji jobs show`; submit it again if it is still wanted."
                    if ended
                    else "Wait for it with `heji jobs wait`.",
                )
            yield pb.Sealed(proof=self._store.proof(row.id))
            for name, body in self._store.totals(row.id):
                if not name.endswith(f"/{caller}"):
                    continue
                for offset in range(0, len(body), FRAME_BYTES):
                    yield pb.Sealed(total=pb.Total(sum=name, offset=offset, data=body[offset : offset + FRAME_BYTES]))
        except HejiError as error:
            await abort(context, error)

    async def Over(self, request: pb.OverRequest, context: Context) -> pb.OverReply:
        try:
            caller = self._member.caller(context)
            rows = [r for job in request.jobs[:MOST_ASKED] if (r := self._store.get(job)) is not None]
            ended = [r for r in rows if r.state in FINAL and caller in Job.from_bytes(r.raw).catalogs]
            return pb.OverReply(over={r.id: _why(r) for r in ended})
        except HejiError as error:
            await abort(context, error)

    # -- what happens to a job

    def _start(self, job: str) -> None:
        task = asyncio.create_task(self._work(job))
        self._tasks[job] = task
        task.add_done_callback(lambda _task: self._tasks.pop(job, None))

    async def _work(self, job: str) -> None:
        """A job from submission to its final state. While a person decides about it, or deposits are taken, it holds no
        slot."""
        try:
            if (row := self._store.get(job)) is not None and Job.from_bytes(row.raw).deposit is not None:
                await self._deposits.run(row, partial(self._tell, job))
                self._metrics.job("done")
            while (row := self._store.get(job)) is not None and row.state not in FINAL:
                try:
                    async with self._slots:
                        await self._attempts(row)
                except HejiError as error:
                    if error.code != PENDING:
                        raise
                    await self._decided(row, error)
        except asyncio.CancelledError:
            raise
        except HejiError as error:
            log.warning("failed", job=job, code=error.code, party=getattr(error, "party", ""))
            await self._fail(job, error)
        except Exception:
            log.exception("defect", job=job)
            await self._fail(job, LocalError("internal", "A defect at the coordinator; its log has the trace."))
        await self._tell(job)

    async def _decided(self, row: JobRow, pending: HejiError) -> None:
        """Wait until no owner has a decision left to make by hand, a policy to mend that cannot be read (somebody may
        be writing it), or a node that is away. Raises job.expired, and what they refuse by."""
        signed = node_pb2.SignedJob(job=row.raw, signature=row.signature)
        waiting, pause = [pending.message], 0.0  # of one owner; at once the others are asked whether they wait too
        while waiting:
            self._store.transition(row.id, "waiting", self._member.clock())
            log.info("waiting", job=row.id)
            await self._tell(row.id, News(" ".join(waiting)))
            await asyncio.sleep(pause)
            pause = WAIT
            if self._member.clock() >= row.expires:
                raise LocalError("job.expired", f"The job expired while it waited: {' '.join(waiting)}")
            against = await self._against(signed, row.attempt + 1)
            for refused in (e for e in against if e.code not in (PENDING, MENDED) and not is_transient(e)):
                raise refused
            waiting = [e.message for e in against]

    async def _against(self, signed: node_pb2.SignedJob, number: int) -> list[HejiError]:
        """What participants have against an attempt now, or that they are away."""
        try:
            run, _ = await self._attempt(signed, number, None)
        except HejiError as away:
            if not is_transient(away):
                raise
            return [away]
        return [e for e in (await run.verdicts()).values() if e is not None]

    async def _fail(self, job: str, error: HejiError) -> None:
        with contextlib.suppress(HejiError):
            self._store.transition(job, "failed", self._member.clock(), error=encode(error))
            self._deposits.ended(job)
            self._metrics.job("failed")
            self._metrics.refused(error.code)

    async def _attempts(self, row: JobRow) -> None:
        signed = node_pb2.SignedJob(job=row.raw, signature=row.signature)
        for number in range(row.attempt + 1, row.attempt + 1 + ATTEMPTS):
            try:
                self._store.transition(row.id, "approving", self._member.clock(), attempt=number)
                await self._tell(row.id, News("approving"))
                run, seen = await self._attempt(signed, number, row.id)
                try:
                    finished = await self._one(run, row.id)
                finally:
                    self._store.saw(row.id, number, seen)  # of failed attempts too
                self._finish(row, run, finished)
                await self._tell(row.id)
                await run.close()
                return
            except HejiError as error:
                last = number == row.attempt + ATTEMPTS
                if last or not is_transient(error) or self._member.clock() >= row.expires:
                    raise
                log.info("tried again", job=row.id, attempt=number, code=error.code)
                await asyncio.sleep(PAUSE * 2 ** (number - row.attempt - 1))

    async def _one(self, run: AttemptRun, job: str) -> Finished:
        try:
            approvals = await run.approve()
        except asyncio.CancelledError:
            await run.abort(LocalError("job.cancelled", "The job was cancelled."))
            raise
        self._store.transition(job, "running", self._member.clock())
        seconds = self._member.config.job_seconds
        try:
            with self._metrics.attempt():
                async with asyncio.timeout(seconds):
                    return await run.run(approvals)
        except TimeoutError:
            raise LocalError(
                "job.limits",
                f"The job took longer than the coordinator allows ({seconds:.0f} s).",
                "Ask for less, or ask the coordinator's operator for a longer `job_seconds`.",
            ) from None

    def _finish(self, row: JobRow, run: AttemptRun, finished: Finished) -> None:
        run.finished(finished)
        totals = {name: words.tobytes() for name, words in finished.outcome.totals.items()}
        self._store.finish(row.id, self._member.clock(), proof_bytes(finished), totals, finished.received)
        self._metrics.job("done")
        log.info("done", job=row.id, attempt=run.number, bytes=finished.received)

    async def _attempt(
        self, signed: node_pb2.SignedJob, number: int, job: str | None
    ) -> tuple[AttemptRun, list[tuple[str, str, bytes]]]:
        """Compile the job here too, on the owners' catalogs, and make an attempt of it."""
        read = read_job(self._member, signed.job, signed.signature if job else None)
        asked = self._catalogs.now if read.deposit is None else self._catalogs.last
        found, missing = await asked(sorted(read.catalogs))
        for error in missing.values():
            raise error
        catalogs = read_catalogs(self._member, found.values())
        proposed: Proposed = await asyncio.to_thread(
            propose, self._member, signed.job, signed.signature if job else None, catalogs
        )
        seen: list[tuple[str, str, bytes]] = []
        kept = 0

        def on_message(sent: Sent) -> None:
            nonlocal kept
            self._metrics.message(sent, self._member.name)
            if sent.receiver == self._member.name and kept + len(sent.raw) <= SEEN_BYTES:
                kept += len(sent.raw)
                seen.append((sent.sender, sent.step, bytes(sent.raw)))

        def tell(news: News) -> None:
            if job is not None:
                self._news[job] = news
                asyncio.get_running_loop().create_task(self._tell(job, news))

        run = AttemptRun(
            self._member,
            self._post,
            proposed,
            signed,
            list(found.values()),
            number,
            tell=tell,
            on_message=on_message,
            seed=self._seed,
            recorder=self._recorder,
        )
        return run, seen

    # -- telling

    async def _news_since(self, seen: int, seconds: float = 5) -> None:
        """Until something is told after ``seen``, but no longer than ``seconds``."""
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._changed.wait_for(lambda: self._told != seen)

    async def _tell(self, job: str, news: News | None = None) -> None:
        if news is not None:
            self._news[job] = news
        async with self._changed:
            self._told += 1
            self._changed.notify_all()

    def _row(self, job: str, caller: str) -> JobRow:
        """A job, if the caller submitted or receives it; whoever else asks learns not even that it exists."""
        row = self._store.get(job)
        if row is None or (caller != row.submitter and caller not in row.recipients):
            raise LocalError("job.unknown", "The coordinator knows no such job.", "List yours with `heji jobs list`.")
        return row

    def _status(self, row: JobRow) -> pb.JobStatus:
        news = self._news.get(row.id, News())
        job = Job.from_bytes(row.raw)
        assert job_id(row.raw) == row.id
        return pb.JobStatus(
            job=row.id,
            state=row.state,
            submitter=row.submitter,
            recipients=row.recipients,
            attempt=row.attempt,
            created=row.created,
            updated=row.updated,
            expires=row.expires,
            error=row.error,
            phase=news.phase,
            done=news.done,
            total=news.total,
            bytes=row.bytes or news.bytes,
            sql=job.shown,
            purpose=job.purpose,
        )

    async def stop(self) -> None:
        """End all attempts; unfinished jobs go on after the next start."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def _why(row: JobRow) -> bytes:
    """Of why a job ended what its owners are told: no reason, which is for whoever asked."""
    if not row.error:
        return b"{}"
    error = decode(row.error)
    return json.dumps({"code": error.code, "party": str(error.facts.get("party", ""))}).encode()
