"""Putting elements at places that one holder knows: against indexing, and from everybody's seat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.errors import HejiError, PeerError
from mpc.messages import Positions, Words
from mpc.protocols import place
from mpc.protocols.pick import Pick
from mpc.replay import replay
from mpc.run import Sent, Trace, run
from tests.mpc.protocols.test_pick import opened, world


@settings(max_examples=60)
@given(st.data())
def test_equals_indexing(data):
    n = data.draw(st.integers(0, 9))
    places = data.draw(st.permutations(range(n)))[: data.draw(st.integers(0, n))]
    k = len(places)
    bits = data.draw(st.lists(st.sampled_from([64, 128]), max_size=3))
    columns = [
        data.draw(st.lists(st.integers(-(2 ** (b - 1)), 2 ** (b - 1) - 1), min_size=k, max_size=k)) for b in bits
    ]
    holders = ("b", "c", "d", "e")[: data.draw(st.integers(1, 4))]
    p = Pick("totals", "a", holders, "helper", n, k, tuple(bits))
    trace = Trace()
    results = run(world(p, places, columns, data.draw(st.integers(0, 99)), place), trace)
    laid = [[column[places.index(i)] if i in places else 0 for i in range(n)] for column in columns]
    assert opened(p, results) == laid
    said = [decode(s.raw) for s in trace.sent]
    assert sum(m.words.nbytes if isinstance(m, Words) else m.positions.nbytes for m in said) == p.bytes()


P = Pick("totals", "a", ("b", "c"), "helper", 300, 3, (64, 128))
COLUMNS = [[7, -8, 9], [1, 2, 3]]


def test_nobody_hears_the_same_words_for_other_coins_and_the_owner_hears_nothing():
    first, second = Trace(), Trace()
    run(world(P, [1, 2, 299], COLUMNS, 0, place), first)
    run(world(P, [1, 2, 299], COLUMNS, 1, place), second)
    assert not first.heard_by("a")
    for name in ("helper", "b", "c"):
        for x, y in zip(first.heard_by(name), second.heard_by(name), strict=True):
            one, two = decode(x.raw), decode(y.raw)
            if isinstance(one, Words):
                assert not np.isin(one.words.ravel(), two.words.ravel()).any()
                assert len(np.unique(one.words.ravel())) == one.words.size  # no zeros that would show the places
            else:
                assert one.positions.tolist() != [1, 2, 299] != two.positions.tolist() != one.positions.tolist()


def test_what_anybody_hears_has_the_same_sizes_wherever_the_places_are():
    shapes = []
    for places in ([1, 2, 299], [298, 0, 150]):
        trace = Trace()
        run(world(P, places, COLUMNS, 0, place), trace)
        shapes.append([(s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent])
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["a", "b", "helper"])
def test_replay(name):
    trace = Trace()
    results = run(world(P, [5, 4, 3], COLUMNS, 0, place), trace)
    assert repr(replay(name, world(P, [5, 4, 3], COLUMNS, 0, place)[name], trace.sent)) == repr(results[name])


@pytest.mark.parametrize("change", ["shorten", "same"])
@pytest.mark.parametrize("which", range(10))
def test_tampering(which, change):
    count = iter(range(100))

    def tamper(s: Sent) -> bytes:
        if next(count) != which:
            return bytes(s.raw)
        message = decode(s.raw)
        if isinstance(message, Words):
            return encode(Words(message.ring, message.words[:-1] if change == "shorten" else message.words * 0))
        return encode(Positions(message.positions[:-1] if change == "shorten" else message.positions * 0))

    try:
        results = run(world(P, [5, 4, 3], COLUMNS, 0, place), tamper=tamper)
    except HejiError as error:
        assert isinstance(error, PeerError) and error.party
    else:
        assert change == "same"
        assert opened(P, results)[0][3:6] != [9, -8, 7] or opened(P, results)[1][3:6] != [3, 2, 1]
