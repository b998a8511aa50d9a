"""The commitment to a party's input: any change shows, where it is can be said, nothing in it can be searched for."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.coins import Coins
from mpc.crypto.labels import framed
from mpc.evidence import data
from mpc.evidence.data import BLOCK_BYTES, Block, Column, Rows, blocks, differences, root, salts


def coins(seed: int = 1) -> Coins:
    return Coins(bytes([seed]) * 32)


def committed(columns: list[Column], seed: int = 1) -> bytes:
    parts = list(blocks(columns))
    return root(parts, salts(coins(seed), len(parts)))


def some() -> list[Column]:
    return [
        Column("sum", np.arange(5, dtype=np.uint64)),
        Column("wide", np.arange(6, dtype=np.uint64).reshape(3, 2)),
        Column("flags", np.array([True, False, True])),
        Column("keys", np.zeros((4, 16), dtype=np.uint8)),
        Column("nothing", np.zeros(0, dtype=np.int64)),
    ]


def test_the_root_is_as_the_page_says() -> None:
    """Written again from docs/evidence.md alone: leaves of salt and framed block, RFC 6962 nodes."""
    column = np.array([1, -2], dtype=np.int64)
    stream = coins().draw("data/salts", 64)
    content = (1).to_bytes(8, "little", signed=True) + (-2).to_bytes(8, "little", signed=True)
    texts = [
        framed(b"a", bytes(8), (2).to_bytes(8, "big"), content),
        framed(b"b", bytes(8), (1).to_bytes(8, "big"), b"\x01"),
    ]
    leaves = [hashlib.sha256(b"\0" + stream[32 * i :][:32] + t).digest() for i, t in enumerate(texts)]
    expected = hashlib.sha256(b"\1" + b"".join(leaves)).digest()
    assert committed([Column("a", column), Column("b", np.array([True]))]) == expected


def test_blocks_are_of_about_a_mebibyte_and_hold_whole_rows() -> None:
    rows = BLOCK_BYTES // 16 + 3
    wide = np.arange(2 * rows, dtype=np.uint64).reshape(rows, 2)
    parts = list(blocks([Column("wide", wide), Column("nothing", np.zeros((0, 16), dtype=np.uint8))]))
    assert [(b.column, b.first, b.end) for b in parts] == [
        ("wide", 0, rows - 3),
        ("wide", rows - 3, rows),
        ("nothing", 0, 0),
    ]
    assert b"".join(bytes(b.content) for b in parts) == wide.tobytes()
    assert len(parts[0].content) == BLOCK_BYTES


@given(st.integers(0, 4), st.data())
def test_any_change_changes_the_root_and_is_found(which: int, drawn: st.DataObject) -> None:
    columns = some()
    before, then = committed(columns), list(blocks(columns))
    now = some()
    values = now[which].values
    if values.size:
        at = drawn.draw(st.integers(0, len(values) - 1))
        values[at] = ~values[at]
        expected = Rows(now[which].name, at, at + 1)
    else:
        now[which] = Column(now[which].name, np.zeros(1, dtype=np.int64))
        expected = Rows(now[which].name, 0, 1)
    assert committed(now) != before
    assert differences(then, blocks(now)) == [expected]


def test_what_is_not_a_change_of_values() -> None:
    """Rows moved from one column to the next, a column renamed, left out or put elsewhere: all other inputs."""
    first, second = np.arange(4, dtype=np.uint64), np.arange(3, dtype=np.uint64)
    forms = [
        [Column("a", first), Column("b", second)],
        [Column("a", np.concatenate((first, second))), Column("b", second[:0])],
        [Column("a", first), Column("c", second)],
        [Column("a", first)],
        [Column("b", second), Column("a", first)],
        [Column("a", first.reshape(2, 2)), Column("b", second)],
        [Column("a", first[::2]), Column("b", second)],
    ]
    assert len({committed(f) for f in forms}) == len(forms)


def test_differences_of_other_sizes() -> None:
    column = np.arange(BLOCK_BYTES // 8 + 10, dtype=np.uint64)
    then = list(blocks([Column("a", column), Column("gone", column[:1])]))
    assert differences(then, then) == []
    assert differences(then, blocks([Column("a", column[:5]), Column("new", column[:2])])) == [
        Rows("a", 0, BLOCK_BYTES // 8),
        Rows("a", BLOCK_BYTES // 8, len(column)),
        Rows("gone", 0, 1),
        Rows("new", 0, 2),
    ]


def test_every_block_has_a_salt_of_its_own() -> None:
    """The same block twice, and in two attempts: other leaves each time, so one leaf cannot be compared with another,
    and a guess at a block's content cannot be tried without its salt."""
    parts = [Block("a", 0, 1, bytes(8))] * 3
    drawn = [s for seed in (1, 2) for s in salts(coins(seed), 3)]
    leaves = {b.leaf(s) for b, s in zip(parts * 2, drawn, strict=True)}
    assert len(leaves) == 6 and {len(s) for s in drawn} == {32}
    assert committed(some(), 1) != committed(some(), 2)


def test_values_stand_in_no_repr() -> None:
    column = Column("a", np.array([123456789], dtype=np.uint64))
    assert "123456789" not in repr(column)
    assert "content" not in repr(next(blocks([column])))


def test_blocks_may_be_hashed_side_by_side() -> None:
    from concurrent.futures import ThreadPoolExecutor

    parts = list(blocks([Column("a", np.arange(1 << 19, dtype=np.uint64))]))
    assert len(parts) == 4
    with ThreadPoolExecutor(2) as pool:
        assert root(parts, salts(coins(), 4), pool.map) == root(parts, salts(coins(), 4))
    with pytest.raises(ValueError):
        data.root(parts, salts(coins(), 3))
