"""Long columns in blocks of just under 1 MiB, one step each: ``…/block/17``.

Both ends know the length from the plan, so a column of no elements takes no message. What comes is checked for kind and
length at once, and PeerError names who sent something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mpc.errors import PeerError
from mpc.messages import Message, Positions, RingWords, Words
from mpc.ring import ring
from mpc.rounds import Round, Rounds, Session, expect

#: bytes of the elements of a block; with its header a message of just under 1 MiB, the frame that measured best
BLOCK_BYTES = 8 * 130_048
POSITION_BYTES = 4


def blocks(length: int, element_bytes: int) -> Iterator[tuple[str, slice]]:
    """Name and range of elements of each block."""
    size = BLOCK_BYTES // element_bytes
    for b, start in enumerate(range(0, length, size)):
        yield f"block/{b}", slice(start, min(start + size, length))


def say_words(session: Session, to: str | Sequence[str], bits: int, x: RingWords) -> Rounds[None]:
    """Say a column of ring words, (n,) or (n, 2), to one member or to several."""
    receivers = (to,) if isinstance(to, str) else to
    for name, part in blocks(len(x), bits // 8):
        yield Round(session.at(name).path, dict.fromkeys(receivers, Words(bits, x[part])))


def hear_words(session: Session, sender: str, bits: int, length: int) -> Rounds[RingWords]:
    """Hear a column of ``length`` ring words."""
    out = ring(bits).zeros(length)
    for name, part in blocks(length, bits // 8):
        step = session.at(name).path
        heard = yield Round(step, {}, frozenset({sender}))
        out[part] = words_of(heard[sender], bits, part.stop - part.start, sender, step)
    return out


def say_positions(session: Session, to: str, positions: NDArray[np.uint32]) -> Rounds[None]:
    """Say places in a column: (n,) uint32."""
    for name, part in blocks(len(positions), POSITION_BYTES):
        yield Round(session.at(name).path, {to: Positions(positions[part])})


def hear_positions(session: Session, sender: str, length: int, below: int) -> Rounds[NDArray[np.uint32]]:
    """Hear ``length`` places in a column of ``below`` elements."""
    out = np.zeros(length, dtype=np.uint32)
    for name, part in blocks(length, POSITION_BYTES):
        step = session.at(name).path
        heard = yield Round(step, {}, frozenset({sender}))
        said = expect(heard[sender], Positions, party=sender, step=step).positions
        verify_count(len(said), part.stop - part.start, "positions", sender, step)
        if len(said) and said.max() >= below:
            raise PeerError(
                "protocol.malformed", f"{sender} named a place behind the end at {step}.", party=sender, step=step
            )
        out[part] = said
    return out


def say_rows(session: Session, to: str, rows: NDArray[np.uint8]) -> Rounds[None]:
    """Say rows of one width, (n, width) uint8, a multiple of 8 bytes: points, ciphertexts. They travel as words."""
    words = np.ascontiguousarray(rows).view("<u8").astype(np.uint64, copy=False)
    for name, part in blocks(len(rows), rows.shape[1]):
        yield Round(session.at(name).path, {to: Words(64, words[part].reshape(-1))})


def hear_rows(session: Session, sender: str, length: int, width: int) -> Rounds[NDArray[np.uint8]]:
    """Hear ``length`` rows of ``width`` bytes."""
    out = np.zeros((length, width // 8), dtype="<u8")
    for name, part in blocks(length, width):
        step = session.at(name).path
        heard = yield Round(step, {}, frozenset({sender}))
        count = (part.stop - part.start) * (width // 8)
        out[part] = words_of(heard[sender], 64, count, sender, step).reshape(-1, width // 8)
    return out.view(np.uint8)


def words_of(message: Message, bits: int, count: int, sender: str, step: str) -> RingWords:
    """The words of one block; PeerError where they are not ``count`` words of ``bits`` bits."""
    said = expect(message, Words, party=sender, step=step)
    if said.ring != bits:
        raise PeerError(
            "protocol.malformed",
            f"{sender} sent words of {said.ring} bits at {step}, where the plan has {bits}.",
            party=sender,
            step=step,
        )
    verify_count(len(said.words), count, f"words of {bits} bits", sender, step)
    return said.words


def verify_count(said: int, due: int, what: str, sender: str, step: str) -> None:
    """PeerError protocol.size unless ``said`` is what the plan has."""
    if said != due:
        raise PeerError(
            "protocol.size",
            f"{sender} sent {said} {what} at {step}, where the plan has {due}.",
            party=sender,
            step=step,
        )
