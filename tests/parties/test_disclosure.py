"""Limits that owners keep inside the computation, from policy.toml to the result that a modeler sees."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mpc.errors import LocalError
from tests.parties import world
from tests.parties.conftest import serving
from tests.parties.test_replaying import again

LIMITS = {"bank_b": "max_share = 0.2"}


def with_limits(folder: Path, limits: dict[str, str], **made_with: Any) -> Path:
    """Banks whose grants have these lines besides."""
    made = world.make(folder, **made_with)
    for bank, lines in limits.items():
        policy = made / bank / "policy.toml"
        policy.write_text(policy.read_text().rstrip() + f"\n{lines}\n")
    return made


def one_large_firm(folder: Path, bank: str, *, balance: str = "100000000.00") -> None:
    """The bank's first firm of grade A gets a large balance."""
    rows = world.rows_of(bank)
    world.write_accounts(folder / f"{bank}.csv", [(rows[0][0], rows[0][1], balance), *rows[1:]])


async def test_a_cell_with_one_large_firm_is_suppressed_and_nobody_learns_where(tmp_path: Path) -> None:
    folder = with_limits(tmp_path, LIMITS)
    one_large_firm(tmp_path, "bank_b")
    async with serving(folder) as running:
        result = await running.query(world.BY_GRADE)
    a, b = result.rows
    assert (a["n"], a["total"], a["_suppressed"]) == (45, None, ["total"])
    assert b["n"] == 45 and b["total"] is not None and not b["_suppressed"]


