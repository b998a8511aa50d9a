"""A finished job's result, for its recipient: masked totals and the proof of agreement → checked → opened → on record.

A recipient with a node has its result there; one without opens it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
import grpc.aio
import numpy as np

from mpc.crypto.agree import public_key
from mpc.errors import PeerError
from mpc.messages import Agreed, Announce
from mpc.protocols.agree import Agreement
from mpc.protocols.verified import Binding, Bound
from mpc.roles import Cast, Outcome, Totals, cast_of, open_outside
from parties.depositing import ATTEMPT
from parties.evidence.log import Log
from parties.failures import from_rpc
from parties.member import Member
from parties.modeler.coordinator import Coordinator
from parties.modeler.deposits import collect
from parties.modeler.kept import Kept, job_bytes, keep_opened, kept, opened_before
from parties.proposals import APPROVAL, Proposed
from parties.results import Result, opened_result
from parties.rpc.v1 import node_pb2, node_pb2_grpc


async def result_of(member: Member, coordinator: Coordinator, job: str) -> Result:
    """Raises LocalError job.unknown, what the coordinator or the node says, and PeerError of who showed what is not
    so."""
    if member.has_node(member.name):
        return await _of_node(member, job)
    before = opened_before(member, job)
    if before is not None:
        return before
    known = kept(member, job)
    if known.proposed.job.deposit is not None:
        result, attempt = await collect(member, known.proposed), ATTEMPT
    else:
        proof, bodies = await coordinator.fetch(job)
        result, attempt = _opened(member, coordinator.name, known, proof, bodies), int(proof["attempt"])
    _acknowledge(member, job, attempt, result)
    return result


async def _of_node(member: Member, job: str) -> Result:
    stub = node_pb2_grpc.NodeStub(member.channel(member.name))
    try:
        reply = await stub.Result(node_pb2.NodeResultRequest(job=job_bytes(job)), timeout=60)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, member.name, "fetching the result") from None
    return Result.from_bytes(reply.result)


def _opened(
    member: Member, coordinator: str, known: Kept, proof: Mapping[str, Any], bodies: Mapping[str, bytes]
) -> Result:
    proposed = known.proposed
    approvals = _approvals(member, coordinator, proof, proposed)
    cast = cast_of(
        proposed.raw,
        int(proof["attempt"]),
        proposed.plan,
        coordinator=str(proof["coordinator"]),
        inside=proposed.inside,
        approvals=approvals,
        helper=proposed.helper,
    )
    agreement = Agreement(
        {p: Announce(*map(bytes.fromhex, a)) for p, a in proof["announced"].items()},
        {p: Agreed(*map(bytes.fromhex, a)) for p, a in proof["agreed"].items()},
    )
    outcome = Outcome(agreement, _masked(member, coordinator, cast, bodies), _bindings(proof, coordinator))
    totals = open_outside(member.name, known.private, public_key(known.private), cast, outcome, member.verify)
    return opened_result(proposed, totals, member.name, approvals, bindings=outcome.bindings)


def _approvals(member: Member, coordinator: str, proof: Mapping[str, Any], proposed: Proposed) -> dict[str, bytes]:
    """The owners' signed approvals; they go into the digest that the proof of agreement must show."""
    statements = {}
    for party, (statement, signature) in proof["approvals"].items():
        statements[party] = bytes.fromhex(statement)
        member.verify(party, APPROVAL, statements[party], bytes.fromhex(signature))
    if set(statements) != set(proposed.participants):
        raise PeerError("job.differs", "The proof lacks approvals of participants.", party=coordinator)
    return statements


def _masked(member: Member, coordinator: str, cast: Cast, bodies: Mapping[str, bytes]) -> Totals:
    """The totals that this member hears, as ring words."""
    totals: Totals = {}
    for s in cast.heard_by(member.name):
        words = np.frombuffer(bodies.get(s.name, b""), dtype="<u8").astype(np.uint64)
        if len(words) != s.length * s.bits // 64:
            raise PeerError(
                "protocol.size", "The coordinator handed out a total of the wrong length.", party=coordinator
            )
        totals[s.name] = words if s.bits == 64 else words.reshape(-1, 2)
    return totals


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


def _acknowledge(member: Member, job: str, attempt: int, result: Result) -> None:
    """Keep the result and put on record that it was opened: what an auditor compares with."""
    log = Log(member.folder, member.identity, member.clock)
    try:
        log.append("revealed", job, attempt, result=result.digest(), verified=bool(result.statement["verified"]))
        log.checkpoint()
    finally:
        log.close()
    keep_opened(member, job, result)
