"""The sides of a join as shared columns: a party's own rows, by part and in the order of the spine (P6).

What a side brings in beside its columns as they are: marks and sums of entities at the spine (``SideColumn.how``), and
the spine party's own other tables, which it puts beside its rows by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mpc.crypto.tags import tags
from mpc.ids import Flags, Keys
from mpc.joint_setup import Joint
from mpc.messages import RingWords
from mpc.permutation import stable_argsort
from mpc.protocols import align
from mpc.protocols.align import repeated_key
from mpc.protocols.match import match
from mpc.protocols.parts import too_many
from mpc.protocols.spine_order import Order, group_order, key_numbers, table_order
from mpc.query.plan_pools import Ring
from mpc.ring import ring, run_sums
from mpc.rounds import Rounds, Session


@dataclass(frozen=True, eq=False)
class SideRows:
    """The rows of a side of a join, at most ``Side.rows``.

    ``keys``: one a row, at sides other than the spine each key once; ``group``: (n,) at the spine the number of the
    row's group, -1 where its own conditions fail; ``passing``: (n,) at the others; ``columns``: (n,) or (n, 2) each.
    ``hidden``: (measures, cells) what its party does not let out, None: nothing. ``noise``: what its party adds to the
    words of the pool (P12), measure by measure, (cells,) or (cells, 2) each: beside one of its sides. ``counts``: how
    many entities are in each of the earlier populations that it brings (``ComparedPool.brought_by``), (groups,) each.
    """

    keys: Keys
    group: NDArray[np.int64]
    passing: Flags
    columns: tuple[RingWords, ...]
    hidden: NDArray[np.bool_] | None = None
    noise: tuple[RingWords, ...] = ()
    counts: tuple[RingWords, ...] = ()

    def __repr__(self) -> str:
        return f"SideRows({len(self.keys)} rows)"


def rows_in_part(j: Joint, name: str, here: NDArray[np.bool_], rows: SideRows) -> SideRows:
    """The rows of a side that are in this part. Raises LocalError data.skew."""
    side = next(s for s in j.pool.sides if s.name == name)
    taken = np.flatnonzero(here)
    if len(taken) > j.rows_of(side):
        raise too_many(side.party)
    return SideRows(
        Keys(rows.keys.matrix[taken], rows.keys.null[taken]),
        rows.group[taken] if len(rows.group) else rows.group,
        rows.passing[taken],
        tuple(c[taken] for c in rows.columns),
    )


def spine_order(here: Session, j: Joint, mine: SideRows) -> Order:
    return table_order(mine.passing) if j.pool.by_row else group_order(here, mine.keys, mine.group, j.pool.groups)


def aligned_sides(
    here: Session, j: Joint, mine: Mapping[str, SideRows], order: Order | None
) -> Rounds[dict[tuple[int, int], RingWords]]:
    """This party's shares of the inputs, by side and column (-1: flag); those it has no share of are left out."""
    shares: dict[tuple[int, int], RingWords] = {}
    if order is not None:
        rows = mine[j.spine.name]
        for c, (column, declared) in enumerate(zip(rows.columns, j.spine.columns, strict=True)):
            if declared.how == "mark":
                column = first_marks(here.at(f"marks/{c}"), rows, column)
            elif declared.how == "entity":
                column = _entity_sums(here.at(f"entities/{c}"), rows, column, declared.bits)
            elif declared.how == "once":
                column = _once(here.at(f"once/{c}"), rows, column)
            elif declared.how == "across":
                every = replace(rows, group=np.minimum(rows.group, 0))
                column = _once(here.at(f"across/{c}"), every, column)
            shares[0, c] = order.column(column, j.rows)
        keys = order.keys(rows.keys)
        got = yield from align.spine(here, j.aligns, keys)
        aligned = {s.name: columns for s, columns in zip(j.others, got, strict=True)}
        for side in j.pool.sides[1:]:
            if side not in j.others:
                aligned[side.name] = _beside(here.at(f"beside/{side.name}"), j, keys, mine[side.name])
    else:
        ours = {s.name: a for s, a in zip(j.others, j.aligns, strict=True) if s.party == here.me}
        got = yield from align.other(here, list(ours.values()), [mine[name] for name in ours])
        aligned = dict(zip(ours, got, strict=True))
    for i, side in enumerate(j.pool.sides):
        shares.update({(i, c - 1): column for c, column in enumerate(aligned.get(side.name, ()))})
    return shares


def _beside(here: Session, j: Joint, keys: Keys, other: SideRows) -> list[RingWords]:
    """The spine party's own other table in the order of the spine: flag and columns, known to nobody else."""
    key = here.own.draw(here.path, 32)
    met = match(tags(key, keys.matrix[~keys.null]), tags(key, other.keys.matrix[~other.keys.null]))
    if met is None:
        raise repeated_key()
    place = np.flatnonzero(~keys.null)[met.row >= 0]
    row = np.flatnonzero(~other.keys.null)[met.row[met.row >= 0]]
    passing = other.passing[row]
    place, row = place[passing], row[passing]
    out = []
    for column in (other.passing.astype(np.uint64), *other.columns):
        laid = np.zeros((j.rows, *column.shape[1:]), dtype=np.uint64)
        laid[place] = column[row]
        out.append(laid)
    return out


def first_marks(here: Session, mine: SideRows, counts: RingWords) -> RingWords:
    """1 in the first row of each group and key in which the column is 1. Rows without a key count for nobody."""
    rows = np.flatnonzero((counts != 0) & (mine.group >= 0) & ~mine.keys.null)
    number = key_numbers(here, mine.keys)
    _, first = np.unique(mine.group[rows] * (2 * len(number)) + number[rows], return_index=True)
    marks = np.zeros_like(counts)
    marks[rows[first]] = 1
    return marks


def _entity_sums(here: Session, mine: SideRows, values: RingWords, bits: Ring) -> RingWords:
    """The sum over the rows of each group and key, in the first of them. Rows without a key are one entity together."""
    number = key_numbers(here, mine.keys)
    number[mine.keys.null] = len(number)  # as no key has
    rows = np.flatnonzero(mine.group >= 0)
    entity = mine.group[rows] * (2 * len(number)) + number[rows]
    order = stable_argsort(entity.astype(np.uint64))
    rows, entity = rows[order], entity[order]
    starts = np.flatnonzero(np.concatenate(([True], entity[1:] != entity[:-1]))) if len(rows) else rows
    out = ring(bits).zeros(len(values))
    out[rows[starts]] = run_sums(bits, values[rows], starts)
    return out


def _once(here: Session, mine: SideRows, marks: RingWords) -> RingWords:
    """1 in the first row of each group and key where the column is 1 in any of them. Rows without a key count for
    nobody."""
    counted = np.where(mine.keys.null, np.uint64(0), marks)
    found: RingWords = (_entity_sums(here, mine, counted, 64) != 0).astype(np.uint64)
    return found
