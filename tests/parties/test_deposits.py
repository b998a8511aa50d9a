"""Deposit jobs between members over real gRPC: each party on a day of its own, and every way one can be wrong."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mpc.crypto import paillier
from mpc.errors import HejiError
from parties.clock import now
from parties.coordinator import deposits as at_coordinator
from parties.failures import decode
from parties.node import deposit_making
from parties.node import deposits as at_node
from parties.node.decisions import Word
from parties.node.store import Store
from tests.parties import world
from tests.parties.conftest import Running
from tests.parties.depositing import DAY, asked, at, banks, deposit, make, submit, until
from tests.parties.test_jobs import refusal


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


# ---- who receives, and what it is told


@pytest.mark.slow
async def test_a_party_receives_at_its_node(tmp_path: Path) -> None:
    """tax has no data in the job: its node makes the key, collects by itself and keeps the result."""
    folder = make(tmp_path, banks=(*world.BANKS, "tax"), seconds=0.05)
    async with banks(folder) as (running, _):
        job = await submit(running, to="tax", early=True)
        await until(running, "analyst", job, "done")
        result = await received(running, "tax", job)
        assert result.rows == [{"together": Decimal("1305001.80"), "n": 90}]
        assert result.statement["recipient"] == "tax"
        assert result.statement["deposits"] == {"of": list(world.BANKS), "missing": []}
        with pytest.raises(HejiError):
            await running.ask("analyst", "result", job)  # it asked, and does not receive


async def received(running: Running, who: str, job: str) -> Any:
    for _ in range(400):
        with contextlib.suppress(HejiError):
            return await running.ask(who, "result", job)
        await asyncio.sleep(0.02)
    raise AssertionError("no result")


@pytest.mark.slow
async def test_nodes_deposit_by_themselves_and_early_means_early(tmp_path: Path) -> None:
    async with banks(make(tmp_path, seconds=0.05)) as (running, _):
        job = await submit(running, world.BY_GRADE, early=True)
        await until(running, "analyst", job, "done")
        rows = (await running.ask("analyst", "result", job)).rows
        masked = (await running.query(world.BY_GRADE)).rows
    assert rows == masked and [r["n"] for r in rows] == [45, 45]


@pytest.mark.slow
async def test_the_minimum_and_who_is_missing(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, clock):
        job = await submit(running, least=2)
        await deposit(running, job, "bank_a", "bank_c")
        clock.later += 11 * DAY
        await until(running, "analyst", job, "done")
        result = await running.ask("analyst", "result", job)
    assert result.rows[0]["n"] == 60
    assert result.statement["deposits"] == {"of": ["bank_a", "bank_c"], "missing": ["bank_b"]}


async def test_too_few_and_nothing_is_released(tmp_path: Path) -> None:
    """Everybody is told, the ciphertexts are gone, and the same columns may be deposited again."""
    async with banks(make(tmp_path)) as (running, clock):
        job = await submit(running)
        await deposit(running, job, "bank_a", "bank_b")
        clock.later += 11 * DAY
        status = await until(running, "analyst", job, "failed")
        assert decode(status.error).code == "policy.contributors"
        assert (await refusal(running.ask("analyst", "result", job))).code == "job.state"
        [told] = (await at(running, "bank_a", "List")).deposits
        assert told.state == "ended" and decode(told.error).code == "policy.contributors"
        assert bodies(running) == []
        clock.later = 0
        again = await submit(running, least=2)
        await deposit(running, again, "bank_a", "bank_b")


def bodies(running: Running) -> list[bytes]:
    """The ciphertexts that the coordinator's database holds."""
    with contextlib.closing(sqlite3.connect(running.folder / "coordinator" / "state" / "coordinator.db")) as db:
        return [b for (b,) in db.execute("SELECT body FROM deposit_messages WHERE body IS NOT NULL")]


# ---- a stop


async def test_a_stop_takes_open_deposits_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_node, "TRY_AGAIN", 0.05)
    async with banks(make(tmp_path)) as (running, _):
        job = await submit(running)
        await deposit(running, job, "bank_a", "bank_b")
        assert len(bodies(running)) == 2
        store = Store(running.folder / "bank_a" / "state" / "node.db", b"\x00" * 32)
        store.decisions.stop(Word("Li Na", now(), "a leak?", "command"), now=True)
        for _ in range(200):
            [told] = (await at(running, "bank_a", "List")).deposits
            if told.state == "withdrawn":
                break
            await asyncio.sleep(0.05)
        assert told.state == "withdrawn" and len(bodies(running)) == 1
        assert (await refusal(at(running, "bank_a", "Make", job))).code == "policy.stopped"
        store.decisions.resume(Word("Li Na", now(), "", "command"))
        store.close()
        await deposit(running, job, "bank_a")  # by its operator's hand again


