"""Deposit jobs between members over real gRPC: each party on a day of its own, and every way one can be wrong."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from mpc.crypto import paillier
from parties.coordinator import deposits as at_coordinator
from tests.parties import world
from tests.parties.depositing import DAY, banks, deposit, make, submit, until


@pytest.fixture(autouse=True)
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that take no second each; a coordinator that looks at its clock often."""
    monkeypatch.setattr(paillier, "MIN_BITS", 1024)
    monkeypatch.setattr(at_coordinator, "LOOK", 0.05)


async def test_each_deposits_on_a_day_of_its_own(tmp_path: Path) -> None:
    async with banks(make(tmp_path), without=world.BANKS) as (running, clock):
        for bank in world.BANKS:  # seen once by the coordinator, then away
            await running.start(bank, clock=clock)
        await running.ask("analyst", "catalog")
        for bank in world.BANKS:
            await running.stop(bank)
        job = await submit(running)
        for bank in world.BANKS:
            await running.start(bank, clock=clock)
            await deposit(running, job, bank)
            await running.stop(bank)
            clock.later += DAY
        clock.later += 10 * DAY
        await until(running, "analyst", job, "done")
        result = await running.ask("analyst", "result", job)
    assert result.rows == [{"together": Decimal("1305001.80"), "n": 90}]
    assert result.statement["trust"] == "deposit"
