"""Permutations are those that P0 names, ties included."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpc.coins import Coins
from mpc.protocols.permutation import permutation, stable_argsort


@given(st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=300))
def test_equals_the_stable_argsort(words):
    words = np.array(words, dtype=np.uint64)
    assert np.array_equal(stable_argsort(words), np.argsort(words, kind="stable"))


def test_every_permutation_comes():
    coins = Coins(bytes(32))
    counts = Counter(tuple(permutation(coins, f"{i}", 3).tolist()) for i in range(1200))
    assert len(counts) == 6 and min(counts.values()) > 140
