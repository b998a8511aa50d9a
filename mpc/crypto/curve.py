"""ristretto255 (RFC 9496): a group of prime order ℓ, through libsodium.

Points are 32 canonical bytes, scalars integers modulo ℓ. The identity is no point here: nothing that members say to
each other may be it (checklist 4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from mpc.crypto import sodium
from mpc.crypto.labels import framed, label
from mpc.errors import LocalError

#: order of the group
ORDER = (1 << 252) + 27742317777372353535851937790883648493
POINT_BYTES = 32
#: uniform bytes that are reduced to a scalar, so that no scalar is likelier than another by more than 2^-256
UNIFORM_BYTES = 64


def hash_to_point(purpose: str, *parts: bytes) -> bytes:
    """A point whose logarithm nobody knows."""
    return point(hashlib.sha512(framed(label(purpose), *parts)).digest())


def point(uniform: bytes) -> bytes:
    """64 uniform bytes as a uniform point (RFC 9496, 4.3.4)."""
    assert len(uniform) == UNIFORM_BYTES
    return bytes(sodium.library().crypto_core_ristretto255_from_hash(uniform))


def scalar(uniform: bytes) -> int:
    """64 uniform bytes as a scalar."""
    assert len(uniform) == UNIFORM_BYTES
    return int.from_bytes(uniform, "little") % ORDER


def multiply(point: bytes, by: int) -> bytes | None:
    """``by`` times a point; None for the identity."""
    by %= ORDER
    if by == 0:
        return None
    return bytes(sodium.library().crypto_scalarmult_ristretto255(by.to_bytes(32, "little"), point))


def raised(point: bytes, by: int) -> bytes:
    """``by`` times a point that somebody sent, ``by`` not 0 modulo ℓ. Raises LocalError protocol.point unless these are
    the canonical bytes of a point that is not the identity: libsodium refuses both."""
    if len(point) != POINT_BYTES:
        raise _no_point()
    try:
        return bytes(sodium.library().crypto_scalarmult_ristretto255(by.to_bytes(32, "little"), point))
    except RuntimeError:
        raise _no_point() from None


def add(points: Iterable[bytes | None]) -> bytes | None:
    """The sum of points; None for the identity."""
    total: bytes | None = None
    for p in points:
        if p is None:
            continue
        if total is None:
            total = p
            continue
        total = bytes(sodium.library().crypto_core_ristretto255_add(total, p))
        if total == bytes(POINT_BYTES):
            total = None
    return total


def check(point: bytes) -> None:
    """Raises LocalError protocol.point unless these are the canonical bytes of a point that is not the identity."""
    good = len(point) == POINT_BYTES and point != bytes(POINT_BYTES)
    if not good or not sodium.library().crypto_core_ristretto255_is_valid_point(point):
        raise _no_point()


def _no_point() -> LocalError:
    return LocalError("protocol.point", "These bytes are no point of ristretto255.")
