"""The plan of a job: a pure function of the job's text and the catalogs, compiled again by every node.

A plan is a list of *pools* and a *finish*. A pool is a set of cells (the Cartesian product of the declared domains of
its GROUP BY keys; one cell without keys) and a set of measures. A pool of a join (``JoinPool``) says how its words are
computed on shares, row by row, before they are totalled (mpc/joint.py). Of any other, every party in ``Pool.sources``
answers its local query, lays the answer out as ring words, and the words of all parties are added by protocol P3.
The recipient opens the totals and computes the *finish* (AVG, HAVING, ORDER BY ...) in the clear.

All classes are frozen and JSON-able through ``Plan.to_dict``; ``Plan.digest`` is what nodes compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import rfc8785

from mpc.ids import Field
from mpc.noise import Scale
from mpc.protocols.ranked import Search, Searched
from mpc.query.catalog import Kind, Value
from mpc.query.nodes import Expr

Ring = Literal[64, 128]
#: rows: COUNT(*) · count: COUNT(x), or how many added scalars were not NULL · sum: SUM(x), or a linear combination of
#: totals · squares: SUM(x*x) · nulls: how many added scalars were NULL · ranked: one entity's value by its place, and
#: known: 1 where there is any · of single rows value, and present: 1 where there is such a row
WordKind = Literal["rows", "count", "sum", "squares", "nulls", "ranked", "known", "value", "present"]
Use = Literal[
    "join", "join_reveal", "filter", "group", "aggregate", "extreme", "arithmetic", "product", "threshold", "row"
]


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
    themselves). ``sql`` is "" where there are none.
    """

    sql: str
    populations: tuple[tuple[str, str], ...]
    measures: tuple[BehindMeasure, ...]


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


# ---- joins


@dataclass(frozen=True)
class SideColumn:
    """A column that a side of a join brings in, as ring words of 64 or 128 bits.

    ``how`` rows of one key are put together where they can be several: ``sum``; ``any`` (of 0 and 1); ``mark``: at the
    spine, 1 in the first of the rows of a group and key in which the column is 1; ``entity``: at the spine, the sum
    over the rows of a group and key, in the first of them; ``once``: at the spine, in the first of these rows, 1 where
    the column is 1 in any of them; ``across``: the same over the rows of a key in all groups.
    """

    bits: Ring
    how: Literal["sum", "any", "mark", "entity", "once", "across"]


@dataclass(frozen=True)
class Side:
    """One table in a join: its local query has one row for each of its rows, whatever the conditions.

    ``name``: the party's, or "party.table" where it has several. Columns of the answer: ``j0 …`` the key; ``g0 …``
    GROUP BY keys (of the spine); ``pass`` BOOLEAN where its own conditions hold; ``c0 …`` the ``columns`` in units.
    ``rows``: row count, rounded up. ``unique``: no key twice. ``keys``: the numbers of the pool's keys that it holds by
    itself; ``query.behind`` is by these.
    """

    name: str
    party: str
    rows: int
    unique: bool
    columns: tuple[SideColumn, ...]
    query: LocalQuery
    keys: tuple[int, ...]


@dataclass(frozen=True)
class Input:
    """A column of a side as a shared column of rows; ``column`` -1: its flag, 1 where the spine's row met it."""

    bits: Ring
    side: int
    column: int


@dataclass(frozen=True)
class Linear:
    """``constant`` + Σ coefficient · step."""

    bits: Ring
    constant: int
    terms: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Product:
    bits: Ring
    left: int
    right: int


@dataclass(frozen=True)
class Sign:
    """1 where a step is below zero (``zero``: where it is zero), else 0."""

    bits: Ring
    arg: int
    zero: bool


@dataclass(frozen=True)
class Low:
    """A step of 128 bits modulo 2^64."""

    bits: Ring
    arg: int


Step = Input | Linear | Product | Sign | Low


@dataclass(frozen=True)
class Released:
    """What a measure lets out: steps whose totals are its words, where the total of each of ``entities`` (0 or 1 in a
    row, 1 in one row of an entity at most) reaches the owners' min_entities."""

    words: tuple[int, ...]
    entities: tuple[int, ...]


@dataclass(frozen=True)
class RankedRows:
    """A released measure by its place among the rows of a join: the steps of a row's value and of 1 where it counts."""

    released: int
    value: int
    count: int
    searched: Searched


