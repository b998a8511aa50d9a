"""Both rings against Python integers modulo 2^64 and 2^128."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.ring import ring


@pytest.mark.parametrize("bits", [64, 128])
@given(data=st.data())
def test_arithmetic_is_modular(bits, data):
    r = ring(bits)
    near = st.sampled_from([0, 1, -1, 2**63, 2**63 - 1, -(2**63), 2**64 - 1, 2**64, 2**127 - 1, -(2**127), 2**128 - 1])
    values = st.lists(st.one_of(near, st.integers(-(2**128), 2**128)), min_size=5, max_size=5)
    a, b = data.draw(values), data.draw(values)

    def signed(v: int) -> int:
        v %= 2**bits
        return v - 2**bits if v >= 2 ** (bits - 1) else v

    total = r.from_ints(a)
    r.add_into(total, r.from_ints(b))
    assert r.to_ints(total) == [signed(x + y) for x, y in zip(a, b, strict=True)]
    total = r.from_ints(a)
    r.subtract_into(total, r.from_ints(b))
    assert r.to_ints(total) == [signed(x - y) for x, y in zip(a, b, strict=True)]
