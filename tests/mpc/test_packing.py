"""Packing against plain sums, at the bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.packing import Packing
from mpc.ring import ring

ROOM = 3071


@given(
    data=st.data(),
    bits=st.sampled_from([64, 128]),
    n=st.integers(1, 6),
    length=st.integers(1, 200),
    size=st.integers(0, 123),
)
def test_sums_of_plaintexts_are_the_sums_of_the_vectors(data, bits, n, length, size):
    bound = min((1 << size) - 1, ((1 << (bits - 1)) - 1) // n)
    packing = Packing(bits, length, bound, n, ROOM)
    edge = st.sampled_from([-bound, bound, 0, -bound + bool(bound)])
    values = [
        data.draw(st.lists(edge | st.integers(-bound, bound), min_size=length, max_size=length)) for _ in range(n)
    ]
    r = ring(bits)
    packed = [packing.pack(r.from_ints(v)) for v in values]
    total = [sum(column) for column in zip(*packed, strict=True)]
    assert max(total) < 1 << ROOM
    assert r.to_ints(packing.unpack(total, n)) == [sum(column) for column in zip(*values, strict=True)]


@pytest.mark.parametrize("bits", [64, 128])
def test_the_largest_total_fits_and_one_more_is_refused(bits):
    most = (1 << (bits - 1)) - 1
    packing = Packing(bits, 1, most, 1, ROOM)
    for value in (most, -most):
        x = ring(bits).from_ints([value])
        assert ring(bits).to_ints(packing.unpack(packing.pack(x), 1)) == [value]
    with pytest.raises(LocalError, match="Declare tighter bounds"):
        Packing(bits, 1, most, 2, ROOM)
    with pytest.raises(LocalError):
        Packing(bits, 1, most, 1, bits)  # no room for a count and a value


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("value", [101, -101, 1 << 62, -(1 << 62), -(1 << 63)])
def test_a_value_beyond_its_bound_is_refused(bits, value):
    with pytest.raises(LocalError) as caught:
        Packing(bits, 2, 100, 3, ROOM).pack(ring(bits).from_ints([5, value]))
    assert caught.value.code == "data.bounds"
    assert str(value) not in str(caught.value)


def test_as_many_slots_as_fit():
    assert Packing(64, 1000, (1 << 62) - 1, 2, ROOM).slots == 47  # 64 bits a slot
    assert Packing(64, 1000, 1 << 20, 4, ROOM).slots == 127  # 2^23 + 1 values: 24 bits a slot
    assert Packing(64, 126, 1 << 20, 4, ROOM).plaintexts == 1
    assert Packing(64, 127, 1 << 20, 4, ROOM).plaintexts == 2


def test_what_cannot_be_such_a_sum_is_refused():
    packing = Packing(64, 3, 100, 3, ROOM)
    one = packing.pack(ring(64).from_ints([1, 2, 3]))[0]
    unit = 1 << (8 * packing.width)
    packing.unpack([one], 1)
    for wrong in ([one + 1], [one + 200 * unit], [one + unit**4], [one + (1 << (ROOM - 1))], [one, one], []):
        with pytest.raises(ValueError):
            packing.unpack(wrong, 1)
    with pytest.raises(ValueError):
        packing.unpack([one], 2)
