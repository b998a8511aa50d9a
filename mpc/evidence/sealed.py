"""Messages that one member heard, sealed to one auditor: X25519 with a fresh key, HKDF, AES-256-GCM.

    ephemeral public key (32 bytes) ‖ AES-256-GCM(nonce 0, [sender, step, message]…, each with its length in front)

The key is used once. Bodies are not harmless: with the helper's a party could test its ids against another's table,
with a recipient's mask single inputs could be read from the coordinator's. So they go to an auditor whose institution
has no part in the job, and to nobody else (transcript.md).
"""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mpc.crypto.agree import exchange, hkdf, public_key
from mpc.crypto.labels import framed, label, unframed
from mpc.errors import LocalError
from mpc.run import Sent


def seal(messages: Iterable[Sent], job: str, member: str, auditor: bytes, ephemeral: bytes) -> bytes:
    """What ``member`` heard in ``job``, for the X25519 key ``auditor``. ``ephemeral``: 32 random bytes, used once."""
    text = framed(*(part for s in messages for part in (s.sender.encode(), s.step.encode(), bytes(s.raw))))
    own = public_key(ephemeral)
    return own + _cipher(exchange(ephemeral, auditor), own, auditor, job, member).encrypt(bytes(12), text, None)


def open_sealed(raw: bytes, job: str, member: str, key: bytes) -> tuple[Sent, ...]:
    """The inverse, with the auditor's private key. Raises LocalError evidence.invalid."""
    try:
        secret = exchange(key, raw[:32])
        text = _cipher(secret, raw[:32], public_key(key), job, member).decrypt(bytes(12), raw[32:], None)
    except (InvalidTag, ValueError, LocalError):
        raise LocalError(
            "evidence.invalid",
            f"The messages of {member} cannot be opened: they are sealed to another key, or damaged.",
            "Give the folder of the auditor that they were sealed for.",
        ) from None
    parts = iter(unframed(text))
    return tuple(Sent(s.decode(), member, t.decode(), body) for s, t, body in zip(parts, parts, parts, strict=True))


def _cipher(secret: bytes, ephemeral: bytes, auditor: bytes, job: str, member: str) -> AESGCM:
    info = label("sealed") + framed(ephemeral, auditor, job.encode(), member.encode())
    return AESGCM(hkdf(secret, salt=b"", info=info))