@dataclass(frozen=True)
class Dominance:
    """What a join computes besides where an owner limits the share of one entity (mpc/protocols/dominance.py).

    ``sides``: the pool's, with columns behind theirs; ``steps``: behind the pool's; ``addends``: of each of its
    ``released`` the steps of what its sums add, in absolute values: all of an entity's in one row of a group.
    """

    sides: tuple[Side, ...]
    steps: tuple[Step, ...]
    addends: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class JoinPool(Pool):
    """A hidden join (P6) totalled by group (P8). ``sides``: the spine first.

    ``grouped``: the numbers of the keys that the spine holds; its rows are grouped by them. Those of others are
    conditions: every group is totalled once for each of their values (``slices``, row-major).

    ``by_row``: a cell is a row of the spine, which receives the result; ``keys`` are its own values, without domains,
    and no cell is suppressed: owners grant what is shown of single rows.

    ``fields``: form and size of the columns of the join's key; ``steps``: shared columns of the spine's rows, each
    computed from earlier ones; ``released``: one a measure and slice, a measure's slices together; ``ranked``: those
    of them whose words come from a search; ``dominance``: None where shares of single entities cannot be judged.
    """

    fields: tuple[Field, ...]
    sides: tuple[Side, ...]
    steps: tuple[Step, ...]
    released: tuple[Released, ...]
    by_row: bool
    grouped: tuple[int, ...]
    ranked: tuple[RankedRows, ...]
    dominance: Dominance | None

    @property
    def cells(self) -> int:
        return self.sides[0].rows if self.by_row else super().cells

    @property
    def groups(self) -> int:
        """Groups of the spine's rows; each row of its own where the result is by row."""
        return self.cells if self.by_row else prod(len(self.keys[i].domain) for i in self.grouped)

    @property
    def slices(self) -> int:
        return 1 if self.by_row else self.cells // self.groups

    def limiting_shares(self) -> JoinPool:
        """The pool as it is computed where an owner limits the share of one entity."""
        d = self.dominance
        if d is None or not any(d.addends):
            return self
        return replace(self, sources=sources_of(d.sides), sides=d.sides, steps=self.steps + d.steps)


@dataclass(frozen=True)
class Comparison:
    """An earlier population beside one of a released measure: the step that is 1 in one row of each entity in which
    they differ, and the one that counts the entities of the earlier. ``whole``: populations of all cells together, not
    cell by cell. ``settled``: steps of other differences, each of which makes it needless where it is nowhere 1."""

    differing: int
    earlier: int
    whole: bool
    settled: tuple[int, ...]


@dataclass(frozen=True)
class ComparedPool(JoinPool):
    """A join whose populations are compared with those of earlier jobs and of its own measures
    (mpc/protocols/differences.py): the same measures, with columns and steps that the comparison needs.

    ``comparisons``: of each of ``released``. Sides let rows pass that an earlier job counted: what they are in this one
    stands in their columns.
    """

    comparisons: tuple[tuple[Comparison, ...], ...] = ()


def beside_one(pool: JoinPool) -> ComparedPool:
    """The pool with one earlier population beside each of its own, if that needs no columns of its own: to tell what a
    comparison costs."""
    steps, found = list(pool.steps), []
    for r in pool.released:
        for e in r.entities:
            both = len(steps)
            steps += [Product(64, e, e), Linear(64, 0, ((2, e), (-2, both))), Linear(64, 0, ((1, both),))]
        ends = range(len(steps) - 3 * len(r.entities), len(steps), 3)
        found.append(tuple(Comparison(at + 1, at + 2, False, ()) for at in ends))
    return ComparedPool(**{**vars(pool), "steps": tuple(steps)}, comparisons=tuple(found))


def sources_of(sides: Iterable[Side]) -> tuple[LocalQuery, ...]:
    """The local queries of a join in the order of ``Pool.sources``."""
    return tuple(sorted((s.query for s in sides), key=lambda q: (q.party, q.tables)))


@dataclass(frozen=True)
class TallyPool(JoinPool):
    """A join of two parties, one table of each, without a helper (P9, mpc/pair.py).

    Every step that is let out is Σ coefficient · (column of the spine, or 1) · (column of the other side), or is one of
    ``compared``: those the two compute on shares, key by key (mpc/compared.py). Which keys
    met both parties learn, but where ``asks`` says who counts them: there the result is their number and neither learns
    it (mpc/protocols/size.py), and ``hides`` names the parties of the join that receive it. ``ones``: of each side the
    columns that are 1 in every row that counts. ``weighed``: whether a result by row multiplies columns of the spine by
    what the other side does not show (mpc/protocols/scoring.py).
    """

    ones: tuple[tuple[int, ...], tuple[int, ...]]
    weighed: bool = False
    compared: tuple[int, ...] = ()
    asks: str = ""
    hides: tuple[str, ...] = ()

    @property
    def most(self) -> int:
        """More than can meet."""
        return min(s.rows for s in self.sides) + 1

    @property
    def ciphertexts(self) -> bool:
        """Whether Paillier is needed: for totals, and for weighed rows."""
        return self.weighed or not (self.by_row or self.asks)


def shows_rows(pool: Pool) -> bool:
    """Whether the cells of a pool are the rows of a join."""
    return isinstance(pool, JoinPool) and pool.by_row


@dataclass(frozen=True)
class ColumnUse:
    """One column of one owner on a path to a revealed value: the grant it needs. ``where`` is the SQL fragment."""

    party: str
    table: str
    column: str
    use: Use
    where: str


@dataclass(frozen=True)
class Reveal:
    """One value (per cell) that the recipients see, and every column it derives from.

    ``contributors``: parties whose own columns are added into it; ``pooled``: it adds values of several parties,
    so that owners' ``min_contributors`` applies; ``searched_by``: parties that learn it too, since their search for one
    entity's value leads to it.
    """

    what: str
    pool: str
    uses: tuple[ColumnUse, ...]
    contributors: tuple[str, ...]
    pooled: bool
    searched_by: tuple[str, ...]


