"""Results by row over gRPC: intersection, lookup, decision; who may receive them, and how often."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from parties.consortium import init_consortium
from parties.node.tables import add_table
from tests.parties.conftest import Running, serving
from tests.parties.test_joins import FIRMS, refused, write

ASKED = [FIRMS[3], FIRMS[10], "F9999", FIRMS[21]]
GRANTS = ("join", "join_reveal", "threshold", "row")
TAXED = "FROM bank.applicants q JOIN tax.firms t USING (uscc)"
DECISION = f"SELECT q.uscc, CASE WHEN t.paid >= q.wish THEN 'pass' ELSE 'review' END AS said {TAXED}"


def make(folder: Path, grants: tuple[str, ...]) -> Path:
    """The bank asks about a few applicants, of whom the tax bureau and the telecom know some."""
    consortium = folder / "consortium"
    init_consortium(consortium, parties=["tax", "bank", "telecom"], modelers=["analyst"])
    tables: dict[str, tuple[str, tuple[str, ...], list[tuple[Any, ...]], tuple[str, ...]]] = {
        "bank": ("applicants", ("uscc", "wish"), [(f, 100) for f in ASKED], ("join",)),
        "tax": ("firms", ("uscc", "paid"), [(f, i * 10) for i, f in enumerate(FIRMS)], grants),
        "telecom": ("firms", ("uscc", "spend"), [(f, i) for i, f in enumerate(FIRMS) if i % 2], grants),
    }
    for party, (name, header, rows, granted) in tables.items():
        source = write(folder / f"{party}.csv", header, rows)
        add_table(consortium / party, source, name=name, keys=["uscc"], grants=granted)
    return consortium


@pytest.fixture
async def firms(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(make(tmp_path, GRANTS)) as running:
        yield running


async def rows(running: Running, sql: str, to: str = "bank") -> list[tuple[Any, ...]]:
    return [tuple(r.values()) for r in (await running.query(sql, to=to)).rows]


async def test_intersection_lookup_and_decision(firms: Running) -> None:
    assert await rows(firms, f"SELECT q.uscc {TAXED} JOIN telecom.firms m USING (uscc)") == [(ASKED[0],), (ASKED[3],)]
    assert await rows(firms, f"SELECT q.uscc, t.paid {TAXED}") == [(ASKED[0], 30), (ASKED[1], 100), (ASKED[3], 210)]
    assert await rows(firms, DECISION) == [(ASKED[0], "review"), (ASKED[1], "pass"), (ASKED[3], "pass")]


async def test_an_owner_counts_how_often_conditions_on_a_column_are_shown(firms: Running) -> None:
    assert await rows(firms, DECISION)
    error = await refused(firms, f"SELECT q.uscc, t.paid > 50 AS more {TAXED}", to="bank")
    assert error.code == "policy.spent" and "max_bits" in error.advice
    # a WHERE is a condition too
    assert (await refused(firms, f"SELECT q.uscc {TAXED} WHERE t.paid > 60", to="bank")).code == "policy.spent"
    assert await rows(firms, f"SELECT q.uscc {TAXED}")  # no condition, no bit


async def test_several_conditions_in_one_query_are_several_bits(firms: Running) -> None:
    halves = ", ".join(f"t.paid > {x} AS over_{x}" for x in (50, 100, 150))
    error = await refused(firms, f"SELECT q.uscc, {halves} {TAXED}", to="bank")
    assert error.code == "policy.refused" and "max_bits = 3" in str(error)


async def test_conditions_that_differ_far_behind_are_two(firms: Running) -> None:
    """Messages cut a long condition; what is counted is the whole of it."""
    long = " + ".join(["q.wish"] * 60)
    sql = f"SELECT q.uscc, {long} + t.paid > 51 AS a, {long} + t.paid > 52 AS b {TAXED}"
    error = await refused(firms, sql, to="bank")
    assert error.code == "policy.refused" and "max_bits = 2" in str(error)


@pytest.mark.parametrize("to", ["analyst", "telecom"])
async def test_only_a_party_of_the_join_receives_rows(firms: Running, to: str) -> None:
    error = await refused(firms, DECISION, to=to)
    assert error.code == "plan.rows" and "--to bank" in error.advice


@pytest.mark.parametrize("missing", ["join", "join_reveal", "threshold", "row"])
async def test_each_use_needs_its_grant(tmp_path: Path, missing: str) -> None:
    sql = f"SELECT q.uscc, t.paid {TAXED} WHERE t.paid > 5"
    async with serving(make(tmp_path, tuple(g for g in GRANTS if g != missing))) as running:
        error = await refused(running, sql, to="bank")
        assert error.code == "policy.refused" and f'uses = ["{missing}"]' in str(error)


async def test_explain_tells_what_the_recipient_learns(firms: Running) -> None:
    told = await firms.ask("bank", "explain", f"SELECT q.uscc, t.paid {TAXED}", "bank")
    learnt = [e["learns"] for e in told["ledger"] if e["role"] == "bank"]
    assert any("which of its own rows are in the join with tax" in text for text in learnt)
    assert any("paid: the value" in text for text in learnt)
