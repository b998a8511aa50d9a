"""Cells: small ones are suppressed with all that depends on them, entities are distinct keys, domains hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mpc.errors import LocalError
from mpc.query.layout import fill
from tests.mpc.query.bureau import UNION, accounts, bureau
from tests.mpc.query.world import World, decimal, held, integer, text

ROWS = [
    ("1", "north", 5, "1.00"),
    ("1", "north", 6, "2.00"),
    ("2", "north", 0, "4.00"),
    ("3", "south", 7, None),
    ("4", "south", None, "8.00"),
    (None, "south", 1, "0.50"),
]


def one(rows: Sequence[Sequence[Any]] = ROWS, *, key: bool = True, party: str = "a") -> World:
    return World((table(rows, key=key, party=party),))


def table(rows: Sequence[Sequence[Any]], *, key: bool = True, party: str = "a") -> Any:
    columns = [text("id", key=key), text("region", "north", "south", "west"), integer("n", 0, 9)]
    return held(party, "t", [*columns, decimal("d", 2, 0, 100)], rows)


def entities(sql: str, world: World | None = None) -> list[list[int]]:
    """The entity counts of every measure of the first pool, in the order of the answer's keys."""
    w = world or one()
    plan = w.plan(sql)
    answer = w.answer(plan, 0, "a")
    order = sorted(range(len(answer["m0e"])), key=lambda i: str(answer.get("k0", [""])[i]))
    return [[int(answer[f"m{m}e"][i]) for i in order] for m in range(len(plan.pools[0].measures))]


@pytest.mark.parametrize(
    ("what", "north", "south"),
    [
        ("COUNT(*)", 2, 2),  # a row without key is nobody
        ("COUNT(n)", 2, 1),
        ("SUM(n)", 2, 1),
        ("SUM(n + d)", 2, 0),
        ("SUM(2 * n)", 2, 1),
        ("SUM(n) FILTER (WHERE id = '1')", 1, 0),
        ("COUNT(*) FILTER (WHERE n > 5)", 1, 1),
        ("COUNT_IF(n > 4)", 1, 1),  # who adds a 0 is not behind the number
        ("SUM(CASE WHEN id = '1' THEN n ELSE 0 END)", 1, 0),
        ("SUM(CASE WHEN id = '1' THEN n END)", 1, 0),
        ("SUM(CASE WHEN id = '1' THEN n ELSE 3 END)", 1, 0),
        ("SUM(n * CAST(id = '2' AS INTEGER))", 0, 0),
        ("SUM(n // 6)", 1, 1),
        ("SUM(n % 6)", 1, 1),
        ("SUM(GREATEST(n - 5, 0))", 1, 1),
        ("VARIANCE(n)", 2, 1),
        ("COUNT(DISTINCT n)", 2, 1),
    ],
)
def test_entities_are_distinct_keys_of_the_rows_that_count(what: str, north: int, south: int) -> None:
    """Checklist 34 and 38: neither rows, nor rows whose CASE, FILTER or factor makes them 0."""
    found = entities(f"SELECT region, {what} FROM a.t GROUP BY region")
    assert found[-1] == [north, south]


def test_without_a_key_every_row_is_an_entity() -> None:
    assert entities("SELECT region, COUNT(*) FROM a.t GROUP BY region", one(key=False)) == [[3, 3]]


def test_the_same_entity_in_two_branches_counts_once() -> None:
    union = "(SELECT id, n FROM a.t WHERE n > 3 UNION ALL SELECT id, n FROM a.t) AS u"
    assert entities(f"SELECT COUNT(*) FROM {union}") == [[4]]
    assert one().query(f"SELECT COUNT(*), SUM(n) FROM {union}") == [(9, 37)]


# ---- suppression

BY_REGION = "SELECT region, COUNT(*) AS c, SUM(n) AS s, AVG(d) AS m FROM a.t GROUP BY region"


def suppressed(
    w: World, sql: str, fewest: int, *, strict: bool = False
) -> list[tuple[tuple[Any, ...], tuple[str, ...]]]:
    result = w.result(w.plan(sql), min_entities=fewest, strict=strict)
    return list(zip(result.rows, result.suppressed, strict=True))


def test_what_depends_on_a_small_cell_is_null_and_named() -> None:
    assert suppressed(one(), BY_REGION, 2) == [
        (("north", 2 + 1, 11, 7 / 3), ()),
        (("south", 3, None, None), ("s", "m")),
        (("west", None, None, None), ("c", "s", "m")),  # nobody can tell a small group from an empty one
        ((None, None, None, None), ("c", "s", "m")),
    ]


@pytest.mark.parametrize("fewest", [0, 1])
def test_nothing_is_small_where_one_entity_is_enough(fewest: int) -> None:
    assert suppressed(one(), BY_REGION, fewest) == [
        (("north", 3, 11, 7 / 3), ()),
        (("south", 3, 8, 4.25), ()),
    ]


def test_all_regions_small() -> None:
    assert all(hidden == ("c", "s", "m") for _, hidden in suppressed(one(), BY_REGION, 3))


def test_suppression_in_having_order_and_arithmetic() -> None:
    sql = (
        "SELECT region, SUM(n) + COUNT(*) AS x FROM a.t GROUP BY region HAVING SUM(n) > 10 ORDER BY SUM(n) DESC, region"
    )
    assert suppressed(one(), sql, 2) == [
        (("north", 14), ()),
        (("south", None), ("x",)),  # unknown is not "no"
        (("west", None), ("x",)),
        ((None, None), ("x",)),
    ]


