"""Values by their place: MIN, MAX, MEDIAN and quantiles of the values of several parties, cell by cell.

    all holders     range [low, high] of every cell, as the plan says
    repeat          mid = the middle of the range                                  everybody computes the same
      holder i        c_i = how many of its own values are ≤ mid                   its share of the count: no message
                      share of  scale · c − share · n − least  (``RankTest``)
      compare         is it below zero?                                            compare.py, helper deals
      holders open the bit to each other: the value is above mid, or not above
    until the range is one value: the holders know it, one of them says it to the recipient (P3)

A cell in which an owner has too few entities is not searched: first the holders open, cell by cell, whether all owners
have enough, not who has not; in the others the search runs over zeros, so that messages have one size. One party alone
searches among its own values, without anybody.

Trust level: helper (several parties). Adversary: semi-honest; private from any coalition without both the helper and a
holder. Leakage: the holders learn the result (a search cannot be led without it), hence the policy judges them as
recipients; every bit opened follows from the result; which cells are suppressed; nothing else. The helper learns
nothing. Rounds: nine for each halving of the range, at most 63 times. Bytes for each halving, cell and place: those of
one comparison and 8 from every holder to every other. Source: Aggarwal, Mishra and Pinkas, EUROCRYPT 2004 (k-th ranked
element by bisection).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.messages import RingWords
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal_zero, negative
from mpc.sharing.opening import open_sum

Integers = NDArray[np.int64]
Marks = NDArray[np.bool_]


#: of a comparison of 64 bits, its outcome opened
ROUNDS = 9


@dataclass(frozen=True)
class RankTest:
    """Which place: the smallest value v with ``scale`` · count(≤ v) ≥ ``share`` · n + ``least``, of n values in all.

    Linear in the counts, so that it is tested on shares of them. MIN is (1, 0, 1), MAX (1, 1, 0), the quantile p/q of
    values as they are (q, p, 0).
    """

    scale: int
    share: int
    least: int


@dataclass(frozen=True)
class Searched:
    """A measure: the range its values lie in, and for each of its words a test, or None: whether there is a value."""

    low: int
    high: int
    tests: tuple[RankTest | None, ...]


@dataclass(frozen=True, eq=False)
class OwnValues:
    """A holder's values of one measure, by cell: those of cell c are ``values[starts[c]:starts[c + 1]]``, ascending.

    ``small``: (cells,) where it has too few entities for anything to be shown.
    """

    values: Integers
    starts: Integers
    small: Marks

    def __repr__(self) -> str:
        return f"OwnValues({len(self.starts) - 1} cells)"

    @property
    def counts(self) -> Integers:
        return np.diff(self.starts)

    def at_most(self, limit: Integers) -> Integers:
        """How many values of each cell are ≤ ``limit`` (one a cell): a bisection in all cells at once."""
        low, high = self.starts[:-1].copy(), self.starts[1:].copy()
        while (open_ := low < high).any():
            mid = (low + high) >> 1
            below = open_ & (self.values[np.minimum(mid, len(self.values) - 1)] <= limit)
            low = np.where(below, mid + 1, low)
            high = np.where(open_ & ~below, mid, high)
        return low - self.starts[:-1]


@dataclass(frozen=True)
class Search:
    """Measures of an attempt that the same parties (sorted) search for together, in the ``cells`` of a pool."""

    name: str
    parties: tuple[str, ...]
    measures: tuple[Searched, ...]
    cells: int
    helper: str

    @property
    def alone(self) -> bool:
        return len(self.parties) == 1

    @property
    def circle(self) -> Circle:
        return Circle(self.parties, self.helper)

    @property
    def places(self) -> tuple[tuple[int, int, RankTest], ...]:
        """Number of the measure, word, and test of everything that is searched for."""
        return tuple((i, w, test) for i, m in enumerate(self.measures) for w, test in enumerate(m.tests) if test)

    @property
    def halvings(self) -> int:
        """How often the widest range is halved."""
        return max((m.high - m.low).bit_length() for m in self.measures)

    @property
    def rounds(self) -> int:
        """How often holders wait for each other."""
        return 0 if self.alone else 1 + ROUNDS * (2 + self.halvings)


@dataclass(frozen=True, eq=False)
class Found:
    """``words[i][w]``: (cells,) of measure i; ``shown[i]``: where it may be let out."""

    words: tuple[Mapping[int, Integers], ...]
    shown: tuple[Marks, ...]

    def __repr__(self) -> str:
        return f"Found({len(self.shown)} measures)"


def play(session: Session, s: Search, mine: Sequence[OwnValues]) -> Rounds[Found]:
    """A holder's role. ``mine``: its values, one a measure."""
    here = session.at(s.name)
    ask = _Asking(here, s)
    small = np.concatenate([m.small for m in mine])
    shown = yield from ask.all_zero("small", small.astype(np.uint64))
    counts = np.concatenate([m.counts for m in mine])
    known = yield from ask.negative("known", _as_words(-counts), shown)

    places = s.places
    shown_at = np.concatenate([shown.reshape(-1, s.cells)[i] for i, _, _ in places])
    low = np.repeat(np.array([s.measures[i].low for i, _, _ in places], dtype=np.int64), s.cells)
    high = np.repeat(np.array([s.measures[i].high for i, _, _ in places], dtype=np.int64), s.cells)
    for level in range(s.halvings):
        mid = low + ((high - low) >> 1)
        missing = np.concatenate(
            [
                _missing(mine[i], test, part, first=ask.first)
                for (i, _, test), part in zip(places, np.split(mid, len(places)), strict=True)
            ]
        )
        above = yield from ask.negative(f"halving/{level}", missing, shown_at)
        low, high = np.where(above, np.minimum(mid + 1, high), low), np.where(above, high, mid)

    words: list[dict[int, Integers]] = [{} for _ in mine]
    for (i, w, _), part in zip(places, np.split(high, len(places)), strict=True):
        words[i][w] = part
    by_measure = known.reshape(-1, s.cells)
    for i, m in enumerate(s.measures):
        words[i][m.tests.index(None)] = by_measure[i].astype(np.int64)
    return Found(tuple(words), tuple(shown.reshape(-1, s.cells)))


