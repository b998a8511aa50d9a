"""Collecting evidence into one signed bundle: of a job from every member that has some, of a period from one member."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import rfc8785

from mpc.errors import HejiError, LocalError
from mpc.evidence.bundle import BUNDLE, Bundle, Span, manifest_of
from mpc.evidence.sealed import seal
from mpc.job import Job
from parties.auditor import key
from parties.evidence.documents import Documents
from parties.evidence.log import Log
from parties.evidence.retained import Retained
from parties.evidence.service import LOGGED, missing, own_part, period_part
from parties.evidence.stamps import Stamps
from parties.evidence.witness import gather
from parties.failures import from_rpc
from parties.files import read
from parties.member import Member
from parties.results import Result
from parties.rpc.v1 import evidence_pb2, evidence_pb2_grpc, node_pb2, node_pb2_grpc

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
    request = evidence_pb2.ReadRequest(job=job)
    answers = dict(zip(members, await asyncio.gather(*(_read(member, m, request) for m in members)), strict=True))
    parts = {m: a for m, a in answers.items() if isinstance(a, bytes)}
    absent = {m: a for m, a in answers.items() if isinstance(a, HejiError) and a.code != "evidence.missing"}
    if not parts:
        raise next(iter(absent.values()), missing("Nobody"))
    if member.name not in members and (part := await _own_part(member, job, sorted(parts))):
        parts[member.name] = part
    files = {"roster.json": member.roster.to_json(), **{f"logs/{m}.json": raw for m, raw in parts.items()}}
    if with_policy:
        files[f"policies/{member.name}.toml"] = _own_policy(member, json.loads(parts.get(member.name, b"{}")))
    if with_result:
        files[f"results/{member.name}.json"] = await _own_result(member, job)
    if seal_for is not None:
        files[f"bodies/{member.name}.sealed"] = _sealed(member, job, seal_for)
    return _signed(member, job, files), absent


async def export_period(member: Member, of: str, since: int, until: int, *, with_policy: bool = False) -> Bundle:
    """The bundle of what ``of``'s log tells of a period (Unix seconds, both included): this member's own, or for an
    auditor any member's. ``with_policy``: every policy under which this member approved anything in it.

    Raises LocalError evidence.missing, evidence.invalid for more than a bundle can hold, or what kept ``of`` from
    answering.
    """
    if with_policy and of != member.name:
        raise LocalError("evidence.missing", f"Only {of} gives its policies.", "Leave --with-policy out.")
    raw: bytes | HejiError = missing(of)
    if any(of in member.roster.members_with(role) for role in LOGGED):
        raw = await _read(member, of, evidence_pb2.ReadRequest(since=since, until=until))
    if isinstance(raw, HejiError) and of == member.name and raw.code in ("peer.unavailable", "evidence.missing"):
        raw = await _own_period(member, since, until) or raw
    if isinstance(raw, HejiError):
        raise raw
    files = {"roster.json": member.roster.to_json(), f"period/{of}.json": raw}
    if with_policy:
        files |= _own_policies(member, json.loads(raw)["documents"])
    return _signed(member, Span(of, since, until), files)


def _signed(member: Member, about: str | Span, files: dict[str, bytes]) -> Bundle:
    now = member.clock()
    manifest = rfc8785.dumps(manifest_of(about, member.name, now, files))
    made = Bundle(manifest, member.sign(BUNDLE, manifest), about, member.name, now, files)
    return Bundle.read(made.write())


def _own_policy(member: Member, part: dict[str, Any]) -> bytes:
    """The policy under which this member approved a job, as it was then."""
    found = _own_policies(member, {"": part.get("documents", [])})
    if not found:
        raise LocalError("evidence.missing", f"{member.name} approved nothing in this job under a policy it kept.")
    return list(found.values())[-1]


def _own_policies(member: Member, documents: dict[str, list[dict[str, Any]]]) -> dict[str, bytes]:
    """The policies of its approvals that this member kept, as files of a bundle."""
    kept, found = Documents(member.folder), {}
    for d in (d for of_job in documents.values() for d in of_job if member.name in d["approvals"]):
        digest = str(json.loads(bytes.fromhex(d["approvals"][member.name][0]))["policy"])
        text = kept.policy(digest)
        if text is not None:
            found[f"policies/{digest}.toml"] = text
    return found


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
        answer = await _read(member, member.name, evidence_pb2.ReadRequest(job=job))
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
    return await _from_own_log(
        member, others, lambda log, kept: own_part(log, kept, Stamps(member.folder), member.name, job)
    )


async def _own_period(member: Member, since: int, until: int) -> bytes | None:
    others = sorted({m for role in LOGGED for m in member.roster.members_with(role)} - {member.name})
    return await _from_own_log(
        member, others, lambda log, kept: period_part(log, kept, member.name, since, until, own=True)
    )


async def _from_own_log(member: Member, others: list[str], made: Callable[[Log, Documents], bytes]) -> bytes | None:
    """What is made of this member's log, cosigned by those ``others`` that can be had; None where it has none."""
    if not (member.folder / "state" / "log").exists():
        return None
    log = Log(member.folder, member.identity, member.clock)
    try:
        asked = {*others, *member.roster.members_with("witness")}
        await gather(member, log, log.checkpoint(), sorted(asked))
        return made(log, Documents(member.folder))
    except LocalError as error:
        if error.code != "evidence.missing":
            raise
        return None
    finally:
        log.close()


async def _own_result(member: Member, job: str) -> bytes:
    """What this recipient opened, as its log has the digest of."""
    kept = member.folder / "jobs" / f"{job}.arrow"
    if kept.exists():
        return Result.from_bytes(read(kept, "the result")).released
    if not member.has_node(member.name):
        raise LocalError(
            "evidence.missing", f"{member.name} has opened no result of this job.", "Open it: heji jobs result."
        )
    try:
        stub = node_pb2_grpc.NodeStub(member.channel(member.name))
        reply = await stub.Result(node_pb2.NodeResultRequest(job=bytes.fromhex(job)), timeout=PATIENCE)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, member.name, "asked for its result") from None
    return Result.from_bytes(reply.result).released


async def _read(member: Member, peer: str, request: evidence_pb2.ReadRequest) -> bytes | HejiError:
    try:
        stub = evidence_pb2_grpc.EvidenceStub(member.channel(peer))
        parts = [reply.part async for reply in stub.Read(request, timeout=PATIENCE)]
        return b"".join(parts)
    except grpc.aio.AioRpcError as error:
        return from_rpc(error, peer, "asked for evidence")
    except LocalError as error:
        return error
