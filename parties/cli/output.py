"""What people see: tables, errors, progress. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path
from textwrap import indent
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mpc.errors import HejiError, PeerError
from mpc.query.catalog import Column
from parties.results import ACCURACY, SUPPRESSED, UNCLEAR, Result
from parties.visible import visible

#: options of most commands
Consortium = Annotated[
    Path | None,
    Parameter(name="--consortium", help="consortium or member folder; else $HEJI_CONSORTIUM, else this folder"),
]
As = Annotated[
    str | None, Parameter(name="--as", help="whose identity is used; else the recipient's, if its keys lie there")
]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def complain(error: HejiError) -> None:
    """What happened, why, what to do next, and the stable code."""
    who = f" ({error.party})" if isinstance(error, PeerError) and error.party else ""
    err.print(
        Text.assemble(
            ("Refused" if error.code.startswith(("policy", "plan", "sql")) else "Failed", "bold red"),
            f"{who}: ",
            error.message,
        )
    )
    if error.advice:
        # indented by hand: a Padding would cut what is wider than the terminal
        err.print(Text(indent(error.advice, "  ")))
    err.print(Text(f"[{error.code}]", style="dim"))


def table_of(result: Result, title: str | None = None) -> Table:
    """A result as a terminal table; suppressed cells, and those that noise left without a value, say so."""
    names = [n for n in result.table.column_names if n not in (SUPPRESSED, UNCLEAR, ACCURACY)]
    table = Table(title=title, title_justify="left", header_style="bold")
    numeric = {n for n in names if _is_number(result, n)}
    for name in names:
        table.add_column(Text(name), justify="right" if name in numeric else "left")
    for row in result.rows:
        why = dict.fromkeys(row.get(UNCLEAR) or (), "too noisy")
        why |= dict.fromkeys(row.get(SUPPRESSED) or (), "suppressed")
        off = {n: f" ± {shown(half)}" for n, half in (row.get(ACCURACY) or {}).items() if half is not None}
        cells = {n: Text(why[n], style="dim") if n in why else Text(shown(row[n]) + off.get(n, "")) for n in names}
        table.add_row(*cells.values())
    return table


def shown(value: Any) -> str:
    """One value as people write it: thousands separated, all digits of exact numbers."""
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int() | Decimal():
            return f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"
        case float():
            return f"{value:,.6f}" if 1e-3 <= abs(value) < 1e12 or value == 0 else repr(value)
        case _:
            return str(value)


def limits(column: Column, most: int = 8) -> str:
    """A column's domain (its first ``most`` values) or bounds, in the units people write: 12.50, 2024-01-31."""
    if column.domain is not None:
        values = ", ".join(map(str, column.domain[:most]))
        return values + (f" … ({len(column.domain)})" if len(column.domain) > most else "")
    if column.low is None or column.high is None:
        return ""
    return f"{_in_units(column, column.low)} … {_in_units(column, column.high)}"


def _in_units(column: Column, value: int) -> str:
    match column.kind:
        case "decimal":
            return f"{Decimal(value).scaleb(-column.scale):f}"
        case "date":
            return (dt.date(1970, 1, 1) + dt.timedelta(days=value)).isoformat()
        case _:
            return str(value)


def said(text: str) -> None:
    """A line for people: what does not print, in it, is written out."""
    plain(visible(text))


def plain(text: str) -> None:
    """Text for programs: to stdout as it is."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def _is_number(result: Result, name: str) -> bool:
    kind = str(result.table.schema.field(name).type)
    return kind.startswith(("int", "decimal", "double", "float"))
