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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import grpc
import grpc.aio

from mpc.codec import MAX_MESSAGE_BYTES, Raw, varint
from mpc.errors import HejiError, PeerError
from parties.failures import abort, from_rpc, told, unreachable
from parties.rpc.v1 import peer_pb2

T = TypeVar("T")

#: data bytes in one frame: one block of words with its header fits
FRAME_BYTES = 1 << 20
#: messages an outbox may have under way to one peer, and an inbox may hold from one
WINDOW = 8

_DELIVER = "/" + peer_pb2.DESCRIPTOR.services_by_name["Peer"].full_name + "/Deliver"

#: the head of a frame is everything but its data, which is the last field; no head is longer
Head = peer_pb2.Frame
MAX_HEAD_BYTES = 4096
_DATA = b"\x3a"


class Piece(NamedTuple):
    """A frame as it came: its head, and its data as a view of the bytes received."""

    head: Head
    data: Raw


#: (job id, attempt)
AttemptKey = tuple[bytes, int]


class Register(Protocol):
    """Where messages are put on record (parties.evidence.recorder). Numbers count a sender's messages to a receiver."""

    def received(self, key: AttemptKey, sender: str, number: int, step: str, size: int, digest: bytes) -> bytes:
        """A message has come in whole: record it, before the receipt leaves. Returns the receipt's signature."""

    def receipt(self, key: AttemptKey, sender: str, number: int, step: str, digest: bytes) -> bytes:
        """The same receipt again."""

    def sent(
        self, key: AttemptKey, receiver: str, number: int, step: str, size: int, digest: bytes, signature: bytes
    ) -> None:
        """A message went out; ``signature``: its receipt, b"" if none came. Raises PeerError protocol.signature."""


class Inbox:
    """What other members said in one attempt, in order, until the role hears it."""

    def __init__(self, allowed: Mapping[str, int]) -> None:
        """``allowed``: member -> bytes it may send in this attempt, by the plan. Nobody else may send anything."""
        self._given = dict(allowed)
        self._allowed = dict(allowed)
        self._queues = {peer: asyncio.Queue[tuple[str, Raw]](WINDOW) for peer in allowed}
        self._digests: dict[str, list[bytes]] = {peer: [] for peer in allowed}
        self._closed = asyncio.get_running_loop().create_future()
        self.received = 0

    def allow(self, allowed: Mapping[str, int]) -> None:
        """What members may send is more than was known when it was opened."""
        for peer, most in allowed.items():
            more = max(most - self._given[peer], 0)
            self._given[peer] += more
            self._allowed[peer] += more

    def close(self, error: HejiError) -> None:
        """End the attempt: everybody who waits here gets ``error``."""
        if not self._closed.done():
            self._closed.set_result(error)

    def expected(self, peer: str) -> int:
        """The sequence number that comes next from ``peer``."""
        return len(self._digests.get(peer, ()))

    def admit(self, peer: str, frame: Head) -> None:
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

    async def put(self, peer: str, seq: int, step: str, raw: Raw) -> bytes:
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

    async def take(self, peer: str, step: str, timeout: float) -> tuple[str, Raw]:
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


