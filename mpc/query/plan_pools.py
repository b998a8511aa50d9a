"""The pools of a plan: cells and measures, and what each party computes on its own tables for them.

Beside its local query stands what an owner's limits may ask for: who is behind its numbers (``Behind``), and what is
rounded (``Rounding``). Pools of a join are in mpc/query/plan_joins.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from mpc.noise import Scale
from mpc.protocols.ranked import Search, Searched
from mpc.query.catalog import Kind, Value

Ring = Literal[64, 128]
#: rows: COUNT(*) · count: COUNT(x), or how many added scalars were not NULL · sum: SUM(x), or a linear combination of
#: totals · squares: SUM(x*x) · nulls: how many added scalars were NULL · ranked: one entity's value by its place, and
#: known: 1 where there is any · of single rows value, and present: 1 where there is such a row
WordKind = Literal["rows", "count", "sum", "squares", "nulls", "ranked", "known", "value", "present"]


@dataclass(frozen=True)
class PartyNoise:
    """What a party adds to a word in each cell: discrete Laplace noise of this scale, since one entity of its changes
    the word by ``sensitivity`` units at most, all cells together."""

    party: str
    sensitivity: int
    scale: Scale


@dataclass(frozen=True)
class Word:
    """One ring word per cell. Its total t satisfies |t| <= bound; the number it stands for is t / 10^scale.

    ``noise``: with P12, by party. The bound then holds but for 2^-40 of all jobs.
    """

    kind: WordKind
    ring: Ring
    scale: int
    bound: int
    noise: tuple[PartyNoise, ...] = ()


#: a block of cells: for each key the indices into its domain, None for all of them
Box = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Reach:
    """The cells in which a party can have rows of a measure: the union of ``boxes``. Elsewhere its words are zeros, and
    it is not "an owner with too few entities" but none at all, as everybody can read off the plan."""

    party: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Measure:
    """One aggregate: its words are shown together or suppressed together (one flag word per cell and measure)."""

    name: str  # as the modeler would recognise it: "SUM(balance)"
    words: tuple[Word, ...]
    reach: tuple[Reach, ...] = ()  # sorted by party; parties of the pool that are not in it only add zeros


@dataclass(frozen=True)
class Key:
    """A GROUP BY key and its complete domain, in the order of the cells (None last where the key can be NULL)."""

    name: str
    kind: Kind
    scale: int
    domain: tuple[Value, ...]


@dataclass(frozen=True)
class Number:
    """A word of a measure as the owner's columns enter it, whatever else it adds.

    ``what``: a digest of the owner's expression, the same wherever it is asked for. The owner's part of the word is
    ``by`` times the expression's value; ``searched``: it is found by a search, or over a join, and depends on others'
    values too.
    ``populations``: those of the columns whose values it is made of.
    """

    word: int
    what: str
    by: int
    searched: bool
    populations: tuple[int, ...]


@dataclass(frozen=True)
class BehindMeasure:
    """What ``Behind`` says of one measure: the numbers of its addends and of its populations, and its ``numbers``."""

    addends: tuple[int, ...]
    populations: tuple[int, ...]
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Behind:
    """Who is behind a party's numbers, for its own eyes (mpc/query/behind.py): run where an owner's limits ask for it.

    Columns of the answer, one row or more for each cell and entity: ``k0 …`` as in ``LocalQuery``; ``c`` the form of
    the entity's key, and ``x`` a digest of it and the entity as UBIGINT; ``a0 …`` absolute
    addends as DOUBLE, never NULL; ``p0 …`` digests of the entity's rows in each of ``populations``, added up modulo
    2^64, as UBIGINT (NULL: it has none); ``x`` and ``p0 …`` as the texts of which they are digests where each entity is
    to have one row; at a side of a join without a helper also ``j0 …``, the join's key.
    ``populations``: table and column, in small letters ("*": the rows
    themselves). ``sql`` is "" where there are none. ``keys``: what ``k0 …`` are in SQL; () where rows of several scans
    have different ones. ``rows``: of each population of the rows of a table without a join a digest of what says which
    rows those are; "" of others.
    """

    sql: str
    populations: tuple[tuple[str, str], ...]
    measures: tuple[BehindMeasure, ...]
    keys: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class ColumnSum:
    """A sum of a column's values, in its units, of which a word of the owner adds ``weight`` times as many."""

    measure: int
    word: int
    weight: int
    table: str
    column: str
    scale: int


@dataclass(frozen=True)
class Rounding:
    """What an owner rounds of its own words (mpc/policy/rounding.py).

    Columns of the answer to ``sql``, one row a non-empty cell: ``k0 …`` as in ``LocalQuery``, ``r0 …`` the ``sums`` as
    DECIMAL(38,0). ``most``: (measure, word, low, high), between which the owner's part of a word is. ``exact``: table
    and column, in small letters, of columns that also enter otherwise than in such sums, so that rounding these would
    not do. ``sql`` is "" where there are no sums.
    """

    sql: str
    sums: tuple[ColumnSum, ...]
    most: tuple[tuple[int, int, int, int], ...]
    exact: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LocalQuery:
    """What one party computes on its own tables: DuckDB SQL printed from plan nodes, never the modeler's text.

    Columns of the answer, one row per non-empty cell: ``k0 .. kN`` the keys (text as VARCHAR, boolean as BOOLEAN,
    all others in units as BIGINT), ``m{i}w{j}`` measure i's word j as DECIMAL(38,0) in units, ``m{i}e`` the number of
    distinct entities behind measure i as BIGINT. Tables appear as ``"name"``: the node provides a view of that name
    with the catalog's columns in their catalog types (decimal as DECIMAL(38,scale)).
    """

    party: str
    sql: str
    tables: tuple[str, ...]
    behind: Behind = Behind("", (), ())
    rounding: Rounding = Rounding("", (), (), ())


@dataclass(frozen=True)
class RankedMeasure:
    """A measure of values by their place, with a test a word. ``queries``: one a party, sorted: every value, in rows
    ``k0 …, v``."""

    measure: int
    searched: Searched
    queries: tuple[LocalQuery, ...]


@dataclass(frozen=True)
class Ranking:
    """Measures by place that the same parties search for together (mpc/protocols/ranked.py); one party alone, by
    itself."""

    parties: tuple[str, ...]
    measures: tuple[RankedMeasure, ...]


@dataclass(frozen=True)
class Pool:
    """Cells and measures that several parties' local answers are added into. The local answer to a measure of
    ``rankings`` is 0: its words come from a search."""

    name: str  # "pool0"
    keys: tuple[Key, ...]
    measures: tuple[Measure, ...]
    sources: tuple[LocalQuery, ...]  # one a party (of a join, one a side), sorted by party
    rankings: tuple[Ranking, ...]

    @property
    def cells(self) -> int:
        return prod(len(k.domain) for k in self.keys)

    @property
    def parties(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.party for s in self.sources))

    def searches(self, helper: str) -> tuple[Search, ...]:
        """What the parties of each ranking do together."""
        return tuple(
            Search(f"{self.name}/ranked/{k}", r.parties, tuple(m.searched for m in r.measures), self.cells, helper)
            for k, r in enumerate(self.rankings)
        )
