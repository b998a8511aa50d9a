"""`heji node stop`: what runs ends with a clear error to everybody, and nothing runs until somebody resumes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mpc.errors import HejiError, LocalError
from mpc.evidence.entry import Entry, Event
from mpc.evidence.tiles import unbundle
from parties.cli.main import main
from parties.clock import now
from parties.consortium import init_consortium
from parties.node import stopping
from parties.node.check import check_member
from parties.node.decisions import Stop, Word
from parties.node.store import Store
from tests.parties import world
from tests.parties.conftest import Running, serving

ALONE = "SELECT SUM(balance) AS s FROM bank_c.accounts"


def heji(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


async def command(running: Running, *words: str) -> None:
    """A command of its own beside the nodes. (In a thread: a process would take seconds to start.)"""
    await running.apart(heji, *words)


def entries(folder: Path) -> list[Event]:
    return [Entry.from_bytes(e).event for e in unbundle((folder / "state" / "log" / "tail").read_bytes())]


async def failure(running: Running, sql: str = world.TOGETHER) -> HejiError:
    with pytest.raises(HejiError) as caught:
        await running.query(sql)
    return caught.value


async def test_running_jobs_end_and_nothing_is_approved(banks: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from parties.node.inputs import Inputs

    reached, go_on = asyncio.Event(), asyncio.Event()
    vectors = Inputs.vectors

    async def held(self: Inputs, *args: object, **kwargs: object) -> object:
        reached.set()
        await go_on.wait()  # the job is under way at all three until the test lets it go
        return await vectors(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Inputs, "vectors", held)
    folder = banks.folder / "bank_b"
    job = await banks.ask("analyst", "submit", world.TOGETHER)
    await reached.wait()
    began = asyncio.get_running_loop().time()
    await command(banks, "node", "stop", str(folder), "--now", "--by", "Li Na", "--reason", "a leak?")
    with pytest.raises(HejiError) as caught:
        await banks.ask("analyst", "wait", job.id)
    assert asyncio.get_running_loop().time() - began < 10  # about a second; much slower only where the machine is
    assert caught.value.code == "policy.stopped" and "bank_b" in caught.value.message
    assert "leak" not in str(caught.value)  # the reason stays with the owner
    go_on.set()

    assert (await failure(banks)).code == "policy.stopped"
    told = await banks.ask("analyst", "explain", world.TOGETHER, "analyst")
    assert told["verdicts"]["bank_b"]["code"] == "policy.stopped" and told["verdicts"]["bank_a"] is None
    await banks.query(ALONE)  # others go on

    await banks.stop("bank_b")  # a restart is no resumption
    await banks.start("bank_b")
    assert (await failure(banks)).code == "policy.stopped"

    await command(banks, "node", "resume", str(folder), "--by", "Wang Wei")
    assert (await banks.query(world.TOGETHER)).rows[0]["n"] == 90
    await banks.stop("bank_b")
    found = [e for e in entries(folder) if e.event in ("stopped", "resumed", "aborted")]
    assert [e.event for e in found] == ["aborted", "stopped", "resumed"]
    assert found[0].facts["code"] == "policy.stopped" and found[0].job == job.id
    assert (found[1].facts["person"], found[1].facts["now"]) == ("Li Na", True)
    assert found[2].facts["person"] == "Wang Wei"
    assert "leak" not in str([e.facts for e in found])


async def test_while_the_node_is_down(tmp_path: Path) -> None:
    consortium = world.make(tmp_path)
    folder = consortium / "bank_b"
    async with serving(consortium, without=("bank_b",)) as running:
        await command(running, "node", "stop", str(folder), "--now", "--by", "Li Na")
        assert any("STOPPED" in f.what and "Li Na" in f.what and f.ok for f in check_member(folder, now()))
        await running.start("bank_b")
        assert (await failure(running)).code == "policy.stopped"
        await running.stop("bank_b")
        [stopped] = [e for e in entries(folder) if e.event == "stopped"]  # on record since it serves, and once
        assert stopped.facts["person"] == "Li Na" and stopped.facts["at"] <= stopped.time


async def test_without_now_running_jobs_go_on(banks: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from parties.node.inputs import Inputs

    reached, go_on = asyncio.Event(), asyncio.Event()
    vectors = Inputs.vectors

    async def held(self: Inputs, *args: object, **kwargs: object) -> object:
        reached.set()
        await go_on.wait()
        return await vectors(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Inputs, "vectors", held)
    job = await banks.ask("analyst", "submit", world.TOGETHER)
    await reached.wait()
    await command(banks, "node", "stop", str(banks.folder / "bank_b"))
    assert (await failure(banks, ALONE.replace("bank_c", "bank_b"))).code == "policy.stopped"
    go_on.set()
    await banks.ask("analyst", "wait", job.id)


@pytest.mark.parametrize(("name", "role"), [("coordinator", "coordinator"), ("analyst", "modeler"), ("eye", "witness")])
@pytest.mark.parametrize(
    "words",
    ["node stop", "node stop --now", "node resume", "node console-token --for Li", "policy standing --consortium"],
)
def test_whoever_approves_nothing_has_nothing_to_stop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, role: str, words: str
) -> None:
    folder = tmp_path / "practice"
    init_consortium(folder, parties=["tax", "bank"], modelers=["analyst"], witness="eye")
    before = sorted(folder.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), str(folder / name)])
    told = " ".join(capsys.readouterr().err.split())
    assert ended.value.code == 1 and f"{name} ({role}) has no node that approves jobs" in told
    assert "Ctrl-C or SIGTERM" in told and "heji jobs cancel" in told
    assert sorted(folder.rglob("*")) == before


def test_a_helper_can_be_stopped_and_a_broken_roster_hinders_no_stop(tmp_path: Path) -> None:
    init_consortium(tmp_path, parties=["tax", "bank"], modelers=["analyst"])
    (tmp_path / "bank" / "roster.json").write_text("{}")
    for name in ("helper", "bank"):
        heji("node", "stop", "--now", str(tmp_path / name))
        heji("node", "resume", str(tmp_path / name))


def test_what_waits_and_what_was_approved_is_withdrawn(tmp_path: Path) -> None:
    from tests.parties.node.test_decisions import question

    store = Store(tmp_path / "node.db", os.urandom(32))
    words = store.decisions
    for job in ("waits", "approved", "ran"):
        words.ask(question(job))
    for job in ("approved", "ran"):
        words.decide(job, Word("Li Na", 10, "", "command"))
    facts = {"submitter": "analyst", "recipients": ["analyst"], "purpose": "", "sql": "", "plan": "", "policy": ""}
    store.approve("ran", 1, 10, {**facts, "expires": 100})
    for state in ("running", "done"):
        store.transition("ran", state, 11)
    words.stop(Word("Wang Wei", 20, "a leak?", "console"), now=False)
    states = {d.job: d.state for d in words.all()}
    assert states == {"waits": "rejected", "approved": "rejected", "ran": "approved"}
    rejection = words.all()[0].rejection
    assert rejection and (rejection.person, rejection.reason) == ("Wang Wei", "the node was stopped: a leak?")
    first = words.stop(Word("Li Na", 21, "", "command"), now=True)  # it can only become stricter
    assert first.now and first.person == "Wang Wei"
    assert words.stop(Word("Li Na", 22, "", "command"), now=False).now
    store.close()


async def test_who_cannot_tell_whether_it_is_stopped_ends_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def stopped(self) -> None:
            raise LocalError("store.failed", "The disk is gone.")

        def not_noted(self) -> list[Stop]:
            return []

    ended: asyncio.Queue[HejiError] = asyncio.Queue()
    monkeypatch.setattr(stopping, "LOOK", 0)
    watch = stopping.Watch("bank_b", Broken(), Broken(), None, ended.put)  # type: ignore[arg-type]
    watch.start()
    assert (await ended.get()).code == "store.failed"
    await watch.stop()
    with pytest.raises(LocalError, match="disk is gone"):
        stopping.refuse_if_stopped("bank_b", Broken())  # type: ignore[arg-type]
