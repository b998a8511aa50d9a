"""What the populations of a join are compared with: those of earlier jobs over its tables, and of its own measures.

    an earlier question ─ compiled again on today's catalogs ─▶ the polynomials that count its entities (lowering.py)
    where it let other rows of a side pass, the side lets all of them pass, and both have their conditions as factors
    for each released measure and each earlier population: a step, 1 in one row of each entity in which they differ

Compared are cells with the same cells; and a total, or all cells of a table together, with what has other cells: where
that is too close, all cells are hidden. Where the keys are the spine's, each cell is compared with all of what has
other cells as well. Two populations with the same polynomial are the same in public, and nothing is computed; nor where
constants exclude that a row is in both (mpc/query/disjoint.py). What is found is judged on shares
(mpc/protocols/differences.py).

**Order.** The first of two populations that are close is let out, and the other is not. So a question that is asked
again must not be compared with what came after it the first time: where a population is the same as an earlier one,
that one *settles* all that were asked after it. An owner's list has the order in which it approved; of two questions
one settles the other where nobody who names the other says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

from mpc.query.behind_joins import chosen
from mpc.query.catalog import Catalog, Table
from mpc.query.disjoint import exclude
from mpc.query.fold import Draft
from mpc.query.lowering import Lowering
from mpc.query.nodes import Agg, Expr, JoinedTerm, JoinSide, columns, rebuild
from mpc.query.parse import Source
from mpc.query.plain import NamedPlain
from mpc.query.plan_joins import Comparison, Difference, Of
from mpc.query.polynomials import Compared, Factor, Poly, times
from mpc.query.program import How, Program


@dataclass(frozen=True)
class Asked:
    """An earlier question, read: its aggregates with the source and the catalogs that they were bound by. ``name``: its
    content."""

    name: str
    source: Source
    catalogs: Mapping[str, Catalog]
    drafts: tuple[Draft, ...]


@dataclass(frozen=True)
class Earlier:
    """What a job is compared with. ``settles``: by name, as ``Named`` has it; ``plain``: totals without a join."""

    asked: tuple[Asked, ...]
    settles: Callable[[str, str], bool]
    plain: tuple[NamedPlain, ...] = ()


@dataclass(frozen=True)
class Counted:
    """An earlier aggregate over the tables of this join, its term with the names of this join's sides."""

    name: str
    agg: Agg
    term: JoinedTerm
    source: Source
    catalogs: Mapping[str, Catalog]


@dataclass(frozen=True)
class Slice:
    """The cells of a value of the keys that others than the spine hold: the conditions of it."""

    conditions: tuple[Expr, ...]

    def of(self, p: Poly, lowering: Lowering) -> Poly:
        return reduce(times, map(lowering.true, self.conditions), p)


#: of questions, with the number of a population in each
_Names = tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class _Known:
    """A population that is compared with: when it was asked for, under which guards, what counts it; ``apart``: in
    other cells than those of this join."""

    names: _Names
    guards: Mapping[str, Expr]
    poly: Poly
    lowering: Lowering
    apart: bool


