"""Bars line up, also with Chinese labels, negative values, hidden cells and on poor terminals."""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from parties.demo.chart import bars, number, show


def _plain(labels: list[str], values: list[float | int | Decimal | None], width: int = 40) -> list[str]:
    return [line.plain for line in bars(labels, values, width, plain=True)]


def test_longest_bar_fills_the_room() -> None:
    assert _plain(["a", "bb"], [10, 5], 24) == [
        "a   ################  10",
        "bb  ########          5",
    ]


def test_negative_values_grow_to_the_left_of_a_common_zero() -> None:
    assert _plain(["in", "out", "none"], [10, -10, 0], 31) == [
        "in              ##########  10",
        "out   ----------            -10",
        "none                        0",
    ]


def test_all_negative() -> None:
    assert _plain(["a", "b"], [-4, -2], 23) == [
        "a  " + "-" * 16 + "  -4",
        "b  " + " " * 8 + "-" * 8 + "  -2",
    ]


def test_hidden_cells_say_so() -> None:
    assert _plain(["a", "b"], [3, None])[1].split() == ["b", "suppressed"]


def test_chinese_labels_line_up() -> None:
    lines = [line.plain for line in bars(["A 农、林、牧、渔业", "B Mining", "制造业" * 20], [1, 2, 3], 70)]
    starts = {cell_len(line[: next(i for i, c in enumerate(line) if c in "█▏▎▍▌▋▊▉")]) for line in lines}
    assert len(starts) == 1
    assert "…" in lines[2]


def test_numbers_for_people() -> None:
    assert [number(v) for v in (1234567, Decimal("1234.50"), 0.123456, 12345.678, None)] == [
        "1,234,567",
        "1,234.50",
        "0.1235",
        "12,345.68",
        "suppressed",
    ]


VALUES = st.none() | st.integers(-(10**30), 10**30) | st.floats() | st.decimals(allow_nan=False, allow_infinity=False)


@given(st.lists(VALUES, max_size=8), st.integers(20, 200), st.booleans())
def test_any_values_draw(values: list[float | int | Decimal | None], width: int, plain: bool) -> None:
    lines = [line.plain for line in bars(["x"] * len(values), values, width, plain=plain)]
    assert len(lines) == len(values)
    assert len({cell_len(line) - len(number(v)) for line, v in zip(lines, values, strict=True)}) <= 1
    assert not plain or all(line.isascii() for line in lines)


def test_show_keeps_to_ascii_without_colour() -> None:
    colourless = Console(file=io.StringIO(), no_color=True, width=60)
    show(colourless, ["a"], [1])
    coloured = Console(
        file=io.TextIOWrapper(io.BytesIO(), "utf-8"), force_terminal=True, color_system="truecolor", width=60
    )
    show(coloured, ["a"], [1])
    assert isinstance(colourless.file, io.StringIO)
    assert colourless.file.getvalue().isascii()
    coloured.file.flush()
    assert "█" in coloured.file.buffer.getvalue().decode()  # type: ignore[attr-defined]


def test_labels_and_values_must_match() -> None:
    with pytest.raises(ValueError, match="one label"):
        bars(["a"], [1, 2])
