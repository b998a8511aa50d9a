"""P5 Compare: the sign of a shared column, and with it less-than; equality with zero.

    helper deals r: as XOR-shared bits (drawn) and as arithmetic shares (drawn, the last corrected)
    holders open c = x + r to each other
    x = c − r is negative  iff  c_top ⊕ r_top ⊕ [c' < r'], where ' leaves the top bit out
    [c' < r'] by a tree over bits with generate g = ¬c ∧ r and propagate p = ¬(c ⊕ r), both local:
              (g, p) ∘ (g', p') = (g ⊕ p ∧ g', p ∧ p'), six levels of ANDs
    x = 0  iff  all bits of ¬(c ⊕ r) are 1: six levels of ANDs
    two holders without a helper (dealer.py) need no r and open no c: one knows c = x_1, the other r = −x_2, and only g
    takes a message

The tree joins neighbours, bits 2k and 2k + 1. Bits are therefore kept in the order of their reversed six-bit index, in
which neighbours lie 32 places apart: each level takes the two halves of a word, and words get half as wide.

Trust level: that of whoever deals. Adversary: semi-honest; private from any coalition without both the helper and
another holder. Leakage: nobody learns anything; what is opened is uniform. Rounds: one to open c, six in the tree
(seven for 128 bits), one to bring the bit into arithmetic shares. Bytes for each 64-bit comparison, from every holder
to every other: 8 for c, 12 + 6 + 3 + 3 + 3 + 2 in the tree, an eighth for the bit; from the helper to one holder: 8 for
the mask, 8 + 4 + 2 + 2 + 2 + 1 for the tree, 8 for the bit. Source: Catrina and de Hoogh, SCN 2010 (masked opening,
borrow by prefix tree); Damgård et al., TCC 2006 (bits in both forms).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from mpc.blocks import hear_words, say_words
from mpc.messages import RingWords
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.bits import BitWords, and_bits, bit_to_arithmetic, deal_and_bits, deal_bit_to_arithmetic
from mpc.sharing.circle import Circle, all_drawn_bits, drawn, drawn_bits, parity
from mpc.sharing.dealer import and_own_bits
from mpc.sharing.opening import open_sum

#: elements compared in one go: what a level keeps in memory
BATCH = 1 << 18
_TOP = np.uint64(1 << 63)
#: the width of words at each level of the tree: half as wide each time, down to bytes
_KINDS: tuple[type[np.unsignedinteger], ...] = (np.uint32, np.uint16, np.uint8, np.uint8, np.uint8, np.uint8)
_LEVELS = len(_KINDS)


def negative(session: Session, circle: Circle, bits: int, x: RingWords) -> Rounds[RingWords]:
    """A holder's role. ``x``: its share, (n,) or (n, 2); returns one of 1 where x < 0, else 0, in the same ring."""
    return (yield from _batched(session, circle, bits, x, _sign))


def equal_zero(session: Session, circle: Circle, bits: int, x: RingWords) -> Rounds[RingWords]:
    """A holder's role; returns its share of 1 where x = 0, else 0."""
    return (yield from _batched(session, circle, bits, x, _is_zero))


def less_than(session: Session, circle: Circle, bits: int, x: RingWords, y: RingWords) -> Rounds[RingWords]:
    """A holder's role: its share of 1 where x < y. The planner's bounds keep |x − y| below 2^(bits−1)."""
    difference = x.copy()
    ring(bits).subtract_into(difference, y)
    return (yield from negative(session, circle, bits, difference))


def equal(session: Session, circle: Circle, bits: int, x: RingWords, y: RingWords) -> Rounds[RingWords]:
    """A holder's role: its share of 1 where x = y."""
    difference = x.copy()
    ring(bits).subtract_into(difference, y)
    return (yield from equal_zero(session, circle, bits, difference))


def deal_negative(session: Session, circle: Circle, bits: int, n: int) -> Rounds[None]:
    """The helper's role of ``negative`` and ``less_than``, or that of both holders where there is none."""
    for here, count in _batches(session, n):
        if not circle.alone:
            yield from _deal_mask(here, circle, bits, count, reordered=True)
        yield from _deal_tree(here, circle, bits, count, borrow=True)
        yield from deal_bit_to_arithmetic(here.at("bit"), circle, bits, count)


