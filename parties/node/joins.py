"""From a local answer to the rows a party brings into a join: keys, groups, columns as ring words, all by column."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mpc.crypto.tags import tags
from mpc.errors import LocalError
from mpc.ids import Flags, Keys
from mpc.joint_sides import SideRows
from mpc.messages import RingWords
from mpc.permutation import stable_argsort
from mpc.protocols.align import verify_once
from mpc.query.catalog import Kind
from mpc.query.layout import Rows
from mpc.query.plan_joins import ComparedPool, JoinPool, Side, SideColumn
from mpc.query.plan_pools import Key
from mpc.ring import run_sums
from parties.node.keys import keys_of

Indices = NDArray[np.int64]


def side_rows(pool: JoinPool, side: Side, answer: pa.Table, key: bytes, key_rows: int | None = None) -> SideRows:
    """What a side brings into a join. ``key``: 32 secret bytes; the order of rows put together comes from it, so that
    it is the same again in a replay. ``key_rows``: of the rows of one key this many count at most (P12); None: all.
    Raises LocalError data.id, data.rows, data.repeated_key, data.bounds."""
    if answer.num_rows > side.rows:
        raise LocalError(
            "data.rows",
            f"A table of {side.party} has more rows than its catalog says: a join would show how many.",
            f"{side.party} publishes the table anew (heji node table add … --replace), then submit the query again.",
        )
    answer = answer.combine_chunks()
    keys = keys_of(answer, {f"j{i}": f for i, f in enumerate(pool.fields)})
    passing: Flags = answer.column("pass").to_numpy()
    columns = [_words(answer.column(f"c{i}"), c.bits) for i, c in enumerate(side.columns)]
    if side.unique:
        verify_once(tags(key, keys.matrix[~keys.null]))
    elif key_rows is not None:
        passing = _first_rows(keys, passing, answer.column("d").to_numpy(), key_rows, key)
    if side == pool.sides[0]:
        by = [pool.keys[i] for i in pool.grouped]
        if isinstance(pool, ComparedPool):
            # rows pass that only an earlier job counted, in cells that this one lacks: in one of its cells they count
            # for no cell, and for what is compared of all cells together
            there = in_domains(by, answer, "g")
            group = np.where(passing & ~there, 0, cells_of(by, answer, passing & there, "g"))
        else:
            group = np.where(passing, 0, -1) if pool.by_row else cells_of(by, answer, passing, "g")
        return SideRows(keys, group, passing, tuple(columns))
    nothing = np.zeros(0, dtype=np.int64)
    if side.unique:
        return SideRows(keys, nothing, passing, tuple(columns))
    return _by_key(side, keys, passing, columns, key)


def in_one_order(pool: JoinPool, side: Side, answer: pa.Table, key: bytes, *, numbered: bool) -> pa.Table:
    """The answer in an order that its rows and ``key`` give, so that a replay finds it again.

    One table comes in its own order. Tables that the owner joins itself, and rows that were ``numbered`` entity by
    entity (P12), come as the database's threads finish: they are put in the order of keyed tags, of which nobody else
    can tell anything.
    """
    if len(side.query.tables) == 1 and not numbered:
        return answer
    tag = tags(key, keys_of(answer, {f"j{i}": f for i, f in enumerate(pool.fields)}).matrix)
    tagged = answer.append_column("tag0", pa.array(tag[:, 0])).append_column("tag1", pa.array(tag[:, 1]))
    by = [(name, "ascending") for name in ("tag0", "tag1", *answer.column_names)]
    return answer.take(pc.sort_indices(tagged, sort_keys=by))


def own_values(pool: JoinPool, answer: pa.Table) -> Rows:
    """The spine's own values beside the rows of its result."""
    columns = [answer.column(f"g{i}").to_pylist() for i in range(len(pool.keys))]
    whole = [[int(v) if isinstance(v, Decimal) else v for v in column] for column in columns]
    return tuple(zip(*whole, strict=True)) if whole else ((),) * answer.num_rows


