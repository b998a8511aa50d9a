"""Random permutations from coins (P0): the stable argsort of 64-bit stream words, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpc.coins import Coins


def permutation(coins: Coins, path: str, n: int) -> NDArray[np.int64]:
    """A permutation of n things, (n,) int64, drawn from the stream named ``path``."""
    return stable_argsort(coins.words(path, n))


def stable_argsort(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """``np.argsort(words, kind="stable")``, three times as fast where words are distinct, as random ones are."""
    order = np.argsort(words)  # the vectorised sort; without ties every sort is stable
    ordered = words[order]
    return np.argsort(words, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order
