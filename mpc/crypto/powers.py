"""Powers modulo n² for Paillier, many at a time: blinding factors, and what can be done to ciphertexts by column.

    r^n                  by everybody, about 30 ms each at 3072 bits
    g^s, by table        by who holds p and q, a hundred times as fast: s of 512 bits, g an n-th residue that nobody
                         else knows, modulo p² and q² apart
    Π c_i^(k_i)          holds Σ k_i·m_i: windows of the exponents (Pippenger), small ones cost little
    Π c_i^(2^(w·i))      holds Σ m_i·2^(w·i): several short plaintexts in one

g^s is indistinguishable from a random n-th residue if exponents of 512 bits are from longer ones, to who cannot factor
n: I. Damgård, M. Jurik, J. Nielsen, A generalization of Paillier's public-key system with applications to electronic
voting, Int. J. Inf. Secur. 9 (2010); exponents of four times the security level as in H. Ma, S. Han, H. Lei, Optimized
Paillier's cryptosystem with fast encryption and decryption, ACSAC 2021. It is an assumption besides that of Paillier.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from mpc.crypto.agree import hkdf
from mpc.crypto.labels import label
from mpc.crypto.paillier import PublicKey, SecretKey, _gmpy2
from mpc.crypto.spread import Spread
from mpc.crypto.stream import keystream

EXPONENT_BITS = 512
#: bits drawn beyond those of a modulus before reducing
_SLACK = 128
#: factors that one worker makes at a time: by powers, by table
_FEW, _MANY = 8, 512
#: bits of an exponent that one look-up takes: tables cost 512/w · 2^w products, so large ones are for many factors
_SMALL, _LARGE = 4, 10


def residues(key: PublicKey, seed: bytes, count: int, spread: Spread) -> list[int]:
    """``count`` uniform n-th residues r^n from a seed of 32 bytes that serves this only."""
    size = (key.n.bit_length() + _SLACK) // 8
    stream = keystream(hkdf(seed, salt=key.fingerprint, info=label("paillier-powers")), size * count).tobytes()
    chunks = [stream[i : i + _FEW * size] for i in range(0, len(stream), _FEW * size)]
    return [f for made in spread(partial(_powers, key.n, size), chunks) for f in made]


def residues_by_table(secret: SecretKey, seed: bytes, count: int, spread: Spread) -> list[int]:
    """``count`` residues g^s for encryptions by the key's holder."""
    size = EXPONENT_BITS // 8
    stream = keystream(hkdf(seed, salt=secret.public.fingerprint, info=label("paillier-exponents")), size * count)
    base = hkdf(seed, salt=secret.public.fingerprint, info=label("paillier-base"))
    window = _LARGE if count > 4096 else _SMALL
    raw = stream.tobytes()
    chunks = [raw[i : i + _MANY * size] for i in range(0, len(raw), _MANY * size)]
    return [f for made in spread(partial(_by_table, secret.p, secret.q, base, window), chunks) for f in made]


def product_of_powers(key: PublicKey, ciphertexts: Sequence[int], exponents: Sequence[int] | None) -> int:
    """A ciphertext of Σ k_i·m_i, not blinded anew; ``exponents`` None: all 1. Without any: 1, which holds 0."""
    gmpy2, square = _gmpy2(), key.square
    if exponents is None:
        return int(_product(ciphertexts, square))
    above = [(c, k) for c, k in zip(ciphertexts, exponents, strict=True) if k > 0]
    below = [(c, -k) for c, k in zip(ciphertexts, exponents, strict=True) if k < 0]
    return int(_windowed(above, square) * gmpy2.invert(_windowed(below, square), square) % square)


def stacked(key: PublicKey, ciphertexts: Sequence[int], bits: int) -> int:
    """A ciphertext of Σ m_i·2^(bits·i), not blinded anew."""
    gmpy2, square = _gmpy2(), key.square
    found = gmpy2.mpz(1)
    for c in reversed(ciphertexts):
        found = gmpy2.powmod(found, 1 << bits, square) * c % square
    return int(found)


def _powers(n: int, size: int, raw: bytes) -> list[int]:
    gmpy2, square = _gmpy2(), n * n
    rs = (int.from_bytes(raw[i : i + size], "big") % n for i in range(0, len(raw), size))
    return [int(gmpy2.powmod(r, n, square)) for r in rs]


def _product(factors: Sequence[int], modulus: int) -> Any:
    mpz = _gmpy2().mpz
    found, m = mpz(1), mpz(modulus)
    for f in factors:
        found = found * f % m
    return found


def _windowed(powers: Sequence[tuple[int, int]], modulus: int) -> Any:
    """Π c^k, k > 0: of each window of the exponents, from the highest down, the bases are put together by its value."""
    gmpy2 = _gmpy2()
    m, found = gmpy2.mpz(modulus), gmpy2.mpz(1)
    if not powers:
        return found
    most = max(k for _, k in powers).bit_length()
    width = max(1, min(10, len(powers).bit_length() - 2))
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


# ---- by table


def _by_table(p: int, q: int, base: bytes, window: int, raw: bytes) -> list[int]:
    """g^s modulo n² for every exponent in ``raw``."""
    gmpy2 = _gmpy2()
    tables = _tables(p, q, base, window)
    p2, q2 = gmpy2.mpz(p) ** 2, gmpy2.mpz(q) ** 2
    inverse, size, mask = gmpy2.invert(p2, q2), EXPONENT_BITS // 8, (1 << window) - 1
    found = []
    for i in range(0, len(raw), size):
        s = int.from_bytes(raw[i : i + size], "big")
        digits = [s >> shift & mask for shift in range(0, EXPONENT_BITS, window)]
        a, b = gmpy2.mpz(1), gmpy2.mpz(1)
        for (of_p, of_q), d in zip(tables, digits, strict=True):
            a = a * of_p[d] % p2
            b = b * of_q[d] % q2
        found.append(int(a + p2 * ((b - a) * inverse % q2)))
    return found


@lru_cache(maxsize=2)
def _tables(p: int, q: int, base: bytes, window: int) -> tuple[tuple[list[Any], list[Any]], ...]:
    """g^(d·2^(window·i)) modulo p² and q², by i and d. g is an n-th residue: x^p modulo p² for a uniform x."""
    gmpy2 = _gmpy2()
    columns = []
    for name, prime in ((b"p", p), (b"q", q)):
        square = gmpy2.mpz(prime) ** 2
        drawn = keystream(hkdf(base, salt=name, info=label("paillier-residue")), (prime.bit_length() + _SLACK) // 8)
        power = gmpy2.powmod(int.from_bytes(drawn.tobytes(), "big") % prime, prime, square)
        rows = []
        for _ in range(0, EXPONENT_BITS, window):
            row = [gmpy2.mpz(1)]
            for _ in range((1 << window) - 1):
                row.append(row[-1] * power % square)
            rows.append(row)
            power = row[-1] * power % square
        columns.append(rows)
    return tuple(zip(*columns, strict=True))
