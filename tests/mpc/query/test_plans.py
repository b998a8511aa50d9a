"""Plans as text, so that a change in planning is seen; the same plan in every process; what is revealed, and how."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mpc.explain import explain, render
from mpc.query.compile import compile_plan
from mpc.query.plan import Plan
from tests.mpc.query.bureau import UNION, bureau
from tests.mpc.query.golden import FIXTURES, same

ANALYST = ("analyst",)

#: one of each shape
QUESTIONS = {
    "one party": "SELECT COUNT(*), SUM(balance), AVG(balance) FROM bank_a.accounts WHERE active",
    "union": f"SELECT SUM(balance) AS together FROM {UNION} AS u",
    "union by keys": f"SELECT region, active, COUNT(*), STDDEV(n) FROM {UNION} AS u GROUP BY region, active "
    "HAVING COUNT(*) > 1 ORDER BY region LIMIT 5",
    "different columns": "SELECT (SELECT SUM(tax_paid) FROM tax.firms) + (SELECT SUM(balance) FROM bank_a.accounts) "
    "- 2 * (SELECT SUM(spend) FROM telecom.firms WHERE roams) AS net",
    "histogram": f"SELECT CASE WHEN balance < 0 THEN 'debt' WHEN balance < 100 THEN 'some' ELSE 'more' END AS bin, "
    f"COUNT(*) FROM {UNION} AS u GROUP BY bin",
    "labels": "SELECT who, SUM(n) FROM (SELECT 'a' AS who, n FROM bank_a.accounts UNION ALL "
    "SELECT 'b', n FROM bank_b.accounts) AS u GROUP BY who",
    "wide": f"SELECT SUM(huge) FROM {UNION} AS u",
    "totals beside each other": "SELECT (SELECT COUNT(*) FROM tax.firms) / (SELECT COUNT(*) FROM telecom.firms) AS r",
    "filter and distinct": "SELECT COUNT(*) FILTER (WHERE n > 0), COUNT(DISTINCT uscc) FROM bank_b.accounts",
}


def plan(name: str) -> Plan:
    return bureau().plan(QUESTIONS[name])


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_explained(name: str) -> None:
    p = plan(name)
    text = f"{QUESTIONS[name]}\n\n{render(explain(p, ANALYST))}\nplan {p.digest()}\n"
    same(f"plans/{name.replace(' ', '_')}.txt", text)


def test_no_fixture_is_left_behind() -> None:
    assert {f.stem for f in (FIXTURES / "plans").iterdir()} == {n.replace(" ", "_") for n in QUESTIONS}


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_explain_and_plan_survive_json(name: str) -> None:
    p = plan(name)
    for body in (explain(p, ANALYST), p.to_dict()):
        assert json.loads(json.dumps(body)) == body


# ---- one plan everywhere

DIGESTS = """
from tests.mpc.query.test_plans import QUESTIONS, plan
print(*(plan(n).digest() for n in sorted(QUESTIONS)))
"""


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_the_same_plan_in_every_process(seed: str) -> None:
    """Nodes compile the job text themselves and compare digests: nothing may depend on the order of a set."""
    env = {**os.environ, "PYTHONHASHSEED": seed}
    out = subprocess.run([sys.executable, "-c", DIGESTS], env=env, capture_output=True, text=True, check=True)
    assert out.stdout.split() == [plan(n).digest() for n in sorted(QUESTIONS)]


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_the_order_of_catalogs_and_other_parties_do_not_matter(name: str) -> None:
    catalogs, p = bureau().catalogs, plan(name)
    turned = dict(reversed(catalogs.items()))
    named = {party: c for party, c in catalogs.items() if party in p.parties}
    for some in (turned, named):
        assert compile_plan(QUESTIONS[name], some, recipients=ANALYST, trust="parties") == p


def test_who_receives_and_the_accepted_trust_do_not_change_a_sum() -> None:
    """Sums need no third seat: they rest on the parties, whatever weaker level the job would accept."""
    catalogs, sql = bureau().catalogs, QUESTIONS["union"]
    for trust in ("parties", "helper"):
        made = compile_plan(sql, catalogs, recipients=("bank_a", "analyst"), trust=trust)
        assert made == plan("union") and made.trust == "parties"
    assert all(plan(n).trust == "parties" for n in QUESTIONS)


@pytest.mark.parametrize("other", ["SELECT SUM(n) FROM bank_a.accounts", "SELECT COUNT(n) FROM bank_b.accounts"])
def test_other_questions_have_other_plans(other: str) -> None:
    assert bureau().plan(other).digest() != bureau().plan("SELECT COUNT(n) FROM bank_a.accounts").digest()


# ---- words


def words(sql: str) -> list[list[str]]:
    """The kinds of words by measure, pools one after another."""
    return [[w.kind for w in m.words] for p in bureau().plan(sql).pools for m in p.measures]


@pytest.mark.parametrize(
    ("select", "found"),
    [
        ("COUNT(*)", [["rows"]]),
        ("region, COUNT(*)", [["rows"]]),
        ("region, COUNT(*), COUNT(*) AS again", [["rows"]]),
        ("region, COUNT(*) * 2", [["rows"]]),
        ("region", [["rows"]]),
        ("region, SUM(n)", [["rows"], ["sum", "count"]]),
        ("region, AVG(n), SUM(n), COUNT(n)", [["rows"], ["sum", "count"]]),
        ("region, STDDEV(n), COUNT(*)", [["rows"], ["count", "squares", "sum"]]),
        ("SUM(n), AVG(n)", [["sum", "count"]]),
        ("SUM(cards) + SUM(n)", [["sum", "count", "count"]]),
    ],
)
def test_no_word_is_revealed_twice(select: str, found: list[list[str]]) -> None:
    group = " GROUP BY region" if "region" in select else ""
    made = words(f"SELECT {select} FROM {UNION} AS u{group}")
    assert [sorted(m) for m in made] == [sorted(m) for m in found]


def test_a_sum_of_totals_is_one_word_and_never_its_parts() -> None:
    assert words(QUESTIONS["different columns"]) == [["sum", "nulls"]]


# ---- what values derive from


def uses(sql: str) -> set[tuple[str, str, str]]:
    return {(u.party, u.column, u.use) for r in bureau().plan(sql).reveals for u in r.uses}


def test_every_column_on_the_way_to_a_value_needs_its_use() -> None:
    select = "SELECT region, SUM(CASE WHEN active THEN balance END), COUNT(*) FILTER (WHERE opened IS NULL)"
    found = uses(f"{select} FROM bank_a.accounts WHERE n > 0 GROUP BY region")
    assert found == {
        ("bank_a", "balance", "aggregate"),
        ("bank_a", "balance", "arithmetic"),
        ("bank_a", "uscc", "aggregate"),
        *(("bank_a", c, "filter") for c in ("active", "opened", "n")),
        ("bank_a", "region", "group"),
    }


def test_the_recipients_own_column_is_judged_like_any_other() -> None:
    """Checklist 37: which of its rows count is decided by columns that need a grant; none is left out of the plan."""
    sql = f"SELECT SUM(balance) FROM {UNION} AS u WHERE n > 0"
    made = compile_plan(sql, bureau().catalogs, recipients=("bank_a",), trust="parties")
    found = {(u.party, u.column, u.use) for r in made.reveals for u in r.uses}
    assert found == {(p, c, u) for p in ("bank_a", "bank_b") for c, u in (("balance", "aggregate"), ("n", "filter"))}


@pytest.mark.parametrize(
    "value",
    ["balance - balance", "balance * 0", "CASE WHEN FALSE THEN balance END", "balance - (balance + 0)", "n * (n - n)"],
)
def test_who_adds_nothing_is_no_contributor(value: str) -> None:
    union = f"SELECT balance AS x FROM bank_a.accounts UNION ALL SELECT {value} FROM bank_b.accounts"
    sql = f"SELECT SUM(x) FROM ({union}) AS q"
    assert [r.contributors for r in bureau().plan(sql).reveals] == [("bank_a",)]


def test_whose_rows_never_pass_is_no_contributor() -> None:
    sql = "SELECT COUNT(*) FROM (SELECT n FROM bank_a.accounts UNION ALL SELECT n FROM bank_b.accounts WHERE n > 10) q"
    made = bureau().plan(sql)
    assert [r.contributors for r in made.reveals] == [("bank_a",)] and made.parties == ("bank_a",)


def test_labels_keep_parties_apart() -> None:
    reveals = [r for r in plan("labels").reveals if r.what.startswith("SUM(n)")]
    assert {(r.contributors, r.pooled) for r in reveals} == {(("bank_a",), False), (("bank_b",), False)}
