"""How deposits are to be collected: the options, and closing dates as people write them."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from cyclopts import Parameter

from mpc.errors import LocalError
from parties.clock import now
from parties.modeler.deposits import Collecting

Method = Annotated[
    Literal["masked", "paillier", "bfv", "ckks"],
    Parameter(help="masked: parties online together; else each deposits when it likes, encrypted to the recipient"),
]
Closes = Annotated[
    str, Parameter(help="until when deposits are taken: a day (to its end here), or day and time; with --method")
]
Least = Annotated[
    int | None, Parameter(help="institutions besides the recipient's that must have deposited; by default all")
]
Early = Annotated[bool, Parameter(negative="", help="close as soon as all have deposited")]


def asked_for(method: str, closes: str, least: int | None, *, early: bool) -> Collecting | None:
    """How deposits are to be collected; None for a masked sum. Raises LocalError config.missing, config.invalid."""
    if method == "masked":
        if closes and closes != tomorrow():
            raise LocalError(
                "config.invalid", "--closes goes with --method paillier, bfv or ckks.", "Leave one of them out."
            )
        return None
    if not closes:
        raise LocalError(
            "config.missing",
            "A deposit job needs a closing date.",
            "Add --closes 2026-12-31, or with a time: --closes 2026-12-31T12:00.",
        )
    try:
        when = dt.datetime.fromisoformat(closes)
    except ValueError as problem:
        raise LocalError("config.invalid", f"{closes!r} is no date.", "Write --closes 2026-12-31.") from problem
    if len(closes) == len("2026-12-31"):
        when += dt.timedelta(days=1)
    return Collecting(method, int(when.astimezone().timestamp()), least, early)


def tomorrow() -> str:
    """A closing date for who only wants to see what would happen."""
    return dt.datetime.fromtimestamp(now() + 86400).date().isoformat()


def moment(seconds: int) -> str:
    """A point in time as people write it here."""
    return dt.datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="minutes")
