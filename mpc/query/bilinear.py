"""A step of a join of two sides as Σ coefficient · column of the spine · column of the other side.

What is not of that form (comparisons across owners, a LEFT JOIN's absent rows, a third side) cannot be totalled under
additively homomorphic encryption: one side multiplies, the other encrypts. Two parties compute it on shares first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mpc.query.plan_joins import Input, Linear, Product, Step, TallyPool

#: numbers of columns of the two sides; None: 1 in every row; of the other side -1: its flag
Pair = tuple[int | None, int | None]
Bilinear = Mapping[Pair, int]
#: the same with a column of the other side in each product, which it has in a join that leaves out what did not meet
Met = Mapping[tuple[int | None, int], int]


class NotBilinear(Exception):
    """A step compares, or multiplies more than one column of a side."""


def bilinear(steps: Sequence[Step], n: int) -> Bilinear:
    """The step number ``n``. Raises NotBilinear."""
    step = steps[n]
    if isinstance(step, Input):
        if step.side > 1:
            raise NotBilinear
        return {(step.column, None) if step.side == 0 else (None, step.column): 1}
    out: dict[Pair, int] = {}
    if isinstance(step, Linear):
        out[None, None] = step.constant
        for coefficient, part in step.terms:
            for pair, x in bilinear(steps, part).items():
                out[pair] = out.get(pair, 0) + coefficient * x
    elif isinstance(step, Product):
        for (a, b), x in bilinear(steps, step.left).items():
            for (c, d), y in bilinear(steps, step.right).items():
                if None not in (a, c) or None not in (b, d):
                    raise NotBilinear
                both = (c if a is None else a, d if b is None else b)
                out[both] = out.get(both, 0) + x * y
    else:
        raise NotBilinear
    return {pair: c for pair, c in out.items() if c}


def met(pool: TallyPool, n: int) -> Met:
    """The step number ``n`` of a pool. Columns that are 1 in every row that counts stand in no product. Raises
    NotBilinear."""
    out: dict[tuple[int | None, int], int] = {}
    for (a, b), x in bilinear(pool.steps, n).items():
        if b is None:
            raise NotBilinear
        pair = (None if a in pool.ones[0] else a, -1 if b in pool.ones[1] else b)
        out[pair] = out.get(pair, 0) + x
    return {pair: c for pair, c in out.items() if c}


def shown_by_themselves(words: Iterable[Met]) -> frozenset[int]:
    """Columns of the other side that some word of a result by row tells: all else in it is the recipient's own."""
    told = ([(a, b) for a, b in word if b >= 0] for word in words)
    return frozenset(pairs[0][1] for pairs in told if len(pairs) == 1 and pairs[0][0] is None)
