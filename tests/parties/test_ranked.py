"""MIN, MAX and quantiles of several members' values over gRPC: exact, judged, with a helper that hears nothing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mpc.errors import HejiError
from mpc.run import Sent
from parties.consortium import init_consortium
from parties.node.tables import add_table
from tests.parties.conftest import Running, serving
from tests.parties.test_joins import write

BANKS = ("bank_a", "bank_b", "bank_c")
LOANS = {
    b: [(f"F{i:03d}", "NS"[i % 2], f"{(i * 37 + k * 11) % 101}.50") for i in range(24) if (k, i) != (2, 1)]
    for k, b in enumerate(BANKS)
}
UNITED = " UNION ALL ".join(f"SELECT region, owed FROM {b}.loans" for b in BANKS)
BY_REGION = (
    f"SELECT region, MIN(owed) AS least, MEDIAN(owed) AS middle, QUANTILE_DISC(owed, 0.9) AS high, COUNT(*) AS n "
    f"FROM ({UNITED}) GROUP BY region ORDER BY region"
)
USES = ("aggregate", "extreme", "group", "filter")


def make(folder: Path, *, grants: tuple[str, ...] = USES, least: int = 1, banks: tuple[str, ...] = BANKS) -> Path:
    consortium = folder / "consortium"
    init_consortium(consortium, parties=list(banks), modelers=["analyst"])
    for b in banks:
        add_table(
            consortium / b,
            write(folder / f"{b}.csv", ("uscc", "region", "owed"), LOANS[b]),
            name="loans",
            keys=["uscc"],
            grants=grants,
            min_entities=least,
            domains={"region": "N,S"},
        )
    return consortium


def expected(region: str) -> dict[str, Any]:
    values = sorted(Decimal(v) for rows in LOANS.values() for _, r, v in rows if r == region)
    n = len(values)
    return {
        "region": region,
        "least": values[0],
        "middle": float((values[(n - 1) // 2] + values[n // 2]) / 2),
        "high": values[-(-9 * n // 10) - 1],
        "n": n,
    }


async def refused(running: Running, sql: str, **options: Any) -> HejiError:
    with pytest.raises(HejiError) as caught:
        await running.query(sql, **options)
    return caught.value


async def test_three_banks(tmp_path: Path) -> None:
    heard: list[Sent] = []
    async with serving(make(tmp_path), hooks={b: {"on_message": heard.append} for b in BANKS}) as running:
        result = await running.query(BY_REGION)
        assert result.rows == [expected("N"), expected("S")]
        assert result.statement["trust"] == "helper"
        told = await running.ask("analyst", "explain", BY_REGION, "analyst")
        learns = [e["learns"] for e in told["ledger"] if e["role"] == "bank_b"]
        assert any("MEDIAN(owed)" in text and "as the recipients do" in text for text in learns)
        assert any("halvings" in s["protocol"] for s in told["steps"])
    searched = [s for s in heard if "/ranked/" in s.step]
    assert searched and all(s.receiver in BANKS for s in searched)  # no opening goes to helper or coordinator


async def test_one_bank_searches_by_itself(tmp_path: Path) -> None:
    async with serving(make(tmp_path)) as running:
        result = await running.query("SELECT MAX(owed) AS most FROM bank_a.loans")
        assert result.rows == [{"most": max(Decimal(v) for *_, v in LOANS["bank_a"])}]
        assert result.statement["trust"] == "parties"


async def test_small_cells_are_suppressed(tmp_path: Path) -> None:
    async with serving(make(tmp_path, least=12)) as running:
        rows = (await running.query(BY_REGION)).rows
        few = {r for r in "NS" if any(sum(x == r for _, x, _ in rows) < 12 for rows in LOANS.values())}
        assert few == {"N", "S"} - {r["region"] for r in rows if r["n"] is not None} and len(few) == 1
        for r in rows:
            assert r["_suppressed"] == (["least", "middle", "high", "n"] if r["region"] in few else [])


async def test_it_needs_extreme_and_names_who_learns_it(tmp_path: Path) -> None:
    async with serving(make(tmp_path, grants=("aggregate", "group", "filter"))) as running:
        error = await refused(running, BY_REGION)
        assert error.code == "policy.refused" and "extreme" in str(error)
        assert "bank_b" in str(error)  # the other banks are led to the value, so they are recipients too


async def test_of_two_banks_each_would_read_the_other(tmp_path: Path) -> None:
    both = "SELECT MAX(owed) AS most FROM (SELECT owed FROM bank_a.loans UNION ALL SELECT owed FROM bank_b.loans)"
    async with serving(make(tmp_path, banks=BANKS[:2])) as running:
        assert (await refused(running, both)).code == "plan.two_party"


async def test_without_a_helper(tmp_path: Path) -> None:
    async with serving(make(tmp_path)) as running:
        error = await refused(running, BY_REGION, trust="parties")
        assert error.code == "plan.trust" and "histogram" in str(error)
