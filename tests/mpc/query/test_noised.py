"""Noise in plans and results: no entity changes a word by more than its sensitivity, whatever is asked."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import exp, floor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpc.coins import Coins
from mpc.errors import LocalError
from mpc.explain import explain, render
from mpc.methods import methods
from mpc.noise import Scale
from mpc.policy.disclosure import noised
from mpc.query.accuracy import CONFIDENCE, half_width
from mpc.query.compile import compile_plan
from mpc.query.finish import Result, finish
from mpc.query.layout import Filled, Opened, PoolTotals, read
from mpc.query.plan import Plan
from mpc.ring import ring
from tests.mpc.query.bureau import UNION, bureau
from tests.mpc.query.world import Held, Rows, World, decimal, held, integer, text

ANALYST = ("analyst",)
#: of one owner: rows of a few firms, which repeat; a table in which each stands once; one without key
SALES = [text("firm", key=True), text("region", "N", "S"), integer("month", 1, 12), decimal("paid", 2, -5, 90)]
FIRMS = [text("firm", key=True, nullable=False), integer("staff", 0, 40)]
LOOSE = [integer("n", -3, 7)]


def world(sales: Rows, firms: Rows = (("a", 5), ("b", 40)), other: Rows = (("x", "N", 1, 2),)) -> World:
    once = held("tax", "firms", FIRMS, firms)
    unique = Held("tax", type(once.table)("firms", tuple(FIRMS), 10, "", True), firms)
    loose = held("tax", "loose", LOOSE, [(3,), (-3,), (7,)])
    return World((held("tax", "sales", SALES, sales), unique, loose, held("bank", "sales", SALES, other)))


QUESTIONS = [
    "SELECT COUNT(*), SUM(paid), AVG(paid) FROM tax.sales",
    "SELECT region, COUNT(*), SUM(paid), STDDEV(month) FROM tax.sales GROUP BY region",
    "SELECT region, month, SUM(paid) FROM tax.sales WHERE paid > 1 GROUP BY region, month",
    "SELECT COUNT(DISTINCT month), COUNT(DISTINCT firm) FROM tax.sales",
    "SELECT SUM(CASE WHEN region = 'N' THEN 3 * paid ELSE -month END) FROM tax.sales",
    "SELECT COUNT(*) FILTER (WHERE month > 6), SUM(paid) FILTER (WHERE region = 'S') FROM tax.sales",
    "SELECT SUM(v) FROM (SELECT paid AS v FROM tax.sales UNION ALL SELECT month FROM tax.sales WHERE month < 7"
    " UNION ALL SELECT paid FROM bank.sales) AS u",
    "SELECT 5 * (SELECT SUM(paid) FROM tax.sales) - 2 * (SELECT COUNT(*) FROM bank.sales) AS s",
    "SELECT (SELECT SUM(staff) FROM tax.firms) / (SELECT SUM(paid) FROM tax.sales) AS s",
]

FIRM = st.sampled_from(["a", "b", "c", None])
ROW = st.tuples(
    FIRM, st.sampled_from(["N", "S"]), st.integers(1, 12), st.sampled_from(["-5.00", "0.01", "90.00", "7.5"])
)


def plan(w: World, sql: str, epsilon: str = "1", entity_rows: int = 2) -> Plan:
    return compile_plan(sql, w.catalogs, recipients=ANALYST, trust="parties", epsilon=epsilon, entity_rows=entity_rows)


def words(w: World, p: Plan, party: str) -> dict[tuple[int, int, int], np.ndarray]:
    """The party's words, cell by cell, as Python integers."""
    found = {}
    for i, pool in enumerate(p.pools):
        if party in pool.parties:
            filled = w.filled(p, i, party)
            for m, measure in enumerate(pool.measures):
                for k, word in enumerate(measure.words):
                    found[i, m, k] = np.array(ring(word.ring).to_ints(filled.words[m][k]), dtype=object)
    return found


