"""Ed25519 signatures over DSSE's pre-authentication encoding (PAE), under a labelled payload type.

    PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body        (secure-systems-lab/dsse, protocol.md)

The type is ``application/vnd.heji.<label>.v1``, so a signature over a job can never be taken for one over an approval.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from mpc.errors import PeerError


def payload_type(label: str) -> str:
    return f"application/vnd.heji.{label}.v1"


def pae(label: str, body: bytes) -> bytes:
    """The bytes that are signed."""
    kind = payload_type(label).encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def sign(private: Ed25519PrivateKey, label: str, body: bytes) -> bytes:
    """A 64-byte signature over ``body`` as a ``label``."""
    return private.sign(pae(label, body))


def verify(public: bytes, label: str, body: bytes, signature: bytes, *, party: str) -> None:
    """Raises PeerError protocol.signature, blaming ``party``, unless ``public`` (32 bytes) signed ``body``."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, pae(label, body))
    except (InvalidSignature, ValueError):
        raise PeerError("protocol.signature", f"A signature of {party} over a {label} does not verify.",
                        "Whoever handed it over changed it, or the roster has another key.", party=party) from None  # fmt: skip
