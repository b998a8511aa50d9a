"""BFV for one thing: Σ u_k · v_k + w, element by element modulo a prime t; of u only ciphertexts are seen by who knows
v and w and computes, and the key's holder, who decrypts, learns the sum and of v and w nothing beyond it.

    encrypt    (c0, c1) with c0 + c1·s = round(q·u/t) + e modulo q; c1 uniform, expanded from a seed
    answer     Σ c·v, plus round(q·w/t), plus what hides how it was made:
                 (p0, p1)·h + (0, e1)   an encryption of 0 under the public key, h and e1 fresh: who knows c1 could
                                        divide c1·v by it; under this it is a sample of ring-LWE with the secret h
                 (f, 0)                 f uniform in [−F, F): drowns e·v, which the holder sees when it decrypts
               and then to a smaller modulus, a function of what is hidden already
    decrypt    round(t·(c0 + c1·s)/q)

J. Fan, F. Vercauteren, ePrint 2012/144; slots: N. Smart, F. Vercauteren, ePrint 2011/133; noise that drowns how an
answer was made: C. Gentry, A fully homomorphic encryption scheme, PhD thesis, Stanford 2009. Everything is drawn from
the caller's coins by path, so a role replays byte for byte; SEAL, which offers Python neither that nor flooding, is the
oracle of the tests (docs/decisions/0025-dealer.md).

**Parameters**, which nobody chooses. N = 8192, q of 200 bits (``WHOLE``) or 150 (``BITS``), ternary secrets, errors of
a centred binomial distribution with deviation 3.24: at most 218 bits have 128 bits of security against classical
attacks (HomomorphicEncryption.org standard, 2018).

**Noise.** |e| ≤ 21, and ½ for rounding. A factor v is a polynomial with coefficients of absolute value ≤ t/2, so each
product has noise ≤ N·21.5·t/2; the encryption of 0 adds ≤ 21·(2N + 1), w adds ½. ``noise`` is this bound B, whatever
was drawn, for any secret key, any v and w. F is at least 2^75·B for sums of three products (a test says so), so the N
coefficients of an answer are distributed as for any other v and w but for N·B/2F ≤ 2^-63. It decrypts as long as B + F
stays below q/2t, and likewise after the change of modulus (a test says that, too).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mpc.crypto import negacyclic
from mpc.crypto.agree import hkdf
from mpc.crypto.labels import framed, label
from mpc.crypto.negacyclic import DEGREE, Residues, column, multiply, residues, subtract, transform
from mpc.crypto.stream import keystream

#: the largest primes below 2^50 that are 1 modulo 2N
_Q = (1125899906826241, 1125899906629633, 1125899905744897, 1125899905351681)
#: bits of the coins of an error: their number of ones, of 21 less the other 21
_COINS = 21
SEED_BYTES = 32

#: uniform words by path, (count,), each path once: ``Coins.words``
Draw = Callable[[str, int], NDArray[np.uint64]]


@dataclass(frozen=True)
class Parameters:
    """``q``: primes of the ciphertext modulus; ``kept``: how many of them an answer is brought down to; ``flood``:
    bits of F; ``plain``: primes t for the plaintexts, from the left."""

    q: tuple[int, ...]
    kept: int
    flood: int
    plain: tuple[int, ...]

    def noise(self, terms: int) -> int:
        """B of a sum of ``terms`` products."""
        factors = terms * DEGREE * (2 * _COINS + 1) * (max(self.plain) // 2 + 1) // 2
        return factors + _COINS * (2 * DEGREE + 1) + 1

    @property
    def modulus(self) -> int:
        return _product(self.q)


#: whole numbers: several primes of 49 bits together (CRT)
WHOLE = Parameters(
    _Q,
    2,
    144,
    (
        562949952847873,
        562949952798721,
        562949952700417,
        562949952274433,
        562949951979521,
        562949951963137,
        562949951881217,
        562949951733761,
    ),
)
#: bits: sums that are 0 or 1 whatever is in them
BITS = Parameters(_Q[:3], 1, 110, (65537,))


@dataclass(frozen=True, eq=False)
class PublicKey:
    """An encryption of 0 at the roots, (primes, N); the other half follows from ``seed``."""

    seed: bytes
    half: Residues

    @cached_property
    def other(self) -> Residues:
        return _uniform(_expanded(self.seed), "key", _Q)

    def __repr__(self) -> str:
        return f"PublicKey({self.seed.hex()[:16]}…)"


@dataclass(frozen=True, eq=False)
class SecretKey:
    """The secret polynomial at the roots, for all primes of q."""

    public: PublicKey
    secret: Residues = field(repr=False)


def new_key(draw: Draw, path: str) -> SecretKey:
    """A key from these coins."""
    secret = transform(_ternary(draw, f"{path}/secret"), _Q)
    seed, p = draw(f"{path}/seed", SEED_BYTES // 8).tobytes(), column(_Q)
    masked = multiply(_uniform(_expanded(seed), "key", _Q), secret, p)
    error = transform(_error(draw, f"{path}/error"), _Q)
    return SecretKey(PublicKey(seed, subtract(error, masked, p)), secret)


def verify_residues(x: Residues, primes: Sequence[int]) -> bool:
    """Whether each is below its prime."""
    return bool((x < column(primes)).all())


def encrypt(
    key: SecretKey, use: Parameters, t: int, slots: Residues, half: Residues, draw: Draw, path: str
) -> Residues:
    """A fresh ciphertext of up to N numbers below ``t``, at the roots: (primes, N). ``half``: its other half, uniform,
    which no other ciphertext has."""
    p = column(use.q)
    scaled = negacyclic.add(_scaled(use, t, _polynomial(t, slots)), _error(draw, path)[: len(use.q)], p)
    return subtract(transform(scaled, use.q), multiply(half, key.secret[: len(use.q)], p), p)


def halves(seed: bytes, use: Parameters, count: int) -> list[Residues]:
    """The uniform halves of ``count`` ciphertexts."""
    draw = _expanded(seed)
    return [_uniform(draw, str(i), use.q) for i in range(count)]


#: both halves of a ciphertext at the roots
Ciphertext = tuple[Residues, Residues]


def answer(
    key: PublicKey,
    use: Parameters,
    t: int,
    terms: Sequence[tuple[Ciphertext, Residues]],
    added: Residues,
    draw: Draw,
    path: str,
) -> Residues:
    """Σ ciphertext · factors + what is ``added``, in the slots: (2, kept primes, N) coefficients. Factors and what is
    added are up to N numbers below ``t`` each."""
    return _switched(flooded(key, use, t, terms, added, draw, path), use)


def flooded(
    key: PublicKey,
    use: Parameters,
    t: int,
    terms: Sequence[tuple[Ciphertext, Residues]],
    added: Residues,
    draw: Draw,
    path: str,
) -> Residues:
    """The answer before it is brought to a smaller modulus, (2, primes, N)."""
    p, count = column(use.q), len(use.q)
    hiding = transform(_ternary(draw, f"{path}/hiding")[:count], use.q)
    total = [multiply(half[:count], hiding, p) for half in (key.half, key.other)]
    for ciphertext, factors in terms:
        by = transform(_centred(_polynomial(t, factors), t, use.q), use.q)
        total = [negacyclic.add(s, multiply(c, by, p), p) for s, c in zip(total, ciphertext, strict=True)]
    out = negacyclic.coefficients(np.stack(total), use.q)
    out[0] = negacyclic.add(out[0], _scaled(use, t, _polynomial(t, added)), p)
    out[0] = negacyclic.add(out[0], _flood(use, draw, f"{path}/flood"), p)
    out[1] = negacyclic.add(out[1], _error(draw, f"{path}/error")[:count], p)
    return out


def decrypt(key: SecretKey, use: Parameters, t: int, answered: Residues) -> Residues:
    """The N slots. Raises ValueError where the noise is larger than any answer's, as under another key."""
    q = use.q[: use.kept]
    p = column(q)
    turned = multiply(transform(answered[1], q), key.secret[: use.kept], p)
    phase = negacyclic.add(answered[0], negacyclic.coefficients(turned, q), p)
    modulus = _product(q)
    parts = multiply(phase, column([pow(modulus // x, -1, x) for x in q]), p)
    whole, rest = negacyclic.divide_product(parts, np.full_like(parts, t), p)
    fraction = (rest / p).sum(axis=0)
    nearest = np.rint(fraction)
    if (np.abs(fraction - nearest) > 0.25).any():
        raise ValueError("not a ciphertext under this key")
    plain = (whole.sum(axis=0) + nearest.astype(np.uint64)) % np.uint64(t)
    slots: Residues = transform(plain[None, :], (t,))[0]
    return slots


# ---- polynomials


def _polynomial(t: int, slots: Residues) -> Residues:
    """The polynomial modulo t with these values at the roots, and 0 at the others: (N,)."""
    values = np.zeros((1, DEGREE), dtype=np.uint64)
    values[0, : len(slots)] = slots
    polynomial: Residues = negacyclic.coefficients(values, (t,))[0]
    return polynomial


def _centred(x: Residues, t: int, primes: Sequence[int]) -> Residues:
    """Numbers modulo t, either side of 0, modulo each prime: (primes, N)."""
    p = column(primes)
    out: Residues = np.where(x > np.uint64(t // 2), p - np.uint64(t) + x, x)
    return out


def _scaled(use: Parameters, t: int, x: Residues) -> Residues:
    """round(q·x/t) modulo each prime: q·x less its centred remainder modulo t, divided by t."""
    remainder = multiply(x, np.full_like(x, use.modulus % t), np.uint64(t).reshape(1))
    off = _centred(remainder, t, use.q)
    p = column(use.q)
    return multiply(p - off, column([pow(t, -1, q) for q in use.q]), p)


def _switched(x: Residues, use: Parameters) -> Residues:
    """Divided by all but the first ``kept`` primes, one after the other, and rounded."""
    q = use.q
    while len(q) > use.kept:
        q, dropped = q[:-1], q[-1]
        p = column(q)
        last = _centred(x[:, -1:], dropped, q)
        x = multiply(subtract(x[:, :-1], last, p), column([pow(dropped, -1, r) for r in q]), p)
    return x


# ---- what is drawn


def _expanded(seed: bytes) -> Draw:
    """Streams of a seed that everybody may know."""

    def words(path: str, count: int) -> NDArray[np.uint64]:
        key = hkdf(seed, salt=b"", info=label("bfv") + framed(path.encode()))
        return keystream(key, 8 * count).view("<u8").astype(np.uint64, copy=False)

    return words


def _uniform(draw: Draw, path: str, primes: Sequence[int]) -> Residues:
    """Uniform residues, (primes, N): words below the largest multiple of the prime, and the others thrown away. Of
    2^14 words one is; more than the spare ones never are."""
    out = np.empty((len(primes), DEGREE), dtype=np.uint64)
    for row, p in zip(out, primes, strict=True):
        words = draw(f"{path}/{p}", DEGREE + 256)
        row[:] = words[words < np.uint64((1 << 64) // p * p)][:DEGREE] % np.uint64(p)
    return out


def _ternary(draw: Draw, path: str) -> Residues:
    """−1, 0 or 1, (all primes, N); 2^64 leaves 1 divided by 3, which is 2^-64 from uniform."""
    return _signed((draw(path, DEGREE) % np.uint64(3)).view(np.int64) - 1)


def _error(draw: Draw, path: str) -> Residues:
    """Ones among 21 coins less ones among another 21, (all primes, N)."""
    words, low = draw(path, DEGREE), np.uint64((1 << _COINS) - 1)
    ones = np.bitwise_count(words & low).astype(np.int64)
    return _signed(ones - np.bitwise_count(words >> np.uint64(_COINS) & low))


def _signed(x: NDArray[np.int64]) -> Residues:
    return np.where(x < 0, column(_Q) + x.view(np.uint64), x.view(np.uint64))


def _flood(use: Parameters, draw: Draw, path: str) -> Residues:
    """Uniform in [−F, F), (primes, N)."""
    words = -(-(use.flood + 1) // 64)
    drawn = draw(path, words * DEGREE).reshape(DEGREE, words).copy()
    drawn[:, -1] &= np.uint64((1 << (use.flood + 1 - 64 * (words - 1))) - 1)
    p = column(use.q)
    return subtract(residues(drawn, use.q), column([(1 << use.flood) % q for q in use.q]), p)


def _product(numbers: Sequence[int]) -> int:
    out = 1
    for x in numbers:
        out *= x
    return out