#: firm a has rows in several cells and more than may count, others fewer; one row belongs to nobody
MIXED = [
    *(("a", "NS"[m % 2], 3 * m + 1, v) for m, v in enumerate(("90.00", "-5.00", "0.01", "90.00"))),
    *(("b", "S", m, "7.5") for m in (2, 9)),
    ("c", "N", 12, "-5.00"),
    (None, "S", 12, "90.00"),
]


def test_without_any_entity_every_word_is_within_its_sensitivity() -> None:
    """Brute force: take each firm out (rows without one are one firm), and compare all words of its owner."""
    assert_within_sensitivity(MIXED, QUESTIONS, 2)


@pytest.mark.slow
@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(ROW, min_size=1, max_size=12), most=st.integers(1, 3))
def test_without_any_entity_of_any_table(rows: list[Any], most: int) -> None:
    assert_within_sensitivity(rows, QUESTIONS, most)


def assert_within_sensitivity(rows: Rows, questions: Sequence[str], most: int) -> None:
    whole = world(rows)
    fewer = [world([r for r in rows if r[0] != gone]) for gone in {r[0] for r in rows}]
    for sql in questions:
        p = plan(whole, sql, entity_rows=most)
        bound = {
            (i, m, k): next((n.sensitivity for n in word.noise if n.party == "tax"), 0)
            for i, pool in enumerate(p.pools)
            for m, measure in enumerate(pool.measures)
            for k, word in enumerate(measure.words)
        }
        with_all = words(whole, p, "tax")
        for w in fewer:
            without = words(w, p, "tax")
            assert all(sum(abs(column - without[at])) <= bound[at] for at, column in with_all.items()), sql


def test_the_sensitivity_is_reached() -> None:
    """Two rows of the largest value: so it is not merely a generous bound."""
    rows = [("a", "N", 12, "90"), ("a", "S", 12, "90"), ("a", "N", 12, "90"), ("b", "N", 1, "1")]
    whole, without = world(rows), world(rows[3:])
    p = plan(whole, QUESTIONS[1])
    changes = [sum(abs(a - words(without, p, "tax")[at])) for at, a in words(whole, p, "tax").items()]
    sensitivities = [w.noise[0].sensitivity for m in p.pools[0].measures for w in m.words]
    assert changes == sensitivities == [2, 2 * 9000, 2, 2 * 144, 2 * 12]


def test_who_else_is_there_has_no_say_in_which_rows_count() -> None:
    rows = [("a", "N", m, f"{m}.25") for m in range(1, 9)]
    others = [("b", "N", 3, "1"), ("c", "S", 4, "2"), (None, "N", 5, "3")]
    alone, among = world(rows), world([*others, *rows[::-1]])
    p = plan(alone, "SELECT month, SUM(paid) FROM tax.sales WHERE firm = 'a' GROUP BY month", entity_rows=3)
    (a,), (b,) = (list(words(w, p, "tax").values()) for w in (alone, among))
    assert list(a) == list(b) and np.count_nonzero(a) == 3


def test_tables_declared_to_have_each_key_once_are_cut_to_one_row_all_the_same() -> None:
    """A table that no longer keeps to what its owner declared: its sensitivity still holds."""
    w = world([("a", "N", 1, "1")], firms=[("a", 40), ("a", 40), ("b", 1)])
    p = plan(w, "SELECT SUM(staff) FROM tax.firms", entity_rows=5)
    (word,) = p.pools[0].measures[0].words
    assert word.noise[0].sensitivity == 40
    assert words(w, p, "tax")[0, 0, 0][0] == 41


