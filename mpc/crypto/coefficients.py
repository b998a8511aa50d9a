"""CKKS with whole numbers in the coefficients of its plaintexts, in place of real numbers in their slots.

    c = (c0, c1),  c0 + c1·s = m + e  modulo q          m = 2^20 · Σ x_j X^j,   |e_j| ≤ n · 4097 after n summands
    x_j = the multiple of 2^20 that is nearest, / 2^20

J. H. Cheon et al., ASIACRYPT 2017, without its encoder: that one is computed in floating point, with 53 bits, and what
it rounds off is a function of the numbers, larger than the encryption's own error and plain to who holds the key. So it
would tell the summands of a total apart (a test does). Here m is put together modulo q in whole numbers, and the only
thing beside the total that a key's holder reads is e, which is drawn whatever x is.

**How far off.** SEAL encrypts 0 modulo q and one more prime P and divides by P: what is left is a rounding r0 + r1·s,
all coefficients of r0 and r1 at most 1/2, and (e0 + e1·u + e2·s)/P, which is below 2^-26. s has N coefficients of at
most 1. So |e_j| ≤ 1/2 + N/2 + 2^-26 < ERROR for each summand, whatever was drawn: n summands are off by less than
n·4097/2^20 of a unit (``off``), under a quarter up to n = 63, and rounding gives the exact total. Nothing of e is left
in it, so who is told the total learns nothing of the key (B. Li, D. Micciancio, EUROCRYPT 2021, is about results that
are not rounded).

TenSEAL has no call that makes a plaintext from coefficients. A ciphertext that hides nothing, (m, 0), is written in
SEAL's own format and added to an encryption of 0 that SEAL made; SEAL verifies the format when it reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from mpc.crypto.negacyclic import DEGREE as DEGREE
from mpc.crypto.negacyclic import Residues, add, coefficients, column, multiply, transform

#: bits of the coefficient modulus, the last for encryption only: SEAL takes the largest primes that are 1 modulo 2N
BITS = (44, 44, 44, 45)
PRIMES = (17592184717313, 17592185438209, 17592186028033)
#: log2 of what the numbers are multiplied by
SCALE_BITS = 20
#: no coefficient of one encryption of 0 is as large
ERROR = DEGREE // 2 + 1

Words = NDArray[np.uint64]


def off(summands: int) -> Fraction:
    """How far a total of so many ciphertexts is off before it is rounded, at most; in units of the numbers."""
    return Fraction(summands * ERROR, 1 << SCALE_BITS)


def most(summands: int) -> int:
    """The largest absolute total that so many ciphertexts give exactly; 0 where they are too many."""
    return (prod(PRIMES) - 1 - 2 * summands * ERROR) >> (SCALE_BITS + 1) if off(summands) < Fraction(1, 2) else 0


def plaintext(residues: Residues) -> Residues:
    """m, as SEAL keeps it. ``residues``: (primes, n) of n ≤ N numbers, in the order of ``PRIMES``."""
    p = column(PRIMES)
    m = np.zeros((len(PRIMES), DEGREE), dtype=np.uint64)
    m[:, : residues.shape[1]] = multiply(residues, np.full_like(residues, 1 << SCALE_BITS), p)
    return np.take_along_axis(transform(m, PRIMES), _order(), axis=1)


def decrypted(ciphertext: Residues, secret: Residues) -> NDArray[np.object_]:
    """The N numbers of a ciphertext, (2, primes, N), under the secret s, (primes, N), both as SEAL keeps them.

    Raises ValueError where one is too far from a whole number to be a total of what the plan allows.
    """
    p = column(PRIMES)
    values = add(ciphertext[0], multiply(ciphertext[1], secret, p), p)
    back = np.empty_like(values)
    np.put_along_axis(back, _order(), values, axis=1)
    whole = _centred(coefficients(back, PRIMES))
    half = 1 << (SCALE_BITS - 1)
    numbers: NDArray[np.object_] = (whole + half) >> SCALE_BITS
    if (abs(whole - (numbers << SCALE_BITS)) > half // 2).any():
        raise ValueError("not near a whole number")
    return numbers


def _centred(residues: Residues) -> NDArray[np.object_]:
    """The numbers nearest to 0 with these residues."""
    q = prod(PRIMES)
    total = np.zeros(residues.shape[1], dtype=object)
    for p, r in zip(PRIMES, residues, strict=True):
        total += r.astype(object) * (pow(q // p, -1, p) * (q // p))
    total %= q
    return np.where(total > q // 2, total - q, total)


@cache
def _order() -> NDArray[np.int64]:
    """Where ``transform`` has the values that SEAL keeps at 0, 1, …: those at ψ^(2k+1), k with its bits reversed, ψ the
    smallest root of unity of order 2N. (primes, N)."""
    x = np.zeros((len(PRIMES), DEGREE), dtype=np.uint64)
    x[:, 1] = 1
    bits = DEGREE.bit_length() - 1
    reverse = [int(format(i, f"0{bits}b")[::-1], 2) for i in range(DEGREE)]
    found = []
    for p, roots in zip(PRIMES, transform(x, PRIMES).tolist(), strict=True):
        square, at = min(roots) ** 2 % p, {r: i for i, r in enumerate(roots)}
        powers = [min(roots)]
        for _ in range(DEGREE - 1):
            powers.append(powers[-1] * square % p)
        found.append([at[powers[k]] for k in reverse])
    return np.array(found)


# ---- SEAL's and TenSEAL's formats


def words(read: Callable[[int], int], polynomials: int) -> Residues:
    """(polynomials, primes, N) of what SEAL lets read word by word."""
    count = polynomials * len(PRIMES) * DEGREE
    return np.fromiter(map(read, range(count)), np.uint64, count).reshape(polynomials, len(PRIMES), DEGREE)


def bare(like: bytes, parameters: Sequence[int], m: Residues) -> bytes:
    """(m, 0) as TenSEAL writes a vector. ``like``: an encryption of one 0 by it, ``parameters``: the id of its
    parameters, four words."""
    both = np.zeros((2, *m.shape), dtype="<u8")
    both[0] = m
    header = like[like.index(b"\x5e\xa1\x10") :][:5]  # magic, size of the header, version of SEAL
    array = _framed(header, struct.pack("<Q", both.size) + both.tobytes())
    facts = struct.pack("<4Q?3QdQ", *parameters, True, 2, DEGREE, len(PRIMES), 2.0**SCALE_BITS, 1)
    sealed = _framed(header, facts + array)
    return like[:3] + b"\x12" + varint(len(sealed)) + sealed + like[-9:]


def _framed(header: bytes, body: bytes) -> bytes:
    """SEAL's frame of what is not compressed."""
    return header + bytes(3) + struct.pack("<Q", 16 + len(body)) + body


def varint(n: int) -> bytes:
    """A number as protocol buffers write it."""
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])
