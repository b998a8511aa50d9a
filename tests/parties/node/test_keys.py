"""Key columns from Arrow: every type, slices, chunks, NULLs."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from mpc.errors import LocalError
from mpc.ids import CREDIT_CODE, INTEGER, Field, lay_out
from parties.node.keys import keys_of
from tests.mpc.columns import integers, texts

TEXT = ["x", "Ａ-1", None, "b 2", ""]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), "utf8")])
def test_text(kind):
    column = pa.array(TEXT).cast(kind)
    want = lay_out([Field("id", 4)], [texts(TEXT)])
    for made in (
        pa.table({"k": column}),
        pa.table({"k": pa.chunked_array([column[:1], column[1:]])}),
        pa.concat_tables([pa.table({"k": column}), pa.table({"k": column})]).slice(5),
    ):
        keys = keys_of(made, {"k": Field("id", 4)})
        assert np.array_equal(keys.matrix, want.matrix) and np.array_equal(keys.null, want.null)
    assert len(keys_of(pa.table({"k": column[:0]}), {"k": Field("id", 4)})) == 0


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array([1, None, -(2**63), 2**63 - 1]), [1, None, -(2**63), 2**63 - 1]),
        (pa.array([1, None], pa.int8()), [1, None]),
        (pa.array([Decimal("1.50"), None, Decimal("-0.01")], pa.decimal128(38, 2)), [150, None, -1]),
        (pa.array([dt.date(1970, 1, 3), None]), [2, None]),
        (pa.array([True, False, None]), [1, 0, None]),
        (pa.array([], pa.decimal128(38, 0)), []),
    ],
)
def test_numbers(column, values):
    want = lay_out([INTEGER], [integers(values)])
    for made in (pa.table({"k": column}), pa.table({"k": pa.concat_arrays([column, column])}).slice(len(values))):
        keys = keys_of(made, {"k": INTEGER})
        assert np.array_equal(keys.matrix, want.matrix) and np.array_equal(keys.null, want.null)


def test_what_cannot_be_a_key_is_refused_by_name():
    for column, code in (
        (pa.array([Decimal(2**63)], pa.decimal128(38, 0)), "data.id"),
        (pa.array([2**63], pa.uint64()), "data.id"),
        (pa.array([1.5]), "data.type"),
    ):
        with pytest.raises(LocalError, match="k") as raised:
            keys_of(pa.table({"k": column}), {"k": INTEGER})
        assert raised.value.code == code
    with pytest.raises(LocalError, match="Key uscc: The key in row 2") as raised:
        keys_of(pa.table({"uscc": ["91350100M000100Y43", "91350100M000100Y44"]}), {"uscc": CREDIT_CODE})
    assert "Y44" not in str(raised.value)
