"""Hidden joins with noise between members over gRPC: budgets, accuracy, evidence, replay, and who refuses what."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mpc.errors import HejiError, LocalError
from mpc.evidence.verify import overall
from parties.auditor.export import export
from parties.member import Member
from parties.node.budgets import Budgets
from parties.node.inputs import Inputs
from parties.results import ACCURACY, SUPPRESSED
from tests.parties.auditor.bundles import judged
from tests.parties.conftest import Running, serving
from tests.parties.test_join_disclosure import with_limits
from tests.parties.test_joins import BY_INDUSTRY, expected, make
from tests.parties.test_kill import until
from tests.parties.test_noise import BUDGET, evidence
from tests.parties.test_replaying import again

OWNERS = ("tax", "bank", "telecom")
BUDGETS = dict.fromkeys(OWNERS, BUDGET)


async def refusal(running: Running, epsilon: str) -> HejiError:
    with pytest.raises(HejiError) as refused:
        await running.query(BY_INDUSTRY, epsilon=epsilon)
    return refused.value


async def test_a_join_with_noise_spends_budgets_and_is_replayed(tmp_path: Path) -> None:
    folder = with_limits(tmp_path, **BUDGETS)
    async with serving(folder) as running:
        with pytest.raises(HejiError) as exact:
            await running.query(BY_INDUSTRY)
        assert exact.value.code == "policy.refused" and "--epsilon 1.0" in exact.value.advice
        told = await running.ask("analyst", "explain", BY_INDUSTRY, epsilon="0.6")
        result = await running.query(BY_INDUSTRY, epsilon="0.6")
        error = await refusal(running, "0.5")
        assert error.code == "policy.spent"
        rest = await running.query(BY_INDUSTRY, epsilon="0.4")
        assert rest.statement["budgets"]["bank"][0]["left"] == "0"
        assert (await refusal(running, "0.000001")).code == "policy.spent"
        member = await running.apart(Member, folder / "analyst")
        bundle, absent = await export(member, result.statement["job"], with_result=True)
        await member.close()
    _, checks = judged(folder, bundle)
    assert not absent and overall(checks) == "passed"
    assert SUPPRESSED not in result.table.column_names
    for row, exact_row in zip(result.rows, expected(), strict=True):
        assert row["industry"] == exact_row["industry"]
        for name in ("n", "together"):
            off = Decimal(row[ACCURACY][name])
            assert off > 0 and abs(Decimal(row[name]) - exact_row[name]) < 5 * off
    statement = result.statement
    assert statement["noise"]["epsilon"] == "0.6" and statement["noise"]["entity_rows"] == 1
    assert {p: b["left"] for p, (b,) in statement["budgets"].items()} == dict.fromkeys(OWNERS, "0.4")
    # what explain said of the accuracy is what stands beside the numbers
    words = [w for m in told["pools"][0]["measures"] for w in m["words"]]
    assert set(words[0]["noise"]) == set(OWNERS)
    assert result.rows[0][ACCURACY]["n"] == int(words[0]["off"])
    job = statement["job"]
    events = (await evidence(folder, "bank", job)).events
    (entry,) = [e for e in events if e.event == "budget"]
    masked = [e for e in events if e.event == "sent" and "keys" not in str(e.facts["step"])]
    assert masked and all(entry.seq < e.seq for e in masked)
    for name in OWNERS:
        [found] = await again(folder, name, job)
        assert found.role == "party"


@pytest.mark.slow
async def test_another_attempt_shows_the_same_noise_and_spends_nothing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt dies at the bank, when it has drawn its noise and its budget is spent."""
    real, failed = Budgets.spend, []

    def once(self: Budgets, job: str, snapshot: str) -> None:
        real(self, job, snapshot)
        if not failed:
            failed.append(job)
            raise LocalError("peer.unavailable", "A cable was pulled.")

    drawn: list[dict[str, list[bytes]]] = []
    real_vectors = Inputs._vectors

    def noted(self: Inputs, *args: Any) -> Any:
        made = real_vectors(self, *args)
        drawn.append({name: [n.tobytes() for n in side.noise] for name, side in made.rows[0].items()})
        return made

    monkeypatch.setattr(Inputs, "_vectors", noted)
    monkeypatch.setattr(Budgets, "spend", once)
    folder = with_limits(tmp_path, **BUDGETS)
    settings = folder / "bank" / "member.toml"
    settings.write_text(settings.read_text() + "\nnoise_days = 0\n")
    async with serving(folder) as running:
        result = await running.query(BY_INDUSTRY, epsilon="0.4")
        assert failed and result.statement["budgets"]["bank"][0]["left"] == "0.6"
        assert len(drawn) > 3 and len({str(d) for d in drawn}) == 3 and all(any(d.values()) for d in drawn)
        await running.apart(until, lambda: not list((folder / "bank" / "state" / "noise").iterdir()))
        assert (await running.query(BY_INDUSTRY, epsilon="0.4")).rows != result.rows
    [found] = await again(
        folder, "bank", result.statement["job"]
    )  # from the input that was kept, noise beside its rows
    assert found.role == "party" and "noise" in found.remark


async def test_an_owner_with_exact_limits_does_not_take_part_in_a_join_with_noise(tmp_path: Path) -> None:
    folder = with_limits(tmp_path, tax=BUDGET, bank=BUDGET)
    policy = folder / "telecom" / "policy.toml"
    policy.write_text(policy.read_text().replace("min_entities = 1", "min_entities = 5"))
    assert "min_entities = 5" in policy.read_text()
    async with serving(folder) as running:
        error = await refusal(running, "0.5")
        assert error.code == "policy.refused" and "over a join with noise nothing is counted" in error.message
        assert "budget = " in error.advice
        # one that hides nothing adds its noise and promises nothing
        policy.write_text(policy.read_text().replace("min_entities = 5", "min_entities = 1"))
        result = await running.query(BY_INDUSTRY, epsilon="0.5")
    assert set(result.statement["budgets"]) == {"tax", "bank"}
    assert result.rows[0][ACCURACY]["n"] > 0


@pytest.mark.slow
async def test_exact_jobs_go_by_other_grants_as_before(tmp_path: Path) -> None:
    folder = make(tmp_path)
    for owner in OWNERS:
        policy = folder / owner / "policy.toml"
        text = policy.read_text()
        policy.write_text(f"{text}\n[[grant]]\n{text.rpartition('[[grant]]')[2].strip()}\n{BUDGET}\n")
    async with serving(folder) as running:
        assert (await running.query(BY_INDUSTRY)).rows == expected()
        assert (await running.query(BY_INDUSTRY, epsilon="0.5")).statement["budgets"].keys() == set(OWNERS)
