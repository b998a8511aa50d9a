"""A job that persons decide about ends elsewhere: they see it, and nothing makes it run any more."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import parties.coordinator.service as coordinator
from mpc.errors import HejiError, LocalError
from parties.cli.main import main
from parties.clock import now
from parties.member import Member
from parties.modeler.client import Client
from parties.node import over
from parties.node.decisions import Decision, Over, Word
from parties.node.over import OverWatch
from parties.node.store import Store
from parties.rpc.v1 import coordinator_pb2 as pb
from tests.parties import world
from tests.parties.conftest import Running, serving
from tests.parties.test_by_hand import HAND, by_hand, until_asked, waiting


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "WAIT", 0.05)
    monkeypatch.setattr(over, "LOOK", 0.05)


@pytest.fixture
def consortium(tmp_path: Path) -> Path:
    return by_hand(tmp_path)


@pytest.fixture
def store(consortium: Path) -> Iterator[Store]:
    """The operator's own look into bank_b's store, beside the node that is being served."""
    opened = Store(consortium / HAND / "state" / "node.db", os.urandom(32))
    yield opened
    opened.close()


async def until_over(store: Store, job: str) -> Decision:
    for _ in range(600):
        if (found := store.decisions.of(job)) is not None and found.over is not None:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("nobody was told")


async def test_who_asked_cancels(consortium: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        await running.ask("analyst", "cancel", job.id)
        found = await until_over(store, job.id)
        assert found.over is not None and (found.over.code, found.state) == ("job.cancelled", "pending")
        assert store.decisions.waiting(now()) == [] == store.decisions.open(now())
        for approves in (True, False):
            with pytest.raises(LocalError) as caught:
                store.decisions.decide(job.id, Word("Li Na", now(), "", "command", approves))
            assert caught.value.code == "job.state" and "ended elsewhere (job.cancelled)" in caught.value.message
        store.decisions.stop(Word("Li Na", now(), "a leak", "command"), now=False)
        assert store.decisions.of(job.id) == found  # nobody rejected it
        with pytest.raises(SystemExit):
            main(["jobs", "pending", job.id[:8], "--consortium", str(consortium / HAND)])
        assert "over: it ended elsewhere (job.cancelled)" in capsys.readouterr().out


async def test_another_owner_refuses_at_once(consortium: Path, store: Store) -> None:
    (consortium / "bank_a" / "policy.toml").write_text("")
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        found = await until_over(store, job.id)
        assert found.over is not None and (found.over.code, found.over.party) == ("policy.refused", "bank_a")


async def test_another_owners_person_refuses_after_this_one_approved(consortium: Path, store: Store) -> None:
    policy = consortium / "bank_a" / "policy.toml"
    policy.write_text(policy.read_text().replace('"auto"', '"manual"'))
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await waiting(running, job.id)
        store.decisions.decide(job.id, Word("Li Na", now(), "", "command"))
        there = Store(consortium / "bank_a" / "state" / "node.db", os.urandom(32))
        there.decisions.decide(job.id, Word("Wang Wei", now(), "secret plans", "command", False))
        there.close()
        found = await until_over(store, job.id)
        assert found.over is not None and (found.over.code, found.over.party) == ("policy.rejected", "bank_a")
        assert found.state == "approved" and "secret plans" not in repr(found)


async def test_it_ends_while_the_node_is_down(consortium: Path, store: Store) -> None:
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        await waiting(running, job.id)
        await running.stop(HAND)
        await running.ask("analyst", "cancel", job.id)
        await running.stop("coordinator")  # and it answers later than the node asks
        await running.start(HAND)
        assert store.decisions.waiting(now())
        await running.start("coordinator")
        await until_over(store, job.id)


async def test_what_was_said_to_be_over_is_not_approved(consortium: Path, store: Store) -> None:
    """Whatever the coordinator says later, and the policy too."""
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        await waiting(running, job.id)
        store.decisions.end(job.id, Over(now(), "job.cancelled", ""))
        policy = consortium / HAND / "policy.toml"
        policy.write_text(policy.read_text().replace('"manual"', '"auto"'))
        with pytest.raises(HejiError) as caught:
            await running.ask("analyst", "wait", job.id)
        assert caught.value.code == "job.state" and "ended elsewhere" in caught.value.message


async def test_the_coordinator_tells_owners_of_the_job_only(consortium: Path, store: Store) -> None:
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", f"SELECT SUM(balance) AS s FROM {HAND}.accounts")
        await until_asked(store)
        assert await _asked(running, HAND, job.id) == {}
        await running.ask("analyst", "cancel", job.id)
        assert await _asked(running, HAND, job.id, "00" * 32) == {job.id: b'{"code": "job.cancelled", "party": ""}'}
        assert await _asked(running, "bank_c", job.id) == {}


async def _asked(running: Running, who: str, *jobs: str) -> dict[str, bytes]:
    def ask() -> dict[str, bytes]:
        client = Client(running.folder / who)
        try:
            return dict(client._loop.wait(client._coordinator.call("Over", pb.OverRequest(jobs=jobs))).over)
        finally:
            client.close()

    found: dict[str, bytes] = await running.apart(ask)
    return found


async def test_no_words_of_the_coordinator_reach_a_person(consortium: Path, store: Store) -> None:
    watch = OverWatch(Member(consortium / HAND), store.decisions)
    for raw in (b"", b"[]", b"7", b'"x"', b'{"code": "\\u001b[2J", "party": "evil"}', b'{"code": [], "party": {}}'):
        said = watch._read(raw)
        assert (said.code, said.party) == ("", "")
    said = watch._read(b'{"code": "policy.refused", "party": "bank_a"}')
    assert (said.code, said.party) == ("policy.refused", "bank_a")
