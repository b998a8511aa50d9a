"""Random consortia: one to five parties with the same kinds of columns under names of their own."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

from mpc.query.catalog import Column
from tests.mpc.query.world import Held, World, boolean, date, decimal, held, integer, text

PARTIES = ("ames", "bale", "cole", "dunn", "east")
#: how many consortia; bounds of the wide columns: a sum of them, or of their squares, needs Z_2^128
WORLDS = 40
WIDE, HUGE = 10**9, 10**17


@dataclass(frozen=True)
class Kind:
    """What a column is in all tables, whatever its name: ``domain``: rows can be grouped by it."""

    name: str
    type: str
    domain: bool = False


#: ``id`` marks the entity; ``n`` is narrow enough to be grouped by
KINDS = (
    Kind("id", "text"),
    Kind("n", "integer", True),
    Kind("m", "integer"),
    Kind("h", "huge"),
    Kind("d", "decimal"),
    Kind("w", "wide"),
    Kind("day", "date"),
    Kind("flag", "boolean", True),
    Kind("c", "text", True),
    Kind("r", "text", True),
    Kind("note", "text"),
)
LABELS, REGIONS = ("x", "y", "yz", "Ünï 'q'"), ("east", "north", "south")


def column(kind: str, party: str) -> str:
    """Every other party has other names for the same things."""
    return kind if PARTIES.index(party) % 2 == 0 else f"{kind}_{party}"


def columns(party: str) -> tuple[Column, ...]:
    c = {k.name: column(k.name, party) for k in KINDS}
    return (
        text(c["id"], key=True, nullable=False),
        integer(c["n"], -3, 4),
        integer(c["m"], -1000, 1_000_000, nullable=False),
        integer(c["h"], -HUGE, HUGE),
        decimal(c["d"], 2, -1000, 1000),
        decimal(c["w"], 4 if party == "ames" else 3, -WIDE, WIDE),
        date(c["day"], "2019-12-30", "2024-03-01"),
        boolean(c["flag"]),
        text(c["c"], *LABELS),
        text(c["r"], *REGIONS, nullable=False),
        text(c["note"]),
    )


def _value(random: Random, c: Column, nulls: float) -> Any:
    if c.nullable and random.random() < nulls:
        return None
    if c.kind == "boolean":
        return random.random() < 0.5
    if c.domain is not None:
        return random.choice(c.domain)
    if c.kind == "text":
        return random.choice(["", "a", "ab", "abc", "B", "  pad ", "100%", "a_c", "ä", "日本", "\\"])
    assert c.low is not None and c.high is not None
    units = random.choice([random.randint(c.low, c.high), c.low, c.high, 0 if c.low <= 0 else c.low, c.high - 1])
    if random.random() < 0.4:
        units = max(c.low, min(c.high, random.randint(-3, 5) * 10**c.scale + random.choice([0, 0, 5, -5])))
    if c.kind == "decimal":
        return Decimal(f"{units}e-{c.scale}")
    return dt.date(1970, 1, 1) + dt.timedelta(days=units) if c.kind == "date" else units


def table(random: Random, party: str) -> Held:
    wanted = columns(party)
    size = random.choice([0, 1, 2, 5, 9, 14])
    nulls = random.choice([0.05, 0.3, 1.0])
    rows = []
    for _ in range(size):
        row = [_value(random, c, nulls) for c in wanted]
        row[0] = f"{random.randint(1, 6)}"  # several rows of one entity
        rows.append(row)
    return held(party, "t", wanted, rows)


@cache
def world(seed: int) -> World:
    """The ``seed``-th consortium, kept with its databases: many queries run over each."""
    random = Random(seed)
    count = seed % len(PARTIES) + 1
    return World(tuple(table(random, p) for p in PARTIES[:count]))
