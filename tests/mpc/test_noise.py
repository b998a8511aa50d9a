"""Samples have exactly the distribution that their scale says: against exact probabilities, and against OpenDP's."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import comb, erfc, exp, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.coins import Coins
from mpc.errors import LocalError
from mpc.noise import Scale, _Bits, _exp_minus, _word, discrete_laplace
from mpc.ring import wide

COUNT = 40_000
#: a statistic further out than this is a mistake: by chance one run in a million is, and streams here are fixed
FAR = 4.9


def samples(scale: Scale, count: int = COUNT, key: int = 1) -> list[int]:
    return wide.to_ints(discrete_laplace(Coins(bytes([key]) * 32), "noise", scale, count))


def chances(scale: float, most: int) -> dict[int, float]:
    q = exp(-1 / scale)
    return {z: (1 - q) / (1 + q) * q ** abs(z) for z in range(-most, most + 1)}


def far_out(found: Counter[int], expected: dict[int, float], count: int) -> float:
    """Pearson's statistic against the cells with some mass, the rest as one cell, in standard deviations."""
    cells = {z: p for z, p in expected.items() if p * count >= 10}
    rest = 1 - sum(cells.values())
    pairs = [(found[z], p * count) for z, p in cells.items()]
    if rest * count > 1:
        pairs.append((count - sum(found[z] for z in cells), rest * count))
    statistic = sum((n - e) ** 2 / e for n, e in pairs)
    freedom = len(pairs) - 1
    third = (statistic / freedom) ** (1 / 3)  # Wilson and Hilferty: nearly normal
    return (third - (1 - 2 / (9 * freedom))) / sqrt(2 / (9 * freedom))


@pytest.mark.parametrize(
    "scale", [Scale(1), Scale(2), Scale(10), Scale(1, 4), Scale(7, 3), Scale(5, 2), Scale(1000, 7)]
)
def test_small_scales_against_exact_probabilities(scale: Scale) -> None:
    found = Counter(samples(scale))
    assert far_out(found, chances(float(scale.value), 2000), COUNT) < FAR


def test_a_wrong_scale_would_be_noticed() -> None:
    assert far_out(Counter(samples(Scale(10))), chances(11, 2000), COUNT) > FAR


@pytest.mark.parametrize("scale", [Scale(10**12), Scale(2**64 + 13), Scale(10**30)])
def test_large_scales_by_their_quantiles(scale: Scale) -> None:
    """Of |Z| / scale, which is nearly exponential: how many are below each of its deciles."""
    sizes = np.sort([abs(z) / scale.t for z in samples(scale)])
    for tenth in range(1, 10):
        below = np.searchsorted(sizes, -np.log(1 - tenth / 10))
        assert abs(below - COUNT * tenth / 10) < FAR * sqrt(COUNT * tenth / 10 * (1 - tenth / 10))
    negative = sum(z < 0 for z in samples(scale))
    assert abs(negative - COUNT / 2) < FAR * sqrt(COUNT / 4)
    assert len({z % 1000 for z in samples(scale)}) == 1000  # down to the last digits


def test_as_opendp_draws_them() -> None:
    """The same scale in both: two samples that no statistic tells apart, and the same privacy loss."""
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    measured = dp.m.make_laplace(dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int), scale=2.5)
    assert measured.map(5) == pytest.approx(2.0)  # sensitivity / scale, as mpc/query/noised.py has it
    theirs = Counter(measured([0] * COUNT))
    ours = Counter(samples(Scale(5, 2)))
    cells = range(-12, 13)
    pairs = [(ours[z], theirs[z]) for z in cells]
    pairs.append((COUNT - sum(a for a, _ in pairs), COUNT - sum(b for _, b in pairs)))
    statistic = sum((a - b) ** 2 / (a + b) for a, b in pairs)
    third = (statistic / 25) ** (1 / 3)
    assert (third - (1 - 2 / 225)) / sqrt(2 / 225) < FAR


@pytest.mark.parametrize("limit", [1, 2, 3, 1000, 2**63 + 1, 2**64, 3 * 2**64 + 5])
def test_uniform_numbers_have_no_bias(limit: int) -> None:
    """The three thirds of the range come up alike; a remainder of a random word would favour the first."""
    drawn = wide.to_ints(_Bits(Coins(bytes(32)), "x").below(limit, COUNT))
    assert all(0 <= v < limit for v in drawn)
    for third in range(3):
        low, high = -(-limit * third // 3), -(-limit * (third + 1) // 3)
        p = (high - low) / limit
        found = sum(low <= v < high for v in drawn)
        assert abs(found - COUNT * p) <= FAR * sqrt(COUNT * p * (1 - p))


@pytest.mark.parametrize(("x", "t"), [(0, 5), (1, 5), (4, 5), (2**70, 2**71 + 1), (2**71, 2**71 + 1)])
def test_bernoulli_of_an_exponential(x: int, t: int) -> None:
    xs = np.tile(_word(x), (COUNT, 1))
    found = int(_exp_minus(_Bits(Coins(bytes(32)), "x"), xs, t).sum())
    p = exp(-x / t)
    assert abs(found - COUNT * p) <= FAR * sqrt(COUNT * p * (1 - p))


def test_the_same_coins_give_the_same_noise_and_no_path_is_drawn_twice() -> None:
    assert samples(Scale(100), 50) == samples(Scale(100), 50) != samples(Scale(100), 50, key=2)
    coins = Coins(bytes(32))
    assert wide.to_ints(discrete_laplace(coins, "a", Scale(9), 20)) != wide.to_ints(
        discrete_laplace(coins, "b", Scale(9), 20)
    )
    with pytest.raises(LocalError) as again:
        discrete_laplace(coins, "a", Scale(9), 20)
    assert again.value.code == "protocol.reuse"


@settings(max_examples=50)
@given(st.fractions(min_value="1/1000", max_value=10**35), st.integers(1, 60))
def test_scales_are_rounded_up_and_tails_hold(value: Fraction, bits: int) -> None:
    scale = Scale.of(value)
    assert value <= scale.value <= value * (1 + Fraction(1, 1 << 20))
    assert scale.s == 1 or scale.t < 1 << 52
    m = scale.tail(bits)
    # P(|Z| > m) = 2 q^(m + 1) / (1 + q) ≤ 2 q^(m + 1) for q = exp(-1 / scale), and ln 2 > 0.693147
    assert (m + 1) / scale.value >= (bits + 1) * Fraction(693_147, 1_000_000)
    assert m <= scale.value * (bits + 1) * Fraction(7, 10) + 1


def test_wilson_and_hilferty_find_a_fair_coin_fair() -> None:
    """The statistic of these tests itself: exact binomial probabilities against a sample of them."""
    found = Counter(int(b.sum()) for b in np.random.default_rng(1).integers(0, 2, (COUNT, 10)))
    assert abs(far_out(found, {k: comb(10, k) / 2**10 for k in range(11)}, COUNT)) < FAR
    assert erfc(FAR / sqrt(2)) < 1e-6
