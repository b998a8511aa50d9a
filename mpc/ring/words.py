"""Z_2^64 on numpy uint64, which wraps by itself. Arrays have shape (n,)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mpc.messages import RingWords

BITS = 64
#: 64-bit words an element takes
WIDTH = 1


def zeros(n: int) -> RingWords:
    return np.zeros(n, dtype=np.uint64)


def from_stream(words: RingWords) -> RingWords:
    """Stream words as ring elements."""
    return words


def add_into(total: RingWords, x: RingWords) -> None:
    """total += x, element by element."""
    np.add(total, x, out=total)


def subtract_into(total: RingWords, x: RingWords) -> None:
    """total -= x, element by element."""
    np.subtract(total, x, out=total)


def multiply(x: RingWords, y: RingWords) -> RingWords:
    """x · y, element by element."""
    return np.multiply(x, y)


def prefix_sums(x: RingWords) -> RingWords:
    """Sums of all elements up to each one."""
    return np.cumsum(x, dtype=np.uint64)


def negative(x: RingWords) -> NDArray[np.bool_]:
    """Where an element stands for a negative number, (n,)."""
    return x.view(np.int64) < 0


def from_ints(values: Iterable[int]) -> RingWords:
    """Signed Python integers as elements (two's complement)."""
    return np.array([v & (2**64 - 1) for v in values], dtype=np.uint64)


def to_ints(x: RingWords) -> list[int]:
    """Elements as signed Python integers in [-2^63, 2^63)."""
    return [int(v) for v in x.view(np.int64)]