@dataclass(frozen=True)
class Beside:
    """What earlier jobs counted, beside a join of ``joined`` sides, the spine first, by ``keys``."""

    joined: tuple[JoinSide, ...]
    keys: tuple[Expr, ...]
    counted: tuple[Counted, ...]
    settles: Callable[[str, str], bool]
    plain: tuple[tuple[int, NamedPlain], ...] = ()  # with the number of the side

    @cached_property
    def _absent(self) -> frozenset[str]:
        """The sides that do not stand in every product."""
        terms = [c.term for c in self.counted]
        return frozenset(
            s.name for s in self.joined for t in terms if s.name not in {x.name for x in t.sides if not x.optional}
        )

    @cached_property
    def _opened(self) -> frozenset[str]:
        """The sides whose rows pass by different conditions."""
        wheres = {s.name: s.where for s in self.joined}
        return frozenset(s.name for c in self.counted for s in c.term.sides if s.where != wheres[s.name])

    @cached_property
    def family(self) -> tuple[JoinSide, ...]:
        """The sides as they are computed with."""
        return tuple(
            replace(
                s,
                where=None if s.name in self._opened else s.where,
                optional=s.optional or s.name in self._absent,
            )
            for s in self.joined
        )

    @property
    def guards(self) -> Mapping[str, Expr]:
        """The conditions of this join's opened sides."""
        return self._guards(self.joined)

    def _guards(self, sides: Sequence[JoinSide]) -> Mapping[str, Expr]:
        return {s.name: s.where for s in sides if s.name in self._opened and s.where is not None}

    def absent_of(self, term: JoinedTerm) -> frozenset[str]:
        """The sides that a term must name, since others have none."""
        there = frozenset(s.name for s in term.sides if not s.optional)
        return there & (self._absent | {s.name for s in self.joined if s.optional})

    def comparisons(
        self,
        program: Program,
        pool: str,
        compared: dict[str, Compared],
        asked: Sequence[Sequence[tuple[Poly, Lowering]]],
        slices: Sequence[Slice],
        domain: Expr | None,
    ) -> tuple[tuple[Comparison, ...], ...]:
        """Of each measure and slice of it. ``pool``: its name; ``asked``: the populations of the measures, of all
        cells; ``domain``: the condition that rows of the spine are in a cell."""
        every = self._known(program, compared)
        here = self.joined[0].name
        inside = domain if self.keys and here in self._opened else None

        def cell(s: Slice, p: Poly, lowering: Lowering) -> Poly:
            within = s.of(p, lowering)
            return within if inside is None else times(within, {frozenset({(here, _where(inside))}): 1})

        cells = [
            _merged(program, [replace(k, poly=cell(s, k.poly, k.lowering)) for k in every if not k.apart])
            for s in slices
        ]
        whole, found = _merged(program, every), []
        # of a key that repeats an entity may be in several groups, and of slices each would need columns of its own
        singly = _merged(program, [k for k in every if k.apart]) if len(slices) == 1 and self.joined[0].unique else []
        for m, populations in enumerate(asked):
            mine = [p for p, _ in populations]
            of_all = self._beside(program, mine, whole, [k for k in whole if k.apart or not self.keys], pool, None)
            if not self.keys:
                whole = _merged(program, [*whole, *self._own(program, m, populations)])
            for v, s in enumerate(slices):
                if not self.keys:
                    found.append(of_all)
                    continue
                own = self._own(program, m, [(cell(s, p, low), low) for p, low in populations])
                by_cell = self._beside(program, [k.poly for k in own], cells[v], cells[v], pool, v)
                found.append((*of_all, *by_cell, *self._singly(program, mine, own, cells[v], singly)))
                cells[v] = _merged(program, [*cells[v], *own])
        return tuple(found)

    def _own(self, program: Program, measure: int, populations: Sequence[tuple[Poly, Lowering]]) -> list[_Known]:
        return [_Known((("", measure),), program.guards, p, lowering, False) for p, lowering in populations]

    def _known(self, program: Program, compared: dict[str, Compared]) -> list[_Known]:
        """The earlier populations, of all cells."""
        return [k for n, c in enumerate(self.counted) for k in self._populations(n, c, compared)]

    def _populations(self, n: int, c: Counted, compared: dict[str, Compared]) -> list[_Known]:
        lowering = Lowering(c.source, c.catalogs, c.term, self.absent_of(c.term), compared)
        apart, guards = _keys(c.term.keys) != _keys(self.keys), self._guards(c.term.sides)
        polys = (chosen(p, c.term.value) for p in lowering.behind(c.agg, c.term.value))
        return [_Known(((c.name, n),), guards, p, lowering, apart) for p in polys]

    def excluded(self, own: Sequence[Counted]) -> Beside:
        """Without what no row can be in together with one of this job's populations (mpc/query/disjoint.py): then its
        conditions take no columns either. ``own``: the aggregates of this job."""
        every, compared = replace(self, counted=(*self.counted, *own)), dict[str, Compared]()
        rows = Program(own[0].source, every.family, frozenset(), compared, False)

        def polys(n: int, c: Counted) -> list[Poly]:
            return [rows.under(k.guards).guarded(k.poly) for k in every._populations(n, c, compared)]

        mine = [p for c in own for p in polys(0, c)]
        met = (c for n, c in enumerate(self.counted) if any(not exclude(p, q) for q in polys(n, c) for p in mine))
        return replace(self, counted=tuple(met))

    def _beside(
        self,
        program: Program,
        populations: Sequence[Poly],
        known: Sequence[_Known],
        judged: Sequence[_Known],
        pool: str,
        cell: int | None,
    ) -> tuple[Comparison, ...]:
        """Populations beside those ``judged`` of the ``known``, and totals without a join; all others may settle them,
        but what excludes them neither needs a comparison nor settles one. ``cell``: the number of a slice; None: of all
        cells together."""
        how: How = "across" if cell is None else "once"
        found: list[Comparison] = []
        for p in populations:
            mine = program.guarded(p)
            polys = [(k, program.under(k.guards).guarded(k.poly)) for k in known]
            same = [k for k, q in polys if q == mine]
            other = [k for k, q in polys if k not in same and not exclude(mine, q)]
            left = [k for k in other if not any(self._before(s.names, k.names) for s in same)]
            plain: list[tuple[_Names, Difference]] = [
                (((total.key, 0),), program.beside_brought(p, i, total.key, of, how))
                for i, total, of in self._plain_beside(mine, pool, cell)
                if not any(self._before(s.names, ((total.key, 0),)) for s in same)
            ]
            for k in left:
                if k in judged:
                    by = self._settled(program, p, k.names, left, plain, how)
                    step = program.differing(p, k.guards, k.poly, how)
                    earlier = program.under(k.guards).once(k.poly, how)
                    found.append(Comparison(step, earlier, cell is None, by))
            for total, (step, number) in plain:
                by = self._settled(program, p, total, left, plain, how)
                found.append(Comparison(step, None, cell is None, by, brought=number))
        return tuple(dict.fromkeys(found))

    def _settled(
        self,
        program: Program,
        p: Poly,
        names: _Names,
        known: Sequence[_Known],
        plain: Sequence[tuple[_Names, Difference]],
        how: How,
    ) -> tuple[Difference, ...]:
        """In what a population differs from those that were asked for before another one."""
        before = (k for k in known if self._before(k.names, names))
        found: list[Difference] = [(program.differing(p, k.guards, k.poly, how), None) for k in before]
        return (*found, *(difference for total, difference in plain if self._before(total, names)))

    def _plain_beside(self, mine: Poly, pool: str, cell: int | None) -> Iterator[tuple[int, NamedPlain, Of]]:
        """The totals without a join that a population is beside, cell by cell or all together: of sides in it."""
        sides = {name for term in mine for name, _ in term}
        for i, total in self.plain:
            by_cell = pool in total.by_cell and self._divided_by(i)
            if by_cell == (cell is not None) and self.joined[i].name in sides:
                yield i, total, "all" if cell is None else cell if i else "group"

    def _divided_by(self, side: int) -> bool:
        """Whether a side holds all keys."""
        s = self.joined[side]
        return bool(self.keys) and all((c.party, c.table) == (s.party, s.table) for k in self.keys for c in columns(k))

    def _singly(
        self,
        program: Program,
        populations: Sequence[Poly],
        own: Sequence[_Known],
        cells: Sequence[_Known],
        judged: Sequence[_Known],
    ) -> tuple[Comparison, ...]:
        """Each cell of populations by itself beside all of those ``judged``, which have other cells. ``own``: the same
        populations, of cells; those in the same ``cells`` may settle it. What all cells together are the same as gives
        back what is not shown of them: that is for mpc/protocols/complement.py."""
        found: list[Comparison] = []
        for p, mine in zip(populations, own, strict=True):
            cell, whole = program.guarded(mine.poly), program.guarded(p)
            polys = [(k, program.under(k.guards).guarded(k.poly)) for k in cells]
            same = [k for k, q in polys if q == cell]
            others = [k for k, q in polys if k not in same and not exclude(cell, q)]
            for k in judged:
                theirs = program.under(k.guards).guarded(k.poly)
                before = any(self._before(s.names, k.names) for s in same)
                if theirs == whole or exclude(whole, theirs) or before:
                    continue
                settled = self._settled(program, mine.poly, k.names, others, (), "once")
                step = program.differing(p, k.guards, k.poly, "across")
                earlier = program.under(k.guards).once(k.poly, "across")
                found.append(Comparison(step, earlier, False, settled, single=True))
        return tuple(dict.fromkeys(found))

    def _before(self, first: _Names, other: _Names) -> bool:
        """Whether a population was asked for before another one, whoever is asked."""
        return all(any(self._settles(a, b) for a in first) for b in other)

    def _settles(self, a: tuple[str, int], b: tuple[str, int]) -> bool:
        """``""``: this job, which comes last."""
        if a[0] == b[0]:
            return a[1] < b[1]
        return bool(a[0]) and (not b[0] or self.settles(a[0], b[0]))


