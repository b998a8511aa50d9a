"""Sums under lattice encryption, BFV and CKKS: the only user of TenSEAL (Apache-2.0, the optional extra ``lattice``).

    BFV     whole numbers modulo a prime t of 58 bits, exact; several primes at once where one is too small (CRT)
    CKKS    numbers with an error, which is bounded and rounded away: the sum is the exact one (coefficients.py)

J. Fan, F. Vercauteren, Somewhat Practical Fully Homomorphic Encryption, ePrint 2012/144; J. H. Cheon et al.,
Homomorphic Encryption for Arithmetic of Approximate Numbers, ASIACRYPT 2017. Parameters come from ``_TABLE`` and from
nowhere else: N = 8192 with log q ≤ 218 has 128 bits of security against classical attacks (HomomorphicEncryption.org
standard, 2018, ternary secrets). Nobody chooses any.

**Exact, and how we know.** SEAL draws errors from a centred binomial distribution of absolute value ≤ 21 and ternary
u and s, so a fresh ciphertext's error polynomial e·u + e1 + e2·s has coefficients of at most 21·(2N + 1) < 2^18.4,
whatever was drawn. BFV decrypts correctly while the error stays below q/2t = 2^(174 − 59): with rounding and wraps each
summand takes less than 2^59 of it, so 2^50 summands are far from it. Of CKKS mpc/crypto/coefficients.py tells it.

SEAL draws its own randomness (Blake2xb from the system's), so keys are made where parties do input and output, and
enter a protocol as arguments: ``new_key`` is no function of its arguments alone, nor is ``encrypt`` without seeds
(seeded.py). With them it is, and adding always. A ciphertext shows who holds the secret key everything in it, its error
included: nobody may compute on one with a secret of its own and give it back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mpc.crypto import coefficients
from mpc.crypto.labels import digest, framed, unframed
from mpc.crypto.negacyclic import Residues
from mpc.crypto.seeded import Seeds, seeded_vector
from mpc.errors import LocalError, PeerError
from mpc.messages import RingWords

Scheme = Literal["bfv", "ckks"]
#: the polynomials' degree; a ciphertext holds as many values
DEGREE = coefficients.DEGREE
#: the largest primes below 2^58 that are 1 modulo 2N: plaintext moduli of BFV, used from the left; its coefficient
#: modulus is SEAL's for this degree, 218 bits in all
PRIMES = (288230376150876161, 288230376150712321, 288230376150630401)
#: bytes of one public key and of one ciphertext are below these
_MOST_KEY, MOST_CIPHERTEXT = 640 * 1024, 512 * 1024
_SCALE = 2.0**coefficients.SCALE_BITS


def primes_for(bound: int) -> int:
    """How many plaintext primes hold totals up to ±``bound``. Raises LocalError plan.overflow beyond three."""
    for count in range(1, len(PRIMES) + 1):
        if 2 * bound < math.prod(PRIMES[:count]):
            return count
    raise LocalError(
        "plan.overflow",
        f"A total of {bound.bit_length()} bits does not fit the plaintexts of BFV.",
        "Declare tighter bounds, or use a secure sum (--method masked).",
    )


@dataclass(frozen=True)
class PublicKey:
    """What encrypts: one public TenSEAL context a prime (one in all for CKKS), each without any secret.

    Raises LocalError protocol.point for bytes that are no such key under our parameters, or hold more than it.
    """

    scheme: Scheme
    contexts: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= len(self.contexts) <= (len(PRIMES) if self.scheme == "bfv" else 1):
            raise _no_key("it has another number of parts")
        for i, raw in enumerate(self.contexts):
            if len(raw) > _MOST_KEY:
                raise _no_key("it is too long")
            context = _context(raw)
            if context.has_secret_key() or context.has_galois_keys() or context.has_relin_keys():
                raise _no_key("it holds more than a public key")
            if _parameters(context) != _parameters_of(self.scheme, i) or not context.has_public_key():
                raise _no_key("its parameters are not those of the table")
            if _public(context) != raw:
                raise _no_key("it is not in its canonical form")

    @property
    def primes(self) -> tuple[int, ...]:
        return PRIMES[: len(self.contexts)] if self.scheme == "bfv" else ()

    @cached_property
    def fingerprint(self) -> bytes:
        """32 bytes that name the key in jobs and deposits."""
        return digest("lattice-key", self.to_bytes())

    def to_bytes(self) -> bytes:
        return framed(self.scheme.encode(), *self.contexts)

    @staticmethod
    def from_bytes(raw: bytes) -> PublicKey:
        """The inverse. Raises LocalError protocol.point."""
        if len(raw) > 3 * (_MOST_KEY + 8) + 16:
            raise _no_key("it is too long")
        scheme, *contexts = unframed(raw) or [b""]
        if framed(scheme, *contexts) != raw or scheme not in (b"bfv", b"ckks"):
            raise _no_key("it is not in its canonical form")
        return PublicKey("bfv" if scheme == b"bfv" else "ckks", tuple(contexts))

    @cached_property
    def _loaded(self) -> tuple[Any, ...]:
        return tuple(_context(c) for c in self.contexts)

    def __repr__(self) -> str:
        return f"PublicKey({self.scheme}, {self.fingerprint.hex()[:16]}…)"

    def ciphertexts(self, length: int) -> int:
        """Ciphertexts of a vector of ``length`` values."""
        return -(-length // DEGREE) * len(self.contexts)


@dataclass(frozen=True, eq=False)
class SecretKey:
    """What decrypts; ``to_bytes`` is for its holder's own encrypted file and for nobody else."""

    public: PublicKey
    contexts: tuple[bytes, ...] = field(repr=False)

    def to_bytes(self) -> bytes:
        return framed(self.public.scheme.encode(), *self.contexts)

    @staticmethod
    def from_bytes(raw: bytes) -> SecretKey:
        """The inverse, for bytes that were authenticated."""
        scheme, *contexts = unframed(raw)
        public = PublicKey("bfv" if scheme == b"bfv" else "ckks", tuple(_public(_context(c)) for c in contexts))
        return SecretKey(public, tuple(contexts))

    @cached_property
    def _loaded(self) -> tuple[Any, ...]:
        return tuple(_context(c) for c in self.contexts)


