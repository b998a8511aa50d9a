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
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from mpc.codec import MAX_MESSAGE_BYTES, Raw, decode, encode
from mpc.coins import Coins
from mpc.errors import LocalError, PeerError
from mpc.messages import Many, Message

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


#: the most that is packed into one message of operations that run side by side: a block of words fits, with its step
MANY_BYTES = (1 << 20) - 4096
#: what all operations but the first unfinished one may say to one member: a share of the window, see ``together``
SIDE_BYTES = 2 * MANY_BYTES

_START = Round("")


def together(session: Session, *roles: Rounds[Any]) -> Rounds[list[Any]]:
    """Run independent operations side by side: as many latencies as the longest of them has, not as all have in turn.

        xy, below = yield from together(session.at("both"), multiply(…), negative(…))

    Every member that takes part in any of them runs its roles of all of them under the same ``session``, in the same
    order. Returns the results in that order. All that can be said before the next message has to be heard goes to a
    member as one message (``Many``), so many short columns also take no more messages than one.

    Who is heard next is who the first unfinished operation waits for; what comes for others is kept until they ask. So
    wherever the first unfinished operation can go on, it does, and nothing hangs that does not hang alone. The others
    may fill a part of the windows of channels only: where columns are so long that bytes take longer than latencies,
    they wait for their turn. Nothing here depends on timing, so a role replays byte for byte.
    """
    unfinished: dict[int, Round] = dict.fromkeys(range(len(roles)), _START)
    results: list[Any] = [None] * len(roles)
    said: list[tuple[int, str, str, bytes]] = []  # operation, receiver, step, encoded message
    early: dict[tuple[str, str], bytes] = {}  # (peer, step) -> what came for it
    sent, came, aside = Counter[str](), Counter[str](), Counter[str]()

    def advance(k: int) -> None:
        """Resume an operation with what it waits for, and keep what it says."""
        before, first = unfinished[k], min(unfinished)
        heard = {p: accept(p, before.step, before.step, early.pop((p, before.step))) for p in sorted(before.hear)}
        try:
            step = next(roles[k]) if before is _START else roles[k].send(heard)
        except StopIteration as end:
            del unfinished[k]
            results[k] = end.value
            return
        unfinished[k] = step
        for receiver in sorted(step.say):
            # encoded now: a role may use its buffer again as soon as it goes on
            raw = encode(step.say[receiver])
            said.append((k, receiver, step.step, raw))
            if k != first:
                aside[receiver] += len(raw)

    def flush() -> Iterator[Round]:
        # in the order in which it was said, an earlier operation's first: who waits for a full channel to one member
        # has said what others need to get there
        kept = sorted(said, key=lambda one: one[0])
        said.clear()
        for receiver, many in _packed(kept):
            yield Round(session.at(str(sent[receiver])).path, {receiver: many})
            sent[receiver] += 1

    while unfinished:
        went_on = False
        for k, step in sorted(unfinished.items()):
            if all((p, step.step) in early for p in step.hear) and (
                k == min(unfinished) or max(aside.values(), default=0) < SIDE_BYTES
            ):
                advance(k)
                went_on = True
        if went_on:
            if sum(len(raw) for _, _, _, raw in said) > MANY_BYTES:
                yield from flush()
            continue
        yield from flush()
        first = unfinished[min(unfinished)]
        for peer in sorted(p for p in first.hear if (p, first.step) not in early):
            here = session.at(str(came[peer])).path
            came[peer] += 1
            heard = yield Round(here, {}, frozenset({peer}))
            for name, raw in expect(heard[peer], Many, party=peer, step=here).said:
                if (peer, name) in early:
                    raise PeerError("protocol.order", f"{peer} said {name!r} twice.", party=peer, step=here)
                early[peer, name] = raw
    yield from flush()
    for peer, name in early:
        raise PeerError("protocol.order", f"{peer} said {name!r}, for which nobody waits.", party=peer, step=name)
    return results


def _packed(said: list[tuple[int, str, str, bytes]]) -> Iterator[tuple[str, Many]]:
    """Receivers and messages of up to MANY_BYTES, each in the place of the first word in it."""
    packs: list[tuple[str, list[tuple[str, bytes]]]] = []
    last: dict[str, tuple[int, int]] = {}  # receiver -> its last pack, and the bytes in it
    for _, receiver, step, raw in said:
        length = len(step.encode()) + len(raw)
        pack, size = last.get(receiver, (-1, MANY_BYTES))
        if size + length > MANY_BYTES:
            pack, size = len(packs), 0
            packs.append((receiver, []))
        packs[pack][1].append((step, raw))
        last[receiver] = pack, size + length
    for receiver, words in packs:
        yield receiver, Many(tuple(words))
