"""Conditions that exclude each other by their constants: no row passes both, in whatever data; and those of joins, of
which nothing is compared then."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.query import compared as beside
from mpc.query.disjoint import never
from mpc.query.plan import Plan
from mpc.query.plan_joins import ComparedPool
from mpc.query.rules import simplify
from mpc.run import Trace
from tests.mpc.query.test_join_differences import JOINS, Count, near
from tests.mpc.query.test_joins import TWO, table
from tests.mpc.query.test_joins import WORLD as FIRMS
from tests.mpc.query.test_rules import bind
from tests.mpc.query.world import World, boolean, date, decimal, held, integer, text

DAYS = [dt.date(2026, m, d) for m in (1, 2, 3) for d in (1, 15)]


@cache
def grid() -> World:
    """Every combination of a few values, NULL among them."""
    columns = (integer("n", -9, 9), text("s"), decimal("x", 1, -9, 9), boolean("flag"), date("day", *_bounds()))
    values: tuple[Sequence[Any], ...] = (
        [None, -1, 0, 1, 2, 3],
        [None, "", "a", "ab", "b", "c"],
        [None, "-0.1", "0.0", "0.5", "1.0", "2.1"],
        [None, True, False],
        [None, *DAYS],
    )
    return World((held("p", "t", columns, list(product(*values))),))


def _bounds() -> tuple[str, str]:
    return "2025-01-01", "2027-12-31"


def excludes(*texts: str) -> bool:
    return never(frozenset(simplify(bind(grid(), "p.t", t)) for t in texts))


# ---- two conditions over one row


EXCLUDING = [
    ("s = 'a'", "s = 'b'"),
    ("n < 2", "n > 2"),
    ("n < 2", "n >= 2"),
    ("n < 2", "n > 1"),  # nothing is between two whole numbers
    ("x < 0.5", "x > 0.4"),
    ("s < 'a'", "s >= 'a'"),
    ("2 > n", "n >= 2.0"),
    ("n BETWEEN 0 AND 3", "n BETWEEN 4 AND 9"),
    ("s IN ('a', 'b')", "s IN ('c', 'd')"),
    ("s IN ('a', 'b')", "s NOT IN ('a', 'b', 'c')"),
    ("s NOT IN ('a', 'b')", "s = 'a'"),
    ("n IS NULL", "n > -5"),
    ("n IS NULL", "n IS NOT NULL"),
    ("n IS NULL", "n + 1 IS NOT NULL AND n = 3"),
    ("flag", "NOT flag"),
    ("flag IS NULL", "NOT flag"),
    ("flag", "flag IS DISTINCT FROM TRUE"),
    ("n IS NOT DISTINCT FROM 2", "n IS NULL"),
    ("day >= DATE '2026-01-01' AND day < DATE '2026-02-01'", "day >= DATE '2026-02-01' AND day < DATE '2026-03-01'"),
    ("EXTRACT(month FROM day) = 1", "EXTRACT(month FROM day) = 2"),
    ("SUBSTRING(s, 1, 1) = 'a'", "SUBSTRING(s, 1, 1) = 'b'"),
    ("s LIKE 'a%'", "s NOT LIKE 'a%'"),
    ("n + 1 > 3", "n + 1 <= 3"),
    ("CASE WHEN s = 'a' THEN n END IS NOT NULL", "CASE WHEN s = 'b' THEN n END IS NOT NULL"),
    ("CASE WHEN s = 'a' THEN n ELSE 0 END <> 0", "CASE WHEN s = 'b' THEN n ELSE 0 END <> 0"),
    ("COALESCE(n, 0) > 1", "COALESCE(n, 0) < 1"),
    ("COALESCE(s = 'a', TRUE)", "s = 'b'"),
    ("s = 'a' OR s = 'b'", "s = 'c' OR s IS NULL"),
    ("(s = 'a' AND n = 1) OR (s = 'b' AND n = 2)", "(s = 'a' AND n = 2) OR (s = 'b' AND n = 1)"),
    ("s = 'a' AND x > 0", "n > 1 AND s = 'b'"),
    ("s = 'a' AND s = 'b'", "n = 1"),
    ("NULL", "n = 1"),
    ("n IN (1, NULL)", "n = 2"),
    ("n NOT IN (1, NULL)", "n = 2"),  # never TRUE
]
MEETING = [
    ("s = 'a'", "n = 1"),
    ("s = 'a'", "s <> 'b'"),
    ("n <= 2", "n >= 2"),
    ("x < 0.6", "x > 0.4"),
    ("n BETWEEN 0 AND 3", "n BETWEEN 3 AND 9"),
    ("s IN ('a', 'b')", "s IN ('b', 'c')"),
    ("n IS NULL", "COALESCE(n, 0) = 0"),
    ("n IS NULL", "n IS DISTINCT FROM 3"),
    ("s = 'a' OR n = 1", "s = 'b'"),
    ("CASE WHEN s = 'a' THEN n ELSE 1 END IS NOT NULL", "s = 'b'"),
    ("COALESCE(s = 'a', TRUE)", "s IS NULL"),
    ("s < 'b'", "s > 'a'"),  # 'ab' is between
]


@pytest.mark.parametrize(("one", "other"), EXCLUDING)
def test_these_exclude_each_other(one: str, other: str) -> None:
    assert excludes(one, other) and excludes(other, one)
    assert together(one, other) == 0


@pytest.mark.parametrize(("one", "other"), MEETING)
def test_these_do_not(one: str, other: str) -> None:
    assert not excludes(one, other) and together(one, other) > 0


def test_what_takes_too_long_is_not_said_to_exclude() -> None:
    many = ", ".join(f"'k{i}'" for i in range(400))
    assert excludes(f"s IN ({many})", "s IN ('a', 'b')")
    assert not excludes(f"s NOT IN ({many})", "s IN ('k1', 'k2') OR n = 1")
    assert not excludes(f"s NOT IN ({many})", f"s IN ({many})")


def together(*conditions: str) -> int:
    (row,) = grid().pooled.execute(f"SELECT COUNT(*) FROM p.t WHERE ({') AND ('.join(conditions)})").fetchall()
    return int(row[0])


@st.composite
def condition(draw: st.DrawFn, depth: int = 3) -> str:
    n, m = draw(st.integers(-1, 3)), draw(st.integers(-1, 3))
    op = draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]))
    s, t = draw(st.sampled_from("abc")), draw(st.sampled_from("abc"))
    day = draw(st.sampled_from(DAYS))
    leaves = [
        f"n {op} {n}",
        f"{n} {op} x",
        f"x {op} {n}.5",
        f"s {op} '{s}'",
        f"day {op} DATE '{day}'",
        f"n {op} {n}.5",
        f"n IN ({n}, {m})",
        f"s NOT IN ('{s}', '{t}', NULL)",
        f"s IN ('{s}', NULL)",
        "flag",
        f"{draw(st.sampled_from(['n', 's', 'flag']))} IS NULL",
        f"n IS DISTINCT FROM {n}",
        f"n BETWEEN {n} AND {m}",
        f"n + {m} {op} x",
        f"n * 2 {op} {n}",
        f"s LIKE '{s}%'",
        f"EXTRACT(month FROM day) {op} {abs(n)}",
        f"COALESCE(n, {m}) {op} {n}",
        f"SUBSTRING(s, 1, 1) = '{s}'",
        f"NULLIF(n, {m}) {op} {n}",
    ]
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(leaves))
    one, other = draw(condition(depth - 1)), draw(condition(depth - 1))
    return draw(
        st.sampled_from(
            [
                f"({one} AND {other})",
                f"({one} OR {other})",
                f"(NOT {one})",
                f"COALESCE({one}, {other})",
                f"(CASE WHEN {one} THEN n ELSE {m} END {op} {n})",
                f"(CASE WHEN {one} THEN n END IS NOT NULL)",
                f"(CASE WHEN {one} THEN {other} ELSE flag END)",
            ]
        )
    )


@settings(max_examples=150)
@given(condition(), condition(1))
def test_no_row_passes_two_conditions_that_are_said_to_exclude_each_other(one: str, other: str) -> None:
    verdict_is_kept(one, other)


@pytest.mark.slow
@settings(max_examples=500)
@given(condition(), condition())
def test_no_row_passes_many_conditions_that_are_said_to_exclude_each_other(one: str, other: str) -> None:
    verdict_is_kept(one, other)


def verdict_is_kept(one: str, other: str) -> None:
    said, found = excludes(one, other), together(one, other)
    event(f"excluding: {said}, no row of the grid: {found == 0}")
    assert not (said and found), (one, other)


# ---- over joins


@st.composite
def excluding(draw: st.DrawFn) -> str:
    side, n = draw(st.sampled_from(["p0", "p0", "p0", "p1"])), draw(st.integers(1, 3))
    return draw(
        st.sampled_from(
            [
                f"{side}.x < {n}",
                f"{side}.x < {n}",
                f"{side}.x >= {n}",
                f"{side}.x >= {n}",
                f"{side}.g = 'u'",
                f"{side}.g = 'v'",
                f"{side}.x = {n}",
                f"{side}.x IN (0, {n})",
                f"({side}.x = 0 OR {side}.g = 'v')",
                f"({side}.x < {n} OR p1.x = 0)",
                f"({side}.x = {n} AND p0.x >= p1.x)",
            ]
        )
    )


@settings(max_examples=20)
@given(st.data())
def test_what_is_not_compared_would_have_hidden_nothing(data: st.DataObject) -> None:
    same_without_the_rule(data)


@pytest.mark.timeout(600)
@pytest.mark.slow
@settings(max_examples=80)
@given(st.data())
def test_what_is_not_compared_would_have_hidden_nothing_in_many_joins(data: st.DataObject) -> None:
    same_without_the_rule(data)


def same_without_the_rule(data: st.DataObject) -> None:
    """With keys that repeat, LEFT JOINs, measures of one job: the same cells are hidden where all is compared."""
    world, least = data.draw(near()), data.draw(st.sampled_from([2, 3, 4]))
    group = data.draw(st.sampled_from(["", "", "p0.g", "p1.g"]))

    def question() -> str:
        wheres = data.draw(st.lists(excluding(), min_size=1, max_size=2))
        join = data.draw(st.sampled_from(JOINS)).format(data.draw(st.integers(0, 4)))
        rest = f"FROM p0.t p0 {join} WHERE {' AND '.join(wheres)}"
        return Count(rest, group, data.draw(st.sampled_from(["", ""]) | excluding())).sql

    asked = [question() for _ in range(data.draw(st.integers(2, 4)))]
    try:
        compared = world.plan(asked[-1], after=asked[:-1])
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(beside, "exclude", lambda _p, _q: False)
            all_compared = world.plan(asked[-1], after=asked[:-1])
    except LocalError as refused:
        assert refused.code == "sql.unsupported", (asked, refused)
        return
    fewer = pairs(compared) < pairs(all_compared)
    event(f"fewer pairs: {fewer}")
    assert world.result(compared, min_entities=least) == world.result(all_compared, min_entities=least), asked


def pairs(plan: Plan) -> int:
    return sum(len(c) for _, p in plan.joins if isinstance(p, ComparedPool) for c in p.comparisons)


MONTHS = [f"{2020 + i // 12}-{i % 12 + 1:02}" for i in range(40)]
#: what a firm paid in each month: the key repeats
PAID = World(
    (
        table(
            "tax",
            "paid",
            [text("uscc", key=True, nullable=False), text("month"), integer("paid", 0, 10**6)],
            [(f"F{i}", MONTHS[(i * 7 + m) % 40], i + m) for i in range(8) for m in range(4)] + [("F1", None, 3)],
            unique=False,
        ),
        table(
            "bank",
            "firms",
            [text("uscc", key=True, nullable=False), text("branch", "A", "B")],
            [(f"F{i}", "AB"[i % 2]) for i in range(3, 8)],
        ),
    )
)
MONTHLY = "FROM tax.paid d JOIN bank.firms b USING (uscc) WHERE d.month"


@pytest.mark.parametrize(
    "of",
    [
        lambda m: f"SELECT SUM(d.paid) AS s, COUNT(*) AS n {MONTHLY} = '{m}'",
        lambda m: f"SELECT b.branch, COUNT(*) AS n {MONTHLY} = '{m}' GROUP BY 1",
        lambda m: f"SELECT SUM(CASE WHEN d.month = '{m}' THEN d.paid END) AS s {MONTHLY} IS NOT NULL",
    ],
)
def test_forty_monthly_questions_cost_what_the_first_one_does(of: Callable[[str], str]) -> None:
    every = [of(m) for m in MONTHS]

    def moved(n: int) -> list[tuple[str, str, str, int]]:
        plan, trace = PAID.plan(every[n], after=every[:n]), Trace()
        ((p, pool),) = plan.joins
        assert pairs(plan) == 0
        PAID.joined(p, pool, 3, trace)
        return [(s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent]

    first = moved(0)
    assert first == moved(1) == moved(39)


@pytest.mark.parametrize(
    ("after", "now", "compared"),
    [
        ("d.month = '2020-01'", "d.month IN ('2020-01', '2020-02')", 1),
        ("d.month = '2020-01'", "d.month <= '2020-01'", 1),
        ("d.month = '2020-01'", "d.month < '2020-01'", 0),
        ("d.month = '2020-01'", "(d.month = '2020-02' OR d.paid > 5)", 1),
        ("d.month = '2020-01'", "b.branch = 'A'", 1),
        ("d.month = '2020-01'", "b.branch <> '2020-01'", 1),  # the other side's row
        ("d.month = '2020-01' AND b.branch = 'A'", "d.month = '2020-01' AND b.branch = 'B'", 0),
        ("d.month = '2020-01'", "d.month IS NULL", 0),
        ("TRUE", "d.month IS NULL", 1),
    ],
)
def test_what_may_share_a_row_is_compared(after: str, now: str, compared: int) -> None:
    asked = [f"SELECT COUNT(*) AS n {MONTHLY.removesuffix('d.month')} {where}" for where in (after, now)]
    assert pairs(PAID.plan(asked[1], after=asked[:1])) == compared


def test_measures_of_one_job_that_exclude_each_other_are_not_compared() -> None:
    def measures(*conditions: str) -> int:
        cases = (f"SUM(CASE WHEN {c} THEN t.paid END) AS s{i}" for i, c in enumerate(conditions))
        return pairs(FIRMS.plan(f"SELECT {', '.join(cases)} {TWO}", after=[]))

    assert measures("b.branch = 'A'", "b.branch = 'B'", "b.branch = 'D'") == 0
    assert measures("b.branch = 'A'", "t.late = 1", "b.branch = 'D'") > 0
    assert measures("b.branch = 'A'", "t.late < b.overdue") == 1


def test_the_right_side_of_a_left_join_excludes_only_where_it_is() -> None:
    """Where no row met, its columns are NULL, and b.branch = 'A' is not TRUE either; b.branch IS NULL is."""

    def compared(one: str, other: str) -> int:
        asked = [
            f"SELECT COUNT(*) AS n FROM tax.firms t LEFT JOIN bank.firms b USING (uscc) WHERE {c}" for c in (one, other)
        ]
        return pairs(FIRMS.plan(asked[1], after=asked[:1]))

    assert compared("b.branch = 'A'", "b.branch = 'B'") == 0
    assert compared("b.overdue = 1", "b.overdue IS NULL") == 1  # more than this rule sees
    assert compared("b.overdue IS NULL", "b.branch IS NULL") == 1
