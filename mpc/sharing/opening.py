"""Holders open a column to each other: everybody says its share to everybody, over their own channels, in blocks.

What is opened is always masked by a dealt column, so that it is uniform to all who see it; and it never goes to the
helper, who knows the mask. With n holders each says n − 1 copies: for two or three that is least; an adder in the
middle would cost a round more and save nothing before four.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import blocks, words_of
from mpc.messages import RingWords, Words
from mpc.ring import ring
from mpc.rounds import NOBODY, Round, Rounds, Session
from mpc.sharing.circle import Circle


def exchange(session: Session, circle: Circle, bits: int, mine: RingWords) -> Rounds[list[RingWords]]:
    """Say one's column to all other holders and hear theirs, in the order of ``circle.others`` sorted."""
    others = circle.others(session.me)
    heard = {j: ring(bits).zeros(len(mine)) for j in sorted(others)}
    parts = list(blocks(len(mine), bits // 8))
    for name, part in parts:  # all blocks are under way before the first is waited for
        yield Round(session.at(name).path, dict.fromkeys(others, Words(bits, mine[part])), NOBODY)
    for name, part in parts:
        step = session.at(name).path
        came = yield Round(step, {}, others)
        for j in heard:
            heard[j][part] = words_of(came[j], bits, part.stop - part.start, j, step)
    return list(heard.values())


def open_sum(session: Session, circle: Circle, bits: int, share: RingWords) -> Rounds[RingWords]:
    """The value of an additively shared column: (n,) or (n, 2)."""
    value = share.copy()
    for theirs in (yield from exchange(session, circle, bits, share)):
        ring(bits).add_into(value, theirs)
    return value


def open_bits(
    session: Session, circle: Circle, shares: Sequence[NDArray[np.unsignedinteger]]
) -> Rounds[list[NDArray[np.unsignedinteger]]]:
    """The values of XOR-shared columns of any word width, in one exchange."""
    packed = pack(shares)
    value = packed.copy()
    for theirs in (yield from exchange(session, circle, 64, packed)):
        value ^= theirs
    return unpack(value, shares)


def pack(columns: Sequence[NDArray[np.unsignedinteger]]) -> RingWords:
    """Columns of any word width end to end as 64-bit words, zeros behind."""
    raw = b"".join(np.ascontiguousarray(c).data.cast("B") for c in columns if len(c))
    return np.frombuffer(raw + bytes(-len(raw) % 8), dtype="<u8").astype(np.uint64, copy=False)


def unpack(words: RingWords, like: Sequence[NDArray[np.unsignedinteger]]) -> list[NDArray[np.unsignedinteger]]:
    """The inverse of ``pack`` for columns of these lengths and widths."""
    raw, start, out = words.view(np.uint8), 0, []
    for column in like:
        out.append(raw[start : start + column.nbytes].view(column.dtype))
        start += column.nbytes
    return out
