"""No entity may carry more than a share of a sum over a join: against the same rule in plain SQL over the pooled
tables, and from the seats of those who must not notice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpc.codec import decode
from mpc.errors import LocalError
from mpc.joint_setup import Joint, joint_of
from mpc.messages import Words
from mpc.protocols import parts
from mpc.query.plan_joins import JoinPool
from mpc.run import Trace
from tests.mpc.query import test_join_unions as unions
from tests.mpc.query.test_joins import LENT, QUERIES, TWO, WORLD, table, verify_links, worlds
from tests.mpc.query.world import HELPER, World, integer, text

#: values over p0 and p1, and what each of their addends is in absolute value, NULL where a row adds nothing
VALUES = {
    "p0.y": ["p0.y"],
    "p1.y": ["p1.y"],
    "p0.y + 1000": ["p0.y"],
    "p0.y - 2 * p1.x": ["CASE WHEN p1.x IS NOT NULL THEN p0.y END", "CASE WHEN p0.y IS NOT NULL THEN 2 * p1.x END"],
    "p0.x * p1.y": [
        "p0.x * p1.y",
        "CASE WHEN p1.y IS NOT NULL THEN p0.x END",
        "CASE WHEN p0.x IS NOT NULL THEN p1.y END",
    ],
    "CASE WHEN p1.x > 2 THEN p0.y ELSE p1.y END": [
        "CASE WHEN p1.x > 2 THEN p0.y END",
        "CASE WHEN p1.x > 2 THEN NULL ELSE p1.y END",
    ],
    "CASE WHEN p0.x > 2 THEN p1.y ELSE -p1.y END": ["p1.y"],
    "COALESCE(p0.x, p1.y)": ["p0.x", "CASE WHEN p0.x IS NULL THEN p1.y END"],
    "GREATEST(p0.y, p1.y)": [
        "GREATEST(p0.y, p1.y)",
        "CASE WHEN GREATEST(p0.y, p1.y) IS NOT NULL THEN p0.y END",
        "CASE WHEN GREATEST(p0.y, p1.y) IS NOT NULL THEN p1.y END",
    ],
    "p0.y + CASE WHEN p1.x > 2 THEN 0 END": ["CASE WHEN p1.x > 2 THEN p0.y END"],
    "2 * p0.y - CASE WHEN p1.x > 2 THEN 2 * p0.y ELSE 0 END": ["CASE WHEN p1.x > 2 THEN 0 ELSE p0.y END"],
}


def dominated(world: World, addends: list[str], rest: str, group: str, most: int, entity: str = "p0.id") -> set[Any]:
    """The groups in which an entity carries more than ``most`` thousandths of an addend."""
    found: set[Any] = set()
    for a in addends:
        each = f"SELECT {group} AS g, COALESCE({entity}, '') AS e, COALESCE(SUM(ABS({a})), 0) AS x {rest} GROUP BY 1, 2"
        over = (
            f"SELECT g FROM (SELECT g, x, SUM(x) OVER (PARTITION BY g) AS s FROM ({each})) WHERE 1000 * x > {most} * s"
        )
        found |= {g for (g,) in world.pooled.execute(over).fetchall()}
    return found


@settings(max_examples=25)
@given(st.data())
def test_random_joins_hide_what_plain_sql_says(data: st.DataObject) -> None:
    random_join(data)


@pytest.mark.timeout(600)
@pytest.mark.slow
@settings(max_examples=300)
@given(st.data())
def test_many_random_joins_hide_what_plain_sql_says(data: st.DataObject) -> None:
    random_join(data)


def random_join(data: st.DataObject) -> None:
    world, names, _ = data.draw(worlds())
    assume(len(names) >= 2)
    value = data.draw(st.sampled_from(list(VALUES)))
    kind, where = data.draw(st.sampled_from(["", "LEFT "])), data.draw(st.sampled_from(["", " WHERE p1.y > 0"]))
    group = data.draw(st.sampled_from(["''", "p0.g", "p1.g"]))
    most = data.draw(st.sampled_from([0, 100, 250, 400, 500, 700, 999]))
    rest = f"FROM p0.t p0 {kind}JOIN p1.t p1 USING (id){where}"
    by = "" if group == "''" else f"{group} AS label, "
    sql = f"SELECT {by}SUM({value}) AS s, COUNT(*) AS n {rest}{' GROUP BY 1' if by else ''}"
    try:
        plan = world.plan(sql)
    except LocalError as refused:
        assert refused.code in ("sql.unsupported", "plan.unsafe_weights"), (sql, refused)
        return
    ((_, pool),) = plan.joins
    assert pool.dominance is not None or "may repeat" in sql or not all(s.unique for s in pool.sides), sql
    assume(pool.dominance is not None)
    hidden = dominated(world, VALUES[value], rest, group, most)
    shown = world.result(plan, most=most)
    exact = dict(world.pooled.execute(f"SELECT {group}, SUM({value}) {rest} GROUP BY 1").fetchall())
    assert len(shown.rows) == (len(exact) if by else 1), sql
    for row, names_hidden in zip(shown.rows, shown.suppressed, strict=True):
        g = row[0] if by else ""
        assert row[-2:][0] == (None if g in hidden else exact.get(g)), (sql, g, most)
        assert names_hidden == (("s",) if g in hidden else ()), (sql, g, most)


def test_spread_is_judged_by_squares_too() -> None:
    """Of ten values 3 and one 15 none is half of their sum, but one is most of the sum of their squares."""
    ids = [f"F{i}" for i in range(11)]
    world = World(
        (
            table(
                "a",
                "t",
                [text("id", key=True), integer("x", 0, 99)],
                [(f, 15 if i == 4 else 3) for i, f in enumerate(ids)],
            ),
            table("b", "u", [text("id", key=True), integer("y", 0, 99)], [(f, 1) for f in ids]),
        )
    )
    rest = "FROM a.t JOIN b.u USING (id)"
    assert world.result(world.plan(f"SELECT SUM(x) AS s {rest}"), most=500).rows == ((45,),)
    assert world.result(world.plan(f"SELECT VARIANCE(x) AS v {rest}"), most=500).suppressed == (("v",),)


def test_all_rows_of_an_entity_are_its_own() -> None:
    """Twelve firms have fifty loans: of no loan the share is large."""
    sql = f"SELECT l.sort, SUM(l.amount) AS s, SUM(t.paid) AS p {LENT} GROUP BY l.sort ORDER BY 1"
    rest = f"{LENT}"
    for most in (150, 180, 190, 250):
        by_amount = dominated(WORLD, ["l.amount"], rest, "l.sort", most, "l.uscc")
        by_paid = dominated(WORLD, ["t.paid"], rest, "l.sort", most, "l.uscc")
        for row, hidden in zip((r := WORLD.result(WORLD.plan(sql), most=most)).rows, r.suppressed, strict=True):
            assert hidden == (*(["s"] if row[0] in by_amount else []), *(["p"] if row[0] in by_paid else []))
    loans = WORLD.pooled.execute(f"SELECT MAX(l.amount) / SUM(l.amount) {LENT} GROUP BY l.sort").fetchall()
    assert all(share < 0.1 for (share,) in loans) and dominated(WORLD, ["l.amount"], rest, "l.sort", 180, "l.uscc")


def test_each_branch_of_a_union_is_judged_by_itself() -> None:
    lenders = unions.owed(*unions.OTHERS)
    sql = f"SELECT q.industry, SUM(l.amount) AS owed {unions.Q} JOIN {lenders} USING (uscc) GROUP BY 1"
    for most in (150, 200, 250, 300, 400):
        hidden: set[Any] = set()
        for lender in unions.OTHERS:
            rest = f"{unions.Q} JOIN {lender} l USING (uscc)"
            hidden |= dominated(unions.WORLD, ["l.amount"], rest, "q.industry", most, "q.uscc")
        shown = unions.WORLD.result(unions.WORLD.plan(sql), most=most)
        assert {r[0] for r, s in zip(shown.rows, shown.suppressed, strict=True) if s} == hidden


def test_the_share_is_of_the_whole_where_tables_are_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    sql = f"SELECT l.sort, SUM(l.amount) AS s {LENT} GROUP BY l.sort ORDER BY 1"
    whole = [WORLD.result(WORLD.plan(sql), most=most) for most in (190, 250)]
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    pool = WORLD.plan(sql).joins[0][1]
    assert joint_of(pool, HELPER, 0, 190).parts > 2
    assert [WORLD.result(WORLD.plan(sql), most=most) for most in (190, 250)] == whole
    assert whole[0].suppressed != whole[1].suppressed


# ---- what moves, and who sees what


def limited(sql: str, most: int | None, least: int = 2) -> tuple[Joint, Trace, dict[str, Any]]:
    plan = WORLD.plan(sql)
    ((p, pool),) = plan.joins
    trace = Trace()
    words = WORLD.joined(p, pool, least, trace, most)
    return joint_of(pool, HELPER, least, most), trace, words


JUDGED = [q for q in QUERIES if (p := WORLD.plan(q).joins[0][1]).dominance and any(p.dominance.addends)]


@pytest.mark.parametrize("sql", JUDGED)
def test_links_carry_what_the_plan_says(sql: str) -> None:
    j, trace, _ = limited(sql, 500)
    assert j.dominance is not None
    verify_links(j, trace)


def test_without_a_limit_the_same_is_said_as_ever() -> None:
    """What may be judged costs nothing where nobody asks for it."""
    for sql in (
        f"SELECT SUM(t.paid - b.balance) AS s {TWO}",
        f"SELECT l.sort, SUM(t.paid) AS p {LENT} GROUP BY l.sort",
    ):
        ((p, pool),) = WORLD.plan(sql).joins
        assert pool.dominance is not None and any(pool.dominance.addends)
        bare, plain = Trace(), Trace()
        WORLD.joined(p, replace(pool, dominance=None), 2, bare)
        WORLD.joined(p, pool, 2, plain)
        assert [(s.sender, s.receiver, s.step, bytes(s.raw)) for s in plain.sent] == [
            (s.sender, s.receiver, s.step, bytes(s.raw)) for s in bare.sent
        ]


@pytest.mark.parametrize("sql", JUDGED[:6])
def test_the_helper_hears_places_and_masked_columns_only(sql: str) -> None:
    j, trace, _ = limited(sql, 500)
    apart = {*WORLD.catalogs, *(s.name for s in j.pool.sides), "column", "block"}
    heard = [s.step.split("/dominance/")[1].split("/") for s in trace.heard_by(HELPER) if "/dominance/" in s.step]
    assert {tuple(x for x in step if not x.isdigit() and x not in apart) for step in heard} == {
        ("part", "totals", "places"),
        ("part", "totals", "masked"),
        ("part", "over", "ends", "places"),
        ("part", "over", "ends", "masked"),
    }


FIRMS = [f"F{i:02d}" for i in range(24)]


def one_large(large: int, few: int) -> World:
    """Three groups of eight firms: in u one firm may be large, of v some are at b, w is no different."""
    rows = [(f, "uvw"[i % 3], large if i == 0 else 10) for i, f in enumerate(FIRMS)]
    at_b = [(f, 7) for i, f in enumerate(FIRMS) if i % 3 != 1 or i < few]
    columns = [text("id", key=True, nullable=False), text("g", "u", "v", "w", nullable=False)]
    return World(
        (
            table("a", "t", [*columns, integer("x", 0, 10**6, nullable=False)], rows),
            replace(
                held := table("b", "s", [text("id", key=True, nullable=False), integer("y", 0, 99)], at_b),
                table=replace(held.table, rows=24),
            ),
        )
    )


@pytest.mark.parametrize(
    ("large", "few", "hidden"), [(1000, 24, "uv"), (10, 5, "uv"), (10, 0, "v"), (1000, 0, "uvw"), (10, 24, "")]
)
def test_a_dominated_a_small_and_an_empty_group_look_the_same(large: int, few: int, hidden: str) -> None:
    """To everybody by the sizes of all messages, to the recipient by the words that it opens: a flag, and zeros. So
    does one that is hidden beside them, since a total would give a dominated or a small one back."""
    sql = "SELECT t.g, SUM(t.x + s.y) AS s FROM a.t t JOIN b.s s USING (id) GROUP BY t.g ORDER BY t.g"

    def seen(world: World) -> tuple[list[tuple[str, str, str, int]], dict[str, Any], Any]:
        plan = world.plan(sql)
        ((p, pool),) = plan.joins
        trace = Trace()
        words = world.joined(p, pool, 3, trace, 500)
        return [(s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent], words, plan

    shape, _, _ = seen(one_large(10, 24))
    said, words, plan = seen(one_large(large, few))
    assert said == shape
    (summed,) = [m for m, measure in enumerate(plan.pools[0].measures) if measure.name.startswith("SUM")]
    assert words["pool0/w64"][plan.offsets(0, 64)[summed, -1]].tolist() == [int(g in hidden) for g in "uvw"]
    for (m, w), at in plan.offsets(0, 64).items():
        if w >= 0 and m == summed:
            assert [int(v) == 0 for v in words["pool0/w64"][at]] == [g in hidden for g in "uvw"], w


def test_words_that_bring_totals_to_rows_are_uniform() -> None:
    """A group's total stands at one row among zeros; masked, no word comes twice, to anybody."""
    sql = "SELECT t.g, SUM(t.x) AS s FROM a.t t JOIN b.s s USING (id) GROUP BY t.g"
    world = one_large(1000, 24)
    ((p, pool),) = world.plan(sql).joins
    trace = Trace()
    world.joined(p, pool, 2, trace, 500)
    for name, what in (("b", "placed"), (HELPER, "masked")):
        heard = [decode(s.raw) for s in trace.heard_by(name) if "/dominance/" in s.step and what in s.step]
        words = np.concatenate([m.words.ravel() for m in heard if isinstance(m, Words)])
        assert len(np.unique(words)) == len(words) > 0


# ---- what cannot be judged


def test_a_result_by_row_is_not_judged() -> None:
    plan = WORLD.plan("SELECT t.uscc, b.balance FROM tax.firms t JOIN bank.firms b USING (uscc)", recipients=("tax",))
    ((_, pool),) = plan.joins
    assert isinstance(pool, JoinPool) and pool.dominance is None


def test_bounds_that_leave_no_room_for_a_product_with_the_limit_are_not_judged() -> None:
    columns = [text("id", key=True), integer("x", 0, 5 * 10**17)]
    world = World(tuple(table(p, "t", columns, [("F1", 1)]) for p in ("a", "b")))
    one, both = (world.plan(f"SELECT SUM({v}) AS s FROM a.t a JOIN b.t b USING (id)") for v in ("a.x", "a.x * b.x"))
    assert one.joins[0][1].dominance is not None and both.joins[0][1].dominance is None
    wide = world.plan("SELECT SUM(a.x * (b.x // 1000000)) AS s FROM a.t a JOIN b.t b USING (id)").joins[0][1]
    assert wide.dominance is not None
    assert {s.bits for s in wide.dominance.steps} == {64, 128} or 128 in {s.bits for s in wide.steps}
