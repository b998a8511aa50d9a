"""Joins of two without a helper that compare columns of both, on shares the two deal each other."""

from __future__ import annotations

import pytest

from mpc import pair
from mpc.crypto.spread import one_core
from mpc.explain import explain, render
from mpc.pair import Pair
from mpc.replay import replay
from tests.mpc.joining import sessions
from tests.mpc.query.between_two import (
    COMPARED,
    COMPARED_ROWS,
    FROM,
    SUBTLE,
    TOTALS,
    WORLD,
    needs,
    number,
    plaintext,
    traced,
)
from tests.mpc.query.world import HELPER, refusal


def test_comparisons_are_computed_between_the_two():
    """And nothing else is that need not be."""
    ((_, pool),) = WORLD.plan(COMPARED[3], trust="parties").tallies
    assert pool.compared and set(pool.compared) < {s for r in pool.released for s in (*r.words, *r.entities)}
    assert not any(p.compared for sql in TOTALS for _, p in WORLD.plan(sql, trust="parties").tallies)


@pytest.mark.parametrize(
    "sql", [COMPARED[0], *(pytest.param(q, marks=pytest.mark.slow) for q in COMPARED[1:] + SUBTLE)]
)
def test_comparisons_are_exact(sql):
    plan = WORLD.plan(sql, trust="parties")
    assert not plan.helped
    found = WORLD.result(plan).rows
    expected = plaintext(sql)
    assert [tuple(map(number, r)) for r in found] == [tuple(map(number, r)) for r in expected]
    assert any(x for row in expected for x in row[-2:])  # else nothing is tested


@pytest.mark.parametrize("sql", COMPARED_ROWS)
def test_comparisons_in_rows_of_the_recipient(sql):
    plan = WORLD.plan(sql, trust="parties", recipients=("bank",))
    assert plan.tallies[0][1].compared
    found = [(r[0].replace("９", "9").replace("-", ""), *map(number, r[1:])) for r in WORLD.result(plan).rows]
    expected = [(r[0], *map(number, r[1:])) for r in plaintext(sql)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert len({r[1] for r in found}) > 1


def test_small_cells_of_comparisons_are_suppressed_as_with_a_helper():
    alone, helped = WORLD.plan(COMPARED[0], trust="parties"), WORLD.plan(COMPARED[0])
    rows = WORLD.result(alone, min_entities=3).rows
    assert rows == WORLD.result(helped, min_entities=3).rows
    assert {n is None for _, n, *_ in rows} == {True, False}


def test_comparisons_are_of_rows_whose_keys_do_not_repeat():
    sql = "SELECT COUNT(*) FROM bank.loans l JOIN tax.firms t USING (uscc) WHERE l.amount > t.tax_paid"
    error = refusal(WORLD, sql, trust="parties")
    assert error.code == "sql.unsupported" and "bank.loans.uscc may repeat" in error.message


def test_no_share_is_computed_where_no_key_met():
    sql = COMPARED_ROWS[0].replace("b.overdue < 2", "b.overdue > 99")
    plan, trace = traced(sql, recipients=("bank",))
    assert WORLD.result(plan).rows == ()
    assert not any("/compared/" in m.step for m in trace.sent)


@pytest.mark.slow
def test_no_size_of_a_comparison_depends_on_a_constant():
    sizes = []
    for c in (1, 90):
        _, trace = traced(f"SELECT COUNT(*) {FROM} WHERE t.tax_paid < {c} AND b.balance + {c} > t.tax_paid")
        sizes.append([(m.sender, m.step, len(m.raw)) for m in trace.sent])
    assert sizes[0] == sizes[1]


def test_roles_of_a_comparison_replay_byte_for_byte():
    plan, trace = traced(COMPARED_ROWS[1], recipients=("bank",))
    ((_, pool),) = plan.tallies
    for party in pool.parties:
        session = sessions([*pool.parties, HELPER])[party]
        replay(party, pair.play(session, Pair(pool, 3), WORLD.rows(pool, party), one_core), trace.sent)


def test_of_a_comparison_only_what_was_dealt_is_said():
    """Openings, which dealt words mask, between ciphertexts; of the outcome one share."""
    _, trace = traced(COMPARED_ROWS[1], recipients=("bank",))
    for party, ciphertexts in (("bank", "answered"), ("tax", "asked")):
        steps = [m.step.split("/pair/")[1].split("/block")[0] for m in trace.said_by(party)]
        rest = {s for s in steps if not s.endswith(f"/{ciphertexts}")}
        opened = {s for s in rest if s.startswith("compared/") and s.endswith("/open")}
        others = {"compared/key", "told/0"} if party == "tax" else set()
        assert rest - opened == {"blind/points", "blind/doubled"} | others, party


def test_explain_says_what_becomes_of_comparisons():
    told = render(explain(WORLD.plan(COMPARED[0], trust="parties"), ("analyst",)))
    for words in (
        "comparisons on shares, of words the two deal each other by BFV, ",
        "uniform words and ciphertexts in place of what of tax is compared with its own columns, row by row",
        "with the conditions of both and those that compare their columns (0 where",
    ):
        assert words in told, words


def test_what_is_compared_counts_as_shown_for_single_entities():
    """The value side sees how many of its entities pass in a group: with conditions of its own it could be one."""
    assert needs(COMPARED[0], "tax") == {
        ("uscc", "join_reveal", "bank"),
        ("industry", "group", "bank"),
        ("tax_paid", "threshold", "bank"),
    }
    assert needs(COMPARED[0], "bank") == {("uscc", "join_reveal", "tax")}
    # of rows the other side sees keys only, and the recipient's own conditions
    assert needs(COMPARED_ROWS[0], "bank", recipients=("bank",)) == {
        ("uscc", "join_reveal", "tax"),
        ("overdue", "threshold", "tax"),
    }
