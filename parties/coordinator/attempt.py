"""One attempt of a job, as the coordinator drives it.

    propose to all ──▶ all approve ──▶ run at all, play_coordinator here ──▶ masked totals and proof of agreement
         │ any refusal                      │ any failure
         └──▶ abort at those that approved ◀┘

The coordinator sees job texts, approvals and masked words; it checks nothing that a node does not check again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio
import structlog

from mpc.coins import own_coins
from mpc.errors import HejiError, LocalError, PeerError
from mpc.protocols.agree import Agreement
from mpc.protocols.verified import Binding
from mpc.roles import Cast, Outcome, allowed_bytes, cast_of, play_coordinator, rounds_of
from mpc.rounds import Round, Session
from mpc.run import Sent
from parties.drive import drive
from parties.evidence.recorder import Recorder
from parties.failures import encode, from_rpc, is_transient, named
from parties.mail import Inbox, Outbox, PostOffice
from parties.member import Member
from parties.proposals import Proposed
from parties.rpc.v1 import node_pb2, node_pb2_grpc

log = structlog.get_logger("heji.coordinator")


#: a refusal that a person may still turn into an approval
PENDING = "policy.pending"
#: an owner's policy that cannot be read now; a job that has been put before persons waits until it can
MENDED = "policy.invalid"


@dataclass
class News:
    """How far an attempt is, for those who watch."""

    phase: str = ""
    done: int = 0
    total: int = 0
    bytes: int = 0


@dataclass
class Finished:
    """What an attempt leaves: masked totals for recipients without a node, and the proof they check."""

    cast: Cast
    outcome: Outcome
    approvals: dict[str, node_pb2.Approval] = field(default_factory=dict)
    received: int = 0


class AttemptRun:
    """One attempt; ``run`` returns what it leaves or raises why it ended."""

    def __init__(
        self,
        member: Member,
        post: PostOffice,
        proposed: Proposed,
        signed: node_pb2.SignedJob,
        catalogs: list[node_pb2.SignedCatalog],
        number: int,
        *,
        tell: Callable[[News], None],
        on_message: Callable[[Sent], None],
        seed: Callable[[], bytes],
        recorder: Recorder | None = None,
    ) -> None:
        self._member, self._post, self._proposed = member, post, proposed
        self._signed, self._catalogs, self.number = signed, catalogs, number
        self._tell, self._on_message, self._seed, self._recorder = tell, on_message, seed, recorder
        self._key = (bytes.fromhex(proposed.job.id), number)

    async def approve(self, *, dry_run: bool = False) -> dict[str, node_pb2.Approval]:
        """Ask all participants at once. Raises the first refusal (by name), after telling the others to forget it."""
        proposal = node_pb2.Proposal(job=self._signed, catalogs=self._catalogs, attempt=self.number, dry_run=dry_run)
        parties = self._proposed.participants
        answers = await asyncio.gather(*(self._ask(p, proposal) for p in parties))
        refusals = {p: a for p, a in zip(parties, answers, strict=True) if isinstance(a, HejiError)}
        if refusals:
            # what no waiting mends comes first
            first = refusals[min(refusals, key=lambda p: (is_transient(refusals[p]), refusals[p].code == PENDING, p))]
            await self.abort(first)
            raise first
        return {p: a for p, a in zip(parties, answers, strict=True) if isinstance(a, node_pb2.Approval)}

    async def verdicts(self) -> dict[str, HejiError | None]:
        """What every participant would say; nothing is kept (explain)."""
        proposal = node_pb2.Proposal(job=self._signed, catalogs=self._catalogs, attempt=self.number, dry_run=True)
        parties = self._proposed.participants
        answers = await asyncio.gather(*(self._ask(p, proposal) for p in parties))
        return {p: a if isinstance(a, HejiError) else None for p, a in zip(parties, answers, strict=True)}

    async def _ask(self, party: str, proposal: node_pb2.Proposal) -> node_pb2.Approval | HejiError:
        stub = node_pb2_grpc.NodeStub(self._member.channel(party))
        try:
            approval: node_pb2.Approval = await stub.Propose(proposal, timeout=self._member.config.proposal_seconds)
            return approval
        except grpc.aio.AioRpcError as error:
            return named(from_rpc(error, party, "asked to approve"), party)

    async def run(self, approvals: dict[str, node_pb2.Approval]) -> Finished:
        """Run the attempt at all participants and play the coordinator's own role."""
        statements = {p: a.statement for p, a in approvals.items()}
        cast = cast_of(
            self._proposed.raw,
            self.number,
            self._proposed.plan,
            coordinator=self._member.name,
            inside=self._proposed.inside,
            approvals=statements,
            helper=self._proposed.helper,
        )
        inbox = Inbox({p: allowed_bytes(cast, p, self._member.name) for p in self._proposed.participants})
        self._post.open(self._key, inbox)
        self._keep_documents(approvals)
        request = node_pb2.RunRequest(job=self._key[0], attempt=self.number, approvals=list(approvals.values()))
        followers = [asyncio.create_task(self._follow(p, request)) for p in self._proposed.participants]
        mine = asyncio.create_task(self._play(cast, inbox))
        try:
            # the first failure anywhere ends the attempt everywhere
            await asyncio.gather(mine, *followers)
            self._keep_documents(approvals, mine.result().agreement)
            return Finished(cast, mine.result(), approvals, inbox.received)
        except BaseException as problem:
            reason = await self._reason(problem, [mine, *followers])
            if self._recorder is not None:
                self._recorder.failed(self._key, reason)
            await self.abort(reason)
            raise reason if isinstance(problem, HejiError) else problem from None
        finally:
            for task in (mine, *followers):
                task.cancel()
            await asyncio.gather(mine, *followers, return_exceptions=True)
            self._post.shut(
                self._key, PeerError("peer.aborted", "The coordinator has ended this attempt.", party=self._member.name)
            )

    async def _reason(self, problem: BaseException, tasks: list[asyncio.Task[object]]) -> HejiError:
        """The most telling of the failures that came at once: somebody's own error before the echo of it elsewhere."""
        if not isinstance(problem, HejiError):
            return LocalError("job.cancelled", "The job was cancelled.")
        await asyncio.wait(tasks, timeout=0.2)
        told = [t.exception() for t in tasks if t.done() and not t.cancelled()]
        known = [e for e in told if isinstance(e, HejiError)]
        return min(known, key=lambda e: (e.code == "peer.aborted", is_transient(e)), default=problem)

    async def _follow(self, party: str, request: node_pb2.RunRequest) -> None:
        """Start the attempt at one member and stay with it until its role has ended."""
        stub = node_pb2_grpc.NodeStub(self._member.channel(party))
        try:
            async for _progress in stub.Run(request):
                pass
        except grpc.aio.AioRpcError as error:
            raise named(from_rpc(error, party, "running the job"), party) from None

    async def _play(self, cast: Cast, inbox: Inbox) -> Outcome:
        member = self._member
        outboxes = {
            p: Outbox(p, member.channel(p), self._key, member.config.reconnect_seconds, self._recorder)
            for p in self._proposed.participants
        }
        total = rounds_of(cast, member.name)

        def on_round(number: int, _step: Round) -> None:
            self._tell(News("keys" if number <= 2 else "adding", number, total, inbox.received))

        seed = self._seed()
        kept = None
        if self._recorder is not None:
            self._recorder.bind(self._key, seed)
            heard = sum(allowed_bytes(cast, p, member.name) for p in self._proposed.participants)
            kept = self._recorder.keep(self._key, seed, heard)

        def on_message(sent: Sent) -> None:
            if kept is not None and sent.receiver == member.name:
                kept.heard(sent)
            self._on_message(sent)

        try:
            session = Session(member.name, own_coins(seed, *self._key))
            role = play_coordinator(session, cast, member.sign, member.verify)
            return await drive(
                member.name,
                role,
                inbox,
                outboxes,
                patience=member.config.step_seconds,
                on_round=on_round,
                on_message=on_message,
            )
        finally:
            if kept is not None:
                kept.close()
            await asyncio.gather(*(o.close() for o in outboxes.values()))

    def _keep_documents(self, approvals: dict[str, node_pb2.Approval], agreement: Agreement | None = None) -> None:
        if self._recorder is not None:
            job, number = self._key[0].hex(), self._key[1]
            self._recorder.documents.keep(
                job, number, self._member.name, self._signed, self._catalogs, approvals, agreement
            )

    def finished(self, finished: Finished) -> None:
        """Put on record what was added up, and have the log cosigned."""
        if self._recorder is not None:
            sums = {n: hashlib.sha256(w.tobytes()).hexdigest() for n, w in finished.outcome.totals.items()}
            self._recorder.note("added", self._key, sums=sums)
            self._recorder.note("done", self._key)
            self._recorder.witness_soon(self._proposed.participants)

    async def abort(self, reason: HejiError) -> None:
        """Tell every participant that the attempt is over; who cannot be reached finds out by itself."""
        request = node_pb2.AbortRequest(job=self._key[0], attempt=self.number, error=encode(reason))

        async def tell(party: str) -> None:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await node_pb2_grpc.NodeStub(self._member.channel(party)).Abort(request, timeout=5)

        await asyncio.gather(*(tell(p) for p in self._proposed.participants))

    async def close(self) -> None:
        """Tell every participant that the result is complete: no further attempt of this job."""

        async def tell(party: str) -> None:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await node_pb2_grpc.NodeStub(self._member.channel(party)).Close(
                    node_pb2.CloseRequest(job=self._key[0]), timeout=5
                )

        await asyncio.gather(*(tell(p) for p in self._proposed.participants))


def proof_bytes(finished: Finished) -> bytes:
    """JSON of what an outside recipient needs to check and open the totals."""
    agreement = finished.outcome.agreement
    return json.dumps(
        {
            "attempt": finished.cast.context.attempt,
            "coordinator": finished.cast.coordinator,
            "approvals": {p: [a.statement.hex(), a.signature.hex()] for p, a in finished.approvals.items()},
            "announced": {p: [a.public_key.hex(), a.signature.hex()] for p, a in agreement.announced.items()},
            "agreed": {p: [a.digest.hex(), a.signature.hex()] for p, a in agreement.agreed.items()},
            "bindings": {name: _binding(b) for name, b in finished.outcome.bindings.items()},
        }
    ).encode()


def _binding(binding: Binding) -> dict[str, object]:
    """What a verified sum is checked with, as JSON."""
    return {
        "bound": {
            p: {
                "digest": b.word.digest.hex(),
                "signature": b.word.signature.hex(),
                "points": [x.hex() for x in b.points],
            }
            for p, b in binding.bound.items()
        },
        "scalars": [f"{x:064x}" for x in binding.scalars],
    }
