"""``heji catalog``: what every party publishes, and made-up tables after it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from mpc.errors import LocalError
from mpc.query.catalog import Catalog
from parties.cli.output import As, Consortium, err, limits, out, plain
from parties.cli.question import client
from parties.practice import make as make_practice
from parties.results import json_text

#: rows of a made-up table
MOST_MADE_UP = 1_000_000


def register(app: App) -> None:
    """Add this command to ``heji``."""
    app.command(catalog)


def catalog(
    *,
    consortium: Consortium = None,
    as_: As = None,
    practice: Annotated[
        Path | None, Parameter(help="write made-up tables after the catalogs to this new folder")
    ] = None,
    rows: Annotated[int, Parameter(help="rows of each made-up table")] = 1000,
    seed: Annotated[int, Parameter(help="of the made-up tables")] = 1,
    json: bool = False,
) -> None:
    """Show what every party publishes: tables, columns, types, bounds, domains. Never a value.

    Example: heji catalog --consortium demo
    """
    with client(consortium, as_) as heji:
        found, missing = heji.catalog(), heji.missing()
    if practice is not None:
        if not 1 <= rows <= MOST_MADE_UP:
            raise LocalError("config.invalid", f"--rows takes 1 to {MOST_MADE_UP:,}.")
        made = make_practice(found, practice, rows, seed)
        plain(f"{practice}: {len(made)} made-up tables of {rows:,} rows. Nothing in them is anybody's.")
        plain(f'Try SQL on them: heji query "SELECT …" --practice {practice}')
        return
    if json:
        plain(json_text({"catalogs": [found[p].to_dict() for p in sorted(found)], "missing": missing}))
        return
    for party in sorted(found):
        out.print(catalog_table(found[party]))
    for party, why in sorted(missing.items()):
        err.print(f"{party}: {why}")


def catalog_table(found: Catalog) -> Table:
    table = Table(
        "table",
        "column",
        "type",
        "range or domain",
        "key",
        "description",
        header_style="bold",
        title=found.party,
        title_justify="left",
    )
    for t in found.tables:
        for i, c in enumerate(t.columns):
            name = f"{t.name} (≤ {t.rows:,} rows)" if i == 0 else ""
            about = f"{c.description} {c.unit}".strip()
            table.add_row(name, Text(c.name), c.type_name, Text(limits(c)), "key" if c.key else "", Text(about))
    return table
