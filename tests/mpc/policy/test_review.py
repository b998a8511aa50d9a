"""Policies compared, and example queries with the verdict they should have."""

from __future__ import annotations

import pytest

from mpc.errors import LocalError
from mpc.policy.grants import parse_policy
from mpc.policy.review import differences, read_case

GRANT = """
[[grant]]
table = "firms"
columns = ["paid", "Employees"]
to = ["bank", "modeler:analyst"]
uses = ["aggregate", "filter"]
approval = "auto"
"""
OTHER = """
[[grant]]
table = "firms"
columns = ["industry"]
to = ["any"]
uses = ["group"]
approval = "auto"
"""


def changed(old: str, new: str) -> list[str]:
    return list(differences(parse_policy(old), parse_policy(new)))


def test_order_comments_and_writing_are_no_difference() -> None:
    turned = GRANT.replace('["paid", "Employees"]', '["employees", "PAID"]').replace(
        '["aggregate", "filter"]', '["filter", "aggregate"]'
    )
    assert changed(GRANT + OTHER, f"# reviewed\n{OTHER}{turned}") == []


def test_a_changed_limit_is_a_grant_gone_and_a_new_one() -> None:
    lines = changed(GRANT + OTHER, GRANT + OTHER.replace('uses = ["group"]', 'uses = ["group"]\nmin_entities = 3'))
    assert [line for line in lines if "[[grant]]" in line] == ["- [[grant]]", "+ [[grant]]"]
    assert "+ min_entities = 3" in lines and not any("paid" in line for line in lines)


def test_a_case() -> None:
    case = read_case(
        "a.sql",
        "-- what the credit desk asks every month\n-- to: analyst, bank\n-- purpose: SME credit line review\n"
        "-- expect: policy.refused\n-- allow-two-party\n\nSELECT 1 -- to: nobody\n",
    )
    assert (case.to, case.purpose, case.trust) == (("analyst", "bank"), "SME credit line review", "helper")
    assert case.allow_two_party and case.sql.strip().endswith("-- to: nobody")
    assert case.met_by("policy.refused") and not case.met_by("allowed") and not case.met_by("policy.contributors")


def test_a_case_with_noise() -> None:
    case = read_case("a.sql", "-- to: analyst\n-- expect: allowed\n-- epsilon: 0.5\n-- entity-rows: 12\nSELECT 1")
    assert (case.epsilon, case.entity_rows) == ("0.5", 12)


def test_refused_is_any_refusal() -> None:
    case = read_case("a.sql", "-- to: analyst\n-- expect: refused\nSELECT 1")
    assert case.met_by("plan.two_party") and not case.met_by("allowed")


@pytest.mark.parametrize(
    "text", ["SELECT 1", "-- to: analyst\nSELECT 1", "-- expect: allowed\nSELECT 1\n-- to: analyst"]
)
def test_a_case_says_to_whom_and_what_to_expect(text: str) -> None:
    with pytest.raises(LocalError) as caught:
        read_case("monthly.sql", text)
    assert caught.value.code == "config.invalid" and "monthly.sql" in caught.value.message
