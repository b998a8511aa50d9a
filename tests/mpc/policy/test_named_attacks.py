"""The attacks that issue and design name, from SQL to the code that stops them (or the cell that is spoiled).

Each docstring says what the attacker does and which rule is in its way. What is attacked stands in attacked.py;
weights, many numbers and roundings are attacked in files of their own (test_*_attacks.py).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from mpc.errors import LocalError
from mpc.policy.differencing import spoil
from mpc.policy.flow import ContributorSet, Limits, check, contributor_sets_conflict
from mpc.policy.grants import parse_policy
from parties.node.behind import carried, measured
from tests.mpc.policy.attacked import (
    JOINED,
    PLAIN,
    TAX,
    asked,
    behind,
    hidden,
    judged,
    keyed,
    no_limits,
    plan,
    stopped,
    uses_missing,
    with_uses,
    world,
)
from tests.mpc.query.world import World, held, integer, text


def test_the_plain_statistic_passes() -> None:
    """Nothing below is refused because the grants give nothing at all."""
    assert judged("SELECT region, SUM(balance) FROM bank.firms GROUP BY region") == Limits(10, 1)
    assert not any(hidden("SELECT SUM(balance) FROM bank.firms")[0])


# ---- what flows where


def test_aggregate_only_column_reaches_a_row_output() -> None:
    """Asks for each firm's balance: a value of single entities needs `row`, however freely totals are granted."""
    error = stopped("SELECT t.uscc, b.balance FROM tax.firms t JOIN bank.firms b USING (uscc)", to=TAX)
    assert ("balance", "row") in uses_missing(error)


def test_filter_column_that_was_never_granted() -> None:
    """Chooses the summed firms by a column granted for sums only: who is counted tells about it."""
    assert uses_missing(stopped("SELECT SUM(balance) FROM bank.firms WHERE debt > 50")) == {("debt", "filter")}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT SUM(balance) FILTER (WHERE debt > 50) FROM bank.firms",
        "SELECT SUM(CASE WHEN debt > 50 THEN balance ELSE 0 END) FROM bank.firms",
        "SELECT COUNT_IF(debt > 50) FROM bank.firms",
        "SELECT SUM(NULLIF(balance, debt)) FROM bank.firms",
    ],
)
def test_filter_in_another_dress(sql: str) -> None:
    """FILTER, CASE, COUNT_IF and NULLIF choose as WHERE does, and need `filter` like it."""
    assert ("debt", "filter") in uses_missing(stopped(sql))


def test_case_that_encodes_a_value_into_a_label() -> None:
    """Groups by a CASE over an aggregate-only column: the label that a row falls under shows it. Needs `group`."""
    sql = "SELECT CASE WHEN debt > 50 THEN 'deep' ELSE 'fine' END AS l, COUNT(*) FROM bank.firms GROUP BY l"
    assert ("debt", "group") in uses_missing(stopped(sql))


def test_cancelling_arithmetic() -> None:
    """Adds SUM(b.x - b.x + t.y), so that the bank counts as a contributor and adds nothing: what cancels is gone before
    contributors are counted, and one institution's sum to another contributor is no pooled total."""
    sql = "SELECT SUM(v) FROM (SELECT balance - balance AS v FROM bank.firms UNION ALL SELECT paid AS v FROM tax.firms)"
    for reveal in plan(sql).reveals:
        if reveal.what.startswith("SUM"):
            assert reveal.contributors == ("tax",)


