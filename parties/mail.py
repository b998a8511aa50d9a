"""Messages between members over gRPC: an outbox per peer, an inbox per attempt, frames in between.

    outbox ──Frame(job, attempt, seq, step, total, offset, data ≤ 1 MiB)──▶ Peer.Deliver ──▶ inbox
    outbox ◀──Receipt(seq, SHA-256 of the message)────────────────────────┘

What one member says to another arrives in order and once. The outbox keeps what was not receipted; after a broken
connection it opens a new stream and sends the same bytes again. The inbox drops a message it already has if the bytes
are the same and refuses the attempt if they are not (checklist 1, 2). Both ends are bounded: an inbox that is full
stops reading, which stops the sender.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import grpc.aio

from mpc.codec import MAX_MESSAGE_BYTES, varint
from mpc.errors import HejiError, PeerError
from parties.failures import abort, from_rpc, unreachable
from parties.rpc.v1 import peer_pb2, peer_pb2_grpc

T = TypeVar("T")

#: data bytes in one frame: one block of words with its header fits
FRAME_BYTES = 1 << 20
#: messages an outbox may have under way to one peer, and an inbox may hold from one
WINDOW = 8

_DELIVER = "/" + peer_pb2.DESCRIPTOR.services_by_name["Peer"].full_name + "/Deliver"

#: (job id, attempt)
AttemptKey = tuple[bytes, int]


class Inbox:
    """What other members said in one attempt, in order, until the role hears it."""

    def __init__(self, allowed: Mapping[str, int]) -> None:
        """``allowed``: member -> bytes it may send in this attempt, by the plan. Nobody else may send anything."""
        self._allowed = dict(allowed)
        self._queues = {peer: asyncio.Queue[tuple[str, bytes]](WINDOW) for peer in allowed}
        self._digests: dict[str, list[bytes]] = {peer: [] for peer in allowed}
        self._closed = asyncio.get_running_loop().create_future()
        self.received = 0

    def close(self, error: HejiError) -> None:
        """End the attempt: everybody who waits here gets ``error``."""
        if not self._closed.done():
            self._closed.set_result(error)

    def expected(self, peer: str) -> int:
        """The sequence number that comes next from ``peer``."""
        return len(self._digests.get(peer, ()))

    def admit(self, peer: str, frame: peer_pb2.Frame) -> None:
        """Refuse a message from its first frame: unknown sender, a gap, or more bytes than the plan has."""
        if peer not in self._allowed:
            raise PeerError("protocol.order", f"{peer} has no part in this job.", party=peer, step=frame.step)
        if frame.seq > self.expected(peer):
            raise PeerError(
                "protocol.order", f"{peer} left out message {self.expected(peer)}.", party=peer, step=frame.step
            )
        if frame.seq == self.expected(peer) and frame.total > min(self._allowed[peer], MAX_MESSAGE_BYTES):
            raise PeerError(
                "protocol.size",
                f"{peer} announces {frame.total} bytes at {frame.step}, more than the plan has left for it.",
                party=peer,
                step=frame.step,
            )

    async def put(self, peer: str, seq: int, step: str, raw: bytes) -> bytes:
        """Take in a whole message; returns its digest. Waits while the inbox is full."""
        digest = await asyncio.to_thread(_sha256, raw)
        known = self._digests[peer]
        if seq < len(known):
            if known[seq] != digest:
                raise PeerError(
                    "job.replayed",
                    f"{peer} sent message {seq} ({step}) again with other bytes.",
                    party=peer,
                    step=step,
                    digest=digest.hex(),
                )
            return digest
        known.append(digest)
        self._allowed[peer] -= len(raw)
        self.received += len(raw)
        queue = self._queues[peer]
        if queue.full():
            await self._until_closed(queue.put((step, raw)))
        else:
            queue.put_nowait((step, raw))
        return digest

    async def take(self, peer: str, step: str, timeout: float) -> tuple[str, bytes]:
        """The next message of ``peer``. Raises PeerError peer.timeout, or what the attempt was closed with."""
        queue = self._queues[peer]
        if not queue.empty() and not self._closed.done():
            return queue.get_nowait()
        try:
            async with asyncio.timeout(timeout):
                return await self._until_closed(queue.get())
        except TimeoutError:
            raise PeerError(
                "peer.timeout",
                f"{peer} said nothing at {step} for {timeout:.0f} s.",
                "Look at that member's log; then submit the job again.",
                party=peer,
                step=step,
            ) from None

    async def _until_closed(self, waiting: Awaitable[T]) -> T:
        task = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait((task, self._closed), return_when=asyncio.FIRST_COMPLETED)
            if self._closed.done():
                raise self._closed.result()
            return task.result()
        finally:
            task.cancel()


class PostOffice(peer_pb2_grpc.PeerServicer):
    """Serves ``Peer.Deliver`` into the inboxes of the attempts under way at this member."""

    def __init__(self, identify: Callable[[grpc.aio.ServicerContext[Any, Any]], str]) -> None:
        """``identify`` names the caller by its certificate, or raises PeerError peer.identity."""
        self._identify = identify
        self._inboxes: dict[AttemptKey, Inbox] = {}

    def open(self, key: AttemptKey, inbox: Inbox) -> None:
        self._inboxes[key] = inbox

    def shut(self, key: AttemptKey, error: HejiError | None = None) -> None:
        """Forget an attempt; what still waits for it gets ``error``."""
        inbox = self._inboxes.pop(key, None)
        if inbox is not None and error is not None:
            inbox.close(error)

    async def Deliver(
        self, request_iterator: AsyncIterator[peer_pb2.Frame], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[peer_pb2.Receipt]:
        """See peer.proto. A message that breaks a rule ends the attempt here and tells the sender why."""
        inbox: Inbox | None = None
        try:
            sender = self._identify(context)
            assembly = Assembly(sender)
            async for frame in request_iterator:
                inbox = self._inboxes.get((frame.job, frame.attempt))
                if inbox is None:
                    raise PeerError("peer.aborted", "This attempt is not (or no longer) under way here.", party="")
                if frame.offset == 0:
                    inbox.admit(sender, frame)
                raw = assembly.add(frame)
                if raw is not None:
                    digest = await inbox.put(sender, frame.seq, frame.step, raw)
                    yield peer_pb2.Receipt(seq=frame.seq, digest=digest)
        except HejiError as error:
            if inbox is not None and isinstance(error, PeerError) and error.code.startswith(("protocol.", "job.")):
                inbox.close(error)
            await abort(context, error)


class Assembly:
    """Puts the frames of one sender together again; one message at a time, bounded by its declared total."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._head: tuple[bytes, int, int, str, int] | None = None
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, frame: peer_pb2.Frame) -> bytes | None:
        """The whole message when its last frame has come, else None."""
        head = (frame.job, frame.attempt, frame.seq, frame.step, frame.total)
        if frame.offset == 0:
            self._head, self._parts, self._size = head, [], 0
        wrong = (
            head != self._head
            or frame.offset != self._size
            or len(frame.data) > FRAME_BYTES
            or frame.offset + len(frame.data) > min(frame.total, MAX_MESSAGE_BYTES)
            or (not frame.data and frame.total > 0)
        )
        if wrong:
            raise PeerError(
                "protocol.malformed",
                f"{self._sender} sent a frame that does not fit its message at {frame.step[:200]!r}.",
                party=self._sender,
                step=frame.step[:200],
            )
        self._parts.append(frame.data)
        self._size += len(frame.data)
        if self._size < frame.total:
            return None
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._head, self._parts, self._size = None, [], 0
        return whole


