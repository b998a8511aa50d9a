"""Noise over hidden joins: no entity of an owner changes a word by more than its sensitivity, every owner's noise is in
what is opened, and nothing is decided by exact counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.codec import decode
from mpc.coins import Coins
from mpc.errors import LocalError
from mpc.explain import explain, render
from mpc.joint_setup import joint_of
from mpc.joint_sides import SideRows
from mpc.messages import Words
from mpc.policy import disclosure
from mpc.protocols import parts
from mpc.query.catalog import Table
from mpc.query.compile import compile_plan
from mpc.query.finish import Result, finish
from mpc.query.layout import read
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool
from mpc.ring import ring
from mpc.run import Trace
from mpc.traffic import traffic
from parties.node.joins import in_one_order, side_rows
from tests.mpc.query.test_joins import verify_links
from tests.mpc.query.world import HELPER, Held, Rows, World, integer, text
from tests.mpc.test_noise import FAR, chances, far_out

FIRM = text("firm", key=True, nullable=False)
FIRMS = [FIRM, integer("paid", 0, 50, nullable=False), text("grade", "A", "B")]
#: each loan has a number; a firm has several
LOANS = [text("loan", key=True, nullable=False), text("firm"), integer("owed", -9, 20), text("kind", "x", "y")]
#: without a key
CASES = [text("firm"), integer("days", 0, 30)]
#: by firm and year; a firm has several rows of its own
YEARS = [text("firm", key=True), integer("year", 1, 3), integer("power", 0, 8)]

TAX = [("a", 50, "A"), ("b", 7, "B"), ("c", 50, None), ("d", 1, "A")]
BANK = [
    ("1", "a", 20, "x"),
    ("2", "a", 20, "x"),
    ("3", "a", -9, "y"),
    ("4", "b", 11, "x"),
    ("5", "c", None, "y"),
    ("6", None, 4, "x"),
    ("7", "a", 3, "y"),
]
COURT = [("a", 30), ("a", 30), ("c", 2), ("e", 9), ("a", 1)]
POWER = [("A", 1, 8), ("a", 2, 8), (" a", 3, 1), ("b", 1, 8), (None, 1, 5), (None, 2, 8), ("c", 1, 0)]


def held(party: str, name: str, columns: list[Any], rows: Rows, *, unique: bool = False) -> Held:
    return Held(party, Table(name, tuple(columns), 20, "", unique), rows)


@dataclass(eq=False)
class Noised(World):
    """``keys``: of each party the coins of its noise; without them it adds none, but its rows are cut all the same."""

    keys: dict[str, bytes] = field(default_factory=dict)
    plan_: Plan | None = None

    def compile(self, sql: str, epsilon: str = "1", entity_rows: int = 1, trust: str = "helper") -> Plan:
        self.plan_ = compile_plan(
            sql, self.catalogs, recipients=("analyst",), trust=trust, epsilon=epsilon, entity_rows=entity_rows
        )
        return self.plan_

    def rows(self, pool: JoinPool, party: str) -> dict[str, SideRows]:
        assert self.plan_ is not None and self.plan_.noise is not None
        local, most = self.local(party), self.plan_.noise.entity_rows
        sides = [s for s in pool.sides if s.party == party]
        found = {s.name: side_rows(pool, s, local.rows(s.query.sql), bytes(32), most) for s in sides}
        if party in self.keys:
            found[sides[0].name] = replace(found[sides[0].name], noise=self.noise(pool, party))
        return found

    def noise(self, pool: JoinPool, party: str) -> tuple[np.ndarray, ...]:
        assert self.plan_ is not None
        number = next(p for p, one in self.plan_.joins if one.name == pool.name)
        return disclosure.noise(self.plan_, number, party, Coins(self.keys[party]))

    def words(self, plan: Plan) -> dict[tuple[int, int], np.ndarray]:
        """What is opened of the only pool, word by word."""
        opened = read(plan, self.totals(plan, min_entities=0)).pools[0]
        assert not any(map(any, opened.suppressed))
        return {(m, w): np.array(c, dtype=object) for m, of in enumerate(opened.words) for w, c in enumerate(of)}


def world(**rows: Rows) -> Noised:
    has: Mapping[str, Rows] = {"tax": TAX, "bank": BANK, "court": COURT, "power": POWER, **rows}
    return Noised(
        (
            held("tax", "firms", FIRMS, has["tax"], unique=True),
            held("bank", "loans", LOANS, has["bank"], unique=True),
            held("court", "cases", CASES, has["court"]),
            held("power", "years", YEARS, has["power"]),
        )
    )


LENT = "FROM tax.firms t JOIN bank.loans l USING (firm)"
FOUR = f"{LENT} JOIN court.cases c ON c.firm = t.firm JOIN power.years y ON y.firm = t.firm"
QUESTIONS = [
    f"SELECT COUNT(*), SUM(t.paid), SUM(l.owed), SUM(t.paid * l.owed) {LENT}",
    f"SELECT t.grade, COUNT(*), AVG(l.owed), VARIANCE(t.paid) {LENT} WHERE l.owed < 15 GROUP BY 1",
    f"SELECT l.kind, t.grade, SUM(CASE WHEN l.owed > t.paid THEN 3 * l.owed ELSE t.paid END) {LENT} GROUP BY 1, 2",
    f"SELECT COUNT(DISTINCT l.firm), COUNT(DISTINCT t.firm) FILTER (WHERE l.owed > 5) {LENT}",
    f"SELECT COUNT(*), SUM(c.days - l.owed), SUM(y.power) {FOUR}",
    f"SELECT y.year, SUM(c.days) {FOUR} WHERE l.kind = 'x' GROUP BY 1",
    "SELECT SUM(COALESCE(t.paid, 40)), COUNT(*), COUNT(t.paid) FROM power.years y LEFT JOIN tax.firms t USING (firm)",
    "SELECT t.grade, SUM(l.owed) FROM bank.loans l LEFT JOIN tax.firms t USING (firm) GROUP BY 1",
    "SELECT SUM(u.v), COUNT(*) FROM tax.firms t JOIN (SELECT firm, owed AS v FROM bank.loans UNION ALL "
    "SELECT firm, days FROM court.cases) u ON u.firm = t.firm",
]
#: of each table what its entities are, by the row; and what it stands for in the join
ENTITIES = {
    "tax": [lambda r: r[0]],
    "bank": [lambda r: r[0], lambda r: r[1] or object()],
    "court": [id, lambda r: r[0]],
    "power": [lambda r: r[0] and r[0].strip().lower()],
}


def without(rows: Rows, entity: Any) -> list[list[Any]]:
    """The rows without each of their entities in turn."""
    rows = [list(r) for r in rows]
    names = [entity(r) for r in rows]
    return [[r for r, n in zip(rows, names, strict=True) if n != gone] for gone in dict.fromkeys(names)]


def assert_within_sensitivity(sql: str, most: int, **rows: Rows) -> dict[str, list[int]]:
    """Take each entity of each owner out, and compare all words. Returns the largest change, by owner."""
    whole = world(**rows)
    plan = whole.compile(sql, entity_rows=most)
    joined = {s.party for s in plan.joins[0][1].sides}
    exact = whole.words(plan)
    largest = {}
    for party in sorted(joined):
        bound = {
            (m, w): next(n.sensitivity for n in word.noise if n.party == party)
            for m, measure in enumerate(plan.pools[0].measures)
            for w, word in enumerate(measure.words)
        }
        changed = dict.fromkeys(bound, 0)
        table = next(t for t in whole.tables if t.party == party)
        for fewer in (f for entity in ENTITIES[party] for f in without(table.rows, entity)):
            one = world(**{**rows, party: fewer})
            found = one.words(one.compile(sql, entity_rows=most))
            for at, column in exact.items():
                changed[at] = max(changed[at], sum(abs(column - found[at])))
        assert all(changed[at] <= bound[at] for at in bound), (sql, party, changed, bound)
        largest[party] = [changed[at] - bound[at] for at in bound]
    return largest


@pytest.mark.parametrize(
    "sql", [q if i in (0, 7) else pytest.param(q, marks=pytest.mark.slow) for i, q in enumerate(QUESTIONS)]
)
def test_without_any_entity_every_word_is_within_its_sensitivity(sql: str) -> None:
    """Brute force: also the rows of one key of the join, where the table's own entities are smaller."""
    assert_within_sensitivity(sql, 2)


