"""Differencing: no two released populations of an owner may differ by fewer than min_entities of its entities.

A *population* are the entities behind a number, each with what it contributes. Two differ in an entity that is in one
of them only, or contributes otherwise (another row, another value). Where the populations of two numbers differ by at
least one and fewer than ``least`` entities, the difference of the numbers shows these few; so the owner spoils the
later one (mpc.policy.disclosure), within one job as between jobs:

    1  each cell of each measure, against all that was released before and earlier in this job; a cell too close to one
       of them is spoiled
    2  then every line of the table (mpc.policy.margins): the union of those of its cells that are still shown, and all
       of them together, since a margin or a total beside a table gives a single hidden cell back; while one is too
       close, the smallest cell that is shown in it is spoiled too (complementary suppression)

Of a join whose owner does not know what met, those are compared whom its own conditions choose; of one whose owner
knows, those that met as well. Of these two neither tells anything about the other, so they are compared with what they
are alike and with totals of rows, and these with all.

Entities and contributions are keyed 64-bit fingerprints: pseudorandom to whoever has no key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mpc.permutation import stable_argsort
from mpc.policy.carried import Carried
from mpc.policy.margins import Line, Lines
from mpc.policy.numbers import Counted, Numbers, Word
from mpc.policy.populations import MARKS, Apart, Over, Population, Released, Words
from mpc.policy.rest import Rest

Flags = NDArray[np.bool_]

#: what each kind of population is compared with
COMPARED: Mapping[Over, tuple[Over, ...]] = {
    "rows": ("rows", "chosen", "met"),
    "chosen": ("rows", "chosen"),
    "met": ("rows", "met"),
}
#: what is known of a column, for a population of a kind to be compared with
Earlier = dict[tuple[Released, Over], "Known"]


def differing(a: Population, b: Population) -> int:
    """In how many entities two populations differ."""
    _, i, j = np.intersect1d(a.entities, b.entities, assume_unique=True, return_indices=True)
    changed = np.count_nonzero(a.contributions[i] != b.contributions[j])
    return len(a.entities) + len(b.entities) - 2 * len(i) + int(changed)


@dataclass(frozen=True, eq=False, repr=False)
class _Earlier:
    """A population that was released, loaded where it must be looked at."""

    load: Callable[[], Population]
    least: int
    size: int
    digest: bytes

    def close_to(self, population: Population, least: int) -> bool:
        """Whether they differ by at least one entity, and by fewer than the larger of both min_entities."""
        most = max(least, self.least)
        if abs(self.size - len(population)) >= most or self.digest == population.digest:
            return False
        return 0 < differing(population, self.load()) < most


@dataclass(eq=False, repr=False)
class Known:
    """The populations released of one column, found by their marks.

    Two that differ by fewer than ``d`` entities differ in at most 2(d-1) contributions. Of the 2d-1 smallest
    contributions of both together at least one is therefore in both, and among the 2d-1 smallest of each; unless there
    are fewer of both together, of which none is in both: then each of either differs. So for 2d-1 <= MARKS a population
    of at least d is never too close to one without a mark in common. Otherwise all are looked at.
    """

    _populations: list[_Earlier] = field(default_factory=list)
    _by_mark: dict[int, list[int]] = field(default_factory=dict)
    _strictest: int = 0

    def add(self, marks: Iterable[int], load: Callable[[], Population], least: int, size: int, digest: bytes) -> None:
        """``load`` gives the population of ``size`` entities whose ``marks`` and ``digest`` they are; ``least``:
        min_entities when it was released."""
        self._strictest = max(self._strictest, least)
        for mark in marks:
            self._by_mark.setdefault(mark, []).append(len(self._populations))
        self._populations.append(_Earlier(load, least, size, digest))

    def too_close(self, population: Population, least: int) -> bool:
        """Whether one of them differs by at least one entity, and by fewer than the larger of both min_entities."""
        near: Iterable[int] = range(len(self._populations))
        most = max(least, self._strictest)
        if 2 * most - 1 <= MARKS and len(population) >= most:
            near = sorted({i for mark in population.marks for i in self._by_mark.get(mark, ())})
        return any(self._populations[i].close_to(population, least) for i in near)


@dataclass(frozen=True, eq=False, repr=False)
class Entities:
    """Who is behind one measure, as far as one column goes: one element for each cell and entity, sorted by both.

    ``entities``: keyed fingerprints; ``sums`` (n,): digests of the rows, added up modulo 2^64; ``seal`` turns both into
    contributions. ``apart``: no entity is in several cells. Several measures have the same entities behind them, so
    what was found for one is kept for the next.
    """

    column: Released
    cells: NDArray[np.int64]
    entities: Words
    sums: Words
    seal: Callable[[Words, Words], Words]
    apart: bool = False
    _by_cell: dict[int, Population] = field(default_factory=dict)
    _by_line: dict[Line, tuple[tuple[int, ...], Population]] = field(default_factory=dict)

    @cached_property
    def _contributions(self) -> Words:
        return self.seal(self.entities, self.sums)

    @cached_property
    def present(self) -> NDArray[np.int64]:
        """The cells in which there are entities, ascending."""
        return self.cells[np.flatnonzero(np.diff(self.cells, prepend=-1))]

    def count(self, cells: Sequence[int]) -> int:
        """How many entities are in these cells, each once."""
        found = [self.cell(cell).entities for cell in cells]
        return sum(map(len, found)) if self.apart or len(found) < 2 else len(np.unique(np.concatenate(found)))

    def cell(self, cell: int) -> Population:
        if cell not in self._by_cell:
            start, end = np.searchsorted(self.cells, [cell, cell + 1])
            plain = bool((self.sums[start:end] == 1).all())
            self._by_cell[cell] = Population(self.entities[start:end], self._contributions[start:end], plain=plain)
        return self._by_cell[cell]

    def union(self, line: Line, cells: tuple[int, ...]) -> Population:
        """Of these ``cells`` of a line, ascending: an entity in several of them has the rows of all."""
        if self._by_line.get(line, ((), None))[0] != cells:
            self._by_line[line] = cells, self._apart(cells) if self.apart else self._union(cells)
        return self._by_line[line][1]

    def _apart(self, cells: tuple[int, ...]) -> Population:
        parts = [p for p in map(self.cell, cells) if len(p)]
        return parts[0] if len(parts) == 1 else Apart(parts)

    def _union(self, cells: tuple[int, ...]) -> Population:
        starts, ends = (np.searchsorted(self.cells, cells, side) for side in ("left", "right"))
        at = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)])
        at = at[stable_argsort(self.entities[at])]
        entities = self.entities[at]
        starts = np.flatnonzero(np.concatenate(([True], entities[1:] != entities[:-1]))) if len(at) else at
        if len(starts) == len(at):
            return Population(entities, self._contributions[at])
        entities, sums = entities[starts], np.add.reduceat(self.sums[at], starts)
        return Population(entities, self.seal(entities, sums))


@dataclass(frozen=True, eq=False, repr=False)
class Measured:
    """A measure of this job: who is ``behind`` it, column by column, its cells that are ``hidden`` already, (cells,),
    the ``words`` it lets out, of the table's ``shape`` how many values each key has, whom its populations hold, and
    what each of its entities carries where that is limited."""

    behind: Sequence[Entities]
    hidden: Flags
    words: Sequence[Word] = ()
    shape: tuple[int, ...] = ()
    over: Over = "rows"
    carried: Carried | None = None


@dataclass(frozen=True, eq=False, repr=False)
class LetOut:
    """What a job lets out: populations, and numbers over them."""

    populations: list[tuple[Released, Over, Population]] = field(default_factory=list)
    numbers: list[Counted] = field(default_factory=list)


def spoil(measures: Sequence[Measured], known: Earlier, numbers: Numbers, least: int) -> tuple[list[Flags], LetOut]:
    """Which cells of each measure are spoiled besides, (cells,), and what is let out.

    ``known``, ``numbers``: what was let out before; what this job lets out is added to both.
    """
    out = LetOut()
    return [_spoiled(m, known, numbers, least, out) for m in measures], out


def _spoiled(m: Measured, known: Earlier, numbers: Numbers, least: int, out: LetOut) -> Flags:
    """Which cells of a measure are spoiled besides, (cells,)."""
    shown, present = ~m.hidden, np.unique(np.concatenate([np.zeros(0, np.int64), *(b.present for b in m.behind)]))
    said: dict[int, list[tuple[Released, Population]]] = {}
    counted: dict[int, list[Counted]] = {}
    for cell in present[shown[present]].tolist():
        found = [(b.column, b.cell(cell)) for b in m.behind]
        there, over = _there(found), numbers.of(m.words, found, [cell])
        if _too_close(there, m.over, known, least) or numbers.too_many(over):
            shown[cell] = False
        else:
            _remember(there, m.over, known, least)
            numbers.add(over)
            said[cell], counted[cell] = there, over
    lines = Lines(m.shape, said, present[~shown[present]].tolist())
    rest = Rest(m.shape, m.behind, m.carried, least)
    unions: dict[Line, list[tuple[Released, Population]]] = {}
    sums: dict[Line, list[Counted]] = {}

    def hide(cell: int) -> None:
        shown[cell] = False
        del said[cell], counted[cell]
        lines.hide(cell)

    while True:
        while (line := lines.next()) is not None:
            cells, close = lines.cells(line), rest.one_carries(lines.hidden(line), lines.cells(line))
            if not close and lines.adds_up(line):
                found = [(b.column, b.union(line, cells)) for b in m.behind]
                unions[line], sums[line] = _there(found), numbers.of(m.words, found, cells)
                close = _too_close(unions[line], m.over, known, least) or numbers.too_many(sums[line])
            if close:
                hide(min(cells, key=lambda cell: max(len(p) for _, p in said[cell])))
        more = rest.closing(lines, ~shown)
        if not more:
            break
        for cell in more:
            hide(cell)
    for line in lines.found:
        _remember(unions[line], m.over, known, least)
        numbers.add(sums[line])
    for of_one in (*said.values(), *(unions[line] for line in lines.found)):
        out.populations.extend((column, m.over, p) for column, p in of_one)
    for of_many in (*counted.values(), *(sums[line] for line in lines.found)):
        out.numbers.extend(of_many)
    return ~shown & ~m.hidden


def _there(found: Iterable[tuple[Released, Population]]) -> list[tuple[Released, Population]]:
    """Those that are not empty."""
    return [(column, p) for column, p in found if len(p)]


def _too_close(found: Sequence[tuple[Released, Population]], over: Over, known: Earlier, least: int) -> bool:
    """Whether one of them is too close to what was let out before, or to another of them."""
    return any((c, over) in known and known[c, over].too_close(p, least) for c, p in found) or any(
        column == other and _earlier(q, least).close_to(p, least) for (column, p), (other, q) in combinations(found, 2)
    )


def _earlier(p: Population, least: int) -> _Earlier:
    return _Earlier(partial(_itself, p), least, len(p), p.digest)


def _remember(found: Iterable[tuple[Released, Population]], over: Over, known: Earlier, least: int) -> None:
    for column, p in found:
        for other in COMPARED[over]:
            there = known.setdefault((column, other), Known())
            there.add(p.marks, partial(_itself, p), least, len(p), p.digest)


def _itself(p: Population) -> Population:
    return p
