"""Of every line of a table over a join enough is hidden: against the same rule over the pooled tables, and attacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.joint_setup import joint_of
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool
from mpc.run import Trace
from tests.mpc.protocols.test_complement import by_hand
from tests.mpc.query.test_joins import LENT, QUERIES, TWO, WORLD, table, verify_links
from tests.mpc.query.world import HELPER, World, integer, text

LABELS = {"g": "uvw", "h": "xy"}


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Two parties with forty keys; few of some labels are at both."""
    held = []
    for name in ("p0", "p1"):
        random = np.random.default_rng(draw(st.integers(0, 2**32)))
        unique = draw(st.sampled_from([True, True, False]))
        ids = random.permutation(40)[: random.integers(10, 40)] if unique else random.integers(0, 40, 50)
        rows = [
            (f"k{i:02d}", str(random.choice([*"uuuuvvw"])), str(random.choice([*"xxxy"])), int(random.integers(0, 9)))
            for i in ids
        ]
        columns = [text("id", key=True, nullable=False)]
        columns += [text(c, *domain, nullable=False) for c, domain in LABELS.items()]
        held.append(table(name, "t", [*columns, integer("x", 0, 9, nullable=False)], rows, unique=unique))
    return World(tuple(held))


#: what may be asked, and the condition of the rows behind it
MEASURES = {"COUNT(*)": "TRUE", "SUM(p0.x)": "TRUE", "SUM(p1.x) FILTER (WHERE p1.x > 3)": "p1.x > 3"}
KEYS = [(), ("p0.g",), ("p1.g",), ("p0.g", "p0.h"), ("p0.g", "p1.h"), ("p1.g", "p0.h"), ("p1.g", "p1.h", "p0.g")]


@dataclass(frozen=True)
class Asked:
    keys: tuple[str, ...]
    measures: tuple[str, ...]
    where: str = ""

    @property
    def sql(self) -> str:
        shown = [*self.keys, *(f"{m} AS m{i}" for i, m in enumerate(self.measures))]
        by = f" GROUP BY {', '.join(self.keys)}" if self.keys else ""
        return f"SELECT {', '.join(shown)} FROM p0.t p0 JOIN p1.t p1 USING (id){self.where}{by}"

    def counts(self, world: World, measure: str, order: Sequence[str]) -> Any:
        """Distinct entities in each cell, with an axis a key."""
        domains = [LABELS[k[-1]] for k in order]
        found = np.zeros([len(d) for d in domains], dtype=np.int64)
        by = "".join(f"{k}, " for k in order)
        kept = f"{self.where} {'AND' if self.where else 'WHERE'} {MEASURES[measure]}"
        rows = world.pooled.execute(
            f"SELECT {by}COUNT(DISTINCT p0.id) FROM p0.t p0 JOIN p1.t p1 USING (id){kept} GROUP BY ALL"
        ).fetchall()
        for *at, n in rows:
            found[tuple(d.index(v) for d, v in zip(domains, at, strict=True))] = n
        return found

    def shown(self, world: World, least: int) -> dict[tuple[str, ...], tuple[str, ...]]:
        """Of each cell, by its labels, the names of what is hidden; a cell without a row is hidden or has nothing."""
        found = world.result(world.plan(self.sql), min_entities=least)
        n = len(self.keys)
        return {row[:n]: s for row, s in zip(found.rows, found.suppressed, strict=True)}


def pool_of(plan: Plan) -> JoinPool:
    ((_, pool),) = plan.joins
    return pool


@settings(max_examples=5)
@given(st.data())
def test_random_tables_hide_what_the_rule_says(data: st.DataObject) -> None:
    random_table(data)


@pytest.mark.timeout(600)
@pytest.mark.slow
@settings(max_examples=150)
@given(st.data())
def test_many_random_tables_hide_what_the_rule_says(data: st.DataObject) -> None:
    random_table(data)