def test_owners_of_several_institutions_spoil_what_they_have_nobody_in() -> None:
    w = World((table(ROWS[:3], party="a"), table(ROWS[3:], party="b")))
    sql = "SELECT region, COUNT(*) FROM (SELECT * FROM a.t UNION ALL SELECT * FROM b.t) AS u GROUP BY region"
    assert dict(r for r, _ in suppressed(w, sql, 0)) == {"north": 3, "south": 3}
    assert {r[1] for r, _ in suppressed(w, sql, 0, strict=True)} == {None}


def test_a_cell_beyond_an_owners_reach_is_not_small() -> None:
    """A constant label keeps the parties apart: that b has nobody in a's cell can be read off the plan."""
    w = World((table(ROWS[:3], party="a"), table(ROWS[3:], party="b")))
    union = "SELECT 'a' AS who, n FROM a.t UNION ALL SELECT 'b', n FROM b.t"
    sql = f"SELECT who, COUNT(*) FROM ({union}) AS u GROUP BY who ORDER BY who"
    assert suppressed(w, sql, 2, strict=True) == [(("a", 3), ()), (("b", 3), ())]


# ---- what an owner refuses of its own


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"k0": ["east", "south"]}, "data.bounds"),
        ({"k0": ["north", "north"]}, "internal"),
        ({"k0": [0, "south"]}, "data.bounds"),
        ({"k0": ["x' canary", "south"]}, "data.bounds"),
    ],
)
def test_an_answer_outside_the_plan_is_refused(change: dict[str, Any], code: str) -> None:
    w = one()
    plan = w.plan("SELECT region, COUNT(*) FROM a.t GROUP BY region")
    with pytest.raises(LocalError) as caught:
        fill(plan, 0, {**w.answer(plan, 0, "a"), **change}, party="a", min_entities=0, strict_none=False)
    assert caught.value.code == code and "canary" not in str(caught.value)


def test_rows_in_a_cell_beyond_reach_are_refused() -> None:
    w = World((table(ROWS, party="a"), table(ROWS, party="b")))
    union = "SELECT 'a' AS who FROM a.t UNION ALL SELECT 'b' FROM b.t"
    plan = w.plan(f"SELECT who, COUNT(*) FROM ({union}) AS u GROUP BY who")
    with pytest.raises(LocalError) as caught:
        fill(plan, 0, w.answer(plan, 0, "b"), party="a", min_entities=0, strict_none=False)
    assert caught.value.code == "data.bounds"


def test_filled_words_show_nothing() -> None:
    w = one()
    assert repr(w.filled(w.plan(BY_REGION), 0, "a")) == "Filled(3 measures)"


# ---- sizes


@pytest.mark.parametrize(
    ("some", "other"), [("n > 1", "n > 1000"), ("uscc = '1'", "uscc = 'x'"), ("active", "opened IS NULL")]
)
def test_sizes_do_not_depend_on_constants(some: str, other: str) -> None:
    """Checklist 32: what travels has the size of the catalog's domains, whatever the WHERE asks for."""

    def sizes(where: str) -> list[Any]:
        where = where.replace("n > 1000", "n > 9")
        plan = bureau().plan(f"SELECT region, SUM(balance) FROM {UNION} AS u WHERE {where} GROUP BY region")
        return [list(plan.columns(bits)) for bits in (64, 128)]

    assert sizes(some) == sizes(other)


def test_sizes_do_not_depend_on_rows() -> None:
    sql = "SELECT region, COUNT(*) FROM a.t GROUP BY region"
    few, none = one(ROWS[:1]), one([])
    assert few.plan(sql) == none.plan(sql)
    for w in (few, none):
        filled = w.filled(w.plan(sql), 0, "a")
        assert [word.shape for measure in filled.words for word in measure] == [(4,)]
        assert [small.dtype for small in filled.small] == [np.bool_]


def test_a_digest_ignores_row_counts_only() -> None:
    catalog = bureau().catalogs["bank_a"]
    assert held("bank_a", "accounts", accounts()).table.rows != 0
    grown = World((held("bank_a", "accounts", accounts(), [("9", *[None] * 5, 1, *[None] * 3)] * 99),)).catalogs[
        "bank_a"
    ]
    assert grown.tables[0].rows == 99 != catalog.tables[0].rows and grown.digest() == catalog.digest()


def test_an_entity_marked_by_two_columns() -> None:
    columns = [text("land", key=True), integer("no", 0, 99, key=True), integer("n", 0, 9)]
    rows = [("a", 1, 5), ("a", 2, 5), ("b", 1, 5), ("a", 1, 6), (None, 1, 5), ("b", None, 5)]
    assert entities("SELECT COUNT(*) FROM a.t", World((held("a", "t", columns, rows),))) == [[3]]


def test_tables_with_different_keys_count_by_the_larger() -> None:
    """The same entity may stand in both tables under different keys, so their counts are not added."""
    one_, other = [text("id", key=True), integer("n", 0, 9)], [text("vat", key=True), integer("n", 0, 9)]
    w = World(
        (
            held("a", "t", one_, [("1", 1), ("2", 2), ("2", 3)]),
            held("a", "s", other, [("x", 1), ("y", 2), ("z", 3)]),
        )
    )
    sql = "SELECT SUM(n) FROM (SELECT n FROM a.t UNION ALL SELECT n FROM a.s) AS u"
    assert entities(sql, w) == [[3]] and w.query(sql) == [(12,)]
