"""What an owner sees and hides at its own side of a join, before anybody knows which rows met."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.joint import play, play_helper
from mpc.joint_setup import joint_of
from mpc.query.plan_joins import JoinPool, Side
from mpc.ring import ring
from mpc.run import Trace, run
from parties.node.behind import in_all_cells, measured_side
from tests.mpc.joining import sessions
from tests.mpc.query import test_local_joins as local_joins
from tests.mpc.query.test_joins import LEFT, LENT, QUERIES, TWO, WORLD, pooled
from tests.mpc.query.world import HELPER, World


def behind(sql: str, party: str, world: World = WORLD) -> dict[str, list[set[frozenset[str]]]]:
    """By name of the measure the populations of its rows at a party's side, each as the set of its cells' ids."""
    ((_, pool),) = world.plan(sql).joins
    side = next(s for s in pool.sides if s.party == party)
    answer = world.local(party).behind(side.query.behind.sql)
    names = {r["x"]: r["id"] for r in world.local(party).behind(_ids(side)).to_pylist()}
    found = measured_side(pool, side, answer, 0, lambda x: x, lambda entities, sums: entities ^ sums)
    return {
        m.name: [
            {frozenset(names[e] for e in b.cell(c).entities.tolist()) for c in range(len(said.hidden))}
            for b in said.behind
            if b.column[1] == "*"
        ]
        for m, said in zip(pool.measures, found, strict=True)
    }


def _ids(side: Side) -> str:
    """Every entity of the side's table with its digest."""
    text = side.query.behind.sql
    made = "fingerprint('((" if "fingerprint(" in text else "'(("  # a text where each entity is to have one row
    digest = text[text.index(made) : text.index(" AS x")]
    return f'SELECT DISTINCT {digest} AS x, COALESCE("uscc", \'\') AS id FROM "{side.query.tables[0]}"'


def ids(sql: str) -> frozenset[str]:
    return frozenset(u or "" for (u,) in pooled(sql))


def test_conditions_in_where_and_in_the_measure() -> None:
    sql = f"SELECT SUM(CASE WHEN b.overdue > 1 THEN t.paid END) AS s, COUNT(*) AS n {TWO} WHERE t.late = 1"
    tax, bank = behind(sql, "tax"), behind(sql, "bank")
    late = ids("SELECT uscc FROM tax.firms WHERE late = 1")
    assert tax["COUNT(*)"] == [{late}] and bank["COUNT(*)"] == [{ids("SELECT uscc FROM bank.firms")}]
    (summed,) = [m for m in tax if m.startswith("SUM")]
    assert {late} in tax[summed] and [{ids("SELECT uscc FROM bank.firms WHERE overdue > 1")}] == bank[summed]


@pytest.mark.parametrize(
    "value",
    [
        "CASE WHEN b.uscc = 'F007' THEN NULL ELSE t.paid END",
        "CASE WHEN b.uscc = 'F007' THEN 0 ELSE t.paid END",
        "CASE WHEN b.uscc <> 'F007' THEN t.paid END",
    ],
)
def test_all_but_one_whatever_it_is_dressed_as(value: str) -> None:
    """The polynomial of an ELSE is 1 less a condition: what counts is where their sum is not 0."""
    (summed,) = [p for m, p in behind(f"SELECT SUM({value}) AS s {TWO}", "bank").items() if m.startswith("SUM")]
    assert {ids("SELECT uscc FROM bank.firms WHERE uscc <> 'F007'")} in summed


def test_a_missing_value_is_no_condition_but_of_another_column_it_is() -> None:
    everyone = [{ids("SELECT uscc FROM tax.firms")}]
    assert behind(f"SELECT SUM(t.late) AS s {TWO}", "tax") == {"SUM(t.late)": everyone}
    known = {ids("SELECT uscc FROM tax.firms WHERE late IS NOT NULL")}
    for sql in (
        f"SELECT SUM(t.paid) FILTER (WHERE t.late IS NOT NULL) AS s {TWO}",
        f"SELECT SUM(b.balance) FILTER (WHERE t.late IS NOT NULL) AS s {TWO}",
        f"SELECT SUM(t.paid + t.late) AS s {TWO}",
    ):
        (found,) = behind(sql, "tax").values()
        assert known in found, sql


def test_cells_are_those_of_the_keys_that_a_side_holds() -> None:
    sql = f"SELECT t.industry, b.branch, COUNT(*) AS n {TWO} GROUP BY 1, 2"
    (by_industry,) = behind(sql, "tax")["COUNT(*)"]
    assert by_industry == {ids(f"SELECT uscc FROM tax.firms WHERE industry = '{g}'") for g in "ABC"}
    (by_branch,) = behind(sql, "bank")["COUNT(*)"]
    assert by_branch == {
        ids(f"SELECT uscc FROM bank.firms WHERE branch IS NOT DISTINCT FROM {b}") for b in ("'A'", "'B'", "'D'", "NULL")
    }


def test_a_cell_with_few_rows_at_a_side_is_known_to_be_hidden() -> None:
    def hidden(items: str, least: int) -> list[list[bool]]:
        ((_, pool),) = WORLD.plan(f"SELECT {items} {TWO}").joins
        side = next(s for s in pool.sides if s.party == "bank")
        answer = WORLD.local("bank").behind(side.query.behind.sql)
        return [m.hidden.tolist() for m in measured_side(pool, side, answer, least, lambda x: x, lambda a, b: a)]

    some = len(ids("SELECT uscc FROM bank.firms WHERE overdue = 1"))
    assert hidden("COUNT(*) FILTER (WHERE b.overdue = 1) AS n", some) == [[False]]
    assert hidden("COUNT(*) FILTER (WHERE b.overdue = 1) AS n", some + 1) == [[True]]
    # some rows count under this condition, the others under another: together they are enough
    assert hidden("COUNT(CASE WHEN b.overdue = 1 THEN 0 ELSE t.late END) AS n", some + 1) == [[False]]