def random_table(data: st.DataObject) -> None:
    world, least = data.draw(worlds()), data.draw(st.sampled_from([2, 3, 5]))
    asked = Asked(
        data.draw(st.sampled_from(KEYS)),
        tuple(data.draw(st.lists(st.sampled_from(list(MEASURES)), min_size=1, max_size=3, unique=True))),
        data.draw(st.sampled_from(["", "", " WHERE p0.x > 2", " WHERE p1.h = 'x'"])),
    )
    try:
        pool = pool_of(world.plan(asked.sql))
    except LocalError as refused:
        assert refused.code in ("sql.unsupported", "plan.domain"), (asked, refused)
        return
    spine, *others = pool.sides
    decide = {k.split(".")[0] for k in asked.keys}
    assert pool.apart == (spine.unique and all(s.unique for s in others if s.name in decide))
    order = [asked.keys[i] for i in pool.order_of_slices]
    shown = asked.shown(world, least)
    for m, measure in enumerate(asked.measures):
        counts = asked.counts(world, measure, order)
        hidden = by_hand([counts], counts < least, None, least, apart=pool.apart) if order else counts < least
        event(f"besides: {int((hidden & (counts >= least)).sum())}")
        for at in np.ndindex(counts.shape):
            label = {k: LABELS[k[-1]][i] for k, i in zip(order, at, strict=True)}
            names = shown.get(tuple(label[k] for k in asked.keys))
            assert names is None or (f"m{m}" in names) == hidden[at], (asked, least, at)
            assert names is not None or hidden[at] or not counts[at], (asked, least, at)


# ---- the attack


def sets(world: World, keys: tuple[str, ...], least: int, atoms: Sequence[tuple[str, str]]) -> list[list[bool]]:
    """Of each number that is shown the atoms (cells of the finest table) that it adds up."""
    found = []
    for label, names in Asked(keys, ("COUNT(*)",)).shown(world, least).items():
        if not names:
            wanted = dict(zip(keys, label, strict=True))
            found.append([all(wanted.get(k, v) == v for k, v in zip(("p0.g", "p1.g"), a, strict=True)) for a in atoms])
    return found


@settings(max_examples=3)
@given(worlds())
def test_no_two_of_table_margins_and_total_give_a_small_cell(world: World) -> None:
    two_answers(world)


@pytest.mark.timeout(600)
@pytest.mark.slow
@settings(max_examples=40)
@given(worlds())
def test_no_two_of_many_tables_margins_and_totals_do(world: World) -> None:
    two_answers(world)


def two_answers(world: World) -> None:
    """Any set of cells that two answers determine has nobody in it, or enough: a set is determined if and only if it is
    a sum of shown ones, so of a total or a margin and cells that it is made of."""
    assume(all(h.table.unique for h in world.tables))
    least, atoms = 3, [(a, b) for a in LABELS["g"] for b in LABELS["g"]]
    counts = Asked(("p0.g", "p1.g"), ()).counts(world, "COUNT(*)", ("p0.g", "p1.g")).ravel()
    answers = [np.array(sets(world, k, least, atoms), dtype=np.int64).reshape(-1, 9) for k in TABLES]
    for one, other in combinations(range(len(TABLES)), 2):
        if {TABLES[one], TABLES[other]} == {("p0.g",), ("p1.g",)}:
            continue  # two margins without a total: docs/policy.md
        together = np.concatenate([answers[one], answers[other]])
        rank = np.linalg.matrix_rank(together) if len(together) else 0
        for chosen in range(1, 2**9):
            few = np.array([chosen >> i & 1 for i in range(9)])
            if 0 < few @ counts < least:
                assert np.linalg.matrix_rank(np.vstack([together, few])) > rank, (TABLES[one], TABLES[other], few)


TABLES = [(), ("p0.g",), ("p1.g",), ("p0.g", "p1.g")]


def small_beside_large(few: int) -> World:
    """Groups of twelve, nine and some firms at a, all of the first two at b, and ``few`` of the third."""
    ids = [f"F{i:02d}" for i in range(30)]
    label = ["u"] * 12 + ["v"] * 9 + ["w"] * 9
    at_b = [(f, 7) for i, f in enumerate(ids) if i < 21 + few]
    key = text("id", key=True, nullable=False)
    a = table("a", "t", [key, text("g", "u", "v", "w", nullable=False)], list(zip(ids, label, strict=True)))
    b = table("b", "s", [key, integer("y", 0, 99)], at_b)
    return World((a, replace(b, table=replace(b.table, rows=30))))