def _where(condition: Expr) -> Factor:
    return Factor(None, frozenset({condition}))


def _keys(keys: Sequence[Expr]) -> set[Expr]:
    """Keys to compare: whether they can be NULL depends on the kind of the join."""

    def bare(e: Expr) -> Expr:
        return replace(rebuild(e, bare), nullable=False)

    return set(map(bare, keys))


def _merged(program: Program, known: Sequence[_Known]) -> list[_Known]:
    """Those with the same polynomial as one."""
    out: list[tuple[Poly, _Known]] = []
    for k in known:
        poly = program.under(k.guards).guarded(k.poly)
        at = next((i for i, (other, _) in enumerate(out) if other == poly), None)
        if at is None:
            out.append((poly, k))
        else:
            other = out[at][1]
            out[at] = (poly, replace(other, names=(*other.names, *k.names), apart=other.apart or k.apart))
    return [k for _, k in out]


def beside(
    source: Source,
    drafts: Sequence[Draft],
    keys: tuple[Expr, ...],
    catalogs: Mapping[str, Catalog],
    earlier: Earlier,
) -> Beside | None:
    """What is compared with the measures over one join; None for a result by row."""
    terms = [(a, t) for d in drafts for a in d.aggregates for t in a.terms if isinstance(t, JoinedTerm)]
    if not terms or terms[0][1].by_row:
        return None
    family = terms[0][1].family
    counted = [
        Counted(asked.name, a, found, asked.source, asked.catalogs)
        for asked in earlier.asked
        for d in asked.drafts
        for a in d.aggregates
        for t in a.terms
        if isinstance(t, JoinedTerm) and not t.by_row
        for found in [_in_sides_of(family, catalogs, t, asked.catalogs)]
        if found is not None
    ]
    plain = [(i, p) for p in earlier.plain for i in _rows_of(family, catalogs, p)[:1]]
    own = [Counted("", a, t, source, catalogs) for a, t in terms]
    return Beside(family, keys, tuple(counted), earlier.settles, tuple(plain)).excluded(own)


