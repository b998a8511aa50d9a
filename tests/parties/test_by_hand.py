"""Jobs that an owner's person decides about: waiting without a slot, approved, rejected, asked again, restarted."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import parties.coordinator.service as coordinator
from mpc.errors import HejiError, LocalError
from mpc.policy.flow import Request
from mpc.policy.grants import parse_policy
from parties.cli import owner
from parties.cli.main import main
from parties.clock import now
from parties.coordinator.store import Store as CoordinatorStore
from parties.node import permission
from parties.node.decisions import Decision, Word
from parties.node.store import Store
from parties.proposals import request_of
from tests.parties import world
from tests.parties.conftest import Running, serving

HAND = "bank_b"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "WAIT", 0.05)


def by_hand(folder: Path, approval: str = "manual") -> Path:
    """bank_b asks a person; the others do not."""
    consortium = world.make(folder)
    policy = consortium / HAND / "policy.toml"
    policy.write_text(policy.read_text().replace('approval = "auto"', f'approval = "{approval}"'))
    assert f'"{approval}"' in policy.read_text()
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


def say(store: Store, job: str, person: str, reason: str = "", *, approves: bool = True) -> Decision:
    return store.decisions.decide(job, Word(person, now(), reason, "command", approves))


async def until_asked(store: Store) -> Decision:
    for _ in range(600):
        if waiting := [d for d in store.decisions.all() if d.state == "pending"]:
            return waiting[-1]
        await asyncio.sleep(0.05)
    raise AssertionError("nobody was asked")


async def waiting(running: Running, job: str) -> Any:
    for _ in range(600):
        status = await running.ask("analyst", "show", job)
        if status.state == "waiting":
            return status
        await asyncio.sleep(0.05)
    raise AssertionError(f"it is {status.state}")


def approval_of(running: Running, job: str, party: str = HAND) -> dict[str, Any]:
    """What a party signed, as the recipient holds it."""
    kept = CoordinatorStore(running.folder / "coordinator" / "state" / "coordinator.db")
    proof = json.loads(kept.proof(job))
    kept.close()
    found: dict[str, Any] = json.loads(bytes.fromhex(proof["approvals"][party][0]))
    return found


async def failure(running: Running, job: str) -> HejiError:
    with pytest.raises(HejiError) as caught:
        await running.ask("analyst", "wait", job)
    return caught.value


async def test_a_person_approves(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        told = await running.ask("analyst", "explain", world.TOGETHER, "analyst")
        assert told["verdicts"][HAND]["code"] == "policy.pending" and told["verdicts"]["bank_a"] is None
        assert store.decisions.all() == []  # explain asks nobody

        job = await running.ask("analyst", "submit", world.TOGETHER, "analyst", purpose="monthly")
        asked = await until_asked(store)
        assert (asked.job, asked.sql, asked.purpose, asked.submitter) == (job.id, world.TOGETHER, "monthly", "analyst")
        assert "Who learns what" in asked.told
        status = await waiting(running, job.id)
        assert f"{HAND} decides by hand" in status.phase
        await running.query("SELECT COUNT(*) AS n FROM bank_a.accounts")  # others run meanwhile

        say(store, job.id, "Ms Li", "as every month")
        await running.ask("analyst", "wait", job.id)
        result = await running.ask("analyst", "result", job.id)
        assert result.rows[0]["n"] == 90
        with pytest.raises(LocalError) as caught:  # what ran cannot be taken back
            say(store, job.id, "Ms Li", "", approves=False)
        assert caught.value.code == "job.state" and "has run here" in caught.value.message
        assert store.decisions.of(job.id).ran and store.decisions.open(now()) == []


async def test_the_word_stands_in_the_approval_that_all_sign(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        say(store, job.id, "Ms Li", "as every month")
        await running.ask("analyst", "wait", job.id)
        statement = approval_of(running, job.id)
        [word] = statement["by_hand"]
        assert (word["person"], word["reason"], word["through"]) == ("Ms Li", "as every month", "command")
        assert "by_hand" not in approval_of(running, job.id, "bank_a")


async def test_a_person_rejects(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        say(store, job.id, "Ms Li", "not before the audit", approves=False)
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
        assert not owner._in_force(first, policy.parent)  # and who says yes by command hears so
        say(store, job.id, "Ms Li", "")
        # nothing runs on it: the person is asked again
        for _ in range(100):
            again = store.decisions.of(job.id)
            assert again is not None
            if again.policy != first.policy:
                break
            await asyncio.sleep(0.05)
        assert again.state == "pending" and again.policy != first.policy
        assert owner._in_force(again, policy.parent)
        say(store, job.id, "Ms Li", "")
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


async def phase(running: Running, job: str, words: str) -> str:
    """What whoever asked sees, once it has ``words``."""
    for _ in range(600):
        status = await running.ask("analyst", "show", job)
        assert status.state == "waiting", status
        if words in status.phase:
            return str(status.phase)
        await asyncio.sleep(0.05)
    raise AssertionError(status.phase)


async def test_it_waits_for_a_node_that_is_away_and_a_policy_that_is_being_written(
    tmp_path: Path, store: Store
) -> None:
    async with serving(by_hand(tmp_path)) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        await waiting(running, job.id)
        await running.stop("bank_a")  # which would approve
        await phase(running, job.id, "bank_a cannot be reached")
        await running.start("bank_a")
        await phase(running, job.id, f"{HAND} decides by hand")
        policy = running.folder / HAND / "policy.toml"
        good = policy.read_text()
        policy.write_text(good + "\n[[grant")
        assert f"{HAND}'s policy.toml, line" in await phase(running, job.id, "this is not TOML")
        policy.write_text(good)
        await phase(running, job.id, f"{HAND} decides by hand")
        say(store, job.id, "Li Na")
        await running.ask("analyst", "wait", job.id)


async def test_all_who_are_waited_for_are_named(tmp_path: Path, store: Store) -> None:
    folder = by_hand(tmp_path)
    policy = folder / "bank_a" / "policy.toml"
    policy.write_text(policy.read_text().replace('"auto"', '"two"'))
    async with serving(folder) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await waiting(running, job.id)
        told = await phase(running, job.id, f"{HAND} decides by hand")
        assert "bank_a decides by hand" in told and "two persons have to agree" in told


async def test_an_approval_names_the_policy_that_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is replaced between the question and the signature: the digest is of the text that allowed the job."""
    folder = world.make(tmp_path)
    policy = folder / HAND / "policy.toml"
    allowed, check = policy.read_text(), permission.Permission.check

    def replaced(self: permission.Permission, *args: Any, **kwargs: Any) -> Any:
        given = check(self, *args, **kwargs)
        if self._member.name == HAND:
            policy.write_text(allowed + "# changed since\n")
        return given

    monkeypatch.setattr(permission.Permission, "check", replaced)
    async with serving(folder) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await running.ask("analyst", "wait", job.id)
        assert approval_of(running, job.id)["policy"] == parse_policy(allowed).digest