def test_conditions_read_off_the_sizes_of_groups() -> None:
    """The tax bureau joins without a helper, where it counts the entities of each group, and picks one firm by a
    condition of its own: 1 or 0 says what the bank's condition says of that firm, whoever receives the result and
    whatever min_entities hides. So it is a condition shown of single firms, and needs `threshold`."""
    sql = f"SELECT b.region, COUNT(*) {JOINED} WHERE b.listed AND t.uscc = 'firm-000' GROUP BY b.region"
    the_plan = world().plan(sql, trust="parties")

    def missing(*uses: str) -> set[tuple[str, str]]:
        with pytest.raises(LocalError) as caught:
            check(the_plan, "bank", parse_policy(with_uses(*uses)), asked())
        assert all(m["to"] == ["tax"] for m in caught.value.facts["missing"])
        return uses_missing(caught.value)

    granted = ("join", "aggregate", "filter", "group")
    assert missing(*granted) == {("uscc", "join_reveal"), ("listed", "threshold")}
    assert missing(*granted, "join_reveal") == {("listed", "threshold")}
    check(the_plan, "bank", parse_policy(with_uses(*granted, "join_reveal", "threshold")), asked())
    # with a helper the tax bureau sees no size, and no more than the totals is needed
    check(world().plan(sql), "bank", parse_policy(with_uses(*granted)), asked(trust="helper"))


def test_huge_weights() -> None:
    """Adds 10^4 · balance + paid: the high digits would be the bank's, the low ones the tax bureau's."""
    sql = "SELECT (SELECT SUM(balance) FROM bank.firms) * 10000 + (SELECT SUM(paid) FROM tax.firms)"
    with pytest.raises(LocalError) as caught:
        plan(sql)
    assert caught.value.code == "plan.unsafe_weights"


def test_sums_that_combine_into_one_partys() -> None:
    """Asks for a + b and a - b: no weight is large, and half their sum is the bank's."""
    part = "(SELECT SUM(balance) FROM bank.firms) {} (SELECT SUM(paid) FROM tax.firms)"
    with pytest.raises(LocalError) as caught:
        plan(f"SELECT {part.format('+')} AS p, {part.format('-')} AS m")
    assert caught.value.code == "plan.unsafe_weights"


# ---- single entities in a total


def test_groups_of_single_entities_by_case() -> None:
    """Groups firms so that each label has one: with every use granted, cells below min_entities are spoiled."""
    policy = with_uses("group", "filter")
    sql = "SELECT CASE WHEN uscc = 'firm-007' THEN 'it' ELSE 'rest' END AS l, SUM(balance) FROM bank.firms GROUP BY l"
    assert judged(sql, policy).min_entities == 10
    assert sorted(hidden(sql)[1]) == [False, True]


@pytest.mark.parametrize(
    "value",
    [
        "CASE WHEN uscc = 'firm-007' THEN balance ELSE 0 END",
        "CASE WHEN uscc = 'firm-007' THEN balance END",
        "CASE WHEN uscc = 'firm-007' THEN balance ELSE 1 END",
        "balance * CAST(uscc = 'firm-007' AS INTEGER)",
    ],
)
def test_case_on_one_id(value: str) -> None:
    """Sums a value that is one firm's and 0 for all others: entities are those for which the measure itself shows a
    value, not those of the cell."""
    assert hidden(f"SELECT SUM({value}) FROM bank.firms")[0] == [True]


def test_one_large_firm() -> None:
    """Thirty firms in the cell, one of them nearly all of it: max_share spoils it, shifted by constants or not."""
    rows = [("firm", "north", 10_000, 0, False), *((f"f{i}", "north", 1, 0, False) for i in range(29))]
    w = World((held("bank", "firms", world().tables[0].table.columns, rows),))
    for value in ("balance", "balance + 5000", "2 * balance - 1"):
        assert w.dominated(w.plan(f"SELECT SUM({value}) FROM bank.firms"), 0, "bank", "0.9")[-1] == [True]


