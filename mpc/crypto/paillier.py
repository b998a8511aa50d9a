"""Paillier's cryptosystem with raw whole numbers: the only user of phe (GPL-3.0, the optional extra ``paillier``).

    n = p·q        c = (1 + n)^m · r^n mod n²        c_1 · c_2 mod n² holds m_1 + m_2 mod n

P. Paillier, Public-Key Cryptosystems Based on Composite Degree Residuosity Classes, EUROCRYPT 1999. Plaintexts are
whole numbers of [0, n), never phe's float encodings, whose exponent is sent in the clear. Nothing here is encrypted
without r^n. Since mpc draws no randomness, keys and blinding factors come from seeds that are arguments: the same
seed gives the same bytes, so that a role can be replayed, and no seed may serve twice (``Pool`` refuses it).

Not constant time: neither phe nor GMP's ordinary powers are. Whoever can time the key holder's decryptions closely
is outside the adversaries of docs/protocols/deposit.md.

Who only adds or checks ciphertexts, a coordinator or an auditor, needs neither phe nor gmpy2.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mpc.crypto.agree import hkdf
from mpc.crypto.labels import digest, label
from mpc.crypto.stream import keystream
from mpc.errors import LocalError, PeerError

#: smallest modulus that is taken, 128 bits of security (NIST SP 800-57)
MIN_BITS = 3072
#: largest: longer ones only cost time, and a stranger's key must not cost any amount of it
MAX_BITS = 8192
#: bits drawn beyond those of n before reducing, so that r is uniform but for 2^-128
_SLACK = 128
#: blinding factors made between two looks at whether other threads want to run
_AT_ONCE = 16


@dataclass(frozen=True)
class PublicKey:
    """A modulus n. Raises LocalError protocol.point for one that is too short, too long, even or of odd length."""

    n: int

    def __post_init__(self) -> None:
        bits = self.n.bit_length()
        if not MIN_BITS <= bits <= MAX_BITS or bits % 8 or self.n % 2 == 0:
            raise LocalError(
                "protocol.point",
                f"A Paillier key of {bits} bits is not taken: its modulus must be odd, with {MIN_BITS} to {MAX_BITS} "
                "bits in whole bytes.",
                "The recipient makes a new key; older and shorter ones cannot be used.",
            )

    @cached_property
    def square(self) -> int:
        """n², the modulus of ciphertexts."""
        return self.n * self.n

    @cached_property
    def width(self) -> int:
        """Bytes of a ciphertext."""
        return 2 * (self.n.bit_length() // 8)

    @cached_property
    def fingerprint(self) -> bytes:
        """32 bytes that name the key in jobs and deposits."""
        return digest("paillier-key", self.to_bytes())

    def to_bytes(self) -> bytes:
        """n, big-endian, without leading zeros."""
        return self.n.to_bytes(self.n.bit_length() // 8, "big")

    @staticmethod
    def from_bytes(raw: bytes) -> PublicKey:
        """The inverse of ``to_bytes``: one key has one encoding. Raises LocalError protocol.point."""
        if not MIN_BITS // 8 <= len(raw) <= MAX_BITS // 8 or raw[0] < 0x80:
            raise LocalError(
                "protocol.point",
                f"{len(raw)} bytes are not a Paillier key.",
                "Ask the recipient for its public key again.",
            )
        return PublicKey(int.from_bytes(raw, "big"))

    def __repr__(self) -> str:
        return f"PublicKey({self.fingerprint.hex()[:16]}…)"


@dataclass(frozen=True, eq=False)
class SecretKey:
    """The primes p and q of a public key. Neither is in its ``repr``."""

    public: PublicKey
    p: int = field(repr=False)
    q: int = field(repr=False)

    def __post_init__(self) -> None:
        if self.p == self.q or self.p * self.q != self.public.n:
            raise LocalError("protocol.point", "A Paillier secret key does not belong to its public key.")

    @cached_property
    def _phe(self) -> Any:
        phe = _phe()
        return phe.PaillierPrivateKey(phe.PaillierPublicKey(self.public.n), self.p, self.q)


def key_from_seed(seed: bytes, bits: int = MIN_BITS) -> SecretKey:
    """The key that belongs to ``seed`` (32 bytes of system randomness, kept like the key itself).

    Primes of bits/2 each by rejection from the seed's keystream, both with their two top bits set (so that n has
    ``bits`` bits) and more than 2^(bits/2 − 100) apart (FIPS 186-5, A.1.3). Takes a second or two.
    """
    assert len(seed) == 32
    if not MIN_BITS <= bits <= MAX_BITS or bits % 16:
        raise LocalError("protocol.point", f"A Paillier key must have {MIN_BITS} to {MAX_BITS} bits, not {bits}.")
    p, q = prime(seed, b"p", bits // 2), prime(seed, b"q", bits // 2)
    verify_primes(p, q)
    return SecretKey(PublicKey(p * q), p, q)


class Pool:
    """Blinding factors r^n mod n² of one key, made ahead since they take nearly all the time; each is given out once.

    ``fill`` may run in another thread than ``take``.
    """

    def __init__(self, key: PublicKey) -> None:
        self.key = key
        self._factors: deque[int] = deque()
        self._seeds: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._factors)

    def __repr__(self) -> str:
        return f"Pool({self.key!r}, {len(self)} left)"

    def fill(self, seed: bytes, count: int) -> None:
        """Add the ``count`` factors of ``seed`` (32 bytes of system randomness). Raises protocol.reuse the 2nd time."""
        assert len(seed) == 32
        seen = digest("paillier-seed", seed)
        if seen in self._seeds:
            raise LocalError("protocol.reuse", "Blinding factors would be made from one seed a second time.")
        self._seeds.add(seen)
        gmpy2, n, square = gmp(), self.key.n, self.key.square
        size = (n.bit_length() + _SLACK) // 8
        stream = keystream(hkdf(seed, salt=self.key.fingerprint, info=label("paillier-blinding")), size * count)
        for start in range(0, size * count, size * _AT_ONCE):
            piece = stream[start : start + size * _AT_ONCE].tobytes()
            drawn = [int.from_bytes(piece[i : i + size], "big") % n for i in range(0, len(piece), size)]
            # unlike powmod it lets other threads run
            self._factors.extend(gmpy2.powmod_base_list(drawn, n, square))

    def put(self, seed: bytes, factors: Iterable[int]) -> None:
        """Add factors that were made from ``seed`` otherwise (mpc/crypto/powers.py). Raises as ``fill`` does."""
        seen = digest("paillier-seed", seed)
        if seen in self._seeds:
            raise LocalError("protocol.reuse", "Blinding factors would be made from one seed a second time.")
        self._seeds.add(seen)
        self._factors.extend(factors)

    def take(self, count: int) -> list[int]:
        """``count`` factors, which nobody gets again. Raises LocalError protocol.reuse if there are fewer."""
        if count > len(self._factors):
            raise LocalError(
                "protocol.reuse",
                f"{count} blinding factors are needed and {len(self._factors)} are left; none is used twice.",
                "Fill the pool and try again.",
            )
        return [self._factors.popleft() for _ in range(count)]


def encrypt(key: PublicKey, plaintexts: Sequence[int], pool: Pool) -> list[int]:
    """Ciphertexts of ``plaintexts``, each in [0, n). Takes as many factors from the pool."""
    assert pool.key == key
    assert all(0 <= m < key.n for m in plaintexts)
    n, square, factors = gmp().mpz(key.n), gmp().mpz(key.square), pool.take(len(plaintexts))
    # (1 + n)^m = 1 + n·m modulo n², which never leaves this line unblinded
    return [int((1 + n * m) * factor % square) for m, factor in zip(plaintexts, factors, strict=True)]


def add(key: PublicKey, columns: Iterable[Sequence[int]], length: int) -> list[int]:
    """Ciphertexts of the sums, place by place, of columns of ``length`` ciphertexts each."""
    total = [_number(1)] * length
    for column in columns:
        total = [t * c % key.square for t, c in zip(total, column, strict=True)]
    return [int(t) for t in total]


def decrypt(secret: SecretKey, ciphertexts: Sequence[int]) -> list[int]:
    """Plaintexts in [0, n) of ciphertexts that ``decode`` let through."""
    return [int(secret._phe.raw_decrypt(c)) for c in ciphertexts]


def encode(key: PublicKey, ciphertexts: Sequence[int]) -> bytes:
    """Ciphertexts big-endian, ``key.width`` bytes each."""
    return b"".join(c.to_bytes(key.width, "big") for c in ciphertexts)


def decode(key: PublicKey, raw: bytes, length: int, *, party: str, step: str) -> list[int]:
    """The inverse of ``encode``, for ``length`` ciphertexts that ``party`` sent.

    Raises PeerError protocol.size for another length, protocol.malformed unless 0 < c < n² and gcd(c, n) = 1 for each.
    """
    if len(raw) != length * key.width:
        raise PeerError(
            "protocol.size",
            f"{party} sent {len(raw)} bytes of ciphertexts at {step}, where {length * key.width} belong.",
            party=party,
            step=step,
        )
    ciphertexts = [int.from_bytes(raw[i : i + key.width], "big") for i in range(0, len(raw), key.width)]
    product, n = _number(1), _number(key.n)
    for c in ciphertexts:
        product = product * c % n  # coprime to n if and only if every c is; 0 is not
    if math.gcd(int(product), key.n) != 1 or any(c >= key.square for c in ciphertexts):
        raise PeerError(
            "protocol.malformed",
            f"{party} sent a number at {step} that is no ciphertext under this key.",
            "Nothing of it was used. That member has to encrypt again, under the key the job names.",
            party=party,
            step=step,
        )
    return ciphertexts


def verify_primes(p: int, q: int) -> None:
    """Raises LocalError protocol.point unless p and q are far enough apart and fit Paillier's cryptosystem."""
    if abs(p - q) >> (p.bit_length() - 100) == 0 or math.gcd(p * q, (p - 1) * (q - 1)) != 1:
        raise LocalError("protocol.point", "This seed gives no safe Paillier key.", "Draw another seed.")


