"""Collecting the evidence of a job from every member that has some, into one signed bundle."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import grpc
import grpc.aio
import rfc8785

from mpc.errors import HejiError, LocalError
from mpc.evidence.bundle import BUNDLE, Bundle, manifest_of
from mpc.evidence.sealed import seal
from mpc.job import Job
from parties.auditor import key
from parties.evidence.documents import Documents
from parties.evidence.log import Log
from parties.evidence.retained import Retained
from parties.evidence.service import missing, own_part
from parties.evidence.stamps import Stamps
from parties.evidence.witness import gather
from parties.failures import from_rpc
from parties.files import read
from parties.member import Member
from parties.rpc.v1 import evidence_pb2, evidence_pb2_grpc, node_pb2, node_pb2_grpc

#: members with these roles keep a log and serve it
LOGGED = ("coordinator", "helper", "party")
#: seconds to wait for one member
PATIENCE = 60.0


async def export(
    member: Member, job: str, *, with_policy: bool = False, with_result: bool = False, seal_for: Path | None = None
) -> tuple[Bundle, dict[str, HejiError]]:
    """The bundle of ``job``, and why some members gave nothing.

    ``with_policy``, ``with_result``: this member's own, which it may show and nobody else may. ``seal_for``: an
    auditor's key, to which the coordinator seals what it heard. Raises LocalError evidence.missing if nobody has
    anything, or this member has not what it wants to show; evidence.invalid if that auditor may not have it.
    """
    members = sorted({m for role in LOGGED for m in member.roster.members_with(role)})
    answers = dict(zip(members, await asyncio.gather(*(_read(member, m, job) for m in members)), strict=True))
    parts = {m: a for m, a in answers.items() if isinstance(a, bytes)}
    absent = {m: a for m, a in answers.items() if isinstance(a, HejiError) and a.code != "evidence.missing"}
    if not parts:
        raise next(iter(absent.values()), missing("Nobody"))
    if member.name not in members and (part := await _own_part(member, job, sorted(parts))):
        parts[member.name] = part
    files = {"roster.json": member.roster.to_json(), **{f"logs/{m}.json": raw for m, raw in parts.items()}}
    if with_policy:
        files[f"policies/{member.name}.toml"] = read(member.folder / "policy.toml", "the policy")
    if with_result:
        files[f"results/{member.name}.arrow"] = await _own_result(member, job)
    if seal_for is not None:
        files[f"bodies/{member.name}.sealed"] = _sealed(member, job, seal_for)
    now = member.clock()
    manifest = rfc8785.dumps(manifest_of(job, member.name, now, files))
    made = Bundle(manifest, member.sign(BUNDLE, manifest), job, member.name, now, files)
    return Bundle.read(made.write()), absent


def _sealed(member: Member, job: str, seal_for: Path) -> bytes:
    """What this coordinator heard in the attempt that ended well, which is the last one."""
    found = Documents(member.folder).of_job(job)
    if not found or found[-1]["coordinator"] != member.name:
        raise LocalError(
            "evidence.missing",
            f"{member.name} did not coordinate this job.",
            "Only the coordinator seals messages: what it heard can be added up again without a secret.",
        )
    seats = {*found[-1]["approvals"], *Job.from_bytes(bytes.fromhex(found[-1]["job"][0])).recipients}
    _, auditor = key.read(seal_for, member.roster, seats)
    kept = Retained(member.folder, member.identity, member.config.retain_bytes)
    heard = kept.heard((bytes.fromhex(job), int(found[-1]["attempt"])), member.name)
    return seal(heard, job, member.name, auditor, os.urandom(32))


async def own_evidence(member: Member, job: str) -> bytes:
    """This member's own part, from its running process or, where none runs, from its log. Raises LocalError
    evidence.missing."""
    if any(member.name in member.roster.members_with(role) for role in LOGGED):
        answer = await _read(member, member.name, job)
        if isinstance(answer, bytes):
            return answer
        if answer.code != "peer.unavailable":
            raise answer
    part = await _own_part(member, job, [])
    if part is None:
        raise missing(member.name)
    return part


async def _own_part(member: Member, job: str, others: list[str]) -> bytes | None:
    """The part of a member that serves no log of its own: a recipient that opened the result itself."""
    if not (member.folder / "state" / "log").exists():
        return None
    log = Log(member.folder, member.identity, member.clock)
    try:
        asked = {*others, *member.roster.members_with("witness")}
        await gather(member, log, log.checkpoint(), sorted(asked))
        return own_part(log, Documents(member.folder), Stamps(member.folder), member.name, job)
    except LocalError as error:
        if error.code != "evidence.missing":
            raise
        return None
    finally:
        log.close()


async def _own_result(member: Member, job: str) -> bytes:
    kept = member.folder / "jobs" / f"{job}.arrow"
    if kept.exists():
        return read(kept, "the result")
    if not member.has_node(member.name):
        raise LocalError(
            "evidence.missing", f"{member.name} has opened no result of this job.", "Open it: heji jobs result."
        )
    try:
        stub = node_pb2_grpc.NodeStub(member.channel(member.name))
        reply = await stub.Result(node_pb2.NodeResultRequest(job=bytes.fromhex(job)), timeout=PATIENCE)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, member.name, "asked for its result") from None
    return bytes(reply.result)


async def _read(member: Member, peer: str, job: str) -> bytes | HejiError:
    try:
        stub = evidence_pb2_grpc.EvidenceStub(member.channel(peer))
        parts = [reply.part async for reply in stub.Read(evidence_pb2.ReadRequest(job=job), timeout=PATIENCE)]
        return b"".join(parts)
    except grpc.aio.AioRpcError as error:
        return from_rpc(error, peer, "asked for evidence")
    except LocalError as error:
        return error