async def test_two_persons_approve(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path, "two")) as running:
        told = await running.ask("analyst", "explain", world.TOGETHER, "analyst")
        assert "two persons" in told["verdicts"][HAND]["message"]
        job = await running.ask("analyst", "submit", world.TOGETHER)
        asked = await until_asked(store)
        assert (asked.needed, asked.missing) == (2, 2)
        assert say(store, job.id, "Li Na", "as every month").missing == 1
        for same in ("Li Na", "li  na", "ＬＩ ＮＡ"):  # one person, however written
            with pytest.raises(LocalError, match="another|Somebody else|already") as caught:
                say(store, job.id, same)
            assert caught.value.code == "job.state"
        assert store.earlier.related(job.id, asked.recipients) == []
        await waiting(running, job.id)
        first = store.decisions.of(job.id)
        assert first is not None and first.state == "pending" and first.persons == "Li Na"
        say(store, job.id, "Wang Wei", "checked")
        await running.ask("analyst", "wait", job.id)
        statement = approval_of(running, job.id)
        assert [(w["person"], w["reason"]) for w in statement["by_hand"]] == [
            ("Li Na", "as every month"),
            ("Wang Wei", "checked"),
        ]
        assert all(w["at"] <= now() for w in statement["by_hand"])

        again = await running.ask("analyst", "submit", world.BY_GRADE)
        await until_asked(store)
        [earlier] = store.earlier.related(again.id, ("analyst",))
        assert (earlier.job, earlier.sql, earlier.recipients) == (job.id, world.TOGETHER, ("analyst",))
        assert "accounts.balance" in earlier.columns and "accounts.grade" not in earlier.columns
        await running.ask("analyst", "cancel", again.id)


