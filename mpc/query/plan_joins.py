"""The pools of a plan that are joins: their sides, the steps on shared columns of rows, and what is let out.

Of hidden joins (``JoinPool``), those that are compared with earlier populations (``ComparedPool``), and those of two
parties without a helper (``TallyPool``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from mpc.ids import Field
from mpc.protocols.ranked import Searched
from mpc.query.plan_pools import LocalQuery, Pool, Ring


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

    @property
    def order_of_slices(self) -> list[int]:
        """The numbers of the keys in the order of slices, and of the groups in each."""
        return [i for i in range(len(self.keys)) if i not in self.grouped] + list(self.grouped)

    @property
    def shape_of_slices(self) -> tuple[int, ...]:
        """How many values each key has, in this order."""
        return tuple(len(self.keys[i].domain) for i in self.order_of_slices)

    @property
    def apart(self) -> bool:
        """Whether an entity is in one cell at most: of those who decide in which, nobody has a key twice."""
        sliced = {*range(len(self.keys))} - {*self.grouped}
        known = {k for s in self.sides for k in s.keys}
        deciding = (s for s in self.sides[1:] if sliced & {*s.keys} or not sliced <= known)
        return self.sides[0].unique and all(s.unique for s in deciding)

    def limiting_shares(self) -> JoinPool:
        """The pool as it is computed where an owner limits the share of one entity."""
        d = self.dominance
        if d is None or not any(d.addends):
            return self
        return replace(self, sources=sources_of(d.sides), sides=d.sides, steps=self.steps + d.steps)


#: the step of where two populations differ, and the number of the earlier one if an owner brings it
Difference = tuple[int, int | None]


@dataclass(frozen=True)
class Comparison:
    """An earlier population beside one of a released measure: the step that is 1 in one row of each entity in which
    they differ, and the one that counts the entities of the earlier. ``whole``: populations of all cells together, not
    cell by cell. ``settled``: steps of other differences, each of which makes it needless where it is nowhere 1.

    ``single``: each cell by itself beside all of the earlier population. Then ``differing`` is of all cells together,
    with an entity in its own group, and ``settled`` is cell by cell.

    ``brought``, and beside each step that settles it: the number of an earlier population that one owner brings, who
    adds how many are in it to the totals; then no step counts them, and what differs is 1 for each entity of the new
    one, less 2 where it is in both.
    """

    differing: int
    earlier: int | None
    whole: bool
    settled: tuple[Difference, ...]
    single: bool = False
    brought: int | None = None


#: a population of one cell by its number, of the cell that a row of the spine is in, or of all cells together
Of = int | Literal["group", "all"]


@dataclass(frozen=True)
class Brought:
    """An earlier population of a side's rows without a join, which its owner alone knows (mpc/query/plain.py).

    Of the side ``column`` is 1 in rows of its entities; ``otherwise``: the column that is 1 in those which had other
    rows in it than count in the join, None of a key that does not repeat. In the answer to the side's query they are 0,
    and 1 where a row counts.
    """

    side: int
    name: str
    of: Of
    column: int
    otherwise: int | None


@dataclass(frozen=True)
class ComparedPool(JoinPool):
    """A join whose populations are compared with those of earlier jobs and of its own measures
    (mpc/protocols/differences.py): the same measures, with columns and steps that the comparison needs.

    ``comparisons``: of each of ``released``. Sides let rows pass that an earlier job counted: what they are in this one
    stands in their columns. ``brought``: earlier populations that their owners bring.
    """

    comparisons: tuple[tuple[Comparison, ...], ...] = ()
    brought: tuple[Brought, ...] = ()

    def brought_by(self, side: Side) -> list[int]:
        """The numbers of what a side's owner brings beside it."""
        return [i for i, b in enumerate(self.brought) if self.sides[b.side] == side]


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


def others_decide(pool: JoinPool, side: int, measure: int) -> bool:
    """Whether rows of other sides decide which rows of a side are behind a measure: unless it is the spine, and what
    counts entities reads nothing else."""
    n = pool.slices
    todo = [e for r in pool.released[measure * n : (measure + 1) * n] for e in r.entities]
    seen: set[int] = set()
    while todo:
        at = todo.pop()
        if at in seen:
            continue
        seen.add(at)
        step = pool.steps[at]
        if isinstance(step, Input) and step.side != side:
            return True
        if isinstance(step, Linear):
            todo += [s for _, s in step.terms]
        elif isinstance(step, Product):
            todo += [step.left, step.right]
        elif isinstance(step, Sign | Low):
            todo.append(step.arg)
    return side != 0


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
