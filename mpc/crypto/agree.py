"""Key agreement of two participants for one job and attempt (protocols.md, P0).

    k_ij = HKDF-SHA256(X25519(e_i, E_j), salt = job digest ‖ attempt, info = "heji/v1/pair" ‖ i ‖ j ‖ E_i ‖ E_j)

with i < j by name, so that both sides write the same. X25519: RFC 7748; HKDF: RFC 5869.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mpc.crypto.labels import framed, label
from mpc.errors import LocalError


def public_key(private: bytes) -> bytes:
    """The X25519 public key (32 bytes) of a private key (32 bytes, any)."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def exchange(private: bytes, peer_public: bytes) -> bytes:
    """The X25519 shared secret. Raises LocalError protocol.point for low-order points (all-zero secret)."""
    try:
        # OpenSSL raises on the all-zero secret, which is what every low-order point gives (RFC 7748, 6.1).
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(peer_public))
    except ValueError as problem:
        raise LocalError(
            "protocol.point", "A public key is of low order or malformed; no secret can come of it."
        ) from problem


def hkdf(key: bytes, *, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256, extract and expand."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def pair_key(
    *, private: bytes, me: str, my_public: bytes, peer: str, peer_public: bytes, job: bytes, attempt: int
) -> bytes:
    """k_ij, the 32-byte key that ``me`` and ``peer`` alone know in this attempt of this job."""
    (i, e_i), (j, e_j) = sorted([(me, my_public), (peer, peer_public)])
    info = label("pair") + framed(i.encode(), j.encode(), e_i, e_j)
    return hkdf(exchange(private, peer_public), salt=job + attempt.to_bytes(4, "big"), info=info)
