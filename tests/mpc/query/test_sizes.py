"""The number of keys two parties share, without a helper, and nothing else."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpc import pair
from mpc.codec import decode
from mpc.crypto.spread import one_core
from mpc.explain import explain, render
from mpc.pair import Pair
from mpc.policy.needs import Recipient, Request, needs_of
from mpc.protocols import size
from mpc.query.plan import Plan
from mpc.run import Trace, run
from mpc.traffic import pair_traffic
from tests.mpc.joining import sessions
from tests.mpc.query.between_two import FROM, NO_SIZES, SIZES, WORLD, plaintext
from tests.mpc.query.world import refusal

pytestmark = pytest.mark.usefixtures("few_extras")


def counted(sql: str, *recipients: str) -> Plan:
    plan = WORLD.plan(sql, trust="parties", recipients=recipients or ("analyst",))
    assert plan.sizes and not plan.tallies[0][1].ciphertexts
    return plan


@pytest.mark.parametrize(
    ("sql", "to"),
    [(sql, to) for sql, to in zip(SIZES, ["analyst", "tax", "bank"] * 2, strict=True)]
    + [
        pytest.param(sql, to, marks=pytest.mark.slow)
        for i, sql in enumerate(SIZES)
        for j, to in enumerate(("analyst", "tax", "bank"))
        if i % 3 != j
    ],
)
def test_a_size_alone_is_that_over_plaintext(sql, to):
    plan = counted(sql, to)
    ((_, pool),) = plan.sizes
    assert pool.asks == (to if to != "analyst" else pool.sides[0].party)
    assert pool.hides == (() if to == "analyst" else (to,))
    assert list(WORLD.result(plan).rows) == plaintext(sql)


@pytest.mark.parametrize("sql", NO_SIZES)
def test_what_asks_for_more_is_none(sql):
    plan = WORLD.plan(sql, trust="parties")
    assert plan.tallies and not plan.sizes and any("which keys" in r.what for r in plan.reveals)


def test_a_size_to_both_is_hidden_by_what_either_knows():
    """18 keys met: 7 of the bank's and 12 of the tax bureau's did not."""
    plan = counted(SIZES[0], "bank", "tax")
    assert plan.sizes[0][1].hides == ("bank", "tax")
    for least, shown in ((7, True), (8, False)):
        assert WORLD.result(plan, min_entities=least).rows == ((18 if shown else None,),)


@pytest.mark.parametrize("to", ["analyst", "tax", "bank"])
def test_a_small_size_is_hidden(to):
    sql = SIZES[2]
    ((met,),) = plaintext(sql)
    plan = counted(sql, to)
    assert WORLD.result(plan, min_entities=met + 1).rows == ((None,),)
    assert (WORLD.result(plan, min_entities=met).rows == ((met,),)) or to != "analyst"


def test_a_size_that_tells_of_nearly_all_of_the_recipients_keys_is_hidden():
    """18 of 25 firms of the bank met, so 7 did not."""
    ((met,),), rows = plaintext(SIZES[0]), 25
    for to, least, shown in (("bank", 7, True), ("bank", 8, False), ("tax", 8, True), ("analyst", 8, True)):
        assert rows - met == 7
        assert WORLD.result(counted(SIZES[0], to), min_entities=least).rows == ((met if shown else None,),)
    # what its own condition leaves of the bank's keys counts
    few = f"SELECT COUNT(*) {FROM} WHERE b.overdue = 0"
    ((met,),) = plaintext(few)
    assert WORLD.result(counted(few, "bank"), min_entities=min(met, 7)).rows == ((None,),)


def test_what_a_node_must_not_let_out_is_hidden_at_all():
    ((_, pool),) = counted(SIZES[0], "tax").sizes
    for party in pool.parties:
        rows = {i: WORLD.rows(pool, i) for i in pool.parties}
        for name, mine in rows[party].items():
            rows[party][name] = replace(mine, hidden=np.ones((1, 1), dtype=bool))
        members = sessions(list(pool.parties))
        said = run({i: pair.play(members[i], Pair(pool, 2), rows[i], one_core) for i in pool.parties})
        assert all(said[i][64][1] == 1 for i in pool.parties)  # both add noise


@pytest.mark.parametrize("sql", [SIZES[1], SIZES[4]])
@pytest.mark.parametrize("to", ["analyst", "bank"])
def test_what_a_size_says_stays_within_what_is_told(sql, to):
    plan, trace = counted(sql, to), Trace()
    ((p, pool),) = plan.sizes
    WORLD.joined(p, pool, 3, trace)
    assert {m.receiver for m in trace.sent} == set(pool.parties)
    for sender in pool.parties:
        said = [m for m in trace.sent if m.sender == sender]
        for j in (Pair(pool, 3), Pair(pool, pool.most)):
            told = [t for t in pair_traffic(j) if t.sender == sender]
            assert len(said) <= sum(t.messages for t in told)
            more = sum(t.bytes for t in told) - sum(decode(m.raw).words.nbytes for m in said)
            assert more == 0 if j.least == 3 else more > 0  # known at the time, and before limits are


def test_no_size_of_a_size_depends_on_a_constant():
    sizes = []
    for c in (1, 90):
        plan, trace = counted(f"SELECT COUNT(*) {FROM} WHERE t.tax_paid < {c} AND b.overdue < {c}"), Trace()
        ((p, pool),) = plan.sizes
        WORLD.joined(p, pool, 3, trace)
        sizes.append([(m.sender, m.step, len(m.raw)) for m in trace.sent])
    assert sizes[0] == sizes[1]


def test_a_size_needs_join_and_no_join_reveal():
    for party, other in (("tax", "bank"), ("bank", "tax")):
        found = _needs(counted(SIZES[1]), party)
        assert found == {
            (column, use, reader)
            for reader in (other, "modeler:analyst")
            for column, use in (
                ("uscc", "join"),
                ("exporter" if party == "tax" else "overdue", "filter"),
                *([("uscc", "aggregate")] if reader != other else []),
            )
        }


def test_a_recipient_of_the_two_needs_no_more_since_nearly_all_is_hidden():
    """With a helper nothing hides that all of its keys met, and it needs join_reveal."""
    plan = counted(SIZES[0], "bank")
    assert {use for _, use, _ in _needs(plan, "tax", "bank")} == {"join", "aggregate"}
    helped = WORLD.plan(SIZES[0], recipients=("bank",))
    assert "join_reveal" in {use for _, use, _ in _needs(helped, "tax", "bank")}
    # a person of the bank's is no side of the join, for whom nothing more is hidden
    plan = counted(SIZES[0], "analyst")
    of_bank = Recipient("analyst", "bank", ("modeler",))
    assert "join_reveal" in {use for _, use, _ in _needs(plan, "tax", of_bank)}


def _needs(plan: Plan, party: str, to: str | Recipient = "analyst") -> set[tuple[str, str, str]]:
    recipient = to if isinstance(to, Recipient) else Recipient(to, to, ("modeler" if to == "analyst" else "party",))
    request = Request((recipient,), {"tax": "tax", "bank": "bank"}, "review", "parties", False, dt.date(2026, 1, 1))
    return {(n.column, n.use, n.recipient.entry) for n in needs_of(plan, party, request)}


def test_explain_says_that_neither_learns_which():
    told = render(explain(counted(SIZES[0], "bank"), ("bank",)))
    for words in (
        "bank counts the keys that met and neither learns which",
        "not which of its own are among them",
        "or of the keys of bank fewer than that did not",
        "P9 how many keys met",
    ):
        assert words in told, words
    assert "plus one that" not in told  # it receives the very number
    told = render(explain(counted(SIZES[0]), ("analyst",)))
    assert "the number of keys that met plus one that tax draws below 64" in told
    assert "which of its own keys the table" not in told


def test_the_page_states_what_a_size_moves():
    page = (Path(__file__).parents[3] / "docs" / "protocols" / "tally.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (asking|answering) side → .*, ([a-z]+) \| ([^|]+) \|$", page, re.MULTILINE)
    plan, trace = counted(SIZES[0], "bank"), Trace()
    ((p, pool),) = plan.sizes
    WORLD.joined(p, pool, 3, trace)
    asks, answers = ("bank", "tax")
    sizes = {"N": 25, "M": 30, "D": size.EXTRA, "e": 3}
    steps = {"counting": ("counted",), "testing": ("tested",)}
    assert len(lines) == 4
    for side, what, formula in lines:
        written = re.sub(r"(?<=[0-9A-Za-z)]) (?=[A-Za-z(])", " * ", formula)
        said = sum(
            decode(m.raw).words.nbytes
            for m in trace.said_by(asks if side == "asking" else answers)
            if any(f"/{step}/" in m.step for step in steps[what])
        )
        assert said == eval(written, {"__builtins__": {}}, sizes), (side, what)


def test_no_size_of_several_parties_or_with_a_helper():
    assert not WORLD.plan(SIZES[0]).sizes
    error = refusal(WORLD, f"SELECT COUNT(*) {FROM} JOIN telecom.firms m USING (uscc)", trust="parties")
    assert error.code == "plan.trust"
