"""One join of an attempt: what its parties and the helper know of it before they begin, from the plan and the policies.

How many rows and parts, which sides are aligned, which steps are totalled, and the parameters of each protocol that
mpc/joint.py plays. Every participant makes the same of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType

from mpc.ids import width
from mpc.policy.rounding import step as units_of
from mpc.protocols.align import Align
from mpc.protocols.complement import Complement, Table
from mpc.protocols.differences import Differences, Pair
from mpc.protocols.dominance import Dominance
from mpc.protocols.group_totals import Grouping
from mpc.protocols.groups import Entities, Groups, Release
from mpc.protocols.parts import capacity, parts_of
from mpc.protocols.ranked_rows import RowSearch
from mpc.protocols.round_totals import Rounded, Rounding
from mpc.protocols.spine_order import places
from mpc.query.plan_joins import ComparedPool, Comparison, JoinPool, Side
from mpc.sharing.circle import Circle
from mpc.steps import Steps


@dataclass(frozen=True)
class ComparedColumn:
    """A step whose totals are compared: by group, or (``whole``) of all groups together. ``beside``: the step of an
    earlier population, all of which is beside a single group: its entities in other groups differ. ``brought``: the
    number of one that an owner brings, whose entities are counted besides, or (without a step) alone."""

    step: int | None
    whole: bool
    beside: int | None = None
    brought: int | None = None


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
        used = self.totalled()
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
                Pair(at[differing], at[earlier], tuple(at[s] for s in settled))
                for differing, earlier, *settled in map(_columns_of, found)
            )
            for found in comparisons
        )
        return Differences("differences", self.circle, self.pool.groups, self.least, checks)

    @property
    def complement(self) -> Complement | None:
        """The rule about the lines of a table, where cells are hidden that it could give back. What is found by its
        place does not add up."""
        pool, searched = self.pool, {r.released for r in self.pool.ranked}
        # a dominated cell is not given back by itself, though each single entity may be seen
        least = max(self.least, 2) if self.least and self.dominance is not None else self.least
        measures = [range(m * pool.slices, (m + 1) * pool.slices) for m in range(len(pool.measures))]
        tables = tuple(
            Table(tuple(those), len(pool.released[those[0]].entities), any(map(self._must_not_be_given_back, those)))
            for those in measures
            if those[0] not in searched
        )
        if not self.decides or least < 2 or pool.cells < 2 or not tables:
            return None
        return Complement("complement", self.circle, pool.shape_of_slices, least, pool.apart, tables)

    def _must_not_be_given_back(self, released: int) -> bool:
        """Whether a cell of a release may be hidden although it has enough entities, which all may know."""
        d = self.pool.dominance if self.dominance is not None else None
        return bool(d is not None and d.addends[released]) or bool(self.comparisons and self.comparisons[released])

    @property
    def compared_columns(self) -> list[ComparedColumn]:
        """What is compared."""
        return list(dict.fromkeys(column for one in self.comparisons for c in one for column in _columns_of(c)))

    @property
    def comparisons(self) -> tuple[tuple[Comparison, ...], ...]:
        """Of each release."""
        compared = isinstance(self.pool, ComparedPool) and self.least > 1
        return self.pool.comparisons if compared and isinstance(self.pool, ComparedPool) else ()

    @property
    def rounded(self) -> dict[int, Rounded]:
        """What is rounded, by its number among the totals."""
        at = {step: i for i, step in enumerate(self.totalled())}
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

    def totalled(self) -> list[int]:
        released = (s for r in self.pool.released for s in (*r.words, *r.entities))
        compared = (column.step for column in self.compared_columns if column.step is not None)
        return list(dict.fromkeys((*released, *(r.count for r in self.pool.ranked), *self.addends, *compared)))

    def computed_steps(self) -> list[int]:
        """The steps whose columns are needed in the end: those that are totalled first."""
        return list(dict.fromkeys((*self.totalled(), *(r.value for r in self.pool.ranked))))


def _columns_of(c: Comparison) -> list[ComparedColumn]:
    """What a comparison needs: the difference, the earlier population, and what settles it."""
    return [
        ComparedColumn(c.differing, c.whole, c.earlier if c.single else None, c.brought),
        ComparedColumn(c.earlier, c.whole or c.single, brought=c.brought),
        *(ComparedColumn(step, c.whole, brought=brought) for step, brought in c.settled),
    ]


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
