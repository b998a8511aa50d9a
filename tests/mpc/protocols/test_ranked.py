"""Values by their place: against the sorted list, with what is said and opened compared with what the page states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.protocols.ranked import Found, OwnValues, RankTest, Search, Searched, play, play_helper
from mpc.rounds import Rounds
from mpc.run import Trace, run
from mpc.traffic import search_traffic
from tests.mpc.joining import sessions

HELPER = "helper"
MIN, MAX, MEDIAN = RankTest(1, 0, 1), RankTest(1, 1, 0), RankTest(2, 1, 0)
FAR = 2**62 - 1


def own(cells: list[list[int]], small: list[bool]) -> OwnValues:
    values = [np.sort(np.array(c, dtype=np.int64)) for c in cells]
    starts = np.concatenate(([0], np.cumsum([len(v) for v in values]))).astype(np.int64)
    return OwnValues(np.concatenate([*values, np.zeros(0, np.int64)]), starts, np.array(small))


def search(parties: int, low: int, high: int, tests: tuple[RankTest, ...], cells: int) -> Search:
    names = tuple(f"p{i}" for i in range(parties))
    return Search("pool0/ranked/0", names, (Searched(low, high, (*tests, None)),), cells, HELPER)


def found(s: Search, held: list[OwnValues], trace: Trace | None = None) -> Found:
    members = sessions([*s.parties, HELPER])
    roles: dict[str, Rounds[Any]] = {p: play(members[p], s, [held[i]]) for i, p in enumerate(s.parties)}
    if not s.alone:
        roles[HELPER] = play_helper(members[HELPER], s)
    ended = run(roles, trace)
    words = [ended[p].words[0] for p in s.parties]
    assert all((w[k] == words[0][k]).all() for w in words for k in w)
    result: Found = ended[s.parties[0]]
    return result


numbers = st.lists(st.integers(-9, 9), max_size=8)


@settings(max_examples=60)
@given(st.data())
def test_it_is_the_value_at_its_place(data: st.DataObject) -> None:
    parties, cells = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 3))
    share = data.draw(st.integers(0, 7))
    tests = (MIN, MAX, RankTest(7, share, 0) if share else MIN)
    held = [[data.draw(numbers) for _ in range(cells)] for _ in range(parties)]
    small = [[data.draw(st.booleans()) and data.draw(st.booleans()) for _ in range(cells)] for _ in range(parties)]
    s = search(parties, -9, 9, tests, cells)
    f = found(s, [own(h, m) for h, m in zip(held, small, strict=True)])
    for c in range(cells):
        shown = not any(m[c] for m in small)
        assert f.shown[0][c] == shown
        values = sorted(v for h in held for v in h[c])
        assert f.words[0][3][c] == (shown and bool(values))
        if shown and values:
            place = max(-(-share * len(values) // 7), 1) - 1
            assert [f.words[0][w][c] for w in range(3)] == [values[0], values[-1], values[place]]


@pytest.mark.parametrize("parties", [1, 3])
def test_at_the_ends_of_the_range(parties: int) -> None:
    held = [own([[-FAR, FAR, FAR], [FAR], [-FAR]], [False] * 3) for _ in range(parties)]
    f = found(search(parties, -FAR, FAR, (MIN, MEDIAN, MAX), 3), held)
    assert [list(f.words[0][w]) for w in range(3)] == [[-FAR, FAR, -FAR], [FAR, FAR, -FAR], [FAR, FAR, -FAR]]


def test_links_carry_what_the_plan_says_whatever_the_values() -> None:
    s = search(3, 0, 1000, (MIN, MEDIAN), 2)

    def sizes(held: list[OwnValues]) -> tuple[list[tuple[str, str, str, int]], Trace]:
        trace = Trace()
        found(s, held, trace)
        return [(x.sender, x.receiver, x.step, len(x.raw)) for x in trace.sent], trace

    many, trace = sizes([own([[1, 2, 3], [4, 1000]], [False, False])] * 3)
    none, _ = sizes([own([[], []], [True, True])] * 3)
    assert many == none
    assert not trace.heard_by(HELPER)  # it deals and hears nothing
    allowed: dict[tuple[str, str], list[int]] = {}
    for t in search_traffic(s):
        link = allowed.setdefault((t.sender, t.receiver), [0, 0])
        link[0] += t.bytes
        link[1] += t.messages
    links = {(x.sender, x.receiver) for x in trace.sent}
    assert links == set(allowed)
    for link in links:
        said = [x for x in trace.sent if (x.sender, x.receiver) == link]
        assert len(said) <= allowed[link][1]
        assert allowed[link][0] / 3 < sum(len(x.raw) for x in said) <= allowed[link][0] + 64 * allowed[link][1]
    assert max(trace.depth.values()) <= s.rounds


def test_what_is_opened_follows_from_the_result() -> None:
    """Two inputs with the same result lead the search the same way: every holder computes the same middles."""
    s = search(2, 0, 63, (MEDIAN,), 1)

    def middles(*held: list[int]) -> list[int]:
        asked: list[int] = []

        class Watched(OwnValues):
            def at_most(self, limit):  # type: ignore[no-untyped-def]
                asked.append(int(limit[0]))
                return super().at_most(limit)

        mine = [own([h], [False]) for h in held]
        found(s, [Watched(m.values, m.starts, m.small) for m in mine])
        return asked

    assert middles([5, 17, 40], [17, 17]) == middles([1, 60], [16, 17, 17, 63, 2]) != middles([5], [18, 19])


def test_a_suppressed_cell_is_not_searched() -> None:
    s = search(2, 3, 63, (MAX,), 1)
    f = found(s, [own([[7]], [True]), own([[9]], [False])])
    assert not f.shown[0][0] and f.words[0][0][0] == 3 and f.words[0][1][0] == 0  # the end of the range: no value's


def test_no_values_in_its_repr() -> None:
    assert "4242" not in repr(own([[4242]], [False]))
