"""Limits that owners keep inside the computation of a join, from policy.toml to the result that a modeler sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpc.evidence.verify import overall
from parties.auditor.export import export
from parties.member import Member
from tests.parties.auditor.bundles import judged
from tests.parties.conftest import serving
from tests.parties.test_joins import ALL, FIRMS, JOINED, make, refused, write
from tests.parties.test_replaying import again

BY_INDUSTRY = (
    f"SELECT t.industry, COUNT(*) AS n, SUM(t.paid) AS paid, SUM(m.spend) AS spend {JOINED} GROUP BY t.industry "
    "ORDER BY t.industry"
)


def with_limits(folder: Path, **lines: str) -> Path:
    """The members of the joins' tests, whose grants have these lines besides."""
    consortium = make(folder)
    for party, more in lines.items():
        policy = consortium / party / "policy.toml"
        policy.write_text(policy.read_text().rstrip() + f"\n{more}\n")
    return consortium


def taxed(folder: Path, large: int) -> None:
    """Every firm pays 1, but for one of industry B, which is in all tables."""
    rows = [(f, "AB"[i % 2], large if i == 5 else 1) for i, f in enumerate(FIRMS)]
    write(folder / "tax.csv", ("uscc", "industry", "paid"), rows)


@pytest.mark.parametrize("owner", ["tax", "bank"])  # whoever asks for it: the strictest limit holds for all
async def test_a_cell_with_one_large_firm_is_suppressed(tmp_path: Path, owner: str) -> None:
    folder = with_limits(tmp_path, **{owner: "max_share = 0.3"})
    taxed(tmp_path, 500)
    async with serving(folder) as running:
        result = await running.query(BY_INDUSTRY)
        a, b = result.rows
    counted = [sum(1 for i in range(50) if i % 4 and "AB"[i % 2] == g) for g in "AB"]
    assert (b["n"], b["paid"], b["_suppressed"]) == (counted[1], None, ["paid"])
    assert (a["n"], a["paid"], a["_suppressed"]) == (counted[0], None, ["paid"])  # the total less A would be B
    assert [r["spend"] for r in (a, b)] == [sum(i + 1 for i in range(50) if i % 4 and i % 2 == g) for g in (0, 1)]
    for name in ("tax", "telecom"):  # what the limit adds is replayed like all else
        [found] = await again(folder, name, result.statement["job"])
        assert found.role == "party"


async def test_without_a_limit_it_is_shown(tmp_path: Path) -> None:
    folder = with_limits(tmp_path)
    taxed(tmp_path, 500)
    async with serving(folder) as running:
        b = (await running.query(BY_INDUSTRY)).rows[1]
    assert b["paid"] > 500


async def test_explain_says_what_a_limit_would_cost(tmp_path: Path) -> None:
    async with serving(with_limits(tmp_path)) as running:
        told: dict[str, Any] = await running.ask("analyst", "explain", BY_INDUSTRY, "analyst")
    (step,) = [s for s in told["steps"] if s["step"] == "pool0/dominance"]
    assert "only if an owner's grant has max_share" in step["protocol"]
    assert set(step["bytes"]) == {"bank", "tax", "telecom", "helper"} and min(step["bytes"].values()) > 0
    (step,) = [s for s in told["steps"] if s["step"] == "pool0/rounding"]
    assert "only if an owner's grant has round_to: at most" in step["protocol"] and step["rounds"] % 9 == 0
    assert set(step["bytes"]) == {"bank", "tax", "telecom", "helper"} and min(step["bytes"].values()) > 0


async def test_a_result_by_row_needs_a_grant_without_the_limit(tmp_path: Path) -> None:
    consortium = make(tmp_path, grants=("join", "join_reveal", "row"))
    policy = consortium / "bank" / "policy.toml"
    policy.write_text(policy.read_text().rstrip() + "\nmax_share = 0.3\n")
    async with serving(consortium) as running:
        error = await refused(
            running, "SELECT t.uscc, b.balance FROM tax.firms t JOIN bank.firms b USING (uscc)", "tax"
        )
    assert error.code == "policy.refused" and "has max_share, which cannot be kept in" in str(error)


# ---- differencing


def without(n: int, columns: str = "SUM(t.paid) AS paid") -> str:
    """A total over the join, but for the first ``n`` firms of the bank that are in all tables."""
    left_out = ", ".join(f"'{f[0].lower()}-{f[1:]}'" for f in [f for i, f in enumerate(FIRMS[:50]) if i % 4][:n])
    condition = f" WHERE b.uscc NOT IN ({left_out})" if n else ""
    return f"SELECT COUNT(*) AS n, {columns} {JOINED}{condition}"


