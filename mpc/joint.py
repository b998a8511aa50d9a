"""A join from its sides to the words that are let out: what data parties and helper do for one pool (P6, P4, P8).

    spine                            every other side                     helper
      rows in group order
      align ◀───────────── keyed tags, masked columns ─────────────▶        matches, picks       align.py
      steps: products of shared columns, everybody with a share              deals                steps.py
      totals by group ◀──────────────────────────────────────────────▶      picks                group_totals.py
      no entity above a share of them, where an owner asks for it            deals, picks         dominance.py
      no population too close to an earlier one, where one asks for it       deals                differences.py
      sums rounded, where an owner asks for it                               deals                round_totals.py
      entities ≥ least, and what passes; with noise all, everybody's
      noise added                                                            deals                groups.py
      MIN, MAX, quantiles: a search in what passes                           deals, picks         ranked_rows.py
      = this party's words of the pool, added up by P3 like those of any other pool               total.py

Where the result is a row for each of the spine's, the words are the columns themselves: no totals, nothing suppressed.

Large tables are joined part by part (parts.py): a key's rows are all in one part, so totals and entities of the parts
add up, and memory is that of a part. What is let out is compared once, at the end.

Read ``play`` and ``play_helper`` side by side: they take the same steps in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mpc import steps
from mpc.crypto.tags import tags
from mpc.ids import Flags, Keys, width
from mpc.messages import RingWords
from mpc.permutation import stable_argsort
from mpc.policy.rounding import step as units_of
from mpc.protocols import align, differences, dominance, group_totals, groups, ranked_rows, round_totals
from mpc.protocols.align import Align, repeated_key
from mpc.protocols.differences import Differences, Pair
from mpc.protocols.dominance import Addends, Dominance
from mpc.protocols.group_totals import Grouping, Totals
from mpc.protocols.groups import Entities, Groups, Release
from mpc.protocols.match import match
from mpc.protocols.parts import buckets, capacity, parts_of, share_key, too_many
from mpc.protocols.ranked import Found
from mpc.protocols.ranked_rows import Part, RowSearch
from mpc.protocols.round_totals import Rounded, Rounding
from mpc.protocols.spine_order import Order, group_order, key_numbers, places, table_order
from mpc.query.plan import ComparedPool, Comparison, JoinPool, Ring, Side
from mpc.ring import ring, run_sums
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle
from mpc.steps import Steps

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class SideRows:
    """The rows of a side of a join, at most ``Side.rows``.

    ``keys``: one a row, at sides other than the spine each key once; ``group``: (n,) at the spine the number of the
    row's group, -1 where its own conditions fail; ``passing``: (n,) at the others; ``columns``: (n,) or (n, 2) each.
    ``hidden``: (measures, cells) what its party does not let out, None: nothing. ``noise``: what its party adds to the
    words of the pool (P12), measure by measure, (cells,) or (cells, 2) each: beside one of its sides.
    """

    keys: Keys
    group: NDArray[np.int64]
    passing: Flags
    columns: tuple[RingWords, ...]
    hidden: NDArray[np.bool_] | None = None
    noise: tuple[RingWords, ...] = ()

    def __repr__(self) -> str:
        return f"SideRows({len(self.keys)} rows)"


@dataclass(frozen=True)
class Joint:
    """One join of an attempt, or one part of it, as ``joint_of`` makes it. ``least``: the strictest of the owners'
    min_entities; ``most``: that of their max_share in thousandths, None where none has one; ``steps_of``: (measure,
    word, step in units) of the words that owners round."""

    pool: JoinPool
    helper: str
    least: int
    most: int | None = None
    piece: int | None = None
    steps_of: tuple[tuple[int, int, int], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.pool.name}/join"

    @property
    def parts(self) -> int:
        """Into how many parts the tables are taken apart; a result by row is not."""
        return 1 if self.pool.by_row else parts_of(max(s.rows for s in self.pool.sides), self.words)

    @property
    def words(self) -> int:
        """Words of 64 bits that a party has for each row of the spine at most: shares of all columns, and what it
        brings into an alignment itself, with tags and places, for rows and dummies."""
        brought = max(2 * (4 + sum(c.bits for c in s.columns) // 64) for s in self.others)
        return brought + sum(step.bits // 64 for step in self.pool.steps)

    @property
    def pieces(self) -> Iterator[tuple[str, Joint]]:
        """The parts with the steps they are under; the whole, without a step of its own, where there is one."""
        if self.parts == 1:
            yield "", self
        else:
            yield from ((f"part/{p}", replace(self, piece=p)) for p in range(self.parts))

    def rows_of(self, side: Side) -> int:
        """Rows of a side, padded, of which this part has its share."""
        return side.rows if self.piece is None else capacity(side.rows, self.parts)

    @property
    def spine(self) -> Side:
        return self.pool.sides[0]

    @property
    def circle(self) -> Circle:
        return Circle(self.pool.parties, self.helper)

    @property
    def steps(self) -> Steps:
        """What is computed row by row."""
        return Steps(self.circle, self.spine.party, self.rows, self.pool.steps)

    @property
    def rows(self) -> int:
        """Rows of shared columns: the spine's, padded, and the marks of the groups."""
        return places(self.rows_of(self.spine), 0 if self.pool.by_row else self.pool.groups)

    @property
    def others(self) -> tuple[Side, ...]:
        """The sides that are aligned to the spine; its party's own other tables it brings in by itself."""
        return tuple(s for s in self.pool.sides[1:] if s.party != self.spine.party)

    @property
    def aligns(self) -> tuple[Align, ...]:
        """The alignments of ``others``, in their order."""
        return tuple(
            Align(
                f"align/{s.name}",
                self.spine.party,
                s.party,
                self.helper,
                self.rows,
                self.rows_of(s),
                width(self.pool.fields),
                tuple(c.bits for c in s.columns),
            )
            for s in self.others
        )

    @property
    def decides(self) -> bool:
        """Whether entities are counted to decide what is let out."""
        return not self.pool.by_row and self.groups.decides

    @property
    def groups(self) -> Groups:
        """The steps that are totalled, each once, and what is let out of them. What counts entities is 1 in one row of
        each anyway: the spine marks it, or has no key twice."""
        used = self._totalled()
        at = {step: i for i, step in enumerate(used)}
        grouping = Grouping(
            "groups",
            self.spine.party,
            tuple(sorted(self.circle.others(self.spine.party))),
            self.helper,
            self.rows,
            self.pool.groups,
            tuple(self.pool.steps[step].bits for step in used),
        )
        return Groups(
            grouping,
            tuple(
                Release(
                    tuple(Entities(at[e], marked=True) for e in r.entities),
                    self.least,
                    tuple(at[w] for w in r.words),
                )
                for r in self.pool.released
            ),
        )

    @property
    def search(self) -> RowSearch | None:
        """The search for values by their place, where there is one."""
        if not self.pool.ranked:
            return None
        piece = next(self.pieces)[1]
        return RowSearch(
            "ranked",
            self.spine.party,
            self.circle.holders,
            self.helper,
            piece.rows,
            self.parts,
            self.pool.groups,
            tuple(r.searched for r in self.pool.ranked),
        )

    @property
    def dominance(self) -> Dominance | None:
        """The rule about the share of one entity, where it is asked for and the join has sums."""
        addends = self.addends
        if not addends or self.most is None:
            return None
        at, piece = {step: i for i, step in enumerate(addends)}, next(self.pieces)[1]
        return Dominance(
            "dominance",
            self.spine.party,
            self.circle,
            self.parts,
            piece.rows,
            self.pool.groups,
            self.most,
            tuple(self.pool.steps[step].bits for step in addends),
            tuple(tuple(at[step] for step in check) for check in self.checks),
        )

    @property
    def differences(self) -> Differences | None:
        """The comparison with earlier populations, where there are any, and few entities are hidden."""
        comparisons = self.comparisons
        if not any(comparisons):
            return None
        at = {column: i for i, column in enumerate(self.compared_columns)}
        checks = tuple(
            tuple(
                Pair(at[c.differing, c.whole], at[c.earlier, c.whole], tuple(at[s, c.whole] for s in c.settled))
                for c in found
            )
            for found in comparisons
        )
        return Differences("differences", self.circle, self.pool.groups, self.least, checks)

    @property
    def compared_columns(self) -> list[tuple[int, bool]]:
        """The steps whose totals are compared, by group or (True) of all groups together."""
        found = (
            (step, c.whole) for one in self.comparisons for c in one for step in (c.differing, c.earlier, *c.settled)
        )
        return list(dict.fromkeys(found))

    @property
    def comparisons(self) -> tuple[tuple[Comparison, ...], ...]:
        """Of each release."""
        compared = isinstance(self.pool, ComparedPool) and self.least > 1
        return self.pool.comparisons if compared and isinstance(self.pool, ComparedPool) else ()

    @property
    def rounded(self) -> dict[int, Rounded]:
        """What is rounded, by its number among the totals."""
        at = {step: i for i, step in enumerate(self._totalled())}
        found = {}
        for m, w, step in self.steps_of:
            word = self.pool.measures[m].words[w]
            for r in self.pool.released[m * self.pool.slices : (m + 1) * self.pool.slices]:
                found[at[r.words[w]]] = Rounded(word.ring, word.bound, step)
        return found

    @property
    def rounding(self) -> Rounding | None:
        """The totals that are rounded, where an owner asks for it."""
        found = tuple(self.rounded.values())
        return Rounding(self.circle, self.pool.groups, found) if found else None

    @property
    def addends(self) -> list[int]:
        """The steps of all addends whose shares are judged."""
        return list(dict.fromkeys(step for check in self.checks for step in check))

    @property
    def checks(self) -> list[tuple[int, ...]]:
        """The addends that are judged together, each set once."""
        d = self.pool.dominance
        return [] if self.most is None or d is None else list(dict.fromkeys(filter(None, d.addends)))

    def _totalled(self) -> list[int]:
        released = (s for r in self.pool.released for s in (*r.words, *r.entities))
        compared = (step for step, _ in self.compared_columns)
        return list(dict.fromkeys((*released, *(r.count for r in self.pool.ranked), *self.addends, *compared)))

    def _computed_steps(self) -> list[int]:
        """The steps whose columns are needed in the end: those that are totalled first."""
        return list(dict.fromkeys((*self._totalled(), *(r.value for r in self.pool.ranked))))


