"""Rounded sums: the nearest multiples, within the bounds that the recipient checks."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpc.policy.rounding import round_words, rounded, step
from mpc.query.layout import Filled
from mpc.query.plan_pools import ColumnSum, Measure, Rounding, Word
from mpc.ring import ring

UNITS = st.integers(-(10**20), 10**20)


@given(UNITS, st.integers(1, 10**12))
def test_the_nearest_multiple(value: int, to: int) -> None:
    found = rounded(value, to)
    assert found % to == 0 and 2 * abs(found - value) <= to
    assert rounded(-value, to) == -found and rounded(found, to) == found


def test_steps_are_whole_units() -> None:
    assert [step(Decimal(to), 2) for to in ("1000", "0.01", "0.001", "0.015")] == [100_000, 1, 1, 2]


def words(values: list[int], low: int, high: int, weight: int = 1, rest: int = 0) -> list[int]:
    """One word of a column in every cell, ``rest`` of others besides."""
    measures = [Measure("SUM(x)", (Word("sum", 64, 0, 10**12),))]
    rounding = Rounding("", (ColumnSum(0, 0, weight, "t", "x", 0),), ((0, 0, low, high),), ())
    own = ring(64).from_ints(weight * v + rest for v in values)
    filled = Filled(((own,),), (np.zeros(len(values), dtype=bool),))
    found = round_words(measures, rounding, [values], filled, {("t", "x"): Decimal(1000)})
    return ring(64).to_ints(found.words[0][0])


@given(st.lists(st.integers(-50_000, 50_000), min_size=1), st.integers(-9, 9), st.integers(-500, 500))
def test_a_word_is_weights_times_rounded_sums_and_the_rest_as_it_is(values: list[int], weight: int, rest: int) -> None:
    found = words(values, -(10**9), 10**9, weight, rest)
    assert found == [weight * rounded(v, 1000) + rest for v in values]
    assert all(abs(f - (weight * v + rest)) <= abs(weight) * 500 for f, v in zip(found, values, strict=True))


def test_no_word_leaves_its_bounds() -> None:
    """The recipient refuses a total beyond what the catalogs allow."""
    assert words([600, 400, -700], -650, 650) == [650, 0, -650]


def test_columns_without_a_limit_are_exact() -> None:
    measures = [Measure("SUM(x)", (Word("sum", 128, 0, 10**12),))]
    rounding = Rounding("", (ColumnSum(0, 0, 1, "t", "y", 0),), ((0, 0, -(10**9), 10**9),), ())
    filled = Filled(((ring(128).from_ints([1234]),),), (np.zeros(1, dtype=bool),))
    found = round_words(measures, rounding, [[1234]], filled, {("t", "x"): Decimal(1000)})
    assert ring(128).to_ints(found.words[0][0]) == [1234]
