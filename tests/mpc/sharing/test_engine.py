"""The share engine against plain integers: two to five holders, both rings, the edges; and what every seat sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode
from mpc.coins import Coins
from mpc.errors import HejiError, PeerError
from mpc.messages import RingWords, Words
from mpc.replay import replay
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.run import Sent, Trace, run
from mpc.sharing import compare
from mpc.sharing.bits import and_bits, bit_to_arithmetic, deal_and_bits, deal_bit_to_arithmetic
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal, equal_zero, less_than, negative
from mpc.sharing.multiply import (
    deal_multiply,
    deal_multiply_known,
    deal_select,
    multiply,
    multiply_known,
    select,
)
from mpc.sharing.permute import deal_permute, permute
from tests.mpc.joining import sessions

HELPER = "helper"


def circle(n: int) -> Circle:
    return Circle(tuple(f"p{i}" for i in range(n)), HELPER)


def share(values: list[int], bits: int, n: int, seed: int = 7) -> list[RingWords]:
    """Random shares of integers for ``n`` holders."""
    r, coins = ring(bits), Coins(bytes([seed]) * 32)
    last, out = r.from_ints(values), []
    for i in range(n - 1):
        mask = coins.words(str(i), last.size).reshape(last.shape)
        r.subtract_into(last, mask)
        out.append(mask)
    return [*out, last]


def opened(shares: list[RingWords], bits: int) -> list[int]:
    total = ring(bits).zeros(len(shares[0]))
    for x in shares:
        ring(bits).add_into(total, x)
    return ring(bits).to_ints(total)


def wrapped(value: int, bits: int) -> int:
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


Role = Callable[[Session, int], Rounds[Any]]


def play(c: Circle, holder: Role, deal: Callable[[Session], Rounds[None]], trace: Trace | None = None, **more) -> list:
    """``holder(session, i)`` at every holder, ``deal(session)`` at the helper; the holders' results."""
    s = sessions([*c.holders, c.helper])
    roles: dict[str, Rounds[Any]] = {name: holder(s[name].at("op"), i) for i, name in enumerate(c.holders)}
    results = run({**roles, c.helper: deal(s[c.helper].at("op"))}, trace, **more)
    return [results[name] for name in c.holders]


def integers(bits: int) -> st.SearchStrategy[int]:
    edges = [
        0,
        1,
        -1,
        2,
        (1 << bits - 1) - 1,
        -(1 << bits - 1),
        1 << 63,
        -(1 << 63),
        (1 << 64) - 1,
        1 << 32,
        -(1 << 32),
    ]
    edge = st.sampled_from([wrapped(e, bits) for e in edges])
    return st.one_of(edge, st.integers(-100, 100), st.integers(-(1 << bits - 1), (1 << bits - 1) - 1))


sizes = {"n": st.integers(2, 5), "bits": st.sampled_from([64, 128])}


@settings(max_examples=60)
@given(data=st.data(), **sizes)
def test_products(data, n: int, bits: int):
    x = data.draw(st.lists(integers(bits), max_size=9))
    y = data.draw(st.lists(integers(bits), min_size=len(x), max_size=len(x)))
    c, xs, ys = circle(n), share(x, bits, n, 1), share(y, bits, n, 2)
    z = play(c, lambda s, i: multiply(s, c, bits, xs[i], ys[i]), lambda s: deal_multiply(s, c, bits, len(x)))
    assert opened(z, bits) == [wrapped(a * b, bits) for a, b in zip(x, y, strict=True)]


@settings(max_examples=60)
@given(data=st.data(), **sizes)
def test_products_with_a_column_one_holder_knows(data, n: int, bits: int):
    x = data.draw(st.lists(integers(bits), max_size=9))
    y = data.draw(st.lists(integers(bits), min_size=len(x), max_size=len(x)))
    c, ys = circle(n), share(y, bits, n)
    owner = data.draw(st.sampled_from(c.holders))

    def role(s: Session, i: int) -> Rounds[RingWords]:
        return multiply_known(s, c, owner, bits, ys[i], ring(bits).from_ints(x) if s.me == owner else None)

    z = play(c, role, lambda s: deal_multiply_known(s, c, owner, bits, len(x)))
    assert opened(z, bits) == [wrapped(a * b, bits) for a, b in zip(x, y, strict=True)]


