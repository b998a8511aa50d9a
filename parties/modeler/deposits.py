"""A modeler's deposit jobs: what they are planned with, and how their result is collected."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc.aio

from mpc.errors import LocalError
from mpc.job import LATTICES, DepositTerms
from mpc.query.plan import Plan
from parties.deposit_keys import DepositKeys, SignedKey
from parties.depositing import from_wire, gathered, opened, with_key
from parties.failures import from_rpc
from parties.member import Member
from parties.proposals import LONGEST_DEPOSIT, Proposed, coordinator_of, terms_of
from parties.results import Result
from parties.rpc.v1 import deposits_pb2, deposits_pb2_grpc


@dataclass(frozen=True)
class Collecting:
    """How deposits are collected. ``closes``: Unix seconds; ``least``: organisations besides the recipient's that must
    have deposited, None for all; ``early``: close as soon as all have."""

    method: str
    closes: int
    least: int | None = None
    early: bool = False


def closing(asked: Collecting, here: int) -> int:
    """The closing date, if it lies ahead and within what members take. Raises LocalError job.expired."""
    if here < asked.closes <= here + LONGEST_DEPOSIT:
        return asked.closes
    raise LocalError(
        "job.expired",
        "The closing date has passed." if asked.closes <= here else "The closing date is too far away.",
        f"Name one that lies ahead, at most {LONGEST_DEPOSIT // 86400} days from now.",
    )


async def prepare(member: Member, recipients: tuple[str, ...], method: str) -> deposits_pb2.PrepareReply:
    """Catalogs, of parties that are away those seen last, and the key of a recipient with a node."""
    elsewhere = [r for r in recipients if member.has_node(r)]
    request = deposits_pb2.PrepareRequest(recipient=elsewhere[0] if elsewhere else "", method=method)
    try:
        reply: deposits_pb2.PrepareReply = await _stub(member).Prepare(request, timeout=60)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, coordinator_of(member), "preparing a deposit job") from None
    return reply


async def terms_for(
    member: Member, plan: Plan, recipients: tuple[str, ...], reply: deposits_pb2.PrepareReply, asked: Collecting
) -> DepositTerms:
    """Method, minimum and the recipient's signed key; this member's own is made if there is none yet."""
    [recipient] = recipients  # the plan has been refused otherwise
    key = await _key(member, recipient, reply, asked.method)
    key.verify(member, recipient)
    organisation_of = member.roster.organisation_of
    counted = {organisation_of(p) for p in plan.parties} - {organisation_of(recipient)}
    least = len(counted) if asked.least is None else asked.least
    return DepositTerms(asked.method, least, asked.early, key.key.hex(), key.made, key.signature.hex())


async def _key(member: Member, recipient: str, reply: deposits_pb2.PrepareReply, method: str) -> SignedKey:
    if member.has_node(recipient):
        return from_wire(reply.key)
    if recipient != member.name:
        raise LocalError(
            "job.invalid", f"{recipient} has no node, so it must submit a job for itself.", f"Submit it as {recipient}."
        )
    keys = DepositKeys(member)
    known = keys.current(method)
    key = known if known else await asyncio.to_thread(keys.make, method)
    if method in LATTICES:
        try:
            await _stub(member).LeaveKey(with_key(key, keys.whole(key)), timeout=60)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, coordinator_of(member), "leaving the key for deposits") from None
    return key


async def collect(member: Member, proposed: Proposed) -> Result:
    """The result for a recipient without a node: collect the total, verify whose deposits are in it, open."""
    most = terms_of(member, proposed).bytes
    try:
        head, body = await gathered(_stub(member).Collect(deposits_pb2.DepositRef(job=proposed.job.id)), most)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, coordinator_of(member), "collecting the total") from None
    return await asyncio.to_thread(opened, member, proposed, head.deposits, body, DepositKeys(member))


def _stub(member: Member) -> deposits_pb2_grpc.DepositsStub:
    return deposits_pb2_grpc.DepositsStub(member.channel(coordinator_of(member)))
