"""A *population*: the entities behind a number, each with what it contributes, as keyed fingerprints."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

#: how many of its smallest contributions a population is found by
MARKS = 63
#: a table's column, in small letters; "*" is the presence of rows
Released = tuple[str, str]
#: whom a population holds: exactly those behind a number ("rows"); of a join whom its owner's own conditions choose
#: ("chosen"), or those of them that met ("met"), behind the number but for others' conditions
Over = Literal["rows", "chosen", "met"]


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """``entities`` (n,) in ascending order, each once; ``contributions`` (n,), beside them."""

    entities: Words
    contributions: Words

    @cached_property
    def digest(self) -> bytes:
        hashed = hashlib.sha256(self.entities.astype("<u8", copy=False).tobytes())
        hashed.update(self.contributions.astype("<u8", copy=False).tobytes())
        return hashed.digest()

    def to_bytes(self) -> bytes:
        """16 bytes an entity: all entities, then all contributions, little-endian."""
        return b"".join(w.astype("<u8", copy=False).tobytes() for w in (self.entities, self.contributions))

    @staticmethod
    def from_bytes(raw: bytes) -> Population:
        words = np.frombuffer(raw, dtype="<u8").astype(np.uint64)
        return Population(words[: len(words) // 2], words[len(words) // 2 :])

    @cached_property
    def marks(self) -> frozenset[int]:
        """The smallest contributions."""
        smallest = self.contributions
        if len(smallest) > MARKS:
            smallest = np.partition(smallest, MARKS - 1)[:MARKS]
        return frozenset(smallest.tolist())
