"""Hand-written questions: each supported construct against DuckDB, and what is ours alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from tests.mpc.query.bureau import UNION, bureau
from tests.mpc.query.golden import FIXTURES
from tests.mpc.query.world import World, decimal, held, integer, refusal, text


def fixture(name: str) -> list[str]:
    """A query a line; <banks> stands for the union of both banks."""
    lines = (FIXTURES / name).read_text(encoding="utf-8").splitlines()
    return [line.replace("<banks>", f"{UNION} AS u") for line in lines]


@pytest.mark.parametrize("sql", fixture("answered.sql"))
def test_answer(sql: str) -> None:
    w = bureau()
    mine, theirs = w.query(sql), w.plaintext(sql)
    assert mine == theirs


@pytest.mark.parametrize("sql", fixture("answered_in_doubles.sql"))
def test_answer_in_doubles(sql: str) -> None:
    """Ours are correctly rounded (test_random_sql, test_numbers); DuckDB's are within its own error."""
    w = bureau()
    mine, theirs = w.query(sql), w.plaintext(sql)
    assert len(mine) == len(theirs) and all(same(a, b) for a, b in zip(mine, theirs, strict=True)), (mine, theirs)


def same(mine: Sequence[Any], theirs: Sequence[Any]) -> bool:
    return all(
        a == b
        or (isinstance(b, float) and a is not None and math.isclose(a, b, rel_tol=1e-12))
        or (a is None and isinstance(b, float) and not math.isfinite(b))
        for a, b in zip(mine, theirs, strict=True)
    )


def test_names_of_columns() -> None:
    sql = (
        'SELECT region, COUNT(*), SUM(n), SUM(n), AVG(n) AS "mean ""n""", (region) FROM bank_a.accounts GROUP BY region'
    )
    assert bureau().result(bureau().plan(sql)).names == (
        "region",
        "COUNT(*)",
        "SUM(n)",
        "SUM(n)_1",
        'mean "n"',
        "region_1",
    )


def test_names_that_need_quotes() -> None:
    """Tables and columns with any name: identifiers are quoted in local SQL, never pasted."""
    rows = [("1", 5, "it's"), ("2", 7, 'a"b')]
    odd, worse = 'sum("x") --', "order"
    columns = [text("id", key=True), integer(odd, 0, 9), text(worse, "it's", 'a"b')]
    w = World((held("a", "select", columns, rows), held("b", "from", columns, rows)))
    quoted = '"' + odd.replace('"', '""') + '"'
    sql = f'''SELECT "order", SUM({quoted}) FROM (SELECT * FROM a."select" UNION ALL SELECT * FROM b."from") AS u
              WHERE "order" <> 'x''; DROP TABLE "select"; --' GROUP BY "order" ORDER BY "order"'''
    assert w.query(sql) == w.plaintext(sql) == [('a"b', 14), ("it's", 10)]


def test_scales_of_several_parties() -> None:
    w = World(
        (
            held("a", "t", [decimal("x", 0, -10, 10)], [("3",), ("-7",)]),
            held("b", "t", [decimal("x", 6, -10, 10)], [("0.000001",), (None,)]),
            held("c", "t", [integer("x", -10, 10)], [(4,)]),
        )
    )
    union = "SELECT x FROM a.t UNION ALL SELECT x FROM b.t UNION ALL SELECT x FROM c.t"
    sql = f"SELECT SUM(x), COUNT(x), AVG(x) FROM ({union}) AS u"
    assert w.query(sql) == w.plaintext(sql)


