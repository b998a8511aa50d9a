"""The judge is strict: a fen, a missing row, a wrong order are seen; suppressed cells are counted, not excused."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from parties.demo.plaintext import SUPPRESSED, compare, plaintext
from parties.demo.tables import DemoTable

Rows = list[dict[str, Any]]


def _expected() -> Rows:
    return [
        {"grade": "A", "n": 12, "total": Decimal("100.10"), "mean": 8.341666666666667},
        {"grade": "B", "n": 40, "total": Decimal("50.05"), "mean": 1.25125},
        {"grade": "C", "n": 3, "total": Decimal("7.00"), "mean": 2.3333333333333335},
    ]


def _judge(result: Rows, *, ordered: bool = True) -> tuple[int, int, tuple[str, ...]]:
    found = compare(result, _expected(), ("grade",), ordered=ordered)
    assert found.exact is (not found.differences)
    return found.cells, found.suppressed, found.differences


def test_equal() -> None:
    assert _judge(_expected()) == (12, 0, ())


def test_one_cent() -> None:
    rows = _expected()
    rows[1]["total"] += Decimal("0.01")
    (found,) = _judge(rows)[2]
    assert found == "grade = B, total: Decimal('50.06'), in plaintext Decimal('50.05')"


@pytest.mark.parametrize(
    ("column", "value", "same"),
    [
        ("total", 50.05, False),  # a double is not a decimal, even where it prints alike
        ("total", Decimal("50.050"), True),
        ("total", None, False),
        ("n", 41, False),
        ("n", Decimal(40), True),
        ("n", True, False),
        ("mean", 1.2512500000000002, True),
        ("mean", 1.251250001, False),
        ("mean", Decimal("1.25125"), True),
        ("mean", None, False),
        ("mean", "1.25125", False),
    ],
)
def test_one_cell(column: str, value: object, same: bool) -> None:
    rows = _expected()
    rows[1][column] = value
    assert (_judge(rows)[2] == ()) is same


def test_no_tolerance_around_zero() -> None:
    assert not compare([{"x": 1e-15}], [{"x": 0.0}]).exact
    assert compare([{"x": 0.0}], [{"x": 0.0}]).exact


def test_null_is_null() -> None:
    assert compare([{"x": None}], [{"x": None}]).exact
    assert not compare([{"x": 0}], [{"x": None}]).exact


def test_missing_and_additional_rows() -> None:
    assert "missing" in _judge(_expected()[:2])[2][0]
    extra = [*_expected(), {"grade": "D", "n": 1, "total": Decimal(0), "mean": 0.0}]
    assert "no such row" in _judge(extra)[2][0]
    assert "same grade" in _judge([*_expected(), _expected()[0]])[2][0]


def test_order_counts_only_where_asked() -> None:
    rows = list(reversed(_expected()))
    assert _judge(rows)[2] == ("the rows are in another order",)
    assert _judge(rows, ordered=False)[2] == ()


def test_suppressed_cells_are_skipped_and_counted() -> None:
    rows = _expected()
    rows[2] |= {"total": None, "mean": None}
    assert len(_judge(rows)[2]) == 2  # NULL alone is no excuse
    rows[2][SUPPRESSED] = ["total", "mean"]
    assert _judge(rows) == (10, 2, ())


def test_suppressed_rows_may_be_empty_groups_and_stand_anywhere() -> None:
    rows = _expected()
    hidden = {"n": None, "total": None, "mean": None, SUPPRESSED: ["n", "total", "mean"]}
    rows = [{"grade": "D", **hidden}, rows[0], rows[1], {"grade": "C", **hidden}]
    assert _judge(rows) == (9, 6, ())
    rows[0][SUPPRESSED] = ["n", "total"]
    assert "no such row" in _judge(rows)[2][0]


def test_columns_must_be_the_same() -> None:
    assert "columns" in compare([{"a": 1}], [{"b": 1}]).differences[0]
    assert compare([], []).exact


def test_plaintext_keeps_declared_types(tables: tuple[DemoTable, ...]) -> None:
    (row,) = plaintext(
        tables, "SELECT MIN(customer_id) AS id, SUM(total_charges) AS s FROM telecom.customers"
    ).to_pylist()
    assert row == {"id": "00001", "s": Decimal("16056168.70")}


def test_duckdb_s_doubles_are_within_the_tolerance(tables: tuple[DemoTable, ...]) -> None:
    """What Heji computes exactly and rounds once, next to what DuckDB makes of the same numbers."""
    values = plaintext(tables, "SELECT int_rate AS x FROM bank_a.loans UNION ALL SELECT int_rate FROM bank_b.loans")
    xs = [Fraction(x) for x in values["x"].to_pylist()]
    mean = sum(xs) / len(xs)
    variance = sum((x - mean) ** 2 for x in xs) / (len(xs) - 1)
    (found,) = plaintext(
        tables,
        """
        SELECT AVG(int_rate) AS mean, VARIANCE(int_rate) AS variance, STDDEV(int_rate) AS deviation
        FROM (SELECT int_rate FROM bank_a.loans UNION ALL SELECT int_rate FROM bank_b.loans)
    """,
    ).to_pylist()
    exact = {"mean": float(mean), "variance": float(variance), "deviation": math.sqrt(variance)}
    assert compare([exact], [found]).exact
