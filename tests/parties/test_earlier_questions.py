"""Earlier questions of joins go to members that lack them, from those that name them, and to nobody else; and what an
operator can do where nobody has them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mpc.errors import LocalError, PeerError
from mpc.evidence.entry import Entry, Event
from mpc.query.plain import NamedPlain
from mpc.query.questions import Named, Question, named_by
from parties.cli.main import main
from parties.evidence.log import Log
from parties.identity import load_identity
from parties.member import Member
from parties.node import handing, service
from parties.node.decisions import Word
from parties.node.inputs import Inputs
from parties.node.store import Store
from tests.parties.conftest import Running, serving
from tests.parties.test_join_differences import BANKED, HIDDEN, MET, TOTAL, UNMET, evidence, shown, without
from tests.parties.test_joins import make, refused
from tests.parties.test_replaying import again

#: beside the total it singles out one firm, of which no owner's own conditions tell anything
CLOSE = without([MET[7], *UNMET[:10]])


def entries(folder: Path, member: str, event: str) -> list[Event]:
    """What a member that is not served any more has in its log."""
    log = Log(folder / member, load_identity(folder / member))
    try:
        return [e for e in (Entry.from_bytes(r).event for r in log.entries(0, len(log))) if e.event == event]
    finally:
        log.close()


def lose(folder: Path, *members: str) -> None:
    for member in members:
        (folder / member / "state" / "node.db").unlink()


def asked(folder: Path, member: str) -> list[Question]:
    """What a member keeps."""
    with contextlib.closing(sqlite3.connect(folder / member / "state" / "node.db")) as db:
        return [Question.from_bytes(body) for (body,) in db.execute("SELECT body FROM questions")]


# ---- handed over


async def test_a_helper_that_has_lost_its_store_is_given_what_it_lacks(tmp_path: Path) -> None:
    folder = make(tmp_path, least=10)
    async with serving(folder) as running:
        everybody = await shown(running, TOTAL)
        for owner in ("bank", "tax"):  # totals of their own, which approvals name too, and nobody hands over
            await shown(running, f"SELECT COUNT(*) AS n FROM {owner}.firms")
    lose(folder, "helper")
    async with serving(folder) as running:
        assert await shown(running, CLOSE) == HIDDEN
        assert await shown(running, TOTAL) == everybody
        far = await running.query(without(MET[:12]))
        assert far.rows[0]["n"] == len(MET) - 12
        helper, key = Member(folder / "helper"), (bytes.fromhex(far.statement["job"]), 1)
        with pytest.raises(PeerError, match="no such attempt"):  # once it is over
            await handing.fetch(helper, key, {"tax": ["00" * 32]}, ["00" * 32])
        await helper.close()
    [replayed] = await again(folder, "helper", far.statement["job"])  # with what it was given
    assert replayed.role == "helper"
    given = [e.facts for owner in ("bank", "tax") for e in entries(folder, owner, "gave")]
    assert given == [{"peer": "helper", "questions": 1}]  # of the two that name it one is enough, and once
    assert {q.sql for q in asked(folder, "helper")} == {TOTAL, CLOSE, without(MET[:12])}


@pytest.mark.slow
async def test_an_owner_that_has_lost_its_store_is_given_what_it_lacks(tmp_path: Path) -> None:
    folder = make(tmp_path, least=10)
    async with serving(folder) as running:
        await shown(running, TOTAL)
    lose(folder, "bank")
    async with serving(folder) as running:
        assert await shown(running, CLOSE) == HIDDEN
        # the bank does not know that the total came first: that it is close to what was hidden hides it too
        assert await shown(running, TOTAL) == HIDDEN
        assert (await shown(running, without(MET[:12])))[0]["n"] == len(MET) - 12
    assert [e.facts["peer"] for e in entries(folder, "tax", "gave")] == ["bank"]


@pytest.mark.slow
async def test_a_question_that_two_owners_know_by_two_names_is_one(tmp_path: Path) -> None:
    """The bank has forgotten the total, and asks for a comparison with it by the nonce of the second job that asked."""
    folder = make(tmp_path, least=10)
    async with serving(folder) as running:
        everybody = await shown(running, TOTAL)
    lose(folder, "bank")
    async with serving(folder) as running:
        again_ = await running.query(TOTAL)
        assert await shown(running, CLOSE) == HIDDEN
        last = await running.query(TOTAL)  # settles what came after it, though no name is in both lists
    assert again_.rows == last.rows == everybody
    named = named_by({p: s.text for p, s in (await evidence(folder, "tax", last.statement["job"])).approvals.items()})
    assert len({*named["tax"], *named["bank"]}) == 3  # two names of the total and one of what came close


# ---- not handed over


@contextlib.contextmanager
def giving(monkeypatch: pytest.MonkeyPatch, given: Any) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(service, "given", given)
        yield


@pytest.mark.slow
async def test_what_is_not_the_text_of_its_digest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(tmp_path, least=10)
    async with serving(folder) as running:
        everybody = await shown(running, TOTAL)
    lose(folder, "helper")
    other = Question(f"SELECT COUNT(*) AS n {BANKED}", (), ("analyst",)).to_bytes()
    async with serving(folder) as running:
        for bodies in ([other], [b"{}"], [b"x" * 300_000], [other, other]):
            with giving(monkeypatch, lambda *_args, sent=bodies: iter(sent)):
                error = await refused(running, CLOSE)
            assert isinstance(error, PeerError) and error.code == "protocol.malformed", bodies[0][:50]
            assert error.party == "bank"  # who sent it
        assert not {q.sql for q in asked(folder, "helper")} & {TOTAL, f"SELECT COUNT(*) AS n {BANKED}"}
        with giving(monkeypatch, lambda *_args: iter(())):  # nothing is an answer: that nobody has it
            error = await refused(running, CLOSE)
        assert error.code == "policy.earlier" and "forget-questions" in error.advice
        assert await shown(running, CLOSE) == HIDDEN
        assert await shown(running, TOTAL) == everybody


@pytest.mark.slow
async def test_others_are_given_nothing_while_the_attempt_is_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the wire, each member by its own certificate."""
    reached, go_on, vectors = asyncio.Event(), asyncio.Event(), Inputs.vectors

    async def held(self: Inputs, *args: Any, **kwargs: Any) -> Any:
        reached.set()
        await go_on.wait()
        return await vectors(self, *args, **kwargs)

    folder = make(tmp_path, least=10)
    async with serving(folder) as running:
        first = await running.query(TOTAL)
        name = Question(TOTAL, (), ("analyst",), (await evidence(folder, "tax", first.statement["job"])).what.nonce)
        monkeypatch.setattr(Inputs, "vectors", held)
        job = await running.ask("analyst", "submit", without(MET[:12]))
        await reached.wait()

        async def ask(who: str, *digests: str) -> list[Question]:
            member = Member(folder / who)
            try:
                return await handing.fetch(member, (bytes.fromhex(job.id), 1), {"tax": digests}, digests)
            finally:
                await member.close()

        assert await ask("helper", name.digest()) == await ask("bank", name.digest()) == [name]
        for who in ("analyst", "coordinator", "telecom", "auditor"):
            if (folder / who).exists():
                assert await ask(who, name.digest()) == []
        assert await ask("helper", name.digest(), "00" * 32) == []  # nor anything else
        go_on.set()
        await running.ask("analyst", "wait", job.id)
    given = [e.facts["peer"] for e in entries(folder, "tax", "gave")]
    assert given == ["helper", "bank"]