class PostOffice:
    """Serves ``Peer.Deliver`` into the inboxes of the attempts under way at this member."""

    def __init__(
        self, identify: Callable[[grpc.aio.ServicerContext[Any, Any]], str], register: Register | None = None
    ) -> None:
        """``identify`` names the caller by its certificate, or raises PeerError peer.identity."""
        self._identify, self._register = identify, register
        self._inboxes: dict[AttemptKey, Inbox] = {}

    def serve(self, server: grpc.aio.Server) -> None:
        """Add the service Peer, with frames read by ``read_frame``."""
        deliver = grpc.stream_stream_rpc_method_handler(
            self.Deliver, request_deserializer=read_frame, response_serializer=peer_pb2.Receipt.SerializeToString
        )
        service = peer_pb2.DESCRIPTOR.services_by_name["Peer"].full_name
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Deliver": deliver}),))

    def open(self, key: AttemptKey, inbox: Inbox) -> None:
        self._inboxes[key] = inbox

    def shut(self, key: AttemptKey, error: HejiError | None = None) -> None:
        """Forget an attempt; what still waits for it gets ``error``."""
        inbox = self._inboxes.pop(key, None)
        if inbox is not None and error is not None:
            inbox.close(error)

    async def Deliver(
        self, request_iterator: AsyncIterator[Piece], context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[peer_pb2.Receipt]:
        """See peer.proto. A message that breaks a rule ends the attempt here and tells the sender why."""
        inbox: Inbox | None = None
        try:
            sender = self._identify(context)
            assembly = Assembly(sender)
            async for piece in request_iterator:
                frame = piece.head
                inbox = self._inboxes.get((frame.job, frame.attempt))
                if inbox is None:
                    raise PeerError("peer.aborted", "This attempt is not (or no longer) under way here.", party="")
                if frame.offset == 0:
                    inbox.admit(sender, frame)
                raw = assembly.add(piece)
                if raw is not None:
                    fresh = frame.seq == inbox.expected(sender)
                    digest = await inbox.put(sender, frame.seq, frame.step, raw)
                    signature = self._receipt(sender, frame, len(raw), digest, fresh=fresh)
                    yield peer_pb2.Receipt(seq=frame.seq, digest=digest, signature=signature)
        except HejiError as error:
            if inbox is not None and isinstance(error, PeerError) and error.code.startswith(("protocol.", "job.")):
                inbox.close(error)
            await abort(context, error)

    def _receipt(self, sender: str, frame: Head, size: int, digest: bytes, *, fresh: bool) -> bytes:
        key = (frame.job, frame.attempt)
        if self._register is None:
            return b""
        if fresh:
            return self._register.received(key, sender, frame.seq, frame.step, size, digest)
        return self._register.receipt(key, sender, frame.seq, frame.step, digest)


class Assembly:
    """Puts the frames of one sender together again; one message at a time, bounded by its declared total."""

    def __init__(self, sender: str) -> None:
        self._sender = sender
        self._head: tuple[bytes, int, int, str, int] | None = None
        self._parts: list[Raw] = []
        self._size = 0

    def add(self, piece: Piece) -> Raw | None:
        """The whole message when its last frame has come, else None."""
        frame, data = piece
        head = (frame.job, frame.attempt, frame.seq, frame.step, frame.total)
        if frame.offset == 0:
            self._head, self._parts, self._size = head, [], 0
        wrong = (
            head != self._head
            or frame.offset != self._size
            or len(data) > FRAME_BYTES
            or frame.offset + len(data) > min(frame.total, MAX_MESSAGE_BYTES)
            or (not data and frame.total > 0)
        )
        if wrong:
            raise PeerError(
                "protocol.malformed",
                f"{self._sender} sent a frame that does not fit its message at {frame.step[:200]!r}.",
                party=self._sender,
                step=frame.step[:200],
            )
        self._parts.append(data)
        self._size += len(data)
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
    frames: tuple[bytes, ...]
    digest: bytes  # SHA-256 of the message
    raw: Raw  # the message, a view of its frame if it fits one


class Outbox:
    """What this member says to one peer in one attempt."""

    def __init__(
        self,
        peer: str,
        channel: grpc.aio.Channel,
        key: AttemptKey,
        patience: float,
        register: Register | None = None,
    ) -> None:
        """``patience``: seconds to go on trying to reach the peer after a connection broke."""
        self.peer, self._register = peer, register
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

    def letter(self, step: str, parts: Sequence[Raw]) -> Letter:
        """The next message, cut into frames: work for a thread. Letters are said in the order they were made."""
        total = sum(len(p) for p in parts)
        digest = hashlib.sha256()
        for p in parts:
            digest.update(p)
        seq = self._next
        self._next += 1

        def frame(offset: int, *data: Raw) -> bytes:
            head = Head(job=self._job, attempt=self._attempt, seq=seq, step=step, total=total, offset=offset)
            return frame_bytes(head, *data)

        if total <= FRAME_BYTES:
            whole = frame(0, *parts)
            return Letter(seq, step, (whole,), digest.digest(), memoryview(whole)[len(whole) - total :])
        raw = memoryview(b"".join(parts))
        frames = tuple(frame(at, raw[at : at + FRAME_BYTES]) for at in range(0, total, FRAME_BYTES))
        return Letter(seq, step, frames, digest.digest(), raw)

    async def say(self, letter: Letter) -> None:
        """Hand over a letter; waits while WINDOW messages are under way. Raises what delivery failed with."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._failed or len(self._unsent) + len(self._unreceipted) < WINDOW)
            self._raise()
            self._unsent.append(letter)
            self.sent += len(letter.raw)
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
        if self._register is not None:
            for letter in self._unreceipted:
                with contextlib.suppress(HejiError):  # it ends anyway
                    self._record(letter, b"")
            self._unreceipted.clear()

    def _record(self, letter: Letter, signature: bytes) -> None:
        if self._register is None:
            return
        key = (self._job, self._attempt)
        self._register.sent(key, self.peer, letter.seq, letter.step, len(letter.raw), letter.digest, signature)

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
            broken = (
                True  # whatever the peer did not say itself is taken for a broken connection: resending harms nobody
            )
            try:
                await self._one_stream()
                failure = unreachable(self.peer)
            except grpc.aio.AioRpcError as error:
                failure, broken = from_rpc(error, self.peer, "sending"), told(error) is None
            except HejiError as error:
                failure, broken = error, False
            receipted = self._next - len(self._unsent) - len(self._unreceipted)
            if receipted > before:
                pause, last_progress = 0.05, loop.time()
            if not broken or loop.time() - last_progress > self._patience:
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
                    if self._register is not None and not receipt.signature:
                        raise PeerError(
                            "protocol.signature",
                            f"{self.peer} signs no receipts.",
                            "Let its operator upgrade: without receipts there is no evidence of what was said.",
                            party=self.peer,
                            step=self._unreceipted[0].step,
                        )
                    self._record(self._unreceipted[0], receipt.signature)
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
            for frame in letter.frames:
                await call.write(frame)

    async def _fail(self, error: HejiError) -> None:
        async with self._changed:
            self._failed = error
            self._changed.notify_all()


def frame_bytes(head: Head, *data: Raw) -> bytes:
    """A frame as protobuf writes it, its data copied once: protobuf's own serialiser takes a millisecond for a MiB.

    ``data`` is the last field of Frame, so its tag, length and bytes follow what the other fields serialise to.
    """
    size = sum(len(d) for d in data)
    return b"".join((head.SerializeToString(), _DATA, varint(size), *data)) if size else head.SerializeToString()


def read_frame(raw: bytes) -> Piece:
    """The inverse, without a copy of the data. Raises ValueError for bytes that are no frame ending in its data."""
    at = 0
    while at < len(raw) and raw[at : at + 1] != _DATA:
        kind = raw[at] & 7
        size, at = _read_varint(raw, at + 1)
        at += size if kind == 2 else 0
        if kind not in (0, 2) or at > MAX_HEAD_BYTES:
            raise ValueError("not a frame")
    head = Head.FromString(raw[:at])
    size, at = _read_varint(raw, at + 1) if at < len(raw) else (0, at)
    if at + size != len(raw):
        raise ValueError("not a frame that ends with its data")
    return Piece(head, memoryview(raw)[at:])


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    """A base-128 integer and where it ends."""
    value = 0
    for i, byte in enumerate(raw[at : at + 10]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    raise ValueError("not an integer")


def _sha256(raw: Raw) -> bytes:
    return hashlib.sha256(raw).digest()
