"""Values by their place among shared values, group by group: MIN, MAX, MEDIAN and quantiles over a join.

The search is that of ranked.py, but nobody has values of its own to count: each row's value is shared, and so is
whether the row counts. Which group a row belongs to only the spine knows (spine_order.py).

    repeat          mid of every group                                      all holders know it
      compare         mid − value < 0, row by row                           the spine adds the mid of the row's group
      multiply        by whether the row counts
      totals          how many values of each group are above mid           group_totals.py
      compare         the test, group by group; the holders open its outcome

Trust level and adversary: those of ranked.py and of the join. Leakage: the holders learn the result, which the opened
bits follow from, and which groups are suppressed; the helper the numbers of rows, groups and halvings. Rounds: about 23
a halving and part. Bytes for each halving, place and row: those of a comparison, a product and a column's totals. So a
search over n rows costs about as much as W n comparisons, W the bits of the declared range: narrow bounds pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc.messages import RingWords
from mpc.protocols import group_totals
from mpc.protocols.group_totals import Grouping
from mpc.protocols.ranked import ROUNDS, Found, Integers, Marks, RankTest, Searched
from mpc.protocols.spine_order import Order
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_negative, negative
from mpc.sharing.multiply import deal_multiply, multiply
from mpc.sharing.opening import open_sum


@dataclass(frozen=True)
class RowSearch:
    """What is searched for among the rows of a join: ``measures`` over ``groups``, in ``parts`` of ``rows`` each.

    ``holders``: all data parties, sorted, the ``spine`` among them.
    """

    name: str
    spine: str
    holders: tuple[str, ...]
    helper: str
    rows: int
    parts: int
    groups: int
    measures: tuple[Searched, ...]

    @property
    def circle(self) -> Circle:
        return Circle(self.holders, self.helper)

    @property
    def places(self) -> tuple[tuple[int, int, RankTest], ...]:
        """Number of the measure, word, and test of everything that is searched for."""
        return tuple(
            (i, w, test) for i, m in enumerate(self.measures) for w, test in enumerate(m.tests) if test is not None
        )

    @property
    def halvings(self) -> int:
        """How often the widest range is halved."""
        return max((m.high - m.low).bit_length() for m in self.measures)

    @property
    def rounds(self) -> int:
        """How often holders wait for each other."""
        return 2 * ROUNDS + self.halvings * (ROUNDS + self.parts * (ROUNDS + 4))

    @property
    def grouping(self) -> Grouping:
        """Of one halving and part: a column a place."""
        others = tuple(h for h in self.holders if h != self.spine)
        return Grouping("above", self.spine, others, self.helper, self.rows, self.groups, (64,) * len(self.places))


@dataclass(frozen=True, eq=False)
class Part:
    """A holder's shares of the rows of one part: value and 1 where it counts, a column a measure. ``order``: at the
    spine."""

    values: Sequence[RingWords]
    counts: Sequence[RingWords]
    order: Order | None

    def __repr__(self) -> str:
        return f"Part({len(self.values)} measures)"


def play(
    session: Session, s: RowSearch, parts: Sequence[Part], keep: Sequence[RingWords], n: Sequence[RingWords]
) -> Rounds[Found]:
    """A holder's role. ``keep``, ``n``: its shares, (groups,) for each measure, of whether a group may be shown and how
    many of its rows count."""
    here, places = session.at(s.name), s.places
    first = here.me == s.circle.first
    shown = yield from _opened(here.at("shown"), s, np.concatenate(keep))
    known = yield from _is_negative(here.at("known"), s, np.uint64(0) - np.concatenate(n), shown)
    may = np.concatenate([shown.reshape(-1, s.groups)[i] for i, _, _ in places])
    low = np.repeat(np.array([s.measures[i].low for i, _, _ in places], dtype=np.int64), s.groups)
    high = np.repeat(np.array([s.measures[i].high for i, _, _ in places], dtype=np.int64), s.groups)
    for level in range(s.halvings):
        mid = low + ((high - low) >> 1)
        above = np.zeros(len(mid), dtype=np.uint64)
        for p, part in enumerate(parts):
            above += yield from _above(here.at(f"halving/{level}/part/{p}"), s, part, mid)
        lacking = [
            _share_of_test(test, n[i], a, first=first)
            for (i, _, test), a in zip(places, np.split(above, len(places)), strict=True)
        ]
        higher = yield from _is_negative(here.at(f"halving/{level}"), s, np.concatenate(lacking), may)
        low, high = np.where(higher, np.minimum(mid + 1, high), low), np.where(higher, high, mid)

    words: list[dict[int, Integers]] = [{} for _ in s.measures]
    for (i, w, _), part_ in zip(places, np.split(high, len(places)), strict=True):
        words[i][w] = part_
    for i, m in enumerate(s.measures):
        words[i][m.tests.index(None)] = known.reshape(-1, s.groups)[i].astype(np.int64)
    return Found(tuple(words), tuple(shown.reshape(-1, s.groups)))


def play_helper(session: Session, s: RowSearch) -> Rounds[None]:
    """The helper's role: it deals, and picks at the places of groups."""
    here, rows = session.at(s.name), len(s.places) * s.rows
    yield from deal_negative(here.at("known"), s.circle, 64, len(s.measures) * s.groups)
    for level in range(s.halvings):
        for p in range(s.parts):
            at = here.at(f"halving/{level}/part/{p}")
            yield from deal_negative(at, s.circle, 64, rows)
            yield from deal_multiply(at.at("counted"), s.circle, 64, rows)
            yield from group_totals.helper_totals(at, s.grouping)
        yield from deal_negative(here.at(f"halving/{level}"), s.circle, 64, len(s.places) * s.groups)


