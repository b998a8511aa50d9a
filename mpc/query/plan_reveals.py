"""What a plan reveals, value by value, and the columns that each derives from: what the owners' grants are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Use = Literal[
    "join", "join_reveal", "filter", "group", "aggregate", "extreme", "arithmetic", "product", "threshold", "row"
]


@dataclass(frozen=True)
class ColumnUse:
    """One column of one owner on a path to a revealed value: the grant it needs. ``where`` is the SQL fragment."""

    party: str
    table: str
    column: str
    use: Use
    where: str


@dataclass(frozen=True)
class Reveal:
    """One value (per cell) that the recipients see, and every column it derives from.

    ``contributors``: parties whose own columns are added into it; ``pooled``: it adds values of several parties,
    so that owners' ``min_contributors`` applies; ``searched_by``: parties that learn it too, since their search for one
    entity's value leads to it.
    """

    what: str
    pool: str
    uses: tuple[ColumnUse, ...]
    contributors: tuple[str, ...]
    pooled: bool
    searched_by: tuple[str, ...]


@dataclass(frozen=True)
class JoinReveal(Reveal):
    """A value computed over a join: other parties' rows decide which rows count.

    ``joined``: all parties of the join; ``grouped_by``: who holds GROUP BY keys.
    """

    joined: tuple[str, ...]
    grouped_by: tuple[str, ...]


@dataclass(frozen=True)
class RowReveal(JoinReveal):
    """A value shown for each row of the recipient's own table."""


@dataclass(frozen=True)
class MetReveal(JoinReveal):
    """What the two parties of a join without a helper learn of each other, whoever receives the result: which of their
    own keys the other has, and of groups of the spine how many entities are in them; or where only the number of keys
    that met is asked, that it is small, and one of them about what it is.
    """
