"""P8, first half: totals of shared columns by a group that only the spine knows.

    everybody who holds shares                        A (spine), with H (helper): pick.py
      prefix sums of its shares, by itself    ──▶      the sums at two places of each group come to the front
      differences: shares of every group's totals

The spine laid its rows out by group, with two marks in each (spine_order.py), so the totals of a group are the prefix
sum at its second mark minus the one at the second mark of the group before; up to its first mark there is one row for
each key, so the same difference counts entities.

Trust level, adversary, leakage: those of pick.py; nobody but the spine learns the size of a group, or where it lies.
Rounds: two a column. Bytes for each holder but the spine: 8 G and w (n + 2 G) a column of n rows, G groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc.messages import RingWords
from mpc.protocols import pick
from mpc.protocols.pick import Pick
from mpc.protocols.spine_order import MARKS, Order
from mpc.ring import ring
from mpc.rounds import Rounds, Session


@dataclass(frozen=True)
class Grouping:
    """Columns to be totalled by group: ``rows`` elements each, 64 or 128 bits in ``columns``.

    ``holders``: all who hold shares of them besides the spine.
    """

    name: str
    spine: str
    holders: tuple[str, ...]
    helper: str
    rows: int
    groups: int
    columns: tuple[int, ...]

    @property
    def ends(self) -> Pick:
        """The pick of the sums at the marks: the first marks of all groups, then the second ones."""
        return Pick(
            f"{self.name}/ends", self.spine, self.holders, self.helper, self.rows, MARKS * self.groups, self.columns
        )


@dataclass(frozen=True, eq=False)
class Totals:
    """Shares of the totals by group, (G,) or (G, 2) for each column: over all rows, and over one row of each key."""

    rows: list[RingWords]
    keys: list[RingWords]


def spine_totals(session: Session, g: Grouping, order: Order, shares: Sequence[RingWords]) -> Rounds[Totals]:
    """The spine's role. ``shares``: its share of each column, (rows,) or (rows, 2)."""
    marks = np.concatenate((order.firsts, order.ends))
    picked = yield from pick.owner(session, g.ends, marks, _all_sums(g, shares))
    return _differences(g, picked)


def holder_totals(session: Session, g: Grouping, shares: Sequence[RingWords]) -> Rounds[Totals]:
    """The role of everybody else who holds shares."""
    picked = yield from pick.holder(session, g.ends, _all_sums(g, shares))
    return _differences(g, picked)


def helper_totals(session: Session, g: Grouping) -> Rounds[None]:
    """The helper's role."""
    yield from pick.helper(session, g.ends)


def _all_sums(g: Grouping, shares: Sequence[RingWords]) -> list[RingWords]:
    assert [len(x) for x in shares] == [g.rows] * len(g.columns)
    return [ring(bits).prefix_sums(x) for bits, x in zip(g.columns, shares, strict=True)]


def _differences(g: Grouping, sums: Sequence[RingWords]) -> Totals:
    """From the prefix sums at the marks to each group's totals."""
    totals = Totals([], [])
    for bits, at_marks in zip(g.columns, sums, strict=True):
        firsts, ends = at_marks[: g.groups], at_marks[g.groups :]
        before = ring(bits).zeros(g.groups)
        before[1:] = ends[:-1]
        for out, at in ((totals.keys, firsts), (totals.rows, ends)):
            total = at.copy()
            ring(bits).subtract_into(total, before)
            out.append(total)
    return totals