@settings(max_examples=60)
@given(data=st.data(), **sizes)
def test_signs_and_zeros(data, n: int, bits: int):
    x = data.draw(st.lists(integers(bits), min_size=1, max_size=9))
    c, xs = circle(n), share(x, bits, n)
    z = play(c, lambda s, i: negative(s, c, bits, xs[i]), lambda s: deal_negative(s, c, bits, len(x)))
    assert opened(z, bits) == [int(v < 0) for v in x]
    z = play(c, lambda s, i: equal_zero(s, c, bits, xs[i]), lambda s: deal_equal_zero(s, c, bits, len(x)))
    assert opened(z, bits) == [int(v == 0) for v in x]


@settings(max_examples=30)
@given(data=st.data(), **sizes)
def test_less_than_and_equal(data, n: int, bits: int):
    small = st.integers(-(1 << bits - 2), (1 << bits - 2) - 1)
    pairs = data.draw(st.lists(st.one_of(st.tuples(small, small), small.map(lambda v: (v, v))), max_size=9))
    c, xs, ys = (
        circle(n),
        share([p[0] for p in pairs], bits, n, 1),
        share([p[1] for p in pairs], bits, n, 2),
    )
    z = play(c, lambda s, i: less_than(s, c, bits, xs[i], ys[i]), lambda s: deal_negative(s, c, bits, len(pairs)))
    assert opened(z, bits) == [int(a < b) for a, b in pairs]
    z = play(c, lambda s, i: equal(s, c, bits, xs[i], ys[i]), lambda s: deal_equal_zero(s, c, bits, len(pairs)))
    assert opened(z, bits) == [int(a == b) for a, b in pairs]


@settings(max_examples=40)
@given(data=st.data(), **sizes)
def test_select(data, n: int, bits: int):
    rows = data.draw(st.lists(st.tuples(st.booleans(), integers(bits), integers(bits)), max_size=9))
    c = circle(n)
    chosen, x, y = (share([int(row[k]) for row in rows], bits, n, k) for k in range(3))
    z = play(c, lambda s, i: select(s, c, bits, chosen[i], x[i], y[i]), lambda s: deal_select(s, c, bits, len(rows)))
    assert opened(z, bits) == [a if condition else b for condition, a, b in rows]


@settings(max_examples=60)
@given(data=st.data(), n=st.integers(2, 5))
def test_columns_in_an_order_that_one_holder_knows(data, n: int):
    c, owner = circle(n), data.draw(st.sampled_from(circle(n).holders))
    order = data.draw(st.integers(0, 9).flatmap(lambda size: st.permutations(range(size))))
    rings = data.draw(st.lists(st.sampled_from([64, 128]), min_size=1, max_size=3))
    columns = [data.draw(st.lists(integers(b), min_size=len(order), max_size=len(order))) for b in rings]
    shares = [share(x, b, n, k) for k, (x, b) in enumerate(zip(columns, rings, strict=True))]

    def role(s: Session, i: int) -> Rounds[list[RingWords]]:
        known = np.array(order, np.int64) if s.me == owner else None
        return permute(s, c, owner, rings, [x[i] for x in shares], known)

    z = play(c, role, lambda s: deal_permute(s, c, owner, rings, len(order)))
    for k, (x, b) in enumerate(zip(columns, rings, strict=True)):
        assert opened([mine[k] for mine in z], b) == [x[i] for i in order]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_ands_of_bits(kind, n: int):
    random, c = np.random.default_rng(3), circle(n)
    draw = lambda: random.integers(0, np.iinfo(kind).max, (n, 13), dtype=kind, endpoint=True)  # noqa: E731
    x, y1, y2 = draw(), draw(), draw()
    z = play(c, lambda s, i: and_bits(s, c, x[i], [y1[i], y2[i]]), lambda s: deal_and_bits(s, c, kind, 13, 2))
    xor = np.bitwise_xor.reduce
    assert np.array_equal(xor([a for a, _ in z]), xor(x) & xor(y1))
    assert np.array_equal(xor([b for _, b in z]), xor(x) & xor(y2))


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("n", [2, 4])
def test_a_bit_becomes_arithmetic(bits: int, n: int):
    b = np.random.default_rng(5).integers(0, 2, (n, 29), dtype=np.uint8)
    c = circle(n)
    z = play(c, lambda s, i: bit_to_arithmetic(s, c, bits, b[i]), lambda s: deal_bit_to_arithmetic(s, c, bits, 29))
    assert opened(z, bits) == np.bitwise_xor.reduce(b).tolist()