def _above(at: Session, s: RowSearch, part: Part, mid: Integers) -> Rounds[RingWords]:
    """Shares of how many values of each group lie above its mid, (groups,) for each place end to end."""
    x = np.uint64(0) - np.concatenate([part.values[i] for i, _, _ in s.places])
    if part.order is not None:
        # rows behind the last group belong to none: what they are compared with is not totalled
        group = np.minimum(np.searchsorted(part.order.ends, np.arange(s.rows)), s.groups - 1)
        x += np.concatenate([m[group] for m in np.split(mid, len(s.places))]).view(np.uint64)
    bit = yield from negative(at, s.circle, 64, x)
    counts = np.concatenate([part.counts[i] for i, _, _ in s.places])
    counted = yield from multiply(at.at("counted"), s.circle, 64, bit, counts)
    columns = np.split(counted, len(s.places))
    if part.order is not None:
        totals = yield from group_totals.spine_totals(at, s.grouping, part.order, columns)
    else:
        totals = yield from group_totals.holder_totals(at, s.grouping, columns)
    return np.concatenate(totals.rows)


def _share_of_test(test: RankTest, n: RingWords, above: RingWords, *, first: bool) -> RingWords:
    """This holder's share of by how much the values up to mid pass the test."""
    scale, share = np.uint64(test.scale), np.uint64(test.share)
    x = scale * (n - above) - share * n
    return x - np.array(test.least, dtype=np.int64).view(np.uint64) if first else x


def _is_negative(at: Session, s: RowSearch, x: RingWords, shown: Marks) -> Rounds[Marks]:
    """Where a shared value is below zero, among the groups that may be shown; all holders hear it."""
    x = np.where(shown, x, np.uint64(0))
    bit = yield from negative(at, s.circle, 64, x)
    return (yield from _opened(at.at("open"), s, bit))


def _opened(at: Session, s: RowSearch, bit: RingWords) -> Rounds[Marks]:
    value = yield from open_sum(at, s.circle, 64, bit)
    return np.equal(value, 1)