VALUE = st.sampled_from(["a", "A ", "b", "c"])


@pytest.mark.slow
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(
    sql=st.sampled_from(QUESTIONS),
    most=st.integers(1, 3),
    bank=st.lists(st.tuples(VALUE, st.sampled_from([-9, 20, None]), st.sampled_from("xy")), max_size=8),
    court=st.lists(st.tuples(VALUE, st.sampled_from([0, 30])), max_size=6),
    power=st.lists(st.tuples(VALUE, st.integers(1, 3), st.sampled_from([0, 8])), max_size=6),
)
def test_without_any_entity_of_any_tables(sql: str, most: int, bank: Rows, court: Rows, power: Rows) -> None:
    assert_within_sensitivity(sql, most, bank=[(str(i), *r) for i, r in enumerate(bank)], court=court, power=power)


def sensitivities(plan: Plan) -> list[dict[str, int]]:
    return [{n.party: n.sensitivity for n in w.noise} for m in plan.pools[0].measures for w in m.words]


def test_how_much_an_entity_can_change() -> None:
    """The largest value of the whole, in as many rows of the join as an entity can be in."""
    w = world()
    # a firm is in the rows of its two loans; a loan of two may push another one out, so its changes are two rows
    count, product = sensitivities(w.compile(f"SELECT COUNT(*), SUM(t.paid * l.owed) {LENT}", entity_rows=2))
    assert count == {"bank": 2, "tax": 2} and product == {"bank": 2 * 1000, "tax": 2 * 1000}
    assert sensitivities(w.compile(f"SELECT COUNT(*) {LENT}"))[0] == {"bank": 2, "tax": 1}
    # of four: a case, whose table has no key, meets two loans and two years
    (count,) = sensitivities(w.compile(f"SELECT COUNT(*) {FOUR}", entity_rows=2))
    assert count == {"bank": 2 * 4, "court": 2 * 4, "power": 2 * 4, "tax": 8}
    # what a LEFT JOIN does not find counts elsewhere
    left = "FROM bank.loans l LEFT JOIN tax.firms t USING (firm)"
    (owed,) = sensitivities(w.compile(f"SELECT t.grade, SUM(l.owed) {left} GROUP BY 1"))
    assert owed == {"bank": 2 * 20, "tax": 2 * 20}


