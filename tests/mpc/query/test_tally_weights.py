"""Rows of one of two without a helper, weighed by the other's columns: scores under the recipient's key."""

from __future__ import annotations

import pytest

from mpc.explain import explain, render
from tests.mpc.query.between_two import WEIGHED, WORLD, number, plaintext, traced
from tests.mpc.query.world import refusal


@pytest.mark.parametrize("sql", WEIGHED)
def test_weights_and_features_stay_apart(sql):
    plan = WORLD.plan(sql, trust="parties", recipients=("bank",))
    ((_, pool),) = plan.tallies
    assert pool.by_row and pool.weighed and pool.ciphertexts
    found = [(r[0].replace("９", "9").replace("-", ""), *map(number, r[1:])) for r in WORLD.result(plan).rows]
    expected = [(r[0], *map(number, r[1:])) for r in plaintext(sql)]
    assert sorted(found, key=str) == sorted(expected, key=str) and found


def test_weights_are_of_rows_whose_keys_do_not_repeat():
    """Else the holder would learn how many loans the bank has with whom."""
    sql = "SELECT l.uscc, l.amount * t.tax_paid AS x FROM bank.loans l JOIN tax.firms t USING (uscc)"
    error = refusal(WORLD, sql, trust="parties", recipients=("bank",))
    assert error.code == "plan.trust" and "how often" in error.message


def test_the_holder_says_points_and_scores_only():
    _, trace = traced(WEIGHED[0], recipients=("bank",))
    steps = {m.step.split("/pair/")[1].split("/block")[0] for m in trace.said_by("tax")}
    assert steps == {"blind/points", "blind/doubled", "scores/scores"}
    steps = {m.step.split("/pair/")[1].split("/block")[0] for m in trace.said_by("bank")}
    assert steps == {"blind/points", "blind/doubled", "scores/key", "scores/weights"}


def test_explain_says_what_becomes_of_weights():
    told = render(explain(WORLD.plan(WEIGHED[0], trust="parties", recipients=("bank",)), ("bank",)))
    assert "ciphertexts of columns of bank under its key, and not the columns" in told
    assert "chosen far enough apart they tell all of it" in told and "under the recipient's key" in told