def test_total_beside_a_table_with_a_large_firm() -> None:
    """Takes the shown regions from the total, before or after, and has the one in which a firm is nearly all: beside it
    another region is hidden, though nobody has asked for the total yet. With one firm nearly all of the total, none."""

    def shown(large: int) -> list[bool]:
        rows = [
            ("large", "north", large, 0, False),
            *((f"f{i}", ("north", "south")[i % 2], 100, 0, False) for i in range(60)),
        ]
        w = World((held("bank", "firms", world().tables[0].table.columns, rows),))
        the_plan = w.plan("SELECT region, SUM(balance) FROM bank.firms GROUP BY region")
        (query,) = (s.behind for s in the_plan.pools[0].sources)
        answer = w.local("bank").behind(query.sql)
        largest = carried(the_plan.pools[0], query, answer, Decimal("0.6"))
        filled = w.filled(the_plan, 0, "bank", min_entities=10)
        filled = filled.spoiling([c.dominated(the_plan.pools[0].cells) for c in largest])
        found = measured(the_plan.pools[0], query, answer, filled, lambda x: x, lambda a, b: a ^ b, largest)
        hidden, _ = spoil(found, {}, no_limits(), 10)
        return (filled.small[-1] | hidden[-1]).tolist()[:2]

    assert shown(3_000) == [False, False]
    assert shown(5_500) == [True, True]
    assert shown(9_900) == [True, False]


def test_one_large_firm_behind_a_condition() -> None:
    """The same among small ones, dressed as a sum in which others seem as large: what is NULL adds nothing."""
    rows = [
        ("firm", "north", 9_000, 0, False),
        *((f"f{i}", "south" if i % 2 else "north", 8_000 * (i % 2) + 1, 0, False) for i in range(39)),
    ]
    w = World((held("bank", "firms", world().tables[0].table.columns, rows),))
    sql = "SELECT SUM(balance + CASE WHEN region = 'north' THEN 0 END) FROM bank.firms"
    assert w.dominated(w.plan(sql), 0, "bank", "0.9")[-1] == [True]


@pytest.mark.parametrize(
    "value", ["b.balance", "b.balance + t.paid", "2 * b.balance - t.paid", "b.balance * 1", "b.balance * t.one"]
)
def test_one_large_firm_over_a_join(value: str) -> None:
    """Thirty firms in the cell of a join, one of them nearly all of a column: it is hidden, whatever is added to it,
    and though nobody knows which firms met."""
    bank = [text("uscc", key=True), integer("balance", 0, 10_000)]
    tax = [text("uscc", key=True), integer("paid", 0, 10_000), integer("one", 0, 9)]
    names = [f"f{i}" for i in range(30)]
    w = World(
        (
            keyed(held("bank", "firms", bank, [(f, 10_000 if i == 3 else 1) for i, f in enumerate(names)])),
            keyed(held("tax", "firms", tax, [(f, 400 + i, 1) for i, f in enumerate(names)])),
        )
    )
    the_plan = w.plan(f"SELECT SUM({value}) AS s {JOINED}")
    assert not w.result(the_plan, min_entities=10).suppressed[0]
    assert w.result(the_plan, min_entities=10, most=900).suppressed == (("s",),)


# ---- presence and order


def test_presence_of_rows() -> None:
    """Asks for its own column only, row by row over a join: that a row is there shows that the bank has the firm. Needs
    the bank's `join_reveal`; and its condition needs `threshold`."""
    error = stopped("SELECT t.uscc FROM tax.firms t JOIN bank.firms b USING (uscc) WHERE b.debt > 50", to=TAX)
    assert {("uscc", "join_reveal"), ("debt", "threshold")} <= uses_missing(error)


def test_order_of_rows() -> None:
    """Orders its own rows by the bank's column, which it does not show: needs what showing it would."""
    with pytest.raises(LocalError) as caught:
        judged("SELECT t.uscc FROM tax.firms t JOIN bank.firms b USING (uscc) ORDER BY b.balance", to=TAX)
    assert caught.value.code in ("policy.refused", "sql.unsupported")


def test_having_that_tests_a_column_never_shown() -> None:
    """Which groups there are derives from HAVING: its total is a revealed value of its own."""
    error = stopped("SELECT region, COUNT(*) FROM bank.firms GROUP BY region HAVING SUM(CAST(listed AS INTEGER)) > 0")
    assert "listed" in {c for c, _ in uses_missing(error)}