#: to what sums of a column are rounded: by party, table and column
RoundTo = Mapping[tuple[str, str, str], Decimal]


def joint_of(
    pool: JoinPool, helper: str, least: int, most: int | None = None, round_to: RoundTo | None = MappingProxyType({})
) -> Joint:
    """The join of a pool, with what is computed besides where an owner limits shares (``most``) or rounds sums; None:
    as if all that can be were rounded to the smallest unit, which takes longest."""
    steps = []
    for side in pool.sides:
        for s in side.query.rounding.sums:
            to = round_to.get((side.party, s.table, s.column)) if round_to is not None else None
            if to is not None or round_to is None:
                steps.append((s.measure, s.word, 1 if to is None else units_of(to, s.scale)))
    return Joint(pool if most is None else pool.limiting_shares(), helper, least, most, steps_of=tuple(sorted(steps)))


# ---- the roles


def play(session: Session, j: Joint, mine: Mapping[str, SideRows]) -> Rounds[dict[Ring, RingWords]]:
    """A data party's role. Returns its words of the pool by ring, in the order of ``Plan.columns``.

    ``mine``: its sides, by name.
    """
    here = session.at(j.name)
    if j.pool.by_row:
        order = _order(here, j, mine[j.spine.name]) if session.me == j.spine.party else None
        inputs = yield from _aligned(here, j, mine, order)
        return _words_of_rows(j, (yield from steps.compute(here, j.steps, inputs, j._computed_steps())))
    bucket = yield from _agreed_buckets(here, j, mine)
    sums: Totals | None = None
    rows: list[Part] = []
    addends: list[Addends] = []
    for step, piece in j.pieces:
        part = mine if piece is j else {n: _taken(piece, n, bucket[n] == piece.piece, x) for n, x in mine.items()}
        totals, of_rows, added = yield from _totals(here.at(step) if step else here, piece, part)
        sums = totals if sums is None else _added(j, sums, totals)
        rows.append(of_rows)
        addends.append(added)
    assert sums is not None
    g = j.groups
    if not g.decides:
        said = groups.everything(here, g, sums, _noise(j, mine))
        return _words(j, g, said, None, first=session.me == j.circle.first)
    hidden = yield from _dominated(here, j, addends, sums)
    del addends
    hidden = _both(hidden, (yield from _close(here, j, sums)))
    if (rounding := j.rounding) is not None:
        rounded = yield from round_totals.play(here.at("rounded"), rounding, [sums.rows[c] for c in j.rounded])
        by_column = dict(zip(j.rounded, rounded, strict=True))
        sums = replace(sums, rows=[by_column.get(c, total) for c, total in enumerate(sums.rows)])
    said = yield from groups.release(here, g, sums, _with_own(j, mine, hidden))
    found = (yield from _searched(here, j, rows, sums, said[64])) if j.pool.ranked else None
    return _words(j, g, said, found, first=session.me == j.circle.first)


