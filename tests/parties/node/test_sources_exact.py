"""Every digit arrives, or the column is refused: types, bounds, domains, NULLs; and no refusal shows a value."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.query.catalog import Column, Table, days
from parties.node.sources.canonical import canonical
from parties.node.sources.inference import Declared, infer
from tests.parties.node import CANARY_NUMBER, CANARY_TEXT, raw, refused

WIDE = 10**37


def decimal(scale: int, name: str = "a", **more: object) -> Column:
    return Column(name, "decimal", scale, -WIDE, WIDE, **more)  # type: ignore[arg-type]


INTEGER = Column("a", "integer", 0, -(10**18), 10**18)
HUGE = Column("a", "integer", 0, -WIDE, WIDE)


def made(column: Column, values: pa.Array) -> list[object]:
    found: list[object] = canonical(pa.table({"a": values}), Table("t", (column,), 10)).column("a").to_pylist()
    return found


@given(st.decimals(-(10**19), 10**19, places=18, allow_nan=False).filter(lambda d: len(d.as_tuple().digits) < 37))
def test_text_is_read_exactly_to_the_last_digit(value: Decimal) -> None:
    assert made(decimal(18), pa.array([f"{value:f}"])) == [value]


@pytest.mark.parametrize(
    ("scale", "text"),
    [
        (2, "90071992547409.93"),
        (10, "9999999999999999999999999.9999999999"),
        (2, "1.2300000000000000000000000000000000000"),
        (2, "-0.01"),
        (0, "123456789012345678901234567890"),
    ],
)
def test_decimals_beyond_2_53(scale: int, text: str) -> None:
    assert made(decimal(scale), pa.array([text])) == [Decimal(text)]


def test_integers_beyond_64_bits() -> None:
    values = [2**63, -(2**64), 10**36 + 1]
    assert made(HUGE, pa.array([str(v) for v in values])) == values


@pytest.mark.parametrize(
    "text",
    [
        "1.234",
        "1.2300000000000000000000001",
        "1e3",
        "1e-3",
        "nan",
        "inf",
        "-Infinity",
        "1_000",
        "0x1f",
        "1,000.00",
        "",
        "abc",
        "1.2.3",
        "--1",
        "１２",
        "99999999999999999999999999999999999999999999",
    ],
)
def test_text_that_is_no_number_of_the_scale_is_refused(text: str) -> None:
    with refused("data.bounds", *([text] if len(text) > 4 else []), says=("t.a", "decimal with 2 digits")):
        made(decimal(2), pa.array([text, "1.00"]))


@pytest.mark.parametrize("value", [1.5, 0.1, 99999.99, -12345678.91, 0.01, 0.0, -0.0, 1234567890123.45])
def test_doubles_that_hold_a_decimal_exactly_enough(value: float) -> None:
    assert made(decimal(2), pa.array([value])) == [Decimal(repr(value))]


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), float("-inf"), 0.1 + 0.2, 0.001, 99999999999999.99, 1e22, 2.0**60, 1e300, 1e-300],
)
def test_doubles_that_do_not_are_refused(value: float) -> None:
    with refused("data.bounds", says=("t.a",)):
        made(decimal(2), pa.array([value]))


@pytest.mark.parametrize("value", [1.5, float("nan"), 2.0**53 + 2, float("inf")])
def test_doubles_that_are_no_integers(value: float) -> None:
    assert made(INTEGER, pa.array([2.0**53, -3.0])) == [2**53, -3]
    with refused("data.bounds"):
        made(INTEGER, pa.array([value]))


def test_single_precision() -> None:
    assert made(decimal(2), pa.array([0.1, 1234.5], pa.float32())) == [Decimal("0.10"), Decimal("1234.50")]
    with refused("data.bounds"):
        made(decimal(2), pa.array([999999.99], pa.float32()))


def test_decimals_of_another_scale() -> None:
    assert made(decimal(4), pa.array([Decimal("1.25")], pa.decimal128(20, 2))) == [Decimal("1.2500")]
    assert made(decimal(2), pa.array([Decimal("1.2500")], pa.decimal128(20, 4))) == [Decimal("1.25")]
    assert made(INTEGER, pa.array([Decimal("7.00")], pa.decimal128(38, 2))) == [7]
    with refused("data.bounds", "1.257"):
        made(decimal(2), pa.array([Decimal("1.2570")], pa.decimal128(20, 4)))


def test_dates_and_booleans() -> None:
    day, flag = Column("a", "date", 0, 0, days(dt.date(2030, 1, 1))), Column("a", "boolean")
    assert made(day, pa.array(["2024-02-29", None])) == [dt.date(2024, 2, 29), None]
    assert made(day, pa.array([dt.datetime(2024, 2, 29, 23, 59)])) == [dt.date(2024, 2, 29)]
    assert made(flag, pa.array(["true", "FALSE", None, "1", "0"])) == [True, False, None, True, False]
    assert made(flag, pa.array([1, 0])) == [True, False]
    for column, value in (
        (day, "2023-02-29"),
        (day, "infinity"),
        (day, "epoch"),
        (day, "2024-02-29 10:00"),
        (day, 5),
        (flag, 5),
        (flag, "2"),
        (flag, "perhaps"),
        (day, dt.time(1)),
        (INTEGER, dt.date(2024, 1, 1)),
        (INTEGER, True),
        (day, True),
        (flag, dt.date(2024, 1, 1)),
    ):
        with refused("data.bounds", "2024-02", "2023", "perhaps"):
            made(column, pa.array([value]))


def test_every_rule_is_named_with_table_and_column_and_never_a_value() -> None:
    amount = Column("a", "decimal", 2, 0, 10**6)
    cases = [
        (amount, [Decimal(CANARY_NUMBER)], "outside the declared bounds"),
        (amount, [Decimal("-0.01")], "outside the declared bounds"),
        (Column("a", "decimal", 2, 0, 10**12, nullable=False), [Decimal(CANARY_NUMBER), None], "is NULL"),
        (Column("a", "text", domain=("x", "it's")), [CANARY_TEXT], "domain"),
        (Column("a", "decimal", 2, 0, 10**12, domain=(100, 250)), [Decimal(CANARY_NUMBER)], "domain"),
        (Column("a", "text", domain=()), [CANARY_TEXT], "domain"),
        (amount, [CANARY_TEXT], "declared type"),
        (Column("a", "date", 0, 0, 100), [dt.date(2024, 2, 29)], "bounds"),
        (Column("a", "date", 0, 0, 10**5, domain=(1,)), [dt.date(2024, 2, 29)], "domain"),
        (Column("a", "boolean", nullable=False), [True, None], "is NULL"),
    ]
    for column, values, rule in cases:
        with refused("data.bounds", CANARY_NUMBER, CANARY_TEXT, "2024", "86753", says=("t.a", rule)):
            made(column, pa.array(values))


def test_what_keeps_the_rules_passes() -> None:
    assert made(Column("a", "text", domain=("x", "it's")), pa.array(["it's", None, "x"])) == ["it's", None, "x"]
    assert made(Column("a", "decimal", 2, 0, 100, domain=(0, 100)), pa.array(["1", "0.00"])) == [Decimal(1), Decimal(0)]
    assert made(Column("a", "date", 0, -5, -5), pa.array([dt.date(1969, 12, 27)])) == [dt.date(1969, 12, 27)]
    assert made(Column("a", "text", domain=()), pa.array([None], pa.string())) == [None]


def test_bounds_are_inclusive_and_may_be_wider_than_any_type() -> None:
    assert made(Column("a", "integer", 0, -3, 7), pa.array([-3, 7])) == [-3, 7]
    assert made(Column("a", "decimal", 2, -(10**60), 10**60), pa.array(["1.00"])) == [Decimal(1)]
    assert made(Column("a", "integer", 0, 0, 10**60), pa.array(["1"])) == [1]


def test_rows_keep_their_order_over_many_chunks() -> None:
    chunks = pa.chunked_array([pa.array(range(i, i + 1000)) for i in range(0, 300_000, 1000)])
    assert made(INTEGER, chunks) == list(range(300_000))


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([b"\xff\xfe"]).view(pa.string())}), tmp_path / "t.parquet")
    with refused("data.source", says=("UTF-8",)):
        raw(tmp_path / "t.parquet")


def bounds(values: pa.Array, **declared: object) -> tuple[int | None, int | None]:
    (column,), _ = infer(pa.table({"a": values}), Declared(**declared))  # type: ignore[arg-type]
    return column.low, column.high


def test_inferred_bounds_are_powers_of_ten_and_hold() -> None:
    assert bounds(pa.array([-3, 70])) == (-10, 100)
    assert bounds(pa.array(["0.5", "12.25"])) == (0, 10_000)
    assert bounds(pa.array([dt.date(1987, 5, 1), dt.date(2024, 2, 29)])) == (
        days(dt.date(1980, 1, 1)),
        days(dt.date(2029, 12, 31)),
    )
    assert bounds(pa.array([None], pa.int64())) == (0, 0)


@pytest.mark.parametrize(
    "text", ["9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999"]
)
def test_what_is_inferred_from_the_largest_numbers_holds(text: str) -> None:
    values = pa.table({"a": [text]})
    columns, _ = infer(values, Declared())
    assert columns[0].scale == 10
    assert canonical(values, Table("t", columns, 10)).column("a").to_pylist() == [Decimal(text)]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([b"\x00\xff"]),
        pa.array([dt.time(1, 2)]),
        pa.array([dt.datetime(2024, 1, 1, 5)]),
        pa.array([0.1 + 0.2]),
        pa.array([float("nan")]),
        pa.array([1.0, float("inf")]),
        pa.array([Decimal("1e-20")], pa.decimal128(38, 20)),
        pa.array([dt.timedelta(1)]),
    ],
)
def test_types_that_cannot_be_used_are_refused_with_advice(values: pa.Array) -> None:
    with refused("data.type", "0.30000000000000004", says=("a ", "--")):
        infer(pa.table({"a": values}), Declared())


def test_a_column_without_any_value_or_row() -> None:
    for values in (
        pa.nulls(3),
        pa.array([None, None], pa.string()),
        pa.array([], pa.timestamp("us")),
        pa.array([], pa.float64()),
    ):
        columns, _ = infer(pa.table({"a": values}), Declared())
        canonical(pa.table({"a": values}), Table("t", columns, 10))


def test_dictionaries_and_unsigned_integers() -> None:
    assert made(Column("a", "text"), pa.array(["x", None, "x"]).dictionary_encode()) == ["x", None, "x"]
    assert made(HUGE, pa.array([2**64 - 1], pa.uint64())) == [2**64 - 1]


@pytest.mark.parametrize(
    ("option", "value"),
    [("bounds", "0"), ("bounds", "5:1"), ("bounds", "0:1_0.1_0"), ("types", "FLOAT"), ("domains", "1,x")],
)
def test_declarations_with_mistakes(option: str, value: str) -> None:
    with refused("config.invalid"):
        infer(pa.table({"a": ["1.00"]}), Declared(**{option: {"a": value}}))  # type: ignore[arg-type]
