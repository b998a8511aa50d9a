"""Ed25519 signatures over DSSE's pre-authentication encoding (PAE), each under a domain label.

    PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body        (secure-systems-lab/dsse, protocol.md)

The type is ``heji/v1/<purpose>`` from ``mpc.crypto.labels``, so a signature over a job can never be taken for one
over an approval, nor one of this version for one of the next.

Verification is RFC 8032's, by OpenSSL: S below the group order (Wycheproof's vectors are in the tests). On top of it,
public keys of small order are refused: under them one signature fits any message, so a member could deny every word.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mpc.crypto import sodium
from mpc.crypto.labels import label
from mpc.errors import PeerError

#: 2^255 - 19, the field of Curve25519
_P = (1 << 255) - 19
#: y of the points whose order divides 8, besides 0, 1 and -1 (RFC 7748 lists them for the birational curve)
_ORDER_8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


def pae(purpose: str, body: bytes) -> bytes:
    """The bytes that are signed."""
    kind = label(purpose)
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def sign(private: Ed25519PrivateKey, purpose: str, body: bytes) -> bytes:
    """A 64-byte signature over ``body`` for one purpose ("job", "approval", …)."""
    return private.sign(pae(purpose, body))


def verify(public: bytes, purpose: str, body: bytes, signature: bytes, *, party: str) -> None:
    """Raises PeerError protocol.signature, blaming ``party``, unless ``public`` (32 bytes) signed ``body``."""
    try:
        verify_raw(public, pae(purpose, body), signature)
    except (InvalidSignature, ValueError):
        raise PeerError(
            "protocol.signature",
            f"A signature of {party} over a {purpose} does not verify.",
            "Whoever handed it over changed it, or the roster has another key.",
            party=party,
        ) from None


def verify_raw(public: bytes, message: bytes, signature: bytes) -> None:
    """Plain Ed25519, without label. Raises InvalidSignature, or ValueError for what is no key."""
    verify_public(public)
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def holds(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``verify_raw`` passes, for who verifies thousands: libsodium takes half the time. It accepts nothing that
    RFC 8032 does not, but refuses some of what it leaves open; there ``verify_raw`` decides."""
    fast = sodium.verify_ed25519()
    try:
        if fast is not None and len(public) == 32 and len(signature) == 64:
            verify_public(public)
            if fast(signature, message, len(message), public) == 0:
                return True
        verify_raw(public, message, signature)
    except (InvalidSignature, ValueError):
        return False
    return True


def verify_public(public: bytes) -> None:
    """Raises ValueError unless these are 32 bytes of a canonical public key that is not of small order."""
    if len(public) != 32:
        raise ValueError("an Ed25519 public key has 32 bytes")
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)  # the top bit is the sign of x
    if y >= _P or y in _SMALL:
        raise ValueError("an Ed25519 public key of small order, or not canonical")
