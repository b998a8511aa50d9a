"""A *population*: the entities behind a number, each with what it contributes, as keyed fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mpc.permutation import stable_argsort

Words = NDArray[np.uint64]

#: how many of its smallest contributions a population is found by
MARKS = 63
#: a table's column, in small letters; "*" is the presence of rows
Released = tuple[str, str]
#: whom a population holds: exactly those behind a number ("rows"); of a join whom its owner's own conditions choose
#: ("chosen"; "part": of whom others decide who counts, and nobody knows how many do), or those of them that met
#: ("met"), behind the number but for others' conditions
Over = Literal["rows", "chosen", "part", "met"]
#: the number that all cells together have among the cells of a table
ALL = -1


class Population:
    """``entities`` (n,) in ascending order, each once; ``contributions`` (n,), beside them. ``plain``: each contributes
    one row whose value is not looked at, so that its contribution follows from its entity."""

    #: populations without an entity in common that this one is made of; (): it is none of several
    parts: tuple[Population, ...] = ()

    def __init__(self, entities: Words, contributions: Words, *, plain: bool = False) -> None:
        self.entities, self.contributions, self.plain = entities, contributions, plain

    def __len__(self) -> int:
        return len(self.entities)

    @cached_property
    def digest(self) -> bytes:
        """How many entities, and the sums of both columns modulo 2^64. Contributions are pseudorandom, so two that
        differ have one digest with a chance of 2^-64; of 10^5 populations some two, with one below 10^-9. Sums need no
        order, and those of parts add up."""
        return _digest(len(self), [int(self.entities.sum()), int(self.contributions.sum())])

    @cached_property
    def marks(self) -> frozenset[int]:
        """The smallest contributions."""
        return _smallest(self.contributions)


class Apart(Population):
    """Several populations without an entity in common, put together where it must be looked at."""

    def __init__(self, parts: Sequence[Population]) -> None:
        self.parts = tuple(parts)
        self.plain = False

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @cached_property
    def digest(self) -> bytes:
        return _digest(len(self), [sum(column) for column in zip(*(_sums(p.digest) for p in self.parts), strict=True)])

    @cached_property
    def marks(self) -> frozenset[int]:
        return _smallest(np.array(sorted(m for p in self.parts for m in p.marks), dtype=np.uint64))

    @cached_property
    def _columns(self) -> tuple[Words, Words]:
        entities = np.concatenate([p.entities for p in self.parts])
        order = stable_argsort(entities)
        return entities[order], np.concatenate([p.contributions for p in self.parts])[order]

    @property
    def entities(self) -> Words:  # type: ignore[override]
        return self._columns[0]

    @property
    def contributions(self) -> Words:  # type: ignore[override]
        return self._columns[1]


def _digest(size: int, sums: Sequence[int]) -> bytes:
    return np.array([size, *(s % 2**64 for s in sums)], dtype="<u8").tobytes()


def _sums(digest: bytes) -> list[int]:
    found: list[int] = np.frombuffer(digest, dtype="<u8")[1:].tolist()
    return found


def _smallest(contributions: Words) -> frozenset[int]:
    if len(contributions) > MARKS:
        contributions = np.partition(contributions, MARKS - 1)[:MARKS]
    return frozenset(contributions.tolist())
