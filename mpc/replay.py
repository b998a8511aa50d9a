"""Replay: a role run again from its recorded inputs must say, byte for byte, what it said (transcript.md).

The auditor of a role has its seed and input, hence the same generator; from the record come the messages it heard.
``replay`` compares every outgoing message and names the first that differs.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from mpc.codec import encode
from mpc.errors import LocalError
from mpc.messages import Message
from mpc.rounds import Rounds, accept
from mpc.run import Sent

T = TypeVar("T")


@dataclass(frozen=True)
class Said:
    """What is on record of an outgoing message: to whom, at which step, the SHA-256 of its bytes."""

    receiver: str
    step: str
    digest: bytes


def replay(name: str, role: Rounds[T], record: Iterable[Sent]) -> T:
    """Run ``role`` again as ``name`` against the messages in ``record`` (any order between members).

    Returns the role's result. Raises LocalError protocol.replay naming step and receiver of the first difference.
    """
    messages = list(record)
    said = [Said(s.receiver, s.step, hashlib.sha256(s.raw).digest()) for s in messages if s.sender == name]
    return rerun(name, role, [s for s in messages if s.receiver == name], said)


def rerun(name: str, role: Rounds[T], heard: Iterable[Sent], said: Iterable[Said]) -> T:
    """The same where of the outgoing messages only digests are on record, as in a member's log."""
    incoming: dict[str, deque[Sent]] = {}
    outgoing: dict[str, deque[Said]] = {}
    for s in heard:
        incoming.setdefault(s.sender, deque()).append(s)
    for told in said:
        outgoing.setdefault(told.receiver, deque()).append(told)
    inbox: dict[str, Message] | None = None
    while True:
        try:
            step = next(role) if inbox is None else role.send(inbox)
        except StopIteration as end:
            for peer, left in sorted(outgoing.items()):
                if left:
                    raise _differs(name, left[0].step, peer, "was recorded but is not said") from None
            result: T = end.value
            return result
        for receiver in sorted(step.say):
            if not outgoing.get(receiver):
                raise _differs(name, step.step, receiver, "is said but was not recorded")
            recorded = outgoing[receiver].popleft()
            now = hashlib.sha256(encode(step.say[receiver])).digest()
            if (recorded.step, recorded.digest) != (step.step, now):
                raise _differs(name, step.step, receiver, "differs from what was recorded")
        inbox = {}
        for peer in sorted(step.hear):
            if not incoming.get(peer):
                raise _differs(name, step.step, name, f"needs a word of {peer} that was not recorded")
            came = incoming[peer].popleft()
            inbox[peer] = accept(peer, step.step, came.step, came.raw)


def _differs(name: str, step: str, receiver: str, what: str) -> LocalError:
    return LocalError(
        "protocol.replay",
        f"Replay of {name}: the message at {step} to {receiver} {what}.",
        step=step,
        receiver=receiver,
    )
