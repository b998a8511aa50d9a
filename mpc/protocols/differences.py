"""P8: no two populations that are let out may differ by few entities, and nobody learns which do.

    everybody who holds shares of the totals (group_totals.py), with dealt randomness of H
      for each pair, an earlier population beside one of a measure that is to be let out:
        d = in how many entities they differ, n = how many are behind the earlier        totals of columns
      same = [d = 0]      below = [d − least < 0]      few = [n − least < 0]              P5
      close = [(1 − below) + same + few + Σ same of what settles the pair  = 0]           P5
      Σ close over the pairs of a measure                                                 by itself
      = shares of a number that is not 0 where the measure is too close to an earlier one

A pair is close where its populations differ by at least one entity and fewer than ``least``, the earlier one is large
enough to have been let out, and the new one is not the same as another that was asked for before the earlier: then it
was decided about at that time, and the same question has the same answer (mpc/query/compared.py).

Trust level: helper. Adversary: semi-honest; private from any coalition without both H and another holder.
Leakage: nobody learns anything. What is found goes into the decision about a group (groups.py) and out of it only as a
group that is suppressed, as a small, an empty, or a dominated one is. How many pairs there are everybody knows.
Rounds: those of two comparisons. Bytes: for each group and pair four comparisons (compare.py) at most; what the columns
d and n cost is said in steps.py and group_totals.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc.messages import RingWords
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle, total
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal_zero, negative


@dataclass(frozen=True)
class Pair:
    """Two populations: the numbers of the columns of d and n, and of those of d that settle it."""

    differing: int
    earlier: int
    settled: tuple[int, ...]


@dataclass(frozen=True)
class Differences:
    """``checks``: of each measure its pairs, over columns of ``groups`` totals of 64 bits."""

    name: str
    circle: Circle
    groups: int
    least: int
    checks: tuple[tuple[Pair, ...], ...]

    @property
    def pairs(self) -> list[Pair]:
        """Each once."""
        return list(dict.fromkeys(p for check in self.checks for p in check))

    @property
    def differing(self) -> list[int]:
        """The columns of d."""
        return list(dict.fromkeys(d for p in self.pairs for d in (p.differing, *p.settled)))

    @property
    def compared(self) -> list[int]:
        """The columns that are compared with ``least``."""
        return list(dict.fromkeys(c for p in self.pairs for c in (p.differing, p.earlier)))


def play(session: Session, d: Differences, totals: Sequence[RingWords]) -> Rounds[list[RingWords | None]]:
    """A holder's role. ``totals``: its shares of the columns, (groups,) each. Returns of each measure shares of how
    many populations it is too close to, (groups,); None where it is compared with none."""
    here, first = session.at(d.name), session.me == d.circle.first
    shares = np.concatenate([totals[c] for c in d.differing])
    same = dict(
        zip(d.differing, _split(d, (yield from equal_zero(here.at("same"), d.circle, 64, shares))), strict=True)
    )
    shares = np.concatenate([totals[c] for c in d.compared])
    if first:
        shares = shares - np.uint64(d.least)
    below = dict(zip(d.compared, _split(d, (yield from negative(here.at("below"), d.circle, 64, shares))), strict=True))

    reasons = []
    for p in d.pairs:
        against = total(64, [same[p.differing], below[p.earlier], *(same[s] for s in p.settled)])
        against -= below[p.differing]
        if first:
            against += np.uint64(1)
        reasons.append(against)
    close = yield from equal_zero(here.at("close"), d.circle, 64, np.concatenate(reasons))
    found = dict(zip(d.pairs, _split(d, close), strict=True))
    return [total(64, [found[p] for p in check]) if check else None for check in d.checks]


def play_helper(session: Session, d: Differences) -> Rounds[None]:
    """H's role."""
    here = session.at(d.name)
    yield from deal_equal_zero(here.at("same"), d.circle, 64, len(d.differing) * d.groups)
    yield from deal_negative(here.at("below"), d.circle, 64, len(d.compared) * d.groups)
    yield from deal_equal_zero(here.at("close"), d.circle, 64, len(d.pairs) * d.groups)


def _split(d: Differences, columns: RingWords) -> list[RingWords]:
    return list(columns.reshape(-1, d.groups))
