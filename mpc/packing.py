"""Many whole numbers in one plaintext, so that adding plaintexts adds them all (P9, P10).

    plaintext = 1 | x_1 + B | x_2 + B | …         slots of w bytes, the first lowest
    sum of k  = k | Σx_1 + k·B | Σx_2 + k·B | …

Values lie in [−B, B]; shifted by B none is negative, so no slot borrows from the next. A slot holds n·2·B for the most
contributors n, so none carries into the next. The first slot counts the vectors that were added and takes the shift
out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc.errors import LocalError
from mpc.messages import RingWords
from mpc.ring import ring


@dataclass(frozen=True)
class Packing:
    """``length`` elements of Z_2^bits with absolute values up to ``bound``, sums of up to ``contributors`` vectors,
    in plaintexts below 2^room. Raises LocalError plan.overflow where a total would not fit its ring or a slot."""

    bits: int
    length: int
    bound: int
    contributors: int
    room: int

    def __post_init__(self) -> None:
        assert self.bits in (64, 128) and self.length > 0 and self.bound >= 0 and self.contributors > 0
        if self.contributors * self.bound >= 1 << (self.bits - 1) or self.slots < 2:
            raise LocalError(
                "plan.overflow",
                f"A total of {self.contributors} values of {self.bound.bit_length()} bits fits neither {self.bits} "
                f"bits nor a slot of a plaintext of {self.room}.",
                "Declare tighter bounds.",
            )

    @property
    def width(self) -> int:
        """Bytes of a slot: enough for n·2·B and for the count n; never more than an element's."""
        most = max(2 * self.bound * self.contributors, self.contributors)
        return (most.bit_length() + 7) // 8

    @property
    def slots(self) -> int:
        """Slots of a plaintext, the count's included."""
        return self.room // (8 * self.width)

    @property
    def plaintexts(self) -> int:
        """Plaintexts of the vector."""
        return -(-self.length // (self.slots - 1))

    def pack(self, x: RingWords) -> list[int]:
        """Plaintexts of one vector, ``x``: (length,) or (length, 2). Raises LocalError data.bounds beyond ±bound."""
        assert len(x) == self.length
        r = ring(self.bits)
        shifted = x.copy()
        r.add_into(shifted, r.from_ints([self.bound]).repeat(len(x), axis=0))
        if not _all_at_most(shifted, 2 * self.bound):
            raise LocalError(
                "data.bounds",
                "A value to deposit lies outside its declared bounds.",
                "Check the table against its declaration: heji node check.",
            )
        values = shifted.astype("<u8", copy=False).view(np.uint8).reshape(self.length, -1)
        body = np.zeros((self.plaintexts * (self.slots - 1), self.width), dtype=np.uint8)
        body[: self.length] = values[:, : self.width]
        table = np.zeros((self.plaintexts, self.slots, self.width), dtype=np.uint8)
        table[:, 1:] = body.reshape(self.plaintexts, self.slots - 1, self.width)
        table[:, 0, 0] = 1
        return [int.from_bytes(row.tobytes(), "little") for row in table]

    def unpack(self, plaintexts: Sequence[int], vectors: int) -> RingWords:
        """The sum of ``vectors`` packed vectors, (length,) or (length, 2).

        Raises ValueError where the plaintexts cannot be such a sum: another count, a slot beyond its bound, or
        something behind the last slot.
        """
        size = self.slots * self.width
        if len(plaintexts) != self.plaintexts or any(p >> (8 * size) for p in plaintexts):
            raise ValueError("not as many plaintexts, or longer ones")
        raw = b"".join(p.to_bytes(size, "little") for p in plaintexts)
        table = np.frombuffer(raw, dtype=np.uint8).reshape(-1, self.slots, self.width)
        count = np.frombuffer(vectors.to_bytes(self.width, "little"), dtype=np.uint8)
        body = table[:, 1:].reshape(-1, self.width)
        if not (table[:, 0] == count).all() or body[self.length :].any():
            raise ValueError("another number of vectors, or something behind the last value")
        r = ring(self.bits)
        padded = np.zeros((self.length, 8 * r.WIDTH), dtype=np.uint8)
        padded[:, : self.width] = body[: self.length]
        total = padded.view("<u8").astype(np.uint64).reshape(r.zeros(self.length).shape)
        if not _all_at_most(total, 2 * self.bound * vectors):
            raise ValueError("a slot beyond its bound")
        r.subtract_into(total, r.from_ints([self.bound * vectors]).repeat(self.length, axis=0))
        return total


def _all_at_most(x: RingWords, limit: int) -> bool:
    """Whether all elements, read as unsigned, are at most ``limit``."""
    if x.ndim == 1:
        return bool((x <= np.uint64(limit)).all())
    low, high = np.uint64(limit & (2**64 - 1)), np.uint64(limit >> 64)
    return bool(((x[:, 1] < high) | ((x[:, 1] == high) & (x[:, 0] <= low))).all())