def test_the_sensitivity_is_reached() -> None:
    """So it is not merely a generous bound."""
    off = assert_within_sensitivity(f"SELECT COUNT(*), SUM(t.paid * l.owed) {LENT}", 2, bank=BANK[:2], tax=TAX[:1])
    assert off == {"bank": [0, 0], "tax": [0, 0]}


def test_keys_that_are_one_key_in_different_writing_are_cut_together() -> None:
    """Each owner's noise rests on the others' cutting by what the join takes for one key."""
    w = world(power=[("A", 1, 8), ("a", 1, 8), (" a ", 1, 8), ("b", 1, 8)])
    rest = "FROM tax.firms t JOIN power.years y USING (firm)"
    for most, rows in ((1, 2), (2, 3), (9, 4)):
        assert w.words(w.compile(f"SELECT COUNT(*) {rest}", entity_rows=most))[0, 0] == [rows]


def test_who_else_is_there_has_no_say_in_which_rows_count() -> None:
    others = [("f", "b", 3, "x"), ("g", "c", 9, "y"), ("h", None, 2, "x")]
    alone, among = world(bank=BANK[:3]), world(bank=[*others, *BANK[2::-1]])
    sql = f"SELECT SUM(l.owed), SUM(l.owed * l.owed) {LENT} WHERE t.firm = 'a'"
    found = [w.words(w.compile(sql, entity_rows=2)) for w in (alone, among)]
    assert found[0].keys() == found[1].keys() and all((found[0][at] == found[1][at]).all() for at in found[0])


