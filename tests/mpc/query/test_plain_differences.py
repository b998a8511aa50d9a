"""No population of a join may differ by few entities from a total of one owner's rows that went out without it: against
the same rule over the pooled tables, and from the seats of those who must not notice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.joint_setup import joint_of
from mpc.protocols import parts
from mpc.query.plain import NamedPlain, named_plain
from mpc.query.plan_joins import ComparedPool
from mpc.query.questions import Named
from mpc.run import Trace
from tests.mpc.query.test_join_differences import Count, Population, condition, differing, near, together
from tests.mpc.query.test_joins import LENT, TWO, WORLD, verify_links
from tests.mpc.query.world import HELPER, World


@dataclass(frozen=True)
class Total:
    """A count of one party's rows."""

    party: str
    where: str
    group: str

    @property
    def sql(self) -> str:
        by, also = (f"{self.party}.{self.group} AS label, ", " GROUP BY 1") if self.group else ("", "")
        return f"SELECT {by}COUNT(*) AS n {self._rest}{also}"

    @property
    def _rest(self) -> str:
        return f"FROM {self.party}.t {self.party}{f' WHERE {self.where}' if self.where else ''}"

    def populations(self, world: World, least: int) -> dict[Any, Population]:
        """Who is behind each cell that is let out."""
        group = f"{self.party}.{self.group}" if self.group else "''"
        row = "NULL" if self.party == "p1" and world.catalogs["p1"].tables[0].unique else "rowid"  # as joins have it
        found: dict[Any, dict[str, set[Any]]] = {}
        for g, entity, number in world.pooled.execute(f"SELECT {group}, id, {row} {self._rest}").fetchall():
            found.setdefault(g, {}).setdefault(entity, set()).add((number,))
        cells = {g: {e: frozenset(r) for e, r in p.items()} for g, p in found.items()}
        return {g: p for g, p in cells.items() if len(p) >= least}

    def of(self, joined: Population) -> Population:
        """Rows of this party's table in those of a join."""
        at = ("p0", "p1").index(self.party)
        return {e: frozenset((row[at],) for row in rows) for e, rows in joined.items()}


@settings(max_examples=12)
@given(st.data())
def test_random_joins_after_totals_hide_what_the_rule_says(data: st.DataObject) -> None:
    random_questions(data)


@pytest.mark.timeout(600)
@pytest.mark.slow
@settings(max_examples=120)
@given(st.data())
def test_many_random_joins_after_totals_hide_what_the_rule_says(data: st.DataObject) -> None:
    random_questions(data)


def random_questions(data: st.DataObject) -> None:
    """Joins and totals of one party's rows in some order, and a join."""
    world, least = data.draw(near()), data.draw(st.sampled_from([3, 4, 5]))
    group = data.draw(st.sampled_from(["", "", "p0.g", "p1.g"]))
    party = data.draw(st.sampled_from(["p0", "p1"]))

    def join() -> Count:
        wheres = data.draw(st.lists(condition(), max_size=2))
        return Count(
            f"FROM p0.t p0 JOIN p1.t p1 USING (id){' WHERE ' if wheres else ''}{' AND '.join(wheres)}", group, ""
        )

    def total() -> Total:
        n = data.draw(st.integers(0, 4))
        own = [
            f"{party}.x <> {n}",
            f"{party}.id NOT IN ('k{n}', 'k{n + 1}')",
            f"({party}.x <> {n} OR {party}.g = 'v')",
            f"{party}.g = 'u'",
        ]
        return Total(party, data.draw(st.sampled_from(["", "", *own])), data.draw(st.sampled_from(["", "g"])))

    asked = [data.draw(st.sampled_from([join, total, total]))() for _ in range(data.draw(st.integers(1, 3)))]
    new = join()
    try:
        for q in (*asked, new):
            world.plan(q.sql)
        named = names(world, [q for q in asked if isinstance(q, Total)], new.sql, least)
        mine = [named[q] if isinstance(q, Total) else q.sql for q in asked]
        lists = [mine, [q.sql for q in asked if isinstance(q, Count)]]
        plan = world.plan(new.sql, lists=lists)
    except LocalError as refused:
        assert refused.code == "sql.unsupported", (asked, refused)
        return
    shown = world.result(plan, min_entities=least)
    [cells] = new.populations(world)
    labels = [row[0] if group else "" for row in shown.rows]
    told = [hidden(world, cells, g, asked, group, least) for g in labels]
    for g, must, suppressed in zip(labels, told, shown.suppressed, strict=True):
        event(f"small: {len(cells.get(g, {})) < least}, hidden: {must}")
        if must:
            assert "n" in suppressed, (asked, new, g, least)
        if "n" in suppressed:  # or beside a cell that is hidden (mpc/protocols/complement.py)
            assert must or (group and any(told)), (asked, new, g, least)


