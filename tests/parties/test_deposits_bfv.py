"""Deposit jobs under BFV between members over real gRPC: the same totals, and no secret in anything that is sent."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tests.parties.depositing import DAY, banks, deposit, make, submit, until

TOGETHER = [{"together": Decimal("1305001.80"), "n": 90}]


async def test_the_total_is_the_plain_one(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, clock):
        job = await submit(running, method="bfv")
        await deposit(running, job)
        clock.later += 11 * DAY
        await until(running, "analyst", job, "done")
        result = await running.ask("analyst", "result", job)
    assert result.rows == TOGETHER
    assert result.statement["trust"] == "deposit"