@pytest.mark.parametrize("sql", QUESTIONS)
def test_what_is_opened_is_the_exact_words_and_the_noise_of_every_owner(sql: str) -> None:
    w = world()
    plan = w.compile(sql, "0.01", 2)
    exact = w.words(plan)
    pool = plan.joins[0][1]
    w.keys = {p: bytes([n]) * 32 for n, p in enumerate(pool.parties, start=1)}
    found = w.words(plan)
    drawn = {p: iter(w.noise(pool, p)) for p in pool.parties}
    for (m, k), column in exact.items():
        bits = pool.measures[m].words[k].ring
        noise = sum(np.array(ring(bits).to_ints(next(d)), dtype=object) for d in drawn.values())
        assert (found[m, k] == column + noise).all() and (noise != 0).any()


def test_the_noise_on_a_join_is_what_it_claims() -> None:
    """Cells in which nobody has anything: what comes out is the noise of both owners, each of its own scale."""
    labels = tuple(f"g{i}" for i in range(700))
    firms = held("tax", "firms", [FIRM, text("label", *labels, nullable=False)], [("a", "g0")], unique=True)
    loans = held("bank", "loans", [*LOANS[:1], FIRM], [("1", "a"), ("2", "a")], unique=True)
    w = Noised((firms, loans), keys={"tax": b"t" * 32, "bank": b"b" * 32})
    plan = w.compile("SELECT t.label, COUNT(*) FROM tax.firms t JOIN bank.loans l USING (firm) GROUP BY 1", "1")
    (word,) = plan.pools[0].measures[0].words
    assert {n.party: n.scale.value for n in word.noise} == {"bank": Fraction(2), "tax": Fraction(1)}
    empty = w.words(plan)[0, 0][1:]
    both = np.convolve(*(list(chances(scale, 60).values()) for scale in (1, 2)))
    expected = {z - 120: float(p) for z, p in enumerate(both)}
    assert far_out(Counter(empty.tolist()), expected, len(empty)) < FAR
    one = {z - 120: float(p) for z, p in enumerate(np.convolve(*(list(chances(1, 60).values()),) * 2))}
    assert far_out(Counter(empty.tolist()), one, len(empty)) > FAR


def test_noise_is_added_once_where_tables_are_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    w = world()
    plan = w.compile(QUESTIONS[1], "1", 2)
    w.keys = {p: bytes([n]) * 32 for n, p in enumerate(("tax", "bank"), start=1)}
    whole = w.words(plan)
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    assert joint_of(plan.joins[0][1], HELPER, 0).parts > 1
    apart = w.words(plan)
    assert all((whole[at] == apart[at]).all() for at in whole)


def test_rows_come_in_one_order_however_a_database_numbers_them() -> None:
    """So that a replay finds the same bytes: window functions give rows as threads finish."""
    w = world()
    pool = w.compile(QUESTIONS[0], entity_rows=2).joins[0][1]
    for side in pool.sides:
        answer = w.local(side.party).rows(side.query.sql)
        other = answer.take(np.random.default_rng(3).permutation(answer.num_rows))
        first, second = (in_one_order(pool, side, a, b"k" * 32, numbered=True) for a in (answer, other))
        assert first.equals(second) and not other.equals(answer)


