"""No two populations of a join may differ by few entities: against the same rule over the pooled tables, and from the
seats of those who must not notice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.job import MAX_JOB_BYTES
from mpc.joint_setup import joint_of
from mpc.protocols import parts
from mpc.query.plan_joins import ComparedPool
from mpc.query.questions import Named, Question
from mpc.run import Trace
from tests.mpc.protocols.test_complement import by_hand
from tests.mpc.query.test_joins import LENT, QUERIES, TWO, WORLD, table, verify_links
from tests.mpc.query.world import HELPER, World, integer, text

#: of each entity the rows of the join that count
Population = dict[str, frozenset[Any]]


@dataclass(frozen=True)
class Count:
    """A count over a join of p0 and p1, and one of those for which a condition holds."""

    rest: str
    group: str
    filter: str

    @property
    def sql(self) -> str:
        by, also = (f"{self.group} AS label, ", " GROUP BY 1") if self.group else ("", "")
        filtered = f", COUNT(*) FILTER (WHERE {self.filter}) AS m" if self.filter else ""
        return f"SELECT {by}COUNT(*) AS n{filtered} {self.rest}{also}"

    def populations(self, world: World) -> list[dict[Any, Population]]:
        """Who is behind each cell of each of them."""
        return [self._behind(world, kept) for kept in ("TRUE", self.filter) if kept]

    def _behind(self, world: World, kept: str) -> dict[Any, Population]:
        group = self.group or "''"
        # of a key that does not repeat, an entity has one row, whether or not a LEFT JOIN finds it
        row = "NULL" if world.catalogs["p1"].tables[0].unique else "p1.rowid"
        behind = f"SELECT {group} AS g, p0.id AS id, p0.rowid AS a, {row} AS b, {kept} AS kept {self.rest}"
        rows = world.pooled.execute(f"SELECT g, id, a, b FROM ({behind}) WHERE kept").fetchall()
        found: dict[Any, dict[str, set[Any]]] = {}
        for g, entity, *row in rows:
            found.setdefault(g, {}).setdefault(entity, set()).add(tuple(row))
        return {g: {e: frozenset(r) for e, r in p.items()} for g, p in found.items()}


def differing(p: Population, q: Population) -> int:
    return sum(1 for e in {*p, *q} if p.get(e) != q.get(e))


def hidden(new: Population, earlier: Sequence[Population], least: int) -> bool:
    """The rule, in the clear. ``earlier``: in the order in which they were asked for."""
    return len(new) < least or close(new, earlier, least)


def close(new: Population, earlier: Sequence[Population], least: int) -> bool:
    for q in earlier:
        if (d := differing(new, q)) == 0:
            return False  # asked before: what came later was decided beside it
        if d < least <= len(q):
            return True
    return False


@settings(max_examples=10)
@given(st.data())
def test_random_questions_hide_what_the_rule_says(data: st.DataObject) -> None:
    random_questions(data)


@pytest.mark.timeout(600)
@pytest.mark.slow
@settings(max_examples=100)
@given(st.data())
def test_many_random_questions_hide_what_the_rule_says(data: st.DataObject) -> None:
    random_questions(data)


JOINS = (
    "JOIN p1.t p1 USING (id)",
    "JOIN p1.t p1 USING (id)",
    "LEFT JOIN p1.t p1 USING (id)",
    "JOIN p1.t p1 ON p1.id = p0.id AND p1.x <> {}",
    "LEFT JOIN p1.t p1 ON p1.id = p0.id AND p1.x <> {}",
)


@st.composite
def near(draw: st.DrawFn) -> World:
    """Two parties with nearly the same keys, which may repeat."""
    held = []
    for name in ("p0", "p1"):
        unique = draw(st.sampled_from([True, True, False]))
        every = list(range(12)) if unique else sorted([*range(12), *draw(st.lists(st.integers(0, 11), max_size=6))])
        left_out = draw(st.sets(st.integers(0, 11), max_size=3))
        rows = [(f"k{i}", draw(st.sampled_from("uuv")), draw(st.integers(0, 4))) for i in every if i not in left_out]
        columns = [
            text("id", key=True, nullable=False),
            text("g", "u", "v", nullable=False),
            integer("x", 0, 4, nullable=False),
        ]
        held.append(table(name, "t", columns, rows, unique=unique))
    return World(tuple(held))


@st.composite
def condition(draw: st.DrawFn) -> str:
    side, other = draw(st.permutations(["p0", "p1"]))
    n = draw(st.integers(0, 4))
    return draw(
        st.sampled_from(
            [
                f"{side}.x <> {n}",
                f"{side}.id <> 'k{n}'",
                f"{side}.id NOT IN ('k{n}', 'k{n + 1}', 'k{n + 2}')",
                f"({side}.x <> {n} OR {side}.g = 'v')",
                f"{side}.g = 'u'",
                f"{side}.x + {n} >= {other}.x",
                f"({side}.x <> {n} OR {other}.x < 3)",
            ]
        )
    )


def random_questions(data: st.DataObject) -> None:
    world = data.draw(near())
    group = data.draw(st.sampled_from(["", "", "p0.g", "p1.g"]))
    least = data.draw(st.sampled_from([3, 4, 5]))

    def question() -> Count:
        wheres = data.draw(st.lists(condition(), max_size=2))
        join = data.draw(st.sampled_from(JOINS)).format(data.draw(st.integers(0, 4)))
        rest = f"FROM p0.t p0 {join}{' WHERE ' if wheres else ''}{' AND '.join(wheres)}"
        return Count(rest, group, data.draw(st.sampled_from(["", ""]) | condition()))

    asked = [question() for _ in range(data.draw(st.integers(2, 4)))]
    try:
        plans = [world.plan(q.sql) for q in asked]
    except LocalError as refused:
        assert refused.code == "sql.unsupported", (asked, refused)
        return
    spine = plans[-1].joins[0][1].sides[0].name
    # what has rows of the others without one of this spine is not compared
    compared = [q for q in asked[:-1] if not ("LEFT" in q.rest and spine == "p1")]
    plan = world.plan(asked[-1].sql, after=[q.sql for q in asked[:-1]])
    shown = world.result(plan, min_entities=least)
    before, new = [p for q in compared for p in q.populations(world)], asked[-1].populations(world)
    pool = plan.joins[0][1]
    cells = pool.keys[0].domain if group else ("",)
    told = []
    for k, p in enumerate(new):
        next_to = [close(p.get(g, {}), [q.get(g, {}) for q in (*before, *new[:k])], least) for g in cells]
        told.append(in_the_end([p.get(g, {}) for g in cells], next_to, least, apart=pool.apart))
    for row, suppressed in zip(shown.rows, shown.suppressed, strict=True):
        g = row[0] if group else ""
        expected = [t[cells.index(g)] for t in told]
        event(f"small: {len(new[0].get(g, {})) < least}, hidden: {expected[-1]}")
        assert [name in suppressed for name in ("n", "m")[: len(new)]] == expected, (asked, g, least)


def in_the_end(cells: Sequence[Population], next_to: Sequence[bool], least: int, *, apart: bool) -> list[bool]:
    """Which cells are hidden, with those beside them whose line would give them back."""
    counts, alone = np.array([len(p) for p in cells]), np.array(next_to)
    hides = (counts < least) | alone
    return (by_hand([counts], hides, alone, least, apart=apart) if len(cells) > 1 else hides).tolist()


def together(cells: dict[Any, Population]) -> Population:
    """Who is behind all cells."""
    found: dict[str, set[Any]] = {}
    for p in cells.values():
        for entity, rows in p.items():
            found.setdefault(entity, set()).update(rows)
    return {e: frozenset(r) for e, r in found.items()}


@settings(max_examples=10)
@given(st.data())
def test_sums_of_cells_are_no_way_around(data: st.DataObject) -> None:
    random_tables(data)


@pytest.mark.timeout(600)
@pytest.mark.slow
@settings(max_examples=100)
@given(st.data())
def test_many_sums_of_cells_are_no_way_around(data: st.DataObject) -> None:
    random_tables(data)


def random_tables(data: st.DataObject) -> None:
    """A total after a table, a table after a total, tables by different keys: all cells together are compared."""
    world, least = data.draw(near()), data.draw(st.sampled_from([3, 4]))

    def question() -> Count:
        wheres = data.draw(st.lists(condition(), max_size=2))
        rest = f"FROM p0.t p0 JOIN p1.t p1 USING (id){' WHERE ' if wheres else ''}{' AND '.join(wheres)}"
        return Count(rest, data.draw(st.sampled_from(["", "p0.g", "p1.g"])), "")

    asked = [question() for _ in range(data.draw(st.integers(2, 3)))]
    try:
        for q in asked:
            world.plan(q.sql)
    except LocalError as refused:
        assert refused.code in ("sql.unsupported", "plan.domain"), (asked, refused)
        return
    *before, new = asked
    shown = world.result(world.plan(new.sql, after=[q.sql for q in before]), min_entities=least)
    cells = [q.populations(world)[0] for q in asked]
    whole = [together(c) for c in cells]
    apart, nearly = False, False
    for q, p in zip(before, whole, strict=False):
        d = differing(whole[-1], p)
        if d == 0:
            break
        apart = apart or (q.group != new.group and d < least <= len(p))
    for q, p in zip(before, whole, strict=False):
        nearly = nearly or (q.group != new.group and 0 < differing(whole[-1], p) < least <= len(p))
    names = "uv" if new.group else ""
    same = {
        g: [c.get(g, {}) for q, c in zip(before, cells, strict=False) if q.group == new.group] for g in (*names, "")
    }
    mine = [cells[-1].get(g, {}) for g in names or [""]]
    alone = [close(p, same[g], least) for p, g in zip(mine, names or [""], strict=True)]
    pool = world.plan(new.sql).joins[0][1]
    beside = dict(zip(names or [""], in_the_end(mine, alone, least, apart=pool.apart), strict=True))

    def single(g: str) -> bool:
        """Whether a cell is too close to all of what has other cells: where keys are the spine's, and do not repeat."""
        if not new.group or pool.slices > 1 or not pool.sides[0].unique:
            return False
        for q, c, p in zip(before, cells, whole, strict=False):
            if q.group == new.group and not differing(cells[-1].get(g, {}), c.get(g, {})):
                return False  # asked before
            if q.group != new.group and 0 < differing(cells[-1].get(g, {}), p) < least <= len(p):
                return True
        return False

    for row, suppressed in zip(shown.rows, shown.suppressed, strict=True):
        g = row[0] if new.group else ""
        told = hidden(cells[-1].get(g, {}), same[g], least)
        event(f"cell: {told}, all cells: {apart}")
        event(f"one cell: {single(g)}")
        if apart or (new.group and told) or single(g):
            assert suppressed, (asked, g, least)
        if suppressed:  # of two ways to write the same question the first counts, which may be too strict
            assert nearly or told or beside[g] or any(map(single, names)), (asked, g, least)
        elif not nearly and not any(map(single, names)):
            assert not beside[g], (asked, g, least)


