"""Every refused construct: its code, where it stands, how it is named and what to write instead.

fixtures/query/refused.sql holds a query and, behind it, code, line, column and words of its refusal.
"""

from __future__ import annotations

import re

import pytest

from mpc.errors import CODES
from mpc.query.parse import MAX_SQL
from tests.mpc.query.bureau import bureau
from tests.mpc.query.golden import FIXTURES, same
from tests.mpc.query.world import refusal

CASES = (FIXTURES / "refused.sql").read_text(encoding="utf-8").strip().split("\n\n")
#: refusals of the plan as a whole stand nowhere in the text
NOWHERE = {"plan.unsafe_weights"}


def queries() -> list[str]:
    return ["\n".join(line for line in c.splitlines() if not line.startswith("--!")) for c in CASES]


def told(sql: str) -> str:
    """A refusal as the fixture has it."""
    e = refusal(bureau(), sql)
    where = f"{e.facts['line']}:{e.facts['column']}" if "line" in e.facts else "nowhere"
    return "\n".join(f"--! {line}" for line in (f"{e.code} {where}", *str(e).splitlines()))


def test_refusals() -> None:
    same("refused.sql", "\n\n".join(f"{sql}\n{told(sql)}" for sql in queries()) + "\n")


@pytest.mark.parametrize("sql", queries())
def test_a_refusal_says_where_and_what_to_do(sql: str) -> None:
    e = refusal(bureau(), sql)
    assert e.code in CODES
    if e.code in NOWHERE:
        return
    line, column = e.facts["line"], e.facts["column"]
    lines = sql.split("\n")
    assert 1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1])
    if e.code != "plan.overflow" or "more than 38 digits" in e.message:
        assert e.message.startswith(f"Line {line}, column {column}: ")
    if e.code == "sql.unsupported":
        assert e.advice or "Did you mean" in e.message


@pytest.mark.parametrize("sql", ["", " \n\t ", "-- nothing", "/* nothing */", ";", ";;"])
def test_no_query(sql: str) -> None:
    e = refusal(bureau(), sql)
    assert (e.code, e.facts) == ("sql.syntax", {"line": 1, "column": 1})


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*) FROM bank_a.accounts -- how many",
        "/* how\nmany */ SELECT COUNT(*) FROM bank_a.accounts;",
        "-- a leading comment; SELECT 1\nSELECT /* here too */ COUNT(*) FROM bank_a.accounts",
        "select count(*) from BANK_A.Accounts",
        'SELECT COUNT(*) FROM "bank_a"."accounts"',
        "WITH q AS (SELECT n FROM bank_a.accounts) SELECT COUNT(*) FROM q",
    ],
)
def test_comments_case_and_quotes_do_not_matter(sql: str) -> None:
    assert bureau().query(sql) == [(4,)]


def test_too_long() -> None:
    e = refusal(bureau(), "SELECT COUNT(*) FROM bank_a.accounts --" + "x" * MAX_SQL)
    assert e.code == "sql.unsupported" and str(MAX_SQL) in e.message


@pytest.mark.parametrize(
    "inner",
    ["(" * 500 + "n" + ")" * 500, "-" * 1 + "(-" * 300 + "n" + ")" * 300, "n" + " + n" * 5000, "NOT " * 500 + "active"],
)
def test_too_deep(inner: str) -> None:
    e = refusal(bureau(), f"SELECT COUNT({inner}) FROM bank_a.accounts")
    assert e.code == "sql.unsupported" and "deep" in e.message


def test_deep_subqueries() -> None:
    sql = "SELECT n FROM bank_a.accounts"
    for _ in range(200):
        sql = f"SELECT n FROM ({sql}) AS q"
    assert "deep" in refusal(bureau(), f"SELECT COUNT(*) FROM ({sql}) AS q").message


def test_many_branches() -> None:
    union = " UNION ALL ".join(["SELECT n FROM bank_a.accounts"] * 300)
    e = refusal(bureau(), f"SELECT SUM(n) FROM ({union}) AS u")
    assert e.code == "sql.unsupported"


def test_expressions_that_double_at_every_step_are_stopped() -> None:
    steps = ", ".join(f"GREATEST(x{i + 1}, x{i} - 1) AS x{i + 2}" for i in range(60))
    sql = f"SELECT SUM(x61) FROM (SELECT n AS x0, ABS(n) AS x1, {steps} FROM bank_a.accounts) AS q"
    e = refusal(bureau(), sql)
    assert e.code in ("sql.unsupported", "plan.overflow")


@pytest.mark.parametrize("word", ["名", "\u202e", "\u00a0", "\u200b", "ｎ", "ﬁne", "n\u0301", "\x00", "\x07", "💥"])
def test_odd_letters_are_no_columns(word: str) -> None:
    e = refusal(bureau(), f"SELECT SUM({word}) FROM bank_a.accounts")
    assert e.code in ("sql.syntax", "sql.unknown_column", "sql.type", "sql.unsupported")


@pytest.mark.parametrize("name", ['n" FROM "accounts" --', 'n"; DROP TABLE accounts; --', "n) FROM x --", "*", "n\\"])
def test_a_quoted_name_is_a_name(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    e = refusal(bureau(), f"SELECT SUM({quoted}) FROM bank_a.accounts")
    assert e.code == "sql.unknown_column"
    e = refusal(bureau(), f"SELECT COUNT(*) FROM bank_a.{quoted}")
    assert e.code == "sql.unknown_table"


def test_local_queries_hold_nothing_of_the_text_but_constants() -> None:
    """Aliases, comments and names of the modeler's own never reach a party's database."""
    sql = """WITH secret_cte AS (SELECT n AS secret_alias, name FROM bank_a.accounts /* secret_comment */)
             SELECT SUM(secret_alias) AS secret_output FROM secret_cte AS secret_table WHERE name = 'x'' OR 1=1 --'"""
    printed = bureau().plan(sql).pools[0].sources[0].sql
    assert "secret" not in printed
    words = set(re.findall(r'"([^"]*)"', printed))
    assert words == {"n", "uscc", "name", "accounts"}


def test_totals_that_double_at_every_step_are_stopped() -> None:
    steps = ", ".join(f"q{i + 1} AS (SELECT ABS(x) + x AS x FROM q{i})" for i in range(60))
    sql = f"WITH q0 AS (SELECT SUM(n) AS x FROM bank_a.accounts), {steps} SELECT x FROM q60"
    assert refusal(bureau(), sql).code == "sql.unsupported"
