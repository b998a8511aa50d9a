"""Verified totals between members over gRPC: exact, small cells hidden, joins refused; evidence says who verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpc.errors import LocalError
from mpc.evidence.case import read_case
from mpc.evidence.verify import overall, verify
from parties.auditor.export import export
from parties.auditor.judge import listed
from parties.coordinator import attempt
from parties.member import Member
from tests.parties import test_joins, world
from tests.parties.conftest import serving


@pytest.mark.parametrize("recipient", ["analyst", pytest.param("bank_a", marks=pytest.mark.slow)])
async def test_a_total_is_verified_and_says_so(tmp_path: Path, recipient: str) -> None:
    folder = world.make(tmp_path)
    async with serving(folder) as running:
        result = await running.query(world.BY_GRADE, to=recipient, verified=True)
        plain = await running.query(world.BY_GRADE, to=recipient)
        member = await running.apart(Member, folder / "analyst" if recipient == "analyst" else folder / "bank_a")
        bundle, _ = await export(member, result.statement["job"], with_result=True)
        await member.close()
    assert result.rows == plain.rows and sum(r["n"] for r in result.rows) == 90
    assert result.statement["verified"] is True and plain.statement["verified"] is False
    case = read_case(bundle, listed(Member(folder / "analyst").roster, given=True))
    checks = verify(case)
    assert overall(checks) == "passed"
    assert [checks[i].verdict for i in (7, 9)] == ["passed", "passed"]
    assert f"the equation holds for all 1 sums that {recipient} opened" in [f.text for f in checks[9].findings]


async def test_small_cells_stay_hidden(tmp_path: Path) -> None:
    """Noise of fewer bits than the ring has: suppressed, and the other cells verify."""
    folder = world.make(tmp_path, min_entities=10)
    few = [(u, "B" if i >= 5 else "A", b) for i, (u, _, b) in enumerate(world.rows_of("bank_c"))]
    world.write_accounts(tmp_path / "bank_c.csv", few)
    async with serving(folder) as running:
        result = await running.query(world.BY_GRADE, verified=True)
    by = {r["grade"]: r for r in result.rows}
    assert result.statement["suppressed_values"] > 0
    assert by["B"]["n"] == 15 + 15 + 25 and by["B"]["total"] is not None
    assert None in (by.get("A", {"total": None})["total"],)


async def test_what_cannot_be_verified_is_refused(tmp_path: Path) -> None:
    async with serving(test_joins.make(tmp_path)) as running:
        with pytest.raises(LocalError) as refused:
            await running.query(f"SELECT COUNT(*) {test_joins.JOINED}", verified=True)
    assert refused.value.code == "plan.verified" and "shares" in refused.value.message


async def test_a_coordinator_that_changes_a_sum_is_caught_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = attempt.play_coordinator

    def lying(*args: object):  # type: ignore[no-untyped-def]
        outcome = yield from honest(*args)  # type: ignore[arg-type]
        for words in outcome.totals.values():
            words.reshape(-1)[0] += 1
        return outcome

    monkeypatch.setattr(attempt, "play_coordinator", lying)
    async with serving(world.make(tmp_path)) as running:
        wrong = await running.query(world.TOGETHER.replace("SUM(balance) AS together, ", ""))
        assert wrong.rows[0]["n"] == 91  # without it nobody notices
        with pytest.raises(LocalError) as refused:
            await running.query(world.TOGETHER, verified=True)
    assert refused.value.code == "protocol.sum" and "audit replay" in refused.value.advice
