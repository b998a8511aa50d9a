"""Totals on shares rounded to the nearest multiple of a public step, before anybody sees them (P8, ``round_to``).

    everybody who holds shares of a total S, |S| <= bound, with dealt randomness of H; L with step · 2^L >= bound
      T = S
      for i = L − 1 … 0:   T −= step · 2^i where T >= 0, else T += step · 2^i       P5; then |T| <= step · 2^i
      up = [2 T >= step], down = [2 T < −step]                                      P5, both at once
      S − T + step · (up − down)

S − T is a multiple of the step all the way (division without restoring the remainder), and |T| <= step in the end. A
half is rounded up. Nothing is multiplied but by public numbers, and no value passes the bound by more than half a step.

Trust level: helper. Adversary: semi-honest; private from any coalition without both H and another holder.
Leakage: nobody learns anything; what is opened is uniform (compare.py). Rounds: those of L + 1 comparisons, one after
the other. Bytes: those of L + 2 comparisons for each total and group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mpc.messages import RingWords
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_negative, negative


@dataclass(frozen=True)
class Rounded:
    """A total of ``bits``, in units: |total| <= ``bound`` < 2^(bits−2), shown as a multiple of ``step``."""

    bits: int
    bound: int
    step: int

    def __post_init__(self) -> None:
        assert self.step > 0 and self.bound < 1 << (self.bits - 2)

    @property
    def multiple(self) -> int:
        """The step; of one beyond twice the bound, with which all is 0, the smallest such."""
        return min(self.step, 2 * self.bound + 1)

    @property
    def halvings(self) -> int:
        """L."""
        return max(0, -(-self.bound // self.multiple) - 1).bit_length()


@dataclass(frozen=True)
class Rounding:
    """What is rounded together, over ``groups`` groups each."""

    circle: Circle
    groups: int
    totals: tuple[Rounded, ...]

    def comparisons(self) -> Iterator[tuple[str, int, list[int], int]]:
        """Each call of P5: its name, its ring, the totals in it, and i (-1: the last one, in which each is twice)."""
        for bits in sorted({t.bits for t in self.totals}):
            those = [k for k, t in enumerate(self.totals) if t.bits == bits]
            for i in reversed(range(max(self.totals[k].halvings for k in those))):
                yield f"w{bits}/{i}", bits, [k for k in those if self.totals[k].halvings > i], i
            yield f"w{bits}/last", bits, those, -1


def play(session: Session, r: Rounding, shares: Sequence[RingWords]) -> Rounds[list[RingWords]]:
    """The role of everybody who holds shares. ``shares``: of each total, (G,) or (G, 2); returns what is shown."""
    first, n = session.me == r.circle.first, r.groups
    rest = [s.copy() for s in shares]
    out = [s.copy() for s in shares]
    for name, bits, those, i in r.comparisons():
        words = ring(bits)
        if i >= 0:
            below = yield from negative(session.at(name), r.circle, bits, np.concatenate([rest[k] for k in those]))
            for at, k in enumerate(those):
                piece = r.totals[k].multiple << i
                # − piece + 2 · piece · [T < 0]
                words.add_into(rest[k], _times(below[at * n : (at + 1) * n], bits, 2 * piece))
                _add(rest[k], bits, -piece, first)
            continue
        ends = []
        for k in those:
            step = r.totals[k].multiple
            for constant in (-(-step // 2), -(step // 2)):  # T − ⌈step/2⌉ < 0: not up; T + ⌊step/2⌋ < 0: down
                end = rest[k].copy()
                _add(end, bits, -constant, first)
                ends.append(end)
        below = yield from negative(session.at(name), r.circle, bits, np.concatenate(ends))
        for at, k in enumerate(those):
            step = r.totals[k].multiple
            not_up, down = (below[(2 * at + j) * n : (2 * at + j + 1) * n] for j in (0, 1))
            words.subtract_into(out[k], rest[k])
            words.subtract_into(out[k], _times(not_up, bits, step))
            words.subtract_into(out[k], _times(down, bits, step))
            _add(out[k], bits, step, first)
    return out


def deal(session: Session, r: Rounding) -> Rounds[None]:
    """The helper's role: it deals, and hears nothing."""
    for name, bits, those, i in r.comparisons():
        yield from deal_negative(session.at(name), r.circle, bits, len(those) * r.groups * (1 if i >= 0 else 2))


def _add(share: RingWords, bits: int, constant: int, first: bool) -> None:
    """A public number added to what is shared: the first holder does."""
    if first:
        ring(bits).add_into(share, ring(bits).from_ints([constant] * len(share)))


def _times(share: RingWords, bits: int, factor: int) -> RingWords:
    return ring(bits).multiply(share, ring(bits).from_ints([factor] * len(share)))
