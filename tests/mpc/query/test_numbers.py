"""Checklist 15: bounds pick the ring, exclude overflow, and hold at their very ends."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import isqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.query.aggregates import ROW_CAP
from mpc.query.bounds import LIMIT
from mpc.query.evaluate import sqrt_double, to_double
from mpc.query.layout import fill
from mpc.query.separate import MAX_WORDS
from tests.mpc.query.questions import root_of
from tests.mpc.query.world import World, decimal, held, integer, refusal

PARTIES = ("a", "b", "c")


def world(low: int, high: int, values: Sequence[int | None] = (), parties: Sequence[str] = PARTIES) -> World:
    return World(tuple(held(p, "t", [integer("x", low, high)], [(v,) for v in values]) for p in parties))


def union(what: str, parties: Sequence[str] = PARTIES) -> str:
    return f"SELECT {what} FROM ({' UNION ALL '.join(f'SELECT x FROM {p}.t' for p in parties)}) AS u"


@pytest.mark.parametrize(
    ("high", "ring"),
    [(2**31 // 3, 64), ((2**63 - 1) // (3 * ROW_CAP), 64), ((2**63 - 1) // (3 * ROW_CAP) + 1, 128), (10**25, 128)],
)
def test_the_smallest_ring_that_holds_every_total(high: int, ring: int) -> None:
    word = world(-high, high).plan(union("SUM(x)")).pools[0].measures[0].words[0]
    assert (word.ring, word.bound) == (ring, 3 * high * ROW_CAP)


def test_totals_of_39_digits_are_refused() -> None:
    most = (LIMIT - 1) // ROW_CAP
    assert world(0, most, parties=["a"]).plan("SELECT SUM(x) FROM a.t").pools[0].measures[0].words[0].ring == 128
    for low, high, sql in (
        (0, most + 1, "SELECT SUM(x) FROM a.t"),
        (-most - 1, 0, "SELECT SUM(x) FROM a.t"),
        (0, isqrt(most) + 1, "SELECT VARIANCE(x) FROM a.t"),
        (0, most // 2 + 1, "SELECT SUM(x + x) FROM a.t"),
        (0, most, union("SUM(x)")),
    ):
        e = refusal(world(low, high), sql)
        assert e.code == "plan.overflow" and "tighter bounds" in e.advice


EDGES = [
    (0, 1),
    (-1, 0),
    (-(2**31), 2**31 - 1),
    (-(2**62), 2**62),
    (-(2**63), 2**63),
    (-(7 * 10**27), 7 * 10**27),
    (7, 7),
]


@pytest.mark.parametrize(("low", "high"), EDGES)
@pytest.mark.parametrize("pick", [[0], [1], [0, 1], [1, 1, 1, None], [0, 0, None, 0]])
def test_exact_at_the_ends_of_the_bounds(low: int, high: int, pick: list[int | None]) -> None:
    values = [None if i is None else (low, high)[i] for i in pick]
    found = world(low, high, values).query(union("SUM(x), COUNT(x), COUNT(*), AVG(x)"))
    known = [v for v in values if v is not None] * 3
    assert found == [(sum(known), len(known), 3 * len(values), float(Fraction(sum(known), len(known))))]


@pytest.mark.parametrize(("low", "high"), [(-(5 * 10**13), 5 * 10**13), (0, 8 * 10**13), (-5, 3)])
def test_variances_at_the_ends(low: int, high: int) -> None:
    values = [low, high, high, low + 1]
    pooled = values * 3
    n, total, squares = len(pooled), sum(pooled), sum(v * v for v in pooled)
    sample = Fraction(n * squares - total * total, n * (n - 1))
    assert world(low, high, values).query(union("VARIANCE(x), STDDEV(x), VAR_POP(x)")) == [
        (float(sample), root_of(sample), float(sample * Fraction(n - 1, n)))
    ]


def test_variance_of_one_value_and_of_none() -> None:
    what = "VARIANCE(x), STDDEV(x), VAR_POP(x), STDDEV_POP(x), AVG(x), SUM(x)"
    assert world(0, 9, [4], ["a"]).query(f"SELECT {what} FROM a.t") == [(None, None, 0.0, 0.0, 4.0, 4)]
    assert world(0, 9, [], ["a"]).query(f"SELECT {what} FROM a.t") == [(None,) * 6]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("high", [10, 2**40, 10**20])
def test_an_owner_refuses_what_passes_the_bound_of_a_word(high: int, sign: int) -> None:
    """The last check before the ring: a total beyond what the plan allows is never laid out."""
    w = world(-high, high, [1], ["a"])
    plan = w.plan("SELECT SUM(x) FROM a.t")
    bound = plan.pools[0].measures[0].words[0].bound
    answer = dict(w.answer(plan, 0, "a"))
    for value, fits in ((bound, True), (bound + 1, False), (2**126, False)):
        units = sign * value
        answer["m0w0"] = answer["m0w0"].copy()
        answer["m0w0"][0] = [units % 2**64, units // 2**64 % 2**64]
        if fits:
            fill(plan, 0, answer, party="a", min_entities=0, strict_none=False)
            continue
        with pytest.raises(LocalError) as caught:
            fill(plan, 0, answer, party="a", min_entities=0, strict_none=False)
        assert caught.value.code == "data.bounds" and str(abs(units)) not in str(caught.value)


@given(st.fractions(min_value=0, max_value=10**40) | st.integers(0, 2**200).map(Fraction))
def test_roots_are_correctly_rounded(value: Fraction) -> None:
    assert sqrt_double(value) == root_of(value)


@given(st.integers(2**52, 2**53 - 1), st.integers(-200, 200), st.sampled_from([-1, 0, 1]))
def test_roots_next_to_a_tie(mantissa: int, exponent: int, off: int) -> None:
    """Squares of the midpoints between two doubles, and what is a hair beside them."""
    middle = Fraction(2 * mantissa + 1, 2) * Fraction(2) ** exponent
    value = middle * middle * (1 + Fraction(off, 10**60))
    below, above = (
        to_double(Fraction(mantissa) * Fraction(2) ** exponent),
        to_double(Fraction(mantissa + 1) * Fraction(2) ** exponent),
    )
    even = below if mantissa % 2 == 0 else above
    assert sqrt_double(value) == {-1: below, 0: even, 1: above}[off]


@given(st.lists(st.decimals(-1000, 1000, places=2), max_size=8), st.integers(1, 3))
def test_averages_are_correctly_rounded(values: list[Decimal], count: int) -> None:
    parties = PARTIES[:count]
    w = World(tuple(held(p, "t", [decimal("x", 2, -1000, 1000)], [(v,) for v in values]) for p in parties))
    exact = sum(map(Fraction, values)) / len(values) if values else None
    assert w.query(union("AVG(x)", parties)) == [(None if exact is None else float(exact),)]


def test_more_totals_than_are_looked_through_for_combinations_are_refused() -> None:
    many = ", ".join(f"COUNT(*) FILTER (WHERE x > {i})" for i in range(MAX_WORDS + 1))
    e = refusal(world(0, 1000), union(many))
    assert e.code == "job.limits" and str(MAX_WORDS) in e.message