def _totals(here: Session, j: Joint, mine: Mapping[str, SideRows]) -> Rounds[tuple[Totals, Part, Addends]]:
    """Shares of the totals of one part's rows, of the rows in which values are searched for by their place, and of
    those in which an entity's part of a total is judged."""
    order = _order(here, j, mine[j.spine.name]) if here.me == j.spine.party else None
    inputs = yield from _aligned(here, j, mine, order)
    columns = yield from steps.compute(here, j.steps, inputs, j._computed_steps())
    del inputs
    totalled, at = columns[: len(j._totalled())], {step: i for i, step in enumerate(j._computed_steps())}
    part = Part([columns[at[r.value]] for r in j.pool.ranked], [columns[at[r.count]] for r in j.pool.ranked], order)
    addends = Addends([columns[at[step]] for step in j.addends], order)
    if order is not None:
        totals = yield from group_totals.spine_totals(here, j.groups.grouping, order, totalled)
    else:
        totals = yield from group_totals.holder_totals(here, j.groups.grouping, totalled)
    return totals, part, addends


def _dominated(here: Session, j: Joint, parts: list[Addends], sums: Totals) -> Rounds[list[RingWords | None]]:
    """Of each release shares of how many entities carry more than they may; None where it adds up nothing."""
    d = j.dominance
    if d is None or j.pool.dominance is None:
        return [None] * len(j.pool.released)
    at = {step: i for i, step in enumerate(j._totalled())}
    found = yield from dominance.play(here, d, parts, [sums.rows[at[step]] for step in j.addends])
    by_check = dict(zip(j.checks, found, strict=True))
    return [by_check.get(check) for check in j.pool.dominance.addends]


