"""H's matching against a dictionary, tags that share a word included."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpc.protocols.match import match

#: few words, so that tags share their first, their second, or both
tag = st.tuples(st.integers(0, 3), st.integers(0, 3))


def array(tags: list[tuple[int, int]]) -> np.ndarray:
    return np.array(tags, dtype=np.uint64).reshape(-1, 2)


@given(st.lists(tag, max_size=12), st.lists(tag, max_size=12))
def test_equals_a_dictionary(asked, offered):
    met = match(array(asked), array(offered))
    if len(set(offered)) < len(offered):
        assert met is None
        return
    there = {t: i for i, t in enumerate(offered)}
    assert met.row.tolist() == [there.get(t, -1) for t in asked]
    assert met.count == len(set(asked) & set(offered))
    numbers = dict(zip(asked, met.distinct.tolist(), strict=True))
    assert [numbers[t] for t in asked] == met.distinct.tolist()
    assert sorted(numbers.values()) == list(range(len(set(asked))))