def hidden(
    world: World, cells: Mapping[Any, Population], g: Any, asked: Sequence[Count | Total], group: str, least: int
) -> bool:
    """The rule, in the clear: cells beside the same cells, and all of them together beside totals with others."""
    if len(cells.get(g, {})) < least:
        return True
    whole, of_all, in_cell = together(dict(cells)), list[Beside](), list[Beside]()
    for q in asked:
        if isinstance(q, Count):
            before = q.populations(world)[0]
            # tables by the same keys are compared cell by cell
            of_all.append(Beside(whole, together(before), judged=not group))
            in_cell.append(Beside(cells.get(g, {}), before.get(g, {})))
            continue
        found = q.populations(world, least)
        if group == f"{q.party}.{q.group}":
            in_cell.append(Beside(q.of(cells.get(g, {})), found.get(g, {})))
        else:
            of_all.append(Beside(q.of(whole), together(found)))
    return close(of_all, least) or (bool(group) and close(in_cell, least))


@dataclass(frozen=True)
class Beside:
    """A population beside an earlier one, which may be there only to settle what came later."""

    new: Population
    earlier: Population
    judged: bool = True


def close(pairs: Sequence[Beside], least: int) -> bool:
    """Whether one is too close, in the order in which they were asked for."""
    for p in pairs:
        d = differing(p.new, p.earlier)
        if d == 0:
            return False
        if p.judged and d < least <= len(p.earlier):
            return True
    return False


def names(world: World, totals: Sequence[Total], sql: str, least: int) -> dict[Total, NamedPlain]:
    """Totals go out; how their owner names them beside a join."""
    pools = [pool for _, pool in world.plan(sql).joins]
    found = {}
    for q in totals:
        [plain] = world.let_out(q.sql, least)
        found[q] = named_plain(q.party, plain, pools)
    return found


# ---- what moves, and who sees what


TOTALS = ["SELECT COUNT(*) AS n FROM tax.firms", "SELECT SUM(balance) AS s FROM bank.firms WHERE overdue > 0"]
BY = "SELECT industry, COUNT(*) AS n FROM tax.firms GROUP BY 1"
BESIDE = [
    (f"SELECT COUNT(*) AS n, SUM(t.paid) AS s {TWO}", TOTALS),
    (f"SELECT t.industry, COUNT(*) AS n {TWO} GROUP BY 1", [BY, *TOTALS]),
    (f"SELECT l.sort, SUM(l.amount) AS s {LENT} GROUP BY 1", TOTALS[:1]),
    (f"SELECT SUM(l.amount) AS s {LENT} WHERE l.amount > 5", ["SELECT SUM(amount) AS s FROM lender.loans", TOTALS[0]]),
]


def beside(sql: str, totals: Sequence[str], world: World = WORLD) -> ComparedPool:
    """A join after totals of its owners' rows."""
    pools = [pool for _, pool in world.plan(sql).joins]
    by_owner: dict[str, list[NamedPlain]] = {}
    for total in totals:
        (party,) = {s.party for p in world.plan(total).pools for s in p.sources}
        by_owner.setdefault(party, []).extend(named_plain(party, p, pools) for p in world.let_out(total, 3))
    ((_, pool),) = world.plan(sql, lists=list(by_owner.values())).joins
    assert isinstance(pool, ComparedPool)
    return pool


