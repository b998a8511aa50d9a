"""Products of powers of Paillier ciphertexts, many at a time.

Π c_i^(k_i)          holds Σ k_i·m_i: windows of the exponents (Pippenger), small ones cost little
Π c_i^(2^(w·i))      holds Σ m_i·2^(w·i): several short plaintexts in one
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mpc.crypto.paillier import PublicKey, gmp
from mpc.crypto.spread import Spread

#: ciphertexts and their exponents; None: all 1
Powers = tuple[Sequence[int], Sequence[int] | None]

#: stacks that one worker makes at a time
_FEW = 8
#: products that one worker makes at a time, and factors of each at most
_PIECES, _LONG = 16, 4096


def products_of_powers(key: PublicKey, asked: Sequence[Powers], spread: Spread) -> list[int]:
    """For each of ``asked`` a ciphertext of Σ k_i·m_i, not blinded anew; without any ciphertext 1, which holds 0."""
    # a long product is made of pieces
    pieces = [piece for powers in asked for piece in _pieces(powers)]
    chunks = [pieces[i : i + _PIECES] for i in range(0, len(pieces), _PIECES)]
    made = iter([c for found in spread(partial(_products, key.square), chunks) for c in found])
    return [int(_product([next(made) for _ in _pieces(powers)], key.square)) for powers in asked]


def stacked(key: PublicKey, stacks: Sequence[Sequence[int]], bits: int, spread: Spread) -> list[int]:
    """For each of ``stacks`` a ciphertext of Σ m_i·2^(bits·i), not blinded anew."""
    chunks = [stacks[i : i + _FEW] for i in range(0, len(stacks), _FEW)]
    return [c for found in spread(partial(_stacked, key.square, bits), chunks) for c in found]


def _pieces(powers: Powers) -> list[Powers]:
    ciphertexts, exponents = powers
    starts = range(0, len(ciphertexts), _LONG)
    return [(ciphertexts[i : i + _LONG], None if exponents is None else exponents[i : i + _LONG]) for i in starts]


def _products(square: int, asked: Sequence[Powers]) -> list[int]:
    gmpy2 = gmp()
    found = []
    for ciphertexts, exponents in asked:
        if exponents is None:
            found.append(int(_product(ciphertexts, square)))
            continue
        above = [(c, k) for c, k in zip(ciphertexts, exponents, strict=True) if k > 0]
        below = [(c, -k) for c, k in zip(ciphertexts, exponents, strict=True) if k < 0]
        found.append(int(_windowed(above, square) * gmpy2.invert(_windowed(below, square), square) % square))
    return found


def _stacked(square: int, bits: int, stacks: Sequence[Sequence[int]]) -> list[int]:
    gmpy2 = gmp()
    made = []
    for ciphertexts in stacks:
        found = gmpy2.mpz(1)
        for c in reversed(ciphertexts):
            found = gmpy2.powmod(found, 1 << bits, square) * c % square
        made.append(int(found))
    return made


def _product(factors: Sequence[int], modulus: int) -> Any:
    mpz = gmp().mpz
    found, m = mpz(1), mpz(modulus)
    for f in factors:
        found = found * f % m
    return found


def _windowed(powers: Sequence[tuple[int, int]], modulus: int) -> Any:
    """Π c^k, k > 0: of each window of the exponents, from the highest down, the bases are put together by its value."""
    gmpy2 = gmp()
    m, found = gmpy2.mpz(modulus), gmpy2.mpz(1)
    if len(powers) < 8:
        for c, k in powers:
            found = found * gmpy2.powmod(c, k, m) % m
        return found
    most = max(k for _, k in powers).bit_length()
    width = min(10, len(powers).bit_length() - 2)
    for shift in range((most - 1) // width * width, -1, -width):
        found = gmpy2.powmod(found, 1 << width, m)
        buckets: dict[int, Any] = {}
        for c, k in powers:
            value = k >> shift & ((1 << width) - 1)
            if value:
                buckets[value] = buckets[value] * c % m if value in buckets else gmpy2.mpz(c)
        # Σ value · bucket as a sum of suffixes
        run, total = gmpy2.mpz(1), gmpy2.mpz(1)
        for value in range(max(buckets, default=0), 0, -1):
            if value in buckets:
                run = run * buckets[value] % m
            total = total * run % m
        found = found * total % m
    return found