# ---- names and errors


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT b FROM bank.firms b",
        "SELECT MAX(b::VARCHAR) FROM bank.firms b",
        "SELECT COUNT(DISTINCT b) FROM bank.firms b",
        "SELECT MAX(COLUMNS('bal.*')) FROM bank.firms",
        "SELECT * FROM bank.firms",
        "SELECT to_json(b) FROM bank.firms b",
    ],
)
def test_whole_row_references(sql: str) -> None:
    """Names a table where a column is due, so that DuckDB would hand over whole rows: every name resolves to a catalog
    column, or the query is refused."""
    with pytest.raises(LocalError) as caught:
        plan(sql)
    assert caught.value.code.startswith("sql.")


@pytest.mark.parametrize("value", ["error(uscc)", "1 / 0", "CAST(uscc AS INTEGER)", "balance // (debt - debt)"])
def test_value_dependent_errors(value: str) -> None:
    """Makes the bank's query fail if some value is there: what could fail is refused, or NULL in place of failing."""
    w = world()
    try:
        the_plan = w.plan(f"SELECT SUM({value}) FROM bank.firms")
    except LocalError as refused:
        assert refused.code.startswith(("sql.", "plan."))
        return
    answer = w.answer(the_plan, 0, "bank")
    assert len(answer["m0e"]) == 1


# ---- the recipient's own column


def test_exact_sums_of_the_recipients_own_column_over_others_selection() -> None:
    """Receives sums of its own values over the firms that the bank has: they give the set away, so the bank's
    `join_reveal` is needed, as for rows; and `threshold` for the bank's condition."""
    policy = with_uses("join", "filter")
    error = stopped(f"SELECT SUM(t.paid) {JOINED} WHERE b.debt > 50", policy, TAX)
    assert {("uscc", "join_reveal"), ("debt", "threshold")} <= uses_missing(error)


def test_threshold_repeated_until_it_is_the_value() -> None:
    """Asks of each firm debt > 1, debt > 2, debt > 4 …: each condition is a bit, and a grant gives max_bits of them in
    thirty days (tests/mpc/policy/test_flow.py for those of other jobs)."""
    halves = ", ".join(f"CASE WHEN b.debt > {2**i} THEN 'y' ELSE 'n' END AS c{i}" for i in range(8))
    policy = with_uses("join", "join_reveal", "threshold")
    error = stopped(f"SELECT t.uscc, {halves} FROM tax.firms t JOIN bank.firms b USING (uscc)", policy, TAX)
    assert error.facts["missing"][0]["reasons"] == ["bits"]


# ---- several totals


def test_totals_over_different_sets_of_contributors() -> None:
    """a + b, b + c, a + c give a: over one snapshot a column enters totals with one set of contributors."""
    first = ContributorSet("firms", "balance", frozenset({"bank", "telecom"}), "today")
    sql = "SELECT (SELECT SUM(balance) FROM bank.firms) + (SELECT SUM(paid) FROM tax.firms)"
    with pytest.raises(LocalError) as caught:
        contributor_sets_conflict([first], plan(sql), "bank", parse_policy(PLAIN), asked(), "today")
    assert caught.value.code == "policy.contributors"


