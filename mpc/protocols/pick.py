"""Pick a few elements of shared columns at places that one holder knows (in place of P7 where few are wanted).

    A (knows the places)              H (helper)                            X (any other holder, each by itself)
                                                ◀── its share, in the order ρ of k_AX, + mask_AX ──
      ── ρ^-1 of the places ────────▶  picks
                                                ── what it picked + stream_AH ──▶   share = what came
      share = own share at the places
              − mask_AX there − stream_AH

To H the places are uniform distinct numbers and the columns uniform words; X hears uniform words, A nothing at all.

Trust level: helper. Adversary: semi-honest; private from any coalition without both H and another holder.
Leakage: H the numbers of rows and of picked elements; A and X nothing.
Rounds: two words one after the other, in blocks. Bytes for each X: 4 k for the places, and for each column
w (n + k), n rows, k picked, w = 8 or 16. A permutation of all n rows by a dealt correlation (P7) takes 4 n and, with
the dealt words, 2 w n a column: for group ends, k ≪ n, this is half of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_positions, hear_words, say_positions, say_words
from mpc.errors import PeerError
from mpc.messages import RingWords
from mpc.permutation import permutation
from mpc.ring import ring
from mpc.rounds import Rounds, Session


@dataclass(frozen=True)
class Pick:
    """One pick, or what place.py does: ``count`` distinct places of columns of ``rows`` elements, known to ``owner``.

    ``holders``: all who hold shares of the columns besides the owner; ``columns``: 64 or 128 each.
    """

    name: str
    owner: str
    holders: tuple[str, ...]
    helper: str
    rows: int
    count: int
    columns: tuple[int, ...]

    def bytes(self) -> int:
        """What all roles together say, but for the headers of messages."""
        return len(self.holders) * (4 * self.count + sum(self.columns) // 8 * (self.rows + self.count))


def owner(session: Session, p: Pick, places: NDArray[np.int64], shares: Sequence[RingWords]) -> Rounds[list[RingWords]]:
    """A's role. ``places``: (count,) distinct; ``shares``: its share of each column. Returns shares in their order."""
    assert len(places) == p.count and len(np.unique(places)) == p.count
    picked = [share[places] for share in shares]
    for holder in p.holders:
        pair, here = session.pairs[holder], session.at(f"{p.name}/{holder}")
        hidden = yield from say_places(session, p, holder, places)
        for (name, bits), share in zip(columns_of(p), picked, strict=True):
            r = ring(bits)
            mask = r.from_stream(pair.words(here.at(f"{name}/mask").path, r.WIDTH * p.rows))
            r.subtract_into(share, mask[hidden[places]])
            fresh = session.pairs[p.helper].words(here.at(f"{name}/picked").path, r.WIDTH * p.count)
            r.subtract_into(share, r.from_stream(fresh))
    return picked


def holder(session: Session, p: Pick, shares: Sequence[RingWords]) -> Rounds[list[RingWords]]:
    """X's role. Returns its shares of the picked elements, in an order and at places that it does not know."""
    pair, here = session.pairs[p.owner], session.at(f"{p.name}/{session.me}")
    order = permutation(pair, here.at("order").path, p.rows)
    picked = []
    for (name, bits), share in zip(columns_of(p), shares, strict=True):
        r = ring(bits)
        masked = r.from_stream(pair.words(here.at(f"{name}/mask").path, r.WIDTH * p.rows))
        r.add_into(masked, share[order])
        yield from say_words(here.at(f"{name}/masked"), p.helper, bits, masked)
        picked.append((yield from hear_words(here.at(f"{name}/picked"), p.helper, bits, p.count)))
    return picked


def helper(session: Session, p: Pick) -> Rounds[None]:
    """H's role. PeerError where a place is named twice."""
    for holder in p.holders:
        here = session.at(f"{p.name}/{holder}")
        at = yield from hear_places(session, p, holder)
        for name, bits in columns_of(p):
            r = ring(bits)
            masked = yield from hear_words(here.at(f"{name}/masked"), holder, bits, p.rows)
            picked = masked[at]
            fresh = session.pairs[p.owner].words(here.at(f"{name}/picked").path, r.WIDTH * p.count)
            r.add_into(picked, r.from_stream(fresh))
            yield from say_words(here.at(f"{name}/picked"), holder, bits, picked)


# ---- shared with place.py


def say_places(session: Session, p: Pick, holder: str, places: NDArray[np.int64]) -> Rounds[NDArray[np.uint32]]:
    """A tells H the places as they stand in the order that it has with a holder; returns where each row stands there,
    (rows,)."""
    here = session.at(f"{p.name}/{holder}")
    hidden = np.empty(p.rows, dtype=np.uint32)
    hidden[permutation(session.pairs[holder], here.at("order").path, p.rows)] = np.arange(p.rows, dtype=np.uint32)
    yield from say_positions(here.at("places"), p.helper, hidden[places])
    return hidden


def hear_places(session: Session, p: Pick, holder: str) -> Rounds[NDArray[np.uint32]]:
    """H hears them. PeerError where a place is named twice."""
    here = session.at(f"{p.name}/{holder}/places")
    at = yield from hear_positions(here, p.owner, p.count, p.rows)
    if len(np.unique(at)) < p.count:
        raise PeerError(
            "protocol.malformed", f"{p.owner} named a place twice at {here.path}.", party=p.owner, step=here.path
        )
    return at


def columns_of(p: Pick) -> Iterator[tuple[str, int]]:
    """Name and width of each column."""
    for c, bits in enumerate(p.columns):
        yield f"column/{c}", bits
