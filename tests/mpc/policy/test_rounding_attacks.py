"""Questions that are to give back what ``round_to`` rounds away."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mpc.policy.flow import Limits
from mpc.policy.rounding import round_words
from mpc.query.layout import column_sums
from mpc.ring import ring
from tests.mpc.policy.attacked import PLAIN, judged, plan, stopped, world

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
