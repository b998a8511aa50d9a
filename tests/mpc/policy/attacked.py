"""What the named attacks are tried on: the bank's plain grants, its firms, and what its node says and lets out.

The owner is ``bank``; ``tax`` and ``telecom`` are others, and the analyst receives. The grants give what an ordinary
statistic needs: totals of ``balance`` and ``debt`` by ``region``, nothing about single firms.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mpc.errors import LocalError
from mpc.policy.differencing import Measured
from mpc.policy.flow import Limits, Recipient, Request, check
from mpc.policy.grants import parse_policy
from mpc.policy.numbers import Numbers
from mpc.policy.populations import Words
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool
from parties.node.behind import measured, measured_side
from tests.mpc.policy.plans import ANALYST, TODAY
from tests.mpc.query.world import Held, World, boolean, held, integer, text

PLAIN = """
[[grant]]
table = "firms"
columns = ["balance", "debt", "uscc"]
to = ["analyst", "tax"]
uses = ["aggregate", "arithmetic"]
approval = "auto"
[[grant]]
table = "firms"
columns = ["region"]
to = ["analyst", "tax"]
uses = ["group", "filter"]
approval = "auto"
"""
TAX = Recipient("tax", "tax", ("party",))
JOINED = "FROM bank.firms b JOIN tax.firms t USING (uscc)"


def world(firms: int = 30) -> World:
    def named(i: int) -> str:
        return f"firm-{i:03d}"

    bank = [text("uscc", key=True), text("region", "north", "south"), integer("balance", 0, 10_000)]
    bank += [integer("debt", 0, 10_000), boolean("listed")]
    bank_rows = [(named(i), ("north", "south")[i % 2], 100 + i, 3 * i, i == 0) for i in range(firms)]
    paid = [text("uscc", key=True), integer("paid", 0, 10_000), integer("staff", 0, 100)]
    paid_rows = [(named(i), 50 + i, i % 5) for i in range(firms)]
    return World(
        (
            keyed(held("bank", "firms", bank, bank_rows)),
            keyed(held("tax", "firms", paid, paid_rows)),
            held("telecom", "firms", [text("uscc", key=True), integer("spend", 0, 10_000)], [(named(0), 1)]),
        )
    )


def keyed(table: Held) -> Held:
    """The same table, each key once."""
    return replace(table, table=replace(table.table, unique=True))


def plan(sql: str, recipient: str = "analyst") -> Plan:
    return world().plan(sql, recipients=(recipient,))


def asked(to: Recipient = ANALYST, trust: str = "parties") -> Request:
    return Request((to,), {p: p for p in ("bank", "tax", "telecom")}, "", trust, False, TODAY)


def judged(sql: str, policy: str = PLAIN, to: Recipient = ANALYST) -> Limits:
    """What the bank's own node says. Raises LocalError."""
    the_plan = plan(sql, to.name)
    return check(the_plan, "bank", parse_policy(policy), asked(to, the_plan.trust))


def stopped(sql: str, policy: str = PLAIN, to: Recipient = ANALYST) -> LocalError:
    with pytest.raises(LocalError) as caught:
        judged(sql, policy, to)
    return caught.value


def uses_missing(error: LocalError) -> set[tuple[str, str]]:
    assert error.code == "policy.refused"
    return {(c, m["use"]) for m in error.facts["missing"] for c in m["columns"]}


def with_uses(*uses: str) -> str:
    """The plain grants, and these uses of all columns besides."""
    listed = ", ".join(f'"{u}"' for u in uses)
    return f'{PLAIN}[[grant]]\ntable = "firms"\ncolumns = ["*"]\nto = "any"\nuses = [{listed}]\napproval = "auto"\n'


def hidden(sql: str, least: int = 10) -> list[list[bool]]:
    """Of each measure and cell whether the bank spoils it for the number of its entities."""
    filled = world().filled(plan(sql), 0, "bank", min_entities=least)
    return [list(map(bool, s)) for s in filled.small]


def behind(sql: str) -> list[Measured]:
    """Who is behind each of the bank's measures, with plain digests in place of keyed ones."""
    w, the_plan = world(), plan(sql)
    found = []

    def seal(entities: Words, sums: Words) -> Words:
        return (entities ^ (sums * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xC2B2AE3D27D4EB4F)

    for p, pool in enumerate(the_plan.pools):
        if isinstance(pool, JoinPool):
            for side in (s for s in pool.sides if s.party == "bank"):
                answer = w.local("bank").behind(side.query.behind.sql)
                found += measured_side(pool, side, answer, 10, lambda x: x, seal)
            continue
        for query in (s.behind for s in pool.sources if s.party == "bank"):
            filled = w.filled(the_plan, p, "bank", min_entities=10)
            found += measured(pool, query, w.local("bank").behind(query.sql), filled, lambda x: x, seal)
    return found


def no_limits() -> Numbers:
    return Numbers({}, lambda what, value: b"", lambda column, digest: ())
