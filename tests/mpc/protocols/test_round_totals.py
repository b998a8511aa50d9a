"""Totals are rounded on shares as they would be in the clear, and nobody hears anything but masked words."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.protocols.round_totals import Rounded, Rounding, deal, play
from mpc.ring import ring
from mpc.rounds import Rounds
from mpc.run import Trace, run
from mpc.sharing.circle import Circle
from tests.mpc.joining import sessions

HOLDERS = ("a", "b", "c")


def rounded(totals: list[tuple[Rounded, list[int]]], trace: Trace | None = None, holders: int = 2) -> list[list[int]]:
    """``totals`` with their values, group by group, as they come out."""
    circle = Circle(HOLDERS[:holders], "helper")
    members = sessions([*circle.holders, "helper"])
    r = Rounding(circle, len(totals[0][1]), tuple(t for t, _ in totals))
    shares: dict[str, list[Any]] = {i: [] for i in circle.holders}
    random = np.random.default_rng(1)
    for t, values in totals:
        last = ring(t.bits).from_ints(values)
        for i in circle.holders[:-1]:
            words = random.integers(0, 2**64, last.shape, dtype=np.uint64)
            shares[i].append(words)
            ring(t.bits).subtract_into(last, words)
        shares[circle.holders[-1]].append(last)
    roles: dict[str, Rounds[Any]] = {i: play(members[i], r, shares[i]) for i in circle.holders}
    found = run({**roles, "helper": deal(members["helper"], r)}, trace)
    out = []
    for k, (t, values) in enumerate(totals):
        total = ring(t.bits).zeros(len(values))
        for i in circle.holders:
            ring(t.bits).add_into(total, found[i][k])
        out.append(ring(t.bits).to_ints(total))
    return out


def nearest(value: int, step: int) -> int:
    return floor(Fraction(value, step) + Fraction(1, 2)) * step


@pytest.mark.parametrize("holders", [2, 3])
def test_totals_of_several_widths_and_steps_at_once(holders: int) -> None:
    totals = [
        (Rounded(64, 1000, 1), [0, 1, -1, 1000, -1000]),
        (Rounded(64, 1000, 7), [3, 4, -3, -4, 997]),
        (Rounded(64, 1000, 10), [5, -5, 4, 1000, -996]),
        (Rounded(64, 1000, 5000), [1000, -1000, 1, 0, 999]),
        (Rounded(64, 2**62 - 1, 10**6), [2**62 - 1, 1 - 2**62, 499_999, 500_000, -500_001]),
        (Rounded(64, 2**62 - 1, 2**200), [2**62 - 1, 1 - 2**62, 0, 1, -1]),
        (Rounded(128, 10**30, 10**9 + 7), [10**30, -(10**30), 10**9, -(10**8), 3]),
        (Rounded(128, 2**126 - 1, 2**126), [2**126 - 1, 1 - 2**126, 2**125, 2**125 - 1, -(2**125) - 1]),
        (Rounded(64, 0, 9), [0] * 5),
    ]
    assert rounded(totals, holders=holders) == [[nearest(v, t.step) for v in values] for t, values in totals]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_total_within_its_bound(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from([64, 128]))
    bound = data.draw(st.integers(0, 2 ** (bits - 2) - 1) | st.integers(0, 300))
    step = data.draw(st.integers(1, 2 * bound + 2) | st.integers(1, 40))
    values = data.draw(st.lists(st.integers(-bound, bound), min_size=1, max_size=6))
    assert rounded([(Rounded(bits, bound, step), values)]) == [[nearest(v, step) for v in values]]


def test_messages_depend_on_no_total_and_none_goes_to_the_helper() -> None:
    seen = []
    for values in ([0, 0], [999, -1000]):
        trace = Trace()
        rounded([(Rounded(64, 1000, 10), values)], trace)
        assert not trace.heard_by("helper")
        seen.append([(s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent])
    assert seen[0] == seen[1]
    assert Rounded(64, 1000, 10).halvings == 7  # 10 · 2^7 >= 1000: eight comparisons in a row
