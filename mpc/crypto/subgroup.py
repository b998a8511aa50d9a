"""Paillier keys of one attempt, whose blinding factors lie in a subgroup of an order that only the key's holder knows.

    p = 2·P·u + 1    q = 2·Q·v + 1    n = p·q      P and Q primes of 256 bits, u and v at random
    y                of order P modulo p and Q modulo q; public: n and y
    h = y^n mod n²   an n-th residue of order P·Q
    c = (1 + n)^m · h^s mod n²
      by anybody     s uniform below 2^640: 2^-128 from uniform in the subgroup, also for who knows p and q
      by the holder  h^s modulo p² and h^t modulo q² by table, s and t uniform below P and Q
    opened           c^P mod p² = 1 + m·P·n mod p² by the holder, and modulo q² where m may be as large as p; what is
                     outside of the subgroup is noticed

Made and opened in a tenth of the time of r^n with r from all of Z_n*, which is why this exists. A ciphertext times h^s
hides its own factor, and so what was multiplied, from the key's holder, if that made key and ciphertexts as said.

Security for who does not know p and q: decisional composite residuosity, and that uniform elements of the subgroup
cannot be told from uniform squares (decisional RSA subgroup assumption: J. Groth, Cryptography in subgroups of Z_n*,
TCC 2005; Paillier with such keys: H. Ma, S. Han, H. Lei, Optimized Paillier's cryptosystem with fast encryption and
decryption, ACSAC 2021). The best attack known takes about √P steps, 2^128 here: J.-S. Coron, A. Joux, A. Mandal,
D. Naccache, M. Tibouchi, Cryptanalysis of the RSA subgroup assumption from TCC 2005, PKC 2011. So P and Q may not be
shorter. Keys that are kept (deposits) have no such subgroup: mpc/crypto/paillier.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Any

from mpc.crypto.agree import hkdf
from mpc.crypto.labels import digest, label
from mpc.crypto.paillier import MIN_BITS, PublicKey, gmp, prime, verify_primes
from mpc.crypto.spread import Spread
from mpc.crypto.stream import keystream
from mpc.errors import LocalError

#: of P and of Q
ORDER_BITS = 256
#: drawn beyond what is uniform, so that nothing is further than 2^-128 from it
_SLACK = 128
#: of an exponent drawn by who does not know the order
_LONG_BITS = 2 * ORDER_BITS + _SLACK
#: factors that one worker makes at a time, and ciphertexts that it opens
_MADE, _OPENED = 512, 64
#: factors from which on it is worth another table
_FEW = 256


@dataclass(frozen=True)
class SubgroupKey(PublicKey):
    """A modulus, and ``y`` of the subgroup. Raises LocalError protocol.point for a y that cannot be one."""

    y: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 < self.y < self.n - 1 or math.gcd(self.y, self.n) != 1:
            raise LocalError("protocol.point", "A Paillier key's subgroup has no such generator.")

    @cached_property
    def h(self) -> int:
        """y^n mod n²."""
        return int(gmp().powmod(self.y, self.n, self.square))

    @cached_property
    def fingerprint(self) -> bytes:
        return digest("paillier-subgroup-key", self.to_bytes())

    def to_bytes(self) -> bytes:
        """n and y, big-endian, of one length."""
        size = self.n.bit_length() // 8
        return self.n.to_bytes(size, "big") + self.y.to_bytes(size, "big")

    @staticmethod
    def from_bytes(raw: bytes) -> SubgroupKey:
        """The inverse. Raises LocalError protocol.point."""
        n = PublicKey.from_bytes(raw[: len(raw) // 2]).n
        return SubgroupKey(n, int.from_bytes(raw[len(raw) // 2 :], "big"))

    __repr__ = PublicKey.__repr__


@dataclass(frozen=True, eq=False)
class SubgroupSecret:
    """``p``, ``q`` and the orders of y modulo each. None of these is in its ``repr``."""

    public: SubgroupKey
    p: int = field(repr=False)
    q: int = field(repr=False)
    order_p: int = field(repr=False)
    order_q: int = field(repr=False)


def key_from_seed(seed: bytes) -> SubgroupSecret:
    """The key of 3072 bits that belongs to ``seed`` (32 bytes of system randomness). Takes less than a second."""
    assert len(seed) == 32
    order_p, order_q = (prime(seed, b"order " + name, ORDER_BITS) for name in (b"p", b"q"))
    p = prime(seed, b"p", MIN_BITS // 2, 2 * order_p)
    q = prime(seed, b"q", MIN_BITS // 2, 2 * order_q)
    verify_primes(p, q)
    of_p, of_q = _of_order(seed, b"y p", p, order_p), _of_order(seed, b"y q", q, order_q)
    if order_p == order_q or 1 in (of_p, of_q):
        raise LocalError("protocol.point", "This seed gives no safe Paillier key.", "Draw another seed.")
    return SubgroupSecret(SubgroupKey(p * q, _combined(p, q, of_p, of_q)), p, q, order_p, order_q)


def factors(key: SubgroupKey, seed: bytes, count: int, spread: Spread) -> list[int]:
    """``count`` factors h^s from a seed of 32 bytes that serves this only."""
    window = _window(_LONG_BITS, max(count, _FEW))  # one table for several small counts
    made = partial(_powers_of_h, key.h, key.square, window)
    size = _LONG_BITS // 8
    stream = keystream(hkdf(seed, salt=key.fingerprint, info=label("paillier-long-exponents")), size * count)
    return [f for found in spread(made, _chunks(stream.tobytes(), size)) for f in found]


def factors_by_holder(secret: SubgroupSecret, seed: bytes, count: int, spread: Spread) -> list[int]:
    """The same by who knows p and q, in about a fifth of the time."""
    key, size = secret.public, 2 * _drawn_bytes()
    made = partial(
        _powers_by_crt, secret.p, secret.q, secret.order_p, secret.order_q, key.h, _window(ORDER_BITS, count)
    )
    stream = keystream(hkdf(seed, salt=key.fingerprint, info=label("paillier-exponents")), size * count)
    return [f for found in spread(made, _chunks(stream.tobytes(), size)) for f in found]


def decrypt(secret: SubgroupSecret, ciphertexts: Sequence[int], bits: int, spread: Spread) -> list[int]:
    """Plaintexts below 2^bits ≤ n. Raises ValueError for a ciphertext whose factor is outside of the subgroup.

    A larger plaintext comes out modulo p where one prime is enough for ``bits``.
    """
    primes = ((secret.p, secret.q, secret.order_p), (secret.q, secret.p, secret.order_q))
    used = primes[:1] if bits < secret.p.bit_length() else primes
    chunks = [ciphertexts[i : i + _OPENED] for i in range(0, len(ciphertexts), _OPENED)]
    return [m for found in spread(partial(_opened, used), chunks) for m in found]


def _of_order(seed: bytes, name: bytes, p: int, order: int) -> int:
    """A uniform element of this order modulo p, or 1."""
    size = (p.bit_length() + _SLACK) // 8
    drawn = keystream(hkdf(seed, salt=b"", info=label("paillier-subgroup") + name), size).tobytes()
    return int(gmp().powmod(int.from_bytes(drawn, "big") % p, (p - 1) // order, p))


def _combined(p: int, q: int, of_p: Any, of_q: Any) -> int:
    """The number modulo p·q with these residues."""
    return int(of_p + p * ((of_q - of_p) * gmp().invert(p, q) % q))


def _drawn_bytes() -> int:
    return (ORDER_BITS + _SLACK) // 8


def _chunks(raw: bytes, size: int) -> list[bytes]:
    return [raw[i : i + _MADE * size] for i in range(0, len(raw), _MADE * size)]


def _powers_of_h(h: int, square: int, window: int, raw: bytes) -> list[int]:
    table, size = _table(h, square, _LONG_BITS, window), _LONG_BITS // 8
    exponents = (int.from_bytes(raw[i : i + size], "big") for i in range(0, len(raw), size))
    return [int(_looked_up(table, s, window, square)) for s in exponents]


def _powers_by_crt(p: int, q: int, order_p: int, order_q: int, h: int, window: int, raw: bytes) -> list[int]:
    p2, q2, size = gmp().mpz(p) ** 2, gmp().mpz(q) ** 2, _drawn_bytes()
    of_p = _table(h % (p * p), p * p, ORDER_BITS, window)
    of_q = _table(h % (q * q), q * q, ORDER_BITS, window)
    inverse, found = gmp().invert(p2, q2), []
    for i in range(0, len(raw), 2 * size):
        a = _looked_up(of_p, int.from_bytes(raw[i : i + size], "big") % order_p, window, p2)
        b = _looked_up(of_q, int.from_bytes(raw[i + size : i + 2 * size], "big") % order_q, window, q2)
        found.append(int(a + p2 * ((b - a) * inverse % q2)))
    return found


def _opened(used: Sequence[tuple[int, int, int]], ciphertexts: Sequence[int]) -> list[int]:
    """``used``: a prime, the other prime, the order modulo the first; once or both ways."""
    halves = []
    for p, q, order in used:
        square, inverse = gmp().mpz(p) ** 2, gmp().invert(order * q, p)
        raised = [gmp().powmod(c, order, square) - 1 for c in ciphertexts]
        if any(x % p for x in raised):
            raise ValueError("outside of the subgroup")
        halves.append([x // p * inverse % p for x in raised])
    if len(halves) == 1:
        return [int(m) for m in halves[0]]
    p, q, _ = used[0]
    return [_combined(p, q, a, b) for a, b in zip(*halves, strict=True)]


# ---- powers of one number by table


#: g^(d·2^(window·i)) by i and d
Table = list[list[Any]]


def _window(bits: int, count: int) -> int:
    """Bits of an exponent that one look-up takes: the fewest products for ``count`` powers and their table."""
    return min(range(2, 13), key=lambda w: -(-bits // w) * ((1 << w) + count))


@lru_cache(maxsize=6)
def _table(g: int, modulus: int, bits: int, window: int) -> Table:
    m, power = gmp().mpz(modulus), gmp().mpz(g)
    rows = []
    for _ in range(0, bits, window):
        row = [gmp().mpz(1)]
        for _ in range((1 << window) - 1):
            row.append(row[-1] * power % m)
        rows.append(row)
        power = row[-1] * power % m
    return rows


def _looked_up(table: Table, exponent: int, window: int, modulus: Any) -> Any:
    mask, found = (1 << window) - 1, gmp().mpz(1)
    for row in table:
        found = found * row[exponent & mask] % modulus
        exponent >>= window
    return found
