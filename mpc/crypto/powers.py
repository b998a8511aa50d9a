"""Powers modulo n² for Paillier, many at a time: blinding factors, and what can be done to ciphertexts by column.

    r^n                  by everybody, about 30 ms each at 3072 bits
    by table             by who holds p and q, two hundred times as fast: g^s modulo p² and h^t modulo q², put together
    Π c_i^(k_i)          holds Σ k_i·m_i: windows of the exponents (Pippenger), small ones cost little
    Π c_i^(2^(w·i))      holds Σ m_i·2^(w·i): several short plaintexts in one

By table, g and h are n-th residues modulo p² and q² that nobody else knows, s and t uniform numbers of 256 bits. That
such residues cannot be told from random ones by who cannot factor n is an assumption besides that of Paillier, of the
kind of I. Damgård, M. Jurik, J. Nielsen, A generalization of Paillier's public-key system with applications to
electronic voting, Int. J. Inf. Secur. 9 (2010), short exponents; H. Ma, S. Han, H. Lei, Optimized Paillier's
cryptosystem with fast encryption and decryption, ACSAC 2021, take sets of the same size. Generic attacks take 2^128
steps.
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

#: ciphertexts and their exponents; None: all 1
Powers = tuple[Sequence[int], Sequence[int] | None]

#: of the exponent modulo p², and of that modulo q²
EXPONENT_BITS = 256
#: bits drawn beyond those of a modulus before reducing
_SLACK = 128
#: factors that one worker makes at a time: by powers, by table
_FEW, _MANY = 8, 512
#: products that one worker makes at a time, and factors of each at most
_PIECES, _LONG = 16, 4096
#: bits of an exponent that one look-up takes: tables cost 256/w · 2^w products, so large ones are for many factors
_SMALL, _LARGE = 4, 10


def residues(key: PublicKey, seed: bytes, count: int, spread: Spread) -> list[int]:
    """``count`` uniform n-th residues r^n from a seed of 32 bytes that serves this only."""
    size = (key.n.bit_length() + _SLACK) // 8
    stream = keystream(hkdf(seed, salt=key.fingerprint, info=label("paillier-powers")), size * count).tobytes()
    chunks = [stream[i : i + _FEW * size] for i in range(0, len(stream), _FEW * size)]
    return [f for made in spread(partial(_powers, key.n, size), chunks) for f in made]


def residues_by_table(secret: SecretKey, seed: bytes, count: int, spread: Spread) -> list[int]:
    """``count`` residues for encryptions by the key's holder. The tables follow from the key, the exponents from
    ``seed``."""
    size = 2 * EXPONENT_BITS // 8
    stream = keystream(hkdf(seed, salt=secret.public.fingerprint, info=label("paillier-exponents")), size * count)
    base = hkdf(secret.p.to_bytes(secret.p.bit_length() // 8, "big"), salt=b"", info=label("paillier-base"))
    window = _LARGE if count > 4096 else _SMALL
    raw = stream.tobytes()
    chunks = [raw[i : i + _MANY * size] for i in range(0, len(raw), _MANY * size)]
    return [f for made in spread(partial(_by_table, secret.p, secret.q, base, window), chunks) for f in made]


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
    gmpy2 = _gmpy2()
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
    gmpy2 = _gmpy2()
    made = []
    for ciphertexts in stacks:
        found = gmpy2.mpz(1)
        for c in reversed(ciphertexts):
            found = gmpy2.powmod(found, 1 << bits, square) * c % square
        made.append(int(found))
    return made


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


# ---- by table


def _by_table(p: int, q: int, base: bytes, window: int, raw: bytes) -> list[int]:
    """A residue modulo n² for every two exponents in ``raw``."""
    gmpy2 = _gmpy2()
    of_p, of_q = _tables(p, q, base, window)
    p2, q2 = gmpy2.mpz(p) ** 2, gmpy2.mpz(q) ** 2
    inverse, size = gmpy2.invert(p2, q2), EXPONENT_BITS // 8
    found = []
    for i in range(0, len(raw), 2 * size):
        a = _looked_up(of_p, raw[i : i + size], window, p2)
        b = _looked_up(of_q, raw[i + size : i + 2 * size], window, q2)
        found.append(int(a + p2 * ((b - a) * inverse % q2)))
    return found


def _looked_up(table: Table, exponent: bytes, window: int, modulus: Any) -> Any:
    s, mask, found = int.from_bytes(exponent, "big"), (1 << window) - 1, _gmpy2().mpz(1)
    for row in table:
        found = found * row[s & mask] % modulus
        s >>= window
    return found


#: g^(d·2^(window·i)) by i and d
Table = list[list[Any]]


@lru_cache(maxsize=2)
def _tables(p: int, q: int, base: bytes, window: int) -> tuple[Table, Table]:
    """Of an n-th residue modulo p² and one modulo q²: x^p modulo p² for a uniform x is one."""
    gmpy2 = _gmpy2()
    made = []
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
        made.append(rows)
    return made[0], made[1]
