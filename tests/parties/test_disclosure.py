"""Limits that owners keep inside the computation, from policy.toml to the result that a modeler sees."""

from __future__ import annotations

from pathlib import Path

from tests.parties import world
from tests.parties.conftest import serving
from tests.parties.test_replaying import again

LIMITS = {"bank_b": "max_share = 0.2"}


def with_limits(folder: Path, limits: dict[str, str]) -> Path:
    """Banks whose grants have these lines besides."""
    made = world.make(folder)
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
