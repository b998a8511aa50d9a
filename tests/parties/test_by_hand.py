"""Jobs that an owner's person decides about: waiting without a slot, approved, rejected, asked again, restarted."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import parties.coordinator.service as coordinator
from mpc.errors import HejiError, LocalError
from parties.clock import now
from parties.coordinator.store import Store as CoordinatorStore
from parties.node.store import Decision, Store
from tests.parties import world
from tests.parties.conftest import Running, serving

HAND = "bank_b"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "WAIT", 0.05)


def by_hand(folder: Path) -> Path:
    """bank_b asks a person; the others do not."""
    consortium = world.make(folder)
    policy = consortium / HAND / "policy.toml"
    policy.write_text(policy.read_text().replace('approval = "auto"', 'approval = "manual"'))
    assert "manual" in policy.read_text()
    return consortium


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The operator's own look into bank_b's store, beside the node that is being served."""
    opened: list[Store] = []

    def get() -> Store:
        if not opened:
            opened.append(Store(tmp_path / "consortium" / HAND / "state" / "node.db", os.urandom(32)))
        return opened[0]

    yield _Late(get)  # type: ignore[misc]
    for one in opened:
        one.close()


class _Late:
    def __init__(self, get: Any) -> None:
        self._get = get

    def __getattr__(self, name: str) -> Any:
        return getattr(self._get(), name)


async def until_asked(store: Store) -> Decision:
    for _ in range(200):
        if waiting := [d for d in store.decisions() if d.state == "pending"]:
            return waiting[-1]
        await asyncio.sleep(0.05)
    raise AssertionError("nobody was asked")


async def waiting(running: Running, job: str) -> Any:
    for _ in range(200):
        status = await running.ask("analyst", "show", job)
        if status.state == "waiting":
            return status
        await asyncio.sleep(0.05)
    raise AssertionError(f"it is {status.state}")


async def failure(running: Running, job: str) -> HejiError:
    with pytest.raises(HejiError) as caught:
        await running.ask("analyst", "wait", job)
    return caught.value


async def test_a_person_approves(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        told = await running.ask("analyst", "explain", world.TOGETHER, "analyst")
        assert told["verdicts"][HAND]["code"] == "policy.pending" and told["verdicts"]["bank_a"] is None
        assert store.decisions() == []  # explain asks nobody

        job = await running.ask("analyst", "submit", world.TOGETHER, "analyst", purpose="monthly")
        asked = await until_asked(store)
        assert (asked.job, asked.sql, asked.purpose, asked.submitter) == (job.id, world.TOGETHER, "monthly", "analyst")
        assert "Who learns what" in asked.told
        status = await waiting(running, job.id)
        assert f"{HAND} decides by hand" in status.phase
        await running.query("SELECT COUNT(*) AS n FROM bank_a.accounts")  # others run meanwhile

        store.decide(job.id, "approved", "Ms Li", "as every month", now())
        await running.ask("analyst", "wait", job.id)
        result = await running.ask("analyst", "result", job.id)
        assert result.rows[0]["n"] == 90
        with pytest.raises(LocalError) as caught:  # what ran cannot be taken back
            store.decide(job.id, "rejected", "Ms Li", "", now())
        assert caught.value.code == "job.state"


async def test_the_word_stands_in_the_approval_that_all_sign(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        store.decide(job.id, "approved", "Ms Li", "as every month", now())
        await running.ask("analyst", "wait", job.id)
        kept = CoordinatorStore(running.folder / "coordinator" / "state" / "coordinator.db")
        proof = json.loads(kept.proof(job.id))
        kept.close()
        statement = json.loads(bytes.fromhex(proof["approvals"][HAND][0]))
        assert statement["by_hand"]["person"] == "Ms Li" and statement["by_hand"]["reason"] == "as every month"
        assert "by_hand" not in json.loads(bytes.fromhex(proof["approvals"]["bank_a"][0]))


async def test_a_person_rejects(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        store.decide(job.id, "rejected", "Ms Li", "not before the audit", now())
        error = await failure(running, job.id)
        assert error.code == "policy.rejected" and "not before the audit" in error.message


async def test_what_is_not_granted_is_refused_at_once(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        policy = running.folder / "bank_a" / "policy.toml"
        policy.write_text("")
        job = await running.ask("analyst", "submit", world.TOGETHER)
        assert (await failure(running, job.id)).code == "policy.refused"


async def test_an_approval_is_of_the_policy_it_was_given_under(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        first = await until_asked(store)
        policy = running.folder / HAND / "policy.toml"
        policy.write_text(policy.read_text() + "\n# reviewed\n")
        store.decide(job.id, "approved", "Ms Li", "", now())
        # nothing runs on it: the person is asked again
        for _ in range(100):
            again = store.decision(job.id)
            assert again is not None
            if again.policy != first.policy:
                break
            await asyncio.sleep(0.05)
        assert again.state == "pending" and again.policy != first.policy
        store.decide(job.id, "approved", "Ms Li", "", now())
        await running.ask("analyst", "wait", job.id)


async def test_it_waits_through_restarts_and_can_be_cancelled(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        await waiting(running, job.id)
        for member in ("coordinator", HAND):
            await running.stop(member)
            await running.start(member)
        await waiting(running, job.id)
        assert (await running.ask("analyst", "cancel", job.id)).state == "cancelled"
        assert (await failure(running, job.id)).code == "job.cancelled"


async def test_who_decides_about_nothing(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)):
        with pytest.raises(LocalError) as caught:
            store.decide("00" * 32, "approved", "Ms Li", "", now())
        assert caught.value.code == "job.unknown"
