"""P8, second half: only totals of groups with enough entities behind them are let out.

    everybody who holds shares of the totals (group_totals.py), with dealt randomness of H
      entities − 2^33 · hidden                    where a release is hidden for other reasons: dominance.py, an owner
      below = [entities − least < 0]              P5, for every group and every owner's entities at once
      keep  = Π (1 − below)                       P4, then complement.py for what would give a hidden group back
      keep, keep · total                          P4, then P2 to the recipient: total.py with these as inputs

A release is one decision and what it lets out: a measure with a CASE or FILTER of its own has a release of its own,
since its entities are those for which the condition holds. A suppressed group comes out as keep = 0 and zeros; an empty
one looks the same.

With noise (P12) no entity is counted and nothing is decided: every holder adds its own noise to its shares of each
total, and all of them are let out.

    everybody who has noise
      total + its noise           P2 to the recipient, with keep = 1 everywhere

Trust level: helper. Adversary: semi-honest; private from any coalition without both H and another holder.
Leakage: the recipient keep and the kept totals, nobody anything else. The costs are those of compare.py and multiply.py
for G elements, so next to nothing beside the join. Labels that come from the spine's data are a column with the label
at a mark of its group: what is suppressed shows none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpc.errors import LocalError
from mpc.messages import RingWords
from mpc.protocols.group_totals import Grouping, Totals
from mpc.protocols.total import Sum
from mpc.ring import ring
from mpc.rounds import Rounds, Session
from mpc.sharing.bits import bit_to_arithmetic, deal_bit_to_arithmetic
from mpc.sharing.circle import Circle
from mpc.sharing.compare import deal_negative, negative
from mpc.sharing.multiply import deal_multiply, multiply

#: more entities than any table has rows
BEYOND = np.uint64(1 << 33)


@dataclass(frozen=True)
class Entities:
    """A column (64 bits) whose total counts an owner's entities: over one row of each key, or, where the column is 1 in
    one row of each entity anyway (``marked``), over all rows."""

    column: int
    marked: bool = False


@dataclass(frozen=True)
class Release:
    """Totals (numbers of columns) that are let out where every count of ``entities`` reaches ``least``; without any
    everywhere."""

    entities: tuple[Entities, ...]
    least: int
    totals: tuple[int, ...]


@dataclass(frozen=True)
class Groups:
    """The releases of a grouping."""

    grouping: Grouping
    releases: tuple[Release, ...]

    def __post_init__(self) -> None:
        assert self.releases and all(one.least >= 0 for one in self.releases)
        assert all(bool(one.entities) == self.decides for one in self.releases)

    @property
    def decides(self) -> bool:
        """Whether entities are counted and groups hidden."""
        return bool(self.releases[0].entities)

    @property
    def circle(self) -> Circle:
        g = self.grouping
        return Circle(tuple(sorted((g.spine, *g.holders))), g.helper)

    def let_out(self, bits: int) -> list[tuple[int, int]]:
        """Release and column of every total of this width, in the order in which they are said."""
        widths = self.grouping.columns
        return [(r, c) for r, release in enumerate(self.releases) for c in release.totals if widths[c] == bits]

    def sums(self, recipient: str) -> list[Sum]:
        """What is revealed: in 64 bits the decisions and the totals, in 128 bits the totals."""
        g = self.grouping
        lengths = {64: len(self.releases) + len(self.let_out(64)), 128: len(self.let_out(128))}
        return [
            Sum(f"{g.name}/w{bits}/{recipient}", self.circle.holders, recipient, bits, n * g.groups)
            for bits, n in lengths.items()
            if n
        ]


@dataclass(frozen=True, eq=False)
class Shown:
    """A release as the recipient sees it, group by group: whether it passed, and its totals, None where it did not."""

    keep: list[bool]
    totals: list[list[int | None]]


def everything(session: Session, g: Groups, totals: Totals, noise: Sequence[RingWords]) -> dict[int, RingWords]:
    """What ``release`` returns, where nothing is decided: nobody says a word. ``noise``: what this holder adds, of each
    release word by word, (G,) or (G, 2) each; nothing at all: zeros."""
    assert not g.decides
    keep = np.full(len(g.releases) * g.grouping.groups, session.me == g.circle.first, dtype=np.uint64)
    said = {64: [keep]}
    own = iter(noise)
    for one in g.releases:
        for c in one.totals:
            bits = g.grouping.columns[c]
            words = totals.rows[c].copy()
            if noise:
                ring(bits).add_into(words, next(own))
            said.setdefault(bits, []).append(words)
    return {bits: np.concatenate(columns) for bits, columns in said.items()}


def decide(
    session: Session, g: Groups, totals: Totals, hidden: Sequence[RingWords | None] = ()
) -> Rounds[list[RingWords]]:
    """The role of everybody who holds shares of the totals. Returns its shares of keep, (G,) for each release.

    ``hidden``: of each release shares of how many reasons there are to hide a group of it, (G,), together fewer than
    2^29; None, or nothing at all: none.
    """
    assert g.decides
    return (yield from _decide(_here(session, g), g, totals, hidden or (None,) * len(g.releases)))


def release(session: Session, g: Groups, totals: Totals, keep: Sequence[RingWords]) -> Rounds[dict[int, RingWords]]:
    """The same role, with what was decided. Returns its shares for ``Groups.sums``, by width."""
    here, circle = _here(session, g), g.circle
    said = {64: list(keep)}
    for bits in (64, 128):
        asked = g.let_out(bits)
        if not asked:
            continue
        factors = np.concatenate([keep[r] for r, _ in asked])
        if bits == 128:
            # shares of a bit modulo 2^64 are, by their lowest bits, XOR shares of it
            odd = (factors & np.uint64(1)).astype(np.uint8)
            factors = yield from bit_to_arithmetic(here.at("wide"), circle, 128, odd)
        values = np.concatenate([totals.rows[c] for _, c in asked])
        kept = yield from multiply(here.at(f"kept/{bits}"), circle, bits, factors, values)
        said.setdefault(bits, []).append(kept)
    return {bits: np.concatenate(columns) for bits, columns in said.items()}


def deal_decide(session: Session, g: Groups) -> Rounds[None]:
    """The helper's role in ``decide``: it deals, and hears nothing."""
    here, circle, n = _here(session, g), g.circle, g.grouping.groups
    counts = [len(r.entities) for r in g.releases]
    yield from deal_negative(here.at("below"), circle, 64, sum(counts) * n)
    level = 0
    while pairs := sum(c // 2 for c in counts):
        yield from deal_multiply(here.at(f"all/{level}"), circle, 64, pairs * n)
        counts = [c - c // 2 for c in counts]
        level += 1


def deal_release(session: Session, g: Groups) -> Rounds[None]:
    """The helper's role in ``release``, as in ``decide``."""
    here, circle, n = _here(session, g), g.circle, g.grouping.groups
    for bits in (64, 128):
        if asked := len(g.let_out(bits)):
            if bits == 128:
                yield from deal_bit_to_arithmetic(here.at("wide"), circle, 128, asked * n)
            yield from deal_multiply(here.at(f"kept/{bits}"), circle, bits, asked * n)


def read(g: Groups, opened: Mapping[int, RingWords]) -> list[Shown]:
    """At the recipient: the releases from the opened sums, by width. Raises LocalError protocol.malformed."""
    n, decisions = g.grouping.groups, len(g.releases)
    keep = opened[64][: decisions * n].reshape(decisions, n)
    if keep.max(initial=0) > 1:
        raise LocalError(
            "protocol.malformed",
            "Whether a group may be shown came out as neither yes nor no.",
            "A member deviated from the protocol; a replay shows which one. Do not use the result.",
        )
    shown = [Shown(row.astype(bool).tolist(), []) for row in keep]
    values = {(64, r, c): opened[64][(decisions + i) * n :][:n] for i, (r, c) in enumerate(g.let_out(64))}
    values |= {(128, r, c): opened[128][i * n :][:n] for i, (r, c) in enumerate(g.let_out(128))}
    for r, one in enumerate(g.releases):
        for c in one.totals:
            bits = g.grouping.columns[c]
            total = ring(bits).to_ints(values[bits, r, c])
            shown[r].totals.append([v if passed else None for v, passed in zip(total, shown[r].keep, strict=True)])
    return shown


def entities(g: Groups, totals: Totals) -> list[list[RingWords]]:
    """Of each release shares of its counts of entities, (G,) each."""
    return [[(totals.rows if e.marked else totals.keys)[e.column] for e in one.entities] for one in g.releases]


def _here(session: Session, g: Groups) -> Session:
    return session.at(f"{g.grouping.name}/release")


def _decide(here: Session, g: Groups, totals: Totals, hidden: Sequence[RingWords | None]) -> Rounds[list[RingWords]]:
    """Shares of keep, (G,) for each release."""
    circle, n = g.circle, g.grouping.groups
    counts = []
    for one, found, reasons in zip(g.releases, entities(g, totals), hidden, strict=True):
        for i, there in enumerate(found):
            count = there.copy()
            if here.me == circle.first:
                count -= np.uint64(one.least)
            if i == 0 and reasons is not None:
                count -= BEYOND * reasons
            counts.append(count)
    below = yield from negative(here.at("below"), circle, 64, np.concatenate(counts))
    enough = np.zeros_like(below)
    if here.me == circle.first:
        enough[:] = 1
    enough -= below

    columns = iter(enough.reshape(-1, n))
    factors = [[next(columns) for _ in one.entities] for one in g.releases]
    level = 0
    while any(len(f) > 1 for f in factors):
        x, y = (
            np.concatenate([c for f in factors for c in f[side : len(f) // 2 * 2 : 2]] or [enough[:0]])
            for side in (0, 1)
        )
        products = iter((yield from multiply(here.at(f"all/{level}"), circle, 64, x, y)).reshape(-1, n))
        factors = [[*(next(products) for _ in range(len(f) // 2)), *f[len(f) // 2 * 2 :]] for f in factors]
        level += 1
    return [f[0] for f in factors]
