"""CKKS with whole numbers in coefficients: how far off, and why the numbers are not in slots."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from mpc.crypto import coefficients, lattice
from mpc.ring import ring

tenseal = pytest.importorskip("tenseal")


@pytest.fixture(scope="module")
def key() -> lattice.SecretKey:
    return lattice.new_key("ckks")


def opened(key: lattice.SecretKey, ciphertext: bytes) -> np.ndarray:
    """m + e, all coefficients."""
    both = coefficients.words(lattice._vector("ckks", key._loaded[0], ciphertext).ciphertext()[0].__getitem__, 2)
    p = coefficients.column(coefficients.PRIMES)
    values = coefficients.add(both[0], coefficients.multiply(both[1], lattice._secret(key._loaded[0]), p), p)
    back = np.empty_like(values)
    np.put_along_axis(back, coefficients._order(), values, axis=1)
    return coefficients._centred(coefficients.coefficients(back, coefficients.PRIMES))


def test_the_table_is_what_seal_takes(key: lattice.SecretKey) -> None:
    import tenseal.sealapi

    data = key._loaded[0].seal_context().data.first_context_data()
    assert tuple(m.value() for m in data.parms().coeff_modulus()) == coefficients.PRIMES
    assert sum(coefficients.BITS) <= 218  # 128 bits of security at this degree
    assert tenseal.sealapi


def test_errors_are_those_of_the_encryption_whatever_the_numbers(key: lattice.SecretKey) -> None:
    """Their spread is that of roundings under a ternary secret, far below the bound, which holds for certain."""
    expected = np.sqrt((1 + 2 / 3 * 8192) / 12)
    for values in ([0] * 8192, [2**100 + 7, -(2**100)] * 4096):
        (c,) = lattice.encrypt(key.public, ring(128).from_ints(values))
        e = (opened(key, c) - np.array([v << coefficients.SCALE_BITS for v in values])).astype(np.float64)
        assert abs(e.std() - expected) < 2 and np.abs(e).max() < coefficients.ERROR
        assert lattice.decrypt(key, [c], len(values)).tolist() == values


def test_the_bound_allows_the_deposits_that_are_taken() -> None:
    assert coefficients.off(63) < Fraction(1, 4) < coefficients.off(65)
    assert coefficients.most(127) > 0 == coefficients.most(129)
    assert Fraction(1, 2) + 4096 + Fraction(21 * (2 * 8192 + 1), 1 << 44) < coefficients.ERROR


def test_numbers_in_slots_would_tell_deposits_apart(key: lattice.SecretKey) -> None:
    """What SEAL's encoder rounds off, which whoever guesses one of two deposits can compute, is in their total; of
    numbers in coefficients nothing is but the encryptions' errors."""
    context = key._loaded[0]

    def in_slots(*deposits: np.ndarray) -> np.ndarray:
        first, second = (tenseal.ckks_vector(context, d.astype(np.float64).tolist(), 2.0**60) for d in deposits)
        return opened(key, bytes((first + second).serialize()))

    def in_coefficients(*deposits: np.ndarray) -> np.ndarray:
        columns = [lattice.encrypt(key.public, d.view(np.uint64)) for d in deposits]
        return opened(key, lattice.add(key.public, columns)[0])

    rng = np.random.default_rng(1)
    total = rng.integers(2**35, 2**36, 4096)
    guesses = [rng.integers(0, 2**35, 4096) for _ in range(2)]
    for how, far in ((in_slots, True), (in_coefficients, False)):
        seen = how(guesses[0], total - guesses[0])
        right, wrong = (np.abs(seen - how(g, total - g)).max() for g in guesses)
        assert right < 1000 and (wrong > 1000) == far
