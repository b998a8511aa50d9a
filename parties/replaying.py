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
from collections.abc import Sequence
from dataclasses import dataclass

from mpc.coins import Coins, own_coins
from mpc.errors import LocalError
from mpc.evidence import data
from mpc.evidence.case import Document, Part
from mpc.evidence.data import Rows
from mpc.policy.flow import Limits, several_wanted
from mpc.query.compile import PLANNER, compile_job
from mpc.query.plan import Plan
from mpc.replay import Said, rerun
from mpc.roles import Cast, Outcome, cast_of, play_coordinator, play_helper, play_party
from mpc.rounds import Rounds, Session
from mpc.run import Sent
from parties.evidence.recorder import seed_commitment
from parties.evidence.retained import Retained
from parties.member import Member
from parties.node.committed import Committed
from parties.node.inputs import Input, Inputs
from parties.node.noise_seeds import NoiseSeeds
from parties.node.releases import Releases
from parties.node.store import Store
from parties.proposals import helper_of

#: places that are named where data differs
_SHOWN = 3


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
        if part.about(document.attempt, "done"):
            found.append(await _attempt(member, part, document))
    if not found:
        raise LocalError("evidence.missing", f"No attempt of this job ended well at {member.name}.")
    return found


async def _attempt(member: Member, part: Part, d: Document) -> Replayed:
    key = (bytes.fromhex(d.what.id), d.attempt)
    kept = Retained(member.folder, member.identity, member.config.retain_bytes)
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
    cast = cast_of(
        d.job.text,
        d.attempt,
        plan,
        coordinator=d.coordinator,
        inside=inside,
        approvals={p: s.text for p, s in d.approvals.items()},
        helper=helper_of(member, plan, d.what.recipients),
    )
    name, role, remark = await _role(member, cast, plan, d, str(committed[0].facts["data"]), kept)
    sent = sorted(part.about(d.attempt, "sent"), key=lambda e: int(e.facts["number"]))
    said = [Said(str(e.facts["peer"]), str(e.facts["step"]), bytes.fromhex(e.facts["sha256"])) for e in sent]
    await asyncio.to_thread(rerun, member.name, role, heard, said)
    return Replayed(d.attempt, name, len(said), sum(int(e.facts["len"]) for e in sent), remark)


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
    try:
        given = await _from_tables(member, cast, plan, d, session.own)
        now, trouble = given.blocks, ""
    except LocalError as problem:
        if not problem.code.startswith(("data.", "plan.")):
            raise
        given, now, trouble = Input({}, b""), (), problem.message
    sign, verify = member.sign, member.verify
    if given.commitment.hex() == committed:
        return "party", play_party(session, cast, given.vectors, sign, verify, given.rows, given.values), ""
    then = kept.blocks(key)
    if not then:
        raise LocalError(
            "data.changed",
            f"The tables of {me} do not give the input it bound itself to in this job, and that was not kept: "
            + (trouble or "in which columns they differ is not known."),
            "Restore them as they were (their source as of the time of the job) in a copy of the folder; then replay. "
            "What is kept is bounded by retain_bytes.",
        )
    again = own_coins(seed, *key)  # the tables' input has drawn from the others
    if data.root(then, data.salts(again, len(then))).hex() != committed:
        raise LocalError("protocol.replay", f"The input kept is not the one {me} bound itself to.")
    bound = Committed.read(cast, plan, me, then)
    vectors = bound.vectors(cast, plan, me, again)
    remark = trouble or _places(data.differences(then, now))
    session = Session(me, again)
    return "party", play_party(session, cast, vectors, sign, verify, bound.rows, bound.values), remark


async def _from_tables(member: Member, cast: Cast, plan: Plan, d: Document, coins: Coins) -> Input:
    """The input that the tables of today give. Raises LocalError data.*, plan.catalog."""
    approved = {p: Limits.from_told(json.loads(s.text)) for p, s in d.approvals.items()}
    path = member.folder / "state" / "node.db"
    store = Store(path, os.urandom(32))
    releases = Releases(path, remember=False) if member.config.release_ledger else None
    try:
        return await Inputs(member, releases, NoiseSeeds(member.folder, member.identity, make=False)).vectors(
            cast,
            plan,
            approved[member.name],
            strict_none=several_wanted(member.name, approved),
            coins=coins,
            salt=store.salt,
        )
    finally:
        if releases is not None:
            releases.close()
        store.close()


def _places(differ: Sequence[Rows]) -> str:
    """Where data differs, for people."""
    told = [f"{r.column}, rows {r.first + 1:,} to {r.end:,}" for r in differ]
    return "; ".join(told[:_SHOWN]) + (f"; and {len(told) - _SHOWN} more places" if len(told) > _SHOWN else "")


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
