"""Every example runs as its README says, to the last digit, under the policies beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from examples.running import HERE, make_tables, names, queries, run
from mpc.errors import LocalError
from mpc.policy.flow import Recipient, Request, check
from mpc.policy.grants import ANY, Policy, parse_policy
from mpc.query.catalog import Catalog
from mpc.query.compile import compile_plan
from mpc.query.plan import Plan


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


@pytest.mark.parametrize("example", names())
def test_policies_grant_what_the_queries_need_and_no_more(example: str, tmp_path: Path) -> None:
    """Each use of each column is taken away in turn: then some query is refused."""
    tables = make_tables(example, tmp_path)
    parties = sorted({t.party for t in tables})
    catalogs = {p: Catalog(p, tuple(t.table for t in tables if t.party == p)) for p in parties}
    asked = []
    for q in queries(example):
        recipient = Recipient(q.to, q.to, ("party",) if q.to in parties else ("modeler",))
        trust = "deposit" if q.method else "helper"
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
