"""One run of each kind for all tests here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from mpc.errors import HejiError
from mpc.evidence.bundle import Bundle
from tests.parties import test_join_rows, world
from tests.parties.auditor.bundles import asked, exported, sealed
from tests.parties.auditor.forge import Forge
from tests.parties.conftest import serving

TWO_BANKS = "SELECT SUM(balance) AS together FROM (SELECT balance FROM bank_a.accounts UNION ALL {})"
WITH_B, WITH_C = (TWO_BANKS.format(f"SELECT balance FROM {b}.accounts") for b in ("bank_b", "bank_c"))


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A total over three banks, and all its evidence, with the analyst's result and one bank's policy."""
    folder = world.make(tmp_path_factory.mktemp("audit"))
    bundle = asyncio.run(asked(folder, world.BY_GRADE, with_result=True))
    forge = Forge(folder, bundle)
    forge.files["policies/bank_a.toml"] = (folder / "bank_a" / "policy.toml").read_bytes()
    return folder, forge.made()


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A verified total of three banks, of which one has few rows of grade A, with what the analyst opened."""
    scratch = tmp_path_factory.mktemp("released")
    folder = world.make(scratch, min_entities=10)
    few = [(u, "B" if i >= 5 else "A", b) for i, (u, _, b) in enumerate(world.rows_of("bank_c"))]
    world.write_accounts(scratch / "bank_c.csv", few)
    return folder, asyncio.run(asked(folder, world.BY_GRADE, with_result=True, verified=True))


@pytest.fixture(scope="session")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle, Bundle]:
    """bank_a's quarter: a total of three, one of two over the same data, as its policy allows, one of two after its
    data changed, and one that was refused; exported by itself and by the auditor."""
    folder = world.make(tmp_path_factory.mktemp("period"), auditors=["auditor"])
    for bank in world.BANKS:
        policy = folder / bank / "policy.toml"
        policy.write_text(policy.read_text().replace("\n[[grant]]\n", '\n[[grant]]\ncontributor_sets = "any"\n'))

    async def run() -> tuple[Bundle, Bundle]:
        async with serving(folder) as running:
            await running.query(world.TOGETHER, purpose="quarterly report")
            await running.query(WITH_B)
            with pytest.raises(HejiError):
                await running.query("SELECT grade, uscc FROM bank_a.accounts", "bank_b")
            world.write_accounts(folder.parent / "bank_a.csv", world.rows_of("bank_a", 29))
            await running.query(WITH_C)
            with pytest.raises(HejiError):
                await exported(running, "bank_b", "bank_a")
            return await exported(running, "bank_a", "bank_a", with_policy=True), await exported(
                running, "auditor", "bank_a"
            )

    return folder, *asyncio.run(run())


@pytest.fixture(scope="session")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """The tax bureau's: it showed the bank a condition for single entities."""
    folder = test_join_rows.make(tmp_path_factory.mktemp("decisions"), test_join_rows.GRANTS)

    async def run() -> Bundle:
        async with serving(folder) as running:
            await running.query(test_join_rows.DECISION, "bank")
            return await exported(running, "tax", "tax")

    return folder, asyncio.run(run())


@pytest.fixture(scope="session")
def sealed_total(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bundle]:
    """A total over three banks, what the coordinator heard sealed to the auditor."""
    folder = world.make(tmp_path_factory.mktemp("sealed"), auditors=["auditor"])
    return folder, asyncio.run(sealed(folder))