def verify_installed() -> None:
    """Raises LocalError config.missing where the extra ``lattice`` is not installed."""
    _tenseal()


def new_key(scheme: Scheme, primes: int = 1) -> SecretKey:
    """A new key for ``primes`` plaintext primes (BFV). Draws the system's randomness: for parties/ to call."""
    assert 1 <= primes <= (len(PRIMES) if scheme == "bfv" else 1)
    made = [_fresh(scheme, i) for i in range(primes)]
    secret = tuple(bytes(c.serialize(True, True, False, False)) for c in made)
    return SecretKey(PublicKey(scheme, tuple(_public(c) for c in made)), secret)


def encrypt(key: PublicKey, x: RingWords, seeds: Seeds | None = None) -> list[bytes]:
    """Fresh ciphertexts of signed whole numbers in words of 64 bits, ``x``: (length,) or (length, words); block by
    block, its primes together.

    ``seeds``: where the randomness of ciphertexts comes from; else it is the system's, for parties/ to call. What the
    plaintexts cannot hold is for the plan to refuse.
    """
    made: list[bytes] = []
    parts = [_residues(x, p) for p in (key.primes or coefficients.PRIMES)]
    for start in range(0, len(x), DEGREE):
        blocks = [part[start : start + DEGREE] for part in parts]
        if key.scheme == "ckks":
            zero = _encrypted("ckks", key._loaded[0], [0.0], seeds, len(made))
            made.append(_ckks(key._loaded[0], zero, np.stack(blocks)))
            continue
        for context, block in zip(key._loaded, blocks, strict=True):
            made.append(_encrypted("bfv", context, block.tolist(), seeds, len(made)))
    return made