def _close(here: Session, j: Joint, sums: Totals) -> Rounds[list[RingWords | None]]:
    """Of each release shares of how many populations it is too close to; None where it is compared with none."""
    d = j.differences
    if d is None:
        return [None] * len(j.pool.released)
    at = {step: i for i, step in enumerate(j._totalled())}
    columns = [(sums.rows[at[step]], whole) for step, whole in j.compared_columns]
    totals = [np.full_like(x, x.sum(dtype=np.uint64)) if whole else x for x, whole in columns]
    return (yield from differences.play(here, d, totals))


def _both(some: list[RingWords | None], more: list[RingWords | None]) -> list[RingWords | None]:
    """Reasons of both kinds, release by release."""
    pairs = zip(some, more, strict=True)
    return [b if a is None else a if b is None else a + b for a, b in pairs]


def _with_own(j: Joint, mine: Mapping[str, SideRows], hidden: list[RingWords | None]) -> list[RingWords | None]:
    """Reasons to hide groups of each release, with those that this party has by itself: its share of them."""
    out = list(hidden)
    for rows in mine.values():
        for m, cells in enumerate(() if rows.hidden is None else rows.hidden):
            for r, own in enumerate(by_slice(j.pool, cells), start=m * j.pool.slices):
                so_far = out[r]
                out[r] = own.astype(np.uint64) if so_far is None else so_far + own
    return out


