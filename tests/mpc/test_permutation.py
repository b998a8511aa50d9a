"""Permutations are those that P0 names, ties included."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.coins import Coins
from mpc.permutation import permutation, stable_argsort


@given(st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=300))
def test_equals_the_stable_argsort(words):
    words = np.array(words, dtype=np.uint64)
    assert np.array_equal(stable_argsort(words), np.argsort(words, kind="stable"))


@pytest.mark.parametrize("n", [2, 3, 1000, 200_000])
def test_words_that_share_their_upper_bits(n):
    """Runs of ties of every length up to the whole, in random words and in small ones."""
    rng = np.random.default_rng(n)
    words = rng.integers(0, 2**64, n, dtype=np.uint64)
    close = words.copy()
    close[rng.integers(0, n, 300)] = close[0] ^ rng.integers(0, 4, 300, dtype=np.uint64)
    for w in (words, close, words % np.uint64(7), words // np.uint64(2**40), words * np.uint64(0)):
        assert np.array_equal(stable_argsort(w), np.argsort(w, kind="stable"))


def test_every_permutation_comes():
    coins = Coins(bytes(32))
    counts = Counter(tuple(permutation(coins, f"{i}", 3).tolist()) for i in range(1200))
    assert len(counts) == 6 and min(counts.values()) > 140
