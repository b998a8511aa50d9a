"""Tables of one owner that are joined with each other inside a hidden join: against DuckDB, judged column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc.query.plan_joins import JoinPool
from tests.mpc.protocols.test_complement import by_hand
from tests.mpc.query.test_joins import firm, table
from tests.mpc.query.world import World, decimal, integer, refusal, text

WORLD = World(
    (
        table(
            "tax",
            "firms",
            [text("uscc", key=True), text("industry", "A", "B", nullable=False), integer("paid", 0, 10**6)],
            [(firm(i), "AB"[i % 2], i * 10 if i % 5 else None) for i in range(20)],
        ),
        table(
            "bank",
            "customers",
            [integer("id", 0, 99, nullable=False, key=True), text("uscc"), integer("grade", 0, 9, nullable=False)],
            [(i, firm(i + 4) if i % 6 else None, i % 4) for i in range(18)],
        ),
        table(
            "bank",
            "accounts",
            [integer("customer", 0, 99), decimal("balance", 2, 0, 10**6), integer("branch", 0, 9, nullable=False)],
            [((i * 7) % 13 if i % 9 else None, f"{i}.50", i % 3) for i in range(40)],
            unique=False,
        ),
        table(
            "bank",
            "branches",
            [integer("no", 0, 9, nullable=False, key=True), text("city", "X", "Y", nullable=False)],
            [(0, "X"), (1, "Y"), (2, "X")],
        ),
        table(
            "bank",
            "visits",
            [integer("customer", 0, 99), integer("minutes", 0, 99)],
            [(i % 18, i) for i in range(30)],
            unique=False,
        ),
    )
)
CUSTOMERS = "FROM tax.firms t JOIN bank.customers c USING (uscc) JOIN bank.accounts a ON a.customer = c.id"

QUERIES = [
    f"SELECT COUNT(*) AS n, SUM(a.balance) AS s, SUM(t.paid) AS p {CUSTOMERS}",
    f"SELECT t.industry, COUNT(*) AS n, SUM(a.balance) AS s {CUSTOMERS} WHERE c.grade < 3 AND a.balance > 5 GROUP BY 1 "
    "ORDER BY 1",
    f"SELECT c.grade, COUNT(DISTINCT t.uscc) AS f, AVG(a.balance) AS s {CUSTOMERS} GROUP BY 1 ORDER BY 1",
    f"SELECT t.industry, b.city, SUM(a.balance) AS s, COUNT(t.paid) AS n {CUSTOMERS} JOIN bank.branches b "
    "ON a.branch = b.no GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT SUM(a.balance * c.grade) AS s FROM bank.accounts a, bank.customers c, tax.firms t "
    "WHERE a.customer = c.id AND c.uscc = t.uscc AND t.industry = 'A'",
    "SELECT t.industry, SUM(x.balance) AS s FROM tax.firms t JOIN bank.customers c ON c.uscc = t.uscc "
    "JOIN (SELECT customer AS who, balance FROM bank.accounts WHERE branch <> 1) x ON x.who = c.id GROUP BY 1 "
    "ORDER BY 1",
]


def pooled(sql: str) -> list[tuple[Any, ...]]:
    return WORLD.pooled.execute(sql).fetchall()


@pytest.mark.parametrize("sql", QUERIES)
def test_equals_duckdb(sql: str) -> None:
    assert list(WORLD.result(WORLD.plan(sql)).rows) == pooled(sql)


def test_the_owner_joins_its_tables_itself() -> None:
    pool = WORLD.plan(QUERIES[3]).pools[0]
    assert isinstance(pool, JoinPool) and [s.party for s in pool.sides].count("bank") == 1
    (bank,) = (s for s in pool.sides if s.party == "bank")
    assert bank.query.tables == ("accounts", "branches", "customers")
    assert bank.rows == 40 and not bank.unique  # the rows are those of accounts


def test_a_part_with_a_row_each_adds_no_rows() -> None:
    sql = (
        "SELECT COUNT(*) AS n FROM tax.firms t JOIN bank.customers c USING (uscc) "
        "JOIN bank.branches b ON b.no = c.grade"
    )
    pool = WORLD.plan(sql).pools[0]
    assert isinstance(pool, JoinPool)
    (bank,) = (s for s in pool.sides if s.party == "bank")
    assert bank.rows == 18
    assert list(WORLD.result(WORLD.plan(sql)).rows) == pooled(sql)


def test_grants_are_those_of_the_published_columns() -> None:
    plan = WORLD.plan(QUERIES[1])
    uses = {(u.table, u.column, u.use) for r in plan.reveals for u in r.uses if u.party == "bank"}
    assert {
        ("customers", "uscc", "join"),
        ("customers", "id", "filter"),
        ("accounts", "customer", "filter"),
        ("customers", "grade", "filter"),
        ("accounts", "balance", "filter"),
        ("accounts", "balance", "aggregate"),
    } <= uses
    assert {t for t, _, _ in uses} == {"customers", "accounts"} and not any("." in c for _, c, _ in uses)


def test_entities_are_those_of_the_key() -> None:
    """Many accounts of few firms: the rule counts firms."""
    sql = f"SELECT t.industry, SUM(a.balance) AS s {CUSTOMERS} GROUP BY 1 ORDER BY 1"
    firms = pooled(f"SELECT COUNT(DISTINCT uscc) {CUSTOMERS} GROUP BY t.industry ORDER BY t.industry")
    rows = pooled(f"SELECT COUNT(*) {CUSTOMERS} GROUP BY t.industry ORDER BY t.industry")
    assert max(n for (n,) in firms) < min(n for (n,) in rows)  # or this shows nothing
    counts = np.array([n for (n,) in firms])
    for least in range(2, 10):
        hidden = WORLD.result(plan := WORLD.plan(sql), min_entities=least).suppressed
        beside = by_hand([counts], counts < least, None, least, apart=plan.joins[0][1].apart)  # and their lines
        assert [bool(h) for h in hidden] == beside.tolist()


def test_rows_that_would_multiply_are_refused() -> None:
    sql = f"SELECT COUNT(*) {CUSTOMERS} JOIN bank.visits v ON v.customer = c.id"
    error = refusal(WORLD, sql)
    assert error.code == "sql.unsupported" and "may meet several of both" in error.message


def test_tables_of_one_owner_alone_are_its_own_affair() -> None:
    error = refusal(WORLD, "SELECT SUM(a.balance) FROM bank.accounts a JOIN bank.customers c ON a.customer = c.id")
    assert "bank alone" in error.message
