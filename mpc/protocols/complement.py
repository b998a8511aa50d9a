"""P8: a total or a margin beside a table gives no small cell back, since of each line enough is hidden: complementary
suppression, of which nobody learns anything but the cells that are shown.

    everybody who holds shares of keep, of every cell of a table, and of its entities (groups.py), with words dealt by H
      lacks = Σ (1 − keep) · entities  over the cells of each line                              P4
      few   = [lacks − least < 0] − [lacks − 1 < 0]                                             P5
      a tournament of each line's cells: of two the one with fewer entities goes on, and a hidden one only where the
      other is hidden too                                                                       P5, P4, level by level
      hides = few at the line's winner, 0 elsewhere                                             P4, level by level back
      keep' = [(1 − keep) + Σ hides over the lines of a cell = 0]                               P5

A *line* is given by some of a table's keys, not all, and a value of each (mpc/policy/margins.py); without any it is the
whole table. Lines of one cell are that cell, and are left out. Whoever has a line's total subtracts the cells that are
shown; what is left has no entity, or at least ``least``. All lines are judged at once, and once: a cell that is shown
has at least ``least`` entities by every count, so where one is hidden for one line, no other line comes to lack few.

- Every count of entities is judged by itself, like the cells'. Empty cells lack nothing.
- What must not be given back although it has enough entities (dominated, or close to an earlier population) counts as
  one entity, in a count of its own beside the others (``alone``).
- An entity that can be in several cells of a line (not ``apart``) may be all that they have: as many as ``least`` for
  each cell of the line are enough then, which is sure to be reached where one of them has ``least``.
- Of a line that shows nothing, nothing can be hidden. Its total is judged where it is asked for.

Trust level: helper. Adversary: semi-honest; private from any coalition without both H and another holder.
Leakage: nobody learns anything; the recipient keep', in which a cell hidden for its line is hidden as any other is.
Rounds: those of two comparisons and a product, of a comparison and two products for each level, log2 of the cells in a
line, and of one more comparison where something must not be given back. Bytes for each cell and measure: in each of the
2^k − 1 kinds of lines of k keys a comparison and two products, and a comparison and a product for each count; for each
line and count two comparisons (compare.py, multiply.py).
Source: Cox, Suppression methodology and statistical disclosure control, JASA 1980.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import NDArray

from mpc.messages import RingWords
from mpc.protocols.groups import BEYOND
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle, total
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal_zero, negative
from mpc.sharing.multiply import deal_multiply, multiply


@dataclass(frozen=True)
class Table:
    """One measure's cells: the numbers of the ``releases`` that hold them, one after the other; how many ``counts`` of
    entities each has; whether some of them may be hidden because they must not be given back (``alone``)."""

    releases: tuple[int, ...]
    counts: int
    alone: bool

    @property
    def judged(self) -> int:
        return self.counts + self.alone


@dataclass(frozen=True)
class Complement:
    """``shape``: how many values each key has, the last of which varies fastest over the cells of a table."""

    name: str
    circle: Circle
    shape: tuple[int, ...]
    least: int
    apart: bool
    tables: tuple[Table, ...]

    @property
    def cells(self) -> int:
        return prod(self.shape)

    @cached_property
    def lines(self) -> list[NDArray[np.int64]]:
        """The cells of each line, (lines, cells): the lines of one choice of keys together."""
        sizes = [n for n in self.shape if n > 1]
        cells, every = np.arange(self.cells, dtype=np.int64).reshape(sizes), range(len(sizes))
        given = (keys for count in every for keys in combinations(every, count))
        return [
            cells.transpose([*keys, *(k for k in every if k not in keys)]).reshape(prod(sizes[k] for k in keys), -1)
            for keys in given
        ]

    @property
    def sums(self) -> int:
        """How many numbers say what lines lack."""
        return sum(len(cells) for cells in self.lines) * sum(t.judged for t in self.tables)

    @property
    def alone(self) -> int:
        return sum(t.alone for t in self.tables)

    @property
    def rounds(self) -> int:
        """Latencies at least: of what H deals nobody waits for."""
        compared, multiplied = 9, 1
        return (2 + bool(self.alone)) * compared + multiplied + len(list(self.levels)) * (compared + 2 * multiplied)

    @property
    def levels(self) -> Iterator[int]:
        """How many pairs play in each level of the tournament."""
        left = [(len(cells) * len(self.tables), cells.shape[1]) for cells in self.lines]
        while any(width > 1 for _, width in left):
            yield sum(lines * (width // 2) for lines, width in left)
            left = [(lines, width - width // 2) for lines, width in left]


def play(
    session: Session,
    c: Complement,
    keep: Sequence[RingWords],
    entities: Sequence[Sequence[RingWords]],
    alone: Sequence[RingWords | None],
) -> Rounds[list[RingWords]]:
    """A holder's role. Of each release its shares of keep, of the counts of entities, and of how many reasons there are
    why a cell must not be given back (None: none), (groups,) each. Returns its shares of the new keep."""
    here, one = session.at(c.name), np.uint64(session.me == c.circle.first)
    gone = [one - np.concatenate([keep[r] for r in t.releases]) for t in c.tables]
    counts = [[np.concatenate(list(x)) for x in zip(*(entities[r] for r in t.releases), strict=True)] for t in c.tables]
    lacks = yield from _lacking(here, c, gone, counts, [[alone[r] for r in t.releases] for t in c.tables])
    few = yield from _few(here, c, lacks)
    hides = yield from _smallest(here, c, [x[0] + BEYOND * g for x, g in zip(counts, gone, strict=True)], few)

    hidden = np.concatenate([g + h for g, h in zip(gone, hides, strict=True)])
    left = yield from equal_zero(here.at("keep"), c.circle, 64, hidden)
    out = list(keep)
    for t, cells in zip(c.tables, left.reshape(len(c.tables), -1), strict=True):
        for r, groups in zip(t.releases, cells.reshape(len(t.releases), -1), strict=True):
            out[r] = groups
    return out


def play_helper(session: Session, c: Complement) -> Rounds[None]:
    """H's role."""
    here, levels = session.at(c.name), list(enumerate(c.levels))
    if c.alone:
        yield from deal_equal_zero(here.at("alone"), c.circle, 64, c.alone * c.cells)
    yield from deal_multiply(here.at("lacks"), c.circle, 64, sum(t.judged for t in c.tables) * c.cells)
    yield from deal_negative(here.at("few"), c.circle, 64, 2 * c.sums)
    for level, pairs in levels:
        yield from deal_negative(here.at(f"fewer/{level}"), c.circle, 64, pairs)
        yield from deal_multiply(here.at(f"wins/{level}"), c.circle, 64, pairs)
    for level, pairs in reversed(levels):
        yield from deal_multiply(here.at(f"back/{level}"), c.circle, 64, pairs)
    yield from deal_equal_zero(here.at("keep"), c.circle, 64, len(c.tables) * c.cells)


