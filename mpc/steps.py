"""The steps of a join: columns of shared rows computed from each other, level by level (P4, P5).

    every holder                                                                    helper
      what adds up (Input, Linear, Low)        by itself
      products, comparisons of a level ◀──── openings, straight to each other ────▶ deals          sharing/

Steps of one level, kind and width are computed in one go: as many rounds as there are levels and kinds, however many
columns. Read ``compute`` and ``deal`` side by side: both walk ``batches``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mpc.messages import RingWords
from mpc.query.plan_joins import Input, Linear, Low, Product, Sign, Step
from mpc.query.plan_pools import Ring
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_equal_zero, deal_negative, equal_zero, negative
from mpc.sharing.multiply import deal_multiply, deal_multiply_known, multiply, multiply_known


@dataclass(frozen=True)
class Steps:
    """What is computed over ``rows`` rows by a ``circle``; ``spine``: the party that knows the columns of side 0."""

    circle: Circle
    spine: str
    rows: int
    steps: tuple[Step, ...]


Kind = Literal["known", "shared", "negative", "zero"]


@dataclass(frozen=True)
class Batch:
    """Steps of one level, kind and width, computed in one go: products with the spine's own columns (``known``) or of
    shared ones, and comparisons with zero."""

    level: int
    kind: Kind
    bits: Ring
    steps: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"level/{self.level}/{self.kind}/w{self.bits}"


def batches(steps: tuple[Step, ...]) -> Iterator[Batch]:
    """All steps that need messages, those first that need no other."""
    level: list[int] = []
    found: dict[tuple[int, Kind, Ring], list[int]] = {}
    for n, step in enumerate(steps):
        level.append(max((level[a] for a in _arguments(step)), default=0))
        kind = _kind(steps, step)
        if kind is not None:
            level[n] += 1
            found.setdefault((level[n], kind, step.bits), []).append(n)
    for (at, kind, bits), members in sorted(found.items()):
        yield Batch(at, kind, bits, tuple(members))


def _arguments(step: Step) -> tuple[int, ...]:
    if isinstance(step, Product):
        return step.left, step.right
    if isinstance(step, Linear):
        return tuple(t for _, t in step.terms)
    return (step.arg,) if isinstance(step, Sign | Low) else ()


def _kind(steps: tuple[Step, ...], step: Step) -> Kind | None:
    if isinstance(step, Product):
        return "known" if any(_of_spine(steps[a]) for a in _arguments(step)) else "shared"
    if isinstance(step, Sign):
        return "zero" if step.zero else "negative"
    return None


def _of_spine(step: Step) -> bool:
    return isinstance(step, Input) and step.side == 0


def needed(steps: tuple[Step, ...], wanted: Sequence[int]) -> tuple[tuple[Step, ...], list[int]]:
    """The steps that those ``wanted`` are made of, in their order, and where the wanted ones are among them."""
    used, todo = set(wanted), list(wanted)
    while todo:
        more = set(_arguments(steps[todo.pop()])) - used
        used |= more
        todo += more
    at = {n: i for i, n in enumerate(sorted(used))}
    return tuple(_renumbered(steps[n], at) for n in at), [at[n] for n in wanted]


def _renumbered(step: Step, at: Mapping[int, int]) -> Step:
    if isinstance(step, Product):
        return replace(step, left=at[step.left], right=at[step.right])
    if isinstance(step, Linear):
        return replace(step, terms=tuple((c, at[n]) for c, n in step.terms))
    return replace(step, arg=at[step.arg]) if isinstance(step, Sign | Low) else step


def compute(
    here: Session, s: Steps, inputs: Mapping[tuple[int, int], RingWords], wanted: Sequence[int]
) -> Rounds[list[RingWords]]:
    """A holder's role: its shares of the steps ``wanted``, (rows,) or (rows, 2) each. ``inputs``: its shares of the
    columns by side and number; of those left out it holds zeros."""
    steps, circle = s.steps, s.circle
    done: dict[int, RingWords] = {}

    def share(n: int) -> RingWords:
        step = steps[n]
        r = ring(step.bits)
        if isinstance(step, Product | Sign):
            return done[n]
        if isinstance(step, Low):
            return np.ascontiguousarray(share(step.arg)[:, 0])
        if isinstance(step, Input):
            known = inputs.get((step.side, step.column))
            return r.zeros(s.rows) if known is None else known
        out = r.zeros(s.rows)
        if step.constant and here.me == circle.first:
            r.add_into(out, r.from_ints([step.constant]).repeat(s.rows, axis=0))
        for coefficient, part in step.terms:
            x = share(part)
            r.add_into(out, x if coefficient == 1 else r.multiply(x, r.from_ints([coefficient])))
        return out

    def factors(n: int) -> tuple[int, int]:
        """Left and right factor of a product; a column of the spine is the left one."""
        left, right = _arguments(steps[n])
        return (left, right) if _of_spine(steps[left]) else (right, left)

    for batch in batches(steps):
        at = here.at(batch.name)
        if batch.kind in ("known", "shared"):
            y = np.concatenate([share(factors(n)[1]) for n in batch.steps])
            mine = batch.kind == "shared" or here.me == s.spine
            x = np.concatenate([share(factors(n)[0]) for n in batch.steps]) if mine else None
            if batch.kind == "known":
                z = yield from multiply_known(at, circle, s.spine, batch.bits, y, x)
            else:
                assert x is not None
                z = yield from multiply(at, circle, batch.bits, x, y)
        else:
            compare = negative if batch.kind == "negative" else equal_zero
            z = yield from compare(
                at, circle, batch.bits, np.concatenate([share(_arguments(steps[n])[0]) for n in batch.steps])
            )
        done.update(zip(batch.steps, np.split(z, len(batch.steps)), strict=True))
    return [share(n) for n in wanted]


def deal(here: Session, s: Steps) -> Rounds[None]:
    """The helper's role, or that of both holders where there is none (sharing/dealer.py)."""
    for batch in batches(s.steps):
        at, count = here.at(batch.name), len(batch.steps) * s.rows
        if batch.kind == "known":
            yield from deal_multiply_known(at, s.circle, s.spine, batch.bits, count)
        elif batch.kind == "shared":
            yield from deal_multiply(at, s.circle, batch.bits, count)
        elif batch.kind == "negative":
            yield from deal_negative(at, s.circle, batch.bits, count)
        else:
            yield from deal_equal_zero(at, s.circle, batch.bits, count)
