"""The in-process driver: all roles of a job in one thread, messages through the codec, everything traced.

For tests, notebooks and the leakage check: ``run`` moves exactly the bytes that a gRPC run moves. As there, nobody goes
on who has more than ``WINDOW`` messages under way to one peer, so roles that would wait for each other are found here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mpc.codec import Raw, encode
from mpc.errors import LocalError
from mpc.messages import Message
from mpc.rounds import WINDOW, Round, Rounds, accept


@dataclass(frozen=True)
class Sent:
    """One message as it went over the wire."""

    sender: str
    receiver: str
    step: str
    raw: Raw


@dataclass
class Trace:
    """Every message of a run in the order it was said, and the number of rounds of each role.

    ``depth``: at each role's end, the longest chain of messages before it of which each had to be heard before the next
    was said: the latencies that a run over a network waits for, one after the other.
    """

    sent: list[Sent] = field(default_factory=list)
    rounds: dict[str, int] = field(default_factory=dict)
    depth: dict[str, int] = field(default_factory=dict)

    def bytes_between(self, sender: str, receiver: str) -> int:
        return sum(len(s.raw) for s in self.sent if (s.sender, s.receiver) == (sender, receiver))

    def heard_by(self, receiver: str) -> list[Sent]:
        return [s for s in self.sent if s.receiver == receiver]

    def said_by(self, sender: str) -> list[Sent]:
        return [s for s in self.sent if s.sender == sender]


def run(
    roles: Mapping[str, Rounds[Any]], trace: Trace | None = None, tamper: Callable[[Sent], Raw] | None = None
) -> dict[str, Any]:
    """Run all roles to their end; returns each role's result.

    ``tamper`` may replace the bytes of any message on its way (tests). Raises what a role raises, and LocalError
    protocol.order when nobody can go on.
    """
    trace = trace if trace is not None else Trace()
    queues: dict[tuple[str, str], deque[tuple[int, str, Raw]]] = {}
    waiting: dict[str, Round] = {}
    results: dict[str, Any] = {}

    def advance(name: str, heard: Mapping[str, Message] | None) -> None:
        """Resume a role, deliver what it says, and keep it waiting or take its result."""
        role = roles[name]
        try:
            step = next(role) if heard is None else role.send(heard)
        except StopIteration as end:
            waiting.pop(name, None)
            results[name] = end.value
            return
        trace.rounds[name] = trace.rounds.get(name, 0) + 1
        for receiver in sorted(step.say):
            sent = Sent(name, receiver, step.step, encode(step.say[receiver]))
            trace.sent.append(sent)
            raw = tamper(sent) if tamper else sent.raw
            queues.setdefault((name, receiver), deque()).append((trace.depth.get(name, 0) + 1, step.step, raw))
        waiting[name] = step

    def can_go_on(name: str, step: Round) -> bool:
        """All it waits for is there, and its words are under way."""
        return all(queues.get((peer, name)) for peer in step.hear) and all(
            len(queues[name, receiver]) <= WINDOW for receiver in step.say
        )

    for name in roles:
        advance(name, None)
    while waiting:
        ready = [name for name, step in waiting.items() if can_go_on(name, step)]
        if not ready:
            stuck = ", ".join(f"{n} at {w.step}" for n, w in sorted(waiting.items()))
            raise LocalError("protocol.order", f"Nobody can go on: {stuck}.")
        for name in ready:
            step = waiting[name]
            heard = {}
            for peer in sorted(step.hear):
                depth, came, raw = queues[peer, name].popleft()
                trace.depth[name] = max(depth, trace.depth.get(name, 0))
                heard[peer] = accept(peer, step.step, came, raw)
            advance(name, heard)
    return results