async def test_a_stop_while_it_encrypts_lets_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with banks(make(tmp_path)) as (running, _):
        job = await submit(running)
        store = Store(running.folder / "bank_a" / "state" / "node.db", b"\x00" * 32)
        real = deposit_making.encrypted

        def encrypt(*args: Any) -> bytes:
            store.decisions.stop(Word("Li Na", now(), "", "command"), now=True)
            return real(*args)

        monkeypatch.setattr(deposit_making, "encrypted", encrypt)
        assert (await refusal(at(running, "bank_a", "Make", job))).code == "policy.stopped"
        assert bodies(running) == []
        [told] = (await at(running, "bank_a", "List")).deposits
        assert told.state == "waiting"  # it is not even made
        store.close()


# ---- policy


async def test_deposits_are_granted_by_name(tmp_path: Path) -> None:
    """A grant that names no trust level is for helper and parties only; the refusal prints the one that helps."""
    async with banks(make(tmp_path, lines="# none")) as (running, _):
        policy = running.folder / "bank_b" / "policy.toml"
        policy.write_text(policy.read_text().replace('trust = ["parties", "deposit"]', ""))
        job = await submit(running)
        error = await refusal(at(running, "bank_b", "Make", job))
        assert error.code == "policy.refused" and "trust level deposit" in error.message
        assert 'trust = ["deposit"]' in error.facts["grant"]
        assert "bank_b has not: The policy of bank_b" in (await running.ask("analyst", "show", job)).phase
        policy.write_text(policy.read_text() + "\n" + error.facts["grant"])
        await deposit(running, job, "bank_b")


@pytest.mark.slow
async def test_an_owner_s_minimum_holds_against_the_job_s(tmp_path: Path) -> None:
    async with banks(make(tmp_path, lines="min_contributors = 3")) as (running, _):
        job = await submit(running, least=2)
        assert (await refusal(at(running, "bank_a", "Make", job))).code == "policy.contributors"
        job = await submit(running, least=3)
        await deposit(running, job, "bank_a")


@pytest.mark.slow
async def test_by_hand(tmp_path: Path) -> None:
    """A person decides; the node deposits at its next look. Until then factors are made ahead."""
    async with banks(make(tmp_path, seconds=0.05)) as (running, _):
        policy = running.folder / "bank_b" / "policy.toml"
        policy.write_text(policy.read_text().replace('approval = "auto"', 'approval = "manual"'))
        assert 'approval = "manual"' in policy.read_text()
        job = await submit(running, early=True)
        await phase(running, job, "2 of 3 deposited; waiting for bank_b. bank_b has not: bank_b decides by hand")
        store = Store(running.folder / "bank_b" / "state" / "node.db", bytes(32))
        store.decisions.decide(job, Word("Li Na", now(), "", "command"))
        store.close()
        await until(running, "analyst", job, "done")


async def phase(running: Running, job: str, begins: str) -> None:
    for _ in range(400):
        status = await running.ask("analyst", "show", job)
        if status.phase.startswith(begins):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(status.phase)


@pytest.mark.slow
async def test_coordinator_and_recipient_of_one_institution(tmp_path: Path) -> None:
    folder = make(tmp_path, organisations={"analyst": "hub", "coordinator": "hub"})
    async with banks(folder) as (running, _):
        error = await refusal(running.ask("analyst", "submit", world.TOGETHER, "analyst", deposits=asked()))
        assert error.code == "plan.trust" and "open every single deposit" in error.message


async def test_what_is_no_deposit_sum(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, _):
        for sql in (
            "SELECT MAX(balance) FROM "
            "(SELECT balance FROM bank_a.accounts UNION ALL SELECT balance FROM bank_b.accounts)",
            "SELECT COUNT(*) FROM bank_a.accounts a JOIN bank_b.accounts b USING (uscc)",
            "SELECT SUM(balance) FROM bank_a.accounts",
            "SELECT (SELECT SUM(balance) FROM bank_a.accounts), (SELECT SUM(balance) FROM bank_b.accounts)",
        ):
            assert (await refusal(running.ask("analyst", "submit", sql, deposits=asked()))).code == "plan.deposit"
        two = ("analyst", "bank_a")
        error = await refusal(running.ask("analyst", "submit", world.TOGETHER, two, deposits=asked()))
        assert error.code == "plan.deposit"