@pytest.mark.parametrize(
    "second",
    [
        "SELECT SUM(balance) FROM bank.firms WHERE uscc <> 'firm-007'",
        "SELECT SUM(balance + debt) FROM bank.firms WHERE uscc <> 'firm-007'",
        "SELECT SUM(2 * balance + 5) FROM bank.firms WHERE uscc <> 'firm-007'",
        "SELECT SUM(CASE WHEN listed THEN NULL ELSE balance END) FROM bank.firms",
        "SELECT AVG(balance) FROM bank.firms WHERE NOT listed",
        "SELECT VARIANCE(balance) FROM bank.firms WHERE NOT listed",
        "SELECT COUNT(*) FROM bank.firms WHERE uscc <> 'firm-007'",
        "SELECT COUNT(DISTINCT debt) FROM bank.firms WHERE NOT listed",
        "SELECT SUM(debt) FROM bank.firms WHERE uscc <> 'firm-007'",
    ],
)
def test_differencing(second: str) -> None:
    """Asks for the total of all, then of all but one firm, in whatever dress: the release ledger spoils the second.

    That of another column too: the count that goes with every sum is compared as well.
    """
    known: dict[Any, Any] = {}
    spoil(behind("SELECT SUM(balance) FROM bank.firms"), known, no_limits(), 10)
    found, _ = spoil(behind(second), known, no_limits(), 10)
    assert any(f.any() for f in found)


@pytest.mark.parametrize("first", ["SELECT SUM(balance) FROM bank.firms", f"SELECT SUM(t.paid) {JOINED}"])
@pytest.mark.parametrize(
    "second",
    [
        f"SELECT SUM(b.balance) {JOINED} WHERE b.uscc <> 'firm-007'",
        f"SELECT SUM(t.paid) {JOINED} WHERE NOT b.listed",
        f"SELECT SUM(CASE WHEN b.listed THEN 0 ELSE t.paid END) {JOINED}",
        f"SELECT COUNT(*) FILTER (WHERE NOT b.listed) {JOINED}",
        f"SELECT t.staff, SUM(t.paid) {JOINED} WHERE b.uscc <> 'firm-007' GROUP BY t.staff",
        f"SELECT AVG(b.balance * t.paid) {JOINED} WHERE b.uscc <> 'firm-007' AND t.staff < 9",
    ],
)
def test_differencing_over_joins(first: str, second: str) -> None:
    """Asks for the total over a join, then without one of the bank's firms, or tells it by a join from a total without
    one: the bank's node hides the second, whoever's values they are. (It knows its own side only: docs/policy.md.)"""
    known: dict[Any, Any] = {}
    spoil(behind(first), known, no_limits(), 10)
    found, _ = spoil(behind(second), known, no_limits(), 10)
    assert any(f.any() for f in found)
    assert not any(f.any() for f in spoil(behind(first), known, no_limits(), 10)[0])  # the same question again


def test_total_over_a_join_beside_a_table_with_a_hidden_cell() -> None:
    """Takes the shown cells of a join from its total: where a cell is too small at the bank alone, as it knows."""
    few = f"SELECT CASE WHEN b.balance < 103 THEN 'few' ELSE 'rest' END AS l, SUM(t.paid) {JOINED} GROUP BY l"
    known: dict[Any, Any] = {}
    spoil(behind(few), known, no_limits(), 10)
    found, _ = spoil(behind(f"SELECT SUM(t.paid) {JOINED}"), known, no_limits(), 10)
    assert found[0].tolist() == [True]


def test_differencing_within_one_query() -> None:
    """Both totals in one SELECT."""
    both = behind("SELECT SUM(balance), SUM(balance) FILTER (WHERE NOT listed) FROM bank.firms")
    found, _ = spoil(both, {}, no_limits(), 10)
    assert sorted(bool(f.any()) for f in found) == [False, True]


def test_total_beside_a_table_with_a_hidden_cell() -> None:
    """Takes the shown cells from the total: it is spoiled, since all shown cells together come too close to it."""
    rest = "SELECT CASE WHEN balance < 103 THEN 'few' ELSE 'rest' END AS l, SUM(debt) FROM bank.firms GROUP BY l"
    known: dict[Any, Any] = {}
    spoil(behind(rest), known, no_limits(), 10)
    found, _ = spoil(behind("SELECT SUM(debt) FROM bank.firms"), known, no_limits(), 10)
    assert found[0].tolist() == [True]
