"""Fingerprints of texts in local queries: the same wherever a text stands, another for another text or key."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.query.behind import contribution
from mpc.query.nodes import Column
from parties.node.sources.fingerprints import fingerprints, register

KEY = bytes(range(32))


def one(text: str | None, key: bytes = KEY) -> int:
    return int(fingerprints(key, pa.array([text], pa.string()))[0])


@given(st.lists(st.text(max_size=70), unique=True, min_size=1, max_size=40), st.integers(0, 5))
def test_each_by_itself_and_among_others(texts: list[str], cut: int) -> None:
    column = pa.array(["before", *texts])
    expected = [one(t) for t in texts]
    assert fingerprints(KEY, column)[1:].tolist() == expected
    assert fingerprints(KEY, column.slice(1)).tolist() == expected  # what begins inside a buffer
    assert fingerprints(KEY, pa.chunked_array([texts[:cut], texts[cut:]], pa.string())).tolist() == expected
    assert len(set(expected)) == len(texts)


def test_padding_is_no_text_and_another_key_gives_others() -> None:
    texts = ["", "\x00", "\x00" * 8, "\x00" * 9, "a", "a\x00", "a" * 8, "a" * 9, "x" * 100_000]
    found = [one(t) for t in texts] + [one(t, bytes(32)) for t in texts]
    assert len(set(found)) == len(found)
    assert one(None) == one("") and len(fingerprints(KEY, pa.array([], pa.string()))) == 0


#: of three texts under KEY
STORED = ["4e77e9e4fad9bbc0", "3ef34e0ec57573f2", "8e2c3c042a157e3c"]


def test_what_stays_on_disk_stays_the_same() -> None:
    """Fingerprints of this version are compared with those of the next."""
    assert [f"{one(t):016x}" for t in ("", "F000000000001", "12345.67 and some more")] == STORED


@pytest.mark.parametrize("value", ["0.00", "-0.01", "9999999999999999.99", "10000000000000000.00", "-1e30", None])
def test_a_decimal_is_its_text_however_long(value: str | None) -> None:
    c = Column("decimal", 2, None, None, True, "a", "t", "d")
    number = None if value is None else Decimal(value)
    with duckdb.connect(":memory:") as database:
        register(database, KEY)
        database.register("t", pa.table({"d": pa.array([number], pa.decimal128(38, 2))}))
        ((found, printed),) = database.sql(f"SELECT {contribution(c, True)}, CAST(d AS VARCHAR) FROM t").fetchall()
    assert found == one(printed)
