"""Weights by which a sum shows single values: another owner's, and those that pick out few of the bank's firms."""

from __future__ import annotations

from typing import Any

import pytest

from mpc.errors import LocalError
from mpc.policy.differencing import spoil
from tests.mpc.policy.attacked import JOINED, behind, hidden, no_limits, plan, stopped, uses_missing, with_uses, world


@pytest.mark.parametrize("weight", ["t.staff", "CASE WHEN t.staff > 2 THEN 1024 ELSE 1 END"])
def test_chosen_weights(weight: str) -> None:
    """Multiplies balances by a column it fills with 2^i, so that one sum shows all of them bit by bit: needs `product`,
    which no preset for statistics gives."""
    error = stopped(f"SELECT SUM(b.balance * {weight}) {JOINED}", with_uses("join", "aggregate", "arithmetic"))
    assert ("balance", "product") in uses_missing(error)


def test_case_of_another_owner_on_one_id() -> None:
    """The same by a CASE on another's key that is true for one firm: choosing is multiplying by 0 and 1."""
    sql = f"SELECT SUM(CASE WHEN t.staff = 4 THEN b.balance ELSE 0 END) {JOINED}"
    assert ("balance", "product") in uses_missing(stopped(sql, with_uses("join", "aggregate", "arithmetic")))


@pytest.mark.parametrize(
    "value",
    [
        "CASE WHEN {who} THEN 2 * balance ELSE balance END",
        "CASE WHEN NOT ({who}) THEN balance ELSE 2 * balance END",
        "CASE WHEN {who} AND debt >= 0 THEN 8 ELSE 7 END",
        "balance + CASE WHEN {who} THEN debt ELSE 0 END",
        "balance + CASE WHEN {who} THEN balance ELSE 0 END",
        "balance + CAST({who} AND debt >= 0 AS INTEGER)",
        "balance * (1 + CAST({who} AS INTEGER))",
        "balance * CASE WHEN {who} THEN 2 ELSE 1 END",
        "COALESCE(CASE WHEN {who} THEN NULL ELSE balance END, 3 * balance)",
        "GREATEST(balance, {top})",
        "balance - LEAST(balance, {top})",
        "ABS(balance - {top})",
        "balance + balance // {top}",
    ],
)
def test_weights_that_pick_out_few_firms(value: str) -> None:
    """Shows a sum of all firms' values in which few weigh otherwise: beside the plain sum it shows these few. What each
    weight, and each arm of a choice, brings in is counted as a measure of its own is; many may weigh otherwise."""
    few, many = value.format(who="uscc = 'firm-007'", top=128), value.format(who="region = 'north'", top=115)
    assert hidden(f"SELECT SUM({few}) FROM bank.firms")[0] == [True]
    assert hidden(f"SELECT SUM({many}) FROM bank.firms")[0] == [False]


def test_weights_in_the_branches_of_a_union() -> None:
    """The same with a branch for the one firm and another for the rest."""
    branches = "SELECT balance AS x FROM bank.firms WHERE uscc <> '{0}' UNION ALL SELECT 2 * balance FROM bank.firms"
    assert hidden(f"SELECT SUM(x) FROM ({branches.format('firm-007')} WHERE uscc = 'firm-007')")[0] == [True]


def test_what_a_weight_picks_out_is_remembered() -> None:
    """Doubles the north, then the north but one firm: the difference is that firm's, though all are in both."""
    sql = "SELECT SUM(CASE WHEN {} THEN 2 * balance ELSE balance END) FROM bank.firms"
    known: dict[Any, Any] = {}
    first, _ = spoil(behind(sql.format("region = 'north'")), known, no_limits(), 10)
    second, _ = spoil(behind(sql.format("region = 'north' AND uscc <> 'firm-006'")), known, no_limits(), 10)
    assert (any(f.any() for f in first), any(f.any() for f in second)) == (False, True)


def test_the_rest_of_what_a_weight_picks_out() -> None:
    """Adds 1 for all but two firms: the count beside the sum gives the two away."""
    found, _ = spoil(behind("SELECT SUM(7 + CAST(debt > 5 AS INTEGER)) FROM bank.firms"), {}, no_limits(), 10)
    assert found[0].tolist() == [True]


def test_more_weights_than_are_looked_at() -> None:
    """Gives each firm a weight of its own: more of them than are counted one by one are refused."""
    arms = " ".join(f"WHEN debt < {3 * i} THEN {i + 2} * balance" for i in range(60))
    with pytest.raises(LocalError) as caught:
        plan(f"SELECT SUM(CASE {arms} ELSE 0 END) FROM bank.firms")
    assert caught.value.code == "job.limits"


@pytest.mark.parametrize(
    "value", ["CASE WHEN {who} THEN 2 * b.balance ELSE b.balance END", "b.balance + CAST({who} AS INTEGER)"]
)
def test_weights_that_pick_out_few_firms_over_a_join(value: str) -> None:
    """The same over a join: what a weight picks out is compared with the rule on shares."""
    w = world()
    few, many = (value.format(who=who) for who in ("b.uscc = 'firm-007'", "b.region = 'north'"))
    for of, shown in ((few, False), (many, True)):
        sql = f"SELECT SUM({of}) AS s, COUNT(*) AS n {JOINED}"
        [row] = w.result(w.plan(sql), min_entities=10).rows
        assert row == ((w.plaintext(sql)[0][0] if shown else None), 30)