def prime(seed: bytes, name: bytes, bits: int, step: int = 2) -> int:
    """A prime of ``bits`` bits, its two top bits set, 1 modulo ``step``: the first one of the seed's candidates."""
    gmpy2, size = gmp(), bits // 8
    # one odd number in 532 of 1536 bits is prime: the chance that none of 2^15 is lies below 2^-88
    stream = keystream(hkdf(seed, salt=b"", info=label("paillier-prime") + name), size << 15)
    top, candidates = 0b11 << (bits - 2), stream.reshape(-1, size)
    for row in candidates:
        candidate = int.from_bytes(row.tobytes(), "big") | top
        candidate += 1 - candidate % step
        if gmpy2.is_prime(candidate, 50):
            return candidate
    raise LocalError("protocol.point", "This seed gives no Paillier key.", "Draw another seed.")


def verify_installed() -> None:
    """Raises LocalError config.missing where the extra ``paillier`` is not installed."""
    _phe()
    gmp()


def _phe() -> Any:
    try:
        from phe import paillier
    except ImportError:
        raise _missing("phe") from None
    return paillier


def _number(x: int) -> Any:
    """GMP's where that is installed, which multiplies several times as fast."""
    try:
        return gmp().mpz(x)
    except LocalError:
        return x


def gmp() -> Any:
    """gmpy2. Raises LocalError config.missing."""
    try:
        import gmpy2
    except ImportError:
        raise _missing("gmpy2") from None
    return gmpy2


def _missing(package: str) -> LocalError:
    return LocalError(
        "config.missing",
        f"Paillier encryption needs the Python package {package}, which is not installed here.",
        "Install Heji with its extra: pip install 'heji[paillier]'. phe is under GPL-3.0, which is why it is optional.",
    )
