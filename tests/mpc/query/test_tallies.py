"""Joins of two parties without a helper: SQL against DuckDB over everybody's plaintext, and what is refused."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from mpc.explain import explain, render
from mpc.query.plan import TallyPool
from mpc.run import Trace
from mpc.traffic import pair_traffic
from tests.mpc.query.world import World, boolean, decimal, held, integer, refusal, text

draw = random.Random(3)
IDS = [f"9131{i:04d}" for i in range(40)]
INDUSTRIES = ("food", "metal", "paper")

WORLD = World(
    (
        held(
            "tax",
            "firms",
            [
                text("uscc", key=True),
                text("industry", *INDUSTRIES, nullable=False),
                boolean("exporter"),
                decimal("tax_paid", 2, 0, 10**9),
            ],
            [
                (i, draw.choice(INDUSTRIES), draw.choice([True, False, None]), draw.choice([Decimal("0.05"), 7, None]))
                for i in IDS[:30]
            ],
        ),
        held(
            "bank",
            "firms",
            [
                text("uscc", key=True),
                integer("overdue", 0, 100, nullable=False),
                decimal("balance", 2, -(10**9), 10**9),
                text("grade", "A", "B"),
            ],
            [
                (i.replace("9131", "９1-31"), draw.randrange(3), draw.choice([Decimal("-12.34"), 99, None, 1000]), g)
                for i in draw.sample(IDS[8:], 25)
                for g in [draw.choice("AB")]
            ],
        ),
        held(
            "bank",
            "loans",
            [text("uscc", key=True), integer("amount", 0, 10**15), boolean("open", nullable=False)],
            [(draw.choice(IDS), draw.randrange(10**15), draw.random() < 0.7) for _ in range(60)],
        ),
        held("telecom", "firms", [text("uscc", key=True), integer("spend", 0, 1000)], [(i, 5) for i in IDS[:20]]),
    )
)
for h in WORLD.tables:
    if h.table.name == "firms":
        object.__setattr__(h.table, "unique", True)

FROM = "FROM tax.firms t JOIN bank.firms b USING (uscc)"
TOTALS = [
    f"SELECT COUNT(*) {FROM}",
    f"SELECT t.industry, COUNT(*), SUM(b.balance), AVG(b.balance) {FROM} GROUP BY t.industry ORDER BY t.industry",
    f"SELECT t.industry, COUNT(*) {FROM} WHERE t.exporter AND b.overdue = 0 GROUP BY t.industry ORDER BY t.industry",
    f"SELECT t.industry, b.grade, COUNT(*), SUM(b.balance) {FROM} GROUP BY t.industry, b.grade ORDER BY 1, 2",
    f"SELECT SUM(t.tax_paid + b.balance), SUM(t.tax_paid * b.balance) {FROM} WHERE b.overdue < 2",
    f"SELECT VAR_SAMP(b.balance), SUM(CASE WHEN t.exporter THEN b.balance END), COUNT(b.balance) {FROM}",
    f"SELECT COUNT(*) FILTER (WHERE t.exporter AND b.overdue > 0), SUM(t.tax_paid - 2 * b.balance) {FROM}",
    "SELECT l.open, COUNT(*), SUM(l.amount) FROM bank.loans l JOIN tax.firms t USING (uscc) GROUP BY l.open ORDER BY 1",
    "SELECT t.industry, COUNT(*), SUM(l.amount), COUNT(DISTINCT t.uscc) FROM bank.loans l JOIN tax.firms t USING (uscc) "
    "WHERE l.open GROUP BY t.industry ORDER BY 1",
]


def plaintext(sql: str) -> list[tuple]:
    """Over plain DuckDB ids must be written alike first."""
    plain = sql
    for table in ("tax.firms", "bank.firms", "bank.loans"):
        plain = plain.replace(
            f"{table} ", f"(SELECT * REPLACE (replace(replace(uscc, '９', '9'), '-', '') AS uscc) FROM {table}) "
        )
    return WORLD.plaintext(plain)


@pytest.mark.parametrize("sql", TOTALS)
def test_the_same_as_over_plaintext(sql):
    plan = WORLD.plan(sql, trust="parties")
    assert plan.trust == "parties" and not plan.helped and plan.tallies
    found = WORLD.result(plan).rows
    expected = plaintext(sql)
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        for x, y in zip(row, other, strict=True):
            assert x == y or float(x) == pytest.approx(float(y), rel=1e-9)
