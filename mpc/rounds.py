"""A protocol is a generator of rounds (sans-IO).

    def role(session, ...) -> Rounds[T]:
        heard = yield Round("step", say={"bank": message}, hear=frozenset({"tax"}))
        ...
        return result

The role says what it has to say, hears one message from each member in ``hear``, and goes on. Nothing else happens in
between: no sockets, no clock, no randomness but the session's coins. The same function is run by the in-process driver
(``mpc.run``), by a node over gRPC (``parties.drive``), and by an auditor's replay (``mpc.replay``).

What one member says to another arrives in the order it was said; a role hears in that order. A driver refuses a message
whose step is not the one the role waits for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from mpc.codec import MAX_MESSAGE_BYTES, Raw, decode
from mpc.coins import Coins
from mpc.errors import LocalError, PeerError
from mpc.messages import Message

T = TypeVar("T")
M = TypeVar("M")

NOBODY: frozenset[str] = frozenset()

#: messages that may be under way from one member to another: who says more must have let the other be heard in between
WINDOW = 8


@dataclass(frozen=True)
class Round:
    """What a participant says at one step, and whom it must hear before it goes on."""

    step: str
    say: Mapping[str, Message] = field(default_factory=dict)
    hear: frozenset[str] = NOBODY


Rounds = Generator[Round, Mapping[str, Message], T]  # a protocol that ends in a T


@dataclass(frozen=True)
class Session:
    """Who I am, my coins, the coins I share with every other participant, and where in the job I am.

    ``path`` names the step; it addresses messages, coins, metrics and log entries alike.
    """

    me: str
    own: Coins
    pairs: Mapping[str, Coins] = field(default_factory=dict)
    path: str = ""

    def at(self, name: str) -> Session:
        """The same session one step further down: ``session.at("block/17")``."""
        return replace(self, path=f"{self.path}/{name}" if self.path else name)

    def with_pairs(self, pairs: Mapping[str, Coins]) -> Session:
        return replace(self, pairs=pairs)


def expect(message: Message, kind: type[M], *, party: str, step: str) -> M:
    """``message`` if it is of ``kind``; else PeerError protocol.malformed naming who said it where."""
    if not isinstance(message, kind):
        raise PeerError(
            "protocol.malformed",
            f"{party} said {type(message).__name__} at {step}, where {kind.__name__} was due.",
            party=party,
            step=step,
        )
    return message


def accept(party: str, step: str, came: str, raw: Raw, limit: int = MAX_MESSAGE_BYTES) -> Message:
    """Decode what ``party`` said at step ``came`` where ``step`` is awaited; PeerError blames it for anything else."""
    if came != step:
        code, problem = "protocol.order", f"{party} said {came!r} where {step!r} was due."
    else:
        try:
            return decode(raw, limit)
        except LocalError as refused:
            code, problem = refused.code, f"{party} at {step}: {refused.message}"
    raise PeerError(code, problem, party=party, step=step, digest=hashlib.sha256(raw).hexdigest())
