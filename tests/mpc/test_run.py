"""The in-process driver: windows of channels, and the latencies it counts."""

from __future__ import annotations

import numpy as np
import pytest

from mpc.errors import LocalError
from mpc.messages import Positions
from mpc.rounds import WINDOW, Round, Rounds
from mpc.run import Trace, run

WORD = Positions(np.zeros(1, np.uint32))


def says_first(peer: str, count: int) -> Rounds[None]:
    """Says ``count`` messages, then hears as many."""
    for i in range(count):
        yield Round(str(i), {peer: WORD})
    for i in range(count):
        yield Round(str(i), {}, frozenset({peer}))


def test_members_who_both_say_more_than_a_window_before_they_hear_are_stuck():
    run({"a": says_first("b", WINDOW), "b": says_first("a", WINDOW)})
    with pytest.raises(LocalError) as raised:
        run({"a": says_first("b", WINDOW + 1), "b": says_first("a", WINDOW + 1)})
    assert raised.value.code == "protocol.order"


def test_who_is_heard_may_say_as_much_as_it_likes():
    def hears() -> Rounds[int]:
        for i in range(5 * WINDOW):
            yield Round(str(i), {}, frozenset({"a"}))
        return 7

    def says() -> Rounds[None]:
        for i in range(5 * WINDOW):
            yield Round(str(i), {"b": WORD})

    assert run({"a": says(), "b": hears()})["b"] == 7


def test_depth_is_the_longest_chain_of_messages_that_wait_for_each_other():
    def first() -> Rounds[None]:
        yield Round("a", {"b": WORD, "c": WORD})
        yield Round("b", {"b": WORD})
        yield Round("c", {}, frozenset({"c"}))

    def second() -> Rounds[None]:
        yield Round("a", {}, frozenset({"a"}))
        yield Round("b", {"c": WORD}, frozenset({"a"}))

    def third() -> Rounds[None]:
        yield Round("a", {}, frozenset({"a"}))
        yield Round("b", {}, frozenset({"b"}))
        yield Round("c", {"a": WORD})

    trace = Trace()
    run({"a": first(), "b": second(), "c": third()}, trace)
    assert trace.depth == {"a": 3, "b": 1, "c": 2}