@pytest.mark.parametrize("empty", [("a",), ("b",), ("a", "b")])
def test_empty_tables(empty: tuple[str, ...]) -> None:
    columns = [integer("x", 0, 9), text("k", "p", "q")]
    w = World(tuple(held(p, "t", columns, [] if p in empty else [(3, "p"), (None, None)]) for p in ("a", "b")))
    union = "(SELECT x, k FROM a.t UNION ALL SELECT x, k FROM b.t) AS u"
    for sql in (
        f"SELECT COUNT(*), COUNT(x), SUM(x), AVG(x), STDDEV(x) FROM {union}",
        f"SELECT k, COUNT(*), COUNT(x), SUM(x), AVG(x) FROM {union} GROUP BY k ORDER BY k",
        "SELECT (SELECT SUM(x) FROM a.t) + (SELECT COUNT(*) FROM b.t)",
    ):
        assert w.query(sql) == w.plaintext(sql)


# ---- what could tell a pooled total's parts apart (checklist 38)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1000 * (SELECT SUM(n) FROM bank_a.accounts) + (SELECT SUM(n) FROM bank_b.accounts)",
        "SELECT (SELECT SUM(n) FROM bank_a.accounts) + 0.001 * (SELECT SUM(n) FROM bank_b.accounts)",
        "SELECT (SELECT SUM(n * 65536) FROM bank_a.accounts) + (SELECT SUM(n) FROM bank_b.accounts)",
        "SELECT SUM(x) FROM (SELECT n * 1000 AS x FROM bank_a.accounts UNION ALL SELECT n FROM bank_b.accounts) AS u",
        "SELECT SUM(x) FROM (SELECT ROUND(n, -3) + n * 1000 AS x FROM bank_a.accounts "
        "UNION ALL SELECT n FROM bank_b.accounts) AS u",
        "SELECT SUM(x) FROM (SELECT CASE WHEN active THEN 4096 ELSE 8192 END AS x FROM bank_a.accounts "
        "UNION ALL SELECT n FROM bank_b.accounts) AS u",
        "SELECT (SELECT SUM(n) FROM bank_a.accounts) + (SELECT SUM(n) FROM bank_b.accounts), "
        "(SELECT SUM(n) FROM bank_a.accounts) - (SELECT SUM(n) FROM bank_b.accounts)",
        "SELECT SUM(n), SUM(m) FROM (SELECT n, n AS m FROM bank_a.accounts "
        "UNION ALL SELECT n, 2 * n FROM bank_b.accounts) AS u",
    ],
)
def test_weights_that_would_show_the_parts(sql: str) -> None:
    e = refusal(bureau(), sql)
    assert e.code == "plan.unsafe_weights" and e.advice


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 2 * (SELECT SUM(n) FROM bank_a.accounts) + (SELECT SUM(n) FROM bank_b.accounts)",
        "SELECT SUM(x) FROM (SELECT n * 100 AS x FROM bank_a.accounts UNION ALL SELECT n FROM bank_b.accounts) AS u",
        f"SELECT SUM(n), SUM(n * n), COUNT(*) FROM {UNION} AS u",
        "SELECT (SELECT SUM(n) FROM bank_a.accounts), (SELECT SUM(n) FROM bank_b.accounts)",
    ],
)
def test_weights_that_do_not(sql: str) -> None:
    assert bureau().plan(sql).reveals


# ---- rows are never shown (checklist 35)


@pytest.mark.parametrize(
    "select", ["b", "accounts", "COUNT(b)", "SUM(b)", "b::VARCHAR", "COUNT(DISTINCT b)", "b.*", "(b).n"]
)
def test_whole_rows_are_no_columns(select: str) -> None:
    from_ = "bank_a.accounts" if select == "accounts" else "bank_a.accounts b"
    assert refusal(bureau(), f"SELECT {select} FROM {from_}").code in (
        "sql.unknown_column",
        "sql.unsupported",
        "sql.unknown_table",
    )


@pytest.mark.parametrize("value", ["cards // n", "cards % n", "huge * 5", "CAST(balance / n AS DECIMAL(30, 2))"])
def test_no_value_makes_a_local_query_fail(value: str) -> None:
    """An error that depends on a value is an answer. bank_a has rows with n = 0, and NULLs everywhere."""
    assert bureau().query(f"SELECT COUNT({value}), SUM({value}) FROM bank_a.accounts WHERE {value} <> 1")
