"""Many numbers over one population, which are solved for its values: ``max_numbers`` counts them in any dress."""

from __future__ import annotations

import pytest

from mpc.policy.differencing import spoil
from mpc.policy.numbers import Numbers
from tests.mpc.policy.attacked import JOINED, PLAIN, behind, judged, stopped, uses_missing


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
