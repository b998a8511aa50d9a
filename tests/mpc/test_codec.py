"""The codec accepts exactly what it writes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpc.codec import decode, encode
from mpc.errors import LocalError
from mpc.messages import Agreed, Announce, Many, Positions, Words
from mpc.wire.v1 import messages_pb2 as wire

words64 = st.lists(st.integers(0, 2**64 - 1)).map(lambda v: Words(64, np.array(v, np.uint64)))
words128 = st.lists(st.integers(0, 2**64 - 1)).map(lambda v: Words(128, np.array(v + v, np.uint64).reshape(-1, 2)))
short, long = st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64)
positions = st.lists(st.integers(0, 2**32 - 1)).map(lambda v: Positions(np.array(v, np.uint32)))
said = st.tuples(st.text(min_size=1, max_size=9), st.binary(min_size=1, max_size=40))
many = st.lists(said, min_size=1, max_size=4).map(lambda v: Many(tuple(v)))
messages = st.one_of(
    words64, words128, positions, many, st.builds(Announce, short, long), st.builds(Agreed, short, long)
)


@given(messages)
def test_round_trip(message):
    back = decode(encode(message))
    assert encode(back) == encode(message)
    assert type(back) is type(message)


@given(messages, st.data())
def test_only_canonical_bytes_are_accepted(message, data):
    raw = encode(message)
    at = data.draw(st.integers(0, len(raw)))
    changed = data.draw(st.sampled_from([raw[:at] + b"\x00" + raw[at:], raw[:at] + raw[at + 1 :], raw + b"\x50\x01"]))
    try:
        assert encode(decode(changed)) == changed
    except LocalError as error:
        assert error.code == "protocol.malformed"


@given(st.binary(max_size=300))
@example(b"")
@example(bytes.fromhex("1a0408401200"))  # words with an explicitly written empty field
@example(bytes.fromhex("2a00"))  # many of nothing
@example(bytes.fromhex("2a050a03120161"))  # a part without a step
@example(bytes.fromhex("1a0308c000"))  # a ring written with one byte too many
def test_garbage_never_passes_and_never_breaks(raw):
    try:
        assert encode(decode(raw)) == raw
    except LocalError as error:
        assert error.code == "protocol.malformed"


@given(st.one_of(words64, words128))
def test_words_are_framed_as_protobuf_frames_them(message):
    body = wire.Words(ring=message.ring, words=message.words.astype("<u8").tobytes())
    assert encode(message) == wire.Message(words=body).SerializeToString(deterministic=True)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 2047, 2048, 130_048])
def test_words_of_every_header_length(count):
    message = Words(64, np.arange(count, dtype=np.uint64))
    body = wire.Words(ring=64, words=message.words.tobytes())
    assert encode(message) == wire.Message(words=body).SerializeToString(deterministic=True)
    assert np.array_equal(decode(encode(message)).words, message.words)


def test_limits():
    with pytest.raises(LocalError) as raised:
        decode(encode(Words(64, np.zeros(100, np.uint64))), limit=200)
    assert raised.value.code == "protocol.size"