def test_epsilon_is_divided_among_the_words_a_party_adds_to() -> None:
    w = world([("a", "N", 1, "1")])
    p = plan(
        w,
        "SELECT AVG(v), (SELECT COUNT(*) FROM tax.loose) FROM (SELECT paid AS v FROM tax.sales UNION ALL "
        "SELECT paid FROM bank.sales) AS u",
        epsilon="0.5",
    )
    scales = {
        (n.party, n.sensitivity): n.scale.value for q in p.pools for m in q.measures for x in m.words for n in x.noise
    }
    assert scales == {
        ("tax", 2 * 9000): 2 * 9000 * 3 / Fraction("0.5"),
        ("tax", 2): 2 * 3 / Fraction("0.5"),
        ("tax", 1): 1 * 3 / Fraction("0.5"),  # a row of a table without key
        ("bank", 2 * 9000): 2 * 9000 * 2 / Fraction("0.5"),
        ("bank", 2): 2 * 2 / Fraction("0.5"),
    }


def test_bounds_hold_the_noise() -> None:
    w = bureau()
    exact = w.plan(f"SELECT SUM(n) FROM {UNION} AS u").pools[0].measures[0].words[0]
    word = plan(w, f"SELECT SUM(n) FROM {UNION} AS u", epsilon="0.001").pools[0].measures[0].words[0]
    assert word.bound - exact.bound == sum(n.scale.tail(42) for n in word.noise) > 0


def test_a_bound_that_noise_pushes_beyond_what_words_hold_is_refused() -> None:
    wide = World((held("tax", "t", [decimal("v", 4, 0, 2325 * 10**21)], [("1",)]),))
    compile_plan("SELECT SUM(v) FROM tax.t", wide.catalogs, recipients=ANALYST, trust="parties")
    with pytest.raises(LocalError) as refused:
        plan(wide, "SELECT SUM(v) FROM tax.t", epsilon="0.000001")
    assert refused.value.code == "plan.overflow" and "noise" in refused.value.message


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        (f"SELECT MAX(n) FROM {UNION} AS u", "one entity's value"),
        ("SELECT MEDIAN(n) FROM bank_a.accounts", "one entity's value"),
    ],
)
def test_what_noise_does_not_go_with_is_refused_by_name(sql: str, why: str) -> None:
    with pytest.raises(LocalError) as refused:
        compile_plan(sql, bureau().catalogs, recipients=ANALYST, trust="helper", epsilon="1")
    assert refused.value.code == "plan.noise" and why in refused.value.message


@pytest.mark.parametrize("epsilon", ["0", "-1", "1e3", "0.50", "inf", "101", "0.0000001", "½", "01", " 1", "1\n"])
def test_an_epsilon_has_one_writing(epsilon: str) -> None:
    with pytest.raises(LocalError) as refused:
        plan(world([("a", "N", 1, "1")]), QUESTIONS[0], epsilon=epsilon)
    assert refused.value.code == "plan.noise"


# ---- results


def opened(w: World, p: Plan, key: int, answers: dict[tuple[int, str], Filled] | None = None) -> Opened:
    """Totals with every party's noise, as the recipient opens them. ``answers``: kept from one call to the next."""
    totals: dict[str, Any] = {}
    answers = {} if answers is None else answers
    for i, pool in enumerate(p.pools):
        for n, party in enumerate(pool.parties):
            if (i, party) not in answers:
                answers[i, party] = w.filled(p, i, party)
            filled = noised(p, i, party, answers[i, party], Coins(bytes([key, n]) * 16))
            for bits in (64, 128):
                columns = [
                    np.zeros(cells, np.uint64) if k < 0 else filled.words[m][k]
                    for at, m, k, cells in p.columns(bits)
                    if at == i
                ]
                if columns:
                    vector = np.concatenate(columns)
                    ring(bits).add_into(totals.setdefault(f"pool{i}/w{bits}", ring(bits).zeros(len(vector))), vector)
    return read(p, totals)


def result(w: World, sql: str, epsilon: str, key: int = 1) -> Result:
    p = plan(w, sql, epsilon)
    return finish(p, opened(w, p, key))


