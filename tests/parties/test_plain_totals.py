"""A total of an owner's rows without a join beside one over those of them that met: in either order, from policies to
what a modeler gets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.parties.conftest import serving
from tests.parties.test_join_differences import BANKED, MET, UNMET, set_in, shown
from tests.parties.test_joins import FIRMS, make


def but(firms: Sequence[str], of: str = "t.uscc") -> str:
    return f"WHERE {of} NOT IN ({', '.join(map(repr, firms))})"


#: all firms of which the bank lacks three
FEW_UNMET = UNMET[:12]
PLAIN = f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid FROM tax.firms t {but(FEW_UNMET)}"
JOINED = f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid {BANKED} {but(FEW_UNMET)}"
LEFT = f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid FROM tax.firms t LEFT JOIN bank.firms b USING (uscc) {but(FEW_UNMET)}"
HIDDEN = [{"n": None, "paid": None, "_suppressed": ["n", "paid"]}]


async def test_a_join_first_and_its_owners_rows_afterwards(tmp_path: Path) -> None:
    """Nobody can tell who met, so the total of all who could have is hidden; over a LEFT JOIN it is computed by all."""
    async with serving(make(tmp_path, least=10)) as running:
        [joined] = await shown(running, JOINED)
        assert joined["n"] == len(MET)
        assert await shown(running, PLAIN) == HIDDEN
        assert await shown(running, PLAIN) == HIDDEN
        nearly = f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid FROM tax.firms t {but(UNMET[:8])}"
        assert await shown(running, nearly) == HIDDEN
        [far] = await shown(running, "SELECT COUNT(*) AS n, SUM(paid) AS paid FROM tax.firms")  # 12 firms more
        assert far["n"] == len(FIRMS)
        assert await shown(running, JOINED) == [joined]


async def test_rows_that_no_join_can_leave_out(tmp_path: Path) -> None:
    """Over a LEFT JOIN all of the left table count: there its owner knows that nothing differs."""
    async with serving(make(tmp_path, least=10)) as running:
        everybody = await shown(running, LEFT)
        assert everybody == await shown(running, PLAIN)
