"""The attacks that issue and design name, from SQL to the code that stops them (or the cell that is spoiled).

Each docstring says what the attacker does and which rule is in its way. The owner is ``bank``; ``tax`` and ``telecom``
are others, and the analyst receives. The grants give what an ordinary statistic needs: totals of ``balance`` and
``debt`` by ``region``, nothing about single firms.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from mpc.errors import LocalError
from mpc.policy.differencing import Measured, spoil
from mpc.policy.flow import ContributorSet, Limits, Recipient, Request, check, contributor_sets_conflict
from mpc.policy.grants import parse_policy
from mpc.policy.numbers import Numbers
from mpc.policy.populations import Words
from mpc.policy.rounding import round_words
from mpc.query.layout import column_sums
from mpc.query.plan import Plan
from mpc.query.plan_joins import JoinPool
from mpc.ring import ring
from parties.node.behind import carried, measured, measured_side
from tests.mpc.policy.plans import ANALYST, TODAY
from tests.mpc.query.world import Held, World, boolean, held, integer, text

PLAIN = """
[[grant]]
table = "firms"
columns = ["balance", "debt", "uscc"]
to = ["analyst", "tax"]
uses = ["aggregate", "arithmetic"]
approval = "auto"
[[grant]]
table = "firms"
columns = ["region"]
to = ["analyst", "tax"]
uses = ["group", "filter"]
approval = "auto"
"""
TAX = Recipient("tax", "tax", ("party",))
JOINED = "FROM bank.firms b JOIN tax.firms t USING (uscc)"


def world(firms: int = 30) -> World:
    def named(i: int) -> str:
        return f"firm-{i:03d}"

    bank = [text("uscc", key=True), text("region", "north", "south"), integer("balance", 0, 10_000)]
    bank += [integer("debt", 0, 10_000), boolean("listed")]
    bank_rows = [(named(i), ("north", "south")[i % 2], 100 + i, 3 * i, i == 0) for i in range(firms)]
    paid = [text("uscc", key=True), integer("paid", 0, 10_000), integer("staff", 0, 100)]
    paid_rows = [(named(i), 50 + i, i % 5) for i in range(firms)]
    return World(
        (
            keyed(held("bank", "firms", bank, bank_rows)),
            keyed(held("tax", "firms", paid, paid_rows)),
            held("telecom", "firms", [text("uscc", key=True), integer("spend", 0, 10_000)], [(named(0), 1)]),
        )
    )


def keyed(table: Held) -> Held:
    """The same table, each key once."""
    return replace(table, table=replace(table.table, unique=True))


def plan(sql: str, recipient: str = "analyst") -> Plan:
    return world().plan(sql, recipients=(recipient,))


def asked(to: Recipient = ANALYST, trust: str = "parties") -> Request:
    return Request((to,), {p: p for p in ("bank", "tax", "telecom")}, "", trust, False, TODAY)


def judged(sql: str, policy: str = PLAIN, to: Recipient = ANALYST) -> Limits:
    """What the bank's own node says. Raises LocalError."""
    the_plan = plan(sql, to.name)
    return check(the_plan, "bank", parse_policy(policy), asked(to, the_plan.trust))


def stopped(sql: str, policy: str = PLAIN, to: Recipient = ANALYST) -> LocalError:
    with pytest.raises(LocalError) as caught:
        judged(sql, policy, to)
    return caught.value


def uses_missing(error: LocalError) -> set[tuple[str, str]]:
    assert error.code == "policy.refused"
    return {(c, m["use"]) for m in error.facts["missing"] for c in m["columns"]}


def with_uses(*uses: str) -> str:
    """The plain grants, and these uses of all columns besides."""
    listed = ", ".join(f'"{u}"' for u in uses)
    return f'{PLAIN}[[grant]]\ntable = "firms"\ncolumns = ["*"]\nto = "any"\nuses = [{listed}]\napproval = "auto"\n'


def hidden(sql: str, least: int = 10) -> list[list[bool]]:
    """Of each measure and cell whether the bank spoils it for the number of its entities."""
    filled = world().filled(plan(sql), 0, "bank", min_entities=least)
    return [list(map(bool, s)) for s in filled.small]


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
    "value",
    ["b.balance", "b.balance + t.paid", "2 * b.balance - t.paid", "b.balance * 1", "b.balance * t.one"],
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


# ---- weights of another owner's making