def test_only_who_computes_a_join_is_given_what_was_named_for_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.db", bytes(32))
    asked_ = [Question(f"SELECT {i}", (), ("analyst",), f"{i:032x}") for i in range(3)]
    for q in asked_:
        store.questions.keep(q)
    names = [q.digest() for q in asked_]
    proposed: Any = SimpleNamespace(plan=SimpleNamespace(parties=("bank", "tax")), helper="helper")
    total = NamedPlain("bank", "ab" * 32, "firms", ()).told  # a total of the owner's own, which is no question
    approval = json.dumps({"compared": [total, *names[:2]]}).encode()

    def given(caller: str, *wanted: str, said: bytes = approval) -> list[bytes]:
        return list(handing.given(store.questions, proposed, said, caller, [bytes.fromhex(w) for w in wanted]))

    for member in ("bank", "tax", "helper"):
        assert given(member, names[1], names[0]) == [asked_[1].to_bytes(), asked_[0].to_bytes()]
    for caller, wanted, said in (
        ("analyst", names[:1], approval),  # a recipient
        ("coordinator", names[:1], approval),
        ("telecom", names[:1], approval),
        ("", names[:1], approval),
        ("helper", names[2:], approval),  # known here, not named for this job
        ("helper", names, approval),
        ("helper", [names[0]] * 2, approval),
        ("helper", ["00" * 32], approval),
        ("helper", ["00"], approval),
        ("helper", names[:1], b'{"compared": []}'),
        ("helper", ["ab" * 32], approval),
        ("helper", names[:1], b"{}"),  # an owner that asks for no comparison
    ):
        with pytest.raises(LocalError) as caught:
            given(caller, *wanted, said=said)
        assert caught.value.code == "policy.earlier"
    store.close()