async def test_all_but_one_after_all(tmp_path: Path) -> None:
    """The bank chooses which firms the tax bureau's total is of: the bank's node is in the way, whoever it is about."""
    async with serving(make(tmp_path, grants=(*ALL, "join_reveal", "threshold"), least=10)) as running:
        first = (await running.query(without(1))).rows
        for _ in range(2):
            assert (await running.query(without(0))).rows == [{"n": None, "paid": None, "_suppressed": ["n", "paid"]}]
        assert (await running.query(without(1))).rows == first  # the same question again
        assert (await running.query(without(12))).rows[0]["n"] == first[0]["n"] - 11  # far enough from both
        result = await running.query(without(13), to="bank")  # also where the bank itself receives
        assert result.rows[0]["n"] is None
    [found] = await again(tmp_path / "consortium", "bank", result.statement["job"])
    assert found.role == "party"


async def test_numbers_over_the_same_firms_are_counted(tmp_path: Path) -> None:
    """Two of the bank's column, whatever the others' conditions, whoever receives: a third is hidden by its node."""
    numbers = [
        f"SELECT SUM(b.balance) AS s {JOINED}",
        f"SELECT AVG(b.balance) AS s {JOINED} WHERE t.paid > 50",
        f"SELECT SUM(b.balance * m.spend) AS s, SUM(m.spend) AS c {JOINED}",
    ]
    async with serving(with_limits(tmp_path, bank="max_numbers = 2")) as running:
        for sql in numbers[:2]:
            assert (await running.query(sql)).rows[0]["s"] is not None
        result = await running.query(numbers[2])
        assert result.rows == [{"s": None, "c": sum(i + 1 for i in range(50) if i % 4), "_suppressed": ["s"]}]
        error = await refused(
            running, f"SELECT SUM(b.balance), SUM(b.balance * m.spend), SUM(b.balance * t.paid) {JOINED}"
        )
        assert error.code == "policy.refused" and "2 number(s) out of one population" in str(error)
    [found] = await again(tmp_path / "consortium", "bank", result.statement["job"])
    assert found.role == "party"


async def test_numbers_of_joins_that_cannot_be_counted_need_a_grant_without_the_limit(tmp_path: Path) -> None:
    consortium = make(tmp_path, grants=("join", "join_reveal", "row", "aggregate"))
    policy = consortium / "bank" / "policy.toml"
    policy.write_text(policy.read_text().rstrip() + "\nmax_numbers = 9\n")
    joined = "FROM tax.firms t JOIN bank.firms b USING (uscc)"
    async with serving(consortium) as running:
        for sql, more in (
            (f"SELECT t.uscc, b.balance {joined}", {}),
            (f"SELECT SUM(b.balance) {joined}", {"trust": "parties"}),
        ):
            error = await refused(running, sql, "tax", **more)
            assert error.code == "policy.refused" and "has max_numbers, which cannot be kept in" in str(error)


async def test_sums_are_shown_in_steps(tmp_path: Path) -> None:
    """The bank's by its grant; others' columns, and counts, as they are."""
    sql = f"SELECT t.industry, COUNT(*) AS n, SUM(b.balance) AS b, SUM(t.paid) AS p {JOINED} GROUP BY 1 ORDER BY 1"
    async with serving(make(tmp_path)) as running:
        exact = (await running.query(sql)).rows
        policy = tmp_path / "consortium" / "bank" / "policy.toml"
        policy.write_text(policy.read_text().rstrip() + "\nround_to = 100\n")
        result = await running.query(sql)
        error = await refused(running, f"SELECT SUM(b.balance * t.paid) AS s {JOINED}")
        member = await running.apart(Member, tmp_path / "consortium" / "analyst")
        bundle, _ = await export(member, result.statement["job"], with_result=True)
        await member.close()
    _, checks = judged(tmp_path / "consortium", bundle)
    assert overall(checks) == "passed"
    assert error.code == "policy.refused" and "rounds sums of the column to 100" in str(error)
    for row, was in zip(result.rows, exact, strict=True):
        assert (row["n"], row["p"]) == (was["n"], was["p"])
        assert row["b"] == round(float(was["b"]) / 100) * 100 != was["b"]
    assert result.statement["rounded"] == {"bank": {"firms.balance": "100"}}
    for name in ("bank", "tax"):
        [found] = await again(tmp_path / "consortium", name, result.statement["job"])
        assert found.role == "party"