def test_reorder_brings_neighbours_32_places_apart_and_back():
    one = [1 << i for i in range(64)]
    moved = [int(w).bit_length() - 1 for w in compare.reorder(np.array(one, np.uint64))]
    assert moved == [int(f"{i:06b}"[::-1], 2) for i in range(64)]
    assert compare.reorder(compare.reorder(np.array(one, np.uint64))).tolist() == one


def test_long_columns_go_in_batches_and_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compare, "BATCH", 1000)
    x = list(range(-1200, 1300))
    c, xs = circle(3), share(x, 64, 3)
    z = play(c, lambda s, i: negative(s, c, 64, xs[i]), lambda s: deal_negative(s, c, 64, len(x)))
    assert opened(z, 64) == [int(v < 0) for v in x]
    n = 300_000
    x = [3] * n
    xs, trace = share(x, 64, 3), Trace()
    z = play(c, lambda s, i: multiply(s, c, 64, xs[i], xs[i]), lambda s: deal_multiply(s, c, 64, n), trace)
    assert set(opened(z, 64)) == {9}
    assert max(len(m.raw) for m in trace.sent) <= 1 << 20


# -- what is said, and to whom

N = 40
ORDER = 7 * np.arange(N)[::-1] % N


def operations(
    c: Circle, bits: int, values: list[int]
) -> dict[str, tuple[Role, Callable[[Session], Rounds[None]], float]]:
    """name -> holder's role, helper's role, bytes an element that a holder says to each other holder."""
    xs, w = share(values, bits, len(c.holders), 1), bits // 8
    known = ring(bits).from_ints(values)
    bit = [x.reshape(N, -1)[:, 0].astype(np.uint8) & 1 for x in xs]
    tree = (12 + 6 + 3 + 3 + 3) + 2 if bits == 64 else 2 * (12 + 6 + 3 + 3 + 3 + 3) + 2
    zero = 8 + 4 + 2 + 2 + 2 + 2 if bits == 64 else 2 * (8 + 4 + 2 + 2 + 2 + 2) + 2
    return {
        "multiply": (
            lambda s, i: multiply(s, c, bits, xs[i], xs[i]),
            lambda s: deal_multiply(s, c, bits, N),
            2 * w,
        ),
        "multiply_known": (
            lambda s, i: multiply_known(s, c, "p1", bits, xs[i], known if s.me == "p1" else None),
            lambda s: deal_multiply_known(s, c, "p1", bits, N),
            w,
        ),
        "negative": (
            lambda s, i: negative(s, c, bits, xs[i]),
            lambda s: deal_negative(s, c, bits, N),
            w + tree + 1 / 8,
        ),
        "equal_zero": (
            lambda s, i: equal_zero(s, c, bits, xs[i]),
            lambda s: deal_equal_zero(s, c, bits, N),
            w + zero + 1 / 8,
        ),
        "select": (
            lambda s, i: select(s, c, bits, xs[i], xs[i], xs[i][::-1].copy()),
            lambda s: deal_select(s, c, bits, N),
            2 * w,
        ),
        "permute": (
            lambda s, i: first(permute(s, c, "p1", [bits], [xs[i]], ORDER if s.me == "p1" else None)),
            lambda s: deal_permute(s, c, "p1", [bits], N),
            w,
        ),
        "bit": (
            lambda s, i: bit_to_arithmetic(s, c, bits, bit[i]),
            lambda s: deal_bit_to_arithmetic(s, c, bits, N),
            1 / 8,
        ),
    }


def first(role: Rounds[list[Any]]) -> Rounds[Any]:
    return (yield from role)[0]


def words_in(sent: list[Sent]) -> int:
    return sum(m.words.nbytes for s in sent if isinstance(m := decode(s.raw), Words))