def test_numbers_are_those_of_the_plaintext_but_for_the_noise() -> None:
    """Over all cells that have rows, within what one result in a hundred thousand passes."""
    w = world([(f"{i}", "NS"[i % 2], 1 + i % 12, f"{i % 90}.50") for i in range(40)])
    sql = "SELECT region, month, COUNT(*) AS n, SUM(paid) AS s FROM tax.sales GROUP BY region, month"
    found = result(w, sql, "1")
    shown = {r[:2]: (r[2:], off[2:]) for r, off in zip(found.rows, found.accuracy, strict=True)}
    for *cell, n, s in w.query(sql):
        (noised_n, noised_s), (off_n, off_s) = shown[tuple(cell)]
        assert abs(n - noised_n) <= 4 * off_n and abs(s - noised_s) <= 4 * off_s
    assert found.rows != result(w, sql, "1", key=2).rows


def test_explain_and_the_result_say_how_far_off_in_the_same_units() -> None:
    w = world([(f"f{i}", "N", 1, "6.25") for i in range(60)])
    sql = "SELECT SUM(paid) AS s, COUNT(*) AS n FROM tax.sales"
    found = result(w, sql, "0.5")
    text = render(explain(plan(w, sql, "0.5"), ANALYST))
    s, n = (off for off in found.accuracy[0] if off is not None)
    assert isinstance(s, Decimal) and s.as_tuple().exponent == -2
    assert f"noise of tax: ± {s:,f} (95 %)" in text and f"noise of tax: ± {n} (95 %)" in text


def test_all_cells_are_shown_and_a_total_of_nothing_is_noise() -> None:
    w = world([("a", "N", 1, "1.50")])
    found = result(w, "SELECT region, SUM(paid) AS s FROM tax.sales GROUP BY region ORDER BY region", "1")
    assert [r[0] for r in found.rows] == ["N", "S", None]
    assert all(r[1] is not None for r in found.rows)
    assert len(plan(w, "SELECT region, SUM(paid) FROM tax.sales GROUP BY region").pools[0].measures) == 1


def test_a_quotient_by_a_count_that_noise_made_nothing_of_has_no_value_and_says_so() -> None:
    w = world([("a", "N", 1, "1.50")])
    p = plan(w, "SELECT region, AVG(paid) AS a, COUNT(*) AS n FROM tax.sales GROUP BY region")
    words = [[(150, 150, 150), (0, -2, 3)], [(1, 1, 1)]]
    hidden = ((False,) * 3,) * 2
    found = finish(p, Opened((PoolTotals(tuple(tuple(w) for w in words), hidden),)))
    assert [r[1] for r in found.rows] == [None, None, 0.5]
    assert found.unclear == (("a",), ("a",), ())
    assert found.accuracy[0][1] is None and found.accuracy[0][2] is not None


@pytest.mark.parametrize(
    ("what", "exact"),
    [
        ("COUNT(*)", 60),
        ("SUM(paid)", 360),
        ("AVG(paid)", 6),
        ("SUM(paid) + 2 * SUM(month)", 480),
        ("-SUM(paid) / 4", -90),
    ],
)
def test_intervals_hold_what_would_have_come_out(what: str, exact: float) -> None:
    """In at least 95 of 100 cases, less what chance takes away."""
    w = world([(f"f{i}", "N", 1, "6") for i in range(60)])
    p = plan(w, f"SELECT {what} AS x FROM tax.sales", "1", 1)
    held_, stated, answers = 0, 0, {}
    for key in range(100):
        found = finish(p, opened(w, p, key, answers))
        off = found.accuracy[0][0]
        stated += off is not None
        held_ += off is not None and abs(float(found.rows[0][0]) - exact) <= float(off) + 1e-9
    assert stated > 75
    assert held_ >= stated * 0.95 - 4 * (stated * 0.0475) ** 0.5


