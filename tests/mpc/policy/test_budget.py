"""Budgets of privacy loss: who needs noise, what is spent of which grant, when it comes back."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from fractions import Fraction

import pytest

from mpc.errors import LocalError
from mpc.policy.budget import Spent, balances, columns_shown, spendings
from mpc.policy.flow import Limits, check, several_wanted, suggest
from mpc.policy.grants import Budget, parse_policy, write_grant
from mpc.policy.needs import Request
from mpc.query.plan import Noise, Plan
from mpc.query.plan_pools import LocalQuery
from mpc.query.plan_reveals import JoinReveal
from tests.mpc.policy import plans
from tests.mpc.policy.plans import ANALYST, COURT, TODAY, grant, plan, reveal, use

BUDGET = '{ epsilon = 1.0, per = "30d" }'
WITH = grant(budget=BUDGET)


def noised(p: Plan, epsilon: str = "0.5") -> Plan:
    return replace(p, noise=Noise(epsilon, 1))


def request(epsilon: str | None = "0.5", *recipients: object) -> Request:
    asked = plans.request(*(recipients or (ANALYST,)))  # type: ignore[arg-type]
    return replace(asked, epsilon=None if epsilon is None else Fraction(epsilon))


def balance() -> Plan:
    return plans.pooled_balance("bank_a", "bank_b", "tax")


def refusal(text: str, p: Plan, asked: Request) -> LocalError:
    with pytest.raises(LocalError) as refused:
        check(p, "bank_a", parse_policy(text), asked)
    return refused.value


# ---- who needs noise


def test_a_job_without_noise_does_not_fit_and_is_told_what_to_ask() -> None:
    error = refusal(WITH, balance(), request(None))
    assert error.code == "policy.refused"
    assert "carry noise" in error.message and "--epsilon 1.0" in error.advice


def test_a_job_that_asks_for_more_than_there_ever_is_does_not_fit() -> None:
    error = refusal(WITH, noised(balance(), "1.5"), request("1.5"))
    assert "has a budget of 1.0 in 30 days" in error.message and "--epsilon 1.0 or less" in error.advice


def test_noise_takes_the_place_of_small_cells_under_a_budget_only() -> None:
    assert check(noised(balance()), "bank_a", parse_policy(WITH), request()) == Limits(0, 2, noised=True)
    exact = check(noised(balance()), "bank_a", parse_policy(grant(max_share="0.5")), request())
    assert (exact.min_entities, exact.noised) == (10, False) and exact.max_share is not None
    told = Limits(0, 2, noised=True).told()
    assert Limits.from_told(told) == Limits(0, 2, noised=True)


def test_where_both_fit_a_job_with_noise_goes_by_the_budget_and_an_exact_one_by_the_other() -> None:
    both = parse_policy(grant(min_entities="2") + WITH)
    assert check(noised(balance()), "bank_a", both, request()).noised
    assert check(balance(), "bank_a", both, request(None)).min_entities == 2


def test_exact_counts_would_undo_the_noise_so_grants_of_both_kinds_do_not_go_together() -> None:
    p = noised(plan(reveal(use("balance"), use("grade", "group"), use("balance", party="bank_b"))))
    grade = grant('["grade"]', uses='["group"]')
    error = refusal(WITH + grade, p, request())
    assert error.code == "policy.refused" and "accounts.grade" in error.message and "budget" in error.facts["grant"]
    assert check(
        p, "bank_a", parse_policy(WITH + grant('["grade"]', uses='["group"]', min_entities="1")), request()
    ).noised
    assert check(
        p, "bank_a", parse_policy(WITH + grant('["grade"]', uses='["group"]', budget=BUDGET)), request()
    ).noised


def test_an_owner_that_counts_on_others_to_hide_where_they_have_nothing_is_not_served_by_noised_ones() -> None:
    exact, noisy = Limits(10, 2), Limits(0, 2, noised=True)
    added = plan(sources=(LocalQuery("bank_a", "", ()), LocalQuery("tax", "", ())))
    with pytest.raises(LocalError) as refused:
        several_wanted(added, "bank_a", {"bank_a": exact, "tax": noisy})
    assert refused.value.code == "policy.contributors" and "tax" in refused.value.message
    assert several_wanted(added, "tax", {"bank_a": exact, "tax": noisy})
    assert several_wanted(added, "bank_a", {"bank_a": exact, "tax": exact})
    assert not several_wanted(added, "bank_a", {"bank_a": Limits(10, 1), "tax": Limits(10, 1)})
    # where they add up no cells together, it does not count on that one
    assert several_wanted(plan(), "bank_a", {"bank_a": Limits(1, 2), "tax": noisy})


# ---- what is spent


def spent(release: str, epsilon: str, days_ago: int, column: str = "balance", to: str = "institute") -> Spent:
    return Spent(release, "accounts", column, to, Fraction(epsilon), TODAY - dt.timedelta(days=days_ago))


def left(previous: list[Spent], text: str = WITH, p: Plan | None = None, asked: Request | None = None) -> list[str]:
    found = spendings(previous, p or noised(balance()), "bank_a", parse_policy(text), asked or request())
    return [f"{s.organisation} {s.told()['left']}" for s in found]


def test_what_was_spent_in_the_period_is_taken_off() -> None:
    assert left([]) == ["institute 0.5"]
    assert left([spent("a/s", "0.3", 29)]) == ["institute 0.2"]
    assert left([spent("a/s", "0.3", 30)]) == ["institute 0.5"]  # the period is over today
    assert left([spent("a/s", "0.3", 1, to="court")]) == ["institute 0.5"]
    assert left([spent("a/s", "0.3", 1, column="grade")]) == ["institute 0.5"]


def test_a_budget_is_one_for_all_columns_of_its_grant_and_a_release_counts_once() -> None:
    several = grant('["balance", "grade"]', budget=BUDGET)
    assert left([spent("a/s", "0.3", 1, column="grade")], several) == ["institute 0.2"]
    assert left([spent("a/s", "0.3", 1, column="grade"), spent("a/s", "0.3", 1)], several) == ["institute 0.2"]
    assert left([spent("a/s", "0.1", 1), spent("a/t", "0.1", 1)], several) == ["institute 0.3"]


def test_exhausted_says_when_it_renews() -> None:
    with pytest.raises(LocalError) as refused:
        left([spent("a/s", "0.2", 20), spent("b/s", "0.5", 10)])
    assert refused.value.code == "policy.spent"
    assert refused.value.facts["renews"] == (TODAY + dt.timedelta(days=10)).isoformat()
    assert refused.value.facts["spent"] == "0.7" and "at most 0.3" in refused.value.advice
    with pytest.raises(LocalError) as refused:
        left([spent("a/s", "0.2", 20), spent("b/s", "0.5", 10), spent("c/s", "0.3", 5)])
    assert refused.value.facts["renews"] == (TODAY + dt.timedelta(days=20)).isoformat()


def test_exact_to_the_last_digit() -> None:
    """Ten times 0.1 is 1: floats would have it otherwise."""
    nine = [spent(f"{i}/s", "0.1", 1) for i in range(9)]
    assert left(nine, p=noised(balance(), "0.1"), asked=request("0.1")) == ["institute 0"]
    with pytest.raises(LocalError):
        left([*nine, spent("9/s", "0.000001", 1)], p=noised(balance(), "0.1"), asked=request("0.1"))


def test_each_recipient_has_a_budget_of_its_own() -> None:
    text = grant(to='["any"]', budget=BUDGET)
    asked = request("0.5", ANALYST, COURT)
    assert left([spent("a/s", "0.5", 1)], text, asked=asked) == ["institute 0", "court 0.5"]
    assert columns_shown(noised(balance()), "bank_a", asked) == (
        ("accounts", "balance", "court"),
        ("accounts", "balance", "institute"),
    )


def test_what_is_left_of_each_grant_for_whom() -> None:
    policy = parse_policy(grant('["balance", "grade"]', to='["any"]', budget=BUDGET) + grant('["grade"]'))
    known = [spent("a/s", "0.25", 3), spent("a/s", "0.25", 3, column="grade"), spent("b/s", "0.25", 1, to="court")]
    found = balances([*known, spent("c/s", "0.5", 30)], policy, TODAY)
    assert [(g.line, who, str(rest)) for g, who, rest in found] == [(1, "court", "3/4"), (1, "institute", "3/4")]


def test_without_noise_nothing_is_spent() -> None:
    assert left([], asked=request(None)) == [] and columns_shown(balance(), "bank_a", request(None)) == ()


# ---- texts


def test_a_suggested_grant_for_a_job_with_noise_has_its_budget_and_suffices() -> None:
    text = suggest(noised(balance()), "bank_a", request())
    assert 'budget = { epsilon = 0.5, per = "30d" }' in text
    assert check(noised(balance()), "bank_a", parse_policy(text), request()).noised
    assert "budget" not in suggest(balance(), "bank_a", request(None))


def test_a_budget_is_written_as_it_is_read() -> None:
    (g,) = parse_policy(WITH).grants
    assert isinstance(g.budget, Budget) and parse_policy(write_grant(g)).grants == (g,)


# ---- over joins


def joined() -> Plan:
    one = reveal(use("balance"), use("uscc", "join"), use("paid", party="tax", table="firms"))
    over = JoinReveal(**vars(one), joined=("bank_a", "tax"), grouped_by=())
    return noised(plan(over, parties=("bank_a", "tax")))


def test_over_a_join_with_noise_no_exact_count_decides_so_a_grant_that_asks_for_it_does_not_fit() -> None:
    columns, uses = '["balance", "uscc"]', '["aggregate", "join"]'
    for limits in ({}, {"min_entities": "2"}, {"min_entities": "1", "max_share": "0.5"}):
        error = refusal(grant(columns, uses=uses, **limits), joined(), request())
        assert error.code == "policy.refused" and "nothing is counted" in error.message
        assert "counts" in error.facts["missing"][0]["reasons"] and "budget = " in error.facts["grant"]
    assert check(joined(), "bank_a", parse_policy(grant(columns, uses=uses, min_entities="1")), request()) == Limits(
        1, 2
    )
    assert check(joined(), "bank_a", parse_policy(grant(columns, uses=uses, budget=BUDGET)), request()).noised


def test_a_budget_takes_the_place_of_limits_that_a_join_could_not_keep() -> None:
    text = grant('["balance", "uscc"]', uses='["aggregate", "join"]', budget=BUDGET, round_to="1000", max_share="0.5")
    assert check(joined(), "bank_a", parse_policy(text), request()).noised
