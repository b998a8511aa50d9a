"""The check against a brute-force reference, and every suggested grant against the check."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.policy.flow import Limits, Recipient, Request, check, contributor_sets_conflict, suggest
from mpc.policy.grants import Grant, Policy, parse_policy, write_grant
from mpc.query.plan import Plan
from mpc.query.plan_reveals import ColumnUse, Use
from tests.mpc.policy.plans import ANALYST, BANK_A, BANK_B, COURT, TODAY, plan, reveal

PARTIES = ("bank_a", "bank_b", "tax")
COLUMNS = ("x", "y", "*")
TOTAL_USES: tuple[Use, ...] = ("aggregate", "arithmetic", "filter", "group")


def some(*values: object, most: int = 2) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.sampled_from(values), unique=True, max_size=most).map(tuple)


USES = st.builds(
    ColumnUse,
    st.sampled_from(PARTIES),
    st.sampled_from(("t", "u")),
    st.sampled_from(COLUMNS),
    st.sampled_from(TOTAL_USES),
    st.just("fragment"),
)
REVEALS = st.builds(lambda uses: reveal(*uses), st.lists(USES, min_size=1, max_size=4))
PLANS = st.builds(lambda reveals: plan(*reveals, parties=PARTIES), st.lists(REVEALS, min_size=1, max_size=3))
REQUESTS = st.builds(
    Request,
    st.lists(st.sampled_from((ANALYST, BANK_A, BANK_B, COURT)), min_size=1, max_size=2, unique=True).map(tuple),
    st.fixed_dictionaries({p: st.sampled_from((p, "institute", "group")) for p in PARTIES}),
    st.sampled_from(("", "credit", "audit")),
    st.sampled_from(("helper", "parties")),
    st.just(True),
    st.just(TODAY),
)
GRANTS = st.builds(
    Grant,
    st.sampled_from(("t", "u")),
    some(*COLUMNS),
    some("any", "analyst", "modeler:analyst", "modeler:court", "court", "organisation:court", "bank_b", "bank_a"),
    some(*TOTAL_USES, most=4),
    some("any", "credit", "audit"),
    some("helper", "parties"),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(("one", "any")),
    st.booleans(),
    approval=st.sampled_from(("auto", "auto", "manual", "two")),
    expires=st.sampled_from((None, TODAY, TODAY - dt.timedelta(1))),
)
GENEROUS = GRANTS.map(lambda g: replace(g, columns=("*",), uses=TOTAL_USES, to=("any",), approval="auto", expires=None))
POLICIES = st.lists(GRANTS | GENEROUS, max_size=5)


def policy_of(grants: list[Grant]) -> Policy:
    return parse_policy("\n".join(map(write_grant, grants)))


def reference(the_plan: Plan, grants: list[Grant], asked: Request) -> Limits | None:
    """bank_a's answer, spelled out: every (reveal, column, use, recipient) on its own, every grant tried."""
    entities, contributors = [0], [1]
    pooled_sets: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for r in the_plan.reveals:
        for u in r.uses:
            if u.party == "bank_a" and r.pooled and u.use in ("aggregate", "arithmetic"):
                pooled_sets.setdefault((u.table, u.column), set()).add(r.contributors)
    for r, who in product(the_plan.reveals, asked.recipients):
        if who.organisation == asked.organisations["bank_a"]:
            continue
        institutions = {asked.organisations[c] for c in r.contributors}
        institutions.discard(who.organisation)
        for u in r.uses:
            if u.party != "bank_a":
                continue
            several = r.pooled and u.use in ("aggregate", "arithmetic") and len(pooled_sets[u.table, u.column]) > 1
            passing = [g for g in grants if passes(g, u, who, asked)]
            if r.pooled:
                passing = [g for g in passing if len(institutions) >= g.min_contributors]
            else:
                passing = [g for g in passing if g.alone]
            if several:
                passing = [g for g in passing if g.contributor_sets == "any"]
            if not passing:
                return None
            fewest = min(g.min_entities for g in passing)
            entities.append(fewest)
            if r.pooled:
                contributors.append(min(g.min_contributors for g in passing if g.min_entities == fewest))
    return Limits(max(entities), max(contributors))