def _rows_of(family: Sequence[JoinSide], catalogs: Mapping[str, Catalog], plain: NamedPlain) -> list[int]:
    """The sides that are a total's table, joined by what tells its entities apart."""
    found = []
    for i, side in enumerate(family):
        table = _table(catalogs, side)
        there = table is not None and (side.party, side.table.lower()) == (plain.party, plain.table)
        if there and table is not None and {c.name for c in side.key} == {c.name for c in table.keys}:
            found.append(i)
    return found


def _in_sides_of(
    family: Sequence[JoinSide], catalogs: Mapping[str, Catalog], term: JoinedTerm, theirs: Mapping[str, Catalog]
) -> JoinedTerm | None:
    """A term of another query with the names of these sides; None if it is over other tables, by another key, or
    without the spine, by whose rows everything is computed."""
    mine = {(s.party, s.table): s for s in family}
    sides = []
    for s in term.sides:
        side = mine.get((s.party, s.table))
        if side is None or _table(catalogs, s) != _table(theirs, s):
            return None
        sides.append(replace(side, where=s.where, optional=s.optional))
    own = [s for s in family if (s.party, s.table) in {(t.party, t.table) for t in term.sides}]
    if _equal_columns(own) != _equal_columns(term.sides):
        return None
    if not any(s.name == family[0].name and not s.optional for s in sides):
        return None
    return replace(term, sides=tuple(sides))


def _equal_columns(sides: Sequence[JoinSide]) -> set[frozenset[tuple[str, str, str]]]:
    return {frozenset((c.party, c.table, c.name) for c in of) for of in zip(*(s.key for s in sides), strict=True)}


def _table(catalogs: Mapping[str, Catalog], side: JoinSide) -> Table | None:
    return next((c.table(side.table) for c in catalogs.values() if c.party == side.party), None)
