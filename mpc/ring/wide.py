"""Z_2^128 as two uint64 words with carry, low half first. Arrays have shape (n, 2).

Shares, masks and additions are modulo 2^128 and not word by word: the carry of the low half goes into the high half.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mpc.messages import RingWords

BITS = 128
WIDTH = 2


def zeros(n: int) -> RingWords:
    return np.zeros((n, 2), dtype=np.uint64)


def from_stream(words: RingWords) -> RingWords:
    """Stream words (2n,) as ring elements (n, 2)."""
    return words.reshape(-1, 2)


def add_into(total: RingWords, x: RingWords) -> None:
    """total += x modulo 2^128. ``total`` must not share memory with ``x``."""
    low, high = total[:, 0], total[:, 1]
    np.add(low, x[:, 0], out=low)
    carry = low < x[:, 0]
    np.add(high, x[:, 1], out=high)
    np.add(high, carry, out=high, casting="unsafe")


def subtract_into(total: RingWords, x: RingWords) -> None:
    """total -= x modulo 2^128. ``total`` must not share memory with ``x``."""
    low, high = total[:, 0], total[:, 1]
    borrow = low < x[:, 0]
    np.subtract(low, x[:, 0], out=low)
    np.subtract(high, x[:, 1], out=high)
    np.subtract(high, borrow, out=high, casting="unsafe")


def multiply(x: RingWords, y: RingWords) -> RingWords:
    """x · y modulo 2^128, element by element."""
    out = np.empty_like(x)
    np.multiply(x[:, 0], y[:, 0], out=out[:, 0])
    high = _high_half(x[:, 0], y[:, 0])
    high += x[:, 0] * y[:, 1]
    high += x[:, 1] * y[:, 0]
    out[:, 1] = high
    return out


def prefix_sums(x: RingWords) -> RingWords:
    """Sums of all elements up to each one, modulo 2^128."""
    out = np.cumsum(x, axis=0, dtype=np.uint64)
    # the low halves wrapped where a sum came out below what was added last
    out[:, 1] += np.cumsum(out[:, 0] < x[:, 0], dtype=np.uint64)
    return out


def negative(x: RingWords) -> NDArray[np.bool_]:
    """Where an element stands for a negative number, (n,)."""
    return np.ascontiguousarray(x[:, 1]).view(np.int64) < 0


def _high_half(x: NDArray[np.uint64], y: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The upper 64 bits of the 128-bit product, from four products of halves."""
    half, mask = np.uint64(32), np.uint64(2**32 - 1)
    x0, x1, y0, y1 = x & mask, x >> half, y & mask, y >> half
    middle = x1 * y0 + (x0 * y0 >> half)
    carried = (middle & mask) + x0 * y1
    high: NDArray[np.uint64] = x1 * y1 + (middle >> half) + (carried >> half)
    return high


def from_ints(values: Iterable[int]) -> RingWords:
    """Signed Python integers as elements (two's complement)."""
    mask = 2**64 - 1
    rows = [(v & mask, (v >> 64) & mask) for v in values]
    return np.array(rows, dtype=np.uint64).reshape(-1, 2)


def to_ints(x: RingWords) -> list[int]:
    """Elements as signed Python integers in [-2^127, 2^127)."""
    low = [int(v) for v in x[:, 0]]
    high = [int(v) for v in np.ascontiguousarray(x[:, 1]).view(np.int64)]
    return [(h << 64) | v for v, h in zip(low, high, strict=True)]