@dataclass(frozen=True)
class JoinReveal(Reveal):
    """A value computed over a join: other parties' rows decide which rows count.

    ``joined``: all parties of the join; ``grouped_by``: who holds GROUP BY keys.
    """

    joined: tuple[str, ...]
    grouped_by: tuple[str, ...]


@dataclass(frozen=True)
class RowReveal(JoinReveal):
    """A value shown for each row of the recipient's own table."""


@dataclass(frozen=True)
class MetReveal(JoinReveal):
    """What the two parties of a join without a helper learn of each other, whoever receives the result: which of their
    own keys the other has, and of groups of the spine how many entities are in them; or where only the number of keys
    that met is asked, that it is small, and one of them about what it is.
    """


@dataclass(frozen=True)
class Output:
    """One result column: a finish expression over revealed words and keys (mpc.query.finish)."""

    name: str
    expr: Expr


@dataclass(frozen=True)
class Finish:
    """What the recipient computes in the clear, over the rows of ``pool`` (or one row where it is None)."""

    pool: str | None
    outputs: tuple[Output, ...]
    having: Expr | None
    order: tuple[tuple[Expr, bool, bool], ...]  # expression, descending, nulls first
    limit: int | None
    offset: int
    distinct: bool


@dataclass(frozen=True)
class Noise:
    """The privacy loss of a job with noise (P12), as the job writes it, and how many rows of one entity count at most
    wherever its table is read."""

    epsilon: str
    entity_rows: int


@dataclass(frozen=True)
class Plan:
    """Everything that follows from job and catalogs."""

    version: str  # planner version: ours and sqlglot's
    trust: str
    parties: tuple[str, ...]  # data parties, sorted
    pools: tuple[Pool, ...]
    finish: Finish
    reveals: tuple[Reveal, ...]
    notes: tuple[str, ...]  # what explain tells besides ("HAVING hides nothing from the recipient")
    verified: bool = False  # sums of Z_2^128, which the recipient verifies (mpc.protocols.verified)
    noise: Noise | None = None

    @property
    def joins(self) -> tuple[tuple[int, JoinPool], ...]:
        """The pools that are joins, with their numbers."""
        return tuple((i, p) for i, p in enumerate(self.pools) if isinstance(p, JoinPool))

    @property
    def tallies(self) -> tuple[tuple[int, TallyPool], ...]:
        """The joins that two parties compute between them."""
        return tuple((i, p) for i, p in self.joins if isinstance(p, TallyPool))

    @property
    def sizes(self) -> tuple[tuple[int, TallyPool], ...]:
        """Those of which only the number of keys that met is asked."""
        return tuple((i, p) for i, p in self.tallies if p.asks)

    @property
    def hidden_joins(self) -> tuple[tuple[int, JoinPool], ...]:
        """The joins that need the helper."""
        return tuple((i, p) for i, p in self.joins if not isinstance(p, TallyPool))

    @property
    def helped(self) -> bool:
        """Whether it needs the helper: for joins, and for places among the values of several parties."""
        return bool(self.hidden_joins) or any(len(r.parties) > 1 for p in self.pools for r in p.rankings)

    def offsets(self, pool: int, ring: Ring) -> dict[tuple[int, int], slice]:
        """Where a pool's vector of this ring has each (measure, word); word -1 is the flag."""
        found, start = {}, 0
        for p, m, w, cells in self.columns(ring):
            if p == pool:
                found[m, w] = slice(start, start + cells)
                start += cells
        return found

    def digest(self) -> str:
        """SHA-256 (hex) over the canonical form."""
        return hashlib.sha256(b"heji/v1/plan\x00" + rfc8785.dumps(self.to_dict())).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form of the whole plan; dataclasses as objects with their class under ``node``."""
        body = _jsonable(self)
        assert isinstance(body, dict)
        return body

    def columns(self, ring: Ring) -> Iterator[tuple[int, int, int, int]]:
        """The vector of this ring, column by column: (pool, measure, word, cells); word -1 is the flag (64 bits, of
        verified sums 128), which cells that are single rows do not have.

        Order: pools, measures, words, then the measure's flag. The vector of a party that is no source of a pool
        skips that pool's columns; masks are per pool (see mpc.protocols.total).
        """
        for p, pool in enumerate(self.pools):
            for m, measure in enumerate(pool.measures):
                for w, word in enumerate(measure.words):
                    if word.ring == ring:
                        yield p, m, w, pool.cells
                if ring == (128 if self.verified else 64) and not shows_rows(pool):
                    yield p, m, -1, pool.cells


def _jsonable(x: Any) -> Any:
    if isinstance(x, tuple):
        return [_jsonable(v) for v in x]
    if hasattr(x, "__dataclass_fields__"):
        return {"node": type(x).__name__, **{f: _jsonable(getattr(x, f)) for f in x.__dataclass_fields__}}
    if type(x) is int and abs(x) >= 2**53:
        return str(x)
    return x