def test_an_entity_in_several_tables_of_one_owner_is_protected_in_all_of_them() -> None:
    columns = [text("firm"), integer("extra", 0, 9)]
    extra = [("a", 9), ("a", 9), ("b", 3)]

    def of(tax: Rows, more: Rows) -> Noised:
        return Noised(
            (
                held("tax", "firms", FIRMS, tax, unique=True),
                held("tax", "more", columns, more),
                held("bank", "loans", LOANS, BANK, unique=True),
            )
        )

    whole = of(TAX, extra)
    sql = f"SELECT COUNT(*), SUM(t.paid + m.extra) {LENT} JOIN tax.more m ON m.firm = l.firm"
    plan = whole.compile(sql, entity_rows=2)
    exact, bounds = whole.words(plan), sensitivities(plan)
    # as one of firms in 2 · 2 rows, as two rows of the other table in as many each
    assert bounds[0]["tax"] == 1 * 2 * 2 + 2 * 2
    for gone in "ab":
        less = of([r for r in TAX if r[0] != gone], [r for r in extra if r[0] != gone])
        found = less.words(less.compile(sql, entity_rows=2))
        changes = [sum(abs(column - found[at])) for at, column in exact.items()]
        assert all(change <= bound["tax"] for change, bound in zip(changes, bounds, strict=True))


# ---- nothing is decided by exact counts


@pytest.mark.parametrize("sql", QUESTIONS[:6])
def test_no_entity_is_counted_and_nothing_is_compared_or_hidden(sql: str) -> None:
    w = world()
    plan = w.compile(sql, "1", 2)
    ((p, pool),) = plan.joins
    assert not any(r.entities for r in pool.released) and pool.dominance is None
    assert not any(s.query.behind.sql for s in pool.sides)
    w.keys = {i: bytes(32) for i in pool.parties}
    trace, j = Trace(), joint_of(pool, HELPER, 10**6, 1)  # whatever anybody's limits are
    w.joined(p, pool, 10**6, trace, 1)
    verify_links(j, trace)
    assert not any(t.step in ("release", "dominance") for t in traffic(j))
    assert not any("/release/" in s.step for s in trace.sent)


def test_exact_numbers_of_the_same_join_are_decided_by_counts() -> None:
    w = world()
    exact = compile_plan(QUESTIONS[0], w.catalogs, recipients=("analyst",), trust="helper").joins[0][1]
    assert all(r.entities for r in exact.released) and len(w.compile(QUESTIONS[0]).joins[0][1].steps) < len(exact.steps)
    assert any(t.step == "release" for t in traffic(joint_of(exact, HELPER, 1)))


def test_all_cells_are_shown_with_their_accuracy() -> None:
    w = world()
    plan = w.compile(f"SELECT t.grade, COUNT(*) AS n, SUM(l.owed) AS s {LENT} GROUP BY 1 ORDER BY 1", "4", 2)
    w.keys = {"tax": b"t" * 32, "bank": b"b" * 32}
    found: Result = finish(plan, read(plan, w.totals(plan), {0: ()}))
    assert [r[0] for r in found.rows] == ["A", "B", None] and not any(found.suppressed)
    for _, n, s in found.accuracy:
        assert n == 4 and s == 82  # of Laplace noise of scales 1 + 1, and 20 + 20
    assert all(type(v) is int for row in found.rows for v in row[1:])


def test_what_the_helper_hears_depends_on_no_condition_and_not_on_how_many_rows_count() -> None:
    """Rows that are cut keep their tags, as those that fail a condition do: as many tags, which repeat as often."""
    seen = []
    for where, most in (("", 1), ("", 9), (" WHERE l.owed > 19", 1), (" WHERE t.paid = 7 AND l.kind = 'y'", 2)):
        w = world()
        plan = w.compile(f"SELECT COUNT(*) {LENT}{where}", "1", most)
        ((p, pool),) = plan.joins
        trace = Trace()
        w.joined(p, pool, 0, trace)
        heard = [s for s in trace.heard_by(HELPER) if {"tags", "spine-tags"} & set(s.step.split("/"))]
        said = [decode(s.raw) for s in heard]
        assert len(said) == 2 and all(isinstance(m, Words) for m in said)
        tags = [Counter(map(tuple, m.words.reshape(-1, 2).tolist())) for m in said if isinstance(m, Words)]
        assert max(tags[0].values()) == 4  # firm a, whose loans are not cut here
        seen.append(([sorted(c.values()) for c in tags], [(s.sender, len(s.raw)) for s in trace.heard_by(HELPER)]))
    assert all(one == seen[0] for one in seen)


