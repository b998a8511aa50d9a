"""How far noise may have moved a number: half-widths of intervals that hold it with a stated probability.

For people to read, so floats will do; roundings go outwards. A number that is linear in noised words has the interval
of its noise alone, whatever the data. A quotient of two such numbers has that of all quotients of an interval of each,
of half the allowed error each. For others nothing is stated (None).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, lcm

import numpy as np
from numpy.typing import NDArray

from mpc.noise import Scale
from mpc.query.evaluate import Datum, evaluate
from mpc.query.nodes import Arith, Case, Cast, Const, Divide, Expr, KeyRef, Neg, Round, Scaled, WordRef, is_null
from mpc.query.plan import Plan

#: with this probability what would have come out without noise lies within the half-width
CONFIDENCE = Fraction(95, 100)
#: points of the grid on which noise is added up, in the largest scale
_FINE = 2000
#: beyond this many scales, and four for each part, there is nothing that counts: exp(-40)
_FAR = 40

Leaf = Callable[[Expr], Datum]


def word_accuracy(plan: Plan, ref: WordRef) -> Fraction | None:
    """The half-width of one revealed word, in true values; None where it is exact."""
    return _of_linear(plan, {ref: Fraction(1)}, CONFIDENCE)


def accuracy(plan: Plan, e: Expr, leaf: Leaf) -> Fraction | None:
    """The half-width of a result, as far as one can be stated. ``leaf``: values of words and keys, as ``evaluate``."""
    e = _taken(e, leaf)
    if isinstance(e, Round):
        inner = accuracy(plan, e.arg, leaf)
        return None if inner is None else inner + Fraction(1, 2) / Fraction(10) ** e.digits
    form = _linear(e)
    if form is not None:
        return _of_linear(plan, form, CONFIDENCE)
    return _of_quotient(plan, e, leaf) if isinstance(e, Divide) else None


def _taken(e: Expr, leaf: Leaf) -> Expr:
    """The branch that was taken of a choice between a value and NULL."""
    while isinstance(e, Case) and len(e.whens) == 1 and is_null(e.default):
        e = e.whens[0][1]
    return e


def _of_quotient(plan: Plan, e: Divide, leaf: Leaf) -> Fraction | None:
    forms = _linear(e.left), _linear(e.right)
    values = evaluate(e.left, leaf), evaluate(e.right, leaf)
    if None in forms or None in values:
        return None
    each = 1 - (1 - CONFIDENCE) / 2
    (x, dx), (y, dy) = (
        (Fraction(v or 0), _of_linear(plan, f or {}, each) or Fraction(0)) for f, v in zip(forms, values, strict=True)
    )
    if abs(y) <= dy:
        return None  # the divisor may be 0
    return max(abs(a / b - x / y) for a in (x - dx, x + dx) for b in (y - dy, y + dy))


def _linear(e: Expr) -> dict[WordRef, Fraction] | None:
    """Coefficients of words; None where an expression is not linear in them. Constants and keys carry no noise."""
    if isinstance(e, WordRef):
        return {e: Fraction(1)}
    if isinstance(e, Const | KeyRef):
        return {}
    if isinstance(e, Neg):
        return _times(_linear(e.arg), Fraction(-1))
    if isinstance(e, Scaled):
        return _times(_linear(e.arg), Fraction(e.numerator, e.denominator))
    if isinstance(e, Cast) and e.kind in ("decimal", "double") and e.arg.kind != "boolean" and e.scale >= e.arg.scale:
        return _linear(e.arg)
    if isinstance(e, Arith) and e.op in "+-":
        left, right = _linear(e.left), _times(_linear(e.right), Fraction(1 if e.op == "+" else -1))
        if left is None or right is None:
            return None
        return {w: left.get(w, Fraction(0)) + right.get(w, Fraction(0)) for w in {**left, **right}}
    if isinstance(e, Divide) and isinstance(e.right, Const) and _value(e.right):
        return _times(_linear(e.left), 1 / _value(e.right))
    if isinstance(e, Arith) and e.op == "*" and isinstance(e.right, Const):
        return _times(_linear(e.left), _value(e.right))
    if isinstance(e, Arith) and e.op == "*" and isinstance(e.left, Const):
        return _times(_linear(e.right), _value(e.left))
    return None


def _value(e: Const) -> Fraction:
    return Fraction(e.value, 10**e.scale) if type(e.value) is int else Fraction(0)


def _times(form: dict[WordRef, Fraction] | None, factor: Fraction) -> dict[WordRef, Fraction] | None:
    return None if form is None else {w: c * factor for w, c in form.items()}


def _of_linear(plan: Plan, form: dict[WordRef, Fraction], confidence: Fraction) -> Fraction | None:
    parts: list[tuple[Fraction, Scale]] = []
    for ref, c in form.items():
        word = plan.pools[ref.pool].measures[ref.measure].words[ref.word]
        parts += [(abs(c) / 10**word.scale, n.scale) for n in word.noise if c]
    if not parts:
        return None
    return half_width(tuple(parts), confidence)


@lru_cache(maxsize=256)
def half_width(parts: Sequence[tuple[Fraction, Scale]], confidence: Fraction) -> Fraction:
    """The smallest a with P(|Σ c·Z| ≤ a) ≥ ``confidence`` for independent discrete Laplace Z of these scales, c > 0.

    Exact but for rounding where the grid holds every value there is; else at most a two-thousandth of the largest
    scale too large for each part.
    """
    whole = lcm(*(c.denominator for c, _ in parts))
    factors = [(int(c * whole), scale) for c, scale in parts]
    largest = max(c * scale.value for c, scale in factors)
    step = max(1, int(largest / _FINE))
    reach = ceil((_FAR + 4 * len(factors)) * largest / step) + len(factors)
    size = 1 << (4 * reach + 1).bit_length()
    transformed = np.ones(size // 2 + 1, dtype=complex)
    for c, scale in factors:
        transformed *= np.fft.rfft(_on_grid(c, scale, step, reach, size))
    mass = np.fft.irfft(transformed, size)
    within = mass[0] + np.concatenate([[0.0], np.cumsum(mass[1 : reach + 1] + mass[: -reach - 1 : -1])])
    found = int(np.searchsorted(within, float(confidence) - 1e-12))
    margin = len(factors) * Fraction(step, 2) if step > 1 else Fraction(0)
    return (found * step + margin) / whole


def _on_grid(c: int, scale: Scale, step: int, reach: int, size: int) -> NDArray[np.float64]:
    """P(c·Z is nearest to g·step) at index g modulo ``size``."""
    edges = (np.arange(-reach, reach + 2) - 0.5) * step / c
    below = _cumulative(np.floor(edges), float(scale.value))
    grid = np.zeros(size)
    grid[np.arange(-reach, reach + 1) % size] = np.diff(below)
    return grid


def _cumulative(z: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """P(Z ≤ z)."""
    q = np.exp(-1 / scale)
    outside = np.exp(-np.where(z >= 0, z + 1, -z) / scale) / (1 + q)
    found: NDArray[np.float64] = np.where(z >= 0, 1 - outside, outside)
    return found
