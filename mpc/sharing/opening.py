"""Holders open a column to each other, over their own channels, in blocks.

    up to three holders    everybody says its share to everybody                     one round,  (n − 1) w from each
    four or more           holder k hears the k-th part of the column from all,      two rounds, 2 (n − 1)/n w from each
                           adds, and says the sum to all; short columns as above

What is opened is always masked by a dealt column, so that it is uniform to all who see it; and it never goes to the
helper, who knows the mask. Nobody says more than a few blocks ahead of what it has heard: two members who both say more
than a channel holds before they hear anything would wait for each other for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import BLOCK_BYTES, blocks, words_of
from mpc.messages import RingWords, Words
from mpc.ring import ring
from mpc.rounds import NOBODY, WINDOW, Round, Rounds, Session
from mpc.sharing.circle import Circle

#: blocks said ahead of what was heard. With the peer as far behind what it said, 2 AHEAD + 2 are under way: half of a
#: window, the other half is for operations side by side
AHEAD = WINDOW // 4 - 1
#: columns of at least as many bytes are added in parts by four holders or more: below, a round costs more than bytes
PARTS_BYTES = 1 << 16

Add = Callable[[RingWords, RingWords], None]


def exchange(
    session: Session, peers: Iterable[str], bits: int, mine: RingWords, total: RingWords, add: Add
) -> Rounds[None]:
    """Say a column to ``peers``, hear one of the same length from each, and add theirs into ``total``."""
    others = frozenset(peers)
    parts = list(blocks(len(mine), bits // 8))
    for b in range(len(parts) + AHEAD):
        if b < len(parts):
            name, part = parts[b]
            yield Round(session.at(name).path, dict.fromkeys(others, Words(bits, mine[part])), NOBODY)
        if b >= AHEAD:
            name, part = parts[b - AHEAD]
            step = session.at(name).path
            came = yield Round(step, {}, others)
            for j in sorted(others):
                add(total[part], words_of(came[j], bits, part.stop - part.start, j, step))


def open_sum(session: Session, circle: Circle, bits: int, share: RingWords) -> Rounds[RingWords]:
    """The value of an additively shared column: (n,) or (n, 2)."""
    return (yield from _opened(session, circle, bits, share, ring(bits).add_into))


def open_bits(
    session: Session, circle: Circle, shares: Sequence[NDArray[np.unsignedinteger]]
) -> Rounds[list[NDArray[np.unsignedinteger]]]:
    """The values of XOR-shared columns of any word width, in one exchange."""
    value = yield from _opened(session, circle, 64, pack(shares), _xor_into)
    return unpack(value, shares)


def in_parts(circle: Circle, nbytes: int) -> bool:
    """Whether a column of this size is added in parts."""
    return len(circle.holders) > 3 and nbytes >= PARTS_BYTES


def _opened(session: Session, circle: Circle, bits: int, share: RingWords, add: Add) -> Rounds[RingWords]:
    value = share.copy()
    if in_parts(circle, share.nbytes):
        yield from _add_in_parts(session, circle, bits, value, add)
    else:
        yield from exchange(session, circle.others(session.me), bits, share, value, add)
    return value


def _add_in_parts(session: Session, circle: Circle, bits: int, value: RingWords, add: Add) -> Rounds[None]:
    """From a holder's share to the sum, in place. The sums of one stripe are under way with the parts of the next."""
    mine, others = circle.holders.index(session.me), circle.others(session.me)
    stripes = list(_stripes(len(circle.holders), len(value), bits // 8))
    for s in range(len(stripes) + 1):
        if s < len(stripes):
            name, parts = stripes[s]
            step = session.at(f"{name}/parts").path
            of = dict(zip(circle.holders, parts, strict=True))
            yield Round(step, {j: Words(bits, value[of[j]]) for j in others}, NOBODY)
        if s > 0:
            name, before = stripes[s - 1]
            sums = session.at(f"{name}/sums").path
            came = yield Round(sums, {}, others)
            for j, part in zip(circle.holders, before, strict=True):
                if j != session.me:
                    value[part] = words_of(came[j], bits, part.stop - part.start, j, sums)
        if s < len(stripes):
            came = yield Round(step, {}, others)
            total = value[parts[mine]]
            for j in sorted(others):
                add(total, words_of(came[j], bits, len(total), j, step))
            yield Round(session.at(f"{stripes[s][0]}/sums").path, dict.fromkeys(others, Words(bits, total)), NOBODY)


def _stripes(holders: int, length: int, element_bytes: int) -> Iterator[tuple[str, list[slice]]]:
    """Name of each stripe of a column and the part of it that each holder adds; no part is longer than a block."""
    size = holders * (BLOCK_BYTES // element_bytes)
    for s, start in enumerate(range(0, length, size)):
        end = min(start + size, length)
        bounds = [start + (end - start) * k // holders for k in range(holders + 1)]
        yield f"stripe/{s}", [slice(a, b) for a, b in pairwise(bounds)]


def _xor_into(total: RingWords, x: RingWords) -> None:
    np.bitwise_xor(total, x, out=total)


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
