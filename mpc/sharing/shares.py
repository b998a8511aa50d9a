"""A shared column as a value, what needs no message with it, and how it comes to be shared (P1).

    share an input   the owner has x; the share of holder j is a stream of their pair key, the owner's own is
                     x − Σ_j stream(k_owner,j). Nobody says anything.
    public constant  the first holder's share is the constant, the others' are 0
    + − times take   every holder does it to its own words

Trust level: parties. Leakage: nothing, as nothing is said. What needs messages is in multiply.py, compare.py, bits.py
and permute.py, which take ``words``; a result is let out by mpc/protocols/total.py with the shares as its inputs (P2).

The ring is chosen when a column is shared and never changes: two columns of different rings do not add.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.messages import RingWords
from mpc.ring import ring
from mpc.rounds import Session
from mpc.sharing.circle import Circle, drawn


@dataclass(frozen=True, eq=False, repr=False)
class Shared:
    """This holder's share of a column in Z_2^bits: ``words`` (n,) or (n, 2). They never show in ``repr``."""

    bits: int
    words: RingWords

    def __post_init__(self) -> None:
        assert self.words.dtype == np.uint64 and self.words.shape[1:] == ring(self.bits).zeros(0).shape[1:]

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"Shared({self.bits} bits, {len(self)} elements)"

    def __add__(self, other: Shared) -> Shared:
        self._verify_fits(other)
        out = self.words.copy()
        ring(self.bits).add_into(out, other.words)
        return Shared(self.bits, out)

    def __sub__(self, other: Shared) -> Shared:
        self._verify_fits(other)
        out = self.words.copy()
        ring(self.bits).subtract_into(out, other.words)
        return Shared(self.bits, out)

    def __neg__(self) -> Shared:
        out = ring(self.bits).zeros(len(self))
        ring(self.bits).subtract_into(out, self.words)
        return Shared(self.bits, out)

    def times(self, factors: int | Sequence[int] | RingWords) -> Shared:
        """Times a public integer, or public integers or ring words element by element."""
        if isinstance(factors, int):
            by = np.broadcast_to(ring(self.bits).from_ints([factors]), self.words.shape)
        else:
            by = _ring_words(self.bits, factors)
            assert len(by) == len(self)
        return Shared(self.bits, ring(self.bits).multiply(self.words, by))

    def prefix_sums(self) -> Shared:
        """Sums of all elements up to each one."""
        return Shared(self.bits, ring(self.bits).prefix_sums(self.words))

    def total(self) -> Shared:
        """The sum of all elements, one element; 0 of none."""
        if not len(self):
            return Shared(self.bits, ring(self.bits).zeros(1))
        return Shared(self.bits, ring(self.bits).prefix_sums(self.words)[-1:])

    def take(self, places: NDArray[np.integer] | slice) -> Shared:
        """The elements at these places, which all holders know."""
        return Shared(self.bits, self.words[places])

    def _verify_fits(self, other: Shared) -> None:
        assert (self.bits, len(self)) == (other.bits, len(other)), f"{self!r} and {other!r} do not fit"


def concatenate(columns: Iterable[Shared]) -> Shared:
    """Columns of one ring end to end: many short ones are multiplied or compared at the price in rounds of one."""
    parts = list(columns)
    assert len({x.bits for x in parts}) == 1
    return Shared(parts[0].bits, np.concatenate([x.words for x in parts]))


def share_input(
    session: Session, circle: Circle, owner: str, bits: int, n: int, x: Sequence[int] | RingWords | None = None
) -> Shared:
    """Share ``n`` elements that ``owner`` alone knows: ``x`` there, nothing elsewhere. No message."""
    assert owner in circle.holders and (x is not None) == (session.me == owner)
    here = session.at(f"of/{owner}")
    if x is None:
        return Shared(bits, drawn(here, owner, bits, n))
    mine = _ring_words(bits, x).copy()
    assert len(mine) == n
    for j in sorted(circle.others(owner)):
        ring(bits).subtract_into(mine, drawn(here, j, bits, n))
    return Shared(bits, mine)


def public(session: Session, circle: Circle, bits: int, values: Sequence[int] | RingWords) -> Shared:
    """A column that everybody knows, as shares."""
    words = _ring_words(bits, values)
    return Shared(bits, words.copy() if session.me == circle.first else np.zeros_like(words))


def _ring_words(bits: int, values: Sequence[int] | RingWords) -> RingWords:
    return values if isinstance(values, np.ndarray) else ring(bits).from_ints(values)
