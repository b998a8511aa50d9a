"""Members that deviate, disks that are full, folders that lie elsewhere: over real gRPC."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Generator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parties.coordinator.attempt as attempt
import parties.node.attempts as attempts
from mpc.codec import decode
from mpc.crypto.agree import public_key
from mpc.errors import HejiError
from mpc.messages import Agreed, Announce, Words
from mpc.protocols.agree import ANNOUNCE, announced_bytes
from mpc.rounds import Round
from mpc.run import Sent
from parties.coordinator.store import Store as CoordinatorStore
from parties.member import Member
from parties.node.store import Store as NodeStore
from parties.serve import serve_coordinator, serve_node
from tests.parties import world
from tests.parties.conftest import Running, serving

TOTAL = Decimal("1305001.80")


async def refusal(work) -> HejiError:
    with pytest.raises(HejiError) as raised:
        await work
    return raised.value


def words_in(sent: list[Sent]) -> int:
    return sum(isinstance(decode(s.raw), Words) for s in sent)


# -- a coordinator with two faces


def two_faced(to: str, change) -> Any:
    """``play_coordinator``, telling ``to`` something else than the others. ``change(session, cast, sign, message)``."""
    honest = attempt.play_coordinator

    def play(session, cast, sign, verify) -> Generator[Round, Any, Any]:
        role = honest(session, cast, sign, verify)
        step = next(role)
        while True:
            say = dict(step.say)
            if to in say:
                say[to] = change(session, cast, sign, say[to])
            heard = yield dataclasses.replace(step, say=say)
            try:
                step = role.send(heard)
            except StopIteration as end:
                return end.value

    return play


def another_key(session, cast, sign, message):
    if not isinstance(message, Announce):
        return message
    key = public_key(b"\x05" * 32)
    return Announce(key, sign(ANNOUNCE, announced_bytes(cast.context.digest(), session.me, key)))


def another_digest(session, cast, sign, message):
    if not isinstance(message, Agreed):
        return message
    return Agreed(bytes(32), sign("agreed", bytes(32)))


def forged_signature(session, cast, sign, message):
    return dataclasses.replace(message, signature=bytes(64)) if isinstance(message, Announce) else message


@pytest.mark.parametrize(
    ("change", "code"),
    [(another_key, "job.differs"), (another_digest, "job.differs"), (forged_signature, "protocol.signature")],
)
async def test_a_coordinator_with_two_faces_gets_no_input(tmp_path: Path, monkeypatch, change, code: str):
    sent: list[Sent] = []
    hooks = {b: {"on_message": sent.append} for b in world.BANKS}
    monkeypatch.setattr(attempt, "play_coordinator", two_faced("bank_b", change))
    async with serving(world.make(tmp_path), hooks=hooks) as running:
        error = await refusal(running.query(world.TOGETHER))
    assert error.code == code
    assert sent, "keys were announced"
    assert words_in([s for s in sent if s.sender == "bank_b"]) == 0
    if change is another_key:  # every honest member notices, so no input moves at all
        assert words_in(sent) == 0


async def test_a_coordinator_that_shows_other_approvals_gets_no_input(tmp_path: Path, monkeypatch):
    """bank_b sees an approval of bank_a that bank_a gave in another job: signed, but not for this."""
    sent: list[Sent] = []
    hooks = {b: {"on_message": sent.append} for b in world.BANKS}
    old: dict[str, Any] = {}
    real = attempt.AttemptRun._follow

    async def follow(self, party, request):
        if party == "bank_b" and old:
            kept = [a for a in request.approvals if json.loads(a.statement)["party"] != "bank_a"]
            request = type(request)(job=request.job, attempt=request.attempt, approvals=[*kept, old["bank_a"]])
        elif party == "bank_b":
            first.update({json.loads(a.statement)["party"]: a for a in request.approvals})
        await real(self, party, request)

    first: dict[str, Any] = {}
    monkeypatch.setattr(attempt.AttemptRun, "_follow", follow)
    async with serving(world.make(tmp_path), hooks=hooks) as running:
        await running.query(world.TOGETHER)
        old.update(first)
        sent.clear()
        error = await refusal(running.query(world.TOGETHER))
    assert error.code == "job.differs"
    assert "bank_a approved another job" in error.message
    assert words_in([s for s in sent if s.sender == "bank_b"]) == 0


async def test_nodes_compile_the_job_and_not_the_coordinators_plan(tmp_path: Path, monkeypatch):
    """A coordinator that plans something else than the job says ends alone."""
    import parties.coordinator.service as coordinator

    real = coordinator.propose

    def other(member, raw, signature, catalogs):
        proposed = real(member, raw, signature, catalogs)
        pools = tuple(dataclasses.replace(p, measures=p.measures[:1]) for p in proposed.plan.pools)
        return dataclasses.replace(proposed, plan=dataclasses.replace(proposed.plan, pools=pools))

    sent: list[Sent] = []
    monkeypatch.setattr(coordinator, "propose", other)
    async with serving(world.make(tmp_path), hooks={b: {"on_message": sent.append} for b in world.BANKS}) as running:
        error = await refusal(running.query(world.TOGETHER))
    assert error.code in ("job.differs", "protocol.signature")
    assert words_in(sent) == 0


# -- a party that says something else


def other_words(change) -> Any:
    honest = attempts.play_party

    def play(session, *given):
        role = honest(session, *given)
        if session.me != "bank_b":
            return (yield from role)
        step = next(role)
        while True:
            say = {r: change(m) if isinstance(m, Words) else m for r, m in step.say.items()}
            heard = yield dataclasses.replace(step, say=say)
            try:
                step = role.send(heard)
            except StopIteration as end:
                return end.value

    return play


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda w: Words(64, w.words[:-1]), "protocol.size"),
        pytest.param(lambda w: Words(64, np.repeat(w.words, 2)), "protocol.size", marks=pytest.mark.slow),
        pytest.param(
            lambda w: Words(128, np.zeros((len(w.words), 2), np.uint64)), "protocol.size", marks=pytest.mark.slow
        ),
        (lambda _: Announce(bytes(32), bytes(64)), "protocol.malformed"),
    ],
)
async def test_a_party_that_sends_something_else_is_blamed(tmp_path: Path, monkeypatch, change, code: str):
    monkeypatch.setattr(attempts, "play_party", other_words(change))
    async with serving(world.make(tmp_path)) as running:
        error = await refusal(running.query(world.TOGETHER))
        assert (error.code, error.facts["party"]) == (code, "bank_b")
        monkeypatch.undo()
        assert (await running.query(world.TOGETHER)).rows[0]["together"] == TOTAL


# -- what an operator meets


def fill_up(database: Any) -> None:
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages}")


def make_room(database: Any) -> None:
    database._connection.execute("PRAGMA max_page_count = 1000000")


async def test_a_full_disk_at_a_party(tmp_path: Path, monkeypatch):
    stores: list[NodeStore] = []
    real = NodeStore.__init__

    def init(self, *args):
        real(self, *args)
        stores.append(self)

    monkeypatch.setattr(NodeStore, "__init__", init)
    async with serving(world.make(tmp_path)) as running:
        store = stores[1]
        fill_up(store._db)
        with pytest.raises(sqlite3.Error):  # it is really full
            store._db._connection.execute("CREATE TABLE more AS SELECT randomblob(100000) AS x")
        for _ in range(60):  # the pages that are there may hold some jobs yet
            try:
                await running.query(world.TOGETHER)
            except HejiError as problem:
                error = problem
                break
        assert error.code == "store.failed"
        assert error.message.startswith("bank_") and "full" in error.message  # and whose
        assert "Make room" in error.advice
        make_room(store._db)
        assert (await running.query(world.TOGETHER)).rows[0]["together"] == TOTAL


async def test_a_full_disk_at_the_coordinator(tmp_path: Path, monkeypatch):
    stores: list[CoordinatorStore] = []
    real = CoordinatorStore.__init__

    def init(self, *args):
        real(self, *args)
        stores.append(self)

    monkeypatch.setattr(CoordinatorStore, "__init__", init)
    async with serving(world.make(tmp_path)) as running:
        await running.query(world.TOGETHER)
        fill_up(stores[0]._db)
        for _ in range(60):
            try:
                await running.query(world.TOGETHER)
            except HejiError as problem:
                error = problem
                break
        assert error.code == "store.failed"
        make_room(stores[0]._db)
        assert (await running.query(world.TOGETHER)).rows[0]["together"] == TOTAL


async def test_members_far_from_each_other(tmp_path: Path):
    """Every member's folder is moved away from the others before it serves: nobody reads a neighbour's files."""
    consortium = world.make(tmp_path / "made")
    moved = {}
    for folder in sorted(p.parent for p in consortium.glob("*/member.toml")):
        moved[folder.name] = tmp_path / f"premises_{folder.name}" / "deep" / "heji"
        moved[folder.name].parent.mkdir(parents=True)
        shutil.move(folder, moved[folder.name])
    shutil.rmtree(consortium)
    running = Running(tmp_path)
    try:
        for name, folder in moved.items():
            if name != "analyst":
                serve = serve_coordinator if name == "coordinator" else serve_node
                _, running.stops[name] = await serve(folder)
        from parties.modeler.client import Client

        running._clients = {n: await running.apart(Client, moved[n]) for n in ("analyst", "bank_a")}
        for who in ("analyst", "bank_a"):
            assert (await running.query(world.TOGETHER, who)).rows[0]["together"] == TOTAL
    finally:
        await running.close()


def test_a_roster_that_was_changed_says_so(tmp_path: Path):
    consortium = world.make(tmp_path)
    raw = (consortium / "bank_a" / "roster.json").read_bytes()
    (consortium / "bank_a" / "roster.json").write_bytes(raw.replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(HejiError) as raised:
        Member(consortium / "bank_a")
    assert raised.value.code == "roster.invalid"
