"""Joins of two parties without a helper: SQL against DuckDB over everybody's plaintext, and what is refused."""

from __future__ import annotations

import datetime as dt
import random
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from mpc import pair
from mpc.codec import decode
from mpc.crypto.spread import one_core
from mpc.explain import explain, render
from mpc.pair import Pair
from mpc.policy.needs import Recipient, Request, needs_of
from mpc.protocols import size
from mpc.protocols.tally_terms import Tally
from mpc.query.plan import Plan
from mpc.query.plan_reveals import MetReveal
from mpc.replay import replay
from mpc.run import Trace, run
from mpc.traffic import pair_traffic
from tests.mpc.joining import sessions
from tests.mpc.query.world import HELPER, World, boolean, decimal, held, integer, refusal, text

draw = random.Random(3)
IDS = [f"9131{i:04d}" for i in range(40)]
INDUSTRIES = ("food", "metal", "paper")

WORLD = World(
    (
        held(
            "tax",
            "firms",
            [
                text("uscc", key=True),
                text("industry", *INDUSTRIES, nullable=False),
                boolean("exporter"),
                decimal("tax_paid", 2, 0, 10**9),
            ],
            [
                (i, draw.choice(INDUSTRIES), draw.choice([True, False, None]), draw.choice([Decimal("0.05"), 7, None]))
                for i in IDS[:30]
            ],
        ),
        held(
            "bank",
            "firms",
            [
                text("uscc", key=True),
                integer("overdue", 0, 100, nullable=False),
                decimal("balance", 2, -(10**9), 10**9),
                text("grade", "A", "B"),
            ],
            [
                (i.replace("9131", "９1-31"), draw.randrange(3), draw.choice([Decimal("-12.34"), 99, None, 1000]), g)
                for i in draw.sample(IDS[8:], 25)
                for g in [draw.choice("AB")]
            ],
        ),
        held(
            "bank",
            "loans",
            [text("uscc", key=True), integer("amount", 0, 10**15), boolean("open", nullable=False)],
            [(draw.choice(IDS), draw.randrange(10**15), draw.random() < 0.7) for _ in range(60)],
        ),
        held("telecom", "firms", [text("uscc", key=True), integer("spend", 0, 1000)], [(i, 5) for i in IDS[:20]]),
    )
)
for h in WORLD.tables:
    if h.table.name == "firms":
        object.__setattr__(h.table, "unique", True)


@pytest.fixture(autouse=True)
def few_extras(monkeypatch):
    """Sizes alone of small tables in little time."""
    monkeypatch.setattr(size, "EXTRA", 64)


FROM = "FROM tax.firms t JOIN bank.firms b USING (uscc)"
TOTALS = [
    f"SELECT COUNT(*) {FROM}",
    f"SELECT t.industry, COUNT(*), SUM(b.balance), AVG(b.balance) {FROM} GROUP BY t.industry ORDER BY t.industry",
    f"SELECT t.industry, COUNT(*) {FROM} WHERE t.exporter AND b.overdue = 0 GROUP BY t.industry ORDER BY t.industry",
    f"SELECT t.industry, b.grade, COUNT(*), SUM(b.balance) {FROM} GROUP BY t.industry, b.grade ORDER BY 1, 2",
    f"SELECT SUM(t.tax_paid + b.balance), SUM(t.tax_paid * b.balance) {FROM} WHERE b.overdue < 2",
    f"SELECT VAR_SAMP(b.balance), SUM(CASE WHEN t.exporter THEN b.balance END), COUNT(b.balance) {FROM}",
    f"SELECT COUNT(*) FILTER (WHERE t.exporter AND b.overdue > 0), SUM(t.tax_paid - 2 * b.balance) {FROM}",
    "SELECT l.open, COUNT(*), SUM(l.amount) FROM bank.loans l JOIN tax.firms t USING (uscc) GROUP BY l.open ORDER BY 1",
    "SELECT t.industry, COUNT(*), SUM(l.amount), COUNT(DISTINCT t.uscc) "
    "FROM bank.loans l JOIN tax.firms t USING (uscc) WHERE l.open GROUP BY t.industry ORDER BY 1",
]


def plaintext(sql: str) -> list[tuple]:
    """Over plain DuckDB ids must be written alike first."""
    plain = sql
    for table in ("tax.firms", "bank.firms", "bank.loans"):
        plain = plain.replace(
            f"{table} ", f"(SELECT * REPLACE (replace(replace(uscc, '９', '9'), '-', '') AS uscc) FROM {table}) "
        )
    return WORLD.plaintext(plain)


