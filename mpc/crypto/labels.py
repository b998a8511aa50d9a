"""The one place where domain labels are made, so that no hash, key or signature serves two purposes.

Every derivation, digest and signature in Heji starts from ``label(purpose)``; the version is part of it.
"""

from __future__ import annotations

import hashlib


def label(purpose: str) -> bytes:
    """``heji/v1/<purpose>`` as bytes; purposes are lower-case words with slashes and dashes."""
    if not purpose or not all(c.islower() or c.isdigit() or c in "/-" for c in purpose):
        raise ValueError(f"not a label: {purpose!r}")
    return b"heji/v1/" + purpose.encode()


def framed(*parts: bytes) -> bytes:
    """Parts with their lengths (8 bytes, big-endian) in front: no two lists of parts give the same bytes."""
    return b"".join(len(p).to_bytes(8, "big") + p for p in parts)


def unframed(raw: bytes) -> list[bytes]:
    """The inverse, for bytes that were written by ``framed`` and authenticated since."""
    parts, at = [], 0
    while at < len(raw):
        end = at + 8 + int.from_bytes(raw[at : at + 8], "big")
        parts.append(raw[at + 8 : end])
        at = end
    return parts


def digest(purpose: str, *parts: bytes) -> bytes:
    """SHA-256 over label and length-prefixed parts."""
    return hashlib.sha256(framed(label(purpose), *parts)).digest()
