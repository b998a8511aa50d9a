"""Two holders without a helper: the engine's operations on words they dealt each other, against plain integers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpc.codec import decode, encode
from mpc.coins import Coins
from mpc.crypto import bfv
from mpc.crypto.bfv import BITS, WHOLE
from mpc.crypto.negacyclic import DEGREE
from mpc.errors import PeerError
from mpc.messages import RingWords, Words
from mpc.replay import replay
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.run import Sent, Trace, run
from mpc.sharing import dealer
from mpc.sharing.bits import and_bits, bit_to_arithmetic, deal_and_bits, deal_bit_to_arithmetic
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal_zero, negative
from mpc.sharing.multiply import deal_multiply, deal_multiply_known, multiply, multiply_known
from tests.mpc.joining import sessions
from tests.mpc.protocols.test_golden import transcript
from tests.mpc.sharing.test_engine import opened, share, wrapped

HOLDERS = ("p0", "p1")
PAGE = (Path(__file__).parents[3] / "docs" / "protocols" / "dealer.md").read_text(encoding="utf-8")
BOTH = pytest.mark.parametrize("bits", [64, 128])

Holder = Callable[[Session, Circle, int], Rounds[Any]]
Deal = Callable[[Session, Circle], Rounds[None]]


def role(session: Session, i: int, holder: Holder, deal: Deal) -> Rounds[Any]:
    here = session.at("op")
    circle = yield from dealer.circle_of_two(here, HOLDERS)
    return (yield from dealer.between(here, lambda s: deal(s, circle), lambda s: holder(s, circle, i)))


def play(holder: Holder, deal: Deal, trace: Trace | None = None, seed: int = 0, **more) -> list[Any]:
    s = sessions(HOLDERS, seed)
    results = run({h: role(s[h], i, holder, deal) for i, h in enumerate(HOLDERS)}, trace, **more)
    return [results[h] for h in HOLDERS]


def edges(bits: int) -> tuple[list[int], list[int]]:
    top = 1 << bits - 1
    return [0, 1, -1, 5, top - 1, -top, 3 << 40, -3], [7, -1, -1, 0, top - 1, -top, -(1 << 41), 1 << 62]


def operations(bits: int) -> dict[str, tuple[Holder, Deal, list[int]]]:
    x, y = edges(bits)
    xs, ys, n = share(x, bits, 2, 1), share(y, bits, 2, 2), len(x)
    known = {h: ring(bits).from_ints(x) for h in HOLDERS}
    products = [wrapped(a * b, bits) for a, b in zip(x, y, strict=True)]
    bit = np.random.default_rng(5).integers(0, 2, (2, n), dtype=np.uint8)

    def of(owner: str) -> tuple[Holder, Deal, list[int]]:
        return (
            lambda s, c, i: multiply_known(s, c, owner, bits, ys[i], known[owner] if s.me == owner else None),
            lambda s, c: deal_multiply_known(s, c, owner, bits, n),
            products,
        )

    return {
        "multiply": (
            lambda s, c, i: multiply(s, c, bits, xs[i], ys[i]),
            lambda s, c: deal_multiply(s, c, bits, n),
            products,
        ),
        "known to the first": of("p0"),
        "known to the last": of("p1"),
        "negative": (
            lambda s, c, i: negative(s, c, bits, xs[i]),
            lambda s, c: deal_negative(s, c, bits, n),
            [int(v < 0) for v in x],
        ),
        "equal_zero": (
            lambda s, c, i: equal_zero(s, c, bits, xs[i]),
            lambda s, c: deal_equal_zero(s, c, bits, n),
            [int(v == 0) for v in x],
        ),
        "bit": (
            lambda s, c, i: bit_to_arithmetic(s, c, bits, bit[i]),
            lambda s, c: deal_bit_to_arithmetic(s, c, bits, n),
            (bit[0] ^ bit[1]).tolist(),
        ),
    }


NAMES = pytest.mark.parametrize("name", sorted(operations(64)))


@pytest.mark.parametrize("bits", [64, pytest.param(128, marks=pytest.mark.slow)])
@NAMES
def test_operations(bits: int, name: str):
    holder, deal, want = operations(bits)[name]
    assert opened(play(holder, deal), bits) == want


@pytest.mark.parametrize("kind", [np.uint8, np.uint32, np.uint64])
def test_ands(kind):
    random = np.random.default_rng(3)
    x, y, z = (random.integers(0, np.iinfo(kind).max, (2, 16), dtype=kind, endpoint=True) for _ in range(3))
    (a, b), (c, d) = play(
        lambda s, c, i: and_bits(s, c, x[i], [y[i], z[i]]), lambda s, c: deal_and_bits(s, c, kind, 16, 2)
    )
    assert np.array_equal(a ^ c, (x[0] ^ x[1]) & (y[0] ^ y[1]))
    assert np.array_equal(b ^ d, (x[0] ^ x[1]) & (z[0] ^ z[1]))


def test_more_elements_than_a_ciphertext_has_slots():
    n = DEGREE + 3
    x, y = (np.random.default_rng(k).integers(0, 1 << 63, (2, n), dtype=np.uint64) for k in (1, 2))
    z = play(lambda s, c, i: multiply(s, c, 64, x[i], y[i]), lambda s, c: deal_multiply(s, c, 64, n))
    assert np.array_equal(z[0] + z[1], (x[0] + x[1]) * (y[0] + y[1]))


def test_two_holders_are_alone_with_a_key_and_three_are_not():
    key = bfv.new_key(Coins(bytes(32)).words, "key")
    assert Circle(HOLDERS, "", key).alone and not Circle(HOLDERS, "helper").alone
    for wrong in [(HOLDERS, ""), (HOLDERS, "helper", key), (("p0", "p1", "p2"), "", key)]:
        with pytest.raises(AssertionError):
            Circle(*wrong)


# ---- what is said


def moved(trace: Trace) -> dict[tuple[str, str], int]:
    """Bytes of what is dealt: what holders say while they deal, without seeds."""
    total = {("p0", "p1"): 0, ("p1", "p0"): 0}
    for s in trace.sent:
        message = decode(s.raw)
        if "/between/" in s.step or "/own/" in s.step:
            assert isinstance(message, Words)
            total[s.sender, s.receiver] += message.words.nbytes // 32 * 32
    total["p1", "p0"] -= sum(32 for s in trace.sent if s.step.endswith("/asked/block/0"))
    return total


def documented(name: str, bits: int) -> list[int]:
    (line,) = re.findall(rf"^\| `{name}`, {bits} bits \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    return [int(x) for x in line]


@BOTH
@pytest.mark.parametrize("name", ["multiply", "multiply_known", "bit_to_arithmetic"])
def test_costs_are_those_of_the_page(bits: int, name: str):
    """For a full ciphertext of elements."""
    n = DEGREE
    zeros, bit = ring(bits).zeros(n), np.zeros(n, dtype=np.uint8)
    holder, deal, cost = {
        "multiply": (
            lambda s, c, i: multiply(s, c, bits, zeros, zeros),
            lambda s, c: deal_multiply(s, c, bits, n),
            dealer.cost_of_sum(2 * bits, 2, n),
        ),
        "multiply_known": (
            lambda s, c, i: multiply_known(s, c, "p0", bits, zeros, zeros if i == 0 else None),
            lambda s, c: deal_multiply_known(s, c, "p0", bits, n),
            dealer.cost_of_sum(2 * bits, 1, n),
        ),
        "bit_to_arithmetic": (
            lambda s, c, i: bit_to_arithmetic(s, c, bits, bit),
            lambda s, c: deal_bit_to_arithmetic(s, c, bits, n),
            dealer.cost_of_sum(1 + bits, 1, n),
        ),
    }[name]
    trace = Trace()
    play(holder, deal, trace)
    got = moved(trace)
    assert [x * n for x in documented(name, bits)] == [got["p1", "p0"], got["p0", "p1"]]
    assert got == {("p1", "p0"): cost.asked - 32, ("p0", "p1"): cost.answered}


@pytest.mark.parametrize(
    ("name", "bits"),
    [("negative", 64), ("equal_zero", 64)]
    + [pytest.param(name, 128, marks=pytest.mark.slow) for name in ("negative", "equal_zero")],
)
def test_costs_of_comparisons_are_those_of_the_page(name: str, bits: int):
    """As many as fill the ciphertexts of all ANDs. Their bits do not fill the one in which they become arithmetic."""
    n = DEGREE // 8
    zeros = ring(bits).zeros(n)
    play_it, deal_it = {"negative": (negative, deal_negative), "equal_zero": (equal_zero, deal_equal_zero)}[name]
    trace = Trace()
    play(lambda s, c, i: play_it(s, c, bits, zeros), lambda s, c: deal_it(s, c, bits, n), trace)
    got, bit = moved(trace), documented("bit_to_arithmetic", bits)
    asked, answered = (x * n + b * (DEGREE - n) for x, b in zip(documented(name, bits), bit, strict=True))
    assert got == {("p1", "p0"): asked, ("p0", "p1"): answered}


def test_costs_of_bits_are_those_of_the_page():
    assert "One AND of bits: 72 and 16; of two that share an operand, 120 and 32 together" in PAGE
    assert "is 256 KiB for each prime (bits: 192), one answered 256 KiB (bits: 128)" in PAGE.replace("\n", " ")
    for count, asked, answered in ((1, 72, 16), (2, 120, 32)):
        assert dealer.cost_of_ands(DEGREE, count) == dealer.Cost(asked * DEGREE + 32, answered * DEGREE, 1)
    assert dealer.cost_of_own_ands(DEGREE) == dealer.Cost(24 * DEGREE + 32, 16 * DEGREE, 1)


@pytest.mark.parametrize(
    "name",
    [
        "multiply",
        "negative",
        *(pytest.param(n, marks=pytest.mark.slow) for n in sorted(operations(64)) if n[0] in "bek"),
    ],
)
def test_a_role_replays_byte_for_byte(name: str):
    holder, deal, _ = operations(64)[name]
    trace = Trace()
    results = play(holder, deal, trace)
    for i, me in enumerate(HOLDERS):
        again = replay(me, role(sessions(HOLDERS)[me], i, holder, deal), trace.sent)
        assert np.array_equal(again, results[i])
    assert {s.receiver for s in trace.sent} == set(HOLDERS)  # nobody else is told anything


def test_other_coins_other_bytes():
    holder, deal, want = operations(64)["multiply"]
    traces = [Trace(), Trace()]
    for seed, trace in enumerate(traces):
        assert opened(play(holder, deal, trace, seed), 64) == want
    one, other = ({(s.sender, s.step): bytes(s.raw) for s in t.sent} for t in traces)
    assert one.keys() == other.keys() and not any(one[k] == other[k] for k in one)


def test_what_the_key_holder_decrypts_is_masked():
    """Its words for c are as far apart for equal inputs under other coins of the first holder as random ones."""
    seen = []
    original = dealer._combined

    def watched(*args: Any) -> RingWords:
        seen.append(original(*args))
        return seen[-1]

    holder, deal, _ = operations(64)["multiply"]
    for seed in (1, 2):
        s, other = sessions(HOLDERS, 7), sessions(HOLDERS, seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dealer, "_combined", watched)
            run(
                {
                    "p0": role(other["p0"].with_pairs(s["p0"].pairs), 0, holder, deal),
                    "p1": role(s["p1"], 1, holder, deal),
                }
            )
    assert not (seen[0] == seen[1]).any()


# ---- what does not fit


def changed(step: str, change: Callable[[RingWords], RingWords]) -> Callable[[Sent], Any]:
    def tamper(s: Sent) -> Any:
        message = decode(s.raw)
        if step in s.step and s.step.endswith("block/0"):
            assert isinstance(message, Words)
            return encode(Words(64, change(message.words.copy())))
        return s.raw

    return tamper


def not_a_residue(words: RingWords) -> RingWords:
    words[100] = np.uint64(1 << 50)
    return words


def one_off(words: RingWords) -> RingWords:
    words[100] ^= np.uint64(1)
    return words


def top_bit(words: RingWords) -> RingWords:
    words[100] = (words[100] + np.uint64(1 << 49)) % np.uint64(WHOLE.q[1])
    return words


@pytest.mark.parametrize(
    ("step", "change", "guilty", "code"),
    [
        ("/key", not_a_residue, "p1", "protocol.malformed"),
        ("/asked", not_a_residue, "p1", "protocol.malformed"),
        ("/answered", not_a_residue, "p0", "protocol.malformed"),
        ("/key", lambda w: w[:-1], "p1", "protocol.size"),
        ("/asked", lambda w: w[:-1], "p1", "protocol.size"),
        ("/answered", lambda w: w[:-1], "p0", "protocol.size"),
        ("/answered", top_bit, "p0", "protocol.malformed"),
        ("/answered", lambda w: w[::-1] % np.uint64(BITS.q[-1]), "p0", "protocol.malformed"),
    ],
)
@pytest.mark.parametrize("name", ["multiply", pytest.param("negative", marks=pytest.mark.slow)])
def test_what_is_no_ciphertext_blames_its_sender(name: str, step: str, change, guilty: str, code: str):
    holder, deal, _ = operations(64)[name]
    with pytest.raises(PeerError) as raised:
        play(holder, deal, tamper=changed(step, change))
    assert (raised.value.party, raised.value.code) == (guilty, code)


def test_an_answer_under_another_key_is_refused():
    """Both checks see it: its noise, and a number larger than any honest answer's."""
    holder, deal, _ = operations(64)["multiply"]
    other = bfv.new_key(Coins(b"o" * 32).words, "key").public

    def under_another(s: Session, c: Circle) -> Rounds[None]:
        return deal(s, Circle(HOLDERS, "", other) if s.me == "p0" else c)

    with pytest.raises(PeerError) as raised:
        play(holder, under_another)
    assert (raised.value.party, raised.value.code) == ("p0", "protocol.malformed")