def cells_of(keys: Sequence[Key], answer: pa.Table, passing: Flags, prefix: str) -> Indices:
    """The number of each row's cell, -1 where it does not pass. ``prefix``: of the names of the key columns.

    Raises LocalError data.bounds.
    """
    group = np.zeros(len(passing), dtype=np.int64)
    for i, key in enumerate(keys):
        at = _places(answer.column(f"{prefix}{i}"), key)
        if (at[passing] < 0).any():
            raise LocalError(
                "data.bounds",
                f"A row has a value of {key.name} that is not in its declared domain.",
                "Add it to the domain in catalog.json, or correct the data; `heji node check` names the table.",
            )
        group = group * len(key.domain) + at
    group[~passing] = -1
    return group


def in_domains(keys: Sequence[Key], answer: pa.Table, prefix: str) -> Flags:
    """Where the values of all keys are in their domains, (n,)."""
    found = np.ones(answer.num_rows, dtype=bool)
    for i, key in enumerate(keys):
        found &= _places(answer.column(f"{prefix}{i}"), key) >= 0
    return found


def _places(column: pa.ChunkedArray, key: Key) -> Indices:
    """The place of each value in the key's domain, -1 where it has none."""
    values = pa.array(key.domain, _arrow_type(key.kind))
    found: Indices = pc.index_in(column.cast(values.type), value_set=values).fill_null(-1).to_numpy().astype(np.int64)
    return found


def _arrow_type(kind: Kind) -> pa.DataType:
    return {"text": pa.string(), "boolean": pa.bool_()}.get(kind, pa.int64())


def _words(column: pa.ChunkedArray, bits: int) -> RingWords:
    """A column of whole numbers as ring words."""
    if column.null_count:
        raise LocalError("internal", "A local answer has a NULL where a number is due.")
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_decimal128(whole.type):
        halves = np.frombuffer(whole.buffers()[1] or b"", dtype="<u8").reshape(-1, 2)
        wide = halves[whole.offset : whole.offset + len(whole)]
        words: RingWords = (wide if bits == 128 else wide[:, 0]).astype(np.uint64)
        return words
    low: Indices = whole.cast(pa.int64()).to_numpy()
    if bits == 64:
        return low.view(np.uint64).copy()
    return np.column_stack((low.view(np.uint64), (low >> 63).view(np.uint64)))


def _first_rows(keys: Keys, passing: Flags, digests: NDArray[np.uint64], most: int, key: bytes) -> Flags:
    """The rows that pass, of each key as many at most: those with the smallest digests of their content, so that who
    else is in the table has no say. Rows without a key meet nobody, and all of them stay."""
    rows = np.flatnonzero(passing & ~keys.null)
    tag = tags(key, keys.matrix[rows])
    order = np.lexsort((digests[rows], tag[:, 1], tag[:, 0]))
    tag, rows = tag[order], rows[order]
    begins = np.concatenate(([True], (tag[1:] != tag[:-1]).any(axis=1))) if len(rows) else np.zeros(0, dtype=bool)
    starts = np.flatnonzero(begins)
    place = np.arange(len(rows)) - starts[np.cumsum(begins) - 1]
    out = passing.copy()
    out[rows[place >= most]] = False
    return out


def _by_key(side: Side, keys: Keys, passing: Flags, columns: list[RingWords], key: bytes) -> SideRows:
    """Rows of one key put together; rows without a key match nothing and are left out."""
    rows = np.flatnonzero(~keys.null)
    tag = tags(key, keys.matrix[rows])
    order = stable_argsort(tag[:, 0])
    tag, rows = tag[order], rows[order]
    starts = np.flatnonzero(np.concatenate(([True], (tag[1:] != tag[:-1]).any(axis=1)))) if len(rows) else rows
    first = rows[starts]
    # a passing row of each key makes it pass
    passed = _together(SideColumn(64, "any"), passing[rows].astype(np.uint64), starts) != 0
    put = []
    for declared, column in zip(side.columns, columns, strict=True):
        taken = column[rows]
        taken[~passing[rows]] = 0
        put.append(_together(declared, taken, starts))
    return SideRows(Keys(keys.matrix[first], keys.null[first]), np.zeros(0, dtype=np.int64), passed, tuple(put))


def _together(declared: SideColumn, column: RingWords, starts: Indices) -> RingWords:
    """One element for each run of rows: their sum, or whether any is 1."""
    if declared.how == "any" and len(starts):
        most: RingWords = np.maximum.reduceat(column, starts)
        return most
    return run_sums(declared.bits, column, starts)
