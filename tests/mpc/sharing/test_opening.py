"""Opening: every holder gets the value, from two to five of them, short and long, and for the bytes of the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpc import blocks
from mpc.errors import PeerError
from mpc.messages import RingWords
from mpc.replay import replay
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.run import Sent, Trace, run
from mpc.sharing import opening
from mpc.sharing.multiply import deal_multiply, deal_multiply_known, multiply, multiply_known
from mpc.sharing.opening import open_bits, open_sum
from mpc.sharing.permute import deal_permute, permute
from tests.mpc.joining import sessions
from tests.mpc.sharing.test_engine import circle, opened, play, share, words_in

LONG = opening.PARTS_BYTES // 8


def everybody_opens(n: int, bits: int, shares: list[RingWords], trace: Trace | None = None, **more: Any) -> list[Any]:
    c = circle(n)
    s = sessions(c.holders)
    results = run({h: open_sum(s[h], c, bits, shares[i]) for i, h in enumerate(c.holders)}, trace, **more)
    return [results[h] for h in c.holders]


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("n", [2, 3, 4, 5])
@pytest.mark.parametrize("length", [0, 1, LONG - 1, LONG, LONG + 3])
def test_everybody_gets_the_value(n: int, bits: int, length: int):
    x = [3 * v - 7 for v in range(length)]
    shares = share(x, bits, n)
    before = [s.copy() for s in shares]
    for value in everybody_opens(n, bits, shares):
        assert ring(bits).to_ints(value) == x
    assert all(np.array_equal(a, b) for a, b in zip(before, shares, strict=True))  # nobody's share is changed


@pytest.mark.parametrize("n", [2, 4, 5])
@pytest.mark.parametrize("length", [5, 8 * LONG + 5])
def test_bits_of_several_widths(n: int, length: int):
    random, c = np.random.default_rng(1), circle(n)
    shares = [
        [random.integers(0, 200, length, dtype=np.uint8), random.integers(0, 2**60, 3, dtype=np.uint64)]
        for _ in range(n)
    ]
    s = sessions(c.holders)
    results = run({h: open_bits(s[h], c, shares[i]) for i, h in enumerate(c.holders)})
    for h in c.holders:
        for k in range(2):
            assert np.array_equal(results[h][k], np.bitwise_xor.reduce([mine[k] for mine in shares]))


@pytest.mark.parametrize(("n", "length"), [(n, length) for n in (2, 3, 4, 5) for length in (100, 40_000)])
def test_rounds_and_bytes(n: int, length: int):
    """Each to each w (n − 1), or from four holders and PARTS_BYTES on 2 w (n − 1)/n in two rounds."""
    trace = Trace()
    everybody_opens(n, 64, share([1] * length, 64, n), trace)
    parts = n > 3 and length >= LONG
    assert max(trace.depth.values()) == (2 if parts else 1)
    said = words_in(trace.said_by("p0"))
    assert said == 8 * (n - 1) * length if not parts else abs(said - 16 * length * (n - 1) / n) <= 16 * n


@pytest.mark.parametrize("n", [3, 5])
def test_columns_of_many_blocks_go_through_narrow_channels(monkeypatch: pytest.MonkeyPatch, n: int):
    """Forty blocks, where a channel holds eight: nobody may say everything before it hears."""
    for module in (blocks, opening):
        monkeypatch.setattr(module, "BLOCK_BYTES", 64)
    monkeypatch.setattr(opening, "PARTS_BYTES", 64)
    x = list(range(-160, 160))
    c, xs = circle(n), share(x, 64, n)
    for value in everybody_opens(n, 64, xs):
        assert ring(64).to_ints(value) == x
    squares = [v * v for v in x]
    z = play(c, lambda s, i: multiply(s, c, 64, xs[i], xs[i]), lambda s: deal_multiply(s, c, 64, len(x)))
    assert opened(z, 64) == squares
    known = ring(64).from_ints(x)
    z = play(
        c,
        lambda s, i: multiply_known(s, c, "p1", 64, xs[i], known if s.me == "p1" else None),
        lambda s: deal_multiply_known(s, c, "p1", 64, len(x)),
    )
    assert opened(z, 64) == squares

    def backwards(s: Session, i: int) -> Rounds[RingWords]:
        order = np.arange(len(x))[::-1] if s.me == "p1" else None
        return (yield from permute(s, c, "p1", [64], [xs[i]], order))[0]

    z = play(c, backwards, lambda s: deal_permute(s, c, "p1", [64], len(x)))
    assert opened(z, 64) == x[::-1]


def test_products_in_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mpc.sharing.multiply.BATCH", 7)
    x = list(range(20))
    c, xs = circle(3), share(x, 128, 3)
    z = play(c, lambda s, i: multiply(s, c, 128, xs[i], xs[i]), lambda s: deal_multiply(s, c, 128, len(x)))
    assert opened(z, 128) == [v * v for v in x]


@pytest.mark.parametrize("change", [lambda raw: raw[:-8], lambda raw: raw + bytes(8), lambda raw: b"\x00"])
@pytest.mark.parametrize("kind", ["parts", "sums"])
def test_a_part_that_does_not_fit_blames_its_sender(change, kind: str):
    def tamper(s: Sent) -> bytes:
        return change(bytes(s.raw)) if s.sender == "p2" and s.step.endswith(kind) else bytes(s.raw)

    with pytest.raises(PeerError) as raised:
        everybody_opens(4, 64, share([1] * LONG, 64, 4), tamper=tamper)
    assert raised.value.party == "p2"


def test_a_holder_that_adds_parts_can_be_replayed():
    c, shares, trace = circle(4), share([5] * LONG, 64, 4), Trace()
    values = everybody_opens(4, 64, shares, trace)
    for i, h in enumerate(c.holders):
        assert np.array_equal(replay(h, open_sum(sessions(c.holders)[h], c, 64, shares[i]), trace.sent), values[i])


def test_an_order_that_names_a_place_twice_is_refused():
    c, xs = circle(3), share([1, 2, 3, 4], 64, 3)

    def twice(s: Sent) -> bytes:
        raw = bytearray(s.raw)
        if s.step.endswith("sigma/block/0"):
            raw[-4:] = raw[-8:-4]
        return bytes(raw)

    with pytest.raises(PeerError) as raised:
        play(
            c,
            lambda s, i: permute(s, c, "p1", [64], [xs[i]], np.arange(4) if s.me == "p1" else None),
            lambda s: deal_permute(s, c, "p1", [64], 4),
            tamper=twice,
        )
    assert (raised.value.party, raised.value.code) == ("p1", "protocol.malformed")
