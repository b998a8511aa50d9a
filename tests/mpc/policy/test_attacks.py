"""Named attacks on totals (query.md "Policy", issue 4), each with the rule that stops it.

Attacks that this version's SQL cannot express (joins, rows, thresholds) are stopped as uses without rules. Attacks
inside one expression (a measure that cancels its owner's values, weights that separate two parties' digits) leave no
trace in a plan's uses: the planner's bounds have to show them.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpc.errors import LocalError
from mpc.policy.flow import ContributorSet, Recipient, Request, check, contributor_sets_conflict
from mpc.policy.grants import parse_policy
from mpc.query.plan import Plan
from mpc.query.plan_pools import LocalQuery
from mpc.query.plan_reveals import Use
from tests.mpc.policy.plans import ANALYST, BANK_B, COURT, grant, plan, pooled_balance, request, reveal, use

AGGREGATE_ONLY = grant('["balance", "overdue_days", "region"]')


def stopped(the_plan: Plan, policy: str = AGGREGATE_ONLY, asked: Request | None = None) -> LocalError:
    with pytest.raises(LocalError) as caught:
        check(the_plan, "bank_a", parse_policy(policy), asked or request())
    return caught.value


def test_filter_by_an_aggregate_only_column() -> None:
    """SUM(balance) WHERE overdue_days > 30: who is counted tells about overdue_days."""
    error = stopped(plan(reveal(use("balance"), use("overdue_days", "filter"))))
    assert [m["use"] for m in error.facts["missing"]] == ["filter"]


def test_label_made_of_an_aggregate_only_column() -> None:
    """GROUP BY CASE WHEN overdue_days ...: the label shows the value."""
    assert stopped(plan(reveal(use("balance"), use("overdue_days", "group")))).code == "policy.refused"


def test_value_encoded_by_case() -> None:
    """SUM(CASE WHEN overdue_days > 30 THEN 1 ELSE 0 END): arithmetic on a column granted for plain sums."""
    assert stopped(plan(reveal(use("overdue_days", "arithmetic")))).code == "policy.refused"


def test_order_or_having_by_a_column_not_granted() -> None:
    """What decides which groups are seen is a revealed value of its own."""
    assert stopped(plan(reveal(use("balance")), reveal(use("income"), what="ORDER BY SUM(income)"))).facts["missing"]


def test_minimum_dressed_as_a_total() -> None:
    """MIN shows one entity's value: aggregate does not cover it."""
    assert [m["use"] for m in stopped(plan(reveal(use("balance", "extreme")))).facts["missing"]] == ["extreme"]


@pytest.mark.parametrize("named", ["join", "join_reveal", "product", "threshold", "row"])
def test_uses_without_rules(named: Use) -> None:
    """Granted or not, even for an owner's own institution: its rows would be chosen by others' columns."""
    everything = grant('["*"]', uses=f'["{named}", "aggregate"]', to='"any"')
    for recipient in (ANALYST, Recipient("bank_a", "bank_a", ("party",))):
        error = stopped(plan(reveal(use("balance", named))), everything, request(recipient))
        assert error.code == "policy.unenforceable"


def test_table_read_but_not_declared() -> None:
    """A whole-row reference, or a planner that lost a column."""
    the_plan = plan(reveal(use("balance")), sources=(LocalQuery("bank_a", "", ("accounts", "salaries")),))
    assert "salaries" in stopped(the_plan).message


def test_second_recipient_beside_the_granted_one() -> None:
    error = stopped(pooled_balance("bank_a", "tax"), asked=request(ANALYST, COURT))
    assert error.facts["missing"][0]["to"] == ["court"]


def test_party_node_that_calls_itself_a_modeler_and_back() -> None:
    """modeler:NAME means the roster's role; another member's organisation is not its name."""
    posing = Recipient("analyst", "institute", ("party",))
    assert stopped(pooled_balance("bank_a", "tax"), grant(to='["modeler:analyst"]'), request(posing))
    assert stopped(pooled_balance("bank_a", "tax"), grant(to='["organisation:analyst"]'), request(posing))
    named_like_an_entry = Recipient("organisation:court", "x", ("party",))
    assert stopped(pooled_balance("bank_a", "tax"), grant(to='["organisation:court"]'), request(named_like_an_entry))


def test_purpose_that_sounds_like_a_keyword() -> None:
    for purpose in ("any", "*", "Credit", "credit ", ""):
        assert stopped(pooled_balance("bank_a", "tax"), grant(purposes='["credit"]'), request(purpose=purpose))


def test_subtracting_ones_own_part() -> None:
    """Two banks, one total, one of them receives it."""
    assert stopped(pooled_balance("bank_a", "bank_b"), asked=request(BANK_B)).code == "plan.two_party"


def test_subtracting_by_a_second_node_or_a_modeler_of_the_same_institution() -> None:
    three = pooled_balance("bank_a", "bank_b", "tax")
    assert stopped(three, asked=request(BANK_B, tax="bank_b")).code == "plan.two_party"
    assert stopped(three, asked=request(ANALYST, tax="institute", bank_b="institute")).code == "plan.two_party"


def test_filling_up_contributors_with_nodes_of_one_institution() -> None:
    four = pooled_balance("bank_a", "bank_b", "bank_c", "tax")
    group = request(bank_b="group", bank_c="group", tax="group")
    assert stopped(four, grant(min_contributors="3"), group).code == "policy.contributors"


def test_a_pool_labelled_as_one_partys_own_total() -> None:
    """What the label hides, alone = false and the missing grant still judge by."""
    labelled = plan(replace(pooled_balance("bank_a", "tax").reveals[0], pooled=False))
    assert stopped(labelled, grant(alone="false")).code == "policy.refused"


@pytest.mark.parametrize("then", [("bank_a", "tax"), ("bank_a", "bank_b", "tax"), ("bank_a", "bank_c")])
def test_totals_over_different_sets_of_contributors(then: tuple[str, ...]) -> None:
    """a+b, b+c, a+c are solved for a, b, c; so is a smaller second run."""
    before = [ContributorSet("accounts", "balance", frozenset({"bank_a", "bank_b"}), "s")]
    policy = parse_policy(grant(to='"any"'))
    with pytest.raises(LocalError) as caught:
        contributor_sets_conflict(before, pooled_balance(*then), "bank_a", policy, request(COURT), "s")
    assert caught.value.code == "policy.contributors"


def test_totals_over_different_sets_in_one_job() -> None:
    sums = plan(*pooled_balance("bank_a", "bank_b").reveals, *pooled_balance("bank_a", "bank_b", "tax").reveals)
    assert stopped(sums).code == "policy.contributors"


def test_counting_is_a_total_too() -> None:
    """COUNT(*) over different unions is solved like any sum."""

    def rows(*parties: str) -> Plan:
        return plan(reveal(*(use("*", party=p) for p in parties), what="COUNT(*)"))

    policy = parse_policy(grant())
    first = contributor_sets_conflict([], rows("bank_a", "bank_b"), "bank_a", policy, request(), "s")
    with pytest.raises(LocalError):
        contributor_sets_conflict(first, rows("bank_a", "tax"), "bank_a", policy, request(), "s")
