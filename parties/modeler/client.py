"""The modeler's side: plan, sign, submit, wait, open. Everything here runs on the modeler's own machine.

    with connect("consortium", as_="analyst") as heji:
        print(heji.explain("SELECT ..."))
        result = heji.query("SELECT ...", to="analyst", purpose="SME credit line review")
        result.table, result.to_pandas(), result.statement

The key that opens a result is made here and stays here (``jobs/ID.json`` in the member's folder, mode 0600), so a
result can be fetched later, by the same member, from the same folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import threading
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import grpc
import grpc.aio
import numpy as np

from mpc.crypto.agree import public_key
from mpc.errors import HejiError, LocalError, PeerError
from mpc.explain import explain
from mpc.job import Job
from mpc.messages import Agreed, Announce
from mpc.protocols.agree import Agreement
from mpc.protocols.verified import Binding, Bound
from mpc.query.catalog import Catalog
from mpc.query.compile import PLANNER, compile_plan, parties_of
from mpc.query.plan import Plan
from mpc.roles import Outcome, Totals, cast_of, open_outside
from parties import files
from parties.depositing import ATTEMPT
from parties.evidence.log import Log
from parties.failures import decode, from_rpc
from parties.job_ids import DIGITS, whole_id
from parties.member import Member
from parties.modeler.deposits import Collecting, closing, collect, prepare, terms_for
from parties.proposals import APPROVAL, JOB, Proposed, compiled, propose, read_catalogs
from parties.results import Result, opened_result
from parties.rpc.v1 import coordinator_pb2 as pb
from parties.rpc.v1 import coordinator_pb2_grpc, node_pb2, node_pb2_grpc

T = TypeVar("T")

#: how long a job is valid, seconds
JOB_SECONDS = 3600
NONE: Mapping[str, str] = MappingProxyType({})
FINAL = frozenset({"done", "failed", "cancelled"})
#: hears of every change of a job's status
Watcher = Callable[[pb.JobStatus], None]


@dataclass(frozen=True)
class Submitted:
    """A job on its way."""

    id: str
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """What a modeler asks for besides the SQL; named as in ``Job``."""

    purpose: str = ""
    trust: str = "helper"
    allow_two_party: bool = False
    verified: bool = False
    epsilon: str = ""
    entity_rows: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.entity_rows != 1 and not self.epsilon:
            raise LocalError(
                "plan.noise",
                "--entity-rows is for numbers with noise: exact ones leave no row out.",
                "Add --epsilon, or leave it out.",
            )

    @property
    def planned(self) -> dict[str, Any]:
        """What the plan depends on."""
        return {k: getattr(self, k) for k in ("trust", "verified", "parameters", "epsilon", "entity_rows")}


class Client:
    """A member's connection to its coordinator. Blocking methods; one background thread runs the event loop."""

    def __init__(self, folder: Path) -> None:
        """``folder``: the member's own folder (keys, roster). Raises LocalError config.*, roster.*."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="heji-client", daemon=True)
        self._thread.start()
        try:
            self.member = self._wait(_opened(folder))
            coordinators = self.member.roster.members_with("coordinator")
            if not coordinators:
                raise LocalError("roster.invalid", "The roster has no coordinator.")
        except BaseException:
            self._stop_loop()
            raise
        self._coordinator = coordinators[0]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        if self._thread.is_alive():
            self._wait(self.member.close())
            self._stop_loop()

    @property
    def name(self) -> str:
        return self.member.name

    # -- before a job

    def catalog(self) -> dict[str, Catalog]:
        """What every party publishes, by party. Parties that cannot be reached are left out (see ``missing``)."""
        return self._wait(self._catalogs())[0]

    def missing(self) -> dict[str, str]:
        """Parties whose catalog is not to be had now, and why."""
        return self._wait(self._catalogs())[1]

    def explain(
        self,
        sql: str,
        to: str | tuple[str, ...] | None = None,
        *,
        purpose: str = "",
        trust: str = "helper",
        allow_two_party: bool = False,
        verified: bool = False,
        epsilon: str = "",
        entity_rows: int = 1,
        parameters: Mapping[str, str] = NONE,
        deposits: Collecting | None = None,
    ) -> dict[str, Any]:
        """What would happen, and what every owner would say, before anything runs (JSON-able)."""
        asked = Asked(purpose, trust, allow_two_party, verified, epsilon, entity_rows, parameters)
        return self._wait(self._explain(sql, to, asked, deposits))

    def plan(
        self,
        sql: str,
        recipients: tuple[str, ...],
        trust: str = "helper",
        parameters: Mapping[str, str] = NONE,
        *,
        epsilon: str = "",
        entity_rows: int = 1,
    ) -> Plan:
        """The plan of anybody's query, on the catalogs as they are now. Nobody is asked, nothing runs."""
        asked = Asked(trust=trust, epsilon=epsilon, entity_rows=entity_rows, parameters=parameters)
        return self._wait(self._planned(sql, recipients, asked))

    # -- jobs

    def query(
        self,
        sql: str,
        to: str | tuple[str, ...] | None = None,
        *,
        purpose: str = "",
        trust: str = "helper",
        allow_two_party: bool = False,
        verified: bool = False,
        epsilon: str = "",
        entity_rows: int = 1,
        parameters: Mapping[str, str] = NONE,
        watch: Watcher = lambda _status: None,
    ) -> Result:
        """Submit, wait and fetch. ``to``: recipient(s), else this member. ``parameters``: values of the ``$name`` in
        ``sql``. The others: as ``submit``. Raises HejiError on refusal or failure."""
        job = self.submit(
            sql,
            to,
            purpose=purpose,
            trust=trust,
            allow_two_party=allow_two_party,
            verified=verified,
            epsilon=epsilon,
            entity_rows=entity_rows,
            parameters=parameters,
        )
        if self.name not in job.recipients:
            raise LocalError(
                "job.not_recipient",
                f"{self.name} is no recipient; the result goes to {', '.join(job.recipients)}. The job id is {job.id}.",
            )
        try:
            self.wait(job.id, watch)
        except KeyboardInterrupt:
            with contextlib.suppress(HejiError):
                self.cancel(job.id)
            raise
        return self.result(job.id)

    def submit(
        self,
        sql: str,
        to: str | tuple[str, ...] | None = None,
        *,
        purpose: str = "",
        trust: str = "helper",
        allow_two_party: bool = False,
        verified: bool = False,
        epsilon: str = "",
        entity_rows: int = 1,
        parameters: Mapping[str, str] = NONE,
        days: int = 0,
        deposits: Collecting | None = None,
    ) -> Submitted:
        """Plan, sign and hand in a job; returns at once. ``days``: how long it may wait for owners that decide by hand
        (else an hour). ``verified``: totals that the recipient verifies. ``epsilon``: numbers with noise, of this
        privacy loss, as decimal text; of one entity at most ``entity_rows`` rows count then. ``deposits``: the parties
        deposit, each when it likes, until a closing date."""
        asked = Asked(purpose, trust, allow_two_party, verified, epsilon, entity_rows, parameters)
        handed_in: list[str] = []
        try:
            return self._wait(self._submit(sql, to, asked, days, deposits, handed_in.append))
        except KeyboardInterrupt:
            for job in handed_in:  # it may be there already, though nobody has said so yet
                with contextlib.suppress(HejiError):
                    self.cancel(job)
            raise

    def wait(self, job: str, watch: Watcher = lambda _status: None) -> pb.JobStatus:
        """Wait until a job is final; raises why it failed."""
        status = self._wait(self._watch(job, watch))
        if status.state != "done":
            raise decode(status.error) if status.error else LocalError("job.state", f"The job is {status.state}.")
        return status

    def show(self, job: str) -> pb.JobStatus:
        status: pb.JobStatus = self._wait(self._call("Show", pb.JobRef(job=job)))
        return status

    def jobs(self) -> list[pb.JobStatus]:
        """Jobs this member submitted or receives, newest first."""
        return list(self._wait(self._call("List", pb.ListRequest())).jobs)

    def job_id(self, begins: str) -> str:
        """The whole id of the one of this member's jobs that ``begins`` so. Raises LocalError job.unknown."""
        begins = begins.strip().lower()
        if len(begins) == DIGITS:
            return begins
        return whole_id(
            begins,
            lambda: (j.job for j in self.jobs()),
            whose=f"jobs of {self.name}",
            advice="List yours with `heji jobs list`.",
        )

    def cancel(self, job: str) -> pb.JobStatus:
        status: pb.JobStatus = self._wait(self._call("Cancel", pb.JobRef(job=job)))
        return status

    def result(self, job: str) -> Result:
        """The result of a finished job this member receives."""
        return self._wait(self._result(job))

    # -- how

    async def _catalogs(self) -> tuple[dict[str, Catalog], dict[str, str]]:
        reply, catalogs = await self._signed_catalogs()
        return catalogs, dict(reply.missing)

    async def _signed_catalogs(self) -> tuple[pb.CatalogsReply, dict[str, Catalog]]:
        reply: pb.CatalogsReply = await self._call("Catalogs", pb.CatalogsRequest())
        return reply, read_catalogs(self.member, reply.catalogs)

    async def _job(
        self,
        sql: str,
        to: str | tuple[str, ...] | None,
        asked: Asked,
        days: int = 0,
        deposits: Collecting | None = None,
    ) -> tuple[Proposed, bytes, list[node_pb2.SignedCatalog]]:
        """An unsigned job with its plan, and the private key for its result (empty if this member has a node)."""
        recipients = (to,) if isinstance(to, str) else tuple(to or (self.name,))
        prepared = None
        if deposits is None:
            reply, catalogs = await self._signed_catalogs()
            signed, missing = list(reply.catalogs), dict(reply.missing)
        else:
            asked, prepared = replace(asked, trust="deposit"), await prepare(self.member, recipients, deposits.method)
            signed, missing = list(prepared.catalogs), dict(prepared.missing)
            catalogs = read_catalogs(self.member, signed)
        self._explain_missing(sql, missing)
        plan = compile_plan(sql, catalogs, recipients=recipients, **asked.planned)
        private, keys = b"", {}
        if deposits is None and self.name in recipients and not self.member.has_node(self.name):
            private = os.urandom(32)
            keys[self.name] = public_key(private).hex()
        here = self.member.clock()
        job = Job(
            sql=sql,
            submitter=self.name,
            recipients=recipients,
            roster=self.member.roster.digest(),
            catalogs={p: catalogs[p].digest() for p in plan.parties},
            nonce=secrets.token_hex(16),
            created=here,
            expires=closing(deposits, here) if deposits else here + (days * 86400 or JOB_SECONDS),
            **{**vars(asked), "parameters": dict(asked.parameters)},
            recipient_keys=keys,
            planner=PLANNER,
            deposit=await terms_for(self.member, plan, recipients, prepared, deposits)
            if deposits and prepared
            else None,
        )
        proposed = await asyncio.to_thread(propose, self.member, job.to_bytes(), None, catalogs)
        return proposed, private, [c for c in signed if c.party in plan.parties]

    def _explain_missing(self, sql: str, missing: Mapping[str, str]) -> None:
        """A table of a party that is away must not read like a misspelt name."""
        for party in sorted(parties_of(sql) & set(missing)):
            raise PeerError(
                "peer.unavailable",
                f"{party} cannot be asked for its catalog now: {missing[party]}",
                f"Ask the operator of {party} whether its node runs; then try again.",
                party=party,
            )

    async def _planned(self, sql: str, recipients: tuple[str, ...], asked: Asked) -> Plan:
        reply, catalogs = await self._signed_catalogs()
        self._explain_missing(sql, dict(reply.missing))
        return await asyncio.to_thread(compile_plan, sql, catalogs, recipients=recipients, **asked.planned)

    async def _explain(
        self, sql: str, to: str | tuple[str, ...] | None, asked: Asked, deposits: Collecting | None
    ) -> dict[str, Any]:
        proposed, _private, _catalogs = await self._job(sql, to, asked, 0, deposits)
        reply: pb.PreviewReply = await self._call("Preview", pb.PreviewRequest(job=proposed.raw))
        told = explain(proposed.plan, proposed.job.recipients, deposits.method if deposits else "paillier")
        told["verdicts"] = {
            p: None if raw == b"{}" else decode(raw).to_dict() for p, raw in sorted(reply.verdicts.items())
        }
        return told

    async def _submit(
        self,
        sql: str,
        to: str | tuple[str, ...] | None,
        asked: Asked,
        days: int,
        deposits: Collecting | None,
        handing_in: Callable[[str], None],
    ) -> Submitted:
        proposed, private, catalogs = await self._job(sql, to, asked, days, deposits)
        job = proposed.job
        self._keep(
            job.id,
            {
                "job": proposed.raw.hex(),
                "private": private.hex(),
                "catalogs": [[c.party, c.catalog.hex(), c.signature.hex()] for c in catalogs],
            },
        )
        signed = node_pb2.SignedJob(job=proposed.raw, signature=self.member.sign(JOB, proposed.raw))
        handing_in(job.id)
        await self._call("Submit", signed)
        return Submitted(job.id, job.recipients)

    async def _watch(self, job: str, watch: Watcher) -> pb.JobStatus:
        stub = coordinator_pb2_grpc.CoordinatorStub(self.member.channel(self._coordinator))
        lost = 0
        while True:
            try:
                async for status in stub.Watch(pb.JobRef(job=job)):
                    lost = 0
                    watch(status)
                    if status.state in FINAL:
                        final: pb.JobStatus = status
                        return final
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error, self._coordinator, "waiting for the job")
                lost += 1
                if failure.code != "peer.unavailable" or lost > 20:
                    raise failure from None
                await asyncio.sleep(0.5)  # the coordinator restarts; the job goes on when it is back

    async def _result(self, job: str) -> Result:
        if self.member.has_node(self.name):
            return await self._result_of_node(job)
        kept = self._kept(job)
        opened = self.member.folder / "jobs" / f"{job}.arrow"
        if opened.exists():
            return Result.from_bytes(opened.read_bytes())
        raw = bytes.fromhex(kept["job"])
        signed = [
            node_pb2.SignedCatalog(party=p, catalog=bytes.fromhex(c), signature=bytes.fromhex(s))
            for p, c, s in kept["catalogs"]
        ]
        catalogs = read_catalogs(self.member, signed)
        proposed = compiled(self.member, raw, Job.from_bytes(raw), catalogs)
        if proposed.job.deposit is not None:
            result = await collect(self.member, proposed)
            self._acknowledge(job, ATTEMPT, result)
            return result
        plan, inside = proposed.plan, proposed.inside
        proof, bodies = await self._fetch(job)
        approvals = self._approvals(proof, proposed)
        cast = cast_of(
            raw,
            int(proof["attempt"]),
            plan,
            coordinator=str(proof["coordinator"]),
            inside=inside,
            approvals=approvals,
            helper=proposed.helper,
        )
        totals: Totals = {}
        for s in cast.heard_by(self.name):
            words = np.frombuffer(bodies.get(s.name, b""), dtype="<u8").astype(np.uint64)
            if len(words) != s.length * s.bits // 64:
                raise PeerError(
                    "protocol.size", "The coordinator handed out a total of the wrong length.", party=self._coordinator
                )
            totals[s.name] = words if s.bits == 64 else words.reshape(-1, 2)
        private = bytes.fromhex(kept["private"])
        agreement = Agreement(
            {p: Announce(*map(bytes.fromhex, a)) for p, a in proof["announced"].items()},
            {p: Agreed(*map(bytes.fromhex, a)) for p, a in proof["agreed"].items()},
        )
        outcome = Outcome(agreement, totals, _bindings(proof, self._coordinator))
        totals = open_outside(self.name, private, public_key(private), cast, outcome, self.member.verify)
        result = opened_result(proposed, totals, self.name, approvals, bindings=outcome.bindings)
        self._acknowledge(job, int(proof["attempt"]), result)
        return result

    def _acknowledge(self, job: str, attempt: int, result: Result) -> None:
        """Keep the result and put on record that it was opened: what an auditor compares with."""
        log = Log(self.member.folder, self.member.identity, self.member.clock)
        try:
            log.append("revealed", job, attempt, result=result.digest(), verified=bool(result.statement["verified"]))
            log.checkpoint()
        finally:
            log.close()
        files.write(self.member.folder / "jobs" / f"{job}.arrow", result.to_bytes(), 0o600)

    def _approvals(self, proof: Mapping[str, Any], proposed: Proposed) -> dict[str, bytes]:
        """The owners' signed approvals; they go into the digest that the proof of agreement must show."""
        statements = {}
        for party, (statement, signature) in proof["approvals"].items():
            statements[party] = bytes.fromhex(statement)
            self.member.verify(party, APPROVAL, statements[party], bytes.fromhex(signature))
        if set(statements) != set(proposed.participants):
            raise PeerError("job.differs", "The proof lacks approvals of participants.", party=self._coordinator)
        return statements

    async def _fetch(self, job: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        stub = coordinator_pb2_grpc.CoordinatorStub(self.member.channel(self._coordinator))
        proof: dict[str, Any] = {}
        bodies: dict[str, bytearray] = {}
        try:
            async for part in stub.Fetch(pb.JobRef(job=job)):
                if part.WhichOneof("part") == "proof":
                    proof = json.loads(part.proof)
                else:
                    bodies.setdefault(part.total.sum, bytearray()).extend(part.total.data)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self._coordinator, "fetching the result") from None
        return proof, {name: bytes(body) for name, body in bodies.items()}

    async def _result_of_node(self, job: str) -> Result:
        stub = node_pb2_grpc.NodeStub(self.member.channel(self.name))
        try:
            reply = await stub.Result(node_pb2.NodeResultRequest(job=_job_bytes(job)), timeout=60)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.name, "fetching the result") from None
        return Result.from_bytes(reply.result)

    def _keep(self, job: str, facts: Mapping[str, Any]) -> None:
        """Write what opens the result, before the job is submitted."""
        folder = self.member.folder / "jobs"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{job}.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(facts, file)
            file.flush()
            os.fsync(file.fileno())

    def _kept(self, job: str) -> dict[str, Any]:
        path = self.member.folder / "jobs" / f"{_job_bytes(job).hex()}.json"
        if not path.exists():
            raise LocalError(
                "job.unknown",
                f"{self.name} has no key for this job in {path.parent}.",
                "A result can be opened only from the folder it was submitted from.",
            )
        kept: dict[str, Any] = json.loads(path.read_text())
        return kept

    async def _call(self, method: str, request: Any) -> Any:
        stub = coordinator_pb2_grpc.CoordinatorStub(self.member.channel(self._coordinator))
        try:
            return await getattr(stub, method)(request, timeout=60)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self._coordinator) from None

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def _stop_loop(self) -> None:
        self._wait(_ended())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()


async def _opened(folder: Path) -> Member:
    return Member(folder)  # channels belong to the loop they are made in


async def _ended() -> None:
    """End what still runs on this loop: gRPC leaves tasks of ended calls behind, and a loop closed over them says so
    on stderr."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=5)


def _bindings(proof: Mapping[str, Any], coordinator: str) -> dict[str, Binding]:
    """What the coordinator hands on with verified sums. Raises PeerError protocol.malformed."""
    try:
        return {
            name: Binding(
                {
                    p: Bound(
                        Agreed(bytes.fromhex(b["digest"]), bytes.fromhex(b["signature"])),
                        tuple(bytes.fromhex(x) for x in b["points"]),
                    )
                    for p, b in told["bound"].items()
                },
                tuple(int(x, 16) for x in told["scalars"]),
            )
            for name, told in proof.get("bindings", {}).items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise PeerError(
            "protocol.malformed", "The proof of a verified sum cannot be read.", party=coordinator
        ) from problem


def _job_bytes(job: str) -> bytes:
    try:
        raw = bytes.fromhex(job)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise LocalError("job.unknown", "A job id is 64 hexadecimal digits.", "List yours with `heji jobs list`.")
    return raw
