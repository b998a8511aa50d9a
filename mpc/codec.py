"""Messages to bytes and back: strict and size-limited. The only user of the generated ``mpc.wire``.

A decoder returns a valid message or raises; whatever does not encode to the very bytes received (unknown fields,
non-minimal integers, fields out of order, trailing bytes) is refused, so that a digest of bytes is a digest of meaning.
"""

from __future__ import annotations

import numpy as np
from google.protobuf.message import DecodeError

from mpc.errors import LocalError
from mpc.messages import Agreed, Announce, Many, Message, Positions, Words
from mpc.wire.v1 import messages_pb2 as wire

#: no single message may be longer; the plan sets tighter limits per step
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


#: bytes as they came; a view of a larger buffer spares a copy
Raw = bytes | memoryview


def encode(message: Message) -> bytes:
    """Canonical bytes of a message."""
    return b"".join(encode_parts(message))


def encode_parts(message: Message) -> tuple[Raw, ...]:
    """The same bytes in pieces, words as a view: for who joins them with a frame's head, or hashes them, at once."""
    match message:
        case Announce(public_key, signature):
            body = wire.Message(announce=wire.Announce(public_key=public_key, signature=signature))
        case Agreed(digest, signature):
            body = wire.Message(agreed=wire.Agreed(digest=digest, signature=signature))
        case Positions(positions):
            body = wire.Message(positions=wire.Positions(positions=positions.astype("<u4", copy=False).tobytes()))
        case Many(said):
            body = wire.Message(many=wire.Many(said=[wire.Said(step=step, message=raw) for step, raw in said]))
        case Words(ring, words):
            # ascontiguousarray: a view of a column is laid out first; '<u8' is a no-op on little-endian machines
            data = np.ascontiguousarray(words, dtype="<u8")
            return _words_header(ring, data.nbytes), data.data.cast("B") if data.size else b""
    return (body.SerializeToString(deterministic=True),)


def decode(raw: Raw, limit: int = MAX_MESSAGE_BYTES) -> Message:
    """The message these bytes stand for. Raises LocalError protocol.size or protocol.malformed.

    Words come back as read-only views of the received buffer.
    """
    if len(raw) > limit:
        raise LocalError("protocol.size", f"A message of {len(raw)} bytes where at most {limit} are allowed.")
    if raw[:1] == _WORDS_TAG:
        return _words(raw)
    try:
        body = wire.Message.FromString(bytes(raw))
    except DecodeError as problem:
        raise _malformed("not a message of this version") from problem
    message = _read(body)
    if encode(message) != raw:
        raise _malformed("not in canonical form")
    return message


def _read(body: wire.Message) -> Message:
    match body.WhichOneof("body"):
        case "announce":
            _length(body.announce.public_key, 32)
            _length(body.announce.signature, 64)
            return Announce(body.announce.public_key, body.announce.signature)
        case "agreed":
            _length(body.agreed.digest, 32)
            _length(body.agreed.signature, 64)
            return Agreed(body.agreed.digest, body.agreed.signature)
        case "positions":
            if len(body.positions.positions) % 4:
                raise _malformed("a part of a position")
            return Positions(np.frombuffer(body.positions.positions, dtype="<u4").astype(np.uint32, copy=False))
        case "many":
            if not body.many.said or not all(s.step and s.message for s in body.many.said):
                raise _malformed("a part without a step or a message")
            return Many(tuple((s.step, s.message) for s in body.many.said))
        case _:
            raise _malformed("an empty message")


def _words(raw: Raw) -> Words:
    """A block of words: its header must be the very one that these words have; the words themselves are not copied."""
    for ring in (64, 128):
        length = len(raw) - _words_begin(raw, ring)
        header = _words_header(ring, length)
        if raw[: len(raw) - length] == header:
            if length % (ring // 8):
                raise _malformed("a part of a word")
            flat = np.frombuffer(raw, dtype="<u8", offset=len(header)).astype(np.uint64, copy=False)
            return Words(ring, flat if ring == 64 else flat.reshape(-1, 2))
    raise _malformed("not a block of words in canonical form")


#: the first byte of a Message that holds Words: field 3, length-delimited
_WORDS_TAG = b"\x1a"


def _words_header(ring: int, length: int) -> bytes:
    """What stands before the words in ``Message(words=Words(ring, words))``.

    Blocks of words are nearly all the bytes of a job, so they are framed without passing a megabyte through protobuf
    objects four times; a test compares the bytes with protobuf's own.
    """
    ring_field = b"\x08" + varint(ring)
    words_field = b"\x12" + varint(length) if length else b""
    return _WORDS_TAG + varint(len(ring_field) + len(words_field) + length) + ring_field + words_field


def _words_begin(raw: Raw, ring: int) -> int:
    """Where the words would begin in a message that is one block of this ring's: behind two tags, the two lengths (of
    the block, of its words) and the ring; without words the second tag and length are left out."""
    at = _behind_varint(raw, 1) + 1 + len(varint(ring))
    return _behind_varint(raw, at + 1) if at < len(raw) else len(raw)


def _behind_varint(raw: Raw, at: int) -> int:
    """Where the base-128 integer that begins there ends; it has ten bytes at most, as any of 64 bits."""
    last = min(at + 9, len(raw) - 1)
    while at < last and raw[at] > 127:
        at += 1
    return min(at + 1, len(raw))


def varint(value: int) -> bytes:
    """Protobuf's base-128 integer."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _length(field: bytes, expected: int) -> None:
    if len(field) != expected:
        raise _malformed(f"a field of {len(field)} bytes instead of {expected}")


def _malformed(what: str) -> LocalError:
    return LocalError("protocol.malformed", f"A message cannot be decoded: {what}.")
