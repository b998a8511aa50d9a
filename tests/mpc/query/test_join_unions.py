"""Unions inside a join (multi-lender exposure) and several tables of one owner, against DuckDB."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from tests.mpc.query.test_join_rows import as_set
from tests.mpc.query.test_joins import firm, table
from tests.mpc.query.world import World, decimal, integer, text

APPLICANTS = [(firm(i), f"name {i}", "AB"[i % 2]) for i in range(0, 40, 3)]
SCORES = [(firm(i), i * 3 % 50) for i in range(0, 40, 2)]


def loans(start: int, step: int) -> list[tuple[Any, ...]]:
    return [(firm(i % 37), f"{i}.{step:02d}" if i % 7 else None, i % 4) for i in range(start, 60, step)]


def lender(party: str, name: str, start: int, step: int, *, scale: int = 2) -> Any:
    columns = [text("uscc", key=True), decimal("amount", scale, 0, 10**6), integer("late", 0, 9)]
    return table(party, name, columns, loans(start, step), unique=False)


WORLD = World(
    (
        table(
            "bank_a",
            "applicants",
            [text("uscc", key=True, nullable=False), text("name"), text("industry", "A", "B", nullable=False)],
            APPLICANTS,
        ),
        lender("bank_a", "loans", 1, 2),
        lender("bank_b", "loans", 0, 3),
        lender("bank_b", "cards", 5, 4, scale=3),
        lender("bank_c", "loans", 2, 5),
        table("tax", "firms", [text("uscc", key=True), integer("paid", 0, 99)], SCORES),
        table(
            "tax", "ratings", [text("uscc", key=True), integer("score", 0, 9)], [(firm(i), i % 9) for i in range(25)]
        ),
    )
)

Q = "FROM bank_a.applicants q"


def owed(*tables: str, columns: str = "uscc, amount") -> str:
    return "(" + " UNION ALL ".join(f"SELECT {columns} FROM {t}" for t in tables) + ") l"


KINDS = "(SELECT uscc, amount, 'b' AS kind FROM bank_b.loans UNION ALL SELECT uscc, amount, 'c' FROM bank_c.loans)"
ALL = ("bank_a.loans", "bank_b.loans", "bank_b.cards", "bank_c.loans")
OTHERS = ("bank_b.loans", "bank_c.loans")

QUERIES = [
    f"SELECT q.uscc, SUM(l.amount) AS owed, COUNT(*) AS loans {Q} JOIN {owed(*OTHERS)} USING (uscc) GROUP BY q.uscc",
    f"SELECT q.uscc, q.name, SUM(l.amount) AS owed {Q} JOIN {owed(*ALL)} USING (uscc) GROUP BY q.uscc, q.name",
    f"SELECT q.industry, SUM(l.amount) AS owed, COUNT(*) AS n, COUNT(l.amount) AS m {Q} JOIN {owed(*ALL)} USING (uscc) "
    "GROUP BY q.industry ORDER BY 1",
    f"SELECT SUM(l.amount) AS owed, AVG(l.amount) AS a {Q} JOIN {owed(*OTHERS)} USING (uscc) WHERE l.amount > 20",
    f"SELECT q.uscc, SUM(l.amount) AS owed {Q} JOIN {owed(*ALL, columns='uscc, amount, late')} USING (uscc) "
    "WHERE l.late > 1 AND q.industry = 'A' GROUP BY q.uscc",
    f"SELECT q.uscc, SUM(l.amount) AS owed, SUM(t.paid) AS p {Q} JOIN {owed(*OTHERS)} USING (uscc) "
    "JOIN tax.firms t ON t.uscc = q.uscc GROUP BY q.uscc",
    f"SELECT q.industry, SUM(CASE WHEN l.late > 1 THEN l.amount * t.paid END) AS s {Q} "
    f"JOIN {owed(*ALL, columns='uscc, amount, late')} USING (uscc) JOIN tax.firms t ON t.uscc = q.uscc "
    "GROUP BY 1 ORDER BY 1",
    "SELECT SUM(CASE WHEN l.kind = 'b' THEN l.amount END) AS b, COUNT(*) FILTER (WHERE l.kind = 'c') AS c "
    f"{Q} JOIN {KINDS} l USING (uscc)",
    f"SELECT COUNT(*) AS n {Q} JOIN {KINDS} l USING (uscc) WHERE l.kind = 'b'",
    f"SELECT COUNT(*) AS n, SUM(l.amount) AS s FROM {owed('bank_b.loans', 'bank_b.cards')} "
    "JOIN tax.firms t USING (uscc)",
    # several tables of one owner
    f"SELECT COUNT(*) AS n, SUM(t.paid * r.score) AS s {Q} JOIN tax.firms t USING (uscc) "
    "JOIN tax.ratings r ON r.uscc = t.uscc",
    f"SELECT q.uscc, t.paid, r.score, t.paid > r.score * 5 AS more {Q} LEFT JOIN tax.firms t USING (uscc) "
    "LEFT JOIN tax.ratings r ON r.uscc = q.uscc",
    f"SELECT q.industry, SUM(o.amount) AS own, SUM(o.amount * t.paid) AS p, COUNT(*) AS n {Q} "
    "JOIN bank_a.loans o USING (uscc) JOIN tax.firms t ON t.uscc = q.uscc WHERE t.paid < 30 GROUP BY 1 ORDER BY 1",
]


def result(sql: str, world: World = WORLD, to: str = "bank_a") -> list[tuple[Any, ...]]:
    return [tuple(r) for r in world.result(world.plan(sql, recipients=(to,))).rows]


@pytest.mark.parametrize("sql", QUERIES)
def test_equals_duckdb(sql: str) -> None:
    expected = WORLD.plaintext(sql)
    assert expected and any(v for row in expected for v in row)
    assert as_set(result(sql)) == as_set(expected)


def test_of_a_union_each_branch_must_reach_the_rule() -> None:
    sql = f"SELECT COUNT(*) AS n {Q} JOIN {owed(*OTHERS)} USING (uscc)"
    branch = [WORLD.plaintext(f"SELECT COUNT(DISTINCT uscc) {Q} JOIN {t} l USING (uscc)")[0][0] for t in OTHERS]
    assert branch[0] != branch[1]
    plan = WORLD.plan(sql)
    assert not any(WORLD.result(plan, min_entities=min(branch)).suppressed)
    assert all(WORLD.result(plan, min_entities=min(branch) + 1).suppressed)


def test_lenders_are_contributors_of_an_exposure() -> None:
    plan = WORLD.plan(QUERIES[0], recipients=("bank_a",))
    owed_ = next(r for r in plan.reveals if r.what.startswith("SUM"))
    assert owed_.pooled and owed_.contributors == ("bank_b", "bank_c")


def test_how_many_rows_of_an_entity_pass_is_more_than_a_bit() -> None:
    def uses(sql: str) -> set[tuple[str, str]]:
        plan = WORLD.plan(sql, recipients=("bank_a",))
        return {(u.column, u.use) for r in plan.reveals for u in r.uses if u.party == "bank_b"}

    rows = f"{Q} JOIN bank_b.loans l USING (uscc)"
    counted = uses(f"SELECT q.uscc, SUM(CASE WHEN l.late > 1 THEN 1 ELSE 0 END) AS n {rows} GROUP BY q.uscc")
    assert {("late", "threshold"), ("late", "row")} <= counted
    asked = uses(f"SELECT q.uscc {rows} WHERE l.late > 1 GROUP BY q.uscc")
    assert ("late", "threshold") in asked and ("late", "row") not in asked


@settings(max_examples=8)
@given(st.data())
def test_random_unions_equal_duckdb(data: st.DataObject) -> None:
    equals_duckdb(data)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_many_random_unions_equal_duckdb(data: st.DataObject) -> None:
    equals_duckdb(data)


def equals_duckdb(data: st.DataObject) -> None:
    numbers = st.integers(-50, 50) | st.none()

    def rows_of(unique: bool) -> list[tuple[Any, ...]]:
        ids = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=10, unique=unique))
        return [(firm(i), data.draw(numbers), data.draw(numbers)) for i in ids]

    columns = [text("id", key=True), integer("x", -50, 50), integer("y", -50, 50)]
    world = World(
        (
            table("asker", "q", columns, rows_of(True)),
            table("asker", "own", columns, rows_of(False), unique=False),
            table("bank", "t", columns, rows_of(False), unique=False),
            table("lender", "l", columns, rows_of(False), unique=False),
            table("tax", "f", columns, rows_of(True)),
        )
    )
    branches = data.draw(st.lists(st.sampled_from(["asker.own", "bank.t", "lender.l"]), min_size=2, unique=True))
    union = " UNION ALL ".join(f"SELECT id, x, y FROM {b}" for b in branches)
    where = data.draw(st.sampled_from(["", "WHERE u.x > 0", "WHERE q.x > 0 AND u.y < 9", "WHERE f.x IS NULL"]))
    for keys, grouped in (("q.id, ", "GROUP BY q.id"), ("", "")):
        sql = (
            f"SELECT {keys}COUNT(*) AS n, SUM(u.x) AS s, SUM(u.x * f.y + q.x) AS p FROM asker.q "
            f"JOIN ({union}) u USING (id) JOIN tax.f ON f.id = q.id {where} {grouped}"
        )
        assert as_set(result(sql, world, "asker")) == as_set(world.plaintext(sql))


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        (f"SELECT q.uscc, l.amount {Q} JOIN {owed(*OTHERS)} USING (uscc)", "UNION ALL"),
        (
            f"SELECT l.kind, COUNT(*) AS n {Q} JOIN (SELECT uscc, 'b' AS kind FROM bank_b.loans UNION ALL "
            "SELECT uscc, 'c' FROM bank_c.loans) l USING (uscc) GROUP BY l.kind",
            "UNION ALL",
        ),
        (f"SELECT COUNT(*) AS n {Q} LEFT JOIN {owed(*OTHERS)} USING (uscc)", "LEFT JOIN of a UNION ALL"),
        (f"SELECT COUNT(*) AS n {Q} JOIN bank_a.loans l USING (uscc)", "alone"),
        (f"SELECT COUNT(*) AS n {Q} JOIN tax.firms t USING (uscc) JOIN tax.firms u ON u.uscc = q.uscc", "twice"),
        (
            f"SELECT COUNT(*) AS n FROM {owed(*OTHERS)} JOIN (SELECT uscc FROM tax.firms UNION ALL SELECT uscc FROM "
            "bank_a.loans) m USING (uscc)",
            "nothing but",
        ),
    ],
)
def test_what_is_refused_says_so(sql: str, told: str) -> None:
    with pytest.raises(LocalError) as caught:
        WORLD.plan(sql, recipients=("bank_a",))
    assert caught.value.code == "sql.unsupported" and told in str(caught.value)
