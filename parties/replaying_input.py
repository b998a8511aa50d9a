"""The input that a role is run again on: what the tables give today, if the member bound itself to that, else what was
kept; then it is said where the tables differ."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from mpc.coins import Coins, own_coins
from mpc.errors import LocalError
from mpc.evidence import data
from mpc.evidence.data import Rows
from mpc.ids import Bytes, Flags
from mpc.joint_sides import SideRows
from mpc.messages import RingWords
from mpc.pair import Hide
from mpc.policy.flow import Limits
from mpc.protocols.ranked import OwnValues
from mpc.query.plan import Plan
from mpc.query.plan_joins import Side, TallyPool
from mpc.roles import Cast
from mpc.rounds import Session
from parties.evidence.retained import Retained
from parties.member import Member
from parties.node.committed import Committed
from parties.node.inputs import Input, Inputs
from parties.node.met import what_was_hidden
from parties.node.noise_seeds import NoiseSeeds
from parties.node.releases import Releases
from parties.node.store import Store

#: places that are named where data differs
_SHOWN = 3


@dataclass(frozen=True)
class Bound:
    """The input a member bound itself to, the coins that it was laid out with, drawn so far, what its release ledger
    says it hid besides when it was known what met, and what is to be said about the tables."""

    session: Session
    vectors: Mapping[str, RingWords]
    rows: Mapping[int, Mapping[str, SideRows]]
    values: Mapping[str, Sequence[OwnValues]]
    hiding: Mapping[int, Hide]
    remark: str = ""


async def own_input(
    member: Member, cast: Cast, plan: Plan, limits: Limits, strict: bool, committed: str, kept: Retained
) -> Bound:
    """``limits``: the member's, as it signed them; ``strict``: whether cells in which it has nobody are hidden;
    ``committed``: the root of the input in the log. Raises LocalError data.changed, protocol.replay."""
    key, me = (cast.context.job, cast.context.attempt), member.name
    seed = kept.seed(key)
    session, hiding = Session(me, own_coins(seed, *key)), _hiding(member, cast)
    try:
        given = await _from_tables(member, cast, plan, limits, strict, session.own)
        now, trouble = given.blocks, ""
    except LocalError as problem:
        noise_gone = plan.noise is not None and problem.code == "evidence.missing"  # it stands in the input kept
        if not problem.code.startswith(("data.", "plan.")) and not noise_gone:
            raise
        given, now, trouble = Input({}, b""), (), problem.message
    if given.commitment.hex() == committed:
        return Bound(session, given.vectors, given.rows, given.values, hiding)
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
    return Bound(Session(me, again), vectors, bound.rows, bound.values, hiding, remark)


async def _from_tables(member: Member, cast: Cast, plan: Plan, limits: Limits, strict: bool, coins: Coins) -> Input:
    """The input that the tables of today give. Raises LocalError data.*, plan.catalog."""
    path = member.folder / "state" / "node.db"
    store = Store(path, os.urandom(32))
    releases = Releases(path, remember=False) if member.config.release_ledger else None
    try:
        noise = NoiseSeeds(member.folder, member.identity, make=False)
        return await Inputs(member, releases, noise).vectors(
            cast, plan, limits, strict_none=strict, coins=coins, salt=store.salt
        )
    finally:
        if releases is not None:
            releases.close()
        store.close()


def _hiding(member: Member, cast: Cast) -> dict[int, Hide]:
    """What this member hid of joins without a helper, asked when it is known what met."""
    if not member.config.release_ledger:
        return {}
    return {
        p: partial(_hidden, member, cast.context.job.hex(), j.pool, side)
        for p, j in cast.pairs
        for side in j.pool.sides
        if side.party == member.name and side.query.behind.sql and j.least > 0 and not j.pool.asks
    }


def _hidden(member: Member, job: str, pool: TallyPool, side: Side, met: Bytes) -> Flags:
    ledger = Releases(member.folder / "state" / "node.db", remember=False)
    try:
        return what_was_hidden(ledger, job, pool, side, met)
    finally:
        ledger.close()


def _places(differ: Sequence[Rows]) -> str:
    """Where data differs, for people."""
    told = [f"{r.column}, rows {r.first + 1:,} to {r.end:,}" for r in differ]
    return "; ".join(told[:_SHOWN]) + (f"; and {len(told) - _SHOWN} more places" if len(told) > _SHOWN else "")
