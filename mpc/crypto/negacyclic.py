"""Polynomials modulo X^N + 1 over primes below 2^50, in numpy: products by number-theoretic transforms.

X^N + 1 splits into linear factors modulo a prime p ≡ 1 mod 2N. The transform takes it apart by halves: modulo
X^n − r² a polynomial lo + hi·X^(n/2) is lo + r·hi modulo X^(n/2) − r and lo − r·hi modulo X^(n/2) + r. Coefficients are
laid out so that ``lo`` is always the first half of an array and ``hi`` the second (M. C. Pease's constant geometry,
JACM 1968): every level is a few operations over whole arrays. The values come in an order of the tree's, the same for
all polynomials, so products are element by element.

A product modulo p is a·b less p times the nearest whole number to a·b/p, in words that wrap. The quotient is taken in
floating point: a, b < 2^50 and three roundings put it off by less than a half, so what is left is smaller than p on
either side of 0. Primes stand in the last axis but one: arrays are (…, primes, N).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

#: residues, each below its prime
Residues = NDArray[np.uint64]

#: the degree of the modulus X^N + 1
DEGREE = 8192
_LEVELS = DEGREE.bit_length() - 1
_SIGN = np.int64(63)


def multiply(a: Residues, b: Residues, p: Residues) -> Residues:
    """a·b modulo p, element by element; ``p`` broadcasts."""
    return _remainder(a, b, b / p, p)


def divide_product(a: Residues, b: Residues, p: Residues) -> tuple[Residues, Residues]:
    """⌊a·b/p⌋ and the remainder."""
    rest = multiply(a, b, p)
    nearest = np.rint(a * (b / p)).astype(np.uint64)  # off by one at most, as is its product with p from a·b − rest
    return nearest + ((a * b - rest - nearest * p).view(np.int64) // p.view(np.int64)).view(np.uint64), rest


def _remainder(a: Residues, b: Residues, b_over_p: NDArray[np.float64], p: Residues) -> Residues:
    quotient = a * b_over_p
    quotient += 0.5
    rest: Residues = a * b
    rest -= quotient.astype(np.uint64) * p
    signed = rest.view(np.int64)
    signed += (signed >> _SIGN) & p.view(np.int64)
    return rest


def add(a: Residues, b: Residues, p: Residues) -> Residues:
    """a + b modulo p: what is below p wraps to a large word when p is taken away."""
    x = a + b
    out: Residues = np.minimum(x, x - p)
    return out


def subtract(a: Residues, b: Residues, p: Residues) -> Residues:
    """a − b modulo p: where it wraps, p more brings it back to a small word."""
    x = a - b
    out: Residues = np.minimum(x, x + p)
    return out


def residues(words: NDArray[np.uint64], primes: Sequence[int]) -> Residues:
    """Whole numbers in words of 64 bits, ``words``: (n,) or (n, words) with the lowest first, modulo each prime:
    (primes, n)."""
    p, base = column(primes), column([(1 << 64) % q for q in primes])
    out = np.zeros((len(primes), len(words)), dtype=np.uint64)
    for word in reversed(words.reshape(len(words), -1).T):
        out = add(multiply(out, base, p), word % p, p)
    return out


def column(numbers: Sequence[int]) -> NDArray[np.uint64]:
    """A number for each prime, (primes, 1)."""
    return np.array(numbers, dtype=np.uint64)[:, None]


def transform(x: Residues, primes: Sequence[int]) -> Residues:
    """From coefficients (…, primes, N) to values at the roots of X^N + 1."""
    p, out = column(primes), x
    for root, over_p in _forward(tuple(primes)):
        lo, hi = out[..., : DEGREE // 2], out[..., DEGREE // 2 :]
        turned = _remainder(hi, root, over_p, p)
        out = np.empty_like(x)
        out[..., 0::2] = add(lo, turned, p)
        out[..., 1::2] = subtract(lo, turned, p)
    return out


def coefficients(x: Residues, primes: Sequence[int]) -> Residues:
    """The inverse of ``transform``."""
    p, out = column(primes), x
    for root, over_p in _backward(tuple(primes)):
        even, odd = np.ascontiguousarray(out[..., 0::2]), np.ascontiguousarray(out[..., 1::2])
        out = np.empty_like(x)
        out[..., : DEGREE // 2] = add(even, odd, p)
        out[..., DEGREE // 2 :] = _remainder(subtract(even, odd, p), root, over_p, p)
    return multiply(out, column([pow(DEGREE, -1, q) for q in primes]), p)


#: of each level the roots, (primes, N/2), and their quotients by the primes
Level = tuple[Residues, NDArray[np.float64]]


@cache
def _forward(primes: tuple[int, ...]) -> tuple[Level, ...]:
    return tuple(_level(primes, exponents) for exponents in _exponents())


@cache
def _backward(primes: tuple[int, ...]) -> tuple[Level, ...]:
    return tuple(_level(primes, -exponents % (2 * DEGREE)) for exponents in reversed(_exponents()))


def _exponents() -> list[NDArray[np.int64]]:
    """Of each level the roots' exponents to the base of a 2N-th root of unity; −1 has N."""
    found, of_nodes = [], np.array([DEGREE])
    for _ in range(_LEVELS):
        halves = of_nodes // 2
        found.append(np.tile(halves, DEGREE // 2 // len(halves)))
        of_nodes = np.column_stack((halves, halves + DEGREE)).reshape(-1)
    return found


def _level(primes: Sequence[int], exponents: NDArray[np.int64]) -> Level:
    roots = np.stack([_powers(q)[exponents] for q in primes])
    return roots, roots / column(primes)


@cache
def _powers(p: int) -> Residues:
    """All 2N powers of a root of unity of order 2N."""
    root = next(r for r in (pow(g, (p - 1) // (2 * DEGREE), p) for g in range(2, p)) if pow(r, DEGREE, p) == p - 1)
    powers = [1]
    for _ in range(2 * DEGREE - 1):
        powers.append(powers[-1] * root % p)
    return np.array(powers, dtype=np.uint64)