NAMES = ["multiply", "multiply_known", "select", "negative", "equal_zero", "bit", "permute"]


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("name", NAMES)
def test_the_helper_hears_nothing_and_costs_are_as_documented(name: str, bits: int):
    c = circle(3)
    holder, deal, cost = operations(c, bits, list(range(-20, 20)))[name]
    trace = Trace()
    play(c, holder, deal, trace)
    assert trace.heard_by(HELPER) == []
    assert {s.receiver for s in trace.said_by(HELPER)} == {"p1" if name == "permute" else c.last}
    said = words_in([s for s in trace.sent if (s.sender, s.receiver) == ("p0", "p1")])
    padding = 8 * len({s.step for s in trace.sent})  # bits end on whole words
    assert cost * N <= said <= cost * N + padding
    if name in ("multiply_known", "permute"):  # nothing between those who do not know the column, or the order
        assert not [s for s in trace.sent if (s.sender, s.receiver) == ("p0", "p2")]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_opened_depends_on_no_input_in_its_distribution(name: str):
    """The same inputs under other dealt words, and other inputs: opened words look alike, and never repeat."""
    seen: set[bytes] = set()
    c = circle(3)
    for values in ([0] * N, [0] * N, [-(1 << 63)] * N):
        for seed in (0, 1):
            holder, deal, _ = operations(c, 64, values)[name]
            s = sessions([*c.holders, HELPER], seed)
            trace = Trace()
            roles = {h: holder(s[h].at("op"), i) for i, h in enumerate(c.holders)}
            run({**roles, HELPER: deal(s[HELPER].at("op"))}, trace)
            opened_by_p0 = b"".join(bytes(m.raw) for m in trace.sent if m.sender == "p0")
            words = np.concatenate([decode(m.raw).words for m in trace.sent if m.sender == "p0"])
            ones = np.unpackbits(words[words != 0].view(np.uint8))
            assert abs(ones.mean() - 0.5) < 4 / len(ones) ** 0.5 + 0.2 * (name == "bit")  # bits end in padding
            seen.add((seed, opened_by_p0) if values[0] == 0 else opened_by_p0)  # type: ignore[arg-type]
    assert len(seen) == 4  # equal inputs and equal words give equal bytes, everything else differs


@pytest.mark.parametrize("name", NAMES)
def test_a_role_can_be_replayed(name: str):
    c = circle(3)
    holder, deal, _ = operations(c, 128, list(range(N)))[name]
    trace = Trace()
    results = play(c, holder, deal, trace)
    for i, member in enumerate(c.holders):
        again = replay(member, holder(sessions([*c.holders, HELPER])[member].at("op"), i), trace.sent)
        assert np.array_equal(again, results[i])
    replay(HELPER, deal(sessions([*c.holders, HELPER])[HELPER].at("op")), trace.sent)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "change", [lambda raw: raw[:-8], lambda raw: raw + bytes(8), lambda raw: b"", lambda raw: b"\x00"]
)
def test_a_message_that_does_not_fit_blames_its_sender(name: str, change):
    c = circle(3)
    holder, deal, _ = operations(c, 64, list(range(N)))[name]
    with pytest.raises(PeerError) as raised:
        play(c, holder, deal, tamper=lambda s: change(bytes(s.raw)) if s.sender == "p0" else s.raw)
    assert raised.value.party == "p0"
    assert raised.value.code.startswith("protocol.")


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_word_changes_the_result_and_nothing_breaks(name: str):
    c = circle(3)
    holder, deal, _ = operations(c, 64, list(range(1, N + 1)))[name]
    good = opened(play(c, holder, deal), 64)

    def flip(s: Sent) -> bytes:
        raw = bytearray(s.raw)
        if s.sender == "p0" and s.receiver == "p1":
            raw[-8] ^= 1
        return bytes(raw)

    try:
        assert opened(play(c, holder, deal, tamper=flip), 64) != good
    except HejiError as error:
        assert error.code.startswith("protocol.")


def test_nobody_draws_a_stream_twice():
    c = circle(2)
    s = sessions([*c.holders, HELPER])
    x = share([1, 2], 64, 2)

    def twice(session: Session, i: int) -> Rounds[Any]:
        yield from multiply(session, c, 64, x[i], x[i])
        return (yield from multiply(session, c, 64, x[i], x[i]))

    def deal_twice(session: Session) -> Rounds[None]:
        yield from deal_multiply(session, c, 64, 2)
        yield from deal_multiply(session, c, 64, 2)

    with pytest.raises(HejiError) as raised:
        run({**{h: twice(s[h], i) for i, h in enumerate(c.holders)}, HELPER: deal_twice(s[HELPER])})
    assert raised.value.code == "protocol.reuse"