def _noise(j: Joint, mine: Mapping[str, SideRows]) -> list[RingWords]:
    """This party's noise in the order of ``groups.everything``: measures, their slices, words."""
    drawn = iter([by_slice(j.pool, n) for rows in mine.values() for n in rows.noise])
    measures = [[n for _, n in zip(m.words, drawn, strict=False)] for m in j.pool.measures]
    return [word[s] for words in measures for s in range(j.pool.slices) for word in words]


def _searched(here: Session, j: Joint, rows: list[Part], sums: Totals, said: RingWords) -> Rounds[Found]:
    """What stands at the places asked for. ``said``: shares of whether each release passes come first."""
    n, at = j.pool.groups, {step: i for i, step in enumerate(j._totalled())}
    keep = [said[r.released * n : (r.released + 1) * n] for r in j.pool.ranked]
    counts = [sums.rows[at[r.count]] for r in j.pool.ranked]
    search = j.search
    assert search is not None
    return (yield from ranked_rows.play(here, search, rows, keep, counts))


def play_helper(session: Session, j: Joint) -> Rounds[None]:
    """The helper's role: it matches tags and deals; no opening comes here."""
    here = session.at(j.name)
    for step, piece in j.pieces:
        yield from _help_part(here.at(step) if step else here, piece)
    if (d := j.dominance) is not None:
        yield from dominance.play_helper(here, d)
    if (compared := j.differences) is not None:
        yield from differences.play_helper(here, compared)
    if (rounding := j.rounding) is not None:
        yield from round_totals.deal(here.at("rounded"), rounding)
    if j.decides:
        yield from groups.deal_release(here, j.groups)
    if (search := j.search) is not None:
        yield from ranked_rows.play_helper(here, search)


def _help_part(here: Session, j: Joint) -> Rounds[None]:
    yield from align.helper(here, j.aligns)
    yield from steps.deal(here, j.steps)
    if not j.pool.by_row:
        yield from group_totals.helper_totals(here, j.groups.grouping)


# ---- parts


def _agreed_buckets(here: Session, j: Joint, mine: Mapping[str, SideRows]) -> Rounds[Mapping[str, NDArray[np.int64]]]:
    """The part of each row of this party's sides, by a key that all data parties hear from the spine."""
    if j.parts == 1:
        return {}
    key = yield from share_key(here.at("parts"), j.spine.party, j.circle.holders)
    return {name: buckets(key, rows.keys, j.parts) for name, rows in mine.items()}


def _taken(j: Joint, name: str, here: NDArray[np.bool_], rows: SideRows) -> SideRows:
    """The rows of a side that are in this part. Raises LocalError data.skew."""
    side = next(s for s in j.pool.sides if s.name == name)
    taken = np.flatnonzero(here)
    if len(taken) > j.rows_of(side):
        raise too_many(side.party)
    return SideRows(
        Keys(rows.keys.matrix[taken], rows.keys.null[taken]),
        rows.group[taken] if len(rows.group) else rows.group,
        rows.passing[taken],
        tuple(c[taken] for c in rows.columns),
    )


def _added(j: Joint, sums: Totals, more: Totals) -> Totals:
    for bits, into, other in zip(
        j.groups.grouping.columns * 2, (*sums.rows, *sums.keys), (*more.rows, *more.keys), strict=True
    ):
        ring(bits).add_into(into, other)
    return sums


# ---- 1: the sides as shared columns


