"""A member's own role, run again from what it kept: ``heji audit replay``.

In house, or in front of a regulator: from the retained seed, the messages heard and its input the role must say, byte
for byte, what the log says that it said. The input is what the tables give today, if that is the one in the log, else
the one that was kept; then it is said where the tables differ. Another seed, input or message than the log bound the
member to is named before anything is compared.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpc.coins import own_coins
from mpc.errors import LocalError
from mpc.evidence.case import Document, Part
from mpc.policy.flow import Limits, several_wanted
from mpc.query.compile import PLANNER, compile_job
from mpc.query.plan import Plan
from mpc.query.plan_joins import ComparedPool
from mpc.query.questions import Named
from mpc.replay import Said, rerun
from mpc.roles import Cast, Outcome, cast_of, play_coordinator, play_helper, play_party
from mpc.rounds import Rounds, Session
from mpc.run import Sent
from parties.evidence.recorder import seed_commitment
from parties.evidence.retained import Retained
from parties.member import Member
from parties.node.comparing import compared_joins
from parties.node.store import Store
from parties.proposals import helper_of
from parties.replaying_deposits import replay_deposit
from parties.replaying_input import own_input


@dataclass(frozen=True)
class Replayed:
    """What was found: the role, the messages that came out the same, their bytes. ``remark``: where the tables of today
    do not give the input that the role was run on; "" where they do."""

    attempt: int
    role: str
    messages: int
    bytes: int
    remark: str = ""


async def replay(member: Member, part: Part) -> list[Replayed]:
    """Run every attempt again that ended well here. ``part``: this member's own part of the evidence.

    Raises LocalError protocol.replay naming the first message that differs; evidence.*, data.changed where what is
    needed is not there or not what it was.
    """
    found = []
    for document in part.documents:
        # a deposit is made when it is receipted, whether or not the job has ended
        if part.about(document.attempt, "done") or member.name in document.deposits:
            found.append(await _attempt(member, part, document))
    if not found:
        raise LocalError("evidence.missing", f"No attempt of this job ended well at {member.name}.")
    return found


async def _attempt(member: Member, part: Part, d: Document) -> Replayed:
    key = (bytes.fromhex(d.what.id), d.attempt)
    kept = Retained(member.folder, member.identity, member.config.retain_bytes)
    if d.what.deposit is not None:
        return Replayed(d.attempt, *await replay_deposit(member, part, d, kept))
    seed, heard = kept.seed(key), kept.heard(key, member.name)
    committed = part.about(d.attempt, "committed")
    if not committed or committed[0].facts["seed"] != seed_commitment(key, seed).hex():
        raise LocalError("protocol.replay", f"The seed kept is not the one {member.name} bound itself to.")
    _check_heard(part, d.attempt, heard)
    if d.what.planner != PLANNER:
        raise LocalError(
            "peer.version",
            f"The job was planned by {d.what.planner}; this is {PLANNER}.",
            "Replay it with that version.",
        )
    plan = compile_job(d.what, d.published)
    inside = tuple(sorted(r for r in d.what.recipients if member.has_node(r)))
    approvals = {p: s.text for p, s in d.approvals.items()}
    helper = helper_of(member, plan, d.what.recipients)
    cast = cast_of(
        d.job.text,
        d.attempt,
        plan,
        coordinator=d.coordinator,
        inside=inside,
        approvals=approvals,
        helper=helper,
        compared=_compared(member, d, plan, approvals) if member.name in (*plan.parties, helper) else None,
    )
    name, role, remark = await _role(member, cast, plan, d, str(committed[0].facts["data"]), kept)
    sent = sorted(part.about(d.attempt, "sent"), key=lambda e: int(e.facts["number"]))
    said = [Said(str(e.facts["peer"]), str(e.facts["step"]), bytes.fromhex(e.facts["sha256"])) for e in sent]
    await asyncio.to_thread(rerun, member.name, role, heard, said)
    return Replayed(d.attempt, name, len(said), sum(int(e.facts["len"]) for e in sent), remark)


def _compared(member: Member, d: Document, plan: Plan, approvals: Mapping[str, bytes]) -> dict[int, ComparedPool]:
    """The joins as they were compared with what was asked before, which this member keeps."""
    named = Named.in_approvals(approvals)
    if named is None:
        return {}
    store = Store(member.folder / "state" / "node.db", os.urandom(32))
    try:
        return compared_joins(d.what, plan, d.published, named, store.questions.of(named.every))
    finally:
        store.close()


async def _role(
    member: Member, cast: Cast, plan: Plan, d: Document, committed: str, kept: Retained
) -> tuple[str, Rounds[Outcome], str]:
    """Its name, the role, and what is to be said about the tables. ``committed``: the root of the input in the log."""
    key, me = (cast.context.job, cast.context.attempt), member.name
    seed = kept.seed(key)
    session = Session(me, own_coins(seed, *key))
    if me == d.coordinator:
        return "coordinator", play_coordinator(session, cast, member.sign, member.verify), ""
    if me == cast.helper:
        return "helper", play_helper(session, cast, member.sign, member.verify), ""
    approved = {p: Limits.from_told(json.loads(s.text)) for p, s in d.approvals.items()}
    strict = several_wanted(plan, me, approved)
    given = await own_input(member, cast, plan, approved[me], strict, committed, kept)
    signing = (member.sign, member.verify)
    role = play_party(given.session, cast, given.vectors, *signing, given.rows, given.values, hiding=given.hiding)
    return "party", role, given.remark


def _check_heard(part: Part, attempt: int, heard: Sequence[Sent]) -> None:
    """The messages kept are those that the log says came in."""
    logged: dict[str, list[str]] = {}
    for e in sorted(part.about(attempt, "received"), key=lambda e: int(e.facts["number"])):
        logged.setdefault(str(e.facts["peer"]), []).append(e.facts["sha256"])
    kept: dict[str, list[str]] = {}
    for s in heard:
        kept.setdefault(s.sender, []).append(hashlib.sha256(s.raw).hexdigest())
    for peer in sorted({*logged, *kept}):
        if logged.get(peer) != kept.get(peer):
            raise LocalError("protocol.replay", f"The messages kept of {peer} are not those in the log.")
