"""Members of a practice consortium as bare processes that run protocol roles on command, for measuring.

The processes, keys, certificates, mail and driver are the real ones; only SQL and scheduling are left out, so that what
is measured is the protocol over gRPC. The same processes also move bytes through bare grpc.aio streams, for comparison.
"""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing as mp
import resource
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np

from mpc.coins import own_coins
from mpc.crypto.agree import public_key
from mpc.protocols.agree import Context
from mpc.protocols.total import Sum
from mpc.roles import Cast, allowed_bytes, open_outside, play_coordinator, play_party
from mpc.rounds import Session
from parties import credentials, memory
from parties.drive import drive
from parties.mail import FRAME_BYTES, Inbox, Outbox, PostOffice
from parties.member import Member

COORDINATOR, ANALYST = "coordinator", "analyst"
PRIVATE = hashlib.sha256(b"the analyst's key in a benchmark").digest()
_DRAIN = "/benchmarks.Bare/Drain"


@dataclass(frozen=True)
class Task:
    """``kind``: "sum" (the protocol) or "bare" (the same bytes, no protocol). ``number`` is the attempt."""

    kind: str
    parties: tuple[str, ...]
    length: int
    number: int


def cast_for(task: Task) -> Cast:
    job = hashlib.sha256(b"benchmark").digest()
    participants = tuple(sorted((*task.parties, COORDINATOR)))
    context = Context(
        job, task.number, hashlib.sha256(b"statement").digest(), participants, {ANALYST: public_key(PRIVATE)}
    )
    return Cast(context, COORDINATOR, (Sum("pool0/w64/analyst", task.parties, ANALYST, 64, task.length),))


def vector(name: str, length: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.Generator(np.random.PCG64(seed)).integers(0, 2**40, length, dtype=np.uint64)


class Worker:
    """One member: a server, and tasks run when told."""

    def __init__(self, folder: Path, pipe: Connection) -> None:
        self.member = Member(folder)
        self.post = PostOffice(self.member.caller)
        self.pipe = pipe
        self.drained = 0

    async def main(self) -> None:
        server = grpc.aio.server(options=credentials.message_options())
        self.post.serve(server)
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "benchmarks.Bare", {"Drain": grpc.stream_unary_rpc_method_handler(self._drain)}
                ),
            )
        )
        server.add_secure_port(
            self.member.config.listen, credentials.server_credentials(self.member.identity, self.member.roster)
        )
        await server.start()
        self.pipe.send("ready")
        while True:
            task = await asyncio.to_thread(self.pipe.recv)
            if task is None:
                break
            await self._do(task)
        await server.stop(0)
        await self.member.close()

    async def _do(self, task: Task) -> None:
        """Get ready, say so, start at the word "go", and tell seconds and memory."""
        me, cast = self.member.name, cast_for(task)
        x = vector(me, task.length) if me in task.parties else None
        key = (cast.context.job, task.number)
        if task.kind == "sum":
            others = [p for p in cast.context.participants if p != me]
            inbox = Inbox({p: allowed_bytes(cast, p, me) for p in others})
            self.post.open(key, inbox)
        before = _peak()
        self.drained = 0
        self.pipe.send("set")
        await asyncio.to_thread(self.pipe.recv)
        began = time.perf_counter()
        total = None
        if task.kind == "bare":
            await self._bare(task, x)
        else:
            session = Session(me, own_coins(hashlib.sha256(me.encode()).digest(), *key))
            boxes = {p: Outbox(p, self.member.channel(p), key, 10) for p in others}
            role = (
                play_coordinator(session, cast, self.member.sign, self.member.verify)
                if x is None
                else play_party(session, cast, {cast.sums[0].name: x}, self.member.sign, self.member.verify)
            )
            outcome = await drive(me, role, inbox, boxes, patience=300)
            seconds, peak = time.perf_counter() - began, _peak()
            for box in boxes.values():
                await box.close()
            self.post.shut(key)
            if x is None:
                total = open_outside(ANALYST, PRIVATE, public_key(PRIVATE), cast, outcome, self.member.verify)[
                    cast.sums[0].name
                ]
                expected = sum(vector(p, task.length) for p in task.parties)
                assert np.array_equal(total, expected), "the sum is wrong"
        if task.kind == "bare":
            seconds, peak = time.perf_counter() - began, _peak()
        copies = (peak - before) * 1024 / (8 * task.length) + (1 if x is not None else 0)
        self.pipe.send((me, seconds, copies))

    async def _bare(self, task: Task, x: Any) -> None:
        if x is None:
            while self.drained < len(task.parties):
                await asyncio.sleep(0.001)
            return
        raw = memoryview(x).cast("B")

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(raw), FRAME_BYTES):
                yield bytes(raw[start : start + FRAME_BYTES])

        await self.member.channel(COORDINATOR).stream_unary(_DRAIN)(pieces())

    async def _drain(self, pieces: AsyncIterator[bytes], _context: Any) -> bytes:
        async for _ in pieces:
            pass
        self.drained += 1
        return b""


def _peak() -> int:
    """Peak resident memory so far, KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _serve(folder: Path, pipe: Connection) -> None:
    memory.keep_freed_blocks()  # as parties.serve does
    asyncio.run(Worker(folder, pipe).main())


class Members:
    """The worker processes; ``run`` gives the longest time among them and the largest number of copies."""

    def __init__(self, consortium: Path, names: list[str]) -> None:
        context = mp.get_context("spawn")
        self.pipes: dict[str, Connection] = {}
        self.processes = []
        for name in names:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(consortium / name, theirs), daemon=True)
            process.start()
            self.pipes[name] = ours
            self.processes.append(process)
        for pipe in self.pipes.values():
            assert pipe.recv() == "ready"

    def run(self, task: Task) -> tuple[float, float]:
        names = [*task.parties, COORDINATOR]
        for step in (task, "go"):
            for name in names:
                self.pipes[name].send(step)
            if step is task:
                for name in names:
                    assert self.pipes[name].recv() == "set"
        told = [self.pipes[name].recv() for name in names]
        return max(t[1] for t in told), max(t[2] for t in told)

    def close(self) -> None:
        for pipe in self.pipes.values():
            pipe.send(None)
        for process in self.processes:
            process.join(10)
            if process.is_alive():
                process.kill()
