"""Who holds shares, and the words that the helper shares with each holder.

The helper has a key with every holder (P0), so most of what it deals needs no message: all holders draw their part from
that key, the helper draws all parts, and one holder, the last, is told the difference to what the parts must add up to.

Two holders can do without: each draws its part from coins of its own, and the last one works out the difference with
the first under encryption (dealer.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.crypto.bfv import PublicKey, SecretKey
from mpc.messages import RingWords
from mpc.ring import ring
from mpc.rounds import Session

#: the seat of the helper where two holders deal between themselves: nobody sits there
NO_HELPER = ""


@dataclass(frozen=True)
class Circle:
    """``holders`` (at least two, sorted) hold shares; ``helper`` deals and never hears an opening.

    ``key``: of two holders without a helper the last one's key, at the first its public half.
    """

    holders: tuple[str, ...]
    helper: str
    key: SecretKey | PublicKey | None = None

    def __post_init__(self) -> None:
        assert len(self.holders) >= 2 and list(self.holders) == sorted({*self.holders} - {self.helper})
        assert self.alone == (self.key is not None) and (len(self.holders) == 2 or not self.alone)

    @property
    def alone(self) -> bool:
        """Whether two holders deal between themselves."""
        return self.helper == NO_HELPER

    @property
    def first(self) -> str:
        """The holder that adds public terms to its share."""
        return self.holders[0]

    @property
    def last(self) -> str:
        """The holder that hears corrections of the helper."""
        return self.holders[-1]

    def others(self, me: str) -> frozenset[str]:
        return frozenset(self.holders) - {me}


def drawn(session: Session, peer: str, bits: int, count: int) -> RingWords:
    """``count`` uniform ring elements that this member and ``peer`` draw at this step."""
    r = ring(bits)
    return r.from_stream(session.pairs[peer].words(session.path, r.WIDTH * count))


def drawn_bits(session: Session, peer: str, dtype: type[np.unsignedinteger], count: int) -> NDArray[np.unsignedinteger]:
    """``count`` uniform words of bits of any width."""
    size = np.dtype(dtype).itemsize * count
    return session.pairs[peer].words(session.path, -(-size // 8)).view(dtype)[:count]


def all_drawn(session: Session, circle: Circle, bits: int, count: int) -> list[RingWords]:
    """At the helper: what every holder draws at this step."""
    return [drawn(session, holder, bits, count) for holder in circle.holders]


def all_drawn_bits(
    session: Session, circle: Circle, dtype: type[np.unsignedinteger], count: int
) -> list[NDArray[np.unsignedinteger]]:
    return [drawn_bits(session, holder, dtype, count) for holder in circle.holders]


def total(bits: int, parts: Sequence[RingWords]) -> RingWords:
    """The sum of shares."""
    out = parts[0].copy()
    for part in parts[1:]:
        ring(bits).add_into(out, part)
    return out


def parity(parts: Sequence[NDArray[np.unsignedinteger]]) -> NDArray[np.unsignedinteger]:
    """The XOR of shares."""
    out = parts[0].copy()
    for part in parts[1:]:
        out ^= part
    return out