@pytest.mark.parametrize(
    "parts",
    [
        [(Fraction(1), Scale(1))],
        [(Fraction(1), Scale(1))] * 3,
        [(Fraction(3), Scale(3)), (Fraction(1, 10), Scale(20))],
        [(Fraction(1), Scale(1, 4))],
    ],
)
def test_half_widths_against_sums_over_all_values(parts: list[tuple[Fraction, Scale]]) -> None:
    """Every combination of values of few parts, added up one by one."""
    far = [range(-int(9 * s.value) - 6, int(9 * s.value) + 7) for _, s in parts]
    mass: dict[Fraction, float] = {}
    chance = [
        {z: (1 - q) / (1 + q) * q ** abs(z) for z in zs}
        for (_, s), zs in zip(parts, far, strict=True)
        for q in [exp(-1 / float(s.value))]
    ]
    for values in product(*far):
        total = abs(sum((c * z for (c, _), z in zip(parts, values, strict=True)), Fraction(0)))
        p = 1.0
        for z, by in zip(values, chance, strict=True):
            p *= by[z]
        mass[total] = mass.get(total, 0.0) + p
    found = half_width(tuple(parts), CONFIDENCE)
    assert sum(p for v, p in mass.items() if v <= found) >= 0.95 - 1e-3
    assert sum(p for v, p in mass.items() if v < found) < 0.95
    large = half_width(tuple((c * 10**9, s) for c, s in parts), CONFIDENCE)
    assert floor(large / 10**9) in (floor(found), floor(found) - 1, floor(found) + 1)


def test_a_limit_in_the_query_is_a_bound_of_the_noise() -> None:
    w = bureau()
    p = plan(w, "SELECT SUM(LEAST(GREATEST(balance, 0), 1000)) FROM bank_a.accounts", entity_rows=1)
    assert p.pools[0].measures[0].words[0].noise[0].sensitivity == 1000_00
    assert words(w, p, "bank_a")[0, 0, 0][0] <= 3 * 1000_00
    # a limit that may be NULL is none
    p = plan(w, "SELECT SUM(LEAST(cards, n)) FROM bank_a.accounts", entity_rows=1)
    assert p.pools[0].measures[0].words[0].noise[0].sensitivity == 10**6


def test_explain_says_what_is_added_and_how_far_it_moves_a_number() -> None:
    told = explain(plan(bureau(), f"SELECT COUNT(*) FROM {UNION} AS u", "0.5", 3), ANALYST)
    (word,) = told["pools"][0]["measures"][0]["words"]
    assert word["noise"]["bank_a"] == {"sensitivity": "3", "scale": "6"} and word["off"] == "25"
    text = render(told)
    assert "noise of bank_a and bank_b: ± 25 (95 %)" in text
    assert "the number of rows, with noise of bank_a and bank_b" in text
    assert "epsilon 0.5 for the whole job" in text and "at most 3 row(s)" in text


def test_deposits_carry_no_noise() -> None:
    sql = f"SELECT COUNT(*) FROM {UNION} AS u"
    with pytest.raises(LocalError) as refused:
        compile_plan(sql, bureau().catalogs, recipients=ANALYST, trust="deposit", epsilon="1")
    assert refused.value.code == "plan.noise" and "Deposits" in refused.value.message
    offered = methods(plan(bureau(), sql), ANALYST)
    assert [m.name for m in offered if not m.why_not] == ["masked"]  # explain offers none either


def test_rules_that_look_at_entities_or_sums_look_at_the_rows_that_count() -> None:
    w = world([("a", "N", m, "1.25") for m in range(1, 9)])
    (source,) = plan(w, "SELECT SUM(paid) FROM tax.sales", entity_rows=3).pools[0].sources
    local = w.local("tax")
    assert local.rows(source.rounding.sql).column("r0").to_pylist() == [3 * 125]
    assert local.rows(source.behind.sql).column("a0").to_pylist() == [3 * 125.0]