def passes(g: Grant, u: ColumnUse, who: Recipient, asked: Request) -> bool:
    if g.table != u.table or u.use not in g.uses or asked.trust not in g.trust:
        return False
    if asked.by_hand < {"auto": 0, "manual": 1, "two": 2}[g.approval]:
        return False
    if not (u.column in g.columns or "*" in g.columns or (u.column == "*" and g.columns)):
        return False
    if g.expires is not None and g.expires < asked.today:
        return False
    if not ("any" in g.purposes or asked.purpose in g.purposes):
        return False
    return any(
        to in ("any", who.name, "organisation:" + who.organisation)
        or (to == "modeler:" + who.name and "modeler" in who.roles)
        for to in g.to
    )


def answer(the_plan: Plan, policy: Policy, asked: Request) -> Limits | LocalError:
    try:
        return check(the_plan, "bank_a", policy, asked)
    except LocalError as error:
        return error


@given(PLANS, POLICIES, REQUESTS)
def test_check_agrees_with_brute_force(the_plan: Plan, grants: list[Grant], asked: Request) -> None:
    expected, got = reference(the_plan, grants, asked), answer(the_plan, policy_of(grants), asked)
    if expected is not None:
        assert got == expected
        return
    assert isinstance(got, LocalError)
    enough = [n for n in (1, 2) if reference(the_plan, grants, replace(asked, by_hand=n)) is not None]
    if enough:
        assert (got.code, got.facts["persons"]) == ("policy.pending", min(enough))
    else:
        assert got.code in ("policy.refused", "policy.contributors")


@given(PLANS, POLICIES, REQUESTS)
def test_what_a_refusal_suggests_suffices(the_plan: Plan, grants: list[Grant], asked: Request) -> None:
    got = answer(the_plan, policy_of(grants), asked)
    if isinstance(got, Limits):
        return
    text = "\n".join(map(write_grant, grants)) + "\n" + got.facts["grant"]
    assert isinstance(answer(the_plan, parse_policy(text), asked), Limits)


@given(PLANS, POLICIES, REQUESTS)
def test_what_suggest_drafts_suffices_alone_and_appended(the_plan: Plan, grants: list[Grant], asked: Request) -> None:
    draft = suggest(the_plan, "bank_a", asked)
    assert isinstance(answer(the_plan, parse_policy(draft), asked), Limits)
    appended = parse_policy("\n".join(map(write_grant, grants)) + "\n" + draft)
    assert isinstance(answer(the_plan, appended, asked), Limits)
    contributor_sets_conflict([], the_plan, "bank_a", parse_policy(draft), asked, "s")


@given(PLANS, REQUESTS)
def test_a_suggestion_gives_no_column_a_use_it_does_not_need(the_plan: Plan, asked: Request) -> None:
    needed = {(u.table, u.column, u.use) for r in the_plan.reveals for u in r.uses if u.party == "bank_a"}
    for g in parse_policy(suggest(the_plan, "bank_a", asked)).grants:
        assert {(g.table, c, u) for c in g.columns for u in g.uses} <= needed


@given(PLANS, POLICIES, REQUESTS)
def test_more_grants_never_forbid(the_plan: Plan, grants: list[Grant], asked: Request) -> None:
    if isinstance(answer(the_plan, policy_of(grants[:-1]), asked), Limits):
        assert isinstance(answer(the_plan, policy_of(grants), asked), Limits)


@given(PLANS, POLICIES, REQUESTS)
def test_two_institutions_are_refused_unless_the_job_says_so(
    the_plan: Plan, grants: list[Grant], asked: Request
) -> None:
    institutions = [{asked.organisations[c] for c in r.contributors} for r in the_plan.reveals if r.pooled]
    readable = any(len(i) == 2 and r.organisation in i for i in institutions for r in asked.recipients)
    got = answer(the_plan, policy_of(grants), replace(asked, allow_two_party=False))
    assert (isinstance(got, LocalError) and got.code == "plan.two_party") == readable
