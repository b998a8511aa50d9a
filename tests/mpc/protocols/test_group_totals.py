"""Two parties, one join, totals by group: against DuckDB over the pooled tables, row counts and entities included."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.ids import INTEGER, lay_out, width
from mpc.protocols import align, group_totals
from mpc.protocols.align import Align
from mpc.protocols.group_totals import Grouping
from mpc.protocols.spine_order import group_order, places
from mpc.ring import ring
from mpc.rounds import Rounds
from mpc.run import Trace, run
from tests.duck import session
from tests.mpc.columns import integers
from tests.mpc.joining import Brought, sessions

GROUPS = 3
word = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**64 - 1])


@given(st.lists(st.tuples(word, word), max_size=40))
def test_prefix_sums(rows):
    wide = np.array(rows, dtype=np.uint64).reshape(-1, 2)
    exact, total = [], 0
    for low, high in rows:
        total = (total + low + (high << 64)) % 2**128
        exact.append(total)
    assert [v % 2**128 for v in ring(128).to_ints(ring(128).prefix_sums(wide))] == exact
    upper = ring(64).prefix_sums(wide[:, 1])
    assert [int(v) for v in upper] == [v >> 64 for v in map(int, _plain([h for _, h in rows]))]


def _plain(words: list[int]) -> list[int]:
    """Running sums modulo 2^64, shifted up by 64 bits."""
    out, total = [], 0
    for w in words:
        total = (total + w) % 2**64
        out.append(total << 64)
    return out


spines = st.lists(st.tuples(st.none() | st.integers(0, 5), st.integers(-1, GROUPS - 1)), max_size=20)
tables = st.dictionaries(st.integers(0, 7), st.tuples(st.booleans(), st.integers(-(2**40), 2**40)), max_size=8)


def roles(spine: list[Any], table: dict[int, Any], seed: int) -> dict[str, Rounds[Any]]:
    """Align b's flag and column to a's rows, in the order of a's groups; total them by group."""
    s = sessions(["a", "b", "helper"], seed)
    n = places(len(spine) + 2, GROUPS)
    plan = Align("align", "a", "b", "helper", n, len(table) + 2, width([INTEGER]), (64, 128))
    grouping = Grouping("group", "a", ("b",), "helper", n, GROUPS, (64, 64, 128))

    def a() -> Rounds[Any]:
        keys = lay_out([INTEGER], [integers([k for k, _ in spine])])
        order = group_order(s["a"], keys, np.array([g for _, g in spine], np.int64), GROUPS)
        (shares,) = yield from align.spine(s["a"], [plan], order.keys(keys))
        return (yield from group_totals.spine_totals(s["a"], grouping, order, shares))

    def b() -> Rounds[Any]:
        values = [v for _, v in table.values()]
        passing = np.array([p for p, _ in table.values()], bool)
        columns = (ring(64).from_ints(values), ring(128).from_ints([v << 60 for v in values]))
        brought = Brought(lay_out([INTEGER], [integers(list(table))]), passing, columns)
        (shares,) = yield from align.other(s["b"], [plan], [brought])
        return (yield from group_totals.holder_totals(s["b"], grouping, shares))

    def helper() -> Rounds[None]:
        yield from align.helper(s["helper"], [plan])
        yield from group_totals.helper_totals(s["helper"], grouping)

    return {"a": a(), "b": b(), "helper": helper()}


def opened(results: dict[str, Any]) -> list[tuple[int, ...]]:
    """Per group: entities, rows, sum in 64 bits, sum in 128 bits."""
    columns = []
    for of, c, bits in (("keys", 0, 64), ("rows", 0, 64), ("rows", 1, 64), ("rows", 2, 128)):
        total = getattr(results["a"], of)[c].copy()
        ring(bits).add_into(total, getattr(results["b"], of)[c])
        columns.append(ring(bits).to_ints(total))
    return list(zip(*columns, strict=True))


@settings(max_examples=100)
@given(spines, tables, st.integers(0, 10**6))
def test_equals_duckdb(spine, table, seed):
    b = "key INTEGER, passing BOOLEAN, v HUGEINT", [(k, *v) for k, v in table.items()]
    database = session(a=("key INTEGER, g INTEGER", spine), b=b)
    want = database.execute(f"""
        SELECT count(DISTINCT a.key) FILTER (passing), count(*) FILTER (passing),
               coalesce(sum(v) FILTER (passing), 0), coalesce(sum(v) FILTER (passing), 0) * (1::HUGEINT << 60)
        FROM range({GROUPS}) d(g) LEFT JOIN a USING (g) LEFT JOIN b USING (key) GROUP BY d.g ORDER BY d.g
    """).fetchall()
    assert opened(run(roles(spine, table, seed))) == [tuple(map(int, row)) for row in want]


def test_sizes_at_every_seat_depend_on_no_group_and_no_condition():
    """Other groups, another condition of A (−1) and of B: the same messages, and the same tags at H."""
    table = {k: (k % 2 == 0, 10 * k) for k in range(6)}
    other = {k: (k % 3 == 0, v) for k, (_, v) in table.items()}
    shapes = []
    for groups, offered in (([0, 0, 1, 2, 0], table), ([2, -1, -1, 2, 2], table), ([0, 0, 1, 2, 0], other)):
        trace = Trace()
        run(roles(list(zip([1, 1, 2, 3, None], groups, strict=True)), offered, 3), trace)
        shapes.append([(s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent])
    assert shapes[0] == shapes[1] == shapes[2]


def test_match_counts_at_the_helper_depend_on_no_condition():
    keys = [1, 1, 2, 3, None, 9]
    counts = set()
    for groups in ([0] * 6, [-1] * 6, [0, -1, 1, -1, 2, 2]):
        s = sessions(["a", "b", "helper"])
        made = lay_out([INTEGER], [integers(keys)])
        order = group_order(s["a"], made, np.array(groups, np.int64), GROUPS)
        brought = Brought(lay_out([INTEGER], [integers([1, 3, 4])]), np.array([1, 0, 1], bool), ())
        plan = Align("align", "a", "b", "helper", len(order.rows), 3, width([INTEGER]), ())
        results = run(
            {
                "a": align.spine(s["a"], [plan], order.keys(made)),
                "b": align.other(s["b"], [plan], [brought]),
                "helper": align.helper(s["helper"], [plan]),
            }
        )
        counts.update(results["helper"])
    assert counts == {2}
