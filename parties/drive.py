"""The gRPC driver: runs a role (a generator of rounds) between an inbox and outboxes.

The role's CPU work (streams, additions, encoding, decoding) happens in a worker thread; the event loop stays free. A
role has ended when its generator has and every word it said is receipted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mpc.codec import Raw, encode_parts
from mpc.messages import Message
from mpc.rounds import Round, Rounds, accept
from mpc.run import Sent
from parties.mail import Inbox, Letter, Outbox

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """The generator returned ``value``."""

    value: Any


async def drive(
    me: str,
    role: Rounds[T],
    inbox: Inbox,
    outboxes: Mapping[str, Outbox],
    *,
    patience: float,
    on_round: Callable[[int, Round], None] = lambda _number, _step: None,
    on_message: Callable[[Sent], None] = lambda _sent: None,
) -> T:
    """Run ``role`` to its end. ``patience``: seconds to wait for any one peer at any one step.

    ``on_round`` hears of every round before its words are sent, ``on_message`` of every message in or out (what it does
    happens before the message is sent, or before the role sees it). Raises what the role or the mail raises.
    """
    heard: dict[str, tuple[str, Raw]] = {}
    waiting: Round | None = None
    number = 0
    while True:
        step, letters = await asyncio.to_thread(_advance, role, waiting, heard, outboxes)
        if isinstance(step, Ended):
            for outbox in outboxes.values():
                await outbox.flush()
            result: T = step.value
            return result
        number += 1
        on_round(number, step)
        for receiver in sorted(letters):
            on_message(Sent(me, receiver, step.step, letters[receiver].raw))
            await outboxes[receiver].say(letters[receiver])
        heard = {}
        for peer in sorted(step.hear):
            came, raw = await inbox.take(peer, step.step, patience)
            on_message(Sent(peer, me, came, raw))
            heard[peer] = (came, raw)
        waiting = step


def _advance(
    role: Rounds[Any],
    waiting: Round | None,
    heard: Mapping[str, tuple[str, Raw]],
    outboxes: Mapping[str, Outbox],
) -> tuple[Round | Ended, dict[str, Letter]]:
    """Decode what was heard, resume the role, make letters of what it says."""
    try:
        if waiting is None:
            step = next(role)
        else:
            inbox: dict[str, Message] = {
                peer: accept(peer, waiting.step, came, raw) for peer, (came, raw) in heard.items()
            }
            step = role.send(inbox)
    except StopIteration as end:
        return Ended(end.value), {}
    return step, {r: outboxes[r].letter(step.step, encode_parts(message)) for r, message in step.say.items()}