@pytest.mark.parametrize(
    "sql",
    [TOTALS[i] for i in (3, 4, 6, 8)] + [pytest.param(TOTALS[i], marks=pytest.mark.slow) for i in (0, 1, 2, 5, 7)],
)
def test_the_same_as_over_plaintext(sql):
    plan = WORLD.plan(sql, trust="parties")
    assert plan.trust == "parties" and not plan.helped and plan.tallies
    found = WORLD.result(plan).rows
    expected = plaintext(sql)
    assert len(found) == len(expected)
    for row, other in zip(found, expected, strict=True):
        for x, y in zip(row, other, strict=True):
            assert x == y or float(x) == pytest.approx(float(y), rel=1e-9)


BY_ROW = [
    f"SELECT b.uscc {FROM} ORDER BY b.uscc",
    f"SELECT b.uscc, b.balance, t.tax_paid, t.industry, t.tax_paid + b.balance {FROM} WHERE b.overdue < 2 ORDER BY 1",
    f"SELECT b.uscc, t.tax_paid + 1 AS more, t.exporter {FROM} WHERE t.exporter AND t.industry <> 'food' ORDER BY 1",
    f"SELECT b.uscc, COUNT(*), SUM(t.tax_paid) {FROM} GROUP BY b.uscc ORDER BY 1",
]


@pytest.mark.parametrize("sql", BY_ROW)
def test_rows_of_the_recipient(sql):
    plan = WORLD.plan(sql, trust="parties", recipients=("bank",))
    assert plan.trust == "parties" and plan.tallies[0][1].by_row
    found = [(r[0].replace("９", "9").replace("-", ""), *map(_number, r[1:])) for r in WORLD.result(plan).rows]
    expected = [(r[0], *map(_number, r[1:])) for r in plaintext(sql)]
    assert sorted(found, key=str) == sorted(expected, key=str) and found


def _number(x):
    return float(x) if isinstance(x, Decimal | int) and not isinstance(x, bool) else x


@pytest.mark.parametrize("least", [3, 5])
def test_small_cells_are_suppressed_as_with_a_helper(least):
    sql = TOTALS[1].replace("GROUP BY", "WHERE b.overdue < 2 GROUP BY")
    alone, helped = WORLD.plan(sql, trust="parties"), WORLD.plan(sql)
    assert WORLD.result(alone, min_entities=least).rows == WORLD.result(helped, min_entities=least).rows
    counts = [n for _, n, *_ in plaintext(sql)]
    assert min(counts) < least <= max(counts)  # else nothing is tested


def test_entities_are_counted_and_not_rows():
    """Many loans of few firms."""
    sql = TOTALS[8]
    alone = WORLD.result(WORLD.plan(sql, trust="parties"), min_entities=8).rows
    assert alone == WORLD.result(WORLD.plan(sql), min_entities=8).rows
    shown = [(n is None, m) for (_, n, *_), (_, m, *_) in zip(alone, plaintext(sql), strict=True)]
    assert any(hidden and loans >= 8 for hidden, loans in shown) and any(not hidden for hidden, _ in shown)


