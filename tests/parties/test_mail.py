"""Frames between members: what is cut is put together again, and what does not fit is refused without harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from mpc.codec import MAX_MESSAGE_BYTES
from mpc.errors import HejiError, PeerError
from parties import credentials
from parties.consortium import init_consortium
from parties.failures import from_rpc
from parties.mail import FRAME_BYTES, WINDOW, Assembly, Inbox, Outbox, Piece, PostOffice, frame_bytes, read_frame
from parties.member import Member
from parties.rpc.v1 import peer_pb2, peer_pb2_grpc

KEY = (bytes(range(32)), 1)


def frames_of(raw: bytes, size: int, *, seq: int = 0, step: str = "s") -> list[peer_pb2.Frame]:
    return [
        peer_pb2.Frame(job=KEY[0], attempt=1, seq=seq, step=step, total=len(raw), offset=at, data=raw[at : at + size])
        for at in range(0, max(len(raw), 1), size)
    ]


# -- frames, without a network


@given(st.binary(max_size=400), st.integers(1, 50))
def test_what_is_cut_is_put_together(raw: bytes, size: int):
    assembly = Assembly("bank_a")
    came = [assembly.add(Piece(f, f.data)) for f in frames_of(raw, size)]
    assert came[:-1] == [None] * (len(came) - 1)
    assert came[-1] == raw


@given(st.binary(max_size=300), st.integers(0, 2**40), st.text(max_size=20), st.integers(0, 2**32 - 1))
def test_frames_are_written_as_protobuf_reads_them(data: bytes, seq: int, step: str, attempt: int):
    head = peer_pb2.Frame(job=KEY[0], attempt=attempt, seq=seq, step=step, total=7, offset=3)
    whole = peer_pb2.Frame()
    whole.CopyFrom(head)
    whole.data = data
    raw = frame_bytes(head, data)
    assert raw == whole.SerializeToString(deterministic=True)
    assert frame_bytes(head, data[:2], data[2:]) == raw
    assert read_frame(raw) == (head, data)


frame = st.builds(
    peer_pb2.Frame,
    job=st.sampled_from([KEY[0], bytes(32)]),
    attempt=st.integers(1, 2),
    seq=st.integers(0, 2),
    step=st.sampled_from(["s", "t"]),
    total=st.one_of(st.integers(0, 12), st.integers(0, 2**64 - 1)),
    offset=st.integers(0, 12),
    data=st.binary(max_size=8),
)


@given(st.lists(frame, max_size=12))
def test_frames_in_any_order_never_make_more_than_was_announced(frames: list[peer_pb2.Frame]):
    assembly = Assembly("bank_a")
    for f in frames:
        try:
            raw = assembly.add(Piece(f, f.data))
        except HejiError as error:
            assert error.code == "protocol.malformed"
            assert isinstance(error, PeerError)
            assert error.party == "bank_a"
            return
        assert raw is None or len(raw) == f.total
        assert assembly._size <= min(f.total, MAX_MESSAGE_BYTES)


@given(st.binary(max_size=200))
def test_garbage_bytes_are_no_frame_or_a_frame_that_is_judged(raw: bytes):
    try:
        piece = read_frame(raw)
    except (ValueError, DecodeError):
        return
    try:
        whole = Assembly("x").add(piece)
        assert whole is None or len(whole) == piece.head.total
    except HejiError as error:
        assert error.code == "protocol.malformed"


# -- between two members


@dataclass
class Post:
    """bank_b's post office, served, and a way there as bank_a."""

    office: PostOffice
    sender: Member
    stranger: Member
    restart: Callable[[], object]
    halt: Callable[[], object]

    def inbox(self, allowed: dict[str, int] | None = None) -> Inbox:
        inbox = Inbox(allowed if allowed is not None else {"bank_a": 1 << 26})
        self.office.open(KEY, inbox)
        return inbox

    def outbox(self, patience: float = 10) -> Outbox:
        return Outbox("bank_b", self.sender.channel("bank_b"), KEY, patience)

    async def send(self, *frames: peer_pb2.Frame, as_: Member | None = None) -> list[peer_pb2.Receipt]:
        """Frames as they are; raises what the other end says."""
        stub = peer_pb2_grpc.PeerStub((as_ or self.sender).channel("bank_b"))
        try:
            return [r async for r in stub.Deliver(iter(frames), timeout=10)]
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, "bank_b") from None


@asynccontextmanager
async def two_members(folder: Path) -> AsyncIterator[Post]:
    init_consortium(folder, parties=["bank_a", "bank_b", "bank_c"])
    receiver, sender, stranger = (Member(folder / n) for n in ("bank_b", "bank_a", "bank_c"))
    office = PostOffice(receiver.caller)
    server: grpc.aio.Server | None = None

    async def start() -> None:
        nonlocal server
        server = grpc.aio.server(options=credentials.message_options())
        office.serve(server)
        assert server.add_secure_port(
            receiver.config.listen, credentials.server_credentials(receiver.identity, receiver.roster)
        )
        await server.start()

    async def halt() -> None:
        assert server is not None
        await server.stop(0)

    await start()
    try:
        yield Post(office, sender, stranger, start, halt)
    finally:
        await halt()
        for m in (receiver, sender, stranger):
            await m.close()


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    async with two_members(tmp_path / "c") as made:
        yield made


async def refused(work) -> HejiError:
    with pytest.raises(HejiError) as raised:
        await work
    return raised.value


