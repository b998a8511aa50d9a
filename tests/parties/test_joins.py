"""Joins between members over gRPC: exact, small cells hidden, the helper without openings, errors that help."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mpc.errors import HejiError
from parties.consortium import init_consortium
from parties.node.tables import add_table
from tests.parties.conftest import Running, serving

ALL = ("join", "aggregate", "group", "filter", "arithmetic", "product")
FIRMS = [f"F{i:04d}" for i in range(60)]


def write(path: Path, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([header, *rows])
    return str(path)


def make(folder: Path, *, grants: tuple[str, ...] = ALL, least: int = 1, **organisations: str) -> Path:
    """Tax, bank and telecom with one table each; the bank's ids are written in another way."""
    consortium = folder / "consortium"
    init_consortium(
        consortium, parties=["tax", "bank", "telecom"], modelers=["analyst"], organisations=organisations or None
    )
    tax = [(f, "AB"[i % 2], i * 10) for i, f in enumerate(FIRMS)]
    bank = [(f"{f[0].lower()}-{f[1:]}", f"{i}.50", i % 3) for i, f in enumerate(FIRMS) if i % 4]
    telecom = [(f, i + 1) for i, f in enumerate(FIRMS) if i < 50]
    for party, header, rows in (
        ("tax", ("uscc", "industry", "paid"), tax),
        ("bank", ("uscc", "balance", "overdue"), bank),
        ("telecom", ("uscc", "spend"), telecom),
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
    async with serving(make(tmp_path)) as running:
        yield running


JOINED = "FROM tax.firms t JOIN bank.firms b USING (uscc) JOIN telecom.firms m USING (uscc)"
BY_INDUSTRY = (
    f"SELECT t.industry, COUNT(*) AS n, SUM(t.paid + b.balance + m.spend) AS together {JOINED} "
    "WHERE b.overdue < 2 GROUP BY t.industry ORDER BY t.industry"
)


def expected() -> list[dict[str, Any]]:
    rows = [(i, "AB"[i % 2]) for i in range(50) if i % 4 and i % 3 < 2]
    return [
        {
            "industry": g,
            "n": sum(1 for _, x in rows if x == g),
            "together": sum((Decimal(i * 10 + i + i + 1) + Decimal("0.5") for i, x in rows if x == g), Decimal(0)),
        }
        for g in "AB"
    ]


async def test_three_parties_one_total(firms: Running) -> None:
    result = await firms.query(BY_INDUSTRY)
    assert result.rows == expected()
    assert result.statement["trust"] == "helper"


ACCOUNTS = [(f"N{i}", FIRMS[i % 20].lower(), f"{i}.25") for i in range(45)]
CARDS = [(f"N{i % 30}", i) for i in range(90)]
#: the bank joins two tables of its own
OWN_TABLES = (
    "SELECT t.industry, COUNT(*) AS n, SUM(c.spent) AS s FROM tax.firms t JOIN bank.accounts a USING (uscc) "
    "JOIN bank.cards c ON c.account = a.number WHERE a.held < 25 GROUP BY t.industry ORDER BY t.industry"
)


def make_own_tables(folder: Path) -> Path:
    consortium = make(folder)
    for name, header, rows, unique in (
        ("accounts", ("number", "uscc", "held"), ACCOUNTS, True),
        ("cards", ("account", "spent"), CARDS, False),
    ):
        add_table(
            consortium / "bank",
            write(folder / f"{name}.csv", header, rows),
            name=name,
            keys=["number"] if unique else [],
            grants=ALL,
            min_entities=1,
        )
    return consortium


async def test_an_owner_joins_its_own_tables_itself(tmp_path: Path) -> None:
    async with serving(make_own_tables(tmp_path)) as running:
        rows = (await running.query(OWN_TABLES)).rows
    firm_of = {number: u.upper() for number, u, held in ACCOUNTS if Decimal(held) < 25}
    for g, row in zip("AB", rows, strict=True):
        spent = [s for a, s in CARDS if a in firm_of and "AB"[FIRMS.index(firm_of[a]) % 2] == g]
        assert row == {"industry": g, "n": len(spent), "s": sum(spent)}


async def test_a_party_receives(firms: Running) -> None:
    assert (await firms.query(BY_INDUSTRY, to="telecom")).rows == expected()


async def test_small_cells_are_suppressed(tmp_path: Path) -> None:
    async with serving(make(tmp_path, least=16)) as running:
        rows = (await running.query(BY_INDUSTRY)).rows
        sizes = [r["n"] for r in expected()]
        assert min(sizes) < 16 <= max(sizes)  # or this shows nothing
        for got in rows:  # the large one too: the total less it would be the small one
            assert (got["n"], got["together"], got["_suppressed"]) == (None, None, ["n", "together"])


async def test_cells_that_are_large_enough_are_shown(tmp_path: Path) -> None:
    async with serving(make(tmp_path, least=min(r["n"] for r in expected()))) as running:
        assert (await running.query(BY_INDUSTRY)).rows == expected()


async def refused(running: Running, sql: str, to: str = "analyst", **options: Any) -> HejiError:
    with pytest.raises(HejiError) as caught:
        await running.query(sql, to=to, **options)
    return caught.value


async def test_without_a_helper_it_is_refused(firms: Running) -> None:
    assert (await refused(firms, BY_INDUSTRY, trust="parties")).code == "plan.trust"


async def test_the_helper_may_not_be_of_a_party(tmp_path: Path) -> None:
    async with serving(make(tmp_path, helper="State Bank", bank="State Bank")) as running:
        error = await refused(running, BY_INDUSTRY)
        assert error.code == "plan.helper" and "State Bank" in error.message


async def test_the_key_needs_a_grant(tmp_path: Path) -> None:
    async with serving(make(tmp_path, grants=("aggregate", "group", "filter", "arithmetic", "product"))) as running:
        error = await refused(running, BY_INDUSTRY)
        assert error.code == "policy.refused" and 'uses = ["join"]' in str(error)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT COUNT(*) AS n {JOINED}",
        f"SELECT SUM(b.balance) AS s {JOINED}",
        f"SELECT t.industry, SUM(CASE WHEN t.paid > 3 THEN b.balance END) AS s {JOINED} GROUP BY t.industry",
    ],
)
async def test_a_total_of_its_own_values_would_show_a_party_which_rows_met(firms: Running, sql: str) -> None:
    assert (await firms.query(sql)).rows  # the analyst knows no rows
    error = await refused(firms, sql, to="bank")
    # and the tax bureau's condition would show row by row
    needed = "for threshold" if "CASE" in sql else "join_reveal"
    assert error.code == "policy.refused" and needed in str(error)


