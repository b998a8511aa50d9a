"""P3 against the plaintext sum, tampered, out of order, replayed, and looked at from every seat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.crypto.agree import public_key
from mpc.errors import HejiError, LocalError, PeerError
from mpc.messages import Words
from mpc.protocols.total import BLOCK_WORDS, Sum
from mpc.replay import replay
from mpc.ring import ring
from mpc.roles import allowed_bytes, open_outside, rounds_of
from mpc.run import Sent, Trace, run
from tests.mpc.cast import COORDINATOR, World

PRIVATE = b"\x07" * 32


def world(n: int, bits: int, length: int, recipient: str = "analyst") -> World:
    parties = tuple(f"p{i}" for i in range(n))
    outside = {} if recipient in parties or recipient == "guest" else {recipient: public_key(PRIVATE)}
    inside = (recipient,) if not outside else ()
    return World(
        parties, (Sum(f"pool0/w{bits}/{recipient}", parties, recipient, bits, length),), outside, inside=inside
    )


def opened(w: World, results: dict) -> list[int]:
    s = w.sums[0]
    if s.recipient in results:
        return ring(s.bits).to_ints(results[s.recipient].totals[s.name])
    totals = open_outside(s.recipient, PRIVATE, public_key(PRIVATE), w.cast, results[COORDINATOR], w.verify)
    return ring(s.bits).to_ints(totals[s.name])


def vectors(w: World, values: dict[str, list[int]]) -> dict[str, dict]:
    s = w.sums[0]
    return {p: {s.name: ring(s.bits).from_ints(v)} for p, v in values.items()}


@settings(max_examples=40)
@given(data=st.data(), bits=st.sampled_from([64, 128]), n=st.integers(1, 5), length=st.integers(0, 7))
def test_equals_the_plain_sum(data, bits, n, length):
    recipient = data.draw(st.sampled_from(["analyst", "p0", "guest"]))
    w = world(n, bits, length, recipient)
    limit = 2 ** (bits - 1) // 8
    values = {p: data.draw(st.lists(st.integers(-limit, limit), min_size=length, max_size=length)) for p in w.parties}
    results = run(w.roles(vectors(w, values)))
    assert opened(w, results) == [sum(column) for column in zip(*values.values(), strict=True)]


@pytest.mark.parametrize("bits", [64, 128])
def test_long_vectors_travel_in_blocks(bits):
    length = BLOCK_WORDS * 64 // bits * 2 + 5
    w = world(3, bits, length, "p1")
    r = ring(bits)
    x = {p: {w.sums[0].name: r.from_ints([i]).repeat(length, axis=0)} for i, p in enumerate(w.parties)}
    trace = Trace()
    results = run(w.roles(x), trace)
    assert set(opened(w, results)) == {3}
    assert max(len(s.raw) for s in trace.sent) <= 1 << 20
    assert {s.step for s in trace.said_by("p0") if "block" in s.step} == {
        f"pool0/w{bits}/p1/block/{b}" for b in range(3)
    }
    assert trace.rounds == {p: rounds_of(w.cast, p) for p in w.cast.context.participants}


def test_moves_what_the_plan_says_and_no_more():
    w = world(4, 64, 1000, "p2")
    trace = Trace()
    run(w.roles(vectors(w, {p: [1] * 1000 for p in w.parties})), trace)
    for a in w.cast.context.participants:
        for b in w.cast.context.participants:
            if a != b:
                moved, allowed = trace.bytes_between(a, b), allowed_bytes(w.cast, a, b)
                assert moved <= allowed <= moved + 64 * 4, (a, b)
    # 8 bytes an element from each contributor, as much again to the recipient, nothing between contributors
    words = [s for s in trace.sent if isinstance(decode(s.raw), Words)]
    assert {(s.sender, s.receiver) for s in words} == {(p, COORDINATOR) for p in w.parties} | {(COORDINATOR, "p2")}


def test_the_coordinator_sees_uniform_words():
    """Of one and the same input: no word repeats, bits are balanced, and two attempts share nothing."""
    seen = []
    for attempt in (1, 2):
        w = world(3, 64, 4096)
        w = World(w.parties, w.sums, w.outside, attempt)
        trace = Trace()
        run(w.roles(vectors(w, {p: [42] * 4096 for p in w.parties})), trace)
        seen += [decode(s.raw).words for s in trace.heard_by(COORDINATOR) if "block" in s.step]
    words = np.concatenate(seen)
    assert len(np.unique(words)) == len(words)
    ones = np.unpackbits(words.view(np.uint8)).mean()
    assert abs(ones - 0.5) < 0.01
    # what C can compute, all pairwise sums and differences and the total, is not the input either
    for combined in (seen[0] + seen[1], seen[0] + seen[1] + seen[2], seen[0] - seen[3]):
        assert len(np.unique(combined)) == len(combined)


def test_coordinator_with_all_but_two_contributors_learns_only_the_sum():
    """Take off every stream the coalition knows; what is left of the two others must still be masked singly."""
    w = world(4, 64, 256)
    values = {p: [i * 1000] * 256 for i, p in enumerate(w.parties)}
    trace = Trace()
    run(w.roles(vectors(w, values)), trace)
    said = {s.sender: decode(s.raw).words for s in trace.heard_by(COORDINATOR) if "block" in s.step}
    pair = said["p2"] + said["p3"]
    assert len(np.unique(said["p2"])) == 256
    assert len(np.unique(pair)) == 256  # still under the streams to p0, p1 and R


def messages(w: World) -> list[Sent]:
    trace = Trace()
    run(w.roles(vectors(w, {p: [5, 6] for p in w.parties})), trace)
    return trace.sent


SMALL = world(3, 64, 2, "p1")


@pytest.mark.parametrize("index", range(len(messages(SMALL))))
def test_any_tampered_message_is_noticed_or_changes_only_the_sum(index):
    """Bits flipped in keys or signatures stop everybody; in masked words they change the total (P11 detects that)."""
    sent = messages(SMALL)[index]

    def tamper(s: Sent) -> bytes:
        if (s.sender, s.receiver, s.step) != (sent.sender, sent.receiver, sent.step):
            return s.raw
        return s.raw[:-1] + bytes([s.raw[-1] ^ 1])

    x = vectors(SMALL, {p: [5, 6] for p in SMALL.parties})
    if "keys" in sent.step:
        with pytest.raises(PeerError) as raised:
            run(SMALL.roles(x), tamper=tamper)
        assert raised.value.party == sent.sender
    else:
        assert opened(SMALL, run(SMALL.roles(x), tamper=tamper)) != [15, 18]


@pytest.mark.parametrize("index", range(len(messages(SMALL))))
def test_garbage_is_blamed_on_its_sender(index):
    sent = messages(SMALL)[index]

    def tamper(s: Sent) -> bytes:
        same = (s.sender, s.receiver, s.step) == (sent.sender, sent.receiver, sent.step)
        return b"\xff garbage" if same else s.raw

    with pytest.raises(PeerError) as raised:
        run(SMALL.roles(vectors(SMALL, {p: [5, 6] for p in SMALL.parties})), tamper=tamper)
    assert raised.value.party == sent.sender
    assert raised.value.code == "protocol.malformed"


def test_a_block_of_the_wrong_length_is_refused():
    def tamper(s: Sent) -> bytes:
        return encode(Words(64, np.zeros(3, np.uint64))) if "block" in s.step and s.sender == "p0" else s.raw

    with pytest.raises(PeerError, match="p0 sent 3 words") as raised:
        run(SMALL.roles(vectors(SMALL, {p: [5, 6] for p in SMALL.parties})), tamper=tamper)
    assert raised.value.code == "protocol.size"


def test_wrong_order_is_refused():
    def shuffled() -> Iterator[Sent]:
        blocks = [s for s in record if s.receiver == COORDINATOR and "block" in s.step]
        yield from [s for s in record if s not in blocks]
        yield from reversed(blocks)

    w = world(2, 64, BLOCK_WORDS + 1, "p1")
    trace = Trace()
    run(w.roles(vectors(w, {p: [1] * (BLOCK_WORDS + 1) for p in w.parties})), trace)
    record = trace.sent
    with pytest.raises(PeerError, match="block/1.*block/0"):
        replay(COORDINATOR, w.role(COORDINATOR), shuffled())


def test_every_role_replays_byte_for_byte():
    x = vectors(SMALL, {p: [5, 6] for p in SMALL.parties})
    trace = Trace()
    results = run(SMALL.roles(x), trace)
    for name in SMALL.cast.context.participants:
        outcome = replay(name, SMALL.role(name, x.get(name, {})), trace.sent)
        assert outcome.totals.keys() == results[name].totals.keys()


def test_replay_names_the_first_step_that_differs():
    x = vectors(SMALL, {p: [5, 6] for p in SMALL.parties})
    trace = Trace()
    run(SMALL.roles(x), trace)
    other = vectors(SMALL, {"p0": [5, 7]})["p0"]
    with pytest.raises(LocalError, match="pool0/w64/p1/block/0 to coordinator differs") as raised:
        replay("p0", SMALL.role("p0", other), trace.sent)
    assert raised.value.code == "protocol.replay"


def test_a_missing_member_stops_everybody():
    roles = SMALL.roles(vectors(SMALL, {p: [5, 6] for p in SMALL.parties}))
    del roles["p2"]
    with pytest.raises(HejiError, match="Nobody can go on"):
        run(roles)