def _order(here: Session, j: Joint, mine: SideRows) -> Order:
    return table_order(mine.passing) if j.pool.by_row else group_order(here, mine.keys, mine.group, j.pool.groups)


def _aligned(
    here: Session, j: Joint, mine: Mapping[str, SideRows], order: Order | None
) -> Rounds[dict[tuple[int, int], RingWords]]:
    """This party's shares of the inputs, by side and column (-1: flag); those it has no share of are left out."""
    shares: dict[tuple[int, int], RingWords] = {}
    if order is not None:
        rows = mine[j.spine.name]
        for c, (column, declared) in enumerate(zip(rows.columns, j.spine.columns, strict=True)):
            if declared.how == "mark":
                column = first_marks(here.at(f"marks/{c}"), rows, column)
            elif declared.how == "entity":
                column = _entity_sums(here.at(f"entities/{c}"), rows, column, declared.bits)
            elif declared.how == "once":
                column = _once(here.at(f"once/{c}"), rows, column)
            elif declared.how == "across":
                every = replace(rows, group=np.minimum(rows.group, 0))
                column = _once(here.at(f"across/{c}"), every, column)
            shares[0, c] = order.column(column, j.rows)
        keys = order.keys(rows.keys)
        got = yield from align.spine(here, j.aligns, keys)
        aligned = {s.name: columns for s, columns in zip(j.others, got, strict=True)}
        for side in j.pool.sides[1:]:
            if side not in j.others:
                aligned[side.name] = _beside(here.at(f"beside/{side.name}"), j, keys, mine[side.name])
    else:
        ours = {s.name: a for s, a in zip(j.others, j.aligns, strict=True) if s.party == here.me}
        got = yield from align.other(here, list(ours.values()), [mine[name] for name in ours])
        aligned = dict(zip(ours, got, strict=True))
    for i, side in enumerate(j.pool.sides):
        shares.update({(i, c - 1): column for c, column in enumerate(aligned.get(side.name, ()))})
    return shares


def _beside(here: Session, j: Joint, keys: Keys, other: SideRows) -> list[RingWords]:
    """The spine party's own other table in the order of the spine: flag and columns, known to nobody else."""
    key = here.own.draw(here.path, 32)
    met = match(tags(key, keys.matrix[~keys.null]), tags(key, other.keys.matrix[~other.keys.null]))
    if met is None:
        raise repeated_key()
    place = np.flatnonzero(~keys.null)[met.row >= 0]
    row = np.flatnonzero(~other.keys.null)[met.row[met.row >= 0]]
    passing = other.passing[row]
    place, row = place[passing], row[passing]
    out = []
    for column in (other.passing.astype(np.uint64), *other.columns):
        laid = np.zeros((j.rows, *column.shape[1:]), dtype=np.uint64)
        laid[place] = column[row]
        out.append(laid)
    return out


def first_marks(here: Session, mine: SideRows, counts: RingWords) -> RingWords:
    """1 in the first row of each group and key in which the column is 1. Rows without a key count for nobody."""
    rows = np.flatnonzero((counts != 0) & (mine.group >= 0) & ~mine.keys.null)
    number = key_numbers(here, mine.keys)
    _, first = np.unique(mine.group[rows] * (2 * len(number)) + number[rows], return_index=True)
    marks = np.zeros_like(counts)
    marks[rows[first]] = 1
    return marks


def _entity_sums(here: Session, mine: SideRows, values: RingWords, bits: Ring) -> RingWords:
    """The sum over the rows of each group and key, in the first of them. Rows without a key are one entity together."""
    number = key_numbers(here, mine.keys)
    number[mine.keys.null] = len(number)  # as no key has
    rows = np.flatnonzero(mine.group >= 0)
    entity = mine.group[rows] * (2 * len(number)) + number[rows]
    order = stable_argsort(entity.astype(np.uint64))
    rows, entity = rows[order], entity[order]
    starts = np.flatnonzero(np.concatenate(([True], entity[1:] != entity[:-1]))) if len(rows) else rows
    out = ring(bits).zeros(len(values))
    out[rows[starts]] = run_sums(bits, values[rows], starts)
    return out