def test_one_cell_beside_a_total_by_another_owners_condition() -> None:
    """A total of nearly one region's firms, chosen by another owner's column, then a table by region: the region less
    the total would be one firm. Asked first, the table is answered, and so it is again."""
    ids, key = [f"F{i:02d}" for i in range(30)], text("id", key=True, nullable=False)
    label = ["u"] * 12 + ["v"] * 9 + ["w"] * 9
    a = table("a", "t", [key, text("g", "u", "v", "w", nullable=False)], list(zip(ids, label, strict=True)))
    b = table("b", "s", [key, integer("y", 0, 9, nullable=False)], [(f, int(0 < i < 12)) for i, f in enumerate(ids)])
    world = World((a, b))
    total = "SELECT COUNT(*) AS n FROM a.t t JOIN b.s s USING (id) WHERE s.y = 1"
    by_region = "SELECT t.g, COUNT(*) AS n FROM a.t t JOIN b.s s USING (id){} GROUP BY t.g ORDER BY t.g"
    new, alike = by_region.format(""), by_region.format(" WHERE s.y < 7")

    def hidden_after(*after: str, ask: str = new) -> list[str]:
        found = world.result(world.plan(ask, after=after), min_entities=5)
        return [row[0] for row, s in zip(found.rows, found.suppressed, strict=True) if s]

    assert hidden_after() == hidden_after("SELECT COUNT(*) AS n FROM a.t t JOIN b.s s USING (id) WHERE s.y = 0") == []
    assert hidden_after(total) == ["u", "v"]  # and one besides, or a total would give the first back
    assert hidden_after(new, total) == hidden_after(alike, total) == []
    assert hidden_after(total, new) == hidden_after(total, alike) == hidden_after(total, ask=alike) == ["u", "v"]
    assert hidden_after(new, total, ask=total) == []