async def test_the_middle_value_is_for_those_who_are_led_to_it(tmp_path: Path, firms: Running) -> None:
    two = f"SELECT t.industry, MEDIAN(t.paid + b.balance) AS middle {JOINED} GROUP BY t.industry ORDER BY t.industry"
    assert (await refused(firms, two)).code == "plan.two_party"  # each of them would read it
    sql = two.replace("t.paid + b.balance", "t.paid + b.balance + m.spend")
    assert "extreme" in str(await refused(firms, sql))
    async with serving(make(tmp_path / "granted", grants=(*ALL, "extreme", "threshold", "join_reveal"))) as running:
        rows = (await running.query(sql)).rows
    for g, row in zip("AB", rows, strict=True):
        held = sorted(i * 12 + 1.5 for i in range(50) if i % 4 and "AB"[i % 2] == g)
        n = len(held)
        assert row == {"industry": g, "middle": (held[(n - 1) // 2] + held[n // 2]) / 2}


async def test_a_table_that_grew_fails_before_anything_is_sent(firms: Running, tmp_path: Path) -> None:
    rows = [(f"G{i:04d}", "A", i) for i in range(100)]
    write(tmp_path / "tax.csv", ("uscc", "industry", "paid"), rows)
    assert (await refused(firms, BY_INDUSTRY)).code == "data.rows"


async def test_a_key_that_repeats_where_it_was_declared_unique(firms: Running, tmp_path: Path) -> None:
    rows = [(FIRMS[i // 2], "A", i) for i in range(40)]
    write(tmp_path / "tax.csv", ("uscc", "industry", "paid"), rows)
    assert (await refused(firms, BY_INDUSTRY)).code == "data.repeated_key"


async def test_what_would_not_fit_is_refused_before_it_starts(tmp_path: Path) -> None:
    consortium = make(tmp_path)
    with (consortium / "bank" / "member.toml").open("a") as settings:
        settings.write("\nmax_join_bytes = 1000000\n")
    async with serving(consortium) as running:
        error = await refused(running, BY_INDUSTRY)
        assert error.code == "job.limits" and "GB of memory at bank" in str(error)
        told = await running.ask("analyst", "explain", BY_INDUSTRY, "analyst")
        assert told["verdicts"]["bank"]["code"] == "job.limits" and told["verdicts"]["tax"] is None


async def test_explain_tells_what_the_helper_learns(firms: Running) -> None:
    told = await firms.ask("analyst", "explain", BY_INDUSTRY, "analyst")
    learns = " ".join(e["learns"] for e in told["ledger"] if e["role"] == "helper")
    assert "how many distinct keys of tax's whole table are in that of bank" in learns
    assert told["pools"][0]["spine"] == "tax" and told["trust"] == "helper"
    assert told["verdicts"] == dict.fromkeys(["bank", "helper", "tax", "telecom"])
