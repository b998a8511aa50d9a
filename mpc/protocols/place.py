"""Put a few shared elements at places that one holder knows, among zeros: pick.py the other way round.

    A (knows the places)              H (helper)                            X (any other holder, each by itself)
                                                ◀── its share + mask_AX ──
      ── ρ^-1 of the places ────────▶  puts them there among zeros
                                                ── all rows + stream_AH, in the order ρ of k_AX ──▶   share = what came
      share = own share at the places
              − mask_AX there − stream_AH

To H the places are uniform distinct numbers and the elements uniform words; X hears uniform words, A nothing at all.

Trust level: helper. Adversary: semi-honest; private from any coalition without both H and another holder.
Leakage: H the numbers of rows and of elements; A and X nothing.
Rounds: two words one after the other, in blocks. Bytes for each X: 4 k for the places, and for each column w (n + k),
n rows, k elements, w = 8 or 16.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_words, say_words
from mpc.messages import RingWords
from mpc.permutation import permutation
from mpc.protocols.pick import Pick, columns_of, hear_places, say_places
from mpc.ring import ring
from mpc.rounds import Rounds, Session


def owner(session: Session, p: Pick, places: NDArray[np.int64], shares: Sequence[RingWords]) -> Rounds[list[RingWords]]:
    """A's role. ``places``: (count,) distinct; ``shares``: its share of the elements of each column, (count,) or
    (count, 2). Returns shares of all rows."""
    assert len(places) == p.count and len(np.unique(places)) == p.count
    laid = []
    for (_, bits), share in zip(columns_of(p), shares, strict=True):
        column = ring(bits).zeros(p.rows)
        column[places] = share
        laid.append(column)
    for holder in p.holders:
        pair, here = session.pairs[holder], session.at(f"{p.name}/{holder}")
        hidden = yield from say_places(session, p, holder, places)
        for (name, bits), column in zip(columns_of(p), laid, strict=True):
            r = ring(bits)
            masked = column[places]
            r.subtract_into(masked, r.from_stream(pair.words(here.at(f"{name}/mask").path, r.WIDTH * p.count)))
            column[places] = masked
            fresh = session.pairs[p.helper].words(here.at(f"{name}/placed").path, r.WIDTH * p.rows)
            r.subtract_into(column, r.from_stream(fresh)[hidden])
    return laid


def holder(session: Session, p: Pick, shares: Sequence[RingWords]) -> Rounds[list[RingWords]]:
    """X's role. Returns its shares of all rows, the elements at places that it does not know."""
    pair, here = session.pairs[p.owner], session.at(f"{p.name}/{session.me}")
    order = permutation(pair, here.at("order").path, p.rows)
    laid = []
    for (name, bits), share in zip(columns_of(p), shares, strict=True):
        r = ring(bits)
        masked = r.from_stream(pair.words(here.at(f"{name}/mask").path, r.WIDTH * p.count)).copy()
        r.add_into(masked, share)
        yield from say_words(here.at(f"{name}/masked"), p.helper, bits, masked)
        column = r.zeros(p.rows)
        column[order] = yield from hear_words(here.at(f"{name}/placed"), p.helper, bits, p.rows)
        laid.append(column)
    return laid


def helper(session: Session, p: Pick) -> Rounds[None]:
    """H's role. PeerError where a place is named twice."""
    for holder in p.holders:
        here = session.at(f"{p.name}/{holder}")
        at = yield from hear_places(session, p, holder)
        for name, bits in columns_of(p):
            r = ring(bits)
            masked = yield from hear_words(here.at(f"{name}/masked"), holder, bits, p.count)
            fresh = session.pairs[p.owner].words(here.at(f"{name}/placed").path, r.WIDTH * p.rows)
            laid = r.zeros(p.rows)
            laid[at] = masked
            r.add_into(laid, r.from_stream(fresh))
            yield from say_words(here.at(f"{name}/placed"), holder, bits, laid)