@pytest.mark.parametrize(
    "said", ['{"compared": 7}', '{"compared": [7]}', '{"compared": [{"plain": "ab"}]}', '{"compared": {"a": 1}}', "[]"]
)
def test_an_approval_that_names_what_is_no_question_is_blamed_on_who_signed_it(said: str) -> None:
    for read in (Named.in_approvals, named_by):
        with pytest.raises(PeerError) as caught:
            read({"bank": b'{"compared": []}', "tax": said.encode()})
        assert (caught.value.code, caught.value.party) == ("protocol.malformed", "tax")


def test_a_question_has_the_nonce_that_it_was_known_by_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "node.db", bytes(32))
    first, second = (Question("SELECT 1", (), ("analyst",), n * 32) for n in "ab")
    pool: Any = SimpleNamespace(sides=[SimpleNamespace(party="tax", query=SimpleNamespace(tables=("firms",)))])
    store.questions.remember("1" * 64, first, [pool])
    store.questions.remember("2" * 64, second, [pool])
    assert list(store.questions.named()) == [first.digest()]
    store.questions.forget([first.digest()], Word("Li Na", 5, "", "command"))
    store.questions.remember("3" * 64, second, [pool])
    assert list(store.questions.named()) == [first.digest()]  # forgotten is that it is named, not what it was
    [noted] = store.questions.not_noted()
    assert (noted.person, noted.at, noted.questions) == ("Li Na", 5, 1)
    store.questions.noted(noted)
    assert not store.questions.not_noted()
    store.close()


# ---- the last resort


def heji(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


async def forget(running: Running, member: str, *options: str) -> None:
    assert not await running.apart(
        heji, "node", "forget-questions", str(running.folder / member), "--by", "Li Na", *options
    )


def test_forgetting_is_asked_about_and_says_what_it_forgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path) / "tax"
    store = Store(folder / "state" / "node.db", bytes(32))
    pool: Any = SimpleNamespace(sides=[SimpleNamespace(party="tax", query=SimpleNamespace(tables=("firms",)))])
    asked_ = [Question(f"SELECT {i}", (), ("analyst",), f"{i:032x}") for i in range(2)]
    for i, q in enumerate(asked_):
        store.questions.remember(f"{i}" * 64, q, [pool])
    command = ("node", "forget-questions", str(folder))

    def answering(line: str) -> SimpleNamespace:
        return SimpleNamespace(isatty=lambda: True, readline=lambda: line)

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    assert heji(*command) == 1 and "--yes" in capsys.readouterr().err
    assert heji(*command, "--question", "beef", "--yes") == 1
    monkeypatch.setattr("sys.stdin", answering("\n"))
    assert heji(*command) == 0 and "Nothing was changed" in capsys.readouterr().out
    assert len(store.questions.named()) == 2 and not store.questions.not_noted()
    assert heji(*command, "--question", asked_[0].digest()[:16], "--yes") == 0
    shown_ = capsys.readouterr().out
    assert asked_[0].digest()[:16] in shown_ and "SELECT 0" in shown_ and "SELECT 1" not in shown_
    assert "what those few add" in shown_
    monkeypatch.setattr("sys.stdin", answering("y\n"))
    assert heji(*command, "--by", "Li Na") == 0 and "SELECT 1" in capsys.readouterr().out
    assert not store.questions.named() and len(store.questions.not_noted()) == 2
    store.close()


@pytest.mark.slow
async def test_where_nobody_has_a_question_owners_forget_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make(tmp_path, least=10)
    async with serving(folder) as running:
        await shown(running, TOTAL)
    for member in ("tax", "bank", "helper"):
        with contextlib.closing(sqlite3.connect(folder / member / "state" / "node.db")) as db, db:
            db.execute("UPDATE questions SET digest = 'lost'")  # as if the disk had done it
            db.execute("UPDATE question_names SET question = 'lost'")
    async with serving(folder) as running:
        error = await refused(running, CLOSE)
        assert error.code == "policy.earlier" and "heji node forget-questions" in error.advice
        name = str(error.facts["question"])
        assert await running.apart(heji, "node", "forget-questions", str(folder / "tax")) == 1  # nobody to ask
        assert "--yes" in capsys.readouterr().err
        wrong = [str(folder / "tax"), "--question", "beef", "--yes"]
        assert await running.apart(heji, "node", "forget-questions", *wrong) == 1
        assert (await refused(running, CLOSE)).code == "policy.earlier"
        await forget(running, "tax", "--yes", "--question", name[:16])
        assert name[:16] in capsys.readouterr().out
        assert (await refused(running, CLOSE)).code == "policy.earlier"  # the bank names it still
        await forget(running, "bank", "--yes")
        assert (await shown(running, CLOSE))[0]["n"] == len(MET) - 1  # not compared any more
    for owner in ("tax", "bank"):
        [gone] = entries(folder, owner, "forgot")
        assert (gone.facts["person"], gone.facts["questions"], gone.job) == ("Li Na", 1, "")
