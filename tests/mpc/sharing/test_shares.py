"""Shared columns as values: sharing without a message, local operations, and a result let out (P1, P2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.codec import decode
from mpc.errors import LocalError
from mpc.protocols import total
from mpc.protocols.total import Sum
from mpc.ring import ring
from mpc.rounds import Rounds, Session, together
from mpc.run import Trace, run
from mpc.sharing.compare import deal_negative, negative
from mpc.sharing.multiply import deal_multiply, multiply
from mpc.sharing.shares import Shared, concatenate, public, share_input
from tests.mpc.joining import sessions
from tests.mpc.sharing.test_engine import HELPER, circle, integers, opened, wrapped


def everybody(n: int, bits: int, x: list[int], work: Callable[[Session, Shared], Shared]) -> list[int]:
    """``x`` of the last holder shared among ``n``, ``work`` done by each; the value of what comes out."""
    c, s = circle(n), sessions([*circle(n).holders, HELPER])
    shares = [
        work(s[h], share_input(s[h].at("input"), c, c.last, bits, len(x), x if h == c.last else None))
        for h in c.holders
    ]
    return opened([share.words for share in shares], bits)


@settings(max_examples=60)
@given(data=st.data(), n=st.integers(2, 5), bits=st.sampled_from([64, 128]))
def test_what_needs_no_message(data, n: int, bits: int):
    x = data.draw(st.lists(integers(bits), min_size=1, max_size=9))
    y = data.draw(st.lists(integers(bits), min_size=len(x), max_size=len(x)))
    factor, both = data.draw(integers(bits)), list(zip(x, y, strict=True))
    c = circle(n)

    def mod(values: list[int]) -> list[int]:
        return [wrapped(v, bits) for v in values]

    assert everybody(n, bits, x, lambda _, a: a) == x
    assert everybody(n, bits, x, lambda s, a: a + public(s, c, bits, y)) == mod([a + b for a, b in both])
    assert everybody(n, bits, x, lambda s, a: public(s, c, bits, y) - a) == mod([b - a for a, b in both])
    assert everybody(n, bits, x, lambda _, a: -a) == mod([-a for a in x])
    assert everybody(n, bits, x, lambda _, a: a.times(factor)) == mod([factor * a for a in x])
    assert everybody(n, bits, x, lambda _, a: a.times(y)) == mod([a * b for a, b in both])
    assert everybody(n, bits, x, lambda _, a: a.prefix_sums()) == mod([sum(x[: i + 1]) for i in range(len(x))])
    assert everybody(n, bits, x, lambda _, a: a.total()) == mod([sum(x)])
    assert everybody(n, bits, x, lambda _, a: a.take(np.array([0, 0]))) == [x[0], x[0]]
    assert everybody(n, bits, x, lambda _, a: concatenate([a, a.take(slice(1))])) == [*x, x[0]]


@pytest.mark.parametrize("bits", [64, 128])
def test_a_total_of_nothing_is_zero(bits: int):
    assert everybody(3, bits, [], lambda _, a: a.total()) == [0]


def test_repr_shows_no_words():
    words = np.full(3, 123456789, np.uint64)
    assert repr(Shared(64, words)) == "Shared(64 bits, 3 elements)"
    assert "123456789" not in repr([Shared(64, words)])


def test_columns_that_do_not_fit_are_not_added():
    x, longer, wide = Shared(64, ring(64).zeros(2)), Shared(64, ring(64).zeros(3)), Shared(128, ring(128).zeros(2))
    for other in (longer, wide):
        with pytest.raises(AssertionError):
            x + other
        with pytest.raises(AssertionError):
            x - other
    with pytest.raises(AssertionError):
        concatenate([x, wide])
    with pytest.raises(AssertionError):
        Shared(128, ring(64).zeros(2))


def test_the_same_input_is_not_shared_twice_under_one_step():
    c, s = circle(2), sessions(["p0", "p1"])
    share_input(s["p0"], c, "p1", 64, 3)
    with pytest.raises(LocalError) as raised:
        share_input(s["p0"], c, "p1", 64, 3)
    assert raised.value.code == "protocol.reuse"


@pytest.mark.parametrize("n", [2, 3, 5])
def test_from_inputs_to_a_result_at_the_recipient(n: int):
    """Σ over rows of [a < b]·(a + b), a and b of two holders: shared, compared, multiplied, let out."""
    c, rows = circle(n), 30
    random = np.random.default_rng(2)
    a, b = (random.integers(-(10**6), 10**6, rows).tolist() for _ in range(2))
    out = Sum("out", c.holders, "recipient", 64, 1)
    s = sessions([*c.holders, HELPER, "coordinator", "recipient"])

    def hold(here: Session) -> Rounds[None]:
        x = share_input(here.at("a"), c, c.first, 64, rows, a if here.me == c.first else None)
        y = share_input(here.at("b"), c, c.last, 64, rows, b if here.me == c.last else None)
        (below,) = yield from together(here.at("all"), negative(here.at("below"), c, 64, (x - y).words))
        chosen = yield from multiply(here.at("chosen"), c, 64, below, (x + y).words)
        yield from total.contribute(here, out, Shared(64, chosen).total().words, "coordinator")

    def deal(here: Session) -> Rounds[None]:
        yield from together(here.at("all"), deal_negative(here.at("below"), c, 64, rows))
        yield from deal_multiply(here.at("chosen"), c, 64, rows)

    def add(here: Session) -> Rounds[None]:
        masked = yield from total.collect(here, out)
        yield from total.deliver(here, out, masked)

    trace = Trace()
    roles = {h: hold(s[h]) for h in c.holders}
    results = run(
        {
            **roles,
            HELPER: deal(s[HELPER]),
            "coordinator": add(s["coordinator"]),
            "recipient": total.receive(s["recipient"], out, "coordinator"),
        },
        trace,
    )
    expected = sum(x + y for x, y in zip(a, b, strict=True) if x < y)
    assert ring(64).to_ints(results["recipient"]) == [expected]
    assert trace.heard_by(HELPER) == []
    assert {m.step.split("/")[1] for m in trace.heard_by("coordinator")} == {"out"}
    seen = [int(decode(m.raw).words[0]) for m in trace.heard_by("coordinator")]
    assert expected not in seen and sum(seen) % 2**64 != expected % 2**64
