"""A member's input to a role that is run again, from its tables as they are now: what it bound itself to, or where
it differs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mpc.coins import Coins, own_coins
from mpc.errors import LocalError
from mpc.evidence import data
from mpc.evidence.data import Block
from mpc.policy.flow import Limits
from mpc.query.plan import Plan
from mpc.roles import Cast
from mpc.rounds import Session
from parties.evidence.retained import Retained
from parties.member import Member
from parties.node.inputs import Input, Inputs
from parties.node.releases import Releases
from parties.node.store import Store

#: places that are named where data differs
_SHOWN = 3


async def own_input(
    member: Member,
    session: Session,
    cast: Cast,
    plan: Plan,
    approval: Mapping[str, Any],
    strict_none: bool,
    committed: str,
    kept: Retained,
) -> Input:
    """What the member's tables give. ``approval``: its own, as it signed it; ``committed``: of the data, as it logged
    it. Raises LocalError data.changed, protocol.replay."""
    path = member.folder / "state" / "node.db"
    store = Store(path, os.urandom(32))
    releases = Releases(path, remember=False) if member.config.release_ledger else None
    try:
        given = await Inputs(member, releases).vectors(
            cast, plan, Limits.from_told(approval), strict_none=strict_none, coins=session.own, salt=store.salt
        )
    finally:
        if releases is not None:
            releases.close()
        store.close()
    if given.commitment.hex() != committed:
        key = (cast.context.job, cast.context.attempt)
        raise other_data(member.name, kept.blocks(key), given.blocks, committed, own_coins(kept.seed(key), *key))
    return given


def other_data(me: str, kept: Sequence[Block], now: Sequence[Block], committed: str, coins: Coins) -> LocalError:
    """The tables do not give the input that ``me`` bound itself to: where they differ, if that input is kept.

    ``coins``: of the attempt, not drawn from yet.
    """
    if not kept:
        told = "which of their columns differ is not known, since the input was not kept (retain_bytes)"
    elif data.root(kept, data.salts(coins, len(kept))).hex() != committed:
        return LocalError("protocol.replay", f"The input kept is not the one {me} bound itself to.")
    else:
        places = [f"{r.column}, rows {r.first + 1:,} to {r.end:,}" for r in data.differences(kept, now)]
        more = f"; and {len(places) - _SHOWN} more places" if len(places) > _SHOWN else ""
        told = "; ".join(places[:_SHOWN]) + more
    return LocalError(
        "data.changed",
        f"The tables of {me} do not give the input it bound itself to in this job: {told}.",
        "Restore them as they were (their source as of the time of the job) in a copy of the folder; then replay.",
    )
