"""Differencing: no two released populations of an owner may differ by fewer than min_entities of its entities.

A *population* are the entities behind a number, each with what it contributes. Two differ in an entity that is in one
of them only, or contributes otherwise (another row, another value). Where the populations of two numbers differ by at
least one and fewer than ``least`` entities, the difference of the numbers shows these few; so the owner spoils the
later one (mpc.policy.disclosure), within one job as between jobs:

    1  each cell of each measure, against all that was released before and earlier in this job; a cell too close to one
       of them is spoiled
    2  then the union of the measure's cells that are still shown, since a total beside a table gives a single hidden
       cell back; while it is too close to one, the smallest cell that is shown is spoiled too (complementary
       suppression)

Entities and contributions are keyed 64-bit fingerprints: pseudorandom to whoever has no key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

#: how many of its smallest contributions a population is found by
MARKS = 63
#: a table's column, in small letters; "*" is the presence of rows
Released = tuple[str, str]


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """``entities`` (n,) in ascending order, each once; ``contributions`` (n,), beside them."""

    entities: Words
    contributions: Words

    @cached_property
    def digest(self) -> bytes:
        return hashlib.sha256(self.to_bytes()).digest()

    def to_bytes(self) -> bytes:
        """16 bytes an entity: all entities, then all contributions, little-endian."""
        return self.entities.astype("<u8").tobytes() + self.contributions.astype("<u8").tobytes()

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


def differing(a: Population, b: Population) -> int:
    """In how many entities two populations differ."""
    _, i, j = np.intersect1d(a.entities, b.entities, assume_unique=True, return_indices=True)
    changed = np.count_nonzero(a.contributions[i] != b.contributions[j])
    return len(a.entities) + len(b.entities) - 2 * len(i) + int(changed)


@dataclass(eq=False, repr=False)
class Known:
    """The populations released of one column, found by their marks.

    Two that differ by fewer than ``d`` entities differ in at most 2(d-1) contributions. Of the 2d-1 smallest
    contributions of both together at least one is therefore in both, and among the 2d-1 smallest of each; unless there
    are fewer of both together, of which none is in both: then each of either differs. So for 2d-1 <= MARKS a population
    of at least d is never too close to one without a mark in common. Otherwise all are looked at.
    """

    _populations: list[tuple[Callable[[], Population], int]] = field(default_factory=list)
    _by_mark: dict[int, list[int]] = field(default_factory=dict)
    _strictest: int = 0

    def add(self, marks: Iterable[int], load: Callable[[], Population], least: int) -> None:
        """``load`` gives the population whose ``marks`` they are; ``least``: min_entities when it was released."""
        self._strictest = max(self._strictest, least)
        for mark in marks:
            self._by_mark.setdefault(mark, []).append(len(self._populations))
        self._populations.append((load, least))

    def too_close(self, population: Population, least: int) -> bool:
        """Whether one of them differs by at least one entity, and by fewer than the larger of both min_entities."""
        near: Iterable[int] = range(len(self._populations))
        most = max(least, self._strictest)
        if 2 * most - 1 <= MARKS and len(population.entities) >= most:
            near = sorted({i for mark in population.marks for i in self._by_mark.get(mark, ())})
        found = (self._populations[i] for i in near)
        return any(0 < differing(population, load()) < max(least, theirs) for load, theirs in found)


@dataclass(frozen=True, eq=False, repr=False)
class Entities:
    """Who is behind one measure, as far as one column goes: one element for each cell and entity, sorted by both.

    ``entities``: keyed fingerprints; ``sums`` (n,): digests of the rows, added up modulo 2^64; ``seal`` turns both into
    contributions.
    """

    column: Released
    cells: NDArray[np.int64]
    entities: Words
    sums: Words
    seal: Callable[[Words, Words], Words]

    def cell(self, cell: int) -> Population:
        start, end = np.searchsorted(self.cells, [cell, cell + 1])
        return self._population(self.entities[start:end], self.sums[start:end])

    def union(self, shown: Flags) -> Population:
        """Of the cells that are ``shown``: an entity in several of them has the rows of all."""
        at = shown[self.cells]
        entities, which = np.unique(self.entities[at], return_inverse=True)
        sums = np.zeros(len(entities), dtype=np.uint64)
        np.add.at(sums, which, self.sums[at])
        return self._population(entities, sums)

    def _population(self, entities: Words, sums: Words) -> Population:
        return Population(entities, self.seal(entities, sums))


def spoil(
    measures: Sequence[tuple[Sequence[Entities], Flags]], known: dict[Released, Known], least: int
) -> tuple[list[Flags], list[tuple[Released, Population]]]:
    """Which cells of each measure are spoiled besides, (cells,), and the populations that are released.

    ``measures``: who is behind each, and its cells that are hidden already, (cells,). ``known``: what was released
    before, by column; what this job releases is added to it.
    """
    spoiled, released = [], []
    for behind, hidden in measures:
        shown = ~hidden
        said: dict[int, list[tuple[Released, Population]]] = {}
        for cell in np.unique(np.concatenate([b.cells for b in behind])).tolist() if behind else ():
            if shown[cell]:
                found = [(b.column, p) for b in behind if len((p := b.cell(cell)).entities)]
                if _too_close(found, known, least):
                    shown[cell] = False
                else:
                    _remember(found, known, least)
                    said[cell] = found
        while said:
            unions = [(b.column, p) for b in behind if len((p := b.union(shown)).entities)]
            if not _too_close(unions, known, least):
                _remember(unions, known, least)
                released += [*(p for found in said.values() for p in found), *unions]
                break
            smallest = min(said, key=lambda cell: max(len(p.entities) for _, p in said[cell]))
            shown[smallest] = False
            del said[smallest]
        spoiled.append(~shown & ~hidden)
    return spoiled, released


def _too_close(found: Iterable[tuple[Released, Population]], known: Mapping[Released, Known], least: int) -> bool:
    return any(column in known and known[column].too_close(p, least) for column, p in found)


def _remember(found: Iterable[tuple[Released, Population]], known: dict[Released, Known], least: int) -> None:
    for column, p in found:
        known.setdefault(column, Known()).add(p.marks, partial(_itself, p), least)


def _itself(p: Population) -> Population:
    return p
