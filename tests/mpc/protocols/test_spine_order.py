"""The spine's layout: every row once, groups whole, one row of each key before the first mark."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.ids import INTEGER, lay_out
from mpc.protocols.spine_order import group_order, places
from tests.mpc.columns import integers
from tests.mpc.joining import sessions

GROUPS = 3
rows = st.lists(st.tuples(st.none() | st.integers(0, 4), st.integers(-1, GROUPS - 1)), max_size=30)


def order_of(table):
    keys = lay_out([INTEGER], [integers([k for k, _ in table])])
    return keys, group_order(sessions("ab")["a"], keys, np.array([g for _, g in table], np.int64), GROUPS)


@given(rows)
def test_layout(table):
    keys, order = order_of(table)
    assert len(order.rows) == places(len(table), GROUPS)
    assert sorted(order.rows[order.rows >= 0]) == list(range(len(table)))
    start = 0
    for g, (first, end) in enumerate(zip(order.firsts, order.ends, strict=True)):
        assert order.rows[first] == order.rows[end] == -1
        firsts, further = order.rows[start:first], order.rows[first + 1 : end]
        assert {table[i][1] for i in (*firsts, *further)} <= {g}
        number = count(100)  # a NULL is a key of its own
        of = [next(number) if table[i][0] is None else table[i][0] for i in firsts]
        assert len(set(of)) == len(of) and {table[i][0] for i in further} <= set(of)
        start = end + 1
    assert {table[i][1] for i in order.rows[start:]} <= {-1}

    laid = order.keys(keys)
    assert laid.null.tolist() == [i < 0 or table[i][0] is None for i in order.rows]
    assert all((laid.matrix[p] == keys.matrix[i]).all() for p, i in enumerate(order.rows) if i >= 0)
    values = np.arange(1, len(table) + 1, dtype=np.uint64)
    column = order.column(values, len(order.rows) + 2)
    want = [0 if i < 0 or table[i][1] < 0 else i + 1 for i in order.rows]
    assert column.tolist() == [*want, 0, 0]


def test_a_group_that_was_not_declared():
    with pytest.raises(LocalError) as raised:
        order_of([(1, GROUPS)])
    assert raised.value.code == "data.bounds"
