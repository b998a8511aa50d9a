"""A join from its sides to the words that are let out: what data parties and helper do for one pool (P6, P4, P8).

    spine                            every other side                     helper
      rows in group order
      align ◀───────────── keyed tags, masked columns ─────────────▶        matches, picks       align.py
      steps: products of shared columns, everybody with a share              deals                steps.py
      totals by group ◀──────────────────────────────────────────────▶      picks                group_totals.py
      no entity above a share of them, where an owner asks for it            deals, picks         dominance.py
      no population too close to an earlier one, where one asks for it       deals                differences.py
      sums rounded, where an owner asks for it                               deals                round_totals.py
      entities ≥ least: what passes                                          deals                groups.py
      lines that would give a hidden cell back: one more is hidden           deals                complement.py
      what passes is let out; with noise all, everybody's noise added        deals                groups.py
      MIN, MAX, quantiles: a search in what passes                           deals, picks         ranked_rows.py
      = this party's words of the pool, added up by P3 like those of any other pool               total.py

Where the result is a row for each of the spine's, the words are the columns themselves: no totals, nothing suppressed.

Large tables are joined part by part (parts.py): a key's rows are all in one part, so totals and entities of the parts
add up, and memory is that of a part. What is let out is compared once, at the end.

Read ``play`` and ``play_helper`` side by side: they take the same steps in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpc import steps
from mpc.joint_setup import Joint
from mpc.joint_sides import SideRows, aligned_sides, rows_in_part, spine_order
from mpc.joint_words import by_slice, words_of_groups, words_of_rows
from mpc.messages import RingWords
from mpc.protocols import align, complement, differences, dominance, group_totals, groups, ranked_rows, round_totals
from mpc.protocols.dominance import Addends
from mpc.protocols.group_totals import Totals
from mpc.protocols.parts import buckets, share_key
from mpc.protocols.ranked import Found
from mpc.protocols.ranked_rows import Part
from mpc.query.plan_joins import ComparedPool
from mpc.query.plan_pools import Ring
from mpc.ring import ring
from mpc.rounds import Rounds, Session

# ---- the roles


def play(session: Session, j: Joint, mine: Mapping[str, SideRows]) -> Rounds[dict[Ring, RingWords]]:
    """A data party's role. Returns its words of the pool by ring, in the order of ``Plan.columns``.

    ``mine``: its sides, by name.
    """
    here = session.at(j.name)
    if j.pool.by_row:
        order = spine_order(here, j, mine[j.spine.name]) if session.me == j.spine.party else None
        inputs = yield from aligned_sides(here, j, mine, order)
        return words_of_rows(j, (yield from steps.compute(here, j.steps, inputs, j.computed_steps())))
    bucket = yield from _agreed_buckets(here, j, mine)
    sums: Totals | None = None
    rows: list[Part] = []
    addends: list[Addends] = []
    for step, piece in j.pieces:
        part = mine if piece is j else {n: rows_in_part(piece, n, bucket[n] == piece.piece, x) for n, x in mine.items()}
        totals, of_rows, added = yield from _totals(here.at(step) if step else here, piece, part)
        sums = totals if sums is None else _added(j, sums, totals)
        rows.append(of_rows)
        addends.append(added)
    assert sums is not None
    g = j.groups
    if not g.decides:
        said = groups.everything(here, g, sums, _noise(j, mine))
        return words_of_groups(j, g, said, None, first=session.me == j.circle.first)
    dominated = yield from _dominated(here, j, addends, sums)
    del addends
    reasons = _both(dominated, (yield from _close(here, j, sums, mine)))
    if (rounding := j.rounding) is not None:
        rounded = yield from round_totals.play(here.at("rounded"), rounding, [sums.rows[c] for c in j.rounded])
        by_column = dict(zip(j.rounded, rounded, strict=True))
        sums = replace(sums, rows=[by_column.get(c, total) for c, total in enumerate(sums.rows)])
    keep = yield from groups.decide(here, g, sums, _with_own(j, mine, reasons))
    if (lines := j.complement) is not None:
        keep = yield from complement.play(here, lines, keep, groups.entities(g, sums), reasons)
    said = yield from groups.release(here, g, sums, keep)
    found = (yield from _searched(here, j, rows, sums, said[64])) if j.pool.ranked else None
    return words_of_groups(j, g, said, found, first=session.me == j.circle.first)


def _totals(here: Session, j: Joint, mine: Mapping[str, SideRows]) -> Rounds[tuple[Totals, Part, Addends]]:
    """Shares of the totals of one part's rows, of the rows in which values are searched for by their place, and of
    those in which an entity's part of a total is judged."""
    order = spine_order(here, j, mine[j.spine.name]) if here.me == j.spine.party else None
    inputs = yield from aligned_sides(here, j, mine, order)
    columns = yield from steps.compute(here, j.steps, inputs, j.computed_steps())
    del inputs
    totalled, at = columns[: len(j.totalled())], {step: i for i, step in enumerate(j.computed_steps())}
    part = Part([columns[at[r.value]] for r in j.pool.ranked], [columns[at[r.count]] for r in j.pool.ranked], order)
    addends = Addends([columns[at[step]] for step in j.addends], order)
    if order is not None:
        totals = yield from group_totals.spine_totals(here, j.groups.grouping, order, totalled)
    else:
        totals = yield from group_totals.holder_totals(here, j.groups.grouping, totalled)
    return totals, part, addends


