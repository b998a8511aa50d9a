"""Operations side by side: the results of each alone, in the latencies of the longest, and nothing waits for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpc import blocks, rounds
from mpc.codec import decode, encode
from mpc.errors import HejiError, PeerError
from mpc.messages import Many, Positions
from mpc.replay import replay
from mpc.rounds import WINDOW, Round, Rounds, Session, together
from mpc.run import Trace, run
from mpc.sharing import opening
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal_zero, negative
from mpc.sharing.multiply import deal_multiply, deal_multiply_known, multiply, multiply_known
from mpc.sharing.permute import deal_permute, permute
from tests.mpc.joining import sessions
from tests.mpc.sharing.test_engine import HELPER, circle, opened, share, wrapped

kinds = st.sampled_from(["multiply", "known", "negative", "zero", "permute"])


class Mixture:
    """Operations by name, on columns of four elements unless ``lengths`` says otherwise."""

    def __init__(
        self, names: list[str], holders: int = 3, bits: int = 64, lengths: Sequence[int] | None = None
    ) -> None:
        self.names, self.bits, self.circle = names, bits, circle(holders)
        self.lengths = lengths or [4] * len(names)
        self.owners = [self.circle.last if name == "known" else self.circle.first for name in names]
        self.values = [[v * 7 - 21 for v in range(k, k + n)] for k, n in enumerate(self.lengths)]
        self.shares = [share(v, bits, holders, 50 + k) for k, v in enumerate(self.values)]

    def hold(self, session: Session, i: int, k: int) -> Rounds[Any]:
        c, bits, x = self.circle, self.bits, self.shares[k][i]
        here, owner = session.at(f"op{k}"), self.owners[k]
        match self.names[k]:
            case "multiply":
                return multiply(here, c, bits, x, x)
            case "known":
                known = share(self.values[k], bits, 1)[0] if session.me == owner else None
                return multiply_known(here, c, owner, bits, x, known)
            case "negative":
                return negative(here, c, bits, x)
            case "zero":
                return equal_zero(here, c, bits, x)
            case _:
                order = np.arange(len(x))[::-1] if session.me == owner else None
                return permute(here, c, owner, [bits], [x], order)

    def deal(self, session: Session, k: int) -> Rounds[None]:
        c, bits, here, n = self.circle, self.bits, session.at(f"op{k}"), self.lengths[k]
        match self.names[k]:
            case "multiply":
                return deal_multiply(here, c, bits, n)
            case "known":
                return deal_multiply_known(here, c, self.owners[k], bits, n)
            case "negative":
                return deal_negative(here, c, bits, n)
            case "zero":
                return deal_equal_zero(here, c, bits, n)
            case _:
                return deal_permute(here, c, self.owners[k], [bits], n)

    def roles(self, seed: int = 0) -> dict[str, Rounds[list[Any]]]:
        s, count = sessions([*self.circle.holders, HELPER], seed), range(len(self.names))
        return {
            **{
                name: together(s[name].at("both"), *(self.hold(s[name], i, k) for k in count))
                for i, name in enumerate(self.circle.holders)
            },
            HELPER: together(s[HELPER].at("both"), *(self.deal(s[HELPER], k) for k in count)),
        }

    def results(self, results: dict[str, Any]) -> list[list[int]]:
        out = []
        for k, name in enumerate(self.names):
            shares = [results[h][k][0] if name == "permute" else results[h][k] for h in self.circle.holders]
            out.append(opened(shares, self.bits))
        return out

    def expected(self) -> list[list[int]]:
        operation = {
            "multiply": lambda x: [wrapped(v * v, self.bits) for v in x],
            "known": lambda x: [wrapped(v * v, self.bits) for v in x],
            "negative": lambda x: [int(v < 0) for v in x],
            "zero": lambda x: [int(v == 0) for v in x],
            "permute": lambda x: x[::-1],
        }
        return [operation[name](x) for name, x in zip(self.names, self.values, strict=True)]


names = st.lists(kinds, min_size=1, max_size=6)


@settings(max_examples=40)
@given(names, st.integers(2, 5), st.sampled_from([64, 128]))
def test_any_mixture_has_the_results_of_each_alone(names, holders: int, bits: int):
    m = Mixture(names, holders, bits)
    trace = Trace()
    assert m.results(run(m.roles(), trace)) == m.expected()
    assert trace.heard_by(HELPER) == []


def test_many_products_cost_the_latency_and_the_messages_of_one():
    trace = Trace()
    m = Mixture(["multiply"] * 20)
    assert m.results(run(m.roles(), trace)) == m.expected()
    assert max(trace.depth.values()) == 1
    between = [(s.sender, s.receiver) for s in trace.sent]
    assert len(between) == len(set(between)) == 7  # six between holders, one from the helper
    assert {s.step for s in trace.sent} == {"job/both/0"}
    inside = [step for step, _ in decode(trace.sent[0].raw).said]
    assert inside == [f"job/op{k}/batch/0/open/block/0" for k in range(20)]


def test_a_mixture_takes_the_latencies_of_the_longest():
    def depth(*names: str) -> int:
        trace = Trace()
        run(Mixture(list(names)).roles(), trace)
        return max(trace.depth[h] for h in circle(3).holders)

    alone = [depth("negative"), depth("multiply"), depth("permute"), depth("zero")]
    assert depth("negative", "multiply", "permute", "zero", "negative") == max(alone)


def test_side_by_side_within_side_by_side():
    c, x = circle(2), share([3, -4], 64, 2)
    s = sessions([*c.holders, HELPER])

    def hold(here: Session, i: int, name: str) -> Rounds[Any]:
        return together(here.at(name), *(multiply(here.at(f"{name}{k}"), c, 64, x[i], x[i]) for k in range(2)))

    def deal(here: Session, name: str) -> Rounds[Any]:
        return together(here.at(name), *(deal_multiply(here.at(f"{name}{k}"), c, 64, 2) for k in range(2)))

    roles = {h: together(s[h], hold(s[h], i, "m"), hold(s[h], i, "n")) for i, h in enumerate(c.holders)}
    trace = Trace()
    results = run({**roles, HELPER: together(s[HELPER], deal(s[HELPER], "m"), deal(s[HELPER], "n"))}, trace)
    for a in range(2):
        for b in range(2):
            assert opened([results[h][a][b] for h in c.holders], 64) == [9, 16]
    assert max(trace.depth.values()) == 1


def test_no_members_wait_for_each_other_in_a_circle():
    """op0: d → c → b → a; op1: e → a → c. Who waited for both operations at once would wait for ever."""
    word = Positions(np.zeros(1, np.uint32))

    def passes(step: str, hears: str | None, says: str | None) -> Rounds[None]:
        if hears:
            yield Round(step, {}, frozenset({hears}))
        if says:
            yield Round(step, {says: word})

    def role(me: str, *ops: tuple[str | None, str | None]) -> Rounds[Any]:
        s = sessions(list("abcde"))[me]
        return together(s, *(passes(f"op{k}", *op) for k, op in enumerate(ops)))

    nobody = (None, None)
    chain = {"d": (None, "c"), "c": ("d", "b"), "b": ("c", "a"), "a": ("b", None), "e": nobody}
    other = {"e": (None, "a"), "a": ("e", "c"), "c": ("a", None), "b": nobody, "d": nobody}
    for first, second in ((chain, other), (other, chain)):
        run({m: role(m, first[m], second[m]) for m in "abcde"})


def test_a_full_channel_to_one_member_keeps_nothing_from_another(monkeypatch: pytest.MonkeyPatch):
    """a fills the channel to b, then speaks to c and to b again; b first waits for c, who waits for a."""
    word = Positions(np.zeros(1, np.uint32))
    monkeypatch.setattr(rounds, "MANY_BYTES", len(encode(word)) * 3 // 2)  # said by twos, packed one by one

    def a() -> Rounds[None]:
        for i in range(WINDOW):
            yield Round(str(i), {"b": word})
        yield Round("c", {"c": word})
        yield Round(str(WINDOW), {"b": word})

    def b() -> Rounds[None]:
        yield Round("from c", {}, frozenset("c"))
        for i in range(WINDOW + 1):
            yield Round(str(i), {}, frozenset("a"))

    def c() -> Rounds[None]:
        yield Round("c", {}, frozenset("a"))
        yield Round("from c", {"b": word})

    s = sessions(list("abc"))
    run({"a": together(s["a"], a()), "b": together(s["b"], b()), "c": together(s["c"], c())})


@settings(max_examples=25)
@given(
    st.integers(2, 5),
    st.lists(st.tuples(kinds, st.sampled_from([3, 40, 200]), st.integers(0, 4)), min_size=2, max_size=9),
)
@example(3, [("multiply", 300, 0)] * 12)
@example(2, [("multiply", 300, 0), ("permute", 300, 0), ("negative", 300, 0)])
def test_long_columns_side_by_side_stay_within_the_windows(holders: int, operations: list[tuple[str, int, int]]):
    """Columns of up to 75 blocks, each about as large as what is packed into one message: no channel holds them."""
    small = [(blocks, "BLOCK_BYTES", 64), (opening, "BLOCK_BYTES", 64), (opening, "PARTS_BYTES", 64)]
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in [*small, (rounds, "MANY_BYTES", 120), (rounds, "SIDE_BYTES", 240)]:
            patch.setattr(module, name, value)
        m = Mixture([kind for kind, _, _ in operations], holders, lengths=[length for _, length, _ in operations])
        m.owners = [m.circle.holders[owner % holders] for _, _, owner in operations]
        assert m.results(run(m.roles())) == m.expected()


def test_a_role_can_be_replayed():
    m = Mixture(["negative", "multiply", "permute", "known"], 4, 128)
    trace = Trace()
    results = run(m.roles(), trace)
    for name, role in m.roles().items():
        again = replay(name, role, trace.sent)
        assert [np.array(a).tolist() for a in again if a is not None] == [
            np.array(r).tolist() for r in results[name] if r is not None
        ]


Change = tuple[str, Any]
CHANGES: list[Change] = [
    ("protocol.order", lambda said: (*said, said[0])),  # twice
    ("protocol.order", lambda said: (*said, ("job/elsewhere", said[0][1]))),  # for nobody
    ("protocol.malformed", lambda said: ((said[0][0], b"\x00"), *said[1:])),
    (
        "protocol.size",
        lambda said: ((said[0][0], encode(decode(said[0][1]).__class__(64, np.zeros(1, np.uint64)))), *said[1:]),
    ),
]


@pytest.mark.parametrize(("code", "change"), CHANGES)
def test_what_does_not_fit_blames_its_sender(code: str, change):
    def tamper(s):
        return encode(Many(change(decode(s.raw).said))) if s.sender == "p0" else s.raw

    with pytest.raises(PeerError) as raised:
        run(Mixture(["multiply", "multiply"]).roles(), tamper=tamper)
    assert (raised.value.party, raised.value.code) == ("p0", code)


def test_a_message_outside_and_a_missing_one():
    def plain(s):
        return decode(s.raw).said[0][1] if s.sender == "p0" else s.raw

    def less(s):
        return encode(Many(decode(s.raw).said[:1])) if s.sender == "p0" else s.raw

    with pytest.raises(PeerError) as raised:
        run(Mixture(["multiply", "multiply"]).roles(), tamper=plain)
    assert (raised.value.party, raised.value.code) == ("p0", "protocol.malformed")
    with pytest.raises(HejiError) as missing:
        run(Mixture(["multiply", "multiply"]).roles(), tamper=less)
    assert missing.value.code == "protocol.order"