async def test_messages_of_all_sizes_arrive_in_order(post: Post):
    inbox, outbox = post.inbox(), post.outbox()
    sizes = [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES + 5]
    for i, size in enumerate(sizes):
        raw = bytes([i]) * size
        await outbox.say(outbox.letter(f"step/{i}", [raw]))
    for i, size in enumerate(sizes):
        assert await inbox.take("bank_a", f"step/{i}", 5) == (f"step/{i}", bytes([i]) * size)
    await outbox.flush()
    await outbox.close()


async def test_a_broken_connection_loses_and_doubles_nothing(post: Post):
    inbox, outbox = post.inbox(), post.outbox()

    async def listen() -> list[bytes]:
        return [(await inbox.take("bank_a", str(i), 20))[1] for i in range(40)]

    listening = asyncio.create_task(listen())
    for i in range(40):
        raw = i.to_bytes(2, "big") * 5000
        await outbox.say(outbox.letter(str(i), [raw]))
        if i % 13 == 7:
            await post.halt()
            await post.restart()
    await outbox.flush()
    assert [int.from_bytes(raw[:2], "big") for raw in await listening] == list(range(40))
    await outbox.close()


async def test_who_does_not_listen_holds_the_sender_back(post: Post):
    inbox, outbox = post.inbox(), post.outbox()

    async def talk() -> None:
        for i in range(100):
            await outbox.say(outbox.letter(str(i), [b"x"]))

    talking = asyncio.create_task(talk())
    await asyncio.sleep(0.5)
    assert outbox.sent <= 2 * WINDOW + 2
    assert inbox.expected("bank_a") <= WINDOW + 1
    for i in range(100):
        await inbox.take("bank_a", str(i), 5)
    await talking
    await outbox.close()


async def test_a_peer_that_stays_away_is_named(post: Post):
    outbox = post.outbox(patience=0.5)
    await post.halt()
    await outbox.say(outbox.letter("s", [b"x"]))
    error = await refused(outbox.flush())
    assert (error.code, error.facts["party"]) == ("peer.unavailable", "bank_b")
    await outbox.close()
    await post.restart()


async def test_the_same_message_again_is_receipted_and_dropped(post: Post):
    inbox = post.inbox()
    message = frames_of(b"hello", 2)
    first, again = await post.send(*message), await post.send(*message)
    assert [(r.seq, r.digest) for r in first] == [(r.seq, r.digest) for r in again] == [(0, sha256(b"hello").digest())]
    assert await inbox.take("bank_a", "s", 1) == ("s", b"hello")
    assert (await refused(inbox.take("bank_a", "s", 0.05))).code == "peer.timeout"


async def test_the_same_message_with_other_bytes_ends_the_attempt(post: Post):
    inbox = post.inbox()
    await post.send(*frames_of(b"hello", 9))
    error = await refused(post.send(*frames_of(b"jello", 9)))
    assert (error.code, error.facts["party"]) == ("job.replayed", "bank_a")
    assert (await refused(inbox.take("bank_a", "s", 1))).code == "job.replayed"


def changed(frame: peer_pb2.Frame, **fields) -> peer_pb2.Frame:
    made = peer_pb2.Frame()
    made.CopyFrom(frame)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


ONE, TWO = frames_of(b"abcdef", 3)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([changed(ONE, seq=1)], "protocol.order"),  # a gap
        ([TWO], "protocol.malformed"),  # starts in the middle
        ([ONE, changed(TWO, offset=4)], "protocol.malformed"),  # a hole
        ([ONE, changed(TWO, total=60)], "protocol.malformed"),  # another length
        ([ONE, changed(TWO, step="t")], "protocol.malformed"),  # another message
        ([ONE, changed(TWO, data=b"defg")], "protocol.malformed"),  # more than announced
        ([ONE, changed(TWO, data=b"")], "protocol.malformed"),  # nothing, for ever
        ([changed(ONE, total=1 << 40)], "protocol.size"),
        ([changed(ONE, total=(1 << 26) + 1)], "protocol.size"),
        ([changed(ONE, attempt=2)], "peer.aborted"),
        ([changed(ONE, job=bytes(32))], "peer.aborted"),
    ],
)
async def test_frames_that_do_not_fit(post: Post, frames: list[peer_pb2.Frame], code: str):
    inbox = post.inbox()
    error = await refused(post.send(*frames))
    assert error.code == code
    if code != "peer.aborted":
        assert (await refused(inbox.take("bank_a", "s", 1))).code == code, "the attempt is over"
        assert error.facts["party"] == "bank_a"
    post.inbox()
    assert len(await post.send(ONE, TWO)) == 1, "the next attempt is not harmed"


async def test_more_than_the_plan_has_is_refused_before_it_is_read(post: Post):
    post.inbox({"bank_a": 10})
    await post.send(*frames_of(b"1234567", 7))
    error = await refused(post.send(*frames_of(b"1234", 4, seq=1)))
    assert error.code == "protocol.size"


async def test_who_has_no_part_in_the_job_is_refused(post: Post):
    post.inbox()
    error = await refused(post.send(*frames_of(b"x", 1), as_=post.stranger))
    assert (error.code, error.facts["party"]) == ("protocol.order", "bank_c")


async def test_garbage_on_the_stream_harms_nobody(post: Post):
    inbox = post.inbox()
    call = post.sender.channel("bank_b").stream_stream(
        "/parties.rpc.v1.Peer/Deliver", request_serializer=None, response_deserializer=peer_pb2.Receipt.FromString
    )
    with pytest.raises(grpc.aio.AioRpcError):
        async for _ in call(iter([b"\xff\xff\xff\xff\x01garbage"]), timeout=5):
            pass
    await post.send(ONE, TWO)
    assert await inbox.take("bank_a", "s", 1) == ("s", b"abcdef")
