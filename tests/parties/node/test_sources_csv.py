"""CSV files as institutions really export them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpc.query.catalog import Column
from parties.node.sources.inference import Declared, infer
from tests.parties.node import CANARY_NUMBER, CANARY_TEXT, raw, refused, rows

NAME, AMOUNT = Column("name", "text"), Column("amount", "decimal", 2, -(10**12), 10**12)


def csv(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "t.csv"
    path.write_bytes(text.encode(encoding))
    return path


def kinds(path: Path, *keys: str) -> dict[str, tuple[str, int]]:
    columns, _review = infer(raw(path), Declared(keys=keys))
    return {c.name: (c.kind, c.scale) for c in columns}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf8_with_and_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = csv(tmp_path, "name,amount\n杭州某公司,1.50\n", encoding)
    assert raw(path).column_names == ["name", "amount"]
    assert [r[0] for r in rows(path, NAME, AMOUNT)] == ["杭州某公司"]


def test_gb18030_with_characters_of_four_bytes(tmp_path: Path) -> None:
    rare = "㐀𠀀镕"  # of four, four and two bytes
    assert len("㐀".encode("gb18030")) == len("𠀀".encode("gb18030")) == 4
    path = csv(tmp_path, f"名称,amount\n{rare},2.00\n", "gb18030")
    assert raw(path, encoding="GB18030").to_pylist() == [{"名称": rare, "amount": "2.00"}]


def test_gb18030_characters_across_the_blocks_of_a_long_file(tmp_path: Path) -> None:
    name = "㐀某某有限公司"
    path = csv(tmp_path, "name,amount\n" + f"{name},1.00\n" * 120_000, "gb18030")
    assert set(raw(path, encoding="gb18030").column("name").to_pylist()) == {name}


def test_gb18030_read_as_utf8_is_refused_with_advice(tmp_path: Path) -> None:
    path = csv(tmp_path, f"name,amount\n{CANARY_TEXT},1\n", "gb18030")
    with refused("data.source", "Canary", says=("--encoding gb18030",)):
        raw(path)


def test_a_heading_in_gb18030_read_as_utf8_is_refused_with_advice(tmp_path: Path) -> None:
    with refused("data.source", says=("--encoding gb18030",)):
        raw(csv(tmp_path, "名称,amount\nx,1\n", "gb18030"))


def test_utf8_read_as_gb18030_or_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, f"name,amount\n{CANARY_TEXT}é,1\n")
    with refused("data.source", "Canary", says=("encoding",)):
        raw(path, encoding="gb2312")
    with refused("data.source", says=("encoding",)):
        raw(path, encoding="klingon-8")


def test_quotes_and_newlines_inside_fields(tmp_path: Path) -> None:
    path = csv(tmp_path, 'name,amount\n"a ""quoted"", name\nin two lines",1.00\n"",2.00\n,3.00\n')
    assert [r[0] for r in rows(path, NAME, AMOUNT)] == ['a "quoted", name\nin two lines', "", None]


def test_carriage_returns_and_a_missing_last_newline(tmp_path: Path) -> None:
    assert raw(csv(tmp_path, "a,b\r\n1,2\r\n3,4")).to_pylist() == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_empty_is_null_and_words_for_nothing_are_not(tmp_path: Path) -> None:
    path = csv(tmp_path, "name,amount\n,\nNA,1\nnull,2\nNULL,3\n")
    assert raw(path).column("name").to_pylist() == [None, "NA", "null", "NULL"]
    assert raw(path).column("amount").to_pylist() == [None, "1", "2", "3"]


def test_codes_stay_text(tmp_path: Path) -> None:
    path = csv(tmp_path, "region,code,amount,plus,id\n" + '001,1e5,"1,234.50",+5,9\n' * 3)
    assert kinds(path, "id") == dict.fromkeys(("region", "code", "amount", "plus", "id"), ("text", 0))
    assert raw(path).column("amount").to_pylist() == ["1,234.50"] * 3


def test_what_else_is_inferred(tmp_path: Path) -> None:
    path = csv(tmp_path, "i,d,z,b,day,n\n-12,1.5,0,true,2024-02-29,\n7,20,0.25,false,1999-12-31,\n")
    assert kinds(path) == {
        "i": ("integer", 0),
        "d": ("decimal", 1),
        "z": ("decimal", 2),
        "b": ("boolean", 0),
        "day": ("date", 0),
        "n": ("text", 0),
    }


def test_a_header_without_rows_is_an_empty_table(tmp_path: Path) -> None:
    assert rows(csv(tmp_path, "name,amount\n"), NAME, AMOUNT) == []


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with refused("data.source", says=("empty",)):
        raw(csv(tmp_path, ""))


def test_a_row_with_another_number_of_fields_is_refused_without_quoting_it(tmp_path: Path) -> None:
    path = csv(tmp_path, f"name,amount\n{CANARY_TEXT},{CANARY_NUMBER},9\n")
    with refused("data.source", "Canary", CANARY_NUMBER, says=("number of fields",)):
        raw(path)


@pytest.mark.parametrize("header", ["a,a", "a,A", "a,"])
def test_columns_that_sql_cannot_tell_apart_are_refused(tmp_path: Path, header: str) -> None:
    with refused("data.source", says=("name",)):
        raw(csv(tmp_path, f"{header}\n1,2\n"))


def test_a_zero_byte_or_a_broken_sequence_never_crashes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"name,amount\n" + b"x" * (1 << 20) + b"\xff\xfe,1\n")
    with refused("data.source", says=("UTF-8",)):
        raw(tmp_path / "t.csv")
