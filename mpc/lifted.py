"""Ring words in one plaintext, so that adding plaintexts adds them modulo 2^64 or 2^128 and shows nothing else (P10).

    plaintext = 1 | x_1 + 2^b·r_1 | x_2 + 2^b·r_2 | …         slots of w bytes, the first lowest
    sum of k  = k | Σx_1 + 2^b·Σr_1 | …                       Σx mod 2^b is the total of the ring

Slots of a plaintext do not wrap as ring words do: from k words below 2^b the sum carries up to k − 1 over bit b, which
says something about the words (how many were negative, or noise). So every word is *lifted* by a random r of 56 bits:
above bit b stands then Σr plus the carry, and whether the carry is one more or less changes the distribution of that by
2^-56. The low b bits are the ring's total, and where one vector has a uniform word there, they are uniform, as in a
masked sum: cells are spoiled in the same way (mpc/policy/disclosure.py). The first slot counts the vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.messages import RingWords
from mpc.ring import ring

#: bytes of a blind r, and above it of room for the sum of all of them
BLIND, ROOM = 7, 1
#: vectors whose blinds still fit their room, each with a carry
MOST_VECTORS = 255


@dataclass(frozen=True)
class LiftedPacking:
    """``length`` elements of Z_2^bits of each of up to MOST_VECTORS vectors, in plaintexts below 2^room."""

    bits: int
    length: int
    room: int

    def __post_init__(self) -> None:
        assert self.bits in (64, 128) and self.length > 0 and self.slots > 1

    @property
    def width(self) -> int:
        """Bytes of a slot: 16 of 64-bit words, 24 of 128-bit words."""
        return self.bits // 8 + BLIND + ROOM

    @property
    def slots(self) -> int:
        """Slots of a plaintext, the count's included."""
        return self.room // (8 * self.width)

    @property
    def plaintexts(self) -> int:
        """Plaintexts of the vector."""
        return -(-self.length // (self.slots - 1))

    @property
    def blind_bytes(self) -> int:
        """Random bytes that ``pack`` takes."""
        return BLIND * self.length

    def pack(self, x: RingWords, blinds: bytes) -> list[int]:
        """Plaintexts of one vector. ``x``: (length,) or (length, 2); ``blinds``: uniform bytes, of no other use."""
        assert len(x) == self.length and len(blinds) == self.blind_bytes
        body = np.zeros((self.plaintexts * (self.slots - 1), self.width), dtype=np.uint8)
        low = self.bits // 8
        body[: self.length, :low] = x.astype("<u8", copy=False).view(np.uint8).reshape(self.length, low)
        body[: self.length, low : low + BLIND] = np.frombuffer(blinds, np.uint8).reshape(self.length, BLIND)
        table = np.zeros((self.plaintexts, self.slots, self.width), dtype=np.uint8)
        table[:, 1:] = body.reshape(self.plaintexts, self.slots - 1, self.width)
        table[:, 0, 0] = 1
        return [int.from_bytes(row.tobytes(), "little") for row in table]

    def unpack(self, plaintexts: Sequence[int], vectors: int) -> RingWords:
        """The sum of ``vectors`` packed vectors, (length,) or (length, 2).

        Raises ValueError where the plaintexts cannot be such a sum: another count, more above a word than so many
        blinds can be, or something behind the last word.
        """
        size = self.slots * self.width
        if len(plaintexts) != self.plaintexts or any(p >> (8 * size) for p in plaintexts):
            raise ValueError("not as many plaintexts, or longer ones")
        raw = b"".join(p.to_bytes(size, "little") for p in plaintexts)
        table = np.frombuffer(raw, dtype=np.uint8).reshape(-1, self.slots, self.width)
        count = np.frombuffer(vectors.to_bytes(self.width, "little"), dtype=np.uint8)
        body = table[:, 1:].reshape(-1, self.width)
        if not (table[:, 0] == count).all() or body[self.length :].any():
            raise ValueError("another number of vectors, or something behind the last word")
        low = self.bits // 8
        above: NDArray[np.uint64] = np.ascontiguousarray(body[: self.length, low:]).view("<u8")[:, 0]
        if (above > np.uint64(vectors * (1 << (8 * BLIND)) - 1)).any():
            raise ValueError("more above a word than the blinds of so many vectors")
        words = np.ascontiguousarray(body[: self.length, :low]).view("<u8").astype(np.uint64)
        return words.reshape(ring(self.bits).zeros(self.length).shape)


#: bits of a blind where each word has a plaintext of its own (BFV), and the vectors whose blinds then fit
WORD_BLIND, MOST_WORDS = 40, 63


@dataclass(frozen=True)
class LiftedWords:
    """The same with one word a plaintext, modulo a number M > MOST_WORDS · 2^(bits + WORD_BLIND).

    ``length`` elements of Z_2^bits, in blocks of ``block`` plaintexts of which the first counts the vectors.
    """

    bits: int
    length: int
    block: int

    @property
    def blocks(self) -> int:
        return -(-self.length // (self.block - 1))

    @property
    def plaintexts(self) -> int:
        return self.length + self.blocks

    @property
    def blind_bytes(self) -> int:
        """Random bytes that ``lift`` takes."""
        return WORD_BLIND // 8 * self.length

    def lift(self, x: RingWords, blinds: bytes) -> RingWords:
        """(plaintexts, bits / 64 + 1): whole numbers in words of 64 bits, the lowest first. ``x``: (length,) or
        (length, 2); ``blinds``: uniform bytes, of no other use."""
        assert len(x) == self.length and len(blinds) == self.blind_bytes
        low = self.bits // 64
        lifted = np.zeros((self.length, low + 1), dtype=np.uint64)
        lifted[:, :low] = x.reshape(self.length, low)
        lifted[:, low] = self.blinds(blinds)
        made = np.zeros((self.plaintexts, low + 1), dtype=np.uint64)
        made[:: self.block, 0] = 1
        made[self._words()] = lifted
        return made

    def blinds(self, raw: bytes) -> RingWords:
        """r of every word, (length,), from the bytes that ``lift`` takes."""
        above = np.zeros((self.length, 8), dtype=np.uint8)
        above[:, : WORD_BLIND // 8] = np.frombuffer(raw, np.uint8).reshape(self.length, WORD_BLIND // 8)
        return above.view("<u8")[:, 0].astype(np.uint64)

    def whole(self, plaintexts: NDArray[np.object_], vectors: int) -> NDArray[np.object_]:
        """The sum of ``vectors`` lifted vectors, (length,) whole numbers: modulo 2^bits they are the total.
        ``plaintexts``: (plaintexts,) of whole numbers. Raises ValueError where they cannot be such a sum: another count
        in some block, less than nothing, or more above a word than so many blinds can be."""
        if len(plaintexts) != self.plaintexts or (plaintexts[:: self.block] != vectors).any():
            raise ValueError("another number of plaintexts or of vectors")
        whole: NDArray[np.object_] = plaintexts[self._words()]
        if ((whole < 0) | (whole >= vectors << (self.bits + WORD_BLIND))).any():
            raise ValueError("more above a word than the blinds of so many vectors")
        return whole

    def _words(self) -> NDArray[np.bool_]:
        """Which plaintexts hold words."""
        words: NDArray[np.bool_] = np.arange(self.plaintexts) % self.block != 0
        return words
