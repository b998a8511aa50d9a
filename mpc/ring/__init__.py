"""The two rings of Heji and how to pick one by its width in bits.

Both modules offer the same functions over arrays of elements: ``zeros, from_stream, add_into, subtract_into,
multiply, prefix_sums, negative, from_ints, to_ints``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.messages import RingWords
from mpc.ring import wide, words


class Ring(Protocol):
    """What ``words`` (Z_2^64) and ``wide`` (Z_2^128) have in common."""

    BITS: int
    WIDTH: int

    def zeros(self, n: int) -> RingWords: ...
    def from_stream(self, words: RingWords) -> RingWords: ...
    def add_into(self, total: RingWords, x: RingWords) -> None: ...
    def subtract_into(self, total: RingWords, x: RingWords) -> None: ...
    def multiply(self, x: RingWords, y: RingWords) -> RingWords: ...
    def prefix_sums(self, x: RingWords) -> RingWords: ...
    def negative(self, x: RingWords) -> NDArray[np.bool_]: ...
    def from_ints(self, values: Iterable[int]) -> RingWords: ...
    def to_ints(self, x: RingWords) -> list[int]: ...


def ring(bits: int) -> Ring:
    """The ring of 64 or 128 bits."""
    return {64: words, 128: wide}[bits]


def run_sums(bits: int, x: RingWords, starts: NDArray[np.int64]) -> RingWords:
    """The sum of each run of elements; ``starts``: where runs start, the first at 0."""
    r = ring(bits)
    if not len(starts):
        return r.zeros(0)
    ends = np.concatenate((starts[1:], [len(x)])) - 1
    sums: RingWords = r.prefix_sums(x)[ends]
    before = r.zeros(len(sums))
    before[1:] = sums[:-1]
    r.subtract_into(sums, before)
    return sums