def _dominated(here: Session, j: Joint, parts: list[Addends], sums: Totals) -> Rounds[list[RingWords | None]]:
    """Of each release shares of how many entities carry more than they may; None where it adds up nothing."""
    d = j.dominance
    if d is None or j.pool.dominance is None:
        return [None] * len(j.pool.released)
    at = {step: i for i, step in enumerate(j.totalled())}
    found = yield from dominance.play(here, d, parts, [sums.rows[at[step]] for step in j.addends])
    by_check = dict(zip(j.checks, found, strict=True))
    return [by_check.get(check) for check in j.pool.dominance.addends]


def _close(here: Session, j: Joint, sums: Totals, mine: Mapping[str, SideRows]) -> Rounds[list[RingWords | None]]:
    """Of each release shares of how many populations it is too close to; None where it is compared with none."""
    d = j.differences
    if d is None:
        return [None] * len(j.pool.released)
    at = {step: i for i, step in enumerate(j.totalled())}
    nothing, numbers = np.zeros(j.pool.groups, dtype=np.uint64), _brought(j, mine)
    totals = []
    for c in j.compared_columns:
        x = nothing if c.step is None else sums.rows[at[c.step]]
        if c.beside is not None:
            earlier = sums.rows[at[c.beside]]
            x = x + earlier.sum(dtype=np.uint64) - earlier
        x = np.full_like(x, x.sum(dtype=np.uint64)) if c.whole else x
        totals.append(x if c.brought is None else x + numbers.get(c.brought, nothing))
    return (yield from differences.play(here, d, totals))


def _brought(j: Joint, mine: Mapping[str, SideRows]) -> dict[int, RingWords]:
    """How many entities are in the earlier populations that this party brings, by their number."""
    if not isinstance(j.pool, ComparedPool):
        return {}
    sides = [(s, mine[s.name]) for s in j.pool.sides if s.name in mine]
    return {i: n for side, rows in sides for i, n in zip(j.pool.brought_by(side), rows.counts, strict=True)}


def _both(some: list[RingWords | None], more: list[RingWords | None]) -> list[RingWords | None]:
    """Reasons of both kinds, release by release."""
    pairs = zip(some, more, strict=True)
    return [b if a is None else a if b is None else a + b for a, b in pairs]


def _with_own(j: Joint, mine: Mapping[str, SideRows], hidden: list[RingWords | None]) -> list[RingWords | None]:
    """Reasons to hide groups of each release, with those that this party has by itself: its share of them."""
    out = list(hidden)
    for rows in mine.values():
        for m, cells in enumerate(() if rows.hidden is None else rows.hidden):
            for r, own in enumerate(by_slice(j.pool, cells), start=m * j.pool.slices):
                so_far = out[r]
                out[r] = own.astype(np.uint64) if so_far is None else so_far + own
    return out


def _noise(j: Joint, mine: Mapping[str, SideRows]) -> list[RingWords]:
    """This party's noise in the order of ``groups.everything``: measures, their slices, words."""
    drawn = iter([by_slice(j.pool, n) for rows in mine.values() for n in rows.noise])
    measures = [[n for _, n in zip(m.words, drawn, strict=False)] for m in j.pool.measures]
    return [word[s] for words in measures for s in range(j.pool.slices) for word in words]


def _searched(here: Session, j: Joint, rows: list[Part], sums: Totals, said: RingWords) -> Rounds[Found]:
    """What stands at the places asked for. ``said``: shares of whether each release passes come first."""
    n, at = j.pool.groups, {step: i for i, step in enumerate(j.totalled())}
    keep = [said[r.released * n : (r.released + 1) * n] for r in j.pool.ranked]
    counts = [sums.rows[at[r.count]] for r in j.pool.ranked]
    search = j.search
    assert search is not None
    return (yield from ranked_rows.play(here, search, rows, keep, counts))


def play_helper(session: Session, j: Joint) -> Rounds[None]:
    """The helper's role: it matches tags and deals; no opening comes here."""
    here = session.at(j.name)
    for step, piece in j.pieces:
        yield from _help_part(here.at(step) if step else here, piece)
    if (d := j.dominance) is not None:
        yield from dominance.play_helper(here, d)
    if (compared := j.differences) is not None:
        yield from differences.play_helper(here, compared)
    if (rounding := j.rounding) is not None:
        yield from round_totals.deal(here.at("rounded"), rounding)
    if j.decides:
        yield from groups.deal_decide(here, j.groups)
        if (lines := j.complement) is not None:
            yield from complement.play_helper(here, lines)
        yield from groups.deal_release(here, j.groups)
    if (search := j.search) is not None:
        yield from ranked_rows.play_helper(here, search)


def _help_part(here: Session, j: Joint) -> Rounds[None]:
    yield from align.helper(here, j.aligns)
    yield from steps.deal(here, j.steps)
    if not j.pool.by_row:
        yield from group_totals.helper_totals(here, j.groups.grouping)


# ---- parts


def _agreed_buckets(here: Session, j: Joint, mine: Mapping[str, SideRows]) -> Rounds[Mapping[str, NDArray[np.int64]]]:
    """The part of each row of this party's sides, by a key that all data parties hear from the spine."""
    if j.parts == 1:
        return {}
    key = yield from share_key(here.at("parts"), j.spine.party, j.circle.holders)
    return {name: buckets(key, rows.keys, j.parts) for name, rows in mine.items()}


def _added(j: Joint, sums: Totals, more: Totals) -> Totals:
    for bits, into, other in zip(
        j.groups.grouping.columns * 2, (*sums.rows, *sums.keys), (*more.rows, *more.keys), strict=True
    ):
        ring(bits).add_into(into, other)
    return sums