def deal_equal_zero(session: Session, circle: Circle, bits: int, n: int) -> Rounds[None]:
    """The helper's role of ``equal_zero`` and ``equal``, or that of both holders where there is none."""
    for here, count in _batches(session, n):
        if not circle.alone:
            yield from _deal_mask(here, circle, bits, count, reordered=False)
        yield from _deal_tree(here, circle, bits, count, borrow=False)
        yield from deal_bit_to_arithmetic(here.at("bit"), circle, bits, count)


Predicate = Callable[[Session, Circle, int, RingWords], Rounds[NDArray[np.uint8]]]


def _batched(session: Session, circle: Circle, bits: int, x: RingWords, predicate: Predicate) -> Rounds[RingWords]:
    out, start = ring(bits).zeros(len(x)), 0
    for here, count in _batches(session, len(x)):
        bit = yield from predicate(here, circle, bits, x[start : start + count])
        out[start : start + count] = yield from bit_to_arithmetic(here.at("bit"), circle, bits, bit & np.uint8(1))
        start += count
    return out


def _batches(session: Session, n: int) -> Iterator[tuple[Session, int]]:
    for b, start in enumerate(range(0, n, BATCH)):
        yield session.at(f"batch/{b}"), min(BATCH, n - start)


# -- a batch: 128-bit elements are taken apart into words, all low halves first, then all high halves


def _sign(session: Session, circle: Circle, bits: int, x: RingWords) -> Rounds[NDArray[np.uint8]]:
    """The XOR-shared sign of each element, in the lowest bit of a byte."""
    n, first = len(x), session.me == circle.first
    if circle.alone:
        c, r = _own_parts(bits, x, first=first)
        c, r = reorder(c), reorder(r)
        g = yield from and_own_bits(session.at("leaves"), circle, ~c if first else r)
    else:
        opened, r = yield from _open_masked(session, circle, bits, x)
        c = reorder(opened)
        g = ~c & r
    p = r ^ ~c if first else r.copy()
    sign = (r ^ c if first else r)[-n:] >> np.uint64(63)
    # the top bit takes no part: it generates nothing and passes on what comes from below
    g[-n:] &= ~_TOP
    p[-n:] &= ~_TOP
    if first:
        p[-n:] |= _TOP
    borrow = yield from _borrow(session, circle, g, p, joined=bits == 128)
    return sign.astype(np.uint8) ^ borrow


def _borrow(session: Session, circle: Circle, g: BitWords, p: BitWords, *, joined: bool) -> Rounds[NDArray[np.uint8]]:
    """Whether a borrow leaves each word, or each pair of a low and a high word where these are ``joined``."""
    for level in range(_LEVELS):
        (high_g, low_g), (high_p, low_p) = _halves(g, level), _halves(p, level)
        below = [low_g, low_p] if joined or level < _LEVELS - 1 else [low_g]
        passed = yield from and_bits(session.at(f"level/{level}"), circle, high_p, below)
        g, p = high_g ^ passed[0], passed[-1]
    if joined:
        n = len(g) // 2
        (passed_low,) = yield from and_bits(session.at("join"), circle, p[n:], [g[:n]])
        g = g[n:] ^ passed_low
    return g.astype(np.uint8)


def _is_zero(session: Session, circle: Circle, bits: int, x: RingWords) -> Rounds[NDArray[np.uint8]]:
    """An XOR-shared 1 where all bits of the element are 0, in the lowest bit of a byte."""
    if circle.alone:
        c, r = _own_parts(bits, x, first=session.me == circle.first)
    else:
        c, r = yield from _open_masked(session, circle, bits, x)
    same: BitWords = r ^ ~c if session.me == circle.first else r
    for level in range(_LEVELS):
        high, low = _halves(same, level)
        (same,) = yield from and_bits(session.at(f"level/{level}"), circle, high, [low])
    if bits == 128:
        (same,) = yield from and_bits(session.at("join"), circle, same[len(x) :], [same[: len(x)]])
    return same.astype(np.uint8)


def _deal_tree(session: Session, circle: Circle, bits: int, n: int, *, borrow: bool) -> Rounds[None]:
    for name, kind, words, count in tree(bits, n, borrow=borrow):
        yield from deal_and_bits(session.at(name), circle, kind, words, count)