# ---- what moves, and who sees what


def compared(sql: str, after: Sequence[str], least: int = 3) -> tuple[Any, Trace]:
    plan, trace = WORLD.plan(sql, after=after), Trace()
    ((p, pool),) = plan.joins
    WORLD.joined(p, pool, least, trace)
    return joint_of(pool, HELPER, least), trace


BESIDE = [  # the first of them after the others
    (f"SELECT COUNT(*) AS n {TWO}", [f"SELECT COUNT(*) AS n {TWO} WHERE t.paid < b.balance * 90"]),
    (f"SELECT SUM(t.paid) AS s {TWO} WHERE b.overdue > 0", [f"SELECT SUM(t.paid) AS s {TWO} WHERE b.overdue > 1"]),
    (
        f"SELECT t.industry, COUNT(*) AS n, SUM(b.balance) AS s {TWO} GROUP BY 1 ORDER BY 1",
        [f"SELECT t.industry, COUNT(*) AS n {TWO} WHERE t.late = {i} GROUP BY 1 ORDER BY 1" for i in range(3)],
    ),
    (
        f"SELECT l.sort, SUM(l.amount) AS s {LENT} WHERE l.amount > 5 GROUP BY l.sort",
        [f"SELECT l.sort, SUM(t.paid) AS s {LENT} WHERE t.late < 4 GROUP BY l.sort"],
    ),
    (
        f"SELECT t.industry, COUNT(*) AS n {TWO} WHERE t.industry <> 'B' GROUP BY 1 ORDER BY 1",
        [
            f"SELECT COUNT(*) AS n {TWO} WHERE t.late < b.overdue",
            f"SELECT b.branch, COUNT(*) AS n {TWO} GROUP BY 1",
        ],
    ),
    (
        f"SELECT SUM(l.amount) AS s {LENT}",
        [f"SELECT l.sort, COUNT(*) AS n {LENT} WHERE l.amount > 9 GROUP BY 1"],
    ),
]


