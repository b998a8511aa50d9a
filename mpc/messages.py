"""What is said in a protocol, as frozen values. ``mpc.codec`` turns them into bytes and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: uint64, shape (n,) for Z_2^64 and (n, 2) for Z_2^128 (low half first)
RingWords = NDArray[np.uint64]


@dataclass(frozen=True)
class Announce:
    """A fresh X25519 public key (32 bytes) under the member's Ed25519 signature (P0)."""

    public_key: bytes
    signature: bytes


@dataclass(frozen=True)
class Agreed:
    """The signed digest of job, roster, plan, participants and all their announced keys (P0)."""

    digest: bytes
    signature: bytes


@dataclass(frozen=True, eq=False)
class Words:
    """A block of masked ring words; ``ring`` is 64 or 128."""

    ring: int
    words: RingWords


@dataclass(frozen=True, eq=False)
class Positions:
    """A block of places in a column: (n,) uint32."""

    positions: NDArray[np.uint32]


@dataclass(frozen=True)
class Many:
    """What operations that run side by side say at one time: pairs of a step and an encoded message, at least one."""

    said: tuple[tuple[str, bytes], ...]


Message = Announce | Agreed | Words | Positions | Many
