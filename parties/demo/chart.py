"""Bars for the terminal: one line a value, labels and numbers aligned.

    bars(["A 农业", "B 采矿业"], [12.5, -3])

    A 农业        ████████████  12.5
    B 采矿业   ███              -3

Chinese labels take two columns a character (rich measures them). Negative values grow to the left of a common zero.
None is a suppressed value: its line says so. On a terminal without colour or Unicode, ``#`` and ``-`` draw the bars.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

Number = int | float | Decimal

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LONGEST_LABEL = 36
_SHORTEST_BAR = 10
HIDDEN = "suppressed"


def show(console: Console, labels: Sequence[str], values: Sequence[Number | None], width: int | None = None) -> None:
    """Print bars on ``console`` in what it can display; nothing for no values."""
    plain = console.no_color or console.color_system is None or not console.encoding.lower().startswith("utf")
    for line in bars(labels, values, width or min(console.width, 100), plain=plain):
        console.print(line, no_wrap=True, overflow="crop", highlight=False)


def bars(labels: Sequence[str], values: Sequence[Number | None], width: int = 80, *, plain: bool = False) -> list[Text]:
    """One line a value, at most ``width`` columns wide (as far as labels and numbers leave bars of ten columns)."""
    if len(labels) != len(values):
        raise ValueError("a chart needs one label for each value")
    sizes = [_size(v) for v in values]
    numbers = [number(v) for v in values]
    label_width = min(max(map(cell_len, labels), default=0), _LONGEST_LABEL)
    room = max(width - label_width - max(map(len, numbers), default=0) - 4, _SHORTEST_BAR)
    low, high = min([0.0, *sizes]), max([0.0, *sizes])
    span = (high - low) or 1.0
    left = round(room * -low / span)
    if low < 0:
        left = max(left, 1)
    lines = []
    for label, value, size, shown in zip(labels, values, sizes, numbers, strict=True):
        line = Text(_fitted(label, label_width, ".." if plain else "…") + "  ")
        line.append(_bar(size, span, left, room, plain), "red" if size < 0 else "cyan")
        line.append("  " + shown, "dim" if value is None else "")
        lines.append(line)
    return lines


def number(value: Number | None) -> str:
    """A number for people: thousands separated, decimals with their scale, doubles to four significant digits."""
    if value is None:
        return HIDDEN
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{value:,}" if not isinstance(value, float) else str(value)


def _size(value: Number | None) -> float:
    """Length of a bar, before scaling; kept where sums of two do not overflow. What is not a number draws no bar."""
    size = 0.0 if value is None else float(value)
    return max(min(size, 1e300), -1e300) if math.isfinite(size) else 0.0


def _fitted(label: str, width: int, cut: str) -> str:
    if cell_len(label) > width:
        label = set_cell_size(label, width - cell_len(cut)).rstrip() + cut
    return set_cell_size(label, width)


def _bar(size: float, span: float, left: int, room: int, plain: bool) -> str:
    """``room`` columns: ``left`` of them for negative values, the rest for positive ones. Not 0 is at least a tick."""
    if size < 0:
        cells = min(max(round(room * -size / span), 1), left)
        return " " * (left - cells) + ("-" if plain else "█") * cells + " " * (room - left)
    eighths = min(round(room * 8 * size / span), (room - left) * 8)
    if plain:
        drawn = "#" * max(round(eighths / 8), 1 if size else 0)
    else:
        drawn = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
        drawn = drawn or ("▏" if size else "")
    return " " * left + drawn[: room - left] + " " * (room - left - len(drawn))