def verify_ciphertexts(key: PublicKey, ciphertexts: Sequence[bytes], length: int, *, party: str, step: str) -> None:
    """Whether these can be the ciphertexts of ``length`` values that ``party`` made under ``key``.

    Raises PeerError protocol.size for another number or longer ones, protocol.malformed for what is no ciphertext with
    our parameters, of another length, of more than two polynomials, of one that hides nothing, or not in canonical
    form.
    That it is under this very key nobody can see but by decrypting.
    """
    if len(ciphertexts) != key.ciphertexts(length) or any(len(c) > MOST_CIPHERTEXT for c in ciphertexts):
        raise PeerError(
            "protocol.size",
            f"{party} sent {len(ciphertexts)} ciphertexts at {step}, where {key.ciphertexts(length)} of at most "
            f"{MOST_CIPHERTEXT} bytes belong.",
            party=party,
            step=step,
        )
    contexts = key._loaded
    for i, raw in enumerate(ciphertexts):
        block = i // len(contexts)
        try:
            vector = _vector(key.scheme, contexts[i % len(contexts)], raw)
            inner = vector.ciphertext()
            good = (
                vector.size() == _block_length(key.scheme, length, block)
                and len(inner) == 1
                and inner[0].size() == 2
                and not inner[0].is_transparent()
                and (key.scheme == "bfv" or inner[0].scale == _SCALE)
                and bytes(vector.serialize()) == raw
            )
        except (ValueError, RuntimeError):
            good = False
        if not good:
            raise PeerError(
                "protocol.malformed",
                f"{party} sent something at {step} that is no ciphertext under the job's parameters.",
                "Nothing of it was used. That member has to encrypt again, under the key the job names.",
                party=party,
                step=step,
            )


def add(key: PublicKey, columns: Iterable[Sequence[bytes]]) -> list[bytes]:
    """Ciphertexts of the sums, place by place, of what ``verify_ciphertexts`` let through. A function of its arguments:
    the same ciphertexts in the same order give the same bytes."""
    contexts = key._loaded
    total: list[Any] = []
    for column in columns:
        read = [_vector(key.scheme, contexts[i % len(contexts)], raw) for i, raw in enumerate(column)]
        total = [t.add_(v) for t, v in zip(total, read, strict=True)] if total else read
    return [bytes(t.serialize()) for t in total]


def decrypt(secret: SecretKey, ciphertexts: Sequence[bytes], length: int) -> NDArray[Any]:
    """The values of ``length`` places, (length,): int64, or Python's whole numbers where it takes several primes.

    ``ciphertexts`` as ``verify_ciphertexts`` let them through. BFV: each value lies within half of the product of the
    primes, either side of 0; CKKS: within ``coefficients.most``. Raises ValueError in CKKS where a value is too far
    from a whole number to be a sum of what the plan allows.
    """
    public = secret.public
    parts: list[list[NDArray[Any]]] = [[] for _ in public.contexts]
    for i, raw in enumerate(ciphertexts):
        of = i % len(parts)
        context = secret._loaded[of]
        vector = _vector(public.scheme, context, raw)
        if public.scheme == "ckks":
            both = coefficients.words(vector.ciphertext()[0].__getitem__, 2)
            parts[of].append(coefficients.decrypted(both, _secret(context)))
        else:
            parts[of].append(np.array(vector.decrypt(), dtype=np.int64))
    columns = [np.concatenate(p)[:length] for p in parts]
    return columns[0] if len(columns) == 1 else _combined(columns, public.primes)


def _encrypted(scheme: Scheme, context: Any, values: list[Any], seeds: Seeds | None, number: int) -> bytes:
    """The ``number``-th ciphertext of a vector, by SEAL."""
    ts, scale = _tenseal(), None if scheme == "bfv" else _SCALE
    if seeds is not None:
        return seeded_vector(context, values, scale, seeds.of(number), seeds.saved)
    made = ts.bfv_vector(context, values) if scale is None else ts.ckks_vector(context, values, scale)
    return bytes(made.serialize())


