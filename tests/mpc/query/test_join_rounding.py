"""round_to over joins: sums of one owner's column come out as the nearest multiple, and nothing else of it does."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest

from mpc.joint_setup import joint_of
from mpc.protocols import parts
from mpc.query.plan import Plan
from mpc.query.plan_pools import Rounding
from mpc.run import Trace
from mpc.traffic import traffic
from tests.mpc.query.test_joins import LENT, QUERIES, THREE, TWO, WORLD, verify_links
from tests.mpc.query.world import HELPER

PAID, BALANCE, AMOUNT = ("tax", "firms", "paid"), ("bank", "firms", "balance"), ("lender", "loans", "amount")
ROUND = {PAID: Decimal(700), BALANCE: Decimal("0.7"), AMOUNT: Decimal(100)}


def nearest(value: Any, step: Decimal) -> Decimal | None:
    return None if value is None else (Decimal(value) / step + Decimal("0.5")).to_integral(ROUND_FLOOR) * step


def plan(sql: str) -> Plan:
    return WORLD.plan(sql)


def rounding(sql: str, side: str) -> Rounding:
    return next(s.query.rounding for s in plan(sql).joins[0][1].sides if s.name == side)


#: columns of the result, and what each of their values is rounded to
ROUNDED = [
    (f"SELECT SUM(t.paid) AS p, SUM(b.balance) AS b, COUNT(*) AS n {TWO}", [PAID, BALANCE, None]),
    (f"SELECT t.industry, SUM(b.balance) AS s, SUM(t.late) AS l {TWO} GROUP BY 1 ORDER BY 1", [None, BALANCE, None]),
    (f"SELECT b.overdue, SUM(t.paid) AS s {TWO} GROUP BY b.overdue ORDER BY 1", [None, PAID]),
    (f"SELECT SUM(t.paid) FILTER (WHERE b.overdue > 1) AS a, SUM(t.paid) AS s {THREE}", [PAID, PAID]),
    (f"SELECT SUM(CASE WHEN t.late < b.overdue THEN b.balance ELSE 0 END) AS s {TWO}", [BALANCE]),
    (f"SELECT l.sort, SUM(l.amount) AS s, SUM(t.paid) AS p {LENT} GROUP BY 1 ORDER BY 1", [None, AMOUNT, PAID]),
    ("SELECT SUM(t.paid) AS s FROM lender.loans l LEFT JOIN tax.firms t USING (uscc)", [PAID]),
]


@pytest.mark.parametrize(("sql", "to"), ROUNDED)
def test_sums_of_a_column_are_multiples(sql: str, to: list[Any]) -> None:
    exact = WORLD.plaintext(sql)
    found = WORLD.result(plan(sql), round_to=ROUND).rows
    assert len(found) == len(exact)
    for row, plain in zip(found, exact, strict=True):
        for value, was, column in zip(row, plain, to, strict=True):
            assert value == (was if column is None else nearest(was, ROUND[column])), sql


def test_an_average_is_of_the_rounded_sum() -> None:
    sql = f"SELECT AVG(t.paid) AS a, COUNT(t.paid) AS n {TWO}"
    [(average, n)] = WORLD.result(plan(sql), round_to=ROUND).rows
    [(total,)] = WORLD.plaintext(f"SELECT SUM(t.paid) {TWO}")
    rounded = nearest(total, ROUND[PAID])
    assert rounded is not None and average == float(rounded / n) and rounded != total


def test_tables_in_parts_are_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = ROUNDED[5][0]
    whole = WORLD.result(plan(sql), round_to=ROUND)
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    assert joint_of(plan(sql).joins[0][1], HELPER, 0).parts > 2
    assert WORLD.result(plan(sql), round_to=ROUND).rows == whole.rows


def test_what_is_suppressed_stays_so() -> None:
    sql = f"SELECT b.overdue, SUM(t.paid) AS s {TWO} GROUP BY b.overdue ORDER BY 1"
    shown = WORLD.result(plan(sql), min_entities=7, round_to=ROUND)
    assert shown.suppressed == WORLD.result(plan(sql), min_entities=7).suppressed and any(shown.suppressed)
    assert all((row[1] is None) == bool(hidden) for row, hidden in zip(shown.rows, shown.suppressed, strict=True))


@pytest.mark.parametrize(
    ("what", "exact"),
    [
        ("SUM(t.paid), AVG(t.paid), COUNT(t.paid)", False),
        ("SUM(CASE WHEN b.overdue > 1 THEN t.paid END)", False),
        ("SUM(b.balance) FILTER (WHERE t.paid > 100)", False),
        ("SUM(2 * t.paid)", True),
        ("SUM(t.paid + 17)", True),
        ("SUM(t.paid + b.balance)", True),
        ("SUM(t.paid) + SUM(b.balance)", True),
        ("SUM(t.paid * b.overdue)", True),
        ("VARIANCE(t.paid)", True),
        ("SUM(CASE WHEN b.overdue > 1 THEN t.paid ELSE 1 END)", True),
        ("SUM(CASE WHEN b.overdue > 1 THEN t.paid ELSE 3 * t.paid END)", True),
        ("SUM(GREATEST(t.paid, b.overdue))", True),
        ("MAX(t.paid)", True),
        ("SUM(t.paid), SUM(ABS(t.paid - b.balance))", True),
    ],
)
def test_where_a_column_enters_otherwise_it_is_named(what: str, exact: bool) -> None:
    """So that a grant with round_to does not fit (needs.py)."""
    assert (("firms", "paid") in rounding(f"SELECT {what} {TWO}", "tax").exact) == exact


SUMMED = [q for q in QUERIES if any(s.query.rounding.sums for s in plan(q).joins[0][1].sides)]


@pytest.mark.parametrize("sql", [*SUMMED[:3], *(pytest.param(q, marks=pytest.mark.slow) for q in SUMMED[3:])])
def test_links_carry_what_the_plan_says(sql: str) -> None:
    ((p, pool),) = plan(sql).joins
    trace, j = Trace(), joint_of(pool, HELPER, 2, None, ROUND)
    WORLD.joined(p, pool, 2, trace, round_to=ROUND)
    verify_links(j, trace)
    plain = sum(t.bytes for t in traffic(joint_of(pool, HELPER, 2)))
    longest = sum(t.bytes for t in traffic(joint_of(pool, HELPER, 2, None, None)))
    assert plain <= sum(t.bytes for t in traffic(j)) <= longest


def test_where_nobody_rounds_the_same_is_said_as_ever() -> None:
    ((p, pool),) = plan(ROUNDED[0][0]).joins
    trace = Trace()
    WORLD.joined(p, pool, 2, trace)
    assert not any("/rounded/" in s.step for s in trace.sent)
