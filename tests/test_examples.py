"""Every example runs as its README says, to the last digit, under the policies beside it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from examples.running import HERE, make_tables, names, queries, run
from examples.walking import commands, walk
from mpc.errors import LocalError
from mpc.policy.flow import Recipient, Request, check
from mpc.policy.grants import ANY, Policy, parse_policy
from mpc.policy.review import ALLOWED, read_case
from mpc.query.catalog import Catalog, Table
from mpc.query.compile import compile_plan
from mpc.query.plan import Plan
from parties.demo.tables import DECLARED


def test_there_are_those_that_the_page_lists() -> None:
    page = (HERE / "README.md").read_text(encoding="utf-8")
    assert len(names()) >= 5 and all(f"[{name}]({name}/README.md)" in page for name in names())
    assert all(queries(name) for name in names())


@pytest.mark.slow
@pytest.mark.parametrize("example", names())
def test_example(example: str) -> None:
    page = (HERE / example / "README.md").read_text(encoding="utf-8")
    for told in run(example):
        assert told.comparison.exact, told.comparison.differences
        assert told.comparison.cells
        assert f"```sql\n{told.query.sql}\n```\n\nTo {told.query.to}" in page
        assert f"```\n{told.table()}\n```" in page


@pytest.mark.slow
@pytest.mark.parametrize("example", [n for n in names() if commands((HERE / n / "README.md").read_text("utf-8"))])
def test_commands_print_what_the_page_says(example: str) -> None:
    steps = list(walk(example))
    assert len(steps) >= 5
    for step in steps:
        assert step.same, f"{step.command}\n{step.printed}"


@pytest.mark.parametrize("example", names())
def test_policies_grant_what_the_queries_need_and_no_more(example: str, tmp_path: Path) -> None:
    """Each use of each column is taken away in turn: then some query is refused."""
    tables = make_tables(example, tmp_path)
    parties = sorted({t.party for t in tables})
    catalogs = {p: Catalog(p, tuple(t.table for t in tables if t.party == p)) for p in parties}
    asked = []
    for q in queries(example):
        recipient = Recipient(q.to, q.to, ("party",) if q.to in parties else ("modeler",))
        trust = "deposit" if q.method else q.trust
        asked.append((compile_plan(q.sql, catalogs, recipients=(q.to,), trust=trust), recipient, q.purpose))
    for path in sorted((HERE / example / "policy").glob("*.toml")):
        policy = parse_policy(path.read_text(encoding="utf-8"))
        assert all(allows(policy, path.stem, *one) for one in asked)
        for left, without in less(policy):
            assert not all(allows(left, path.stem, *one) for one in asked), f"{path} need not grant {without}"
        assert all(ANY not in (*g.to, *g.purposes) for g in policy.grants)


def less(policy: Policy) -> Iterator[tuple[Policy, str]]:
    """The policy with one use of one column taken away, each in turn."""
    for n, grant in enumerate(policy.grants):
        for column in grant.columns:
            for use in grant.uses:
                kept = [
                    replace(grant, columns=tuple(c for c in grant.columns if c != column)),
                    replace(grant, columns=(column,), uses=tuple(u for u in grant.uses if u != use)),
                ]
                grants = (*policy.grants[:n], *(g for g in kept if g.columns), *policy.grants[n + 1 :])
                yield replace(policy, grants=grants), f"{use} of {grant.table}.{column}, line {grant.line}"


def allows(policy: Policy, party: str, plan: Plan, to: Recipient, purpose: str) -> bool:
    if party not in plan.parties:
        return True
    request = Request(
        recipients=(to,),
        organisations={p: p for p in plan.parties},
        purpose=purpose,
        trust=plan.trust,
        allow_two_party=False,
        today=dt.date(2026, 1, 1),
    )
    try:
        check(plan, party, policy, request)
    except LocalError:
        return False
    return True


# ---- policies of institutions


POLICIES = sorted((HERE / "policies").glob("*/queries/*.sql"))


def declared(party: str) -> tuple[Table, ...]:
    """The demo's tables of a party, as its catalog has them."""
    return tuple(
        Table(t, columns, 2000, about, unique=True) for (p, t), (columns, about, _) in DECLARED.items() if p == party
    )


CATALOGS = {
    **{p: Catalog(p, declared(p)) for p in ("tax", "bank_a", "bank_b", "telecom")},
    "court": Catalog.from_dict(json.loads((HERE / "policies/court/catalog.json").read_text(encoding="utf-8"))),
}


def test_there_is_a_policy_for_each_kind_of_institution() -> None:
    page = (HERE / "README.md").read_text(encoding="utf-8")
    found = {path.parent.parent.name for path in POLICIES}
    assert found == {"tax", "bank_b", "telecom", "court"}
    assert all(f"[{name}](policies/{name}/policy.toml)" in page for name in found)


@pytest.mark.parametrize("path", POLICIES, ids=lambda p: f"{p.parent.parent.name}-{p.stem}")
def test_a_policy_says_to_each_query_what_its_owner_expects(path: Path) -> None:
    owner = path.parent.parent.name
    policy = parse_policy((path.parent.parent / "policy.toml").read_text(encoding="utf-8"))
    case = read_case(path.name, path.read_text(encoding="utf-8"))
    plan = compile_plan(case.sql, CATALOGS, recipients=case.to, trust=case.trust)
    to = tuple(Recipient(r, r, ("party",) if r in CATALOGS else ("modeler",)) for r in case.to)
    organisations = {p: p for p in plan.parties}
    request = Request(to, organisations, case.purpose, plan.trust, case.allow_two_party, dt.date(2026, 12, 1))
    try:
        check(plan, owner, policy, request)
        verdict = ALLOWED
    except LocalError as refused:
        verdict = refused.code
    assert case.met_by(verdict), verdict


@pytest.mark.parametrize("owner", sorted({path.parent.parent.name for path in POLICIES}))
def test_each_policy_allows_something_refuses_something_and_asks_a_person(owner: str) -> None:
    said = {
        read_case(p.name, p.read_text(encoding="utf-8")).expect for p in (HERE / "policies" / owner).glob("*/*.sql")
    }
    assert {ALLOWED, "policy.refused", "policy.pending"} <= said