def _ckks(context: Any, zero: bytes, residues: NDArray[np.int64]) -> bytes:
    """A ciphertext of numbers, centred modulo each prime of CKKS: a fresh encryption of 0, and they added to it."""
    made = _vector("ckks", context, zero)
    id_ = made.ciphertext()[0].parms_id()
    p = np.array(coefficients.PRIMES)[:, None]
    m = coefficients.plaintext(np.where(residues < 0, residues + p, residues).astype(np.uint64))
    return bytes(made.add_(_vector("ckks", context, coefficients.bare(zero, id_, m))).serialize())


def _secret(context: Any) -> Residues:
    s: Residues = coefficients.words(context.secret_key().data.data().__getitem__, 1)[0]
    return s


def _residues(x: RingWords, p: int) -> NDArray[np.int64]:
    """Signed words modulo a prime of 58 bits, centred, by Horner's rule over pieces of four bits."""
    words = x[:, None] if x.ndim == 1 else x[:, ::-1]  # most significant first
    top = words[:, 0].view(np.int64)
    modulus = np.uint64(p)
    r = np.where(top < 0, np.uint64(p - 1), np.uint64(0))  # -1 · 2^64 …, what the sign stands for
    for column in words.T:
        for shift in range(60, -4, -4):
            piece = (column >> np.uint64(shift)) & np.uint64(15)
            r = ((r << np.uint64(4)) + piece) % modulus
    half = p // 2
    return np.where(r > np.uint64(half), r.astype(np.int64) - p, r.astype(np.int64))


def _combined(columns: Sequence[NDArray[np.generic]], primes: Sequence[int]) -> NDArray[np.object_]:
    """The centred numbers modulo the product of ``primes`` with these residues (Garner)."""
    value = columns[0].astype(object) % primes[0]
    product = primes[0]
    for column, p in zip(columns[1:], primes[1:], strict=True):
        value = value + product * ((column.astype(object) - value) * pow(product, -1, p) % p)
        product *= p
    return np.where(value > product // 2, value - product, value)


def _block_length(scheme: Scheme, length: int, block: int) -> int:
    """What TenSEAL says that a ciphertext holds; of CKKS it knows of the 0 only that was encrypted."""
    return min(DEGREE, length - block * DEGREE) if scheme == "bfv" else 1


def _vector(scheme: Scheme, context: Any, raw: bytes) -> Any:
    ts = _tenseal()
    return ts.bfv_vector_from(context, raw) if scheme == "bfv" else ts.ckks_vector_from(context, raw)


def _fresh(scheme: Scheme, i: int) -> Any:
    """A context of its own with new keys."""
    ts = _tenseal()
    if scheme == "bfv":
        return ts.context(ts.SCHEME_TYPE.BFV, poly_modulus_degree=DEGREE, plain_modulus=PRIMES[i], n_threads=1)
    return ts.context(
        ts.SCHEME_TYPE.CKKS, poly_modulus_degree=DEGREE, coeff_mod_bit_sizes=list(coefficients.BITS), n_threads=1
    )


@cache
def _parameters_of(scheme: Scheme, i: int) -> bytes:
    return _parameters(_fresh(scheme, i))


def _parameters(context: Any) -> bytes:
    """The part of a context that is not a key: equal for equal parameters."""
    return bytes(context.serialize(False, False, False, False))


def _public(context: Any) -> bytes:
    return bytes(context.serialize(True, False, False, False))


def _context(raw: bytes) -> Any:
    try:
        return _tenseal().context_from(raw, n_threads=1)
    except (ValueError, RuntimeError):
        raise _no_key("it cannot be read") from None


def _no_key(why: str) -> LocalError:
    return LocalError(
        "protocol.point",
        f"This is no public key of BFV or CKKS for Heji: {why}.",
        "Ask the recipient for its key again.",
    )


def _tenseal() -> Any:
    try:
        import tenseal
    except ImportError:
        raise LocalError(
            "config.missing",
            "Lattice encryption needs the Python package tenseal, which is not installed here.",
            "Install Heji with its extra: pip install 'heji[lattice]', or use --method paillier.",
        ) from None
    return tenseal
