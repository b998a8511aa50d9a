"""One writing for each id: vectors, and the properties that a join rests on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import LocalError
from mpc.ids import CREDIT_CODE, INTEGER, Field, Texts, canonical, lay_out, width
from tests.mpc.columns import integers, texts, untexts

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ids.json").read_text())
FORMS = ("id", "text", "credit_code")


def case(form: str) -> Field:
    return CREDIT_CODE if form == "credit_code" else Field(form, 40)


@pytest.mark.parametrize(("form", "vector"), [(f, v) for f in FORMS for v in VECTORS[f]])
def test_vectors(form, vector):
    """Alone, and in a column with others on both sides."""
    for around in ([], ["91350100M000100Y43", None]):
        column = canonical(form, texts([*around, vector["text"], *around]))
        assert untexts(column)[len(around)] == vector["canonical"]
        lay_out([case(form)], [texts([*around, vector["text"], *around])])


@pytest.mark.parametrize("form", ["id", "credit_code"])
def test_refused(form):
    for text in VECTORS[f"{form}_refused"]:
        with pytest.raises(LocalError) as raised:
            lay_out([case(form)], [texts(["91350100M000100Y43", None, text])])
        assert raised.value.code == "data.id"
        assert text not in str(raised.value) or len(text) == 1


def test_rows_of_the_matrix():
    fields = [Field("id", 20), INTEGER]
    rows = VECTORS["keys"]["rows"]
    keys = lay_out(fields, [texts([r["id"] for r in rows]), integers([r["integer"] for r in rows])])
    assert [row.tobytes().hex() for row in keys.matrix] == [r["row"] for r in rows]
    assert keys.matrix.shape[1] == width(fields) == 32


@given(st.lists(st.none() | st.text(max_size=6).filter(lambda t: "\uffff" not in t)))
def test_writing_an_id_twice_changes_nothing(values):
    try:
        once = canonical("id", texts(values))
    except LocalError as refused:
        assert refused.code == "data.id"
        return
    twice = canonical("id", texts(untexts(once)))
    assert untexts(twice) == untexts(once)


@given(st.lists(st.text(alphabet="aBＢé- 企\u0301", max_size=5), max_size=8))
def test_a_column_is_its_rows(values):
    """What stands beside an id has no influence on how it is written."""
    alone = [untexts(canonical("id", texts([v])))[0] for v in values]
    assert untexts(canonical("id", texts(values))) == alone


component = st.none() | st.text(alphabet="ab\x00", max_size=3)


@settings(max_examples=200)
@given(st.lists(st.tuples(component, component, st.none() | st.integers(-2, 2)), min_size=1, max_size=12))
def test_rows_are_equal_exactly_where_keys_are(rows):
    """No two composite keys share a row of the matrix, however their parts are cut; a NULL part makes a NULL key."""
    a, b, c = zip(*rows, strict=True)
    keys = lay_out([Field("text", 3), Field("text", 5), INTEGER], [texts(a), texts(b), integers(c)])
    assert keys.null.tolist() == [None in row for row in rows]
    laid = [bytes(r) for r, null in zip(keys.matrix, keys.null, strict=True) if not null]
    whole = [row for row in rows if None not in row]
    assert [[x == y for x in laid] for y in laid] == [[x == y for x in whole] for y in whole]


def test_arrow_layouts():
    """A slice of an Arrow column begins at another offset; 64-bit offsets; junk under a NULL is not looked at."""
    column = texts(["x", "Ａ1", None, "b 2"], junk=b"\xff\xfe too long for the field, and not UTF-8")
    for offsets in (column.offsets, column.offsets.astype(np.int64)):
        whole = lay_out([Field("id", 4)], [Texts(offsets, column.data, column.null)])
        part = lay_out([Field("id", 4)], [Texts(offsets[1:], column.data, column.null[1:])])
        assert [bytes(r[:4]) for r in whole.matrix[[0, 1, 3]]] == [b"\0\1X\0", b"\0\2A1", b"\0\2B2"]
        assert np.array_equal(whole.matrix[1:], part.matrix) and part.null.tolist() == [False, True, False]
    assert len(lay_out([Field("id", 4)], [texts([])])) == 0


def test_an_id_longer_than_the_plan_says_is_refused_without_showing_it():
    with pytest.raises(LocalError, match="row 2 takes more than the 4 bytes") as raised:
        lay_out([Field("id", 4)], [texts(["ABCD", "SECRET"])])
    assert raised.value.code == "data.id" and "SECRET" not in str(raised.value)
    with pytest.raises(LocalError, match="UTF-8"):
        lay_out([Field("id", 4)], [Texts(np.array([0, 1]), np.array([0xFF], np.uint8))])