# ---- what is hidden


@pytest.mark.parametrize("method", ["paillier", pytest.param("bfv", marks=pytest.mark.slow)])
async def test_small_cells_are_spoiled_as_in_masked_sums(tmp_path: Path, method: str) -> None:
    folder = make(tmp_path)
    rows = [(u, "B" if i >= 5 else "A", b) for i, (u, _, b) in enumerate(world.rows_of("bank_c"))]
    world.write_accounts(tmp_path / "bank_c.csv", rows)  # grade A: 5 firms, fewer than 10
    async with banks(folder) as (running, _):
        job = await submit(running, world.BY_GRADE, early=True, method=method)
        await deposit(running, job)
        await until(running, "analyst", job, "done")
        result = await running.ask("analyst", "result", job)
    assert result.rows[0] == {"grade": "A", "n": None, "total": None, "_suppressed": ["n", "total"]}
    assert result.rows[1]["n"] == 55


# ---- taking back, coming late, coming twice


async def test_withdrawn_and_made_again(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, clock):
        job = await submit(running, least=2)
        await deposit(running, job)
        first = bodies(running)
        assert (await at(running, "bank_b", "Withdraw", job)).state == "withdrawn"
        assert len(bodies(running)) == 2
        assert (await refusal(at(running, "bank_b", "Withdraw", job))).code == "job.state"
        world.write_accounts(tmp_path / "bank_b.csv", world.rows_of("bank_b", 20))  # corrected in the meantime
        await deposit(running, job, "bank_b")
        assert not set(bodies(running)) <= set(first)
        clock.later += 11 * DAY
        await until(running, "analyst", job, "done")
        result = await running.ask("analyst", "result", job)
        assert result.rows[0]["n"] == 80
        late = await refusal(at(running, "bank_b", "Withdraw", job))
        assert late.code == "job.state" and "not after it" in late.message
        assert bodies(running) == []


@pytest.mark.slow
async def test_too_late(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, clock):
        job = await submit(running, least=2)
        await deposit(running, job, "bank_a", "bank_b")
        clock.later += 11 * DAY
        await until(running, "analyst", job, "done")
        assert (await refusal(at(running, "bank_c", "Make", job))).code == "job.state"
        assert (await running.ask("analyst", "result", job)).rows[0]["n"] == 60


@pytest.mark.slow
async def test_once_is_enough(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, _):
        job = await submit(running)
        await deposit(running, job, "bank_a", "bank_a")
        assert len(bodies(running)) == 1


@pytest.mark.slow
async def test_cancelled(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, _):
        job = await submit(running)
        await deposit(running, job, "bank_a")
        await running.ask("analyst", "cancel", job)
        assert bodies(running) == []
        assert (await refusal(at(running, "bank_b", "Make", job))).code == "job.state"


async def test_another_total_over_the_same_data(tmp_path: Path) -> None:
    """Where not all are needed nobody knows over whom a total will be: over one snapshot there is no second one."""
    async with banks(make(tmp_path)) as (running, clock):
        first = await submit(running, least=2)
        await deposit(running, first, "bank_a", "bank_b", "bank_c")
        second = await submit(running, least=2)
        assert (await refusal(at(running, "bank_a", "Make", second))).code == "policy.contributors"
        error = await refusal(running.query(world.TOGETHER))
        assert error.code == "policy.contributors"
        assert (await at(running, "bank_a", "Withdraw", first)).state == "withdrawn"
        await deposit(running, second, "bank_a")  # it is in one total again
        clock.later += 11 * DAY


@pytest.mark.slow
async def test_where_all_are_needed_the_set_is_known(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, _):
        job = await submit(running, early=True)
        await deposit(running, job)
        await until(running, "analyst", job, "done")
        assert (await running.query(world.TOGETHER)).rows[0]["n"] == 90


# ---- restarts


@pytest.mark.slow
async def test_everybody_starts_again_between_deposits(tmp_path: Path) -> None:
    async with banks(make(tmp_path)) as (running, clock):
        job = await submit(running)
        for bank in world.BANKS:
            await deposit(running, job, bank)
            for name in (bank, "coordinator"):
                await running.stop(name)
                await running.start(name, clock=clock)
        await running.stop("coordinator")
        clock.later += 11 * DAY  # it was away when the time came
        await running.start("coordinator", clock=clock)
        await until(running, "analyst", job, "done")
        assert (await running.ask("analyst", "result", job)).rows[0]["n"] == 90