def test_repeated_keys_are_one_entity() -> None:
    (rows,) = behind(f"SELECT COUNT(*) AS n {LENT} WHERE l.amount > 90", "lender")["COUNT(*)"]
    assert rows == {ids("SELECT DISTINCT uscc FROM lender.loans WHERE amount > 90")}


def test_a_side_that_may_be_absent_counts_where_it_is_asked_for() -> None:
    at_bank = behind(f"SELECT COUNT(*) AS n, COUNT(b.overdue) AS m {LEFT}", "bank")
    assert at_bank["COUNT(*)"] == []
    assert at_bank["COUNT(b.overdue)"] == [{ids("SELECT uscc FROM bank.firms WHERE overdue IS NOT NULL")}]


@pytest.mark.parametrize("sql", QUERIES)
def test_every_side_can_be_asked(sql: str) -> None:
    for _, pool in WORLD.plan(sql).joins:
        for side in pool.sides:
            if side.query.behind.sql:
                answer = WORLD.local(side.party).behind(side.query.behind.sql)
                measured_side(pool, side, answer, 0, lambda x: x, lambda a, b: a)


def test_tables_that_an_owner_joins_itself() -> None:
    asked = 0
    for sql in local_joins.QUERIES:
        for _, pool in local_joins.WORLD.plan(sql).joins:
            for side in pool.sides if not pool.by_row else ():
                if side.query.behind.sql:
                    answer = local_joins.WORLD.local(side.party).behind(side.query.behind.sql)
                    measured_side(pool, side, answer, 0, lambda x: x, lambda a, b: a)
                    asked += len(side.query.tables) > 1
    assert asked


# ---- hiding


def shown_with(pool: JoinPool, hidden: dict[str, Any], most: int | None = None) -> tuple[dict[int, Any], Trace]:
    """The opened words of a join whose sides hide cells, by ring."""
    j, trace = joint_of(pool, HELPER, 0, most), Trace()
    members = sessions([*j.circle.holders, HELPER])
    rows = {
        i: {name: replace(r, hidden=hidden.get(name)) for name, r in WORLD.rows(j.pool, i).items()}
        for i in j.circle.holders
    }
    said = run({**{i: play(members[i], j, rows[i]) for i in rows}, HELPER: play_helper(members[HELPER], j)}, trace)
    totals: dict[int, Any] = {}
    for holder in j.circle.holders:
        for bits, words in said[holder].items():
            ring(bits).add_into(totals.setdefault(bits, ring(bits).zeros(len(words))), words)
    return totals, trace


BY_BOTH = f"SELECT t.industry, b.branch, COUNT(*) AS n, SUM(t.paid) AS s {TWO} GROUP BY 1, 2"


@settings(max_examples=10)
@given(st.data())
def test_a_cell_is_hidden_where_some_side_hides_it(data: st.DataObject) -> None:
    hidden_where_some_side_hides_it(data)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.data())
def test_many_cells_are_hidden_where_some_side_hides_them(data: st.DataObject) -> None:
    hidden_where_some_side_hides_it(data)


def hidden_where_some_side_hides_it(data: st.DataObject) -> None:
    sql = data.draw(st.sampled_from([BY_BOTH, f"SELECT b.branch, t.late, SUM(b.balance) AS s {LEFT} GROUP BY 1, 2"]))
    plan = WORLD.plan(sql)
    ((p, pool),) = plan.joins
    n = len(pool.measures) * pool.cells
    flags = {
        s.name: np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n))).reshape(-1, pool.cells)
        for s in pool.sides
        if data.draw(st.booleans())
    }
    most = data.draw(st.sampled_from([None, 1000]))
    opened, _ = shown_with(pool, flags, most)
    plain, _ = shown_with(pool, {}, most)
    hidden = np.any([np.zeros((len(pool.measures), pool.cells), bool), *flags.values()], axis=0)
    for (m, w), at in plan.offsets(p, 64).items():
        expected = hidden[m].astype(int) if w < 0 else np.where(hidden[m], 0, plain[64][at])
        assert opened[64][at].tolist() == expected.tolist()


def test_hiding_changes_no_size_and_nothing_that_the_helper_hears() -> None:
    ((_, pool),) = WORLD.plan(BY_BOTH).joins
    everything = np.ones((len(pool.measures), pool.cells), dtype=bool)
    (_, plain), (_, hiding) = shown_with(pool, {}), shown_with(pool, {"bank": everything})
    assert [(s.sender, s.receiver, s.step, len(s.raw)) for s in plain.sent] == [
        (s.sender, s.receiver, s.step, len(s.raw)) for s in hiding.sent
    ]
    assert [bytes(s.raw) for s in plain.heard_by(HELPER)] == [bytes(s.raw) for s in hiding.heard_by(HELPER)]


def test_cells_of_a_side_lie_across_those_of_others() -> None:
    ((_, pool),) = WORLD.plan(BY_BOTH).joins
    bank, tax = pool.sides
    assert (tax.keys, bank.keys) == ((0,), (1,)) and [len(k.domain) for k in pool.keys] == [3, 4]
    assert in_all_cells(pool, tax, np.array([1, 0, 0], bool)).tolist() == [True] * 4 + [False] * 8
    assert in_all_cells(pool, bank, np.array([0, 0, 0, 1], bool)).tolist() == [False, False, False, True] * 3
