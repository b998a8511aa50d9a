"""Arithmetic of single values, exact and with DuckDB's roundings."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction


def truncate(a: int, b: int) -> int:
    """a / b towards zero, as DuckDB's ``//``."""
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


def half_away(value: Fraction) -> int:
    """To the nearest integer, halves away from zero."""
    whole = (2 * abs(value) + 1) // 2
    return int(whole) if value >= 0 else -int(whole)


def rounding(value: Fraction, how: str) -> int:
    if how == "half":
        return half_away(value)
    return int(value // 1) if how == "floor" else -int(-value // 1)


def part_of(part: str, day: int) -> int:
    """The part of a date in units. Years before 1 and after 9999, which Python lacks, are shifted by cycles of 400."""
    cycles, rest = divmod(day + 719162, 146097)
    d = dt.date.fromordinal(rest + 1)
    if part == "year":
        return d.year + 400 * cycles
    return {"quarter": (d.month + 2) // 3, "month": d.month, "day": d.day}[part]
