"""P8: no entity may carry more than a share of a group's total, and nobody learns who does.

    everybody who holds shares of the totals S of a group's addends        A (spine), with H (helper)
      differences S_g − S_(g−1) go to the first row of each group     ◀──▶  place.py
      prefix sums: each row has the total of its group
      over = [p·S − 1000·x < 0] for the addend x of each row                P5, p thousandths are the limit
      Σ over by group                                                 ◀──▶  group_totals.py
      = shares of a number that is not 0 where an entity carries more

An addend is what an entity adds to a total, in absolute value: 0 or more, all of it in one row of the group, so rows
stand for entities. It is judged for each addend by itself. Where none carries more than a share s of any addend, none
carries more than s of any sum of them: max |Σ a| ≤ Σ max |a| ≤ s · Σ total |a|.

Trust level: helper. Adversary: semi-honest; private from any coalition without both H and another holder.
Leakage: nobody learns anything; H what it learns in place.py and group_totals.py. What is found goes into the decision
about a group (groups.py) and out of it only as a group that is suppressed, as a small or an empty one is.
Rounds: two for each column that is placed, those of a comparison, two for each column that is totalled. Bytes for each
row and addend: w to each holder but the spine to place it, a comparison (compare.py); for each check 8 a row.
Tables in parts are judged part by part against the total of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpc.messages import RingWords
from mpc.protocols import group_totals, place
from mpc.protocols.group_totals import Grouping
from mpc.protocols.pick import Pick
from mpc.protocols.spine_order import Order
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle, total
from mpc.sharing.compare import deal_negative, negative

#: a limit is a number of these
THOUSANDTHS = 1000


@dataclass(frozen=True)
class Dominance:
    """``addends``: 64 or 128 bits each; ``checks``: sets of them, in whose groups an entity carries more than
    ``most`` thousandths of one. ``rows``: of each of the ``parts``."""

    name: str
    spine: str
    circle: Circle
    parts: int
    rows: int
    groups: int
    most: int
    addends: tuple[int, ...]
    checks: tuple[tuple[int, ...], ...]

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(sorted(self.circle.others(self.spine)))

    @property
    def widths(self) -> dict[int, list[int]]:
        """The numbers of the addends of each width."""
        found = {bits: [i for i, b in enumerate(self.addends) if b == bits] for bits in (64, 128)}
        return {bits: numbers for bits, numbers in found.items() if numbers}

    @property
    def totals_at_rows(self) -> Pick:
        """The groups' totals at their first rows."""
        return Pick("totals", self.spine, self.others, self.circle.helper, self.rows, self.groups, self.addends)

    @property
    def found(self) -> Grouping:
        """How many entities are over, by group: a column a check."""
        widths = (64,) * len(self.checks)
        return Grouping("over", self.spine, self.others, self.circle.helper, self.rows, self.groups, widths)


@dataclass(frozen=True, eq=False)
class Addends:
    """Shares of the addends of one part's rows, (rows,) or (rows, 2) each; ``order``: at the spine."""

    columns: list[RingWords]
    order: Order | None


def play(
    session: Session, d: Dominance, parts: Sequence[Addends], totals: Sequence[RingWords]
) -> Rounds[list[RingWords]]:
    """A holder's role. ``totals``: shares of the addends' totals by group. Returns of each check shares of how many
    entities carry more than they may, (groups,)."""
    found = [np.zeros(d.groups, dtype=np.uint64) for _ in d.checks]
    for n, part in enumerate(parts):
        over = yield from _of_part(session.at(f"{d.name}/part/{n}"), d, part, totals)
        for into, more in zip(found, over, strict=True):
            into += more
    return found


def play_helper(session: Session, d: Dominance) -> Rounds[None]:
    """H's role."""
    for n in range(d.parts):
        here = session.at(f"{d.name}/part/{n}")
        yield from place.helper(here, d.totals_at_rows)
        for bits, numbers in d.widths.items():
            yield from deal_negative(here.at(f"w{bits}"), d.circle, bits, len(numbers) * d.rows)
        yield from group_totals.helper_totals(here, d.found)


def _of_part(here: Session, d: Dominance, part: Addends, totals: Sequence[RingWords]) -> Rounds[list[RingWords]]:
    steps = [_differences(bits, whole) for bits, whole in zip(d.addends, totals, strict=True)]
    if part.order is not None:
        placed = yield from place.owner(here, d.totals_at_rows, part.order.starts, steps)
    else:
        placed = yield from place.holder(here, d.totals_at_rows, steps)

    over: dict[int, RingWords] = {}
    for bits, numbers in d.widths.items():
        r, most, whole = ring(bits), ring(bits).from_ints([d.most]), ring(bits).from_ints([THOUSANDTHS])
        rest = []
        for i in numbers:
            limit = r.multiply(r.prefix_sums(placed[i]), most)
            r.subtract_into(limit, r.multiply(part.columns[i], whole))
            rest.append(limit)
        found = yield from negative(here.at(f"w{bits}"), d.circle, bits, np.concatenate(rest))
        # shares of a bit modulo 2^128 are, by their lower halves, shares of it modulo 2^64
        low = found if bits == 64 else np.ascontiguousarray(found[:, 0])
        over.update(zip(numbers, np.split(low, len(numbers)), strict=True))

    columns = [total(64, [over[i] for i in check]) for check in d.checks]
    if part.order is not None:
        return (yield from group_totals.spine_totals(here, d.found, part.order, columns)).rows
    return (yield from group_totals.holder_totals(here, d.found, columns)).rows


def _differences(bits: int, totals: RingWords) -> RingWords:
    """What each group's total is more than that of the group before."""
    out = totals.copy()
    before = ring(bits).zeros(len(totals))
    before[1:] = totals[:-1]
    ring(bits).subtract_into(out, before)
    return out
