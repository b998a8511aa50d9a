"""The information-flow check: what passes, under which limits, and each reason for a refusal."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from mpc.errors import LocalError
from mpc.policy.flow import ContributorSet, Limits, Request, check, contributor_sets_conflict, suggest
from mpc.policy.grants import parse_policy
from mpc.query.plan import Plan
from mpc.query.plan_pools import LocalQuery
from mpc.query.plan_reveals import JoinReveal
from tests.mpc.policy.plans import (
    ANALYST,
    BANK_A,
    BANK_B,
    COURT,
    grant,
    plan,
    pooled_balance,
    request,
    reveal,
    use,
)


def limits(the_plan: Plan, policy: str, asked: Request | None = None, party: str = "bank_a") -> Limits:
    return check(the_plan, party, parse_policy(policy), asked or request())


def refusal(the_plan: Plan, policy: str, asked: Request | None = None, party: str = "bank_a") -> LocalError:
    with pytest.raises(LocalError) as caught:
        limits(the_plan, policy, asked, party)
    return caught.value


ALONE = plan(reveal(use("balance")))
THREE = pooled_balance("bank_a", "bank_b", "tax")
TWO = pooled_balance("bank_a", "bank_b")


# ---- what passes


def test_a_granted_total_passes_under_the_grants_limits() -> None:
    assert limits(ALONE, grant()) == Limits(10, 1)
    assert limits(THREE, grant(min_entities="3", min_contributors="3")) == Limits(3, 3)
    assert limits(TWO, grant()) == Limits(10, 2)  # to a third institution: the normal case


@pytest.mark.parametrize(
    "to", ['["analyst"]', '["modeler:analyst"]', '["organisation:institute"]', '["any"]', '"any"', '["x", "analyst"]']
)
def test_recipients_are_named_in_four_ways(to: str) -> None:
    assert limits(ALONE, grant(to=to)) == Limits(10, 1)


def test_of_the_shares_of_the_grants_that_are_used_the_smallest_holds() -> None:
    by_region = plan(reveal(use("balance"), use("region", "group")))
    labels = grant('["region"]', uses='["group"]', max_share="0.7")
    assert limits(by_region, grant(max_share="0.9") + labels).max_share == Decimal("0.7")
    assert limits(ALONE, grant(max_share="0.9") + labels).max_share == Decimal("0.9")
    assert limits(ALONE, grant(max_share="0.9") + grant()).max_share is None  # each grant suffices by itself
    told = limits(by_region, grant(max_share="0.9") + labels).told()
    assert Limits.from_told(told) == Limits(10, 1, Decimal("0.7"))


def test_a_share_that_is_not_kept_over_joins_fits_no_join() -> None:
    (single,) = ALONE.reveals
    joined = JoinReveal(**{**vars(single), "joined": ("bank_a", "tax"), "grouped_by": ()})
    error = refusal(plan(joined), grant(max_share="0.9"))
    assert error.facts["missing"][0]["reasons"] == ["joined"]
    assert "has max_share, which cannot be kept in SUM(balance) over this join" in error.message
    assert limits(plan(joined), grant(max_share="0.9") + grant()) == Limits(10, 1)


def test_all_columns_and_case_insensitive_names() -> None:
    assert limits(ALONE, grant('["*"]')) == Limits(10, 1)
    assert limits(ALONE, grant('["BALANCE"]', table='"Accounts"')) == Limits(10, 1)


def test_the_union_of_grants_applies() -> None:
    by_region = plan(reveal(use("balance"), use("region", "group")))
    policy = grant(min_entities="20") + grant('["region"]', uses='["group"]', min_entities="5")
    assert limits(by_region, policy) == Limits(20, 1)  # strictest of those that are used


def test_of_several_grants_the_one_with_fewest_entities_suffices() -> None:
    assert limits(ALONE, grant(min_entities="20") + grant(min_entities="3") + grant(min_entities="7")) == Limits(3, 1)


def test_limits_of_two_grants_are_never_mixed() -> None:
    """One grant lets few entities out among many institutions, the other many among few: not few among few."""
    policy = grant(min_entities="1", min_contributors="3") + grant(min_entities="50", min_contributors="2")
    assert limits(TWO, policy) == Limits(50, 2)
    assert limits(THREE, policy) == Limits(1, 3)


def test_own_data_to_ones_own_institution_needs_no_grant() -> None:
    assert limits(ALONE, "", request(BANK_A)) == Limits(0, 1)
    assert limits(THREE, "", request(BANK_A)) == Limits(0, 1)
    modeler_of_bank = request(ANALYST, bank_a="institute")
    assert limits(ALONE, "", modeler_of_bank) == Limits(0, 1)
    assert refusal(ALONE, "", request(BANK_A, ANALYST)).facts["missing"][0]["to"] == ["modeler:analyst"]


def test_who_has_no_data_in_the_job_has_nothing_to_grant() -> None:
    assert limits(ALONE, "", request(COURT), party="court") == Limits(0, 1)
    assert suggest(ALONE, "court", request(COURT)) == ""


def test_expiry_day_is_included() -> None:
    policy = grant(expires="2026-03-01")
    assert limits(ALONE, policy) == Limits(10, 1)
    assert "expired on 2026-03-01" in refusal(ALONE, policy, request(today=dt.date(2026, 3, 2))).message


def test_count_of_rows_without_key_is_covered_by_any_column() -> None:
    rows = plan(reveal(use("*"), what="COUNT(*)"))
    assert limits(rows, grant()) == Limits(10, 1)
    assert refusal(rows, grant("[]")).code == "policy.refused"
    assert refusal(rows, grant(uses='["filter"]')).code == "policy.refused"
    text = refusal(rows, "").facts["grant"]
    assert "any one column is enough" in text
    assert limits(rows, text) == Limits(10, 1)
    beside = suggest(plan(reveal(use("*"), use("balance"))), "bank_a", request())
    assert '["*"]' not in beside  # COUNT(*) does not widen a grant that names a column anyway


# ---- what does not pass


@pytest.mark.parametrize(
    ("policy", "asked", "because"),
    [
        (grant('["income"]'), {}, "does not name the column"),
        (grant(uses='["filter", "group"]'), {}, "does not grant aggregate"),
        (grant(to='["bank_b", "organisation:x", "modeler:else"]'), {}, "is not for modeler:analyst"),
        (grant(to=""), {}, "names no recipient"),
        (grant(columns=""), {}, "names no columns"),
        (grant(purposes='["credit"]'), {"purpose": "marketing"}, 'is not for the purpose "marketing"'),
        (grant(purposes='["credit"]'), {}, "is for named purposes only, and the job states none"),
        (grant(purposes="[]"), {"purpose": "credit"}, 'is not for the purpose "credit"'),
        (grant(trust='["helper"]'), {}, "does not allow trust level parties"),
        (grant(expires="2026-02-28"), {}, "expired on 2026-02-28"),
        (grant(alone="false"), {}, "has alone = false: accounts is shown in totals with other institutions only"),
    ],
)
def test_a_refusal_says_which_condition_failed(policy: str, asked: dict[str, str], because: str) -> None:
    error = refusal(ALONE, '[[grant]]\ntable = "other"\n' + policy, request(**asked))
    assert error.code == "policy.refused"
    assert "policy of bank_a" in error.message
    assert "accounts: balance for aggregate, shown to modeler:analyst as SUM(balance)" in error.message
    assert f"The grant at line 3 comes closest: it {because}" in error.message
    assert error.facts["missing"][0]["line"] == 3
    assert limits(ALONE, policy + error.facts["grant"], request(**asked))


def test_a_limit_of_the_right_grant_comes_closer_than_a_grant_for_another_purpose() -> None:
    """Who forgets --epsilon is told to ask with noise, and not of a grant above it that is about something else."""
    budget = grant(purposes='["census"]', budget="{ epsilon = 1.0 }")
    error = refusal(ALONE, grant(purposes='["credit"]') + budget, request(purpose="census"))
    assert "has a budget: its numbers carry noise" in error.message
    assert "Ask with noise: --epsilon 1" in error.advice
    trust = grant(purposes='["census"]', trust='["helper"]', approval='"manual"')
    error = refusal(ALONE, grant(purposes='["credit"]') + trust, request(purpose="census"))
    assert "does not allow trust level parties" in error.message


def test_manual_approval_waits_for_a_person() -> None:
    for policy in (grant(approval=""), grant(approval='"manual"')):
        error = refusal(ALONE, policy)
        assert error.code == "policy.pending" and "the grant at line 1" in error.message
        assert "heji jobs approve" in error.advice
        assert limits(ALONE, policy, replace(request(), by_hand=1)) == limits(ALONE, grant(), request())


def test_two_persons_where_the_grant_asks_for_two() -> None:
    policy = grant(approval='"two"')
    for persons in (0, 1):
        error = refusal(ALONE, policy, replace(request(), by_hand=persons))
        assert (error.code, error.facts["persons"]) == ("policy.pending", 2) and "two persons" in error.message
    assert limits(ALONE, policy, replace(request(), by_hand=2)) == limits(ALONE, grant(), request())


def test_as_few_persons_as_suffice_and_no_limits_of_a_grant_that_asks_for_more() -> None:
    """A second grant with a lower limit counts for nobody until two persons have approved."""
    policy = grant(approval='"manual"', min_entities="20") + grant(approval='"two"', min_entities="3")
    assert refusal(ALONE, policy).facts["persons"] == 1
    assert limits(ALONE, policy, replace(request(), by_hand=1)).min_entities == 20


def test_a_persons_word_is_no_grant() -> None:
    """What no grant gives is refused whatever a person says, and nobody is asked."""
    for policy in ("", grant(approval='"manual"', uses='["group"]'), grant(approval='"manual"', to='["bank_b"]')):
        assert refusal(ALONE, policy).code == "policy.refused"
        assert refusal(ALONE, policy, replace(request(), by_hand=1)).code == "policy.refused"


def test_default_deny() -> None:
    error = refusal(ALONE, "")
    assert "No grant is about the table accounts" in error.message
    assert error.facts["missing"] == [
        {
            "party": "bank_a",
            "table": "accounts",
            "columns": ["balance"],
            "use": "aggregate",
            "to": ["modeler:analyst"],
            "reveals": "SUM(balance)",
            "where": "aggregate of balance",
            "line": None,
            "reasons": [],
        }
    ]
    assert error.advice.endswith(error.facts["grant"])
    assert error.facts["grant"] == (
        '[[grant]]\ntable = "accounts"\ncolumns = ["balance"]\nto = ["modeler:analyst"]\nuses = ["aggregate"]\n'
        'trust = ["parties"]\napproval = "auto"\n'
    )


def test_all_that_is_missing_is_told_at_once_in_as_few_grants_as_give_nothing_more() -> None:
    wide = plan(
        reveal(use("balance"), use("income"), use("region", "group"), use("open", "filter", table="loans")),
        reveal(use("balance", "arithmetic"), use("income", "arithmetic")),
    )
    error = refusal(wide, grant())
    assert [(m["table"], m["columns"], m["use"]) for m in error.facts["missing"]] == [
        ("accounts", ["income"], "aggregate"),
        ("accounts", ["region"], "group"),
        ("loans", ["open"], "filter"),
        ("accounts", ["balance"], "arithmetic"),  # line 1 lacks the use; for income it lacks the column too
        ("accounts", ["income"], "arithmetic"),
    ]
    granted = [(g.table, g.columns, g.uses) for g in parse_policy(suggest(wide, "bank_a", request())).grants]
    assert granted == [
        ("accounts", ("balance", "income"), ("aggregate", "arithmetic")),
        ("accounts", ("region",), ("group",)),
        ("loans", ("open",), ("filter",)),
    ]


def test_every_recipient_must_be_granted() -> None:
    asked = request(ANALYST, COURT)
    assert refusal(ALONE, grant(), asked).facts["missing"][0]["to"] == ["court"]
    assert limits(ALONE, grant() + grant(to='["court"]', min_entities="30"), asked) == Limits(30, 1)


def test_other_owners_columns_are_not_this_owners_matter() -> None:
    assert limits(plan(reveal(use("balance"), use("x", party="tax"))), grant()) == Limits(10, 2)


def test_uses_without_rules_are_refused_whatever_was_granted() -> None:
    error = refusal(plan(reveal(use("balance", "threshold"))), grant(uses='["threshold"]'))
    assert error.code == "policy.unenforceable"


def test_a_local_query_nobody_declared_needs_its_grant() -> None:
    """A planner that forgets a column must not open the table."""
    source = LocalQuery("bank_a", "SELECT ...", ("accounts", "secrets"))
    error = refusal(plan(reveal(use("balance")), sources=(source,)), grant())
    assert error.facts["missing"][0]["table"] == "secrets"


def test_purposes_cannot_break_out_of_the_grant_text() -> None:
    hostile = 'x"]\n[[grant]]\ntable = "*'
    [g] = parse_policy(suggest(ALONE, "bank_a", request(purpose=hostile))).grants
    assert g.purposes == (hostile,)
    assert '\n[[grant]]\ntable = "*' not in refusal(ALONE, grant(purposes='["y"]'), request(purpose=hostile)).message


# ---- contributors


def test_two_parties_and_a_total_for_one_of_them() -> None:
    to_b, allowed = request(BANK_B), request(BANK_B, allow_two_party=True)
    one = grant(to='["bank_b"]', min_contributors="1")
    for party in ("bank_a", "bank_b"):
        error = refusal(TWO, one, to_b, party)
        assert error.code == "plan.two_party"
        assert "bank_a, bank_b only, and bank_b receives it" in error.message
        assert "--allow-two-party" in error.advice
    error = refusal(TWO, grant(to='["bank_b"]'), allowed)
    assert error.code == "policy.contributors"
    assert "demands 2 contributing institutions besides the recipient's own, and this total has 1" in error.message
    assert "min_contributors = 1" in error.facts["grant"]
    assert limits(TWO, one, allowed) == Limits(10, 1)
    assert limits(TWO, "", allowed, "bank_b") == Limits(0, 1)


def test_the_job_cannot_allow_two_parties_by_itself() -> None:
    assert refusal(TWO, "", request(BANK_B, allow_two_party=True)).code == "policy.refused"


def test_three_contributors_of_two_institutions_are_two() -> None:
    group = {"bank_b": "group", "tax": "group"}
    recipient = BANK_B.__class__("tax", "group", ("party",))
    error = refusal(THREE, grant(to='["any"]'), request(recipient, **group))
    assert error.code == "plan.two_party"
    assert "bank_b and tax count as one" in error.message
    assert limits(THREE, grant(), request(**group)) == Limits(10, 2)


def test_a_modeler_of_a_contributing_institution_counts_as_that_institution() -> None:
    error = refusal(TWO, grant(), request(ANALYST, bank_b="institute"))
    assert error.code == "plan.two_party"


def test_one_institution_with_two_nodes_is_one_contributor() -> None:
    error = refusal(TWO, grant(), request(bank_b="bank_a"))
    assert error.code == "policy.contributors"
    assert "this total has 1" in error.message


def test_recipients_own_institution_is_no_contributor() -> None:
    policy = grant(to='["bank_b"]', min_contributors="3")
    assert refusal(THREE, policy, request(BANK_B)).code == "policy.contributors"
    assert limits(THREE, grant(to='["bank_b"]'), request(BANK_B)) == Limits(10, 2)


def test_each_recipient_is_judged_by_itself() -> None:
    """Three lenders that all learn their total: each reads the sum of the two others, as if it were alone."""
    policy = grant(to='["bank_b", "tax"]')
    tax = BANK_B.__class__("tax", "tax", ("party",))
    assert limits(THREE, policy, request(BANK_A, BANK_B, tax)) == Limits(10, 2)


def test_ones_own_total_is_not_judged_by_contributors_but_alone_is() -> None:
    assert limits(ALONE, grant(min_contributors="5")) == Limits(10, 1)
    assert limits(TWO, grant(alone="false")) == Limits(10, 2)


def test_a_pooled_total_the_owner_adds_nothing_to() -> None:
    others = plan(reveal(use("region", "filter"), contributors=("bank_b", "tax")))
    assert limits(others, grant('["region"]', uses='["filter"]', min_contributors="9")) == Limits(10, 1)


# ---- totals of different sets over one snapshot


def sets(
    before: list[ContributorSet], the_plan: Plan, policy: str, asked: Request | None = None, snapshot: str = "s1"
) -> tuple[ContributorSet, ...]:
    return contributor_sets_conflict(before, the_plan, "bank_a", parse_policy(policy), asked or request(), snapshot)


def test_a_column_enters_totals_of_one_set_over_one_snapshot() -> None:
    first = sets([], TWO, grant())
    assert first == (ContributorSet("accounts", "balance", frozenset({"bank_a", "bank_b"}), "s1"),)
    assert sets(list(first), TWO, grant()) == first
    with pytest.raises(LocalError) as caught:
        sets(list(first), pooled_balance("bank_a", "tax"), grant())
    assert caught.value.code == "policy.contributors"
    assert "accounts.balance: now bank_a+tax, before bank_a+bank_b" in caught.value.message
    assert "line 1" in caught.value.advice
    assert sets(list(first), pooled_balance("bank_a", "tax"), grant(), snapshot="s2")[0].snapshot == "s2"
    assert sets(list(first), pooled_balance("bank_a", "tax"), grant(contributor_sets='"any"'))


def test_a_smaller_set_is_another_set() -> None:
    first = list(sets([], THREE, grant()))
    with pytest.raises(LocalError):
        sets(first, TWO, grant())


def test_the_word_any_of_another_recipients_grant_does_not_count() -> None:
    first = list(sets([], TWO, grant()))
    with pytest.raises(LocalError):
        sets(first, THREE, grant() + grant(to='["court"]', contributor_sets='"any"'))


def test_the_word_any_of_a_grant_whose_limits_were_not_used_does_not_count() -> None:
    first = list(sets([], TWO, grant()))
    with pytest.raises(LocalError):
        sets(first, THREE, grant(min_entities="1") + grant(min_entities="50", contributor_sets='"any"'))


def test_filters_own_totals_and_totals_that_stay_inside_are_not_counted() -> None:
    filtered = plan(reveal(use("region", "filter"), use("balance", party="tax"), contributors=("bank_a", "tax")))
    assert sets([], filtered, "") == ()
    assert sets([], ALONE, "") == ()
    assert sets([], THREE, "", request(BANK_A)) == ()
    assert contributor_sets_conflict([], ALONE, "court", parse_policy(""), request(), "s") == ()


def test_several_sets_in_one_job() -> None:
    solvable = plan(*THREE.reveals, *TWO.reveals)
    error = refusal(solvable, grant())
    assert error.code == "policy.contributors"
    assert "this job adds it to several" in error.message
    assert 'contributor_sets = "any"' in error.facts["grant"]
    assert limits(solvable, grant(contributor_sets='"any"')) == Limits(10, 2)
    assert len(sets([], solvable, grant(contributor_sets='"any"'))) == 2
