"""P9's blinding against a plain intersection, with each message tampered with, and what each message shows."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.crypto import curve
from mpc.errors import HejiError, LocalError, PeerError
from mpc.ids import INTEGER, lay_out
from mpc.messages import Words
from mpc.protocols import blind
from mpc.protocols.blind import Blind, answer_size, ask_size, meet
from mpc.run import Sent, Trace, run
from tests.mpc.columns import integers
from tests.mpc.joining import sessions


def keys(ids: list[int]) -> np.ndarray:
    return lay_out([INTEGER], [integers(ids)]).matrix


def roles(mine: list[int], theirs: list[int], *, seed: int = 0, rows=(0, 0)):
    s = sessions(["a", "b"], seed)
    b = Blind("blind", ("a", "b"), (max(rows[0], len(mine)), max(rows[1], len(theirs))))
    return {"a": meet(s["a"], b, keys(mine), map), "b": meet(s["b"], b, keys(theirs), map)}


def met(mine: list[int], theirs: list[int], *, trace: Trace | None = None, tamper=None, **how):
    return run(roles(mine, theirs, **how), trace, tamper)


@settings(max_examples=25)
@given(mine=st.sets(st.integers(0, 30)), theirs=st.sets(st.integers(0, 30)), padding=st.integers(0, 5))
def test_both_find_the_same_keys_in_the_same_order(mine, theirs, padding):
    a, b = sorted(mine), sorted(theirs, reverse=True)
    found = met(a, b, rows=(len(a) + padding, len(b) + 3))
    assert [a[i] for i in found["a"]] == [b[i] for i in found["b"]]
    assert {a[i] for i in found["a"]} == mine & theirs


@pytest.mark.parametrize("shared", [0, 1, 7])
def test_the_size_alone(shared):
    a, b = list(range(10)), list(range(10 - shared, 30))
    s, what = sessions(["a", "b"]), Blind("size", ("a", "b"), (12, 30))
    trace = Trace()
    found = run({"a": ask_size(s["a"], what, keys(a), map), "b": answer_size(s["b"], what, keys(b), map)}, trace)
    assert found == {"a": shared, "b": None}
    assert [m.step.split("/")[-3] for m in trace.heard_by("b")] == ["points"]  # nothing comes back to B


def test_what_is_sent_back_for_the_size_is_not_in_the_order_that_was_asked():
    """Else the asking side could tell which of its keys met."""
    s, what, trace = sessions(["a", "b"]), Blind("size", ("a", "b"), (40, 1)), Trace()
    run(
        {"a": ask_size(s["a"], what, keys(list(range(40))), map), "b": answer_size(s["b"], what, keys([99]), map)},
        trace,
    )
    asked, back = (points(trace, name, way) for name, way in (("a", "points"), ("b", "doubled")))
    by = curve.scalar(sessions(["a", "b"])["b"].own.draw("job/size/exponent", 64))
    raised = [curve.raised(p, by) for p in asked]
    assert sorted(raised) == sorted(back) and sum(x == y for x, y in zip(raised, back, strict=True)) < 10


def points(trace: Trace, sender: str, way: str) -> list[bytes]:
    return [p for m in trace.said_by(sender) if f"/{way}/" in m.step for p in blind._as_points(decode(m.raw).words)]


def test_orders_exponents_and_hashes_are_fresh_in_every_attempt():
    one, two = Trace(), Trace()
    met([1, 2, 3], [2, 3, 4], trace=one)
    met([1, 2, 3], [2, 3, 4], seed=1, trace=two)
    assert not {m.raw for m in one.sent} & {m.raw for m in two.sent}
    again = Trace()
    met([1, 2, 3], [2, 3, 4], trace=again)
    assert [m.raw for m in one.sent] == [m.raw for m in again.sent]  # and nothing but the coins decides them


def test_without_the_other_exponent_ids_cannot_be_tried_out():
    """A small space of ids: a listener, or the other side before it has answered, hashes all of them."""
    trace = Trace()
    met([3], [4], trace=trace)
    said = {p for name in "ab" for p in points(trace, name, "points")}
    salt = sessions(["a", "b"])["a"].pairs["b"].draw("job/blind/hash", 32)
    assert not said & {curve.hash_to_point("blind", salt, k.tobytes()) for k in keys(list(range(50)))}


def test_sizes_are_those_of_the_plan_whatever_the_tables():
    sizes = []
    for mine, theirs in (([1], [2]), (list(range(9)), list(range(5)))):
        trace = Trace()
        met(mine, theirs, rows=(9, 8), trace=trace)
        sizes.append(Counter((m.sender, m.step, len(m.raw)) for m in trace.sent))
    assert sizes[0] == sizes[1]
    assert sum(decode(m.raw).words.nbytes for m in trace.said_by("a")) == 32 * (9 + 8)


def test_many_blocks_and_many_workers(monkeypatch):
    """Both speak at once for longer than a channel holds, one of them longer."""
    monkeypatch.setattr("mpc.blocks.BLOCK_BYTES", 64)
    monkeypatch.setattr(blind, "CHUNK", 3)
    assert len(met(list(range(50)), list(range(40, 47)))["a"]) == 7


BAD = {
    "identity": bytes(32),
    "not canonical": b"\xff" * 32,
    "negative": (1).to_bytes(32, "little"),
    "no square": b"\x02" + bytes(31),
}


@pytest.mark.parametrize("way", ["points", "doubled"])
@pytest.mark.parametrize("what", BAD)
def test_what_is_no_point_is_refused(way, what):
    def tamper(sent: Sent):
        if sent.sender != "b" or f"/{way}/" not in sent.step:
            return sent.raw
        words = decode(sent.raw).words.copy()
        words[:4] = np.frombuffer(BAD[what], "<u8")
        return encode(Words(64, words))

    with pytest.raises(PeerError) as caught:
        met([1, 2], [2, 3], tamper=tamper)
    assert (caught.value.code, caught.value.party) == ("protocol.point", "b")


@pytest.mark.parametrize("way", ["points", "doubled"])
def test_a_key_twice_is_refused(way):
    def tamper(sent: Sent):
        if sent.sender != "b" or f"/{way}/" not in sent.step:
            return sent.raw
        words = decode(sent.raw).words.copy()
        words[:4] = words[4:8]
        return encode(Words(64, words))

    with pytest.raises(PeerError) as caught:
        met([1, 2], [2, 3], tamper=tamper)
    assert (caught.value.code, caught.value.party) == ("protocol.malformed", "b")


def test_another_length_kind_or_step_is_refused():
    def replaced(by):
        return lambda sent: by(sent) if sent.sender == "b" else sent.raw

    for by in (
        lambda s: encode(Words(64, decode(s.raw).words[4:])),
        lambda s: encode(Words(128, decode(s.raw).words.reshape(-1, 2))),
        lambda s: b"",
    ):
        with pytest.raises(HejiError) as caught:
            met([1, 2], [2, 3], tamper=replaced(by))
        assert caught.value.code in ("protocol.size", "protocol.malformed")


def test_more_keys_than_published_are_refused_before_anything_is_said():
    s, trace = sessions(["a", "b"]), Trace()
    b = Blind("blind", ("a", "b"), (1, 1))
    with pytest.raises(LocalError) as caught:
        run({"a": meet(s["a"], b, keys([1, 2]), map), "b": meet(s["b"], b, keys([1]), map)}, trace)
    assert caught.value.code == "data.rows" and not trace.said_by("a")


def test_workers_may_be_processes():
    import pickle

    assert pickle.loads(pickle.dumps(partial(blind._raise, 5)))([curve.hash_to_point("blind", b"x")])
