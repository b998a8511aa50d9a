"""Two banks, a tax bureau and a telecom with a handful of rows: the tables of hand-written questions."""

from __future__ import annotations

import datetime as dt
from functools import cache

from mpc.query.catalog import Column
from tests.mpc.query.world import World, boolean, date, decimal, held, integer, text


def accounts() -> tuple[Column, ...]:
    return (
        text("uscc", key=True, nullable=False),
        decimal("balance", 2, -(10**6), 10**6),
        text("region", "north", "south"),
        date("opened", "2000-01-01", "2025-12-31"),
        boolean("active"),
        integer("n", -10, 10),
        integer("cards", 0, 10**6, nullable=False),
        integer("huge", -(10**18), 10**18),
        decimal("fine", 6, 0, 10**12),
        text("name"),
    )


@cache
def bureau() -> World:
    """The same tables for every question: one plan, one answer."""
    day = dt.date
    a = [
        ("1", "10.25", "north", day(2001, 2, 3), True, 3, 10, 10**18, "0.000001", "O'Neil"),
        ("1", "-0.05", "north", day(2020, 2, 29), False, None, 0, -(10**18), "1", "é"),
        ("2", "999999.99", "south", None, None, -10, 7, 1, None, 'a"b'),
        ("3", None, None, day(2025, 12, 31), True, 0, 10**6, None, "2.5", "x' OR 1=1 --"),
    ]
    b = [
        ("1", "-1000000.00", "south", day(2000, 1, 1), True, 10, 1, 5, "0", None),
        ("4", "0.01", "north", day(2010, 6, 30), None, 1, 2, 6, "3", "50%_off"),
    ]
    firms = (text("uscc", key=True, nullable=False), decimal("tax_paid", 2, 0, 10**7), integer("n", -10, 10))
    spend = (text("uscc", key=True, nullable=False), decimal("spend", 2, 0, 10**5), boolean("roams", nullable=False))
    return World(
        (
            held("bank_a", "accounts", accounts(), a),
            held("bank_b", "accounts", accounts(), b),
            held("tax", "firms", firms, [("1", "100.00", 1), ("2", None, None), ("4", "0.50", -1)]),
            held("telecom", "firms", spend, [("1", "12.34", True), ("3", "0.66", False)]),
        )
    )


UNION = "(SELECT * FROM bank_a.accounts UNION ALL SELECT * FROM bank_b.accounts)"
