"""Lifted packing: totals of the ring, carries that do not show, and what is no sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.lifted import BLIND, MOST_VECTORS, LiftedPacking
from mpc.ring import ring

ROOM = 3071


def added(p: LiftedPacking, vectors: list[list[int]], blinds: bytes | None = None) -> list[int]:
    draw = np.random.Generator(np.random.PCG64(7))
    packed = [p.pack(ring(p.bits).from_ints(v), blinds or draw.bytes(p.blind_bytes)) for v in vectors]
    return [sum(column) for column in zip(*packed, strict=True)]


@settings(max_examples=30, deadline=None)
@given(data=st.data(), bits=st.sampled_from([64, 128]), length=st.integers(1, 60), count=st.integers(1, 5))
def test_the_sum_is_that_of_the_ring(data, bits, length, count):
    p = LiftedPacking(bits, length, ROOM)
    most = 1 << (bits - 1)
    word = st.sampled_from([-most, most - 1, -1, 0]) | st.integers(-most, most - 1)
    vectors = [data.draw(st.lists(word, min_size=length, max_size=length)) for _ in range(count)]
    got = ring(bits).to_ints(p.unpack(added(p, vectors), count))
    assert got == [(sum(c) + most) % (2 * most) - most for c in zip(*vectors, strict=True)]


@pytest.mark.parametrize(("bits", "slots"), [(64, 23), (128, 15)])
def test_slots_of_a_key_of_3072_bits(bits, slots):
    p = LiftedPacking(bits, 1, ROOM)
    assert p.slots == slots
    assert LiftedPacking(bits, slots - 1, ROOM).plaintexts == 1
    assert LiftedPacking(bits, slots, ROOM).plaintexts == 2


@pytest.mark.parametrize("bits", [64, 128])
def test_the_most_vectors_at_the_largest_words_and_blinds(bits):
    p = LiftedPacking(bits, 25, ROOM)
    total = added(p, [[-1] * 25] * MOST_VECTORS, b"\xff" * p.blind_bytes)
    assert ring(bits).to_ints(p.unpack(total, MOST_VECTORS)) == [-MOST_VECTORS] * 25


def test_a_carry_is_lost_among_the_blinds():
    """Above the words stands the carry plus the blinds: the blinds reach over every carry."""
    p = LiftedPacking(64, 1, ROOM)
    above = [v >> (8 * p.width + 64) for v in added(p, [[-1], [-1]])]  # two words of 2^64 - 1 carry one
    draw = np.random.Generator(np.random.PCG64(7))
    blinds = sum(int.from_bytes(draw.bytes(BLIND), "little") for _ in range(2))
    assert above == [blinds + 1]
    assert blinds.bit_length() > 8 * BLIND - 8


def test_what_is_no_sum_is_refused():
    p = LiftedPacking(64, 3, ROOM)
    good = added(p, [[1, 2, 3]] * 2)
    assert p.unpack(good, 2).tolist() == [2, 4, 6]
    slot = 8 * p.width
    for bad, vectors in [
        (good, 3),  # another count
        ([good[0] + 1], 2),
        ([good[0] + (1 << (slot + 64 + 58))], 2),  # above a word more than two blinds
        ([good[0] + (1 << (4 * slot))], 2),  # behind the last word
        ([1 << 3070], 2),
        ([*good, 0], 2),
    ]:
        with pytest.raises(ValueError):
            p.unpack(bad, vectors)