@pytest.mark.parametrize(("sql", "after"), BESIDE)
def test_links_carry_what_the_plan_says(sql: str, after: list[str]) -> None:
    j, trace = compared(sql, after)
    assert j.differences is not None
    verify_links(j, trace)


@pytest.mark.parametrize(("sql", "after"), BESIDE)
def test_sizes_depend_on_what_was_asked_and_on_no_data(sql: str, after: list[str]) -> None:
    """Other rows, of which others are close to an earlier population: the same messages."""

    def shape(world: World, least: int) -> list[tuple[str, str, str, int]]:
        plan, trace = world.plan(sql, after=after), Trace()
        ((p, pool),) = plan.joins
        world.joined(p, pool, least, trace)
        return [(s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent]

    other = World(tuple(replace(h, rows=tuple(h.rows)[3:-2]) for h in WORLD.tables))
    assert shape(WORLD, 3) == shape(other, 3) == shape(WORLD, 30)


@pytest.mark.parametrize(("sql", "after"), BESIDE)
def test_the_helper_hears_no_opening(sql: str, after: list[str]) -> None:
    _, trace = compared(sql, after)
    assert not [s.step for s in trace.heard_by(HELPER) if "/differences/" in s.step]


@pytest.mark.parametrize("sql", [q for q in QUERIES if "SELECT COUNT(*) AS n FROM" in q])
def test_the_same_question_again_costs_nothing(sql: str) -> None:
    """Nothing is compared, and the same bytes move as where nobody asks for it."""
    plan, again = WORLD.plan(sql), WORLD.plan(sql, after=[sql])
    ((p, pool),), ((_, beside),) = plan.joins, again.joins
    assert isinstance(beside, ComparedPool) and not any(beside.comparisons)
    bare, same = Trace(), Trace()
    WORLD.joined(p, pool, 3, bare)
    WORLD.joined(p, beside, 3, same)
    assert [(s.step, bytes(s.raw)) for s in bare.sent] == [(s.step, bytes(s.raw)) for s in same.sent]


def test_nothing_is_compared_where_nothing_small_is_hidden() -> None:
    j, trace = compared(*BESIDE[0], least=1)
    assert j.differences is None and not [s for s in trace.sent if "/differences/" in s.step]


def test_tables_in_parts_are_compared_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sees in which part an entity is that is left out."""
    after = [f"SELECT COUNT(*) AS n {TWO} WHERE t.late <> 1"]
    whole = [WORLD.result(WORLD.plan(f"SELECT COUNT(*) AS n {TWO}", after=after), min_entities=k) for k in (3, 12)]
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    pool = WORLD.plan(f"SELECT COUNT(*) AS n {TWO}", after=after).joins[0][1]
    assert joint_of(pool, HELPER, 3).parts > 2
    again = [WORLD.result(WORLD.plan(f"SELECT COUNT(*) AS n {TWO}", after=after), min_entities=k) for k in (3, 12)]
    assert again == whole and whole[0].rows[0][0] is not None and whole[1].rows[0][0] is None


# ---- beside other reasons to hide


@pytest.mark.parametrize("most", [200, 400])
@pytest.mark.parametrize(("sql", "after"), BESIDE[1:])
def test_a_cell_is_hidden_for_each_reason_by_itself(sql: str, after: list[str], most: int) -> None:
    close = WORLD.result(WORLD.plan(sql, after=after), min_entities=4).suppressed
    large = WORLD.result(WORLD.plan(sql), min_entities=4, most=most).suppressed
    both = WORLD.result(WORLD.plan(sql, after=after), min_entities=4, most=most).suppressed
    assert [set(b) for b in both] == [{*c, *x} for c, x in zip(close, large, strict=True)]


def test_a_median_is_hidden_as_a_sum_is() -> None:
    sql = f"SELECT MEDIAN(t.paid) AS m, COUNT(*) AS n {TWO}"
    for after, seen in (([f"{sql} WHERE t.paid <> 700"], ("m", "n")), ([f"{sql} WHERE t.paid > 1500"], ())):
        assert WORLD.result(WORLD.plan(sql, after=after), min_entities=4).suppressed == (seen,)


# ---- in which order


def test_of_two_questions_one_settles_the_other_where_nobody_says_otherwise() -> None:
    named = Named((("a", "b", "c"), ("b", "c"), ("c", "a")))
    assert named.every == ("a", "b", "c")
    assert named.settles("b", "c") is False  # the third owner names c without b
    assert named.settles("a", "b") is False  # the second names b without a
    one = Named((("a", "b"), ("a", "b"), ()))
    assert one.settles("a", "b") and not one.settles("b", "a")
    turned = Named((("a", "b"), ("b", "a")))
    assert not turned.settles("a", "b") and not turned.settles("b", "a")


def test_owners_that_approved_in_different_orders_are_both_heard() -> None:
    """Neither question settles the other, so that both are hidden beside each other."""
    one, other = (f"SELECT COUNT(*) AS n {TWO}{w}" for w in ("", " WHERE t.late <> 3 OR t.late IS NULL"))
    for again in (one, other):
        seen = [
            WORLD.result(WORLD.plan(again, lists=lists), min_entities=6).rows[0][0] is None
            for lists in ([[one, other]], [[other, one]], [[one, other], [other, one]])
        ]
        assert seen == [again == other, again == one, True]


def test_questions_are_told_apart_by_what_they_ask() -> None:
    q = Question("SELECT 1", (("month", "2026-11"),), ("analyst",))
    assert Question.from_bytes(q.to_bytes()) == q
    others = [replace(q, sql="SELECT 2"), replace(q, parameters=()), replace(q, recipients=("tax",))]
    assert len({x.digest() for x in (q, *others)}) == len({x.content for x in (q, *others)}) == 4
    known = replace(q, nonce="ab" * 16)
    assert Question.from_bytes(known.to_bytes()) == known
    assert known.digest() != q.digest() and known.content == q.content == q.digest()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"[" * 100_000,
        Question("SELECT 1", (), ("analyst",)).to_bytes() + b" ",
        Question("SELECT 1", (), ("analyst",)).to_bytes().replace(b'"v":1', b'"v":2'),
        Question("SELECT 1", (), ("analyst",)).to_bytes().replace(b'"SELECT 1"', b"1"),
        Question("SELECT 1", (), ("analyst",)).to_bytes().replace(b'["analyst"]', b'"analyst"'),
        Question("SELECT 1", (("a", "b"),), ("analyst",)).to_bytes().replace(b'"b"', b"2"),
        Question("SELECT 1", (), ("analyst",), "x").to_bytes().replace(b'"x"', b'""'),
        Question("SELECT 1" + " " * MAX_JOB_BYTES, (), ("analyst",)).to_bytes(),
    ],
)
def test_bytes_that_are_no_question(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Question.from_bytes(raw)


def test_questions_by_several_names_are_one() -> None:
    named = Named((("a", "b"), ("b", "c"))).renamed({"a": "x", "b": "y", "c": "x"})
    assert named == Named((("x", "y"), ("y", "x")))
    assert Named((("a", "c", "b"),)).renamed({"a": "x", "b": "y", "c": "x"}) == Named((("x", "y"),))
