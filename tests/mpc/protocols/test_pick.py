"""Picking at places that one holder knows: against indexing, and from the helper's seat."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.errors import HejiError, PeerError
from mpc.messages import Positions, Words
from mpc.protocols import pick
from mpc.protocols.pick import Pick
from mpc.replay import replay
from mpc.ring import ring
from mpc.rounds import Rounds
from mpc.run import Sent, Trace, run
from tests.mpc.joining import sessions


def world(
    p: Pick, places: list[int], columns: list[list[int]], seed: int = 0, does: ModuleType = pick
) -> dict[str, Rounds[Any]]:
    """Roles that hold random shares of ``columns``, and pick, or whatever a module like it ``does``."""
    s = sessions([p.owner, *p.holders, p.helper], seed)
    rng = np.random.default_rng(seed)
    held: dict[str, list[Any]] = {x: [] for x in (p.owner, *p.holders)}
    for bits, values in zip(p.columns, columns, strict=True):
        rest = ring(bits).from_ints(values)
        for x in p.holders:
            share = rng.integers(0, 2**64, rest.shape, dtype=np.uint64)
            held[x].append(share)
            ring(bits).subtract_into(rest, share)
        held[p.owner].append(rest)
    roles = {x: does.holder(s[x], p, held[x]) for x in p.holders}
    return {
        **roles,
        p.owner: does.owner(s[p.owner], p, np.array(places, np.int64), held[p.owner]),
        p.helper: does.helper(s[p.helper], p),
    }


def opened(p: Pick, results: dict[str, Any]) -> list[list[int]]:
    out = []
    for c, bits in enumerate(p.columns):
        total = results[p.owner][c].copy()
        for x in p.holders:
            ring(bits).add_into(total, results[x][c])
        out.append(ring(bits).to_ints(total))
    return out


@settings(max_examples=60)
@given(st.data())
def test_equals_indexing(data):
    n = data.draw(st.integers(0, 9))
    bits = data.draw(st.lists(st.sampled_from([64, 128]), max_size=3))
    columns = [
        data.draw(st.lists(st.integers(-(2 ** (b - 1)), 2 ** (b - 1) - 1), min_size=n, max_size=n)) for b in bits
    ]
    places = data.draw(st.permutations(range(n)))[: data.draw(st.integers(0, n))]
    holders = ("b", "c", "d", "e")[: data.draw(st.integers(1, 4))]
    p = Pick("ends", "a", holders, "helper", n, len(places), tuple(bits))
    trace = Trace()
    results = run(world(p, places, columns, data.draw(st.integers(0, 99))), trace)
    assert opened(p, results) == [[column[i] for i in places] for column in columns]
    said = [decode(s.raw) for s in trace.sent]
    assert sum(m.words.nbytes if isinstance(m, Words) else m.positions.nbytes for m in said) == p.bytes()


P = Pick("ends", "a", ("b", "c"), "helper", 300, 3, (64, 128))
COLUMNS = [list(range(300)), [1] * 300]


def test_the_helper_hears_other_words_for_other_coins_and_the_owner_hears_nothing():
    first, second = Trace(), Trace()
    run(world(P, [1, 2, 299], COLUMNS), first)
    run(world(P, [1, 2, 299], COLUMNS, 1), second)
    assert not first.heard_by("a")
    for x, y in zip(first.heard_by("helper"), second.heard_by("helper"), strict=True):
        one, two = decode(x.raw), decode(y.raw)
        if isinstance(one, Words):
            assert not np.isin(one.words.ravel(), two.words.ravel()).any()
        else:
            assert one.positions.tolist() != [1, 2, 299] != two.positions.tolist() != one.positions.tolist()


def test_what_the_helper_hears_has_the_same_sizes_wherever_the_places_are():
    shapes = []
    for places in ([1, 2, 299], [298, 0, 150]):
        trace = Trace()
        run(world(P, places, COLUMNS), trace)
        shapes.append([(s.sender, s.receiver, s.step, len(s.raw)) for s in trace.sent])
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", ["a", "b", "helper"])
def test_replay(name):
    trace = Trace()
    results = run(world(P, [5, 4, 3], COLUMNS), trace)
    assert repr(replay(name, world(P, [5, 4, 3], COLUMNS)[name], trace.sent)) == repr(results[name])


@pytest.mark.parametrize("change", ["flip", "shorten", "same"])
@pytest.mark.parametrize("which", range(10))
def test_tampering(which, change):
    count = iter(range(100))

    def tamper(s: Sent) -> bytes:
        if next(count) != which:
            return bytes(s.raw)
        message = decode(s.raw)
        if change == "flip":
            return bytes(s.raw)[:-1] + bytes([s.raw[-1] ^ 1])
        if isinstance(message, Words):
            return encode(Words(message.ring, message.words[:-1] if change == "shorten" else message.words * 0))
        return encode(Positions(message.positions[:-1] if change == "shorten" else message.positions * 0))

    try:
        results = run(world(P, [5, 4, 3], COLUMNS), tamper=tamper)
    except HejiError as error:
        assert isinstance(error, PeerError) and error.party
    else:
        assert change != "shorten"
        assert opened(P, results) != [[5, 4, 3], [1, 1, 1]] or change == "flip"
