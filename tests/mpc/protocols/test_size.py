"""P9's size alone: two halves of it, small ones hidden from both, and what each message shows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.errors import PeerError
from mpc.ids import INTEGER, lay_out
from mpc.messages import Words
from mpc.protocols import size
from mpc.protocols.size import Half, Size
from mpc.run import Trace, run
from tests.mpc.columns import integers
from tests.mpc.joining import sessions

EXTRA = 16


def keys(ids: list[int]) -> np.ndarray:
    return lay_out([INTEGER], [integers(ids)]).matrix


def halves(mine, theirs, *, least=0, hides=(), seed=0, rows=(12, 12), trace=None, tamper=None) -> tuple[Half, Half]:
    members = sessions(["a", "b"], seed)
    s = Size("size", ("a", "b"), rows, least, frozenset(hides), EXTRA)
    roles = {
        "a": size.ask(members["a"], s, keys(sorted(mine)), map),
        "b": size.answer(members["b"], s, keys(sorted(theirs)), map),
    }
    found = run(roles, trace, tamper)
    return found["a"], found["b"]


ids = st.sets(st.integers(0, 14), max_size=12)


@settings(max_examples=25)
@given(mine=ids, theirs=ids, least=st.integers(0, 4), seed=st.integers(0, 99))
def test_the_halves_give_the_number_and_both_know_whether_it_is_small(mine, theirs, least, seed):
    a, b = halves(mine, theirs, least=least, seed=seed)
    met = len(mine & theirs)
    assert a.number + b.number == met and a.small == b.small == (met < least)
    assert 0 <= -b.number < EXTRA


@settings(max_examples=25)
@given(mine=ids, theirs=ids, least=st.integers(1, 4), hides=st.sampled_from(["", "a", "b", "ab"]))
def test_noise_of_the_other_where_nearly_all_of_a_receivers_keys_met(mine, theirs, least, hides):
    a, b = halves(mine, theirs, least=least, hides=hides)
    met = len(mine & theirs)
    assert b.small == (met < least or ("a" in hides and len(mine) - met < least))
    assert a.small == (met < least or ("b" in hides and len(theirs) - met < least))


def test_no_half_tells_the_number():
    """Over all seeds the asking side's half of 0 and of 2 shared keys lies in the same range, and is as often there."""
    found = {}
    for shared in (0, 2):
        drawn = [halves(range(5), range(5 - shared, 9), seed=seed)[0].number for seed in range(40)]
        found[shared] = drawn
        assert all(shared <= x < shared + EXTRA for x in drawn) and len(set(drawn)) > 8
    assert len(set(found[0]) & set(found[2])) > 6


def test_the_answering_side_hears_points_and_the_asking_side_another_order():
    trace = Trace()
    halves(range(9), range(3, 12), least=2, trace=trace)
    steps = {name: {m.step.split("size/")[1].split("/block")[0] for m in trace.heard_by(name)} for name in "ab"}
    assert steps["b"] == {"counted/points", "tested/0/points", "tested/1/points", "tested/1/doubled"}
    assert steps["a"] == {"counted/points", "counted/doubled", "tested/0/points", "tested/0/doubled", "tested/1/points"}
    assert max(trace.depth.values()) == 5


def test_sizes_are_those_of_the_plan_whatever_met():
    said = []
    for mine, theirs in ((range(9), range(9)), (range(1), range(5, 9)), ((), ())):
        trace = Trace()
        halves(set(mine), set(theirs), least=3, hides="ab", trace=trace)
        said.append(Counter((m.sender, m.step, len(m.raw)) for m in trace.sent))
    assert said[0] == said[1] == said[2]


def test_extras_are_nobodys_keys():
    """A key whose bytes are those of an extra is none."""
    raw = np.zeros((3, 16), dtype=np.uint8)
    raw[:, 0] = range(3)
    made = size._with_extras(raw, 3)
    assert len(np.unique(made, axis=0)) == 6


@pytest.mark.parametrize("way", ["counted/points", "counted/doubled", "tested/0/doubled"])
def test_a_point_twice_or_none_is_refused(way):
    for start, code in ((4, "protocol.malformed"), (None, "protocol.point")):

        def tamper(sent, start=start):
            if sent.sender != "b" or f"/{way}/" not in sent.step:
                return sent.raw
            words = decode(sent.raw).words.copy()
            if start is None or len(words) < 8:
                words[:4] = 0
            else:
                words[:4] = words[start : start + 4]
            return encode(Words(64, words))

        with pytest.raises(PeerError) as caught:
            halves(range(5), range(5), least=2, tamper=tamper)
        assert caught.value.party == "b"
        assert caught.value.code == (code if way != "tested/0/doubled" else "protocol.point")


def test_a_half_is_not_shown():
    assert "7" not in repr(Half(7, True))