@pytest.mark.parametrize(("few", "hidden"), [(2, "vw"), (0, "w"), (9, "")])
def test_a_cell_that_only_the_matching_makes_small_is_not_given_back(few: int, hidden: str) -> None:
    """Neither owner can see that two of nine met; a total minus the shown cells would be these two."""
    sql = "SELECT t.g, COUNT(*) AS n, SUM(s.y) AS y FROM a.t t JOIN b.s s USING (id) GROUP BY t.g ORDER BY t.g"
    world = small_beside_large(few)
    found = world.result(world.plan(sql), min_entities=5)
    assert [row[0] for row, s in zip(found.rows, found.suppressed, strict=True) if s] == list(hidden)
    assert all(s in ((), ("n", "y")) for s in found.suppressed)


def test_medians_add_up_to_nothing_and_hide_nothing_besides() -> None:
    sql = "SELECT t.g, MEDIAN(s.y) AS m, COUNT(*) AS n FROM a.t t JOIN b.s s USING (id) GROUP BY t.g ORDER BY t.g"
    world = small_beside_large(2)
    assert world.result(world.plan(sql), min_entities=5).suppressed == ((), ("n",), ("m", "n"))


def test_of_parts_that_condition_crosses_the_one_that_lacks_counts() -> None:
    """A sum is made of weights for some and others: the few of one weight are not given back either."""
    sql = (
        "SELECT t.g, SUM(CASE WHEN s.y > 50 THEN 2 * s.y ELSE s.y END) AS y "
        "FROM a.t t JOIN b.s s USING (id) GROUP BY t.g ORDER BY t.g"
    )
    world = small_beside_large(9)
    pool = pool_of(world.plan(sql))
    lines = joint_of(pool, HELPER, 5).complement
    assert lines is not None and lines.tables[0].counts == len(pool.released[0].entities)


# ---- what moves


TABULATED = [q for q in QUERIES if (c := joint_of(WORLD.plan(q).joins[0][1], HELPER, 3).complement) and c.sums]


def traced(sql: str, least: int, **changed: Any) -> tuple[JoinPool, Trace]:
    plan, trace = WORLD.plan(sql), Trace()
    ((p, pool),) = plan.joins
    WORLD.joined(p, replace(pool, **changed), least, trace)
    return pool, trace


@pytest.mark.parametrize("sql", [TABULATED[0], TABULATED[-1]])
def test_links_carry_what_the_plan_says(sql: str) -> None:
    pool, trace = traced(sql, 3)
    verify_links(joint_of(pool, HELPER, 3), trace)


def test_where_nothing_small_is_hidden_or_there_is_no_line_nothing_is_said() -> None:
    by_row = "SELECT t.uscc, b.balance FROM tax.firms t JOIN bank.firms b USING (uscc)"
    assert joint_of(WORLD.plan(by_row, recipients=("tax",)).joins[0][1], HELPER, 5).complement is None
    for sql, least in ((TABULATED[0], 1), (f"SELECT COUNT(*) AS n {TWO}", 5), (f"SELECT SUM(l.amount) AS s {LENT}", 9)):
        _, trace = traced(sql, least)
        assert not [s for s in trace.sent if "/complement/" in s.step]
    _, trace = traced(TABULATED[0], 2)
    assert [s for s in trace.sent if "/complement/" in s.step]


def test_the_rest_says_the_same_bytes_as_without() -> None:
    """What is decided and let out goes by the same steps: only those of the lines are added."""
    sql = f"SELECT t.industry, COUNT(*) AS n, SUM(b.balance) AS s {TWO} GROUP BY 1"
    without, with_lines = (traced(sql, least)[1] for least in (1, 2))
    sizes = [
        sorted((s.sender, s.receiver, s.step, len(s.raw)) for s in t.sent if "/complement/" not in s.step)
        for t in (without, with_lines)
    ]
    assert sizes[0] == sizes[1] and len(with_lines.sent) > len(without.sent)


def test_the_helper_hears_nothing_of_it() -> None:
    _, trace = traced(TABULATED[0], 3)
    assert not [s.step for s in trace.heard_by(HELPER) if "/complement/" in s.step]
