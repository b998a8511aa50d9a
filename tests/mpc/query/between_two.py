"""Two owners' tables that join without a helper, and what is asked of them by kind."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

from mpc.policy.needs import Recipient, Request, needs_of
from mpc.query.plan import Plan
from mpc.query.plan_reveals import MetReveal
from mpc.run import Trace
from tests.mpc.query.world import World, boolean, decimal, held, integer, text

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
    "SELECT t.industry, COUNT(*), SUM(l.amount), COUNT(DISTINCT t.uscc) "
    "FROM bank.loans l JOIN tax.firms t USING (uscc) WHERE l.open GROUP BY t.industry ORDER BY 1",
]
BY_ROW = [
    f"SELECT b.uscc {FROM} ORDER BY b.uscc",
    f"SELECT b.uscc, b.balance, t.tax_paid, t.industry, t.tax_paid + b.balance {FROM} WHERE b.overdue < 2 ORDER BY 1",
    f"SELECT b.uscc, t.tax_paid + 1 AS more, t.exporter {FROM} WHERE t.exporter AND t.industry <> 'food' ORDER BY 1",
    f"SELECT b.uscc, COUNT(*), SUM(t.tax_paid) {FROM} GROUP BY b.uscc ORDER BY 1",
]
COMPARED = [
    f"SELECT t.industry, COUNT(*), SUM(b.balance) {FROM} WHERE t.tax_paid < b.balance OR b.overdue > 1 "
    "GROUP BY 1 ORDER BY 1",
    f"SELECT COUNT(*), SUM(GREATEST(t.tax_paid, b.balance)) {FROM} WHERE t.exporter AND b.overdue < 2",
    f"SELECT b.grade, SUM(CASE WHEN t.tax_paid = b.overdue + 5 THEN b.balance END), COUNT(*) {FROM} "
    "GROUP BY 1 ORDER BY 1",
    f"SELECT SUM(t.tax_paid * b.balance) FILTER (WHERE b.balance > t.tax_paid), SUM(b.overdue) {FROM}",
]
#: NULLs, both rings, and everything that compares by itself
SUBTLE = [
    f"SELECT COUNT(*) FILTER (WHERE t.tax_paid = 7 AND b.balance >= t.tax_paid OR NOT t.exporter), COUNT(*) {FROM}",
    "SELECT SUM(ABS(t.tax_paid - b.balance)), SUM(LEAST(b.balance, t.tax_paid)), SUM(COALESCE(t.tax_paid, b.balance)), "
    f"SUM(NULLIF(b.balance, t.tax_paid)) {FROM} WHERE b.overdue <= 1",
    "SELECT t.industry, SUM(CASE WHEN b.overdue IN (0, 2) AND t.tax_paid BETWEEN b.overdue AND 100 "
    f"THEN t.tax_paid * b.balance END) {FROM} GROUP BY 1 HAVING COUNT(*) > 2 ORDER BY 1",
    f"SELECT SUM(CASE WHEN t.tax_paid * b.overdue > b.balance * 2 THEN 1 ELSE 0 END), COUNT(DISTINCT t.uscc) {FROM} "
    "WHERE t.tax_paid IS DISTINCT FROM b.balance",
]
COMPARED_ROWS = [
    f"SELECT b.uscc, b.balance > t.tax_paid AS more, b.balance * t.tax_paid AS x {FROM} WHERE b.overdue < 2 ORDER BY 1",
    "SELECT b.uscc, CASE WHEN 2 * b.overdue * t.tax_paid - 1 > b.balance THEN 'yes' ELSE 'no' END AS pays "
    f"{FROM} WHERE t.exporter ORDER BY 1",
]
WEIGHED = [
    f"SELECT b.uscc, 3 * t.tax_paid * b.balance - b.overdue * t.tax_paid + t.tax_paid + b.balance + 1 AS score {FROM}",
    f"SELECT b.uscc, CASE WHEN b.overdue > 0 THEN t.tax_paid END AS paid {FROM} WHERE t.exporter",
    f"SELECT b.uscc, t.exporter, b.balance * t.tax_paid AS x, b.overdue * CASE WHEN t.exporter THEN 1 ELSE 0 END AS y "
    f"{FROM} WHERE b.overdue < 2",
]
SIZES = [
    f"SELECT COUNT(*) {FROM}",
    f"SELECT COUNT(*) {FROM} WHERE t.exporter AND b.overdue < 2",
    f"SELECT COUNT(*) FILTER (WHERE t.exporter AND b.overdue > 0) {FROM}",
    f"SELECT COUNT(DISTINCT t.uscc), COUNT(DISTINCT t.uscc) * 2 {FROM}",
    "SELECT COUNT(DISTINCT l.uscc) FROM tax.firms t JOIN bank.loans l USING (uscc) WHERE l.open",
    "SELECT COUNT(DISTINCT t.uscc) FROM bank.loans l JOIN tax.firms t USING (uscc)",
]
NO_SIZES = [
    "SELECT COUNT(*) FROM bank.loans l JOIN tax.firms t USING (uscc)",  # rows, of which one key has several
    f"SELECT COUNT(*), SUM(b.overdue) {FROM}",
    f"SELECT t.industry, COUNT(*) {FROM} GROUP BY t.industry",
    f"SELECT COUNT(*) * SUM(b.overdue) {FROM}",
    f"SELECT SUM(b.overdue) {FROM}",
]


def plaintext(sql: str) -> list[tuple]:
    """Over plain DuckDB ids must be written alike first."""
    plain = sql
    for table in ("tax.firms", "bank.firms", "bank.loans"):
        plain = plain.replace(
            f"{table} ", f"(SELECT * REPLACE (replace(replace(uscc, '９', '9'), '-', '') AS uscc) FROM {table}) "
        )
    return WORLD.plaintext(plain)


def number(x):
    return float(x) if isinstance(x, Decimal | int) and not isinstance(x, bool) else x


def traced(sql: str, **how) -> tuple[Plan, Trace]:
    plan, trace = WORLD.plan(sql, trust="parties", **how), Trace()
    ((p, pool),) = plan.tallies
    WORLD.joined(p, pool, 3, trace)
    return plan, trace


def needs(sql: str, party: str, **how) -> set[tuple[str, str, str]]:
    plan = WORLD.plan(sql, trust="parties", **how)
    assert sum(isinstance(r, MetReveal) for r in plan.reveals) == 1
    to = tuple(Recipient(r, r, ("modeler",)) for r in how.get("recipients", ("analyst",)))
    request = Request(to, {"tax": "tax", "bank": "bank"}, "review", "parties", False, dt.date(2026, 1, 1))
    found = needs_of(plan, party, request)
    return {(n.column, n.use, n.recipient.entry) for n in found if n.recipient.roles == ("party",)}
