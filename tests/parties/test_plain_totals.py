"""A total of an owner's rows without a join beside one over those of them that met: in either order, from policies to
what a modeler gets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.parties.conftest import serving
from tests.parties.test_join_differences import BANKED, MET, UNMET, set_in, shown
from tests.parties.test_joins import FIRMS, make
from tests.parties.test_replaying import again


def but(firms: Sequence[str], of: str = "t.uscc") -> str:
    return f"WHERE {of} NOT IN ({', '.join(map(repr, firms))})"


#: all firms of which the bank lacks three
FEW_UNMET = UNMET[:12]
PLAIN = f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid FROM tax.firms t {but(FEW_UNMET)}"
JOINED = f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid {BANKED} {but(FEW_UNMET)}"
LEFT = (
    f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid FROM tax.firms t LEFT JOIN bank.firms b USING (uscc) {but(FEW_UNMET)}"
)
HIDDEN = [{"n": None, "paid": None, "_suppressed": ["n", "paid"]}]


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


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


async def test_the_owners_rows_first_and_a_join_afterwards(tmp_path: Path) -> None:
    async with serving(make(tmp_path, least=10)) as running:
        [plain] = await shown(running, PLAIN)
        assert plain["n"] == len(FIRMS) - len(FEW_UNMET)
        assert await shown(running, JOINED) == HIDDEN
        assert await shown(running, JOINED) == HIDDEN
        assert await shown(running, PLAIN) == [plain]
        assert await shown(running, LEFT) == [plain]
        all_met = await running.query(f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid {BANKED}")
        assert all_met.rows == HIDDEN  # the same firms met, however the tax bureau chose among its own
    for name in ("tax", "bank", "helper"):  # what tax brings is replayed like all else
        [found] = await again(tmp_path / "consortium", name, all_met.statement["job"])
        assert found.role == ("helper" if name == "helper" else "party") and not found.remark


async def test_without_the_comparison_the_difference_goes_out(tmp_path: Path) -> None:
    folder = make(tmp_path, least=10)
    set_in(folder / "tax", "compared_releases = 0")
    async with serving(folder) as running:
        [plain], [joined] = await shown(running, PLAIN), await shown(running, JOINED)
    assert plain["n"] - joined["n"] == 3 and plain["paid"] > joined["paid"]


async def test_a_list_of_the_others_clients_less_one(tmp_path: Path) -> None:
    """Over all firms no condition of tax comes close to it: only the firms that met do."""
    clients = f"SELECT COUNT(*) AS n, SUM(paid) AS paid FROM tax.firms WHERE uscc IN ({', '.join(map(repr, MET[1:]))})"
    async with serving(make(tmp_path, least=10)) as running:
        [plain] = await shown(running, clients)
        assert plain["n"] == len(MET) - 1
        assert await shown(running, f"SELECT COUNT(*) AS n, SUM(t.paid) AS paid {BANKED}") == HIDDEN


async def test_tables_by_the_same_keys(tmp_path: Path) -> None:
    """In industry A three firms of 18 did not meet, in industry B nobody of 30: both are hidden."""

    def by(firms: Sequence[str]) -> str:
        return f"{but(firms)} GROUP BY t.industry ORDER BY 1"

    async with serving(make(tmp_path, least=10)) as running:
        plain = await shown(running, f"SELECT t.industry, COUNT(*) AS n FROM tax.firms t {by(FEW_UNMET)}")
        assert [r["n"] for r in plain] == [18, 30]
        joined = await shown(running, f"SELECT t.industry, COUNT(*) AS n {BANKED} {by(FEW_UNMET)}")
        assert [r["n"] for r in joined] == [None, None]
        assert await shown(running, JOINED) == HIDDEN  # all cells together are compared with a total


@pytest.mark.slow
async def test_tables_in_which_everybody_met(tmp_path: Path) -> None:
    by = f"{but(UNMET)} GROUP BY t.industry ORDER BY 1"
    async with serving(make(tmp_path, least=10)) as running:
        plain = await shown(running, f"SELECT t.industry, COUNT(*) AS n FROM tax.firms t {by}")
        assert [r["n"] for r in plain] == [15, 30]
        assert await shown(running, f"SELECT t.industry, COUNT(*) AS n {BANKED} {by}") == plain


@pytest.mark.slow
async def test_of_the_side_that_is_not_the_spine(tmp_path: Path) -> None:
    """Three firms of the bank are not in the other table; the join's rows are those of tax."""
    bank = "SELECT COUNT(*) AS n, SUM(b.balance) AS s FROM bank.firms b"
    joined = f"SELECT COUNT(*) AS n, SUM(b.balance) AS s {BANKED} {but(MET[:3])}"
    async with serving(make(tmp_path, least=10)) as running:
        [plain] = await shown(running, bank)
        assert plain["n"] == len(MET)
        assert (await shown(running, joined))[0]["n"] is None


@pytest.mark.slow
async def test_where_many_did_not_meet_both_are_answered(tmp_path: Path) -> None:
    """In either order: after a join the total of all is asked over a LEFT JOIN."""
    everybody, met = "SELECT COUNT(*) AS n FROM tax.firms", f"SELECT COUNT(*) AS n {BANKED}"
    left = "SELECT COUNT(*) AS n FROM tax.firms t LEFT JOIN bank.firms b USING (uscc)"
    async with serving(make(fresh(tmp_path / "first"), least=10)) as running:
        assert [(await shown(running, sql))[0]["n"] for sql in (everybody, met)] == [len(FIRMS), len(MET)]
        assert [(await shown(running, sql))[0]["n"] for sql in (met, everybody)] == [len(MET), len(FIRMS)]
    async with serving(make(fresh(tmp_path / "second"), least=10)) as running:
        assert [(await shown(running, sql))[0]["n"] for sql in (met, everybody)] == [len(MET), None]
        assert (await shown(running, left))[0]["n"] == len(FIRMS)
