"""Random permutations from coins (P0): the stable argsort of 64-bit stream words, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.coins import Coins

#: more neighbours than this with one upper part but different words: not random, and sorting them plainly is faster
_MANY = 1000


def permutation(coins: Coins, path: str, n: int) -> NDArray[np.int64]:
    """A permutation of n things, (n,) int64, drawn from the stream named ``path``."""
    return stable_argsort(coins.words(path, n))


def stable_argsort(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """``np.argsort(words, kind="stable")``, three times as fast where words are random.

    A word's upper bits with its index in place of the lower ones are sorted as one number, which is what processors do
    best. Words that share the upper bits come out by their index, which is right where they are equal; the few runs in
    which they are not are put in order by all their bits.
    """
    bits = np.uint64(max(len(words) - 1, 1).bit_length())
    upper = words >> bits
    upper <<= bits
    upper |= np.arange(len(words), dtype=np.uint64)
    upper.sort()
    order = (upper & ((np.uint64(1) << bits) - np.uint64(1))).view(np.int64)
    upper >>= bits
    tied = np.flatnonzero(upper[1:] == upper[:-1])
    differing = tied[words[order[tied]] != words[order[tied + 1]]]
    if len(differing) > _MANY:
        return np.argsort(words, kind="stable")
    for run in np.unique(upper[differing]):
        start, end = np.searchsorted(upper, run, side="left"), np.searchsorted(upper, run, side="right")
        among = order[start:end]  # ascending, as the index was sorted with them
        order[start:end] = among[np.argsort(words[among], kind="stable")]
    return order
