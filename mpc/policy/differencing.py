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

Where nobody knows who met (``part``), whoever was behind the join may be any few less than were chosen. So a total of
rows that comes later and is of the very same, or nearly, is spoiled too; unless it was let out before the join, which
then was compared with it on shares (mpc/query/plain.py).

Entities and contributions are keyed 64-bit fingerprints: pseudorandom to whoever has no key.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mpc.permutation import stable_argsort
from mpc.policy.carried import Carried
from mpc.policy.margins import ALL_CELLS, Line, Lines
from mpc.policy.numbers import Counted, Numbers, Word
from mpc.policy.populations import ALL, MARKS, Apart, Over, Population, Released, Words
from mpc.policy.rest import Rest

Flags = NDArray[np.bool_]

#: what each kind of population is compared with
COMPARED: Mapping[Over, tuple[Over, ...]] = {
    "rows": ("rows", "chosen", "part", "met"),
    "chosen": ("rows", "chosen", "part"),
    "part": ("rows", "chosen", "part"),
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
    """A population that was released, loaded where it must be looked at. ``part``: what was let out may be of any few
    less; ``settled``: the digests of populations that were let out before."""

    load: Callable[[], Population]
    least: int
    size: int
    digest: bytes
    part: bool = False
    settled: Container[bytes] = ()

    def close_to(self, population: Population, least: int) -> bool:
        """Whether they differ by at least one entity, or a part of the earlier one may, and by fewer than the larger of
        both min_entities."""
        most = max(least, self.least)
        if abs(self.size - len(population)) >= most or (self.part and population.digest in self.settled):
            return False
        if self.digest == population.digest:
            return self.part
        return 0 < differing(population, self.load()) < most

    def apart_from(self, population: Population, least: int) -> int:
        """In how many entities they differ, as far as these are fewer than there are."""
        if self.digest == population.digest:
            return 0
        if abs(self.size - len(population)) >= max(least, self.least):
            return len(population)
        return min(differing(population, self.load()), len(population))


@dataclass(eq=False, repr=False)
class Known:
    """The populations released of one column, found by their marks.

    Two that differ by fewer than ``d`` entities differ in at most 2(d-1) contributions. Of the 2d-1 smallest
    contributions of both together at least one is therefore in both, and among the 2d-1 smallest of each; unless there
    are fewer of both together, of which none is in both: then each of either differs. So for 2d-1 <= MARKS a population
    of at least d is never too close to one without a mark in common. Otherwise all are looked at.
    """

    _populations: list[_Earlier | None] = field(default_factory=list)
    _by_mark: dict[int, list[int]] = field(default_factory=dict)
    _strictest: int = 0

    def add(
        self,
        marks: Iterable[int],
        load: Callable[[], Population],
        least: int,
        size: int,
        digest: bytes,
        *,
        part: bool = False,
        settled: Container[bytes] = (),
    ) -> int:
        """``load`` gives the population of ``size`` entities whose ``marks`` and ``digest`` they are; ``least``:
        min_entities when it was released; ``part``, ``settled``: as ``_Earlier`` has them. Returns a number by which it
        is taken out again."""
        self._strictest = max(self._strictest, least)
        for mark in marks:
            self._by_mark.setdefault(mark, []).append(len(self._populations))
        self._populations.append(_Earlier(load, least, size, digest, part, settled))
        return len(self._populations) - 1

    def take_out(self, number: int) -> None:
        self._populations[number] = None

    def has(self, population: Population) -> bool:
        """Whether it is one of them."""
        near = {i for mark in population.marks for i in self._by_mark.get(mark, ())}
        return any(p is not None and p.digest == population.digest for p in (self._populations[i] for i in near))

    def too_close(self, population: Population, least: int) -> bool:
        """Whether one of them differs by at least one entity, and by fewer than the larger of both min_entities."""
        return any(earlier.close_to(population, least) for earlier in self._near(population, least))

    def unexplained(self, population: Population, least: int) -> int:
        """In how many entities it differs from the nearest of them, from none: how many it has."""
        near = self._near(population, least)
        return min((earlier.apart_from(population, least) for earlier in near), default=len(population))

    def _near(self, population: Population, least: int) -> Iterator[_Earlier]:
        near: Iterable[int] = range(len(self._populations))
        most = max(least, self._strictest)
        if 2 * most - 1 <= MARKS and len(population) >= most:
            near = sorted({i for mark in population.marks for i in self._by_mark.get(mark, ())})
        return (earlier for i in near if (earlier := self._populations[i]) is not None)


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
    _by_line: dict[tuple[Line, str], tuple[tuple[int, ...], Population]] = field(default_factory=dict)

    @cached_property
    def _contributions(self) -> Words:
        return self.seal(self.entities, self.sums)

    @cached_property
    def present(self) -> NDArray[np.int64]:
        """The cells in which there are entities, ascending."""
        return self.cells[np.flatnonzero(np.diff(self.cells, prepend=-1))]

    def cell(self, cell: int) -> Population:
        if cell not in self._by_cell:
            start, end = np.searchsorted(self.cells, [cell, cell + 1])
            plain = bool((self.sums[start:end] == 1).all())
            self._by_cell[cell] = Population(self.entities[start:end], self._contributions[start:end], plain=plain)
        return self._by_cell[cell]

    def union(self, line: Line, cells: tuple[int, ...], which: str = "shown") -> Population:
        """Of these ``cells`` of a line, ascending: an entity in several of them has the rows of all. ``which`` of its
        cells they are."""
        at = line, which
        if self._by_line.get(at, ((), None))[0] != cells:
            self._by_line[at] = cells, self._apart(cells) if self.apart else self._union(cells)
        return self._by_line[at][1]

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
    what each of its entities carries where that is limited. ``names``: of each population, by which joins are compared
    with it later (mpc/query/plain.py); "", (): with none."""

    behind: Sequence[Entities]
    hidden: Flags
    words: Sequence[Word] = ()
    shape: tuple[int, ...] = ()
    over: Over = "rows"
    carried: Carried | None = None
    names: Sequence[str] = ()

    def named(self, spoiled: Flags) -> Iterator[tuple[str, int, Population]]:
        """Its populations with a name as far as they are let out: each cell by its number, and all of them together."""
        shown = ~(self.hidden | spoiled)
        for name, b in zip(self.names, self.behind, strict=False):
            cells = tuple(cell for cell in b.present.tolist() if shown[cell]) if name else ()
            if cells:
                yield from ((name, cell, b.cell(cell)) for cell in cells)
                yield name, ALL, b.union(ALL_CELLS, cells)


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
    remembered: dict[int, list[tuple[Known, int]]] = {}
    too_close = partial(_too_close, over=m.over, known=known, least=least)
    rest = Rest(m.shape, m.behind, m.carried, least, too_close, partial(_let_out, over=m.over, known=known))
    for cell in present.tolist():
        found = [(b.column, b.cell(cell)) for b in m.behind]
        there = _there(found)
        rest.look_at(cell, [_unexplained(c, p, m.over, known, least) for c, p in found])
        if not shown[cell]:
            continue
        over = numbers.of(m.words, found, [cell])
        if too_close(there) or numbers.too_many(over):
            shown[cell] = False
        else:
            remembered[cell] = _remember(there, m.over, known, least)
            numbers.add(over)
            said[cell], counted[cell] = there, over
    lines = Lines(m.shape, said, present[~shown[present]].tolist())
    unions: dict[Line, list[tuple[Released, Population]]] = {}
    sums: dict[Line, list[Counted]] = {}

    def hide(cell: int) -> None:
        shown[cell] = False
        for there, number in remembered[cell]:
            there.take_out(number)
        del said[cell], counted[cell]
        lines.hide(cell)

    while True:
        while (line := lines.next()) is not None:
            cells, close = lines.cells(line), False
            if lines.adds_up(line):
                found = [(b.column, b.union(line, cells)) for b in m.behind]
                unions[line], sums[line] = _there(found), numbers.of(m.words, found, cells)
                close = too_close(unions[line]) or numbers.too_many(sums[line])
            from_ = cells if close else rest.to_hide(line, cells, lines.hidden(line))
            if from_:
                hide(min(from_, key=lambda cell: (not rest.fresh(cell), max(len(p) for _, p in said[cell]))))
        more = rest.closing(lines, ~shown)
        if not more:
            break
        for cell in more:
            hide(cell)
    for line in lines.found:
        _remember(unions[line], m.over, known, least)
        numbers.add(sums[line])
    told = [_there(of) for of in rest.told_of(lines)]
    for of_one in told:
        _remember(of_one, m.over, known, least)
    for of_one in (*said.values(), *(unions[line] for line in lines.found), *told):
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


def _let_out(found: Sequence[tuple[Released, Population]], over: Over, known: Earlier) -> bool:
    """Whether all of them were let out before."""
    return all((c, over) in known and known[c, over].has(p) for c, p in found)


def _unexplained(column: Released, p: Population, over: Over, known: Earlier, least: int) -> int:
    """In how many entities it differs from the nearest one that was let out; none that is too small was."""
    return known[column, over].unexplained(p, least) if len(p) >= least and (column, over) in known else len(p)


def _remember(
    found: Iterable[tuple[Released, Population]], over: Over, known: Earlier, least: int
) -> list[tuple[Known, int]]:
    """Returns where they stand, to be taken out again."""
    at = []
    for column, p in found:
        for other in COMPARED[over]:
            there = known.setdefault((column, other), Known())
            part = over == "part" and other == "rows"
            at.append((there, there.add(p.marks, partial(_itself, p), least, len(p), p.digest, part=part)))
    return at


def _itself(p: Population) -> Population:
    return p
