"""Messages to bytes and back: strict and size-limited. The only user of the generated ``mpc.wire``.

A decoder returns a valid message or raises; whatever does not encode to the very bytes received (unknown fields,
non-minimal integers, fields out of order, trailing bytes) is refused, so that a digest of bytes is a digest of meaning.
"""

from __future__ import annotations

import numpy as np
from google.protobuf.message import DecodeError

from mpc.errors import LocalError
from mpc.messages import Agreed, Announce, Message, Words
from mpc.wire.v1 import messages_pb2 as wire

#: no single message may be longer; the plan sets tighter limits per step
MAX_MESSAGE_BYTES = 4 * 1024 * 1024


def encode(message: Message) -> bytes:
    """Canonical bytes of a message."""
    match message:
        case Announce(public_key, signature):
            body = wire.Message(announce=wire.Announce(public_key=public_key, signature=signature))
        case Agreed(digest, signature):
            body = wire.Message(agreed=wire.Agreed(digest=digest, signature=signature))
        case Words(ring, words):
            # ascontiguousarray: a view of a column is laid out first; '<u8' is a no-op on little-endian machines
            data = np.ascontiguousarray(words, dtype="<u8").tobytes()
            body = wire.Message(words=wire.Words(ring=ring, words=data))
    return body.SerializeToString(deterministic=True)


def decode(raw: bytes, limit: int = MAX_MESSAGE_BYTES) -> Message:
    """The message these bytes stand for. Raises LocalError protocol.size or protocol.malformed.

    Words come back as read-only views of the received buffer.
    """
    if len(raw) > limit:
        raise LocalError("protocol.size", f"A message of {len(raw)} bytes where at most {limit} are allowed.")
    try:
        body = wire.Message.FromString(raw)
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
        case "words":
            return _words(body.words)
        case _:
            raise _malformed("an empty message")


def _words(body: wire.Words) -> Words:
    if body.ring not in (64, 128):
        raise _malformed(f"no ring of {body.ring} bits")
    size = body.ring // 8
    if len(body.words) % size:
        raise _malformed("a part of a word")
    flat = np.frombuffer(body.words, dtype="<u8").astype(np.uint64, copy=False)
    return Words(body.ring, flat if body.ring == 64 else flat.reshape(-1, 2))


def _length(field: bytes, expected: int) -> None:
    if len(field) != expected:
        raise _malformed(f"a field of {len(field)} bytes instead of {expected}")


def _malformed(what: str) -> LocalError:
    return LocalError("protocol.malformed", f"A message cannot be decoded: {what}.")
