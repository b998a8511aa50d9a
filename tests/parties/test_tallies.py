"""Joins of two parties without a helper over gRPC: exact, small cells hidden, for whoever receives, with evidence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mpc.errors import LocalError
from mpc.protocols import blind
from parties import cores
from parties.consortium import init_consortium
from parties.cores import Cores
from parties.node.tables import add_table
from tests.parties.conftest import Running, serving
from tests.parties.test_joins import FIRMS, refused, write

pytestmark = pytest.mark.usefixtures("few_extras")

GRANTS = ("join", "join_reveal", "aggregate", "group", "filter", "arithmetic", "threshold", "product", "row")
BANK = [(f"{f[0].lower()}-{f[1:]}", f"{i}.50", i % 3) for i, f in enumerate(FIRMS) if i % 4]
JOINED = "FROM tax.firms t JOIN bank.firms b USING (uscc)"
COMPARED = f"{JOINED} WHERE t.paid < 2 * b.balance + 100"
BY_INDUSTRY = (
    f"SELECT t.industry, COUNT(*) AS n, SUM(b.balance) AS held {JOINED} "
    "WHERE b.overdue < 2 GROUP BY t.industry ORDER BY t.industry"
)


def make(
    folder: Path,
    *,
    grants: tuple[str, ...] = GRANTS,
    least: int = 1,
    helper: bool = False,
    bank: Sequence[tuple[str, str, int]] = BANK,
) -> Path:
    """Tax and bank with a table each, and a telecom that takes no part. No helper anywhere."""
    consortium = folder / "consortium"
    init_consortium(consortium, parties=["tax", "bank", "telecom"], modelers=["analyst"])
    tax = [(f, "AB"[i % 5 == 0], i * 10) for i, f in enumerate(FIRMS)]
    for party, header, rows in (
        ("tax", ("uscc", "industry", "paid"), tax),
        ("bank", ("uscc", "balance", "overdue"), bank),
    ):
        add_table(
            consortium / party,
            write(folder / f"{party}.csv", header, rows),
            name="firms",
            keys=["uscc"],
            grants=grants,
            min_entities=least,
            domains={"industry": "A,B"} if party == "tax" else {},
        )
    return consortium


@pytest.fixture
async def firms(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(make(tmp_path), without=("helper", "telecom")) as running:
        yield running


def expected() -> list[dict[str, Any]]:
    rows = [(i, "AB"[i % 5 == 0]) for i in range(60) if i % 4 and i % 3 < 2]
    found = []
    for g in "AB":
        held = [Decimal(i) + Decimal("0.5") for i, x in rows if x == g]
        found.append({"industry": g, "n": len(held), "held": sum(held)})
    return found


async def query(running: Running, sql: str, to: str = "analyst") -> Any:
    return await running.query(sql, to=to, trust="parties")


@pytest.mark.parametrize("to", ["analyst", "bank"])
async def test_totals_by_group(firms: Running, to: str) -> None:
    result = await query(firms, BY_INDUSTRY, to)
    assert result.rows == expected()
    assert result.statement["trust"] == "parties"


async def test_both_sides_add_to_one_sum(firms: Running) -> None:
    (row,) = (
        await query(firms, f"SELECT SUM(t.paid + b.balance) AS s, COUNT(*) AS n {JOINED} WHERE t.paid > 100")
    ).rows
    met = [i for i in range(11, 60) if i % 4]
    assert row == {"s": sum(Decimal(11 * i) + Decimal("0.5") for i in met), "n": len(met)}
    assert (await refused(firms, f"SELECT SUM(t.paid + b.balance) {JOINED}", "bank", trust="parties")).code


async def test_rows_and_the_intersection_to_a_party(firms: Running) -> None:
    both = [f"{f[0].lower()}-{f[1:]}" for i, f in enumerate(FIRMS) if i % 4]
    assert [r["uscc"] for r in (await query(firms, f"SELECT b.uscc {JOINED} ORDER BY 1", "bank")).rows] == both
    sql = f"SELECT t.uscc, t.paid + b.balance AS s {JOINED} WHERE b.overdue = 0 AND t.paid < 200 ORDER BY 1"
    rows = (await query(firms, sql, "tax")).rows
    assert rows == [
        {"uscc": FIRMS[i], "s": Decimal(11 * i) + Decimal("0.5")} for i in range(20) if i % 4 and i % 3 == 0
    ]


async def test_a_score_whose_weights_stay_with_the_recipient(firms: Running) -> None:
    sql = f"SELECT b.uscc, 2 * b.overdue * t.paid - b.balance AS score, t.paid - b.overdue AS x {JOINED} ORDER BY 1"
    rows = (await query(firms, sql, "bank")).rows
    expected = [
        (Decimal(2 * (i % 3) * 10 * i) - i - Decimal("0.5"), 10 * i - i % 3) for i in range(60) if i % 4
    ]  # FIRMS are sorted
    assert [(r["score"], r["x"]) for r in rows] == expected


async def test_columns_of_both_are_compared(firms: Running) -> None:
    met = [i for i in range(60) if i % 4]
    sql = f"SELECT t.industry, COUNT(*) AS n, SUM(b.balance) AS held {COMPARED} GROUP BY t.industry ORDER BY 1"
    rows = (await query(firms, sql)).rows
    passing = [i for i in met if 10 * i < 2 * i + 101]
    for row in rows:
        of_group = [i for i in passing if "AB"[i % 5 == 0] == row["industry"]]
        held = sum((Decimal(i) + Decimal("0.5") for i in of_group), Decimal(0))
        assert (row["n"], row["held"] or 0) == (len(of_group), held)
    assert sum(r["n"] for r in rows) == len(passing)
    # how many of its rows pass, the bank has seen: that was a condition shown, of which the tax bureau allows one
    error = await refused(firms, sql.replace("100", "200"), trust="parties")
    assert error.code == "policy.spent" and "max_bits" in str(error)


async def test_a_decision_for_each_row_of_a_party(firms: Running) -> None:
    sql = f"SELECT b.uscc, b.balance > t.paid - 200 AS more {JOINED} ORDER BY 1"
    decided = [i + 0.5 > 10 * i - 200 for i in range(60) if i % 4]
    assert [r["more"] for r in (await query(firms, sql, "bank")).rows] == decided
    assert len(set(decided)) == 2


async def test_small_cells_are_suppressed(tmp_path: Path) -> None:
    async with serving(make(tmp_path, least=10), without=("helper", "telecom")) as running:
        for to in ("bank", "tax"):  # each knows its own noise
            large, small = (await query(running, BY_INDUSTRY, to)).rows
            assert large == {**expected()[0], "_suppressed": []} and expected()[1]["n"] < 10
            assert (small["n"], small["held"]) == (None, None)
            assert small["_suppressed"] == ["n", "held"]


@pytest.mark.parametrize("missing", ["join_reveal", "group", "threshold"])
async def test_what_the_other_party_learns_needs_a_grant(tmp_path: Path, missing: str) -> None:
    sql = BY_INDUSTRY.replace("WHERE", "WHERE t.paid < 500 AND")
    grants = tuple(g for g in GRANTS if g != missing)
    async with serving(make(tmp_path, grants=grants), without=("helper", "telecom")) as running:
        error = await refused(running, sql, trust="parties")
        assert error.code == "policy.refused" and missing in str(error)
        assert "which keys are in both tables" in str(error) or missing == "group"


#: no join_reveal, no threshold
FOR_SIZES = ("join", "aggregate", "filter")
SIZE = f"SELECT COUNT(*) AS n {JOINED} WHERE b.overdue < 2"


async def test_a_size_alone_needs_no_grant_to_learn_which_keys_met(tmp_path: Path) -> None:
    folder = make(tmp_path, grants=FOR_SIZES, least=5)
    met = sum(1 for i in range(60) if i % 4 and i % 3 < 2)
    async with serving(folder, without=("helper", "telecom")) as running:
        for to in ("analyst", "tax"):
            assert (await query(running, SIZE, to)).rows[0]["n"] == met
        # all of the bank's keys that pass met, which would tell of each
        (row,) = (await query(running, SIZE, "bank")).rows
        assert row["n"] is None and row["_suppressed"] == ["n"]
        (row,) = (await query(running, SIZE.replace("< 2", "< 2 AND t.paid < 50"))).rows
        assert row["n"] is None  # three met
        error = await refused(running, f"SELECT COUNT(*), AVG(b.balance) {JOINED}", trust="parties")
        assert error.code == "policy.refused" and "join_reveal" in str(error)


@pytest.mark.slow
async def test_a_size_without_one_firm_after_one_with_it_is_hidden(tmp_path: Path) -> None:
    """By the conditions of either owner, also of the one that receives it."""
    async with serving(make(tmp_path, grants=FOR_SIZES, least=5), without=("helper", "telecom")) as running:
        whole = SIZE.replace("b.overdue < 2", "t.paid >= 0")
        assert (await query(running, whole, "tax")).rows[0]["n"] == 45
        for less in ("t.paid >= 20", "t.paid >= 0 AND b.balance > 3"):  # firms 0 and 1; firm 1, 2 and 3
            assert (await query(running, whole.replace("t.paid >= 0", less), "tax")).rows[0]["n"] is None, less


async def test_three_parties_are_refused_and_told_why(firms: Running) -> None:
    error = await refused(firms, f"SELECT COUNT(*) {JOINED} JOIN bank.firms x USING (uscc)", trust="parties")
    assert error.code in ("plan.trust", "sql.unsupported")


async def test_workers_are_started_for_much_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "WORTH", 0)
    monkeypatch.setattr(blind, "CHUNK", 8)
    started: list[Cores] = []
    plain = Cores.__init__

    def kept(self: Cores, count: int) -> None:
        plain(self, count)
        started.append(self)

    monkeypatch.setattr(Cores, "__init__", kept)
    async with serving(make(tmp_path), without=("helper", "telecom")) as running:
        assert (await query(running, f"SELECT COUNT(*) AS n {JOINED}")).rows == [{"n": 45}]
    workers = [c._workers for c in started if c._workers is not None]
    assert len(workers) == 2 and all(not w._processes for w in workers)


async def test_a_worker_that_fails_names_the_reason() -> None:
    some = Cores(2)
    try:
        some._started()
        chunks = [[b"\xff" * 32]] * 4
        with pytest.raises(LocalError, match="no point"):
            await asyncio.to_thread(lambda: list(some(partial(blind._raise, 5), chunks)))
    finally:
        some.close()


def test_no_worker_is_started_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a role that was cancelled goes on for a while."""
    monkeypatch.setattr(cores, "WORTH", 0)
    some = Cores(2)
    going = some(partial(len), [b"", b"", b""])
    some.close()
    with pytest.raises(LocalError) as caught:
        list(going)
    assert caught.value.code == "peer.aborted" and some._workers is None