@pytest.mark.parametrize(("sql", "totals"), BESIDE)
def test_links_carry_what_the_plan_says(sql: str, totals: list[str]) -> None:
    pool, trace = beside(sql, totals), Trace()
    WORLD.joined(0, pool, 3, trace)
    assert pool.brought and joint_of(pool, HELPER, 3).differences is not None
    verify_links(joint_of(pool, HELPER, 3), trace)


@pytest.mark.parametrize(("sql", "totals"), BESIDE)
def test_sizes_depend_on_how_many_totals_there_were_and_on_no_data(sql: str, totals: list[str]) -> None:
    """Other rows, and totals that were all hidden: the same messages."""

    def shape(world: World, least: int) -> list[tuple[str, str, str, int]]:
        trace = Trace()
        world.joined(0, beside(sql, totals, world), least, trace)
        return [(s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent]

    other = World(tuple(replace(h, rows=tuple(h.rows)[3:-2]) for h in WORLD.tables))
    hidden_all = World(WORLD.tables)
    hidden_all.let_out = lambda sql, least: World.let_out(hidden_all, sql, 1000)  # type: ignore[method-assign]
    assert shape(WORLD, 3) == shape(other, 3) == shape(hidden_all, 3)


@pytest.mark.parametrize(("sql", "totals"), BESIDE[:2])
def test_the_helper_hears_no_opening(sql: str, totals: list[str]) -> None:
    trace = Trace()
    WORLD.joined(0, beside(sql, totals), 3, trace)
    assert not [s.step for s in trace.heard_by(HELPER) if "/differences/" in s.step]


def test_others_compile_the_same_steps_without_the_query() -> None:
    """An approval says of a total its table and how it is compared; what it is of, only the ledger of its owner."""
    pool = beside(f"SELECT COUNT(*) AS n {TWO}", TOTALS)
    [one, *_] = pool.brought
    other = world_plan_of_others(one.name)
    assert (other.steps, other.comparisons[0][0]) == (pool.steps[: len(other.steps)], pool.comparisons[0][0])
    assert "overdue > 0" not in str(pool) and "bank.firms" not in one.name


def world_plan_of_others(key: str) -> ComparedPool:
    party, _, name = key.partition(": ")
    named = NamedPlain(party, name, "firms", ())
    ((_, pool),) = World(WORLD.tables).plan(f"SELECT COUNT(*) AS n {TWO}", lists=[[named]]).joins
    assert isinstance(pool, ComparedPool)
    return pool


def test_tables_in_parts_are_compared_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no row in a part is in the number all the same, once."""
    sql = f"SELECT COUNT(*) AS n {TWO}"
    [(n,)] = WORLD.plaintext(sql)
    unmet = len(WORLD.tables[0].rows) - n
    assert unmet > 2

    def seen() -> list[bool]:
        pool = beside(sql, TOTALS[:1])
        plan = WORLD.plan(sql, lists=[[NamedPlain("tax", pool.brought[0].name.partition(": ")[2], "firms", ())]])
        return [WORLD.result(plan, min_entities=k).rows[0][0] is None for k in (unmet, unmet + 1)]

    assert seen() == [False, True]
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    assert joint_of(beside(sql, TOTALS[:1]), HELPER, 3).parts > 2
    assert seen() == [False, True]


def test_a_total_beside_which_nothing_can_be_compared() -> None:
    """Joined by a column that does not tell the table's entities apart; or of a table that is not in the join."""
    for sql, total in (
        (f"SELECT COUNT(*) AS n {TWO}", "SELECT SUM(amount) AS s FROM lender.loans"),
        (f"SELECT COUNT(*) AS n {TWO}", "SELECT SUM(spend) AS s FROM telecom.firms"),
    ):
        assert not beside(sql, [total]).brought


def test_a_total_settles_what_only_its_owner_can_order() -> None:
    plain = NamedPlain("tax", "p", "firms", ())
    named = Named.of([["a", plain, "b"], ["b", "a"]])
    assert named.every == ("a", "b") and named.plain == (plain,)
    assert named.settles("a", plain.key) and named.settles(plain.key, "b")
    assert not named.settles(plain.key, "a") and not named.settles("b", plain.key)
    assert not named.settles("a", "b")  # the owners do not agree