async def test_one_of_two_rejects(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path, "two")) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        say(store, job.id, "Li Na")
        say(store, job.id, "Wang Wei", "not before the audit", approves=False)
        error = await failure(running, job.id)
        assert error.code == "policy.rejected" and "not before the audit" in error.message


async def test_one_word_does_not_do_for_a_policy_that_asks_for_two_since(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        await until_asked(store)
        policy = running.folder / HAND / "policy.toml"
        policy.write_text(policy.read_text().replace('"manual"', '"two"'))
        say(store, job.id, "Li Na")
        for _ in range(100):
            again = store.decisions.of(job.id)
            assert again is not None
            if again.needed == 2:
                break
            await asyncio.sleep(0.05)
        assert (again.state, again.needed, again.words) == ("pending", 2, ())
        await running.ask("analyst", "cancel", job.id)


async def test_who_decides_about_nothing(tmp_path: Path, store: Store) -> None:
    async with serving(by_hand(tmp_path)):
        with pytest.raises(LocalError) as caught:
            say(store, "00" * 32, "Ms Li", "")
        assert caught.value.code == "job.unknown"


async def test_one_word_does_not_do_once_only_a_grant_for_two_is_left(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy is the same; the grant under which one person sufficed has expired since."""
    consortium = by_hand(tmp_path)
    policy = consortium / HAND / "policy.toml"
    one, last_day = policy.read_text().rstrip(), dt.datetime.now(dt.UTC).date()
    policy.write_text(f"{one}\nexpires = {last_day}\n\n{one.replace('manual', 'two')}\n")
    days = 0

    def later(*args: Any) -> Request:
        request = request_of(*args)
        return replace(request, today=request.today + dt.timedelta(days=days))

    monkeypatch.setattr(permission, "request_of", later)
    async with serving(consortium) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER)
        assert (await until_asked(store)).needed == 1
        days = 2
        say(store, job.id, "Li Na")
        for _ in range(100):
            again = store.decisions.of(job.id)
            assert again is not None
            if again.needed == 2:
                break
            await asyncio.sleep(0.05)
        assert (again.state, again.needed, again.words) == ("pending", 2, ())
        await running.ask("analyst", "cancel", job.id)


async def test_what_is_shown_before_a_person_decides_by_command(
    tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing in it moves the cursor; few digits, or none, stand for no job, though it is the only one."""

    def command(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["jobs", *words, "--consortium", str(folder / HAND)])
        told = capsys.readouterr()
        return int(str(ended.value.code or 0)), told.out + " ".join(told.err.split())

    folder = by_hand(tmp_path)
    async with serving(folder) as running:
        job = await running.ask("analyst", "submit", world.TOGETHER, purpose="a study\x1b[1A\x1b[2K")
        await waiting(running, job.id)
        for words in (["pending"], ["pending", job.id[:8]]):
            status, told = command(*words)
            assert status == 0 and "a study\\x1b[1A\\x1b[2K" in told and "\x1b" not in told
        for few in ("", " ", job.id[:1], job.id[:7]):
            assert command("approve", few) == (1, command("approve", few)[1])
            assert "at least its first 8 are needed" in command("approve", few)[1]
        assert "A rejection needs a reason" in command("reject", job.id, "--reason", " ")[1]
        for reason in ("a\nb", "x" * 501):
            assert "one line of at most 500 printable characters" in command("reject", job.id, "--reason", reason)[1]
        assert store.decisions.of(job.id).state == "pending"
        status, told = command("approve", job.id[:8].upper(), "--by", "李娜")
        assert status == 0 and "void" not in told
        await running.ask("analyst", "wait", job.id)