def tree(bits: int, n: int, *, borrow: bool) -> Iterator[tuple[str, type[np.unsignedinteger], int, int]]:
    """The ANDs of ``n`` comparisons, level by level: step, kind and number of words, and how many ANDs with one x."""
    for level, kind in enumerate(_KINDS):
        yield f"level/{level}", kind, n * bits // 64, 2 if borrow and (bits == 128 or level < _LEVELS - 1) else 1
    if bits == 128:
        yield "join", np.uint8, n, 1


def _open_masked(session: Session, circle: Circle, bits: int, x: RingWords) -> Rounds[tuple[BitWords, BitWords]]:
    """c = x + r in words, and this holder's XOR share of r."""
    r, n = ring(bits), len(x)
    if session.me == circle.last:
        masked = yield from hear_words(session.at("mask"), circle.helper, bits, n)
    else:
        masked = drawn(session.at("mask"), circle.helper, bits, n)
    r.add_into(masked, x)
    c = yield from open_sum(session.at("open"), circle, bits, masked)
    return _apart(c), drawn_bits(session.at("mask/bits"), circle.helper, np.uint64, n * bits // 64)


def _own_parts(bits: int, x: RingWords, *, first: bool) -> tuple[BitWords, BitWords]:
    """Of two holders without a helper: c = x_1, which the first knows (zeros at the last), and this one's XOR share of
    r = −x_2, which the last knows. Then x = c − r, and nothing need be opened."""
    if first:
        return _apart(x), np.zeros(len(x) * bits // 64, dtype=np.uint64)
    r = ring(bits).zeros(len(x))
    ring(bits).subtract_into(r, x)
    return np.zeros(len(x) * bits // 64, dtype=np.uint64), _apart(r)


def _deal_mask(session: Session, circle: Circle, bits: int, n: int, *, reordered: bool) -> Rounds[None]:
    """r, drawn as XOR shares of bits (in the tree's order if ``reordered``), and as arithmetic shares."""
    words = parity(all_drawn_bits(session.at("mask/bits"), circle, np.uint64, n * bits // 64))
    mask = _together(reorder(words) if reordered else words, bits)
    for holder in circle.holders[:-1]:
        ring(bits).subtract_into(mask, drawn(session.at("mask"), holder, bits, n))
    yield from say_words(session.at("mask"), circle.last, bits, mask)


# -- bits within words


def reorder(words: BitWords) -> NDArray[np.uint64]:
    """Bits of 64-bit words in the order of their reversed six-bit index; its own inverse.

    Three exchanges of index bits: the first with the sixth, the second with the fifth, the third with the fourth.
    """
    out: NDArray[np.uint64] = words.astype(np.uint64)
    moved = np.empty_like(out)
    for distance, mask in _SWAPS:
        np.right_shift(out, distance, out=moved)
        moved ^= out
        moved &= mask
        out ^= moved
        moved <<= distance
        out ^= moved
    return out


def _halves(words: BitWords, level: int) -> tuple[BitWords, BitWords]:
    """The upper and lower halves of the bits in use at a level of the tree."""
    if level < 3:
        parts = words.view(_KINDS[level])
        return parts[1::2], parts[0::2]
    shift = np.uint8(32 >> level)
    return words >> shift, words & ((np.uint8(1) << shift) - np.uint8(1))


def _apart(x: RingWords) -> BitWords:
    """Elements as 64-bit words: (n,), or the low halves and then the high halves, (2 n,)."""
    return x if x.ndim == 1 else np.concatenate((x[:, 0], x[:, 1]))


def _together(words: NDArray[np.uint64], bits: int) -> RingWords:
    """The inverse of ``_apart``."""
    return words if bits == 64 else np.ascontiguousarray(words.reshape(2, -1).T)


def _swap(high: int, low: int) -> tuple[np.uint64, np.uint64]:
    """What exchanges two bits of the index: how far bits move, and the lower place of each pair that changes places."""
    places = [i for i in range(64) if not i >> high & 1 and i >> low & 1]
    return np.uint64((1 << high) - (1 << low)), np.uint64(sum(1 << i for i in places))


_SWAPS = (_swap(5, 0), _swap(4, 1), _swap(3, 2))
