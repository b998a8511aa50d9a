"""Joins of two parties without a helper: SQL against DuckDB over everybody's plaintext, and what is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mpc.codec import decode
from mpc.explain import explain, render
from mpc.pair import Pair
from mpc.protocols.tally_terms import Tally
from mpc.traffic import pair_traffic
from tests.mpc.query.between_two import (
    BY_ROW,
    COMPARED,
    COMPARED_ROWS,
    FROM,
    NO_SIZES,
    TOTALS,
    WEIGHED,
    WORLD,
    needs,
    number,
    plaintext,
    traced,
)
from tests.mpc.query.world import refusal

pytestmark = pytest.mark.usefixtures("few_extras")


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


@pytest.mark.parametrize("sql", BY_ROW)
def test_rows_of_the_recipient(sql):
    plan = WORLD.plan(sql, trust="parties", recipients=("bank",))
    assert plan.trust == "parties" and plan.tallies[0][1].by_row
    found = [(r[0].replace("９", "9").replace("-", ""), *map(number, r[1:])) for r in WORLD.result(plan).rows]
    expected = [(r[0], *map(number, r[1:])) for r in plaintext(sql)]
    assert sorted(found, key=str) == sorted(expected, key=str) and found


@pytest.mark.parametrize("least", [3, 5])
def test_small_cells_are_suppressed_and_with_a_helper_too(least):
    sql = TOTALS[1].replace("GROUP BY", "WHERE b.overdue < 2 GROUP BY")
    alone, helped = WORLD.plan(sql, trust="parties"), WORLD.plan(sql)
    counts = [n for _, n, *_ in plaintext(sql)]
    some, less = (WORLD.result(plan, min_entities=least).rows for plan in (alone, helped))
    assert [n is None for _, n, *_ in some] == [n < least for n in counts]
    # with a helper a line may show less still, so that its total gives nothing back: complement.py
    assert all(y in (x, None) for one, other in zip(some, less, strict=True) for x, y in zip(one, other, strict=True))
    assert all(n is not None or m is None for (_, n, *_), (_, m, *_) in zip(some, less, strict=True))
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