async def test_without_the_limit_it_is_shown(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    one_large_firm(tmp_path, "bank_b")
    async with serving(folder) as running:
        assert (await running.query(world.BY_GRADE)).rows[0]["total"] > 100_000_000


async def test_a_role_with_limits_says_the_same_again(tmp_path: Path) -> None:
    folder = with_limits(tmp_path, LIMITS)
    one_large_firm(tmp_path, "bank_b")
    async with serving(folder) as running:
        job = (await running.query(world.BY_GRADE)).statement["job"]
    [found] = await again(folder, "bank_b", job)
    assert found.role == "party"


# ---- differencing


def without(n: int) -> str:
    """The sum of all, but for the first ``n`` firms of bank_b."""
    left_out = ", ".join(f"'{world.rows_of('bank_b')[i][0]}'" for i in range(n)) or "'nobody'"
    return (
        "SELECT COUNT(*) AS n, SUM(balance) AS s FROM (SELECT uscc, balance FROM bank_a.accounts UNION ALL "
        f"SELECT uscc, balance FROM bank_b.accounts UNION ALL SELECT uscc, balance FROM bank_c.accounts) "
        f"WHERE uscc NOT IN ({left_out})"
    )


async def test_all_but_one_after_all(tmp_path: Path) -> None:
    """Two totals that differ by a firm: the second is suppressed, and so is the first where it comes second."""
    async with serving(world.make(tmp_path)) as running:
        assert (await running.query(without(1))).rows == [{"n": 89, "s": Decimal("1305001.80") - Decimal("0.02")}]
        for _ in range(2):
            again = (await running.query(without(0))).rows[0]
            assert (again["n"], again["s"]) == (None, None)
        assert (await running.query(without(1))).rows[0]["n"] == 89  # the same question again
        assert (await running.query(without(12))).rows[0]["n"] == 78  # far enough from both
        assert (await running.query(without(11), "bank_a")).rows[0]["n"] is None  # to whomever


async def test_a_margin_does_not_give_a_cell_back(tmp_path: Path) -> None:
    """Two firms of each grade have a low balance. After totals by grade, a table by grade and band hides another cell
    of each grade; of the whole table one would do."""
    folder = world.make(tmp_path, count=60)
    band = "CASE WHEN balance < 4000 THEN 'low' WHEN balance < 30000 THEN 'mid' ELSE 'high' END"
    async with serving(folder) as running:
        grades = await running.query("SELECT grade, COUNT(*) AS n FROM bank_b.accounts GROUP BY grade ORDER BY grade")
        assert [r["n"] for r in grades.rows] == [30, 30]
        table = await running.query(f"SELECT grade, {band} AS b, COUNT(*) AS n FROM bank_b.accounts GROUP BY grade, b")
    shown = {(r["grade"], r["b"]): r["n"] for r in table.rows if r["n"] is not None}
    assert shown == {("A", "high"): 15, ("B", "high"): 15}


async def test_a_node_remembers_over_a_restart(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    async with serving(folder) as running:
        assert (await running.query(without(1))).rows[0]["n"] == 89
        await running.stop("bank_b")
        await running.start("bank_b")
        assert (await running.query(without(0))).rows[0]["n"] is None


async def test_an_operator_may_switch_the_ledger_off(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    for bank in world.BANKS:
        settings = folder / bank / "member.toml"
        settings.write_text(settings.read_text() + "\nrelease_ledger = false\n")
    async with serving(folder) as running:
        assert (await running.query(without(1))).rows[0]["n"] == 89
        result = await running.query(without(0))
        assert result.rows[0]["n"] == 90
    [found] = await again(folder, "bank_a", result.statement["job"])
    assert found.role == "party"


async def test_one_changed_row_between_two_days(tmp_path: Path) -> None:
    """A correction of one balance would be the difference of yesterday's total and today's."""
    folder = world.make(tmp_path)
    async with serving(folder) as running:
        assert (await running.query(world.TOGETHER)).rows[0]["n"] == 90
        one_large_firm(tmp_path, "bank_b", balance="77.00")
        assert (await running.query(world.TOGETHER)).rows[0]["together"] is None


async def test_a_total_beside_a_table_with_a_small_cell(tmp_path: Path) -> None:
    """bank_b has three firms of grade B: hidden in the table, and not to be had from the total."""
    folder = world.make(tmp_path)
    rows = [(uscc, "B" if i < 3 else "A", balance) for i, (uscc, _, balance) in enumerate(world.rows_of("bank_b"))]
    world.write_accounts(tmp_path / "bank_b.csv", rows)
    async with serving(folder) as running:
        a, b = (await running.query(world.BY_GRADE)).rows
        assert a["n"] == 57 and b["n"] is None
        assert (await running.query(world.TOGETHER)).rows[0]["n"] is None


async def test_a_later_attempt_finds_the_same_cells_hidden(tmp_path: Path) -> None:
    """What the first attempt of a job wrote does not stand against the second one."""
    folder = world.make(tmp_path)
    async with serving(folder) as running:
        job = (await running.query(without(1))).statement["job"]
        await running.query(without(0))
    [found] = await again(folder, "bank_b", job)
    assert found.role == "party"


async def test_the_ledger_holds_no_entity_and_no_value(tmp_path: Path) -> None:
    folder = world.make(tmp_path)
    async with serving(folder) as running:
        await running.query(world.TOGETHER)
        await running.query(world.TOGETHER)
    database = sqlite3.connect(folder / "bank_b" / "state" / "node.db")
    bodies = [bytes(b) for (b,) in database.execute("SELECT body FROM populations")]
    assert database.execute("SELECT COUNT(*) FROM releases").fetchone() == (2,)
    assert {len(b) for b in bodies} == {16 * 30}  # of 30 firms each, and equal ones once
    assert len(bodies) == 2  # rows, and balances
    dump = "\n".join(database.iterdump())
    assert not any(uscc in dump or uscc.encode().hex() in dump.lower() for uscc, _, _ in world.rows_of("bank_b"))
    database.close()


# ---- numbers over one population


async def test_numbers_over_one_population(tmp_path: Path) -> None:
    """One a population: other expressions over the same firms are suppressed, and the same one is answered again."""
    folder = with_limits(tmp_path, {"bank_b": "max_numbers = 1"}, grants=("aggregate", "group", "filter", "arithmetic"))
    doubled = world.BY_GRADE.replace("SUM(balance)", "SUM(2 * balance)")
    async with serving(folder) as running:
        first = (await running.query(world.BY_GRADE)).rows
        rows = (await running.query(doubled)).rows
        assert [(r["n"], r["total"], r["_suppressed"]) for r in rows] == [(45, None, ["total"])] * 2
        assert (await running.query(world.BY_GRADE)).rows == first
        with pytest.raises(LocalError) as refused:
            await running.query(world.BY_GRADE.replace("SUM(balance)", "VARIANCE(balance)"))
        job = (await running.query(doubled)).statement["job"]
    assert refused.value.facts["missing"][0]["reasons"] == ["numbers"]
    [found] = await again(folder, "bank_b", job)
    assert found.role == "party"


async def test_numbers_are_not_counted_without_a_ledger(tmp_path: Path) -> None:
    folder = with_limits(tmp_path, {"bank_b": "max_numbers = 1"})
    settings = folder / "bank_b" / "member.toml"
    settings.write_text(settings.read_text() + "\nrelease_ledger = false\n")
    async with serving(folder) as running:
        with pytest.raises(LocalError) as refused:
            await running.query(world.TOGETHER)
    assert refused.value.code == "policy.unenforceable"


# ---- rounded sums


async def test_sums_are_rounded_by_their_owner_and_the_statement_says_so(tmp_path: Path) -> None:
    folder = with_limits(tmp_path, {"bank_a": "round_to = 100000", "bank_b": "round_to = 250000"})
    exact = {bank: sum(Decimal(balance) for _, _, balance in world.rows_of(bank)) for bank in world.BANKS}
    expected = exact["bank_c"] + round(exact["bank_a"], -5) + round(exact["bank_b"] / 250_000) * 250_000
    async with serving(folder) as running:
        for verified in (False, True):
            result = await running.query(world.TOGETHER, verified=verified)
            assert (result.rows[0]["n"], result.rows[0]["together"]) == (90, expected)
            assert result.statement["rounded"] == {
                "bank_a": {"accounts.balance": "100000"},
                "bank_b": {"accounts.balance": "250000"},
            }
        with pytest.raises(LocalError) as refused:
            await running.query(world.TOGETHER.replace("SUM(balance)", "VARIANCE(balance)"))
    assert refused.value.facts["missing"][0]["reasons"] == ["rounded"]
    [found] = await again(folder, "bank_b", result.statement["job"])
    assert found.role == "party"