@pytest.mark.parametrize("weight", ["t.staff", "CASE WHEN t.staff > 2 THEN 1024 ELSE 1 END"])
def test_chosen_weights(weight: str) -> None:
    """Multiplies balances by a column it fills with 2^i, so that one sum shows all of them bit by bit: needs `product`,
    which no preset for statistics gives."""
    error = stopped(f"SELECT SUM(b.balance * {weight}) {JOINED}", with_uses("join", "aggregate", "arithmetic"))
    assert ("balance", "product") in uses_missing(error)


def test_case_of_another_owner_on_one_id() -> None:
    """The same by a CASE on another's key that is true for one firm: choosing is multiplying by 0 and 1."""
    sql = f"SELECT SUM(CASE WHEN t.staff = 4 THEN b.balance ELSE 0 END) {JOINED}"
    assert ("balance", "product") in uses_missing(stopped(sql, with_uses("join", "aggregate", "arithmetic")))


@pytest.mark.parametrize("power", ["balance * balance", "balance * balance * balance"])
def test_power_sums(power: str) -> None:
    """Σx, Σx², … Σx^k over k firms are solved for their values: powers need `arithmetic`, which plain totals do
    without; and an owner that grants it lets `max_numbers` out of one population, in one job or in several."""
    plain = PLAIN.replace(', "arithmetic"', "")
    assert ("balance", "arithmetic") in uses_missing(stopped(f"SELECT SUM({power}) FROM bank.firms", plain))
    two = PLAIN.replace('columns = ["balance"', 'max_numbers = 2\ncolumns = ["balance"')
    assert judged(f"SELECT SUM(balance), SUM({power}) FROM bank.firms", two).max_numbers[("firms", "balance")] == 2
    error = stopped("SELECT SUM(balance), SUM(balance + 1), SUM(1 - 3 * balance) FROM bank.firms", two)
    assert error.facts["missing"][0]["reasons"] == ["numbers"]


@pytest.mark.parametrize(
    "disguised",
    [
        "SELECT SUM(balance * balance * balance) FROM bank.firms",
        "SELECT SUM(balance + 1) FROM bank.firms",
        "SELECT SUM(balance * debt) FROM bank.firms",
        "SELECT SUM(2 * balance) FROM bank.firms WHERE region IN ('north', 'south')",
        "SELECT SUM(CASE WHEN region = 'north' THEN balance ELSE 3 * balance END) FROM bank.firms",
        "SELECT SUM(x) FROM (SELECT balance AS x FROM bank.firms WHERE region = 'north' UNION ALL "
        "SELECT 5 * balance FROM bank.firms WHERE region = 'south')",
        "SELECT COUNT(DISTINCT balance) FROM bank.firms",
    ],
)
def test_one_number_more_over_one_population(disguised: str) -> None:
    """Asks job by job for numbers over the same firms, each in another dress: beyond `max_numbers` they are spoiled,
    and what was let out before is answered again."""
    numbers = Numbers({("firms", "balance"): 2}, lambda what, value: f"{what} {value}".encode(), lambda *_: ())
    plain, squares = "SELECT SUM(balance) FROM bank.firms", "SELECT SUM(balance * balance) FROM bank.firms"
    for sql, hidden in ((plain, False), (squares, False), (disguised, True), (plain, False), (squares, False)):
        spoiled, _ = spoil(behind(sql), {}, numbers, 10)
        assert [f.tolist() for f in spoiled][-1] == [hidden], sql


@pytest.mark.parametrize(
    "again",
    [
        "SELECT SUM(balance) FROM bank.firms WHERE uscc <> 'nobody'",
        "SELECT AVG(balance) FROM bank.firms",
        "SELECT (SELECT SUM(balance) FROM bank.firms) + (SELECT SUM(paid) FROM tax.firms)",
        "SELECT SUM(balance), COUNT(balance), COUNT(*) FROM bank.firms",
        "SELECT SUM(x) FROM (SELECT balance AS x FROM bank.firms WHERE region = 'north' UNION ALL "
        "SELECT balance FROM bank.firms WHERE region = 'south')",
    ],
)
def test_the_very_same_number_again_costs_nothing(again: str) -> None:
    """However it is asked for, and whatever others add to it; how many entities there are is no value of theirs."""
    numbers = Numbers({("firms", "balance"): 1}, lambda what, value: f"{what} {value}".encode(), lambda *_: ())
    for sql in ("SELECT SUM(balance) FROM bank.firms", again):
        spoiled, _ = spoil(behind(sql), {}, numbers, 10)
        assert not any(f.any() for f in spoiled)


