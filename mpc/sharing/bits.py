"""AND of XOR-shared bits, and a bit from XOR to arithmetic shares.

    AND   as multiply.py, with ⊕ for + and ∧ for ·, 8 to 64 bits in a word. Several ANDs with one x share the opening
          of x: open x ⊕ a and every y_k ⊕ b_k.
    bit   the helper deals a random bit b in both forms; open v = s ⊕ b; the arithmetic bit is v + [b] − 2 v [b].

Trust level, adversary and leakage: those of multiply.py; what is opened is uniform. Rounds: one each. Bytes: for k ANDs
with one x of words of w bytes, k w from the helper and (k + 1) w from every holder to every other; for a bit, 8 or 16
from the helper and one bit from every holder to every other. Source: GMW with Beaver's triples; the dealt bit in both
forms is the daBit of Rotaru and Wood, INDOCRYPT 2019, without its checks, which are for active adversaries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_words, say_words
from mpc.messages import RingWords
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle, all_drawn_bits, drawn, drawn_bits, parity
from mpc.sharing.dealer import ands_of_two, bit_of_two
from mpc.sharing.opening import open_bits, pack, unpack

#: words of 8, 16, 32 or 64 bits, (n,)
BitWords = NDArray[np.unsignedinteger]


def and_bits(session: Session, circle: Circle, x: BitWords, ys: Sequence[BitWords]) -> Rounds[list[BitWords]]:
    """A holder's role: its shares of x ∧ y for every y in ``ys``, all of one width and length."""
    n, kind = len(x), x.dtype.type
    a = drawn_bits(session.at("a"), circle.helper, kind, n)
    bs = [drawn_bits(session.at(f"b{k}"), circle.helper, kind, n) for k in range(len(ys))]
    opened = yield from open_bits(session.at("open"), circle, [x ^ a, *(y ^ b for y, b in zip(ys, bs, strict=True))])
    d, es = opened[0], opened[1:]
    if session.me == circle.last:
        words = yield from hear_words(session.at("c"), circle.helper, 64, len(pack(bs)))
        zs = [z.copy() for z in unpack(words, bs)]
    else:
        zs = [drawn_bits(session.at(f"c{k}"), circle.helper, kind, n).copy() for k in range(len(ys))]
    for z, b, e in zip(zs, bs, es, strict=True):
        z ^= d & b
        z ^= e & a
        if session.me == circle.first:
            z ^= d & e
    return zs


def deal_and_bits(session: Session, circle: Circle, kind: type[np.unsignedinteger], n: int, count: int) -> Rounds[None]:
    """The helper's role, or that of both holders where there is none: ``count`` ANDs with one x, of ``n`` words of this
    kind."""
    if circle.alone:
        yield from ands_of_two(session, circle, kind, n, count)
        return
    a = parity(all_drawn_bits(session.at("a"), circle, kind, n))
    corrections = []
    for k in range(count):
        c = a & parity(all_drawn_bits(session.at(f"b{k}"), circle, kind, n))
        for holder in circle.holders[:-1]:
            c ^= drawn_bits(session.at(f"c{k}"), holder, kind, n)
        corrections.append(c)
    yield from say_words(session.at("c"), circle.last, 64, pack(corrections))


def bit_to_arithmetic(session: Session, circle: Circle, bits: int, s: NDArray[np.uint8]) -> Rounds[RingWords]:
    """A holder's role. ``s``: its XOR share of a bit in each byte, 0 or 1, (n,); returns its share in Z_2^bits."""
    r, n = ring(bits), len(s)
    b = drawn_bits(session.at("b"), circle.helper, np.uint8, -(-n // 8))
    (opened,) = yield from open_bits(session.at("open"), circle, [np.packbits(s) ^ b])
    v = np.unpackbits(opened, count=n)
    if session.me == circle.last:
        share = yield from hear_words(session.at("arithmetic"), circle.helper, bits, n)
    else:
        share = drawn(session.at("arithmetic"), circle.helper, bits, n)
    # v + b − 2 v b: b where v is 0, 1 − b where it is 1
    flipped = r.zeros(n)
    if session.me == circle.first:
        _low(flipped)[:] = 1
    r.subtract_into(flipped, share)
    chosen = v.astype(bool)
    share[chosen] = flipped[chosen]
    return share


def deal_bit_to_arithmetic(session: Session, circle: Circle, bits: int, n: int) -> Rounds[None]:
    """The helper's role, or that of both holders where there is none: ``n`` bits."""
    if circle.alone:
        yield from bit_of_two(session, circle, bits, n)
        return
    packed = parity(all_drawn_bits(session.at("b"), circle, np.uint8, -(-n // 8)))
    share = ring(bits).zeros(n)
    _low(share)[:] = np.unpackbits(packed, count=n)
    for holder in circle.holders[:-1]:
        ring(bits).subtract_into(share, drawn(session.at("arithmetic"), holder, bits, n))
    yield from say_words(session.at("arithmetic"), circle.last, bits, share)


def _low(x: RingWords) -> NDArray[np.uint64]:
    """The low words of ring elements, as a view."""
    return x if x.ndim == 1 else x[:, 0]