REFUSED = {
    f"SELECT COUNT(*) {FROM} JOIN telecom.firms m USING (uscc)": "3 parties",
    "SELECT COUNT(*) FROM tax.firms t JOIN (SELECT uscc FROM bank.firms UNION ALL SELECT uscc FROM telecom.firms) x "
    "USING (uscc)": "3 parties",
    f"SELECT COUNT(*) {FROM} JOIN bank.loans l USING (uscc)": "one table of each",
    "SELECT COUNT(b.balance) FROM tax.firms t LEFT JOIN bank.firms b USING (uscc)": "LEFT JOIN",
    f"SELECT MEDIAN(b.balance) {FROM}": "quantiles",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_two_parties_cannot_do_is_refused_by_name(sql):
    error = refusal(WORLD, sql, trust="parties")
    assert error.code == "plan.trust" and REFUSED[sql] in error.message and "--trust helper" in error.advice
    assert WORLD.plan(sql).helped


COMPARED = [
    f"SELECT t.industry, COUNT(*), SUM(b.balance) {FROM} WHERE t.tax_paid < b.balance OR b.overdue > 1 "
    "GROUP BY 1 ORDER BY 1",
    f"SELECT COUNT(*), SUM(GREATEST(t.tax_paid, b.balance)) {FROM} WHERE t.exporter AND b.overdue < 2",
    f"SELECT b.grade, SUM(CASE WHEN t.tax_paid = b.overdue + 5 THEN b.balance END), COUNT(*) {FROM} "
    "GROUP BY 1 ORDER BY 1",
    f"SELECT SUM(t.tax_paid * b.balance) FILTER (WHERE b.balance > t.tax_paid), SUM(b.overdue) {FROM}",
]
#: NULLs, both rings, and everything that compares by itself
SUBTLE = [
    f"SELECT COUNT(*) FILTER (WHERE t.tax_paid = 7 AND b.balance >= t.tax_paid OR NOT t.exporter), COUNT(*) {FROM}",
    "SELECT SUM(ABS(t.tax_paid - b.balance)), SUM(LEAST(b.balance, t.tax_paid)), SUM(COALESCE(t.tax_paid, b.balance)), "
    f"SUM(NULLIF(b.balance, t.tax_paid)) {FROM} WHERE b.overdue <= 1",
    "SELECT t.industry, SUM(CASE WHEN b.overdue IN (0, 2) AND t.tax_paid BETWEEN b.overdue AND 100 "
    f"THEN t.tax_paid * b.balance END) {FROM} GROUP BY 1 HAVING COUNT(*) > 2 ORDER BY 1",
    f"SELECT SUM(CASE WHEN t.tax_paid * b.overdue > b.balance * 2 THEN 1 ELSE 0 END), COUNT(DISTINCT t.uscc) {FROM} "
    "WHERE t.tax_paid IS DISTINCT FROM b.balance",
]
COMPARED_ROWS = [
    f"SELECT b.uscc, b.balance > t.tax_paid AS more, b.balance * t.tax_paid AS x {FROM} WHERE b.overdue < 2 ORDER BY 1",
    "SELECT b.uscc, CASE WHEN 2 * b.overdue * t.tax_paid - 1 > b.balance THEN 'yes' ELSE 'no' END AS pays "
    f"{FROM} WHERE t.exporter ORDER BY 1",
]


def test_comparisons_are_computed_between_the_two():
    """And nothing else is that need not be."""
    ((_, pool),) = WORLD.plan(COMPARED[3], trust="parties").tallies
    assert pool.compared and set(pool.compared) < {s for r in pool.released for s in (*r.words, *r.entities)}
    assert not any(p.compared for sql in TOTALS for _, p in WORLD.plan(sql, trust="parties").tallies)


@pytest.mark.parametrize(
    "sql", [COMPARED[0], *(pytest.param(q, marks=pytest.mark.slow) for q in COMPARED[1:] + SUBTLE)]
)
def test_comparisons_are_exact(sql):
    plan = WORLD.plan(sql, trust="parties")
    assert not plan.helped
    found = WORLD.result(plan).rows
    expected = plaintext(sql)
    assert [tuple(map(_number, r)) for r in found] == [tuple(map(_number, r)) for r in expected]
    assert any(x for row in expected for x in row[-2:])  # else nothing is tested


@pytest.mark.parametrize("sql", COMPARED_ROWS)
def test_comparisons_in_rows_of_the_recipient(sql):
    plan = WORLD.plan(sql, trust="parties", recipients=("bank",))
    assert plan.tallies[0][1].compared
    found = [(r[0].replace("９", "9").replace("-", ""), *map(_number, r[1:])) for r in WORLD.result(plan).rows]
    expected = [(r[0], *map(_number, r[1:])) for r in plaintext(sql)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert len({r[1] for r in found}) > 1


def test_small_cells_of_comparisons_are_suppressed_as_with_a_helper():
    alone, helped = WORLD.plan(COMPARED[0], trust="parties"), WORLD.plan(COMPARED[0])
    rows = WORLD.result(alone, min_entities=3).rows
    assert rows == WORLD.result(helped, min_entities=3).rows
    assert {n is None for _, n, *_ in rows} == {True, False}


def test_comparisons_are_of_rows_whose_keys_do_not_repeat():
    sql = "SELECT COUNT(*) FROM bank.loans l JOIN tax.firms t USING (uscc) WHERE l.amount > t.tax_paid"
    error = refusal(WORLD, sql, trust="parties")
    assert error.code == "sql.unsupported" and "bank.loans.uscc may repeat" in error.message


def test_no_share_is_computed_where_no_key_met():
    sql = COMPARED_ROWS[0].replace("b.overdue < 2", "b.overdue > 99")
    plan, trace = traced(sql, recipients=("bank",))
    assert WORLD.result(plan).rows == ()
    assert not any("/compared/" in m.step for m in trace.sent)


WEIGHED = [
    f"SELECT b.uscc, 3 * t.tax_paid * b.balance - b.overdue * t.tax_paid + t.tax_paid + b.balance + 1 AS score {FROM}",
    f"SELECT b.uscc, CASE WHEN b.overdue > 0 THEN t.tax_paid END AS paid {FROM} WHERE t.exporter",
    f"SELECT b.uscc, t.exporter, b.balance * t.tax_paid AS x, b.overdue * CASE WHEN t.exporter THEN 1 ELSE 0 END AS y "
    f"{FROM} WHERE b.overdue < 2",
]


@pytest.mark.parametrize("sql", WEIGHED)
def test_weights_and_features_stay_apart(sql):
    plan = WORLD.plan(sql, trust="parties", recipients=("bank",))
    ((_, pool),) = plan.tallies
    assert pool.by_row and pool.weighed and pool.ciphertexts
    found = [(r[0].replace("９", "9").replace("-", ""), *map(_number, r[1:])) for r in WORLD.result(plan).rows]
    expected = [(r[0], *map(_number, r[1:])) for r in plaintext(sql)]
    assert sorted(found, key=str) == sorted(expected, key=str) and found


def test_weights_are_of_rows_whose_keys_do_not_repeat():
    """Else the holder would learn how many loans the bank has with whom."""
    sql = "SELECT l.uscc, l.amount * t.tax_paid AS x FROM bank.loans l JOIN tax.firms t USING (uscc)"
    error = refusal(WORLD, sql, trust="parties", recipients=("bank",))
    assert error.code == "plan.trust" and "how often" in error.message


def test_the_holder_says_points_and_scores_only():
    _, trace = traced(WEIGHED[0], recipients=("bank",))
    steps = {m.step.split("/pair/")[1].split("/block")[0] for m in trace.said_by("tax")}
    assert steps == {"blind/points", "blind/doubled", "scores/scores"}
    steps = {m.step.split("/pair/")[1].split("/block")[0] for m in trace.said_by("bank")}
    assert steps == {"blind/points", "blind/doubled", "scores/key", "scores/weights"}


def test_explain_says_what_becomes_of_weights():
    told = render(explain(WORLD.plan(WEIGHED[0], trust="parties", recipients=("bank",)), ("bank",)))
    assert "ciphertexts of columns of bank under its key, and not the columns" in told
    assert "chosen far enough apart they tell all of it" in told and "under the recipient's key" in told


# ---- what is said, and what is told about it


def traced(sql: str, **how) -> tuple[Plan, Trace]:
    plan, trace = WORLD.plan(sql, trust="parties", **how), Trace()
    ((p, pool),) = plan.tallies
    WORLD.joined(p, pool, 3, trace)
    return plan, trace


@pytest.mark.parametrize(
    "sql",
    [
        *(TOTALS[1], TOTALS[5], TOTALS[8], BY_ROW[1], WEIGHED[0], COMPARED_ROWS[0]),
        pytest.param(COMPARED[3], marks=pytest.mark.slow),
    ],
)
def test_what_is_said_stays_within_what_is_told(sql):
    plan, trace = traced(sql, recipients=("bank",))
    ((_, pool),) = plan.tallies
    assert {m.receiver for m in trace.sent} == set(pool.parties)  # between the two, nobody else
    for sender, receiver in (pool.parties, pool.parties[::-1]):
        said = sum(decode(m.raw).words.nbytes for m in trace.sent if m.sender == sender)
        told = [t for t in pair_traffic(Pair(pool, 3)) if (t.sender, t.receiver) == (sender, receiver)]
        whole = sender == pool.sides[0].party and not pool.weighed and not pool.compared
        spare = 0 if whole else 4000 * pool.sides[1].rows
        assert 0 <= sum(t.bytes for t in told) - said <= spare  # fewer keys met than could have
        assert len([m for m in trace.sent if m.sender == sender]) <= sum(t.messages for t in told)


def test_the_page_states_what_moves():
    page = (Path(__file__).parents[3] / "docs" / "protocols" / "tally.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (group|value) side → .*, ([a-z ]+) \| ([^|]+) \|$", page, re.MULTILINE)
    plan, trace = traced(TOTALS[3])
    ((_, pool),) = plan.tallies
    t, (group, value) = (
        Pair(pool, 3).tally,
        pool.parties if pool.sides[0].party == pool.parties[0] else pool.parties[::-1],
    )
    met = plaintext(TOTALS[0])[0][0]
    sizes = {
        "N": pool.sides[0].rows, "M": pool.sides[1].rows, "S": met, "G": t.groups, "p": t.packs, "q": len(t.shown),
        "w": len(t.words), "h": len(t.more), "e": len(t.entities),
        "t": len(t.products), "k": t.places,
    }  # fmt: skip
    steps = {"blinding": ("points", "doubled"), "rows": ("key", "rows"), "totals": ("totals/totals", "entities"),
             "small cells": ("small",), "words": ("words",)}  # fmt: skip
    assert len(lines) == 6
    (said,) = re.findall(r"(\w+) messages one\nafter the other", page)
    assert (said, max(trace.depth.values())) == ("Six", 6)
    large = Tally("t", "a", "b", 1, 1 << 20, 1 << 20, (63,), 1, 64, ((None, 0),), (), 1)
    for t_, told in ((large, "rows 214 bits, 14"), (replace(large, atoms=((0, 0),)), "277 bits, 11")):
        assert told in page and told.endswith(f"{t_.slot} bits, {t_.slots}")
    for side, what, formula in lines:
        written = re.sub(r"(?<=[0-9A-Za-z)]) (?=[A-Za-z(])", " * ", formula)
        said = sum(
            decode(m.raw).words.nbytes
            for m in trace.said_by(group if side == "group" else value)
            if any(f"/{step}/" in m.step for step in steps[what])
        )
        assert said == eval(written, {"__builtins__": {}}, sizes), (side, what)  # the page's own words


def test_no_key_is_said_by_who_has_it():
    plan, trace = traced(TOTALS[1])
    ((_, pool),) = plan.tallies
    for party in pool.parties:
        matrix = WORLD.rows(pool, party)[pool.sides[party != pool.sides[0].party].name].keys.matrix
        raw = b"".join(bytes(m.raw) for m in trace.sent)
        assert not any(row.tobytes()[2:10] in raw for row in matrix)


def test_no_size_depends_on_a_constant():
    sizes = []
    for c in (1, 50, 90):
        _, trace = traced(TOTALS[1].replace("GROUP BY", f"WHERE t.tax_paid < {c} AND b.overdue < {c} GROUP BY"))
        sizes.append([(m.sender, m.step, len(m.raw)) for m in trace.sent])
    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.slow
def test_no_size_of_a_comparison_depends_on_a_constant():
    sizes = []
    for c in (1, 90):
        _, trace = traced(f"SELECT COUNT(*) {FROM} WHERE t.tax_paid < {c} AND b.balance + {c} > t.tax_paid")
        sizes.append([(m.sender, m.step, len(m.raw)) for m in trace.sent])
    assert sizes[0] == sizes[1]


def test_roles_of_a_comparison_replay_byte_for_byte():
    plan, trace = traced(COMPARED_ROWS[1], recipients=("bank",))
    ((_, pool),) = plan.tallies
    for party in pool.parties:
        session = sessions([*pool.parties, HELPER])[party]
        replay(party, pair.play(session, Pair(pool, 3), WORLD.rows(pool, party), one_core), trace.sent)


def test_of_a_comparison_only_what_was_dealt_is_said():
    """Openings, which dealt words mask, between ciphertexts; of the outcome one share."""
    _, trace = traced(COMPARED_ROWS[1], recipients=("bank",))
    for party, ciphertexts in (("bank", "answered"), ("tax", "asked")):
        steps = [m.step.split("/pair/")[1].split("/block")[0] for m in trace.said_by(party)]
        rest = {s for s in steps if not s.endswith(f"/{ciphertexts}")}
        opened = {s for s in rest if s.startswith("compared/") and s.endswith("/open")}
        others = {"compared/key", "told/0"} if party == "tax" else set()
        assert rest - opened == {"blind/points", "blind/doubled"} | others, party


def test_explain_says_what_becomes_of_comparisons():
    told = render(explain(WORLD.plan(COMPARED[0], trust="parties"), ("analyst",)))
    for words in (
        "comparisons on shares, of words the two deal each other by BFV, ",
        "uniform words and ciphertexts in place of what of tax is compared with its own columns, row by row",
        "with the conditions of both and those that compare their columns (0 where",
    ):
        assert words in told, words


def test_explain_says_who_learns_what():
    plan = WORLD.plan(TOTALS[1], trust="parties")
    told = render(explain(plan, ("analyst",)))
    for words in (
        "Trust: parties",
        "join without a helper, of which both learn the keys they share",
        "which of its own keys the table of bank has too, whatever the conditions; of the other keys there only that "
        "they are at most 25, as published",
        "which of its own keys the table of tax has too",
        "of each of the 3 groups of tax, in an order that says nothing and without labels, how many entities",
        "ciphertexts under a key of bank; neither its values nor which rows pass its conditions",
        "nothing: sums and joins like this one need no helper",
        "P9 which keys met",
    ):
        assert words in told, words


def needs(sql: str, party: str, **how) -> set[tuple[str, str, str]]:
    plan = WORLD.plan(sql, trust="parties", **how)
    assert sum(isinstance(r, MetReveal) for r in plan.reveals) == 1
    to = tuple(Recipient(r, r, ("modeler",)) for r in how.get("recipients", ("analyst",)))
    request = Request(to, {"tax": "tax", "bank": "bank"}, "review", "parties", False, dt.date(2026, 1, 1))
    found = needs_of(plan, party, request)
    return {(n.column, n.use, n.recipient.entry) for n in found if n.recipient.roles == ("party",)}


def test_each_owner_lets_the_other_know_which_keys_met():
    sql = NO_SIZES[0]
    assert needs(sql, "tax") == {("uscc", "join_reveal", "bank")}
    assert needs(sql, "bank") == {("uscc", "join_reveal", "tax")}


def test_who_holds_the_groups_lets_the_other_count_them():
    """The other's own condition can choose one entity, so the spine's conditions count as shown for single ones."""
    assert needs(TOTALS[2], "tax") == {
        ("uscc", "join_reveal", "bank"),
        ("industry", "group", "bank"),
        ("exporter", "threshold", "bank"),
    }
    assert needs(TOTALS[2], "bank") == {("uscc", "join_reveal", "tax")}
    # here the bank's rows are the groups: conditions inside a measure, and which of its values are NULL
    assert {("overdue", "threshold", "tax"), ("balance", "aggregate", "tax")} <= needs(TOTALS[6], "bank")


def test_what_is_compared_counts_as_shown_for_single_entities():
    """The value side sees how many of its entities pass in a group: with conditions of its own it could be one."""
    assert needs(COMPARED[0], "tax") == {
        ("uscc", "join_reveal", "bank"),
        ("industry", "group", "bank"),
        ("tax_paid", "threshold", "bank"),
    }
    assert needs(COMPARED[0], "bank") == {("uscc", "join_reveal", "tax")}
    # of rows the other side sees keys only, and the recipient's own conditions
    assert needs(COMPARED_ROWS[0], "bank", recipients=("bank",)) == {
        ("uscc", "join_reveal", "tax"),
        ("overdue", "threshold", "tax"),
    }


# ---- the number of keys that met, and nothing else

SIZES = [
    f"SELECT COUNT(*) {FROM}",
    f"SELECT COUNT(*) {FROM} WHERE t.exporter AND b.overdue < 2",
    f"SELECT COUNT(*) FILTER (WHERE t.exporter AND b.overdue > 0) {FROM}",
    f"SELECT COUNT(DISTINCT t.uscc), COUNT(DISTINCT t.uscc) * 2 {FROM}",
    "SELECT COUNT(DISTINCT l.uscc) FROM tax.firms t JOIN bank.loans l USING (uscc) WHERE l.open",
    "SELECT COUNT(DISTINCT t.uscc) FROM bank.loans l JOIN tax.firms t USING (uscc)",
]


def counted(sql: str, *recipients: str) -> Plan:
    plan = WORLD.plan(sql, trust="parties", recipients=recipients or ("analyst",))
    assert plan.sizes and not plan.tallies[0][1].ciphertexts
    return plan


@pytest.mark.parametrize(
    ("sql", "to"),
    [(sql, to) for sql, to in zip(SIZES, ["analyst", "tax", "bank"] * 2, strict=True)]
    + [
        pytest.param(sql, to, marks=pytest.mark.slow)
        for i, sql in enumerate(SIZES)
        for j, to in enumerate(("analyst", "tax", "bank"))
        if i % 3 != j
    ],
)
def test_a_size_alone_is_that_over_plaintext(sql, to):
    plan = counted(sql, to)
    ((_, pool),) = plan.sizes
    assert pool.asks == (to if to != "analyst" else pool.sides[0].party)
    assert pool.hides == (() if to == "analyst" else (to,))
    assert list(WORLD.result(plan).rows) == plaintext(sql)


NO_SIZES = [
    "SELECT COUNT(*) FROM bank.loans l JOIN tax.firms t USING (uscc)",  # rows, of which one key has several
    f"SELECT COUNT(*), SUM(b.overdue) {FROM}",
    f"SELECT t.industry, COUNT(*) {FROM} GROUP BY t.industry",
    f"SELECT COUNT(*) * SUM(b.overdue) {FROM}",
    f"SELECT SUM(b.overdue) {FROM}",
]


@pytest.mark.parametrize("sql", NO_SIZES)
def test_what_asks_for_more_is_none(sql):
    plan = WORLD.plan(sql, trust="parties")
    assert plan.tallies and not plan.sizes and any("which keys" in r.what for r in plan.reveals)


def test_a_size_to_both_is_hidden_by_what_either_knows():
    """18 keys met: 7 of the bank's and 12 of the tax bureau's did not."""
    plan = counted(SIZES[0], "bank", "tax")
    assert plan.sizes[0][1].hides == ("bank", "tax")
    for least, shown in ((7, True), (8, False)):
        assert WORLD.result(plan, min_entities=least).rows == ((18 if shown else None,),)


@pytest.mark.parametrize("to", ["analyst", "tax", "bank"])
def test_a_small_size_is_hidden(to):
    sql = SIZES[2]
    ((met,),) = plaintext(sql)
    plan = counted(sql, to)
    assert WORLD.result(plan, min_entities=met + 1).rows == ((None,),)
    assert (WORLD.result(plan, min_entities=met).rows == ((met,),)) or to != "analyst"


def test_a_size_that_tells_of_nearly_all_of_the_recipients_keys_is_hidden():
    """18 of 25 firms of the bank met, so 7 did not."""
    ((met,),), rows = plaintext(SIZES[0]), 25
    for to, least, shown in (("bank", 7, True), ("bank", 8, False), ("tax", 8, True), ("analyst", 8, True)):
        assert rows - met == 7
        assert WORLD.result(counted(SIZES[0], to), min_entities=least).rows == ((met if shown else None,),)
    # what its own condition leaves of the bank's keys counts
    few = f"SELECT COUNT(*) {FROM} WHERE b.overdue = 0"
    ((met,),) = plaintext(few)
    assert WORLD.result(counted(few, "bank"), min_entities=min(met, 7)).rows == ((None,),)


def test_what_a_node_must_not_let_out_is_hidden_at_all():
    ((_, pool),) = counted(SIZES[0], "tax").sizes
    for party in pool.parties:
        rows = {i: WORLD.rows(pool, i) for i in pool.parties}
        for name, mine in rows[party].items():
            rows[party][name] = replace(mine, hidden=np.ones((1, 1), dtype=bool))
        members = sessions(list(pool.parties))
        said = run({i: pair.play(members[i], Pair(pool, 2), rows[i], one_core) for i in pool.parties})
        assert all(said[i][64][1] == 1 for i in pool.parties)  # both add noise


@pytest.mark.parametrize("sql", [SIZES[1], SIZES[4]])
@pytest.mark.parametrize("to", ["analyst", "bank"])
def test_what_a_size_says_stays_within_what_is_told(sql, to):
    plan, trace = counted(sql, to), Trace()
    ((p, pool),) = plan.sizes
    WORLD.joined(p, pool, 3, trace)
    assert {m.receiver for m in trace.sent} == set(pool.parties)
    for sender in pool.parties:
        said = [m for m in trace.sent if m.sender == sender]
        for j in (Pair(pool, 3), Pair(pool, pool.most)):
            told = [t for t in pair_traffic(j) if t.sender == sender]
            assert len(said) <= sum(t.messages for t in told)
            more = sum(t.bytes for t in told) - sum(decode(m.raw).words.nbytes for m in said)
            assert more == 0 if j.least == 3 else more > 0  # known at the time, and before limits are


def test_no_size_of_a_size_depends_on_a_constant():
    sizes = []
    for c in (1, 90):
        plan, trace = counted(f"SELECT COUNT(*) {FROM} WHERE t.tax_paid < {c} AND b.overdue < {c}"), Trace()
        ((p, pool),) = plan.sizes
        WORLD.joined(p, pool, 3, trace)
        sizes.append([(m.sender, m.step, len(m.raw)) for m in trace.sent])
    assert sizes[0] == sizes[1]


def test_a_size_needs_join_and_no_join_reveal():
    for party, other in (("tax", "bank"), ("bank", "tax")):
        found = _needs(counted(SIZES[1]), party)
        assert found == {
            (column, use, reader)
            for reader in (other, "modeler:analyst")
            for column, use in (
                ("uscc", "join"),
                ("exporter" if party == "tax" else "overdue", "filter"),
                *([("uscc", "aggregate")] if reader != other else []),
            )
        }


def test_a_recipient_of_the_two_needs_no_more_since_nearly_all_is_hidden():
    """With a helper nothing hides that all of its keys met, and it needs join_reveal."""
    plan = counted(SIZES[0], "bank")
    assert {use for _, use, _ in _needs(plan, "tax", "bank")} == {"join", "aggregate"}
    helped = WORLD.plan(SIZES[0], recipients=("bank",))
    assert "join_reveal" in {use for _, use, _ in _needs(helped, "tax", "bank")}
    # a person of the bank's is no side of the join, for whom nothing more is hidden
    plan = counted(SIZES[0], "analyst")
    of_bank = Recipient("analyst", "bank", ("modeler",))
    assert "join_reveal" in {use for _, use, _ in _needs(plan, "tax", of_bank)}


def _needs(plan: Plan, party: str, to: str | Recipient = "analyst") -> set[tuple[str, str, str]]:
    recipient = to if isinstance(to, Recipient) else Recipient(to, to, ("modeler" if to == "analyst" else "party",))
    request = Request((recipient,), {"tax": "tax", "bank": "bank"}, "review", "parties", False, dt.date(2026, 1, 1))
    return {(n.column, n.use, n.recipient.entry) for n in needs_of(plan, party, request)}


def test_explain_says_that_neither_learns_which():
    told = render(explain(counted(SIZES[0], "bank"), ("bank",)))
    for words in (
        "bank counts the keys that met and neither learns which",
        "not which of its own are among them",
        "or of the keys of bank fewer than that did not",
        "P9 how many keys met",
    ):
        assert words in told, words
    assert "plus one that" not in told  # it receives the very number
    told = render(explain(counted(SIZES[0]), ("analyst",)))
    assert "the number of keys that met plus one that tax draws below 64" in told
    assert "which of its own keys the table" not in told


def test_the_page_states_what_a_size_moves():
    page = (Path(__file__).parents[3] / "docs" / "protocols" / "tally.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (asking|answering) side → .*, ([a-z]+) \| ([^|]+) \|$", page, re.MULTILINE)
    plan, trace = counted(SIZES[0], "bank"), Trace()
    ((p, pool),) = plan.sizes
    WORLD.joined(p, pool, 3, trace)
    asks, answers = ("bank", "tax")
    sizes = {"N": 25, "M": 30, "D": size.EXTRA, "e": 3}
    steps = {"counting": ("counted",), "testing": ("tested",)}
    assert len(lines) == 4
    for side, what, formula in lines:
        written = re.sub(r"(?<=[0-9A-Za-z)]) (?=[A-Za-z(])", " * ", formula)
        said = sum(
            decode(m.raw).words.nbytes
            for m in trace.said_by(asks if side == "asking" else answers)
            if any(f"/{step}/" in m.step for step in steps[what])
        )
        assert said == eval(written, {"__builtins__": {}}, sizes), (side, what)


def test_no_size_of_several_parties_or_with_a_helper():
    assert not WORLD.plan(SIZES[0]).sizes
    error = refusal(WORLD, f"SELECT COUNT(*) {FROM} JOIN telecom.firms m USING (uscc)", trust="parties")
    assert error.code == "plan.trust"
