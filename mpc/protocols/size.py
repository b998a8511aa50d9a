"""P9 Size alone: how many keys two parties share, as two halves, of which neither tells the number, small ones hidden.

    asking side: X, its keys                                  answering side: Y, its keys; d uniform below EXTRA
      ◀── blind.py, the size alone, of X and all extras against Y and d of the extras ──▶   u = s + d to the asking side
      is u one of d … d + least - 1?                      ◀── the same of 1 number against ``least`` ──▶
                                                          is d one of u - least + 1 … u?
    half: u                                                   half: -d
    where a side finds that s < least: its half plus a uniform word, its flag 1

s, the number of shared keys, is what both halves give together. Extras are EXTRA keys that are none of anybody's, the
same at both. What comes back to the asking side has an order of the other's, so it counts and does not learn which of
its keys met, nor which of what met are extras; the answering side hears points and counts nothing.

Who receives the number and has a table in it knows how many keys it brought: all of them having met would tell of each.
So where a side is in ``hides``, the other one adds noise also where fewer than ``least`` of that side's keys did not
meet. Each side's noise guards its own keys from the other, who could take off its own.

Trust level: parties. Adversary: semi-honest; the decisional Diffie–Hellman assumption, H a random oracle.
Leakage: asking side u, so s but for d: two numbers below ``least`` look different with probability least / EXTRA at
most. Both sides: one bit, whether s is hidden.
An asking side that deviates can blind each key by an exponent of its own and so learn which met; an answering side can
lay its own number anywhere and learn one bit about s, or make the number wrong. Both, of ids that are not in their
tables too. Replay shows it, afterwards.
Rounds: 2 for the number and 2 for each test. Bytes: 32 (n_X + n_Y + 2·EXTRA) from each side, 32 less n_Y back.
Source: as blind.py; cardinality by answering in another order: E. De Cristofaro, P. Gasti, G. Tsudik, Fast and private
computation of cardinality of set intersection and union, CANS 2012.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.crypto.spread import Spread
from mpc.ids import Bytes
from mpc.protocols.blind import Blind, answer_size, ask_size
from mpc.rounds import Rounds, Session

#: how many keys are added, a power of two
EXTRA = 1 << 14


@dataclass(frozen=True)
class Size:
    """``sides``: who asks, who answers; ``rows``: their numbers of keys, padded; ``least``: fewer are hidden;
    ``hides``: the sides that receive the number."""

    name: str
    sides: tuple[str, str]
    rows: tuple[int, int]
    least: int
    hides: frozenset[str]
    extra: int

    @property
    def counted(self) -> Blind:
        return Blind("counted", self.sides, (self.rows[0] + self.extra, self.rows[1] + self.extra))

    @property
    def window(self) -> int:
        """How many numbers below ``least`` there can be."""
        return min(self.least, min(self.rows) + 1)

    def tested_by(self, side: str) -> Blind:
        """The test of which ``side`` hears the outcome."""
        other = self.sides[1 - self.sides.index(side)]
        return Blind(f"tested/{self.sides.index(side)}", (side, other), (1, self.window * (1 + (other in self.hides))))


@dataclass(frozen=True)
class Half:
    """A side's half of the number, and whether it must hide it."""

    number: int
    small: bool

    def __repr__(self) -> str:
        return "Half()"


def ask(session: Session, s: Size, keys: Bytes, spread: Spread) -> Rounds[Half]:
    """The role of who counts. ``keys``: (n, width) uint8, each once."""
    here, (me, peer) = session.at(s.name), s.sides
    u = yield from ask_size(here, s.counted, _with_extras(keys, s.extra), spread)
    small = yield from _asked(here, s, me, u, spread)
    near = [u - i for i in range(s.window)]
    if me in s.hides:
        near += [u - len(keys) + i for i in range(s.window)]
    yield from _answered(here, s, peer, near, spread)
    return Half(u, small)


def answer(session: Session, s: Size, keys: Bytes, spread: Spread) -> Rounds[Half]:
    """The other side's role."""
    here, (peer, me) = session.at(s.name), s.sides
    assert s.extra & (s.extra - 1) == 0
    d = int.from_bytes(here.own.draw(here.at("extras").path, 8), "big") % s.extra
    yield from answer_size(here, s.counted, _with_extras(keys, d), spread)
    near = [d + i for i in range(s.window)]
    if me in s.hides:
        near += [d + len(keys) - i for i in range(s.window)]
    yield from _answered(here, s, peer, near, spread)
    small = yield from _asked(here, s, me, d, spread)
    return Half(-d, small)


def _asked(here: Session, s: Size, me: str, number: int, spread: Spread) -> Rounds[bool]:
    """Whether a number of this side is among the other's."""
    if not s.window:
        return False
    return (yield from ask_size(here, s.tested_by(me), _numbers([number]), spread)) > 0


def _answered(here: Session, s: Size, peer: str, numbers: list[int], spread: Spread) -> Rounds[None]:
    if s.window:
        yield from answer_size(here, s.tested_by(peer), _numbers(sorted(set(numbers))), spread)


def _with_extras(keys: Bytes, count: int) -> Bytes:
    """The keys and the first ``count`` extras, which a last byte tells apart."""
    n, width = keys.shape
    out = np.zeros((n + count, max(width, 8) + 1), dtype=np.uint8)
    out[:n, :width] = keys
    out[n:, :8] = _numbers(range(count))
    out[n:, -1] = 1
    return out


def _numbers(of: list[int] | range) -> NDArray[np.uint8]:
    return np.array(of, dtype="<i8").reshape(-1, 1).view(np.uint8)
