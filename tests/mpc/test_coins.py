"""Coins: one path, one use; nothing of the key shows."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from mpc.coins import Coins, own_coins
from mpc.errors import LocalError

KEY = bytes(range(32))


def test_a_second_draw_is_an_error():
    coins = Coins(KEY)
    coins.words("a/b", 3)
    for draw in (lambda: coins.words("a/b", 3), lambda: coins.draw("a/b", 1)):
        with pytest.raises(LocalError) as raised:
            draw()
        assert raised.value.code == "protocol.reuse"


def test_paths_and_keys_give_independent_streams():
    streams = [Coins(KEY).draw(p, 64) for p in ("a", "b", "a/b", "ab", "a/block/1", "a/block/11")]
    streams += [own_coins(KEY, b"j" * 32, attempt).draw("a", 64) for attempt in (1, 2)]
    streams.append(own_coins(KEY, b"k" * 32, 1).draw("a", 64))
    assert len(set(streams)) == len(streams)


def test_words_are_the_little_endian_stream():
    assert Coins(KEY).words("x", 100).astype("<u8").tobytes() == Coins(KEY).draw("x", 800)
    assert np.array_equal(Coins(KEY).words("x", 300_000)[:10], Coins(KEY).words("x", 10))


def test_the_key_is_not_shown_and_not_copied():
    coins = Coins(KEY)
    assert KEY.hex() not in repr(coins) and str(KEY) not in repr(coins)
    for thief in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            thief(coins)
