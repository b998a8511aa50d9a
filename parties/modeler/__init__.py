"""For programs that ask questions: ``connect`` opens a member's folder and gives a ``Client``.

from parties.modeler import connect

with connect("practice", as_="analyst") as heji:
    heji.catalog()
    result = heji.query("SELECT SUM(balance) AS together FROM bank_a.accounts", to="analyst")
    result.table, result.to_pandas(), result.statement
"""

from __future__ import annotations

import os
from pathlib import Path

from parties.config import locate
from parties.modeler.client import Client

__all__ = ["Client", "connect"]


def connect(consortium: str | Path | None = None, as_: str | None = None) -> Client:
    """Act as a member of a consortium; a context manager, else call ``close()``.

    ``consortium``: a folder of member folders or one member's own, else $HEJI_CONSORTIUM, else the current folder.
    ``as_``: whose identity is used, else the only member whose keys lie there, else the only one that serves nothing.
    Methods block; they run on a thread of their own, so that they also work in notebooks and inside event loops.
    Raises LocalError config.*, roster.*; connecting itself happens at the first call.
    """
    return Client(locate(None if consortium is None else Path(consortium).expanduser(), as_, (), os.environ))
