"""Replay: a role run again from its recorded inputs must say, byte for byte, what it said (transcript.md).

The auditor of a role has its seed and input, hence the same generator; from the record come the messages it heard.
``replay`` compares every outgoing message and names the first that differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from mpc.codec import encode
from mpc.errors import LocalError
from mpc.messages import Message
from mpc.rounds import Rounds, accept
from mpc.run import Sent

T = TypeVar("T")


def replay(name: str, role: Rounds[T], record: Iterable[Sent]) -> T:
    """Run ``role`` again as ``name`` against the messages in ``record`` (any order between members).

    Returns the role's result. Raises LocalError protocol.replay naming step and receiver of the first difference.
    """
    heard: dict[str, Iterator[Sent]] = {}
    said: dict[str, Iterator[Sent]] = {}
    messages = list(record)
    for peer in {s.sender for s in messages} | {s.receiver for s in messages}:
        heard[peer] = iter([s for s in messages if (s.sender, s.receiver) == (peer, name)])
        said[peer] = iter([s for s in messages if (s.sender, s.receiver) == (name, peer)])
    inbox: dict[str, Message] | None = None
    while True:
        try:
            step = next(role) if inbox is None else role.send(inbox)
        except StopIteration as end:
            for peer in sorted(said):
                if (extra := next(said[peer], None)) is not None:
                    raise _differs(name, extra.step, peer, "was recorded but is not said") from None
            result: T = end.value
            return result
        for receiver in sorted(step.say):
            recorded = next(said.get(receiver, iter(())), None)
            if recorded is None:
                raise _differs(name, step.step, receiver, "is said but was not recorded")
            if recorded.step != step.step or recorded.raw != encode(step.say[receiver]):
                raise _differs(name, step.step, receiver, "differs from what was recorded")
        inbox = {}
        for peer in sorted(step.hear):
            came = next(heard.get(peer, iter(())), None)
            if came is None:
                raise _differs(name, step.step, name, f"needs a word of {peer} that was not recorded")
            inbox[peer] = accept(peer, step.step, came.step, came.raw)


def _differs(name: str, step: str, receiver: str, what: str) -> LocalError:
    return LocalError(
        "protocol.replay",
        f"Replay of {name}: the message at {step} to {receiver} {what}.",
        step=step,
        receiver=receiver,
    )