@dataclass(frozen=True)
class Letter:
    """One message on its way, kept until it is receipted."""

    seq: int
    step: str
    raw: bytes
    digest: bytes


class Outbox:
    """What this member says to one peer in one attempt."""

    def __init__(self, peer: str, channel: grpc.aio.Channel, key: AttemptKey, patience: float) -> None:
        """``patience``: seconds to go on trying to reach the peer after a connection broke."""
        self.peer = peer
        self._deliver_call = channel.stream_stream(
            _DELIVER, request_serializer=None, response_deserializer=peer_pb2.Receipt.FromString
        )
        self._job, self._attempt = key
        self._patience = patience
        self._next = 0
        self._unsent: deque[Letter] = deque()
        self._unreceipted: deque[Letter] = deque()
        self._changed = asyncio.Condition()
        self._failed: HejiError | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self.sent = 0

    async def say(self, step: str, raw: bytes, digest: bytes) -> None:
        """Hand over a message and its SHA-256; waits while WINDOW messages are under way. Raises what delivery failed
        with."""
        letter = Letter(self._next, step, raw, digest)
        self._next += 1
        async with self._changed:
            await self._changed.wait_for(lambda: self._failed or len(self._unsent) + len(self._unreceipted) < WINDOW)
            self._raise()
            self._unsent.append(letter)
            self.sent += len(raw)
            if self._task is None:
                self._task = asyncio.create_task(self._deliver())
            self._changed.notify_all()

    async def flush(self) -> None:
        """Wait until everything said is receipted."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._failed or not (self._unsent or self._unreceipted))
            self._raise()

    async def close(self) -> None:
        """Stop delivering. What is not receipted is given up: flush first."""
        async with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed

    async def _deliver(self) -> None:
        """One stream after the other until closed; gives up after ``patience`` seconds without a receipt."""
        loop = asyncio.get_running_loop()
        pause, last_progress = 0.05, loop.time()
        while not self._closing:
            before = self._next - len(self._unsent) - len(self._unreceipted)
            failure: HejiError
            try:
                await self._one_stream()
                failure = unreachable(self.peer)
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error, self.peer, "sending")
            except HejiError as error:
                failure = error
            receipted = self._next - len(self._unsent) - len(self._unreceipted)
            if receipted > before:
                pause, last_progress = 0.05, loop.time()
            if failure.code != "peer.unavailable" or loop.time() - last_progress > self._patience:
                await self._fail(failure)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)
            async with self._changed:  # the same bytes again, in the same order
                self._unsent.extendleft(reversed(self._unreceipted))
                self._unreceipted.clear()

    async def _one_stream(self) -> None:
        call: grpc.aio.StreamStreamCall[bytes, peer_pb2.Receipt] = self._deliver_call()  # type: ignore[call-arg]
        writer = asyncio.create_task(self._write(call))
        try:
            async for receipt in call:
                async with self._changed:
                    if not self._unreceipted or self._unreceipted[0].seq != receipt.seq:
                        raise PeerError(
                            "protocol.order", f"{self.peer} gave a receipt for what was not sent.", party=self.peer
                        )
                    if self._unreceipted[0].digest != receipt.digest:
                        raise PeerError(
                            "protocol.malformed",
                            f"{self.peer} received other bytes than were sent.",
                            party=self.peer,
                            step=self._unreceipted[0].step,
                        )
                    self._unreceipted.popleft()
                    self._changed.notify_all()
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await writer
            call.cancel()

    async def _write(self, call: grpc.aio.StreamStreamCall[bytes, peer_pb2.Receipt]) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: bool(self._unsent))
                letter = self._unsent.popleft()
                self._unreceipted.append(letter)
            for offset in range(0, max(len(letter.raw), 1), FRAME_BYTES):
                piece = letter.raw if len(letter.raw) <= FRAME_BYTES else letter.raw[offset : offset + FRAME_BYTES]
                head = peer_pb2.Frame(
                    job=self._job,
                    attempt=self._attempt,
                    seq=letter.seq,
                    step=letter.step,
                    total=len(letter.raw),
                    offset=offset,
                )
                await call.write(frame_bytes(head, piece))

    async def _fail(self, error: HejiError) -> None:
        async with self._changed:
            self._failed = error
            self._changed.notify_all()


def frame_bytes(head: peer_pb2.Frame, data: bytes) -> bytes:
    """A frame as protobuf writes it, its data copied once: protobuf's own serialiser takes a millisecond for a MiB.

    ``data`` is the last field of Frame, so its tag, length and bytes follow what the other fields serialise to.
    """
    return b"".join((head.SerializeToString(), b"\x3a", varint(len(data)), data)) if data else head.SerializeToString()


def _sha256(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()