def test_powers_of_a_table_against_those_of_its_total() -> None:
    """Σx by region gives Σx of all: the union of the shown cells is a population whose numbers are counted too."""
    numbers = Numbers({("firms", "balance"): 1}, lambda what, value: f"{what} {value}".encode(), lambda *_: ())
    by_region = "SELECT region, SUM(balance) FROM bank.firms GROUP BY region"
    assert not any(f.any() for f in spoil(behind(by_region), {}, numbers, 10)[0])
    assert not spoil(behind("SELECT SUM(balance) FROM bank.firms"), {}, numbers, 10)[0][-1].any()
    assert spoil(behind("SELECT SUM(balance * balance) FROM bank.firms"), {}, numbers, 10)[0][-1].all()


@pytest.mark.parametrize(
    "third",
    [
        f"SELECT AVG(b.balance + t.paid) {JOINED}",
        f"SELECT t.staff, SUM(b.balance) {JOINED} WHERE t.staff < 9 GROUP BY t.staff",
        f"SELECT SUM(LEAST(b.balance, t.paid)) {JOINED}",
        f"SELECT SUM(CASE WHEN t.staff > 3 THEN b.balance ELSE t.paid END) {JOINED}",
    ],
)
def test_one_number_more_over_a_join(third: str) -> None:
    """Asks job by job for numbers over the bank's firms that met: counted over those that its own conditions choose,
    together with what was let out of them without a join, and beyond `max_numbers` spoiled."""
    numbers = Numbers({("firms", "balance"): 2}, lambda what, value: f"{what} {value}".encode(), lambda *_: ())
    plain, product = "SELECT SUM(balance) FROM bank.firms", f"SELECT SUM(b.balance * t.paid) {JOINED}"
    for sql, hidden in ((plain, False), (product, False), (third, True)):
        assert any(f.all() for f in spoil(behind(sql), {}, numbers, 10)[0]) == hidden, sql


def test_what_is_no_number_over_a_join() -> None:
    """What is made of other columns, counts, and numbers over others of the bank's firms."""
    numbers = Numbers({("firms", "balance"): 1}, lambda what, value: f"{what} {value}".encode(), lambda *_: ())
    north = f"SELECT SUM(b.balance) {JOINED} WHERE b.region = 'north'"
    for sql in (f"SELECT SUM(b.balance) {JOINED}", f"SELECT SUM(t.paid), COUNT(b.balance) {JOINED}", north):
        assert not any(f.any() for f in spoil(behind(sql), {}, numbers, 10)[0]), sql


def test_more_numbers_than_allowed_in_one_join_are_refused() -> None:
    two = PLAIN.replace('columns = ["balance"', 'max_numbers = 2\ncolumns = ["balance"').replace(
        '"arithmetic"]', '"arithmetic", "join", "product"]'
    )
    three = "SUM(b.balance), SUM(b.balance * t.paid), SUM(b.balance * t.staff)"
    error = stopped(f"SELECT {three} {JOINED}", two)
    assert error.facts["missing"][0]["reasons"] == ["numbers"]
    limits = judged(f"SELECT SUM(b.balance), SUM(t.paid), SUM(b.balance * t.paid) {JOINED}", two)
    assert limits.max_numbers == {("firms", "balance"): 2}


# ---- several totals


def test_totals_over_different_sets_of_contributors() -> None:
    """a + b, b + c, a + c give a: over one snapshot a column enters totals with one set of contributors."""
    first = ContributorSet("firms", "balance", frozenset({"bank", "telecom"}), "today")
    sql = "SELECT (SELECT SUM(balance) FROM bank.firms) + (SELECT SUM(paid) FROM tax.firms)"
    with pytest.raises(LocalError) as caught:
        contributor_sets_conflict([first], plan(sql), "bank", parse_policy(PLAIN), asked(), "today")
    assert caught.value.code == "policy.contributors"


