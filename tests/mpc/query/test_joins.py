"""Joins of two to four owners on shares give what DuckDB gives over the pooled plaintext."""

from __future__ import annotations

from typing import Any

import pytest

from mpc.query.catalog import Table
from tests.mpc.query.world import Held, World, decimal, integer, text

INDUSTRIES = ("A", "B", "C")


def table(party: str, name: str, columns: list[Any], rows: list[tuple[Any, ...]], *, unique: bool = True) -> Held:
    return Held(party, Table(name, tuple(columns), max(len(rows), 10), "", unique), rows)


def firm(i: int) -> str:
    return f"F{i:03d}"


TAX = [(firm(i), "ABC"[i % 3], i * 100 + 0, i % 5 if i % 7 else None) for i in range(30)]
BANK = [(firm(i), f"{i}.25", i % 4, i % 2 == 0) for i in range(5, 40)]
TELECOM = [(firm(i), i * 3 - 20) for i in range(0, 40, 2)]
LOANS = [(firm(i % 12 + 3), f"{i * 7}.10", "xy"[i % 2]) for i in range(50)] + [(None, "5.00", "x")]

WORLD = World(
    (
        table(
            "tax",
            "firms",
            [
                text("uscc", key=True, nullable=False),
                text("industry", *INDUSTRIES, nullable=False),
                integer("paid", 0, 10**9, nullable=False),
                integer("late", 0, 9),
            ],
            TAX,
        ),
        table(
            "bank",
            "firms",
            [
                text("uscc", key=True, nullable=False),
                decimal("balance", 2, -(10**6), 10**6),
                integer("overdue", 0, 9, nullable=False),
                text("good"),
            ],
            [(u, b, o, str(g)) for u, b, o, g in BANK],
        ),
        table("telecom", "firms", [text("uscc", key=True), integer("spend", -100, 1000, nullable=False)], TELECOM),
        table(
            "lender",
            "loans",
            [text("uscc", key=True), decimal("amount", 2, 0, 10**6), text("sort", "x", "y", nullable=False)],
            LOANS,
            unique=False,
        ),
    )
)

TWO = "FROM tax.firms t JOIN bank.firms b USING (uscc)"
THREE = f"{TWO} JOIN telecom.firms m ON m.uscc = b.uscc"
LENT = "FROM tax.firms t JOIN lender.loans l USING (uscc)"

QUERIES = [
    f"SELECT COUNT(*) AS n {TWO}",
    f"SELECT COUNT(*) AS n, SUM(t.paid) AS p, SUM(b.balance) AS b, SUM(t.paid + b.balance) AS together {TWO}",
    f"SELECT t.industry, COUNT(*) AS n, SUM(t.paid + b.balance) AS s {TWO} GROUP BY t.industry ORDER BY t.industry",
    f"SELECT b.overdue, COUNT(*) AS n, SUM(t.paid) AS s {TWO} GROUP BY b.overdue ORDER BY 1",
    f"SELECT COUNT(*) AS n, SUM(t.paid) AS s {TWO} WHERE t.industry = 'A' AND b.overdue > 0",
    f"SELECT COUNT(t.late) AS n, SUM(t.late) AS s, AVG(t.late * b.overdue) AS a {TWO}",
    f"SELECT SUM(t.late + b.balance) AS s, SUM(t.paid * b.balance) AS p, VARIANCE(t.paid) AS v {TWO}",
    f"SELECT SUM(CASE WHEN b.overdue > 1 THEN t.paid ELSE 0 END) AS s, COUNT(*) FILTER (WHERE t.late = 1) AS n {TWO}",
    f"SELECT SUM(CASE WHEN b.overdue > 1 AND t.late = 2 THEN t.paid WHEN t.late = 3 THEN b.overdue END) AS s {TWO}",
    f"SELECT SUM(CASE WHEN b.overdue > 1 OR t.late = 2 THEN 1 ELSE 2 END) AS s {TWO}",
    f"SELECT SUM(COALESCE(t.late, b.overdue)) AS s, STDDEV(t.paid - b.balance) AS d {TWO}",
    f"SELECT COUNT(*) AS n {TWO} WHERE FALSE OR t.paid > 5",
    f"SELECT COUNT(*) AS n, SUM(t.paid + b.balance + m.spend) AS s {THREE}",
    f"SELECT b.overdue, COUNT(*) AS n, SUM(m.spend) AS s, AVG(t.paid) AS a {THREE} WHERE m.spend > 3 "
    "GROUP BY 1 ORDER BY 1",
    f"SELECT SUM(t.late * b.balance * m.spend) AS s {THREE}",
    f"SELECT t.industry, SUM(l.amount) AS s, SUM(m.spend) AS c {LENT} JOIN telecom.firms m ON m.uscc = l.uscc "
    "GROUP BY t.industry ORDER BY 1",
    f"SELECT COUNT(*) AS n, SUM(l.amount) AS s {LENT}",
    f"SELECT l.sort, COUNT(*) AS n, SUM(l.amount) AS s, SUM(t.paid) AS p {LENT} GROUP BY l.sort ORDER BY 1",
    f"SELECT t.industry, COUNT(*) AS n, SUM(l.amount) AS s, SUM(t.paid) AS p {LENT} GROUP BY t.industry ORDER BY 1",
    f"SELECT t.industry, SUM(l.amount * t.paid) AS s {LENT} WHERE l.sort = 'x' GROUP BY t.industry ORDER BY 1",
    "SELECT SUM(x) AS s FROM (SELECT uscc, paid * 2 AS x FROM tax.firms WHERE late > 1) t JOIN bank.firms b "
    "ON b.uscc = t.uscc",
    "WITH good AS (SELECT uscc FROM bank.firms WHERE overdue = 0) SELECT COUNT(*) AS n FROM good JOIN tax.firms "
    "USING (uscc)",
    "SELECT COUNT(*) AS n FROM tax.firms t, bank.firms b WHERE t.uscc = b.uscc AND b.overdue < 2",
]


def pooled(sql: str) -> list[tuple[Any, ...]]:
    return WORLD.pooled.execute(sql).fetchall()


@pytest.mark.parametrize("sql", QUERIES)
def test_equals_duckdb(sql: str) -> None:
    assert [tuple(r) for r in WORLD.result(WORLD.plan(sql)).rows] == pooled(sql)