def test_a_sum_that_is_too_large_is_refused():
    primes = dealer._primes(193)
    low = [np.array([x % t], dtype=np.uint64) for t in primes for x in [(1 << 194) - 1]]
    assert dealer._combined(np.stack(low), primes, 64, 193, "p0", "s")[0] == (1 << 64) - 1
    high = [np.array([x % t], dtype=np.uint64) for t in primes for x in [1 << 195]]
    with pytest.raises(PeerError, match="no masked sum"):
        dealer._combined(np.stack(high), primes, 64, 193, "p0", "s")


# ---- byte for byte


GOLDEN = {
    "multiply": "c5cf662812d3e742b27cb019dad5116f71905472d34536c0d31a9fdcbab7dcd6",
    "negative": "e57e0bd0705e916f56b786cca8962ba266358af02cbe5b688032c0b78e69f7ad",
    "equal_zero": "c963214146fa85af512a27f182dc8a1e5854b1587cf2b53b1c9e4e1288dbb8c0",
    "bit": "7926e78b52bb675dc995d904c012c7f389a62e642eaea7e2ec7a20c88cc4e2f8",
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_wire_format(name: str):
    """With fixed coins: a change here is a change of the wire format."""
    holder, deal, _ = operations(64)[name]
    s = sessions(HOLDERS)
    assert transcript({h: role(s[h], i, holder, deal) for i, h in enumerate(HOLDERS)}) == GOLDEN[name]