def behind(sql: str) -> list[Measured]:
    """Who is behind each of the bank's measures, with plain digests in place of keyed ones."""
    w, the_plan = world(), plan(sql)
    found = []

    def seal(entities: Words, sums: Words) -> Words:
        return (entities ^ (sums * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xC2B2AE3D27D4EB4F)

    for p, pool in enumerate(the_plan.pools):
        if isinstance(pool, JoinPool):
            for side in (s for s in pool.sides if s.party == "bank"):
                answer = w.local("bank").behind(side.query.behind.sql)
                found += measured_side(pool, side, answer, 10, lambda x: x, seal)
            continue
        for query in (s.behind for s in pool.sources if s.party == "bank"):
            filled = w.filled(the_plan, p, "bank", min_entities=10)
            found += measured(pool, query, w.local("bank").behind(query.sql), filled, lambda x: x, seal)
    return found


def no_limits() -> Numbers:
    return Numbers({}, lambda what, value: b"", lambda column, digest: ())


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


# ---- weights that pick out rows


@pytest.mark.parametrize(
    "value",
    [
        "CASE WHEN {who} THEN 2 * balance ELSE balance END",
        "CASE WHEN NOT ({who}) THEN balance ELSE 2 * balance END",
        "CASE WHEN {who} AND debt >= 0 THEN 8 ELSE 7 END",
        "balance + CASE WHEN {who} THEN debt ELSE 0 END",
        "balance + CASE WHEN {who} THEN balance ELSE 0 END",
        "balance + CAST({who} AND debt >= 0 AS INTEGER)",
        "balance * (1 + CAST({who} AS INTEGER))",
        "balance * CASE WHEN {who} THEN 2 ELSE 1 END",
        "COALESCE(CASE WHEN {who} THEN NULL ELSE balance END, 3 * balance)",
        "GREATEST(balance, {top})",
        "balance - LEAST(balance, {top})",
        "ABS(balance - {top})",
        "balance + balance // {top}",
    ],
)
def test_weights_that_pick_out_few_firms(value: str) -> None:
    """Shows a sum of all firms' values in which few weigh otherwise: beside the plain sum it shows these few. What each
    weight, and each arm of a choice, brings in is counted as a measure of its own is; many may weigh otherwise."""
    few, many = value.format(who="uscc = 'firm-007'", top=128), value.format(who="region = 'north'", top=115)
    assert hidden(f"SELECT SUM({few}) FROM bank.firms")[0] == [True]
    assert hidden(f"SELECT SUM({many}) FROM bank.firms")[0] == [False]


def test_weights_in_the_branches_of_a_union() -> None:
    """The same with a branch for the one firm and another for the rest."""
    branches = "SELECT balance AS x FROM bank.firms WHERE uscc <> '{0}' UNION ALL SELECT 2 * balance FROM bank.firms"
    assert hidden(f"SELECT SUM(x) FROM ({branches.format('firm-007')} WHERE uscc = 'firm-007')")[0] == [True]


def test_what_a_weight_picks_out_is_remembered() -> None:
    """Doubles the north, then the north but one firm: the difference is that firm's, though all are in both."""
    sql = "SELECT SUM(CASE WHEN {} THEN 2 * balance ELSE balance END) FROM bank.firms"
    known: dict[Any, Any] = {}
    first, _ = spoil(behind(sql.format("region = 'north'")), known, no_limits(), 10)
    second, _ = spoil(behind(sql.format("region = 'north' AND uscc <> 'firm-006'")), known, no_limits(), 10)
    assert (any(f.any() for f in first), any(f.any() for f in second)) == (False, True)


def test_the_rest_of_what_a_weight_picks_out() -> None:
    """Adds 1 for all but two firms: the count beside the sum gives the two away."""
    found, _ = spoil(behind("SELECT SUM(7 + CAST(debt > 5 AS INTEGER)) FROM bank.firms"), {}, no_limits(), 10)
    assert found[0].tolist() == [True]


# ---- rounded sums

ROUNDED = PLAIN.replace('columns = ["balance"', 'round_to = 1000\ncolumns = ["balance"')


def shown(sql: str) -> list[int]:
    """The words of the bank's values of each measure, in its only cell, rounded as it asks for."""
    w, the_plan = world(), plan(sql)
    found = []
    for p, pool in enumerate(the_plan.pools):
        for source in (s for s in pool.sources if s.party == "bank"):
            sums = column_sums(pool, source.rounding, w.local("bank").run(source.rounding.sql))
            filled = w.filled(the_plan, p, "bank")
            words = round_words(pool.measures, source.rounding, sums, filled, judged(sql, ROUNDED).round_to)
            for measure, of in zip(pool.measures, words.words, strict=True):
                for word, cells in zip(measure.words, of, strict=True):
                    found += ring(word.ring).to_ints(cells) if word.kind == "sum" else []
    return found


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SUM(balance)", [3000]),
        ("SUM(1000 * balance)", [3_000_000]),
        ("SUM(balance + 17)", [3000 + 17 * 30]),
        ("SUM(balance + 66)", [3000 + 66 * 30]),
        ("SUM(balance + debt), SUM(balance - debt)", [4000, 2000]),
        ("SUM(3 * balance - 2 * debt)", [7000]),
        ("AVG(balance)", [3000]),
        ("SUM(balance) + SUM(debt), SUM(balance) - SUM(debt)", [4000, 2000]),
        ("SUM(CASE WHEN region = 'north' THEN 999 * balance ELSE balance END)", [999 * 2000 + 2000]),
        ("SUM(balance) FILTER (WHERE region = 'north')", [2000]),
        ("SUM(CASE WHEN region = 'north' THEN balance ELSE 7 END)", [2000 + 7 * 15]),
        ("SUM(balance * 0.001)", [3000]),
    ],
)
def test_rounding_that_scales_and_shifts_are_to_undo(sql: str, expected: list[int]) -> None:
    """Asks for a multiple, for a sum moved over the edge of the next step, for sums and differences with another
    column: each column's own sum is rounded by itself, so that every question shows the same. Σ balance is 3435, Σ debt
    1305."""
    assert shown(f"SELECT {sql} FROM bank.firms") == expected