def play_helper(session: Session, s: Search) -> Rounds[None]:
    """The helper's role: it deals, and hears nothing."""
    here = session.at(s.name)
    measures = s.cells * len(s.measures)
    yield from deal_equal_zero(here.at("small"), s.circle, 64, measures)
    yield from deal_negative(here.at("known"), s.circle, 64, measures)
    for level in range(s.halvings):
        yield from deal_negative(here.at(f"halving/{level}"), s.circle, 64, s.cells * len(s.places))


def _missing(mine: OwnValues, test: RankTest, limit: Integers, *, first: bool) -> RingWords:
    """This holder's share of by how much the values up to ``limit`` pass the test: below zero where they do not."""
    x = test.scale * mine.at_most(limit) - test.share * mine.counts
    return _as_words(x - test.least if first else x)


def _as_words(x: Integers) -> RingWords:
    return x.view(np.uint64)


class _Asking:
    """Comparisons of which all holders hear the outcome; a party alone holds the whole value."""

    def __init__(self, here: Session, s: Search) -> None:
        self._here, self._s = here, s
        self.first = here.me == s.parties[0]

    def all_zero(self, name: str, x: RingWords) -> Rounds[Marks]:
        """Where the shared value is zero."""
        if self._s.alone:
            return np.equal(x, 0)
        at = self._here.at(name)
        bit = yield from equal_zero(at, self._s.circle, 64, x)
        return (yield from self._opened(at, bit))

    def negative(self, name: str, x: RingWords, shown: Marks) -> Rounds[Marks]:
        """Where the shared value is below zero, among the cells that may be shown."""
        x[~shown] = 0
        if self._s.alone:
            return np.less(x.view(np.int64), 0)
        at = self._here.at(name)
        bit = yield from negative(at, self._s.circle, 64, x)
        return (yield from self._opened(at, bit))

    def _opened(self, at: Session, bit: RingWords) -> Rounds[Marks]:
        value = yield from open_sum(at.at("open"), self._s.circle, 64, bit)
        return np.equal(value, 1)
