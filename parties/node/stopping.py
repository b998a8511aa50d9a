"""The node's side of `heji node stop`, and of `forget-questions`: what is decided in the store is noticed, put on
record, and done.

A command beside the node or its console writes the stop (parties.node.decisions). Before it approves anything the node
looks there; attempts under way are ended by ``Watch``, which looks several times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog

from mpc.errors import HejiError, LocalError
from parties.evidence.recorder import Recorder
from parties.node.decisions import Decisions, Stop
from parties.node.questions import Questions

log = structlog.get_logger("heji.node")

#: seconds between looks
LOOK = 0.25


def refuse_if_stopped(name: str, decisions: Decisions) -> None:
    """Raises LocalError policy.stopped while the node is stopped, store.failed where nobody can tell."""
    if decisions.stopped() is not None:
        raise stopped(name)


def stopped(name: str) -> LocalError:
    """What everybody is told; the reason stays with the owner."""
    return LocalError(
        "policy.stopped",
        f"{name}'s operator has stopped its node: no job runs there.",
        f"Ask {name}; once it has resumed (heji node resume), submit the query again.",
        party=name,
    )


class Watch:
    """Looks while the node runs for what persons have decided about it."""

    def __init__(
        self,
        name: str,
        decisions: Decisions,
        questions: Questions,
        recorder: Recorder | None,
        end_all: Callable[[HejiError], Awaitable[None]],
        tell: Callable[[Literal["stopped", "resumed"]], None] = lambda _event: None,
    ) -> None:
        """``end_all``: ends every attempt under way with a reason. ``tell`` hears of stop and end."""
        self._tell = tell
        self._name, self._decisions, self._recorder, self._end_all = name, decisions, recorder, end_all
        self._questions = questions
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """What was decided while the node was down goes on record; then look on."""
        self._note()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                found = self._decisions.stopped()
                if found is not None and found.now:
                    await self._end_all(stopped(self._name))
                self._note()
            except HejiError as unknown:  # whether the node is stopped cannot be told: then it is
                log.error("attempt ended", code=unknown.code)
                with contextlib.suppress(HejiError):
                    await self._end_all(unknown)

    def _note(self) -> None:
        for found in self._decisions.not_noted():
            if self._recorder is not None:
                self._put_on_record(self._recorder, found)
            event: Literal["stopped", "resumed"] = "stopped" if found.resumed is None else "resumed"
            log.warning(event, state="now" if found.now else "")
            self._tell(event)
            self._decisions.noted(found)
        for gone in self._questions.not_noted():
            if self._recorder is not None:
                self._recorder.log.append("forgot", person=gone.person, at=gone.at, questions=gone.questions)
            log.warning("forgot earlier questions", count=gone.questions)
            self._questions.noted(gone)

    def _put_on_record(self, recorder: Recorder, found: Stop) -> None:
        if found.noted < 1:
            recorder.log.append("stopped", person=found.person, at=found.at, now=found.now)
        if found.resumed is not None:
            recorder.log.append("resumed", person=found.resumed_by, at=found.resumed)