@pytest.mark.parametrize(
    "value",
    [
        "SUM(balance * balance)",
        "SUM((balance + 1000000) * (balance + 1000000))",
        "SUM(balance * debt)",
        "VARIANCE(balance)",
        "SUM(balance // 2)",
        "SUM(ROUND(balance, -1))",
        "SUM(CAST(balance AS INTEGER) % 1000)",
        "SUM(balance * CASE WHEN region = 'north' THEN 1 ELSE 2 END)",
        "COUNT(DISTINCT balance)",
        "SUM(NULLIF(balance, 5))",
    ],
)
def test_values_that_rounding_would_not_cover(value: str) -> None:
    """(x + c)² is x² + 2cx + c²: whatever steps its sum is shown in, c makes them fine for x. Such a grant does not
    fit."""
    error = stopped(f"SELECT {value} FROM bank.firms", ROUNDED)
    assert "rounded" in error.facts["missing"][0]["reasons"]


def test_limits_of_single_columns_are_the_strictest_of_the_grants_used_for_them() -> None:
    """Those of columns whose values are added: counting entities needs the key, and shows no value of it."""
    powers = '[[grant]]\ntable = "firms"\ncolumns = ["balance"]\nto = "any"\nuses = ["arithmetic"]\napproval = "auto"\n'
    policy = ROUNDED.replace(', "arithmetic"', "") + powers + "min_entities = 2\nmax_numbers = 3\nround_to = 0.5\n"
    found = judged("SELECT SUM(2 * balance), SUM(debt), COUNT(*) FROM bank.firms", policy)
    assert found.max_numbers == {("firms", "balance"): 3}
    assert found.round_to == {("firms", "balance"): Decimal(1000), ("firms", "debt"): Decimal(1000)}
    assert Limits.from_told(found.told()) == found


def test_more_weights_than_are_looked_at() -> None:
    """Gives each firm a weight of its own: more of them than are counted one by one are refused."""
    arms = " ".join(f"WHEN debt < {3 * i} THEN {i + 2} * balance" for i in range(60))
    with pytest.raises(LocalError) as caught:
        plan(f"SELECT SUM(CASE {arms} ELSE 0 END) FROM bank.firms")
    assert caught.value.code == "job.limits"


@pytest.mark.parametrize(
    "value", ["CASE WHEN {who} THEN 2 * b.balance ELSE b.balance END", "b.balance + CAST({who} AS INTEGER)"]
)
def test_weights_that_pick_out_few_firms_over_a_join(value: str) -> None:
    """The same over a join: what a weight picks out is compared with the rule on shares."""
    w = world()
    few, many = (value.format(who=who) for who in ("b.uscc = 'firm-007'", "b.region = 'north'"))
    for of, shown in ((few, False), (many, True)):
        sql = f"SELECT SUM({of}) AS s, COUNT(*) AS n {JOINED}"
        [row] = w.result(w.plan(sql), min_entities=10).rows
        assert row == ((w.plaintext(sql)[0][0] if shown else None), 30)