# ---- what does not go


@pytest.mark.parametrize(
    ("sql", "trust", "why"),
    [
        (f"SELECT MAX(l.owed) {LENT}", "helper", "one entity's value"),
        ("SELECT MEDIAN(t.paid) FROM tax.firms t JOIN power.years y USING (firm)", "helper", "one entity's value"),
        (f"SELECT COUNT(*) {LENT}", "parties", "which keys they share"),
        ("SELECT COUNT(*) FROM bank.loans l JOIN court.cases c USING (firm)", "helper", ""),
    ],
)
def test_what_does_not_go_is_refused_by_name(sql: str, trust: str, why: str) -> None:
    w = world()
    if not why:
        assert w.compile(sql, trust=trust)
        return
    with pytest.raises(LocalError) as refused:
        w.compile(sql, trust=trust)
    assert refused.value.code == "plan.noise" and why in refused.value.message


def test_single_rows_and_tables_that_their_owner_joins_first_are_refused() -> None:
    w = world()
    with pytest.raises(LocalError) as refused:
        compile_plan(
            "SELECT t.firm, y.power FROM tax.firms t JOIN power.years y USING (firm)",
            w.catalogs,
            recipients=("tax",),
            trust="helper",
            epsilon="1",
        )
    assert refused.value.code in ("plan.noise", "sql.unsupported")
    customers = [text("id", key=True, nullable=False), text("firm")]
    accounts = [text("account", key=True, nullable=False), text("id")]
    own = World(
        (
            held("bank", "customers", customers, [("1", "a")], unique=True),
            held("bank", "accounts", accounts, [("9", "1")], unique=True),
            held("tax", "firms", FIRMS, TAX, unique=True),
        )
    )
    sql = (
        "SELECT COUNT(*) FROM bank.accounts a JOIN bank.customers c ON a.id = c.id JOIN tax.firms t ON t.firm = c.firm"
    )
    assert own.plan(sql)
    with pytest.raises(LocalError) as refused:
        compile_plan(sql, own.catalogs, recipients=("analyst",), trust="helper", epsilon="1")
    assert refused.value.code == "plan.noise" and "by itself first" in refused.value.message


def test_a_count_of_keys_that_noise_pushes_beyond_64_bits_is_refused() -> None:
    w = world()
    sql = f"SELECT COUNT(DISTINCT t.firm), COUNT(*) {FOUR}"
    assert [word.ring for m in w.compile(sql, "1", 2).pools[0].measures for word in m.words] == [64, 64]
    with pytest.raises(LocalError) as refused:
        w.compile(sql, "0.000001", 10_000)
    assert refused.value.code == "plan.overflow" and "noise" in refused.value.message
    (word,) = w.compile(f"SELECT COUNT(*) {FOUR}", "0.000001", 10_000).pools[0].measures[0].words
    assert word.ring == 128  # and the join is computed in as many
    w.keys = {p: bytes(32) for p in ("tax", "bank", "court", "power")}
    [[value]] = read(w.plan_, w.totals(w.plan_)).pools[0].words[0]
    assert abs(value) <= word.bound


def test_explain_says_how_exact_it_will_be() -> None:
    text_ = render(explain(world().compile(f"SELECT COUNT(*) AS n {LENT}", "0.5", 3), ("analyst",)))
    assert "noise of bank and tax: ± " in text_ and "Of one key of a join at most 3 row(s)" in text_
