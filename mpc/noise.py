"""Exact samples of the discrete Laplace distribution, from coins, with whole numbers only (P12).

    P(Z = z) = (1 − q) / (1 + q) · q^|z|,  q = exp(−1 / scale),  scale = t / s

No float decides anything, no remainder is taken of a random word: samples have exactly this distribution if the coins
are uniform. All samples of a call are drawn side by side.

Source: Canonne, Kamath, Steinke, *The Discrete Gaussian for Differential Privacy*, NeurIPS 2020, algorithms 1 and 2:

    1  Bernoulli(exp(−γ)), 0 ≤ γ ≤ 1:  K = 1, 2, … while Bernoulli(γ/K); 1 where it ends at an odd K
    2  U uniform in [0, t), kept with probability exp(−U/t);  V: how often Bernoulli(exp(−1)) succeeds;
       X = U + t·V is geometric;  |Z| = ⌊X/s⌋ with a random sign, −0 drawn again
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mpc.coins import Coins
from mpc.messages import RingWords
from mpc.ring import wide

Flags: TypeAlias = NDArray[np.bool_]
#: a scale from here on is rounded up to a whole number
_WHOLE = 1 << 20
#: the numerator of a scale that is no whole number stays below this, so that X does not pass 64 bits but with
#: probability exp(-2^12)
_SMALL = 1 << 52
#: an upper bound of the natural logarithm of 2
_LN2 = Fraction(693_148, 1_000_000)


@dataclass(frozen=True)
class Scale:
    """``t / s`` in units. ``s`` is 1, or t is below 2^52."""

    t: int
    s: int = 1

    @staticmethod
    def of(value: Fraction) -> Scale:
        """The scale, or one that is larger by a millionth at most."""
        if value < _WHOLE and value.numerator < _SMALL:
            return Scale(value.numerator, value.denominator)
        s = 1 if value >= _WHOLE else ceil(_WHOLE / value)
        return Scale(ceil(value * s), s)

    @property
    def value(self) -> Fraction:
        return Fraction(self.t, self.s)

    def tail(self, bits: int) -> int:
        """What |Z| passes with probability 2^-bits at most: 2 exp(−(m + 1) / scale) ≤ 2^-bits."""
        return ceil(self.value * _LN2 * (bits + 1))


def discrete_laplace(coins: Coins, path: str, scale: Scale, count: int) -> RingWords:
    """``count`` independent samples as two's complement of 128 bits, (count, 2) with the low word first.

    Streams below ``path`` are drawn from ``coins``, so the same coins give the same samples.
    """
    assert scale.t > 0 and scale.s > 0 and (scale.s == 1 or scale.t < _SMALL) and scale.t < 1 << 124
    bits = _Bits(coins, path)
    out = wide.zeros(count)
    todo = np.arange(count)
    while len(todo):
        x = bits.below(scale.t, len(todo))
        kept = _exp_minus(bits, x, scale.t)
        at, x = todo[kept], x[kept]
        going = np.arange(len(at))
        while len(going := going[_exp_minus_one(bits, len(going))]):
            more = x[going]
            wide.add_into(more, np.broadcast_to(_word(scale.t), more.shape))
            x[going] = more
        if scale.s > 1:
            x[:, 0] //= np.uint64(scale.s)
        negative = bits.flips(len(at))
        again = negative & (x[:, 0] == 0) & (x[:, 1] == 0)
        minus = wide.zeros(len(at))
        wide.subtract_into(minus, x)
        out[at] = np.where(negative[:, None], minus, x)
        todo = np.concatenate([todo[~kept], at[again]])
    return out


class _Bits:
    """Uniform numbers from streams that are numbered below a path."""

    def __init__(self, coins: Coins, path: str) -> None:
        self._coins, self._path, self._drawn = coins, path, 0

    def words(self, count: int) -> NDArray[np.uint64]:
        self._drawn += 1
        return self._coins.words(f"{self._path}/{self._drawn}", count)

    def flips(self, count: int) -> Flags:
        heads: Flags = self.words(count) >> np.uint64(63) == 1
        return heads

    def below(self, limit: int, count: int) -> RingWords:
        """Uniform in [0, limit), (count, 2): too large ones are drawn again."""
        size = (limit - 1).bit_length()
        out = wide.zeros(count)
        todo = np.arange(count if size else 0)
        while len(todo):
            drawn = wide.zeros(len(todo))
            drawn[:, 0] = self.words(len(todo)) >> np.uint64(64 - min(size, 64))
            if size > 64:
                drawn[:, 1] = self.words(len(todo)) >> np.uint64(128 - size)
            good = _less(drawn, _word(limit))
            out[todo[good]] = drawn[good]
            todo = todo[~good]
        return out


def _exp_minus(bits: _Bits, x: RingWords, t: int) -> Flags:
    """True with probability exp(−x/t), element by element (algorithm 1); 0 ≤ x < t."""
    odd = np.ones(len(x), dtype=bool)
    going, k = np.arange(len(x)), 1
    while len(going):
        on = _less(bits.below(t, len(going)), x[going]) & _one_in(bits, k, len(going))
        going, k = going[on], k + 1
        odd[going] = k % 2 == 1
    return odd


def _exp_minus_one(bits: _Bits, count: int) -> Flags:
    """True with probability exp(−1) (algorithm 1 with γ = 1)."""
    odd = np.ones(count, dtype=bool)
    going, k = np.arange(count), 1
    while len(going):
        going, k = going[_one_in(bits, k, len(going))], k + 1
        odd[going] = k % 2 == 1
    return odd


def _one_in(bits: _Bits, k: int, count: int) -> Flags:
    """True with probability 1/k."""
    found: Flags = bits.below(k, count)[:, 0] == 0
    return found


def _word(value: int) -> RingWords:
    return np.array([value & (2**64 - 1), value >> 64], dtype=np.uint64)


def _less(x: RingWords, y: RingWords) -> Flags:
    """x < y, element by element, without sign."""
    found: Flags = (x[:, 1] < y[..., 1]) | ((x[:, 1] == y[..., 1]) & (x[:, 0] < y[..., 0]))
    return found
