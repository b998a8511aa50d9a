"""P0: everybody agrees on one digest, or nobody goes on."""

from __future__ import annotations

import dataclasses

import pytest

from mpc.codec import encode
from mpc.errors import PeerError
from mpc.messages import Announce
from mpc.protocols.agree import announced_bytes
from mpc.protocols.total import Sum
from mpc.roles import Cast
from mpc.run import Sent, run
from tests.mpc.cast import COORDINATOR, World

W = World(("a", "b", "c"), (Sum("s", ("a", "b", "c"), "a", 64, 0),), inside=("a",))


def two_faced(field: str, value: object) -> World:
    """A world that differs from W for one member in one fact of the context."""
    other = World(W.parties, W.sums, inside=W.inside)
    context = dataclasses.replace(W.cast.context, **{field: value})
    object.__setattr__(other, "__dict__", {**other.__dict__})
    other.__dict__["cast"] = Cast(context, COORDINATOR, W.sums)
    return other


@pytest.mark.parametrize(
    ("field", "value"),
    [("statement", bytes(32)), ("attempt", 2), ("job", bytes(32)), ("outside", {"x": bytes(32)})],
)
def test_two_faces_are_caught_before_any_input_moves(field, value):
    roles = W.roles({p: {} for p in W.parties})
    roles["b"] = two_faced(field, value).role("b", {})
    with pytest.raises(PeerError) as raised:
        run(roles)
    assert raised.value.code in ("protocol.signature", "job.differs")


def test_a_swapped_key_is_caught():
    """The coordinator replaces b's key on its way to a by one of its own: the signature is not b's."""

    def tamper(s: Sent) -> bytes:
        if (s.sender, s.receiver, s.step) != ("b", "a", "keys/announce"):
            return s.raw
        mine = bytes([9]) + bytes(31)
        return encode(
            Announce(mine, W.sign(COORDINATOR)("announce", announced_bytes(W.cast.context.digest(), "b", mine)))
        )

    with pytest.raises(PeerError, match="b did not sign") as raised:
        run(W.roles({p: {} for p in W.parties}), tamper=tamper)
    assert raised.value.party == "b"


def test_a_low_order_key_is_refused_even_if_signed():
    def tamper(s: Sent) -> bytes:
        if (s.sender, s.step) != ("b", "keys/announce"):
            return s.raw
        zero = bytes(32)
        return encode(Announce(zero, W.sign("b")("announce", announced_bytes(W.cast.context.digest(), "b", zero))))

    with pytest.raises(PeerError) as raised:
        run(W.roles({p: {} for p in W.parties}), tamper=tamper)
    assert raised.value.party == "b"


def test_attempts_have_different_keys():
    def said(attempt: int) -> bytes:
        world = World(W.parties, W.sums, attempt=attempt, inside=W.inside)
        return next(world.role("a", {"s": None})).say["b"].public_key  # type: ignore[union-attr,dict-item]

    assert said(1) != said(2)
    assert said(1) == said(1)
