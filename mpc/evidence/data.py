"""What a party binds itself to before its first message: a Merkle root over blocks of its protocol input.

    columns of the input ──▶ blocks of about 1 MiB ──▶ leaf: salt ‖ [column, first row, end, content] ──▶ RFC 6962 root

Every block has 32 salt bytes of its own, from the party's coins of this attempt. So nobody can search for what is in it
(the input of a sum is one number), others do not see whether data changed between two jobs, and a party that opens one
block shows nothing of the next. ``differences`` says where two states of the data differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.codec import Raw
from mpc.coins import Coins
from mpc.crypto.labels import framed
from mpc.crypto.spread import Spread, one_core
from mpc.evidence.merkle import SIZE, Tree, leaf_hash

#: bytes of a column in one block, about
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a party's input: (rows,) or (rows, k) whole numbers, flags or bytes. The name comes from the plan."""

    name: str
    values: NDArray[Any]

    def __repr__(self) -> str:
        return f"Column({self.name!r}, {len(self.values)} rows)"


@dataclass(frozen=True, eq=False)
class Block:
    """Rows [first, end) of a column, row by row, little-endian."""

    column: str
    first: int
    end: int
    content: Raw

    def head(self) -> bytes:
        """Which block it is."""
        return framed(self.column.encode(), self.first.to_bytes(8, "big"), self.end.to_bytes(8, "big"))

    def leaf(self, salt: bytes) -> bytes:
        """Its hash in the tree: of the salt and the framed list of column, first, end and content."""
        return leaf_hash(salt, self.head(), len(self.content).to_bytes(8, "big"), self.content)

    def __repr__(self) -> str:
        return f"Block({self.column!r}, {self.first}, {self.end})"


@dataclass(frozen=True)
class Rows:
    """Rows [first, end) of a column."""

    column: str
    first: int
    end: int


def blocks(columns: Iterable[Column]) -> Iterator[Block]:
    """The columns cut into blocks, in order; a column without rows is one empty block. Contents are views."""
    for column in columns:
        values = np.ascontiguousarray(column.values)
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        rows, width = len(values), max(1, values.itemsize * (values.size // max(1, len(values))))
        step = max(1, BLOCK_BYTES // width)
        for first in range(0, max(1, rows), step):
            part = values[first : first + step]
            yield Block(column.name, first, first + len(part), part.data.cast("B") if part.size else b"")


def salts(coins: Coins, count: int) -> list[bytes]:
    """32 bytes for each block."""
    stream = coins.draw("data/salts", SIZE * count)
    return [stream[at : at + SIZE] for at in range(0, len(stream), SIZE)]


def root(parts: Sequence[Block], salted: Sequence[bytes], spread: Spread = one_core) -> bytes:
    """The commitment."""
    return Tree(spread(partial(_leaf), list(zip(parts, salted, strict=True)))).root()


def _leaf(pair: tuple[Block, bytes]) -> bytes:
    block, salt = pair
    return block.leaf(salt)


def differences(then: Iterable[Block], now: Iterable[Block]) -> list[Rows]:
    """Where the data is not what it was: in each block that differs, from the first to the last row that does."""
    found, left = [], {(b.column, b.first): b for b in now}
    for b in then:
        other = left.pop((b.column, b.first), None)
        if other is None:
            found.append(Rows(b.column, b.first, b.end))
        elif (b.end, len(b.content)) != (other.end, len(other.content)):
            found.append(Rows(b.column, b.first, max(b.end, other.end)))
        elif b.content != other.content:
            found.append(_narrowed(b, other))
    return found + [Rows(b.column, b.first, b.end) for b in left.values()]


def _narrowed(b: Block, other: Block) -> Rows:
    """The rows that differ in two blocks of one size."""
    mine, theirs = (np.frombuffer(x.content, dtype=np.uint8).reshape(b.end - b.first, -1) for x in (b, other))
    at = np.flatnonzero((mine != theirs).any(axis=1))
    return Rows(b.column, b.first + int(at[0]), b.first + int(at[-1]) + 1)
