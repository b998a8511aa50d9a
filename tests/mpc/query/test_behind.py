"""Dominance: a cell in which one entity carries too much of a sum is found, whatever the sum is dressed as."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpc.policy.carried import dominated
from tests.mpc.query.world import World, decimal, held, integer, text

Row = tuple[Any, ...]


def one(rows: Sequence[Row], *, key: bool = True) -> World:
    columns = [text("id", key=key), text("region", "north", "south"), integer("n", -99, 99), decimal("d", 2, 0, 100)]
    return World((held("a", "t", columns, rows),))


def found(what: str, rows: Sequence[Row], most: str = "0.5", *, key: bool = True) -> list[bool]:
    """Of the last measure of a query by region: north, south."""
    w = one(rows, key=key)
    return w.dominated(w.plan(f"SELECT region, {what} FROM a.t GROUP BY region"), 0, "a", most)[-1][:2]


#: in the north one firm has 90 of 120, in the south nobody more than half
ROWS = [
    ("1", "north", 60, "1.00"),
    ("1", "north", 30, "1.00"),
    ("2", "north", 10, "1.00"),
    ("3", "north", -20, "1.00"),
    ("4", "south", 10, "1.00"),
    ("5", "south", 10, "1.00"),
]


@pytest.mark.parametrize(
    ("what", "north"),
    [
        ("SUM(n)", True),
        ("AVG(n)", True),
        ("SUM(-n)", True),
        ("SUM(2 * n)", True),
        ("SUM(n + 1000)", True),  # a shift by what everybody knows hides nothing
        ("SUM(n + 1000 * d)", True),  # nor by a column that can be asked for beside it
        ("SUM(CASE WHEN d > 0 THEN n + 50 ELSE 7 END)", True),
        ("SUM(COALESCE(n, 0) + 1000)", True),
        ("SUM(COALESCE(NULLIF(d, 1), n))", True),  # n counts where the first argument is NULL
        ("SUM(GREATEST(n, -99) + 1000)", True),
        ("SUM(n * n)", True),
        ("VARIANCE(n + 1000)", True),
        ("SUM(n) FILTER (WHERE id <> '1')", True),  # 20 of 30 are one firm's then
        ("SUM(n) FILTER (WHERE n < 40)", False),  # 30, 10, -20
        ("SUM(d)", False),
        ("COUNT(*)", False),  # of counts there is no largest part
        ("COUNT(n)", False),
        ("COUNT(DISTINCT n)", False),
        ("SUM(CASE WHEN n > 0 THEN 1 ELSE 0 END)", False),
        ("MAX(n)", False),
    ],
)
def test_who_carries_more_than_half(what: str, north: bool) -> None:
    assert found(what, ROWS) == [north, False]


def test_exactly_the_share_is_allowed_and_a_hair_more_is_not() -> None:
    even = [("1", "north", 90, "0"), ("2", "north", 10, "0")]
    assert found("SUM(n)", even, "0.9") == [False, False]
    assert found("SUM(n)", even, "0.8999999999") == [True, False]


def test_rows_of_a_table_without_key_are_entities() -> None:
    assert found("SUM(n)", ROWS, key=False) == [False, False]
    assert found("SUM(n)", ROWS, "0.49", key=False) == [True, True]


def test_rows_without_a_key_are_together_one_entity() -> None:
    rows = [(None, "north", 30, "0"), (None, "north", 30, "0"), ("1", "north", 40, "0")]
    assert found("SUM(n)", rows) == [True, False]


def test_an_entity_in_several_branches_is_one() -> None:
    halves = [("1", "north", 50, "50"), ("2", "north", 40, "40"), ("3", "north", 10, "10")]
    w = one(halves)
    union = "(SELECT n AS x FROM a.t UNION ALL SELECT d FROM a.t) AS u"
    plan = w.plan(f"SELECT SUM(x) FROM {union}")
    assert w.dominated(plan, 0, "a", "0.5")[-1] == [False]
    assert w.dominated(plan, 0, "a", "0.49")[-1] == [True]


def test_columns_named_like_ours() -> None:
    columns = [integer("row", 0, 99), integer("a0", 0, 99), integer("c", 0, 99), text("e", "x", "y")]
    w = World((held("a", "t", columns, [(60, 1, 2, "x"), (30, 1, 2, "x")]),))
    plan = w.plan('SELECT e, SUM("row") FROM a.t WHERE c = 2 GROUP BY e')
    assert w.dominated(plan, 0, "a", "0.6")[-1][:2] == [True, False]
    assert w.dominated(plan, 0, "a", "0.7")[-1][:2] == [False, False]


KEYS = st.sampled_from(["1", "2", "3", None])
NUMBERS = st.none() | st.integers(-99, 99)


@given(
    st.lists(st.tuples(KEYS, st.sampled_from(["north", "south"]), NUMBERS), max_size=12),
    st.sampled_from(["0.1", "0.34", "0.5", "0.75", "0.99"]),
)
def test_like_adding_up_by_hand(rows: list[tuple[str | None, str, int | None]], most: str) -> None:
    carried: dict[str, dict[str | None, int]] = {"north": defaultdict(int), "south": defaultdict(int)}
    for key, region, n in rows:
        carried[region][key] += abs(n or 0)
    expected = [max(by.values(), default=0) > Fraction(Decimal(most)) * sum(by.values()) for by in carried.values()]
    assert found("SUM(3 * n + 5)", [(*r, "0") for r in rows], most) == expected


def test_beyond_exact_doubles_the_limit_itself_counts_as_above_it() -> None:
    big = np.array([9e17, 1e17])
    zero = np.zeros(2, dtype=np.int64)
    assert dominated(zero, zero, big, 1, Fraction(9, 10)).tolist() == [True]
    assert dominated(zero, zero, big, 1, Fraction(91, 100)).tolist() == [False]


@given(st.lists(st.lists(st.integers(0, 1000), min_size=1, max_size=5), min_size=1, max_size=4))
def test_kept_in_every_part_it_is_kept_in_the_whole(owners: list[list[int]]) -> None:
    """The argument of docs/policy.md: of what several owners add, an entity with the same name at all of them too."""
    most = max((Fraction(max(part), sum(part)) for part in owners if sum(part)), default=Fraction(0))
    width = max(map(len, owners))
    by_entity = [sum(part[i] for part in owners if i < len(part)) for i in range(width)]
    assert max(by_entity) <= most * sum(by_entity)


@st.composite
def choices(draw: st.DrawFn, depth: int = 2) -> str:
    """What chooses one of the columns, or of their negatives, in each row; or NULL."""
    if depth == 0 or (depth == 1 and draw(st.booleans())):
        return draw(st.sampled_from(["n", "m", "-n", "-m", "3 * n", "NULLIF(m, 1)", "NULLIF(n, m)"]))
    a, b = draw(choices(depth - 1)), draw(choices(depth - 1))
    kind = draw(st.sampled_from(["coalesce", "case", "greatest", "least", "bare case", "neg"]))
    test = draw(st.sampled_from(["n > 0", "m IS NULL", "n = m", "id = '1'", "region = 'north' AND m < 5"]))
    return {
        "coalesce": f"COALESCE({a}, {b})",
        "case": f"CASE WHEN {test} THEN {a} ELSE {b} END",
        "greatest": f"GREATEST({a}, {b})",
        "least": f"LEAST({a}, {b})",
        "bare case": f"CASE WHEN {test} THEN {a} END",
        "neg": f"-({a})",
    }[kind]


FEW = st.sampled_from([None, None, 1, 5, -7, 60])
CHOSEN = st.lists(st.tuples(KEYS, st.sampled_from(["north", "south"]), FEW, FEW), min_size=2, max_size=8)


@settings(max_examples=50)
@example("COALESCE(n, m)", [("1", "north", None, 60), ("2", "north", 1, 5)], "0.5")
@given(choices(), CHOSEN, st.sampled_from(["0.1", "0.5"]))
def test_whoever_carries_much_of_a_choice_of_columns_is_found(what: str, rows: list[Row], most: str) -> None:
    """A row brings one column only: so if nobody carries more than a share of any column, nobody does of the sum."""
    columns = [text("id", key=True), text("region", "north", "south"), integer("n", -99, 99), integer("m", -99, 99)]
    w = World((held("a", "t", columns, rows),))
    judged = w.dominated(w.plan(f"SELECT region, SUM({what}) AS s FROM a.t GROUP BY region"), 0, "a", most)[-1][:2]
    each = w.pooled.execute(
        f"SELECT region, COALESCE(id, ''), SUM(ABS({what})) FROM a.t GROUP BY 1, 2 HAVING SUM(ABS({what})) > 0"
    ).fetchall()
    for region, found_here in zip(("north", "south"), judged, strict=True):
        parts = [x for r, _, x in each if r == region]
        assert found_here or max(parts, default=0) <= Fraction(Decimal(most)) * sum(parts), (what, rows)
