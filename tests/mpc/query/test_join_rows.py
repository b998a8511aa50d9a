"""Results by row of the recipient's own table are what DuckDB gives over the pooled plaintext."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.joint_setup import Joint
from mpc.query.finish import finish
from mpc.query.layout import read
from mpc.run import Trace
from mpc.traffic import traffic
from tests.mpc.query.test_joins import firm, table
from tests.mpc.query.world import HELPER, World, boolean, date, decimal, integer, text

ASKED = [(firm(i), f"name {i}", "ABC"[i % 3], f"{i}.50") for i in range(0, 60, 4)]
VISITS = [(firm(i % 9), i) for i in range(25)] + [(None, 99)]
TAX = [
    (firm(i), i * 7 - 50, "pq"[i % 2] if i % 5 else None, dt.date(2020, 1, 1 + i % 28), i % 3 == 0) for i in range(40)
]
BANK = [(firm(i), f"{i * 3}.25" if i % 4 else None, i % 6) for i in range(8, 50)]
LOANS = [(firm(i % 20), f"{i}.10") for i in range(70)]

WORLD = World(
    (
        table(
            "asker",
            "applicants",
            [
                text("uscc", key=True, nullable=False),
                text("name"),
                text("industry", "A", "B", "C"),
                decimal("wish", 2, 0, 99),
            ],
            ASKED,
        ),
        table("asker", "visits", [text("uscc", key=True), integer("n", 0, 100)], VISITS, unique=False),
        table(
            "tax",
            "firms",
            [
                text("uscc", key=True, nullable=False),
                integer("paid", -100, 10**6),
                text("class", "p", "q"),
                date("since", "2000-01-01", "2030-01-01"),
                boolean("good"),
            ],
            TAX,
        ),
        table("bank", "firms", [text("uscc", key=True), decimal("balance", 2, 0, 10**6), integer("late", 0, 9)], BANK),
        table("lender", "loans", [text("uscc", key=True), decimal("amount", 2, 0, 10**6)], LOANS, unique=False),
    )
)

TAXED = "FROM asker.applicants q JOIN tax.firms t USING (uscc)"
BOTH = f"{TAXED} JOIN bank.firms b ON b.uscc = q.uscc"
LENT = "FROM asker.applicants q JOIN lender.loans l USING (uscc)"

QUERIES = [
    f"SELECT q.uscc {TAXED}",
    f"SELECT q.name, q.wish, t.paid {TAXED}",
    f"SELECT t.paid, t.since, t.good, t.class {TAXED}",
    f"SELECT uscc, t.paid + b.balance AS net, b.balance * t.paid AS product, q.wish - t.paid AS rest {BOTH}",
    f"SELECT q.uscc, CASE WHEN 0.3 * t.paid + 7 * b.balance >= 300 THEN 'pass' ELSE 'review' END AS decision {BOTH}",
    f"SELECT q.uscc, CASE WHEN t.paid > q.wish THEN 'yes' WHEN b.late > 3 THEN NULL ELSE t.class END AS said {BOTH}",
    f"SELECT q.uscc, t.paid > b.late AS more, t.paid > 5 AND b.late < 3 AS fine {BOTH}",
    f"SELECT q.uscc {BOTH} WHERE b.late < 4 AND q.industry <> 'B'",
    f"SELECT q.uscc, b.late {BOTH} WHERE t.paid < b.balance OR t.class = 'p'",
    "SELECT q.uscc, t.paid, t.class, COALESCE(t.class, q.industry) AS c FROM asker.applicants q "
    "LEFT JOIN tax.firms t USING (uscc)",
    "SELECT q.uscc, t.paid IS NULL AS unknown, COALESCE(t.paid + b.late, 0) AS s FROM asker.applicants q "
    "LEFT JOIN tax.firms t USING (uscc) LEFT JOIN bank.firms b USING (uscc) WHERE q.wish > 3",
    "SELECT v.n, t.paid * v.n AS x FROM asker.visits v JOIN tax.firms t USING (uscc) WHERE v.n % 2 = 0",
    f"SELECT q.uscc, SUM(l.amount) AS owed, COUNT(*) AS loans, AVG(l.amount) AS a {LENT} GROUP BY q.uscc",
    f"SELECT q.uscc, q.name, SUM(l.amount) AS owed {LENT} WHERE l.amount > 30 AND q.industry = 'A' GROUP BY ALL",
    f"SELECT q.uscc, SUM(l.amount) AS owed, SUM(t.paid) AS p {LENT} JOIN tax.firms t ON t.uscc = q.uscc "
    "GROUP BY q.uscc HAVING SUM(l.amount) > 60",
    f"SELECT q.uscc, t.paid AS p {TAXED} ORDER BY p DESC LIMIT 3",
    f"SELECT * FROM (SELECT q.uscc, t.paid AS p {TAXED}) x WHERE p > 100",
    f"SELECT DISTINCT t.class {TAXED}",
    f"SELECT t.since + 3 AS later, t.since - DATE '2020-01-01' AS days, 7 AS seven {TAXED}",
]


def result(sql: str, world: World = WORLD) -> list[tuple[Any, ...]]:
    return [tuple(r) for r in world.result(world.plan(sql, recipients=("asker",))).rows]


def as_set(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


@pytest.mark.parametrize("sql", QUERIES)
def test_equals_duckdb(sql: str) -> None:
    expected = WORLD.plaintext(sql)
    assert expected
    assert as_set(result(sql)) == as_set(expected)


# ---- what moves, and what does not


def traced(sql: str) -> tuple[Joint, Trace, dict[str, Any]]:
    plan = WORLD.plan(sql, recipients=("asker",))
    ((p, pool),) = plan.joins
    trace = Trace()
    totals = WORLD.joined(p, pool, 10, trace)
    return Joint(pool, HELPER, 10), trace, totals


@pytest.mark.parametrize("sql", QUERIES)
def test_links_carry_no_more_than_the_plan_says(sql: str) -> None:
    j, trace, _ = traced(sql)
    planned: dict[tuple[str, str], int] = {}
    for t in traffic(j):
        planned[t.sender, t.receiver] = planned.get((t.sender, t.receiver), 0) + t.bytes + 64 * t.messages
    moved: dict[tuple[str, str], int] = {}
    for s in trace.sent:
        moved[s.sender, s.receiver] = moved.get((s.sender, s.receiver), 0) + len(s.raw)
    assert set(moved) == set(planned)
    assert all(size <= planned[link] for link, size in moved.items())


@pytest.mark.parametrize("sql", QUERIES)
def test_the_helper_hears_tags_places_and_masked_columns_only(sql: str) -> None:
    j, trace, _ = traced(sql)
    parts = [s.step.removeprefix(f"job/{j.name}/").split("/") for s in trace.heard_by(HELPER)]
    told = {(p[0], next(x for x in reversed(p) if not x.isdigit() and x not in ("block", "column"))) for p in parts}
    assert told <= {("align", "spine-tags"), ("align", "tags"), ("align", "places"), ("align", "masked")}


def test_of_rows_outside_the_join_nothing_is_revealed() -> None:
    """Also of those that its own condition leaves out: the recipient chose it, but asked nothing about them."""
    _, _, totals = traced(f"SELECT q.uscc, t.paid, t.class {TAXED} WHERE q.industry = 'A' AND t.good")
    good = {row[0] for row in TAX if row[4]}
    inside = [u in good and industry == "A" for u, _, industry, _ in ASKED]
    assert any(inside) and not all(inside)
    words = totals["pool0/w64"].reshape(-1, len(ASKED))
    assert not words[:, [not x for x in inside]].any()
    assert words[:, inside].any()


def test_one_column_is_as_wide_as_it_must_be() -> None:
    sql = f"SELECT q.uscc, t.paid * t.paid * t.paid * b.balance * b.balance * 1000 AS p {BOTH}"
    assert as_set(result(sql)) == as_set(WORLD.plaintext(sql))
    assert "pool0/w128" in traced(sql)[2]


@settings(max_examples=10)
@given(st.data())
def test_random_rows_equal_duckdb(data: st.DataObject) -> None:
    equals_duckdb(data)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_many_random_rows_equal_duckdb(data: st.DataObject) -> None:
    equals_duckdb(data)


def equals_duckdb(data: st.DataObject) -> None:
    numbers = st.integers(-50, 50) | st.none()
    keys = st.integers(0, 12)

    def rows_of(unique: bool) -> list[tuple[Any, ...]]:
        ids = data.draw(st.lists(keys, min_size=1, max_size=12, unique=unique))
        return [(firm(i), data.draw(numbers), data.draw(numbers)) for i in ids]

    columns = [text("id", key=True), integer("x", -50, 50), integer("y", -50, 50)]
    world = World(
        (
            table("asker", "q", columns, rows_of(True)),
            table("bank", "t", columns, rows_of(True)),
            table("lender", "l", columns, rows_of(False), unique=False),
        )
    )
    left = data.draw(st.sampled_from(["", "LEFT "]))
    where = data.draw(st.sampled_from(["", "WHERE t.x > q.y", "WHERE q.x > 0", "WHERE t.y IS NULL OR q.x < t.x"]))
    of_rows = f"SELECT q.id, t.x - q.y AS d, t.y, t.x < q.x AS less FROM asker.q {left}JOIN bank.t USING (id) {where}"
    grouped = (
        "SELECT q.id, COUNT(*) AS n, SUM(l.x) AS s, SUM(t.x * l.y) AS p FROM asker.q JOIN lender.l USING (id) "
        "JOIN bank.t USING (id) GROUP BY q.id"
    )
    for sql in (of_rows, grouped):
        assert as_set(result(sql, world)) == as_set(world.plaintext(sql))


# ---- refusals


@pytest.mark.parametrize(
    ("sql", "code", "told"),
    [
        (f"SELECT q.uscc, t.paid {TAXED} HAVING t.paid > 3", "sql.unsupported", "HAVING"),
        (
            "SELECT v.n FROM asker.visits v JOIN tax.firms t USING (uscc) WHERE t.paid > v.n",
            "sql.unsupported",
            "may repeat",
        ),
        (f"SELECT q.uscc, l.amount {LENT}", "sql.unsupported", "may repeat"),
        ("SELECT t.paid FROM tax.firms t LEFT JOIN asker.applicants q USING (uscc)", "plan.rows", "--to tax"),
        (f"SELECT q.uscc, t.class || q.name AS c {TAXED}", "plan.domain", "declared domains"),
    ],
)
def test_what_cannot_be_shown_is_refused(sql: str, code: str, told: str) -> None:
    with pytest.raises(LocalError) as caught:
        WORLD.plan(sql, recipients=("asker",))
    assert caught.value.code == code and told in str(caught.value)


@pytest.mark.parametrize("recipients", [(), ("analyst",), ("asker", "tax")])
def test_rows_go_to_one_party_of_the_join(recipients: tuple[str, ...]) -> None:
    with pytest.raises(LocalError) as caught:
        WORLD.plan(QUERIES[0], recipients=recipients)
    assert caught.value.code == "plan.rows"


def test_a_date_that_no_result_can_hold_is_an_error_with_advice() -> None:
    """Bounds of dates reach farther than the calendars of most programs."""
    with pytest.raises(LocalError, match="before the year 1") as caught:
        result(f"SELECT q.uscc, t.since - 1000000 AS ancient {TAXED}")
    assert caught.value.code == "data.bounds" and "EXTRACT" in caught.value.advice


def test_words_beyond_their_bounds_are_not_shown() -> None:
    plan = WORLD.plan(f"SELECT q.uscc, t.paid {TAXED}", recipients=("asker",))
    totals, own = WORLD.totals(plan), {p: WORLD.own(pool) for p, pool in plan.joins}
    finish(plan, read(plan, totals, own))
    ((p, m, w, _), *_) = [c for c in plan.columns(64) if plan.pools[c[0]].measures[c[1]].words[c[2]].kind == "value"]
    begin = [c[:3] for c in plan.columns(64)].index((p, m, w)) * plan.pools[p].cells
    totals["pool0/w64"][begin] = plan.pools[p].measures[m].words[w].bound
    finish(plan, read(plan, totals, own))
    totals["pool0/w64"][begin] += np.uint64(1)
    with pytest.raises(LocalError, match="beyond what the declared bounds allow") as caught:
        read(plan, totals, own)
    assert caught.value.code == "protocol.malformed"