def _once(here: Session, mine: SideRows, marks: RingWords) -> RingWords:
    """1 in the first row of each group and key where the column is 1 in any of them. Rows without a key count for
    nobody."""
    counted = np.where(mine.keys.null, np.uint64(0), marks)
    found: RingWords = (_entity_sums(here, mine, counted, 64) != 0).astype(np.uint64)
    return found


# ---- 2: what is let out, in the order of the plan


def _words_of_rows(j: Joint, columns: list[RingWords]) -> dict[Ring, RingWords]:
    """Columns as they are: outside the join they are 0."""
    at = {step: i for i, step in enumerate(j._totalled())}
    out: dict[Ring, list[RingWords]] = {64: [], 128: []}
    for measure, released in zip(j.pool.measures, j.pool.released, strict=True):
        for word, step in zip(measure.words, released.words, strict=True):
            out[word.ring].append(columns[at[step]])
    return {bits: np.concatenate(columns) for bits, columns in out.items() if columns}


def _words(
    j: Joint, g: Groups, said: dict[int, RingWords], found: Found | None, *, first: bool
) -> dict[Ring, RingWords]:
    """From the order of ``Groups.sums`` to that of ``Plan.columns``: a measure's words, then its flag, 1 where it is
    suppressed. What was found by its place all parties know; the first one says it."""
    pool, n, slices = j.pool, j.pool.groups, j.pool.slices
    releases = len(g.releases)
    kept = {
        bits: iter(said[bits][(releases * n if bits == 64 else 0) :].reshape(-1, n, *said[bits].shape[1:]))
        for bits in (64, 128)
        if bits in said
    }
    out: dict[Ring, list[RingWords]] = {64: [], 128: []}
    for m, measure in enumerate(pool.measures):
        # word by word for each of the measure's slices
        words = []
        for r in range(m * slices, (m + 1) * slices):
            i = next((i for i, one in enumerate(pool.ranked) if one.released == r), None)
            if i is None or found is None:
                words.append([next(kept[word.ring]) for word in measure.words])
            else:
                values = [found.words[i][w] * found.shown[i] for w in range(len(measure.words))]
                words.append([v.view(np.uint64) if first else np.zeros(n, dtype=np.uint64) for v in values])
        for w, word in enumerate(measure.words):
            out[word.ring].append(in_cells(pool, np.concatenate([of[w] for of in words])))
        keep = said[64][m * slices * n : (m + 1) * slices * n]
        out[64].append(in_cells(pool, np.full(slices * n, 1 if first else 0, dtype=np.uint64) - keep))
    return {bits: np.concatenate(columns) for bits, columns in out.items() if columns}


def _sliced(pool: JoinPool) -> tuple[list[int], list[int]]:
    """How many values each key has, and the keys in the order of slices of groups."""
    sizes = [len(k.domain) for k in pool.keys]
    return sizes, [i for i in range(len(sizes)) if i not in pool.grouped] + list(pool.grouped)


def by_slice(pool: JoinPool, cells: NDArray[T]) -> NDArray[T]:
    """From cells to slices of groups, (slices, groups) or (slices, groups, 2)."""
    sizes, order = _sliced(pool)
    width = cells.shape[1:]
    laid = cells.reshape([*sizes, *width]).transpose([*order, *range(len(sizes), len(sizes) + len(width))])
    return laid.reshape(pool.slices, pool.groups, *width)


def in_cells(pool: JoinPool, column: RingWords) -> RingWords:
    """From slices of groups to cells, whose keys are those of the GROUP BY in their order."""
    sizes, order = _sliced(pool)
    laid = column.reshape([sizes[i] for i in order] + list(column.shape[1:]))
    back = [order.index(i) for i in range(len(sizes))]
    cells: RingWords = laid.transpose([*back, *range(len(sizes), laid.ndim)]).reshape(column.shape)
    return np.ascontiguousarray(cells)