def _lacking(
    here: Session,
    c: Complement,
    gone: list[RingWords],
    counts: list[list[RingWords]],
    alone: list[list[RingWords | None]],
) -> Rounds[list[list[RingWords]]]:
    """Of each table and count what each cell adds to what its lines lack."""
    one = np.uint64(here.me == c.circle.first)
    reasons = [
        np.concatenate([np.zeros(c.cells // len(of), np.uint64) if x is None else x for x in of])
        for t, of in zip(c.tables, alone, strict=True)
        if t.alone
    ]
    which: list[RingWords] = []
    if reasons:
        none = yield from equal_zero(here.at("alone"), c.circle, 64, np.concatenate(reasons))
        which = list((one - none).reshape(len(reasons), -1))
    first = [one - of[0] for t, of in zip(c.tables, counts, strict=True) if t.alone]
    x = [*(g for g, of in zip(gone, counts, strict=True) for _ in of), *which]
    y = [*(count for of in counts for count in of), *first]
    products = yield from multiply(here.at("lacks"), c.circle, 64, np.concatenate(x), np.concatenate(y))
    found = iter(products.reshape(len(x), -1))
    out = [[next(found) for _ in of] for of in counts]
    for t, of in zip(c.tables, out, strict=True):
        if t.alone:  # hidden anyway: 1 in place of its entities
            of.append(of[0] + next(found))
    return out


def _few(here: Session, c: Complement, lacks: list[list[RingWords]]) -> Rounds[list[RingWords]]:
    """Of each choice of keys, table after table, 1 or more at each line that lacks few entities, else 0."""
    one = np.uint64(here.me == c.circle.first)
    of_lines, least = [], []
    for of in lacks:
        for x in of:
            for cells in c.lines:
                of_lines.append(x[cells].sum(axis=1, dtype=np.uint64))
                least.append(np.full(len(cells), c.least * (1 if c.apart else cells.shape[1]), dtype=np.uint64))
    lacking = np.concatenate(of_lines)
    both = np.concatenate([lacking - one, lacking - one * np.concatenate(least)])
    nothing, below = (yield from negative(here.at("few"), c.circle, 64, both)).reshape(2, -1)

    ends = np.cumsum([len(x) for x in of_lines])[:-1]
    found = iter(np.split(below - nothing, ends))
    by_table = [[[next(found) for _ in c.lines] for _ in of] for of in lacks]
    return [np.concatenate([total(64, [x[k] for x in of]) for of in by_table]) for k in range(len(c.lines))]


def _smallest(here: Session, c: Complement, size: list[RingWords], few: list[RingWords]) -> Rounds[list[RingWords]]:
    """Of each table what ``few`` is at the lines whose smallest cell a cell is, added up over its lines."""
    nodes = [np.concatenate([x[cells] for x in size]) for cells in c.lines]
    right_wins: list[list[RingWords]] = []
    while any(x.shape[1] > 1 for x in nodes):
        level = len(right_wins)
        left, right = ([x[:, side : x.shape[1] // 2 * 2 : 2] for x in nodes] for side in (0, 1))
        ahead = [r - x for x, r in zip(left, right, strict=True)]
        said = _flat(ahead)
        wins = yield from negative(here.at(f"fewer/{level}"), c.circle, 64, said)
        less = yield from multiply(here.at(f"wins/{level}"), c.circle, 64, wins, said)
        nodes = [
            np.concatenate((x + m, rest[:, 2 * x.shape[1] :]), axis=1)
            for x, m, rest in zip(left, _like(less, ahead), nodes, strict=True)
        ]
        right_wins.append(_like(wins, ahead))

    won = [x[:, None] for x in few]
    for level, wins_of in reversed(list(enumerate(right_wins))):
        played = [x[:, : w.shape[1]] for x, w in zip(won, wins_of, strict=True)]
        back = yield from multiply(here.at(f"back/{level}"), c.circle, 64, _flat(played), _flat(wins_of))
        won = [
            np.concatenate((np.stack((x - r, r), axis=2).reshape(len(x), -1), rest[:, x.shape[1] :]), axis=1)
            for x, r, rest in zip(played, _like(back, played), won, strict=True)
        ]
    hides = np.zeros((len(size), c.cells), dtype=np.uint64)
    for cells, x in zip(c.lines, won, strict=True):
        hides[:, cells.ravel()] += x.reshape(len(size), -1)
    return list(hides)


def _flat(parts: Sequence[RingWords]) -> RingWords:
    return np.concatenate([x.ravel() for x in parts])


def _like(flat: RingWords, parts: Sequence[RingWords]) -> list[RingWords]:
    """Taken apart as ``_flat`` put them together."""
    ends = np.cumsum([x.size for x in parts])[:-1]
    return [x.reshape(like.shape) for x, like in zip(np.split(flat, ends), parts, strict=True)]
